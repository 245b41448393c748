//! What a process has once: [`PerProcess`] values, and the runtime among them.
//!
//! It owns their start and, after a `fork()`, their replacement: a child has none of its parent's threads,
//! so it abandons what the parent had (never dropping it) and starts its own. The runtime starts when something needs
//! it; until then what has to be done again and again is done on a thread that costs next to nothing. No caller waits
//! here.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

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

    /// This process's value, where it was made.
    fn find(&self) -> Option<&'static T> {
        let seen = self.0.load(Ordering::Acquire);
        // SAFETY: a pointer stored here comes from `Box::leak` below and is never freed.
        let made = unsafe { seen.as_ref() }?;
        (made.generation == sys::generation()).then_some(&made.value)
    }

    /// This process's value, made at the first call.
    pub(crate) fn find_or(&self, make: impl FnOnce() -> Result<T>) -> Result<&'static T> {
        let seen = self.0.load(Ordering::Acquire);
        if let Some(value) = self.find() {
            return Ok(value);
        }
        sys::watch_forks();
        let made = Box::leak(Box::new(Made { generation: sys::generation(), value: make()? }));
        match self.0.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(&made.value),
            // Another thread was first. Ours has done nothing yet; it idles for the rest of the process's life.
            // SAFETY: as above.
            Err(winner) => Ok(unsafe { &(*winner).value }),
        }
    }
}

static RUNTIME: PerProcess<Runtime> = PerProcess::new();

/// The runtime that resolves, dials for async callers, carries HTTP/2 and keeps the time of async callers.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    RUNTIME.find_or(start)
}

fn start() -> Result<Runtime> {
    // One thread: requests run on their callers' threads.
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .thread_name("pinlink")
        .enable_all()
        .build()
        .map_err(no_thread)
}

fn no_thread(error: io::Error) -> Error {
    Error::new(Reason::ConnectResource, Phase::Configure, format!("no thread can be started: {error}"))
        .with_source(error)
}

/// What is done again and again until it says that it is over.
type Job = Box<dyn FnMut() -> bool + Send>;

/// The jobs of a bare thread, and how often it does them. Nothing where there is no such thread.
#[derive(Default)]
struct Rounds(Mutex<Option<(Duration, Vec<Job>)>>);

impl Rounds {
    fn jobs(&self) -> MutexGuard<'_, Option<(Duration, Vec<Job>)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does the jobs until none is left, or until there is a runtime, whose thread does them from then on.
    fn go(&self, every: Duration) {
        loop {
            std::thread::sleep(every);
            let (mut due, runtime) = {
                let mut jobs = self.jobs();
                let due = jobs.as_mut().map(|(_, jobs)| std::mem::take(jobs)).unwrap_or_default();
                (due, RUNTIME.find().inspect(|_| *jobs = None))
            };
            if let Some(runtime) = runtime {
                return due.into_iter().for_each(|job| repeat_on(runtime, every, job));
            }
            // One that panics is over, as a task of the runtime would be.
            due.retain_mut(|job| catch_unwind(AssertUnwindSafe(job)).unwrap_or_default());
            let mut jobs = self.jobs();
            match &mut *jobs {
                Some((_, more)) if !more.is_empty() || !due.is_empty() => more.append(&mut due),
                _ => return *jobs = None,
            }
        }
    }
}

/// Does a job at least so often, from a while after now until it says that it is over: on the runtime's thread where there
/// is a runtime, which a process that only makes blocking calls never starts.
pub(crate) fn repeat(every: Duration, job: impl FnMut() -> bool + Send + 'static) -> Result<()> {
    static ROUNDS: PerProcess<Rounds> = PerProcess::new();
    let job: Job = Box::new(job);
    let rounds = ROUNDS.find_or(|| Ok(Rounds::default()))?;
    let mut jobs = rounds.jobs();
    let is_in_time = jobs.as_ref().is_none_or(|(period, _)| *period <= every);
    if !is_in_time || RUNTIME.find().is_some() {
        drop(jobs);
        repeat_on(runtime()?, every, job);
        return Ok(());
    }
    if jobs.is_none() {
        sys::bare_thread(Box::new(move || rounds.go(every))).map_err(no_thread)?;
    }
    jobs.get_or_insert((every, Vec::new())).1.push(job);
    Ok(())
}

fn repeat_on(runtime: &Runtime, every: Duration, mut job: Job) {
    runtime.spawn(async move {
        while job() {
            tokio::time::sleep(every).await;
        }
    });
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
