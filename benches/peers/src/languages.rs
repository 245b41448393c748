//! What is measured in each language, and what is promised of it.
//!
//! It owns the names of the rows that targets speak of; who takes part is the worker's to say (`benches/rust`,
//! `benches/java`, `benches/python`). What the growth of a cost is measured by is Rust's worker too.

use std::time::Duration;

use clap::ValueEnum;

use crate::measure::Figure::{
    self, BytesEach, Connections, CpuMs, CpuUs, HeapBytes, HeapEach, MibPerSecond, NsPerCall, P50Us, P99Us, P999Us,
    PeakMib, PerSecond, SyscallsPerReq, WallMs,
};
use crate::plan::{Against, Bound, Door, Kind, LAST_POINT, Plan, Requests, Size, Target, Turns, WORST_POINT};
use crate::programs::{Ceiling, H2LOAD, WRK};
use crate::report::RAW;
use crate::server::{BODY_10M, BODY_64K};

/// A language with a worker, and a table of its own; or how cost grows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Java,
    Python,
    /// How Rust's cost grows.
    Growth,
}

impl Language {
    /// Its name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Java => "java",
            Language::Python => "python",
            Language::Growth => "growth",
        }
    }

    /// What its peers are written for.
    pub(crate) fn peers(self) -> &'static str {
        match self {
            Language::Growth => Language::Rust.name(),
            language => language.name(),
        }
    }

    /// The workloads of a language, in their order.
    pub(crate) fn plans(self) -> &'static [Plan] {
        match self {
            Language::Rust => &RUST,
            Language::Java => &JAVA,
            Language::Python => &PYTHON,
            Language::Growth => &GROWTH,
        }
    }
}

const RUST: [Plan; 14] = [
    sync("sync", Door::Plain, LATENCY, &RUST_SYNC),
    sync("sync-tls", Door::Tls, LATENCY, &RUST_SYNC),
    post("post", Door::Plain, LATENCY, &RUST_CALL),
    post("post-tls", Door::Tls, LATENCY, &RUST_CALL),
    body("body", Door::Plain, LATENCY, &RUST_CALL),
    body("body-tls", Door::Tls, LATENCY, &RUST_CALL),
    stream("stream", Door::Plain, STREAM, &RUST_STREAM),
    stream("stream-tls", Door::Tls, STREAM, &RUST_STREAM),
    many("many-8", 8, RATE, &RUST_MANY),
    many("many-32", 32, RATE, &RUST_MANY_32),
    many("many-128", 128, RATE, &RUST_MANY),
    http2("http2", Door::Http2, RATE, &RUST_HTTP2),
    http2("http2-tls", Door::Http2Tls, RATE, &RUST_HTTP2),
    start(&RUST_START),
];

const JAVA: [Plan; 15] = [
    sync("sync", Door::Plain, LATENCY_HEAP, &JAVA_SYNC),
    sync("sync-tls", Door::Tls, LATENCY_HEAP, &JAVA_SYNC),
    post("post", Door::Plain, LATENCY_HEAP, &JAVA_CALL),
    post("post-tls", Door::Tls, LATENCY_HEAP, &JAVA_CALL),
    body("body", Door::Plain, LATENCY_HEAP, &JAVA_CALL),
    body("body-tls", Door::Tls, LATENCY_HEAP, &JAVA_CALL),
    stream_of_java("stream", Door::Plain),
    stream_of_java("stream-tls", Door::Tls),
    many("many-8", 8, RATE_HEAP, &JAVA_MANY),
    many("many-32", 32, RATE_HEAP, &JAVA_MANY_32),
    many("many-128", 128, RATE_HEAP, &JAVA_MANY),
    http2("http2-tls", Door::Http2Tls, RATE_HEAP, &JAVA_MANY),
    threads(),
    start(&JAVA_START),
    CROSSING,
];

const PYTHON: [Plan; 15] = [
    sync("sync", Door::Plain, LATENCY, &PYTHON_SYNC),
    sync("sync-tls", Door::Tls, LATENCY, &PYTHON_SYNC),
    post("post", Door::Plain, LATENCY, &PYTHON_CALL),
    post("post-tls", Door::Tls, LATENCY, &PYTHON_CALL),
    body("body", Door::Plain, LATENCY, &PYTHON_CALL),
    body("body-tls", Door::Tls, LATENCY, &PYTHON_CALL),
    stream("stream", Door::Plain, STREAM, &PYTHON_STREAM),
    stream("stream-tls", Door::Tls, STREAM, &PYTHON_STREAM),
    many("many-8", 8, RATE, &PYTHON_MANY),
    many("many-32", 32, RATE, &PYTHON_MANY_32),
    many("many-128", 128, RATE, &PYTHON_MANY),
    http2("http2-tls", Door::Http2Tls, RATE, &PYTHON_MANY),
    threads(),
    start(&PYTHON_START),
    Plan { what: "from Python into native code and back", limit: "Python call", figures: &[NsPerCall], ..CROSSING },
];

const GROWTH: [Plan; 7] = [
    Plan {
        what: "one keep-alive GET of 100 B at a time, of a client that knows so many hosts",
        turns: Turns::Standing(Size { requests: Requests::Count(2000), lead_in: 100, ..CALLS }),
        figures: &[CpuUs, P50Us, SyscallsPerReq, BytesEach],
        targets: &[target(WORST_POINT, CpuUs, Against::First, Bound::Within(0.1))],
        seconds: 20,
        ..growth("hosts", "grow-hosts")
    },
    Plan {
        what: "GETs of 100 B by so many threads through one client of 8 connections",
        turns: Turns::Standing(Size { requests: Requests::Count(4096), ..BATCHES }),
        figures: &[CpuUs, PerSecond, SyscallsPerReq, PeakMib],
        targets: &[target(WORST_POINT, CpuUs, Against::First, Bound::AtMost(1.5))],
        seconds: 20,
        ..growth("spread-threads", "grow-threads")
    },
    Plan {
        what: "batches of so many GETs of 100 B over at most 32 connections",
        ..at_once("in-flight", "grow-in-flight", Door::Plain)
    },
    Plan {
        // Over plain TCP, nginx sends an answer's head and its file apart, and a single stream waits for a delayed ACK.
        what: "batches of so many GETs of 100 B over one HTTP/2 connection, 100 at once, over {over}",
        ..at_once("streams", "grow-streams", Door::Http2Tls)
    },
    Plan { what: IDLE, path: "/64k", seconds: 8, ..idle("idle", Door::Plain, &[]) },
    Plan {
        what: IDLE,
        path: "/64k",
        seconds: 12,
        ..idle("idle-tls", Door::Tls, &[target(LAST_POINT, BytesEach, Against::Alone, Bound::AtMost(40.0 * 1024.0))])
    },
    Plan {
        what: "so many GETs of 100 B by one client over 32 connections",
        turns: Turns::Standing(Size {
            requests: Requests::Point,
            at_least: Duration::from_secs(1),
            at_most: Duration::from_secs(1800),
            ..BATCHES
        }),
        figures: &[CpuUs, PerSecond, PeakMib],
        targets: &[target(WORST_POINT, CpuUs, Against::First, Bound::Within(0.1))],
        // A point that takes longer is measured once: ten million rows.
        seconds: 20,
        ..growth("rows", "grow-rows")
    },
];

/// Until something of a workload is said, it is this.
const PEERS: Plan = Plan {
    name: "",
    worker: "",
    what: "",
    kind: Kind::Peers,
    door: Door::Plain,
    path: "/answer",
    limit: RAW,
    ceiling: None,
    turns: Turns::Passing,
    figures: &[],
    targets: &[],
    seconds: 0,
};

/// A process that does nothing.
const EMPTY: &str = "empty process";

const LATENCY: &[Figure] = &[P50Us, P99Us, P999Us, CpuUs, SyscallsPerReq, PeakMib, Connections];
const LATENCY_HEAP: &[Figure] = &[P50Us, P99Us, P999Us, CpuUs, HeapBytes, SyscallsPerReq, PeakMib, Connections];
const STREAM: &[Figure] = &[MibPerSecond, CpuUs, SyscallsPerReq, PeakMib];
const RATE: &[Figure] = &[PerSecond, CpuUs, SyscallsPerReq, PeakMib, Connections];
const RATE_HEAP: &[Figure] = &[PerSecond, CpuUs, HeapBytes, SyscallsPerReq, PeakMib, Connections];

/// A peer that takes longer for what others do in milliseconds is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request after the other.
const CALLS: Size = Size {
    warm: 1000,
    renews: false,
    lead_in: 30,
    requests: Requests::Count(300),
    at_least: Duration::ZERO,
    at_most: PATIENCE,
    body: 100,
};
/// Bodies of 10 MiB.
const STREAMS: Size = Size { warm: 2, lead_in: 1, requests: Requests::Count(8), body: BODY_10M, ..CALLS };
/// Many at once, for as long as wrk's shortest turn would be steady.
const BATCHES: Size = Size {
    warm: 2000,
    renews: false,
    lead_in: 0,
    requests: Requests::Count(2000),
    at_least: Duration::from_millis(400),
    at_most: PATIENCE,
    body: 100,
};

const fn sync(name: &'static str, door: Door, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "one keep-alive GET of 100 B at a time over {over}, 300 a turn";
    Plan { name, worker: "sync", what, door, turns: Turns::Standing(CALLS), figures, targets, seconds: 20, ..PEERS }
}

const fn post(name: &'static str, door: Door, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "one keep-alive POST of 1 KiB at a time over {over}, answered by 100 B, 300 a turn";
    let turns = Turns::Standing(CALLS);
    Plan { name, worker: "post", what, door, path: "/post", turns, figures, targets, seconds: 10, ..PEERS }
}

const fn body(name: &'static str, door: Door, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "one keep-alive GET of 64 KiB at a time over {over}, 300 a turn";
    let turns = Turns::Standing(Size { body: BODY_64K, ..CALLS });
    Plan { name, worker: "body", what, door, path: "/64k", turns, figures, targets, seconds: 10, ..PEERS }
}

/// The kernel's receive window either grows to the size of a body or stays small for as long as the connection lives, by
/// chance: a process for each turn has a connection of its own. A JVM would have to be warmed for each.
const fn stream(name: &'static str, door: Door, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "10 MiB at a time over {over}, read in pieces, 8 a turn";
    let turns = Turns::Standing(Size { renews: true, ..STREAMS });
    Plan { name, worker: "stream", what, door, path: "/10m", turns, figures, targets, seconds: 15, ..PEERS }
}

const fn stream_of_java(name: &'static str, door: Door) -> Plan {
    let turns = Turns::Standing(STREAMS);
    Plan { turns, seconds: 10, ..stream(name, door, STREAM, &JAVA_STREAM) }
}

const fn many(name: &'static str, connections: usize, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "GETs of 100 B over {connections} connections";
    let (limit, ceiling, turns) = (WRK, Some(Ceiling::Wrk(connections)), Turns::Standing(BATCHES));
    let seconds = if connections == 32 { 25 } else { 10 };
    Plan { name, worker: name, what, limit, ceiling, turns, figures, targets, seconds, ..PEERS }
}

const fn http2(name: &'static str, door: Door, figures: &'static [Figure], targets: &'static [Target]) -> Plan {
    let what = "GETs of 100 B over one HTTP/2 connection, 100 at once, over {over}";
    let (limit, ceiling, turns) = (H2LOAD, Some(Ceiling::H2load(door)), Turns::Standing(BATCHES));
    Plan { name, worker: "http2", what, door, limit, ceiling, turns, figures, targets, seconds: 15, ..PEERS }
}

const fn threads() -> Plan {
    let what = "GETs of 100 B by several threads through one client";
    let turns = Turns::Standing(Size { lead_in: 100, at_least: Duration::ZERO, ..BATCHES });
    let (limit, figures, targets) = ("pinlink, 1 thread", &[PerSecond, CpuUs], &THREADS_TARGETS);
    Plan { name: "threads", worker: "threads", what, limit, turns, figures, targets, seconds: 10, ..PEERS }
}

const fn start(targets: &'static [Target]) -> Plan {
    let what = "a process from its start to its end, with one client, and one answer where none is said";
    let figures = &[CpuMs, WallMs];
    Plan { name: "start", worker: "start", what, limit: EMPTY, figures, targets, seconds: 20, ..PEERS }
}

const CROSSING: Plan = Plan {
    name: "crossing",
    worker: "crossing",
    what: "a request of 70 B into native code and an answer of 330 B out of it",
    limit: "direct buffer",
    turns: Turns::Standing(Size { lead_in: 1000, requests: Requests::Count(50_000), ..CALLS }),
    figures: &[NsPerCall, HeapBytes],
    seconds: 5,
    ..PEERS
};

const fn growth(name: &'static str, worker: &'static str) -> Plan {
    Plan { name, worker, kind: Kind::Growth, limit: "", ..PEERS }
}

const fn at_once(name: &'static str, worker: &'static str, door: Door) -> Plan {
    let size = Size { requests: Requests::Point, at_least: Duration::from_millis(300), ..BATCHES };
    let figures = &[CpuUs, PerSecond, PeakMib];
    Plan { door, turns: Turns::Standing(size), figures, seconds: 15, ..growth(name, worker) }
}

const IDLE: &str = "so many connections of one client, kept idle, over {over}";

const fn idle(name: &'static str, door: Door, targets: &'static [Target]) -> Plan {
    let figures = &[BytesEach, HeapEach];
    Plan { door, turns: Turns::Fresh, figures, targets, ..growth(name, "grow-idle") }
}

const fn target(peer: &'static str, figure: Figure, against: Against, bound: Bound) -> Target {
    Target { peer, figure, against, bound }
}

/// Less than any other peer.
const fn least(peer: &'static str, figure: Figure) -> Target {
    target(peer, figure, Against::Best, Bound::Below(1.0))
}

const fn to_raw(peer: &'static str, figure: Figure, bound: Bound) -> Target {
    target(peer, figure, Against::Peer(RAW), bound)
}

const fn to_wrk(peer: &'static str, bound: f64) -> Target {
    target(peer, PerSecond, Against::Peer(WRK), Bound::AtLeast(bound))
}

const RUST_SYNC: [Target; 7] = {
    const SEND: &str = "pinlink send";
    [
        to_raw(SEND, P50Us, Bound::AtMost(1.25)),
        target(SEND, P50Us, Against::Peer("ureq"), Bound::Below(1.0)),
        target(SEND, P50Us, Against::Peer("reqwest blocking"), Bound::AtMost(0.5)),
        least(SEND, P50Us),
        least(SEND, P99Us),
        to_raw(SEND, CpuUs, Bound::AtMost(1.8)),
        least(SEND, CpuUs),
    ]
};

const RUST_CALL: [Target; 3] =
    [least("pinlink send", P50Us), least("pinlink send", P99Us), least("pinlink send", CpuUs)];

const RUST_STREAM: [Target; 2] =
    [to_raw("pinlink send", MibPerSecond, Bound::AtLeast(0.9)), least("pinlink send", CpuUs)];

const RUST_MANY: [Target; 1] = [least("pinlink map", CpuUs)];

const RUST_MANY_32: [Target; 3] = [
    to_wrk("pinlink map", 0.9),
    target("pinlink map", PerSecond, Against::Peer("hyper-util legacy"), Bound::AtLeast(1.2)),
    least("pinlink map", CpuUs),
];

const RUST_HTTP2: [Target; 4] = {
    const fn to_h2load(peer: &'static str) -> Target {
        target(peer, PerSecond, Against::Peer(H2LOAD), Bound::AtLeast(0.8))
    }
    [
        to_h2load("pinlink AsyncClient"),
        to_h2load("pinlink AsyncClient, 2 workers"),
        to_h2load("pinlink map"),
        least("pinlink map", CpuUs),
    ]
};

const RUST_START: [Target; 2] = [least("pinlink send", CpuMs), least("pinlink send", WallMs)];

const JAVA_SYNC: [Target; 6] = {
    const SEND: &str = "pinlink send";
    [
        to_raw(SEND, P50Us, Bound::AtMost(1.3)),
        least(SEND, P50Us),
        least(SEND, P99Us),
        to_raw(SEND, CpuUs, Bound::AtMost(2.0)),
        least(SEND, CpuUs),
        target(SEND, HeapBytes, Against::Alone, Bound::AtMost(600.0)),
    ]
};

const JAVA_CALL: [Target; 3] =
    [least("pinlink send", P50Us), least("pinlink send", P99Us), least("pinlink send", CpuUs)];

const JAVA_STREAM: [Target; 2] =
    [to_raw("pinlink open", MibPerSecond, Bound::AtLeast(0.9)), least("pinlink open", CpuUs)];

const JAVA_MANY: [Target; 1] = [least("pinlink sendAll", CpuUs)];

const JAVA_MANY_32: [Target; 4] = {
    const ALL: &str = "pinlink sendAll";
    [
        target(ALL, PerSecond, Against::Peer("aws-crt"), Bound::AtLeast(1.2)),
        target(ALL, PerSecond, Against::Best, Bound::AtLeast(1.2)),
        to_wrk(ALL, 0.75),
        least(ALL, CpuUs),
    ]
};

const JAVA_START: [Target; 3] = [
    target("pinlink from the jar, no answer", CpuMs, Against::Over(EMPTY), Bound::AtMost(40.0)),
    least("pinlink", CpuMs),
    least("pinlink", WallMs),
];

const PYTHON_SYNC: [Target; 10] = {
    const GET: &str = "pinlink get";
    [
        to_raw(GET, P50Us, Bound::AtMost(1.3)),
        target(GET, P50Us, Against::Peer("pycurl"), Bound::AtMost(0.75)),
        target(GET, P50Us, Against::Peer("primp"), Bound::AtMost(0.65)),
        target(GET, P50Us, Against::Peer("http.client"), Bound::AtMost(0.25)),
        target(GET, P50Us, Against::Peer("requests"), Bound::AtMost(1.0 / 12.0)),
        least(GET, P50Us),
        least(GET, P99Us),
        least(GET, CpuUs),
        target("requests + pinlink", P50Us, Against::Peer("requests"), Bound::AtMost(1.0 / 1.5)),
        target("httpx + pinlink", P50Us, Against::Peer("httpx"), Bound::AtMost(0.5)),
    ]
};

const PYTHON_CALL: [Target; 3] =
    [least("pinlink get", P50Us), least("pinlink get", P99Us), least("pinlink get", CpuUs)];

const PYTHON_STREAM: [Target; 2] =
    [to_raw("pinlink get", MibPerSecond, Bound::AtLeast(0.9)), least("pinlink get", CpuUs)];

const PYTHON_MANY: [Target; 1] = [least("pinlink map", CpuUs)];

const PYTHON_MANY_32: [Target; 5] = {
    const MAP: &str = "pinlink map";
    [
        target(MAP, PerSecond, Against::Peer("pycurl multi"), Bound::AtLeast(1.5)),
        target(MAP, PerSecond, Against::Peer("aiohttp"), Bound::AtLeast(6.0)),
        to_wrk(MAP, 0.75),
        target(MAP, PerSecond, Against::Best, Bound::AtLeast(1.0)),
        least(MAP, CpuUs),
    ]
};

const PYTHON_START: [Target; 3] = [
    target("pinlink, imported only", CpuMs, Against::Over(EMPTY), Bound::AtMost(10.0)),
    least("pinlink", CpuMs),
    least("pinlink", WallMs),
];

const THREADS_TARGETS: [Target; 2] = [
    target("pinlink, 2 threads", PerSecond, Against::Peer("pinlink, 1 thread"), Bound::AtLeast(1.0)),
    target("pinlink, 8 threads", PerSecond, Against::Peer("pinlink, 2 threads"), Bound::AtLeast(0.9)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_about_a_figure_that_is_shown() {
        for plan in Language::value_variants().iter().flat_map(|language| language.plans()) {
            assert!(plan.seconds > 0 && !plan.what.is_empty(), "{}", plan.name);
            for target in plan.targets {
                assert!(plan.figures.contains(&target.figure), "{}: {}", plan.name, target.figure.label());
            }
        }
    }

    #[test]
    fn a_language_takes_less_than_eight_minutes_with_an_allowance_for_warming_up() {
        for language in Language::value_variants() {
            let seconds: u64 = language.plans().iter().map(|plan| plan.seconds).sum();
            assert!(seconds <= 240, "{}: {seconds}", language.name());
        }
    }
}
