//! The core's events as records of `logging.getLogger("pinlink")`.
//!
//! It owns the queue between the two: an event comes from any thread, without the interpreter, and must not wait for one;
//! its record is made by the next call that comes back. A full queue drops what comes, and says how much that was.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// More records than this wait for nobody.
const QUEUED: usize = 1000;

/// A level of `logging`, and a line.
type Line = (u8, String);

/// Tried, never waited for: after a `fork()` it may be held by a thread that is no more.
static QUEUE: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());
static IS_EMPTY: AtomicBool = AtomicBool::new(true);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Events;

/// Begins to listen. Whoever listens already in this library goes on.
pub(crate) fn listen() {
    _ = tracing::subscriber::set_global_default(Events);
}

/// Hands over what came since.
pub(crate) fn deliver(py: Python<'_>) {
    if IS_EMPTY.load(Ordering::Relaxed) {
        return;
    }
    let Ok(lines) = QUEUE.try_lock().map(|mut queue| std::mem::take(&mut *queue)) else { return };
    IS_EMPTY.store(true, Ordering::Relaxed);
    let mut lines = Vec::from(lines);
    match DROPPED.swap(0, Ordering::Relaxed) {
        0 => {}
        dropped => lines.push((30, format!("{dropped} records were dropped: nobody took them"))),
    }
    for (level, line) in lines {
        // What a handler raises is not the call's.
        if let Err(raised) = record(py, level, &line) {
            raised.write_unraisable(py, None);
        }
    }
}

fn record(py: Python<'_>, level: u8, line: &str) -> PyResult<()> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let logger = LOGGER
        .get_or_try_init(py, || py.import("logging")?.call_method1("getLogger", ("pinlink",)).map(Bound::unbind))?;
    logger.call_method1(py, "log", (level, "%s", line)).map(drop)
}

/// An event's message, and its fields behind it.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A string takes every write.
        _ = match (field.name(), self.0.is_empty()) {
            ("message", true) => write!(self.0, "{value:?}"),
            ("message", false) => {
                self.0 = format!("{value:?} {}", self.0);
                Ok(())
            }
            (name, true) => write!(self.0, "{name}={value:?}"),
            (name, false) => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates' events are theirs.
        *metadata.level() <= Level::INFO && metadata.target().starts_with("pinlink")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        match QUEUE.try_lock() {
            Ok(mut queue) if queue.len() < QUEUED => {
                queue.push_back((level, text.0));
                IS_EMPTY.store(false, Ordering::Relaxed);
            }
            _ => _ = DROPPED.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
