//! One write at a target that knows nothing of keys, by one of all the executions that want it: [`Ledger`].
//!
//! It owns what a caller says of such a write, and the loop that does what the protocol in `ledger` decides: it asks
//! the store, waits, calls the caller's closures, and makes an outcome or an error of the end. It decides nothing
//! about turns. Time: the monotonic clock. Randomness: of a claimant's name from the system (a forked process must
//! not share it), of pauses from fastrand.

use std::fmt;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::drive;
use crate::error::{Delivery, Error, Outcome, Phase, Reason, Result};
use crate::key::{Key, sha256};
use crate::ledger::{Claimant, Effect, End, Name, Observation, Record, Step, Takeover, Terms};
use crate::store::{Created, Failure, Store};

/// How long a claim holds off others: twice what a write may take, so that there is time to get to it.
const LEASE: Duration = Duration::from_secs(60);
/// Records keep it in 32 bits of milliseconds.
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);
const MIN_LEASE: Duration = Duration::from_millis(100);
/// HTTP tells times to the second, so that a difference of two may be a second off; as much again for a clock that is
/// corrected meanwhile.
const MARGIN: Duration = Duration::from_secs(2);
const MAX_MARGIN: Duration = Duration::from_secs(3600);
/// As long as a call of a client's own.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at another's claim: soon at first, then seldom, since each is a request or two.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// What a question to the store is given where the time is up and something must still be noted.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Lets one of many executions write to a target that knows nothing of keys: who creates the claim in a [`Store`]
/// writes, and confirms it there; the others wait, and find it done.
///
/// **What it promises.** With [`Takeover::Stop`], the default, at most one effect, whatever dies, pauses or is lost.
/// An execution that dies between its claim and its confirmation leaves an unknown outcome, for this and every later
/// execution, since nobody can tell whether it wrote; unless there is a read that can ([`Entry::verify`]), or the
/// target sees to it itself ([`Takeover::Conditional`]), or a second effect is accepted ([`Takeover::Repeat`]).
///
/// **What it can't.** With `verify`, a write that has its effect only after its claim's lease (the process was paused
/// between its last look at the clock and its send, or the request lingered on the way) may follow one that was sent
/// after the read said "no effect". Give the lease room: the longest pause of a worker, and what lies between here
/// and the target. A target that takes keys or conditions needs no ledger and has no such window.
///
/// ```no_run
/// use pinlink::{Client, HttpStore, Ledger, Outcome, Profile, Request, Scope, Write};
///
/// # fn example(client: Client) -> Result<(), pinlink::Error> {
/// let ledger = Ledger::new(HttpStore::new(client.clone(), "https://store.example/ledger/", &Profile::oss())?);
/// let key = Scope::job("mails of 2026-11-22")?.key("send mail", 4711);
/// let body = r#"{"to":4711}"#;
/// let settled = ledger.entry(&key, body.as_bytes()).once(|left| {
///     let mail = Request::post("https://mail.example/send").body(body).timeout(left);
///     client.write(&Write::keyless(mail).unkeyed()).into()
/// })?;
/// assert!(matches!(settled.outcome(), Outcome::Applied | Outcome::AlreadyApplied));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ledger<S> {
    store: S,
    lease: Duration,
    margin: Duration,
    takeover: Takeover,
}

/// What became of a write, as the closure that sent it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T, E> {
    /// It had its effect.
    Applied(T),
    /// It surely had none: it was refused, or never left.
    Rejected(E),
    /// It may have had its effect.
    Unknown(E),
}

impl<T> From<Result<T>> for Attempt<T, Error> {
    /// For what [`Client::write`](crate::Client::write) returns, which tells a refusal from an effect. An answer of
    /// [`Client::send`](crate::Client::send) is no effect yet: look at its status.
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(value) => Attempt::Applied(value),
            Err(error) if error.outcome() == Outcome::Rejected => Attempt::Rejected(error),
            Err(error) => Attempt::Unknown(error),
        }
    }
}

/// A write that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<T> {
    value: Option<T>,
    outcome: Outcome,
    is_confirmed: bool,
}

impl<T> Settled<T> {
    /// [`Outcome::Applied`] where this execution wrote, [`Outcome::AlreadyApplied`] where another did.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the store knows. Where it doesn't, since it failed after the write, a later execution finds a claim
    /// whose holder said nothing.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// What the closure brought, where this execution wrote.
    pub fn into_value(self) -> Option<T> {
        self.value
    }
}

impl<S: Store> Ledger<S> {
    /// With claims that live for 60 seconds, and [`Takeover::Stop`].
    pub fn new(store: S) -> Ledger<S> {
        Ledger { store, lease: LEASE, margin: MARGIN, takeover: Takeover::default() }
    }

    /// How long a claim holds off others; a write gets at most half of it. The longest pause of a worker (swapped
    /// out, stopped, migrated) should fit into the other half.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Ledger<S> {
        self.lease = lease;
        self
    }

    /// How much longer others wait before they hold a claim for dead. At least a second where the store tells times
    /// to the second, as HTTP does; 2 seconds unless said otherwise.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Ledger<S> {
        self.margin = margin;
        self
    }

    /// What is done where the holder of a claim died.
    #[must_use]
    pub fn takeover(mut self, takeover: Takeover) -> Ledger<S> {
        self.takeover = takeover;
        self
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// One write: its key, and what is written, in any form that is the same for every execution.
    pub fn entry<'a>(&'a self, key: &Key, content: &[u8]) -> Entry<'a, S> {
        Entry { ledger: self, key: *key, fingerprint: sha256(content), timeout: TIMEOUT, verify: None }
    }
}

/// A write that is about to be done once. See [`Ledger`].
pub struct Entry<'a, S> {
    ledger: &'a Ledger<S>,
    key: Key,
    fingerprint: [u8; 32],
    timeout: Duration,
    verify: Option<Box<dyn FnMut() -> Option<bool> + 'a>>,
}

impl<S> fmt::Debug for Entry<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.key)
    }
}

impl<'a, S: Store> Entry<'a, S> {
    /// A read that tells whether the write had its effect, or nothing where it can't be told. It is asked where the
    /// holder of an earlier claim died, and where this execution's own write ended without an answer; there a "no"
    /// leaves the outcome unknown all the same, since the write may still be on its way.
    #[must_use]
    pub fn verify(mut self, reads: impl FnMut() -> Option<bool> + 'a) -> Entry<'a, S> {
        self.verify = Some(Box::new(reads));
        self
    }

    /// The time for all of it: waiting for others, the write, and its confirmation. 30 seconds unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Entry<'a, S> {
        self.timeout = timeout;
        self
    }

    /// Has the write done by this execution or finds it done by another. `write` is called at most once, must have
    /// ended within the time it is given, and must not send again what may have arrived.
    ///
    /// # Errors [`Reason::WriteOutcomeUnknown`] where another execution holds the claim until the time is up, or
    /// died, or this one's write ended without an answer; [`Reason::WriteMismatch`] where another content was claimed
    /// or written under this key; [`Reason::WriteLedger`] where the store failed before this execution wrote;
    /// [`Reason::TimeoutTotal`] where the time was up before it could; and the error of `write` itself: as it is
    /// where it is an [`Error`], else as the cause of a [`Reason::WriteRejected`] or [`Reason::WriteOutcomeUnknown`].
    /// [`Error::outcome`] tells whether there may have been an effect.
    pub fn once<T, E: Into<Failure>>(mut self, write: impl FnOnce(Duration) -> Attempt<T, E>) -> Result<Settled<T>> {
        let begun = Instant::now();
        let mut claimant = Claimant::new(self.terms()?, nonce()?, self.fingerprint, begun + self.timeout);
        let mut write = Some(write);
        let mut value = None;
        let mut cause: Option<Failure> = None;
        let end = loop {
            let observation = match claimant.next(Instant::now()) {
                Step::Create(name, record) => self.create(name, &record, begun, &mut cause),
                Step::Read(name) => self.read(name, begun, &mut cause),
                Step::Verify => Observation::Verified(self.verify.as_mut().and_then(|reads| reads())),
                Step::Write { until } => {
                    let left = until.saturating_duration_since(Instant::now());
                    let effect = match write.take().map(|write| write(left)) {
                        Some(Attempt::Applied(brought)) => {
                            value = Some(brought);
                            Effect::Had
                        }
                        Some(Attempt::Rejected(error)) => {
                            cause = Some(error.into());
                            Effect::HadNone
                        }
                        Some(Attempt::Unknown(error)) => {
                            cause = Some(error.into());
                            Effect::Unknown
                        }
                        None => return Err(Error::new(Reason::Internal, Phase::Send, "a turn was written twice")),
                    };
                    Observation::Wrote(effect)
                }
                Step::Wait { until } => {
                    drive::block_on_call(async {
                        drive::sleep_until(until).await;
                        Ok(())
                    })?;
                    continue;
                }
                Step::End(end) => break end,
            };
            claimant.observe(observation, Instant::now(), fastrand::f64());
        };
        let settled = |outcome, is_confirmed| Ok(Settled { value, outcome, is_confirmed });
        match end {
            End::Applied { is_confirmed } => settled(Outcome::Applied, is_confirmed),
            End::AlreadyApplied => settled(Outcome::AlreadyApplied, true),
            failed => Err(self.error(failed, claimant.met_another(), cause).with_effort(0, begun.elapsed())),
        }
    }

    fn terms(&self) -> Result<Terms> {
        let Ledger { lease, margin, takeover, .. } = *self.ledger;
        if !(MIN_LEASE..=MAX_LEASE).contains(&lease) || margin > MAX_MARGIN {
            return Err(Error::input(format!(
                "a ledger's lease is {MIN_LEASE:?} to {MAX_LEASE:?}, its margin at most {MAX_MARGIN:?}"
            )));
        }
        if self.timeout.is_zero() || self.timeout > MAX_LEASE {
            return Err(Error::input(format!("the time for an entry is more than none and at most {MAX_LEASE:?}")));
        }
        let (first_pause, last_pause, verifies) = (FIRST_PAUSE, LAST_PAUSE, self.verify.is_some());
        Ok(Terms { lease, margin, write: lease / 2, first_pause, last_pause, takeover, verifies })
    }

    /// What is left of the call, and a little where there is nothing.
    fn within(&self, begun: Instant) -> Duration {
        self.timeout.saturating_sub(begun.elapsed()).max(LAST_WORDS)
    }

    fn name(&self, name: Name) -> String {
        format!("{}/{name}", self.key.hex())
    }

    fn create(&self, name: Name, record: &Record, begun: Instant, cause: &mut Option<Failure>) -> Observation {
        let created = self.ledger.store.create(&self.name(name), record.to_string().as_bytes(), self.within(begun));
        match created {
            Ok(Created::Now) => Observation::Created,
            Ok(Created::Before) => Observation::Exists,
            Ok(Created::Unsure) => Observation::Unsure,
            Err(failure) => {
                // What the write itself failed with says more.
                cause.get_or_insert(failure);
                Observation::Failed
            }
        }
    }

    fn read(&self, name: Name, begun: Instant, cause: &mut Option<Failure>) -> Observation {
        match self.ledger.store.read(&self.name(name), self.within(begun)) {
            Ok(Some(found)) => match Record::parse(&found.record) {
                Some(record) => Observation::Found(record, found.age),
                None => {
                    cause.get_or_insert_with(|| "what stands in the store is no record of a ledger".into());
                    Observation::Failed
                }
            },
            Ok(None) => Observation::Missing,
            Err(failure) => {
                cause.get_or_insert(failure);
                Observation::Failed
            }
        }
    }

    fn error(&self, end: End, met_another: bool, cause: Option<Failure>) -> Error {
        let key = self.key;
        let say = |reason, delivery, detail: &str| {
            Error::new(reason, Phase::Queue, format!("write {key}: {detail}")).with_delivery(delivery)
        };
        // Where another execution may have written, its effect is what the caller asks about.
        let others = if met_another { Delivery::Unknown } else { Delivery::NotSent };
        match end {
            End::Mismatch => {
                say(Reason::WriteMismatch, Delivery::NotSent, "another content was claimed or written under this key")
            }
            End::InProgress => say(
                Reason::WriteOutcomeUnknown,
                Delivery::Unknown,
                "another execution holds the claim and has not ended; this one wrote nothing",
            ),
            End::Abandoned => because(
                cause,
                say(
                    Reason::WriteOutcomeUnknown,
                    Delivery::Unknown,
                    "an earlier execution claimed it and said no more; this one had no effect",
                ),
            ),
            End::NoTime => say(Reason::TimeoutTotal, others, "the time was up before it could be sent")
                .with_budget("timeout", self.timeout),
            End::Store => because(
                cause,
                say(Reason::WriteLedger, others, "the ledger's store failed; this execution wrote nothing"),
            ),
            End::Unknown => own(cause, |source| {
                say(Reason::WriteOutcomeUnknown, Delivery::Unknown, "it was sent and ended without an answer")
                    .with_source(source)
            }),
            // Confirmed by now, or rejected: what is left is the write's own refusal.
            End::NotWritten | End::Applied { .. } | End::AlreadyApplied => own(cause, |source| {
                say(Reason::WriteRejected, Delivery::Answered, "it was refused, or never left").with_source(source)
            }),
        }
    }
}

fn because(cause: Option<Failure>, error: Error) -> Error {
    cause.into_iter().fold(error, Error::with_source)
}

/// The write's own error where it is one of this library's, else one that has it as its cause.
fn own(cause: Option<Failure>, wrap: impl FnOnce(Failure) -> Error) -> Error {
    let cause = cause.unwrap_or_else(|| "no cause was given".into());
    match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => wrap(cause),
    }
}

fn nonce() -> Result<u128> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(Reason::Internal, Phase::Configure, "the system has no random bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}
