//! What the service recorded, held against the input: lost, double, conflicting.
//!
//! Pure. It believes the service's record and what nodes reported that ended well, and nothing that a client says of
//! itself otherwise.

use std::collections::HashMap;

use pinlink_box::Write;
use serde::Serialize;

use super::Lane;
use super::cycle::Course;
use super::plan::Cycle;

/// The result of one side. The names are those of `--json`; programs rely on them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Board {
    /// Jobs.
    pub(crate) cycles: u64,
    /// Rows of all jobs together.
    pub(crate) rows: u64,
    /// Node processes started.
    pub(crate) executions: u64,
    /// Those of them that were backup copies.
    pub(crate) backups: u64,
    /// Node processes that the plan killed.
    pub(crate) kills: u64,
    /// Node processes that were killed because a copy was faster.
    pub(crate) overtaken: u64,
    /// Node processes that ended with an error.
    pub(crate) executions_failed: u64,
    /// Faults that the service played.
    pub(crate) faults: u64,
    /// Writes that reached the service.
    pub(crate) attempts: u64,
    /// Writes that the service really did.
    pub(crate) effects: u64,
    /// Rows of nodes that ended well, with no effect.
    pub(crate) lost: u64,
    /// Rows with more than one effect.
    pub(crate) double: u64,
    /// Rows of which more than one body had an effect.
    pub(crate) conflicting: u64,
    /// Rows of nodes that never ended well.
    pub(crate) rows_failed: u64,
    /// Jobs with such a node.
    pub(crate) jobs_failed: u64,
    /// Rows whose node reported them as written.
    pub(crate) applied: u64,
    /// Rows whose node reported that they had been written before.
    pub(crate) already_applied: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// One of the errors of nodes.
    pub(crate) sample_error: Option<String>,
}

/// What happened to one record, under all keys and none.
#[derive(Debug, Default)]
struct Fate<'a> {
    effects: u64,
    /// The bodies of what had an effect. Which of them had it, where several came, the service does not tell.
    bodies: Vec<&'a String>,
    is_conflicting: bool,
}

impl<'a> Fate<'a> {
    fn add(&mut self, write: &'a Write) {
        if write.applied == 0 {
            return;
        }
        let is_another = self.effects > 0 && !write.bodies.iter().all(|body| self.bodies.contains(&body));
        self.is_conflicting |= is_another || (write.applied > 1 && write.bodies.len() > 1);
        self.effects += write.applied;
        self.bodies.extend(&write.bodies);
    }
}

impl Board {
    /// Adds up all lanes of one side.
    pub(super) fn new(lanes: &[Lane<'_>]) -> Board {
        let mut board = Board::default();
        for lane in lanes {
            board.faults += lane.sink.faults;
            board.seconds = board.seconds.max((lane.took.as_secs_f64() * 100.0).round() / 100.0);
            board.add(&lane.courses, &lane.sink.writes);
        }
        board
    }

    /// Holds cycles against the record of the service that they wrote to.
    fn add(&mut self, courses: &[(&Cycle, Course)], writes: &[Write]) {
        let mut fates: HashMap<&str, Fate<'_>> = HashMap::new();
        for write in writes {
            self.attempts += write.attempts;
            self.effects += write.applied;
            fates.entry(&write.record).or_default().add(write);
        }
        for (cycle, course) in courses {
            self.add_cycle(cycle, course, &fates);
        }
    }

    fn add_cycle(&mut self, cycle: &Cycle, course: &Course, fates: &HashMap<&str, Fate<'_>>) {
        self.cycles += 1;
        self.executions += course.executions;
        self.backups += course.backups;
        self.kills += course.kills;
        self.overtaken += course.overtaken;
        self.executions_failed += course.failures;
        self.applied += course.applied;
        self.already_applied += course.already_applied;
        self.jobs_failed += u64::from(!course.given_up.is_empty());
        if self.sample_error.is_none() {
            self.sample_error.clone_from(&course.error);
        }
        for (index, node) in cycle.nodes.iter().enumerate() {
            let has_failed = course.given_up.contains(&index);
            for row in &node.rows {
                self.rows += 1;
                self.rows_failed += u64::from(has_failed);
                let fate = fates.get(row.record.as_str());
                let effects = fate.map_or(0, |fate| fate.effects);
                self.lost += u64::from(effects == 0 && !has_failed);
                self.double += u64::from(effects > 1);
                self.conflicting += u64::from(fate.is_some_and(|fate| fate.is_conflicting));
            }
        }
    }

    /// Whether every row of every node that ended well has one effect, and no row another.
    pub(crate) fn is_right(&self) -> bool {
        (self.lost, self.double, self.conflicting) == (0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle() -> Cycle {
        let ids: Vec<String> = (0..3).map(|id| id.to_string()).collect();
        Cycle::draw(1, 0, &ids, 2)
    }

    fn writes(cycle: &Cycle) -> Vec<Write> {
        let write = |record: &String| Write {
            record: record.clone(),
            key: Some("k".to_owned()),
            attempts: 2,
            applied: 1,
            bodies: vec!["b".to_owned()],
        };
        cycle.rows().map(|row| write(&row.record)).collect()
    }

    fn verdict(writes: &[Write], given_up: Vec<usize>) -> [u64; 4] {
        let cycle = cycle();
        let mut board = Board::default();
        board.add(&[(&cycle, Course { given_up, ..Course::default() })], writes);
        assert_eq!(board.is_right(), board.lost + board.double + board.conflicting == 0);
        [board.lost, board.double, board.conflicting, board.rows_failed]
    }

    #[test]
    fn every_row_has_one_effect_or_it_is_told() {
        let right = writes(&cycle());
        assert_eq!(verdict(&right, vec![]), [0, 0, 0, 0]);

        let mut twice = writes(&cycle());
        twice[3].applied = 2;
        assert_eq!(verdict(&twice, vec![]), [0, 1, 0, 0]);
        twice[3].bodies.push("c".to_owned());
        assert_eq!(verdict(&twice, vec![]), [0, 1, 1, 0]);

        let mut refused = writes(&cycle());
        refused[3].bodies.push("c".to_owned());
        assert_eq!(verdict(&refused, vec![]), [0, 0, 0, 0], "the other body came, and had no effect");

        let mut gone = writes(&cycle());
        gone[0].applied = 0;
        gone.remove(1);
        assert_eq!(verdict(&gone, vec![]), [2, 0, 0, 0]);
        assert_eq!(verdict(&gone, vec![0]), [0, 0, 0, 12], "a node that was given up has promised nothing");
        assert_eq!(verdict(&gone, vec![1]), [2, 0, 0, 12]);
    }

    #[test]
    fn a_record_under_two_keys_has_been_written_twice() {
        let mut two = writes(&cycle());
        two.push(Write { key: Some("other".to_owned()), ..two[0].clone() });
        assert_eq!(verdict(&two, vec![]), [0, 1, 0, 0]);
        two.push(Write { key: None, bodies: vec!["c".to_owned()], ..two[1].clone() });
        assert_eq!(verdict(&two, vec![]), [0, 2, 1, 0]);
    }
}
