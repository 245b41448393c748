//! The promise: imports point one way.
//!
//! The order of ARCHITECTURE.md is a constant here. A module may import what stands below it, nothing above
//! or beside it, and every module has its place in the order.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// From the client a caller sees down to the leaves.
const ORDER: &[&str] = &[
    "parts",
    "doctor",
    "claim",
    "detached",
    "store",
    "asynchronous",
    "blocking",
    "life",
    "writing",
    "batch",
    "incoming",
    "raw",
    "exchange",
    "pool",
    "lease",
    "site",
    "streams",
    "connect",
    "tunnel",
    "resolve",
    "http2",
    "connection",
    "watch",
    "flood",
    "wire",
    "upload",
    "stream",
    "drive",
    "process",
    "environment",
    "sys",
    "limit",
    "shelf",
    "kept",
    "crowd",
    "adaptive",
    "race",
    "ledger",
    "write",
    "memory",
    "redirect",
    "decode",
    "retry",
    "pins",
    "idle",
    "tls",
    "identity",
    "config",
    "proxy",
    "value",
    "pin_set",
    "policy",
    "event",
    "request",
    "body",
    "profile",
    "sql",
    "key",
    "response",
    "origin",
    "error",
    "advice",
    "reason",
];

/// Decides and never waits: neither sockets nor clocks nor randomness of its own.
const PURE: &[&str] = &[
    "wire", "flood", "crowd", "adaptive", "idle", "redirect", "decode", "proxy", "race", "retry", "limit", "policy",
    "origin", "request", "response", "error", "config", "value", "key", "profile", "write", "memory", "sql", "ledger",
    "advice", "reason",
];

fn source(module: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(format!("{module}.rs"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Tests may use what they like, and comments may speak of anything.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn imports(text: &str) -> BTreeSet<String> {
    text.match_indices("crate::")
        .filter_map(|(at, word)| text[at + word.len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next())
        .filter(|module| module.starts_with(|c: char| c.is_lowercase()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_module_has_its_place() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let modules: BTreeSet<String> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|module| module != "lib")
        .collect();
    assert_eq!(modules, ORDER.iter().map(ToString::to_string).collect());
}

#[test]
fn nothing_imports_upwards() {
    for (place, module) in ORDER.iter().enumerate() {
        for import in imports(&source(module)) {
            if let Some(other) = ORDER.iter().position(|module| *module == import) {
                assert!(other >= place, "{module} imports {import}, which stands above it");
            }
        }
    }
}

#[test]
fn what_decides_reads_no_clock_and_opens_no_socket() {
    for module in PURE {
        let text = source(module);
        for forbidden in
            ["Instant::now", "Timestamp::now", "SystemTime::now", "fastrand::", "TcpStream", "std::net::Udp"]
        {
            assert!(!text.contains(forbidden), "{module} uses {forbidden}");
        }
    }
}

#[test]
fn unsafe_code_stands_only_where_the_system_is_called() {
    for module in ORDER {
        let allowed = ["sys", "stream", "process"].contains(module);
        assert!(allowed || !source(module).contains("unsafe "), "{module} has unsafe code");
    }
}
