//! The connections of one client: leases, caps, idle and age limits.
//!
//! It owns one deadpool per origin, the sites that requests look up, and what happens to a connection when
//! its lease ends. deadpool keeps the order of those who wait for an origin; [`Places`] keeps the cap over
//! all origins. Dialling is handed to the runtime; time is the monotonic clock's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use deadpool::managed::{self, Metrics, Object, QueueMode, RecycleError, RecycleResult};

use crate::config::{Config, LEAST_LEARNED_IDLE};
use crate::connect::{Dialer, Route};
use crate::connection::Connection;
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::limit::{Grant, Places};
use crate::origin::{Origin, Scheme};
use crate::pin_set::PinSet;
use crate::pins::{Host, Pins, Source};
use crate::process;
use crate::request::OwnFields;
use crate::retry::Budget;
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
    connections: managed::Pool<Maker>,
    /// Those who hold or wait for a connection.
    callers: AtomicUsize,
    shared: Arc<Shared>,
    index: usize,
}

/// What all sites of a client share.
struct Shared {
    config: Arc<Config>,
    dialer: Arc<Dialer>,
    places: Arc<Places<Box<Connection>>>,
    counters: Arc<Counters>,
}

/// All connections of a client.
pub(crate) struct Pool {
    /// By scheme first: a look-up borrows the caller's text.
    http: ArcSwap<HashMap<Box<str>, Arc<Site>>>,
    https: ArcSwap<HashMap<Box<str>, Arc<Site>>>,
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
        let shared = Arc::new(Shared { config, dialer, places, counters });
        Arc::new(Pool {
            http: ArcSwap::default(),
            https: ArcSwap::default(),
            all: Mutex::default(),
            adding: Mutex::default(),
            pins,
            imported,
            shared,
        })
    }

    fn spellings(&self, scheme: Scheme) -> &ArcSwap<HashMap<Box<str>, Arc<Site>>> {
        match scheme {
            Scheme::Https => &self.https,
            _ => &self.http,
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
        let mut by_scheme: [HashMap<Box<str>, Arc<Site>>; 2] = Default::default();
        for origin in declared.filter(|origin| origin.scheme() != Scheme::Tcp) {
            let sites = &mut by_scheme[usize::from(origin.scheme() == Scheme::Https)];
            if let Entry::Vacant(vacant) = sites.entry(origin.host_port()) {
                vacant.insert(self.new_site(origin)?);
            }
        }
        let [http, https] = by_scheme;
        self.http.store(Arc::new(http));
        self.https.store(Arc::new(https));
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

    fn new_site(self: &Arc<Self>, origin: &Origin) -> Result<Arc<Site>> {
        let config = &self.shared.config;
        let (dial_host, port) = config.dialled(origin);
        let host = match self.pins.find(dial_host) {
            Some(host) => host,
            None => {
                let pin = self.imported.find_canonical(dial_host).ok_or_else(|| {
                    Error::new(Reason::PolicyNotPinned, Phase::Configure, "no pin covers the host").with_host(dial_host)
                })?;
                if pin.is_expired(PinSet::now()) {
                    let detail = format!("the pin that covers {dial_host} has expired");
                    return Err(Error::new(Reason::ConfigPinSetExpired, Phase::Configure, detail));
                }
                self.pins.add(Host::new(dial_host, pin.clone(), Source::Imported))
            }
        };
        let server_name = match origin.scheme() {
            Scheme::Https => Some(tls::server_name(config.sni.find(origin.host()).unwrap_or(origin.host()))?),
            _ => None,
        };
        let host_header = match config.host_header.find(origin.host()) {
            Some(name) => name.to_owned(),
            None => origin.host_header(),
        };
        let label = origin.host_port();
        let route = Route { label: label.clone(), host: Arc::clone(&host), port, server_name };
        let mut all = self.all();
        let index = all.len();
        let maker =
            Maker { route: Arc::new(route), shared: Arc::clone(&self.shared), pool: Arc::downgrade(self), index };
        let connections = managed::Pool::builder(maker)
            .max_size(config.connections_per_origin())
            // The last one used is the one most surely alive; the others age and are closed.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| Error::new(Reason::Internal, Phase::Configure, format!("no pool can be made: {error}")))?;
        let site = Arc::new(Site {
            label,
            own: OwnFields::new(&host_header, &config.user_agent.0),
            host,
            budget: Mutex::new(Budget::new(config.retry_budget)),
            connections,
            callers: AtomicUsize::new(0),
            shared: Arc::clone(&self.shared),
            index,
        });
        all.push(Arc::clone(&site));
        Ok(site)
    }

    pub(crate) fn sites(&self) -> Vec<Arc<Site>> {
        self.all().clone()
    }

    /// Closes one idle connection, the one that has been idle longest. Its place goes to whoever waits first.
    fn evict(&self) -> bool {
        let sites = self.sites();
        let longest =
            sites.iter().filter_map(|site| Some((site.idle_longest()?, site))).min_by_key(|(since, _)| *since);
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
            idle
        };
        self.sites().iter().map(idle).sum()
    }

    /// Closes every idle connection and lets nobody lease again.
    pub(crate) fn close(&self) {
        for site in self.sites() {
            site.connections.close();
        }
    }
}

impl Shared {
    /// Whether an idle connection may be used again.
    fn is_fit(&self, host: &Host, connection: &Connection, now: Instant) -> bool {
        let max_idle = connection.max_idle.min(host.learned_idle(now));
        let fresh = now < connection.retires && now.duration_since(connection.idle_since) < max_idle;
        let pinned = host.holds(connection.address.ip());
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
    index: usize,
}

impl managed::Manager for Maker {
    // Boxed: deadpool moves what it holds a dozen times between two uses.
    type Type = Box<Connection>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Connection>> {
        let place = match self.place().await? {
            Grant::Handover(connection) => return Ok(connection),
            Grant::Place(place) => place,
        };
        let (route, dialer) = (Arc::clone(&self.route), Arc::clone(&self.shared.dialer));
        let dialled = process::spawn(async move { dialer.dial(&route, place).await })?.await;
        dialled.unwrap_or_else(|| Err(Error::new(Reason::Internal, Phase::Connect, "the dial panicked")))
    }

    async fn recycle(&self, connection: &mut Box<Connection>, _metrics: &Metrics) -> RecycleResult<Error> {
        if self.shared.is_fit(&self.route.host, connection, Instant::now()) {
            Ok(())
        } else {
            Err(RecycleError::message("worn out"))
        }
    }
}

impl Maker {
    /// The right to dial, or a connection of this origin that came free meanwhile.
    async fn place(&self) -> Result<Grant<Box<Connection>>> {
        let places = &self.shared.places;
        if let Some(place) = places.try_take() {
            return Ok(Grant::Place(place));
        }
        self.shared.counters.waits.one();
        let granted = places.wait(self.index);
        // Only now: a connection that became idle before the queue knew of this caller is found here, one that becomes
        // idle later is given to the queue.
        if let Some(pool) = self.pool.upgrade() {
            pool.evict();
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
        longest
    }

    fn close_one_idle(&self) -> bool {
        let mut found = false;
        let removed = self.connections.retain(|_, _| std::mem::replace(&mut found, true)).removed;
        !removed.is_empty()
    }

    /// Closes idle connections that must not be used again; busy ones are looked at when their lease ends.
    pub(crate) fn reap(&self, now: Instant) {
        drop(self.connections.retain(|connection, _| self.shared.is_fit(&self.host, connection, now)).removed);
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A connection for one exchange: an idle one, or a new one, or the wait for either.
    pub(crate) async fn lease(self: &Arc<Self>, deadline: Instant, timeout: Duration) -> Result<Lease> {
        let caller = Caller::enter(self)?;
        let config = &self.shared.config;
        let patience = Instant::now() + config.acquire_timeout;
        let acquired = drive::before(patience.min(deadline), pin!(self.connections.get())).await;
        let error = match acquired {
            Some(Ok(connection)) => {
                return Ok(Lease { connection: Some(connection), caller });
            }
            Some(Err(managed::PoolError::Backend(error))) => return Err(error),
            Some(Err(managed::PoolError::Closed)) => Error::new(Reason::Closed, Phase::Queue, "the client was closed"),
            Some(Err(error)) => Error::new(Reason::Internal, Phase::Queue, format!("the pool failed: {error}")),
            None => {
                let (phase, detail) = self.crowd();
                if deadline <= patience {
                    Error::new(Reason::TimeoutTotal, phase, detail).with_budget("timeout", timeout)
                } else {
                    let budget = config.acquire_timeout;
                    Error::new(Reason::TimeoutAcquire, phase, detail).with_budget("acquire_timeout", budget)
                }
            }
        };
        Err(error.with_host(self.label.clone()))
    }

    /// What a lease that was given up had been waiting for.
    fn crowd(&self) -> (Phase, String) {
        let callers = self.callers.load(Ordering::Relaxed);
        let cap = self.connections.status().max_size;
        if callers <= cap {
            return (Phase::Connect, "no connection was made in time".to_owned());
        }
        (Phase::Queue, format!("no connection came free: {callers} callers for {cap} connections"))
    }

    /// A connection was found dead that had been idle since then: the next ones are given up earlier.
    pub(crate) fn learn_idle(&self, now: Instant, idle_since: Instant) {
        let idle = now.duration_since(idle_since);
        if idle >= LEAST_LEARNED_IDLE {
            tracing::debug!(host = %self.label, ?idle, "a connection died idle");
            self.host.learn_idle(idle.mul_f64(0.8), now);
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
    fn enter(site: &Arc<Site>) -> Result<Caller> {
        let config = &site.shared.config;
        let before = site.callers.fetch_add(1, Ordering::Relaxed);
        let caller = Caller(Arc::clone(site));
        let places = config.connections_per_origin();
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
        if site.holds(connection.address.ip()) && !site.shared.places.is_wanted() {
            drop(connection);
            if site.shared.places.is_wanted() && site.close_one_idle() {
                // Somebody began to wait for a place in between, and found nothing idle to close.
                site.shared.counters.evictions.one();
            }
            return;
        }
        let connection = Object::take(connection);
        if site.shared.is_fit(&site.host, &connection, now) {
            // What nobody of this origin waits for comes back, and is closed by being dropped.
            drop(site.shared.places.hand_over(site.index, connection));
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
