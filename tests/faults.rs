//! Every row of FAULTS.md, sections 1 to 6, beside the tests that are named after it, or the reason why there is none.
//!
//! Owns: the table, printed on every run, and the rule that it has no hole: a row has tests or a reason
//! (`tests/parity/faults.toml`), never neither and never both, and no test is named after a row that does not exist. A
//! test is named after its rows when its name begins with their ids: `t7_t8_a_cut_…` is a test of T7 and of T8. It
//! reads sources only and runs no other test; a program of its own, so that the table is seen whether it passes or not.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

/// The sections of FAULTS.md whose rows this layer meets, in their order: their letter, their rows and their title.
const SECTIONS: [(char, u32, &str); 6] = [
    ('D', 22, "Names and addresses"),
    ('T', 25, "TCP, proxy, capacity"),
    ('L', 21, "TLS"),
    ('H', 22, "HTTP/1 and content"),
    ('P', 10, "HTTP/2"),
    ('W', 15, "Writes"),
];

/// One row of the table in `tests/parity/faults.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    /// Why no test is named after it.
    reason: Option<String>,
}

/// The ids at the beginning of a test's name, in upper case. `d01_…` is an id too: one that no row has.
fn ids(name: &str) -> Vec<String> {
    let is_id = |part: &&str| {
        let mut letters = part.chars();
        let section = letters.next().is_some_and(|first| SECTIONS.iter().any(|row| row.0.eq_ignore_ascii_case(&first)));
        let number = letters.as_str();
        section && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    name.split('_').take_while(is_id).map(str::to_ascii_uppercase).collect()
}

/// The names of the tests in a source file: what follows `#[test]`, below any other attributes.
fn tests(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut awaited = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            awaited = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| awaited) {
            names.extend(rest.split('(').next());
            awaited = false;
        }
    }
    names
}

/// Where tests are: this program's neighbours, and those that need real databases.
const DIRECTORIES: [&str; 2] = ["tests", "tests/engines/tests"];

/// The tests of every row, `file::name`.
fn named(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let entries = |directory| fs::read_dir(root.join(directory)).expect("the tests are there");
    let files = DIRECTORIES.into_iter().flat_map(entries).map(|entry| entry.expect("a file").path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let source = fs::read_to_string(&path).expect("a source is text");
        let file = path.file_stem().expect("a file has a name").to_string_lossy();
        for test in tests(&source) {
            for id in ids(test) {
                found.entry(id).or_default().insert(format!("{file}::{test}"));
            }
        }
    }
    found
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/parity/faults.toml")).expect("tests/parity/faults.toml is readable");
    let mut rows: BTreeMap<String, Row> = toml::from_str(&text).expect("tests/parity/faults.toml is a table of rows");
    let mut named = named(root);
    let (mut tested, mut excused, mut wrong) = (0, 0, Vec::new());
    for (letter, last, title) in SECTIONS {
        println!("\n{title}");
        for id in (1..=last).map(|number| format!("{letter}{number}")) {
            let tests = named.remove(&id).unwrap_or_default();
            let Some(row) = rows.remove(&id) else {
                wrong.push(format!("{id} is missing in tests/parity/faults.toml"));
                continue;
            };
            let title = row.title;
            let mut cells: Vec<String> = tests.iter().cloned().collect();
            cells.extend(row.reason.as_ref().map(|reason| format!("no test: {reason}")));
            match (tests.is_empty(), &row.reason) {
                (false, None) => tested += 1,
                (true, Some(reason)) if !reason.trim().is_empty() => excused += 1,
                (true, _) => {
                    cells.push("NO TEST AND NO REASON".to_owned());
                    wrong.push(format!("{id} ({title}) has neither a test nor a reason"));
                }
                (false, Some(_)) => wrong.push(format!("{id} ({title}) has tests and a reason why it has none")),
            }
            for (line, cell) in cells.iter().enumerate() {
                let (id, title) = if line == 0 { (&*id, &*title) } else { ("", "") };
                println!("  {id:<4} {title:<66} {cell}");
            }
        }
    }
    wrong.extend(rows.into_keys().map(|id| format!("tests/parity/faults.toml has {id}, which is no row")));
    wrong.extend(named.into_iter().map(|(id, tests)| format!("{id} is no row, and yet there is {tests:?}")));

    println!();
    for line in &wrong {
        println!("{line}");
    }
    let verdict = if wrong.is_empty() { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {} rows: {tested} with tests, {excused} with a reason",
        SECTIONS.iter().map(|section| section.1).sum::<u32>()
    );
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
