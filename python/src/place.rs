//! The place of a connection that another library reads and writes.
//!
//! It owns the core's socket, so that its place counts; bytes go over a copy of the descriptor, which is Python's.

use std::os::fd::{AsFd, IntoRawFd};
use std::sync::Mutex;

use pyo3::prelude::*;

/// A connection's place among those that there may be, until it is closed.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Place {
    socket: Mutex<Option<pinlink::Socket>>,
}

impl Place {
    pub(crate) fn new(socket: pinlink::Socket) -> Place {
        Place { socket: Mutex::new(Some(socket)) }
    }
}

#[pymethods]
impl Place {
    /// A descriptor of the connection, which the caller closes.
    fn fileno(&self) -> PyResult<i32> {
        let socket = self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let closed = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        Ok(socket.as_ref().ok_or_else(closed)?.as_fd().try_clone_to_owned()?.into_raw_fd())
    }

    /// Gives the place to the next.
    fn close(&self) {
        drop(self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
    }
}
