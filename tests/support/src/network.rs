//! A running network: it binds everything, starts the parts on a runtime of its own, and stops them on drop.
//!
//! Owns: the runtime (two workers, so that it fits beside the client under test), the addresses, and the directory of
//! the CA file. A fault that opens or closes ports is in force when `inject` or `heal` returns.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::addresses::Addresses;
use crate::certificate::{Authority, Certificate};
use crate::counts::{Book, Complaint, Counts, Query, Seen, lock};
use crate::dns::Dns;
use crate::fault::{Fault, Injection};
use crate::gate::Gate;
use crate::origin::Origin;
use crate::plan::Plan;
use crate::ports::{Ports, bind, bind_dns, check, directory};
use crate::proxy::{Door, Proxy};
use crate::routes::Routes;
use crate::scripted::Scripted;
use crate::scripted2::Scripted2;
use crate::sink::{Sink, Write};
use crate::socket::BlackHole;
use crate::switch::Faults;
use crate::tally::{Tally, TunnelRequest};
use crate::tunnel::{Kind, Tunnels};

/// How long `inject` waits for ports to open or close.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the parts may take to stop.
const STOP: Duration = Duration::from_millis(500);

/// What the control API shares with the network.
pub(crate) struct Core {
    pub(crate) addresses: Addresses,
    pub(crate) book: Arc<Book>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) tally: Arc<Tally>,
    gate: Arc<Gate>,
    sink: Arc<Sink>,
    doors: Vec<Arc<Door>>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

/// A running network in a box. Dropping it stops everything and removes the CA file.
pub struct Network {
    core: Arc<Core>,
    runtime: Option<Runtime>,
    directory: PathBuf,
    _dead: Vec<BlackHole>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("addresses", &self.core.addresses).finish_non_exhaustive()
    }
}

impl Network {
    /// Starts everything; when it returns, every port answers.
    ///
    /// # Errors
    /// When the plan leaves 127.0.0.0/8, a port cannot be bound or the CA file cannot be written.
    pub fn start(plan: Plan) -> io::Result<Network> {
        check(&plan)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("pinlink-box")
            .enable_all()
            .build()?;
        let directory = directory()?;
        let started = Self::assemble(plan, &runtime, &directory);
        if started.is_err() {
            _ = std::fs::remove_dir_all(&directory);
        }
        let (core, dead) = started?;
        let network = Network { core, runtime: Some(runtime), directory, _dead: dead };
        if !network.core.settle() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "a proxied port could not be opened"));
        }
        Ok(network)
    }

    fn assemble(plan: Plan, runtime: &Runtime, directory: &Path) -> io::Result<(Arc<Core>, Vec<BlackHole>)> {
        let _inside = runtime.enter();
        let authority = Authority::new(&plan.names)?;
        let ca_file = directory.join("ca.pem");
        authority.write(directory)?;
        let (book, faults) = (Arc::new(Book::new()), Arc::new(Faults::new()));
        let sink = Arc::new(Sink::new(Arc::clone(&faults)));
        let gate = Arc::new(Gate::new(&plan.proxy, Arc::clone(&faults)));
        let mut ports = Ports::new(&plan);

        let routes = Arc::new(Routes::new(Arc::clone(&book), Arc::clone(&sink)));
        let streams = plan.h2_max_streams;
        let origin = Origin { routes, book: Arc::clone(&book), faults: Arc::clone(&faults), streams };
        let origin = Arc::new(origin);
        let (listener, direct_http) = bind()?;
        let http = ports.proxied(direct_http)?;
        runtime.spawn(Arc::clone(&origin).serve_plain(listener));
        let (mut https, mut direct_https) = (BTreeMap::new(), BTreeMap::new());
        for kind in Certificate::ALL {
            let (listener, direct) = bind()?;
            https.insert(kind, ports.proxied(direct)?);
            direct_https.insert(kind, direct);
            runtime.spawn(Arc::clone(&origin).serve_tls(listener, kind, Arc::new(authority.serve(kind)?)));
        }
        let (listener, direct) = bind()?;
        let https_client_auth = ports.proxied(direct)?;
        let known = Arc::new(authority.serve_known(&ca_file)?);
        runtime.spawn(Arc::clone(&origin).serve_tls(listener, Certificate::Right, known));
        let (listener, direct_scripted) = bind()?;
        let scripted = ports.proxied(direct_scripted)?;
        let peer = Scripted { book: Arc::clone(&book), faults: Arc::clone(&faults) };
        runtime.spawn(Arc::new(peer).serve(listener));

        let mut scripted2 = |tls| {
            let (listener, direct) = bind()?;
            let peer = Scripted2 { book: Arc::clone(&book), faults: Arc::clone(&faults), tls };
            runtime.spawn(Arc::new(peer).serve(listener));
            ports.proxied(direct)
        };
        let (scripted2, scripted2_tls) = (scripted2(None)?, scripted2(Some(authority.serve_h2()?))?);

        let (udp, tcp, dns) = bind_dns()?;
        let server = Arc::new(Dns::new(&plan, Arc::clone(&book), Arc::clone(&faults)));
        runtime.spawn(Arc::clone(&server).serve_udp(udp));
        runtime.spawn(Arc::clone(&server).serve_tcp(tcp));
        let tally = Arc::new(Tally::default());
        let (names, auth) = (plan.proxy_ips[0], plan.proxy_auth.clone());
        let tunnels = Tunnels { faults: Arc::clone(&faults), dns: server, tally: Arc::clone(&tally), names, auth };
        let tunnels = Arc::new(tunnels);
        let tunnel = |kind| {
            let (listener, at) = bind()?;
            runtime.spawn(Arc::clone(&tunnels).serve(listener, kind));
            io::Result::Ok(at)
        };
        let (connect_proxy, socks_proxy) = (tunnel(Kind::Connect)?, tunnel(Kind::Socks)?);
        let copier = Proxy::new(plan.proxy.clone(), Arc::clone(&gate), Arc::clone(&faults), Arc::clone(&book));
        let copier = Arc::new(copier);
        let Ports { doors, dead, .. } = ports;
        for door in &doors {
            runtime.spawn(Arc::clone(&copier).keep(Arc::clone(door)));
        }

        let (listener, control) = bind()?;
        let addresses = Addresses {
            dns,
            control,
            ca_file,
            http,
            https,
            scripted,
            scripted2,
            scripted2_tls,
            https_client_auth,
            connect_proxy,
            socks_proxy,
            direct_http,
            direct_https,
            direct_scripted,
            plan,
        };
        let (stop, stopped) = (Mutex::new(false), Condvar::new());
        let core = Arc::new(Core { addresses, book, faults, gate, sink, tally, doors, stop, stopped });
        runtime.spawn(crate::control::serve(listener, Arc::clone(&core)));
        Ok((core, dead))
    }

    /// Everything's place in one value.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.core.addresses
    }

    /// The DNS server; UDP and TCP on the same port.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        self.core.addresses.dns
    }

    /// The test CA as PEM, in a temporary directory that goes with the network; [`Network::file`] names its neighbours.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.core.addresses.ca_file
    }

    /// A file beside the test CA: `client.pem` and `client.key`, `stranger.pem` and `stranger.key` (of a CA that nobody
    /// trusts), `client-encrypted.key` (its password is `box`; it belongs to no certificate).
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The HTTP control API.
    #[must_use]
    pub fn control(&self) -> SocketAddr {
        self.core.addresses.control
    }

    /// The proxied port (on every proxy address) in front of the HTTP origin.
    #[must_use]
    pub fn http(&self) -> u16 {
        self.core.addresses.http
    }

    /// The proxied port in front of the HTTPS origin with this certificate.
    #[must_use]
    pub fn https(&self, certificate: Certificate) -> u16 {
        self.core.addresses.https[&certificate]
    }

    /// The proxied port in front of the scripted peer (plain).
    #[must_use]
    pub fn scripted(&self) -> u16 {
        self.core.addresses.scripted
    }

    /// The proxied port in front of the scripted HTTP/2 peer (plain, prior knowledge).
    #[must_use]
    pub fn scripted2(&self) -> u16 {
        self.core.addresses.scripted2
    }

    /// The proxied port in front of the scripted HTTP/2 peer over TLS (ALPN `h2`, the right certificate).
    #[must_use]
    pub fn scripted2_tls(&self) -> u16 {
        self.core.addresses.scripted2_tls
    }

    /// The proxied port in front of the HTTPS origin (the right certificate) that asks for a client certificate.
    #[must_use]
    pub fn https_client_auth(&self) -> u16 {
        self.core.addresses.https_client_auth
    }

    /// The explicit HTTP proxy: it dials what a `CONNECT` names, if that is in the box.
    #[must_use]
    pub fn connect_proxy(&self) -> SocketAddr {
        self.core.addresses.connect_proxy
    }

    /// The explicit SOCKS5 proxy: it dials what the client names, if that is in the box.
    #[must_use]
    pub fn socks_proxy(&self) -> SocketAddr {
        self.core.addresses.socks_proxy
    }

    /// The HTTP origin, past the proxy.
    #[must_use]
    pub fn direct_http(&self) -> SocketAddr {
        self.core.addresses.direct_http
    }

    /// The HTTPS origin with this certificate, past the proxy.
    #[must_use]
    pub fn direct_https(&self, certificate: Certificate) -> SocketAddr {
        self.core.addresses.direct_https[&certificate]
    }

    /// The scripted peer, past the proxy.
    #[must_use]
    pub fn direct_scripted(&self) -> SocketAddr {
        self.core.addresses.direct_scripted
    }

    /// Switches a fault on; one of the same kind is replaced.
    pub fn inject(&self, fault: Fault) {
        self.core.inject(fault.into());
    }

    /// Switches a fault on that switches itself off after it hit `times` times.
    pub fn inject_times(&self, fault: Fault, times: u32) {
        self.core.inject(Injection { fault, times: Some(times), name: None });
    }

    /// Switches a fault on for one name (DNS), one proxy address (proxy) or one record (sink).
    pub fn inject_for(&self, fault: Fault, name: &str) {
        self.core.inject(Injection { fault, times: None, name: Some(name.to_owned()) });
    }

    /// Switches a fault on, as the control API does.
    pub fn inject_injection(&self, injection: Injection) {
        self.core.inject(injection);
    }

    /// Switches all faults off.
    pub fn heal(&self) {
        self.core.heal();
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Vec<Injection> {
        self.core.faults.active()
    }

    /// All counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.counts()
    }

    /// All counts and logs start again; the peak from what is live. The sink forgets its keys and what was stored.
    pub fn reset_counts(&self) {
        self.core.reset();
    }

    /// The DNS server's log, oldest first.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        self.core.book.queries()
    }

    /// What the sink recorded, by record and key.
    #[must_use]
    pub fn sink(&self) -> Vec<Write> {
        self.core.writes()
    }

    /// The last requests (at most 10,000) at any origin, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.core.book.seen()
    }

    /// What clients told the scripted HTTP/2 peers about their errors (GOAWAY, RST_STREAM), oldest first.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        self.core.book.complaints()
    }

    /// What clients asked the explicit proxies for, oldest first.
    #[must_use]
    pub fn tunnels(&self) -> Vec<TunnelRequest> {
        self.core.tally.requests()
    }

    /// What makes [`Network::wait`] return, as `POST /stop` does; for another thread, and without a hold on the network.
    pub fn stopper(&self) -> impl Fn() + Send + 'static + use<> {
        let core = Arc::clone(&self.core);
        move || core.stop()
    }

    /// Waits until somebody asks it to stop.
    pub fn wait(&self) {
        let mut stop = lock(&self.core.stop);
        while !*stop {
            stop = self.core.stopped.wait(stop).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Inside somebody's async code a runtime must not be waited for.
            if tokio::runtime::Handle::try_current().is_ok() {
                runtime.shutdown_background();
            } else {
                runtime.shutdown_timeout(STOP);
            }
        }
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Core {
    pub(crate) fn inject(&self, injection: Injection) {
        self.faults.inject(injection);
        self.settle();
    }

    pub(crate) fn heal(&self) {
        self.faults.heal();
        self.settle();
    }

    /// Waits until the doors stand as the faults want them, and lets in whom a new cap allows.
    fn settle(&self) -> bool {
        let until = Instant::now() + SETTLE;
        let settled = || self.doors.iter().all(|door| door.settled(&self.faults));
        while !settled() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.gate.settle();
        settled()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            dns: self.book.dns(),
            proxy: self.gate.counts(),
            origins: self.book.origins(),
            tunnels: self.tally.counts(),
        }
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.sink.writes()
    }

    pub(crate) fn reset(&self) {
        self.book.reset();
        self.sink.reset();
        self.gate.reset();
        self.tally.reset();
    }

    pub(crate) fn stop(&self) {
        *lock(&self.stop) = true;
        self.stopped.notify_all();
    }
}
