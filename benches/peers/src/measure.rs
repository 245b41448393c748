//! How things are measured: figures, turns, rounds, ratios.
//!
//! A round gives each peer one turn, in an order that rotates, so that whatever else the machine does falls
//! on all of them alike. What is compared is the ratio of two figures of the same round; what is reported is
//! the median of those ratios, with the quartiles as its spread. What can only be counted once (memory, connections,
//! system calls) is counted after the last round. Time comes from the monotonic clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

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

    /// Whether a turn that took so long was enough.
    fn is_over(self, turn: Duration) -> bool {
        matches!(self, Length::Time(time) if turn > time)
    }
}

/// What is measured of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Median latency of a turn's requests.
    P50Us,
    /// The 99th percentile of a turn's latencies.
    P99Us,
    /// The 99.9th percentile of the latencies of all rounds; counted at the end.
    P999Us,
    /// User and system time of the process, per request.
    CpuUs,
    /// Requests per second.
    PerSecond,
    /// Bytes of bodies per second, in MiB.
    MibPerSecond,
    /// Bytes that were allocated on the managed heap, per request.
    HeapBytes,
    /// System calls of all threads, per request of a turn of its own; counted at the end.
    SyscallsPerReq,
    /// The most memory that the process had resident; counted at the end.
    PeakMib,
    /// Connections that the server accepted in all turns; counted at the end.
    Connections,
    /// Resident memory of one of many: of a host, of an idle connection.
    BytesEach,
    /// The part of that which the allocator gave out.
    HeapEach,
    /// One call of something shorter than a request.
    NsPerCall,
    /// User and system time of a process from its start to its end.
    CpuMs,
    /// A process from its start to its end.
    WallMs,
}

impl Figure {
    /// By its name in JSON.
    pub(crate) fn named(name: &str) -> Option<Figure> {
        serde_json::from_value(name.into()).ok()
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Figure::P50Us => "p50 µs",
            Figure::P99Us => "p99 µs",
            Figure::P999Us => "p99.9 µs",
            Figure::CpuUs => "CPU µs/req",
            Figure::PerSecond => "req/s",
            Figure::MibPerSecond => "MiB/s",
            Figure::HeapBytes => "heap B/req",
            Figure::SyscallsPerReq => "calls/req",
            Figure::PeakMib => "peak MiB",
            Figure::Connections => "conns",
            Figure::BytesEach => "B each",
            Figure::HeapEach => "heap B each",
            Figure::NsPerCall => "ns/call",
            Figure::CpuMs => "CPU ms",
            Figure::WallMs => "wall ms",
        }
    }

    pub(crate) fn decimals(self) -> usize {
        match self {
            Figure::PerSecond | Figure::MibPerSecond | Figure::HeapBytes | Figure::Connections => 0,
            Figure::BytesEach | Figure::HeapEach => 0,
            Figure::SyscallsPerReq => 2,
            _ => 1,
        }
    }

    /// Whether it is no part of a round.
    pub(crate) fn comes_once(self) -> bool {
        matches!(self, Figure::P999Us | Figure::SyscallsPerReq | Figure::PeakMib | Figure::Connections)
    }

    /// Whether the one is better than the other.
    pub(crate) fn is_better(self, one: f64, other: f64) -> bool {
        match self {
            Figure::PerSecond | Figure::MibPerSecond => one > other,
            _ => one < other,
        }
    }
}

/// The figures of one turn.
pub(crate) type Turn = BTreeMap<Figure, f64>;

/// What was counted after the last round, or why it could not be.
pub(crate) type Counted = Vec<(Figure, Result<f64>)>;

/// Who is compared.
#[derive(Clone, Serialize)]
pub(crate) struct Who {
    /// Its name in tables and targets.
    pub(crate) name: String,
    /// Package and version, or what a program says of itself.
    pub(crate) version: String,
    /// What it is written for.
    pub(crate) language: &'static str,
    /// The point on a curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<f64>,
}

impl Who {
    pub(crate) fn new(name: &str, language: &'static str) -> Who {
        Who { name: name.to_owned(), version: String::new(), language, x: None }
    }
}

/// One of those that are compared: a process that takes turns, or one for each turn.
pub(crate) trait Peer {
    fn who(&self) -> &Who;

    /// One turn. The first one is warm-up and thrown away.
    fn turn(&mut self) -> Result<Turn>;

    /// What is counted once, after the last turn.
    fn end(&mut self) -> Counted {
        Counted::new()
    }
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
    #[serde(flatten)]
    pub(crate) who: Who,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
    /// Every round's figures, in the order of the rounds; a single one of what comes once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rounds: BTreeMap<Figure, Vec<f64>>,
    /// Why a figure that should have come at the end did not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) uncounted: BTreeMap<Figure, String>,
}

impl Outcome {
    fn new(who: Who) -> Outcome {
        Outcome { who, missing: None, rounds: BTreeMap::new(), uncounted: BTreeMap::new() }
    }

    /// A peer that could not take part.
    pub(crate) fn missing(who: Who, why: String) -> Outcome {
        Outcome { missing: Some(why), ..Outcome::new(who) }
    }

    fn keep(&mut self, turn: Turn) {
        for (figure, value) in turn {
            self.rounds.entry(figure).or_default().push(value);
        }
    }

    fn fail(&mut self, why: &str) {
        self.missing = Some(format!("failed: {why}"));
        self.rounds.clear();
    }

    fn count(&mut self, counted: Counted) {
        for (figure, value) in counted {
            match value {
                Ok(value) => drop(self.rounds.insert(figure, vec![value])),
                Err(error) => drop(self.uncounted.insert(figure, error.to_string())),
            }
        }
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
/// its error: figures of some rounds only would be compared with other rounds'. One whose single turn takes longer than
/// all rounds should is not given another: its figures are compared with the first round's.
pub(crate) fn in_turn(mut peers: Vec<Box<dyn Peer>>, length: Length) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = peers.iter().map(|peer| Outcome::new(peer.who().clone())).collect();
    for (peer, outcome) in peers.iter_mut().zip(&mut outcomes) {
        if let Err(error) = peer.turn() {
            outcome.fail(&error.to_string());
        }
    }
    let mut done: Vec<bool> = outcomes.iter().map(|outcome| outcome.missing.is_some()).collect();
    let begun = Instant::now();
    let mut round = 0;
    while length.goes_on(round, begun.elapsed()) && done.contains(&false) {
        for index in order(outcomes.len(), round) {
            if done[index] {
                continue;
            }
            let turn_begun = Instant::now();
            match peers[index].turn() {
                Ok(turn) => outcomes[index].keep(turn),
                Err(error) => {
                    outcomes[index].fail(&error.to_string());
                    done[index] = true;
                }
            }
            done[index] |= length.is_over(turn_begun.elapsed());
        }
        round += 1;
    }
    for (peer, outcome) in peers.iter_mut().zip(&mut outcomes) {
        if outcome.missing.is_none() {
            outcome.count(peer.end());
        }
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

    /// Counts its turns, takes so long for each, and fails in one of them.
    struct Counting {
        who: Who,
        turns: f64,
        fails: f64,
        each: Duration,
    }

    impl Peer for Counting {
        fn who(&self) -> &Who {
            &self.who
        }

        fn turn(&mut self) -> Result<Turn> {
            self.turns += 1.0;
            std::thread::sleep(self.each);
            match self.turns == self.fails {
                true => Err("no more".into()),
                false => Ok(Turn::from([(Figure::P50Us, self.turns)])),
            }
        }

        fn end(&mut self) -> Counted {
            vec![(Figure::PeakMib, Ok(self.turns)), (Figure::SyscallsPerReq, Err("no strace".into()))]
        }
    }

    fn counting(fails: f64, each: Duration) -> Box<dyn Peer> {
        Box::new(Counting { who: Who::new("counting", "rust"), turns: 0.0, fails, each })
    }

    #[test]
    fn the_first_turn_is_thrown_away_and_what_comes_once_follows_the_last() {
        let peers = vec![counting(0.0, Duration::ZERO), counting(3.0, Duration::ZERO), counting(1.0, Duration::ZERO)];
        let outcomes = in_turn(peers, Length::Rounds(3));
        assert_eq!(outcomes[0].rounds[&Figure::P50Us], [2.0, 3.0, 4.0]);
        assert_eq!(outcomes[0].rounds[&Figure::PeakMib], [4.0]);
        assert_eq!(outcomes[0].uncounted[&Figure::SyscallsPerReq], "no strace");
        for failed in &outcomes[1..] {
            assert_eq!(failed.missing.as_deref(), Some("failed: no more"));
            assert!(failed.rounds.is_empty());
        }
    }

    #[test]
    fn a_turn_that_is_longer_than_all_rounds_is_not_repeated() {
        let slow = || vec![counting(0.0, Duration::from_millis(1))];
        let rounds = |length| in_turn(slow(), length)[0].rounds[&Figure::P50Us].len();
        assert_eq!(rounds(Length::Time(Duration::ZERO)), 1);
        assert_eq!(rounds(Length::Rounds(3)), 3);
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
