//! The paths that try out how a message is exchanged: redirects, ranges, uploads, trailers, answers without a body, and
//! a place that is too busy.
//!
//! Owns: `/redirect/{status}?to=`, `/redirects/{n}`, `/range/{n}?etag=&weak=1`, `/upload`, `/trailers/{n}`,
//! `/empty/{code}?length=` and `/busy/{limit}/{ms}?retry_after=&status=`. Holds no body in memory.
//! Time: tokio's clock, for how long a busy place is busy. Randomness: none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use ring::digest::{self, SHA256};
use serde_json::json;

use crate::content::{Content, Made, answer, hash};
use crate::counts::lock;
use crate::routes::{Died, number, parameter};

/// What `/empty` says about the body it does not send.
const UNSENT: u64 = 5;

fn status(code: &str) -> Option<StatusCode> {
    let code = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    code.filter(|code| !code.is_informational())
}

fn with(mut response: Response<Content>, name: HeaderName, value: impl AsRef<[u8]>) -> Response<Content> {
    if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Any status, and the `Location` exactly as asked for; without `to`, none.
pub(crate) fn redirect(parts: &Parts, code: &str) -> Option<Response<Content>> {
    let response = answer(status(code)?, &json!({"redirect": code}));
    Some(match parameter(parts.uri.query(), "to") {
        Some(to) => with(response, header::LOCATION, to),
        None => response,
    })
}

/// One of the hops that end at `/rows/end`; the location is relative.
pub(crate) fn hop(hops: u64) -> Response<Content> {
    let to = if hops > 1 { format!("../redirects/{}", hops - 1) } else { "../rows/end".to_owned() };
    with(answer(StatusCode::FOUND, &json!({"hops": hops})), header::LOCATION, to)
}

/// The bytes of `/bytes/{n}`, or the part that a `Range` of one part asks for while its `If-Range` still holds.
pub(crate) fn range(parts: &Parts, length: u64) -> Option<Response<Content>> {
    let query = parts.uri.query();
    let tag = parameter(query, "etag").unwrap_or_else(|| hash(&length.to_be_bytes()));
    let weak = parameter(query, "weak").is_some_and(|weak| weak == "1");
    let tag = format!("{}\"{tag}\"", if weak { "W/" } else { "" });
    let field = |name: HeaderName| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    // A weak tag never matches: two bodies that mean the same need not have the same bytes.
    let holds = field(header::IF_RANGE).is_none_or(|have| !weak && have.trim() == tag);
    let asked = field(header::RANGE).filter(|_| holds && parts.method == Method::GET);
    let part = asked.and_then(|range| part(&range, length));
    let mut response = match part {
        None => Response::new(Content::Made(Made::new(length))),
        Some(None) => {
            let response = answer(StatusCode::RANGE_NOT_SATISFIABLE, &json!({"length": length}));
            with(response, header::CONTENT_RANGE, format!("bytes */{length}"))
        }
        Some(Some((first, last))) => {
            let mut response = Response::new(Content::Made(Made::from(first, last - first + 1)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            with(response, header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"))
        }
    };
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Some(with(response, header::ETAG, tag))
}

/// First and last byte of `bytes=a-`, `bytes=a-b` or `bytes=-n`; the inner `None` when the body has no such bytes. What
/// cannot be understood is ignored, as RFC 9110 has it.
fn part(range: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let part = match (first, last) {
        ("", last) => (length.saturating_sub(number(last)?), length.checked_sub(1)),
        (first, "") => (number(first)?, length.checked_sub(1)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first, length.checked_sub(1).map(|end| last.min(end)))
        }
    };
    Some(part.1.filter(|last| part.0 <= *last).map(|last| (part.0, last)))
}

/// Reads a body as it comes and tells what came: how much, its hash, how it was framed, and its trailers.
pub(crate) async fn upload(parts: &Parts, mut body: Incoming) -> Result<Response<Content>, Died> {
    let (mut bytes, mut hash, mut trailers) = (0, digest::Context::new(&SHA256), BTreeMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Died)?;
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            hash.update(data);
        } else if let Some(fields) = frame.trailers_ref() {
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            trailers.extend(fields.iter().map(|(name, value)| (name.to_string(), text(value))));
        }
    }
    let framing = match parts.version {
        Version::HTTP_2 => "h2",
        _ if parts.headers.contains_key(header::TRANSFER_ENCODING) => "chunked",
        _ if parts.headers.contains_key(header::CONTENT_LENGTH) => "length",
        _ => "none",
    };
    let told = json!({"bytes": bytes, "sha256": hex(hash.finish().as_ref()), "framing": framing, "trailers": trailers});
    Ok(answer(StatusCode::OK, &told))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes, then `x-checksum` (SHA-256 of them) and `x-rows` (how many). hyper sends trailers over HTTP/1.1 only
/// to a client that said `TE: trailers`; the scripted peer answers this path with trailers in any case.
pub(crate) fn trailed(length: u64) -> Response<Content> {
    let mut trailers = HeaderMap::new();
    if let Ok(checksum) = HeaderValue::try_from(checksum(length)) {
        trailers.insert("x-checksum", checksum);
    }
    trailers.insert("x-rows", HeaderValue::from(length));
    let made = Made { sized: false, trailers: Some(trailers), ..Made::new(length) };
    with(Response::new(Content::Made(made)), header::TRAILER, "x-checksum, x-rows")
}

/// The SHA-256 of the bytes of `/bytes/{length}`.
pub(crate) fn checksum(length: u64) -> String {
    let (mut hash, frame) = (digest::Context::new(&SHA256), crate::content::frame());
    let mut left = length as usize;
    while left > 0 {
        let now = left.min(frame.len());
        hash.update(&frame[..now]);
        left -= now;
    }
    hex(hash.finish().as_ref())
}

/// An answer without a body, and with the length of the body that was not sent wherever HTTP allows to tell it.
pub(crate) fn empty(parts: &Parts, code: &str) -> Option<Response<Content>> {
    let code = status(code)?;
    let unsent = parameter(parts.uri.query(), "length").as_deref().and_then(number).unwrap_or(UNSENT);
    let told = code != StatusCode::NO_CONTENT && (parts.method == Method::HEAD || code == StatusCode::NOT_MODIFIED);
    let body = if told { Content::Made(Made::new(unsent)) } else { Content::Whole(Full::default()) };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    if told {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(unsent));
    }
    Some(response)
}

/// Over HTTP/2 hyper sends whatever body it is given; over HTTP/1 it knows which answers have none.
pub(crate) fn without_body(parts: &Parts, mut response: Response<Content>) -> Response<Content> {
    let silent = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if parts.version != Version::HTTP_2 || !(silent || parts.method == Method::HEAD) {
        return response;
    }
    let length = response.body().size_hint().exact().filter(|_| response.status() != StatusCode::NO_CONTENT);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    *response.body_mut() = Content::Whole(Full::default());
    response
}

/// Gives its place back when its request has been answered, or its client has gone.
struct Place<'a> {
    busy: &'a Mutex<HashMap<String, u64>>,
    path: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(count) = lock(self.busy).get_mut(self.path) {
            *count -= 1;
        }
    }
}

/// Holds every request for so long, and turns away those that find `limit` others at the same path.
pub(crate) async fn busy(busy: &Mutex<HashMap<String, u64>>, parts: &Parts, limit: u64, ms: u64) -> Response<Content> {
    let path = parts.uri.path();
    let count = {
        let mut busy = lock(busy);
        let count = busy.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    };
    let place = Place { busy, path };
    let query = parts.uri.query();
    if count > limit {
        drop(place);
        let code = parameter(query, "status").as_deref().and_then(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let after = parameter(query, "retry_after").unwrap_or_else(|| "0".to_owned());
        return with(answer(code, &json!({"limit": limit})), header::RETRY_AFTER, after);
    }
    tokio::time::sleep(Duration::from_millis(ms)).await;
    answer(StatusCode::OK, &json!({"in-flight": count, "limit": limit}))
}
