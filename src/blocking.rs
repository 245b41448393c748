//! The client of a blocking caller: [`Client`].
//!
//! It owns building (options, pins, init look-ups), what a client is after a `fork()`, and closing. Calls
//! are the exchange's; here they are only driven by the calling thread. Every function returns within the
//! bounds of its options.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use crate::batch::Each;
use crate::config::{Builder, Config, REAP_EVERY, Summary};
use crate::connect::Dialer;
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::{Counters, Stats};
use crate::exchange::Core;
use crate::origin::canonical_host;
use crate::pin_set::{Pin, PinSet, read_bounded};
use crate::pins::{Host, Pins, Source};
use crate::policy::AddressPolicy;
use crate::pool::Pool;
use crate::process::process;
use crate::request::Request;
use crate::resolve::Lookup;
use crate::response::Response;
use crate::{sys, tls};

/// A client: resolved, pinned, pooled, bounded. Cheap to clone; clones share everything.
///
/// Build one per process and keep it. Calls run on the calling thread down to the socket. In a child after
/// `fork()` the first call notices, abandons the parent's connections without touching them, and starts
/// afresh with the same pins and no look-up.
///
/// ```no_run
/// use pinlink::{Client, Request};
///
/// let client = Client::builder().hosts(["https://kms.example"]).max_connections(8).build()?;
/// let answer = client.send(&Request::get("https://kms.example/keys/7"))?;
/// println!("{} {}", answer.status(), answer.text()?);
/// # Ok::<(), pinlink::Error>(())
/// ```
#[derive(Clone)]
pub struct Client(Arc<Handle>);

struct Handle {
    life: ArcSwap<Life>,
    closed: AtomicBool,
}

/// A client within one process.
struct Life {
    generation: u64,
    core: Core,
    tls: Arc<ClientConfig>,
}

impl Builder {
    /// Checks the options, resolves every declared host that has no pin, and makes the client.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) for a mistake in the options, a pin set or a CA file;
    /// [`Kind::Policy`](crate::Kind::Policy) for an address in a refused range;
    /// [`Kind::Dns`](crate::Kind::Dns) with every host that did not resolve within `resolve_timeout`.
    pub fn build(self) -> Result<Client> {
        let config = Arc::new(self.finish()?);
        let tls = tls::configuration(&config)?;
        let imported = imported(&config)?;
        let (pins, unknown) = pin(&config, &imported)?;
        let counters = Arc::new(Counters::default());
        for host in &pins {
            match host.current().source {
                Source::ByHand => counters.pins_by_hand.one(),
                _ => counters.pins_imported.one(),
            }
        }
        let lookup = Arc::new(Lookup::new(&config, Arc::clone(&counters)));
        let mut hosts = pins;
        if !unknown.is_empty() {
            let resolved = look_up(&lookup, unknown, &config)?;
            for (name, pin) in resolved.iter() {
                counters.pins_resolved.one();
                hosts.push(Host::new(name, pin.clone(), Source::Resolved));
            }
        }
        let life = Life::begin(config, tls, lookup, Pins::new(hosts), imported, counters)?;
        life.prewarm()?;
        Ok(Client(Arc::new(Handle { life: ArcSwap::from_pointee(life), closed: AtomicBool::new(false) })))
    }
}

impl PinSet {
    /// Resolves a builder's hosts, whatever pins it has, and makes no connection: what `pinlink resolve` does.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn resolve(builder: Builder) -> Result<PinSet> {
        let config = builder.finish()?;
        let mut hosts = declared_hosts(&config);
        hosts.retain(|host| !host.starts_with("*."));
        let lookup = Arc::new(Lookup::new(&config, Arc::default()));
        let mut set = look_up(&lookup, hosts, &config)?;
        set.valid_for(crate::pin_set::DEFAULT_VALIDITY);
        Ok(set)
    }
}

fn look_up(lookup: &Arc<Lookup>, hosts: Vec<Box<str>>, config: &Config) -> Result<PinSet> {
    let process = process()?;
    let task = process.spawn(Arc::clone(lookup).all(&process.flights, hosts));
    // The look-ups bound themselves; the grace is for the system's resolver, which is asked last.
    let latest = Instant::now() + config.resolve_timeout + config.resolve_jitter + 2 * config.resolve_attempt_timeout;
    match drive::block_on(drive::before(latest, task)) {
        Some(Some(found)) => found,
        Some(None) => Err(Error::new(Reason::Internal, Phase::Resolve, "a look-up panicked")),
        None => Err(Error::new(Reason::DnsTimeout, Phase::Resolve, "init did not end")
            .with_budget("resolve_timeout", config.resolve_timeout)),
    }
}

/// The hosts that are dialled for the declared origins, each once.
fn declared_hosts(config: &Config) -> Vec<Box<str>> {
    let mut hosts: Vec<Box<str>> = config.hosts.0.iter().map(|origin| config.dialled(origin).0.into()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// Everything that was imported: the pin set's file, the hosts file, and what was handed over in memory.
fn imported(config: &Config) -> Result<PinSet> {
    let mut imported = PinSet::default();
    if let Some(path) = &config.hosts_file.0 {
        imported.merge(PinSet::from_hosts_file(&read_bounded(path)?, PinSet::now())?);
    }
    if let Some(path) = &config.pin_set.0 {
        imported.merge(PinSet::load(path)?);
    }
    if let Some(set) = &config.imported {
        imported.merge(set.clone());
    }
    Ok(imported)
}

/// The hosts that are pinned without asking.
type Pinned = Vec<Arc<Host>>;
/// The hosts that must be looked up.
type Unknown = Vec<Box<str>>;

/// Pins what is known without asking.
fn pin(config: &Config, imported: &PinSet) -> Result<(Pinned, Unknown)> {
    let policy = AddressPolicy::new(config.allow_addresses.0.clone());
    let check = |host: &str, pin: &Pin| {
        policy.first_refused(&pin.addresses).map_or(Ok(()), |(address, range)| {
            let detail = format!("it is pinned to {address}, which is in a refused range ({range})");
            Err(Error::new(Reason::PolicyAddress, Phase::Configure, detail).with_host(host))
        })
    };
    let declared = declared_hosts(config);
    let is_declared = |host: &str| {
        declared.iter().any(|declared| {
            **declared == *host || declared.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
        })
    };
    let now = PinSet::now();
    let mut pinned = Vec::new();
    for (host, addresses) in &config.pins.0 {
        if !is_declared(host) {
            return Err(Error::input(format!("pins names {host}, which is not among hosts")));
        }
        let pin = Pin::by_hand(addresses.clone(), now);
        check(host, &pin)?;
        pinned.push(Host::new(host, pin, Source::ByHand));
    }
    let mut unknown = Vec::new();
    for host in declared {
        if host.starts_with("*.") || config.pins.0.iter().any(|(pinned, _)| *pinned == host) {
            continue;
        }
        match imported.find_canonical(&host) {
            Some(pin) if pin.is_expired(now) => {
                let detail = format!("the pin of {host} expired {:.0}", pin.expires_at.unwrap_or(now));
                return Err(Error::new(Reason::ConfigPinSetExpired, Phase::Configure, detail));
            }
            Some(pin) => {
                check(&host, pin)?;
                pinned.push(Host::new(&host, pin.clone(), Source::Imported));
            }
            None => unknown.push(host),
        }
    }
    Ok((pinned, unknown))
}

impl Life {
    fn begin(
        config: Arc<Config>,
        tls: Arc<ClientConfig>,
        lookup: Arc<Lookup>,
        pins: Pins,
        imported: PinSet,
        counters: Arc<Counters>,
    ) -> Result<Life> {
        let generation = sys::generation();
        let process = process()?;
        let dialer = Dialer::new(Arc::clone(&config), Arc::clone(&tls), Arc::clone(&lookup), Arc::clone(&counters));
        let pool = Pool::new(Arc::clone(&config), Arc::new(dialer), Arc::new(pins), imported, Arc::clone(&counters));
        pool.add_declared()?;
        let weak = Arc::downgrade(&pool);
        let every = (config.max_idle / 4).clamp(REAP_EVERY.0, REAP_EVERY.1);
        process
            .spawn(async move {
                let mut ticks = tokio::time::interval(every);
                loop {
                    ticks.tick().await;
                    match weak.upgrade() {
                        Some(pool) => pool.reap(Instant::now()),
                        None => return,
                    }
                }
            })
            .detach();
        Ok(Life { generation, core: Core { config, pool, counters }, tls })
    }

    /// What this client is in a child process: the same options and pins, nothing else.
    fn after_fork(&self) -> Result<Life> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls::forget_sessions(&mut tls);
        let counters = Arc::new(Counters::default());
        let lookup = Arc::new(Lookup::new(&self.core.config, Arc::clone(&counters)));
        Life::begin(
            Arc::clone(&self.core.config),
            Arc::new(tls),
            lookup,
            self.core.pool.pins.copy(),
            self.core.pool.imported.clone(),
            counters,
        )
    }

    /// Makes the connections that `prewarm` asks for. One that fails is left to the first call, which will say why.
    fn prewarm(&self) -> Result<()> {
        let config = &self.core.config;
        if config.prewarm == 0 {
            return Ok(());
        }
        let deadline = Instant::now() + config.connect_timeout + config.handshake_timeout;
        let sites = self.core.pool.sites();
        // Nobody is promised more than there is: those who hold some and wait for more would wait for each other.
        let mut left = config.connections();
        let shares = sites.iter().map(|site| {
            let share = config.prewarm.min(left);
            left -= share;
            (site, share)
        });
        drive::drive_all(shares.map(|(site, share)| {
            let warm: std::pin::Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async move {
                let mut leases = Vec::new();
                for _ in 0..share {
                    match site.lease(deadline, config.connect_timeout).await {
                        Ok(lease) => leases.push(lease),
                        Err(error) => {
                            tracing::warn!(host = %site.label, reason = error.reason().as_str(), "prewarming failed");
                            break;
                        }
                    }
                }
                leases.into_iter().for_each(|lease| lease.end(Instant::now()));
            });
            warm
        }))
    }
}

impl Client {
    /// Starts with the defaults of every option.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The client in this process: after a `fork()` a new one takes the inherited one's place.
    fn life(&self) -> Result<arc_swap::Guard<Arc<Life>>> {
        let life = self.0.life.load();
        if life.generation == sys::generation() {
            return if self.0.closed.load(Ordering::Relaxed) {
                Err(Error::new(Reason::Closed, Phase::Configure, "the client was closed"))
            } else {
                Ok(life)
            };
        }
        // The parent's state of the random source came along: its children would all wait the same "random" times.
        let now = PinSet::now().as_nanosecond() as u64;
        fastrand::seed(now ^ (u64::from(std::process::id()) << 32));
        let fresh = Arc::new(life.after_fork()?);
        let inherited = self.0.life.compare_and_swap(&*life, fresh);
        if Arc::ptr_eq(&inherited, &life) {
            // Its locks may be held by threads that do not exist here, its sockets are closed, its runtime is dead:
            // it is never dropped.
            std::mem::forget(Arc::clone(&inherited));
        }
        drop((inherited, life));
        self.life()
    }

    /// Sends one request and reads its answer, on this thread.
    ///
    /// A status of 400 or more is an answer, not an error. Requests that may be repeated are, within
    /// `max_attempts` and `retry_budget`; a `POST` or `PATCH` without `Idempotency-Key` never is once a byte
    /// of it may have left.
    ///
    /// # Errors
    /// Every [`Kind`](crate::Kind); [`Error::delivery`] says whether the target may have seen the request,
    /// and [`Reason::WriteOutcomeUnknown`] that a write may have happened.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let life = self.life()?;
        drive::block_on(life.core.call(request, None))
    }

    /// Sends many requests, as many at once as there may be connections, and returns an outcome for each, in their
    /// order. One failing row fails no other. `timeout` bounds them all together.
    pub fn map(&self, requests: &[Request]) -> Vec<Result<Response>> {
        self.map_with(requests, &mut |_, _| {})
    }

    /// As [`Client::map`]; `each` is told of every row when it ends, for progress bars.
    pub fn map_with(&self, requests: &[Request], each: Each<'_>) -> Vec<Result<Response>> {
        let mapped = self.life().and_then(|life| life.core.map(requests, each));
        mapped.unwrap_or_else(|error| requests.iter().map(|_| Err(error.clone())).collect())
    }

    /// What is pinned now.
    pub fn pins(&self) -> PinSet {
        self.0.life.load().core.pool.pins.to_set()
    }

    /// Replaces the addresses of a declared host. Idle connections to addresses that are gone are closed now, busy
    /// ones when their exchange ends.
    ///
    /// # Errors
    /// [`Reason::PolicyNotDeclared`] for a host without a pin, [`Reason::PolicyAddress`] for a refused address,
    /// [`Reason::ConfigInput`] for an empty list.
    pub fn repin(&self, host: &str, addresses: &[IpAddr]) -> Result<()> {
        let life = self.life()?;
        let name = canonical_host(host)?;
        let pinned = life.core.pool.pins.find(&name).ok_or_else(|| {
            Error::new(Reason::PolicyNotDeclared, Phase::Configure, "the host is not declared").with_host(name)
        })?;
        if addresses.is_empty() {
            return Err(Error::input("a pin needs an address"));
        }
        let policy = AddressPolicy::new(life.core.config.allow_addresses.0.clone());
        if let Some((address, range)) = policy.first_refused(addresses) {
            let detail = format!("{address} is in a refused range ({range})");
            return Err(Error::new(Reason::PolicyAddress, Phase::Configure, detail).with_host(host));
        }
        pinned.replace(Pin::by_hand(addresses.to_vec(), PinSet::now()), Source::ByHand);
        life.core.pool.reap(Instant::now());
        Ok(())
    }

    /// What this client has done in this process.
    pub fn stats(&self) -> Stats {
        let life = self.0.life.load();
        if life.generation != sys::generation() {
            return Stats::default();
        }
        life.core.counters.snapshot(life.core.pool.idle())
    }

    /// Closes idle connections and fails every later call with [`Reason::Closed`]; calls under way end as usual. The
    /// summary is written once, where the option `summary` says. Closing again does nothing.
    pub fn close(&self) {
        if self.0.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.0.finish();
    }
}

impl Handle {
    fn finish(&self) {
        let life = self.life.load();
        if life.generation != sys::generation() {
            return;
        }
        life.core.pool.close();
        let stats = life.core.counters.snapshot(0);
        match life.core.config.summary {
            Summary::Log => tracing::info!("{stats}"),
            #[expect(clippy::print_stderr, reason = "the option asks for it")]
            Summary::Stderr => eprintln!("{stats}"),
            Summary::Off => {}
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.life.load().generation != sys::generation() {
            // Inherited over a fork and never used here: see `Client::life`.
            std::mem::forget(self.life.load_full());
            return;
        }
        if !self.closed.load(Ordering::Relaxed) {
            self.finish();
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
