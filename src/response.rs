//! What comes back: [`Response`], its packed [`Headers`], and the [`Trace`] of how the call went.
//!
//! It owns how an answer is kept: in one block of its own size. No I/O, no clock.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use crate::error::{Delivery, Error, Phase, Reason, Result};

/// Bodies up to this size share one allocation with the headers, so that a kept answer holds what it needs and not the
/// buffer it was read into.
pub(crate) const PACKED_BODY: usize = 16 * 1024;

/// The header fields of an answer, in the order in which they came, packed into one block of memory: cheap to make, to
/// keep, to drop and to hand to another language.
#[derive(Clone, Default)]
pub struct Headers {
    packed: Bytes,
    fields: Box<[Field]>,
}

/// Where a field stands in the block.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// A header section is at most `max_headers`, far below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn new(start: usize, length: usize) -> Span {
        Span { start: start as u32, length: length as u32 }
    }

    fn of(self, block: &[u8]) -> &[u8] {
        &block[self.start as usize..(self.start + self.length) as usize]
    }
}

/// [`Headers`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    block: Vec<u8>,
    fields: Vec<Field>,
}

impl Packing {
    /// For so many fields, which take so many bytes on the wire.
    pub(crate) fn new(fields: usize, bytes: usize) -> Packing {
        Packing { block: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// The same for the head of an answer as it came: one copy of all of it, in which [`Packing::note`] marks the fields.
    pub(crate) fn of_head(head: &[u8], fields: usize, room: usize) -> Packing {
        let mut packing = Packing::new(fields, head.len() + room);
        packing.block.extend_from_slice(head);
        packing
    }

    // Eight fields in most answers: a call for each costs as much as the work.
    #[inline(always)]
    pub(crate) fn note(&mut self, name: Range<usize>, value: Range<usize>) {
        lowercase(&mut self.block[name.clone()]);
        self.fields.push(Field { name: Span::new(name.start, name.len()), value: Span::new(value.start, value.len()) });
    }

    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.block.len();
        self.block.extend_from_slice(name.as_bytes());
        self.block.extend_from_slice(value);
        let middle = start + name.len();
        self.note(start..middle, middle..middle + value.len());
    }

    /// The same for a name that is in lower case.
    pub(crate) fn push_lowered(&mut self, name: &str, value: &[u8]) {
        let start = self.block.len();
        self.block.extend_from_slice(name.as_bytes());
        let middle = self.block.len();
        self.block.extend_from_slice(value);
        self.fields.push(Field { name: Span::new(start, name.len()), value: Span::new(middle, value.len()) });
    }

    /// Where a small body can be read to at once, behind the fields.
    pub(crate) fn block(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    /// Done: the fields, and what was read behind `size` bytes of them.
    pub(crate) fn finish_at(self, size: usize) -> (Headers, Bytes) {
        let packed = Bytes::from(self.block);
        let body = packed.slice(size..);
        (Headers { packed, fields: self.fields.into() }, body)
    }

    /// Done: the fields, and the body, behind them in the same block where it is small.
    pub(crate) fn finish(self, body: Vec<u8>) -> (Headers, Bytes) {
        match body.len() {
            ..=PACKED_BODY => self.finish_with(&body),
            _ => (self.finish_with(&[]).0, Bytes::from(body)),
        }
    }

    /// The same with a body that is copied.
    pub(crate) fn finish_with(mut self, body: &[u8]) -> (Headers, Bytes) {
        let size = self.block.len();
        self.block.extend_from_slice(body);
        self.finish_at(size)
    }
}

/// As `make_ascii_lowercase`, eight bytes at a time: names are too short for anything wider.
fn lowercase(name: &mut [u8]) {
    name.as_chunks_mut().0.iter_mut().for_each(lowercase_eight);
    match name.last_chunk_mut() {
        // Some of them for the second time, which changes nothing.
        Some(last) => lowercase_eight(last),
        None => name.make_ascii_lowercase(),
    }
}

fn lowercase_eight(chunk: &mut [u8; 8]) {
    const EACH: u64 = u64::MAX / 255;
    let bytes = u64::from_ne_bytes(*chunk);
    let low = bytes & (0x7f * EACH);
    // The highest bit of each byte says: at least `A`, above `Z`.
    let (from_a, above_z) = (low + 0x3f * EACH, low + 0x25 * EACH);
    let is_upper = (from_a ^ above_z) & !bytes & (0x80 * EACH);
    *chunk = (bytes | (is_upper >> 2)).to_ne_bytes();
}

impl Headers {
    fn at(&self, field: &Field) -> (&str, &[u8]) {
        (std::str::from_utf8(field.name.of(&self.packed)).unwrap_or_default(), field.value.of(&self.packed))
    }

    /// The same without the fields that told of a body's coding, which has been undone.
    pub(crate) fn decoded(&self) -> Headers {
        let told = |name: &str| matches!(name, "content-encoding" | "content-length");
        let kept: Vec<_> = self.iter().filter(|(name, _)| !told(name)).collect();
        let mut packing = Packing::new(kept.len(), self.packed.len());
        kept.into_iter().for_each(|(name, value)| packing.push(name, value));
        packing.finish(Vec::new()).0
    }

    /// The first value of a field, by its case-insensitive name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields: the name in lower case, and the value as it came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| self.at(field))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Debug for Headers {
    /// The names only: values may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// The fields behind a body: few answers have any, so they take no room in the others.
#[derive(Clone, Default)]
pub(crate) struct Trailers(Option<Box<Headers>>);

impl Trailers {
    pub(crate) fn of(fields: Headers) -> Trailers {
        Trailers((!fields.is_empty()).then(|| Box::new(fields)))
    }

    pub(crate) fn fields(&self) -> &Headers {
        static NONE: LazyLock<Headers> = LazyLock::new(Headers::default);
        self.0.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// An answer, read to its end.
#[derive(Clone)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) trailers: Trailers,
    pub(crate) is_cut: bool,
    pub(crate) trace: Trace,
}

/// How a call went: what it used and how long each phase took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Trace {
    /// The address that answered.
    pub address: Option<SocketAddr>,
    /// How many times the request was tried, the successful time included.
    pub attempts: u32,
    /// Whether the connection had served another request before.
    pub reused: bool,
    /// Whether it was HTTP/2.
    pub is_http2: bool,
    /// Whether nothing of the request's body had left when the answer came.
    pub(crate) is_without_body: bool,
    /// Whether the answer came before the request was out.
    pub(crate) is_early: bool,
    /// Whether an earlier try of the same write may have had its effect.
    pub(crate) is_doubtful: bool,
    /// From the call to the lease of a connection, dialling included.
    pub queue: Duration,
    /// Making the TCP connection; zero on a reused one.
    pub connect: Duration,
    /// The TLS handshake; zero on a reused or plain one.
    pub handshake: Duration,
    /// From the lease to the head of the answer.
    pub wait: Duration,
    /// From the head to the end of the answer.
    pub receive: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Response {
    /// The status code, 200 to 599.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The first value of a header, by its case-insensitive name; none where it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The fields that came behind the body (RFC 9110 6.5).
    pub fn trailers(&self) -> &Headers {
        self.trailers.fields()
    }

    /// Whether the body goes on beyond what was kept of it: only that of a status of 400 or more is ever cut
    /// (`max_error_body`).
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The body without a copy, consuming the answer.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Reason::ProtocolUnexpected`] where it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Error::new(
                Reason::ProtocolUnexpected,
                Phase::Receive,
                format!("the body is not UTF-8 from byte {}", error.valid_up_to()),
            )
            .with_delivery(Delivery::Answered)
        })
    }

    /// How the call went.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

impl Trace {
    /// Sets the times of a try, whose queue has been noted.
    pub(crate) fn note(&mut self, leased_at: Instant, head_at: Instant, ended_at: Instant, begun: Instant) {
        self.wait = head_at.duration_since(leased_at);
        self.receive = ended_at.duration_since(head_at);
        self.total = ended_at.duration_since(begun);
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("trace", &self.trace)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_headers_are_what_came_and_a_small_body_lies_behind_them() {
        let packing = || {
            let mut packing = Packing::new(3, 100);
            packing.push("X-A", b"1");
            packing.push("x-a", b"2");
            packing.push("x-b", b"");
            packing
        };
        let (headers, body) = packing().finish(b"body".to_vec());
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [("x-a", &b"1"[..]), ("x-a", b"2"), ("x-b", b"")]);
        assert_eq!((headers.get("X-A"), headers.get("x-c"), &body[..]), (Some(&b"1"[..]), None, &b"body"[..]));
        let upper: Vec<u8> = (0..=255).collect();
        for length in [0, 7, 8, 9, 64, 256] {
            let mut lower = upper[..length].to_vec();
            lowercase(&mut lower);
            assert_eq!(lower, upper[..length].to_ascii_lowercase());
        }
        let large = vec![7; PACKED_BODY + 1];
        let at = large.as_ptr();
        assert_eq!(packing().finish(large).1.as_ptr(), at);
    }
}
