//! One live connection: socket, TLS session and hyper's HTTP/1.1 state machine, and one exchange on it.
//!
//! It owns the translation of what goes wrong into reason, phase and `Delivery`, which rests on the bytes
//! that the stream has counted, and the limits that hyper leaves to us. Whoever polls it drives it. It
//! never retries and never chooses.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;

use crate::config::KEEP_ALIVE_MARGIN;
use crate::drive::{self, Alarm};
use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::limit::Place;
use crate::message::Headers;
use crate::stream::{Io, Meter};

/// The number of header fields that hyper takes where it is told none.
const HYPER_MAX_HEADERS: usize = 100;
/// The most that is reserved because a peer says it will send as much.
const TRUSTED_LENGTH: u64 = 1 << 20;

/// A connection that can carry one exchange at a time.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None once it has ended.
    state: Option<http1::Connection<Io, Full<Bytes>>>,
    meter: Arc<Meter>,
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

/// What a new connection is made of.
pub(crate) struct Parts {
    pub(crate) io: Io,
    pub(crate) meter: Arc<Meter>,
    pub(crate) address: SocketAddr,
    pub(crate) connect: Duration,
    pub(crate) handshake: Duration,
    pub(crate) max_idle: Duration,
    pub(crate) max_age: Duration,
    pub(crate) max_headers: usize,
    pub(crate) max_header_count: usize,
    pub(crate) live: Live,
    pub(crate) place: Place<Box<Connection>>,
}

/// The limits of one exchange.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
    pub(crate) stall: Duration,
    pub(crate) max_interim: usize,
    pub(crate) max_body: usize,
}

/// An answer as it came, read to its end.
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) head_at: Instant,
}

impl Connection {
    /// Makes hyper's state machine over a socket that is already off the reactor. Nothing is sent.
    pub(crate) async fn new(parts: Parts) -> Result<Connection> {
        let mut builder = http1::Builder::new();
        builder.max_header_size(parts.max_headers);
        if parts.max_header_count != HYPER_MAX_HEADERS {
            // Saying hyper's own number would cost each answer 6 KiB of copying: it then fills its tables at run time.
            builder.max_headers(parts.max_header_count);
        }
        let (sender, state) = builder.handshake(parts.io).await.map_err(|error| {
            Error::new(Reason::Internal, Phase::Connect, "no HTTP state could be made").with_source(error)
        })?;
        let now = Instant::now();
        Ok(Connection {
            sender,
            state: Some(state),
            meter: parts.meter,
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
        })
    }

    /// Moves bytes. Whether something went wrong is told by the answer or the body, which hyper lets know.
    fn progress(&mut self, cx: &mut Context<'_>) {
        if let Some(state) = &mut self.state
            && Pin::new(state).poll(cx).is_ready()
        {
            self.state = None;
        }
    }

    /// Sends one request and reads its answer to the end; `probe` looks first whether the far side has closed. After an
    /// error the connection must not be used again.
    pub(crate) async fn exchange(
        &mut self,
        mut message: http::Request<Full<Bytes>>,
        bounds: &Bounds,
        now: Instant,
        probe: bool,
    ) -> Result<Answer> {
        self.uses += 1;
        if probe {
            drive::look_again();
        }
        self.meter.interim.store(0, Relaxed);
        let meter = Arc::clone(&self.meter);
        let max_interim = bounds.max_interim;
        hyper::ext::on_informational(&mut message, move |_| {
            if meter.interim.fetch_add(1, Relaxed) >= max_interim {
                meter.tripped.store(true, Relaxed);
            }
        });
        let mut watch = Watch::new(bounds, &self.meter, now, message.body().size_hint().exact().unwrap_or(0));
        let response = {
            let mut answer = pin!(self.sender.send_request(message));
            poll_fn(|cx| {
                self.progress(cx);
                match answer.as_mut().poll(cx) {
                    Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(self.head_failure(error, &watch))),
                    Poll::Pending => watch.poll(cx, &self.meter, false).map(Err),
                }
            })
            .await?
        };
        if self.meter.tripped.load(Relaxed) {
            // The answer itself was in the buffer behind them.
            return Err(self.too_many_interim(Delivery::Answered));
        }
        let head_at = Instant::now();
        let (head, body) = response.into_parts();
        if head.headers.contains_key(CONTENT_LENGTH) && head.headers.contains_key(TRANSFER_ENCODING) {
            // RFC 9112 6.3: what one side takes for the end the other takes for the next answer.
            return Err(answered(Reason::ProtocolFraming, "the answer has Content-Length and Transfer-Encoding"));
        }
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(answered(Reason::ProtocolUnexpected, "the answer switches protocols, which nobody asked for"));
        }
        if let Some(announced) = announced_idle(&head.headers) {
            self.max_idle = self.max_idle.min(announced);
        }
        let body = self.read_body(body, bounds, &mut watch).await?;
        let (headers, body) = Headers::pack(&head.headers, body);
        Ok(Answer { status: head.status, headers, body, head_at })
    }

    async fn read_body(&mut self, mut body: Incoming, bounds: &Bounds, watch: &mut Watch) -> Result<Bytes> {
        let over = || answered(Reason::LimitBody, format!("the body is over {} bytes", bounds.max_body));
        let promised = body.size_hint().exact();
        if promised.is_some_and(|length| length > bounds.max_body as u64) {
            return Err(over());
        }
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        loop {
            let frame = poll_fn(|cx| {
                // Mostly it came with the head, so it is asked for before the connection is.
                let mut polled = Pin::new(&mut body).poll_frame(cx);
                if polled.is_pending() {
                    self.progress(cx);
                    polled = Pin::new(&mut body).poll_frame(cx);
                }
                match polled {
                    Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(|error| body_failure(&error))),
                    Poll::Pending => watch.poll(cx, &self.meter, true).map(Err),
                }
            })
            .await?;
            let Some(frame) = frame else { break };
            // Trailers are no part of a buffered answer.
            let Ok(data) = frame.into_data() else { continue };
            let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
            if so_far + data.len() > bounds.max_body {
                return Err(over());
            }
            match &mut rest {
                None if first.is_empty() => first = data,
                None => {
                    let expected = promised
                        .unwrap_or(0)
                        .clamp((so_far + data.len()) as u64, TRUSTED_LENGTH.max(so_far as u64 + data.len() as u64));
                    let mut all = BytesMut::with_capacity(expected as usize);
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&data);
                    rest = Some(all);
                }
                Some(all) => all.extend_from_slice(&data),
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }

    /// Whether another exchange may follow: the last one has ended cleanly and nothing came after it.
    pub(crate) fn is_reusable(&mut self) -> bool {
        // What hyper has read beyond the answer shows up when it looks at its buffer again; no system call. Nobody waits
        // for an idle connection, so it is left with nobody's waker: the next request then wakes nobody in vain.
        self.progress(&mut Context::from_waker(Waker::noop()));
        self.state.is_some() && self.sender.is_ready()
    }

    fn too_many_interim(&self, delivery: Delivery) -> Error {
        let count = self.meter.interim.load(Relaxed);
        let detail = format!("{count} interim answers came before the answer");
        Error::new(Reason::LimitInterim, Phase::Wait, detail).with_delivery(delivery)
    }

    fn head_failure(&self, error: hyper::Error, watch: &Watch) -> Error {
        let sent = self.meter.sent.load(Relaxed) != watch.sent_before;
        let received = self.meter.received.load(Relaxed) != watch.received_before;
        let delivery = if sent { Delivery::Unknown } else { Delivery::NotSent };
        let phase = if sent { Phase::Wait } else { Phase::Send };
        if self.meter.tripped.load(Relaxed) {
            return self.too_many_interim(delivery);
        }
        let io = io_source(&error);
        let (reason, detail) = if error.is_parse_too_large() {
            (Reason::LimitHeaders, "the answer's header section is over its limit")
        } else if error.is_parse() {
            (Reason::ProtocolHead, "the answer's head is malformed")
        } else if error.is_incomplete_message() && received {
            (Reason::ProtocolIncomplete, "the connection ended inside the answer's head")
        } else if io.is_some_and(is_tls) {
            (Reason::TlsAlert, "the TLS session was ended by an alert or a broken record")
        } else if let Some(io) = io {
            match io.kind() {
                std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::ConnectionAborted => (Reason::ConnectReset, "the connection was reset"),
                std::io::ErrorKind::UnexpectedEof => (Reason::ConnectClosed, "the connection was closed"),
                std::io::ErrorKind::TimedOut => (Reason::TimeoutStalled, "the peer does not acknowledge what was sent"),
                _ => (Reason::ConnectIo, "the connection failed"),
            }
        } else {
            (Reason::ConnectClosed, "the connection was closed before an answer came")
        };
        Error::new(reason, phase, detail).with_delivery(delivery).with_source(error)
    }
}

fn answered(reason: Reason, detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(reason, Phase::Receive, detail).with_delivery(Delivery::Answered)
}

fn io_source(error: &hyper::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Whether rustls said so. A missing close_notify is none of it: tokio-rustls makes that an end inside the message.
fn is_tls(io: &std::io::Error) -> bool {
    io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// How long the far side says that it keeps an idle connection (`Keep-Alive: timeout=`), less a margin for the way.
fn announced_idle(headers: &http::HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse::<u32>().ok())?
    })?;
    let announced = Duration::from_secs(seconds.into());
    Some(announced - (announced / 2).min(KEEP_ALIVE_MARGIN))
}

fn body_failure(error: &hyper::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let (reason, detail) = match io_source(error) {
        Some(io) if is_tls(io) => (Reason::TlsAlert, "the TLS session was ended by an alert or a broken record"),
        Some(io) if matches!(io.kind(), InvalidInput | InvalidData) => {
            (Reason::ProtocolChunk, "the body's chunked coding is malformed")
        }
        _ => (Reason::ProtocolIncomplete, "the connection ended inside the body"),
    };
    answered(reason, detail)
}

/// The deadline of an exchange and the watch over its progress.
struct Watch {
    deadline: Instant,
    timeout: Duration,
    stall: Duration,
    moved: u64,
    moved_at: Instant,
    sent_before: u64,
    /// The length of the request's body: while fewer bytes than that are out, it is still being sent.
    body: u64,
    received_before: u64,
    alarm: Alarm,
}

impl Watch {
    fn new(bounds: &Bounds, meter: &Meter, now: Instant, body: u64) -> Watch {
        Watch {
            deadline: bounds.deadline,
            timeout: bounds.timeout,
            stall: bounds.stall,
            moved: meter.moved(),
            moved_at: now,
            sent_before: meter.sent.load(Relaxed),
            body,
            received_before: meter.received.load(Relaxed),
            alarm: Alarm::default(),
        }
    }

    /// Ready with an error when the call's time is over or nothing has moved for too long.
    fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter, answered: bool) -> Poll<Error> {
        let moved = meter.moved();
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = Instant::now();
        }
        let stalls = self.moved_at + self.stall;
        if self.alarm.poll(cx, stalls.min(self.deadline)).is_pending() {
            return Poll::Pending;
        }
        let sent = meter.sent.load(Relaxed) - self.sent_before;
        let (phase, delivery) = match sent {
            _ if answered => (Phase::Receive, Delivery::Answered),
            0 => (Phase::Send, Delivery::NotSent),
            some if some <= self.body => (Phase::Send, Delivery::Unknown),
            _ => (Phase::Wait, Delivery::Unknown),
        };
        let error = if self.deadline <= stalls {
            Error::new(Reason::TimeoutTotal, phase, "the call's time is over").with_budget("timeout", self.timeout)
        } else {
            Error::new(Reason::TimeoutStalled, phase, "no byte moved").with_budget("stall_timeout", self.stall)
        };
        Poll::Ready(error.with_delivery(delivery))
    }
}
