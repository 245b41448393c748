//! Programs that load a server for their living: what a connection, or 32 of them, can carry.
//!
//! wrk with one thread for HTTP/1.1; h2load, which sends one prepared request again and again and looks at no header,
//! for HTTP/2. A turn is a second of wrk, or one run of h2load, with its connection's making. They read no body's
//! content, and start anew each turn: they are the ceiling, not peers.

use std::path::PathBuf;
use std::process::Command;

use crate::measure::{Figure, Outcome, Peer, Peers, Result, Turn, Who, Whose, cpu};
use crate::plan::Door;
use crate::server::{Server, program, says};

/// The GETs of a turn of h2load.
const ROWS: usize = 10_000;
/// How many streams it has open at once.
pub(crate) const STREAMS: usize = 100;

/// The names of the programs, as in their packages.
pub(crate) const WRK: &str = "wrk";
pub(crate) const H2LOAD: &str = "h2load";

/// A program beside the peers of a workload.
#[derive(Clone, Copy)]
pub(crate) enum Ceiling {
    /// wrk over so many connections.
    Wrk(usize),
    /// h2load over one connection of this door.
    H2load(Door),
}

impl Ceiling {
    /// The program; it may be missing.
    pub(crate) fn peers(self, server: &Server) -> Peers {
        let mut peers = Peers::default();
        let name = match self {
            Ceiling::Wrk(_) => WRK,
            Ceiling::H2load(_) => H2LOAD,
        };
        let mut who = Who::new(name, "C");
        match (program(name), self) {
            (Ok(program), Ceiling::Wrk(connections)) => {
                who.version = says(WRK, "-v").split(" Copyright").next().unwrap_or_default().to_owned();
                let url = server.url(Door::Plain, "/answer");
                peers.present.push(Box::new(Wrk { who, program, connections, url }));
            }
            (Ok(program), Ceiling::H2load(door)) => {
                who.version = says(H2LOAD, "--version");
                peers.present.push(Box::new(H2load { who, program, url: server.url(door, "/answer") }));
            }
            (Err(error), _) => peers.missing.push(Outcome::missing(who, error.to_string())),
        }
        peers
    }
}

struct Wrk {
    who: Who,
    program: PathBuf,
    connections: usize,
    url: String,
}

impl Peer for Wrk {
    fn who(&self) -> &Who {
        &self.who
    }

    fn turn(&mut self) -> Result<Turn> {
        let cpu_before = cpu(Whose::Children);
        let connections = format!("-c{}", self.connections);
        let output = Command::new(&self.program).args(["-t1", "-d1s", &connections, &self.url]).output()?;
        let cpu_used = cpu(Whose::Children) - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
        if let Some(errors) = after("Socket errors:").or(after("Non-2xx or 3xx responses:")) {
            return Err(format!("wrk met errors: {errors}").into());
        }
        let rate: f64 = after("Requests/sec:").ok_or("wrk printed no Requests/sec")?.parse()?;
        let requests: f64 = text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .ok_or("wrk printed no count of requests")?
            .0
            .parse()?;
        Ok(Turn::from([(Figure::PerSecond, rate), (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / requests)]))
    }
}

struct H2load {
    who: Who,
    program: PathBuf,
    url: String,
}

impl Peer for H2load {
    fn who(&self) -> &Who {
        &self.who
    }

    fn turn(&mut self) -> Result<Turn> {
        let cpu_before = cpu(Whose::Children);
        let (rows, at_once) = (format!("-n{ROWS}"), format!("-m{STREAMS}"));
        let output = Command::new(&self.program).args([&rows, "-c1", &at_once, &self.url]).output()?;
        let cpu_used = cpu(Whose::Children) - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains(&format!("status codes: {ROWS} 2xx")) {
            return Err("h2load did not get a 2xx for every row".into());
        }
        let finished =
            text.lines().find_map(|line| line.strip_prefix("finished in ")).ok_or("h2load printed no rate")?;
        let rate = finished.split(", ").find_map(|part| part.strip_suffix(" req/s")).ok_or("h2load printed no rate")?;
        Ok(Turn::from([
            (Figure::PerSecond, rate.parse()?),
            (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / ROWS as f64),
        ]))
    }
}
