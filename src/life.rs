//! What a client is, whoever calls it: options, pins, connections; and what becomes of them at `fork()`.
//!
//! It owns building (options, pins, init look-ups, prewarming), the replacement of everything in a child
//! process, and closing. [`Client`](crate::Client) and [`AsyncClient`](crate::AsyncClient) are two ways of
//! calling one of these. Every function returns within the bounds of its options.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use rustls::ClientConfig;

use crate::config::{Config, Summary};
use crate::connect::Dialer;
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::{Counters, Stats};
use crate::exchange::Core;
use crate::memory::Memory;
use crate::origin::canonical_host;
use crate::pin_set::{DEFAULT_VALIDITY, Pin, PinSet, read_bounded};
use crate::pins::{Host, Pins, Source};
use crate::policy::AddressPolicy;
use crate::pool::Pool;
use crate::resolve::Lookup;
use crate::{process, sys, tls};

/// A client of this process, and of its children after them.
pub(crate) struct Handle {
    life: ArcSwap<Life>,
    closed: AtomicBool,
}

/// A client within one process.
pub(crate) struct Life {
    generation: u64,
    pub(crate) core: Arc<Core>,
    tls: Option<Arc<ClientConfig>>,
}

/// A client whose options are checked and whose hosts are not all known yet.
pub(crate) struct Draft {
    config: Arc<Config>,
    tls: Option<Arc<ClientConfig>>,
    imported: PinSet,
    pinned: Pinned,
    unknown: Unknown,
    lookup: Arc<Lookup>,
    counters: Arc<Counters>,
}

impl Draft {
    pub(crate) fn new(config: Config) -> Result<Draft> {
        let config = Arc::new(config);
        let tls = tls::wanted_configuration(&config)?;
        let imported = imported(&config)?;
        let (pinned, unknown) = pin(&config, &imported)?;
        let counters = Arc::new(Counters::default());
        for host in &pinned {
            match host.current().source {
                Source::ByHand => counters.pins_by_hand.one(),
                _ => counters.pins_imported.one(),
            }
        }
        let lookup = Arc::new(Lookup::new(&config, Arc::clone(&counters)));
        Ok(Draft { config, tls, imported, pinned, unknown, lookup, counters })
    }

    /// Resolves what is not pinned, makes the client, and its first connections where `prewarm` asks for some.
    pub(crate) async fn finish(self) -> Result<Handle> {
        let mut hosts = self.pinned;
        if !self.unknown.is_empty() {
            let resolved = drive::rare(look_up(&self.lookup, self.unknown, &self.config)).await?;
            for (name, pin) in resolved.iter() {
                self.counters.pins_resolved.one();
                hosts.push(Host::new(name, pin.clone(), Source::Resolved));
            }
        }
        let life = Life::begin(self.config, self.tls, self.lookup, Pins::new(hosts), self.imported, self.counters)?;
        if life.core.config.prewarm > 0 {
            drive::rare(life.prewarm(drive::is_driven())).await?;
        }
        Ok(Handle { life: ArcSwap::from_pointee(life), closed: AtomicBool::new(false) })
    }
}

/// Resolves every declared host of some options, and makes no connection.
pub(crate) async fn resolve_declared(config: Config) -> Result<PinSet> {
    let mut hosts = declared_hosts(&config);
    hosts.retain(|host| !host.starts_with("*."));
    let lookup = Arc::new(Lookup::new(&config, Arc::default()));
    let mut set = look_up(&lookup, hosts, &config).await?;
    set.valid_for(DEFAULT_VALIDITY);
    Ok(set)
}

async fn look_up(lookup: &Arc<Lookup>, hosts: Vec<Box<str>>, config: &Config) -> Result<PinSet> {
    if let Some(found) = lookup.without_asking(&hosts) {
        return Ok(found);
    }
    let task = process::spawn(Arc::clone(lookup).all(hosts))?;
    // The look-ups bound themselves; the grace is for the system's resolver, which is asked last.
    let latest = Instant::now() + config.resolve_timeout + config.resolve_jitter + 2 * config.resolve_attempt_timeout;
    match drive::before(latest, task).await {
        Some(Some(found)) => found,
        Some(None) => Err(Error::new(Reason::Internal, Phase::Resolve, "a look-up panicked")),
        None => Err(Error::new(Reason::DnsTimeout, Phase::Resolve, "init did not end")
            .with_budget("resolve_timeout", config.resolve_timeout)),
    }
}

/// The hosts that are dialled for the declared origins, each once.
fn declared_hosts(config: &Config) -> Vec<Box<str>> {
    let mut hosts: Vec<Box<str>> = config.hosts.0.iter().map(|origin| config.dialled(origin).0.into()).collect();
    hosts.extend(config.proxy.0.as_ref().map(|proxy| proxy.host.clone()));
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
        tls: Option<Arc<ClientConfig>>,
        lookup: Arc<Lookup>,
        pins: Pins,
        imported: PinSet,
        counters: Arc<Counters>,
    ) -> Result<Life> {
        // First: what a fork finds locked or counted in here must be seen to be the parent's.
        sys::watch_forks();
        let generation = sys::generation();
        let dialer = Dialer::new(Arc::clone(&config), tls.as_deref(), Arc::clone(&lookup), Arc::clone(&counters));
        let pool = Pool::new(Arc::clone(&config), Arc::new(dialer), Arc::new(pins), imported, Arc::clone(&counters));
        pool.add_declared()?;
        let memory = Mutex::new(Memory::new(config.remembered_keys));
        Ok(Life { generation, core: Arc::new(Core { config, pool, counters, memory }), tls })
    }

    /// What this client is in a child process: the same options and pins, nothing else.
    fn after_fork(&self) -> Result<Life> {
        let tls = self.tls.as_deref().map(|tls| {
            let mut tls = ClientConfig::clone(tls);
            tls::forget_sessions(&mut tls);
            Arc::new(tls)
        });
        let counters = Arc::new(Counters::default());
        let lookup = Arc::new(Lookup::new(&self.core.config, Arc::clone(&counters)));
        Life::begin(
            Arc::clone(&self.core.config),
            tls,
            lookup,
            self.core.pool.pins.copy(),
            self.core.pool.imported.clone(),
            counters,
        )
    }

    /// Makes the connections that `prewarm` asks for. One that fails is left to the first call, which will say why.
    async fn prewarm(&self, is_driven: bool) -> Result<()> {
        let config = &self.core.config;
        let (timeout, deadline) =
            (config.connect_timeout, Instant::now() + config.connect_timeout + config.handshake_timeout);
        // Nobody is promised more than there is: those who hold some and wait for more would wait for each other.
        let mut left = config.connections();
        let mut warms = Vec::new();
        for site in self.core.pool.sites().into_iter().filter(|site| site.speaks_http()) {
            let share = config.prewarm.min(left);
            left -= share;
            warms.push(process::spawn(async move {
                let mut leases = Vec::new();
                for _ in 0..share {
                    match site.lease(is_driven, Instant::now(), deadline, timeout).await {
                        Ok(lease) => leases.push(lease),
                        Err(error) => {
                            tracing::warn!(host = %site.label, reason = error.reason().as_str(), "prewarming failed");
                            break;
                        }
                    }
                }
                leases.into_iter().for_each(|lease| lease.end(Instant::now()));
            })?);
        }
        for warm in warms {
            warm.await;
        }
        Ok(())
    }
}

impl Handle {
    /// The client in this process: after a `fork()` a new one takes the inherited one's place.
    pub(crate) fn life(&self) -> Result<Guard<Arc<Life>>> {
        let life = self.life.load();
        if life.generation == sys::generation() {
            return if self.closed.load(Ordering::Relaxed) {
                Err(Error::new(Reason::Closed, Phase::Configure, "the client was closed"))
            } else {
                Ok(life)
            };
        }
        // The parent's state of the random source came along: its children would all wait the same "random" times.
        let now = PinSet::now().as_nanosecond() as u64;
        fastrand::seed(now ^ (u64::from(std::process::id()) << 32));
        let fresh = Arc::new(life.after_fork()?);
        let inherited = self.life.compare_and_swap(&*life, fresh);
        if Arc::ptr_eq(&inherited, &life) {
            // Its locks may be held by threads that do not exist here, its sockets are closed, its runtime is dead:
            // it is never dropped.
            std::mem::forget(Arc::clone(&inherited));
        }
        drop((inherited, life));
        self.life()
    }

    /// The same, to be held over a wait.
    pub(crate) fn core(&self) -> Result<Arc<Core>> {
        Ok(Arc::clone(&self.life()?.core))
    }

    pub(crate) fn pins(&self) -> PinSet {
        self.life.load().core.pool.pins.to_set()
    }

    pub(crate) fn repin(&self, host: &str, addresses: &[IpAddr]) -> Result<()> {
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

    pub(crate) fn stats(&self) -> Stats {
        let life = self.life.load();
        if life.generation != sys::generation() {
            return Stats::default();
        }
        life.core.counters.snapshot(life.core.pool.idle())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.finish();
        }
    }

    fn finish(&self) {
        let life = self.life.load();
        if life.generation != sys::generation() {
            return;
        }
        life.core.pool.close();
        let stats = || life.core.counters.snapshot(0);
        match life.core.config.summary {
            // Made only where somebody reads it.
            Summary::Log => tracing::info!("{}", stats()),
            #[expect(clippy::print_stderr, reason = "the option asks for it")]
            Summary::Stderr => eprintln!("{}", stats()),
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
