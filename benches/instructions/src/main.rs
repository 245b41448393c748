//! How many instructions the hot paths take, held against a committed baseline: what a noisy machine can still tell.
//!
//! Each mode is a loop over one thing that callers do. It runs in a process of its own under callgrind, once with few
//! calls and once with more; the difference, divided by the calls between, is what one call takes: no start, no
//! handshake, no warm-up. The server is this program outside of valgrind. A count that has grown by more than the
//! tolerance makes the exit code 1; nothing here measures time.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it counted")]

mod baseline;
mod count;
mod modes;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::baseline::{Baseline, Counted};
use crate::modes::{MODES, Mode};
use crate::serve::{Doors, Server};

/// Any failure; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Counts instructions per call, and holds them against the baseline.
#[derive(Parser)]
struct Arguments {
    /// The committed counts.
    #[arg(long, value_name = "FILE", default_value = "benches/instructions.toml")]
    baseline: PathBuf,
    /// Write the counts to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this mode; may be repeated.
    #[arg(long, value_name = "MODE")]
    only: Vec<String>,
    /// Count each mode so often and show how far the counts are apart.
    #[arg(long, value_name = "RUNS", default_value_t = 1)]
    runs: usize,
    /// Keep callgrind's profiles in this folder, for callgrind_annotate.
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
    /// Make what was counted the baseline.
    #[arg(long)]
    accept: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a process of this program is for, where it is not the one that counts.
#[derive(Subcommand)]
enum Role {
    /// Makes a mode's calls.
    #[command(hide = true)]
    Run { mode: String, calls: usize, doors: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Run { mode, calls, doors }) => run(mode, *calls, doors).map(|()| true),
        None => count(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pinlink-instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &str, calls: usize, doors: &str) -> Result<()> {
    let mode = MODES.iter().find(|known| known.name == mode).ok_or("no such mode")?;
    (mode.run)(&serde_json::from_str::<Doors>(doors)?, calls)
}

/// Counts, shows, writes. False where a count has grown.
fn count(arguments: &Arguments) -> Result<bool> {
    let is_chosen = |mode: &&Mode| arguments.only.is_empty() || arguments.only.iter().any(|name| name == mode.name);
    let modes: Vec<&Mode> = MODES.iter().filter(is_chosen).collect();
    if let Some(unknown) = arguments.only.iter().find(|name| !MODES.iter().any(|mode| mode.name == **name)) {
        let known: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        return Err(format!("no mode {unknown}; there are {}", known.join(", ")).into());
    }
    let mut baseline = Baseline::read(&arguments.baseline)?;
    count::settle_on_one_processor()?;
    let server = Server::start()?;
    let made_with = count::made_with()?;
    let mut counted = Vec::new();
    for mode in modes {
        let once = || count::per_call(mode, server.doors(), arguments.profiles.as_deref());
        let runs = (0..arguments.runs.max(1)).map(|_| once()).collect::<Result<Vec<f64>>>()?;
        let mut found = Counted::of(mode, runs);
        // Whoever shares the processor may have been in the way once.
        if arguments.runs <= 1 && baseline.differs(&found) {
            found = Counted::of(mode, vec![found.instructions, once()?, once()?]);
        }
        println!("{}", baseline.line(&found));
        counted.push(found);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, baseline.to_json(&made_with, &counted)?)?;
    }
    if arguments.accept {
        if arguments.only.is_empty() {
            baseline = Baseline::default();
        }
        baseline.accept(made_with, &counted);
        std::fs::write(&arguments.baseline, baseline.to_toml()?)?;
        println!("\n{} holds these counts now", arguments.baseline.display());
        return Ok(true);
    }
    let verdict = baseline.verdict(&made_with, &counted);
    print!("{}", verdict.text);
    Ok(verdict.is_kept)
}
