//! `pinlink options`: the table of options, as text, as JSON, or as the Markdown of the README.
//!
//! It shows `pinlink::config::OPTIONS` and adds nothing, so that no page can disagree with the code.

use std::fmt::Write;

use clap::Args;
use pinlink::config::{OPTIONS, OptionSpec};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output;

/// Print the table of options: name, type, default, range and reason
#[derive(Args)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a Markdown table
    #[arg(long)]
    markdown: bool,
}

impl Options {
    /// Prints.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let text = match self {
            Options { json: true, .. } => as_json(),
            Options { markdown: true, .. } => as_markdown(),
            _ => as_text(),
        };
        output::print(text)?;
        Ok(Exit::Done)
    }
}

/// `1 to 10`, or nothing where the type has no order.
fn range(option: &OptionSpec) -> String {
    if option.max.is_empty() { String::new() } else { format!("{} to {}", option.min, option.max) }
}

fn as_text() -> String {
    let mut text = String::new();
    for option in OPTIONS {
        let default = if option.default.is_empty() { "unset" } else { option.default };
        _ = write!(text, "{}  ({}, default {default}", option.name, option.kind);
        let range = range(option);
        if !range.is_empty() {
            _ = write!(text, ", {range}");
        }
        _ = writeln!(text, ")\n    {}\n    Why: {}", option.doc, option.reason);
    }
    text
}

fn as_json() -> String {
    let rows: Vec<_> = OPTIONS
        .iter()
        .map(|option| {
            json!({
                "name": option.name,
                "type": option.kind,
                "default": option.default,
                "min": option.min,
                "max": option.max,
                "doc": option.doc,
                "reason": option.reason,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}

fn as_markdown() -> String {
    let mut text =
        String::from("| option | type | default | range | what it does | why |\n|---|---|---|---|---|---|\n");
    for option in OPTIONS {
        let cell = |words: &str| words.replace('|', "\\|");
        let default = if option.default.is_empty() { String::new() } else { format!("`{}`", cell(option.default)) };
        _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} | {} | {} |",
            option.name,
            cell(option.kind),
            range(option),
            cell(option.doc),
            cell(option.reason),
        );
    }
    text
}
