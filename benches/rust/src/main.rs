//! `pinlink-bench-rust`: the Rust worker of the benchmarks. `peers` prints a line of JSON for each peer of each workload;
//! `run WORKLOAD PEER URL CA` makes that peer and serves its turns, or for `start` makes one request and ends.
//!
//! It owns who takes part and under which name. It starts no server and judges no figure: `benches/peers` does. A process
//! holds one peer.

mod apart;
mod asked;
mod clients;
mod growth;
mod memory;
mod raw;
mod tasks;
mod turns;

use std::io::{self, Write};
use std::process::ExitCode;

use asked::{Ask, At, Result};
use growth::CURVES;
use tasks::Way;
use turns::{Call, Turn, at_once, one_by_one};

/// The versions that were built: the file stands two directories up, with the workspace.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// How one peer is made.
enum Make {
    OneByOne(fn(&At, Ask) -> Result<Call>),
    Many(fn(&At, Way) -> Result<Turn>, Way),
    Growing(fn(&At, usize) -> Result<Turn>, usize),
    /// It does nothing: a process that only starts and ends.
    Nothing,
}

struct Peer {
    workload: &'static str,
    name: String,
    package: &'static str,
    make: Make,
}

type OneByOne = (&'static str, &'static str, fn(&At, Ask) -> Result<Call>);
type Many = (&'static str, &'static str, fn(&At, Way) -> Result<Turn>);

/// Peers that make one call at a time, and their packages; the limit first.
const ONE_BY_ONE: [OneByOne; 8] = [
    ("raw socket", "std", raw::socket),
    ("pinlink send", "pinlink", clients::pinlink_send),
    ("pinlink AsyncClient", "pinlink", |at, ask| tasks::pinlink(at, ONE)?.one_by_one(ask)),
    ("ureq", "ureq", clients::ureq),
    ("reqwest blocking", "reqwest", clients::reqwest),
    ("reqwest", "reqwest", |at, ask| tasks::reqwest(at, ONE)?.one_by_one(ask)),
    ("hyper-util legacy", "hyper-util", |at, ask| match at.tls {
        true => tasks::hyper_util_tls(at, ONE)?.one_by_one(ask),
        false => tasks::hyper_util(at, ONE)?.one_by_one(ask),
    }),
    ("hyper", "hyper", |at, ask| tasks::hyper(at, ONE)?.one_by_one(ask)),
];
const ONE: Way = Way::Http1(1);

/// Peers with many calls at once.
const MANY: [Many; 5] = [
    ("pinlink map", "pinlink", clients::pinlink_map),
    ("pinlink AsyncClient", "pinlink", |at, way| Ok(at_once(tasks::pinlink(at, way)?.at_once()))),
    ("reqwest", "reqwest", |at, way| Ok(at_once(tasks::reqwest(at, way)?.at_once()))),
    ("hyper-util legacy", "hyper-util", |at, way| match at.tls {
        true => Ok(at_once(tasks::hyper_util_tls(at, way)?.at_once())),
        false => Ok(at_once(tasks::hyper_util(at, way)?.at_once())),
    }),
    ("hyper", "hyper", |at, way| match way {
        Way::Http1(_) => Ok(at_once(tasks::hyper(at, way)?.at_once())),
        Way::Http2(_) => Ok(at_once(tasks::hyper_streams(at, way)?.at_once())),
    }),
];
const STREAMS: Way = Way::Http2(100);

/// Peers of one workload only.
const ALONE: [(&str, Many, Way); 3] = [
    ("many-32", ("pinlink send, one at a time", "pinlink", clients::pinlink_in_turn), Way::Http1(32)),
    (
        "http2",
        ("pinlink AsyncClient, 2 workers", "pinlink", |at, way| {
            Ok(at_once(tasks::pinlink_on_two_workers(at, way)?.at_once()))
        }),
        STREAMS,
    ),
    // What `protocol` chooses between by itself, which only TLS can tell.
    ("http2", (OVER_TLS, "pinlink", clients::pinlink_map), Way::Http1(8)),
];
const OVER_TLS: &str = "pinlink map, 8 x http1";

/// Everyone, in the order of the tables.
fn peers() -> Vec<Peer> {
    let mut peers = Vec::new();
    for workload in ["sync", "post", "body", "stream", "start"] {
        if workload == "start" {
            peers.push(Peer { workload, name: "empty process".to_owned(), package: "std", make: Make::Nothing });
        }
        let each = ONE_BY_ONE.map(|(name, package, make)| (name.to_owned(), package, Make::OneByOne(make)));
        peers.extend(each.map(|(name, package, make)| Peer { workload, name, package, make }));
    }
    let ways =
        [("many-8", Way::Http1(8)), ("many-32", Way::Http1(32)), ("many-128", Way::Http1(128)), ("http2", STREAMS)];
    for (workload, way) in ways {
        let alone = ALONE.iter().filter(|(its, ..)| *its == workload).map(|&(_, many, way)| (many, way));
        for ((name, package, make), way) in MANY.map(|many| (many, way)).into_iter().chain(alone) {
            peers.push(Peer { workload, name: name.to_owned(), package, make: Make::Many(make, way) });
        }
    }
    for curve in CURVES {
        let point = |&x: &usize| {
            let make = Make::Growing(curve.at, x);
            Peer { workload: curve.workload, name: curve.name(x), package: "pinlink", make }
        };
        peers.extend(curve.points.iter().map(point));
    }
    peers
}

fn tell() -> Result<()> {
    let mut output = io::stdout().lock();
    for Peer { workload, name, package, make } in peers() {
        let mut line = serde_json::json!({ "workload": workload, "name": name, "version": locked(package) });
        if let Make::Growing(_, x) = make {
            line["x"] = x.into();
        }
        if name == OVER_TLS {
            line["over"] = "tls".into();
        }
        writeln!(output, "{line}")?;
    }
    drop(output);
    apart::tell()
}

fn run(workload: &str, name: &str, at: &At) -> Result<()> {
    if name == apart::ISAHC {
        return apart::become_it();
    }
    let mut known = peers().into_iter();
    let peer = known.find(|peer| peer.workload == workload && peer.name == name).ok_or("there is no such peer")?;
    let ask = Ask::of(workload);
    match peer.make {
        Make::Nothing => Ok(()),
        Make::OneByOne(make) if workload == "start" => make(at, ask)?(),
        Make::OneByOne(make) => turns::serve(|| Ok(one_by_one(make(at, ask)?))),
        Make::Many(make, way) => turns::serve(|| make(at, way)),
        Make::Growing(make, x) => turns::serve(|| make(at, x)),
    }
}

/// The version of a package in `Cargo.lock`.
fn locked(package: &str) -> String {
    let entry =
        LOCK.split("[[package]]").find(|entry| entry.lines().any(|line| line == format!("name = \"{package}\"")));
    let version = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
    version.map_or_else(|| package.to_owned(), |version| format!("{package} {}", version.trim_matches('"')))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments[..] {
        ["peers"] => tell(),
        ["run", workload, peer, url, ca] => At::new(url, ca).and_then(|at| run(workload, peer, &at)),
        _ => Err("peers, or run WORKLOAD PEER URL CA".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_lock_file_knows_the_peers() {
        assert!(locked("ureq").starts_with("ureq 3."));
        assert_eq!(locked("pinlink"), format!("pinlink {}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn each_peer_of_a_workload_has_a_name_of_its_own() {
        let mut seen = HashSet::new();
        for peer in peers() {
            assert!(seen.insert((peer.workload, peer.name.clone())), "{} {}", peer.workload, peer.name);
        }
    }
}
