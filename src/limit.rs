//! How many connections may be live at once, over all origins.
//!
//! It owns the places and the queue for them. A place is taken before a dial and given back when the
//! connection is closed, on every path. The queue is first come, first served: whoever gives a place back
//! gives it to the one who waits longest, and a connection that comes free for that one's own origin is
//! handed over as it is, without a new handshake. It waits for nothing itself and knows no time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// The places of one client. `C` is what can be handed over: a connection.
pub(crate) struct Places<C> {
    state: Mutex<State<C>>,
    /// The length of the queue, to be read without the lock on every return of a connection.
    waiting: AtomicUsize,
}

struct State<C> {
    free: usize,
    queue: VecDeque<Waiter<C>>,
}

struct Waiter<C> {
    origin: usize,
    grant: oneshot::Sender<Grant<C>>,
}

/// What ends a wait.
pub(crate) enum Grant<C> {
    /// The right to dial.
    Place(Place<C>),
    /// A live connection to the waiter's origin.
    Handover(C),
}

/// The right to one live connection; given back when dropped.
pub(crate) struct Place<C>(Arc<Places<C>>);

impl<C> Places<C> {
    pub(crate) fn new(places: usize) -> Arc<Places<C>> {
        let state = State { free: places, queue: VecDeque::new() };
        Arc::new(Places { state: Mutex::new(state), waiting: AtomicUsize::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A place, if one is free and nobody has been waiting for it.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Place<C>> {
        let mut state = self.state();
        state.forget_the_gone(&self.waiting);
        if state.free == 0 || !state.queue.is_empty() {
            return None;
        }
        state.free -= 1;
        Some(Place(Arc::clone(self)))
    }

    /// Joins the queue; dropping the receiver leaves it.
    pub(crate) fn wait(self: &Arc<Self>, origin: usize) -> oneshot::Receiver<Grant<C>> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.state();
        if state.free > 0 && state.queue.is_empty() {
            state.free -= 1;
            drop(state);
            // The receiver is in our hands, so this can't fail.
            let _ = grant.send(Grant::Place(Place(Arc::clone(self))));
            return granted;
        }
        state.queue.push_back(Waiter { origin, grant });
        self.waiting.store(state.queue.len(), Ordering::SeqCst);
        granted
    }

    /// Whether somebody waits, perhaps somebody who has just left.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Hands a live connection to the first in the queue if it is for the same origin; else gives it back to be closed.
    pub(crate) fn hand_over(&self, origin: usize, mut connection: C) -> Result<(), C> {
        loop {
            let mut state = self.state();
            state.forget_the_gone(&self.waiting);
            match state.queue.front() {
                Some(first) if first.origin == origin => {}
                _ => return Err(connection),
            }
            let Some(first) = state.pop(&self.waiting) else {
                return Err(connection);
            };
            drop(state);
            match first.grant.send(Grant::Handover(connection)) {
                Ok(()) => return Ok(()),
                // It left in this very moment: the next one may want it.
                Err(Grant::Handover(back)) => connection = back,
                Err(Grant::Place(_)) => unreachable!("what comes back is what was sent"),
            }
        }
    }
}

impl<C> State<C> {
    fn pop(&mut self, waiting: &AtomicUsize) -> Option<Waiter<C>> {
        let first = self.queue.pop_front();
        waiting.store(self.queue.len(), Ordering::SeqCst);
        first
    }

    fn forget_the_gone(&mut self, waiting: &AtomicUsize) {
        while self.queue.front().is_some_and(|first| first.grant.is_closed()) {
            self.pop(waiting);
        }
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.forget_the_gone(&self.0.waiting);
        match state.pop(&self.0.waiting) {
            None => state.free += 1,
            Some(first) => {
                drop(state);
                // Where the waiter leaves in this very moment, the place comes back, is dropped here, and goes to the next.
                drop(first.grant.send(Grant::Place(Place(Arc::clone(&self.0)))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Granted = oneshot::Receiver<Grant<&'static str>>;

    fn place(granted: &mut Granted) -> Option<Place<&'static str>> {
        match granted.try_recv() {
            Ok(Grant::Place(place)) => Some(place),
            _ => None,
        }
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order() {
        let places = Places::<&str>::new(1);
        let first = places.try_take().unwrap();
        let (mut second, mut third) = (places.wait(0), places.wait(1));
        assert!(places.try_take().is_none());
        drop(first);
        let second = place(&mut second).unwrap();
        assert!(place(&mut third).is_none());
        drop(second);
        drop(place(&mut third).unwrap());
        assert!(places.try_take().is_some());
    }

    #[test]
    fn who_leaves_the_queue_loses_nobody_s_place() {
        let places = Places::<&str>::new(1);
        let taken = places.try_take().unwrap();
        let (second, mut third) = (places.wait(0), places.wait(0));
        drop(second);
        drop(taken);
        assert!(place(&mut third).is_some());
        assert!(places.try_take().is_some());
        assert!(!places.is_wanted());
    }

    #[test]
    fn a_grant_that_nobody_collects_comes_back() {
        let places = Places::<&str>::new(1);
        let taken = places.try_take().unwrap();
        let second = places.wait(0);
        drop(taken);
        drop(second);
        assert!(places.try_take().is_some());
    }

    #[test]
    fn a_connection_is_handed_over_only_within_its_origin() {
        let places = Places::<&str>::new(1);
        let _taken = places.try_take().unwrap();
        let mut waiter = places.wait(7);
        assert_eq!(places.hand_over(8, "connection"), Err("connection"));
        assert_eq!(places.hand_over(7, "connection"), Ok(()));
        assert!(matches!(waiter.try_recv(), Ok(Grant::Handover("connection"))));
        assert_eq!(places.hand_over(7, "connection"), Err("connection"));
    }
}
