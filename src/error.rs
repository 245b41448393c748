//! The one error of this library: what failed ([`Kind`], [`Reason`]), where ([`Phase`]), and whether
//! the far side may have seen the request ([`Delivery`]).
//!
//! It owns the one line a user reads; names are `reason`'s, advice is `advice`'s. It never holds a
//! header value, a query, a body or a credential: only host, port, address, counts and durations, so
//! printing it anywhere is safe. It reads no clock.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::advice::{Cause, Place, causes, first_step};
pub use crate::reason::{Kind, Reason};

/// What this library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a call it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Checking the configuration and the input.
    Configure,
    /// Waiting for a connection to come free.
    Queue,
    /// Resolving a name.
    Resolve,
    /// Making a TCP connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Writing the request.
    Send,
    /// The request is out; waiting for the head of the answer.
    Wait,
    /// Reading the answer.
    Receive,
}

impl Phase {
    /// The name in messages, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Configure => "configure",
            Phase::Queue => "queue",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Handshake => "handshake",
            Phase::Send => "send",
            Phase::Wait => "wait",
            Phase::Receive => "receive",
        }
    }
}

/// Whether the far side may have seen the request. In doubt it is [`Delivery::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Delivery {
    /// No byte of the request was written to any connection.
    NotSent,
    /// At least one byte was written and no answer came.
    Unknown,
    /// The far side answered, at least with the head.
    Answered,
}

impl Delivery {
    /// What holds for a request that was sent more than once: in doubt, the doubt.
    pub(crate) fn and(self, other: Delivery) -> Delivery {
        match (self, other) {
            (Delivery::Unknown, _) | (_, Delivery::Unknown) => Delivery::Unknown,
            _ => self.max(other),
        }
    }

    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::NotSent => "not sent",
            Delivery::Unknown => "delivery unknown",
            Delivery::Answered => "answered",
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It had its effect.
    Applied,
    /// An earlier request under the same key had its effect: an earlier try, an earlier execution, or a twin.
    AlreadyApplied,
    /// It had none: the target refused it, or nothing was sent. That speaks of this process: what another execution may
    /// have done under the same key a client can't know where the target does not say it.
    Rejected,
    /// It may have had its effect. [`Error::delivery`] and [`Error::phase`] say what that rests on.
    Unknown,
}

impl Outcome {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "Applied",
            Outcome::AlreadyApplied => "AlreadyApplied",
            Outcome::Rejected => "Rejected",
            Outcome::Unknown => "Unknown",
        }
    }
}

/// A failed call, resolution or configuration.
///
/// Its `Display` is one line: reason, host, address, what happened, phase, delivery, attempts, elapsed
/// time, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    reason: Reason,
    phase: Phase,
    delivery: Delivery,
    host: Option<Box<str>>,
    address: Option<SocketAddr>,
    attempts: u32,
    elapsed: Option<Duration>,
    budget: Option<(&'static str, Duration)>,
    detail: Cow<'static, str>,
    answer: Option<Box<(u16, Bytes)>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(reason: Reason, phase: Phase, detail: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            reason,
            phase,
            delivery: Delivery::NotSent,
            host: None,
            address: None,
            attempts: 0,
            elapsed: None,
            budget: None,
            detail: detail.into(),
            answer: None,
            source: None,
        }))
    }

    /// Malformed input: the commonest error before anything is sent.
    pub(crate) fn input(detail: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Reason::ConfigInput, Phase::Configure, detail)
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Error {
        self.0.delivery = delivery;
        self
    }

    /// The same where it turns out that what was waited for was in use by others.
    pub(crate) fn queued(mut self) -> Error {
        if self.0.phase != Phase::Queue {
            (self.0.phase, self.0.detail) = (Phase::Queue, "no stream came free".into());
        }
        self
    }

    pub(crate) fn with_host(mut self, host: impl Into<Box<str>>) -> Error {
        self.0.host.get_or_insert_with(|| host.into());
        self
    }

    pub(crate) fn with_address(mut self, address: SocketAddr) -> Error {
        self.0.address.get_or_insert(address);
        self
    }

    pub(crate) fn with_effort(mut self, attempts: u32, elapsed: Duration) -> Error {
        self.0.attempts = attempts;
        self.0.elapsed = Some(elapsed);
        self
    }

    pub(crate) fn with_budget(mut self, option: &'static str, budget: Duration) -> Error {
        self.0.budget = Some((option, budget));
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_answer(mut self, status: u16, body: Bytes) -> Error {
        self.0.answer = Some(Box::new((status, body)));
        self
    }

    /// What the failure says about a write: [`Outcome::Rejected`] where it surely had no effect, else
    /// [`Outcome::Unknown`].
    pub fn outcome(&self) -> Outcome {
        let is_refused = matches!(
            self.0.reason,
            Reason::WriteRejected | Reason::WriteMismatch | Reason::WriteConflict | Reason::WriteUnkeyed
        );
        if is_refused || self.0.delivery == Delivery::NotSent { Outcome::Rejected } else { Outcome::Unknown }
    }

    /// The status of the answer that a write was refused with, if it was.
    pub fn status(&self) -> Option<u16> {
        self.0.answer.as_ref().map(|answer| answer.0)
    }

    /// The body of that answer, as far as it was kept (`max_error_body`); it is in no message.
    pub fn body(&self) -> Option<&Bytes> {
        self.0.answer.as_ref().map(|answer| &answer.1)
    }

    /// The family of the failure.
    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
    }

    /// The finer reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Where in the call it happened.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// Whether the far side may have seen the request.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The host and port of the target, where one was known.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// The pinned address that was in use, where one was.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// How many times the request was tried; 0 where nothing was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the call had taken; nothing where nothing was tried.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// What is probably missing, the most probable first: steps of the enabling process, with whose they are.
    pub fn causes(&self) -> &'static [Cause] {
        causes(self.0.reason, self.place())
    }

    fn place(&self) -> Place {
        Place::of(self.0.address.map(|address| address.ip()))
    }

    /// What to do about it, one sentence; empty where nothing general can be said. It is the first of the causes.
    pub fn advice(&self) -> &'static str {
        first_step(self.0.reason, self.place())
    }

    /// An equal error for another holder: all but the source, which is not clonable.
    pub(crate) fn duplicate(&self) -> Error {
        let inner = &self.0;
        Error(Box::new(Inner {
            reason: inner.reason,
            phase: inner.phase,
            delivery: inner.delivery,
            host: inner.host.clone(),
            address: inner.address,
            attempts: inner.attempts,
            elapsed: inner.elapsed,
            budget: inner.budget,
            detail: inner.detail.clone(),
            answer: inner.answer.clone(),
            source: None,
        }))
    }

    /// What happened, without host, phase and advice.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: ", inner.reason.as_str())?;
        if let Some(host) = &inner.host {
            write!(f, "{host}")?;
            if let Some(address) = inner.address {
                write!(f, " ({address})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.detail)?;
        if let Some((option, budget)) = inner.budget {
            write!(f, " ({option} {budget:?})")?;
        }
        if inner.phase != Phase::Configure {
            write!(f, "; phase {}, {}", inner.phase.as_str(), inner.delivery.as_str())?;
        }
        if inner.attempts > 0 {
            write!(f, ", attempts {}", inner.attempts)?;
        }
        if let Some(elapsed) = inner.elapsed {
            write!(f, ", after {:.3} s", elapsed.as_secs_f64())?;
        }
        let advice = self.advice();
        if !advice.is_empty() {
            write!(f, "; to do: {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_host_phase_and_what_to_do() {
        let error = Error::new(Reason::ConnectTimeout, Phase::Connect, "no answer from 2 addresses")
            .with_host("kms.example:443")
            .with_budget("connect_timeout", Duration::from_secs(5))
            .with_effort(2, Duration::from_millis(5012));
        let line = error.to_string();
        assert!(!line.contains('\n'));
        for part in
            ["Connect.Timeout", "kms.example:443", "connect_timeout 5s", "phase connect", "not sent", "networklink"]
        {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }
}
