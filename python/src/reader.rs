//! An answer that is read while it comes, for a blocking caller.
//!
//! It owns the one reader that threads may share, and its end. A signal's handler runs on the thread that waits for a piece:
//! nothing here waits for what that thread holds.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::thread::{self, ThreadId};
use std::{ptr, slice};

use pinlink::{Piece, Reader};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::response::{Fields, mapping};
use crate::{failure, waiting};

/// What is said to who reads on.
pub(crate) const CLOSED: &str = "the answer was closed";

/// What one piece holds at most: as the core's.
const PIECE: usize = 120 * 1024;

/// The pieces of an answer.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Pieces {
    reader: Mutex<Option<Reader>>,
    /// Which thread has the reader.
    held_by: Mutex<Option<ThreadId>>,
    is_closed: AtomicBool,
    /// A piece that was not filled, for the next one.
    blank: Mutex<Option<Blank>>,
    #[pyo3(get)]
    status: u16,
    #[pyo3(get)]
    url: Py<PyString>,
    fields: Fields,
}

impl Pieces {
    pub(crate) fn new(reader: Reader, url: Py<PyString>) -> Pieces {
        let (status, fields) = (reader.status(), Fields::new(reader.headers().clone()));
        let (held_by, is_closed) = (Mutex::new(None), AtomicBool::new(false));
        Pieces { reader: Mutex::new(Some(reader)), held_by, is_closed, blank: Mutex::new(None), status, url, fields }
    }

    fn holder(&self, thread: Option<ThreadId>) -> Option<ThreadId> {
        std::mem::replace(&mut *self.held_by.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), thread)
    }

    /// Runs `work` with the reader, unless it was closed. Other threads wait without the interpreter.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Reader) -> T + Send) -> PyResult<T> {
        let this = thread::current().id();
        let held = *self.held_by.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if held == Some(this) {
            return Err(PyRuntimeError::new_err("this thread is reading the answer already"));
        }
        let done = waiting::wait(
            py,
            || {
                let mut reader = self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if self.is_closed.load(Ordering::SeqCst) {
                    return None;
                }
                self.holder(Some(this));
                let done = reader.as_mut().map(work);
                self.holder(None);
                done
            },
            Ok,
        );
        if self.is_closed.load(Ordering::SeqCst) {
            py.detach(|| self.let_go());
        }
        done?.ok_or_else(|| PyValueError::new_err(CLOSED))
    }

    /// Drops the reader, unless somebody has it: who does drops it afterwards.
    fn let_go(&self) {
        match self.reader.try_lock() {
            Ok(mut reader) => drop(reader.take()),
            Err(TryLockError::Poisoned(poisoned)) => drop(poisoned.into_inner().take()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// An object of Python's that nobody has seen yet: what it holds is read straight into it, without the interpreter.
struct Blank(Py<PyBytes>);

impl Blank {
    fn new(py: Python<'_>) -> PyResult<Blank> {
        // SAFETY: with no bytes to copy it makes an object of that size, ours alone, whose bytes are to be written; or it
        // returns null and has raised.
        let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(ptr::null(), PIECE as _)) };
        Ok(Blank(made?.cast_into::<PyBytes>()?.unbind()))
    }

    fn memory(&mut self, py: Python<'_>) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the object's memory is as long as it says, lives as long as `self`, and nobody else knows of it: it is
        // shown to nobody before `self` has gone.
        unsafe {
            let start = ffi::PyBytes_AsString(self.0.bind(py).as_ptr());
            slice::from_raw_parts_mut(start.cast(), PIECE)
        }
    }

    /// The first `size` bytes, which have been written.
    fn filled(&mut self, py: Python<'_>, size: usize) -> &[u8] {
        let memory = &self.memory(py)[..size];
        // SAFETY: they are initialised, as the caller says, and of the same layout.
        unsafe { slice::from_raw_parts(memory.as_ptr().cast(), size) }
    }
}

#[pymethods]
impl Pieces {
    /// The next piece, up to 120 KiB; empty at the end.
    fn chunk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let kept = self.blank.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let mut blank = kept.map_or_else(|| Blank::new(py), Ok)?;
        let memory = blank.memory(py);
        let piece = self.with(py, |reader| reader.chunk_into(memory))?.map_err(|error| failure::raised(py, &error))?;
        let piece = match piece {
            Piece::Here(PIECE) => return Ok(blank.0.into_bound(py)),
            // The end: there is no next one.
            Piece::Here(0) => return Ok(PyBytes::new(py, &[])),
            Piece::Here(size) => PyBytes::new(py, blank.filled(py, size)),
            Piece::Apart(piece) => PyBytes::new(py, &piece),
        };
        *self.blank.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(blank);
        Ok(piece)
    }

    /// The header fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.fields.mapping(py)
    }

    /// The same as pairs of text, names in lower case.
    fn pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.fields.pairs(py)
    }

    /// The same as pairs of bytes.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.fields.bytes(py)
    }

    /// The fields that came behind the body; none before its end.
    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let trailers = self.with(py, |reader| reader.trailers().clone())?;
        mapping(py, trailers.iter())
    }

    /// Gives the connection back, or closes it where the body has not ended.
    fn close(&self, py: Python<'_>) {
        self.is_closed.store(true, Ordering::SeqCst);
        // No wait of a call's: it comes at the end of the interpreter too.
        py.detach(|| self.let_go());
    }
}
