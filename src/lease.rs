//! How a caller gets what carries its exchange, and gives it back: [`Lease`], [`Stream`], [`Line`].
//!
//! It owns the choice between a connection of one's own and a stream among others, the bound on the wait for either,
//! and what becomes of it when it ends: back to the pool, to the first who waits, or closed so that its place is
//! somebody else's. Dropping a lease is always safe, and never gives back what is not clean.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use crate::config::KEPT_FOR;
use crate::connect::{Dialled, Offer};
use crate::connection::{Connection, Parts};
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::http2::Channel;
use crate::kept::Streak;
use crate::limit::{Grant, Wants, Wish};
use crate::process;
use crate::shelf::Closed;
use crate::site::Site;
use crate::streams::{Slot, Turn};

thread_local! {
    /// To which site this thread, driving itself, gave a connection back last, and when.
    static LAST_ENDED: Cell<Option<(usize, Instant)>> = const { Cell::new(None) };
}

/// A stream that ends gives its connection up after so many, where somebody waits for its place.
const TURNS: usize = 64;

impl Site {
    /// What carries one exchange: a connection of its own, idle or new, or a stream; or the wait for either.
    /// `is_driven` says that the caller drives it on its own thread; it asks at `begun`.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        is_driven: bool,
        begun: Instant,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Leased> {
        if is_driven && let Some(lease) = self.take_kept(begun) {
            return Ok(Leased::Connection(lease));
        }
        let mut caller = Caller::enter(self, is_driven)?;
        let patience = begun + self.shared.config.acquire_timeout;
        let until = patience.min(deadline);
        let late = || self.late(is_driven, deadline <= patience, timeout).with_host(self.label.clone());
        if self.may_share(is_driven) {
            let turn = match self.streams.take(begun) {
                Ok(slot) => Turn::Stream(slot),
                Err(wait) => match drive::before(until, wait).await {
                    Some(Ok(turn)) => turn?,
                    Some(Err(_)) => return Err(Error::new(Reason::Internal, Phase::Queue, "the queue is gone")),
                    None => {
                        let error = late();
                        return Err(if self.streams.has_connections() { error.queued() } else { error });
                    }
                },
            };
            if let Turn::Stream(slot) = turn {
                return Ok(Leased::Stream(Stream { slot, caller }));
            }
        }
        let closed =
            |Closed| Error::new(Reason::Closed, Phase::Queue, "the client was closed").with_host(self.label.clone());
        let mut now = begun;
        if !self.shelf.try_turn().map_err(closed)? {
            match drive::before(until, pin!(self.shelf.turn())).await {
                Some(turn) => turn.map_err(closed)?,
                None => return Err(late()),
            }
            now = Instant::now();
        }
        caller.has_turn = true;
        if let Some(connection) = self.take_idle(now) {
            return Ok(Leased::Connection(Lease::new(connection, caller, begun, now)));
        }
        match drive::before(until, pin!(self.make())).await {
            Some(Ok(connection)) => Ok(Leased::Connection(Lease::new(connection, caller, begun, now))),
            Some(Err(error)) => {
                self.dial_failed(&error, begun);
                Err(error.with_host(self.label.clone()))
            }
            None => Err(late()),
        }
    }

    /// What this thread has kept since its last call, if it is still of use.
    fn take_kept(self: &Arc<Self>, begun: Instant) -> Option<Lease> {
        let (connection, streak) = self.kept.take(drive::thread())?;
        let lease = Lease::of_kept(self, connection, streak, begun);
        let is_fit = |connection: &Connection| self.shared.is_fit(&self.host, connection, begun);
        lease.connection.as_deref().is_some_and(is_fit).then_some(lease)
    }

    /// Gives what threads keep and don't come back for to those who wait.
    fn watch_kept(self: &Arc<Self>) -> Result<()> {
        let site = Arc::downgrade(self);
        let watching = process::spawn(async move {
            loop {
                tokio::time::sleep(KEPT_FOR).await;
                let Some(site) = site.upgrade() else { return };
                let (late, goes_on) = site.kept.take_late(Instant::now());
                for (connection, streak) in late {
                    let idle_since = connection.idle_since;
                    Lease::of_kept(&site, connection, streak, idle_since).end(idle_since);
                }
                if !goes_on {
                    return;
                }
            }
        })?;
        watching.detach();
        Ok(())
    }

    /// Closes what threads keep. Their turns are those who wait's.
    pub(crate) fn close_kept(self: &Arc<Self>) {
        for (connection, streak) in self.kept.take_all() {
            let idle_since = connection.idle_since;
            drop(Lease::of_kept(self, connection, streak, idle_since));
        }
    }

    /// Whether more want to exchange than may.
    fn is_crowded(&self) -> bool {
        self.callers.load(Ordering::Relaxed) > self.shared.config.connections_per_origin()
    }

    /// Whether many exchanges of a batch go over few connections: as the target chooses, which a first connection shows.
    /// What keeps that from being made is for the exchanges to tell.
    pub(crate) async fn shares(self: &Arc<Self>, until: Instant) -> bool {
        if self.may_share(false)
            && !self.streams.has_connections()
            && let Err(wait) = self.streams.take(Instant::now())
        {
            drop(drive::before(until, wait).await);
        }
        self.may_share(false)
    }

    /// Nothing came free in time.
    fn late(&self, is_driven: bool, with_the_call: bool, timeout: Duration) -> Error {
        let (phase, detail) = self.crowd(is_driven);
        if with_the_call {
            Error::new(Reason::TimeoutTotal, phase, detail).with_budget("timeout", timeout)
        } else {
            let budget = self.shared.config.acquire_timeout;
            Error::new(Reason::TimeoutAcquire, phase, detail).with_budget("acquire_timeout", budget)
        }
    }

    /// What a lease that was given up had been waiting for.
    fn crowd(&self, is_driven: bool) -> (Phase, String) {
        let callers = self.callers.load(Ordering::Relaxed);
        let cap = self.capacity(is_driven);
        if callers <= cap {
            return (Phase::Connect, "no connection was made in time".to_owned());
        }
        (Phase::Queue, format!("no connection came free: {callers} callers, of whom {cap} can be served at once"))
    }
}

/// One who holds or waits for a connection, counted for as long as that lasts.
struct Caller {
    site: Arc<Site>,
    /// Whether a turn at the origin's shelf ends with it.
    has_turn: bool,
}

impl Caller {
    fn enter(site: &Arc<Site>, is_driven: bool) -> Result<Caller> {
        let config = &site.shared.config;
        let before = site.callers.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { site: Arc::clone(site), has_turn: false };
        let places = site.capacity(is_driven);
        if before >= places {
            site.shared.counters.waits.one();
            if before - places >= config.max_waiting {
                let detail = format!("{} callers wait already, as many as max_waiting allows", config.max_waiting);
                return Err(Error::new(Reason::Overloaded, Phase::Queue, detail).with_host(site.label.clone()));
            }
        }
        Ok(caller)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.has_turn {
            self.site.shelf.end_turn();
        }
        self.site.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection for bytes that are not HTTP, and what it counts against until it is closed. The parts hold the place.
pub(crate) struct Line {
    pub(crate) parts: Parts,
    _caller: Caller,
}

impl Site {
    /// A new connection to this origin; over TLS for `server_name` where one is given.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        is_driven: bool,
        server_name: Option<ServerName<'static>>,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Line> {
        let caller = Caller::enter(self, is_driven)?;
        let begun = Instant::now();
        let patience = begun + self.shared.config.acquire_timeout;
        let site = Arc::clone(self);
        let dialling = async move {
            let turn = site.sockets.acquire().await.ok();
            let Grant::Place(place) = site.shared.place(site.index, Wants::Place).await? else {
                unreachable!("only a place was asked for")
            };
            drop(turn);
            site.shared.dialer.dial(&site.route, place, Offer::Raw(server_name.as_ref())).await
        };
        match drive::before(patience.min(deadline), pin!(drive::run(drive::rare(dialling)))).await.transpose()? {
            Some(Some(Ok(Dialled::Raw(parts)))) => Ok(Line { parts, _caller: caller }),
            Some(Some(Ok(_))) => unreachable!("nothing else was asked for"),
            Some(Some(Err(error))) => {
                self.dial_failed(&error, begun);
                Err(error.with_host(self.label.clone()))
            }
            Some(None) => Err(Error::new(Reason::Internal, Phase::Connect, "the dial panicked")),
            None => Err(self.late(is_driven, deadline <= patience, timeout).with_host(self.label.clone())),
        }
    }
}

/// What carries one exchange.
pub(crate) enum Leased {
    Connection(Lease),
    Stream(Stream),
}

/// A stream in use.
pub(crate) struct Stream {
    slot: Slot,
    caller: Caller,
}

impl Leased {
    /// Gives back what was not used.
    pub(crate) fn end(self, now: Instant) {
        if let Leased::Connection(lease) = self {
            lease.end(now);
        }
    }
}

impl Stream {
    pub(crate) fn channel(&self) -> &Channel {
        &self.slot.channel
    }
}

impl Drop for Stream {
    /// A connection that is never idle must not keep everybody else from its place for ever.
    fn drop(&mut self) {
        let (site, channel) = (&self.caller.site, &self.slot.channel);
        if site.shared.places.wishes_streams_gone(site.index)
            && (channel.active() <= 1 || channel.has_had_its_turns(TURNS))
        {
            channel.retire();
            site.shared.counters.evictions.one();
        }
    }
}

/// A connection in use. Dropping it closes the connection; [`Lease::end`] gives it back.
pub(crate) struct Lease {
    // Dropped before the caller's turn ends: whoever is next finds its place free.
    connection: Option<Box<Connection>>,
    caller: Caller,
    streak: Streak,
    /// When its thread asked for it.
    begun: Instant,
}

impl Lease {
    fn new(connection: Box<Connection>, caller: Caller, begun: Instant, now: Instant) -> Lease {
        Lease { connection: Some(connection), caller, streak: Streak::new(now), begun }
    }

    fn of_kept(site: &Arc<Site>, connection: Box<Connection>, streak: Streak, begun: Instant) -> Lease {
        site.callers.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { site: Arc::clone(site), has_turn: true };
        Lease { connection: Some(connection), caller, streak, begun }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }

    /// Gives a connection back whose exchange has ended cleanly: to the shelf, to the first who waits for a place if it
    /// is for the same origin, or to nobody, so that its place goes to another origin. A thread that comes back at once
    /// keeps it for a few quick calls.
    pub(crate) fn end(mut self, now: Instant) {
        let Lease { connection, caller: Caller { site, has_turn }, streak, begun } = &mut self;
        let Some(mut connection) = connection.take() else {
            return;
        };
        connection.idle_since = now;
        connection.was_idle = true;
        let here = Arc::as_ptr(site).addr();
        let ended_before = drive::is_driven().then(|| LAST_ENDED.replace(Some((here, now)))).flatten();
        let places = &site.shared.places;
        if site.holds(connection.address.ip()) && places.wish(site.index) == Wish::Nothing {
            // Who goes from site to site does not come back at once to either.
            let was_away =
                ended_before.filter(|(site, _)| *site == here).map(|(_, at)| begun.saturating_duration_since(at));
            if was_away.is_some_and(|was_away| site.is_crowded() && streak.goes_on(was_away, now)) {
                // The connection takes the turn along.
                *has_turn = false;
                if site.kept.keep(drive::thread(), (connection, *streak), now) && site.watch_kept().is_err() {
                    // Nobody else would ever have what is kept.
                    site.close_kept();
                }
                return;
            }
            site.shelf.put(connection);
            if places.wish(site.index) != Wish::Nothing && site.close_one_idle() {
                // Somebody began to wait for a place in between, and found nothing idle to close.
                site.shared.counters.evictions.one();
            }
            return;
        }
        if site.shared.is_fit(&site.host, &connection, now) {
            // What nobody of this origin waits for comes back, and is closed by being dropped.
            drop(places.hand_over(site.index, connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::Client;
    use crate::origin::Scheme;

    const CALLS: u64 = 2000;
    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_that_comes_back_at_once_waits_for_one_in_several_turns() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let client = Client::builder()
            .hosts([format!("http://{authority}")])
            .allow_addresses(["127.0.0.0/8"])
            .max_connections_per_origin(1)
            .build()
            .unwrap();
        let core = client.0.core().unwrap();
        let site = core.pool.site(Scheme::Http, &authority).unwrap();
        let lease_and_end = || {
            let now = Instant::now();
            drive::block_on(async {
                site.lease(true, now, now + LONGEST, LONGEST).await.unwrap().end(Instant::now());
            });
        };
        lease_and_end();
        let (_connection, _) = listener.accept().unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..CALLS).for_each(|_| lease_and_end()));
            }
        });
        let stats = client.stats();
        assert_eq!(stats.dials, 1);
        // In strict order each of them would wait each time.
        assert!(stats.waits < CALLS, "{} waits in {} calls", stats.waits, 2 * CALLS);
    }
}
