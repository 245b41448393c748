//! What the machine has that decides about calls: resolver, limits, memory, where native code may lie.
//!
//! It owns the list of [`Fact`]s and how each is read from `/proc` and `/etc`. Whatever can't be read is said to be not
//! known. It changes nothing but a file of its own that it creates and removes to see whether it may.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::sys;

/// How something went, or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should.
    Well,
    /// Worth a look.
    Warning,
    /// Not at all.
    Failed,
    /// It could not be seen.
    Unknown,
}

impl Verdict {
    /// Every verdict there is.
    #[doc(hidden)]
    pub const ALL: [Verdict; 4] = [Verdict::Well, Verdict::Warning, Verdict::Failed, Verdict::Unknown];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Well => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One thing about the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// Whether it is as calls need it.
    pub verdict: Verdict,
    /// What was read.
    pub value: String,
}

impl Fact {
    fn new(name: &str, verdict: Verdict, value: impl Into<String>) -> Fact {
        Fact { name: name.to_owned(), verdict, value: value.into() }
    }
}

/// Below this a client with its connections gets short of descriptors beside what the host's own code opens.
const FEW_DESCRIPTORS: u64 = 256;
/// Below this a JVM or an interpreter with a batch of answers is near its end.
const LITTLE_MEMORY: u64 = 64 << 20;

/// Everything, in the order of reports.
pub(crate) fn facts() -> Vec<Fact> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let mut facts = vec![
        Fact::new("pinlink", Verdict::Well, format!("{} ({})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)),
        Fact::new("clock", Verdict::Well, Timestamp::now().to_string()),
    ];
    facts.push(match sys::libc_version() {
        Some(version) => Fact::new("glibc", Verdict::Well, version),
        None => Fact::new("glibc", Verdict::Unknown, "another C library"),
    });
    facts.push(known("kernel", read("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned())));
    let processors = std::thread::available_parallelism().ok();
    facts.push(known("processors", processors.map(|count| count.to_string())));
    facts.push(resolver(read("/etc/resolv.conf").as_deref()));
    facts.push(memory(read("/proc/meminfo").as_deref()));
    let limit = read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    facts.push(memory_limit(limit.as_deref()));
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64).ok();
    facts.push(descriptors(read("/proc/self/limits").as_deref(), open));
    let mounts = read("/proc/self/mounts");
    let mut folders = vec![std::env::temp_dir(), PathBuf::from("."), PathBuf::from("/tmp"), PathBuf::from("/dev/shm")];
    folders = folders.into_iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    let mut seen = HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    facts.extend(folders.iter().map(|folder| native_code(folder, mounts.as_deref())));
    facts
}

fn known(name: &str, value: Option<String>) -> Fact {
    match value {
        Some(value) => Fact::new(name, Verdict::Well, value),
        None => Fact::new(name, Verdict::Unknown, "can't be read"),
    }
}

fn resolver(text: Option<&str>) -> Fact {
    let servers: Vec<&str> = text
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    match (text, servers.is_empty()) {
        (None, _) => Fact::new("resolv.conf", Verdict::Warning, "can't be read: give nameservers, pins or pin_set"),
        (_, true) => Fact::new("resolv.conf", Verdict::Warning, "names no server: give nameservers, pins or pin_set"),
        _ => Fact::new("resolv.conf", Verdict::Well, servers.join(", ")),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn memory(meminfo: Option<&str>) -> Fact {
    let of = |name: &str| -> Option<u64> {
        let line = meminfo?.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    match (of("MemAvailable"), of("MemTotal")) {
        (Some(free), Some(all)) => {
            let verdict = if free < LITTLE_MEMORY { Verdict::Warning } else { Verdict::Well };
            Fact::new("memory", verdict, format!("{} of {} available", mebibytes(free), mebibytes(all)))
        }
        _ => Fact::new("memory", Verdict::Unknown, "can't be read"),
    }
}

fn memory_limit(text: Option<&str>) -> Fact {
    match text.map(str::trim) {
        None => Fact::new("memory limit", Verdict::Unknown, "can't be read"),
        Some("max") => Fact::new("memory limit", Verdict::Well, "none"),
        Some(text) => match text.parse::<u64>() {
            // Version 1 writes the greatest number of pages where there is no limit.
            Ok(limit) if limit >= 1 << 60 => Fact::new("memory limit", Verdict::Well, "none"),
            Ok(limit) => Fact::new("memory limit", Verdict::Well, mebibytes(limit)),
            Err(_) => Fact::new("memory limit", Verdict::Unknown, "can't be read"),
        },
    }
}

fn descriptors(limits: Option<&str>, open: Option<u64>) -> Fact {
    let soft = limits
        .and_then(|limits| limits.lines().find_map(|line| line.strip_prefix("Max open files")))
        .and_then(|rest| rest.split_whitespace().next());
    match (soft, open) {
        (Some(soft), Some(open)) => {
            let left = soft.parse::<u64>().map_or(u64::MAX, |soft| soft.saturating_sub(open));
            let verdict = if left < FEW_DESCRIPTORS { Verdict::Warning } else { Verdict::Well };
            Fact::new("descriptors", verdict, format!("{open} of {soft} open"))
        }
        _ => Fact::new("descriptors", Verdict::Unknown, "can't be read"),
    }
}

/// Whether a library could be put into a folder and loaded from there.
fn native_code(folder: &Path, mounts: Option<&str>) -> Fact {
    let file = folder.join(format!(".pinlink-{}-{:016x}", std::process::id(), fastrand::u64(..)));
    let is_writable = fs::OpenOptions::new().write(true).create_new(true).open(&file).is_ok();
    _ = fs::remove_file(&file);
    let (verdict, says) = match (is_writable, mounts.map(|mounts| forbids_execution(folder, mounts))) {
        (true, Some(false)) => (Verdict::Well, "writable, may hold native code"),
        (true, Some(true)) => (Verdict::Warning, "writable, but mounted noexec: no native code"),
        (true, None) => (Verdict::Unknown, "writable; its mount can't be read"),
        (false, _) => (Verdict::Warning, "not writable"),
    };
    Fact::new("folder", verdict, format!("{}: {says}", folder.display()))
}

/// Whether the mount that a folder is on, the one with the longest path, has `noexec`.
fn forbids_execution(folder: &Path, mounts: &str) -> bool {
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (at, options) = (words.nth(1)?, words.nth(1)?);
            folder.starts_with(at).then_some((at.len(), options))
        })
        // A later mount hides an earlier one at the same place.
        .fold((0, ""), |best, next| if next.0 >= best.0 { next } else { best });
    mount.1.split(',').any(|option| option == "noexec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_nearest_to_a_folder_decides() {
        let mounts =
            "/dev/vda / ext4 rw,relatime 0 0\ntmpfs /tmp tmpfs rw,nosuid,noexec 0 0\ntmpfs /tmp/in tmpfs rw 0 0\n";
        let forbids = |folder: &str| forbids_execution(Path::new(folder), mounts);
        assert!(!forbids("/home"));
        assert!(forbids("/tmp") && forbids("/tmp/x"));
        assert!(!forbids("/tmp/in/x"));
        assert!(!forbids("/tmpfoo"), "a name that begins alike is another folder");
    }

    #[test]
    fn what_is_short_is_worth_a_warning_and_what_can_t_be_read_is_unknown() {
        let limits =
            "Limit  Soft Hard Units\nMax open files            300                 4096                 files\n";
        assert_eq!(descriptors(Some(limits), Some(10)).verdict, Verdict::Well);
        assert_eq!(descriptors(Some(limits), Some(100)).verdict, Verdict::Warning);
        assert_eq!(descriptors(None, Some(1)).verdict, Verdict::Unknown);
        assert_eq!(memory(Some("MemTotal: 100 kB\nMemAvailable: 50 kB\n")).verdict, Verdict::Warning);
        assert_eq!(memory(Some("")).verdict, Verdict::Unknown);
        assert_eq!(memory_limit(Some("9223372036854771712\n")).value, "none");
        assert_eq!(memory_limit(Some("1073741824\n")).value, "1024 MiB");
        assert_eq!(
            resolver(Some("search a\n nameserver 10.0.0.2 \nnameserver 10.0.0.3\n")).value,
            "10.0.0.2, 10.0.0.3"
        );
        assert_eq!(resolver(Some("search a\n")).verdict, Verdict::Warning);
        assert_eq!(resolver(None).verdict, Verdict::Warning);
    }
}
