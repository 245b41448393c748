//! One live connection, and one exchange on it: probe, write, read the head, read the body.
//!
//! It owns the order of these. What bytes mean is `wire`'s, what a failure means and how long one waits, `watch`'s.
//! Whoever polls it drives it. It never retries and never chooses.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::ReadBuf;

use crate::body::Content;
use crate::config::EXPECT_TIMEOUT;
use crate::drive::{self, Alarm};
use crate::error::{Delivery, Reason, Result};
use crate::event::Counters;
use crate::limit::Place;
use crate::request::{OwnFields, Request};
use crate::response::{Headers, PACKED_BODY, Trailers};
use crate::stream::{Io, Meter};
use crate::sys;
use crate::upload::{UNREADABLE, Upload};
use crate::watch::{Bounds, Keeping, READS_IN_A_BREATH, Watch, answered};
use crate::wire::{self, Chunks, Decoded, Framing, Head, Parsed};

/// What one read into the buffer takes at most; most answers fit.
const READ: usize = 8 * 1024;
/// What one read straight into a body takes at most.
const BODY_READ: usize = 256 * 1024;
/// What comes straight into a caller's memory is at least so much: a small reader is better served from a large read.
const STRAIGHT: usize = 32 * 1024;
/// A request's body up to this size is copied behind its head: one write, one TLS record.
const COPIED_BODY: usize = 16 * 1024;
/// So much of a body is written before the far side is listened to: one that reads as fast as we write never lets a
/// write wait, and what it says meanwhile may be that it wants no more.
const SENT_IN_A_BREATH: usize = 512 * 1024;
/// Records without content that are read before a request; more are no session tickets.
const READS_IN_A_PROBE: usize = 4;
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
    /// Whether the current request is a `HEAD`, whose answer has no body whatever it announces.
    to_head: bool,
    /// Whether one of them was 100: the far side wants the body.
    is_continued: bool,
    /// Whether some of the current request's body may have left.
    has_begun_body: bool,
    /// What came behind the last body.
    trailers: Trailers,
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

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) trailers: Trailers,
    /// Whether the body of a failure was longer than is kept of one.
    pub(crate) is_cut: bool,
    /// Whether it came before the request was out.
    pub(crate) is_early: bool,
    pub(crate) head_at: Instant,
    pub(crate) ended_at: Instant,
}

/// An answer whose head has come, and where the reading of its body stands.
pub(crate) struct Begun {
    pub(crate) head: Box<Head>,
    pub(crate) head_at: Instant,
    rest: Rest,
    sent_whole: bool,
}

/// What must still come of a body.
enum Rest {
    Nothing,
    Length(u64),
    Chunked(Box<Chunks>),
    Close,
}

impl Connection {
    /// A connection just made. Nothing is sent.
    pub(crate) fn new(parts: Parts) -> Connection {
        let now = Instant::now();
        Connection {
            io: parts.io,
            meter: parts.meter,
            buffer: Vec::new(),
            outgoing: Vec::new(),
            interim: 0,
            to_head: false,
            is_continued: false,
            has_begun_body: false,
            trailers: Trailers::default(),
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
        expects: bool,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<Answer> {
        let mut watch = Watch::new(bounds, &self.meter, now);
        let mut begun = self.begin(request, own, expects, bounds, &mut watch).await?;
        if begun.is_at_hand(&self.buffer, bounds) {
            let Begun { head, head_at, sent_whole, .. } = begun;
            let (headers, body) = head.fields.finish_with(&self.buffer);
            self.buffer.clear();
            self.end(sent_whole && head.keeps);
            let (status, trailers) = (head.status, Trailers::default());
            return Ok(Answer {
                status,
                headers,
                body,
                trailers,
                is_cut: false,
                is_early: !sent_whole,
                head_at,
                ended_at: head_at,
            });
        }
        let mut body = Vec::new();
        let is_cut = self.read_whole(&mut begun, &mut body, bounds, &mut watch).await?;
        let Begun { head, head_at, sent_whole, .. } = begun;
        let trailers = self.take_trailers();
        let (headers, body) = head.fields.finish(body);
        let (status, ended_at) = (head.status, Instant::now());
        Ok(Answer { status, headers, body, trailers, is_cut, is_early: !sent_whole, head_at, ended_at })
    }

    /// Sends one request and reads the head of its answer.
    pub(crate) async fn begin(
        &mut self,
        request: &Request,
        own: &OwnFields,
        expects: bool,
        bounds: &Bounds,
        watch: &mut Watch,
    ) -> Result<Begun> {
        watch.is_first(self.uses == 0);
        self.uses += 1;
        self.interim = 0;
        self.to_head = request.is_head();
        self.has_begun_body = false;
        self.is_clean = false;
        self.probe(watch).await?;
        self.outgoing.clear();
        request.write_head(own, expects, &mut self.outgoing);
        let early = match request.content() {
            Content::Whole(body) if !expects && !request.is_chunked() => self.send(body, bounds, watch).await?,
            _ => self.send_pieces(request, expects, bounds, watch).await?,
        };
        let sent_whole = early.is_none();
        let mut head = match early {
            Some(head) => head,
            None => self.read_head(bounds, watch).await?,
        };
        watch.answered();
        let head_at = Instant::now();
        if let Some(announced) = head.max_idle {
            self.max_idle = self.max_idle.min(announced);
        }
        head.keeps &= head.framing != Framing::Close;
        let rest = match head.framing {
            Framing::Nothing => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Box::new(Chunks::new())),
            Framing::Close => Rest::Close,
        };
        Ok(Begun { head, head_at, rest, sent_whole })
    }

    /// Whether some of the last request's body may have left.
    pub(crate) fn has_begun_body(&self) -> bool {
        self.has_begun_body
    }

    /// Whether the far side has closed it, as far as the kernel knows.
    pub(crate) fn has_died(&self) -> bool {
        sys::has_hung_up(self.io.as_fd().as_raw_fd())
    }

    /// Whether the far side has not even acknowledged what was sent: its machine is gone, not only slow.
    pub(crate) fn is_unacknowledged(&self) -> bool {
        self.meter.queued() > 0
    }

    pub(crate) fn take_trailers(&mut self) -> Trailers {
        std::mem::take(&mut self.trailers)
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How many bytes have come on it.
    pub(crate) fn heard(&self) -> u64 {
        self.meter.received.load(Relaxed)
    }

    /// Whether another exchange may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_clean
    }

    /// One look at the socket, without waiting: an end of the stream or bytes that nobody asked for are found before
    /// anything is written.
    async fn probe(&mut self, watch: &Watch) -> Result<()> {
        let probed = poll_fn(|cx| {
            for _ in 0..READS_IN_A_PROBE {
                drive::look_again();
                let before = self.meter.received.load(Relaxed);
                match self.io.poll_fill(cx, &mut self.buffer, READ) {
                    // TLS has taken in records without content (session tickets); an end may stand behind them.
                    Poll::Pending if self.meter.received.load(Relaxed) != before => {}
                    Poll::Pending => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(watch.closed(&self.meter))),
                    Poll::Ready(Ok(_)) => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(watch.broken(&self.meter, error))),
                }
            }
            let detail = "the far side sent what nobody asked for";
            Poll::Ready(Err(watch.failed(&self.meter, Reason::ProtocolUnexpected, detail)))
        });
        // Whatever went out was TLS's own: nothing of the request has.
        probed.await.map_err(|error| error.with_delivery(Delivery::NotSent))
    }

    /// Writes the head and the body behind it. Where the far side answers before the end of them the rest is not sent
    /// (RFC 9112 9.5).
    async fn send(&mut self, mut body: &[u8], bounds: &Bounds, watch: &mut Watch) -> Result<Early> {
        watch.expect_body(body.len() as u64);
        if body.len() <= COPIED_BODY {
            self.outgoing.extend_from_slice(body);
            body = &[];
        }
        let (mut head, mut breath) = (0, SENT_IN_A_BREATH);
        poll_fn(|cx| {
            while head < self.outgoing.len() || !body.is_empty() {
                match self.io.poll_send(cx, &self.outgoing[head..], &body[..body.len().min(breath)]) {
                    Poll::Ready(Ok(sent)) => {
                        let of_head = sent.min(self.outgoing.len() - head);
                        head += of_head;
                        body = &body[sent - of_head..];
                        breath -= sent - of_head;
                        if breath == 0 && !body.is_empty() {
                            breath = SENT_IN_A_BREATH;
                            match self.take_a_breath(cx, bounds, watch) {
                                Ok(None) => {}
                                heard => return Poll::Ready(heard),
                            }
                        }
                    }
                    Poll::Ready(Err(error)) => return self.write_failed(cx, error, bounds, watch),
                    Poll::Pending => return self.answered_early(cx, bounds, watch),
                }
            }
            self.flush(cx, bounds, watch)
        })
        .await
    }

    fn flush(&mut self, cx: &mut Context<'_>, bounds: &Bounds, watch: &mut Watch) -> Poll<Result<Early>> {
        match self.io.poll_flush(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => self.write_failed(cx, error, bounds, watch),
            Poll::Pending => self.answered_early(cx, bounds, watch),
        }
    }

    /// Writes the head, and a body that comes piece by piece or only when the far side wants it.
    async fn send_pieces(
        &mut self,
        request: &Request,
        expects: bool,
        bounds: &Bounds,
        watch: &mut Watch,
    ) -> Result<Early> {
        let is_chunked = request.is_chunked();
        // Until all of it is out the request is being sent, however long it is.
        watch.expect_body(u64::MAX);
        if expects {
            if let Some(head) = self.send(&[], bounds, watch).await? {
                return Ok(Some(head));
            }
            watch.expect_body(u64::MAX);
            if let Some(head) = self.await_continue(bounds, watch).await? {
                return Ok(Some(head));
            }
            self.outgoing.clear();
        }
        self.has_begun_body = true;
        let mut upload = Upload::begin(request.content())
            .ok_or_else(|| watch.failed(&self.meter, Reason::CanceledBody, "the body was read by an earlier try"))?;
        let (mut head, mut piece, mut pieces) = (0, Bytes::new(), 0_u32);
        let early = poll_fn(|cx| {
            loop {
                // The first piece goes with the head where it is at hand.
                let is_out = head == self.outgoing.len() && piece.is_empty();
                if !upload.has_ended() && (is_out || pieces == 0) {
                    match upload.poll_piece(cx) {
                        Poll::Ready(Ok(next)) => {
                            if is_out {
                                self.outgoing.clear();
                                head = 0;
                            }
                            upload.frame(&next, request.trailers(), &mut self.outgoing, is_chunked);
                            piece = next;
                            pieces += 1;
                            // A source and a far side that are both faster than we are never let a write wait.
                            if pieces.is_multiple_of(READS_IN_A_BREATH) {
                                match self.take_a_breath(cx, bounds, watch) {
                                    Ok(None) => {}
                                    heard => return Poll::Ready(heard),
                                }
                            }
                        }
                        Poll::Ready(Err(error)) => {
                            let failed = watch.failed(&self.meter, Reason::CanceledBody, UNREADABLE);
                            return Poll::Ready(Err(failed.with_source(error)));
                        }
                        Poll::Pending if is_out => {
                            // The source is slow, not the far side.
                            watch.begin_window(&self.meter, Instant::now());
                            return match self.flush(cx, bounds, watch) {
                                Poll::Ready(Ok(None)) => self.answered_early(cx, bounds, watch),
                                other => other,
                            };
                        }
                        Poll::Pending => {}
                    }
                }
                if head == self.outgoing.len() && piece.is_empty() {
                    match upload.has_ended() {
                        true => return self.flush(cx, bounds, watch),
                        false => continue,
                    }
                }
                match self.io.poll_send(cx, &self.outgoing[head..], &piece) {
                    Poll::Ready(Ok(sent)) => {
                        let of_head = sent.min(self.outgoing.len() - head);
                        head += of_head;
                        piece.advance(sent - of_head);
                    }
                    Poll::Ready(Err(error)) => return self.write_failed(cx, error, bounds, watch),
                    Poll::Pending => return self.answered_early(cx, bounds, watch),
                }
            }
        })
        .await?;
        if early.is_none() {
            watch.expect_body(0);
        }
        Ok(early)
    }

    /// Waits a moment for the far side to want the body, or to answer without it (RFC 9110 10.1.1).
    async fn await_continue(&mut self, bounds: &Bounds, watch: &mut Watch) -> Result<Early> {
        let until = Instant::now() + EXPECT_TIMEOUT;
        let mut alarm = Alarm::default();
        self.is_continued = false;
        poll_fn(|cx| {
            loop {
                match self.next_head(self.to_head, bounds, watch) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Some(head))),
                    Ok(None) if self.is_continued => return Poll::Ready(Ok(None)),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                match self.io.poll_fill(cx, &mut self.buffer, READ) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(watch.closed(&self.meter))),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(watch.broken(&self.meter, error))),
                    Poll::Pending if alarm.poll(cx, until).is_ready() => return Poll::Ready(Ok(None)),
                    Poll::Pending => return watch.poll(cx, &self.meter).map(Err),
                }
            }
        })
        .await
    }

    /// The request can't go on for now: perhaps because the far side has answered already.
    fn answered_early(&mut self, cx: &mut Context<'_>, bounds: &Bounds, watch: &mut Watch) -> Poll<Result<Early>> {
        match self.listen(cx, bounds, watch) {
            Ok(None) => watch.poll(cx, &self.meter).map(Err),
            heard => Poll::Ready(heard),
        }
    }

    /// Between the parts of a body that never has to wait: the deadline holds for it too, and the far side is heard.
    fn take_a_breath(&mut self, cx: &mut Context<'_>, bounds: &Bounds, watch: &mut Watch) -> Result<Early> {
        if watch.is_over(Instant::now()) {
            return Err(watch.late(&self.meter));
        }
        drive::look_again();
        self.listen(cx, bounds, watch)
    }

    /// What the far side has said so far, without waiting: a head, if it is one.
    fn listen(&mut self, cx: &mut Context<'_>, bounds: &Bounds, watch: &mut Watch) -> Result<Early> {
        loop {
            match self.io.poll_fill(cx, &mut self.buffer, READ) {
                Poll::Ready(Ok(0)) => return Err(watch.closed(&self.meter)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(watch.broken(&self.meter, error)),
                Poll::Pending => return Ok(None),
            }
            // Interim answers say nothing about the end, and half a head nothing yet: the request goes on.
            if let Some(head) = self.next_head(self.to_head, bounds, watch)? {
                return Ok(Some(head));
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
            if let Some(head) = self.next_head(self.to_head, bounds, watch)? {
                return Poll::Ready(Ok(Some(head)));
            }
        }
        Poll::Ready(Err(watch.broken(&self.meter, error)))
    }

    /// Reads more into the buffer; false at the end of the stream.
    async fn fill(&mut self, watch: &mut Watch) -> Result<bool> {
        read_behind(&mut self.io, &self.meter, &mut self.buffer, READ, watch).await
    }

    async fn read_head(&mut self, bounds: &Bounds, watch: &mut Watch) -> Result<Box<Head>> {
        let mut seen = 0;
        loop {
            // A head is looked at again only when a line has been added: one byte at a time would else cost a square.
            let worth_it = self.buffer[seen..].contains(&b'\n') || (seen == 0 && !self.buffer.is_empty());
            if worth_it || self.buffer.len() > bounds.max_headers {
                if let Some(head) = self.next_head(self.to_head, bounds, watch)? {
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
                Parsed::Interim { length, is_continue } => {
                    self.interim += 1;
                    self.is_continued |= is_continue;
                    if self.interim > bounds.max_interim {
                        let detail = format!("{} interim answers came before the answer", self.interim);
                        return Err(watch.failed(&self.meter, Reason::LimitInterim, detail));
                    }
                    consume(&mut self.buffer, length);
                }
                Parsed::Final(head, length) => {
                    consume(&mut self.buffer, length);
                    return Ok(Some(head));
                }
            }
        }
    }

    /// Reads the body to its end. Of a failure's body no more than a part is kept: true where it was longer.
    async fn read_whole(
        &mut self,
        begun: &mut Begun,
        body: &mut Vec<u8>,
        bounds: &Bounds,
        watch: &mut Watch,
    ) -> Result<bool> {
        let keeping = Keeping::new(begun.head.status, begun.length(), bounds, body)?;
        loop {
            let before = body.len();
            let ended = self.read_some(begun, body, keeping.most - before, watch).await?;
            if let Some(is_cut) = keeping.judge(ended, body.len() - before)? {
                return Ok(is_cut);
            }
        }
    }

    /// Appends what comes next of the body, at most `room` bytes; true at its end. Nothing is appended only at the end or
    /// where there is no room for the next byte.
    pub(crate) async fn read_some(
        &mut self,
        begun: &mut Begun,
        into: &mut Vec<u8>,
        room: usize,
        watch: &mut Watch,
    ) -> Result<bool> {
        let incomplete = || answered(Reason::ProtocolIncomplete, "the connection ended inside the body");
        let Connection { io, meter, buffer, trailers, .. } = self;
        let ended = match &mut begun.rest {
            Rest::Nothing => true,
            Rest::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(room);
                let before = into.len();
                if most == 0 {
                    // Nothing fits, or nothing is left.
                } else if !buffer.is_empty() {
                    let at_hand = most.min(buffer.len());
                    into.extend_from_slice(&buffer[..at_hand]);
                    consume(buffer, at_hand);
                } else {
                    // One more than there should be: what follows the answer is nobody's and must not lie in wait.
                    let beyond = usize::from(most as u64 == *left);
                    if !read_behind(io, meter, into, (most + beyond).min(BODY_READ), watch).await? {
                        return Err(incomplete());
                    }
                    let whole = into.len().min(before + most);
                    buffer.extend(into.drain(whole..));
                }
                *left -= (into.len() - before) as u64;
                *left == 0
            }
            Rest::Close if !buffer.is_empty() => {
                let at_hand = room.min(buffer.len());
                into.extend_from_slice(&buffer[..at_hand]);
                consume(buffer, at_hand);
                false
            }
            Rest::Close if room == 0 => !read_behind(io, meter, buffer, 1, watch).await?,
            Rest::Close => {
                let most = room.min(READ.max(into.len())).min(BODY_READ);
                !read_behind(io, meter, into, most, watch).await?
            }
            Rest::Chunked(chunks) => loop {
                let before = into.len();
                let decoded = chunks.decode(buffer, into, room);
                match decoded.map_err(|wire::Fault(reason, detail)| answered(reason, detail))? {
                    Decoded::End(used) => {
                        consume(buffer, used);
                        *trailers = Trailers::of(std::mem::replace(chunks, Box::new(Chunks::new())).into_trailers());
                        break true;
                    }
                    Decoded::More(used) => consume(buffer, used),
                }
                let data = chunks.data_left();
                if into.len() > before || (room == 0 && data > 0) {
                    break false;
                }
                // A chunk's data goes where it is wanted; what stands between chunks is looked at first.
                let most = usize::try_from(data).unwrap_or(usize::MAX).min(room).min(BODY_READ);
                let into = if most > READ { &mut *into } else { &mut *buffer };
                if !read_behind(io, meter, into, most.max(READ), watch).await? {
                    return Err(incomplete());
                }
                if most > READ {
                    chunks.took((into.len() - before) as u64);
                    break false;
                }
            },
        };
        if ended {
            begun.rest = Rest::Nothing;
            self.end(begun.sent_whole && begun.head.keeps);
        }
        Ok(ended)
    }

    /// How much of what comes next may be read by [`Connection::read_into`] into memory of this size; nothing where it has
    /// to be looked at first, or is little.
    pub(crate) fn straight(&self, begun: &Begun, room: usize) -> Option<usize> {
        let left = match &begun.rest {
            _ if !self.buffer.is_empty() => 0,
            Rest::Nothing => 0,
            // The last byte is not read without room for one more (see `read_into`).
            Rest::Length(left) if *left == room as u64 => left.saturating_sub(1),
            Rest::Length(left) => *left,
            Rest::Chunked(chunks) => chunks.data_left(),
            Rest::Close => u64::MAX,
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(room);
        (most >= STRAIGHT).then_some(most)
    }

    /// Reads up to `most` bytes of the body, which [`Connection::straight`] has allowed, into a caller's memory; true at
    /// the body's end.
    pub(crate) async fn read_into(
        &mut self,
        begun: &mut Begun,
        into: &mut ReadBuf<'_>,
        most: usize,
        watch: &mut Watch,
    ) -> Result<bool> {
        let Connection { io, meter, buffer, .. } = self;
        watch.take_breath(meter).await?;
        let before = into.filled().len();
        // What follows the answer is nobody's and must not lie in wait: one byte more than there should be is read.
        let beyond = usize::from(matches!(begun.rest, Rest::Length(left) if left == most as u64));
        let got = poll_fn(|cx| match io.poll_into(cx, into, most + beyond) {
            Poll::Ready(Ok(got)) => Poll::Ready(Ok(got)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(watch.broken(meter, error))),
            Poll::Pending => watch.poll(cx, meter).map(Err),
        })
        .await?;
        let got = match got > most {
            true => {
                buffer.extend_from_slice(&into.filled()[before + most..]);
                into.set_filled(before + most);
                most
            }
            false => got,
        };
        let ended = match &mut begun.rest {
            Rest::Close => got == 0,
            Rest::Nothing => true,
            _ if got == 0 => return Err(answered(Reason::ProtocolIncomplete, "the connection ended inside the body")),
            Rest::Length(left) => {
                *left -= got as u64;
                *left == 0
            }
            Rest::Chunked(chunks) => {
                chunks.took(got as u64);
                false
            }
        };
        if ended {
            begun.rest = Rest::Nothing;
            self.end(begun.sent_whole && begun.head.keeps);
        }
        Ok(ended)
    }

    /// An answer has ended. `is_kept` says that both sides have done their part, so that another exchange may follow.
    fn end(&mut self, is_kept: bool) {
        self.is_clean = is_kept && self.buffer.is_empty();
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        if self.outgoing.capacity() > KEPT_BUFFER {
            self.outgoing = Vec::new();
        }
    }
}

impl Begun {
    /// Whether all of the body has come with the head, is small, and nothing came behind it: so it is with most answers.
    fn is_at_hand(&self, buffer: &[u8], bounds: &Bounds) -> bool {
        let is_all = matches!(self.rest, Rest::Length(length) if length == buffer.len() as u64);
        is_all && buffer.len() <= PACKED_BODY.min(Keeping::most(self.head.status, bounds))
    }

    /// How long the body is, where the far side has said so.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.rest {
            Rest::Nothing => Some(0),
            Rest::Length(left) => Some(left),
            _ => None,
        }
    }
}

fn consume(buffer: &mut Vec<u8>, bytes: usize) {
    if bytes == buffer.len() {
        buffer.clear();
    } else {
        buffer.drain(..bytes);
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
