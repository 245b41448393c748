//! An answer as Python sees it: the core's, converted where somebody looks.
//!
//! It owns what is converted when, and the decoding of text.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};

use crate::failure;
use crate::request::host_of;

/// An answer, read to its end.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Response {
    response: pinlink::Response,
    url: Py<PyString>,
    content: PyOnceLock<Py<PyBytes>>,
    headers: PyOnceLock<Py<PyAny>>,
}

impl Response {
    pub(crate) fn new(response: pinlink::Response, url: Py<PyString>) -> Response {
        Response { response, url, content: PyOnceLock::new(), headers: PyOnceLock::new() }
    }
}

/// The head of an answer that is read while it comes: its fields, converted where somebody looks.
pub(crate) struct Fields {
    headers: pinlink::Headers,
    mapping: PyOnceLock<Py<PyAny>>,
}

impl Fields {
    pub(crate) fn new(headers: pinlink::Headers) -> Fields {
        Fields { headers, mapping: PyOnceLock::new() }
    }

    /// As the package's mapping.
    pub(crate) fn mapping(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = || mapping(py, self.headers.iter()).map(Bound::unbind);
        self.mapping.get_or_try_init(py, made).map(|headers| headers.clone_ref(py))
    }

    /// As pairs of text.
    pub(crate) fn pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.headers.iter().map(|(name, value)| (name, text_of(value)));
        PyList::new(py, pairs.collect::<Vec<_>>())
    }

    /// As pairs of bytes, each as it came but for the case of names.
    pub(crate) fn bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs =
            self.headers.iter().map(|(name, value)| (PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value)));
        PyList::new(py, pairs.collect::<Vec<_>>())
    }
}

/// Header fields as the package's mapping.
pub(crate) fn mapping<'py, 'a>(
    py: Python<'py>,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> PyResult<Bound<'py, PyAny>> {
    static HEADERS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let pairs = fields.map(|(name, value)| (name, text_of(value)));
    HEADERS.import(py, "pinlink._headers", "Headers")?.call1((PyList::new(py, pairs.collect::<Vec<_>>())?,))
}

/// A header's value as text: UTF-8, or where it is none, byte by byte (Latin-1), so that nothing is lost.
fn text_of(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

/// The charset that a content type names, in lower case.
fn charset(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let named = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    named.map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase()).filter(|value| !value.is_empty())
}

#[pymethods]
impl Response {
    /// The status code, 200 to 599.
    #[getter]
    fn status(&self) -> u16 {
        self.response.status()
    }

    /// Whether the status is below 400.
    #[getter]
    fn ok(&self) -> bool {
        self.response.status() < 400
    }

    /// The URL that was asked for.
    #[getter]
    fn url(&self, py: Python<'_>) -> Py<PyString> {
        self.url.clone_ref(py)
    }

    /// The header fields, by their case-insensitive names.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = || mapping(py, self.response.headers().iter()).map(Bound::unbind);
        self.headers.get_or_try_init(py, made).map(|headers| headers.clone_ref(py))
    }

    /// The fields that came behind the body.
    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        mapping(py, self.response.trailers().iter())
    }

    /// The body.
    #[getter]
    fn content(&self, py: Python<'_>) -> Py<PyBytes> {
        self.content.get_or_init(py, || PyBytes::new(py, self.response.body()).unbind()).clone_ref(py)
    }

    /// The body as text, by the charset of its content type, else UTF-8; what is malformed becomes U+FFFD.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let named = self.response.header("content-type").and_then(charset);
        match named.as_deref() {
            None | Some("utf-8" | "utf8" | "us-ascii") => {
                Ok(PyString::new(py, &String::from_utf8_lossy(self.response.body())).into_any())
            }
            Some(charset) => {
                let decoded = self.content(py).bind(py).call_method1("decode", (charset, "replace"));
                // A charset that nobody knows says nothing.
                decoded.or_else(|_| Ok(PyString::new(py, &String::from_utf8_lossy(self.response.body())).into_any()))
            }
        }
    }

    /// Whether the body goes on beyond what was kept of it: that of a status of 400 or more (option `max_error_body`).
    #[getter]
    fn is_cut(&self) -> bool {
        self.response.is_cut()
    }

    /// How the call went: address, tries, and times in seconds.
    #[getter]
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trace = self.response.trace();
        let dict = PyDict::new(py);
        dict.set_item("address", trace.address.map(|address| address.to_string()))?;
        dict.set_item("attempts", trace.attempts)?;
        dict.set_item("reused", trace.reused)?;
        dict.set_item("http2", trace.is_http2)?;
        for (name, time) in [
            ("queue", trace.queue),
            ("connect", trace.connect),
            ("handshake", trace.handshake),
            ("wait", trace.wait),
            ("receive", trace.receive),
            ("total", trace.total),
        ] {
            dict.set_item(name, time.as_secs_f64())?;
        }
        Ok(dict)
    }

    /// The body, parsed as JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        LOADS.import(py, "json", "loads")?.call1((self.content(py),))
    }

    /// The body in pieces of this size.
    #[pyo3(signature = (size=65536))]
    fn iter_bytes<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyAny>> {
        let pieces = self.response.body().chunks(size.max(1)).map(|piece| PyBytes::new(py, piece));
        Ok(PyList::new(py, pieces.collect::<Vec<_>>())?.try_iter()?.into_any())
    }

    /// This answer, unless its status is 400 or more.
    fn raise_for_status<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        match this.response.status() {
            status @ 400.. => {
                Err(failure::status(py, status, host_of(&this.url.bind(py).to_cow()?), this.response.body()))
            }
            _ => Ok(slf),
        }
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Response {}, {} bytes>", self.response.status(), self.response.body().len())
    }
}
