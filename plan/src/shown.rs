//! A plan in the format asked for.
//!
//! It owns the formats that hold lines only (SQL, Spark) and JSON; the readable ones are made of `text`'s blocks.

use std::fmt::Write;

use serde_json::json;

use crate::page;
use crate::text;
use crate::value::{Line, Plan, RegionPlan};

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For a wiki or an issue.
    Markdown,
    /// For programs.
    Json,
    /// Lines for SQL sessions and statements, ready to paste.
    Sql,
    /// Lines for `spark-defaults.conf`.
    Spark,
    /// One page with the way drawn, that loads nothing.
    Html,
}

impl Format {
    /// The plan in this format.
    ///
    /// # Errors
    /// Why the page can't be made.
    pub fn show(self, plan: &Plan) -> Result<String, String> {
        match self {
            Format::Text => Ok(text::as_text(&text::blocks(plan))),
            Format::Markdown => Ok(text::as_markdown(&text::blocks(plan))),
            Format::Json => Ok(format!("{:#}\n", json!(plan))),
            Format::Sql => Ok(pasted(plan, "--", &["sql", "ddl"])),
            Format::Spark => Ok(pasted(plan, "#", &["spark"])),
            Format::Html => page::render(plan),
        }
    }
}

/// The lines of the given forms, each below its comment. What goes into a statement of its own is commented out.
fn pasted(plan: &Plan, comment: &str, forms: &[&str]) -> String {
    let mut text = String::new();
    for region in &plan.regions {
        for job in &region.jobs {
            let lines: Vec<_> = job.lines.iter().filter(|line| forms.contains(&line.form.as_str())).collect();
            if lines.is_empty() {
                continue;
            }
            _ = writeln!(text, "{comment} {}, {}", job.name, place(region));
            for line in lines {
                _ = write!(text, "{comment} {}\n{}\n", remark(line), inert(line, comment));
            }
            text.push('\n');
        }
    }
    match text.is_empty() {
        true => format!("{comment} no lines of this form belong to this plan\n"),
        false => format!("{}\n", text.trim_end()),
    }
}

fn inert(line: &Line, comment: &str) -> String {
    if line.form == "ddl" { format!("{comment} {}", line.note.text) } else { line.note.text.clone() }
}

/// What to know about a line, with its sources.
pub(crate) fn remark(line: &Line) -> String {
    format!("{} ({})", line.comment, text::cited(&line.note))
}

/// A region as plans name it.
pub(crate) fn place(region: &RegionPlan) -> String {
    format!("{} ({})", region.name, region.id)
}
