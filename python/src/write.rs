//! Writes as Python makes them: whose they are, under which key, to what kind of target.
//!
//! It owns nothing but the conversion. Keys are derived by the core, so that they are the same in every language.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pinlink::{Fate, KeyForm, Meaning, Part, Record};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString};

use crate::options::mistaken;
use crate::request::{Request, duration};
use crate::response::Response;
use crate::{failure, waiting};

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
    pub(crate) write: pinlink::Write,
    pub(crate) url: Py<PyString>,
}

#[pymethods]
impl Write {
    /// A write under a key, to a target that takes keys as `profile` says; or a keyless one.
    #[new]
    #[pyo3(signature = (request, key=None, profile=None, *, unkeyed=false, verify=None))]
    fn new(
        py: Python<'_>,
        request: &Bound<'_, Request>,
        key: Option<&Bound<'_, Key>>,
        profile: Option<&Bound<'_, Profile>>,
        unkeyed: bool,
        verify: Option<(Bound<'_, Request>, Bound<'_, PyAny>)>,
    ) -> PyResult<Write> {
        let Request { request, url } = request.get();
        let (request, url) = (request.clone(), url.clone_ref(py));
        let mut write = match (key, profile) {
            (Some(key), Some(profile)) => pinlink::Write::new(request, &key.get().key, &profile.get().profile),
            (None, None) => pinlink::Write::keyless(request),
            _ => return Err(failure::input(py, "a write has a key and a profile, or neither")),
        };
        if unkeyed {
            write = write.unkeyed();
        }
        if let Some((question, reads)) = verify {
            let Request { request: question, url } = question.get();
            let (reads, url) = (reads.unbind(), url.clone_ref(py));
            write = write.verify(question.clone(), move |answer| {
                Python::try_attach(|py| read_by(py, &reads, answer, &url)).flatten()
            });
        }
        Ok(Write { write, url })
    }

    /// What may be promised of it: `Once`, `Repeatable` or `AtMostOncePerProcess`.
    #[getter]
    fn guarantee(&self) -> String {
        format!("{:?}", self.write.guarantee())
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Write, {:?}>", self.write.guarantee())
    }
}

/// Writes, and where each goes.
pub(crate) fn each(py: Python<'_>, writes: &Bound<'_, PyAny>) -> PyResult<(Vec<pinlink::Write>, Vec<Py<PyString>>)> {
    let writes: PyResult<Vec<Bound<'_, Write>>> = writes.try_iter()?.map(|write| Ok(write?.cast_into()?)).collect();
    Ok(writes?.iter().map(|write| (write.get().write.clone(), write.get().url.clone_ref(py))).unzip())
}

/// What a caller's function reads in an answer: nothing where it raises, which ends the call.
fn read_by(py: Python<'_>, reads: &Py<PyAny>, answer: &pinlink::Response, url: &Py<PyString>) -> Option<bool> {
    let response = Response::new(answer.clone(), url.clone_ref(py));
    match reads.call1(py, (response,)).and_then(|read| read.extract(py)) {
        Ok(read) => read,
        Err(raised) => {
            waiting::raise(py, raised);
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

/// Many writes in one request, of which only those that failed are sent again.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Batch {
    pub(crate) batch: pinlink::Batch,
    /// Where it went last.
    pub(crate) url: Arc<Mutex<String>>,
}

/// A batch's URL, for its outcomes.
pub(crate) fn shown(py: Python<'_>, url: &Mutex<String>) -> Py<PyString> {
    PyString::new(py, &url.lock().unwrap_or_else(|poisoned| poisoned.into_inner())).unbind()
}

/// A batch with these items: pairs of a key and a body.
fn filled(mut batch: pinlink::Batch, items: &Bound<'_, PyAny>) -> PyResult<pinlink::Batch> {
    for item in items.try_iter()? {
        let (key, body): (Bound<'_, Key>, Bound<'_, PyAny>) = item?.extract()?;
        let body = match body.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes().to_vec(),
            Err(_) => body.extract::<String>()?.into_bytes(),
        };
        batch = batch.item(&key.get().key, body);
    }
    Ok(batch)
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
        let url = Arc::new(Mutex::new(String::new()));
        let went = Arc::clone(&url);
        let composes = move |items: &[(pinlink::Key, Bytes)]| {
            let request = Python::try_attach(|py| composed(py, &compose, items)).flatten();
            // One that can't be sent: what was raised ends the call.
            let request = request.unwrap_or_else(|| pinlink::Request::post("not composed"));
            *went.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = request.url();
            request
        };
        let reads = move |answer: &pinlink::Response| Python::try_attach(|py| fates(py, &read, answer)).flatten();
        let mut batch = pinlink::Batch::new(composes, reads);
        if let Some(memory) = memory {
            batch = batch.memory(duration(py, "memory", memory)?);
        }
        Ok(Batch { batch: filled(batch, items)?, url })
    }

    /// `_bulk` of Elasticsearch and OpenSearch at this URL, one `create` for each item; an item is a JSON document.
    #[staticmethod]
    fn elasticsearch(url: String, index: &str, items: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let batch = filled(pinlink::Batch::elasticsearch(&url, index), items)?;
        Ok(Batch { batch, url: Arc::new(Mutex::new(url)) })
    }

    fn __repr__(&self) -> &'static str {
        "<pinlink.Batch>"
    }
}

/// The request of some of the items, as the caller's function makes it.
fn composed(py: Python<'_>, compose: &Py<PyAny>, items: &[(pinlink::Key, Bytes)]) -> Option<pinlink::Request> {
    let call = || {
        let pair =
            |(key, body): &(pinlink::Key, Bytes)| Ok((Bound::new(py, Key { key: *key })?, PyBytes::new(py, body)));
        let items = PyList::new(py, items.iter().map(pair).collect::<PyResult<Vec<_>>>()?)?;
        let request: Bound<'_, Request> = compose.bind(py).call1((items,))?.cast_into()?;
        Ok::<_, PyErr>(request.get().request.clone())
    };
    call().map_err(|raised| waiting::raise(py, raised)).ok()
}

/// What the caller's function finds in an answer: a meaning and a status for each item. Nothing where it raises.
fn fates(py: Python<'_>, read: &Py<PyAny>, answer: &pinlink::Response) -> Option<Vec<Fate>> {
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
    call().map_err(|raised| waiting::raise(py, raised)).ok().flatten()
}
