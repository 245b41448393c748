//! What goes wrong with one write: which of the sink's faults it meets, and when.
//!
//! Owns: the ways in which a write can fail ([`Trouble`]), which of them chaos deals to an attempt, and what the
//! switchboard and the query ask for. Pure but for the switchboard, where a hit is counted only when it is played.
//! Time: none. Randomness: none; chaos is a hash of its seed, the record and the number of the attempt.

use std::time::Duration;

use ring::digest::{self, SHA256};

use crate::fault::{Fault, Layer};
use crate::switch::Faults;

/// How long a slow write takes in chaos.
const SLOW: Duration = Duration::from_secs(3);

/// How many attempts at one record chaos spoils without a break: a job must be able to end.
const ROW: u64 = 4;

/// One way for a write to fail, or to seem to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    ResetBeforeBody,
    ResetInBody,
    ResetAfterBody,
    Fail500,
    Refuse503,
    Stored500,
    Slow(Duration),
    ThenDie,
    ThenReset,
    ThenSilence,
    Then500,
}

/// The moments at which a write looks for its trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The head has come.
    Head,
    /// The target is about to begin with it.
    Begun,
    /// It has been applied.
    Applied,
}

/// The troubles that chaos deals. A stored 500 is not among them: no retry would ever get past it.
const CHAOS: [Trouble; 10] = [
    Trouble::ResetBeforeBody,
    Trouble::ResetInBody,
    Trouble::ResetAfterBody,
    Trouble::ThenDie,
    Trouble::ThenReset,
    Trouble::ThenSilence,
    Trouble::Then500,
    Trouble::Fail500,
    Trouble::Refuse503,
    Trouble::Slow(SLOW),
];

impl Trouble {
    fn of(fault: &Fault) -> Option<Self> {
        Some(match fault {
            Fault::SinkResetBeforeBody => Trouble::ResetBeforeBody,
            Fault::SinkResetInBody => Trouble::ResetInBody,
            Fault::SinkResetAfterBody => Trouble::ResetAfterBody,
            Fault::ApplyThenDie => Trouble::ThenDie,
            Fault::ApplyThenReset => Trouble::ThenReset,
            Fault::ApplyThenSilence => Trouble::ThenSilence,
            Fault::ApplyThen500 => Trouble::Then500,
            Fault::Fail500 => Trouble::Fail500,
            Fault::Stored500 => Trouble::Stored500,
            Fault::Refuse503 => Trouble::Refuse503,
            Fault::SlowSink(ms) => Trouble::Slow(Duration::from_millis(*ms)),
            _ => return None,
        })
    }

    /// What a query asks for by `fault=`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "apply-then-die" => Some(Trouble::ThenDie),
            "fail-after-apply" => Some(Trouble::Then500),
            _ => None,
        }
    }

    pub(crate) fn moment(self) -> Moment {
        match self {
            Trouble::Stored500 | Trouble::Slow(_) => Moment::Begun,
            Trouble::ThenDie | Trouble::ThenReset | Trouble::ThenSilence | Trouble::Then500 => Moment::Applied,
            _ => Moment::Head,
        }
    }
}

impl Faults {
    /// The trouble that was injected for this moment; counts one hit.
    pub(crate) fn trouble(&self, moment: Moment, record: &str) -> Option<Trouble> {
        self.hit(Layer::Sink, Some(record), |fault| Trouble::of(fault).filter(|trouble| trouble.moment() == moment))
    }

    /// The trouble that chaos deals to an attempt, the first being 1; counts one hit.
    pub(crate) fn chaos(&self, record: &str, attempt: u64) -> Option<Trouble> {
        self.hit(Layer::Sink, Some(record), |fault| match fault {
            Fault::WriteChaos(seed, percent) => deal(*seed, *percent, record, attempt),
            _ => None,
        })
    }
}

/// What one attempt meets, the same whatever came before or beside it.
pub(crate) fn deal(seed: u64, percent: u8, record: &str, attempt: u64) -> Option<Trouble> {
    let mut row = 0;
    let mut dealt = None;
    for number in 1..=attempt {
        dealt = draw(seed, percent, record, number).filter(|_| row < ROW);
        row = if dealt.is_some() { row + 1 } else { 0 };
    }
    dealt
}

fn draw(seed: u64, percent: u8, record: &str, attempt: u64) -> Option<Trouble> {
    let mut hash = digest::Context::new(&SHA256);
    hash.update(&seed.to_be_bytes());
    hash.update(&attempt.to_be_bytes());
    hash.update(record.as_bytes());
    let hash = hash.finish();
    // Two bytes are plenty for a percentage, and two others for the kind.
    let number = |at: usize| u16::from_be_bytes([hash.as_ref()[at], hash.as_ref()[at + 1]]);
    (number(0) % 100 < u16::from(percent)).then(|| CHAOS[usize::from(number(2)) % CHAOS.len()])
}
