//! The sink: it records every write by record and key, and takes each from its head to its answer.
//!
//! Owns: what was attempted and what was applied, the course that all writes have in common ([`Sink::carry_out`]), and
//! what happens to their connections when they meet a fault. What a write is done to, and what its answers look like,
//! is the business of its [`Target`]: keys (`dialect`), objects, documents (`index`) or rows (`table`).
//! A write in progress goes on when its client hangs up, as a real server's would.
//! Time: tokio's clock, for slow writes. Randomness: none.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::content::{Content, answer, hash};
use crate::counts::{Link, lock};
use crate::dialect::Keys;
use crate::routes::{Died, number, parameter};
use crate::shelf::Shelf;
use crate::switch::Faults;
use crate::trouble::{Moment, Trouble};

/// The key of a write that says itself under which condition it is done.
pub(crate) const CONDITION: &str = "*";

/// What the sink knows about one record under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Write {
    /// The record: of `/sink/{record}` and its dialects, `bucket/object`, `index/id`, or the row's name.
    pub record: String,
    /// The key, without quotes; `*` for conditional writes; `None` for all writes to this record that had none.
    pub key: Option<String>,
    /// Requests whose head arrived; in a bulk, items that arrived.
    pub attempts: u64,
    /// Effects: how often a write was really applied.
    pub applied: u64,
    /// The hashes of the distinct bodies that arrived whole.
    pub bodies: Vec<String>,
}

/// A record and a key.
pub(crate) type Place = (String, Option<String>);

/// What a write is done to.
pub(crate) trait Target: Send + Sync + 'static {
    /// Where the write is recorded; the record is also what faults are injected for.
    fn place(&self) -> Place;

    /// The head has come.
    fn attempted(&self, sink: &Sink) {
        sink.attempted(&self.place());
    }

    /// The whole body has come, whatever becomes of it.
    fn arrived(&self, sink: &Sink, body: &Bytes) {
        sink.arrived(&self.place(), hash(body));
    }

    /// Starts the write, or gives the answer when there is nothing to do.
    fn begin(&self, _sink: &Sink, _body: &Bytes) -> Option<Response<Content>> {
        None
    }

    /// Does it, all at once. What has been begun is either applied or failed for good.
    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome;

    /// Keeps a 500 as the answer to what has been begun, where answers are kept.
    fn fail(&self, _sink: &Sink, _body: &Bytes) -> Response<Content> {
        failed("the write fails, and nothing keeps that")
    }
}

/// What came of a write.
pub(crate) struct Outcome {
    pub(crate) answer: Response<Content>,
    /// Whether there was any effect.
    pub(crate) applied: bool,
}

/// All writes so far, and what the targets remember.
pub(crate) struct Sink {
    entries: Mutex<BTreeMap<Place, Write>>,
    /// Attempts by record, for chaos.
    attempts: Mutex<HashMap<String, u64>>,
    pub(crate) keys: Keys,
    pub(crate) shelf: Shelf,
    /// Items of bulks so far, so that those that fail are spread evenly.
    turn: AtomicU64,
    pub(crate) faults: Arc<Faults>,
}

pub(crate) fn failed(why: &str) -> Response<Content> {
    answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": why}))
}

/// Why there is no answer: the socket is reset, or the stream of an HTTP/2 connection, which lives on.
fn reset(parts: &Parts, link: &Link) -> Died {
    if parts.version != Version::HTTP_2 {
        link.resets.store(true, Ordering::Relaxed);
    }
    Died
}

/// Reads half of a body, or the first part of one that does not tell its length.
async fn half(mut body: Incoming) {
    let whole = body.size_hint().exact().unwrap_or_default();
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if 2 * read >= whole {
            return;
        }
    }
}

/// Sends the answer, unless the write meets what keeps it from its client.
async fn end(
    trouble: Option<Trouble>,
    response: Response<Content>,
    parts: &Parts,
    link: &Link,
) -> Result<Response<Content>, Died> {
    match trouble {
        Some(Trouble::ThenDie) => Err(Died),
        Some(Trouble::ThenReset) => Err(reset(parts, link)),
        Some(Trouble::ThenSilence) => std::future::pending().await,
        Some(Trouble::Then500) => Ok(failed("failed after applying")),
        _ => Ok(response),
    }
}

impl Sink {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Sink {
            entries: Mutex::default(),
            attempts: Mutex::default(),
            keys: Keys::default(),
            shelf: Shelf::default(),
            turn: AtomicU64::new(0),
            faults,
        }
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        lock(&self.entries).values().cloned().collect()
    }

    /// Forgets everything: what was recorded, the keys, and what was stored.
    pub(crate) fn reset(&self) {
        lock(&self.entries).clear();
        lock(&self.attempts).clear();
        self.keys.clear();
        self.shelf.clear();
        self.turn.store(0, Ordering::Relaxed);
    }

    fn record<T>(&self, place: &Place, note: impl FnOnce(&mut Write) -> T) -> T {
        let mut entries = lock(&self.entries);
        let write = entries.entry(place.clone()).or_insert_with(|| {
            let (record, key) = place.clone();
            Write { record, key, ..Write::default() }
        });
        note(write)
    }

    /// Counts a request whose head has arrived.
    pub(crate) fn attempted(&self, place: &Place) {
        self.record(place, |write| write.attempts += 1);
    }

    /// Notes a body that has arrived whole.
    pub(crate) fn arrived(&self, place: &Place, body: String) {
        self.record(place, |write| {
            if !write.bodies.contains(&body) {
                write.bodies.push(body);
            }
        });
    }

    /// Counts an effect, and tells how many there are.
    pub(crate) fn applied(&self, place: &Place) -> u64 {
        self.record(place, |write| {
            write.applied += 1;
            write.applied
        })
    }

    /// An attempt that was counted without a key turns out to have one.
    pub(crate) fn keyed(&self, place: &Place) {
        let keyless = (place.0.clone(), None);
        let left = self.record(&keyless, |write| {
            write.attempts = write.attempts.saturating_sub(1);
            write.attempts
        });
        if left == 0 {
            lock(&self.entries).remove(&keyless);
        }
        self.attempted(place);
    }

    /// Whether the next item of a bulk is among this percentage.
    pub(crate) fn turn(&self, percent: u8) -> bool {
        let percent = u64::from(percent.min(100));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (turn + 1) * percent / 100 > turn * percent / 100
    }

    fn count(&self, record: &str) -> u64 {
        let mut attempts = lock(&self.attempts);
        let count = attempts.entry(record.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// The course of every write: it is counted when its head has come, read, begun, applied and answered, and on the
    /// way it meets what was injected, what its query asks for (`slow=ms`, `fault=`), and chaos. An injected fault hits
    /// what is really applied; chaos also takes their answers from replays and refusals.
    pub(crate) async fn carry_out(
        self: &Arc<Self>,
        target: impl Target,
        parts: &Parts,
        body: Incoming,
        link: &Link,
    ) -> Result<Response<Content>, Died> {
        target.attempted(self);
        let (record, _) = target.place();
        let query = parts.uri.query();
        let chaos = self.faults.chaos(&record, self.count(&record));
        let asked = parameter(query, "fault").as_deref().and_then(Trouble::named);
        let meets = |moment| {
            let now = |trouble: &Trouble| trouble.moment() == moment;
            self.faults.trouble(moment, &record).or(asked.filter(now)).or(chaos.filter(now))
        };
        let first = meets(Moment::Head);
        match first {
            Some(Trouble::ResetBeforeBody) => return Err(reset(parts, link)),
            Some(Trouble::ResetInBody) => {
                half(body).await;
                return Err(reset(parts, link));
            }
            _ => {}
        }
        // A body that breaks off is a write that never happened; there is nobody left to answer.
        let body = body.collect().await.map_err(|_| Died)?.to_bytes();
        let refused = match first {
            Some(Trouble::ResetAfterBody) => Some(Err(reset(parts, link))),
            Some(Trouble::Fail500) => Some(Ok(failed("failed before applying"))),
            Some(Trouble::Refuse503) => {
                Some(Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "come again"}))))
            }
            _ => None,
        };
        if let Some(refused) = refused {
            target.arrived(self, &body);
            return refused;
        }
        // Begun before it is noted: whoever sees the body finds the write in progress.
        let known = target.begin(self, &body);
        target.arrived(self, &body);
        let lost = chaos.filter(|trouble| trouble.moment() == Moment::Applied);
        if let Some(known) = known {
            return end(lost, known, parts, link).await;
        }
        let asked_for = || parameter(query, "slow").as_deref().and_then(number).map(Duration::from_millis);
        let outcome = match meets(Moment::Begun).or_else(|| asked_for().map(Trouble::Slow)) {
            Some(Trouble::Stored500) => return Ok(target.fail(self, &body)),
            Some(Trouble::Slow(slow)) if !slow.is_zero() => {
                // A task of its own: a client that hangs up must not undo what the server has begun.
                let sink = Arc::clone(self);
                let applied = tokio::spawn(async move {
                    tokio::time::sleep(slow).await;
                    target.apply(&sink, &body)
                });
                applied.await.map_err(|_| Died)?
            }
            _ => {
                let outcome = target.apply(self, &body);
                // What it holds is free again, even when its client waits for ever.
                drop(target);
                outcome
            }
        };
        let trouble = if outcome.applied { meets(Moment::Applied) } else { lost };
        end(trouble, outcome.answer, parts, link).await
    }
}
