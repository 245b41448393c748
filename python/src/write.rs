//! Writes as Python makes them: whose they are, under which key, to what kind of target.
//!
//! It owns nothing but the conversion. Keys are derived by the core, so that they are the same in every language.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pinlink::{Fate, KeyForm, Meaning, Part, Record};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString};

use crate::failure::{self, Asked, Raised};
use crate::options::mistaken;
use crate::request::{Request, duration};
use crate::response::Response;

/// Whose writes these are: what all executions of one job share, and no other job has.
#[pyclass(module = "pinlink", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    scope: pinlink::Scope,
}

fn scope_of(py: Python<'_>, scope: pinlink::Result<pinlink::Scope>) -> PyResult<Scope> {
    scope.map(|scope| Scope { scope }).map_err(|error| failure::raised(py, &error))
}

#[pymethods]
impl Scope {
    /// A key that the job's owner gave it: a business date and the job's name will do.
    #[staticmethod]
    fn job(py: Python<'_>, key: &str) -> PyResult<Scope> {
        scope_of(py, pinlink::Scope::job(key))
    }

    /// The id of a MaxCompute instance.
    #[staticmethod]
    fn instance(py: Python<'_>, id: &str) -> PyResult<Scope> {
        scope_of(py, pinlink::Scope::instance(id))
    }

    /// The id of a Spark application.
    #[staticmethod]
    fn spark(py: Python<'_>, application: &str) -> PyResult<Scope> {
        scope_of(py, pinlink::Scope::spark(application))
    }

    /// The key of one write: what is done, and to which record, by its business key of one part or several.
    fn key(&self, operation: &str, record: &Bound<'_, PyAny>) -> PyResult<Key> {
        let parts = match record.try_iter() {
            Ok(parts) if record.cast::<PyString>().is_err() && record.cast::<PyBytes>().is_err() => {
                parts.map(|part| part_of(&part?)).collect::<PyResult<Vec<_>>>()?
            }
            _ => vec![part_of(record)?],
        };
        Ok(Key { key: self.scope.key(operation, Record::parts(parts)) })
    }

    /// The key of a record that has no business key: two equal contents are one write.
    fn content_key(&self, operation: &str, content: &[u8]) -> Key {
        Key { key: self.scope.key(operation, Record::content(content)) }
    }

    /// The key of a request that carries many rows, by their place in the job.
    fn chunk_key(&self, operation: &str, partition: u32, ordinal: u64) -> Key {
        Key { key: self.scope.key(operation, Record::chunk(partition, ordinal)) }
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.{:?}>", self.scope)
    }
}

/// Text, bytes, a whole number or nothing. Other numbers have no one text.
fn part_of(part: &Bound<'_, PyAny>) -> PyResult<Part<'static>> {
    if part.is_none() {
        Ok(Part::Null)
    } else if let Ok(text) = part.cast::<PyString>() {
        Ok(text.to_cow()?.into_owned().into())
    } else if let Ok(bytes) = part.cast::<PyBytes>() {
        Ok(Part::Bytes(bytes.as_bytes().to_vec().into()))
    } else if part.cast::<PyBool>().is_err() && part.cast::<PyFloat>().is_err() && part.hasattr("__index__")? {
        // An int of any kind, numpy's too.
        let whole: Bound<'_, PyInt> = part.call_method0("__index__")?.cast_into()?;
        Ok(whole.str()?.to_cow()?.into_owned().into())
    } else {
        Err(mistaken("a record's key", "str, bytes, int, None, or several of them", part))
    }
}

/// The key of one write. It is shown as a short hash only: who knows a key may claim its write.
#[pyclass(module = "pinlink", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) key: pinlink::Key,
}

#[pymethods]
impl Key {
    /// 64 hexadecimal digits in lower case.
    #[getter]
    fn hex(&self) -> String {
        self.key.hex()
    }

    /// A UUID of version 8.
    #[getter]
    fn uuid(&self) -> String {
        self.key.uuid()
    }

    /// 26 lower-case letters and digits, for targets with tight limits.
    #[getter]
    fn short(&self) -> String {
        self.key.short()
    }

    /// What may stand in a log.
    #[getter]
    fn logged(&self) -> String {
        self.key.logged()
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Key {}>", self.key.logged())
    }
}

/// What is known of a target that takes keys.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Profile {
    pub(crate) profile: pinlink::Profile,
}

impl Profile {
    fn of(profile: pinlink::Profile) -> Profile {
        Profile { profile }
    }
}

#[pymethods]
impl Profile {
    /// `Idempotency-Key` as the IETF's draft has it.
    #[staticmethod]
    fn idempotency_key() -> Profile {
        Profile::of(pinlink::Profile::idempotency_key())
    }

    /// `Idempotency-Key` as Stripe and those after it take it: bare.
    #[staticmethod]
    fn bare_idempotency_key() -> Profile {
        Profile::of(pinlink::Profile::bare_idempotency_key())
    }

    /// A header of the target's own.
    #[staticmethod]
    fn header(name: &str) -> Profile {
        Profile::of(pinlink::Profile::header(name))
    }

    /// A parameter of the query.
    #[staticmethod]
    fn query(name: &str) -> Profile {
        Profile::of(pinlink::Profile::query(name))
    }

    /// A field of a form body.
    #[staticmethod]
    fn form_field(name: &str) -> Profile {
        Profile::of(pinlink::Profile::form_field(name))
    }

    /// `ClientToken` in the query, as Alibaba Cloud's OpenAPI has it.
    #[staticmethod]
    fn client_token() -> Profile {
        Profile::of(pinlink::Profile::client_token())
    }

    /// `ClientToken` in a form body.
    #[staticmethod]
    fn client_token_in_form() -> Profile {
        Profile::of(pinlink::Profile::client_token_in_form())
    }

    /// `PUT` of an OSS object that must not exist yet.
    #[staticmethod]
    fn oss() -> Profile {
        Profile::of(pinlink::Profile::oss())
    }

    /// The same at an S3-compatible store.
    #[staticmethod]
    fn s3() -> Profile {
        Profile::of(pinlink::Profile::s3())
    }

    /// `PUT` of what must not exist yet at any HTTP server.
    #[staticmethod]
    fn if_none_match() -> Profile {
        Profile::of(pinlink::Profile::if_none_match())
    }

    /// Elasticsearch and OpenSearch: `PUT /index/_create/{key}`.
    #[staticmethod]
    fn elasticsearch() -> Profile {
        Profile::of(pinlink::Profile::elasticsearch())
    }

    /// Tablestore: a row whose condition `EXPECT_NOT_EXIST` stands in the body.
    #[staticmethod]
    fn tablestore() -> Profile {
        Profile::of(pinlink::Profile::tablestore())
    }

    /// How the key is written: `hex`, `uuid` or `short`.
    fn form(&self, py: Python<'_>, form: &str) -> PyResult<Profile> {
        let form = match form {
            "hex" => KeyForm::Hex,
            "uuid" => KeyForm::Uuid,
            "short" => KeyForm::Short,
            _ => return Err(failure::input(py, "the form of a key is hex, uuid or short")),
        };
        Ok(Profile::of(self.profile.clone().form(form)))
    }

    /// How long the target remembers a key.
    fn memory(&self, py: Python<'_>, memory: &Bound<'_, PyAny>) -> PyResult<Profile> {
        Ok(Profile::of(self.profile.clone().memory(duration(py, "memory", memory)?)))
    }

    /// What an answer of this status means, where its body holds `code` if one is given.
    #[pyo3(signature = (status, meaning, *, code=None))]
    fn mark(&self, py: Python<'_>, status: u16, meaning: &str, code: Option<&str>) -> PyResult<Profile> {
        let meaning = meaning_of(meaning).ok_or_else(|| failure::input(py, "an answer means none of that"))?;
        Ok(Profile::of(self.profile.clone().mark(status, code, meaning)))
    }

    /// The header and value by which the target says that an answer is a stored one.
    fn replay_mark(&self, name: &str, value: &str) -> Profile {
        Profile::of(self.profile.clone().replay_mark(name, value))
    }

    /// Whether a failure is stored under the key.
    fn stores_failures(&self, stores: bool) -> Profile {
        Profile::of(self.profile.clone().stores_failures(stores))
    }

    fn __repr__(&self) -> &'static str {
        "<pinlink.Profile>"
    }
}

fn meaning_of(name: &str) -> Option<Meaning> {
    Some(match name {
        "Applied" => Meaning::Applied,
        "AlreadyApplied" => Meaning::AlreadyApplied,
        "Exists" => Meaning::Exists,
        "InProgress" => Meaning::InProgress,
        "Mismatch" => Meaning::Mismatch,
        "Again" => Meaning::Again,
        "Stored" => Meaning::Stored,
        "Rejected" => Meaning::Rejected,
        _ => return None,
    })
}

/// A write, ready to be sent as often as it takes.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Write {
    request: Py<Request>,
    under: Option<(pinlink::Key, pinlink::Profile)>,
    is_unkeyed: bool,
    verify: Option<(Py<Request>, Arc<Py<PyAny>>)>,
}

impl Write {
    /// The core's write around this request, before there is a question.
    fn around(&self, request: pinlink::Request) -> pinlink::Write {
        let write = match &self.under {
            Some((key, profile)) => pinlink::Write::new(request, key, profile),
            None => pinlink::Write::keyless(request),
        };
        if self.is_unkeyed { write.unkeyed() } else { write }
    }

    /// As the core sends it in one call, and what that call was asked.
    pub(crate) fn armed(&self, py: Python<'_>) -> (pinlink::Write, Asked) {
        let Some((question, reads)) = &self.verify else {
            let (request, asked) = self.request.get().armed(py);
            return (self.around(request), asked);
        };
        let (raised, asked_of) = (Raised::default(), question.get());
        let write = self.around(self.request.get().armed_with(&raised));
        let (question, url) = (asked_of.armed_with(&raised), asked_of.address(py));
        let (reads, kept) = (Arc::clone(reads), raised.clone());
        let write = write.verify(question, move |answer| {
            Python::try_attach(|py| read_by(py, &reads, answer, &url, &kept)).flatten()
        });
        (write, Asked { url: self.request.get().address(py), raised: Some(raised) })
    }
}

#[pymethods]
impl Write {
    /// A write under a key, to a target that takes keys as `profile` says; or a keyless one.
    #[new]
    #[pyo3(signature = (request, key=None, profile=None, *, unkeyed=false, verify=None))]
    fn new(
        py: Python<'_>,
        request: Py<Request>,
        key: Option<&Bound<'_, Key>>,
        profile: Option<&Bound<'_, Profile>>,
        unkeyed: bool,
        verify: Option<(Py<Request>, Py<PyAny>)>,
    ) -> PyResult<Write> {
        let under = match (key, profile) {
            (Some(key), Some(profile)) => Some((key.get().key, profile.get().profile.clone())),
            (None, None) => None,
            _ => return Err(failure::input(py, "a write has a key and a profile, or neither")),
        };
        let verify = verify.map(|(question, reads)| (question, Arc::new(reads)));
        Ok(Write { request, under, is_unkeyed: unkeyed, verify })
    }

    /// What may be promised of it: `Once`, `Repeatable` or `AtMostOncePerProcess`.
    #[getter]
    fn guarantee(&self) -> String {
        format!("{:?}", self.around(self.request.get().armed_with(&Raised::default())).guarantee())
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Write, {}>", self.guarantee())
    }
}

/// Writes as the core sends them in one call, and what that call was asked.
pub(crate) fn each(py: Python<'_>, writes: &Bound<'_, PyAny>) -> PyResult<(Vec<pinlink::Write>, Vec<Asked>)> {
    let writes: PyResult<Vec<Bound<'_, Write>>> = writes.try_iter()?.map(|write| Ok(write?.cast_into()?)).collect();
    Ok(writes?.iter().map(|write| write.get().armed(py)).unzip())
}

/// What a caller's function reads in an answer: nothing where it raises, which is kept.
fn read_by(
    py: Python<'_>,
    reads: &Py<PyAny>,
    answer: &pinlink::Response,
    url: &Py<PyString>,
    kept: &Raised,
) -> Option<bool> {
    let response = Response::new(answer.clone(), url.clone_ref(py));
    match reads.call1(py, (response,)).and_then(|read| read.extract(py)) {
        Ok(read) => read,
        Err(raised) => {
            kept.keep(py, raised);
            None
        }
    }
}

/// A write that had its effect.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Written {
    written: pinlink::Written,
    url: Py<PyString>,
}

impl Written {
    pub(crate) fn new(written: pinlink::Written, url: Py<PyString>) -> Written {
        Written { written, url }
    }
}

#[pymethods]
impl Written {
    /// `Outcome.APPLIED` or `Outcome.ALREADY_APPLIED`.
    #[getter]
    fn outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        failure::outcome(py, self.written.outcome())
    }

    /// The answer that said so.
    #[getter]
    fn response(&self, py: Python<'_>) -> Response {
        Response::new(self.written.response().clone(), self.url.clone_ref(py))
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Written, {}>", self.written.outcome().as_str())
    }
}

/// How a batch is made and read.
enum Kind {
    Elasticsearch { url: String, index: String },
    Own { compose: Arc<Py<PyAny>>, read: Arc<Py<PyAny>>, memory: Option<Duration> },
}

/// Many writes in one request, of which only those that failed are sent again.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Batch {
    kind: Kind,
    items: Vec<(pinlink::Key, Bytes)>,
}

/// One call of a batch: where it went last, and what a function of the caller's raised.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    url: Arc<Mutex<String>>,
    raised: Raised,
}

impl Sent {
    fn went(&self, url: String) {
        *self.url.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = url;
    }

    /// What each of its rows was asked.
    pub(crate) fn asked(&self, py: Python<'_>) -> Asked {
        let url = self.url.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Asked { url: PyString::new(py, &url).unbind(), raised: Some(self.raised.clone()) }
    }
}

impl Batch {
    /// As the core sends it in one call.
    pub(crate) fn armed(&self) -> (pinlink::Batch, Sent) {
        let sent = Sent::default();
        let mut batch = match &self.kind {
            Kind::Elasticsearch { url, index } => {
                sent.went(url.clone());
                pinlink::Batch::elasticsearch(url, index)
            }
            Kind::Own { compose, read, memory } => {
                let (compose, read, of) = (Arc::clone(compose), Arc::clone(read), sent.clone());
                let composes = move |items: &[(pinlink::Key, Bytes)]| {
                    let request = Python::try_attach(|py| composed(py, &compose, items, &of.raised)).flatten();
                    // One that can't be sent: what was raised is the cause.
                    let request = request.unwrap_or_else(|| pinlink::Request::post("not composed"));
                    of.went(request.url());
                    request
                };
                let raised = sent.raised.clone();
                let reads = move |answer: &pinlink::Response| {
                    Python::try_attach(|py| fates(py, &read, answer, &raised)).flatten()
                };
                let batch = pinlink::Batch::new(composes, reads);
                memory.map_or(batch.clone(), |memory| batch.memory(memory))
            }
        };
        for (key, body) in &self.items {
            batch = batch.item(key, body.clone());
        }
        (batch, sent)
    }
}

/// The items of a batch: pairs of a key and a body.
fn items_of(items: &Bound<'_, PyAny>) -> PyResult<Vec<(pinlink::Key, Bytes)>> {
    let item = |item: PyResult<Bound<'_, PyAny>>| {
        let (key, body): (Bound<'_, Key>, Bound<'_, PyAny>) = item?.extract()?;
        let body = match body.cast::<PyBytes>() {
            Ok(bytes) => Bytes::copy_from_slice(bytes.as_bytes()),
            Err(_) => body.extract::<String>()?.into(),
        };
        Ok((key.get().key, body))
    };
    items.try_iter()?.map(item).collect()
}

#[pymethods]
impl Batch {
    /// A batch of a target's own making: `compose` makes the request of some of the items, `read` finds in the answer what
    /// became of each.
    #[new]
    #[pyo3(signature = (items, compose, read, *, memory=None))]
    fn new(
        py: Python<'_>,
        items: &Bound<'_, PyAny>,
        compose: Py<PyAny>,
        read: Py<PyAny>,
        memory: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Batch> {
        let memory = memory.map(|memory| duration(py, "memory", memory)).transpose()?;
        let kind = Kind::Own { compose: Arc::new(compose), read: Arc::new(read), memory };
        Ok(Batch { kind, items: items_of(items)? })
    }

    /// `_bulk` of Elasticsearch and OpenSearch at this URL, one `create` for each item; an item is a JSON document.
    #[staticmethod]
    fn elasticsearch(url: String, index: String, items: &Bound<'_, PyAny>) -> PyResult<Batch> {
        Ok(Batch { kind: Kind::Elasticsearch { url, index }, items: items_of(items)? })
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Batch of {} items>", self.items.len())
    }
}

/// The request of some of the items, as the caller's function makes it.
fn composed(
    py: Python<'_>,
    compose: &Py<PyAny>,
    items: &[(pinlink::Key, Bytes)],
    kept: &Raised,
) -> Option<pinlink::Request> {
    let call = || {
        let pair =
            |(key, body): &(pinlink::Key, Bytes)| Ok((Bound::new(py, Key { key: *key })?, PyBytes::new(py, body)));
        let items = PyList::new(py, items.iter().map(pair).collect::<PyResult<Vec<_>>>()?)?;
        let request: Bound<'_, Request> = compose.bind(py).call1((items,))?.cast_into()?;
        Ok::<_, PyErr>(request.get().armed_with(kept))
    };
    call().map_err(|raised| kept.keep(py, raised)).ok()
}

/// What the caller's function finds in an answer: a meaning and a status for each item. Nothing where it raises.
fn fates(py: Python<'_>, read: &Py<PyAny>, answer: &pinlink::Response, kept: &Raised) -> Option<Vec<Fate>> {
    let url = PyString::new(py, "").unbind();
    let call = || {
        let found = read.bind(py).call1((Response::new(answer.clone(), url),))?;
        if found.is_none() {
            return Ok(None);
        }
        let fate = |item: Bound<'_, PyAny>| {
            let (meaning, status): (String, u16) = item.extract()?;
            let meaning =
                meaning_of(&meaning).ok_or_else(|| failure::input(py, "an item's fate means none of that"))?;
            Ok(Fate { meaning, status })
        };
        found.try_iter()?.map(|item| fate(item?)).collect::<PyResult<Vec<_>>>().map(Some)
    };
    call().map_err(|raised| kept.keep(py, raised)).ok().flatten()
}
