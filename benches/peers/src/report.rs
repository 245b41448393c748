//! What is said about a run: tables for a reader, one JSON object for a program, and the targets.
//!
//! It only computes medians and ratios of what was measured. A target says which figure of which peer is held
//! against what; missing it changes no exit code, for a shared machine proves nothing by one run.

use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Circumstances;
use crate::measure::{Figure, Outcome, Spread};

/// From this share on the figures are told to be doubtful: half a core of two is enough to move a ratio.
const DOUBTFUL: f64 = 0.1;

/// What the names of our own rows have in them.
const OURS: &str = "pinlink";

/// One workload with everything measured in it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    /// The peer that all ratios are to.
    pub(crate) limit: &'static str,
    pub(crate) figures: &'static [Figure],
    pub(crate) targets: &'static [Target],
    pub(crate) outcomes: Vec<Outcome>,
    /// The part of the machine that processes other than ours took meanwhile.
    pub(crate) others: f64,
}

/// A promise: a figure of a peer held against something, and its bound.
pub(crate) struct Target {
    pub(crate) peer: &'static str,
    pub(crate) figure: Figure,
    pub(crate) against: Against,
    pub(crate) bound: Bound,
}

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Against {
    /// Its ratio to another peer's.
    Peer(&'static str),
    /// Its ratio to the best, in each round, of all that are neither the limit nor built on pinlink.
    Best,
    /// How far it is above another peer's.
    Over(&'static str),
    /// Nothing: the figure itself.
    Alone,
}

/// On which side of a ratio the promise is kept.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    Below(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Bound::Below(bound) => ratio < bound,
            Bound::AtMost(bound) => ratio <= bound,
            Bound::AtLeast(bound) => ratio >= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Bound::Below(bound) => format!("< {}", rounded(bound)),
            Bound::AtMost(bound) => format!("<= {}", rounded(bound)),
            Bound::AtLeast(bound) => format!(">= {}", rounded(bound)),
        }
    }
}

impl Against {
    /// What stands behind the bound.
    fn text(self) -> String {
        match self {
            Against::Peer(name) => format!(" x {name}"),
            Against::Best => " x the best peer".to_owned(),
            Against::Over(name) => format!(" over {name}"),
            Against::Alone => String::new(),
        }
    }
}

/// A bound as people say it: a twelfth is 0.083.
fn rounded(bound: f64) -> f64 {
    (bound * 1000.0).round() / 1000.0
}

impl Workload {
    fn peer(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }

    fn rounds(&self) -> usize {
        self.outcomes.iter().flat_map(|outcome| outcome.rounds.values()).map(Vec::len).max().unwrap_or(0)
    }

    fn held(&self, target: &Target) -> Option<Spread> {
        let (outcome, figure) = (self.peer(target.peer)?, target.figure);
        match target.against {
            Against::Peer(name) => outcome.ratio(figure, self.peer(name)?),
            Against::Best => outcome.against(figure, &self.best(figure)?, |ours, best| ours / best),
            Against::Over(name) => {
                outcome.against(figure, self.peer(name)?.rounds.get(&figure)?, |ours, theirs| ours - theirs)
            }
            Against::Alone => outcome.spread(figure),
        }
    }

    /// The best figure of each round, of those whom a user would pick instead.
    fn best(&self, figure: Figure) -> Option<Vec<f64>> {
        let others = self.outcomes.iter().filter(|outcome| outcome.name != self.limit && !outcome.name.contains(OURS));
        let rounds = others.filter_map(|outcome| outcome.rounds.get(&figure).cloned());
        rounds.reduce(|best, next| best.into_iter().zip(next).map(|(best, next)| figure.better(best, next)).collect())
    }

    /// The table: a row a peer; of each figure its median, and the ratio to the limit with its quartiles.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![vec!["".to_owned()]];
        for figure in self.figures {
            rows[0].extend([figure.label().to_owned(), format!("x {} [q1, q3]", self.limit)]);
        }
        let limit = self.peer(self.limit);
        for outcome in self.outcomes.iter().filter(|outcome| outcome.missing.is_none()) {
            let mut row = vec![outcome.name.to_owned()];
            for &figure in self.figures {
                row.push(
                    outcome.spread(figure).map_or("-".to_owned(), |s| format!("{:.*}", figure.decimals(), s.median)),
                );
                let ratio = limit.and_then(|limit| outcome.ratio(figure, limit));
                row.push(if outcome.name == self.limit { "1".to_owned() } else { show(ratio) });
            }
            rows.push(row);
        }
        let mut text = format!("{}: {}; {} rounds\n{}", self.name, self.what, self.rounds(), aligned(&rows));
        for outcome in &self.outcomes {
            if let Some(why) = &outcome.missing {
                let _ = writeln!(text, "  {} is MISSING: {why}", outcome.name);
            }
        }
        if self.others >= DOUBTFUL {
            let share = self.others * 100.0;
            let _ = writeln!(text, "  DOUBTFUL: other processes took {share:.0} % of the machine meanwhile");
        }
        text + &self.verdicts()
    }

    fn verdicts(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .targets
            .iter()
            .map(|target| {
                let ratio = self.held(target);
                let verdict = match ratio {
                    Some(spread) if target.bound.holds(spread.median) => "met",
                    Some(_) => "MISSED",
                    None => "not measured",
                };
                let (figure, bound) = (target.figure.label(), target.bound.text());
                let promise = format!("target: {} {figure} {bound}{}", target.peer, target.against.text());
                vec![promise, show(ratio), verdict.to_owned()]
            })
            .collect();
        aligned(&rows)
    }

    fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Measured<'a> {
            #[serde(flatten)]
            outcome: &'a Outcome,
            figures: serde_json::Map<String, serde_json::Value>,
        }
        let limit = self.peer(self.limit);
        let peers: Vec<Measured<'_>> = self
            .outcomes
            .iter()
            .map(|outcome| {
                let figures = self.figures.iter().filter_map(|&figure| {
                    let name = serde_json::to_value(figure).ok()?.as_str()?.to_owned();
                    let ratio = limit.and_then(|limit| outcome.ratio(figure, limit));
                    Some((name, serde_json::json!({ "spread": outcome.spread(figure)?, "ratio": ratio })))
                });
                Measured { outcome, figures: figures.collect() }
            })
            .collect();
        let targets: Vec<serde_json::Value> = self
            .targets
            .iter()
            .map(|target| {
                let ratio = self.held(target);
                serde_json::json!({
                    "peer": target.peer,
                    "figure": target.figure,
                    "against": target.against.text().trim(),
                    "bound": target.bound.text(),
                    "ratio": ratio,
                    "met": ratio.map(|spread| target.bound.holds(spread.median)),
                })
            })
            .collect();
        serde_json::json!({
            "name": self.name,
            "what": self.what,
            "limit": self.limit,
            "rounds": self.rounds(),
            "others": self.others,
            "peers": peers,
            "targets": targets,
        })
    }
}

/// The whole run as one JSON object.
pub(crate) fn to_json(circumstances: &Circumstances, workloads: &[Workload]) -> serde_json::Value {
    let mut object = serde_json::json!(circumstances);
    object["workloads"] = workloads.iter().map(Workload::to_json).collect();
    object
}

fn show(ratio: Option<Spread>) -> String {
    ratio.map_or("-".to_owned(), |s| format!("{:.2} [{:.2}, {:.2}]", s.median, s.q1, s.q3))
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        text.push(' ');
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 { write!(text, " {cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn outcome(name: &'static str, values: &[f64]) -> Outcome {
        let rounds = BTreeMap::from([(Figure::P50Us, values.to_vec())]);
        Outcome { name: name.to_owned(), version: String::new(), language: "rust", missing: None, rounds }
    }

    #[test]
    fn a_target_is_judged_by_the_median_of_the_ratios_of_single_rounds() {
        let targets: &[Target] =
            &[Target { peer: "b", figure: Figure::P50Us, against: Against::Peer("a"), bound: Bound::AtMost(1.5) }];
        let workload = Workload {
            name: "w",
            what: String::new(),
            limit: "a",
            figures: &[Figure::P50Us],
            targets,
            outcomes: vec![outcome("a", &[1.0, 10.0, 2.0]), outcome("b", &[1.2, 13.0, 40.0])],
            others: 0.0,
        };
        let json = workload.to_json();
        assert_eq!(json["targets"][0]["met"], true);
        assert!(workload.table().contains("1.30"), "{}", workload.table());
    }

    #[test]
    fn the_best_peer_is_the_best_of_each_round_and_never_ours() {
        let target = |against, bound| Target { peer: "pinlink", figure: Figure::P50Us, against, bound };
        let targets = [target(Against::Best, Bound::Below(1.0)), target(Against::Over("a"), Bound::AtMost(3.0))];
        let workload = Workload {
            name: "w",
            what: String::new(),
            limit: "a",
            figures: &[Figure::P50Us],
            targets: &[],
            outcomes: vec![
                outcome("a", &[1.0, 1.0]),
                outcome("b", &[4.0, 8.0]),
                outcome("c", &[9.0, 2.0]),
                outcome("pinlink", &[2.0, 3.0]),
                outcome("b + pinlink", &[0.1, 0.1]),
            ],
            others: 0.0,
        };
        let held = targets.each_ref().map(|target| workload.held(target).unwrap().median);
        assert_eq!(held, [1.0, 1.5]);
    }

    #[test]
    fn a_missing_peer_is_named_and_its_targets_are_not_measured() {
        let targets: &[Target] =
            &[Target { peer: "b", figure: Figure::P50Us, against: Against::Peer("a"), bound: Bound::AtMost(1.5) }];
        let workload = Workload {
            name: "w",
            what: String::new(),
            limit: "a",
            figures: &[Figure::P50Us],
            targets,
            outcomes: vec![
                Outcome::missing("a", "rust", "a is not installed: apt-get install a".to_owned()),
                outcome("b", &[1.0]),
            ],
            others: 0.5,
        };
        let table = workload.table();
        assert!(table.contains("a is MISSING: a is not installed: apt-get install a"), "{table}");
        assert!(table.contains("not measured") && table.contains("50 %"), "{table}");
    }
}
