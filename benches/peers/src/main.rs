//! Side by side: pinlink, what a user would pick instead, and the physical limit, in one run on one server.
//!
//! A workload (`sync`, `throughput`, `http2`; of other languages `languages`, by workers in processes of their own)
//! knows its peers and what one turn of each is; `measure` gives them their turns; `report` shows medians of per-round
//! ratios and holds them against the targets. A peer or program that is not there is reported as missing. The exit code
//! is 0 whether targets are met or not, and 1 where nothing could be measured.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod http2;
mod languages;
mod machine;
mod measure;
mod report;
mod server;
mod sync;
mod throughput;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::languages::{Language, Plan};
use crate::machine::{Circumstances, Others};
use crate::measure::{Figure, Length, Outcome, Peer, Peers, Result, in_turn};
use crate::report::{Against, Bound, Target, Workload, to_json};
use crate::server::{BODY, Server};

/// Measures pinlink beside other clients and the physical limit.
#[derive(Parser)]
struct Arguments {
    /// Take about a quarter of the time; spreads become wider.
    #[arg(long)]
    quick: bool,
    /// Write machine, versions, commit, command and all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this workload; may be repeated.
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<Choice>,
    /// Only this peer, by its name in the table; may be repeated. For profilers.
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Exactly so many rounds, however long they take. For profilers.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Measure the peers of this language, instead of Rust's.
    #[arg(long, value_name = "LANGUAGE", requires = "worker")]
    language: Option<Language>,
    /// The program that runs a peer of that language, with its first arguments.
    #[arg(last = true, value_name = "WORKER")]
    worker: Vec<String>,
}

impl Arguments {
    fn measure(&self, mut peers: Vec<Box<dyn Peer>>, choice: Choice) -> Vec<Outcome> {
        if !self.peer.is_empty() {
            peers.retain(|peer| self.peer.iter().any(|name| name == peer.name()));
        }
        in_turn(peers, self.rounds.map_or(Length::Time(choice.time(self.quick)), Length::Rounds))
    }

    fn choices(&self) -> impl Iterator<Item = Choice> {
        let all = self.language.map_or(RUST.as_slice(), Language::workloads);
        all.iter().copied().filter(|choice| self.only.is_empty() || self.only.contains(choice))
    }
}

/// The workloads of Rust, in their order.
const RUST: [Choice; 5] = [Choice::Sync, Choice::SyncTls, Choice::Throughput, Choice::Http2, Choice::Http2Tls];

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// One blocking keep-alive GET after the other.
    Sync,
    /// The same over TLS 1.3.
    SyncTls,
    /// Many GETs over 32 connections.
    Throughput,
    /// Many GETs at once over one HTTP/2 connection.
    Http2,
    /// The same over TLS 1.3.
    Http2Tls,
    /// One blocking GET after the other in each of several threads; of other languages only.
    Threads,
    /// A process's start, with its first client and answer; of other languages only.
    Start,
    /// The way from Java into native code and back.
    Crossing,
}

impl Choice {
    fn time(self, quick: bool) -> Duration {
        Duration::from_secs(match (self, quick) {
            (Choice::Sync, false) => 25,
            (Choice::SyncTls, false) => 20,
            (Choice::Throughput, false) => 30,
            (Choice::Http2 | Choice::Http2Tls, false) => 25,
            (Choice::Start, false) => 25,
            (Choice::Threads | Choice::Crossing, false) => 10,
            (Choice::Sync | Choice::SyncTls | Choice::Crossing, true) => 3,
            (Choice::Throughput | Choice::Http2 | Choice::Http2Tls | Choice::Threads | Choice::Start, true) => 8,
        })
    }

    fn run(self, server: &Server, arguments: &Arguments) -> Result<Workload> {
        let others = Others::watch();
        let mut workload = match arguments.language {
            Some(language) => {
                let Plan { name, what, limit, figures, targets, peers } =
                    language.plan(self, server, &arguments.worker)?;
                let Peers { present, missing: mut outcomes } = peers;
                outcomes.extend(arguments.measure(present, self));
                Workload { name, what, limit, figures, targets, outcomes, others: 0.0 }
            }
            None => self.run_rust(server, arguments)?,
        };
        workload.others = others.share();
        Ok(workload)
    }

    fn run_rust(self, server: &Server, arguments: &Arguments) -> Result<Workload> {
        Ok(match self {
            Choice::Sync | Choice::SyncTls => {
                let tls = self == Choice::SyncTls;
                let over = if tls { "TLS 1.3" } else { "plain TCP" };
                Workload {
                    name: if tls { "sync-tls" } else { "sync" },
                    what: format!("one keep-alive GET of {BODY} B at a time over {over}, {} a turn", sync::TURN),
                    limit: sync::NAMES[0],
                    figures: &[Figure::P50Us, Figure::P99Us, Figure::CpuUs],
                    targets: &SYNC_TARGETS,
                    outcomes: arguments.measure(sync::peers(server, tls)?, self),
                    others: 0.0,
                }
            }
            Choice::Throughput => {
                let Peers { present, missing: mut outcomes } = throughput::peers(server)?;
                outcomes.extend(arguments.measure(present, self));
                Workload {
                    name: "throughput",
                    what: format!(
                        "GETs of {BODY} B over {} connections, batches of {}",
                        throughput::CONNECTIONS,
                        throughput::BATCH
                    ),
                    limit: throughput::NAMES[0],
                    figures: &[Figure::PerSecond, Figure::CpuUs],
                    targets: &THROUGHPUT_TARGETS,
                    outcomes,
                    others: 0.0,
                }
            }
            Choice::Http2 | Choice::Http2Tls => {
                let tls = self == Choice::Http2Tls;
                let Peers { present, missing: mut outcomes } = http2::peers(server, tls)?;
                outcomes.extend(arguments.measure(present, self));
                Workload {
                    name: if tls { "http2-tls" } else { "http2" },
                    what: format!(
                        "{} GETs of {BODY} B over one HTTP/2 connection, {} at once, over {}",
                        http2::ROWS,
                        http2::AT_ONCE,
                        if tls { "TLS 1.3" } else { "plain TCP" },
                    ),
                    limit: http2::NAMES[0],
                    figures: &[Figure::PerSecond, Figure::CpuUs],
                    targets: &HTTP2_TARGETS,
                    outcomes,
                    others: 0.0,
                }
            }
            Choice::Threads | Choice::Start | Choice::Crossing => {
                return Err("this workload is of other languages: give --language".into());
            }
        })
    }
}

const SYNC_TARGETS: [Target; 4] = {
    const fn target(figure: Figure, against: usize, bound: Bound) -> Target {
        Target { peer: sync::NAMES[1], figure, against: Against::Peer(sync::NAMES[against]), bound }
    }
    [
        target(Figure::P50Us, 0, Bound::AtMost(1.3)),
        target(Figure::P50Us, 2, Bound::Below(1.0)),
        target(Figure::P50Us, 3, Bound::AtMost(0.5)),
        target(Figure::CpuUs, 0, Bound::AtMost(1.8)),
    ]
};

const THROUGHPUT_TARGETS: [Target; 2] = {
    const fn target(against: usize, bound: Bound) -> Target {
        let against = Against::Peer(throughput::NAMES[against]);
        Target { peer: throughput::NAMES[1], figure: Figure::PerSecond, against, bound }
    }
    [target(0, Bound::AtLeast(0.85)), target(2, Bound::AtLeast(1.2))]
};

const HTTP2_TARGETS: [Target; 3] = {
    const fn target(peer: usize) -> Target {
        Target {
            peer: http2::NAMES[peer],
            figure: Figure::PerSecond,
            against: Against::Peer(http2::NAMES[0]),
            bound: Bound::AtLeast(0.8),
        }
    }
    [target(1), target(2), target(3)]
};

fn run(arguments: &Arguments) -> Result<()> {
    let circumstances = Circumstances::now();
    // reqwest is built without a provider; ureq and the raw session then take the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::start()?;
    let machine = &circumstances.machine;
    println!("{}, {} cores, Linux {}, load {}", machine.cpu, machine.cores, machine.kernel, machine.load_before);
    let modified = if circumstances.modified { ", modified" } else { "" };
    println!("commit {}{modified}; medians over rounds, ratios within rounds\n", circumstances.commit);
    let mut workloads = Vec::new();
    for choice in arguments.choices() {
        let workload = choice.run(&server, arguments)?;
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
