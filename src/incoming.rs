//! An answer that is read while it comes: [`Reader`] for blocking callers, [`AsyncReader`] for async ones.
//!
//! It owns what lies between the connection and the caller: the limit on the size, and going on after a break
//! where that was asked for (RFC 9110 14.2, 13.1.5). A piece is read when the caller asks for it, so a slow
//! caller slows the far side down and nothing piles up here. A body that broke never looks like one that ended.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http::StatusCode;
use tokio::io::{AsyncRead, ReadBuf};

use crate::decode::Decoder;
use crate::drive;
use crate::error::{Delivery, Error, Kind, Phase, Reason, Result};
use crate::exchange::{Core, Flow, Opened};
use crate::request::Request;
use crate::response::{Headers, Trace, Trailers};
use crate::sys::OfThisProcess;

/// What one piece holds at most: so little that it is still in the processor's cache when the caller takes it on, and that
/// the C library has it at hand (from 128 KiB on it maps memory anew). And more than one segment of the loopback interface:
/// a reader that takes one at a time keeps the kernel's receive window small.
const PIECE: usize = 120 * 1024;

/// What was known when the head had come, and the trailers once they have.
struct Known {
    status: StatusCode,
    headers: Headers,
    trailers: Trailers,
    trace: Trace,
}

/// The rest of an answer.
struct Incoming {
    core: Arc<Core>,
    request: Request,
    /// How long the whole body is, where that was announced.
    length: Option<u64>,
    /// What proves that a representation is still the same.
    validator: Option<String>,
    trailers: Trailers,
    /// Undoes the body's content coding.
    decoder: Option<Decoder>,
    /// What has come and was not decoded yet.
    coded: Bytes,
    /// Where the body comes from; nothing once it has ended or broken.
    flow: Option<OfThisProcess<Flow>>,
    broken: Option<Error>,
    taken: u64,
    /// How often it may still be gone on with after a break.
    resumptions: usize,
}

impl Core {
    /// Sends a request and reads the head of its answer.
    async fn incoming(self: Arc<Self>, request: &Request) -> Result<(Known, Incoming)> {
        let Opened { status, mut headers, trace, mut flow } = self.open(request).await?;
        flow.unbind();
        let mut decoder = None;
        if self.config.decode
            && request.takes_codings()
            && let Some(coding) = headers.get("content-encoding")
        {
            decoder = Decoder::of(coding).map_err(|error| error.with_host(request.authority()))?;
            if decoder.is_some() {
                headers = headers.decoded();
            }
        }
        let resumptions = if request.resumes() { self.config.max_attempts - 1 } else { 0 };
        let mut incoming = Incoming {
            core: self,
            request: request.clone(),
            length: flow.length(),
            validator: validator(status, &headers),
            trailers: Trailers::default(),
            decoder,
            coded: Bytes::new(),
            flow: Some(OfThisProcess::new(flow)),
            broken: None,
            taken: 0,
            resumptions,
        };
        // A body that is known to be empty has ended: its connection is free at once.
        if incoming.flow.as_ref().is_some_and(|flow| flow.length() == Some(0)) {
            incoming.next(None).await?;
        }
        let trailers = incoming.trailers.clone();
        Ok((Known { status, headers, trailers, trace }, incoming))
    }

    /// As [`Core::incoming`], for a caller that reads on its own thread.
    pub(crate) fn reader(self: Arc<Self>, request: &Request) -> Result<Reader> {
        let (known, incoming) = drive::block_on_call(self.incoming(request))?;
        Ok(Reader { known, incoming, piece: Bytes::new() })
    }

    /// As [`Core::incoming`], for a caller on an executor.
    pub(crate) async fn async_reader(self: Arc<Self>, request: &Request) -> Result<AsyncReader> {
        let (known, incoming) = self.incoming(request).await?;
        Ok(AsyncReader { known, state: State::Idle(Box::new(incoming)), piece: Bytes::new() })
    }
}

impl Known {
    fn learn(&mut self, incoming: &Incoming) {
        if self.trailers.is_empty() && !incoming.trailers.is_empty() {
            self.trailers = incoming.trailers.clone();
        }
    }
}

impl Incoming {
    /// The next piece, or nothing at the end or where it has gone `straight` into a caller's memory. An error is final, and
    /// comes again when asked again.
    async fn next(&mut self, mut straight: Option<&mut ReadBuf<'_>>) -> Result<Option<Bytes>> {
        loop {
            if let Some(error) = &self.broken {
                return Err(error.clone());
            }
            match self.read_decoded(straight.as_deref_mut()).await {
                Ok(piece) => return Ok(piece),
                Err(error) => {
                    self.flow = None;
                    // First: where the caller is interrupted in what follows, what has come must not look whole.
                    self.broken = Some(error.clone());
                    if self.resumptions > 0 && may_resume(&error) {
                        self.resumptions -= 1;
                        self.broken = self.resume(error).await.err();
                    }
                }
            }
        }
    }

    async fn read_decoded(&mut self, mut straight: Option<&mut ReadBuf<'_>>) -> Result<Option<Bytes>> {
        let mut decoded = Vec::new();
        let piece = loop {
            // Nothing is taken out over a wait: a caller that is interrupted in it may read on.
            let Some(decoder) = &mut self.decoder else {
                let before = straight.as_ref().map_or(0, |into| into.filled().len());
                let piece = self.read(straight.as_deref_mut()).await?;
                self.taken += straight.map_or(0, |into| into.filled().len() - before) as u64;
                break piece;
            };
            let (used, _) = decoder.decode(&self.coded, &mut decoded, PIECE)?;
            self.coded.advance(used);
            if !decoded.is_empty() {
                break Some(Bytes::from(decoded));
            }
            if self.flow.is_none() {
                decoder.finish()?;
                break None;
            }
            // With nothing to show for it all input is used.
            self.coded = self.read(None).await?.unwrap_or_default();
        };
        self.within_limit(piece)
    }

    /// The piece, where the caller takes as much.
    fn within_limit(&mut self, piece: Option<Bytes>) -> Result<Option<Bytes>> {
        self.taken += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        match self.request.max_size().filter(|limit| self.taken > *limit) {
            None => Ok(piece),
            Some(limit) => {
                let detail = format!("the body is over the {limit} bytes of its size limit");
                Err(Error::new(Reason::LimitBody, Phase::Receive, detail).with_delivery(Delivery::Answered))
            }
        }
    }

    async fn read(&mut self, mut straight: Option<&mut ReadBuf<'_>>) -> Result<Option<Bytes>> {
        loop {
            let Some(flow) = &mut self.flow else { return Ok(None) };
            let mut piece = Vec::new();
            let most = straight.as_ref().and_then(|into| flow.straight(into.remaining()));
            let read = match (&mut straight, most) {
                (Some(into), Some(most)) => flow.read_into(into, most).await,
                _ => flow.read_some(&mut piece, PIECE).await,
            };
            let ended = read.map_err(|error| error.with_host(self.request.authority()))?;
            if ended && let Some(flow) = self.flow.take().and_then(OfThisProcess::into_inner) {
                self.trailers = flow.end(Instant::now());
            }
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
            if ended || most.is_some() {
                return Ok(None);
            }
        }
    }

    /// Asks for the rest of a body that broke; `broke` is the error where the target does not give it.
    async fn resume(&mut self, broke: Error) -> Result<()> {
        let Some(validator) = &self.validator else { return Err(broke) };
        let rest = self.request.clone().header("range", format!("bytes={}-", self.taken)).header("if-range", validator);
        tracing::debug!(host = self.request.authority(), from = self.taken, "going on after a break");
        let Opened { status, headers, mut flow, .. } = self.core.open(&rest).await?;
        // Anything but exactly the rest of the same representation would splice two bodies into one, or end too early.
        let range = headers.get("content-range").and_then(|range| std::str::from_utf8(range).ok());
        let goes_on = range.is_some_and(|range| is_rest(range, self.taken, self.length));
        if status != StatusCode::PARTIAL_CONTENT || !goes_on {
            return Err(broke);
        }
        flow.unbind();
        self.flow = Some(OfThisProcess::new(flow));
        Ok(())
    }
}

/// Whether a `Content-Range` (RFC 9110 14.4) is all that follows the first `taken` bytes of a body of this length.
fn is_rest(range: &str, taken: u64, length: Option<u64>) -> bool {
    let parts = range.strip_prefix("bytes ").and_then(|range| {
        let (span, total) = range.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, total.parse::<u64>().ok()?))
    });
    parts.is_some_and(|(first, last, total)| {
        first == taken
            && first <= last
            && last.checked_add(1) == Some(total)
            && length.is_none_or(|length| length == total)
    })
}

/// What proves that the representation is still the same: a strong validator (RFC 9110 13.1.5), or the date of its last
/// change, which the target that announced it must hold to be strong to honour it.
fn validator(status: StatusCode, headers: &Headers) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let tag = text("etag").filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text("last-modified")).map(str::to_owned).filter(|_| status == StatusCode::OK)
}

/// Breaks of the way, not of the content.
fn may_resume(error: &Error) -> bool {
    matches!(error.kind(), Kind::Connect | Kind::Timeout) || error.reason() == Reason::ProtocolIncomplete
}

macro_rules! about_the_answer {
    ($name:ident) => {
        impl $name {
            /// The status code, 200 to 599.
            pub fn status(&self) -> u16 {
                self.known.status.as_u16()
            }

            /// Whether the status is 200 to 299.
            pub fn is_success(&self) -> bool {
                self.known.status.is_success()
            }

            /// The first value of a header, by its case-insensitive name; none where it is absent or not UTF-8.
            pub fn header(&self, name: &str) -> Option<&str> {
                std::str::from_utf8(self.known.headers.get(name)?).ok()
            }

            /// All headers.
            pub fn headers(&self) -> &Headers {
                &self.known.headers
            }

            /// The fields that came behind the body (RFC 9110 6.5): empty before its end.
            pub fn trailers(&self) -> &Headers {
                self.known.trailers.fields()
            }

            /// The length of the whole body in bytes, where the target has announced it.
            pub fn length(&self) -> Option<u64> {
                self.header("content-length")?.parse().ok()
            }

            /// How the call went until the head of its answer had come.
            pub fn trace(&self) -> &Trace {
                &self.known.trace
            }
        }
    };
}

/// An answer whose body is read while it comes: an [`io::Read`], in constant memory.
///
/// It holds its connection until the body has ended or it is dropped; dropped before the end, the connection is closed.
/// From the head on there is no total deadline, but less than `min_progress` within `stall_timeout` is an error. An
/// error of `read` holds the [`Error`] ([`io::Error::get_ref`]); a body that broke off never ends as if it were whole.
pub struct Reader {
    known: Known,
    incoming: Incoming,
    /// What has come and was not asked for yet.
    piece: Bytes,
}

impl Reader {
    /// The next piece, up to 120 KiB, or nothing at the end: what `read` gives, without a copy.
    ///
    /// # Errors
    /// As those of a call, with [`Delivery::Answered`]; [`Reason::ProtocolIncomplete`] where the body broke off,
    /// [`Reason::LimitBody`] where it is over the request's `size_limit`.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.piece.is_empty() {
            return Ok(Some(std::mem::take(&mut self.piece)));
        }
        self.next(None)
    }

    fn next(&mut self, straight: Option<&mut ReadBuf<'_>>) -> Result<Option<Bytes>> {
        let next = drive::block_on_call(self.incoming.next(straight));
        self.known.learn(&self.incoming);
        next
    }

    /// For bindings. The next piece, which comes into the caller's memory where it needs nothing done to it.
    ///
    /// # Errors
    /// As those of [`Reader::chunk`].
    #[doc(hidden)]
    pub fn chunk_into(&mut self, memory: &mut [MaybeUninit<u8>]) -> Result<Piece> {
        if !self.piece.is_empty() {
            return Ok(Piece::Apart(std::mem::take(&mut self.piece)));
        }
        let mut into = ReadBuf::uninit(memory);
        Ok(match self.next(Some(&mut into))? {
            Some(piece) => Piece::Apart(piece),
            None => Piece::Here(into.filled().len()),
        })
    }
}

/// For bindings. Where the next piece of an answer lies.
#[doc(hidden)]
#[derive(Debug)]
pub enum Piece {
    /// So many bytes are at the beginning of the caller's memory; none at the end of the body.
    Here(usize),
    /// In memory of its own.
    Apart(Bytes),
}

about_the_answer!(Reader);

impl io::Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !into.is_empty() {
            let mut memory = ReadBuf::new(into);
            match self.next(Some(&mut memory)).map_err(into_io)? {
                Some(piece) => self.piece = piece,
                None => return Ok(memory.filled().len()),
            }
        }
        let size = into.len().min(self.piece.len());
        self.piece.split_to(size).copy_to_slice(&mut into[..size]);
        Ok(size)
    }
}

/// An answer whose body is read while it comes: a [`Stream`] of pieces and an [`AsyncRead`], in constant memory.
///
/// As [`Reader`] otherwise.
pub struct AsyncReader {
    known: Known,
    state: State,
    piece: Bytes,
}

/// A read under way, which holds what it reads from.
type Read = Pin<Box<dyn Future<Output = (Box<Incoming>, Result<Option<Bytes>>)> + Send>>;

enum State {
    Idle(Box<Incoming>),
    Reading(Read),
    /// Between the two, for the length of one function.
    Moving,
}

impl AsyncReader {
    /// The next piece, up to 120 KiB, or nothing at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Reader::chunk`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if !self.piece.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.piece))));
        }
        if let State::Idle(_) = self.state
            && let State::Idle(mut incoming) = std::mem::replace(&mut self.state, State::Moving)
        {
            self.state = State::Reading(Box::pin(async move {
                let next = incoming.next(None).await;
                (incoming, next)
            }));
        }
        // Taken out: a read that panics must not be polled again.
        let State::Reading(mut reading) = std::mem::replace(&mut self.state, State::Moving) else {
            let panicked = Error::new(Reason::Internal, Phase::Receive, "a read panicked");
            return Poll::Ready(Err(panicked.with_delivery(Delivery::Answered)));
        };
        let Poll::Ready((incoming, next)) = reading.as_mut().poll(cx) else {
            self.state = State::Reading(reading);
            return Poll::Pending;
        };
        self.known.learn(&incoming);
        self.state = State::Idle(incoming);
        Poll::Ready(next)
    }
}

about_the_answer!(AsyncReader);

impl Stream for AsyncReader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_piece(cx).map(Result::transpose)
    }
}

impl AsyncRead for AsyncReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.piece.is_empty() && into.remaining() > 0 {
            self.piece = ready!(self.poll_piece(cx)).map_err(into_io)?.unwrap_or_default();
        }
        let size = into.remaining().min(self.piece.len());
        into.put_slice(&self.piece.split_to(size));
        Poll::Ready(Ok(()))
    }
}

/// The error as readers know it; the whole one is inside.
fn into_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        Kind::Timeout => io::ErrorKind::TimedOut,
        Kind::Connect => io::ErrorKind::ConnectionReset,
        _ if error.reason() == Reason::ProtocolIncomplete => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

macro_rules! debug_without_content {
    ($($name:ident),+) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("status", &self.status()).finish_non_exhaustive()
            }
        })+
    };
}

debug_without_content!(Reader, AsyncReader);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_rest_of_the_same_body_goes_on_with_it() {
        assert!(is_rest("bytes 400-999/1000", 400, Some(1000)));
        assert!(is_rest("bytes 400-999/1000", 400, None));
        for other in [
            "bytes 400-699/1000",
            "bytes 400-399/400",
            "bytes 399-999/1000",
            "bytes 400-999/2000",
            "bytes 400-1999/2000",
            "bytes 400-999/*",
            "bytes */1000",
            "items 400-999/1000",
            "bytes 400-18446744073709551615/0",
            "",
        ] {
            assert!(!is_rest(other, 400, Some(1000)), "{other}");
        }
    }
}
