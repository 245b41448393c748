//! The client of a Python program.
//!
//! It owns the methods, and what becomes of a client in a pickle: its options and pins; whoever unpickles it connects when
//! it first calls. What happens at `fork()` is the core's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple, PyType};

use crate::failure::{self, Asked};
use crate::options::{Blueprint, Pickled};
use crate::pins::{PinSet, addresses};
use crate::place::Place;
use crate::reader::Pieces;
use crate::request::{self, Parts, Request, compose};
use crate::response::Response;
use crate::write::{self, Batch, Write, Written};
use crate::{doctor, waiting};

/// A client: resolved, pinned, pooled, bounded.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Client {
    blueprint: Blueprint,
    built: OnceLock<pinlink::Client>,
    /// Whether others have the client too: then this is a handle, which is closed alone.
    is_shared: bool,
    is_closed: AtomicBool,
}

impl Client {
    fn of(blueprint: Blueprint, built: OnceLock<pinlink::Client>) -> Client {
        Client { blueprint, built, is_shared: false, is_closed: AtomicBool::new(false) }
    }

    /// The core's client; built now where this one came out of a pickle.
    pub(crate) fn core(&self, py: Python<'_>) -> PyResult<&pinlink::Client> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(failure::closed(py, "this handle of the process's client was closed"));
        }
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let built = waiting::call(py, || self.blueprint.builder().build())?;
        // Of two threads that were first, one's serves both.
        Ok(self.built.get_or_init(|| built))
    }

    fn send_composed(&self, py: Python<'_>, request: &pinlink::Request, asked: Asked) -> PyResult<Response> {
        let core = self.core(py)?;
        waiting::wait(
            py,
            || core.send(request),
            |outcome| match outcome {
                Ok(response) => Ok(Response::new(response, asked.url)),
                Err(error) => Err(asked.raise(py, &error)),
            },
        )
    }

    fn opened(&self, request: &Bound<'_, PyAny>) -> PyResult<Pieces> {
        let py = request.py();
        let (request, asked) = request::row(py, request)?;
        let core = self.core(py)?;
        let reader =
            waiting::wait(py, || core.open(&request), |opened| opened.map_err(|error| asked.raise(py, &error)))?;
        Ok(Pieces::new(reader, asked.url))
    }

    fn ask(&self, method: &str, url: Bound<'_, PyString>, parts: &Parts<'_, '_>) -> PyResult<Response> {
        let py = url.py();
        let request = compose(py, method, &url, parts)?;
        self.send_composed(py, &request, Asked::plain(url.unbind()))
    }
}

#[pymethods]
impl Client {
    /// Checks the options, resolves every declared host that has no pin, and makes the client.
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Client> {
        let client = Client::of(Blueprint::new(options)?, OnceLock::new());
        client.core(py)?;
        Ok(client)
    }

    /// The client of this process: built by the first who asks, the same for all who ask with the same options.
    #[staticmethod]
    #[pyo3(signature = (**options))]
    fn shared(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Client> {
        let blueprint = Blueprint::new(options)?;
        let built = waiting::call(py, || blueprint.builder().build_shared())?;
        Ok(Client { is_shared: true, ..Client::of(blueprint, OnceLock::from(built)) })
    }

    /// Sends a GET.
    #[pyo3(signature = (url, *, params=None, headers=None, timeout=None))]
    fn get(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("GET", url, &Parts { params, headers, timeout, ..Parts::default() })
    }

    /// Sends a HEAD.
    #[pyo3(signature = (url, *, params=None, headers=None, timeout=None))]
    fn head(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("HEAD", url, &Parts { params, headers, timeout, ..Parts::default() })
    }

    /// Sends a POST: at most once, unless it has an `Idempotency-Key`.
    #[pyo3(signature = (url, *, params=None, headers=None, json=None, data=None, timeout=None))]
    fn post(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("POST", url, &Parts { params, headers, json, data, timeout, ..Parts::default() })
    }

    /// Sends a PUT.
    #[pyo3(signature = (url, *, params=None, headers=None, json=None, data=None, timeout=None))]
    fn put(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("PUT", url, &Parts { params, headers, json, data, timeout, ..Parts::default() })
    }

    /// Sends a PATCH: at most once, unless it has an `Idempotency-Key`.
    #[pyo3(signature = (url, *, params=None, headers=None, json=None, data=None, timeout=None))]
    fn patch(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("PATCH", url, &Parts { params, headers, json, data, timeout, ..Parts::default() })
    }

    /// Sends a DELETE.
    #[pyo3(signature = (url, *, params=None, headers=None, json=None, data=None, timeout=None))]
    fn delete(
        &self,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask("DELETE", url, &Parts { params, headers, json, data, timeout, ..Parts::default() })
    }

    /// Sends a request by any method.
    #[pyo3(signature = (method, url, *, params=None, headers=None, json=None, data=None, timeout=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python's")]
    fn request(
        &self,
        method: &str,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Response> {
        self.ask(method, url, &Parts { params, headers, json, data, timeout, ..Parts::default() })
    }

    /// Sends a request that was made before.
    fn send(&self, py: Python<'_>, request: &Bound<'_, Request>) -> PyResult<Response> {
        let (request, asked) = request.get().armed(py);
        self.send_composed(py, &request, asked)
    }

    /// Sends many, as many at once as there may be connections: an outcome a row, in their order.
    fn map<'py>(&self, py: Python<'py>, requests: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let rows: PyResult<Vec<_>> = requests.try_iter()?.map(|row| request::row(py, &row?)).collect();
        let (requests, asked): (Vec<_>, Vec<_>) = rows?.into_iter().unzip();
        let core = self.core(py)?;
        waiting::wait(py, || core.map(&requests), |outcomes| answered(py, outcomes, asked))
    }

    /// Sends a request, or a GET of this URL, whose answer is read while it comes.
    fn open<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static READER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        READER.import(py, "pinlink._reader", "Reader")?.call1((self.opened(request)?,))
    }

    /// A connection to a declared `tcp://host:port`, for protocols that are not HTTP.
    #[pyo3(signature = (host, port, *, tls=None, timeout=30.0))]
    fn connect<'py>(
        &self,
        py: Python<'py>,
        host: &str,
        port: u16,
        tls: Option<&Bound<'py, PyAny>>,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        static CONNECTED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let core = self.core(py)?;
        let place = Place::new(waiting::call(py, || core.connect(host, port))?);
        let tls = tls.map_or_else(|| PyBool::new(py, false).to_owned().into_any(), Clone::clone);
        CONNECTED.import(py, "pinlink._socket", "connected")?.call1((place, host, tls, timeout))
    }

    /// Writes, and says what became of it.
    fn write(&self, py: Python<'_>, write: &Bound<'_, Write>) -> PyResult<Written> {
        let (write, asked) = write.get().armed(py);
        let core = self.core(py)?;
        waiting::wait(
            py,
            || core.write(&write),
            |outcome| match outcome {
                Ok(written) => Ok(Written::new(written, asked.url)),
                Err(error) => Err(asked.raise(py, &error)),
            },
        )
    }

    /// Writes many, as many at once as there may be connections: an outcome for each, in their order.
    fn write_all<'py>(&self, py: Python<'py>, writes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (writes, asked) = write::each(py, writes)?;
        let core = self.core(py)?;
        waiting::wait(py, || core.write_all(&writes), |outcomes| written(py, outcomes, asked))
    }

    /// Writes many in one request, and sends again only those that failed: an outcome for each, in their order.
    fn write_batch<'py>(&self, py: Python<'py>, batch: &Bound<'py, Batch>) -> PyResult<Bound<'py, PyList>> {
        let core = self.core(py)?;
        let (batch, sent) = batch.get().armed();
        let asked = std::iter::repeat_with(|| sent.asked(py));
        waiting::wait(py, || core.write_batch(&batch), |outcomes| written(py, outcomes, asked))
    }

    /// What is pinned now.
    fn pins(&self, py: Python<'_>) -> PyResult<PinSet> {
        Ok(PinSet::new(self.core(py)?.pins()))
    }

    /// Replaces the addresses of a declared host.
    fn repin(&self, py: Python<'_>, host: &str, to: &Bound<'_, PyAny>) -> PyResult<()> {
        let (core, addresses) = (self.core(py)?, addresses(py, to)?);
        waiting::call(py, || core.repin(host, &addresses))
    }

    /// What this client has done in this process: counters by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counters(py, &self.built.get().map(pinlink::Client::stats).unwrap_or_default())
    }

    /// Looks at the way to each declared origin, from where this client is.
    fn doctor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core(py)?;
        doctor::diagnose(py, || core.doctor())
    }

    /// Closes idle connections and fails every later call.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.built.get() {
            Some(_) if self.is_shared => {
                self.is_closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(built) => waiting::wait(py, || built.close(), Ok),
            // It never was.
            None => Ok(()),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// Options and pins; no socket. Options are as they were given, a proxy's password among them.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Pickled)> {
        let this = slf.get();
        let restored = slf.py().import("pinlink._pinlink")?.getattr("restored")?;
        Ok((restored, this.blueprint.pickled(this.built.get().map(pinlink::Client::pins))))
    }

    fn __repr__(&self) -> String {
        let hosts = self.blueprint.options.iter().find(|(name, _)| name == "hosts");
        format!("<pinlink.Client of {}>", hosts.map_or("no hosts", |(_, hosts)| hosts))
    }
}

/// Counters by name, the parts of the latency among them.
pub(crate) fn counters<'py>(py: Python<'py>, stats: &pinlink::Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&stats.to_json()) {
        for (name, value) in fields {
            match value {
                serde_json::Value::Object(parts) => {
                    for (part, value) in parts {
                        dict.set_item(format!("{name}_{part}"), value.as_u64())?;
                    }
                }
                value => dict.set_item(name, value.as_u64())?,
            }
        }
    }
    Ok(dict)
}

/// An outcome for each row: its answer, or the exception that says why there is none.
pub(crate) fn answered(
    py: Python<'_>,
    outcomes: Vec<Result<pinlink::Response, pinlink::Error>>,
    asked: Vec<Asked>,
) -> PyResult<Bound<'_, PyList>> {
    let outcomes = outcomes.into_iter().zip(asked).map(|(outcome, asked)| match outcome {
        Ok(response) => Bound::new(py, Response::new(response, asked.url)).map(Bound::into_any),
        Err(error) => asked.outcome(py, &error),
    });
    PyList::new(py, outcomes.collect::<PyResult<Vec<_>>>()?)
}

/// An outcome for each write: what it had, or the exception that says why not.
pub(crate) fn written<'py>(
    py: Python<'py>,
    outcomes: Vec<Result<pinlink::Written, pinlink::Error>>,
    asked: impl IntoIterator<Item = Asked>,
) -> PyResult<Bound<'py, PyList>> {
    let outcomes = outcomes.into_iter().zip(asked).map(|(outcome, asked)| match outcome {
        Ok(written) => Bound::new(py, Written::new(written, asked.url)).map(Bound::into_any),
        Err(error) => asked.outcome(py, &error),
    });
    PyList::new(py, outcomes.collect::<PyResult<Vec<_>>>()?)
}

/// As a client's `open`, for who reads the pieces as they are: an adapter.
#[pyfunction]
pub(crate) fn opened(client: &Bound<'_, Client>, request: &Bound<'_, PyAny>) -> PyResult<Pieces> {
    client.get().opened(request)
}

/// A client out of a pickle. It connects to nothing before its first call.
#[pyfunction]
pub(crate) fn restored(py: Python<'_>, options: Vec<(String, String)>, pins: Option<&str>) -> PyResult<Client> {
    let imported = pins.map(pinlink::PinSet::from_json).transpose().map_err(|error| failure::raised(py, &error))?;
    Ok(Client::of(Blueprint { options, imported }, OnceLock::new()))
}
