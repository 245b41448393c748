//! Writes under keys: where each dialect has its key, what the sink remembers of it, and what it answers.
//!
//! Owns: `/sink/{record}` (the IETF draft), `/stripe/{record}` and `/token/{record}` (`ClientToken`), and the memory of
//! all keys. A record under a key is one place whatever the dialect. Never deduplicates what has no key.
//! `/sink` takes its key from `Idempotency-Key` (bare or as a quoted structured-field string), from the query's
//! `ClientToken`, or is `*` for a PUT with `If-None-Match: *`; `?key_header=`, `?key_query=` and `?key_form=` name
//! another place for it. `?ttl=ms` has the key forgotten so long after the write.
//! Time: tokio's clock, for the age of keys. Randomness: none.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::content::{Content, answer, hash};
use crate::counts::lock;
use crate::routes::{number, parameter};
use crate::sink::{CONDITION, Outcome, Place, Sink, Target};

/// The parameter of `/token`, and how long its value may be.
const TOKEN: &str = "ClientToken";
const LONGEST_TOKEN: usize = 64;

/// Whose rules a keyed write follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// draft-ietf-httpapi-idempotency-key-header: 201, 409 in progress, 422 for another body, replays marked.
    Draft,
    /// Stripe's: 200, 409 in progress, 400 `idempotency_error` for another body, replays marked.
    Stripe,
    /// `ClientToken`: 200, 409 `IdempotentProcessing`, 400 `IdempotentParameterMismatch`, replays not marked.
    Token,
}

/// Where a keyed write stands.
enum Phase {
    /// Being applied.
    InFlight,
    /// Over, with this body and this answer.
    Over { body: String, status: StatusCode, answer: Value, until: Option<Instant> },
}

/// What is remembered of all keys.
#[derive(Default)]
pub(crate) struct Keys {
    phases: Mutex<HashMap<Place, Phase>>,
}

/// One write under a key, or without one.
pub(crate) struct Keyed {
    dialect: Dialect,
    record: String,
    /// As far as the head tells.
    key: Option<String>,
    /// The parameter of a form that holds the key.
    form: Option<String>,
    /// `If-None-Match: *`: a second write is refused rather than replayed.
    conditional: bool,
    ttl: Option<Duration>,
}

/// The key inside a structured-field string, or the bare key.
fn unquote(field: &str) -> String {
    let field = field.trim();
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => field.to_owned(),
    }
}

impl Keys {
    pub(crate) fn clear(&self) {
        lock(&self.phases).clear();
    }
}

impl Keyed {
    pub(crate) fn new(dialect: Dialect, parts: &Parts, record: &str) -> Self {
        let query = parts.uri.query();
        let field = |name: &str| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let idempotency_key = || field("idempotency-key").map(|key| unquote(&key));
        let (mut form, mut conditional) = (None, false);
        let key = match dialect {
            Dialect::Draft => {
                if let Some(name) = parameter(query, "key_header") {
                    field(&name).map(|key| unquote(&key))
                } else if let Some(name) = parameter(query, "key_query") {
                    parameter(query, &name)
                } else if let Some(name) = parameter(query, "key_form") {
                    form = Some(name);
                    None
                } else {
                    let tag = field(header::IF_NONE_MATCH.as_str());
                    let key = idempotency_key().or_else(|| parameter(query, TOKEN));
                    conditional =
                        key.is_none() && parts.method == Method::PUT && tag.is_some_and(|tag| tag.trim() == "*");
                    key.or_else(|| conditional.then(|| CONDITION.to_owned()))
                }
            }
            Dialect::Stripe => idempotency_key(),
            Dialect::Token => {
                let token = parameter(query, TOKEN);
                let kind = field(header::CONTENT_TYPE.as_str()).unwrap_or_default();
                let is_form = kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
                form = (token.is_none() && is_form).then(|| TOKEN.to_owned());
                token
            }
        };
        let ttl = parameter(query, "ttl").as_deref().and_then(number).map(Duration::from_millis);
        Keyed { dialect, record: record.to_owned(), key, form, conditional, ttl }
    }

    /// Where the write belongs once its body is there, and the hash of what the body says besides the key.
    fn settled(&self, body: &Bytes) -> (Place, String) {
        let Some(name) = &self.form else {
            return (self.place(), hash(body));
        };
        let form = String::from_utf8_lossy(body);
        let is_key = |pair: &&str| pair.split('=').next() == Some(name.as_str());
        let rest: Vec<&str> = form.split('&').filter(|pair| !is_key(pair)).collect();
        ((self.record.clone(), parameter(Some(&form), name)), hash(rest.join("&").as_bytes()))
    }

    fn success(&self) -> StatusCode {
        if self.dialect == Dialect::Draft { StatusCode::CREATED } else { StatusCode::OK }
    }

    /// What is said instead of doing it.
    fn refusal(&self, phase: &Phase, sent: &str) -> Option<Response<Content>> {
        let refuse = |status, body: Value| Some(answer(status, &body));
        match (phase, self.dialect) {
            (Phase::InFlight, Dialect::Draft) => {
                refuse(StatusCode::CONFLICT, json!({"error": "a write under this key is in progress"}))
            }
            (Phase::InFlight, Dialect::Stripe) => refuse(
                StatusCode::CONFLICT,
                json!({"error": {"type": "invalid_request_error", "code": "idempotency_key_in_use"}}),
            ),
            (Phase::InFlight, Dialect::Token) => refuse(StatusCode::CONFLICT, json!({"Code": "IdempotentProcessing"})),
            (Phase::Over { .. }, _) if self.conditional => {
                refuse(StatusCode::PRECONDITION_FAILED, json!({"error": "the record exists"}))
            }
            (Phase::Over { body, .. }, _) if body == sent => None,
            (_, Dialect::Draft) => {
                refuse(StatusCode::UNPROCESSABLE_ENTITY, json!({"error": "this key came with another body"}))
            }
            (_, Dialect::Stripe) => refuse(StatusCode::BAD_REQUEST, json!({"error": {"type": "idempotency_error"}})),
            (_, Dialect::Token) => refuse(StatusCode::BAD_REQUEST, json!({"Code": "IdempotentParameterMismatch"})),
        }
    }

    fn keep(&self, phases: &mut HashMap<Place, Phase>, place: Place, body: String, status: StatusCode, answer: &Value) {
        if place.1.is_some() {
            let until = self.ttl.map(|ttl| Instant::now() + ttl);
            phases.insert(place, Phase::Over { body, status, answer: answer.clone(), until });
        }
    }
}

impl Target for Keyed {
    fn place(&self) -> Place {
        (self.record.clone(), self.key.clone())
    }

    fn arrived(&self, sink: &Sink, body: &Bytes) {
        let (place, hash) = self.settled(body);
        if self.form.is_some() && place.1.is_some() {
            sink.keyed(&place);
        }
        sink.arrived(&place, hash);
    }

    fn begin(&self, sink: &Sink, body: &Bytes) -> Option<Response<Content>> {
        let (place, sent) = self.settled(body);
        let key = place.1.as_ref()?;
        if self.dialect == Dialect::Token && (key.len() > LONGEST_TOKEN || !key.is_ascii()) {
            return Some(answer(StatusCode::BAD_REQUEST, &json!({"Code": "InvalidClientToken"})));
        }
        let mut phases = lock(&sink.keys.phases);
        let forgotten = |phase: &Phase| match phase {
            Phase::Over { until, .. } => until.is_some_and(|until| until <= Instant::now()),
            Phase::InFlight => false,
        };
        let Some(phase) = phases.get(&place).filter(|phase| !forgotten(phase)) else {
            phases.insert(place, Phase::InFlight);
            return None;
        };
        if let Some(refusal) = self.refusal(phase, &sent) {
            return Some(refusal);
        }
        let Phase::Over { status, answer: kept, .. } = phase else {
            return None;
        };
        let mut replay = answer(*status, kept);
        if self.dialect != Dialect::Token {
            replay.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        Some(replay)
    }

    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome {
        let (place, body) = self.settled(body);
        let mut phases = lock(&sink.keys.phases);
        // Counted under the lock: whoever sees the effect finds the answer kept.
        let applied = sink.applied(&place);
        let kept = json!({"record": place.0, "key": place.1, "applied": applied, "body": body});
        self.keep(&mut phases, place, body, self.success(), &kept);
        Outcome { answer: answer(self.success(), &kept), applied: true }
    }

    fn fail(&self, sink: &Sink, body: &Bytes) -> Response<Content> {
        let (place, body) = self.settled(body);
        let kept = json!({"error": "failed for good", "record": place.0, "key": place.1});
        let mut phases = lock(&sink.keys.phases);
        if self.conditional {
            // There is no record, so the condition still holds.
            phases.remove(&place);
        } else {
            self.keep(&mut phases, place, body, StatusCode::INTERNAL_SERVER_ERROR, &kept);
        }
        answer(StatusCode::INTERNAL_SERVER_ERROR, &kept)
    }
}
