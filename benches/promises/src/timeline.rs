//! When calls ended, and how: counts in slices of time, from any number of threads.
//!
//! Time is the monotonic clock's, read once for each call that ends. What ends after the last slice is not counted.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The width of a slice.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Slice {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Slices from a beginning on.
pub(crate) struct Timeline {
    pub(crate) begun: Instant,
    slices: Vec<Slice>,
}

impl Timeline {
    pub(crate) fn new(lasting: Duration) -> Timeline {
        let slices = lasting.as_millis().div_ceil(SLICE.as_millis());
        Timeline { begun: Instant::now(), slices: (0..slices).map(|_| Slice::default()).collect() }
    }

    /// The slice of a moment after the beginning.
    pub(crate) fn at(after: Duration) -> usize {
        (after.as_millis() / SLICE.as_millis()) as usize
    }

    pub(crate) fn count(&self, is_answered: bool) {
        if let Some(slice) = self.slices.get(Timeline::at(self.begun.elapsed())) {
            let count = if is_answered { &slice.answered } else { &slice.failed };
            count.fetch_add(1, Relaxed);
        }
    }

    /// The answers of each slice in this range.
    pub(crate) fn answered(&self, range: Range<usize>) -> Vec<u64> {
        self.slices[range].iter().map(|slice| slice.answered.load(Relaxed)).collect()
    }

    /// The failures of each slice in this range.
    pub(crate) fn failed(&self, range: Range<usize>) -> Vec<u64> {
        self.slices[range].iter().map(|slice| slice.failed.load(Relaxed)).collect()
    }

    /// Answers per second over a range.
    pub(crate) fn rate(&self, range: Range<usize>) -> f64 {
        let answers: u64 = self.answered(range.clone()).iter().sum();
        answers as f64 / (range.len() as f64 * SLICE.as_secs_f64())
    }

    /// Answers per second, second by second.
    pub(crate) fn rates(&self, range: Range<usize>) -> Vec<f64> {
        let each = (1000 / SLICE.as_millis()) as usize;
        let answered = self.answered(range);
        answered.chunks_exact(each).map(|second| second.iter().sum::<u64>() as f64).collect()
    }
}
