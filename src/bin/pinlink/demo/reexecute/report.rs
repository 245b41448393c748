//! The result of `--re-execute` as a table side by side, and as one JSON object. It owns the wording.

use comfy_table::CellAlignment;
use serde_json::json;

use super::plan::{CHAOS, Cycle, SHARE, fingerprint};
use super::tally::Board;
use crate::demo::report::grouped;
use crate::demo::{CAP, Terms};
use crate::output;

/// One of a board's numbers.
type Number = fn(&Board) -> u64;

/// Everything there is to tell.
pub(super) struct Told<'a> {
    pub(super) terms: &'a Terms,
    pub(super) seed: u64,
    pub(super) plan: &'a [Cycle],
    pub(super) naive: &'a Board,
    pub(super) pinlink: &'a Board,
}

impl Told<'_> {
    /// The table, and below it what it rests on.
    pub(super) fn table(&self) -> String {
        let mut table = output::table(["", "naive", "pinlink"]);
        let mut line = |what: &str, show: &dyn Fn(&Board) -> String| {
            table.add_row([what.to_owned(), show(self.naive), show(self.pinlink)]);
        };
        let numbers: [(&str, Number); 15] = [
            ("cycles", |board| board.cycles),
            ("rows", |board| board.rows),
            ("node executions", |board| board.executions),
            ("  of them backup copies", |board| board.backups),
            ("  killed", |board| board.kills),
            ("  killed, a copy was faster", |board| board.overtaken),
            ("  ended with an error", |board| board.executions_failed),
            ("writes that arrived", |board| board.attempts),
            ("faults played", |board| board.faults),
            ("effects", |board| board.effects),
            ("rows lost", |board| board.lost),
            ("rows double", |board| board.double),
            ("rows conflicting", |board| board.conflicting),
            ("rows reported failed", |board| board.rows_failed),
            ("rows found already applied", |board| board.already_applied),
        ];
        for (what, number) in numbers {
            line(what, &|board| grouped(number(board)));
        }
        line("time taken", &|board| format!("{:.2} s", board.seconds));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = output::text(&table);
        for note in self.notes() {
            text.push_str(&note);
            text.push('\n');
        }
        text
    }

    /// What a reader must know to judge the numbers.
    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            format!(
                "Each cycle is a job of {} rows of {} in {} processes with {} threads each; its nodes are killed with \
                 SIGKILL, executed again and shadowed by copies as the seed says: {} kills and {} copies were planned.",
                self.terms.workers * SHARE,
                self.terms.source,
                self.terms.workers,
                self.terms.threads,
                grouped(self.planned_kills()),
                grouped(self.planned_backups()),
            ),
            format!(
                "{CHAOS} % of the attempts at writing meet a fault: a reset before, in or after the body, an answer lost, \
                 reset or withheld after the effect, 500 before or after it, 503, an answer after 3 s.",
            ),
            "Lost, double and conflicting are counted in the service's record when nothing is on its way any more: rows \
             of nodes that ended well without an effect, rows with more than one, rows with two contents."
                .to_owned(),
            format!("Repeat it with --seed {} --cycles {}.", self.seed, self.plan.len()),
        ];
        for (name, board) in [("naive", self.naive), ("pinlink", self.pinlink)] {
            if let Some(error) = &board.sample_error {
                notes.push(format!("An error of {name} that had its node executed again: {error}"));
            }
        }
        notes
    }

    fn planned_kills(&self) -> u64 {
        let kills = |node: &super::plan::Node| {
            let of_backup = node.backup.iter().filter(|backup| backup.kill.is_some()).count();
            (node.kills.iter().flatten().count() + of_backup) as u64
        };
        self.plan.iter().flat_map(|cycle| &cycle.nodes).map(kills).sum()
    }

    fn planned_backups(&self) -> u64 {
        self.plan.iter().flat_map(|cycle| &cycle.nodes).filter(|node| node.backup.is_some()).count() as u64
    }

    /// The object of `--json`.
    pub(super) fn json(&self) -> String {
        let object = json!({
            "seed": self.seed,
            "cycles": self.plan.len(),
            "plan": fingerprint(self.seed, self.plan),
            "planned_kills": self.planned_kills(),
            "planned_backups": self.planned_backups(),
            "chaos_percent": CHAOS,
            "cap": CAP,
            "rows_per_cycle": self.terms.workers * SHARE,
            "workers": self.terms.workers,
            "threads": self.terms.threads,
            "source": self.terms.source,
            "naive": self.naive,
            "pinlink": self.pinlink,
        });
        format!("{object:#}\n")
    }
}
