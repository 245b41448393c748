//! The HTTP/2 connections of one origin, and who gets a stream on which.
//!
//! It owns the list of connections, the queue of those who wait for a stream, and the rule that one connection
//! is made at a time: a hundred callers at once make one, find out how many it carries, and only then another.
//! Making it is the site's. It waits for nothing itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::http2::Channel;

/// The connections of one origin.
pub(crate) struct Streams {
    state: Mutex<State>,
    /// Sees that a connection is made, and tells [`Streams::grown`] or [`Streams::not_grown`].
    grow: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    channels: Vec<Arc<Channel>>,
    queue: VecDeque<oneshot::Sender<Result<Turn>>>,
    /// Somebody makes a connection.
    is_growing: bool,
    /// How many streams there may be at once.
    limit: usize,
}

/// What ends a wait for a stream.
pub(crate) enum Turn {
    Stream(Slot),
    /// The origin speaks HTTP/1.1.
    Http1,
}

/// The right to one stream; given back when dropped.
pub(crate) struct Slot {
    pub(crate) channel: Arc<Channel>,
    streams: Arc<Streams>,
}

/// A wait for a stream.
pub(crate) type Wait = oneshot::Receiver<Result<Turn>>;

impl Streams {
    pub(crate) fn new(grow: impl Fn() + Send + Sync + 'static) -> Arc<Streams> {
        let state = State { limit: usize::MAX, ..State::default() };
        Arc::new(Streams { state: Mutex::new(state), grow: Box::new(grow) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A stream on a connection that has room, the fullest first: the others may become idle.
    pub(crate) fn take(self: &Arc<Self>, now: Instant) -> Result<Slot, Wait> {
        let mut state = self.state();
        if state.queue.is_empty()
            && let Some(channel) = state.enter(now)
        {
            return Ok(Slot { channel, streams: Arc::clone(self) });
        }
        let (sender, turn) = oneshot::channel();
        state.queue.push_back(sender);
        drop(state);
        self.serve();
        Err(turn)
    }

    /// A connection was made. Whether another is wanted; if so the caller makes it.
    pub(crate) fn grown(self: &Arc<Self>, channel: Arc<Channel>) -> bool {
        self.state().channels.push(channel);
        self.serve();
        let mut state = self.state();
        state.is_growing = state.must_grow();
        state.is_growing
    }

    /// No connection is made: who waits is told why, or how else it is to be done.
    pub(crate) fn not_grown(self: &Arc<Self>, why: Result<(), Error>) {
        let waiting = {
            let mut state = self.state();
            state.is_growing = false;
            if why.is_err() && state.has_connections() {
                // Streams of what there is come free: those who wait for them need not know.
                return;
            }
            std::mem::take(&mut state.queue)
        };
        for waiter in waiting {
            // Who has left needs no answer.
            let _ = waiter.send(why.as_ref().map(|()| Turn::Http1).map_err(Clone::clone));
        }
    }

    /// Whether anybody still waits for the connection that is being made. If not, it is not being made any more.
    pub(crate) fn is_wanted(&self) -> bool {
        let mut state = self.state();
        state.forget_the_gone();
        state.is_growing = !state.queue.is_empty();
        state.is_growing
    }

    /// Gives the streams that there are to those who wait, and sees that there will be more.
    pub(crate) fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            state.forget_the_gone();
            if state.queue.is_empty() {
                return;
            }
            let Some(channel) = state.enter(Instant::now()) else {
                let begins = !state.is_growing && state.must_grow();
                state.is_growing |= begins;
                drop(state);
                if begins {
                    (self.grow)();
                }
                return;
            };
            let waiter = state.queue.pop_front();
            drop(state);
            let slot = Slot { channel, streams: Arc::clone(self) };
            if let Some(waiter) = waiter {
                // Where the waiter leaves in this very moment, the slot comes back, is dropped here, and goes to the next.
                drop(waiter.send(Ok(Turn::Stream(slot))));
            }
        }
    }

    /// Sets how many streams there may be at once.
    pub(crate) fn set_limit(self: &Arc<Self>, limit: usize) {
        let rises = std::mem::replace(&mut self.state().limit, limit) < limit;
        if rises {
            self.serve();
        }
    }

    /// Whether there is a connection, so that who waits does so for others to end.
    pub(crate) fn has_connections(&self) -> bool {
        self.state().has_connections()
    }

    /// Whether a far side allows no stream at all: another connection may be met with the same.
    pub(crate) fn is_shut(&self) -> bool {
        let is_shut = |channel: &Arc<Channel>| channel.is_settled() && channel.active() == 0 && channel.room() == 0;
        self.state().channels.iter().any(|channel| !channel.has_ended() && is_shut(channel))
    }

    /// How many streams there are.
    pub(crate) fn active(&self) -> usize {
        self.state().active()
    }

    /// Retires what must not be used again. `is_fit` looks at a connection and since when it has been idle.
    pub(crate) fn reap(&self, is_fit: impl Fn(&Channel, Option<Instant>) -> bool) {
        self.state().channels.retain(|channel| {
            let keep = !channel.has_ended() && is_fit(channel, channel.idle_since());
            if !keep {
                channel.retire();
            }
            keep
        });
    }

    /// Since when the connection has been idle that has been so longest.
    pub(crate) fn idle_longest(&self) -> Option<Instant> {
        self.state()
            .channels
            .iter()
            .filter(|channel| !channel.has_ended())
            .filter_map(|channel| channel.idle_since())
            .min()
    }

    /// Closes the connection that has been idle longest.
    pub(crate) fn close_one_idle(&self) -> bool {
        let mut state = self.state();
        state.channels.retain(|channel| !channel.has_ended());
        let idle = state.channels.iter().enumerate().filter_map(|(at, channel)| Some((channel.idle_since()?, at)));
        let Some((_, at)) = idle.min() else { return false };
        state.channels.swap_remove(at).retire();
        true
    }

    /// How many connections are idle.
    pub(crate) fn idle(&self) -> usize {
        self.state().channels.iter().filter(|channel| !channel.has_ended() && channel.active() == 0).count()
    }
}

impl State {
    fn has_connections(&self) -> bool {
        self.channels.iter().any(|channel| channel.is_settled() && !channel.has_ended())
    }

    fn active(&self) -> usize {
        self.channels.iter().map(|channel| channel.active()).sum()
    }

    fn enter(&mut self, now: Instant) -> Option<Arc<Channel>> {
        self.channels.retain(|channel| {
            if channel.retires <= now {
                channel.retire();
            }
            !channel.has_ended()
        });
        if self.active() >= self.limit {
            return None;
        }
        let rooms = self.channels.iter().map(|channel| (channel.room(), channel));
        let (_, fullest) = rooms.filter(|(room, _)| *room > 0).min_by_key(|(room, _)| *room)?;
        fullest.enter();
        Some(Arc::clone(fullest))
    }

    /// Whether those who wait need another connection: not while one may still turn out to take them all.
    fn must_grow(&mut self) -> bool {
        self.forget_the_gone();
        let is_allowed = self.active() < self.limit;
        is_allowed && !self.queue.is_empty() && self.channels.iter().all(|channel| channel.is_settled())
    }

    fn forget_the_gone(&mut self) {
        self.queue.retain(|waiter| !waiter.is_closed());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.channel.leave();
        self.streams.serve();
    }
}
