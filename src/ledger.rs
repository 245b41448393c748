//! The protocol of the ledger: claim, write, confirm, for a target that knows nothing of keys.
//!
//! It owns what stands in the store ([`Name`], [`Record`]) and what an execution does next ([`Claimant`]), as a
//! machine that is told the time, what the store said and what became of the write. It needs two operations only, and
//! that the first is atomic: *create unless it is there*, and *read*. It reads no clock, draws no randomness and does
//! no I/O: `claim` does. It imports nothing of this crate, so that `tests/model` explores this very file.
//!
//! For each key the store holds `claim-0`, `claim-1`, …: who created claim *n* holds turn *n*, for as long as its
//! lease; `void-n`: the holder of turn *n* says that it wrote nothing and will not; and `done`: the write had its
//! effect.
//!
//! ```text
//!   n = 0 ──► CLAIM n ── is there ──► READ claim n ── another's ──► FOLLOW: is there a claim n + 1? ── yes: READ it
//!             │  ▲ │                  │  │                          │ no
//!             │  │ └─ answer lost ────┘  │ ours                     ▼
//!             │  └─── nothing there ──┘  │                          WATCH done, void n ◄── alive: wait ──┐
//!             │ created                  │                          │    │    │    └──────────────────────┘
//!             ▼                          │                          │    │    └─ time is up ───► InProgress
//!             HOLD n ◄───────────────────┘                          │    └─ done ──────────────► AlreadyApplied
//!             │ n > 0: read done ──► AlreadyApplied                 │
//!             ▼                                                     ├─ void ───────────────────► CLAIM n + 1
//!   in doubt? ── yes ──► verify ── had its effect ──► CONFIRM       ├─ dead, may go on ────────► CLAIM n + 1, in doubt
//!     │ no                │    └── can't tell: as Takeover says     └─ dead, Stop ─────────────► Unknown
//!     ▼                   │ had none
//!   does the write fit into what is left of the lease? ── no ──► VOID n ──► CLAIM n + 1
//!     │ yes
//!     ▼                  had its effect
//!   WRITE, at most once ────────────────► CONFIRM: create done ──► Applied
//!     │  └─ had none ──► VOID n ──► NotWritten
//!     └─ unknown ──► verify ── had its effect ──► CONFIRM
//!                           └─ anything else ───► Unknown
//! ```
//!
//! **What holds.** A turn in *doubt* is one before which a holder may have written: it died, or said nothing. With
//! [`Takeover::Stop`] and no `verify`, nobody writes in doubt, so there is at most one effect, whatever crashes,
//! pauses or is lost; the price is that a death between the claim and the confirmation leaves the outcome unknown for
//! good. With [`Takeover::Conditional`] the target sees to it that there is one effect, and the ledger that few
//! copies write at once. With `verify` the death is settled, and there is at most one effect while writes keep to
//! their time.
//!
//! **The window.** A write that has its effect *after* the lease under which it was begun: a process that is paused
//! between its last look at the clock and its send, or a request that lingers in a network or a target for longer
//! than the write's time and the margin. Whoever takes over by `verify` is told "no effect" then, writes, and the
//! straggler has a second one. No ledger can close it from outside: only a target that refuses an old holder can.
//!
//! **Time.** A holder counts its lease on its own monotonic clock from before it sent its claim, so it ends early in
//! everybody's eyes. Others hold a claim for dead by the store's clock alone (the difference of two times of the same
//! server), or, where it tells none, by their own monotonic clock from when they first saw it. No two clocks are
//! compared. Records may be deleted when no execution can come any more, `done` last.

use std::fmt;
use std::time::{Duration, Instant};

/// What an execution does where an earlier one claimed the write, died, and nobody can tell whether it had its
/// effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Takeover {
    /// Nothing: the outcome is unknown. At most one effect, always.
    #[default]
    Stop,
    /// Writes, and accepts a second effect.
    Repeat,
    /// Writes, since the target itself sees to it that there is one effect: it takes keys, or the write is
    /// conditional or idempotent. What the caller says here is believed.
    Conditional,
}

/// Where a record stands, for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    Claim(u32),
    Void(u32),
    Done,
}

/// SHA-256 of what is written.
pub(crate) type Fingerprint = [u8; 32];

/// Who claims: drawn at random for each execution. It is no key: it tells a claimant its own claim, nothing else.
pub(crate) type Nonce = u128;

/// What a claim says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) nonce: Nonce,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lease: Duration,
    /// The holder of an earlier turn may have written.
    pub(crate) is_doubtful: bool,
}

/// What stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    Claim(Claim),
    Void,
    Done(Fingerprint),
}

/// Names the records' form: another one gets another tag.
const TAG: &str = "pinlink/1";

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Claim(turn) => write!(f, "claim-{turn}"),
            Name::Void(turn) => write!(f, "void-{turn}"),
            Name::Done => f.write_str("done"),
        }
    }
}

/// As it is stored: one line of words.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Claim(claim) => {
                let doubt = if claim.is_doubtful { "doubtful" } else { "clear" };
                write!(f, "{TAG} claim {:032x} ", claim.nonce)?;
                write_hex(&claim.fingerprint, f)?;
                write!(f, " {} {doubt}", claim.lease.as_millis())
            }
            Record::Void => write!(f, "{TAG} void"),
            Record::Done(fingerprint) => {
                write!(f, "{TAG} done ")?;
                write_hex(fingerprint, f)
            }
        }
    }
}

fn write_hex(fingerprint: &Fingerprint, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl Record {
    /// What was stored, or nothing where this is no record.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Record> {
        let words: Vec<&str> = std::str::from_utf8(bytes).ok()?.trim_end().split(' ').collect();
        match words[..] {
            [TAG, "claim", nonce, fingerprint, lease, doubt @ ("clear" | "doubtful")] => Some(Record::Claim(Claim {
                nonce: u128::from_str_radix(nonce, 16).ok()?,
                fingerprint: parse_hex(fingerprint)?,
                // 32 bits of milliseconds are 49 days: sums with it stay within what clocks hold.
                lease: Duration::from_millis(lease.parse::<u32>().ok()?.into()),
                is_doubtful: doubt == "doubtful",
            })),
            [TAG, "void"] => Some(Record::Void),
            [TAG, "done", fingerprint] => Some(Record::Done(parse_hex(fingerprint)?)),
            _ => None,
        }
    }
}

fn parse_hex(text: &str) -> Option<Fingerprint> {
    let mut fingerprint = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in fingerprint.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(fingerprint)
}

/// The numbers and choices of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    /// How long a claim holds off others.
    pub(crate) lease: Duration,
    /// How much longer others wait, for the store's clock being coarse.
    pub(crate) margin: Duration,
    /// The most that the write may take; below the lease.
    pub(crate) write: Duration,
    /// The first pause between two looks at another's claim, and the longest.
    pub(crate) first_pause: Duration,
    pub(crate) last_pause: Duration,
    pub(crate) takeover: Takeover,
    /// There is a read that tells whether the write had its effect.
    pub(crate) verifies: bool,
}

/// What to do next, and what to report by [`Claimant::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Create this record unless it is there.
    Create(Name, Record),
    Read(Name),
    /// Ask the target whether the write had its effect.
    Verify,
    /// Write, to have ended by then.
    Write {
        until: Instant,
    },
    /// Ask again then; nothing is to be reported.
    Wait {
        until: Instant,
    },
    End(End),
}

/// What a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Observation {
    Created,
    /// Something was there.
    Exists,
    /// Whether it was created is not known.
    Unsure,
    /// And how old it is by the store's clock, where that tells.
    Found(Record, Option<Duration>),
    Missing,
    /// The store refused, or what was read is no record; a create surely had no effect.
    Failed,
    /// Whether the write had its effect, where it can be told.
    Verified(Option<bool>),
    Wrote(Effect),
}

/// What became of a write, as the one who sent it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    Had,
    HadNone,
    Unknown,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// This execution wrote; whether the store knows.
    Applied { is_confirmed: bool },
    /// Another did.
    AlreadyApplied,
    /// Another wrote, or claimed to write, something else under this key.
    Mismatch,
    /// Another holds the turn, and the time is up.
    InProgress,
    /// Another held the turn, died, and may have written.
    Abandoned,
    /// This execution's write may have had its effect.
    Unknown,
    /// This execution's write had no effect, and no earlier one can have had.
    NotWritten,
    /// The time was up before the write; this execution wrote nothing.
    NoTime,
    /// The store failed, and this execution wrote nothing.
    Store,
}

/// One execution of one write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claimant {
    terms: Terms,
    nonce: Nonce,
    fingerprint: Fingerprint,
    deadline: Instant,
    state: State,
    /// Nothing before then.
    pause: Option<Instant>,
    /// How often they have grown since the last news.
    pauses: u32,
    /// Another's claim was seen.
    met_another: bool,
}

/// A turn that one wants, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Turn {
    number: u32,
    is_doubtful: bool,
    /// When its claim was sent first, on our clock: the lease runs from then.
    since: Instant,
}

/// Another's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sight {
    number: u32,
    is_doubtful: bool,
    /// On our clock.
    dead_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// A claim is to be sent: not yet, or again.
    Claiming {
        number: u32,
        is_doubtful: bool,
        since: Option<Instant>,
    },
    /// Whose is the claim that is there?
    Reading(Turn),
    /// Is there a later one?
    Following(Sight),
    /// Has it been done meanwhile?
    Watching(Sight),
    /// Has its holder given it up?
    Asking(Sight),
    /// The turn is ours; has it been done before?
    Holding(Turn),
    /// It has not; write, or verify first.
    Deciding {
        turn: Turn,
        told: Told,
    },
    Writing {
        turn: Turn,
        told: Told,
    },
    /// The write's answer is lost: ask.
    Settling,
    /// The turn is given up.
    Voiding {
        turn: Turn,
        end: Option<End>,
    },
    Confirming(End),
    /// Another confirmed: the same?
    Comparing(End),
    Ended(End),
}

/// What `verify` said about the writes of earlier turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    /// It was not asked.
    Nothing,
    NoEffect,
    Unsure,
}

/// A claim is dead when it is older than it may become, not when it is that old.
const BEYOND: Duration = Duration::from_millis(1);

impl Claimant {
    /// Begins. What has not been decided by `deadline` ends then.
    pub(crate) fn new(terms: Terms, nonce: Nonce, fingerprint: Fingerprint, deadline: Instant) -> Claimant {
        let state = State::Claiming { number: 0, is_doubtful: false, since: None };
        Claimant { terms, nonce, fingerprint, deadline, state, pause: None, pauses: 0, met_another: false }
    }

    /// Whether another execution may have written, as far as this one knows.
    pub(crate) fn met_another(&self) -> bool {
        self.met_another
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        if let Some(until) = self.pause.filter(|until| now < *until) {
            return Step::Wait { until };
        }
        self.pause = None;
        if now >= self.deadline {
            self.end_late(now);
        }
        match self.state {
            State::Claiming { number, is_doubtful, since } => {
                self.state = State::Claiming { number, is_doubtful, since: Some(since.unwrap_or(now)) };
                let (nonce, fingerprint, lease) = (self.nonce, self.fingerprint, self.terms.lease);
                Step::Create(Name::Claim(number), Record::Claim(Claim { nonce, fingerprint, lease, is_doubtful }))
            }
            State::Reading(turn) => Step::Read(Name::Claim(turn.number)),
            State::Following(sight) => Step::Read(Name::Claim(sight.number + 1)),
            State::Asking(sight) => Step::Read(Name::Void(sight.number)),
            // Nothing is done before the first claim.
            State::Holding(turn) if turn.number == 0 => self.decide(turn, Told::Nothing, now),
            State::Watching(_) | State::Holding(_) | State::Comparing(_) => Step::Read(Name::Done),
            State::Deciding { turn, told } => self.decide(turn, told, now),
            State::Writing { .. } | State::Settling => Step::Verify,
            State::Voiding { turn, .. } => Step::Create(Name::Void(turn.number), Record::Void),
            State::Confirming(_) => Step::Create(Name::Done, Record::Done(self.fingerprint)),
            State::Ended(end) => Step::End(end),
        }
    }

    /// The time is up. A turn that is held is given back, and what was written is confirmed all the same.
    fn end_late(&mut self, now: Instant) {
        let in_doubt = |is_doubtful| if is_doubtful { End::Abandoned } else { End::NoTime };
        self.state = match self.state {
            State::Claiming { is_doubtful, .. } => State::Ended(in_doubt(is_doubtful)),
            // It may be ours, and then it stays behind as a claim whose holder died.
            State::Reading(_) => State::Ended(End::InProgress),
            State::Following(sight) | State::Watching(sight) | State::Asking(sight) => {
                State::Ended(if now >= sight.dead_at { End::Abandoned } else { End::InProgress })
            }
            State::Holding(turn) | State::Deciding { turn, told: Told::Nothing | Told::Unsure } => {
                State::Voiding { turn, end: Some(in_doubt(turn.is_doubtful)) }
            }
            State::Deciding { turn, told: Told::NoEffect } => State::Voiding { turn, end: Some(End::NoTime) },
            state => state,
        };
    }

    fn decide(&mut self, turn: Turn, told: Told, now: Instant) -> Step {
        let Terms { lease, write, takeover, verifies, .. } = self.terms;
        // The last quarter of the call is for the confirmation.
        let left = write.min(self.deadline.saturating_duration_since(now) * 3 / 4);
        let is_settled = !turn.is_doubtful || takeover == Takeover::Conditional || told == Told::NoEffect;
        let step = if now + left > turn.since + lease {
            // Another turn brings a new lease.
            State::Voiding { turn, end: None }
        } else if is_settled || (takeover == Takeover::Repeat && (told == Told::Unsure || !verifies)) {
            self.state = State::Writing { turn, told };
            return Step::Write { until: now + left };
        } else if verifies && told == Told::Nothing {
            self.state = State::Deciding { turn, told };
            return Step::Verify;
        } else {
            State::Voiding { turn, end: Some(End::Abandoned) }
        };
        self.state = step;
        Step::Create(Name::Void(turn.number), Record::Void)
    }

    /// Takes in what the last step brought. `random` is in [0, 1).
    pub(crate) fn observe(&mut self, seen: Observation, now: Instant, random: f64) {
        use Observation::{Created, Exists, Found, Missing, Unsure, Verified, Wrote};
        self.state = match (self.state, seen) {
            (State::Claiming { number, is_doubtful, since }, seen) => {
                let turn = Turn { number, is_doubtful, since: since.unwrap_or(now) };
                match seen {
                    Created => State::Holding(turn),
                    Exists | Unsure => State::Reading(turn),
                    _ => State::Ended(End::Store),
                }
            }
            (State::Reading(turn), Found(Record::Claim(claim), _)) if claim.nonce == self.nonce => State::Holding(turn),
            (State::Reading(turn), Found(Record::Claim(claim), age)) => self.sight(turn.number, &claim, age, now),
            // Our claim has not arrived, or not yet.
            (State::Reading(Turn { number, is_doubtful, since }), Missing) => {
                self.pause(self.deadline, now, random);
                State::Claiming { number, is_doubtful, since: Some(since) }
            }
            (State::Following(sight), Found(Record::Claim(claim), age)) => {
                self.sight(sight.number + 1, &claim, age, now)
            }
            (State::Following(sight), Missing) => State::Watching(sight),
            (State::Watching(_) | State::Holding(_), Found(Record::Done(fingerprint), _)) => {
                State::Ended(if fingerprint == self.fingerprint { End::AlreadyApplied } else { End::Mismatch })
            }
            (State::Watching(sight), Missing) => State::Asking(sight),
            (State::Asking(Sight { number, is_doubtful, .. }), Found(Record::Void, _)) => {
                State::Claiming { number: number + 1, is_doubtful, since: None }
            }
            (State::Asking(sight), Missing) if now < sight.dead_at => {
                self.pause(sight.dead_at, now, random);
                State::Watching(sight)
            }
            (State::Asking(_), Missing) if self.terms.takeover == Takeover::Stop && !self.terms.verifies => {
                State::Ended(End::Abandoned)
            }
            (State::Asking(sight), Missing) => {
                State::Claiming { number: sight.number + 1, is_doubtful: true, since: None }
            }
            (State::Holding(turn), Missing) => State::Deciding { turn, told: Told::Nothing },
            (State::Holding(turn), _) => State::Voiding { turn, end: Some(End::Store) },
            (State::Deciding { .. }, Verified(Some(true))) => State::Confirming(End::AlreadyApplied),
            (State::Deciding { turn, .. }, Verified(Some(false))) => State::Deciding { turn, told: Told::NoEffect },
            (State::Deciding { turn, .. }, _) => State::Deciding { turn, told: Told::Unsure },
            (State::Writing { .. }, Wrote(Effect::Had)) => State::Confirming(End::Applied { is_confirmed: true }),
            (State::Writing { turn, told }, Wrote(Effect::HadNone)) => {
                let in_doubt = turn.is_doubtful && told != Told::NoEffect;
                State::Voiding { turn, end: Some(if in_doubt { End::Abandoned } else { End::NotWritten }) }
            }
            (State::Writing { .. }, _) if self.terms.verifies => State::Settling,
            (State::Settling, Verified(Some(true))) => State::Confirming(End::Applied { is_confirmed: true }),
            // "No effect" settles nothing yet: the write may still be on its way.
            (State::Writing { .. } | State::Settling, _) => State::Ended(End::Unknown),
            (State::Voiding { end: Some(end), .. }, _) => State::Ended(end),
            // Whether it was noted or not: we know that we did not write, and our next claim says so.
            (State::Voiding { turn: Turn { number, is_doubtful, .. }, end: None }, _) => {
                State::Claiming { number: number + 1, is_doubtful, since: None }
            }
            (State::Confirming(end), Created) => State::Ended(end),
            (State::Confirming(end), Exists) => State::Comparing(end),
            (State::Confirming(end), Unsure) if now < self.deadline => {
                self.pause(self.deadline, now, random);
                State::Confirming(end)
            }
            (State::Comparing(end), Found(Record::Done(fingerprint), _)) => {
                State::Ended(if fingerprint == self.fingerprint { end } else { End::Mismatch })
            }
            (State::Confirming(End::Applied { .. }) | State::Comparing(End::Applied { .. }), _) => {
                State::Ended(End::Applied { is_confirmed: false })
            }
            (State::Confirming(end) | State::Comparing(end) | State::Ended(end), _) => State::Ended(end),
            // The store failed, or what is there is no record of ours.
            (State::Reading(_) | State::Following(_) | State::Watching(_) | State::Asking(_), _) => {
                State::Ended(End::Store)
            }
        };
    }

    /// Another's claim: how long does it live?
    fn sight(&mut self, number: u32, claim: &Claim, age: Option<Duration>, now: Instant) -> State {
        self.met_another = true;
        self.pauses = 0;
        if claim.fingerprint != self.fingerprint {
            return State::Ended(End::Mismatch);
        }
        let left = (claim.lease + self.terms.margin + BEYOND).saturating_sub(age.unwrap_or_default());
        State::Following(Sight { number, is_doubtful: claim.is_doubtful, dead_at: now + left })
    }

    /// Lets others go on: between half and the whole of a time that doubles, at most until `latest`.
    fn pause(&mut self, latest: Instant, now: Instant, random: f64) {
        let Terms { first_pause, last_pause, .. } = self.terms;
        let ceiling = first_pause.saturating_mul(1 << self.pauses).min(last_pause);
        if ceiling < last_pause {
            self.pauses = (self.pauses + 1).min(u32::BITS - 1);
        }
        let length = ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        let until = (now + length).min(latest).min(self.deadline);
        self.pause = (until > now).then_some(until);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms(takeover: Takeover, verifies: bool) -> Terms {
        let (lease, margin, write) = (10 * SECOND, 2 * SECOND, 5 * SECOND);
        Terms { lease, margin, write, first_pause: SECOND, last_pause: 4 * SECOND, takeover, verifies }
    }

    fn claimant(now: Instant, takeover: Takeover, verifies: bool) -> Claimant {
        Claimant::new(terms(takeover, verifies), 1, [7; 32], now + 100 * SECOND)
    }

    /// A claim of another's that is this old.
    fn another(age: Option<Duration>) -> Observation {
        let claim = Claim { nonce: 2, fingerprint: [7; 32], lease: 10 * SECOND, is_doubtful: false };
        Observation::Found(Record::Claim(claim), age)
    }

    /// Lets it come upon a claim of this age, and look around it once.
    fn meet(claimant: &mut Claimant, age: Option<Duration>, now: Instant) -> Step {
        for seen in
            [Observation::Exists, another(age), Observation::Missing, Observation::Missing, Observation::Missing]
        {
            claimant.next(now);
            claimant.observe(seen, now, 1.0);
        }
        claimant.next(now)
    }

    #[test]
    fn a_lease_is_counted_from_before_its_claim_was_sent() {
        let begun = Instant::now();
        for (taken, writes) in [(0, true), (5, true), (6, false)] {
            let mut claimant = claimant(begun, Takeover::Stop, false);
            assert!(matches!(claimant.next(begun), Step::Create(Name::Claim(0), _)));
            // The answer came so much later.
            let now = begun + taken * SECOND;
            claimant.observe(Observation::Created, now, 0.0);
            match claimant.next(now) {
                Step::Write { until } => assert!(writes && until == now + 5 * SECOND),
                step => assert!(!writes && step == Step::Create(Name::Void(0), Record::Void), "{step:?}"),
            }
        }
    }

    #[test]
    fn a_claim_is_dead_when_it_is_older_than_its_lease_and_the_margin_by_one_clock() {
        let now = Instant::now();
        let is_dead = |age: u64| {
            let mut claimant = claimant(now, Takeover::Stop, true);
            match meet(&mut claimant, Some(Duration::from_secs(age)), now) {
                Step::Create(Name::Claim(1), Record::Claim(Claim { is_doubtful: true, .. })) => true,
                Step::Wait { .. } => false,
                step => panic!("{step:?}"),
            }
        };
        assert_eq!([0, 11, 12, 13, u64::MAX / 2].map(is_dead), [false, false, false, true, true]);

        // Without an age, from when it was seen first.
        let mut claimant = claimant(now, Takeover::Stop, true);
        let Step::Wait { until } = meet(&mut claimant, None, now) else { panic!("it lives") };
        assert_eq!(until, now + SECOND);
        let (mut later, mut waits) = (until, 0);
        while later <= now + 12 * SECOND {
            match claimant.next(later) {
                Step::Read(Name::Done | Name::Void(0)) => claimant.observe(Observation::Missing, later, 1.0),
                Step::Wait { until } => {
                    assert!(until <= now + 12 * SECOND + BEYOND);
                    (later, waits) = (until, waits + 1);
                }
                step => panic!("{step:?}"),
            }
        }
        assert!((3..6).contains(&waits), "pauses grow: {waits}");
    }

    #[test]
    fn the_next_turn_after_one_that_was_given_back_is_in_no_doubt() {
        let now = Instant::now();
        let mut claimant = claimant(now, Takeover::Stop, false);
        let void = Observation::Found(Record::Void, None);
        for seen in [Observation::Exists, another(Some(SECOND)), Observation::Missing, Observation::Missing, void] {
            claimant.next(now);
            claimant.observe(seen, now, 0.0);
        }
        let claimed = claimant.next(now);
        assert!(matches!(claimed, Step::Create(Name::Claim(1), Record::Claim(Claim { is_doubtful: false, .. }))));
        claimant.observe(Observation::Created, now, 0.0);
        assert_eq!(claimant.next(now), Step::Read(Name::Done));
        claimant.observe(Observation::Missing, now, 0.0);
        assert!(matches!(claimant.next(now), Step::Write { .. }));
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(
            nonce: u128, fingerprint: [u8; 32], lease: u32, is_doubtful: bool, cut in 0_usize..40,
        ) {
            let claim = Claim { nonce, fingerprint, lease: Duration::from_millis(lease.into()), is_doubtful };
            for record in [Record::Claim(claim), Record::Void, Record::Done(fingerprint)] {
                let text = record.to_string();
                prop_assert!(text.len() <= 255);
                prop_assert_eq!(Record::parse(text.as_bytes()), Some(record));
                prop_assert_eq!(Record::parse(format!("{text}\n").as_bytes()), Some(record));
                if cut > 0 {
                    prop_assert_ne!(Record::parse(&text.as_bytes()[..text.len().saturating_sub(cut)]), Some(record));
                }
            }
        }

        #[test]
        fn whatever_stands_in_a_store_is_a_record_or_none(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "pinlink/1 (claim|void|done)( [0-9a-fé+-]{0,70}){0,5}".prop_map(String::into_bytes),
            ],
        ) {
            let _ = Record::parse(&bytes);
        }
    }
}
