//! How many connections may be live at once: to each origin, and over all of them.
//!
//! It owns the places and the queue for them. A place is taken before a dial and given back when the
//! connection is closed, on every path, whatever the connection is for: requests one at a time, many at once,
//! or bytes that are not HTTP. The queue is first come, first served among those whose origin has room:
//! whoever gives a place back gives it to the one who waits longest, and a connection that comes free for that
//! one's own origin is handed over as it is, without a new handshake. Both caps can be moved while it runs.
//! It waits for nothing itself and knows no time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// The places of one client. `C` is what can be handed over: a connection.
pub(crate) struct Places<C> {
    state: Mutex<State<C>>,
    /// How much there is to know when a connection comes free, to be read without the lock on every return: those who
    /// wait, and the caps that are exceeded.
    pressure: AtomicUsize,
}

struct State<C> {
    all: Room,
    origins: Vec<Room>,
    queue: VecDeque<Waiter<C>>,
}

/// A cap and what is live under it.
#[derive(Clone, Copy)]
struct Room {
    live: usize,
    cap: usize,
}

struct Waiter<C> {
    origin: usize,
    wants: Wants,
    grant: oneshot::Sender<Grant<C>>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// A connection that carries one exchange at a time: a live one will do.
    Connection,
    /// A place for a connection with streams, on behalf of those who will also take a stream of another.
    Streams,
    /// A place for something else.
    Place,
}

/// What ends a wait.
pub(crate) enum Grant<C> {
    /// The right to dial.
    Place(Place<C>),
    /// A live connection to the waiter's origin.
    Handover(C),
}

/// The right to one live connection; given back when dropped.
pub(crate) struct Place<C>(Arc<Places<C>>, usize);

/// What should become of a connection that has come free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nobody waits for it or its place.
    Nothing,
    /// Somebody waits for a connection to this very origin.
    Itself,
    /// Somebody waits for its place, or there are more live ones than there may be.
    Place,
}

impl Room {
    fn has_room(self) -> bool {
        self.live < self.cap
    }

    fn is_exceeded(self) -> bool {
        self.live > self.cap
    }
}

impl<C> Places<C> {
    pub(crate) fn new(cap: usize) -> Arc<Places<C>> {
        let state = State { all: Room { live: 0, cap }, origins: Vec::new(), queue: VecDeque::new() };
        Arc::new(Places { state: Mutex::new(state), pressure: AtomicUsize::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes room for one more origin, and names it.
    pub(crate) fn add_origin(&self, cap: usize) -> usize {
        let mut state = self.state();
        state.origins.push(Room { live: 0, cap });
        state.origins.len() - 1
    }

    /// Moves the cap of one origin. What is live above it is given back as it comes free.
    pub(crate) fn set_cap(self: &Arc<Self>, origin: usize, cap: usize) {
        self.change(|state| state.origins[origin].cap = cap);
    }

    /// Moves the cap over all.
    pub(crate) fn set_total(self: &Arc<Self>, cap: usize) {
        self.change(|state| state.all.cap = cap);
    }

    /// How many connections to an origin are live or being made.
    pub(crate) fn live(&self, origin: usize) -> usize {
        self.state().origins[origin].live
    }

    /// How many are live or being made over all.
    pub(crate) fn all_live(&self) -> usize {
        self.state().all.live
    }

    /// Whether only an origin's own connections keep it from another one.
    pub(crate) fn is_capped(&self, origin: usize) -> bool {
        !self.state().origins[origin].has_room()
    }

    /// How many connections must be closed before an origin has room for another one.
    pub(crate) fn lacks(&self, origin: usize) -> usize {
        let state = self.state();
        let lacks = |room: Room| (room.live + 1).saturating_sub(room.cap);
        lacks(state.all).max(lacks(state.origins[origin]))
    }

    /// A place, if one is free: whoever waits then waits for something else.
    pub(crate) fn try_take(self: &Arc<Self>, origin: usize) -> Option<Place<C>> {
        let mut state = self.state();
        state.take(origin).then(|| Place(Arc::clone(self), origin))
    }

    /// Joins the queue; dropping the receiver leaves it.
    pub(crate) fn wait(self: &Arc<Self>, origin: usize, wants: Wants) -> oneshot::Receiver<Grant<C>> {
        let (grant, granted) = oneshot::channel();
        self.change(|state| state.queue.push_back(Waiter { origin, wants, grant }));
        granted
    }

    /// What should become of a connection of this origin that has come free. Costs one load where nobody waits.
    pub(crate) fn wish(&self, origin: usize) -> Wish {
        if self.pressure.load(Ordering::SeqCst) == 0 {
            return Wish::Nothing;
        }
        let mut state = self.state();
        state.forget_the_gone();
        state.wish(origin)
    }

    /// Whether a connection of this origin that carries streams should give its place up: not for those who will be glad
    /// of its streams.
    pub(crate) fn wishes_streams_gone(&self, origin: usize) -> bool {
        if self.pressure.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let mut state = self.state();
        state.forget_the_gone();
        let is_glad = |waiter: &Waiter<C>| waiter.origin == origin && waiter.wants == Wants::Streams;
        match state.wish(origin) {
            Wish::Nothing => false,
            _ if state.is_exceeded(origin) => true,
            _ => state.next_after(origin, |waiter| !is_glad(waiter)).is_some(),
        }
    }

    /// Hands a live connection to the first who would get its place if that one takes it over; else gives it back.
    pub(crate) fn hand_over(self: &Arc<Self>, origin: usize, mut connection: C) -> Result<(), C> {
        loop {
            let mut state = self.state();
            state.forget_the_gone();
            let next = match state.wish(origin) {
                Wish::Itself => state.next_after(origin, |_| true),
                Wish::Place | Wish::Nothing => None,
            };
            let waiter = next.and_then(|at| state.queue.remove(at));
            self.note(&state);
            drop(state);
            let Some(waiter) = waiter else { return Err(connection) };
            match waiter.grant.send(Grant::Handover(connection)) {
                Ok(()) => return Ok(()),
                // It left in this very moment: the next one may want it.
                Err(Grant::Handover(back)) => connection = back,
                Err(Grant::Place(_)) => unreachable!("what comes back is what was sent"),
            }
        }
    }

    /// Changes something and serves whom that lets in. Grants are sent outside the lock: one that nobody collects comes
    /// back through here.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State<C>)) {
        let mut state = self.state();
        change(&mut state);
        let mut served = Vec::new();
        state.forget_the_gone();
        while let Some(at) = state.queue.iter().position(|waiter| state.has_room(waiter.origin)) {
            let Some(waiter) = state.queue.remove(at) else { break };
            let origin = waiter.origin;
            state.take(origin);
            served.push((waiter.grant, Place(Arc::clone(self), origin)));
        }
        self.note(&state);
        drop(state);
        for (grant, place) in served {
            // Where the waiter leaves in this very moment, the place comes back, is dropped here, and goes to the next.
            drop(grant.send(Grant::Place(place)));
        }
    }

    fn note(&self, state: &State<C>) {
        let exceeded = usize::from(state.all.is_exceeded() || state.origins.iter().any(|room| room.is_exceeded()));
        self.pressure.store(state.queue.len() + exceeded, Ordering::SeqCst);
    }
}

impl<C> State<C> {
    fn has_room(&self, origin: usize) -> bool {
        self.all.has_room() && self.origins[origin].has_room()
    }

    fn take(&mut self, origin: usize) -> bool {
        let has_room = self.has_room(origin);
        if has_room {
            self.all.live += 1;
            self.origins[origin].live += 1;
        }
        has_room
    }

    fn is_exceeded(&self, origin: usize) -> bool {
        self.all.is_exceeded() || self.origins[origin].is_exceeded()
    }

    /// Who would be served if a place of this origin came free, of those who count.
    fn next_after(&self, origin: usize, counts: impl Fn(&Waiter<C>) -> bool) -> Option<usize> {
        let all = Room { live: self.all.live - 1, ..self.all };
        self.queue.iter().position(|waiter| {
            let room = self.origins[waiter.origin];
            let room = Room { live: room.live - usize::from(waiter.origin == origin), ..room };
            all.has_room() && room.has_room() && counts(waiter)
        })
    }

    fn wish(&self, origin: usize) -> Wish {
        // Who has nothing live can give nothing.
        if self.origins[origin].live == 0 {
            return Wish::Nothing;
        }
        if self.is_exceeded(origin) {
            return Wish::Place;
        }
        match self.next_after(origin, |_| true).map(|at| &self.queue[at]) {
            Some(waiter) if waiter.origin == origin && waiter.wants == Wants::Connection => Wish::Itself,
            Some(_) => Wish::Place,
            None => Wish::Nothing,
        }
    }

    fn forget_the_gone(&mut self) {
        self.queue.retain(|waiter| !waiter.grant.is_closed());
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        let origin = self.1;
        self.0.change(|state| {
            state.all.live -= 1;
            state.origins[origin].live -= 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Granted = oneshot::Receiver<Grant<&'static str>>;

    fn places(total: usize, caps: &[usize]) -> Arc<Places<&'static str>> {
        let places = Places::new(total);
        caps.iter().for_each(|&cap| {
            places.add_origin(cap);
        });
        places
    }

    fn place(granted: &mut Granted) -> Option<Place<&'static str>> {
        match granted.try_recv() {
            Ok(Grant::Place(place)) => Some(place),
            _ => None,
        }
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order() {
        let places = places(1, &[1, 1]);
        let first = places.try_take(0).unwrap();
        let (mut second, mut third) = (places.wait(0, Wants::Connection), places.wait(1, Wants::Connection));
        assert!(places.try_take(0).is_none());
        drop(first);
        let second = place(&mut second).unwrap();
        assert!(place(&mut third).is_none());
        drop(second);
        drop(place(&mut third).unwrap());
        assert!(places.try_take(0).is_some());
    }

    #[test]
    fn who_leaves_the_queue_loses_nobody_s_place() {
        let places = places(1, &[1]);
        let taken = places.try_take(0).unwrap();
        let (second, mut third) = (places.wait(0, Wants::Connection), places.wait(0, Wants::Connection));
        drop(second);
        drop(taken);
        assert!(place(&mut third).is_some());
        assert!(places.try_take(0).is_some());
        assert_eq!(places.wish(0), Wish::Nothing);
    }

    #[test]
    fn a_grant_that_nobody_collects_comes_back() {
        let places = places(1, &[1]);
        let taken = places.try_take(0).unwrap();
        let second = places.wait(0, Wants::Connection);
        drop(taken);
        drop(second);
        assert!(places.try_take(0).is_some());
    }

    #[test]
    fn a_connection_is_handed_over_only_within_its_origin_and_only_to_who_takes_it() {
        let places = places(2, &[1, 1]);
        let (_one, _other) = (places.try_take(0).unwrap(), places.try_take(1).unwrap());
        let mut waiter = places.wait(0, Wants::Connection);
        assert_eq!(places.wish(1), Wish::Nothing);
        assert_eq!(places.hand_over(1, "connection"), Err("connection"));
        assert_eq!(places.wish(0), Wish::Itself);
        assert_eq!(places.hand_over(0, "connection"), Ok(()));
        assert!(matches!(waiter.try_recv(), Ok(Grant::Handover("connection"))));
        let _place_only = places.wait(0, Wants::Place);
        assert_eq!(places.wish(0), Wish::Place);
        assert_eq!(places.hand_over(0, "connection"), Err("connection"));
    }

    #[test]
    fn streams_are_not_given_up_for_those_who_want_streams() {
        let places = places(1, &[1, 1]);
        let _taken = places.try_take(0).unwrap();
        let _grower = places.wait(0, Wants::Streams);
        assert_eq!((places.wish(0), places.wishes_streams_gone(0)), (Wish::Place, false));
        let _other = places.wait(1, Wants::Connection);
        assert!(places.wishes_streams_gone(0));
    }

    #[test]
    fn an_origin_at_its_cap_holds_nobody_else_up() {
        let places = places(3, &[1, 2]);
        let one = places.try_take(0).unwrap();
        let mut second = places.wait(0, Wants::Connection);
        assert!(places.try_take(1).is_some(), "another origin goes first");
        assert_eq!(places.wish(1), Wish::Nothing);
        drop(one);
        assert!(place(&mut second).is_some());
    }

    #[test]
    fn a_cap_that_sinks_asks_for_places_back_and_one_that_rises_serves_the_queue() {
        let places = places(4, &[4]);
        let taken: Vec<_> = (0..4).map(|_| places.try_take(0).unwrap()).collect();
        places.set_cap(0, 2);
        assert_eq!(places.wish(0), Wish::Place);
        let mut waiter = places.wait(0, Wants::Connection);
        drop(taken);
        assert!(place(&mut waiter).is_some());
        let kept: Vec<_> = std::iter::from_fn(|| places.try_take(0)).collect();
        assert_eq!(kept.len(), 2);
        let mut waiter = places.wait(0, Wants::Connection);
        places.set_cap(0, 3);
        assert!(place(&mut waiter).is_some());
        places.set_total(1);
        assert_eq!(places.wish(0), Wish::Place);
    }

    proptest! {
        #[test]
        fn no_cap_is_ever_exceeded_and_nobody_waits_before_a_free_place(
            steps in prop::collection::vec((0..4_u8, 0..3_usize), 1..200)
        ) {
            let caps = [1, 2, 3];
            let places = places(4, &caps);
            let (mut held, mut waiting): (Vec<Place<&str>>, Vec<Granted>) = (Vec::new(), Vec::new());
            for (step, which) in steps {
                match step {
                    0 => held.extend(places.try_take(which)),
                    1 => waiting.push(places.wait(which, Wants::Connection)),
                    2 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    3 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut granted in waiting.drain(..) {
                    match place(&mut granted) {
                        Some(place) => held.push(place),
                        None => still.push(granted),
                    }
                }
                waiting = still;
                prop_assert!(held.len() <= 4);
                for (origin, cap) in caps.iter().enumerate() {
                    prop_assert!(held.iter().filter(|place| place.1 == origin).count() <= *cap);
                    prop_assert_eq!(places.live(origin), held.iter().filter(|place| place.1 == origin).count());
                }
                let state = places.state();
                prop_assert!(state.queue.iter().filter(|waiter| !waiter.grant.is_closed())
                    .all(|waiter| !state.has_room(waiter.origin)));
            }
        }
    }
}
