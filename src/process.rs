//! What a process has once: [`PerProcess`] values, and the runtime among them.
//!
//! It owns their start and, after a `fork()`, their replacement: a child has none of its parent's threads,
//! so it abandons what the parent had (never dropping it) and starts its own. Nothing here waits.

use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Phase, Reason, Result};
use crate::sys;

/// A value that every process makes once and keeps until it ends.
pub(crate) struct PerProcess<T: 'static>(AtomicPtr<Made<T>>);

struct Made<T> {
    generation: u64,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// This process's value, made at the first call.
    pub(crate) fn find_or(&self, make: impl FnOnce() -> Result<T>) -> Result<&'static T> {
        let seen = self.0.load(Ordering::Acquire);
        // SAFETY: a pointer stored here comes from `Box::leak` below and is never freed.
        if let Some(made) = unsafe { seen.as_ref() }
            && made.generation == sys::generation()
        {
            return Ok(&made.value);
        }
        let made = Box::leak(Box::new(Made { generation: sys::generation(), value: make()? }));
        match self.0.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(&made.value),
            // Another thread was first. Ours has done nothing yet; it idles for the rest of the process's life.
            // SAFETY: as above.
            Err(winner) => Ok(unsafe { &(*winner).value }),
        }
    }
}

/// The runtime that dials, resolves, carries HTTP/2 and keeps the time of async callers.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: PerProcess<Runtime> = PerProcess::new();
    RUNTIME.find_or(start)
}

fn start() -> Result<Runtime> {
    sys::watch_forks();
    // One thread: requests run on their callers' threads.
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .thread_name("pinlink")
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(Reason::ConnectResource, Phase::Configure, format!("no thread can be started: {error}"))
                .with_source(error)
        })
}

/// Runs a task on the runtime's thread; dropping what is returned ends the task.
pub(crate) fn spawn<F>(task: F) -> Result<Task<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    Ok(Task(Some(runtime()?.spawn(task))))
}

/// Runs what waits in the kernel on a thread that is made for that.
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Task<T>> {
    Ok(Task(Some(runtime()?.spawn_blocking(work))))
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
