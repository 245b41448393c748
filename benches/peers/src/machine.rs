//! Where and on what a run was made: the part of a result that makes its figures repeatable.
//!
//! It reads `/proc`, `Cargo.lock` and what git and the programs say; it measures nothing.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Serialize;

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
        let libraries = ["hyper", "hyper-util", "pinlink", "reqwest", "rustls", "tokio", "ureq"];
        let mut versions = BTreeMap::from(libraries.map(|library| (library, locked(library))));
        versions.insert("nginx", says("nginx", "-v"));
        versions.insert("wrk", says("wrk", "-v"));
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
