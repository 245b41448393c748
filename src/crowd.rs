//! What the way to an origin bears, as one client learns it: [`Crowd`] for one origin, [`Crowds`] over all.
//!
//! It owns which endings of a try are signs of a crowd, and what they mean for the caps on connections and on
//! streams. How the caps move is `adaptive`'s; that they hold, `limit`'s and `streams`'. A sign that one origin
//! gives is about that origin; only when two refuse at about the same time it is about what lies before both.
//! Pure: time comes in as an argument.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::adaptive::Adaptive;
use crate::config::{LEAST_WAIT_FOR, SAME_CROWD};
use crate::error::Reason;

/// The limits of one origin.
pub(crate) struct Crowd {
    state: Mutex<State>,
    /// Whether a limit is below its cap: success is of interest only then.
    is_reduced: AtomicBool,
}

struct State {
    connections: Adaptive,
    streams: Adaptive,
    /// The least time to an answer on a fresh connection, and when it was seen.
    least: Option<(Duration, Instant)>,
}

/// How many connections there may be, and how many streams on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

/// What is in use while something is learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InUse {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether a dial that ended so found no room: a refusal, a reset or a close right after the accept, silence.
pub(crate) fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectRefused
            | Reason::ConnectReset
            | Reason::ConnectClosed
            | Reason::ConnectTimeout
            | Reason::TlsClosed
            | Reason::TlsTimeout
            | Reason::ProxyUnavailable
    )
}

/// Whether a server says with this status that it has too much to do (RFC 6585 4, RFC 9110 15.6.4).
pub(crate) fn is_overload(status: u16) -> bool {
    matches!(status, 429 | 503)
}

impl Crowd {
    pub(crate) fn new(caps: Limits) -> Crowd {
        let state =
            State { connections: Adaptive::new(caps.connections), streams: Adaptive::new(caps.streams), least: None };
        Crowd { state: Mutex::new(state), is_reduced: AtomicBool::new(false) }
    }

    /// A connection begun at `begun` was refused. The limits from now on.
    pub(crate) fn refused(&self, begun: Instant, now: Instant, in_use: InUse) -> Limits {
        self.change(|state| state.connections.refused(begun, now, in_use.connections))
    }

    /// A server has too much to do: so many requests at once were too many.
    pub(crate) fn overloaded(&self, begun: Instant, now: Instant, in_use: InUse, is_stream: bool) -> Limits {
        self.change(|state| match is_stream {
            true => state.streams.refused(begun, now, in_use.streams),
            false => state.connections.refused(begun, now, in_use.connections),
        })
    }

    /// The first answer on a fresh connection took so long, from the dial on.
    pub(crate) fn waited(&self, wait: Duration, now: Instant) -> Option<Limits> {
        let mut state = locked(&self.state);
        let least = match state.least {
            Some((least, seen)) if least <= wait && now.saturating_duration_since(seen) < LEAST_WAIT_FOR => least,
            _ => {
                state.least = Some((wait, now));
                wait
            }
        };
        let before = state.limits();
        state.connections.queued(now, wait, least);
        let limits = state.limits();
        self.note(before, limits)
    }

    /// A try came through. The limits where they have moved; costs one load where nothing was reduced.
    pub(crate) fn succeeded(&self, now: Instant, in_use: impl FnOnce() -> InUse, is_stream: bool) -> Option<Limits> {
        if !self.is_reduced.load(Ordering::Relaxed) {
            return None;
        }
        let in_use = in_use();
        let mut state = locked(&self.state);
        let before = state.limits();
        match is_stream {
            true => state.streams.succeeded(now, in_use.streams),
            false => state.connections.succeeded(now, in_use.connections),
        }
        let limits = state.limits();
        self.note(before, limits)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Limits {
        let mut state = locked(&self.state);
        change(&mut state);
        self.is_reduced.store(true, Ordering::Relaxed);
        state.limits()
    }

    fn note(&self, before: Limits, limits: Limits) -> Option<Limits> {
        if before == limits {
            return None;
        }
        self.is_reduced.store(true, Ordering::Relaxed);
        Some(limits)
    }
}

impl State {
    fn limits(&self) -> Limits {
        Limits { connections: self.connections.limit(), streams: self.streams.limit() }
    }
}

/// The limit over all origins.
pub(crate) struct Crowds {
    state: Mutex<(Adaptive, Option<(usize, Instant)>)>,
    is_reduced: AtomicBool,
}

impl Crowds {
    pub(crate) fn new(cap: usize) -> Crowds {
        Crowds { state: Mutex::new((Adaptive::new(cap), None)), is_reduced: AtomicBool::new(false) }
    }

    /// A connection to this origin was refused. The limit over all where this was not the origin's own doing.
    pub(crate) fn refused(&self, origin: usize, begun: Instant, now: Instant, in_use: usize) -> Option<usize> {
        let mut state = locked(&self.state);
        let (adaptive, last) = &mut *state;
        let earlier = last.replace((origin, now));
        if earlier.is_none_or(|(other, at)| other == origin || now.saturating_duration_since(at) > SAME_CROWD) {
            return None;
        }
        adaptive.refused(begun, now, in_use);
        self.is_reduced.store(true, Ordering::Relaxed);
        Some(adaptive.limit())
    }

    /// A try came through.
    pub(crate) fn succeeded(&self, now: Instant, in_use: impl FnOnce() -> usize) -> Option<usize> {
        if !self.is_reduced.load(Ordering::Relaxed) {
            return None;
        }
        let in_use = in_use();
        let mut state = locked(&self.state);
        let before = state.0.limit();
        state.0.succeeded(now, in_use);
        let limit = state.0.limit();
        (limit != before).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_USE: InUse = InUse { connections: 8, streams: 100 };

    #[test]
    fn a_refusal_lowers_connections_and_an_overload_what_it_was_met_with() {
        let crowd = Crowd::new(Limits { connections: 8, streams: 100 });
        let now = Instant::now();
        assert_eq!(crowd.succeeded(now, || panic!("nothing was reduced"), false), None);
        assert_eq!(crowd.refused(now, now, IN_USE).connections, 5);
        let later = now + Duration::from_millis(1);
        let limits = crowd.overloaded(later, later, IN_USE, true);
        assert_eq!(limits, Limits { connections: 5, streams: 70 });
    }

    #[test]
    fn slow_first_answers_of_a_whole_window_are_a_queue() {
        let crowd = Crowd::new(Limits { connections: 8, streams: 100 });
        let now = Instant::now();
        assert_eq!(crowd.waited(Duration::from_millis(5), now), None);
        let slow = Duration::from_secs(2);
        assert_eq!(crowd.waited(slow, now + Duration::from_secs(1)), None);
        let limits = crowd.waited(slow, now + Duration::from_millis(2100)).expect("a window of slow ones");
        assert!(limits.connections < 8, "{limits:?}");
    }

    #[test]
    fn one_origin_that_refuses_says_nothing_about_the_others() {
        let crowds = Crowds::new(32);
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        assert_eq!(crowds.refused(0, at(0), at(0), 20), None);
        assert_eq!(crowds.refused(0, at(100), at(100), 20), None);
        assert_eq!(crowds.refused(1, at(200), at(200), 20), Some(14));
        assert_eq!(crowds.refused(0, at(9000), at(9000), 20), None);
    }
}
