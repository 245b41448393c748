//! What is measured of Java and Python, and what is promised of it.
//!
//! It owns the names of the rows that targets speak of; who takes part is the worker's to say (`benches/java`,
//! `benches/python`).

use std::time::Duration;

use clap::ValueEnum;

use crate::Choice;
use crate::measure::{Figure, Peers, Result};
use crate::report::{Against, Bound, Target};
use crate::server::{BODY, Server};
use crate::throughput::{self, CONNECTIONS};
use crate::worker::{Size, Workers};

/// A language with workers.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Java,
    Python,
}

/// A workload of a language, as far as it is not measured yet.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) limit: &'static str,
    pub(crate) figures: &'static [Figure],
    pub(crate) targets: &'static [Target],
    pub(crate) peers: Peers,
}

/// One request after the other.
const SYNC: Size = Size { lead_in: 30, requests: 300, at_least: Duration::ZERO };
/// Many at once, for as long as wrk's shortest turn would be steady.
const MANY: Size = Size { lead_in: 0, requests: 2000, at_least: Duration::from_millis(400) };
const THREADS: Size = Size { lead_in: 100, requests: 2000, at_least: Duration::ZERO };
const CROSSINGS: Size = Size { lead_in: 1000, requests: 50_000, at_least: Duration::ZERO };

const RAW: &str = "raw socket";
const EMPTY: &str = "empty process";

impl Language {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Java => "java",
            Language::Python => "python",
        }
    }

    /// The workloads of a language, in their order.
    pub(crate) fn workloads(self) -> &'static [Choice] {
        match self {
            Language::Java => {
                &[Choice::Sync, Choice::SyncTls, Choice::Throughput, Choice::Threads, Choice::Start, Choice::Crossing]
            }
            Language::Python => &[Choice::Sync, Choice::SyncTls, Choice::Throughput, Choice::Threads, Choice::Start],
        }
    }

    /// What a workload is in this language, and its peers.
    pub(crate) fn plan(self, choice: Choice, server: &Server, worker: &[String]) -> Result<Plan> {
        let workers = Workers { command: worker, language: self.name() };
        let java = self == Language::Java;
        Ok(match choice {
            Choice::Sync | Choice::SyncTls => {
                let tls = choice == Choice::SyncTls;
                let over = if tls { "TLS 1.3" } else { "plain TCP" };
                Plan {
                    name: if tls { "sync-tls" } else { "sync" },
                    what: format!("one keep-alive GET of {BODY} B at a time over {over}, {} a turn", SYNC.requests),
                    limit: RAW,
                    figures: if java {
                        &[Figure::P50Us, Figure::P99Us, Figure::CpuUs, Figure::HeapBytes]
                    } else {
                        &[Figure::P50Us, Figure::P99Us, Figure::CpuUs]
                    },
                    targets: if java { &JAVA_SYNC } else { &PYTHON_SYNC },
                    peers: workers.standing("sync", server, tls, SYNC)?,
                }
            }
            Choice::Throughput => {
                let mut peers = throughput::ceiling(server);
                let Peers { present, missing } = workers.standing("many", server, false, MANY)?;
                peers.present.extend(present);
                peers.missing.extend(missing);
                Plan {
                    name: "throughput",
                    what: format!("GETs of {BODY} B over {CONNECTIONS} connections"),
                    limit: throughput::NAMES[0],
                    figures: if java {
                        &[Figure::PerSecond, Figure::CpuUs, Figure::HeapBytes]
                    } else {
                        &[Figure::PerSecond, Figure::CpuUs]
                    },
                    targets: if java { &JAVA_MANY } else { &PYTHON_MANY },
                    peers,
                }
            }
            Choice::Threads => Plan {
                name: "threads",
                what: format!("GETs of {BODY} B by several threads through one client"),
                limit: "pinlink, 1 thread",
                figures: &[Figure::PerSecond, Figure::CpuUs],
                targets: &THREADS_TARGETS,
                peers: workers.standing("threads", server, false, THREADS)?,
            },
            Choice::Start => Plan {
                name: "start",
                what: "a process from its start to its end, with one client, and one answer where none is said"
                    .to_owned(),
                limit: EMPTY,
                figures: &[Figure::CpuMs, Figure::WallMs],
                targets: if java { &JAVA_START } else { &PYTHON_START },
                peers: workers.passing("start", server)?,
            },
            Choice::Crossing => Plan {
                name: "crossing",
                what: "a request of 70 B into native code and an answer of 330 B out of it".to_owned(),
                limit: "direct buffer",
                figures: &[Figure::NsPerCall, Figure::HeapBytes],
                targets: &[],
                peers: workers.standing("crossing", server, false, CROSSINGS)?,
            },
            Choice::Http2 | Choice::Http2Tls => return Err("HTTP/2 is measured in Rust only".into()),
        })
    }
}

const fn target(peer: &'static str, figure: Figure, against: Against, bound: Bound) -> Target {
    Target { peer, figure, against, bound }
}

const JAVA_SYNC: [Target; 6] = {
    const SEND: &str = "pinlink send";
    [
        target(SEND, Figure::P50Us, Against::Peer(RAW), Bound::AtMost(1.3)),
        target(SEND, Figure::P50Us, Against::Best, Bound::Below(1.0)),
        target(SEND, Figure::P99Us, Against::Best, Bound::Below(1.0)),
        target(SEND, Figure::CpuUs, Against::Peer(RAW), Bound::AtMost(2.0)),
        target(SEND, Figure::CpuUs, Against::Best, Bound::Below(1.0)),
        target(SEND, Figure::HeapBytes, Against::Alone, Bound::AtMost(600.0)),
    ]
};

const JAVA_MANY: [Target; 4] = {
    const ALL: &str = "pinlink sendAll";
    [
        target(ALL, Figure::PerSecond, Against::Peer("aws-crt"), Bound::AtLeast(1.2)),
        target(ALL, Figure::PerSecond, Against::Best, Bound::AtLeast(1.2)),
        target(ALL, Figure::PerSecond, Against::Peer(throughput::NAMES[0]), Bound::AtLeast(0.75)),
        target(ALL, Figure::CpuUs, Against::Best, Bound::Below(1.0)),
    ]
};

const JAVA_START: [Target; 1] =
    [target("pinlink from the jar, no answer", Figure::CpuMs, Against::Over(EMPTY), Bound::AtMost(40.0))];

const PYTHON_SYNC: [Target; 10] = {
    const GET: &str = "pinlink get";
    [
        target(GET, Figure::P50Us, Against::Peer(RAW), Bound::AtMost(1.3)),
        target(GET, Figure::P50Us, Against::Peer("pycurl"), Bound::AtMost(0.75)),
        target(GET, Figure::P50Us, Against::Peer("primp"), Bound::AtMost(0.65)),
        target(GET, Figure::P50Us, Against::Peer("http.client"), Bound::AtMost(0.25)),
        target(GET, Figure::P50Us, Against::Peer("requests"), Bound::AtMost(1.0 / 12.0)),
        target(GET, Figure::P50Us, Against::Best, Bound::Below(1.0)),
        target(GET, Figure::P99Us, Against::Best, Bound::Below(1.0)),
        target(GET, Figure::CpuUs, Against::Best, Bound::Below(1.0)),
        target("requests + pinlink", Figure::P50Us, Against::Peer("requests"), Bound::AtMost(1.0 / 1.5)),
        target("httpx + pinlink", Figure::P50Us, Against::Peer("httpx"), Bound::AtMost(0.5)),
    ]
};

const PYTHON_MANY: [Target; 5] = {
    const MAP: &str = "pinlink map";
    [
        target(MAP, Figure::PerSecond, Against::Peer("pycurl multi"), Bound::AtLeast(1.5)),
        target(MAP, Figure::PerSecond, Against::Peer("aiohttp"), Bound::AtLeast(6.0)),
        target(MAP, Figure::PerSecond, Against::Peer(throughput::NAMES[0]), Bound::AtLeast(0.75)),
        target(MAP, Figure::PerSecond, Against::Best, Bound::AtLeast(1.0)),
        target(MAP, Figure::CpuUs, Against::Best, Bound::Below(1.0)),
    ]
};

const PYTHON_START: [Target; 2] = [
    target("pinlink, imported only", Figure::CpuMs, Against::Over(EMPTY), Bound::AtMost(10.0)),
    target("pinlink", Figure::CpuMs, Against::Best, Bound::Below(1.0)),
];

const THREADS_TARGETS: [Target; 2] = [
    target("pinlink, 2 threads", Figure::PerSecond, Against::Peer("pinlink, 1 thread"), Bound::AtLeast(1.0)),
    target("pinlink, 8 threads", Figure::PerSecond, Against::Peer("pinlink, 2 threads"), Bound::AtLeast(0.9)),
];
