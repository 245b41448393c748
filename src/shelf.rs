//! Who may use a connection of one origin, and the connections that nobody uses: [`Shelf`].
//!
//! It owns the turns, as many as the origin may have connections, first come first served; and the stack of idle
//! connections, of which the last one used is taken first: it is the one most surely alive, the others age and are
//! closed. Taking a turn and a connection where both are there is an atomic operation and a lock that nobody holds for
//! long; nothing is dropped inside it. It makes no connection, judges none and knows no time.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Semaphore, TryAcquireError};

/// The turns and the idle connections of one origin. `C` is a connection.
pub(crate) struct Shelf<C> {
    turns: Semaphore,
    idle: Mutex<Vec<C>>,
}

/// The client was closed: nobody has a turn any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<C> Shelf<C> {
    pub(crate) fn new(turns: usize) -> Shelf<C> {
        Shelf { turns: Semaphore::new(turns), idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<C>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes a turn if one is free and nobody waits for it. Whoever has one ends it by [`Shelf::end_turn`].
    pub(crate) fn try_turn(&self) -> Result<bool, Closed> {
        match self.turns.try_acquire() {
            Ok(turn) => {
                turn.forget();
                Ok(true)
            }
            Err(TryAcquireError::NoPermits) => Ok(false),
            Err(TryAcquireError::Closed) => Err(Closed),
        }
    }

    /// Waits for a turn; dropping the future leaves the queue.
    pub(crate) async fn turn(&self) -> Result<(), Closed> {
        self.turns.acquire().await.map(|turn| turn.forget()).map_err(|_| Closed)
    }

    /// Ends a turn: it is the first waiter's.
    pub(crate) fn end_turn(&self) {
        self.turns.add_permits(1);
    }

    /// The idle connection that was used last.
    pub(crate) fn take(&self) -> Option<C> {
        self.idle().pop()
    }

    /// Keeps a connection that has come free; after [`Shelf::close`] it is closed instead.
    pub(crate) fn put(&self, connection: C) {
        let mut idle = self.idle();
        // Looked at inside the lock: whoever closes empties the stack after that.
        if self.turns.is_closed() {
            drop(idle);
            drop(connection);
        } else {
            idle.push(connection);
        }
    }

    /// The idle connection that was used longest ago.
    pub(crate) fn take_oldest(&self) -> Option<C> {
        let mut idle = self.idle();
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    /// Takes those that `keep` does not want kept.
    pub(crate) fn take_unless(&self, mut keep: impl FnMut(&C) -> bool) -> Vec<C> {
        self.idle().extract_if(.., |connection| !keep(connection)).collect()
    }

    /// What `look` sees in the idle connection that was used longest ago.
    pub(crate) fn look_at_oldest<T>(&self, look: impl FnOnce(&C) -> T) -> Option<T> {
        self.idle().first().map(look)
    }

    /// How many are idle.
    pub(crate) fn len(&self) -> usize {
        self.idle().len()
    }

    /// Lets nobody have a turn again and gives the idle connections out, to be closed. Who has a turn keeps it.
    pub(crate) fn close(&self) -> Vec<C> {
        self.turns.close();
        std::mem::take(&mut *self.idle())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_turn_that_ends_is_the_first_waiter_s_and_nobody_steps_in_between() {
        let shelf = Shelf::<()>::new(1);
        assert_eq!(shelf.try_turn(), Ok(true));
        let (mut first, mut second) = (pin!(shelf.turn()), pin!(shelf.turn()));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        shelf.end_turn();
        assert_eq!(shelf.try_turn(), Ok(false), "it came later");
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(())));
        shelf.end_turn();
        assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
    }

    #[test]
    fn who_leaves_the_queue_takes_no_turn_along() {
        let shelf = Shelf::<()>::new(1);
        assert_eq!(shelf.try_turn(), Ok(true));
        let mut second = pin!(shelf.turn());
        {
            let mut first = pin!(shelf.turn());
            assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
            shelf.end_turn();
        }
        assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
        shelf.end_turn();
        assert_eq!(shelf.try_turn(), Ok(true));
    }

    #[test]
    fn the_last_one_used_is_taken_first_and_the_oldest_given_up_first() {
        let shelf = Shelf::new(3);
        (1..=4).for_each(|connection| shelf.put(connection));
        assert_eq!((shelf.take(), shelf.take_oldest(), shelf.len()), (Some(4), Some(1), 2));
        assert_eq!(shelf.take_unless(|connection| *connection == 3), [2]);
        assert_eq!(shelf.look_at_oldest(|connection| *connection), Some(3));
    }

    #[test]
    fn after_a_close_nobody_has_a_turn_and_nothing_is_kept() {
        let shelf = Shelf::new(2);
        shelf.put("idle");
        assert_eq!(shelf.try_turn(), Ok(true));
        assert_eq!(shelf.try_turn(), Ok(true));
        let mut waits = pin!(shelf.turn());
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(shelf.close(), ["idle"]);
        assert_eq!(poll(waits.as_mut()), Poll::Ready(Err(Closed)));
        shelf.put("came free");
        shelf.end_turn();
        assert_eq!((shelf.try_turn(), shelf.take()), (Err(Closed), None));
    }
}
