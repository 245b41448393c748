//! The bounds of one exchange: its deadline, its progress, what is kept of its answer, and what its failures mean.
//!
//! It owns the limits on what comes back, and the translation of what goes wrong into reason, phase and
//! `Delivery`, which rests on the bytes that the stream has counted. Both versions of HTTP are held to the same.
//! It reads and writes nothing; time is the monotonic clock's.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::drive::{self, Alarm};
use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::stream::Meter;
use crate::tls;

/// The most that is reserved for a body because the far side says it will send as much.
const TRUSTED_LENGTH: usize = 1 << 20;
/// So many reads in a row are done before the time is looked at.
pub(crate) const READS_IN_A_BREATH: u32 = 16;
/// Past every deadline.
const UNBOUND: Duration = Duration::from_secs(365 * 24 * 3600);
/// More than this is not taken by the kernel at once: whether it drains is looked at.
const MUCH: u64 = 16 * 1024;

/// The limits of one exchange.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
    pub(crate) stall: Duration,
    pub(crate) min_progress: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_header_count: usize,
    pub(crate) max_interim: usize,
    pub(crate) max_body: usize,
    pub(crate) max_error_body: usize,
    /// So much is kept of a failure's body whatever the limits say: what it means may stand there.
    pub(crate) understood: usize,
}

/// How much of a body is kept, and what becomes of one that is longer.
pub(crate) struct Keeping {
    pub(crate) most: usize,
    is_failure: bool,
}

impl Keeping {
    /// The rule for a body of this length, if the far side has announced one; memory for it is reserved.
    pub(crate) fn new(status: StatusCode, length: Option<u64>, bounds: &Bounds, body: &mut Vec<u8>) -> Result<Keeping> {
        let (is_failure, most) = (is_failure(status), Keeping::most(status, bounds));
        if let Some(length) = length.filter(|length| *length > 0) {
            let fits = usize::try_from(length).ok().filter(|length| *length <= most);
            if fits.is_none() && !is_failure {
                return Err(over(most));
            }
            // Not more is reserved on the far side's word; the rest grows with what really comes.
            body.reserve_exact(fits.unwrap_or(most).min(TRUSTED_LENGTH) + 1);
        }
        Ok(Keeping { most, is_failure })
    }

    /// How much is kept.
    pub(crate) fn most(status: StatusCode, bounds: &Bounds) -> usize {
        match is_failure(status) {
            true => bounds.max_error_body.min(bounds.max_body).max(bounds.understood),
            false => bounds.max_body,
        }
    }

    /// Whether that was all, and if so whether it was cut; an error where more comes than may be.
    pub(crate) fn judge(&self, ended: bool, got: usize) -> Result<Option<bool>> {
        match got {
            _ if ended => Ok(Some(false)),
            0 if self.is_failure => Ok(Some(true)),
            0 => Err(over(self.most)),
            _ => Ok(None),
        }
    }
}

fn is_failure(status: StatusCode) -> bool {
    status.as_u16() >= 400
}

fn over(most: usize) -> Error {
    answered(Reason::LimitBody, format!("the body is over {most} bytes"))
}

pub(crate) fn answered(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Error {
    Error::new(reason, Phase::Receive, detail).with_delivery(Delivery::Answered)
}

/// The deadline of an exchange, the watch over its progress, and what its failures mean at each point.
pub(crate) struct Watch {
    deadline: Instant,
    timeout: Duration,
    stall: Duration,
    min_progress: u64,
    /// What had moved when the current window began.
    moved: u64,
    moved_at: Instant,
    /// What waited in the kernel to be sent then.
    queued: usize,
    sent_before: u64,
    /// The length of the request's body: while fewer bytes than that are out, it is still being sent.
    body: u64,
    /// Whether nothing was ever answered on this connection before.
    is_first: bool,
    /// Whether more was sent than the kernel takes at once.
    has_sent_much: bool,
    /// Whether the head of the answer has come.
    answered: bool,
    reads: u32,
    alarm: Alarm,
}

impl Watch {
    pub(crate) fn new(bounds: &Bounds, meter: &Meter, now: Instant) -> Watch {
        Watch {
            deadline: bounds.deadline,
            timeout: bounds.timeout,
            stall: bounds.stall,
            min_progress: bounds.min_progress.max(1) as u64,
            moved: meter.moved(),
            moved_at: now,
            queued: 0,
            sent_before: meter.sent.load(Relaxed),
            body: 0,
            is_first: false,
            has_sent_much: false,
            answered: false,
            reads: 0,
            alarm: Alarm::default(),
        }
    }

    /// A far side that is faster than we are never lets a read wait: so every few reads the time is looked at and others
    /// go first.
    pub(crate) async fn take_breath(&mut self, meter: &Meter) -> Result<()> {
        self.reads += 1;
        if self.reads.is_multiple_of(READS_IN_A_BREATH) {
            if Instant::now() >= self.deadline {
                return Err(self.late(meter));
            }
            drive::give_way().await;
        }
        Ok(())
    }

    /// Whether the call's time is over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    pub(crate) fn late(&self, meter: &Meter) -> Error {
        self.failed(meter, Reason::TimeoutTotal, "the call's time is over").with_budget("timeout", self.timeout)
    }

    /// The same with an alarm that was another one's.
    pub(crate) fn with_alarm(self, alarm: Alarm) -> Watch {
        Watch { alarm, ..self }
    }

    /// Its alarm, for another one, where it is worth that.
    pub(crate) fn take_alarm(&mut self) -> Option<Alarm> {
        std::mem::take(&mut self.alarm).at_rest()
    }

    /// Ready with an error when the call's time is over or nothing has moved for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Error> {
        self.poll_at(cx, meter, Instant::now())
    }

    /// The same where the time has just been looked at.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, meter: &Meter, now: Instant) -> Poll<Error> {
        if meter.moved() - self.moved >= self.min_progress {
            self.begin_window(meter, now);
        }
        let stalls = self.moved_at + self.stall;
        if self.alarm.poll_at(cx, stalls.min(self.deadline), now).is_pending() {
            return Poll::Pending;
        }
        if stalls < self.deadline && meter.queued() < self.queued {
            // Nothing moved here, but what was handed to the kernel goes out.
            self.begin_window(meter, Instant::now());
            return self.poll(cx, meter);
        }
        Poll::Ready(if self.deadline <= stalls {
            self.late(meter)
        } else {
            let detail = match self.min_progress {
                1 => Cow::Borrowed("no byte moved"),
                least => Cow::Owned(format!("less than {least} bytes moved")),
            };
            self.failed(meter, Reason::TimeoutStalled, detail).with_budget("stall_timeout", self.stall)
        })
    }

    /// How long the body is that is being sent: until so much more than a head is out, the request is being sent.
    pub(crate) fn expect_body(&mut self, length: u64) {
        self.has_sent_much |= self.body > MUCH;
        self.body = length;
    }

    /// Nothing was ever answered on this connection before.
    pub(crate) fn is_first(&mut self, is_first: bool) {
        self.is_first = is_first;
    }

    /// The head of the answer has come.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    /// From here on only pauses are bounded.
    pub(crate) fn unbind(&mut self, now: Instant) {
        self.deadline = now + UNBOUND;
    }

    /// Begins to count progress anew.
    pub(crate) fn begin_window(&mut self, meter: &Meter, now: Instant) {
        self.moved = meter.moved();
        self.moved_at = now;
        // The kernel takes a small body at once, and it is out before anything can stall.
        self.queued = if self.body > MUCH || self.has_sent_much { meter.queued() } else { 0 };
    }

    /// An error with the phase and the delivery of this moment.
    pub(crate) fn failed(&self, meter: &Meter, reason: Reason, detail: impl Into<Cow<'static, str>>) -> Error {
        let (phase, delivery) = match meter.sent.load(Relaxed) - self.sent_before {
            _ if self.answered => (Phase::Receive, Delivery::Answered),
            0 => (Phase::Send, Delivery::NotSent),
            some if some <= self.body => (Phase::Send, Delivery::Unknown),
            _ => (Phase::Wait, Delivery::Unknown),
        };
        Error::new(reason, phase, detail).with_delivery(delivery)
    }

    /// The far side has closed instead of answering.
    pub(crate) fn closed(&self, meter: &Meter) -> Error {
        self.failed(meter, Reason::ConnectClosed, "the connection was closed before an answer came")
    }

    /// The socket or the TLS session has failed.
    pub(crate) fn broken(&self, meter: &Meter, error: io::Error) -> Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(tls::session_reason);
        if let Some((Reason::TlsClientAuth, detail)) = tls
            && self.is_first
            && !self.answered
        {
            // In TLS 1.3 it comes after the handshake, and before anything that was sent is looked at (RFC 8446 4.4.2.4).
            return Error::new(Reason::TlsClientAuth, Phase::Handshake, detail).with_source(error);
        }
        // A missing close_notify is none of rustls's errors: tokio-rustls makes that an unexpected end.
        let (reason, detail) = tls.unwrap_or_else(|| match error.kind() {
            TimedOut => (Reason::TimeoutStalled, "the peer does not acknowledge what was sent"),
            _ if self.answered => (Reason::ProtocolIncomplete, "the connection ended inside the body"),
            ConnectionReset | BrokenPipe | ConnectionAborted => (Reason::ConnectReset, "the connection was reset"),
            UnexpectedEof => (Reason::ConnectClosed, "the connection was closed"),
            _ => (Reason::ConnectIo, "the connection failed"),
        });
        self.failed(meter, reason, detail).with_source(error)
    }
}
