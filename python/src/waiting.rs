//! How a call waits: without the interpreter, and as long as nobody presses Ctrl-C.
//!
//! It owns the letting go and taking back of the interpreter, what a signal's handler raised meanwhile, and the end of
//! calls that are under way when the interpreter ends: a thread that came back too late would be torn off in the
//! middle of its frames. Nothing here looks at what is called.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pinlink::{Error, Interrupt, interruptible};
use pyo3::prelude::*;

use crate::{failure, log};

/// How long the interpreter's end waits for calls of other threads: they look every 50 ms whether they shall end.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Whether the interpreter is about to end.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// How many calls wait without the interpreter now.
static WAITING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What a signal's handler raised while this thread waited.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// How many calls this thread waits in: a function of the caller's may make another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether this thread is the one that ends the interpreter: its own calls go on.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

const ASKED: Interrupt = Interrupt { asks: is_interrupted, of: 0 };

/// Asks the interpreter whether a signal came; its handlers run here, on the main thread only.
fn is_interrupted(_: usize) -> bool {
    if IS_ENDING.load(Ordering::SeqCst) && !ENDS.get() {
        return true;
    }
    let raised = Python::try_attach(|py| py.check_signals().err()).flatten();
    raised.is_some_and(|error| {
        RAISED.set(Some(error));
        true
    })
}

/// Counts a call for as long as it waits.
struct Waits;

impl Waits {
    fn begin() -> Waits {
        WAITING.fetch_add(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() + 1);
        Waits
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Runs `work` without the interpreter, and then `make` with it: what the call's result becomes. The interpreter's end waits
/// for both.
///
/// # Errors
/// What a signal's handler raised meanwhile: `KeyboardInterrupt`.
pub(crate) fn wait<T: Send, R>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send,
    make: impl FnOnce(T) -> PyResult<R>,
) -> PyResult<R> {
    let _waits = Waits::begin();
    if IS_ENDING.load(Ordering::SeqCst) && !ENDS.get() {
        return Err(failure::closed(py, "the interpreter is ending"));
    }
    let outcome = py.detach(|| interruptible(ASKED, work));
    log::deliver(py);
    match RAISED.take() {
        Some(raised) => Err(raised),
        None => make(outcome),
    }
}

/// Has the call that this thread waits in raise what a function of the caller's raised; elsewhere nobody would get it.
pub(crate) fn raise(py: Python<'_>, raised: PyErr) {
    if DEPTH.get() > 0 {
        RAISED.with_borrow_mut(|earlier| _ = earlier.get_or_insert(raised));
    } else {
        raised.write_unraisable(py, None);
    }
}

/// As [`wait`], for one call: its error is raised.
pub(crate) fn call<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    wait(py, work, |outcome| outcome.map_err(|error| failure::raised(py, &error)))
}

/// Ends the calls of all other threads: what the package does when the interpreter ends.
#[pyfunction]
pub(crate) fn end_calls(py: Python<'_>) {
    ENDS.set(true);
    IS_ENDING.store(true, Ordering::SeqCst);
    log::deliver(py);
    py.detach(|| {
        let begun = Instant::now();
        while WAITING.load(Ordering::SeqCst) > 0 && begun.elapsed() < LAST_WAIT {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// In a child process: the threads that waited are its parent's.
#[pyfunction]
pub(crate) fn forget_calls() {
    WAITING.store(DEPTH.get(), Ordering::SeqCst);
}
