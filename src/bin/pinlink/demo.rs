//! `pinlink demo`: one job, run twice against a network as MaxCompute has it.
//!
//! It owns the command line of the demo, the limits of its network and the order of things: read the rows,
//! play one side after the other (`job.rs`), report (`report.rs`, `page.rs`). With `--re-execute` the job writes, and
//! is killed and executed again (`reexecute.rs`). Everything that can be wrong with the input is found before the first
//! process starts.

mod crew;
mod job;
pub(crate) mod network;
mod page;
mod parent;
mod progress;
pub(crate) mod reexecute;
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
/// Worker processes and their threads, where nothing else is said: of a job that asks, and of one that writes.
const ASKING: (u16, u16) = (4, 8);
const WRITING: (u16, u16) = (2, 4);

/// Run a job twice against a hostile network: as people write it today, and with pinlink
#[derive(Args)]
#[command(after_help = "\
The network runs in a process of its own on this machine: a DNS server that drops what exceeds 20 queries a second, \
a proxy that resets what exceeds 16 live connections, and an HTTPS service behind it. Each worker process asks the \
service about each row of its share. The naive side is what the platform's documentation and common practice have: \
a new connection and a new look-up for every row, up to 3 blind retries. Both sides get the same rows, processes, \
threads and time.

With --re-execute the job writes instead of asking. In each cycle its nodes are killed (SIGKILL) at random points and \
executed again, with backup copies beside them, while the service resets connections before, in and after the body, \
loses answers, fails before or after it has written, and answers too late. Then what the service has recorded is held \
against the input. The naive side is a keep-alive client with up to 3 blind retries; pinlink's writes have keys. The \
exit code is 0 where pinlink has lost no row, written none twice and none with two contents; else 1.")]
pub(crate) struct Demo {
    /// The records: a .csv file with a header, or a .jsonl file of objects [default: a table of Debian's iso-codes]
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The column or field that identifies a record [default: id; else the first column, or the number of the line]
    #[arg(long, value_name = "NAME", requires = "rows")]
    id: Option<String>,
    /// How many worker processes the job has [default: 4; with --re-execute 2, and 8 at most]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=CAP as i64))]
    workers: Option<u16>,
    /// How many threads of each worker call at the same time [default: 8; with --re-execute 4]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// How long each side may take; rows not reached by then count as not done
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Kill, re-execute and shadow the processes of a job that writes, and count what was lost and what was doubled
    #[arg(long, conflicts_with_all = ["seconds", "html"])]
    re_execute: bool,
    /// How many jobs are played, one cycle each
    #[arg(long, value_name = "NUMBER", default_value_t = 50, requires = "re_execute", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    cycles: u64,
    /// What decides on kills, copies and faults; printed with the result, so that it can be repeated [default: random]
    #[arg(long, value_name = "NUMBER", requires = "re_execute")]
    seed: Option<u64>,
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
        let (workers, threads) = if self.re_execute { WRITING } else { ASKING };
        let (source, rows) = rows::read(self.rows.as_deref(), self.id.as_deref())?;
        let terms = Terms {
            source,
            rows,
            workers: usize::from(self.workers.unwrap_or(workers)),
            threads: usize::from(self.threads.unwrap_or(threads)),
            limit: Duration::from_secs(self.seconds),
        };
        if self.re_execute {
            // Short enough to be typed again.
            let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
            return reexecute::run(&terms, seed, self.cycles, self.json);
        }

        let announcement = format!(
            "{} rows of {}, {} workers with {} threads each; DNS answers {QUERIES_PER_SECOND} queries/s, the proxy allows {CAP} \
             connections; {} s for each side",
            terms.rows.len(),
            terms.source,
            terms.workers,
            terms.threads,
            terms.limit.as_secs(),
        );
        let progress = Progress::new(&announcement, terms.rows.len() as u64, "rows");
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
