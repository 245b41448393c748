//! A request as Python gives it.
//!
//! It owns how `params`, `headers`, `json`, `data` and `timeout` become what the core knows. Every check of what they say is
//! the core's.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyMemoryView, PyString};

use crate::failure::{self, Asked, Raised};
use crate::feed::Feed;
use crate::options::{mistaken, seconds};
use crate::response::mapping;

/// Bodies up to this size are copied: that costs less than keeping the object whose bytes they are.
const COPIED: usize = 64 * 1024;

/// What the methods of a client take besides a URL.
#[derive(Default)]
pub(crate) struct Parts<'a, 'py> {
    pub(crate) params: Option<&'a Bound<'py, PyAny>>,
    pub(crate) headers: Option<&'a Bound<'py, PyAny>>,
    pub(crate) json: Option<&'a Bound<'py, PyAny>>,
    pub(crate) data: Option<&'a Bound<'py, PyAny>>,
    pub(crate) timeout: Option<&'a Bound<'py, PyAny>>,
    /// How long the body is that `data` brings piece by piece.
    pub(crate) length: Option<u64>,
}

/// The core's request.
pub(crate) fn compose(
    py: Python<'_>,
    method: &str,
    url: &Bound<'_, PyString>,
    parts: &Parts<'_, '_>,
) -> PyResult<pinlink::Request> {
    let mut request = pinlink::Request::new(method, &url.to_cow()?);
    if let Some(params) = parts.params {
        request = with_params(request, params)?;
    }
    if let Some(headers) = parts.headers {
        request = with_headers(request, headers)?;
    }
    request = match (parts.json, parts.data) {
        (None, None) => request,
        (Some(_), Some(_)) => return Err(failure::input(py, "a request has json or data, not both")),
        (Some(json), None) => {
            let text = dumped(py, json)?;
            unless_given(request, "application/json").body(text)
        }
        (None, Some(data)) => with_data(py, request, data, parts.length)?,
    };
    match parts.timeout {
        Some(timeout) => Ok(request.timeout(duration(py, "timeout", timeout)?)),
        None => Ok(request),
    }
}

/// A time of a call. One that no time can be is told as zero, which the core refuses.
pub(crate) fn duration(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds = seconds(value)?.ok_or_else(|| mistaken(name, "seconds or a timedelta", value))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => Ok(duration),
        Err(_) => Err(failure::input(py, &format!("{name}: {seconds} s is no time to wait"))),
    }
}

/// The pairs of a mapping, or of an iterable of pairs.
pub(crate) fn pairs<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let fail = || mistaken(name, "a mapping or pairs", value);
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(dict.iter().collect());
    }
    let items = if value.hasattr("items")? { value.call_method0("items")? } else { value.clone() };
    let items = items.try_iter().map_err(|_| fail())?;
    items.map(|pair| pair?.extract().map_err(|_| fail())).collect()
}

fn with_headers(mut request: pinlink::Request, headers: &Bound<'_, PyAny>) -> PyResult<pinlink::Request> {
    for (name, value) in pairs("headers", headers)? {
        let name = name.cast::<PyString>().map_err(|_| mistaken("the name of a header", "a str", &name))?;
        let name = name.to_cow()?;
        request = if let Ok(text) = value.cast::<PyString>() {
            request.header(&name, text.to_cow()?.as_bytes())
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            request.header(&name, bytes.as_bytes())
        } else {
            return Err(mistaken("the value of a header", "a str or bytes", &value));
        };
    }
    Ok(request)
}

fn with_params(mut request: pinlink::Request, params: &Bound<'_, PyAny>) -> PyResult<pinlink::Request> {
    for (name, value) in pairs("params", params)? {
        let name: String = name.str()?.extract()?;
        let several = value.cast::<PyString>().is_err() && value.cast::<PyBytes>().is_err();
        match value.try_iter() {
            Ok(values) if several => {
                for value in values {
                    request = with_param(request, &name, &value?)?;
                }
            }
            _ => request = with_param(request, &name, &value)?,
        }
    }
    Ok(request)
}

/// `None` adds nothing, as in `requests`; a flag is JSON's.
fn with_param(request: pinlink::Request, name: &str, value: &Bound<'_, PyAny>) -> PyResult<pinlink::Request> {
    if value.is_none() {
        return Ok(request);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(request.query(name, if flag.is_true() { "true" } else { "false" }));
    }
    if value.cast::<PyBytes>().is_ok() {
        return Err(mistaken("a parameter of the query", "text or a number", value));
    }
    Ok(request.query(name, value.str()?.to_cow()?.as_ref()))
}

fn unless_given(request: pinlink::Request, content_type: &str) -> pinlink::Request {
    let is_given = request.headers().any(|(name, _)| name.as_str() == "content-type");
    if is_given { request } else { request.header("content-type", content_type) }
}

/// As JSON without blanks. NaN is none, and refused.
fn dumped(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.get_or_try_init(py, || {
        let options = PyDict::new(py);
        options.set_item("ensure_ascii", false)?;
        options.set_item("allow_nan", false)?;
        options.set_item("separators", (",", ":"))?;
        let encoder = py.import("json")?.getattr("JSONEncoder")?.call((), Some(&options))?;
        encoder.getattr("encode").map(Bound::unbind)
    })?;
    let text = encode.bind(py).call1((value,))?;
    Ok(text.cast::<PyString>()?.to_cow()?.into_owned().into_bytes())
}

/// How much of a file is left to be read, where it can tell.
fn rest_of(file: &Bound<'_, PyAny>) -> Option<u64> {
    let at: u64 = file.call_method0("tell").ok()?.extract().ok()?;
    let end: u64 = file.call_method1("seek", (0, 2)).ok()?.extract().ok()?;
    file.call_method1("seek", (at,)).ok()?;
    end.checked_sub(at)
}

fn with_data(
    py: Python<'_>,
    request: pinlink::Request,
    data: &Bound<'_, PyAny>,
    length: Option<u64>,
) -> PyResult<pinlink::Request> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        if bytes.as_bytes().len() <= COPIED {
            return Ok(request.body(Bytes::copy_from_slice(bytes.as_bytes())));
        }
        return Ok(request.body(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))));
    }
    if let Ok(text) = data.cast::<PyString>() {
        let text = match text.to_cow()? {
            Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        return Ok(request.body(text));
    }
    if let Ok(feed) = data.cast::<Feed>() {
        return Ok(request.body_stream(feed.get().pieces(py)?, length));
    }
    if data.hasattr("read")? {
        let length = length.or_else(|| rest_of(data));
        return Ok(
            request.body_reader(Source { from: Origin::File(data.clone().unbind()), left: Bytes::new() }, length)
        );
    }
    if data.hasattr("items")? {
        static URLENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let options = PyDict::new(py);
        options.set_item("doseq", true)?;
        let form = URLENCODE.import(py, "urllib.parse", "urlencode")?.call((data,), Some(&options))?;
        let request = unless_given(request, "application/x-www-form-urlencoded");
        return Ok(request.body(form.extract::<String>()?));
    }
    if let Ok(array) = data.cast::<PyByteArray>() {
        return Ok(request.body(array.to_vec()));
    }
    if data.cast::<PyMemoryView>().is_ok() {
        return Ok(request.body(data.call_method0("tobytes")?.extract::<Vec<u8>>()?));
    }
    match data.try_iter() {
        Ok(pieces) => {
            let from = Origin::Pieces(pieces.into_any().unbind());
            Ok(request.body_reader(Source { from, left: Bytes::new() }, length))
        }
        Err(_) => Err(mistaken("data", "bytes, str, a mapping, a file or an iterable of bytes", data)),
    }
}

/// A body that Python brings piece by piece, asked on the calling thread.
struct Source {
    from: Origin,
    left: Bytes,
}

enum Origin {
    /// Something with `read(size)`.
    File(Py<PyAny>),
    /// An iterator of `bytes`.
    Pieces(Py<PyAny>),
}

impl Origin {
    /// The next piece; empty at the end.
    fn next(&self, py: Python<'_>, size: usize) -> PyResult<Bytes> {
        loop {
            let piece = match self {
                Origin::File(file) => file.bind(py).call_method1("read", (size,))?,
                Origin::Pieces(pieces) => match pieces.bind(py).try_iter()?.next() {
                    Some(piece) => piece?,
                    None => return Ok(Bytes::new()),
                },
            };
            let bytes = piece.cast::<PyBytes>().map_err(|_| mistaken("a piece of a body", "bytes", &piece))?;
            if matches!(self, Origin::File(_)) || !bytes.as_bytes().is_empty() {
                return Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let next = Python::try_attach(|py| self.from.next(py, into.len()));
            let ended = || io::Error::other("the interpreter has ended");
            self.left = next.ok_or_else(ended)?.map_err(io::Error::other)?;
        }
        let size = into.len().min(self.left.len());
        into[..size].copy_from_slice(&self.left.split_to(size));
        Ok(size)
    }
}

/// A request that is made now and sent later: for `map`, `send` and writes.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Request {
    request: pinlink::Request,
    url: Py<PyString>,
    sign: Option<Arc<Py<PyAny>>>,
}

impl Request {
    /// As the core sends it in one call, and what that call was asked.
    pub(crate) fn armed(&self, py: Python<'_>) -> (pinlink::Request, Asked) {
        let raised = self.sign.as_ref().map(|_| Raised::default());
        let url = self.url.clone_ref(py);
        match &raised {
            Some(raised) => (self.armed_with(raised), Asked { url, raised: Some(raised.clone()) }),
            None => (self.request.clone(), Asked::plain(url)),
        }
    }

    /// The same, where something else may raise too.
    pub(crate) fn armed_with(&self, raised: &Raised) -> pinlink::Request {
        let request = self.request.clone();
        let Some(sign) = self.sign.clone() else { return request };
        let raised = raised.clone();
        request.signed(move |unsigned| signed(unsigned, &sign, |py, error| raised.keep(py, error)))
    }

    /// Where it goes, as it was given.
    pub(crate) fn address(&self, py: Python<'_>) -> Py<PyString> {
        self.url.clone_ref(py)
    }
}

#[pymethods]
impl Request {
    /// A request: method, URL, and what goes along.
    #[new]
    #[pyo3(signature = (method, url, *, params=None, headers=None, json=None, data=None, timeout=None,
        trailers=None, expect_continue=false, resume=false, size_limit=None, sign=None, length=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python's")]
    fn new(
        py: Python<'_>,
        method: &str,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        trailers: Option<&Bound<'_, PyAny>>,
        expect_continue: bool,
        resume: bool,
        size_limit: Option<u64>,
        sign: Option<Py<PyAny>>,
        length: Option<u64>,
    ) -> PyResult<Request> {
        let mut request = compose(py, method, &url, &Parts { params, headers, json, data, timeout, length })?;
        for (name, value) in trailers.map_or_else(|| Ok(Vec::new()), |trailers| pairs("trailers", trailers))? {
            request = request.trailer(&name.extract::<String>()?, value.extract::<String>()?);
        }
        if expect_continue {
            request = request.expect_continue();
        }
        if resume {
            request = request.resume();
        }
        if let Some(bytes) = size_limit {
            request = request.size_limit(bytes);
        }
        request.check().map_err(|error| failure::raised(py, &error))?;
        Ok(Request { request, url: url.unbind(), sign: sign.map(Arc::new) })
    }

    /// The method.
    #[getter]
    fn method(&self) -> &str {
        self.request.method()
    }

    /// Where it goes, with its parameters.
    #[getter]
    fn url(&self) -> String {
        self.request.url()
    }

    /// The header fields given so far.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let fields: Vec<_> = self.request.headers().collect();
        mapping(py, fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    /// The body, where it is at hand as a whole.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.body_bytes().map(|body| PyBytes::new(py, body))
    }

    fn __repr__(&self) -> String {
        // Paths and queries may hold secrets.
        format!("<pinlink.Request {} {}>", self.request.method(), host_of(&self.request.url()))
    }
}

/// The request with the header fields that the caller's function signs it by; one that can't be sent where that raises,
/// which is kept.
pub(crate) fn signed(
    unsigned: pinlink::Request,
    sign: &Py<PyAny>,
    keep: impl FnOnce(Python<'_>, PyErr),
) -> pinlink::Request {
    let attached = Python::try_attach(|py| {
        let url = PyString::new(py, &unsigned.url()).unbind();
        let shown = Request { request: unsigned.clone(), url, sign: None };
        let signature = sign.bind(py).call1((shown,)).and_then(|fields| with_headers(unsigned.clone(), &fields));
        signature.map_err(|raised| keep(py, raised)).ok()
    });
    attached.flatten().unwrap_or_else(|| unsigned.header("not signed", ""))
}

/// The host and port of a URL, for messages.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A row of a batch: a request, or the URL of a GET.
pub(crate) fn row<'py>(py: Python<'py>, row: &Bound<'py, PyAny>) -> PyResult<(pinlink::Request, Asked)> {
    if let Ok(url) = row.cast::<PyString>() {
        return Ok((compose(py, "GET", url, &Parts::default())?, Asked::plain(url.clone().unbind())));
    }
    match row.cast::<Request>() {
        Ok(request) => Ok(request.get().armed(py)),
        Err(_) => Err(mistaken("a batch", "Requests and URLs", row)),
    }
}
