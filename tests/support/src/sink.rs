//! The sink: it records every write by record and key, applies each key once, and can die after applying.
//!
//! Owns: what was attempted and what was applied. A key comes from `Idempotency-Key` (bare or as a quoted
//! structured-field string), from the query's `ClientToken`, or is `*` for a PUT with `If-None-Match: *`.
//! A write in progress goes on when its client hangs up, as a real server's would. Never deduplicates what has no key.
//! Time: tokio's clock, for slow writes. Randomness: none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::content::{Content, answer, hash};
use crate::counts::lock;
use crate::fault::{Fault, Layer};
use crate::routes::{Died, parameter};
use crate::switch::Faults;

/// What the sink knows about one record under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Write {
    /// The record, as in the path.
    pub record: String,
    /// The key, without quotes; `None` for all writes to this record that had none.
    pub key: Option<String>,
    /// Requests whose head arrived.
    pub attempts: u64,
    /// Effects: how often a write was really applied.
    pub applied: u64,
    /// The hashes of the distinct bodies that arrived whole.
    pub bodies: Vec<String>,
}

/// What a request wants written, and how the sink is asked to misbehave.
pub(crate) struct Order {
    record: String,
    key: Option<String>,
    /// `If-None-Match: *`: a second write is refused rather than replayed.
    conditional: bool,
    fault: Option<String>,
    slow: Option<u64>,
}

#[derive(Default)]
struct Entry {
    write: Write,
    phase: Phase,
}

/// Where a keyed write stands.
#[derive(Default)]
enum Phase {
    #[default]
    New,
    /// Being applied, with this body.
    InFlight,
    /// Applied, with this body and this answer.
    Applied { body: String, answer: Value },
}

/// All writes so far.
pub(crate) struct Sink {
    entries: Mutex<BTreeMap<(String, Option<String>), Entry>>,
    faults: Arc<Faults>,
}

impl Order {
    pub(crate) fn new(parts: &Parts, record: &str) -> Self {
        let query = parts.uri.query();
        let field = |name: &str| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let conditional =
            parts.method == Method::PUT && field(header::IF_NONE_MATCH.as_str()).is_some_and(|tag| tag.trim() == "*");
        let key = field("idempotency-key").map(|key| unquote(&key)).or_else(|| parameter(query, "ClientToken"));
        Order {
            record: record.to_owned(),
            conditional: conditional && key.is_none(),
            key: key.or_else(|| conditional.then(|| "*".to_owned())),
            fault: parameter(query, "fault"),
            slow: parameter(query, "slow").and_then(|ms| ms.parse().ok()),
        }
    }

    fn place(&self) -> (String, Option<String>) {
        (self.record.clone(), self.key.clone())
    }
}

/// The key inside a structured-field string, or the bare key.
fn unquote(field: &str) -> String {
    let field = field.trim();
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => field.to_owned(),
    }
}

impl Sink {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Sink { entries: Mutex::default(), faults }
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        lock(&self.entries).values().map(|entry| entry.write.clone()).collect()
    }

    pub(crate) fn reset(&self) {
        lock(&self.entries).clear();
    }

    /// Counts a request whose head has arrived.
    pub(crate) fn attempt(&self, order: &Order) {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(order.place()).or_default();
        entry.write.record.clone_from(&order.record);
        entry.write.key.clone_from(&order.key);
        entry.write.attempts += 1;
    }

    pub(crate) async fn write(self: Arc<Self>, order: Order, body: &[u8]) -> Result<Response<Content>, Died> {
        let body = hash(body);
        if let Some(known) = self.begin(&order, &body) {
            return Ok(known);
        }
        let scope = order.record.clone();
        let slow = |fault: &Fault| {
            if let Fault::SlowSink(ms) = fault { Some(*ms) } else { None }
        };
        let slow = self.faults.hit(Layer::Sink, Some(&scope), slow).or(order.slow).unwrap_or(0);
        let after = |fault: &Fault| match fault {
            Fault::ApplyThenDie => Some("apply-then-die"),
            Fault::ApplyThen500 => Some("fail-after-apply"),
            _ => None,
        };
        let after = self.faults.hit(Layer::Sink, Some(&scope), after).map(str::to_owned).or(order.fault.clone());
        let stored = if slow == 0 {
            self.apply(&order, body)
        } else {
            // A task of its own: a client that hangs up must not undo what the server has begun.
            let sink = Arc::clone(&self);
            let applied = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(slow)).await;
                sink.apply(&order, body)
            });
            applied.await.map_err(|_| Died)?
        };
        match after.as_deref() {
            Some("apply-then-die") => Err(Died),
            Some("fail-after-apply") => {
                Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": "failed after applying"})))
            }
            _ => Ok(answer(StatusCode::CREATED, &stored)),
        }
    }

    /// Starts a write, or gives the answer when the key says that there is nothing to do.
    fn begin(&self, order: &Order, body: &str) -> Option<Response<Content>> {
        let refuse = |status, why: &str| Some(answer(status, &json!({"error": why})));
        let mut entries = lock(&self.entries);
        let entry = entries.entry(order.place()).or_default();
        if !entry.write.bodies.iter().any(|known| known == body) {
            entry.write.bodies.push(body.to_owned());
        }
        order.key.as_ref()?;
        match &entry.phase {
            Phase::New => {
                entry.phase = Phase::InFlight;
                None
            }
            Phase::InFlight => refuse(StatusCode::CONFLICT, "a write under this key is in progress"),
            Phase::Applied { .. } if order.conditional => refuse(StatusCode::PRECONDITION_FAILED, "the record exists"),
            Phase::Applied { body: first, .. } if first != body => {
                refuse(StatusCode::UNPROCESSABLE_ENTITY, "this key came with another body")
            }
            Phase::Applied { answer: stored, .. } => {
                let mut replay = answer(StatusCode::CREATED, stored);
                replay.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
                Some(replay)
            }
        }
    }

    fn apply(&self, order: &Order, body: String) -> Value {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(order.place()).or_default();
        entry.write.applied += 1;
        let answer = json!({"record": order.record, "key": order.key, "applied": entry.write.applied, "body": body});
        if order.key.is_some() {
            entry.phase = Phase::Applied { body, answer: answer.clone() };
        }
        answer
    }
}
