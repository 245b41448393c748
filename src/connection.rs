//! One live connection, and one exchange on it: probe, write, read the head, read the body.
//!
//! It owns the order of these, the limits on what comes back, and the translation of what goes wrong into
//! reason, phase and `Delivery`, which rests on the bytes that the stream has counted. What bytes mean is
//! `wire`'s. Whoever polls it drives it. It never retries and never chooses.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use crate::drive::{self, Alarm};
use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::limit::Place;
use crate::request::{OwnFields, Request};
use crate::response::Headers;
use crate::stream::{Io, Meter};
use crate::wire::{self, Chunks, Decoded, Framing, Head, Parsed};

/// What one read into the buffer takes at most; most answers fit.
const READ: usize = 8 * 1024;
/// What one read straight into a body takes at most.
const BODY_READ: usize = 256 * 1024;
/// The most that is reserved for a body because the far side says it will send as much.
const TRUSTED_LENGTH: usize = 1 << 20;
/// A request's body up to this size is copied behind its head: one write, one TLS record.
const COPIED_BODY: usize = 16 * 1024;
/// So many reads in a row are done before the time is looked at.
const READS_IN_A_BREATH: u32 = 16;
/// A buffer that has grown beyond this for one exchange is given back after it.
const KEPT_BUFFER: usize = 2 * READ;

/// A connection that can carry one exchange at a time.
pub(crate) struct Connection {
    io: Io,
    meter: Arc<Meter>,
    /// What has been read and not understood yet.
    buffer: Vec<u8>,
    /// The head of a request, and a small body; kept for its memory.
    outgoing: Vec<u8>,
    /// Interim (1xx) answers to the current request.
    interim: usize,
    /// Whether the last exchange has ended cleanly and nothing came after it.
    is_clean: bool,
    pub(crate) address: SocketAddr,
    /// Not reused from then on.
    pub(crate) retires: Instant,
    /// Since when nobody has used it.
    pub(crate) idle_since: Instant,
    /// Not reused when idle for longer.
    pub(crate) max_idle: Duration,
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    /// Exchanges that have begun on it.
    pub(crate) uses: u64,
    /// Whether it has been idle since it was made, so that it may have died unseen.
    pub(crate) was_idle: bool,
    _live: Live,
    _place: Place<Box<Connection>>,
}

/// Counts a live connection for as long as it exists.
pub(crate) struct Live(Arc<Counters>);

impl Live {
    pub(crate) fn new(counters: &Arc<Counters>) -> Live {
        counters.live.rise();
        Live(Arc::clone(counters))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fall();
    }
}

/// The head of an answer that came before the request was out, if one did.
type Early = Option<Box<Head>>;

/// What a new connection is made of.
pub(crate) struct Parts {
    pub(crate) io: Io,
    pub(crate) meter: Arc<Meter>,
    pub(crate) address: SocketAddr,
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) max_idle: Duration,
    pub(crate) max_age: Duration,
    pub(crate) live: Live,
    pub(crate) place: Place<Box<Connection>>,
}

/// The limits of one exchange.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
    pub(crate) stall: Duration,
    pub(crate) max_headers: usize,
    pub(crate) max_header_count: usize,
    pub(crate) max_interim: usize,
    pub(crate) max_body: usize,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) head_at: Instant,
}

impl Connection {
    /// A connection whose socket is already off the reactor. Nothing is sent.
    pub(crate) fn new(parts: Parts) -> Connection {
        let now = Instant::now();
        Connection {
            io: parts.io,
            meter: parts.meter,
            buffer: Vec::new(),
            outgoing: Vec::new(),
            interim: 0,
            is_clean: true,
            address: parts.address,
            retires: now + parts.max_age,
            idle_since: now,
            max_idle: parts.max_idle,
            connect: parts.connect,
            handshake: parts.handshake,
            uses: 0,
            was_idle: false,
            _live: parts.live,
            _place: parts.place,
        }
    }

    /// Sends one request and reads its answer to the end. After an error the connection must not be used again.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        own: &OwnFields,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<Answer> {
        self.uses += 1;
        self.interim = 0;
        self.is_clean = false;
        let mut watch = Watch::new(bounds, &self.meter, now, request.content().len());
        self.probe(&watch).await?;
        let early = self.send(request, own, bounds, &mut watch).await?;
        let sent_whole = early.is_none();
        let head = match early {
            Some(head) => head,
            None => self.read_head(request.is_head(), bounds, &mut watch).await?,
        };
        watch.answered = true;
        let head_at = Instant::now();
        if let Some(announced) = head.max_idle {
            self.max_idle = self.max_idle.min(announced);
        }
        let body = self.read_body(head.framing, bounds, &mut watch).await?;
        self.is_clean = sent_whole && head.keeps && head.framing != Framing::Close && self.buffer.is_empty();
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        if self.outgoing.capacity() > KEPT_BUFFER {
            self.outgoing = Vec::new();
        }
        let (headers, body) = head.fields.finish(body);
        Ok(Answer { status: head.status, headers, body, head_at })
    }

    /// Whether another exchange may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_clean
    }

    /// One look at the socket, without waiting: an end of the stream or bytes that nobody asked for are found before
    /// anything is written.
    async fn probe(&mut self, watch: &Watch) -> Result<()> {
        poll_fn(|cx| {
            loop {
                drive::look_again();
                let before = self.meter.received.load(Relaxed);
                break Poll::Ready(match self.io.poll_fill(cx, &mut self.buffer, READ) {
                    // TLS has taken in records without content (session tickets); an end may stand behind them.
                    Poll::Pending if self.meter.received.load(Relaxed) != before => continue,
                    Poll::Pending => Ok(()),
                    Poll::Ready(Ok(0)) => Err(watch.closed(&self.meter)),
                    Poll::Ready(Ok(_)) => Err(watch.failed(
                        &self.meter,
                        Reason::ProtocolUnexpected,
                        "the far side sent what nobody asked for",
                    )),
                    Poll::Ready(Err(error)) => Err(watch.broken(&self.meter, error)),
                });
            }
        })
        .await
    }

    /// Writes the request. Where the far side answers before the end of it the rest is not sent (RFC 9112 9.5).
    async fn send(&mut self, request: &Request, own: &OwnFields, bounds: &Bounds, watch: &mut Watch) -> Result<Early> {
        self.outgoing.clear();
        request.write_head(own, &mut self.outgoing);
        let mut body: &[u8] = request.content();
        if body.len() <= COPIED_BODY {
            self.outgoing.extend_from_slice(body);
            body = &[];
        }
        let mut head = 0;
        poll_fn(|cx| {
            while head < self.outgoing.len() || !body.is_empty() {
                match self.io.poll_send(cx, &self.outgoing[head..], body) {
                    Poll::Ready(Ok(sent)) => {
                        let of_head = sent.min(self.outgoing.len() - head);
                        head += of_head;
                        body = &body[sent - of_head..];
                    }
                    Poll::Ready(Err(error)) => return self.write_failed(cx, error, bounds, watch),
                    Poll::Pending => return self.answered_early(cx, bounds, watch),
                }
            }
            match self.io.poll_flush(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => self.write_failed(cx, error, bounds, watch),
                Poll::Pending => self.answered_early(cx, bounds, watch),
            }
        })
        .await
    }

    /// The request can't go on for now: perhaps because the far side has answered already.
    fn answered_early(&mut self, cx: &mut Context<'_>, bounds: &Bounds, watch: &mut Watch) -> Poll<Result<Early>> {
        loop {
            match self.io.poll_fill(cx, &mut self.buffer, READ) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(watch.closed(&self.meter))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(watch.broken(&self.meter, error))),
                Poll::Pending => return watch.poll(cx, &self.meter).map(Err),
            }
            // Interim answers say nothing about the end, and half a head nothing yet: the request goes on.
            match self.next_head(false, bounds, watch) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(Some(head))),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The far side takes no more: what it said before that is worth more than that it did so.
    fn write_failed(
        &mut self,
        cx: &mut Context<'_>,
        error: io::Error,
        bounds: &Bounds,
        watch: &Watch,
    ) -> Poll<Result<Early>> {
        drive::look_again();
        while let Poll::Ready(Ok(1..)) = self.io.poll_fill(cx, &mut self.buffer, READ) {
            if let Some(head) = self.next_head(false, bounds, watch)? {
                return Poll::Ready(Ok(Some(head)));
            }
        }
        Poll::Ready(Err(watch.broken(&self.meter, error)))
    }

    /// Reads more into the buffer; false at the end of the stream.
    async fn fill(&mut self, watch: &mut Watch) -> Result<bool> {
        read_behind(&mut self.io, &self.meter, &mut self.buffer, READ, watch).await
    }

    async fn read_head(&mut self, to_head: bool, bounds: &Bounds, watch: &mut Watch) -> Result<Box<Head>> {
        let mut seen = 0;
        loop {
            // A head is looked at again only when a line has been added: one byte at a time would else cost a square.
            let worth_it = self.buffer[seen..].contains(&b'\n') || (seen == 0 && !self.buffer.is_empty());
            if worth_it || self.buffer.len() > bounds.max_headers {
                if let Some(head) = self.next_head(to_head, bounds, watch)? {
                    return Ok(head);
                }
                seen = self.buffer.len();
            }
            if !self.fill(watch).await? {
                return Err(match self.buffer.is_empty() {
                    true => watch.closed(&self.meter),
                    false => {
                        let detail = "the connection ended inside the answer's head";
                        watch.failed(&self.meter, Reason::ProtocolIncomplete, detail)
                    }
                });
            }
        }
    }

    /// Takes the final head out of the buffer, and the interim ones before it; nothing where it is not whole yet.
    fn next_head(&mut self, to_head: bool, bounds: &Bounds, watch: &Watch) -> Result<Option<Box<Head>>> {
        loop {
            let parsed = wire::parse_head(&self.buffer, bounds.max_headers, bounds.max_header_count, to_head);
            match parsed.map_err(|wire::Fault(reason, detail)| watch.failed(&self.meter, reason, detail))? {
                Parsed::Partial => return Ok(None),
                Parsed::Interim(length) => {
                    self.interim += 1;
                    if self.interim > bounds.max_interim {
                        let detail = format!("{} interim answers came before the answer", self.interim);
                        return Err(watch.failed(&self.meter, Reason::LimitInterim, detail));
                    }
                    self.consume(length);
                }
                Parsed::Final(head, length) => {
                    self.consume(length);
                    return Ok(Some(head));
                }
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        if bytes == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..bytes);
        }
    }

    async fn read_body(&mut self, framing: Framing, bounds: &Bounds, watch: &mut Watch) -> Result<Vec<u8>> {
        let over = || answered(Reason::LimitBody, format!("the body is over {} bytes", bounds.max_body));
        let incomplete = || answered(Reason::ProtocolIncomplete, "the connection ended inside the body");
        let mut body = Vec::new();
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => {
                let length =
                    usize::try_from(length).ok().filter(|length| *length <= bounds.max_body).ok_or_else(over)?;
                let at_hand = length.min(self.buffer.len());
                // Not more is reserved on the far side's word; the rest grows with what really comes.
                body.reserve_exact(length.min(TRUSTED_LENGTH) + 1);
                body.extend_from_slice(&self.buffer[..at_hand]);
                self.consume(at_hand);
                while body.len() < length {
                    // One more than there should be: what follows the answer is nobody's and must not lie in wait.
                    let most = length - body.len() + 1;
                    if !read_behind(&mut self.io, &self.meter, &mut body, most.min(BODY_READ), watch).await? {
                        return Err(incomplete());
                    }
                }
                self.buffer.extend(body.drain(length..));
            }
            Framing::Close => {
                std::mem::swap(&mut body, &mut self.buffer);
                loop {
                    if body.len() > bounds.max_body {
                        return Err(over());
                    }
                    let room = (bounds.max_body - body.len()).saturating_add(1).min(READ.max(body.len()));
                    if !read_behind(&mut self.io, &self.meter, &mut body, room.min(BODY_READ), watch).await? {
                        break;
                    }
                }
            }
            Framing::Chunked => {
                let mut chunks = Chunks::new();
                loop {
                    let decoded = chunks.decode(&self.buffer, &mut body, bounds.max_body);
                    match decoded.map_err(|wire::Fault(reason, detail)| answered(reason, detail))? {
                        Decoded::End(used) => {
                            self.consume(used);
                            break;
                        }
                        Decoded::More(used) => self.consume(used),
                    }
                    if !self.fill(watch).await? {
                        return Err(incomplete());
                    }
                }
            }
        }
        Ok(body)
    }
}

/// Reads up to `most` bytes behind what `into` holds; false at the end of the stream.
async fn read_behind(io: &mut Io, meter: &Meter, into: &mut Vec<u8>, most: usize, watch: &mut Watch) -> Result<bool> {
    watch.take_breath(meter).await?;
    poll_fn(|cx| match io.poll_fill(cx, into, most) {
        Poll::Ready(Ok(read)) => Poll::Ready(Ok(read > 0)),
        Poll::Ready(Err(error)) => Poll::Ready(Err(watch.broken(meter, error))),
        Poll::Pending => watch.poll(cx, meter).map(Err),
    })
    .await
}

fn answered(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Error {
    Error::new(reason, Phase::Receive, detail).with_delivery(Delivery::Answered)
}

/// The deadline of an exchange, the watch over its progress, and what its failures mean at each point.
struct Watch {
    deadline: Instant,
    timeout: Duration,
    stall: Duration,
    moved: u64,
    moved_at: Instant,
    sent_before: u64,
    /// The length of the request's body: while fewer bytes than that are out, it is still being sent.
    body: u64,
    /// Whether the head of the answer has come.
    answered: bool,
    reads: u32,
    alarm: Alarm,
}

impl Watch {
    fn new(bounds: &Bounds, meter: &Meter, now: Instant, body: usize) -> Watch {
        Watch {
            deadline: bounds.deadline,
            timeout: bounds.timeout,
            stall: bounds.stall,
            moved: meter.moved(),
            moved_at: now,
            sent_before: meter.sent.load(Relaxed),
            body: body as u64,
            answered: false,
            reads: 0,
            alarm: Alarm::default(),
        }
    }

    /// A far side that is faster than we are never lets a read wait: so every few reads the time is looked at and others
    /// go first.
    async fn take_breath(&mut self, meter: &Meter) -> Result<()> {
        self.reads += 1;
        if self.reads.is_multiple_of(READS_IN_A_BREATH) {
            if Instant::now() >= self.deadline {
                return Err(self.late(meter));
            }
            drive::give_way().await;
        }
        Ok(())
    }

    fn late(&self, meter: &Meter) -> Error {
        self.failed(meter, Reason::TimeoutTotal, "the call's time is over").with_budget("timeout", self.timeout)
    }

    /// Ready with an error when the call's time is over or nothing has moved for too long.
    fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Error> {
        let moved = meter.moved();
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = Instant::now();
        }
        let stalls = self.moved_at + self.stall;
        if self.alarm.poll(cx, stalls.min(self.deadline)).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if self.deadline <= stalls {
            self.late(meter)
        } else {
            self.failed(meter, Reason::TimeoutStalled, "no byte moved").with_budget("stall_timeout", self.stall)
        })
    }

    /// An error with the phase and the delivery of this moment.
    fn failed(&self, meter: &Meter, reason: Reason, detail: impl Into<Cow<'static, str>>) -> Error {
        let (phase, delivery) = match meter.sent.load(Relaxed) - self.sent_before {
            _ if self.answered => (Phase::Receive, Delivery::Answered),
            0 => (Phase::Send, Delivery::NotSent),
            some if some <= self.body => (Phase::Send, Delivery::Unknown),
            _ => (Phase::Wait, Delivery::Unknown),
        };
        Error::new(reason, phase, detail).with_delivery(delivery)
    }

    /// The far side has closed instead of answering.
    fn closed(&self, meter: &Meter) -> Error {
        self.failed(meter, Reason::ConnectClosed, "the connection was closed before an answer came")
    }

    /// The socket or the TLS session has failed.
    fn broken(&self, meter: &Meter, error: io::Error) -> Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let (reason, detail) = match error.kind() {
            // A missing close_notify is none of rustls's errors: tokio-rustls makes that an unexpected end.
            _ if is_tls => (Reason::TlsAlert, "the TLS session was ended by an alert or a broken record"),
            TimedOut => (Reason::TimeoutStalled, "the peer does not acknowledge what was sent"),
            _ if self.answered => (Reason::ProtocolIncomplete, "the connection ended inside the body"),
            ConnectionReset | BrokenPipe | ConnectionAborted => (Reason::ConnectReset, "the connection was reset"),
            UnexpectedEof => (Reason::ConnectClosed, "the connection was closed"),
            _ => (Reason::ConnectIo, "the connection failed"),
        };
        self.failed(meter, reason, detail).with_source(error)
    }
}
