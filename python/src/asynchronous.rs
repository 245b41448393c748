//! Calls of an asyncio program: polled on the event loop's own thread.
//!
//! It owns the board of a loop: which of its calls are under way, which can go on, and one pair of sockets by which the loop
//! is woken, once for however many. Whoever wakes a call writes a byte and takes no interpreter, so the core's runtime never waits
//! for one. Dropping a call cancels it.

use std::collections::HashMap;
use std::future::Future;
use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{self, StreamExt};
use pinlink::{AsyncReader, Error};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};
use tokio::sync::{Mutex as Turns, OnceCell};

use crate::failure::Asked;
use crate::options::{Blueprint, Pickled};
use crate::pins::PinSet;
use crate::request::{self, Parts, Request, compose};
use crate::response::{Fields, Response};
use crate::write::{self, Batch, Write, Written};
use crate::{client, failure, log, reader};

/// How many rows of a batch are asked for at once: more than there are connections, so that none waits for a row.
const LANES: usize = 128;

/// What a call ends with: what makes its result, once the interpreter is at hand.
pub(crate) type Ending = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Call = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// What the wakers of a loop's calls share.
struct Bell {
    ready: Mutex<Vec<u64>>,
    has_rung: AtomicBool,
    end: UnixStream,
}

struct Signal {
    bell: Arc<Bell>,
    call: u64,
    is_ready: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_ready.swap(true, Ordering::SeqCst) {
            return;
        }
        lock(&self.bell.ready).push(self.call);
        if !self.bell.has_rung.swap(true, Ordering::SeqCst) {
            // There is at most one byte on the way: it has room. Where the other end is gone, so is the loop.
            _ = (&self.bell.end).write(&[1]);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A call under way, and the `asyncio.Future` that waits for it.
struct Under {
    call: Call,
    signal: Arc<Signal>,
    /// A weak reference: a future knows its loop, and a board must not keep that alive.
    future: Py<PyAny>,
}

/// The calls of one event loop.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Board {
    bell: Arc<Bell>,
    wakes: UnixStream,
    /// One that is being polled is out, and its place kept.
    calls: Mutex<HashMap<u64, Option<Under>>>,
    next: AtomicU64,
}

#[pymethods]
impl Board {
    /// A board without calls.
    #[new]
    fn new() -> PyResult<Board> {
        let (wakes, end) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        let bell = Bell { ready: Mutex::default(), has_rung: AtomicBool::new(false), end };
        Ok(Board { bell: Arc::new(bell), wakes, calls: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// What becomes readable when a call can go on.
    fn fileno(&self) -> i32 {
        self.wakes.as_raw_fd()
    }

    /// Lets every call go on that can.
    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        match (&self.wakes).read(&mut [0]) {
            // A loop that runs within itself may have taken the byte already.
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            _ => {}
        }
        self.bell.has_rung.store(false, Ordering::SeqCst);
        let ready = std::mem::take(&mut *lock(&self.bell.ready));
        let mut failed = None;
        for call in ready {
            // One that fails keeps no other from going on.
            if let Err(error) = self.step(py, call) {
                failed.get_or_insert(error);
            }
        }
        log::deliver(py);
        failed.map_or(Ok(()), Err)
    }

    /// Gives a call up.
    fn drop(&self, call: u64) {
        let given_up = lock(&self.calls).remove(&call);
        drop(given_up);
    }
}

impl Board {
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        future: Py<PyAny>,
        call: impl Future<Output = Ending> + Send + 'static,
    ) -> PyResult<u64> {
        static WEAK: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let future = WEAK.import(py, "weakref", "ref")?.call1((future,))?.unbind();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(Signal { bell: Arc::clone(&self.bell), call: number, is_ready: AtomicBool::new(false) });
        lock(&self.calls).insert(number, Some(Under { call: Box::pin(call), signal, future }));
        self.step(py, number)?;
        Ok(number)
    }

    /// Polls a call; one that was given up is none.
    fn step(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let Some(mut under) = lock(&self.calls).get_mut(&number).and_then(Option::take) else { return Ok(()) };
        under.signal.is_ready.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&under.signal));
        match under.call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                if let Some(place) = lock(&self.calls).get_mut(&number) {
                    *place = Some(under);
                }
                Ok(())
            }
            Poll::Ready(ending) => {
                lock(&self.calls).remove(&number);
                let future = under.future.bind(py).call0()?;
                // Nobody waits any more.
                if future.is_none() {
                    return Ok(());
                }
                if future.call_method0("done")?.is_truthy()? {
                    return Ok(());
                }
                match ending(py) {
                    Ok(result) => future.call_method1("set_result", (result,)).map(drop),
                    Err(error) => future.call_method1("set_exception", (error,)).map(drop),
                }
            }
        }
    }
}

/// The ending of a call whose success is made into something of Python's.
fn ending<T: Send + 'static>(
    outcome: Result<T, Error>,
    make: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> Ending {
    Box::new(move |py| match outcome {
        Ok(value) => make(py, value),
        Err(error) => Err(failure::raised(py, &error)),
    })
}

/// The core's client, built when it is first needed.
type Built = Arc<OnceCell<pinlink::AsyncClient>>;

async fn built(cell: &OnceCell<pinlink::AsyncClient>, blueprint: &Blueprint) -> Result<pinlink::AsyncClient, Error> {
    cell.get_or_try_init(|| blueprint.builder().build_async()).await.cloned()
}

/// What an `AsyncClient` is beneath: each method takes the loop's board and a future, and returns the number of the call.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct AsyncCore {
    blueprint: Arc<Blueprint>,
    built: Built,
}

impl AsyncCore {
    /// Runs `call` with the core's client.
    fn run<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        board: &Bound<'_, Board>,
        future: Py<PyAny>,
        call: impl FnOnce(pinlink::AsyncClient) -> F + Send + 'static,
        make: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<u64> {
        let (cell, blueprint) = (Arc::clone(&self.built), Arc::clone(&self.blueprint));
        board.get().start(board.py(), future, async move {
            let outcome = match built(&cell, &blueprint).await {
                Ok(client) => call(client).await,
                Err(error) => Err(error),
            };
            ending(outcome, make)
        })
    }
}

#[pymethods]
impl AsyncCore {
    /// Of these options; nothing is resolved yet.
    #[new]
    #[pyo3(signature = (**options))]
    fn new(options: Option<&Bound<'_, PyDict>>) -> PyResult<AsyncCore> {
        Ok(AsyncCore { blueprint: Arc::new(Blueprint::new(options)?), built: Arc::default() })
    }

    /// What a pickle carries.
    fn pickled(&self) -> Pickled {
        self.blueprint.pickled(self.built.get().map(pinlink::AsyncClient::pins))
    }

    /// Out of a pickle.
    #[staticmethod]
    fn restored(py: Python<'_>, options: Vec<(String, String)>, pins: Option<&str>) -> PyResult<AsyncCore> {
        let imported = pins.map(pinlink::PinSet::from_json).transpose().map_err(|error| failure::raised(py, &error))?;
        Ok(AsyncCore { blueprint: Arc::new(Blueprint { options, imported }), built: Arc::default() })
    }

    /// Resolves what is to be resolved.
    fn begin(&self, board: &Bound<'_, Board>, future: Py<PyAny>) -> PyResult<u64> {
        self.run(board, future, |_| async { Ok(()) }, |py, ()| Ok(py.None()))
    }

    /// Sends a request.
    #[expect(clippy::too_many_arguments, reason = "what Python's method was given")]
    fn ask(
        &self,
        board: &Bound<'_, Board>,
        future: Py<PyAny>,
        method: &str,
        url: Bound<'_, PyString>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        json: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let request =
            compose(board.py(), method, &url, &Parts { params, headers, json, data, timeout, ..Parts::default() })?;
        self.send_composed(board, future, request, Asked::plain(url.unbind()))
    }

    /// Sends a request that was made before.
    fn send(&self, board: &Bound<'_, Board>, future: Py<PyAny>, request: &Bound<'_, Request>) -> PyResult<u64> {
        let (request, asked) = request.get().armed(board.py());
        self.send_composed(board, future, request, asked)
    }

    /// Sends many: an outcome a row, in their order.
    fn map(&self, board: &Bound<'_, Board>, future: Py<PyAny>, requests: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = board.py();
        let rows: PyResult<Vec<_>> = requests.try_iter()?.map(|row| request::row(py, &row?)).collect();
        let (requests, asked): (Vec<_>, Vec<_>) = rows?.into_iter().unzip();
        let call = |client: pinlink::AsyncClient| async move {
            let sent = stream::iter(requests).map(|request| {
                let client = client.clone();
                async move { client.send(&request).await }
            });
            Ok(sent.buffered(LANES).collect::<Vec<_>>().await)
        };
        self.run(board, future, call, |py, outcomes| {
            client::answered(py, outcomes, asked).map(|list| list.unbind().into_any())
        })
    }

    /// Writes.
    fn write(&self, board: &Bound<'_, Board>, future: Py<PyAny>, write: &Bound<'_, Write>) -> PyResult<u64> {
        let (write, asked) = write.get().armed(board.py());
        let call = |client: pinlink::AsyncClient| async move { Ok(client.write(&write).await) };
        self.run(board, future, call, move |py, written| match written {
            Ok(written) => Written::new(written, asked.url).into_py_any(py),
            Err(error) => Err(asked.raise(py, &error)),
        })
    }

    /// Writes many: an outcome for each, in their order.
    fn write_all(&self, board: &Bound<'_, Board>, future: Py<PyAny>, writes: &Bound<'_, PyAny>) -> PyResult<u64> {
        let (writes, asked) = write::each(board.py(), writes)?;
        let call = |client: pinlink::AsyncClient| async move {
            let written = stream::iter(writes).map(|write| {
                let client = client.clone();
                async move { client.write(&write).await }
            });
            Ok(written.buffered(LANES).collect::<Vec<_>>().await)
        };
        self.run(board, future, call, |py, outcomes| {
            client::written(py, outcomes, asked).map(|list| list.unbind().into_any())
        })
    }

    /// Writes many in one request.
    fn write_batch(&self, board: &Bound<'_, Board>, future: Py<PyAny>, batch: &Bound<'_, Batch>) -> PyResult<u64> {
        let (batch, sent) = batch.get().armed();
        let call = |client: pinlink::AsyncClient| async move { Ok(client.write_batch(&batch).await) };
        self.run(board, future, call, move |py, outcomes| {
            let asked = std::iter::repeat_with(|| sent.asked(py));
            client::written(py, outcomes, asked).map(|list| list.unbind().into_any())
        })
    }

    /// Sends a request whose answer is read while it comes.
    fn open(&self, board: &Bound<'_, Board>, future: Py<PyAny>, request: &Bound<'_, Request>) -> PyResult<u64> {
        let (request, asked) = request.get().armed(board.py());
        let call = |client: pinlink::AsyncClient| async move { Ok(client.open(&request).await) };
        self.run(board, future, call, |py, opened| match opened {
            Ok(reader) => AsyncPieces::new(reader, asked.url).into_py_any(py),
            Err(error) => Err(asked.raise(py, &error)),
        })
    }

    /// What is pinned now; nothing before the first call.
    fn pins(&self) -> PinSet {
        PinSet::new(self.built.get().map(pinlink::AsyncClient::pins).unwrap_or_default())
    }

    /// Counters by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        client::counters(py, &self.built.get().map(pinlink::AsyncClient::stats).unwrap_or_default())
    }

    /// Closes idle connections and fails every later call.
    fn close(&self, py: Python<'_>) {
        if let Some(built) = self.built.get() {
            built.close();
        }
        log::deliver(py);
    }
}

impl AsyncCore {
    fn send_composed(
        &self,
        board: &Bound<'_, Board>,
        future: Py<PyAny>,
        request: pinlink::Request,
        asked: Asked,
    ) -> PyResult<u64> {
        let call = |client: pinlink::AsyncClient| async move { Ok(client.send(&request).await) };
        self.run(board, future, call, |py, sent| match sent {
            Ok(response) => Response::new(response, asked.url).into_py_any(py),
            Err(error) => Err(asked.raise(py, &error)),
        })
    }
}

/// An answer that is read while it comes.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct AsyncPieces {
    reader: Arc<Turns<Option<AsyncReader>>>,
    #[pyo3(get)]
    status: u16,
    #[pyo3(get)]
    url: Py<PyString>,
    fields: Fields,
}

impl AsyncPieces {
    fn new(reader: AsyncReader, url: Py<PyString>) -> AsyncPieces {
        let (status, fields) = (reader.status(), Fields::new(reader.headers().clone()));
        AsyncPieces { status, reader: Arc::new(Turns::new(Some(reader))), url, fields }
    }
}

#[pymethods]
impl AsyncPieces {
    /// The header fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.fields.mapping(py)
    }

    /// The same as pairs of bytes.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.fields.bytes(py)
    }

    /// The next piece; empty at the end.
    fn chunk(&self, board: &Bound<'_, Board>, future: Py<PyAny>) -> PyResult<u64> {
        let reader = Arc::clone(&self.reader);
        board.get().start(board.py(), future, async move {
            match &mut *reader.lock().await {
                Some(reader) => {
                    let piece = reader.chunk().await;
                    ending(piece, |py, piece| PyBytes::new(py, &piece.unwrap_or_default()).into_py_any(py))
                }
                // Its end would make a body look whole that is not.
                None => Box::new(|_: Python<'_>| Err(PyValueError::new_err(reader::CLOSED))) as Ending,
            }
        })
    }

    /// Gives the connection back, or closes it where the body has not ended.
    fn close(&self) -> PyResult<()> {
        let mut reader = self.reader.try_lock().map_err(|_| PyRuntimeError::new_err("a piece is being read"))?;
        drop(reader.take());
        Ok(())
    }
}
