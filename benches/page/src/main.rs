//! The page of the benches: one HTML file with charts, drawings for the README, and the results in the form that is kept.
//!
//! It measures nothing. It reads what the benches have written (`source.rs`), and writes everything into one folder, from
//! which the page can be made again. Flame graphs are files of their own beside it, which it links to.

mod chart;
mod figure;
mod flame;
mod note;
mod overview;
mod page;
mod result;
mod source;

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use crate::chart::Result;
use crate::flame::Flames;
use crate::note::Notes;
use crate::page::Beside;
use crate::source::Sources;

/// Makes the page of the benches from their results.
#[derive(Parser)]
struct Arguments {
    /// Where the benches have written their results
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    from: PathBuf,
    /// Where the page, its drawings and what is kept of the results go
    #[arg(long, value_name = "FOLDER", default_value = "benches/results")]
    into: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { from, into } = Arguments::parse();
    fs::create_dir_all(&into)?;
    let sources = Sources::gather(&from, &into)?;
    let overview = overview::languages(&sources.runs)?;
    for (file, drawing) in [("overview.svg", &overview), ("growth.svg", &overview::growth(&sources.runs)?)] {
        if let Some(drawing) = drawing {
            fs::write(into.join(file), drawing.alone())?;
        }
    }
    let overview = overview.map_or(String::new(), |drawing| drawing.inline());
    let flames = Flames::draw(&from, &into)?;
    let page = page::render(&sources, &Beside { notes: Notes::read()?, flames }, &overview)?;
    fs::write(into.join("index.html"), page)?;
    Ok(())
}
