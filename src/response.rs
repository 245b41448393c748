//! What comes back: [`Response`], its packed [`Headers`], and the [`Trace`] of how the call went.
//!
//! It owns how an answer is kept: in one block of its own size. No I/O, no clock.

use std::fmt;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use crate::error::{Delivery, Error, Phase, Reason, Result};

/// Bodies up to this size share one allocation with the headers, so that a kept answer holds what it needs and not the
/// buffer it was read into.
const PACKED_BODY: usize = 16 * 1024;

/// The header fields of an answer, in the order in which they came, packed into one block of memory: cheap to make, to
/// keep, to drop and to hand to another language.
#[derive(Clone, Default)]
pub struct Headers {
    packed: Bytes,
    fields: Box<[Field]>,
}

/// Where a field stands in the block: its name from `start`, its value right behind.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    name: u32,
    value: u32,
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

    // Eight fields in most answers: a call for each costs as much as the copying.
    #[inline(always)]
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.block.len();
        self.block.extend_from_slice(name.as_bytes());
        self.block[start..].make_ascii_lowercase();
        self.block.extend_from_slice(value);
        // A header section is at most `max_headers`, far below 4 GiB.
        self.fields.push(Field { start: start as u32, name: name.len() as u32, value: value.len() as u32 });
    }

    /// Done: the fields, and the body, behind them in the same block where it is small.
    pub(crate) fn finish(mut self, body: Vec<u8>) -> (Headers, Bytes) {
        let size = self.block.len();
        let is_small = body.len() <= PACKED_BODY;
        if is_small {
            self.block.extend_from_slice(&body);
        }
        let packed = Bytes::from(self.block);
        let body = if is_small { packed.slice(size..) } else { Bytes::from(body) };
        (Headers { packed, fields: self.fields.into() }, body)
    }
}

impl Headers {
    fn at(&self, field: &Field) -> (&str, &[u8]) {
        let (start, name, value) = (field.start as usize, field.name as usize, field.value as usize);
        let text = std::str::from_utf8(&self.packed[start..start + name]).unwrap_or_default();
        (text, &self.packed[start + name..start + name + value])
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
        let large = vec![7; PACKED_BODY + 1];
        let at = large.as_ptr();
        assert_eq!(packing().finish(large).1.as_ptr(), at);
    }
}
