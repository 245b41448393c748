//! All connections of one client.
//!
//! It owns the sites that requests look up, and what concerns all of them: eviction, reaping, closing. What one
//! origin has is its site's, who uses it, the lease's; [`Places`] keeps the caps. Time comes in as an argument.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::config::{Config, REAP_EVERY};
use crate::connect::{Dialer, Route, Via};
use crate::crowd::Crowds;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::limit::Places;
use crate::origin::{Origin, Scheme};
use crate::pin_set::PinSet;
use crate::pins::{Host, Pins, Source};
use crate::request::OwnFields;
use crate::site::{Shared, Site};
use crate::{process, tls};

/// Spellings of origins that are remembered beside the canonical ones; more are looked up the slow way.
const MAX_SPELLINGS: usize = 4096;

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
        let (places, crowds) = (Places::new(config.connections()), Crowds::new(config.connections()));
        Arc::new_cyclic(|pool: &Weak<Pool>| {
            let (evicting, reaping) = (pool.clone(), pool.clone());
            let evict = Box::new(move |index| evicting.upgrade().is_some_and(|pool| pool.evict(index)));
            let every = (config.max_idle / 4).clamp(REAP_EVERY.0, REAP_EVERY.1);
            let reap = Box::new(move || {
                let pool = reaping.clone();
                process::repeat(every, move || pool.upgrade().map(|pool| pool.reap(Instant::now())).is_some())
            });
            Pool {
                http: ArcSwap::default(),
                https: ArcSwap::default(),
                tcp: ArcSwap::default(),
                all: Mutex::default(),
                adding: Mutex::default(),
                pins,
                imported,
                shared: Arc::new(Shared {
                    config,
                    dialer,
                    places,
                    crowds,
                    counters,
                    evict,
                    reap,
                    is_reaped: AtomicBool::new(false),
                }),
            }
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
        let proxy = match &config.proxy.0 {
            None => None,
            Some(proxy) => Some(Via { host: self.pinned(&proxy.host)?, proxy: proxy.clone() }),
        };
        let route = Route { label: origin.host_port(), host, port, server_name, proxy };
        let own = OwnFields::new(&host_header, &config.user_agent.0, config.decode);
        let site = Site::new(Arc::clone(&self.shared), origin.scheme(), route, own);
        self.all().push(Arc::clone(&site));
        Ok(site)
    }

    pub(crate) fn sites(&self) -> Vec<Arc<Site>> {
        self.all().clone()
    }

    /// Closes one idle connection, the one that has been idle longest, so that its place goes to whoever waits first:
    /// somebody of the origin `index`, which only its own connections may keep from one.
    fn evict(&self, index: usize) -> bool {
        let is_capped = self.shared.places.is_capped(index);
        let sites = self.sites();
        let longest = sites
            .iter()
            .filter(|site| !is_capped || site.index == index)
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
        self.sites().iter().map(|site| (site.shelf.len() + site.streams.idle()) as u64).sum()
    }

    /// Closes every idle connection and lets nobody lease again.
    pub(crate) fn close(&self) {
        for site in self.sites() {
            drop(site.shelf.close());
            site.close_kept();
            site.streams.reap(|_, _| false);
        }
    }
}
