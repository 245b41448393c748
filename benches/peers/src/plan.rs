//! What a workload is before anything is measured: a name, a door of the server, how much a turn is, figures, targets.
//!
//! It is all data, so that `languages` can be read as a table. It measures nothing.

use std::time::Duration;

use crate::measure::Figure;
use crate::programs::Ceiling;

/// A workload of a language.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// What the workers call it: over TLS or not is told by the URL alone.
    pub(crate) worker: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    pub(crate) door: Door,
    pub(crate) path: &'static str,
    /// The peer that all ratios are to; in a growth plan the first point, whatever this says.
    pub(crate) limit: &'static str,
    /// The program beside.
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) turns: Turns,
    pub(crate) figures: &'static [Figure],
    pub(crate) targets: &'static [Target],
    /// How long the rounds go on, warm-up not counted.
    pub(crate) seconds: u64,
}

/// What the rows of a table are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Different peers at one task.
    Peers,
    /// One peer at a task that grows.
    Growth,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Peers => "peers",
            Kind::Growth => "growth",
        }
    }
}

/// Where the server is asked. Over TCP alone a door speaks one protocol, so HTTP/2 has doors of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    Tls,
    Http2,
    Http2Tls,
}

impl Door {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Door::Tls | Door::Http2Tls)
    }
}

/// Whose process a turn is.
#[derive(Clone, Copy)]
pub(crate) enum Turns {
    /// That of a worker which goes on from turn to turn.
    Standing(Size),
    /// That of a worker which is started for the turn, and told how much: what memory costs is seen once in a process.
    Fresh,
    /// One that does a single thing by itself and ends: what starting costs.
    Passing,
}

/// How much a turn of a standing worker is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Requests between two looks at whether it is as fast as it gets.
    pub(crate) warm: usize,
    /// Whether each turn is a new process's: what one connection turns out to be like stays so for all its life.
    pub(crate) renews: bool,
    /// Requests before the first measured one: caches are the previous peer's.
    pub(crate) lead_in: usize,
    pub(crate) requests: Requests,
    /// A turn goes on until so much time has passed.
    pub(crate) at_least: Duration,
    /// An answer that takes longer is a failure.
    pub(crate) at_most: Duration,
    /// The size of an answer's body.
    pub(crate) body: usize,
}

impl Size {
    /// The requests of a turn, or of a batch, at this point of a curve.
    pub(crate) fn count(self, point: Option<f64>) -> usize {
        match (self.requests, point) {
            (Requests::Point, Some(x)) => x as usize,
            (Requests::Point, None) => 1,
            (Requests::Count(count), _) => count,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Requests {
    Count(usize),
    /// As many as the point on the curve says.
    Point,
}

/// A promise: a figure of a peer held against something, and its bound.
pub(crate) struct Target {
    pub(crate) peer: &'static str,
    pub(crate) figure: Figure,
    pub(crate) against: Against,
    pub(crate) bound: Bound,
}

/// Instead of a peer: the point of the curve that is furthest from the promise.
pub(crate) const WORST_POINT: &str = "the worst point";
/// Instead of a peer: the point of the curve with the largest x.
pub(crate) const LAST_POINT: &str = "the last point";

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Against {
    /// Its ratio to another peer's.
    Peer(&'static str),
    /// Its ratio to the best, by its median, of all that are neither a limit nor built on pinlink.
    Best,
    /// Its ratio to the first point of the curve.
    First,
    /// How far it is above another peer's.
    Over(&'static str),
    /// Nothing: the figure itself.
    Alone,
}

impl Against {
    /// What stands behind the bound.
    pub(crate) fn text(self) -> String {
        match self {
            Against::Peer(name) => format!(" x {name}"),
            Against::Best => " x the best peer".to_owned(),
            Against::First => " x the first point".to_owned(),
            Against::Over(name) => format!(" over {name}"),
            Against::Alone => String::new(),
        }
    }
}

/// On which side of a value the promise is kept.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    Below(f64),
    AtMost(f64),
    AtLeast(f64),
    /// So far from 1 on either side.
    Within(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Bound::Below(bound) => value < bound,
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
            Bound::Within(bound) => (value - 1.0).abs() <= bound,
        }
    }

    /// How far a value is from what is wanted: the larger, the worse.
    pub(crate) fn badness(self, value: f64) -> f64 {
        match self {
            Bound::Below(_) | Bound::AtMost(_) => value,
            Bound::AtLeast(_) => -value,
            Bound::Within(_) => (value - 1.0).abs(),
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Bound::Below(bound) => format!("< {}", rounded(bound)),
            Bound::AtMost(bound) => format!("<= {}", rounded(bound)),
            Bound::AtLeast(bound) => format!(">= {}", rounded(bound)),
            Bound::Within(bound) => format!("{} to {}", rounded(1.0 - bound), rounded(1.0 + bound)),
        }
    }
}

/// A bound as people say it: a twelfth is 0.083.
fn rounded(bound: f64) -> f64 {
    (bound * 1000.0).round() / 1000.0
}
