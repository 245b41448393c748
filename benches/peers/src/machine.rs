//! Where and on what a run was made: the part of a result that makes its figures repeatable.
//!
//! It reads `/proc` and what git and the programs say; a peer's version is its worker's to say. It measures no peer, only
//! how much of the machine was left for them. No path outside of the project gets into a result.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::languages::Language;
use crate::measure::{Whose, cpu};
use crate::server::says;

/// The project's directory.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The circumstances of a run.
#[derive(Serialize)]
pub(crate) struct Circumstances {
    language: &'static str,
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
    pub(crate) fn now(language: Language) -> Circumstances {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let machine = Machine {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        };
        let says_version = [("nginx", "-v"), ("wrk", "-v"), ("h2load", "--version"), ("strace", "-V")];
        let versions = says_version.map(|(program, argument)| (program, says(program, argument)));
        Circumstances {
            language: language.name(),
            machine,
            versions: BTreeMap::from(versions),
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            modified: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            command: command(std::env::args()),
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

/// A command line as it would be given in the project's directory.
fn command(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let project = std::fs::canonicalize(PROJECT).unwrap_or_default().display().to_string();
    let home = std::env::var("HOME").unwrap_or_default();
    arguments.map(|argument| shown(&argument, &project, &home)).collect()
}

/// Without what is only so on this machine: a class path becomes its file names.
fn shown(argument: &str, project: &str, home: &str) -> String {
    let entries: Vec<&str> = argument.split(':').collect();
    if entries.len() > 1 && entries.iter().all(|entry| entry.starts_with('/')) {
        let names = entries.iter().map(|entry| entry.rsplit('/').next().unwrap_or(entry));
        return names.collect::<Vec<&str>>().join(":");
    }
    let mut shown = argument.to_owned();
    for (place, instead) in [(format!("{project}/"), ""), (format!("{home}/"), "$HOME/")] {
        if place != "/" {
            shown = shown.replace(&place, instead);
        }
    }
    shown
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(["-C", PROJECT]).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_no_path_of_this_machine_alone() {
        let shown = |argument| shown(argument, "/home/user/pinlink", "/home/user");
        assert_eq!(shown("/home/user/pinlink/target/release/pinlink-peers"), "target/release/pinlink-peers");
        assert_eq!(shown("-Dlibrary=/home/user/pinlink/target/a.so"), "-Dlibrary=target/a.so");
        assert_eq!(shown("/home/user/.pyenv/bin/python"), "$HOME/.pyenv/bin/python");
        assert_eq!(shown("/home/user/pinlink/classes:/home/user/.m2/a-1.jar:/b.jar"), "classes:a-1.jar:b.jar");
        assert_eq!(shown("/usr/bin/java"), "/usr/bin/java");
        assert_eq!(shown("--only"), "--only");
    }
}
