//! What a process has once: the runtime that dials and resolves, and the look-ups under way.
//!
//! It owns their start and, after a `fork()`, their replacement: a child has none of its parent's threads,
//! so it abandons the parent's runtime (never dropping it) and starts its own. Nothing here waits.

use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Phase, Reason, Result};
use crate::resolve::Flights;
use crate::sys;

/// The per-process part of the library; lives until the process ends.
pub(crate) struct Process {
    generation: u64,
    runtime: Runtime,
    pub(crate) flights: Flights,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// This process's part, started at the first call.
pub(crate) fn process() -> Result<&'static Process> {
    let seen = CURRENT.load(Ordering::Acquire);
    // SAFETY: a pointer stored in CURRENT comes from `Box::leak` below and is never freed.
    if let Some(process) = unsafe { seen.as_ref() }
        && process.generation == sys::generation()
    {
        return Ok(process);
    }
    let process = Box::leak(Box::new(Process::start()?));
    match CURRENT.compare_exchange(seen, process, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(process),
        // Another thread was first. Ours has done nothing yet; it idles for the rest of the process's life.
        // SAFETY: as above.
        Err(winner) => Ok(unsafe { &*winner }),
    }
}

impl Process {
    fn start() -> Result<Process> {
        sys::watch_forks();
        // One thread: it dials, resolves and closes what is idle. Requests run on their callers' threads.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("pinlink")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(Reason::ConnectResource, Phase::Configure, format!("no thread can be started: {error}"))
                    .with_source(error)
            })?;
        Ok(Process { generation: sys::generation(), runtime, flights: Flights::default() })
    }

    /// Runs a task on the runtime's thread; dropping what is returned ends the task.
    pub(crate) fn spawn<F>(&self, task: F) -> Task<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Task(Some(self.runtime.spawn(task)))
    }
}

/// A task of the runtime, bound to its owner.
pub(crate) struct Task<T>(Option<JoinHandle<T>>);

impl<T> Task<T> {
    /// Lets it run on without its owner.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

impl<T> Future for Task<T> {
    /// The task's result, or nothing where it panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let handle = self.0.as_mut().expect("a detached task is gone");
        Pin::new(handle).poll(cx).map(Result::ok)
    }
}
