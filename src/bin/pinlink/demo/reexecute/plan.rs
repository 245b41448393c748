//! What is done to the writing job, drawn from the seed: rows, kills and backup copies, cycle by cycle.
//!
//! Pure. The same seed, rows and nodes give the same plan on every machine; [`fingerprint`] says so in one word. What
//! comes of a plan is another matter: a kill that is due after 5 ms meets a process wherever it is by then.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Serialize, Serializer};

use crate::demo::words::Row;

/// The rows of one node.
pub(crate) const SHARE: usize = 12;
/// The share of the attempts at writing that the service spoils, in percent.
pub(crate) const CHAOS: u8 = 30;
/// The first executions of a node may be killed, each with this chance; those after them are left alone.
const KILLED: usize = 3;
const KILL: f64 = 0.5;
/// When a kill comes, counted from the moment at which the node begins to write.
const SOONEST: Duration = Duration::from_micros(500);
const LATEST: Duration = Duration::from_secs(1);
/// How many nodes get a backup copy, how many of these are killed, and how late a copy starts at most.
const BACKUP: f64 = 0.5;
const BACKUP_KILL: f64 = 0.3;
const BACKUP_LATEST: Duration = Duration::from_millis(200);

/// One job: written, killed, executed again.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cycle {
    /// Which.
    pub(crate) number: u64,
    /// What all executions of the job have in common.
    pub(crate) scope: String,
    /// Its nodes.
    pub(crate) nodes: Vec<Node>,
}

/// What one node has to do, and what happens to it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    /// Its share.
    pub(crate) rows: Vec<Row>,
    /// When each of the first executions is killed, if it is.
    pub(crate) kills: Vec<Option<After>>,
    /// The copy that runs at the same time, if there is one.
    pub(crate) backup: Option<Backup>,
}

/// A backup copy.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Backup {
    /// When it starts, counted from the moment at which the original begins to write.
    pub(crate) start: After,
    /// When it is killed, if it is.
    pub(crate) kill: Option<After>,
}

/// So long after something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct After(pub(crate) Duration);

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u128(self.0.as_micros())
    }
}

impl Cycle {
    /// Draws one. Rows are taken from `ids` in turn, as many as the nodes need.
    pub(crate) fn draw(seed: u64, number: u64, ids: &[String], nodes: usize) -> Cycle {
        let mut random = fastrand::Rng::with_seed(mixed(seed, number));
        let first = number as usize * nodes * SHARE;
        let row = |number: usize, cycle: u64| {
            let id = &ids[(first + number) % ids.len()];
            Row { number, id: id.clone(), record: format!("{cycle}.{number}.{id}") }
        };
        let nodes = (0..nodes)
            .map(|node| Node {
                // Dealt out like cards.
                rows: (0..SHARE).map(|at| row(at * nodes + node, number)).collect(),
                kills: (0..KILLED).map(|_| kill(&mut random, KILL)).collect(),
                backup: (random.f64() < BACKUP).then(|| Backup {
                    start: After(BACKUP_LATEST.mul_f64(random.f64())),
                    kill: kill(&mut random, BACKUP_KILL),
                }),
            })
            .collect();
        Cycle { number, scope: format!("demo {seed} cycle {number}"), nodes }
    }

    /// All rows of the job.
    #[cfg(test)]
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.nodes.iter().flat_map(|node| &node.rows)
    }
}

/// As likely to come in the first millisecond as in the last half of a second: a short node must be hit, too.
fn kill(random: &mut fastrand::Rng, chance: f64) -> Option<After> {
    let (is_killed, at) = (random.f64() < chance, random.f64());
    let ratio = LATEST.as_secs_f64() / SOONEST.as_secs_f64();
    is_killed.then(|| After(SOONEST.mul_f64(ratio.powf(at))))
}

/// Seeds that lie beside each other must not give plans that look alike.
fn mixed(seed: u64, number: u64) -> u64 {
    let hash = digest(&SHA256, &[seed.to_be_bytes(), number.to_be_bytes()].concat());
    u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("there are 32"))
}

/// The whole plan in 16 hexadecimal digits, the faults of the service included.
pub(crate) fn fingerprint(seed: u64, cycles: &[Cycle]) -> String {
    let text = serde_json::to_vec(&(seed, CHAOS, cycles)).expect("plain data");
    digest(&SHA256, &text).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(seed: u64) -> Vec<Cycle> {
        let ids: Vec<String> = (0..100).map(|id| format!("id{id}")).collect();
        (0..200).map(|number| Cycle::draw(seed, number, &ids, 2)).collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(plan(7), plan(7));
        assert_eq!(fingerprint(7, &plan(7)), fingerprint(7, &plan(7)));
        assert_ne!(fingerprint(7, &plan(7)), fingerprint(8, &plan(8)));
        assert_ne!(fingerprint(7, &plan(7)), fingerprint(8, &plan(7)), "the service's faults are of the plan");
    }

    #[test]
    fn no_two_rows_share_a_record_and_every_node_has_its_share() {
        let plan = plan(7);
        let records: HashSet<&str> = plan.iter().flat_map(Cycle::rows).map(|row| row.record.as_str()).collect();
        assert_eq!(records.len(), 200 * 2 * SHARE);
        for cycle in &plan {
            let mut numbers: Vec<usize> = cycle.rows().map(|row| row.number).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..2 * SHARE));
        }
    }

    #[test]
    fn kills_and_copies_come_as_often_and_as_late_as_they_should() {
        let plan = plan(7);
        let nodes: Vec<&Node> = plan.iter().flat_map(|cycle| &cycle.nodes).collect();
        let kills: Vec<After> = nodes.iter().flat_map(|node| &node.kills).flatten().copied().collect();
        assert!((500..700).contains(&kills.len()), "of 1200: {}", kills.len());
        assert!(kills.iter().all(|kill| (SOONEST..=LATEST).contains(&kill.0)));
        assert!(kills.iter().any(|kill| kill.0 < 2 * SOONEST) && kills.iter().any(|kill| kill.0 > LATEST / 2));
        let copies = nodes.iter().filter(|node| node.backup.is_some()).count();
        assert!((150..250).contains(&copies), "of 400: {copies}");
    }
}
