//! The promise of writes, seen from outside: whatever is killed, executed again or shadowed by a copy, one effect a row.
//!
//! `pinlink demo --re-execute` is run as a user runs it. What it counts is in the service's record; the side of the naive
//! writer, under the same seed, shows that the same trouble doubles writes that have no key.
#![cfg(feature = "demo")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const CYCLES: u64 = 50;
/// Each cycle has two nodes with twelve rows each.
const ROWS: u64 = CYCLES * 24;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinlink"));
    command.args(["demo", "--re-execute"]).args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// A run's one object, and its exit code.
fn result(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = run(&[&["--json"], arguments].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no object: {complaint}")), output.status.code())
}

fn number(result: &Value, side: &str, name: &str) -> u64 {
    result[side][name].as_u64().unwrap_or_else(|| panic!("{side}.{name} is missing in {result}"))
}

#[test]
fn fifty_cycles_of_kills_copies_and_faults_lose_nothing_and_double_nothing() {
    let (result, code) = result(&["--seed", "20261122", "--cycles", &CYCLES.to_string()]);
    let pinlink = |name| number(&result, "pinlink", name);
    assert_eq!([pinlink("lost"), pinlink("double"), pinlink("conflicting")], [0, 0, 0], "{result}");
    assert_eq!(code, Some(0), "{result}");
    // Every row is there, and nothing else is.
    assert_eq!([pinlink("rows"), pinlink("effects"), pinlink("rows_failed")], [ROWS, ROWS, 0], "{result}");

    // It was not for want of trouble.
    for side in ["naive", "pinlink"] {
        for name in ["kills", "backups", "faults"] {
            assert!(number(&result, side, name) >= CYCLES / 4, "{side}.{name} in {result}");
        }
        assert!(number(&result, side, "executions") > 2 * CYCLES + number(&result, side, "backups"), "{result}");
    }
    assert!(number(&result, "naive", "double") > 0, "the same trouble doubles nothing without keys: {result}");
    assert!(pinlink("already_applied") > 0, "{result}");
}

#[test]
fn the_seed_decides_on_the_plan() {
    let plan = |seed| {
        let (result, _) = result(&["--cycles", "1", "--seed", seed]);
        assert_eq!(result["seed"].to_string(), seed);
        (result["plan"].clone(), result["planned_kills"].clone(), result["planned_backups"].clone())
    };
    let one = plan("7");
    assert!(one.0.as_str().is_some_and(|plan| plan.len() == 16), "{one:?}");
    assert_eq!(one, plan("7"));
    assert_ne!(one.0, plan("8").0);
}

#[test]
fn the_table_tells_how_to_repeat_it() {
    let output = run(&["--cycles", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    for line in ["rows lost", "rows double", "rows conflicting", "faults played", "Repeat it with --seed "] {
        assert!(table.contains(line), "{line} is missing in {table}");
    }
}

#[test]
fn wrong_usage_is_refused_before_anything_starts() {
    for arguments in [&["--workers", "9"][..], &["--cycles", "0"], &["--seconds", "3"], &["--html", "demo.html"]] {
        let output = run(arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
    for option in [["--seed", "1"], ["--cycles", "2"]] {
        let plain = Command::new(env!("CARGO_BIN_EXE_pinlink")).arg("demo").args(option).output();
        assert_eq!(plain.expect("the program starts").status.code(), Some(2), "{option:?}");
    }
}

/// The processes that any thread of a process has started.
fn children(parent: &Child) -> BTreeSet<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", parent.id())).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|child| child.parse().expect("an id")).collect::<Vec<_>>())
        .collect()
}

/// Looks until it is so, for half a minute at most.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} never was so");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_run_that_is_killed_leaves_no_process_behind() {
    let mut demo =
        command(&["--cycles", "200"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let is_node = |child: &u32| {
        fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.split(|b| *b == 0).any(|word| word == b"node"))
    };
    let mut started = BTreeSet::new();
    eventually("nodes run", || {
        started.extend(children(&demo));
        started.iter().filter(|child| is_node(child)).count() >= 4
    });
    started.extend(children(&demo));
    demo.kill().expect("it can be killed");
    demo.wait().expect("it ends");
    // A process that has ended has no command line any more, whether somebody has reaped it or not.
    let runs = |child: &u32| fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| !line.is_empty());
    eventually("no child runs", || !started.iter().any(runs));
}
