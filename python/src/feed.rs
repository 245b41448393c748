//! A body that an asyncio program brings while it is sent.
//!
//! It owns the way from the task that has the pieces to the call that sends them: one piece at a time, so that whoever is
//! ahead waits. A feed that is let go before its end is a body that broke off, never one that is complete.

use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::asynchronous::{Board, Ending};
use crate::failure;
use crate::options::mistaken;

/// A piece; nothing at the end; or why there is no more.
type Piece = io::Result<Option<Bytes>>;

/// The body of one request, in pieces.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Feed {
    from: Sender<Piece>,
    to: Mutex<Option<Receiver<Piece>>>,
}

#[pymethods]
impl Feed {
    /// A body of which nothing is known yet.
    #[new]
    fn new() -> Feed {
        let (from, to) = channel(1);
        Feed { from, to: Mutex::new(Some(to)) }
    }

    /// Hands over a piece, `None` for the end, or the exception that ends it; says whether anybody wants more.
    fn push(&self, board: &Bound<'_, Board>, future: Py<PyAny>, piece: &Bound<'_, PyAny>) -> PyResult<u64> {
        let piece = if piece.is_none() {
            Ok(None)
        } else if let Ok(bytes) = piece.cast::<PyBytes>() {
            Ok(Some(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))))
        } else if piece.is_instance_of::<PyBaseException>() {
            Err(io::Error::other(PyErr::from_value(piece.clone())))
        } else {
            return Err(mistaken("a piece of a body", "bytes", piece));
        };
        let from = self.from.clone();
        board.get().start(board.py(), future, async move {
            let is_wanted = from.send(piece).await.is_ok();
            Box::new(move |py: Python<'_>| is_wanted.into_py_any(py)) as Ending
        })
    }

    /// Says that no more comes: a call that still waits for a piece ends.
    fn close(&self) {
        drop(self.to.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
    }
}

impl Feed {
    /// The pieces, for the one request that sends them.
    pub(crate) fn pieces(
        &self,
        py: Python<'_>,
    ) -> PyResult<impl Stream<Item = io::Result<Bytes>> + Send + 'static + use<>> {
        let to = self.to.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let to = to.ok_or_else(|| failure::input(py, "a body that is read once is sent once"))?;
        Ok(stream::unfold(Some(to), |to| async move {
            let mut to = to?;
            match to.recv().await {
                Some(Ok(Some(piece))) => Some((Ok(piece), Some(to))),
                Some(Ok(None)) => None,
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(io::Error::other("the body was given up")), None)),
            }
        }))
    }
}
