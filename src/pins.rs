//! The addresses a client uses now, and which of them are out of favour.
//!
//! It owns the table host → addresses of one client and each address's health. Reading it takes no lock,
//! so a request costs no look-up and a child process can read what its parent pinned. Time and randomness
//! come in as arguments; nothing here does I/O.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::idle::Idle;
use crate::pin_set::{Pin, PinSet};

/// The most addresses kept of one answer. More add nothing to a race, and an answer can hold thousands.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// Where a host's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The option `pins` or [`Client::repin`](crate::Client::repin): never looked up again.
    ByHand,
    /// A pin set or a hosts file.
    Imported,
    /// A look-up of this process.
    Resolved,
}

/// One host's pin as it is now.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) pin: Pin,
    pub(crate) source: Source,
}

/// One host: its pin, which can be replaced, and the health of its addresses.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Box<str>,
    current: ArcSwap<Current>,
    health: Mutex<HashMap<IpAddr, Health>>,
    /// What was learned of how long a connection to this host may be idle: on the way to one host lies one proxy.
    idle: Mutex<Idle>,
    /// Whether there is anything to learn it from: nothing has died of most hosts' connections.
    has_idle_limit: AtomicBool,
    /// Held during a look-up after init, so that there is one at a time; holds when the last one ended.
    pub(crate) refreshed: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug)]
struct Health {
    /// Sidelined until then.
    until: Instant,
}

impl Host {
    pub(crate) fn new(name: &str, mut pin: Pin, source: Source) -> Arc<Host> {
        pin.addresses.truncate(MAX_ADDRESSES);
        Arc::new(Host {
            name: name.into(),
            current: ArcSwap::from_pointee(Current { pin, source }),
            health: Mutex::default(),
            idle: Mutex::default(),
            has_idle_limit: AtomicBool::new(false),
            refreshed: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Current>> {
        self.current.load()
    }

    /// Replaces the pin; connections to addresses that are gone end when they are next looked at.
    pub(crate) fn replace(&self, mut pin: Pin, source: Source) {
        pin.addresses.truncate(MAX_ADDRESSES);
        self.current.store(Arc::new(Current { pin, source }));
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.current.load().pin.addresses.contains(&address)
    }

    /// Every address, best first: those in favour in an order rotated by `spin`, then the sidelined ones, the one whose
    /// time ends first before the others.
    pub(crate) fn in_order(&self, now: Instant, spin: usize) -> Vec<IpAddr> {
        let health = self.health.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut addresses = self.current.load().pin.addresses.clone();
        let middle = spin % addresses.len().max(1);
        addresses.rotate_left(middle);
        addresses.sort_by_key(|address| health.get(address).map(|health| health.until).filter(|until| *until > now));
        addresses
    }

    pub(crate) fn sideline(&self, address: IpAddr, until: Instant) {
        let mut health = self.health.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        health.insert(address, Health { until });
        let current = self.current.load();
        health.retain(|address, _| current.pin.addresses.contains(address));
    }

    pub(crate) fn favour(&self, address: IpAddr) {
        self.health.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&address);
    }

    /// A connection was alive after being idle for so long.
    pub(crate) fn survived_idle(&self, idle: Duration, now: Instant) {
        self.idle().survived(idle, now);
    }

    /// A connection was found dead after being idle for so long.
    pub(crate) fn died_idle(&self, idle: Duration, now: Instant) {
        tracing::debug!(host = %self.name, ?idle, "a connection died idle");
        self.idle().died(idle, now);
        self.has_idle_limit.store(true, Ordering::Relaxed);
    }

    /// How long a connection may be idle, as far as this host has taught.
    pub(crate) fn learned_idle(&self, now: Instant) -> Duration {
        if !self.has_idle_limit.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        self.idle().limit(now)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether a look-up may bring other addresses: not for what was fixed by hand, and not twice within `interval`.
    pub(crate) fn may_refresh(&self, last: Option<Instant>, now: Instant, interval: Duration) -> bool {
        self.current.load().source != Source::ByHand && last.is_none_or(|last| now.duration_since(last) >= interval)
    }
}

/// All hosts of one client.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    hosts: ArcSwap<HashMap<Box<str>, Arc<Host>>>,
}

impl Pins {
    pub(crate) fn new(hosts: impl IntoIterator<Item = Arc<Host>>) -> Pins {
        let hosts = hosts.into_iter().map(|host| (host.name.clone(), host)).collect();
        Pins { hosts: ArcSwap::from_pointee(hosts) }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Host>> {
        self.hosts.load().get(name).cloned()
    }

    /// Adds a host that was found by a suffix rule; where another thread was first, its entry stays.
    pub(crate) fn add(&self, host: Arc<Host>) -> Arc<Host> {
        self.hosts.rcu(|hosts| {
            let mut hosts = HashMap::clone(hosts);
            hosts.entry(host.name.clone()).or_insert_with(|| Arc::clone(&host));
            hosts
        });
        self.find(&host.name).unwrap_or(host)
    }

    /// The same pins with a clean bill of health, sharing no lock: what a child process begins with.
    pub(crate) fn copy(&self) -> Pins {
        Pins::new(self.hosts.load().values().map(|host| {
            let current = host.current();
            Host::new(&host.name, current.pin.clone(), current.source)
        }))
    }

    pub(crate) fn to_set(&self) -> PinSet {
        let mut set = PinSet::default();
        for host in self.hosts.load().values() {
            set.insert(&host.name, host.current().pin.clone()).expect("what is pinned has a valid host and an address");
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Arc<Host> {
        let addresses = (1..=3).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        Host::new("a.example", Pin::by_hand(addresses, PinSet::now()), Source::Resolved)
    }

    fn lasts(host: &Host, now: Instant, spin: usize) -> Vec<u8> {
        host.in_order(now, spin).iter().map(|address| address.to_string().as_bytes()[7] - b'0').collect()
    }

    #[test]
    fn a_sidelined_address_comes_last_until_its_time_is_over() {
        let (host, now) = (host(), Instant::now());
        host.sideline(IpAddr::from([10, 0, 0, 1]), now + Duration::from_secs(30));
        assert_eq!(lasts(&host, now, 0), [2, 3, 1]);
        assert_eq!(lasts(&host, now, 1), [2, 3, 1]);
        assert_eq!(lasts(&host, now + Duration::from_secs(30), 0), [1, 2, 3]);
        host.favour(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(lasts(&host, now, 0), [1, 2, 3]);
    }

    #[test]
    fn when_all_are_sidelined_all_are_still_tried() {
        let (host, now) = (host(), Instant::now());
        for last in 1..=3 {
            host.sideline(IpAddr::from([10, 0, 0, last]), now + Duration::from_secs(u64::from(last)));
        }
        assert_eq!(lasts(&host, now, 2), [1, 2, 3]);
    }

    #[test]
    fn idle_times_are_bounded_once_a_connection_has_died() {
        let (host, now) = (host(), Instant::now());
        assert_eq!(host.learned_idle(now), Duration::MAX);
        host.survived_idle(Duration::from_secs(4), now);
        host.died_idle(Duration::from_secs(5), now);
        assert!(host.learned_idle(now) < Duration::from_secs(5));
    }

    #[test]
    fn what_is_fixed_by_hand_is_never_looked_up() {
        let (host, now) = (host(), Instant::now());
        let interval = Duration::from_secs(30);
        assert!(host.may_refresh(None, now, interval));
        assert!(!host.may_refresh(Some(now), now + Duration::from_secs(29), interval));
        host.replace(Pin::by_hand(vec![IpAddr::from([10, 0, 0, 9])], PinSet::now()), Source::ByHand);
        assert!(!host.may_refresh(None, now, interval));
        assert!(!host.holds(IpAddr::from([10, 0, 0, 1])));
    }
}
