//! Where and on what a run was made: the part of a result that makes its figures repeatable.
//!
//! It reads `/proc`, `Cargo.lock` and what git and the programs say. It measures no peer, only how much of the
//! machine was left for them.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::measure::{Whose, cpu};
use crate::server::says;

/// The versions that were built: the file stands two directories up, with the workspace.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The circumstances of a run.
#[derive(Serialize)]
pub(crate) struct Circumstances {
    pub(crate) machine: Machine,
    versions: BTreeMap<&'static str, String>,
    pub(crate) commit: String,
    /// Whether files differed from that commit.
    pub(crate) modified: bool,
    command: Vec<String>,
    date: String,
}

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// The load average of the last minute before the run: above a few tenths, others were at work.
    pub(crate) load_before: String,
}

impl Circumstances {
    pub(crate) fn now() -> Circumstances {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let machine = Machine {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        };
        let libraries = ["h2", "hyper", "hyper-util", "pinlink", "reqwest", "rustls", "tokio", "ureq"];
        let mut versions = BTreeMap::from(libraries.map(|library| (library, locked(library))));
        versions.insert("nginx", says("nginx", "-v"));
        versions.insert("wrk", says("wrk", "-v"));
        versions.insert("h2load", says("h2load", "--version"));
        Circumstances {
            machine,
            versions,
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            modified: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            command: std::env::args().collect(),
            date: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        }
    }
}

/// Watches what the rest of the machine does meanwhile. Where other processes take a core, client and server share
/// the one that is left: they no longer overlap, and a rate says what a request costs both together.
pub(crate) struct Others {
    begun: Instant,
    busy: f64,
    ours: f64,
}

impl Others {
    /// Begins to watch. Whatever was started by this process belongs to us: the server, programs, workers.
    pub(crate) fn watch() -> Others {
        Others { begun: Instant::now(), busy: busy(), ours: ours() }
    }

    /// The part of the machine's time that others have taken since, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let all = self.begun.elapsed().as_secs_f64() * cores as f64;
        let foreign = (busy() - self.busy) - (ours() - self.ours);
        (foreign / all).clamp(0.0, 1.0)
    }
}

/// The kernel's unit of time in `/proc` (USER_HZ is 100 on every Linux that Rust runs on).
const TICK: f64 = 0.01;

/// Seconds that all cores were not idle, stolen ones included.
fn busy() -> f64 {
    let stat = read("/proc/stat");
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what follows is contained in the first two.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| fields.get(at)).sum::<f64>() * TICK
}

/// Seconds that this process and all that it started used.
fn ours() -> f64 {
    (cpu(Whose::Ours) + cpu(Whose::Children)).as_secs_f64() + started(&std::process::id().to_string())
}

/// Seconds that the processes used which this one has started, and those that they have, and live.
fn started(pid: &str) -> f64 {
    let children = read(&format!("/proc/{pid}/task/{pid}/children"));
    children.split_whitespace().map(|child| used(child) + started(child)).sum()
}

/// Seconds that a process used.
fn used(pid: &str) -> f64 {
    let stat = read(&format!("/proc/{pid}/stat"));
    // The name may hold anything, but ends at the last bracket; utime and stime are fields 14 and 15 of proc(5).
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * TICK
}

/// The version of a package in `Cargo.lock`; all of them where there are several.
pub(crate) fn locked(package: &str) -> String {
    if package == "std" {
        return "std".to_owned();
    }
    let name = format!("name = \"{package}\"");
    let versions: Vec<&str> = LOCK
        .split("[[package]]")
        .filter(|entry| entry.lines().any(|line| line == name))
        .filter_map(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")))
        .map(|version| version.trim_matches('"'))
        .collect();
    format!("{package} {}", versions.join(" and "))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_knows_the_peers() {
        assert!(locked("ureq").starts_with("ureq 3."));
        assert_eq!(locked("pinlink"), format!("pinlink {}", env!("CARGO_PKG_VERSION")));
    }
}
