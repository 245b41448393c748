//! `pinlink demo`: one job, run twice against a network as MaxCompute has it.
//!
//! It owns the command line of the demo, the limits of its network and the order of things: read the rows,
//! play one side after the other (`job.rs`), report (`report.rs`, `page.rs`). Everything that can be wrong with
//! the input is found before the first process starts.

mod crew;
mod job;
pub(crate) mod network;
mod page;
mod progress;
mod report;
mod rows;
mod scoreboard;
mod words;
pub(crate) mod worker;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::output;
use progress::Progress;
use words::Side;

/// DNS queries a second that the job's name server answers; the others it drops.
const QUERIES_PER_SECOND: u32 = 20;
/// Live connections that the proxy allows; it resets the others.
const CAP: usize = 16;

/// Run a job twice against a hostile network: as people write it today, and with pinlink
#[derive(Args)]
#[command(after_help = "\
The network runs in a process of its own on this machine: a DNS server that drops what exceeds 20 queries a second, \
a proxy that resets what exceeds 16 live connections, and an HTTPS service behind it. Each worker process asks the \
service about each row of its share. The naive side is what the platform's documentation and common practice have: \
a new connection and a new look-up for every row, up to 3 blind retries. Both sides get the same rows, processes, \
threads and time.")]
pub(crate) struct Demo {
    /// The records: a .csv file with a header, or a .jsonl file of objects [default: a table of Debian's iso-codes]
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The column or field that identifies a record [default: id; else the first column, or the number of the line]
    #[arg(long, value_name = "NAME", requires = "rows")]
    id: Option<String>,
    /// How many worker processes the job has
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=CAP as i64))]
    workers: u16,
    /// How many threads of each worker call at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// How long each side may take; rows not reached by then count as not done
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What both sides get alike.
pub(crate) struct Terms {
    /// What the rows are, for the reader.
    pub(crate) source: String,
    /// The records' ids.
    pub(crate) rows: Vec<String>,
    /// Worker processes.
    pub(crate) workers: usize,
    /// Threads of each.
    pub(crate) threads: usize,
    /// The time limit.
    pub(crate) limit: Duration,
}

impl Demo {
    /// Plays both sides and reports.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if let Some(file) = &self.html {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            if file.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(Failure::usage(format!("--html: {} can't be written there", file.display())));
            }
        }
        let (source, rows) = rows::read(self.rows.as_deref(), self.id.as_deref())?;
        let terms = Terms {
            source,
            rows,
            workers: usize::from(self.workers),
            threads: usize::from(self.threads),
            limit: Duration::from_secs(self.seconds),
        };

        let progress = Progress::new(&terms);
        let naive = job::play(Side::Naive, &terms, &progress)?;
        let pinlink = job::play(Side::Pinlink, &terms, &progress)?;
        progress.end();

        if let Some(file) = &self.html {
            output::deliver(page::render(&terms, &naive, &pinlink)?, Some(file))?;
        }
        output::print(match self.json {
            true => report::json(&terms, &naive, &pinlink),
            false => report::table(&terms, &naive, &pinlink),
        })?;
        Ok(Exit::Done)
    }
}
