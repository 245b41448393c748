//! The charts: bars with whiskers, and curves over a logarithmic axis, drawn by plotters as SVG.
//!
//! It owns the geometry and nothing of the looks. Plotters writes colours; each stands for a part (a bar of ours, the
//! band of a target), and is replaced by the name of that part, so that one style sheet serves light and dark, on the
//! page and in a file of its own. What is drawn is also said, in the label that a screen reader gets.

use std::error::Error;
use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figure::{count, number};
use crate::result::{Role, Spread};

/// Any failure; it is only ever shown.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where something is drawn.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The parts of a drawing, as the colours that plotters is given.
const OURS: RGBColor = RGBColor(1, 0, 0);
const PEER: RGBColor = RGBColor(2, 0, 0);
const LIMIT: RGBColor = RGBColor(3, 0, 0);
const INK: RGBColor = RGBColor(4, 0, 0);
const SOFT: RGBColor = RGBColor(5, 0, 0);
const RULE: RGBColor = RGBColor(6, 0, 0);
const BAND: RGBColor = RGBColor(7, 0, 0);
const CARD: RGBColor = RGBColor(8, 0, 0);
const GOAL: RGBColor = RGBColor(9, 0, 0);

/// The same parts by the names of the style sheet.
const PARTS: [(RGBColor, &str); 9] = [
    (OURS, "ours"),
    (PEER, "peer"),
    (LIMIT, "limit"),
    (INK, "ink"),
    (SOFT, "soft"),
    (RULE, "rule"),
    (BAND, "band"),
    (CARD, "card"),
    (GOAL, "goal"),
];

/// Plotters' name for the size of 12 units.
const TEXT: f64 = 12.0 * 1.24;

/// About what a letter of that size takes.
const LETTER: f64 = 6.2;
const BOLD: f64 = 6.9;

/// The height of a bar's row, and of the bar in it.
const ROW: i32 = 20;
const THICK: i32 = 11;

/// What a number takes behind its bar.
const NUMBER: i32 = 56;

/// How many times the best of ours a bar is drawn at most: what is longer is cut, and says so.
const CUT: f64 = 6.0;

/// The widest panel; a phone shows it at nine tenths.
pub(crate) const PANEL: i32 = 370;

/// One bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) spread: Spread,
}

/// One curve, its points by x.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Spread)>,
}

/// A level that a promise draws: at most, or at least.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Level {
    AtMost(f64),
    AtLeast(f64),
}

/// Draws on a canvas of this size and returns what is inside of the `<svg>`.
pub(crate) fn drawn(size: (i32, i32), draw: impl FnOnce(&Canvas<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let canvas = SVGBackend::with_string(&mut text, (size.0 as u32, size.1 as u32)).into_drawing_area();
        draw(&canvas)?;
        canvas.present()?;
    }
    let inside = text.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>"));
    let (inside, _) = inside.ok_or("plotters has written no SVG")?;
    let mut text = inside.replace(">\n", ">").replace("\n<", "<").replace(" opacity=\"1\"", "");
    let size = format!(" font-family=\"sans-serif\" font-size=\"{}\"", TEXT / 1.24);
    text = text.replace(&size, "").replace(" stroke=\"none\"", "").replace("fill=\"none\" ", "");
    for (RGBColor(red, green, blue), name) in PARTS {
        let color = format!("#{red:02X}{green:02X}{blue:02X}");
        text = text.replace(&format!("fill=\"{color}\""), &format!("class=\"{name}\""));
        text = text.replace(&format!("stroke=\"{color}\""), &format!("class=\"{name}-line\""));
    }
    Ok(text)
}

/// A drawing as a part of the page: it has no colours of its own.
pub(crate) fn inline(size: (i32, i32), inside: &str, label: &str) -> String {
    format!("<svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\">{inside}</svg>", escaped(label), size.0, size.1)
}

/// A drawing as a file of its own: it follows the reader's choice of light and dark, on a ground of its own, so that it
/// is legible whatever the page around it does.
pub(crate) fn alone(size: (i32, i32), inside: &str, title: &str, label: &str) -> String {
    let style = include_str!("chart.css").lines().map(str::trim).collect::<String>();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n\
         <title>{2}</title>\n<desc>{3}</desc>\n<style>{style}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{4}\" height=\"{5}\" rx=\"10\"/>\n{inside}\n</svg>\n",
        size.0,
        size.1,
        escaped(title),
        escaped(label),
        size.0 - 1,
        size.1 - 1,
    )
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What bars say, for who doesn't see them.
pub(crate) fn said(title: &str, bars: &[Bar]) -> String {
    let mut text = format!("{title}:");
    for (index, bar) in bars.iter().enumerate() {
        let _ = write!(text, "{} {} {}", if index > 0 { ";" } else { "" }, bar.name, number(bar.spread.median));
    }
    text
}

/// The best first.
pub(crate) fn sort(bars: &mut [Bar], more_is_better: bool) {
    bars.sort_by(|one, other| {
        let order = one.spread.median.total_cmp(&other.spread.median);
        if more_is_better { order.reverse() } else { order }
    });
}

/// How high so many bars are.
pub(crate) fn height(bars: usize) -> i32 {
    bars as i32 * ROW + 4
}

/// Bars with the names before them and the numbers behind, at this place and of this width.
pub(crate) fn bars(
    canvas: &Canvas<'_>,
    (left, top): (i32, i32),
    width: i32,
    bars: &[Bar],
    show: fn(f64) -> String,
) -> Result<()> {
    let breadth = |bar: &Bar| bar.name.chars().count() as f64 * if bar.role == Role::Ours { BOLD } else { LETTER };
    let names = bars.iter().map(breadth).fold(0.0, f64::max) as i32 + 8;
    let room = (width - names - NUMBER).max(40);
    let zero = left + names;
    let most = bars.iter().map(|bar| bar.spread.median).fold(0.0, f64::max);
    let ours = bars.iter().find(|bar| bar.role == Role::Ours).map_or(0.0, |bar| bar.spread.median);
    let top_of_scale = if ours > 0.0 { most.min(ours * CUT) } else { most }.max(f64::MIN_POSITIVE);
    let end = zero + room;
    let place = |value: f64| (zero + (value / top_of_scale * f64::from(room)).round() as i32).min(end);
    for (index, bar) in bars.iter().enumerate() {
        let middle = top + index as i32 * ROW + ROW / 2;
        let (upper, lower) = (middle - THICK / 2, middle - THICK / 2 + THICK);
        let (color, strong) = match bar.role {
            Role::Ours => (OURS, FontStyle::Bold),
            Role::Limit => (LIMIT, FontStyle::Italic),
            Role::Peer => (PEER, FontStyle::Normal),
        };
        let text = |part: RGBColor, side: HPos| {
            FontDesc::new(FontFamily::SansSerif, TEXT, strong).color(&part).pos(Pos::new(side, VPos::Center))
        };
        canvas.draw(&Text::new(bar.name.clone(), (zero - 6, middle), text(INK, HPos::Right)))?;
        let reach = place(bar.spread.median);
        canvas.draw(&Rectangle::new([(zero, upper), (reach.max(zero + 1), lower)], color.filled()))?;
        let is_cut = bar.spread.median > top_of_scale;
        let mut behind = reach;
        if is_cut {
            canvas.draw(&PathElement::new(vec![(end - 15, lower + 2), (end - 9, upper - 2)], CARD.stroke_width(3)))?;
        } else {
            let (from, to) = (place(bar.spread.q1), place(bar.spread.q3));
            if to > from {
                canvas.draw(&PathElement::new(vec![(from, middle), (to, middle)], INK.stroke_width(1)))?;
                // An end that lies beyond the scale is left open.
                let is_open = bar.spread.q3 > top_of_scale;
                for at in [from, to].into_iter().take(if is_open { 1 } else { 2 }) {
                    canvas.draw(&PathElement::new(vec![(at, middle - 3), (at, middle + 3)], INK.stroke_width(1)))?;
                }
            }
            behind = behind.max(to);
        }
        canvas.draw(&Text::new(show(bar.spread.median), (behind + 6, middle), text(INK, HPos::Left)))?;
    }
    canvas.draw(&PathElement::new(vec![(zero, top), (zero, top + bars.len() as i32 * ROW)], RULE.stroke_width(1)))?;
    Ok(())
}

/// The size of a chart of curves.
pub(crate) const CURVES: (i32, i32) = (PANEL, 210);

/// Curves over a logarithmic axis from zero up, with the levels that are promised.
pub(crate) fn curves(canvas: &Canvas<'_>, curves: &[Curve], levels: &[Level], across: &str) -> Result<()> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (least, most) = points().fold((f64::MAX, 0.0_f64), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    if most <= 0.0 {
        return Ok(());
    }
    let level = |level: &Level| match level {
        Level::AtMost(value) | Level::AtLeast(value) => *value,
    };
    let highest = points().map(|(_, spread)| spread.q3).chain(levels.iter().map(level)).fold(0.0, f64::max);
    let top = highest.max(f64::MIN_POSITIVE) * 1.12;
    let (from, to) = (least / 1.3, most * 1.6);
    let mut chart = ChartBuilder::on(canvas)
        .margin(4)
        .margin_right(8)
        .x_label_area_size(38)
        .y_label_area_size(54)
        .build_cartesian_2d((from..to).log_scale(), 0.0..top)?;
    let plain = || FontDesc::new(FontFamily::SansSerif, TEXT, FontStyle::Normal);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(RULE.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .axis_style(RULE.stroke_width(1))
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&|x| count(*x))
        .y_label_formatter(&|y| number(*y))
        .x_desc(across)
        .label_style(plain().color(&SOFT))
        .axis_desc_style(plain().color(&SOFT))
        .draw()?;
    let bounds = |pick: fn(&Level) -> Option<f64>| levels.iter().filter_map(pick);
    let above = bounds(|level| if let Level::AtMost(value) = level { Some(*value) } else { None }).reduce(f64::min);
    let below = bounds(|level| if let Level::AtLeast(value) = level { Some(*value) } else { None }).reduce(f64::max);
    let band = Rectangle::new([(from, below.unwrap_or(0.0)), (to, above.unwrap_or(top))], BAND.filled());
    if above.is_some() || below.is_some() {
        chart.draw_series([band])?;
        for value in [above, below].into_iter().flatten() {
            chart.draw_series([PathElement::new(vec![(from, value), (to, value)], GOAL.stroke_width(1))])?;
        }
    }
    for (index, curve) in curves.iter().enumerate() {
        let color = if index == 0 { OURS } else { PEER };
        let line = curve.points.iter().map(|(x, spread)| (*x, spread.median));
        chart.draw_series([PathElement::new(line.clone().collect::<Vec<_>>(), color.stroke_width(2))])?;
        let whiskers = curve.points.iter().map(|(x, spread)| {
            PathElement::new(vec![(*x, spread.q1.min(top)), (*x, spread.q3.min(top))], INK.stroke_width(1))
        });
        chart.draw_series(whiskers)?;
        chart.draw_series(line.map(|point| Circle::new(point, 3, color.filled())))?;
        if curves.len() > 1
            && let Some((x, spread)) = curve.points.last()
        {
            let style = plain().color(&INK).pos(Pos::new(HPos::Right, VPos::Bottom));
            chart.draw_series([Text::new(curve.name.clone(), (*x, spread.q3 + top * 0.02), style)])?;
        }
    }
    Ok(())
}

/// What curves say, for who doesn't see them.
pub(crate) fn told(title: &str, curves: &[Curve]) -> String {
    let mut text = title.to_owned();
    for curve in curves {
        let _ = write!(text, ". {}:", curve.name);
        for (x, spread) in &curve.points {
            let _ = write!(text, " {} at {},", number(spread.median), count(*x));
        }
    }
    text.trim_end_matches(',').to_owned()
}

/// One line of text: what a drawing of several panels says of each.
pub(crate) fn line(canvas: &Canvas<'_>, at: (i32, i32), text: &str, kind: Line) -> Result<()> {
    let (part, strong) = match kind {
        Line::Heading => (INK, FontStyle::Bold),
        Line::Note => (SOFT, FontStyle::Normal),
    };
    let style = FontDesc::new(FontFamily::SansSerif, TEXT, strong).color(&part).pos(Pos::new(HPos::Left, VPos::Center));
    Ok(canvas.draw(&Text::new(text.to_owned(), at, style))?)
}

/// What a line of text is.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    Heading,
    Note,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, role: Role, median: f64) -> Bar {
        Bar { name: name.to_owned(), role, spread: Spread { q1: median * 0.9, median, q3: median * 1.1 } }
    }

    fn panel(all: &[Bar]) -> String {
        let size = (PANEL, height(all.len()));
        drawn(size, |canvas| bars(canvas, (0, 0), PANEL, all, number)).unwrap()
    }

    #[test]
    fn a_drawing_has_parts_and_no_colours() {
        let text = panel(&[bar("raw socket", Role::Limit, 1.0), bar("pinlink send", Role::Ours, 1.2)]);
        assert!(text.contains("class=\"ours\"") && text.contains("class=\"limit\""), "{text}");
        assert!(!text.contains('#') && !text.contains("font-size"), "{text}");
    }

    #[test]
    fn a_bar_beyond_the_scale_is_cut_and_keeps_its_number() {
        let short = panel(&[bar("pinlink", Role::Ours, 1.0), bar("slow", Role::Peer, 4.0)]);
        let long = panel(&[bar("pinlink", Role::Ours, 1.0), bar("slow", Role::Peer, 400.0)]);
        assert!(!short.contains("card-line"), "{short}");
        assert!(long.contains("card-line") && long.contains(">400<"), "{long}");
    }

    #[test]
    fn names_and_labels_are_escaped() {
        let all = [bar("<script>&\"", Role::Peer, 1.0)];
        let text = inline((PANEL, 24), &panel(&all), &said("a < b", &all));
        roxmltree::Document::parse(&text).unwrap();
        assert!(!text.contains("<script"), "{text}");
    }

    #[test]
    fn curves_without_points_and_with_a_single_one_are_drawn() {
        for points in [vec![], vec![(1.0, Spread { q1: 0.0, median: 0.0, q3: 0.0 })]] {
            let all = [Curve { name: "rows".to_owned(), points }];
            drawn(CURVES, |canvas| curves(canvas, &all, &[Level::AtMost(1.1)], "rows")).unwrap();
        }
    }

    #[test]
    fn a_file_of_its_own_is_well_formed() {
        let text = alone((10, 10), "<rect class=\"ours\"/>", "a & b", "c < d");
        roxmltree::Document::parse(&text).unwrap();
    }
}
