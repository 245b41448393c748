//! A plan as blocks (headings, lists, tables, lines to paste), and blocks as text and as Markdown.
//!
//! It owns the order in which a plan is told. The page shows the same blocks.

use std::fmt::Write;

use crate::shown::{place, remark};
use crate::value::{JobPlan, Note, Plan, RegionPlan, Route, Support, Verdict};

/// One piece of a plan that is read.
pub(crate) enum Block {
    /// The beginning of a region's plan.
    Title(String),
    Head(&'static str),
    Paragraph(String),
    /// Items, each with lines that belong to it.
    List(Vec<(String, Vec<String>)>),
    Steps(Vec<(String, Vec<String>)>),
    Table(Vec<&'static str>, Vec<Vec<String>>),
    Code(&'static str, Vec<String>),
}

/// Where a note comes from: its sources and how sure it is.
pub(crate) fn cited(note: &Note) -> String {
    format!("{}; {}", note.source.join(", "), note.confidence.as_str())
}

/// A plan in its order.
pub(crate) fn blocks(plan: &Plan) -> Vec<Block> {
    let mut blocks: Vec<_> = plan.regions.iter().flat_map(region).collect();
    blocks.push(Block::Title("Sources".to_owned()));
    blocks.push(Block::Paragraph(
        "Every statement names its sources and how sure it is: high, medium, low, or a guess of ours. None was tried on MaxCompute."
            .to_owned(),
    ));
    let dated = |date: &str| if date.is_empty() { "no date".to_owned() } else { date.to_owned() };
    let rows = plan.sources.iter().map(|(key, it)| vec![key.clone(), it.title.clone(), dated(&it.date)]);
    blocks.push(Block::Table(vec!["source", "title", "date"], rows.collect()));
    blocks
}

fn region(region: &RegionPlan) -> Vec<Block> {
    let mut blocks = vec![Block::Title(format!("Plan for {}", place(region)))];
    let mut section = |head: &'static str, block: Block| {
        let is_empty = match &block {
            Block::List(items) | Block::Steps(items) => items.is_empty(),
            Block::Table(_, rows) => rows.is_empty(),
            _ => false,
        };
        if !is_empty {
            blocks.extend([Block::Head(head), block]);
        }
    };
    let support = region.support.iter().map(|it| support(it, &region.zones));
    section("Published for this region", Block::Table(vec!["solution", "verdict", "source"], support.collect()));
    let ways = region.routes.iter().map(|route| {
        let job = route.job.clone();
        vec![route.target.clone(), job, route.solution.clone(), verdict(route.verdict).to_owned()]
    });
    section("Ways", Block::Table(vec!["target", "job", "solution", "verdict"], ways.collect()));
    section("Why these, and what of the others", Block::List(reasons(&region.routes)));
    section("What is passed", Block::List(paths(&region.routes)));
    let steps = region.steps.iter().map(|step| {
        let details = format!("who: {}; where: {} [{}]", step.who, step.place, cited(&step.note));
        (format!("({}) {}", step.part, step.note.text), vec![details])
    });
    section("Steps, in this order", Block::Steps(steps.collect()));
    let rules = region.rules.iter().map(|rule| {
        let text = rule.note.text.clone();
        vec![rule.group.clone(), rule.direction.clone(), rule.peer.clone(), rule.ports.clone(), text, cited(&rule.note)]
    });
    let header = vec!["security group", "direction", "other end", "ports", "action", "source"];
    section("Rules of security groups", Block::Table(header, rules.collect()));
    for job in &region.jobs {
        blocks.extend(pasted(job));
    }
    for (head, notes) in [
        ("Endpoints", &region.endpoints),
        ("Mind", &region.notes),
        ("Not promised by the platform", &region.disclaimers),
        ("Not known", &region.unknown),
    ] {
        if !notes.is_empty() {
            let items = notes.iter().map(|note| (note.text.clone(), vec![said_of(note, region)]));
            blocks.extend([Block::Head(head), Block::List(items.collect())]);
        }
    }
    if !region.failures.is_empty() {
        let rows = region.failures.iter().map(|cause| {
            let host = if cause.host == "any" { String::new() } else { format!(", {} address", cause.host) };
            let cited = format!("{}; {}", cause.source.join(", "), cause.confidence.as_str());
            vec![format!("{}{host}", cause.reasons.join(", ")), cause.part.clone(), cause.step.clone(), cited]
        });
        let header = vec!["failure", "missing, or beside the way", "what", "source"];
        blocks.extend([Block::Head("If it fails"), Block::Table(header, rows.collect())]);
    }
    blocks
}

fn support(support: &Support, asked: &[char]) -> Vec<String> {
    let letters = |zones: &[char]| zones.iter().map(char::to_string).collect::<Vec<_>>().join(", ");
    let verdict = match (support.published, support.zones.is_empty()) {
        (false, _) => "not published".to_owned(),
        (true, true) => "published".to_owned(),
        (true, false) if asked.is_empty() => format!("published for zones {}", letters(&support.zones)),
        (true, false) => format!("published for zones {}; asked for {}", letters(&support.zones), letters(asked)),
    };
    vec![support.solution.clone(), verdict, format!("{}; {}", support.source.join(", "), support.confidence.as_str())]
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Unsupported => "region NOT published",
        Verdict::Unlisted => "NOT listed for this job",
    }
}

/// Why and why not; ways for which the same is said stand together.
fn reasons(routes: &[Route]) -> Vec<(String, Vec<String>)> {
    let mut items: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
    for route in routes {
        let why = route.why.iter().map(|note| format!("{} [{}]", note.text, cited(note)));
        let not =
            route.others.iter().map(|other| format!("{}: {} [{}]", other.solution, other.why.text, cited(&other.why)));
        let said: Vec<_> = why.chain(not).collect();
        let head = format!("{}, {}", route.target, route.solution);
        match items.iter_mut().find(|(there, _, lines)| *there == head && *lines == said) {
            Some((_, jobs, _)) => jobs.push(route.job.clone()),
            None => items.push((head, vec![route.job.clone()], said)),
        }
    }
    items.into_iter().map(|(head, jobs, said)| (format!("{head} ({})", jobs.join(", ")), said)).collect()
}

fn paths(routes: &[Route]) -> Vec<(String, Vec<String>)> {
    routes.iter().map(|route| (route.path.join(" -> "), Vec::new())).collect()
}

fn pasted(job: &JobPlan) -> Vec<Block> {
    let mut blocks = Vec::new();
    let forms = [
        ("sql", "sql", "Lines for the session"),
        ("ddl", "sql", "Lines for the table"),
        ("spark", "properties", "Lines for spark-defaults.conf"),
        ("python", "python", "Lines for the function"),
    ];
    for (form, language, head) in forms {
        let lines: Vec<_> = job.lines.iter().filter(|line| line.form == form).collect();
        if !lines.is_empty() {
            let mark = match language {
                "sql" => "--",
                _ => "#",
            };
            let code = lines.iter().flat_map(|line| [format!("{mark} {}", remark(line)), line.note.text.clone()]);
            blocks.extend([
                Block::Head(head),
                Block::Paragraph(format!("{} ({}):", job.name, job.id)),
                Block::Code(language, code.collect()),
            ]);
        }
    }
    if !job.options.is_empty() {
        let code = job.options.iter().flat_map(|line| [format!("# {}", remark(line)), line.note.text.clone()]);
        blocks.extend([
            Block::Head("pinlink's options"),
            Block::Paragraph(format!("{} ({}):", job.name, job.id)),
            Block::Code("properties", code.collect()),
        ]);
    }
    blocks
}

/// Of what a note is said, where that is not all, and where it comes from.
fn said_of(note: &Note, region: &RegionPlan) -> String {
    let all = |names: &[String], every: fn(&Route) -> &String| region.routes.iter().all(|it| names.contains(every(it)));
    let mut parts = Vec::new();
    if !all(&note.targets, |route| &route.target) {
        parts.push(format!("for {}", note.targets.join(", ")));
    }
    if !all(&note.jobs, |route| &route.job) {
        parts.push(format!("in {}", note.jobs.join(", ")));
    }
    parts.push(format!("[{}]", cited(note)));
    parts.join(" ")
}

/// Blocks for a terminal.
pub(crate) fn as_text(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        match block {
            Block::Title(title) => _ = write!(text, "\n{title}\n{}\n", "=".repeat(title.chars().count())),
            Block::Head(head) => _ = write!(text, "\n{head}\n"),
            Block::Paragraph(words) => _ = writeln!(text, "  {words}"),
            Block::List(items) => items.iter().for_each(|item| listed(&mut text, "  - ", item)),
            Block::Steps(items) => items.iter().enumerate().for_each(|(index, item)| {
                listed(&mut text, &format!("  {:>2}. ", index + 1), item);
            }),
            Block::Table(header, rows) => table(&mut text, header, rows),
            Block::Code(_, lines) => lines.iter().for_each(|line| _ = writeln!(text, "    {line}")),
        }
    }
    text.trim_start().to_owned()
}

fn listed(text: &mut String, mark: &str, (item, lines): &(String, Vec<String>)) {
    _ = writeln!(text, "{mark}{item}");
    for line in lines {
        _ = writeln!(text, "{}{line}", " ".repeat(mark.len()));
    }
}

/// Columns as wide as their widest cell.
fn table(text: &mut String, header: &[&'static str], rows: &[Vec<String>]) {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(|cell| cell.chars().count());
    let widths: Vec<_> = header
        .iter()
        .enumerate()
        .map(|(column, name)| cells(column).max().unwrap_or_default().max(name.len()))
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<_> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

/// Blocks for a wiki.
pub(crate) fn as_markdown(blocks: &[Block]) -> String {
    let cell = |words: &str| words.replace('|', "\\|").replace('<', "&lt;");
    let mut text = String::new();
    for block in blocks {
        match block {
            Block::Title(title) => _ = write!(text, "\n# {title}\n"),
            Block::Head(head) => _ = write!(text, "\n## {head}\n\n"),
            Block::Paragraph(words) => _ = write!(text, "{}\n\n", cell(words)),
            Block::List(items) => items.iter().for_each(|(item, lines)| {
                _ = writeln!(text, "- {}", cell(item));
                lines.iter().for_each(|line| _ = writeln!(text, "  - {}", cell(line)));
            }),
            Block::Steps(items) => items.iter().enumerate().for_each(|(index, (item, lines))| {
                _ = writeln!(text, "{}. {}", index + 1, cell(item));
                lines.iter().for_each(|line| _ = writeln!(text, "   - {}", cell(line)));
            }),
            Block::Table(header, rows) => {
                _ = writeln!(text, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
                for row in rows {
                    let cells: Vec<_> = row.iter().map(|words| cell(words)).collect();
                    _ = writeln!(text, "| {} |", cells.join(" | "));
                }
            }
            Block::Code(language, lines) => _ = write!(text, "```{language}\n{}\n```\n", lines.join("\n")),
        }
    }
    text.trim_start().to_owned()
}
