//! Where and on what a run was made, and how much of the machine was left for it.
//!
//! It reads `/proc` and what git says. CPU time of boxes counts as ours once they have ended and were waited for.

use std::fmt;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

/// The circumstances of a run.
#[derive(Serialize)]
pub(crate) struct Circumstances {
    cpu: String,
    cores: usize,
    kernel: String,
    /// The load average of the last minute before the run.
    load_before: String,
    commit: String,
    /// Whether files differed from that commit.
    modified: bool,
    command: Vec<String>,
    date: String,
}

impl Circumstances {
    pub(crate) fn now() -> Circumstances {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Circumstances {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: cores(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            modified: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            command: std::env::args().collect(),
            date: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        }
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} cores, Linux {}, load {}", self.cpu, self.cores, self.kernel, self.load_before)?;
        write!(f, "commit {}{}", self.commit, if self.modified { ", modified" } else { "" })
    }
}

/// Watches what the rest of the machine does meanwhile.
pub(crate) struct Others {
    begun: Instant,
    busy: f64,
    ours: f64,
}

impl Others {
    pub(crate) fn watch() -> Others {
        Others { begun: Instant::now(), busy: busy(), ours: ours() }
    }

    /// The part of the machine's time that others have taken since, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let all = self.begun.elapsed().as_secs_f64() * cores() as f64;
        (((busy() - self.busy) - (ours() - self.ours)) / all).clamp(0.0, 1.0)
    }
}

/// The kernel's unit of time in `/proc` (USER_HZ is 100 on every Linux that Rust runs on).
const TICK: f64 = 0.01;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds that all cores were not idle, stolen ones included.
fn busy() -> f64 {
    let stat = read("/proc/stat");
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is contained in the first two.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| fields.get(at)).sum::<f64>() * TICK
}

/// Seconds that this process and the boxes that have ended used.
fn ours() -> f64 {
    let stat = read("/proc/self/stat");
    // The name may hold anything, but ends at the last bracket; utime to cstime are fields 14 to 17 of proc(5).
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * TICK
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
