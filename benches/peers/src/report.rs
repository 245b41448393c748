//! What is said about a run: tables for a reader, one JSON object for a program, and the targets.
//!
//! It only computes medians and ratios of what was measured. A target says which figure of which peer is held
//! against what; missing it changes no exit code, for a shared machine proves nothing by one run.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Circumstances;
use crate::measure::{Figure, Outcome, Spread, Who};
use crate::plan::{Against, LAST_POINT, Plan, Target, WORST_POINT};
use crate::programs::Ceiling;

/// From this share on the figures are told to be doubtful: half a core of two is enough to move a ratio.
const DOUBTFUL: f64 = 0.1;

/// What the names of our own rows have in them.
const OURS: &str = "pinlink";

/// The limit where one request follows the other: the same language's bare socket, nobody's choice of a client.
pub(crate) const RAW: &str = "raw socket";

/// One workload with everything measured in it.
pub(crate) struct Workload {
    pub(crate) plan: &'static Plan,
    /// The peer that all ratios are to.
    pub(crate) limit: String,
    pub(crate) outcomes: Vec<Outcome>,
    /// The part of the machine that processes other than ours took meanwhile.
    pub(crate) others: f64,
}

/// A target that was looked at: whose figure it was, and how far it got.
struct Held<'a> {
    who: &'a Who,
    value: Spread,
}

impl Workload {
    fn peer(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.who.name == name)
    }

    fn rounds(&self) -> usize {
        self.outcomes.iter().flat_map(|outcome| outcome.rounds.values()).map(Vec::len).max().unwrap_or(0)
    }

    /// The figure that a target is about, held against what it names.
    fn held(&self, target: &Target) -> Option<Held<'_>> {
        let points = self.outcomes.iter().filter(|outcome| outcome.who.x.is_some());
        match target.peer {
            WORST_POINT => points
                .filter(|outcome| outcome.who.name != self.limit)
                .filter_map(|outcome| self.held_of(outcome, target))
                .max_by(|one, other| {
                    let badness = |held: &Held<'_>| target.bound.badness(held.value.median);
                    badness(one).total_cmp(&badness(other))
                }),
            LAST_POINT => {
                let last =
                    points.max_by(|one, other| one.who.x.partial_cmp(&other.who.x).unwrap_or(Ordering::Equal))?;
                self.held_of(last, target)
            }
            name => self.held_of(self.peer(name)?, target),
        }
    }

    fn held_of<'a>(&self, outcome: &'a Outcome, target: &Target) -> Option<Held<'a>> {
        let figure = target.figure;
        let value = match target.against {
            Against::Peer(name) => outcome.ratio(figure, self.peer(name)?),
            Against::First => outcome.ratio(figure, self.peer(&self.limit)?),
            Against::Best => outcome.ratio(figure, self.best(figure)?),
            Against::Over(name) => {
                outcome.against(figure, self.peer(name)?.rounds.get(&figure)?, |ours, theirs| ours - theirs)
            }
            Against::Alone => outcome.spread(figure),
        };
        Some(Held { who: &outcome.who, value: value? })
    }

    /// The best of those whom a user would pick instead.
    fn best(&self, figure: Figure) -> Option<&Outcome> {
        let others = self.outcomes.iter().filter(|outcome| !self.is_limit_or_ours(&outcome.who));
        let medians = others.filter_map(|outcome| Some((outcome, outcome.spread(figure)?.median)));
        let best = medians.reduce(|best, next| if figure.is_better(next.1, best.1) { next } else { best });
        best.map(|(outcome, _)| outcome)
    }

    /// The table: a row a peer; of each figure its median, and of what comes in rounds the ratio to the limit with its
    /// quartiles.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![vec!["".to_owned()]];
        let held = format!("x {} [q1, q3]", self.limit);
        for figure in self.plan.figures {
            rows[0].push(figure.label().to_owned());
            rows[0].extend((!figure.comes_once()).then(|| held.clone()));
        }
        let limit = self.peer(&self.limit);
        for outcome in self.outcomes.iter().filter(|outcome| outcome.missing.is_none()) {
            let mut row = vec![outcome.who.name.clone()];
            for &figure in self.plan.figures {
                let median = outcome.spread(figure).map(|spread| format!("{:.*}", figure.decimals(), spread.median));
                row.push(median.unwrap_or("-".to_owned()));
                let ratio = limit.and_then(|limit| outcome.ratio(figure, limit));
                let is_limit = outcome.who.name == self.limit && ratio.is_some();
                let ratio = if is_limit { "1".to_owned() } else { show(ratio) };
                row.extend((!figure.comes_once()).then_some(ratio));
            }
            rows.push(row);
        }
        let (name, what) = (self.plan.name, self.what());
        let mut text = format!("{name}: {what}; {} rounds\n{}", self.rounds(), aligned(&rows));
        for outcome in &self.outcomes {
            if let Some(why) = &outcome.missing {
                let _ = writeln!(text, "  {} is MISSING: {why}", outcome.who.name);
            }
            for (figure, why) in &outcome.uncounted {
                let _ = writeln!(text, "  {} of {} is MISSING: {why}", figure.label(), outcome.who.name);
            }
        }
        if self.others >= DOUBTFUL {
            let share = self.others * 100.0;
            let _ = writeln!(text, "  DOUBTFUL: other processes took {share:.0} % of the machine meanwhile");
        }
        text + &self.verdicts()
    }

    /// What a target's figure is held against, by its name.
    fn against(&self, target: &Target) -> String {
        let best = self.best(target.figure).filter(|_| matches!(target.against, Against::Best));
        let name = best.map_or(String::new(), |best| format!(", {}", best.who.name));
        target.against.text() + &name
    }

    fn what(&self) -> String {
        let over = if self.plan.door.is_tls() { "TLS 1.3" } else { "plain TCP" };
        let what = self.plan.what.replace("{over}", over);
        match self.plan.ceiling {
            Some(Ceiling::Wrk(connections)) => what.replace("{connections}", &connections.to_string()),
            _ => what,
        }
    }

    fn verdicts(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .plan
            .targets
            .iter()
            .map(|target| {
                let held = self.held(target);
                let verdict = match &held {
                    Some(held) if target.bound.holds(held.value.median) => "met",
                    Some(_) => "MISSED",
                    None => "not measured",
                };
                let (figure, bound) = (target.figure.label(), target.bound.text());
                let mut promise = format!("target: {} {figure} {bound}{}", target.peer, self.against(target));
                if let Some(held) = held.as_ref().filter(|held| held.who.name != target.peer) {
                    let _ = write!(promise, " ({})", held.who.name);
                }
                vec![promise, show(held.map(|held| held.value)), verdict.to_owned()]
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
        let limit = self.peer(&self.limit);
        let peers: Vec<Measured<'_>> = self
            .outcomes
            .iter()
            .map(|outcome| {
                let figures = self.plan.figures.iter().filter_map(|&figure| {
                    let name = serde_json::to_value(figure).ok()?.as_str()?.to_owned();
                    let ratio = limit.and_then(|limit| outcome.ratio(figure, limit));
                    Some((name, serde_json::json!({ "spread": outcome.spread(figure)?, "ratio": ratio })))
                });
                Measured { outcome, figures: figures.collect() }
            })
            .collect();
        let targets: Vec<serde_json::Value> = self
            .plan
            .targets
            .iter()
            .map(|target| {
                let held = self.held(target);
                serde_json::json!({
                    "peer": held.as_ref().map_or(target.peer, |held| &held.who.name),
                    "figure": target.figure,
                    "against": self.against(target).trim(),
                    "bound": target.bound.text(),
                    "ratio": held.as_ref().map(|held| held.value),
                    "met": held.map(|held| target.bound.holds(held.value.median)),
                })
            })
            .collect();
        serde_json::json!({
            "name": self.plan.name,
            "what": self.what(),
            "kind": self.plan.kind.name(),
            "limit": self.limit,
            "rounds": self.rounds(),
            "others": self.others,
            "peers": peers,
            "targets": targets,
        })
    }

    /// Whether it is none of those whom a user would pick instead.
    fn is_limit_or_ours(&self, who: &Who) -> bool {
        who.name == self.limit || who.name.starts_with(RAW) || who.name.contains(OURS)
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
    use crate::plan::{Bound, Door, Kind, Turns};

    const fn target(peer: &'static str, against: Against, bound: Bound) -> Target {
        Target { peer, figure: Figure::P50Us, against, bound }
    }

    const TO_A: &[Target] = &[target("b", Against::Peer("a"), Bound::AtMost(1.5))];

    fn plan(targets: &'static [Target]) -> &'static Plan {
        Box::leak(Box::new(Plan {
            name: "w",
            worker: "w",
            what: "GETs over {over}",
            kind: Kind::Peers,
            door: Door::Tls,
            path: "/",
            limit: "a",
            ceiling: None,
            turns: Turns::Passing,
            figures: &[Figure::P50Us, Figure::PeakMib],
            targets,
            seconds: 1,
        }))
    }

    fn workload(targets: &'static [Target], outcomes: Vec<Outcome>) -> Workload {
        Workload { plan: plan(targets), limit: "a".to_owned(), outcomes, others: 0.0 }
    }

    fn outcome(name: &str, values: &[f64]) -> Outcome {
        let rounds = BTreeMap::from([(Figure::P50Us, values.to_vec())]);
        Outcome { who: Who::new(name, "rust"), missing: None, rounds, uncounted: BTreeMap::new() }
    }

    fn point(name: &str, x: f64, value: f64) -> Outcome {
        Outcome { who: Who { x: Some(x), ..Who::new(name, "rust") }, ..outcome(name, &[value]) }
    }

    fn medians(workload: &Workload) -> Vec<f64> {
        workload.plan.targets.iter().map(|target| workload.held(target).unwrap().value.median).collect()
    }

    #[test]
    fn a_target_is_judged_by_the_median_of_the_ratios_of_single_rounds() {
        let workload = workload(TO_A, vec![outcome("a", &[1.0, 10.0, 2.0]), outcome("b", &[1.2, 13.0, 40.0])]);
        let json = workload.to_json();
        assert_eq!(json["targets"][0]["met"], true);
        assert_eq!(json["what"], "GETs over TLS 1.3");
        assert!(workload.table().contains("1.30"), "{}", workload.table());
    }

    #[test]
    fn the_best_peer_has_the_best_median_and_is_never_ours() {
        const TARGETS: &[Target] = &[
            target("pinlink", Against::Best, Bound::Below(1.0)),
            target("pinlink", Against::Over("a"), Bound::AtMost(3.0)),
        ];
        let outcomes = vec![
            outcome("a", &[1.0, 1.0]),
            outcome("b", &[4.0, 8.0]),
            outcome("c", &[8.0, 2.0]),
            outcome("raw socket", &[0.1, 0.1]),
            outcome("pinlink", &[2.0, 3.0]),
            outcome("b + pinlink", &[0.1, 0.1]),
        ];
        let workload = workload(TARGETS, outcomes);
        // Held against c: 1 / 4 and 3 / 2.
        assert_eq!(medians(&workload), [0.875, 1.5]);
        assert_eq!(workload.to_json()["targets"][0]["against"], "x the best peer, c");
    }

    #[test]
    fn a_curve_is_as_flat_as_its_worst_point() {
        const TARGETS: &[Target] = &[
            target(WORST_POINT, Against::First, Bound::Within(0.1)),
            target(WORST_POINT, Against::First, Bound::AtMost(1.5)),
            target(LAST_POINT, Against::Alone, Bound::AtMost(11.0)),
        ];
        let outcomes = vec![point("a", 1.0, 10.0), point("b", 2.0, 8.0), point("c", 30.0, 11.0)];
        let workload = workload(TARGETS, outcomes);
        assert_eq!(medians(&workload), [0.8, 1.1, 11.0]);
        let table = workload.table();
        assert!(table.contains("the worst point p50 µs 0.9 to 1.1 x the first point (b)"), "{table}");
        let json = workload.to_json();
        assert_eq!((&json["targets"][0]["peer"], &json["targets"][0]["met"]), (&"b".into(), &false.into()));
        assert_eq!(json["peers"][2]["x"], 30.0);
    }

    #[test]
    fn what_is_missing_is_named_and_its_targets_are_not_measured() {
        let mut ours = outcome("b", &[1.0]);
        ours.uncounted.insert(Figure::PeakMib, "no /proc".to_owned());
        let why = "a is not installed: apt-get install a".to_owned();
        let mut workload = workload(TO_A, vec![Outcome::missing(Who::new("a", "rust"), why), ours]);
        workload.others = 0.5;
        let table = workload.table();
        assert!(table.contains("a is MISSING: a is not installed: apt-get install a"), "{table}");
        assert!(table.contains("peak MiB of b is MISSING: no /proc"), "{table}");
        assert!(table.contains("not measured") && table.contains("50 %"), "{table}");
    }
}
