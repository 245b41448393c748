//! A plan as one HTML page for the people who do the console's steps: the ways drawn in SVG, nothing loaded from anywhere.
//!
//! It owns the geometry of the drawing; the looks are in `page.html`. All text is escaped by the template engine.

use minijinja::{Environment, Value, context};

use crate::shown::place;
use crate::text::{Block, blocks};
use crate::value::{Plan, RegionPlan, Route, Verdict};

/// The size of a box on a way, and the gap to the next, in SVG units.
const BOX: (usize, usize) = (190, 56);
const GAP: usize = 34;
/// Where boxes begin, below the name of the way.
const TOP: usize = 20;
/// Half the distance of two lines of text.
const HALF_LINE: usize = 8;
/// How many characters fit into one line of a box.
const LINE: usize = 24;
/// How many lines fit into a box.
const LINES: usize = 3;

/// The page.
pub(crate) fn render(plan: &Plan) -> Result<String, String> {
    let mut environment = Environment::new();
    environment
        .add_template("page.html", include_str!("page.html"))
        .and_then(|()| environment.get_template("page.html"))
        .and_then(|page| {
            page.render(context! {
                title => plan.regions.iter().map(place).collect::<Vec<_>>().join(", "),
                drawings => Value::from_iter(plan.regions.iter().map(drawing)),
                blocks => Value::from_iter(blocks(plan).iter().map(block)),
            })
        })
        .map_err(|error| format!("the page can't be made: {error}"))
}

/// All ways of a region, one row each.
fn drawing(region: &RegionPlan) -> Value {
    let longest = region.routes.iter().map(|route| route.path.len()).max().unwrap_or_default();
    context! {
        title => place(region),
        width => (longest * (BOX.0 + GAP)).saturating_sub(GAP) + 2,
        rows => Value::from_iter(region.routes.iter().map(row)),
        height => TOP + BOX.1 + 12,
        top => TOP,
        middle => TOP + BOX.1 / 2,
        box_width => BOX.0,
        box_height => BOX.1,
    }
}

fn row(route: &Route) -> Value {
    let stations = route.path.iter().enumerate().map(|(index, label)| {
        let lines = broken(label);
        let first = TOP + BOX.1 / 2 + 5 - (lines.len() - 1) * HALF_LINE;
        context! {
            x => index * (BOX.0 + GAP) + 1,
            middle => index * (BOX.0 + GAP) + 1 + BOX.0 / 2,
            arrow => (index > 0).then(|| index * (BOX.0 + GAP) + 1 - GAP),
            end => (index * (BOX.0 + GAP)).saturating_sub(2),
            kind => match index {
                0 => "job",
                _ if index + 1 == route.path.len() => "target",
                _ if route.verdict != Verdict::Supported => "gap",
                _ => "station",
            },
            lines => Value::from_iter(lines.into_iter().enumerate().map(|(line, text)| {
                context! { y => first + line * 2 * HALF_LINE, text => text }
            })),
        }
    });
    context! {
        what => format!("{}, {}", route.solution, match route.verdict {
            Verdict::Supported => "supported",
            Verdict::Unsupported => "not published for this region",
            Verdict::Unlisted => "not listed for this job",
        }),
        stations => Value::from_iter(stations),
    }
}

/// A label in lines that fit a box; what doesn't fit is cut.
fn broken(label: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in label.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(LINE).map(|piece| piece.iter().collect::<String>()) {
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&piece),
                Some(line) if line.chars().count() + 1 + piece.chars().count() <= LINE => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    if lines.len() > LINES {
        lines.truncate(LINES);
        if let Some(last) = lines.last_mut() {
            *last = format!("{}…", last.chars().take(LINE - 1).collect::<String>());
        }
    }
    lines
}

fn block(block: &Block) -> Value {
    let items = |items: &[(String, Vec<String>)]| {
        Value::from_iter(items.iter().map(|(text, lines)| context! { text => text, lines => lines }))
    };
    match block {
        Block::Title(title) => context! { kind => "title", text => title },
        Block::Head(head) => context! { kind => "head", text => *head },
        Block::Paragraph(words) => context! { kind => "paragraph", text => words },
        Block::List(list) => context! { kind => "list", items => items(list) },
        Block::Steps(list) => context! { kind => "steps", items => items(list) },
        Block::Table(header, rows) => context! { kind => "table", header => header, rows => rows },
        Block::Code(_, lines) => context! { kind => "code", text => lines.join("\n") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_broken_between_words_and_cut_where_it_is_too_long() {
        assert_eq!(broken("MaxCompute's security group"), ["MaxCompute's security", "group"]);
        assert_eq!(broken(&"x".repeat(30)), ["x".repeat(24), "x".repeat(6)]);
        let long = broken(&"word ".repeat(40));
        assert_eq!(long.len(), LINES);
        assert!(long[2].ends_with('…'));
    }
}
