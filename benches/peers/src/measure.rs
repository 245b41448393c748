//! How things are measured: figures, turns, rounds, ratios.
//!
//! A round gives each peer one turn, in an order that rotates, so that whatever else the machine does falls
//! on all of them alike. What is compared is the ratio of two figures of the same round; what is reported is
//! the median of those ratios, with the quartiles as its spread. Time comes from the monotonic clock, CPU from
//! `getrusage` of the whole process, so that a peer's hidden threads count too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Any failure; it is only ever shown.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The fewest rounds of a workload, however slow it is: below, quartiles mean nothing.
const LEAST_ROUNDS: usize = 5;

/// How long a workload goes on.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// Until this time is over, and at least a few rounds.
    Time(Duration),
    /// Exactly so many rounds: the same work each time, which a profiler wants.
    Rounds(usize),
}

impl Length {
    fn goes_on(self, round: usize, elapsed: Duration) -> bool {
        match self {
            Length::Time(time) => round < LEAST_ROUNDS || elapsed < time,
            Length::Rounds(rounds) => round < rounds,
        }
    }
}

/// What is measured of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Median latency of a turn's requests.
    P50Us,
    /// The 99th percentile of a turn's latencies.
    P99Us,
    /// User and system time of the process, per request.
    CpuUs,
    /// Requests per second.
    PerSecond,
    /// Bytes that were allocated on the managed heap, per request.
    HeapBytes,
    /// One call of something shorter than a request.
    NsPerCall,
    /// User and system time of a process from its start to its end.
    CpuMs,
    /// A process from its start to its end.
    WallMs,
}

impl Figure {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Figure::P50Us => "p50 µs",
            Figure::P99Us => "p99 µs",
            Figure::CpuUs => "CPU µs/req",
            Figure::PerSecond => "req/s",
            Figure::HeapBytes => "heap B/req",
            Figure::NsPerCall => "ns/call",
            Figure::CpuMs => "CPU ms",
            Figure::WallMs => "wall ms",
        }
    }

    pub(crate) fn decimals(self) -> usize {
        if matches!(self, Figure::PerSecond | Figure::HeapBytes) { 0 } else { 1 }
    }

    /// The better of two.
    pub(crate) fn better(self, one: f64, other: f64) -> f64 {
        if self == Figure::PerSecond { one.max(other) } else { one.min(other) }
    }
}

/// The figures of one turn.
pub(crate) type Turn = BTreeMap<Figure, f64>;

/// One of those that are compared: a library in this process, or a program beside it.
pub(crate) trait Peer {
    /// Its name in tables and targets.
    fn name(&self) -> &str;

    /// Package and version, or what a program says of itself.
    fn version(&self) -> String;

    /// What it is written for.
    fn language(&self) -> &'static str {
        "rust"
    }

    /// One turn. The first one is warm-up and thrown away.
    fn turn(&mut self) -> Result<Turn>;
}

/// Those that take part, and those that can't.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) present: Vec<Box<dyn Peer>>,
    pub(crate) missing: Vec<Outcome>,
}

/// A peer's turns, one a round; or why there are none.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) language: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
    /// Every round's figures, in the order of the rounds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rounds: BTreeMap<Figure, Vec<f64>>,
}

impl Outcome {
    /// A peer that could not take part.
    pub(crate) fn missing(name: &str, language: &'static str, why: String) -> Outcome {
        let (name, rounds) = (name.to_owned(), BTreeMap::new());
        Outcome { name, version: String::new(), language, missing: Some(why), rounds }
    }

    pub(crate) fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.get(&figure)?.clone())
    }

    /// This peer's figure over another's, round by round.
    pub(crate) fn ratio(&self, figure: Figure, to: &Outcome) -> Option<Spread> {
        self.against(figure, to.rounds.get(&figure)?, |ours, theirs| ours / theirs)
    }

    /// This peer's figure held against others of the same rounds.
    pub(crate) fn against(&self, figure: Figure, to: &[f64], compare: impl Fn(f64, f64) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.get(&figure)?.iter().zip(to).map(|(&ours, &theirs)| compare(ours, theirs)).collect())
    }
}

/// A median with its quartiles.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) q1: f64,
    pub(crate) q3: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Spread> {
        if values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        Some(Spread { median: quantile(&values, 0.5), q1: quantile(&values, 0.25), q3: quantile(&values, 0.75) })
    }
}

/// A quantile of sorted values, interpolated.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Gives all peers their turns, round after round. One that fails takes no further part and is reported with
/// its error: figures of some rounds only would be compared with other rounds'.
pub(crate) fn in_turn(mut peers: Vec<Box<dyn Peer>>, length: Length) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = peers
        .iter()
        .map(|peer| Outcome {
            name: peer.name().to_owned(),
            version: peer.version(),
            language: peer.language(),
            missing: None,
            rounds: BTreeMap::new(),
        })
        .collect();
    let mut take = |index: usize, outcomes: &mut Vec<Outcome>, keep: bool| {
        let outcome = &mut outcomes[index];
        if outcome.missing.is_some() {
            return;
        }
        match peers[index].turn() {
            Ok(turn) if keep => {
                for (figure, value) in turn {
                    outcome.rounds.entry(figure).or_default().push(value);
                }
            }
            Ok(_) => {}
            Err(error) => {
                outcome.missing = Some(format!("failed: {error}"));
                outcome.rounds.clear();
            }
        }
    };
    for index in 0..outcomes.len() {
        take(index, &mut outcomes, false);
    }
    let begun = Instant::now();
    let mut round = 0;
    while length.goes_on(round, begun.elapsed()) {
        for index in order(outcomes.len(), round) {
            take(index, &mut outcomes, true);
        }
        round += 1;
    }
    outcomes
}

/// The order of a round: rotated by one each time, and every other cycle backwards, so that nobody always follows
/// the same neighbour.
fn order(peers: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers).collect();
    order.rotate_left(round % peers.max(1));
    if round / peers.max(1) % 2 == 1 {
        order.reverse();
    }
    order
}

/// Whose CPU time.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    /// All threads of this process.
    Ours,
    /// Programs that were started by this one and have ended.
    Children,
}

/// User and system time so far.
pub(crate) fn cpu(whose: Whose) -> Duration {
    let who = match whose {
        Whose::Ours => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a `rusage` of ours, all of which may be zero, and the call only writes to it.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |part: libc::timeval| Duration::new(part.tv_sec as u64, part.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.q1, spread.median, spread.q3), (1.75, 2.5, 3.25));
    }

    #[test]
    fn every_peer_is_first_and_last_equally_often() {
        let rounds: Vec<Vec<usize>> = (0..8).map(|round| order(4, round)).collect();
        for peer in 0..4 {
            assert_eq!(rounds.iter().filter(|order| order[0] == peer).count(), 2);
            assert_eq!(rounds.iter().filter(|order| order[3] == peer).count(), 2);
        }
    }
}
