//! What a run has measured, as the driver writes it and as it is kept.
//!
//! It reads a run's JSON, says where a peer is ahead, round by round, and leaves the rounds out of what is kept: medians
//! and quartiles stay, a spread as `[q1, median, q3]`. Reading takes both forms, so a page can be made again from what
//! is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::figure;

/// From this share of the machine taken by others on, figures are doubtful; the driver says the same.
const DOUBTFUL: f64 = 0.1;

/// Below, quartiles mean nothing.
const LEAST_ROUNDS: usize = 5;

/// One run of the driver.
#[derive(Deserialize, Serialize)]
pub(crate) struct Run {
    #[serde(default)]
    pub(crate) language: String,
    #[serde(default)]
    pub(crate) commit: String,
    #[serde(default)]
    pub(crate) modified: bool,
    #[serde(default)]
    pub(crate) date: String,
    #[serde(default)]
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) machine: Machine,
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) workloads: Vec<Workload>,
}

/// Where it ran.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Machine {
    #[serde(default)]
    pub(crate) cpu: String,
    #[serde(default)]
    pub(crate) cores: usize,
    #[serde(default)]
    pub(crate) kernel: String,
    #[serde(default)]
    pub(crate) load_before: String,
}

/// One workload of a run.
#[derive(Deserialize, Serialize)]
pub(crate) struct Workload {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) limit: String,
    #[serde(default)]
    pub(crate) rounds: usize,
    #[serde(default, serialize_with = "rounded")]
    pub(crate) others: f64,
    pub(crate) peers: Vec<Peer>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
    /// How the best of our rows stands to others; known once the rounds were seen.
    #[serde(default)]
    pub(crate) standings: Vec<Standing>,
}

/// Whether a workload's peers are rivals or points on a curve.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Peers,
    Growth,
}

/// One row of a workload.
#[derive(Deserialize, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<f64>,
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, Measured>,
    /// Figures that could not be counted, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) uncounted: BTreeMap<String, String>,
    #[serde(default, skip_serializing)]
    rounds: BTreeMap<String, Vec<Option<f64>>>,
}

/// A figure, and its ratio to the limit's.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Measured {
    #[serde(deserialize_with = "finite")]
    pub(crate) spread: Option<Spread>,
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<Spread>,
}

/// A promise, and whether it was kept.
#[derive(Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) peer: String,
    pub(crate) figure: String,
    #[serde(default)]
    pub(crate) against: String,
    pub(crate) bound: String,
    #[serde(default, deserialize_with = "finite")]
    pub(crate) ratio: Option<Spread>,
    pub(crate) met: Option<bool>,
}

/// The best of our rows beside a peer: the closest one, and every one that is ahead.
#[derive(Deserialize, Serialize)]
pub(crate) struct Standing {
    pub(crate) figure: String,
    pub(crate) peer: String,
    pub(crate) ours: String,
    /// Ours over the peer's, of the same rounds.
    pub(crate) ratio: Spread,
}

/// A median with its quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) q1: f64,
    pub(crate) median: f64,
    pub(crate) q3: f64,
}

/// What a row is to the reader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Ours,
    /// The physical limit, or what does nothing: no client to choose.
    Limit,
    Peer,
}

impl Run {
    /// Reads a run, and looks at its rounds if it still has them.
    pub(crate) fn parse(text: &str) -> Result<Run, serde_json::Error> {
        let mut run: Run = serde_json::from_str(text)?;
        for workload in &mut run.workloads {
            if workload.peers.iter().any(|peer| !peer.rounds.is_empty()) {
                workload.standings = workload.seen();
            }
        }
        Ok(run)
    }

    /// What is kept of it: a line a row, so that two runs can be compared by eye.
    pub(crate) fn kept(&self) -> Result<String, serde_json::Error> {
        // A quotation mark within a string is escaped, so this stands between rows only.
        Ok(serde_json::to_string(self)?.replace(",{\"", ",\n{\"").replace("[{\"", "[\n{\"") + "\n")
    }
}

impl Workload {
    pub(crate) fn role(&self, name: &str) -> Role {
        const LIMITS: [&str; 5] = ["raw socket", "wrk", "h2load", "empty process", "nothing crosses"];
        match name {
            _ if name.contains("pinlink") => Role::Ours,
            _ if self.kind == Kind::Growth => Role::Ours,
            _ if name == self.limit || LIMITS.iter().any(|limit| name.starts_with(limit)) => Role::Limit,
            _ => Role::Peer,
        }
    }

    pub(crate) fn present(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.missing.is_none() && !peer.figures.is_empty())
    }

    /// The names of all figures of all rows, in the order of tables.
    pub(crate) fn figures(&self) -> Vec<&str> {
        figure::in_order(self.present().flat_map(|peer| peer.figures.keys()).map(String::as_str))
    }

    /// Why these figures are to be doubted, if they are.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.others >= DOUBTFUL {
            doubts.push(format!("other processes took {:.0} % of the machine", self.others * 100.0));
        }
        if self.rounds < LEAST_ROUNDS {
            doubts.push(match self.rounds {
                0 => "no round was played".to_owned(),
                1 => "one round only".to_owned(),
                rounds => format!("{rounds} rounds only"),
            });
        }
        doubts
    }

    /// The peers that are better than the best of our rows.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = &Standing> {
        self.standings.iter().filter(|standing| standing.is_behind())
    }

    /// In every drawn figure the best of our rows beside somebody else's clients, by the median of the ratios of the
    /// same rounds. A peer that carries pinlink is neither.
    fn seen(&self) -> Vec<Standing> {
        let mut all = Vec::new();
        if self.kind == Kind::Growth {
            return all;
        }
        for key in self.figures() {
            let Some(figure) = figure::known(key).filter(|figure| figure.drawn) else { continue };
            let burden = |value: f64| if figure.more_is_better { -value } else { value };
            let ours = self.present().filter(|peer| self.role(&peer.name) == Role::Ours && !peer.name.contains(" + "));
            let median = |peer: &&Peer| Some(burden(peer.figures.get(key)?.spread?.median));
            let best = ours
                .filter(|peer| median(peer).is_some())
                .min_by(|one, other| median(one).unwrap_or(0.0).total_cmp(&median(other).unwrap_or(0.0)));
            let Some(best) = best else { continue };
            let rivals = self.present().filter(|peer| self.role(&peer.name) == Role::Peer);
            let mut standings: Vec<Standing> = rivals
                .filter_map(|peer| {
                    let (ours, theirs) = (best.rounds.get(key)?, peer.rounds.get(key)?);
                    let ratios = ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
                    let ratio = Spread::of(ratios.collect())?;
                    Some(Standing { figure: key.to_owned(), peer: peer.name.clone(), ours: best.name.clone(), ratio })
                })
                .collect();
            standings.sort_by(|one, other| burden(other.ratio.median).total_cmp(&burden(one.ratio.median)));
            let behind = standings.iter().filter(|standing| standing.is_behind()).count();
            standings.truncate(behind.max(1));
            all.append(&mut standings);
        }
        all
    }
}

impl Standing {
    /// Whether the peer is better.
    pub(crate) fn is_behind(&self) -> bool {
        let more_is_better = figure::known(&self.figure).is_some_and(|figure| figure.more_is_better);
        if more_is_better { self.ratio.median < 1.0 } else { self.ratio.median > 1.0 }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)? as f64;
        let quantile = |q: f64| {
            let at = q * last;
            let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
            below + (above - below) * at.fract()
        };
        Some(Spread { q1: quantile(0.25), median: quantile(0.5), q3: quantile(0.75) })
    }
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.q1, self.median, self.q3].map(short).serialize(serializer)
    }
}

/// Both forms of a spread; what JSON has for "not a number" is null.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Driver { median: Option<f64>, q1: Option<f64>, q3: Option<f64> },
    Kept([Option<f64>; 3]),
}

impl Written {
    fn spread(self) -> Option<Spread> {
        let (Written::Driver { q1, median, q3 } | Written::Kept([q1, median, q3])) = self;
        Some(Spread { q1: q1?, median: median?, q3: q3? })
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spread, D::Error> {
        let spread = Written::deserialize(deserializer)?.spread();
        spread.ok_or_else(|| serde::de::Error::custom("a spread without its numbers"))
    }
}

/// A ratio to nothing is no number, and none is said.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spread>, D::Error> {
    Ok(Option::<Written>::deserialize(deserializer)?.and_then(Written::spread))
}

fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(short(*value))
}

/// Five digits: more than any of these measurements has.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"workloads":[{"name":"sync","limit":"raw socket","rounds":3,"others":0.2,"targets":[],"peers":[
        {"name":"raw socket","figures":{"p50_us":{"spread":{"q1":1,"median":1,"q3":1},"ratio":null}},"rounds":{"p50_us":[1,1,1]}},
        {"name":"pinlink send","figures":{"p50_us":{"spread":{"q1":2,"median":3,"q3":4},"ratio":null}},"rounds":{"p50_us":[2,3,4]}},
        {"name":"fast","figures":{"p50_us":{"spread":{"q1":1,"median":2.5,"q3":4},"ratio":null}},"rounds":{"p50_us":[1,2.5,4]}},
        {"name":"fast + pinlink","figures":{"p50_us":{"spread":{"q1":1,"median":1,"q3":1},"ratio":null}},"rounds":{"p50_us":[1,1,1]}},
        {"name":"gone","missing":"not installed"}]}]}"#;

    #[test]
    fn a_peer_is_ahead_by_the_rounds_and_what_is_kept_says_so_without_them() {
        let run = Run::parse(RUN).unwrap();
        let kept = run.kept().unwrap();
        assert!(!kept.contains("rounds\":{"), "{kept}");
        for run in [run, Run::parse(&kept).unwrap()] {
            let ahead: Vec<_> = run.workloads[0].ahead().collect();
            let [ahead] = ahead[..] else { panic!("one peer is ahead") };
            assert_eq!((ahead.peer.as_str(), ahead.ours.as_str()), ("fast", "pinlink send"));
            assert_eq!(ahead.ratio, Spread { q1: 1.1, median: 1.2, q3: 1.6 });
        }
    }

    #[test]
    fn few_rounds_and_a_busy_machine_are_doubted() {
        let run = Run::parse(RUN).unwrap();
        assert_eq!(run.workloads[0].doubts().len(), 2);
        assert_eq!(run.workloads[0].present().count(), 4);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        let measured: Measured =
            serde_json::from_str(r#"{"spread":[1,2,3],"ratio":{"median":null,"q1":null,"q3":null}}"#).unwrap();
        assert!(measured.ratio.is_none() && measured.spread.is_some());
    }
}
