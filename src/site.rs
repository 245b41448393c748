//! One origin of a client: its connections, and what is learned of the way to it.
//!
//! It owns the making of connections that carry one exchange at a time, the growth of those that carry many,
//! what makes an idle one unfit, and the origin's share of the caps as refusals and successes move it. Who gets
//! what, and gives it back, stands in `lease`. Who drives dials too, for others the runtime does; time is the monotonic
//! clock's.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::config::{Config, LEAST_TELLING_IDLE, Protocol, REAP_EVERY, SHUT_FOR};
use crate::connect::{Dialer, Dialled, Offer, Route};
use crate::connection::Connection;
use crate::crowd::{Crowd, Crowds, InUse, Limits, is_overload, is_refusal};
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::http2::{Care, Channel};
use crate::kept::{Kept, Streak};
use crate::limit::{Grant, Places, Wants, Wish};
use crate::origin::Scheme;
use crate::pins::Host;
use crate::process;
use crate::request::OwnFields;
use crate::response::Trace;
use crate::retry::Budget;
use crate::shelf::Shelf;
use crate::streams::Streams;

/// One origin of a client: its connections, its budget of retries, its share of callers.
pub(crate) struct Site {
    pub(crate) label: Box<str>,
    /// What every request to this origin says of itself.
    pub(crate) own: OwnFields,
    pub(crate) host: Arc<Host>,
    budget: Mutex<Budget>,
    scheme: Scheme,
    /// Those that carry one exchange at a time.
    pub(crate) shelf: Shelf<Box<Connection>>,
    /// What threads keep of them between two calls, while others wait.
    pub(crate) kept: Kept<(Box<Connection>, Streak)>,
    /// Those that carry many.
    pub(crate) streams: Arc<Streams>,
    /// Asked for HTTP/2 (ALPN), the target chose HTTP/1.1.
    speaks_http1: AtomicBool,
    pub(crate) route: Arc<Route>,
    /// One that was made for many exchanges and carries one at a time, until somebody takes it.
    spare: Mutex<Option<Box<Connection>>>,
    /// What the way to this origin bears.
    crowd: Crowd,
    /// Those who may stand in the queue for a place to open a socket: as many as of those who want to exchange, so that
    /// the many who want sockets don't crowd out the others.
    pub(crate) sockets: Semaphore,
    /// Those who hold or wait for a connection.
    pub(crate) callers: AtomicUsize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
}

/// What all sites of a client share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) places: Arc<Places<Box<Connection>>>,
    /// What the way to all origins bears.
    pub(crate) crowds: Crowds,
    pub(crate) counters: Arc<Counters>,
    /// Closes an idle connection, so that its place goes to somebody of this origin. Whether there was one.
    pub(crate) evict: Box<dyn Fn(usize) -> bool + Send + Sync>,
    /// Has what is idle looked at from now on. Begun with the first connection: a client that makes none costs no thread.
    pub(crate) reap: Box<dyn Fn() -> Result<()> + Send + Sync>,
    pub(crate) is_reaped: AtomicBool,
}

impl Shared {
    /// Sees that a connection just made is looked at when it is idle.
    fn look_after<T>(&self, made: T) -> Result<T> {
        if !self.is_reaped.swap(true, Ordering::Relaxed) {
            (self.reap)().inspect_err(|_| self.is_reaped.store(false, Ordering::Relaxed))?;
        }
        Ok(made)
    }

    /// Whether an idle connection may be used again.
    pub(crate) fn is_fit(&self, host: &Host, connection: &Connection, now: Instant) -> bool {
        let max_idle = connection.max_idle.min(host.learned_idle(now));
        let fresh = now < connection.retires && now.duration_since(connection.idle_since) < max_idle;
        self.is_kept(fresh, host.holds(connection.address.ip()))
    }

    /// The same of a connection that carries many exchanges, and may be carrying some.
    fn is_fit_for_streams(&self, host: &Host, channel: &Channel, idle_since: Option<Instant>, now: Instant) -> bool {
        let max_idle = self.config.max_idle.min(host.learned_idle(now));
        let is_awake = idle_since.is_none_or(|since| now.duration_since(since) < max_idle);
        self.is_kept(is_awake && now < channel.retires, host.holds(channel.address.ip()))
    }

    fn is_kept(&self, fresh: bool, pinned: bool) -> bool {
        if !fresh {
            self.counters.expired.one();
        } else if !pinned {
            self.counters.drained.one();
        }
        fresh && pinned
    }
}

/// Makes sure that those who wait for streams are told where making a connection for them has panicked.
struct Growing<'a>(&'a Arc<Streams>);

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.0.not_grown(Err(Error::new(Reason::Internal, Phase::Connect, "the dial panicked")));
    }
}

impl Shared {
    /// The right to dial, or a connection of this origin that came free meanwhile, for one who takes that too.
    pub(crate) async fn place(&self, index: usize, wants: Wants) -> Result<Grant<Box<Connection>>> {
        let places = &self.places;
        if let Some(place) = places.try_take(index) {
            return Ok(Grant::Place(place));
        }
        self.counters.waits.one();
        let granted = places.wait(index, wants);
        // Only now: a connection that became idle before the queue knew of this caller is found here, one that becomes
        // idle later is given to the queue.
        for _ in 0..places.lacks(index) {
            if !(self.evict)(index) {
                break;
            }
        }
        granted.await.map_err(|_| Error::new(Reason::Internal, Phase::Queue, "the queue is gone"))
    }
}

impl Site {
    pub(crate) fn new(shared: Arc<Shared>, scheme: Scheme, route: Route, own: OwnFields) -> Arc<Site> {
        let (connections_cap, max_streams) = (shared.config.connections_per_origin(), shared.config.max_streams);
        let route = Arc::new(route);
        let index = shared.places.add_origin(connections_cap);
        Arc::new_cyclic(|site: &Weak<Site>| {
            let site = site.clone();
            Site {
                label: route.label.clone(),
                own,
                host: Arc::clone(&route.host),
                budget: Mutex::new(Budget::new(shared.config.retry_budget)),
                scheme,
                shelf: Shelf::new(connections_cap),
                kept: Kept::new(),
                streams: Streams::new(move || Site::grow(&site)),
                speaks_http1: AtomicBool::new(false),
                route,
                spare: Mutex::default(),
                crowd: Crowd::new(Limits { connections: connections_cap, streams: connections_cap * max_streams }),
                sockets: Semaphore::new(connections_cap),
                callers: AtomicUsize::new(0),
                shared,
                index,
            }
        })
    }

    /// The idle connection that was used last and may be used again; what may not is closed.
    pub(crate) fn take_idle(&self, now: Instant) -> Option<Box<Connection>> {
        std::iter::from_fn(|| self.shelf.take()).find(|connection| self.shared.is_fit(&self.host, connection, now))
    }

    /// A new connection that carries one exchange at a time, or one that came free before there was a place for it.
    pub(crate) async fn make(&self) -> Result<Box<Connection>> {
        let spare = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(connection) = spare {
            return Ok(connection);
        }
        let place = match self.shared.place(self.index, Wants::Connection).await? {
            Grant::Handover(connection) => return Ok(connection),
            Grant::Place(place) => place,
        };
        let (route, dialer) = (Arc::clone(&self.route), Arc::clone(&self.shared.dialer));
        let dial = drive::rare(async move { dialer.dial(&route, place, Offer::Http1).await });
        match drive::run(dial).await? {
            Some(Ok(Dialled::Http1(connection))) => self.shared.look_after(connection),
            Some(Ok(Dialled::Http2(_) | Dialled::Raw(_))) => {
                let detail = "the target chose a protocol that was not offered";
                Err(Error::new(Reason::ProtocolUnexpected, Phase::Handshake, detail))
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::new(Reason::Internal, Phase::Connect, "the dial panicked")),
        }
    }

    pub(crate) fn idle_longest(&self) -> Option<Instant> {
        let longest = self.shelf.look_at_oldest(|connection| connection.idle_since);
        [longest, self.streams.idle_longest()].into_iter().flatten().min()
    }

    pub(crate) fn close_one_idle(&self) -> bool {
        self.shelf.take_oldest().is_some() || self.streams.close_one_idle()
    }

    /// Closes idle connections that must not be used again; busy ones are looked at when their lease ends.
    pub(crate) fn reap(&self, now: Instant) {
        // Whether each still lives is looked at first: also one that has been idle for too long tells something.
        let look = |connection: &Connection| match connection.has_died() {
            true => {
                self.died_idle(connection.idle_since, now);
                self.shared.counters.died.one();
                false
            }
            false => {
                self.survived_idle(connection.idle_since, now);
                self.shared.is_fit(&self.host, connection, now)
            }
        };
        drop(self.shelf.take_unless(|connection| look(connection)));
        let is_fit = |channel: &Channel, idle_since: Option<Instant>| {
            self.shared.is_fit_for_streams(&self.host, channel, idle_since, now)
        };
        self.streams.reap(is_fit);
        // One that nobody has come for was not needed; one just made is about to be taken.
        let mut spare = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        drop(spare.take_if(|spare| now.saturating_duration_since(spare.idle_since) >= REAP_EVERY.1));
    }

    /// Whether an exchange may be one of many on its connection. A caller that drives its own is faster with one at a time.
    pub(crate) fn may_share(&self, is_driven: bool) -> bool {
        let config = &self.shared.config;
        let asks = match (config.protocol, self.scheme) {
            (Protocol::Http2, _) => true,
            (Protocol::Auto, Scheme::Https) => !is_driven,
            _ => false,
        };
        asks && !self.speaks_http1.load(Ordering::Relaxed)
    }

    pub(crate) fn speaks_http(&self) -> bool {
        self.scheme != Scheme::Tcp
    }

    /// How many exchanges with this origin can be under way at once.
    pub(crate) fn capacity(&self, is_driven: bool) -> usize {
        let config = &self.shared.config;
        let each = if self.may_share(is_driven) { config.max_streams } else { 1 };
        config.connections_per_origin() * each
    }

    fn in_use(&self) -> InUse {
        InUse { connections: self.shared.places.live(self.index), streams: self.streams.active() }
    }

    /// Puts new limits in force; what is idle above them is closed, what is busy when its exchange ends.
    fn limit(&self, limits: Limits) {
        tracing::debug!(host = %self.label, ?limits, "capacity");
        self.shared.places.set_cap(self.index, limits.connections);
        self.streams.set_limit(limits.streams);
        while self.shared.places.wish(self.index) == Wish::Place && self.close_one_idle() {
            self.shared.counters.evictions.one();
        }
    }

    /// What was begun at `begun` found no room on the way: a dial, or the first exchange on what was dialled.
    pub(crate) fn refused(&self, begun: Instant, now: Instant) {
        self.shared.counters.refusals.one();
        self.limit(self.crowd.refused(begun, now, self.in_use()));
        let all = || self.shared.places.all_live();
        if let Some(total) = self.shared.crowds.refused(self.index, begun, now, all()) {
            self.shared.places.set_total(total);
        }
    }

    /// The server answered that it has too much to do.
    fn overloaded(&self, begun: Instant, now: Instant, is_stream: bool) {
        self.limit(self.crowd.overloaded(begun, now, self.in_use(), is_stream));
    }

    /// The first answer on a fresh connection took so long.
    fn waited(&self, wait: Duration, now: Instant) {
        if let Some(limits) = self.crowd.waited(wait, now) {
            self.limit(limits);
        }
    }

    /// A try came through.
    fn succeeded(&self, now: Instant, is_stream: bool) {
        if let Some(limits) = self.crowd.succeeded(now, || self.in_use(), is_stream) {
            self.limit(limits);
        }
        if let Some(total) = self.shared.crowds.succeeded(now, || self.shared.places.all_live()) {
            self.shared.places.set_total(total);
        }
    }

    /// What an answer tells about the way and about the server.
    pub(crate) fn learn(
        &self,
        status: StatusCode,
        trace: &Trace,
        leased_at: Instant,
        head_at: Instant,
        idle_since: Option<Instant>,
    ) {
        if is_overload(status.as_u16()) {
            self.overloaded(leased_at, head_at, trace.is_http2);
        } else {
            self.succeeded(head_at, trace.is_http2);
        }
        match idle_since {
            Some(idle_since) => self.survived_idle(idle_since, leased_at),
            None if trace.reused => {}
            None => self.waited(trace.connect + trace.handshake, head_at),
        }
    }

    /// A dial has failed: perhaps because there is no room on the way.
    pub(crate) fn dial_failed(&self, error: &Error, begun: Instant) {
        if is_refusal(error.reason()) {
            self.refused(begun, Instant::now());
        }
    }

    /// Makes connections that carry many exchanges until everybody has a stream, one after the other.
    pub(crate) fn grow(site: &Weak<Site>) {
        let Some(site) = site.upgrade() else { return };
        let growing = {
            let site = Arc::clone(&site);
            process::spawn(async move {
                let growing = Growing(&site.streams);
                while site.grow_by_one().await {}
                std::mem::forget(growing);
            })
        };
        match growing {
            Ok(task) => task.detach(),
            Err(error) => site.streams.not_grown(Err(error)),
        }
    }

    /// Whether another connection is wanted.
    async fn grow_by_one(self: &Arc<Self>) -> bool {
        let config = &self.shared.config;
        if self.streams.is_shut() {
            tokio::time::sleep(SHUT_FOR).await;
        }
        let patience = Instant::now() + config.acquire_timeout;
        let granted = drive::before(patience, pin!(self.shared.place(self.index, Wants::Streams))).await;
        let place = match granted {
            // Nobody may have waited that long.
            None => return self.streams.is_wanted(),
            Some(Ok(Grant::Place(place))) => place,
            Some(Ok(Grant::Handover(_))) => unreachable!("only a place was asked for"),
            Some(Err(error)) => {
                self.streams.not_grown(Err(error));
                return false;
            }
        };
        // Streams may have come free while the place did not.
        if !self.streams.is_wanted() {
            return false;
        }
        let begun = Instant::now();
        let dialled = self.shared.dialer.dial(&self.route, place, Offer::Http2).await;
        let dialled = dialled.and_then(|made| self.shared.look_after(made));
        let made = match dialled.inspect_err(|error| self.dial_failed(error, begun)) {
            Ok(Dialled::Http1(connection)) => {
                self.speaks_http1.store(true, Ordering::Relaxed);
                *self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(connection);
                self.streams.not_grown(Ok(()));
                return false;
            }
            Ok(Dialled::Http2(parts)) => {
                let care = Care {
                    keep_alive: config.keep_alive,
                    stall: config.stall_timeout,
                    max_headers: config.max_headers.0,
                    max_streams: config.max_streams,
                };
                let streams = Arc::downgrade(&self.streams);
                Channel::begin(parts, care, move || {
                    if let Some(streams) = streams.upgrade() {
                        streams.serve();
                    }
                })
                .await
            }
            Ok(Dialled::Raw(_)) => unreachable!("HTTP was asked for"),
            Err(error) => Err(error),
        };
        match made {
            Ok(channel) => {
                self.shared.counters.http2.one();
                self.streams.grown(channel)
            }
            Err(error) => {
                self.streams.not_grown(Err(error));
                false
            }
        }
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A connection was found dead that had been idle since then: the next ones are given up earlier.
    pub(crate) fn died_idle(&self, idle_since: Instant, now: Instant) {
        self.host.died_idle(now.duration_since(idle_since), now);
    }

    /// A connection was of use after it had been idle since then.
    fn survived_idle(&self, idle_since: Instant, now: Instant) {
        let idle = now.duration_since(idle_since);
        if idle >= LEAST_TELLING_IDLE {
            self.host.survived_idle(idle, now);
        }
    }

    /// The addresses pinned now.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.host.holds(address)
    }
}
