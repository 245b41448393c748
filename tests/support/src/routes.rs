//! What the origins answer: one function from request to response that knows neither the connection nor its protocol.
//!
//! Owns: the table of paths, and the simple ones among them (`/echo`, `/bytes/{n}`, `/chunked/{n}`, `/delay/{ms}`,
//! `/stream/{chunks}/{bytes}/{interval_ms}`, `/status/{code}`, `/close-early/{n}`, `/rows/{id}`). `/encoded` and
//! `/bomb` are the business of `coding`, the rest that of `exchange`. Writes go to the sink: `/sink`, `/stripe`, `/token`
//! (`dialect`), `/oss` (`objects`), `/es` (`index`) and `/ots` (`table`).
//! Time: tokio's clock, for delays and streams. Randomness: none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;

use crate::content::{Content, Made, answer, hash, pattern};
use crate::counts::{Book, Link, host, lock};
use crate::dialect::{Dialect, Keyed};
use crate::index::{Bulk, Creation};
use crate::objects::ObjectPut;
use crate::sink::Sink;
use crate::table::RowPut;
use crate::{coding, exchange, index, objects, table};

/// The largest `/stream` frame.
const LARGEST_FRAME: usize = 1 << 20;

/// Why a request gets no answer: the connection is dropped instead.
#[derive(Debug)]
pub(crate) struct Died;

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin closes without an answer, as asked")
    }
}

impl std::error::Error for Died {}

/// The service behind every HTTP and HTTPS origin.
pub(crate) struct Routes {
    book: Arc<Book>,
    sink: Arc<Sink>,
    /// How often each `/status/…?times=n` has answered.
    answered: Mutex<HashMap<String, u64>>,
    /// Requests in flight at each `/busy/…`.
    busy: Mutex<HashMap<String, u64>>,
}

/// The value of a query parameter, percent-decoded.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

impl Routes {
    pub(crate) fn new(book: Arc<Book>, sink: Arc<Sink>) -> Self {
        Routes { book, sink, answered: Mutex::default(), busy: Mutex::default() }
    }

    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        link: Arc<Link>,
    ) -> Result<Response<Content>, Died> {
        let (mut parts, body) = request.into_parts();
        // The log keeps the parts; what hyper hid in them should not live as long.
        parts.extensions.clear();
        let parts = Arc::new(parts);
        self.book.request(&parts, &link);
        let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        let response = match path.as_slice() {
            ["echo"] => Some(echo(&parts, body, &link).await?),
            ["bytes", n] => number(n).map(|n| Response::new(Content::Made(Made::new(n)))),
            ["chunked", n] => number(n).map(|n| Response::new(Content::Made(Made { sized: false, ..Made::new(n) }))),
            ["close-early", n] => number(n).map(close_early),
            ["delay", ms] => match number(ms) {
                Some(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Some(answer(StatusCode::OK, &json!({"delay-ms": ms})))
                }
                None => None,
            },
            ["stream", chunks, bytes, interval] => stream(chunks, bytes, interval),
            ["status", code] => self.status(&parts, code),
            ["redirect", status] => exchange::redirect(&parts, status),
            ["redirects", hops] => match number(hops) {
                Some(0) => Some(row(&parts, "end")),
                Some(hops) => Some(exchange::hop(hops)),
                None => None,
            },
            ["range", n] => number(n).and_then(|n| exchange::range(&parts, n)),
            ["upload"] => Some(exchange::upload(&parts, body).await?),
            ["trailers", n] => number(n).map(exchange::trailed),
            ["empty", code] => exchange::empty(&parts, code),
            ["encoded", coding, n] => number(n).and_then(|n| coding::encoded(&parts, coding, n)),
            ["bomb", coding, mib] => number(mib).and_then(|mib| coding::bomb(coding, mib)),
            ["busy", limit, ms] => match (number(limit), number(ms)) {
                (Some(limit), Some(ms)) => Some(exchange::busy(&self.busy, &parts, limit, ms).await),
                _ => None,
            },
            ["rows", id] => Some(row(&parts, id)),
            [store @ ("sink" | "stripe" | "token" | "oss" | "es" | "ots"), rest @ ..] => {
                self.stored(&parts, store, rest, body, &link).await?
            }
            _ => None,
        };
        let response = response.unwrap_or_else(|| answer(StatusCode::NOT_FOUND, &json!({"error": "no such path"})));
        Ok(exchange::without_body(&parts, response))
    }

    fn status(&self, parts: &Parts, code: &str) -> Option<Response<Content>> {
        let code = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        let code = code.filter(|code| !code.is_informational())?;
        let query = parts.uri.query();
        if let Some(times) = parameter(query, "times").as_deref().and_then(number) {
            let mut answered = lock(&self.answered);
            let count = answered.entry(parts.uri.to_string()).or_default();
            *count += 1;
            if *count > times {
                return Some(answer(StatusCode::OK, &json!({"status": 200, "attempt": *count})));
            }
        }
        let mut response = answer(code, &json!({"status": code.as_u16()}));
        if let Some(after) = parameter(query, "retry_after").and_then(|after| HeaderValue::try_from(after).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        Some(response)
    }

    /// Everything that is written, and what can be read of it.
    async fn stored(
        &self,
        parts: &Parts,
        store: &str,
        path: &[&str],
        body: Incoming,
        link: &Link,
    ) -> Result<Option<Response<Content>>, Died> {
        let sink = &self.sink;
        let keyed = |dialect, record| Keyed::new(dialect, parts, record);
        let response = match (store, path, parts.method.as_str()) {
            ("sink", [record], "POST" | "PUT") => {
                sink.carry_out(keyed(Dialect::Draft, record), parts, body, link).await?
            }
            ("stripe", [record], "POST" | "PUT") => {
                sink.carry_out(keyed(Dialect::Stripe, record), parts, body, link).await?
            }
            ("token", [record], "POST" | "PUT") => {
                sink.carry_out(keyed(Dialect::Token, record), parts, body, link).await?
            }
            ("sink" | "stripe" | "token", [_], _) => not_allowed("POST, PUT"),
            ("oss", [_, _, ..], "PUT") => {
                sink.carry_out(ObjectPut::new(parts, path.join("/")), parts, body, link).await?
            }
            ("oss", [_, _, ..], "GET" | "HEAD") => objects::read(sink, &path.join("/")),
            ("oss", [_, _, ..], "DELETE") => objects::delete(sink, &path.join("/")),
            ("oss", [_, _, ..], _) => not_allowed("GET, HEAD, PUT, DELETE"),
            ("es", ["_bulk"], "POST" | "PUT") => sink.carry_out(Bulk::new(None), parts, body, link).await?,
            ("es", [index, "_bulk"], "POST" | "PUT") => {
                sink.carry_out(Bulk::new(Some(index)), parts, body, link).await?
            }
            ("es", [index, "_create", id], "POST" | "PUT") => {
                sink.carry_out(Creation::new(index, id), parts, body, link).await?
            }
            ("es", [.., "_bulk"] | [_, "_create", _], _) => not_allowed("POST, PUT"),
            ("es", [index, "_source", id], "GET" | "HEAD") => index::source(sink, index, id),
            ("ots", ["PutRow"], "POST") => match RowPut::new(parts) {
                Some(put) => sink.carry_out(put, parts, body, link).await?,
                None => table::refused(StatusCode::BAD_REQUEST, "OTSParameterInvalid", "x-box-row is missing."),
            },
            ("ots", ["PutRow"], _) => match parameter(parts.uri.query(), "get") {
                Some(row) => table::read(sink, &row),
                None => not_allowed("POST"),
            },
            _ => return Ok(None),
        };
        Ok(Some(response))
    }
}

fn not_allowed(methods: &'static str) -> Response<Content> {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": methods}));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

async fn echo(parts: &Parts, body: Incoming, link: &Link) -> Result<Response<Content>, Died> {
    let body = body.collect().await.map_err(|_| Died)?.to_bytes();
    let fields = parts.headers.iter();
    let fields: Vec<_> =
        fields.map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])).collect();
    Ok(answer(
        StatusCode::OK,
        &json!({
            "method": parts.method.as_str(),
            "path": parts.uri.path(),
            "query": parts.uri.query(),
            "host": host(parts),
            "sni": link.sni,
            "client_certificate": link.client,
            "resumed": link.resumed,
            "protocol": format!("{:?}", parts.version),
            "headers": fields,
            "body": String::from_utf8_lossy(&body),
            "body_bytes": body.len(),
        }),
    ))
}

/// Promises twice as much as it sends, at least one byte more.
fn close_early(n: u64) -> Response<Content> {
    let mut response = Response::new(Content::Made(Made { sized: false, breaks: true, ..Made::new(n) }));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(2 * n + 1));
    response
}

fn stream(chunks: &str, bytes: &str, interval: &str) -> Option<Response<Content>> {
    let frame = number(bytes).map(|bytes| bytes as usize).filter(|bytes| (1..=LARGEST_FRAME).contains(bytes))?;
    let interval = Duration::from_millis(number(interval)?);
    let pattern = pattern(frame);
    let left = number(chunks)?.checked_mul(frame as u64)?;
    let tick = (!interval.is_zero()).then(|| tokio::time::interval(interval));
    Some(Response::new(Content::Made(Made { pattern, left, frame, sized: false, tick, ..Made::new(0) })))
}

fn row(parts: &Parts, id: &str) -> Response<Content> {
    let hash = hash(id.as_bytes());
    let tag = format!("\"{hash}\"");
    let known = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|have| have.as_bytes() == tag.as_bytes());
    let mut response = if known {
        let mut response = Response::new(Content::Whole(Full::default()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer(StatusCode::OK, &json!({"id": id, "hash": hash}))
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
