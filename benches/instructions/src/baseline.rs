//! The committed counts, and what is said where today's differ from them.
//!
//! Pure but for reading the file: what counts as grown, and the text that tells it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::modes::Mode;

/// By how much a count may differ from the baseline, in percent: several times what counts of the same code differ by.
const TOLERANCE: f64 = 1.5;

const HEADER: &str = "\
# Instructions per call, as `make check` holds them against today's; `make instructions-accept` writes this file.
# They are counted by callgrind; `benches/instructions` says how, and what each mode does.
";

/// The committed file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    made_with: MadeWith,
    instructions: BTreeMap<String, u64>,
}

/// What the counts depend on besides our code.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MadeWith {
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
    pub(crate) libc: String,
    /// What libc and ring choose their code by.
    pub(crate) processor: String,
}

impl fmt::Display for MadeWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadeWith { rustc, valgrind, libc, processor } = self;
        write!(f, "rustc {rustc}, valgrind {valgrind}, libc {libc}, {processor}")
    }
}

/// What a mode took: the median of its runs, and both ends.
pub(crate) struct Counted {
    pub(crate) mode: &'static Mode,
    pub(crate) instructions: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Counted {
    /// From one run or more.
    pub(crate) fn of(mode: &'static Mode, mut runs: Vec<f64>) -> Counted {
        runs.sort_by(f64::total_cmp);
        Counted { mode, instructions: runs[runs.len() / 2], least: runs[0], most: runs[runs.len() - 1] }
    }
}

/// Whether no count has grown, and what is to be said.
pub(crate) struct Verdict {
    pub(crate) is_kept: bool,
    pub(crate) text: String,
}

/// The form of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    made_with: &'a MadeWith,
    baseline_made_with: &'a MadeWith,
    tolerance_percent: f64,
    modes: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    instructions: u64,
    baseline: Option<u64>,
    percent: Option<f64>,
}

impl Baseline {
    /// The file's counts; none where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Baseline> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    /// By how many percent a count is above the baseline.
    fn percent(&self, counted: &Counted) -> Option<f64> {
        let before = *self.instructions.get(counted.mode.name)?;
        Some((counted.instructions / before as f64 - 1.0) * 100.0)
    }

    pub(crate) fn line(&self, counted: &Counted) -> String {
        let Counted { mode, instructions, least, most } = counted;
        let mut line = format!("{:<16} {instructions:>10.0} instructions per call", mode.name);
        if most > least {
            let _ = write!(line, "  ({least:.0} to {most:.0}: {:.2} %)", (most / least - 1.0) * 100.0);
        }
        match self.percent(counted) {
            Some(percent) => line + &format!("  {percent:+.2} %"),
            None => line + "  no baseline",
        }
    }

    /// Whether a count is not what the baseline says, tolerated differences aside.
    pub(crate) fn differs(&self, counted: &Counted) -> bool {
        self.percent(counted).is_some_and(|percent| percent.abs() > TOLERANCE)
    }

    /// A count that has grown is a fault, as is one that nothing is known of. One that has shrunk is told: the baseline
    /// would let it grow back.
    pub(crate) fn verdict(&self, made_with: &MadeWith, counted: &[Counted]) -> Verdict {
        let (mut text, mut is_kept) = (String::new(), true);
        if *made_with != self.made_with {
            let _ = writeln!(text, "\nnote: counted with {made_with}; the baseline with {}", self.made_with);
        }
        for counted in counted.iter().filter(|counted| self.differs(counted) || self.percent(counted).is_none()) {
            let (name, now) = (counted.mode.name, counted.instructions);
            let Some(before) = self.instructions.get(name) else {
                is_kept = false;
                let _ = writeln!(text, "\nMISSING {name}: {now:.0} instructions per call, and no baseline");
                continue;
            };
            let has_grown = now > *before as f64;
            is_kept &= !has_grown;
            let word = if has_grown { "GROWN" } else { "better:" };
            let percent = self.percent(counted).unwrap_or_default();
            let _ = writeln!(text, "\n{word} {name}: {before} -> {now:.0} instructions per call ({percent:+.2} %)");
        }
        if counted.iter().any(|counted| self.differs(counted)) || !is_kept {
            text += "\nWhere that is meant: `make instructions-accept`, and commit the file with the change that explains it.\n";
        } else {
            let _ = writeln!(text, "\nall {} counts are within {TOLERANCE} % of the baseline", counted.len());
        }
        Verdict { is_kept, text }
    }

    /// Takes today's counts over.
    pub(crate) fn accept(&mut self, made_with: MadeWith, counted: &[Counted]) {
        self.made_with = made_with;
        self.instructions
            .extend(counted.iter().map(|counted| (counted.mode.name.to_owned(), counted.instructions.round() as u64)));
    }

    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(format!("{HEADER}\n{}", toml::to_string(self)?))
    }

    pub(crate) fn to_json(&self, made_with: &MadeWith, counted: &[Counted]) -> Result<String> {
        let row = |counted: &Counted| Row {
            name: counted.mode.name,
            instructions: counted.instructions.round() as u64,
            baseline: self.instructions.get(counted.mode.name).copied(),
            percent: self.percent(counted),
        };
        let report = Report {
            made_with,
            baseline_made_with: &self.made_with,
            tolerance_percent: TOLERANCE,
            modes: counted.iter().map(row).collect(),
        };
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modes::MODES;

    fn verdict(before: u64, now: f64) -> Verdict {
        let instructions = BTreeMap::from([(MODES[0].name.to_owned(), before)]);
        let baseline = Baseline { instructions, ..Baseline::default() };
        baseline.verdict(&MadeWith::default(), &[Counted::of(&MODES[0], vec![now])])
    }

    #[test]
    fn a_count_that_has_grown_fails_and_says_by_how_much() {
        let grown = verdict(10_000, 10_200.0);
        assert!(!grown.is_kept);
        assert!(grown.text.contains("GROWN send: 10000 -> 10200 instructions per call (+2.00 %)"), "{}", grown.text);
        assert!(grown.text.contains("instructions-accept"), "{}", grown.text);
    }

    #[test]
    fn a_count_that_has_shrunk_passes_and_asks_for_a_lower_baseline() {
        let better = verdict(10_000, 9_800.0);
        assert!(better.is_kept && better.text.contains("better: send") && better.text.contains("instructions-accept"));
    }

    #[test]
    fn what_differs_by_less_than_the_tolerance_is_the_same() {
        for now in [9_860.0, 10_000.0, 10_140.0] {
            assert!(verdict(10_000, now).is_kept);
        }
    }

    #[test]
    fn a_mode_without_a_baseline_fails() {
        let unknown = Baseline::default().verdict(&MadeWith::default(), &[Counted::of(&MODES[0], vec![1.0])]);
        assert!(!unknown.is_kept && unknown.text.contains("MISSING send"));
    }

    #[test]
    fn another_compiler_is_told_of_and_compared_all_the_same() {
        let baseline = Baseline { instructions: BTreeMap::from([("send".to_owned(), 100)]), ..Baseline::default() };
        let made_with = MadeWith { rustc: "2.0.0".to_owned(), ..MadeWith::default() };
        let verdict = baseline.verdict(&made_with, &[Counted::of(&MODES[0], vec![200.0])]);
        assert!(verdict.text.contains("rustc 2.0.0") && !verdict.is_kept);
    }

    #[test]
    fn the_committed_baseline_has_every_mode_and_no_other() {
        let committed =
            Baseline::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.toml"))).unwrap();
        let mut names: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        names.sort_unstable();
        assert!(committed.instructions.keys().eq(names));
    }

    #[test]
    fn what_is_accepted_is_read_back_as_it_was() {
        let mut baseline = Baseline::default();
        baseline.accept(MadeWith::default(), &[Counted::of(&MODES[0], vec![3.0, 1.0, 2.0])]);
        let read: Baseline = toml::from_str(&baseline.to_toml().unwrap()).unwrap();
        assert_eq!(read.instructions, BTreeMap::from([("send".to_owned(), 2)]));
    }
}
