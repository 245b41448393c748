//! The search index: as much of Elasticsearch as creates documents, one by one or in bulk.
//!
//! Owns: `PUT|POST /es/{index}/_create/{id}`, `GET /es/{index}/_source/{id}`, and `POST /es/_bulk` and
//! `/es/{index}/_bulk` with `create` actions. A document is created once; its source must be a JSON object. In a bulk
//! each item is a write of its own in the sink's record, and faults see the bulk as the record `_bulk`.
//! No time, no randomness.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::content::{Content, answer, hash};
use crate::fault::{Fault, Layer};
use crate::shelf::{Item, Kind};
use crate::sink::{CONDITION, Outcome, Place, Sink, Target};

/// The name of all bulks in the sink's record.
pub(crate) const BULK: &str = "_bulk";

/// One document to be created.
pub(crate) struct Creation {
    index: String,
    id: String,
}

/// Many documents to be created.
pub(crate) struct Bulk {
    /// Where items go that name no index.
    index: Option<String>,
}

impl Creation {
    pub(crate) fn new(index: &str, id: &str) -> Self {
        Creation { index: index.to_owned(), id: id.to_owned() }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.index, self.id)
    }

    /// Creates the document, and says so as an item of a bulk says it.
    fn create(&self, sink: &Sink, source: &Bytes) -> (StatusCode, Value) {
        let failed = |status: StatusCode, kind: &str| {
            let item =
                json!({"_index": self.index, "_id": self.id, "status": status.as_u16(), "error": {"type": kind}});
            (status, item)
        };
        if !serde_json::from_slice::<Value>(source).is_ok_and(|source| source.is_object()) {
            return failed(StatusCode::BAD_REQUEST, "document_parsing_exception");
        }
        if !sink.shelf.create(Kind::Document, &self.name(), Item::new(source.clone())) {
            return failed(StatusCode::CONFLICT, "version_conflict_engine_exception");
        }
        sink.applied(&self.place());
        let created = json!({"_index": self.index, "_id": self.id, "_version": 1, "result": "created", "status": 201});
        (StatusCode::CREATED, created)
    }
}

impl Target for Creation {
    fn place(&self) -> Place {
        (self.name(), Some(CONDITION.to_owned()))
    }

    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome {
        let (status, mut item) = self.create(sink, body);
        // Alone, a document's success has no status, and its failure is nothing but an error and a status.
        if let Some(fields) = item.as_object_mut() {
            if status == StatusCode::CREATED {
                fields.remove("status");
            } else {
                fields.retain(|name, _| name == "error" || name == "status");
            }
        }
        Outcome { answer: answer(status, &item), applied: status == StatusCode::CREATED }
    }
}

impl Bulk {
    pub(crate) fn new(index: Option<&str>) -> Self {
        Bulk { index: index.map(str::to_owned) }
    }

    /// The items of a body; `None` when it is no list of `create` actions and sources.
    fn items(&self, body: &Bytes) -> Option<Vec<(Creation, Bytes)>> {
        // Elasticsearch insists on the last newline, too.
        let lines = body.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let lines: Vec<Bytes> = lines.map(|line| body.slice_ref(line)).collect();
        let items = lines.chunks(2).map(|pair| {
            let [action, source] = pair else {
                return None;
            };
            let action: Value = serde_json::from_slice(action).ok()?;
            let action = action.get("create")?;
            let text = |name| action.get(name).and_then(Value::as_str);
            let index = text("_index").or(self.index.as_deref())?;
            Some((Creation::new(index, text("_id")?), source.clone()))
        });
        items.collect()
    }
}

impl Target for Bulk {
    fn place(&self) -> Place {
        (BULK.to_owned(), None)
    }

    /// Nothing is attempted before it is known what.
    fn attempted(&self, _sink: &Sink) {}

    fn arrived(&self, sink: &Sink, body: &Bytes) {
        for (item, source) in self.items(body).unwrap_or_default() {
            sink.attempted(&item.place());
            sink.arrived(&item.place(), hash(&source));
        }
    }

    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome {
        let Some(items) = self.items(body) else {
            let why = json!({"error": {"type": "illegal_argument_exception"}, "status": 400});
            return Outcome { answer: answer(StatusCode::BAD_REQUEST, &why), applied: false };
        };
        let share = |fault: &Fault| if let Fault::BulkPartial(percent) = fault { Some(*percent) } else { None };
        let share = sink.faults.hit(Layer::Sink, Some(BULK), share);
        let (mut told, mut errors, mut applied) = (Vec::with_capacity(items.len()), false, false);
        for (item, source) in items {
            let (status, item) = if share.is_some_and(|percent| sink.turn(percent)) {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let error = json!({"type": "es_rejected_execution_exception"});
                (status, json!({"_index": item.index, "_id": item.id, "status": 429, "error": error}))
            } else {
                item.create(sink, &source)
            };
            applied |= status == StatusCode::CREATED;
            errors |= status != StatusCode::CREATED;
            told.push(json!({"create": item}));
        }
        Outcome { answer: answer(StatusCode::OK, &json!({"took": 0, "errors": errors, "items": told})), applied }
    }
}

/// A document's bytes, as they came.
pub(crate) fn source(sink: &Sink, index: &str, id: &str) -> Response<Content> {
    match sink.shelf.find(Kind::Document, &Creation::new(index, id).name()) {
        Some(item) => Response::new(Content::Whole(Full::from(item.bytes))),
        None => {
            let why = json!({"error": {"type": "resource_not_found_exception"}, "status": 404});
            answer(StatusCode::NOT_FOUND, &why)
        }
    }
}
