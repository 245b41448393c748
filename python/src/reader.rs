//! An answer that is read while it comes, for a blocking caller.
//!
//! It owns the one reader that threads may share, and its end.

use std::sync::Mutex;

use pinlink::Reader;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::response::mapping;
use crate::{failure, waiting};

/// The pieces of an answer.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Pieces {
    reader: Mutex<Option<Reader>>,
    #[pyo3(get)]
    status: u16,
    #[pyo3(get)]
    headers: Py<PyAny>,
    #[pyo3(get)]
    url: Py<PyString>,
}

impl Pieces {
    pub(crate) fn new(py: Python<'_>, reader: Reader, url: Py<PyString>) -> PyResult<Pieces> {
        let headers = mapping(py, reader.headers().iter())?.unbind();
        Ok(Pieces { status: reader.status(), reader: Mutex::new(Some(reader)), headers, url })
    }

    /// Runs `work` with the reader, unless it was closed. Others wait without the interpreter.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Option<Reader>) -> T + Send) -> PyResult<T> {
        waiting::wait(py, || work(&mut self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner())), Ok)
    }
}

#[pymethods]
impl Pieces {
    /// The next piece, up to 256 KiB; empty at the end.
    fn chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let piece = self.with(py, |reader| reader.as_mut().map_or(Ok(None), Reader::chunk))?;
        let piece = piece.map_err(|error| failure::raised(py, &error))?;
        Ok(PyBytes::new(py, &piece.unwrap_or_default()))
    }

    /// The fields that came behind the body; none before its end.
    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let trailers = self.with(py, |reader| reader.as_ref().map(|reader| reader.trailers().clone()))?;
        mapping(py, trailers.unwrap_or_default().iter())
    }

    /// Gives the connection back, or closes it where the body has not ended.
    fn close(&self, py: Python<'_>) {
        // No wait of a call's: it comes at the end of the interpreter too.
        py.detach(|| drop(self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()));
    }
}
