//! The promises under faults, measured: what the proxy, the origins and the callers saw, held against bounds.
//!
//! A workload (`one-cap`, `cap-halved`, `idle-cut`, `goaway`, `cancel`) starts networks in boxes, each in a process of
//! its own so that its threads do not share the client's runtime, and says in [`report`]'s terms what it found.
//! `idle-cut` lasts minutes and costs next to nothing, so it goes on beside the others. The exit code is 0 whether
//! bounds are met or not, and 1 where something could not be measured.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod boxed;
mod cancel;
mod cap_halved;
mod goaway;
mod idle_cut;
mod machine;
mod one_cap;
mod report;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::boxed::Boxed;
use crate::machine::{Circumstances, Others};
use crate::report::{Workload, to_json};

/// Any failure; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures what is promised under faults.
#[derive(Parser)]
struct Arguments {
    /// Take about a minute instead of six; each workload sees less.
    #[arg(long)]
    quick: bool,
    /// Write machine, commit, command and all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this workload; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<Choice>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a process of this program is for, where it is not the one that measures.
#[derive(Subcommand)]
enum Role {
    /// A network in a box; the plan comes as one line of JSON.
    #[command(hide = true)]
    Network,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Callers of every kind under one cap.
    OneCap,
    /// The proxy's cap is halved, and restored.
    CapHalved,
    /// Proxies that close what is idle.
    IdleCut,
    /// An HTTP/2 peer that says GOAWAY every hundred requests.
    Goaway,
    /// Calls that are given up at random points.
    Cancel,
}

impl Choice {
    fn run(self, quick: bool) -> Result<Workload> {
        match self {
            Choice::OneCap => one_cap::run(quick),
            Choice::CapHalved => cap_halved::run(quick),
            Choice::IdleCut => idle_cut::run(quick),
            Choice::Goaway => goaway::run(),
            Choice::Cancel => cancel::run(),
        }
    }

    /// Runs it and shows what it found; the others' share of the machine is told with it.
    fn show(self, quick: bool) -> Result<Workload> {
        let others = Others::watch();
        let mut workload = self.run(quick)?;
        workload.others = others.share();
        println!("{workload}");
        Ok(workload)
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let circumstances = Circumstances::now();
    println!("{circumstances}\n");
    let chosen = |choice: &Choice| arguments.only.is_empty() || arguments.only.contains(choice);
    let quick = arguments.quick;
    let workloads = std::thread::scope(|scope| {
        let beside = chosen(&Choice::IdleCut).then(|| scope.spawn(move || Choice::IdleCut.show(quick)));
        let in_turn = Choice::value_variants().iter().filter(|choice| **choice != Choice::IdleCut && chosen(choice));
        let mut workloads = in_turn.map(|choice| choice.show(quick)).collect::<Result<Vec<_>>>()?;
        if let Some(beside) = beside {
            workloads.push(beside.join().map_err(|_| "idle-cut panicked")??);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(workloads)
    })?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string(&to_json(&circumstances, &workloads))?;
        std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.role {
        Some(Role::Network) => Boxed::play(),
        None => measure(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinlink-promises: {error}");
            ExitCode::FAILURE
        }
    }
}
