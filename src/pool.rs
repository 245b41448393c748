//! The connections of one client: leases, caps, idle and age limits.
//!
//! It owns one deadpool per origin, the sites that requests look up, the choice between a connection of one's
//! own and a stream among others, and what happens to a connection when its lease ends. deadpool keeps the order of those who wait for an origin; [`Places`] keeps the cap over
//! all origins. Dialling is handed to the runtime; time is the monotonic clock's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use deadpool::managed::{self, Metrics, Object, QueueMode, RecycleError, RecycleResult};

use http::StatusCode;
use rustls::pki_types::ServerName;

use crate::config::{Config, LEAST_TELLING_IDLE, Protocol};
use crate::connect::{Dialer, Dialled, Offer, Route, Via};
use crate::connection::{Connection, Parts};
use crate::crowd::{Crowd, Crowds, InUse, Limits, is_overload, is_refusal};
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::http2::{Care, Channel};
use crate::limit::{Grant, Places, Wish};
use crate::origin::{Origin, Scheme};
use crate::pin_set::PinSet;
use crate::pins::{Host, Pins, Source};
use crate::process;
use crate::request::OwnFields;
use crate::response::Trace;
use crate::retry::Budget;
use crate::streams::{Slot, Streams, Turn};
use crate::tls;

/// Spellings of origins that are remembered beside the canonical ones; more are looked up the slow way.
const MAX_SPELLINGS: usize = 4096;

/// One origin of a client: its connections, its budget of retries, its share of callers.
pub(crate) struct Site {
    pub(crate) label: Box<str>,
    /// What every request to this origin says of itself.
    pub(crate) own: OwnFields,
    pub(crate) host: Arc<Host>,
    budget: Mutex<Budget>,
    scheme: Scheme,
    /// Those that carry one exchange at a time.
    connections: managed::Pool<Maker>,
    /// Those that carry many.
    streams: Arc<Streams>,
    /// Asked for HTTP/2 (ALPN), the target chose HTTP/1.1.
    speaks_http1: AtomicBool,
    route: Arc<Route>,
    spare: Spare,
    /// What the way to this origin bears.
    crowd: Crowd,
    /// Those who hold or wait for a connection.
    callers: AtomicUsize,
    shared: Arc<Shared>,
    pool: Weak<Pool>,
    index: usize,
}

/// A connection that was made for many exchanges and carries one at a time, until somebody takes it.
type Spare = Arc<Mutex<Option<Box<Connection>>>>;

/// A stream that ends gives its connection up after so many, where somebody waits for its place.
const TURNS: usize = 64;

/// What all sites of a client share.
struct Shared {
    config: Arc<Config>,
    dialer: Arc<Dialer>,
    places: Arc<Places<Box<Connection>>>,
    /// What the way to all origins bears.
    crowds: Crowds,
    counters: Arc<Counters>,
}

/// Sites by spelling of their authority.
type Sites = HashMap<Box<str>, Arc<Site>>;

/// All connections of a client.
pub(crate) struct Pool {
    /// By scheme first: a look-up borrows the caller's text.
    http: ArcSwap<Sites>,
    https: ArcSwap<Sites>,
    tcp: ArcSwap<Sites>,
    all: Mutex<Vec<Arc<Site>>>,
    adding: Mutex<()>,
    pub(crate) pins: Arc<Pins>,
    /// For hosts that are found by a suffix rule when they are first asked for.
    pub(crate) imported: PinSet,
    shared: Arc<Shared>,
}

impl Pool {
    pub(crate) fn new(
        config: Arc<Config>,
        dialer: Arc<Dialer>,
        pins: Arc<Pins>,
        imported: PinSet,
        counters: Arc<Counters>,
    ) -> Arc<Pool> {
        let places = Places::new(config.connections());
        let crowds = Crowds::new(config.connections());
        let shared = Arc::new(Shared { config, dialer, places, crowds, counters });
        Arc::new(Pool {
            http: ArcSwap::default(),
            https: ArcSwap::default(),
            tcp: ArcSwap::default(),
            all: Mutex::default(),
            adding: Mutex::default(),
            pins,
            imported,
            shared,
        })
    }

    fn spellings(&self, scheme: Scheme) -> &ArcSwap<Sites> {
        match scheme {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
            Scheme::Tcp => &self.tcp,
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Site>>> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The site of a request, by the authority as the caller wrote it.
    pub(crate) fn site(self: &Arc<Self>, scheme: Scheme, authority: &str) -> Result<Arc<Site>> {
        if let Some(site) = self.spellings(scheme).load().get(authority) {
            return Ok(Arc::clone(site));
        }
        let origin = Origin::from_authority(scheme, authority)?;
        let canonical = origin.host_port();
        let known = self.spellings(scheme).load().get(&canonical).cloned();
        let site = match known {
            Some(site) => site,
            None => self.add_site(&origin)?,
        };
        if self.spellings(scheme).load().len() < MAX_SPELLINGS {
            self.spell(scheme, authority.into(), &site);
        }
        Ok(site)
    }

    fn spell(&self, scheme: Scheme, spelling: Box<str>, site: &Arc<Site>) {
        self.spellings(scheme).rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            sites.insert(spelling.clone(), Arc::clone(site));
            sites
        });
    }

    /// Makes the sites of origins that are declared one by one, all at once.
    pub(crate) fn add_declared(self: &Arc<Self>) -> Result<()> {
        let declared = self.shared.config.hosts.0.iter().filter(|origin| !origin.is_wildcard());
        let mut by_scheme: HashMap<Scheme, Sites> = HashMap::new();
        for origin in declared {
            if let Entry::Vacant(vacant) = by_scheme.entry(origin.scheme()).or_default().entry(origin.host_port()) {
                vacant.insert(self.new_site(origin)?);
            }
        }
        for (scheme, sites) in by_scheme {
            self.spellings(scheme).store(Arc::new(sites));
        }
        Ok(())
    }

    /// The site of an origin that nobody has asked for yet: below a declared wildcard, or not declared at all.
    fn add_site(self: &Arc<Self>, origin: &Origin) -> Result<Arc<Site>> {
        if !self.shared.config.hosts.0.iter().any(|declared| declared.covers(origin)) {
            return Err(Error::new(Reason::PolicyNotDeclared, Phase::Configure, "the origin is not declared")
                .with_host(origin.to_string()));
        }
        // One at a time: a second site of the same origin would have a second cap.
        let _adding = self.adding.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(site) = self.spellings(origin.scheme()).load().get(&origin.host_port()) {
            return Ok(Arc::clone(site));
        }
        let site = self.new_site(origin)?;
        self.spell(origin.scheme(), origin.host_port(), &site);
        Ok(site)
    }

    /// A host with its pin, from what was imported where it is not in use yet.
    fn pinned(&self, name: &str) -> Result<Arc<Host>> {
        if let Some(host) = self.pins.find(name) {
            return Ok(host);
        }
        let pin = self.imported.find_canonical(name).ok_or_else(|| {
            Error::new(Reason::PolicyNotPinned, Phase::Configure, "no pin covers the host").with_host(name)
        })?;
        if pin.is_expired(PinSet::now()) {
            let detail = format!("the pin that covers {name} has expired");
            return Err(Error::new(Reason::ConfigPinSetExpired, Phase::Configure, detail));
        }
        Ok(self.pins.add(Host::new(name, pin.clone(), Source::Imported)))
    }

    fn new_site(self: &Arc<Self>, origin: &Origin) -> Result<Arc<Site>> {
        let config = &self.shared.config;
        let (dial_host, port) = config.dialled(origin);
        let host = self.pinned(dial_host)?;
        let server_name = match origin.scheme() {
            Scheme::Https => Some(tls::server_name(config.sni.find(origin.host()).unwrap_or(origin.host()))?),
            _ => None,
        };
        let host_header = match config.host_header.find(origin.host()) {
            Some(name) => name.to_owned(),
            None => origin.host_header(),
        };
        let label = origin.host_port();
        let proxy = match &config.proxy.0 {
            None => None,
            Some(proxy) => Some(Via { host: self.pinned(&proxy.host)?, proxy: proxy.clone() }),
        };
        let route = Arc::new(Route { label: label.clone(), host: Arc::clone(&host), port, server_name, proxy });
        let index = self.shared.places.add_origin(config.connections_per_origin());
        let spare = Spare::default();
        let maker = Maker {
            route: Arc::clone(&route),
            shared: Arc::clone(&self.shared),
            pool: Arc::downgrade(self),
            spare: Arc::clone(&spare),
            index,
        };
        let connections = managed::Pool::builder(maker)
            .max_size(config.connections_per_origin())
            // The last one used is the one most surely alive; the others age and are closed.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| Error::new(Reason::Internal, Phase::Configure, format!("no pool can be made: {error}")))?;
        let (connections_cap, max_streams) = (config.connections_per_origin(), config.max_streams);
        let site = Arc::new_cyclic(|site: &Weak<Site>| {
            let site = site.clone();
            Site {
                label,
                own: OwnFields::new(&host_header, &config.user_agent.0, config.decode),
                host,
                budget: Mutex::new(Budget::new(config.retry_budget)),
                scheme: origin.scheme(),
                connections,
                streams: Streams::new(move || Site::grow(&site)),
                speaks_http1: AtomicBool::new(false),
                route,
                spare,
                crowd: Crowd::new(Limits { connections: connections_cap, streams: connections_cap * max_streams }),
                callers: AtomicUsize::new(0),
                shared: Arc::clone(&self.shared),
                pool: Arc::downgrade(self),
                index,
            }
        });
        self.all().push(Arc::clone(&site));
        Ok(site)
    }

    pub(crate) fn sites(&self) -> Vec<Arc<Site>> {
        self.all().clone()
    }

    /// Closes one idle connection, the one that has been idle longest, so that its place goes to whoever waits first:
    /// somebody of the origin `index`, which only its own connections may keep from one.
    fn evict(&self, index: usize) -> bool {
        let is_full = self.shared.places.is_full();
        let sites = self.sites();
        let longest = sites
            .iter()
            .filter(|site| is_full || site.index == index)
            .filter_map(|site| Some((site.idle_longest()?, site)))
            .min_by_key(|(since, _)| *since);
        let evicted = longest.is_some_and(|(_, site)| site.close_one_idle());
        if evicted {
            self.shared.counters.evictions.one();
        }
        evicted
    }

    /// Closes what is idle for too long, too old, or connected to an address that is no longer pinned.
    pub(crate) fn reap(&self, now: Instant) {
        for site in self.sites() {
            site.reap(now);
        }
    }

    /// How many connections are idle.
    pub(crate) fn idle(&self) -> u64 {
        let idle = |site: &Arc<Site>| {
            let mut idle = 0;
            site.connections.retain(|_, _| {
                idle += 1;
                true
            });
            idle + site.streams.idle() as u64
        };
        self.sites().iter().map(idle).sum()
    }

    /// Closes every idle connection and lets nobody lease again.
    pub(crate) fn close(&self) {
        for site in self.sites() {
            site.connections.close();
            site.streams.reap(|_, _| false);
        }
    }
}

impl Shared {
    /// Whether an idle connection may be used again.
    fn is_fit(&self, host: &Host, connection: &Connection, now: Instant) -> bool {
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

/// deadpool's manager: makes connections and looks at them before they are used again.
struct Maker {
    route: Arc<Route>,
    shared: Arc<Shared>,
    pool: Weak<Pool>,
    spare: Spare,
    index: usize,
}

impl managed::Manager for Maker {
    // Boxed: deadpool moves what it holds a dozen times between two uses.
    type Type = Box<Connection>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Connection>> {
        let spare = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(connection) = spare {
            return Ok(connection);
        }
        let place = match self.shared.place(&self.pool, self.index, true).await? {
            Grant::Handover(connection) => return Ok(connection),
            Grant::Place(place) => place,
        };
        let (route, dialer) = (Arc::clone(&self.route), Arc::clone(&self.shared.dialer));
        let dialled = process::spawn(async move { dialer.dial(&route, place, Offer::Http1).await })?.await;
        match dialled {
            Some(Ok(Dialled::Http1(connection))) => Ok(connection),
            Some(Ok(Dialled::Http2(_) | Dialled::Raw(_))) => {
                let detail = "the target chose a protocol that was not offered";
                Err(Error::new(Reason::ProtocolUnexpected, Phase::Handshake, detail))
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::new(Reason::Internal, Phase::Connect, "the dial panicked")),
        }
    }

    async fn recycle(&self, connection: &mut Box<Connection>, _metrics: &Metrics) -> RecycleResult<Error> {
        if self.shared.is_fit(&self.route.host, connection, Instant::now()) {
            Ok(())
        } else {
            Err(RecycleError::message("worn out"))
        }
    }
}

impl Shared {
    /// The right to dial, or a connection of this origin that came free meanwhile, for one who takes that too.
    async fn place(&self, pool: &Weak<Pool>, index: usize, takes_over: bool) -> Result<Grant<Box<Connection>>> {
        let places = &self.places;
        if let Some(place) = places.try_take(index) {
            return Ok(Grant::Place(place));
        }
        self.counters.waits.one();
        let granted = places.wait(index, takes_over);
        // Only now: a connection that became idle before the queue knew of this caller is found here, one that becomes
        // idle later is given to the queue.
        if let Some(pool) = pool.upgrade() {
            pool.evict(index);
        }
        granted.await.map_err(|_| Error::new(Reason::Internal, Phase::Queue, "the queue is gone"))
    }
}

impl Site {
    fn idle_longest(&self) -> Option<Instant> {
        let mut longest: Option<Instant> = None;
        self.connections.retain(|connection, _| {
            longest = Some(longest.map_or(connection.idle_since, |since| since.min(connection.idle_since)));
            true
        });
        [longest, self.streams.idle_longest()].into_iter().flatten().min()
    }

    fn close_one_idle(&self) -> bool {
        let mut found = false;
        let removed = self.connections.retain(|_, _| std::mem::replace(&mut found, true)).removed;
        !removed.is_empty() || self.streams.close_one_idle()
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
        drop(self.connections.retain(|connection, _| look(connection)).removed);
        let is_fit = |channel: &Channel, idle_since: Option<Instant>| {
            self.shared.is_fit_for_streams(&self.host, channel, idle_since, now)
        };
        self.streams.reap(is_fit);
        // One that nobody has come for was not needed.
        drop(self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
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
    fn dial_failed(&self, error: &Error, begun: Instant) {
        if is_refusal(error.reason()) {
            self.refused(begun, Instant::now());
        }
    }

    /// Makes connections that carry many exchanges until everybody has a stream, one after the other.
    fn grow(site: &Weak<Site>) {
        let Some(site) = site.upgrade() else { return };
        let growing = {
            let site = Arc::clone(&site);
            process::spawn(async move { while site.grow_by_one().await {} })
        };
        match growing {
            Ok(task) => task.detach(),
            Err(error) => site.streams.not_grown(Err(error)),
        }
    }

    /// Whether another connection is wanted.
    async fn grow_by_one(self: &Arc<Self>) -> bool {
        let config = &self.shared.config;
        let patience = Instant::now() + config.acquire_timeout;
        let granted = drive::before(patience, pin!(self.shared.place(&self.pool, self.index, false))).await;
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

    /// What carries one exchange: a connection of its own, idle or new, or a stream; or the wait for either.
    /// `is_driven` says that the caller drives it on its own thread.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        is_driven: bool,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Leased> {
        let caller = Caller::enter(self, is_driven)?;
        let begun = Instant::now();
        let patience = begun + self.shared.config.acquire_timeout;
        let until = patience.min(deadline);
        let late = || self.late(is_driven, deadline <= patience, timeout).with_host(self.label.clone());
        if self.may_share(is_driven) {
            let turn = match self.streams.take() {
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
        let error = match drive::before(until, pin!(self.connections.get())).await {
            Some(Ok(connection)) => {
                return Ok(Leased::Connection(Lease { connection: Some(connection), caller }));
            }
            Some(Err(managed::PoolError::Backend(error))) => {
                self.dial_failed(&error, begun);
                return Err(error);
            }
            Some(Err(managed::PoolError::Closed)) => Error::new(Reason::Closed, Phase::Queue, "the client was closed"),
            Some(Err(error)) => Error::new(Reason::Internal, Phase::Queue, format!("the pool failed: {error}")),
            None => return Err(late()),
        };
        Err(error.with_host(self.label.clone()))
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

/// One who holds or waits for a connection, counted for as long as that lasts.
struct Caller(Arc<Site>);

impl Caller {
    fn enter(site: &Arc<Site>, is_driven: bool) -> Result<Caller> {
        let config = &site.shared.config;
        let before = site.callers.fetch_add(1, Ordering::Relaxed);
        let caller = Caller(Arc::clone(site));
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
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
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
            let Grant::Place(place) = site.shared.place(&site.pool, site.index, false).await? else {
                unreachable!("only a place was asked for")
            };
            site.shared.dialer.dial(&site.route, place, Offer::Raw(server_name.as_ref())).await
        };
        match drive::before(patience.min(deadline), process::spawn(dialling)?).await {
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
        let (site, channel) = (&self.caller.0, &self.slot.channel);
        if site.shared.places.wish(site.index) != Wish::Nothing
            && (channel.active() <= 1 || channel.has_had_its_turns(TURNS))
        {
            channel.retire();
            site.shared.counters.evictions.one();
        }
    }
}

/// A connection in use. Dropping it closes the connection; [`Lease::end`] gives it back.
pub(crate) struct Lease {
    connection: Option<Object<Maker>>,
    caller: Caller,
}

impl Lease {
    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }

    /// Gives a connection back whose exchange has ended cleanly: to the pool, to the first who waits for a place if it
    /// is for the same origin, or to nobody, so that its place goes to another origin.
    pub(crate) fn end(mut self, now: Instant) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let site = &self.caller.0;
        connection.idle_since = now;
        connection.was_idle = true;
        let places = &site.shared.places;
        if site.holds(connection.address.ip()) && places.wish(site.index) == Wish::Nothing {
            drop(connection);
            if places.wish(site.index) != Wish::Nothing && site.close_one_idle() {
                // Somebody began to wait for a place in between, and found nothing idle to close.
                site.shared.counters.evictions.one();
            }
            return;
        }
        let connection = Object::take(connection);
        if site.shared.is_fit(&site.host, &connection, now) {
            // What nobody of this origin waits for comes back, and is closed by being dropped.
            drop(places.hand_over(site.index, connection));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
