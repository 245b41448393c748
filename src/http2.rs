//! HTTP/2 (RFC 9113): one connection that carries many exchanges at once, and one exchange on it.
//!
//! It owns the task that drives a connection on the process's runtime, the count of its streams, and the
//! translation of what goes wrong into reason, phase and `Delivery`: GOAWAY beyond a stream and REFUSED_STREAM
//! say that nothing was processed. Frames, HPACK and flow control are h2's. It never retries and never chooses.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use h2::client::{Connection as Driver, ResponseFuture, SendRequest};
use h2::{Ping, RecvStream, SendStream};
use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Parts;
use crate::drive::Alarm;
use crate::error::{Error, Phase, Reason, Result};
use crate::flood::Flood;
use crate::process;
use crate::request::{OwnFields, Request};
use crate::response::{Headers, PACKED_BODY, Packing, Trailers};
use crate::stream::{Io, Meter};
use crate::tls;
use crate::upload::{UNREADABLE, Upload};
use crate::watch::{Bounds, Keeping, Watch};
use crate::wire::Fault;

/// What one stream may have on the way to us before it is read: constant memory for a slow reader, and 5 MiB/s over
/// 50 ms.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What a stream may have on the way from us.
const SEND_BUFFER: usize = 256 * 1024;
/// How much more h2 takes of a header section than is allowed, so that an answer slightly too great has its own name.
const HEADER_SLACK: usize = 16 * 1024;
/// Each field counts for so much more than its bytes (RFC 9113 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// A head that h2 refuses after a block of this size was too great; a smaller one was malformed.
const GREAT_BLOCK: usize = 8 * 1024;
/// Data below this size is small for h2, which allows a connection only so much of it.
const SMALL_DATA: u64 = 256;
/// A connection is not used again after so many streams of small data were given up.
const MAX_GIVEN_UP: usize = 64;
/// Reads of what a far side said before it took no more.
const LAST_READS: usize = 16;
/// Streams we gave up whose late frames are still recognised; more than a storm of cancellations leaves behind.
const REMEMBERED_RESETS: usize = 1024;
/// What h2 takes for the streams that a far side allows before it has said how many.
const STREAMS_AT_FIRST: usize = 1;
/// So many alarms are kept for the next streams, 128 bytes each: a timer costs more to make and to take back than to move.
const MAX_ALARMS: usize = 128;

/// One live connection.
pub(crate) struct Channel {
    /// Gone once no further stream may begin: the connection ends when its last stream has.
    handle: Mutex<Option<SendRequest<Bytes>>>,
    pub(crate) address: SocketAddr,
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) retires: Instant,
    max_streams: usize,
    active: AtomicUsize,
    /// Streams that have begun on it.
    uses: AtomicU64,
    /// Streams that have ended since somebody else wanted its place.
    turns: AtomicUsize,
    idle_since: Mutex<Instant>,
    shared: Arc<Shared>,
}

/// What a channel, its streams and the task behind it tell each other.
#[derive(Default)]
struct Shared {
    /// Nothing can begin on it any more.
    has_ended: AtomicBool,
    /// Nothing shall begin on it any more.
    is_retired: AtomicBool,
    /// The far side has said something (its first frame is SETTINGS, RFC 9113 3.4).
    was_heard: AtomicBool,
    /// What it said of how many streams it takes is known.
    is_settled: AtomicBool,
    /// How many that are.
    takes: AtomicUsize,
    /// Alarms of streams that have ended, for those to come.
    alarms: Mutex<Vec<Alarm>>,
    /// Why, where it was neither of the two sides' wish.
    fault: OnceLock<(Reason, &'static str)>,
    /// Requests that went out on it.
    opened: AtomicU64,
    /// The greatest header block so far, in bytes on the wire.
    largest_block: AtomicUsize,
    /// Requests that were answered on it.
    answers: AtomicU64,
    /// Streams given up whose data came in small pieces: h2 holds the pieces still to come against the connection.
    given_up: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How a connection is kept alive and bounded.
#[derive(Clone, Copy)]
pub(crate) struct Care {
    pub(crate) keep_alive: Duration,
    pub(crate) stall: Duration,
    pub(crate) max_headers: usize,
    pub(crate) max_streams: usize,
}

impl Channel {
    /// Begins to speak HTTP/2 over a connection just made. `changed` is told when more streams may fit, or none any more.
    pub(crate) async fn begin(
        parts: Parts,
        care: Care,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Result<Arc<Channel>> {
        let Parts { io, meter, address, connect, handshake, max_age, live, place, .. } = parts;
        let shared = Arc::new(Shared { takes: AtomicUsize::new(STREAMS_AT_FIRST), ..Shared::default() });
        let flood = Flood::new(care.max_headers);
        let guarded = Guarded { io, flood, opened: 0, shared: Arc::clone(&shared) };
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // What is above `max_headers` by less is told from what is malformed by looking at it.
            .max_header_list_size(u32::try_from(care.max_headers + HEADER_SLACK).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS_AT_FIRST)
            .max_concurrent_reset_streams(REMEMBERED_RESETS);
        let (handle, driver) = builder.handshake(guarded).await.map_err(|error| {
            let detail = "HTTP/2 could not be begun";
            Error::new(Reason::ConnectReset, Phase::Handshake, detail).with_address(address).with_source(error)
        })?;
        let now = Instant::now();
        let channel = Arc::new(Channel {
            handle: Mutex::new(Some(handle)),
            address,
            connect,
            handshake,
            retires: now + max_age,
            max_streams: care.max_streams,
            active: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            turns: AtomicUsize::new(0),
            idle_since: Mutex::new(now),
            shared: Arc::clone(&shared),
        });
        let driven = process::spawn(async move {
            drive(driver, care, &meter, &shared, &changed).await;
            // Only now: the socket is closed.
            drop((live, place));
            shared.has_ended.store(true, Ordering::SeqCst);
            changed();
        })?;
        driven.detach();
        Ok(channel)
    }

    /// How many more streams may begin now.
    pub(crate) fn room(&self) -> usize {
        if self.shared.has_ended.load(Ordering::SeqCst) || self.shared.is_retired.load(Ordering::SeqCst) {
            return 0;
        }
        let most = self.shared.takes.load(Ordering::SeqCst).min(self.max_streams);
        most.saturating_sub(self.active.load(Ordering::SeqCst))
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Whether it is known how many streams it takes.
    pub(crate) fn is_settled(&self) -> bool {
        self.shared.is_settled.load(Ordering::SeqCst)
    }

    pub(crate) fn has_ended(&self) -> bool {
        if self.shared.given_up.load(Ordering::Relaxed) > MAX_GIVEN_UP {
            self.retire();
        }
        self.shared.has_ended.load(Ordering::SeqCst) || self.shared.is_retired.load(Ordering::SeqCst)
    }

    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.active() == 0).then(|| *locked(&self.idle_since))
    }

    /// How many requests have been answered on it. Where one that never was of use fails, another one may do so too; where
    /// others are answered, one that is not says little about the connection.
    pub(crate) fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Relaxed)
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Sends the head of a request on a stream of its own. Where none can begin any more: what has ended the connection, or
    /// nothing where we have.
    fn send(
        &self,
        head: http::Request<()>,
        is_whole: bool,
    ) -> std::result::Result<(ResponseFuture, SendStream<Bytes>), Option<h2::Error>> {
        let mut handle = locked(&self.handle);
        let handle = handle.as_mut().ok_or(None)?;
        let sent = handle.send_request(head, is_whole)?;
        // One handle serves all streams: a clone for each costs five locks. Where the last stream has to wait for its turn,
        // h2 refuses another one through the same handle, and takes it through a clone.
        if handle.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            *handle = handle.clone();
        }
        Ok(sent)
    }

    /// Lets no further stream begin; the connection is closed when its last one has ended.
    pub(crate) fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::SeqCst);
        drop(locked(&self.handle).take());
    }

    /// One more stream has ended while somebody else wanted the connection's place. Whether that was enough of them.
    pub(crate) fn has_had_its_turns(&self, most: usize) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1 >= most
    }

    /// Counts one stream more. Whoever calls it has seen that there is room, and holds the lock that everybody does.
    pub(crate) fn enter(&self) {
        self.active.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one stream less. The last one says since when there is none.
    pub(crate) fn leave(&self) {
        let is_last = self.active.load(Ordering::SeqCst) == 1;
        if is_last {
            // First: nobody may find it idle since an earlier time.
            *locked(&self.idle_since) = Instant::now();
        }
        if self.active.fetch_sub(1, Ordering::SeqCst) == 1 && !is_last {
            *locked(&self.idle_since) = Instant::now();
        }
    }
}

/// Polls the connection until it ends, and asks a silent far side whether it still lives (RFC 9113 6.7).
async fn drive(
    mut driver: Driver<Guarded, Bytes>,
    care: Care,
    meter: &Meter,
    shared: &Shared,
    changed: &(impl Fn() + Sync),
) {
    let mut ping_pong = driver.ping_pong();
    let mut known = (false, 0);
    let mut alarm = Alarm::default();
    let (mut seen, mut seen_at, mut asked_at) = (0, Instant::now(), None::<Instant>);
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut driver).poll(cx) {
                Poll::Ready(Ok(())) => {
                    // The last frame says goodbye.
                    meter.keep_unsent();
                    return Poll::Ready(());
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection ended");
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
            let now = Instant::now();
            let knows = (shared.was_heard.load(Ordering::Relaxed), driver.max_concurrent_send_streams());
            if knows != known {
                known = knows;
                // In this order: one that is settled is taken at its word.
                shared.takes.store(knows.1, Ordering::SeqCst);
                shared.is_settled.store(knows.0, Ordering::SeqCst);
                changed();
            }
            let received = meter.received.load(Ordering::Relaxed);
            if received != seen {
                (seen, seen_at, asked_at) = (received, now, None);
            }
            let Some(ping_pong) = &mut ping_pong else { return Poll::Pending };
            let _ = ping_pong.poll_pong(cx);
            let due = match asked_at {
                None => seen_at + care.keep_alive,
                Some(asked_at) => asked_at + care.stall,
            };
            if alarm.poll(cx, due).is_pending() {
                return Poll::Pending;
            }
            if asked_at.is_some() {
                // The first fault is the one that counts.
                let _ = shared.fault.set((Reason::TimeoutStalled, "the connection is dead: a PING was not answered"));
                return Poll::Ready(());
            }
            asked_at = Some(now);
            // It fails only where one is under way, which is as good.
            let _ = ping_pong.send_ping(Ping::opaque());
        }
    })
    .await;
}

/// The connection under h2, watched for floods.
struct Guarded {
    io: Io,
    flood: Flood,
    /// Requests that the watch knows of.
    opened: u64,
    shared: Arc<Shared>,
}

impl Guarded {
    /// What h2 hands on to its streams has lost what is inside.
    fn note(&self, error: &io::Error) {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            // The first fault is the one that counts.
            let _ = self.shared.fault.set(tls::session_reason(error));
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        match &written {
            Ok(sent) => self.flood.sent(*sent as u64),
            Err(_) => self.note_last_words(cx),
        }
        Poll::Ready(written)
    }

    /// The far side takes no more: what it said before that is worth more than that it did so.
    fn note_last_words(&mut self, cx: &mut Context<'_>) {
        let mut waste = [0; 1024];
        for _ in 0..LAST_READS {
            let mut buffer = ReadBuf::new(&mut waste);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.note(&error),
                _ => return,
            }
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, into)) {
            self.note(&error);
            return Poll::Ready(Err(error));
        }
        let Guarded { flood, opened, shared, .. } = &mut *self;
        shared.was_heard.store(true, Ordering::Relaxed);
        let now_opened = shared.opened.load(Ordering::Relaxed);
        flood.opened(now_opened - *opened);
        *opened = now_opened;
        let seen = flood.see(&into.filled()[before..], Instant::now());
        shared.largest_block.store(flood.largest_block(), Ordering::Relaxed);
        if let Err(Fault(reason, detail)) = seen {
            // The first fault is the one that counts.
            let _ = shared.fault.set((reason, detail));
            return Poll::Ready(Err(io::Error::other(detail)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// An answer whose head has come, and where the reading of its body stands. Dropping it resets the stream.
pub(crate) struct Exchange {
    pub(crate) status: StatusCode,
    /// Its fields, and room for a small body behind them.
    head: Packing,
    pub(crate) trailers: Trailers,
    pub(crate) head_at: Instant,
    /// Whether it came before the request was out.
    pub(crate) is_early: bool,
    body: RecvStream,
    /// What has come and was not taken yet.
    piece: Bytes,
    has_ended: bool,
    /// Whether any of it had to be waited for: else it ended when its head came.
    pub(crate) has_waited: bool,
    length: Option<u64>,
    /// Pieces that have come.
    pieces: u64,
    line: Line,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let received = self.line.meter.received.load(Ordering::Relaxed);
        if !self.has_ended && self.pieces > 0 && received / self.pieces < SMALL_DATA {
            self.line.shared.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One stream's progress, and what its failures mean at each point.
struct Line {
    watch: Watch,
    meter: Meter,
    shared: Arc<Shared>,
    is_answered: bool,
}

impl Line {
    fn new(channel: &Channel, bounds: &Bounds, now: Instant) -> Line {
        let (meter, shared) = (Meter::default(), Arc::clone(&channel.shared));
        let alarm = locked(&shared.alarms).pop().unwrap_or_default();
        let watch = Watch::new(bounds, &meter, now).with_alarm(alarm);
        Line { watch, meter, shared, is_answered: false }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(alarm) = self.watch.take_alarm() else { return };
        let mut alarms = locked(&self.shared.alarms);
        if alarms.len() < MAX_ALARMS {
            alarms.push(alarm);
        }
    }
}

/// A body on its way out.
struct Sending {
    stream: SendStream<Bytes>,
    upload: Upload,
    piece: Bytes,
    trailers: HeaderMap,
}

impl Exchange {
    /// Sends one request on a stream of its own and waits for the head of its answer.
    pub(crate) async fn begin(
        channel: &Channel,
        request: &Request,
        own: &OwnFields,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<Exchange> {
        let mut line = Line::new(channel, bounds, now);
        channel.uses.fetch_add(1, Ordering::Relaxed);
        let has_body = request.content().length() != Some(0) || request.is_chunked();
        line.watch.expect_body(if has_body { u64::MAX } else { 0 });
        let sent = channel.send(request.http2_head(own), !has_body);
        let (mut response, stream) = sent.map_err(|ended| line.came_too_late(ended.as_ref()))?;
        // From here on in doubt it has left: h2 does not tell when.
        line.meter.sent.store(1, Ordering::Relaxed);
        line.shared.opened.fetch_add(1, Ordering::Relaxed);
        let mut sending = match has_body {
            true => {
                // Only now: what can be read once is still at hand where the connection has ended before.
                let upload = Upload::begin(request.content()).ok_or_else(|| {
                    line.watch.failed(&line.meter, Reason::CanceledBody, "the body was read by an earlier try")
                })?;
                Some(Sending { stream, upload, piece: Bytes::new(), trailers: request.http2_trailers() })
            }
            false => None,
        };
        let mut interim = 0;
        // Nothing can have come by the first look, and without a body to read it is as good as at the time of the lease.
        let mut first = Some(now);
        let answer = poll_fn(|cx| {
            if first.is_none()
                && let Some(too_many) = line.poll_interim(cx, &mut response, &mut interim, bounds.max_interim)
            {
                return Poll::Ready(Err(too_many));
            }
            // What the far side says comes first: it may want no more of the body.
            match Pin::new(&mut response).poll(cx) {
                Poll::Ready(answer) => return Poll::Ready(answer.map_err(|error| line.broke(&error))),
                Poll::Pending => {}
            }
            if let Some(body) = &mut sending {
                match body.poll(cx, &mut line) {
                    Poll::Ready(Ok(())) => {
                        sending = None;
                        line.watch.expect_body(0);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            let looked_at = first.take().filter(|_| !has_body);
            line.watch.poll_at(cx, &line.meter, looked_at.unwrap_or_else(Instant::now)).map(Err)
        })
        .await?;
        line.is_answered = true;
        let is_early = sending.is_some();
        line.shared.answers.fetch_add(1, Ordering::Relaxed);
        line.watch.answered();
        let head_at = Instant::now();
        let (head, body) = answer.into_parts();
        let (size, length) = measured(&head.headers);
        if head.headers.len() > bounds.max_header_count
            || size + head.headers.len() * FIELD_OVERHEAD > bounds.max_headers
        {
            let detail = "the answer's header section is over its limit";
            return Err(line.watch.failed(&line.meter, Reason::LimitHeaders, detail));
        }
        let has_ended = body.is_end_stream();
        let length = if has_ended { Some(0) } else { length };
        // As much as reading a body of that length reserves.
        let room = length.filter(|length| *length <= PACKED_BODY as u64).map_or(0, |length| length as usize + 1);
        let fields = packed(&head.headers, size + room);
        let (trailers, piece) = (Trailers::default(), Bytes::new());
        Ok(Exchange {
            status: head.status,
            head: fields,
            trailers,
            head_at,
            is_early,
            body,
            piece,
            has_ended,
            has_waited: false,
            length,
            pieces: 0,
            line,
        })
    }

    /// As [`Connection::read_some`](crate::connection::Connection::read_some).
    pub(crate) async fn read_some(&mut self, into: &mut Vec<u8>, room: usize) -> Result<bool> {
        let Exchange { body, piece, has_ended, has_waited, line, trailers, pieces, .. } = self;
        while piece.is_empty() && !*has_ended {
            *piece = poll_fn(|cx| match body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => Poll::Ready(Ok(data)),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(line.broke(&error))),
                Poll::Ready(None) => {
                    *has_ended = true;
                    Poll::Ready(Ok(Bytes::new()))
                }
                Poll::Pending => {
                    *has_waited = true;
                    line.watch.poll(cx, &line.meter).map(Err)
                }
            })
            .await?;
            line.meter.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
            *pieces += 1;
        }
        if *has_ended && piece.is_empty() {
            let fields = poll_fn(|cx| match body.poll_trailers(cx) {
                Poll::Ready(fields) => Poll::Ready(fields.map_err(|error| line.broke(&error))),
                Poll::Pending => {
                    *has_waited = true;
                    line.watch.poll(cx, &line.meter).map(Err)
                }
            })
            .await?;
            if let Some(fields) = fields {
                *trailers = Trailers::of(packed(&fields, measured(&fields).0).finish(Vec::new()).0);
            }
            return Ok(true);
        }
        let size = piece.len().min(room);
        into.extend_from_slice(&piece[..size]);
        piece.advance(size);
        // It fails only for more than was received.
        let _ = body.flow_control().release_capacity(size);
        // Its end has come along, and no trailers have.
        *has_ended |= piece.is_empty() && body.is_end_stream();
        Ok(*has_ended && piece.is_empty())
    }

    /// Reads the body to its end: the answer's fields, its body, and whether that is cut. Of a failure's body no more than
    /// a part is kept.
    pub(crate) async fn read_whole(&mut self, bounds: &Bounds) -> Result<(Headers, Bytes, bool)> {
        let mut head = std::mem::take(&mut self.head);
        if self.length.is_some_and(|length| length <= PACKED_BODY as u64) {
            let size = head.block().len();
            let is_cut = self.read_behind(head.block(), bounds).await?;
            let (headers, body) = head.finish_at(size);
            return Ok((headers, body, is_cut));
        }
        let mut body = Vec::new();
        let is_cut = self.read_behind(&mut body, bounds).await?;
        let (headers, body) = head.finish(body);
        Ok((headers, body, is_cut))
    }

    /// Appends the body; true where it was longer than what is kept of it.
    async fn read_behind(&mut self, into: &mut Vec<u8>, bounds: &Bounds) -> Result<bool> {
        let start = into.len();
        let keeping = Keeping::new(self.status, self.length, bounds, into)?;
        loop {
            let before = into.len();
            let ended = self.read_some(into, keeping.most - (before - start)).await?;
            if let Some(is_cut) = keeping.judge(ended, into.len() - before)? {
                return Ok(is_cut);
            }
        }
    }

    /// The fields of an answer whose body is read otherwise.
    pub(crate) fn take_headers(&mut self) -> Headers {
        std::mem::take(&mut self.head).finish(Vec::new()).0
    }

    /// Whoever reads the body takes the time that it takes: from here on only the far side's pauses are bounded.
    pub(crate) fn unbind(&mut self) {
        self.line.watch.unbind(self.head_at);
    }

    /// The reader is back: what it did in between was not the far side's doing.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.line.watch.begin_window(&self.line.meter, now);
    }

    /// How long the body is, where the far side has said so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Line {
    /// Takes the interim answers that have come; an error where they are too many.
    fn poll_interim(
        &self,
        cx: &mut Context<'_>,
        response: &mut ResponseFuture,
        interim: &mut usize,
        most: usize,
    ) -> Option<Error> {
        loop {
            match response.poll_informational(cx) {
                Poll::Ready(Some(Ok(_))) => *interim += 1,
                Poll::Ready(Some(Err(error))) => return Some(self.broke(&error)),
                Poll::Ready(None) | Poll::Pending => return None,
            }
            if *interim > most {
                let detail = format!("{interim} interim answers came before the answer");
                return Some(self.watch.failed(&self.meter, Reason::LimitInterim, detail));
            }
        }
    }

    /// What it means that the connection had ended before the request could be sent.
    fn came_too_late(&self, ended: Option<&h2::Error>) -> Error {
        match ended {
            // A far side that doesn't speak HTTP/2 says so before it is asked anything, and a new connection meets with the same.
            Some(error) if error.is_library() || self.shared.fault.get().is_some() => self.broke(error),
            _ => self.watch.failed(&self.meter, Reason::ConnectGoAway, "the HTTP/2 connection has just ended"),
        }
    }

    /// What it means that a stream has failed.
    fn broke(&self, error: &h2::Error) -> Error {
        let code = error.reason();
        // RFC 9113 6.8 and 8.7: only these two say that nothing was processed.
        let (reason, detail) = if error.is_remote() && error.is_go_away() && !self.is_answered {
            self.meter.sent.store(0, Ordering::Relaxed);
            (Reason::ConnectGoAway, "the far side closes the connection and has not processed the request".to_owned())
        } else if error.is_remote() && code == Some(h2::Reason::REFUSED_STREAM) && !self.is_answered {
            self.meter.sent.store(0, Ordering::Relaxed);
            (Reason::ConnectStreamRefused, "the far side refused the stream and has not processed it".to_owned())
        } else if let Some((Reason::TlsClientAuth, detail)) = self.shared.fault.get()
            && self.shared.answers.load(Ordering::Relaxed) == 0
        {
            // In TLS 1.3 it comes after the handshake, and before anything that was sent is looked at (RFC 8446 4.4.2.4).
            return Error::new(Reason::TlsClientAuth, Phase::Handshake, *detail);
        } else if let Some((reason, detail)) = self.shared.fault.get() {
            (*reason, (*detail).to_owned())
        } else if error.is_library() && code == Some(h2::Reason::ENHANCE_YOUR_CALM) {
            (Reason::LimitFlood, "frames come that carry next to nothing".to_owned())
        } else if error.is_library() && error.is_reset() && !self.is_answered {
            match self.shared.largest_block.load(Ordering::Relaxed) {
                GREAT_BLOCK.. => (Reason::LimitHeaders, "the answer's header section is over its limit".to_owned()),
                _ => (Reason::ProtocolHead, "the answer's head is malformed".to_owned()),
            }
        } else if error.is_library() {
            (Reason::ProtocolHttp2, "the far side broke the HTTP/2 protocol".to_owned())
        } else if self.is_answered {
            (Reason::ProtocolIncomplete, "the stream ended inside the body".to_owned())
        } else if let Some(code) = code {
            (Reason::ConnectReset, format!("the far side ended the stream with {code:?}"))
        } else {
            (Reason::ConnectClosed, "the connection was closed before an answer came".to_owned())
        };
        self.watch.failed(&self.meter, reason, detail)
    }
}

impl Sending {
    fn poll(&mut self, cx: &mut Context<'_>, line: &mut Line) -> Poll<Result<()>> {
        loop {
            if self.piece.is_empty() && !self.upload.has_ended() {
                match self.upload.poll_piece(cx) {
                    Poll::Ready(Ok(piece)) => self.piece = piece,
                    Poll::Ready(Err(error)) => {
                        let failed = line.watch.failed(&line.meter, Reason::CanceledBody, UNREADABLE);
                        return Poll::Ready(Err(failed.with_source(error)));
                    }
                    Poll::Pending => {
                        // The source is slow, not the far side.
                        line.watch.begin_window(&line.meter, Instant::now());
                        return Poll::Pending;
                    }
                }
            }
            if self.piece.is_empty() {
                let ended = match self.trailers.is_empty() {
                    true => self.stream.send_data(Bytes::new(), true),
                    false => self.stream.send_trailers(std::mem::take(&mut self.trailers)),
                };
                // Where it fails the stream has ended, and what is waited for tells why: a reset may come at any moment, and
                // only the answer's side knows which.
                drop(ended);
                return Poll::Ready(Ok(()));
            }
            self.stream.reserve_capacity(self.piece.len());
            let capacity = match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(capacity)) => capacity,
                // As above: the far side wants no more.
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            };
            let size = capacity.min(self.piece.len());
            let part = self.piece.split_to(size);
            line.meter.sent.fetch_add(size as u64, Ordering::Relaxed);
            if self.stream.send_data(part, false).is_err() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// How many bytes fields have, and the length of the body that they announce.
fn measured(fields: &HeaderMap) -> (usize, Option<u64>) {
    let (mut size, mut length) = (0, None);
    for (name, value) in fields {
        size += name.as_str().len() + value.len();
        if *name == header::CONTENT_LENGTH && length.is_none() {
            length = value.to_str().ok().and_then(|text| text.parse().ok());
        }
    }
    (size, length)
}

/// The fields in one block with room for so many bytes.
fn packed(fields: &HeaderMap, room: usize) -> Packing {
    let mut packing = Packing::new(fields.len(), room);
    fields.iter().for_each(|(name, value)| packing.push_lowered(name.as_str(), value.as_bytes()));
    packing
}
