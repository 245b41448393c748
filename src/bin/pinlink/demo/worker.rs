//! One worker process: takes its job from standard input, calls the service for each row, says what became of it.
//!
//! It owns what both sides have in common: the threads, the clock, the time limit and the checking of answers. How
//! a row is fetched is in `worker/naive.rs` and `worker/pinned.rs`. A worker ends when its standard input does.

pub(super) mod naive;
mod pinned;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::parent::{end_with_it, line, say};
use super::words::{Job, Outcome, Said, Side};
use crate::exit::{Exit, Failure};

/// How often the parent hears of progress.
const REPORT: Duration = Duration::from_millis(100);

/// How one side fetches a row.
trait Fetch: Send + Sync {
    /// The answer's body, or why there is none, retries included.
    fn fetch(&self, url: &str) -> Result<Vec<u8>, String>;
}

/// What the service says about a row.
#[derive(Deserialize)]
struct Enriched {
    id: String,
    hash: String,
}

/// Works off one job.
pub(crate) fn run() -> Result<Exit, Failure> {
    let job: Job = serde_json::from_str(&line()?).map_err(|error| Failure::usage(format!("not a job: {error}")))?;
    let begun: Result<Arc<dyn Fetch>, String> = match job.side {
        Side::Naive => naive::Naive::new(&job).map(|naive| Arc::new(naive) as _),
        Side::Pinlink => pinned::Pinned::new(&job).map(|pinned| Arc::new(pinned) as _),
    };
    let fetch = match begun {
        Ok(fetch) => fetch,
        Err(error) => {
            say(&Said::Broken(error))?;
            return Ok(Exit::Other);
        }
    };
    say(&Said::Ready)?;
    line()?;
    thread::spawn(end_with_it);
    let outcome = work(Arc::new(job), &fetch)?;
    say(&Said::Outcome(outcome))?;
    Ok(Exit::Done)
}

/// Fetches all rows with the job's threads, until they are done or the time is up. Threads that are still in a
/// call then are left behind: they end with the process, and their rows count as not reached.
fn work(job: Arc<Job>, fetch: &Arc<dyn Fetch>) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let limit = Duration::from_millis(job.limit_ms);
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let next = Arc::new(AtomicUsize::new(0));
    let (sender, finished) = channel();
    for _ in 0..job.threads {
        let shared = (Arc::clone(&job), Arc::clone(fetch), Arc::clone(&outcome), Arc::clone(&next), sender.clone());
        thread::spawn(move || {
            let (job, fetch, outcome, next, sender) = shared;
            fetch_rows(&job, &*fetch, &outcome, &next, start, &sender);
        });
    }
    let mut running = job.threads;
    while running > 0 && start.elapsed() < limit {
        if finished.recv_timeout(REPORT.min(limit.saturating_sub(start.elapsed()))).is_ok() {
            running -= 1;
        } else {
            let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = outcome.done + outcome.failed;
            drop(outcome);
            say(&Said::Progress(ended))?;
        }
    }
    let mut outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
    if outcome.done + outcome.failed < job.rows.len() as u64 {
        outcome.elapsed_us = microseconds(limit);
    }
    Ok(outcome)
}

fn fetch_rows(
    job: &Job,
    fetch: &dyn Fetch,
    outcome: &Mutex<Outcome>,
    next: &AtomicUsize,
    start: Instant,
    finished: &Sender<()>,
) {
    let limit = Duration::from_millis(job.limit_ms);
    while let Some(id) = job.rows.get(next.fetch_add(1, Ordering::Relaxed)) {
        let begun = start.elapsed();
        if begun >= limit {
            break;
        }
        let result = fetch.fetch(&format!("{}/rows/{id}", job.place.origin)).and_then(|body| check(id, &body));
        let ended = start.elapsed();
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => outcome.done += 1,
            Err(error) => {
                outcome.failed += 1;
                outcome.error.get_or_insert(error);
            }
        }
        outcome.latencies_us.push(microseconds(ended.saturating_sub(begun)));
        outcome.elapsed_us = outcome.elapsed_us.max(microseconds(ended));
    }
    // After the time limit nobody waits for this any more.
    _ = finished.send(());
}

/// An answer counts only when it is about the row that was asked for.
fn check(id: &str, body: &[u8]) -> Result<(), String> {
    let answer: Enriched =
        serde_json::from_slice(body).map_err(|error| format!("the answer is not the service's: {error}"))?;
    if answer.id != id {
        return Err(format!("the answer is about {:?}, not {id:?}", answer.id));
    }
    if answer.hash.len() != 16 || !answer.hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("the answer for {id:?} has no hash"));
    }
    Ok(())
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
