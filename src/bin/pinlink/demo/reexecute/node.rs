//! One execution of a node: takes its task from standard input, writes each row, says how it ended.
//!
//! It owns what both sides have in common: the threads, and the rule that a node whose row fails has failed and stops.
//! How a row is written is in `node/naive.rs` and `node/keyed.rs`. A node ends when its standard input does.

mod keyed;
mod naive;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::demo::parent::{end_with_it, line, say};
use crate::demo::words::{Ended, Row, Side, Task, Told};
use crate::exit::{Exit, Failure};

/// How one side writes a row.
trait Put: Sync {
    /// What became of it, or why that is not known or did not work; retries included.
    fn put(&self, url: &str, row: &Row) -> Result<Done, String>;
}

/// A row that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// By this execution, as far as it knows.
    Applied,
    /// Before.
    AlreadyApplied,
}

/// Works off one task.
pub(crate) fn run() -> Result<Exit, Failure> {
    let task: Task = serde_json::from_str(&line()?).map_err(|error| Failure::usage(format!("not a task: {error}")))?;
    thread::spawn(end_with_it);
    let begun: Result<Box<dyn Put>, String> = match task.side {
        Side::Naive => naive::Naive::new(&task).map(|naive| Box::new(naive) as _),
        Side::Pinlink => keyed::Keyed::new(&task).map(|keyed| Box::new(keyed) as _),
    };
    let ended = match begun {
        Ok(put) => {
            say(&Told::Begun)?;
            work(&task, &*put)
        }
        Err(error) => Ended { error: Some(error), ..Ended::default() },
    };
    say(&Told::Ended(ended))?;
    Ok(Exit::Done)
}

/// Writes all rows with the task's threads, or until one fails.
fn work(task: &Task, put: &dyn Put) -> Ended {
    let (ended, next, has_failed) = (Mutex::new(Ended::default()), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..task.threads.min(task.rows.len()) {
            scope.spawn(|| {
                while let Some(row) = task.rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if has_failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let result = put.put(&format!("{}/sink/{}", task.place.origin, row.record), row);
                    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(Done::Applied) => ended.applied += 1,
                        Ok(Done::AlreadyApplied) => ended.already_applied += 1,
                        Err(error) => {
                            has_failed.store(true, Ordering::Relaxed);
                            ended.error.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    ended.into_inner().unwrap_or_else(PoisonError::into_inner)
}
