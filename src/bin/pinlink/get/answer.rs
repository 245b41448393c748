//! How an answer is shown: as curl's `-i` shows it, as JSON, and as a table of times.
//!
//! It owns the names in the JSON, which programs rely on. Times are in microseconds there.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use pinlink::{Error, Headers, Response, Result, Trace};
use serde_json::{Value, json};

use crate::encode::base64;
use crate::exit::Exit;
use crate::output;

/// What became of one URL.
pub(crate) struct Answer<'a> {
    /// The URL as given.
    pub(crate) url: &'a str,
    /// How long init took: trust, pins, look-ups.
    pub(crate) init: Duration,
    /// The answer, or why there is none.
    pub(crate) result: Result<Response>,
}

impl Answer<'_> {
    /// The object for this URL. Every name is there every time; what does not apply is null.
    pub(crate) fn json(&self, exit: Exit, body: Option<&[u8]>) -> Value {
        let response = self.result.as_ref().ok();
        let trace = response.map(Response::trace);
        let error = self.result.as_ref().err();
        let text = body.and_then(|body| std::str::from_utf8(body).ok());
        json!({
            "url": self.url,
            "status": response.map(Response::status),
            "http_version": trace.map(|trace| if trace.is_http2 { "2" } else { "1.1" }),
            "headers": response.map(|response| by_name(response.headers())),
            "trailers": response.map(|response| by_name(response.trailers())),
            "body": text,
            "body_base64": body.filter(|_| text.is_none()).map(base64),
            "body_bytes": response.map(|response| response.body().len()),
            "address": trace.map_or_else(|| error.and_then(Error::address), |trace| trace.address).map(|address| address.to_string()),
            "attempts": trace.map_or_else(|| error.map_or(0, Error::attempts), |trace| trace.attempts),
            "reused": trace.map(|trace| trace.reused),
            "timing": timing(self.init, trace),
            "error": error.map(|error| json!({
                "kind": format!("{:?}", error.kind()),
                "reason": error.reason().as_str(),
                "phase": error.phase().as_str(),
                "delivery": format!("{:?}", error.delivery()),
                "message": error.to_string(),
            })),
            "exit": exit.code(),
        })
    }
}

fn timing(init: Duration, trace: Option<&Trace>) -> Value {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "init_us": us(init),
        "queue_us": trace.map(|trace| us(trace.queue)),
        "connect_us": trace.map(|trace| us(trace.connect)),
        "handshake_us": trace.map(|trace| us(trace.handshake)),
        "wait_us": trace.map(|trace| us(trace.wait)),
        "receive_us": trace.map(|trace| us(trace.receive)),
        "total_us": trace.map(|trace| us(trace.total)),
    })
}

/// Name to values, as curl's `%{header_json}` has it: a name may come more than once.
fn by_name(headers: &Headers) -> BTreeMap<&str, Vec<String>> {
    let mut map = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers.iter() {
        map.entry(name).or_default().push(String::from_utf8_lossy(value).into_owned());
    }
    map
}

/// `404 Not Found`.
pub(crate) fn status(code: u16) -> String {
    match StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason()) {
        Some(reason) => format!("{code} {reason}"),
        None => code.to_string(),
    }
}

/// Status line and headers, ending with the empty line.
pub(crate) fn head(code: u16, headers: &Headers, trace: &Trace) -> Vec<u8> {
    let version = if trace.is_http2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut text = format!("{version} {}\r\n", status(code)).into_bytes();
    for (name, value) in headers.iter() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// What the table of times has of a call.
pub(crate) struct Row<'a> {
    url: &'a str,
    outcome: Result<(u16, Trace), &'a Error>,
}

impl<'a> Row<'a> {
    /// Of a call by its URL: its status and how it went, or why it failed.
    pub(crate) fn new(url: &'a str, outcome: Result<(u16, Trace), &'a Error>) -> Row<'a> {
        Row { url, outcome }
    }
}

impl<'a> From<&'a Answer<'a>> for Row<'a> {
    fn from(answer: &'a Answer<'a>) -> Row<'a> {
        Row::new(answer.url, answer.result.as_ref().map(|response| (response.status(), *response.trace())))
    }
}

/// A line for init, then a row for each URL.
pub(crate) fn timings<'a>(init: Duration, rows: impl IntoIterator<Item = Row<'a>>) -> String {
    let mut table = output::table([
        "url",
        "status",
        "address",
        "attempts",
        "reused",
        "queue",
        "connect",
        "handshake",
        "wait",
        "receive",
        "total",
    ]);
    for Row { url, outcome } in rows {
        let (status, address, attempts) = match &outcome {
            Ok((status, trace)) => (status.to_string(), trace.address, trace.attempts),
            Err(error) => (error.reason().as_str().to_owned(), error.address(), error.attempts()),
        };
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let mut row = vec![url.to_owned(), status, address, attempts.to_string()];
        if let Ok((_, trace)) = outcome {
            row.push(if trace.reused { "yes" } else { "no" }.to_owned());
            let times = [trace.queue, trace.connect, trace.handshake, trace.wait, trace.receive, trace.total];
            row.extend(times.map(milliseconds));
        }
        table.add_row(row);
    }
    format!(
        "init (trust, pins, look-ups): {}; queue includes connect and handshake\n{}",
        milliseconds(init),
        output::text(&table)
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}
