//! Side by side: pinlink, what a user would pick instead, and the physical limit, in one run on one server.
//!
//! `languages` says what is measured and promised; `worker` starts a process for each peer and asks it for turns;
//! `programs` are those that load a server for their living; `measure` gives all of them their turns; `report` shows
//! medians of per-round ratios and holds them against the targets. No peer's code is in here: what a peer, a program or a
//! figure lacks is reported as missing. The exit code is 0 whether targets are met or not, and 1 where nothing could be
//! measured. `flames` measures nothing: it has perf record the rows that are behind, and `stacks` folds what it saw.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod flames;
mod languages;
mod machine;
mod measure;
mod plan;
mod process;
mod programs;
mod report;
mod server;
mod stacks;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::languages::Language;
use crate::machine::{Circumstances, Others};
use crate::measure::{Length, Peers, Result, Who, in_turn};
use crate::plan::{Kind, Plan};
use crate::report::{Workload, to_json};
use crate::server::Server;
use crate::worker::Workers;

/// A quick run takes so many seconds for a workload, and at least the fewest rounds.
const QUICK: u64 = 3;
/// A quick run leaves out the points of a curve beyond this one.
const QUICK_POINT: f64 = 1e6;

/// Measures pinlink beside other clients and the physical limit.
#[derive(Parser)]
struct Arguments {
    /// Take about a quarter of the time; spreads become wider, and curves shorter.
    #[arg(long)]
    quick: bool,
    /// Write machine, versions, commit, command and all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this workload; may be repeated.
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<String>,
    /// Only this peer, by its name in the table; may be repeated. For profilers.
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Exactly so many rounds, however long they take. For profilers.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Measure nothing, but record with perf where the processor time of the rows that are behind goes, and write their
    /// folded stacks into this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["json", "quick", "rounds"])]
    flames: Option<PathBuf>,
    /// Whose peers, or how cost grows.
    #[arg(long, value_name = "LANGUAGE")]
    language: Language,
    /// The program that runs a peer, with its first arguments.
    #[arg(last = true, value_name = "WORKER", required = true)]
    worker: Vec<String>,
}

impl Arguments {
    /// The workloads that are asked for, in the order of the language.
    fn plans(&self) -> Result<Vec<&'static Plan>> {
        let all = self.language.plans();
        for name in &self.only {
            if all.iter().all(|plan| plan.name != name) {
                let names: Vec<&str> = all.iter().map(|plan| plan.name).collect();
                return Err(format!("there is no workload {name}, but {}", names.join(", ")).into());
            }
        }
        let asked = |plan: &&Plan| self.only.is_empty() || self.only.iter().any(|name| name == plan.name);
        Ok(all.iter().filter(asked).collect())
    }

    fn length(&self, plan: &Plan) -> Length {
        let seconds = if self.quick { QUICK.min(plan.seconds) } else { plan.seconds };
        self.rounds.map_or(Length::Time(Duration::from_secs(seconds)), Length::Rounds)
    }

    fn takes_part(&self, who: &Who) -> bool {
        let named = self.peer.is_empty() || self.peer.contains(&who.name);
        named && !(self.quick && who.x.is_some_and(|x| x > QUICK_POINT))
    }

    fn measure(&self, plan: &'static Plan, workers: &Workers, server: &Server) -> Result<Workload> {
        let others = Others::watch();
        let mut all = plan.ceiling.map_or_else(Peers::default, |ceiling| ceiling.peers(server));
        let Peers { present, missing } = workers.peers(plan, server)?;
        all.present.extend(present);
        all.missing.extend(missing);
        all.present.retain(|peer| self.takes_part(peer.who()));
        let mut outcomes = all.missing;
        // The first point of a curve is what the others are held against.
        let first = all.present.first().map_or(String::new(), |peer| peer.who().name.clone());
        outcomes.extend(in_turn(all.present, self.length(plan)));
        let limit = if plan.kind == Kind::Growth { first } else { plan.limit.to_owned() };
        Ok(Workload { plan, limit, outcomes, others: others.share() })
    }
}

/// Records the gaps of a language. Where perf can't, it says so, and what is in the folder stays.
fn record(arguments: &Arguments, folder: &Path) -> Result<()> {
    let plans = arguments.plans()?;
    if let Err(why) = flames::is_possible(folder) {
        println!("perf can't record here, so no flame graph is drawn anew: {why}");
        return Ok(());
    }
    let commit = Circumstances::now(arguments.language).commit;
    process::allow_many_files();
    let server = Server::start()?;
    let workers = Workers::new(&arguments.worker, arguments.language.peers())?;
    for gap in flames::gaps(arguments.language) {
        let Some(plan) = plans.iter().find(|plan| plan.name == gap.workload) else { continue };
        let is_asked = |row: &&&str| arguments.peer.is_empty() || arguments.peer.iter().any(|name| name == **row);
        for row in gap.rows.iter().filter(is_asked) {
            let recorded = flames::record(gap, row, plan, (&workers, &server), (folder, &commit));
            let said = recorded.unwrap_or_else(|why| format!("MISSING: {why}"));
            println!("{}, {}, {row}: {said}", arguments.language.name(), gap.workload);
        }
    }
    Ok(())
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(folder) = &arguments.flames {
        return record(arguments, folder);
    }
    let plans = arguments.plans()?;
    let circumstances = Circumstances::now(arguments.language);
    process::allow_many_files();
    let server = Server::start()?;
    let workers = Workers::new(&arguments.worker, arguments.language.peers())?;
    let machine = &circumstances.machine;
    println!("{}, {} cores, Linux {}, load {}", machine.cpu, machine.cores, machine.kernel, machine.load_before);
    let modified = if circumstances.modified { ", modified" } else { "" };
    println!("commit {}{modified}; medians over rounds, ratios within rounds\n", circumstances.commit);
    let mut workloads = Vec::new();
    for plan in plans {
        let workload = arguments.measure(plan, &workers, &server)?;
        println!("{}", workload.table());
        workloads.push(workload);
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string(&to_json(&circumstances, &workloads))?;
        std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinlink-peers: {error}");
            ExitCode::FAILURE
        }
    }
}
