//! Turns that threads keep between two calls that follow each other at once: [`Kept`], and for how long: [`Streak`].
//!
//! Where more threads call than connections are allowed, handing the connection on after every call costs two futex
//! calls, a change of threads and a cold stack for each: more than a quick call itself. So a thread that comes back at once
//! keeps its turn for a few quick calls. What it does not come for is given to the queue by whoever watches. It owns the
//! list and the rule; it waits for nothing, and time comes in as an argument.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::config::{COMES_BACK_WITHIN, KEPT_FOR, STREAK_LASTS};

/// The most calls of one streak.
const CALLS: u32 = 8;

/// The calls that one thread has made on one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streak {
    began: Instant,
    calls: u32,
}

impl Streak {
    pub(crate) fn new(now: Instant) -> Streak {
        Streak { began: now, calls: 0 }
    }

    /// A call has ended, before which the thread had been away for so long. Whether it may keep its turn for the next one.
    pub(crate) fn goes_on(&mut self, was_away: Duration, now: Instant) -> bool {
        self.calls += 1;
        self.calls < CALLS && was_away <= COMES_BACK_WITHIN && now.saturating_duration_since(self.began) <= STREAK_LASTS
    }
}

/// What threads keep. `T` is a turn with its connection.
pub(crate) struct Kept<T> {
    /// How much there is, to be read without the lock.
    count: AtomicUsize,
    state: Mutex<State<T>>,
}

struct State<T> {
    held: Vec<Held<T>>,
    is_watched: bool,
}

struct Held<T> {
    thread: usize,
    until: Instant,
    turn: T,
}

impl<T> Kept<T> {
    pub(crate) fn new() -> Kept<T> {
        let state = State { held: Vec::new(), is_watched: false };
        Kept { count: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What this thread keeps. Costs one load where nobody keeps anything.
    pub(crate) fn take(&self, thread: usize) -> Option<T> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut state = self.state();
        let at = state.held.iter().position(|held| held.thread == thread)?;
        let held = state.held.swap_remove(at);
        self.count.store(state.held.len(), Ordering::Relaxed);
        Some(held.turn)
    }

    /// Keeps a turn for its thread. Whether somebody must begin to watch, by [`Kept::take_late`] now and then.
    #[must_use]
    pub(crate) fn keep(&self, thread: usize, turn: T, now: Instant) -> bool {
        let mut state = self.state();
        state.held.push(Held { thread, until: now + KEPT_FOR, turn });
        self.count.store(state.held.len(), Ordering::Relaxed);
        !std::mem::replace(&mut state.is_watched, true)
    }

    /// Everything that is kept; whoever keeps something next sees that it is watched.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let mut state = self.state();
        state.is_watched = false;
        self.count.store(0, Ordering::Relaxed);
        state.held.drain(..).map(|held| held.turn).collect()
    }

    /// What was kept for too long, and whether to go on watching.
    pub(crate) fn take_late(&self, now: Instant) -> (Vec<T>, bool) {
        let mut state = self.state();
        let late: Vec<Held<T>> = state.held.extract_if(.., |held| held.until <= now).collect();
        state.is_watched = !state.held.is_empty();
        self.count.store(state.held.len(), Ordering::Relaxed);
        (late.into_iter().map(|held| held.turn).collect(), state.is_watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_micros(5);

    #[test]
    fn a_streak_ends_after_its_calls_or_its_time_or_with_a_thread_that_stays_away() {
        let begun = Instant::now();
        let mut streak = Streak::new(begun);
        let calls = (0..20).take_while(|_| streak.goes_on(AT_ONCE, begun)).count() as u32;
        assert_eq!(calls + 1, CALLS);
        assert!(!Streak::new(begun).goes_on(AT_ONCE, begun + STREAK_LASTS + AT_ONCE));
        assert!(!Streak::new(begun).goes_on(COMES_BACK_WITHIN + AT_ONCE, begun));
    }

    #[test]
    fn only_the_thread_that_keeps_a_turn_takes_it_and_only_once() {
        let (kept, now) = (Kept::new(), Instant::now());
        assert!(kept.keep(1, "one", now), "nobody watches yet");
        assert!(!kept.keep(2, "two", now));
        assert_eq!((kept.take(3), kept.take(1), kept.take(1)), (None, Some("one"), None));
        assert_eq!(kept.take_late(now + KEPT_FOR), (vec!["two"], false));
        assert!(kept.keep(2, "again", now), "who watched has ended");
    }

    #[test]
    fn after_everything_was_taken_the_next_one_is_watched_anew() {
        let (kept, now) = (Kept::new(), Instant::now());
        assert!(kept.keep(1, "one", now));
        assert!(!kept.keep(2, "two", now));
        assert_eq!((kept.take_all(), kept.take(1)), (vec!["one", "two"], None));
        assert!(kept.keep(3, "three", now), "nobody watches any more");
    }

    #[test]
    fn what_is_not_late_stays_and_is_watched() {
        let (kept, now) = (Kept::new(), Instant::now());
        assert!(kept.keep(1, "early", now));
        assert!(!kept.keep(2, "later", now + KEPT_FOR));
        assert_eq!(kept.take_late(now + KEPT_FOR), (vec!["early"], true));
        assert_eq!(kept.take(2), Some("later"));
    }
}
