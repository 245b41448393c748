//! From pinned addresses to a live connection: the race, the socket's options, the TLS handshake.
//!
//! It owns dialling, which runs wherever it is polled: on a blocking caller's own thread, else on the process's runtime.
//! The place among the live connections is taken before it begins. The literal that is dialled is held against the
//! address policy once more. When every address has failed it asks DNS once, for those hosts that may be asked for.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio_rustls::TlsConnector;
use tracing::Instrument;

use crate::config::{Config, REFRESH_INTERVAL, REFRESH_JITTER, SLICE};
use crate::connection::{Connection, Live, Parts};
use crate::error::{Error, Kind, Phase, Reason, Result};
use crate::event::Counters;
use crate::limit::Place;
use crate::pins::{Host, Source};
use crate::policy::AddressPolicy;
use crate::proxy::Proxy;
use crate::race::{Race, Step};
use crate::resolve::Lookup;
use crate::retry::full_jitter;
use crate::stream::{Io, Meter, Stream};
use crate::{drive, process, tls, tunnel};

/// The names of protocols in TLS (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Whom to dial for an origin, and under which name.
pub(crate) struct Route {
    /// `host:port` of the origin, for messages.
    pub(crate) label: Box<str>,
    /// Whose pinned addresses are dialled: the origin's host, or the one of `connect_to`.
    pub(crate) host: Arc<Host>,
    pub(crate) port: u16,
    /// The name for SNI and the certificate; none for plain connections.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// Through whom.
    pub(crate) proxy: Option<Via>,
}

/// An explicit proxy, pinned as an origin is.
pub(crate) struct Via {
    pub(crate) host: Arc<Host>,
    pub(crate) proxy: Proxy,
}

/// Whom a socket is connected to.
#[derive(Clone, Copy)]
struct Hop<'a> {
    host: &'a Host,
    port: u16,
}

/// A dial under way. Not a task of its own: dropped with the call that wanted it, its socket is closed before its place is
/// somebody else's.
type Dial = Pin<Box<dyn Future<Output = (IpAddr, io::Result<Stream>)> + Send>>;

/// A dial that has succeeded.
struct Won {
    io: Io,
    meter: Arc<Meter>,
    address: SocketAddr,
    connect: Duration,
    handshake: Duration,
}

/// What a new connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer<'a> {
    Http1,
    /// HTTP/2 where the target chooses it, or without asking over plain TCP.
    Http2,
    /// Something else: nothing but TCP, or TLS for this name.
    Raw(Option<&'a ServerName<'static>>),
}

/// A connection just made, by the version that it speaks.
pub(crate) enum Dialled {
    Http1(Box<Connection>),
    Http2(Parts),
    Raw(Parts),
}

/// TLS by what is offered inside it.
struct Connectors {
    http1: TlsConnector,
    http2: TlsConnector,
    raw: TlsConnector,
}

impl Connectors {
    fn new(tls: &ClientConfig, config: &Config) -> Connectors {
        let speaking = |protocols: &mut dyn Iterator<Item = &[u8]>| {
            let mut tls = ClientConfig::clone(tls);
            tls.alpn_protocols = protocols.map(<[u8]>::to_vec).collect();
            TlsConnector::from(Arc::new(tls))
        };
        Connectors {
            http1: speaking(&mut [HTTP1].into_iter()),
            http2: speaking(&mut [HTTP2, HTTP1].into_iter()),
            raw: speaking(&mut config.alpn.0.iter().map(|name| &**name)),
        }
    }
}

/// Dials for one client.
pub(crate) struct Dialer {
    connectors: OnceLock<Connectors>,
    policy: AddressPolicy,
    lookup: Arc<Lookup>,
    counters: Arc<Counters>,
    config: Arc<Config>,
}

impl Dialer {
    pub(crate) fn new(
        config: Arc<Config>,
        tls: Option<&ClientConfig>,
        lookup: Arc<Lookup>,
        counters: Arc<Counters>,
    ) -> Dialer {
        let policy = AddressPolicy::new(config.allow_addresses.0.clone());
        let connectors = tls.map_or_else(OnceLock::new, |tls| Connectors::new(tls, &config).into());
        Dialer { connectors, policy, lookup, counters, config }
    }

    /// Those of a client that no option has told of TLS are made when somebody wants them.
    fn connectors(&self) -> Result<&Connectors> {
        if let Some(connectors) = self.connectors.get() {
            return Ok(connectors);
        }
        let made = Connectors::new(&*tls::configuration(&self.config)?, &self.config);
        Ok(self.connectors.get_or_init(|| made))
    }

    /// A connection to the route's origin.
    pub(crate) async fn dial(
        self: &Arc<Self>,
        route: &Route,
        place: Place<Box<Connection>>,
        offer: Offer<'_>,
    ) -> Result<Dialled> {
        let live = Live::new(&self.counters);
        let begun = Instant::now();
        let result = match self.dial_pinned(route, offer).await {
            Err(error)
                if error.kind() == Kind::Connect
                    && !is_local(error.reason())
                    && self.refreshes(route.proxy.as_ref().map_or(&route.host, |via| &via.host), begun).await =>
            {
                drive::rare(self.dial_pinned(route, offer)).await
            }
            result => result,
        };
        let Won { io, meter, address, connect, handshake } = match result {
            Ok(won) => won,
            Err(error) => {
                self.counters.dial_failures.one();
                tracing::debug!(host = %route.label, reason = error.reason().as_str(), "dial failed");
                return Err(error.with_host(route.label.clone()).with_effort(1, begun.elapsed()));
            }
        };
        let jitter = self.config.max_age.mul_f64(fastrand::f64() / 10.0);
        let parts = Parts {
            io,
            meter,
            address,
            connect,
            handshake,
            max_idle: self.config.max_idle,
            max_age: self.config.max_age - jitter,
            live,
            place,
        };
        let speaks_http2 = match &parts.io {
            Io::Plain(_) => offer == Offer::Http2,
            Io::Tls(session) => session.get_ref().1.alpn_protocol() == Some(HTTP2),
        };
        Ok(match offer {
            Offer::Raw(_) => Dialled::Raw(parts),
            _ if speaks_http2 => Dialled::Http2(parts),
            _ => Dialled::Http1(Box::new(Connection::new(parts))),
        })
    }

    async fn dial_pinned(&self, route: &Route, offer: Offer<'_>) -> Result<Won> {
        match &route.proxy {
            None => self.dial_directly(route, offer).await,
            Some(via) => drive::rare(self.dial_through(route, via, offer)).await,
        }
    }

    /// Races the host's addresses; where a handshake fails for a reason of that address only, goes on with the others.
    async fn dial_directly(&self, route: &Route, offer: Offer<'_>) -> Result<Won> {
        let begun = Instant::now();
        let mut deadline = begun + self.config.connect_timeout;
        let hop = Hop { host: &route.host, port: route.port };
        let mut race = Race::new(route.host.in_order(begun, fastrand::usize(..)), self.config.race_stagger);
        let mut dials = Vec::new();
        let mut last = None;
        loop {
            let raced = self
                .next_winner(hop, &mut race, &mut dials, &mut last, deadline)
                .instrument(tracing::debug_span!("connect", host = %route.label));
            let (stream, address) = raced.await?;
            // The late ones end before the handshake begins: one place is for one live connection.
            dials.clear();
            match self.establish(route, stream, address, begun, offer).await {
                Err(error) if tls::may_try_elsewhere(error.reason()) => {
                    last = Some(error);
                    // The handshake has its own time: it was not the others'.
                    deadline = Instant::now() + self.config.connect_timeout;
                }
                established => return established,
            }
        }
    }

    /// Asks a proxy for a tunnel to one pinned address after the other.
    async fn dial_through(&self, route: &Route, via: &Via, offer: Offer<'_>) -> Result<Won> {
        let begun = Instant::now();
        let hop = Hop { host: &via.host, port: via.proxy.port };
        let mut last = None;
        for address in route.host.in_order(begun, fastrand::usize(..)) {
            let deadline = Instant::now() + self.config.connect_timeout;
            let target = SocketAddr::new(address, route.port);
            self.check(address)?;
            let mut race = Race::new(via.host.in_order(Instant::now(), fastrand::usize(..)), self.config.race_stagger);
            let mut dials = Vec::new();
            let (mut stream, proxy_address) =
                self.next_winner(hop, &mut race, &mut dials, &mut None, deadline)
                    .await
                    .map_err(|error| error.with_host(format!("{} (proxy {})", route.label, via.proxy)))?;
            dials.clear();
            via.host.favour(proxy_address.ip());
            let opened = tunnel::open(&mut stream, &via.proxy, target, self.config.max_headers.0);
            let failed = match drive::before(deadline, opened).await {
                Some(Ok(())) => match self.establish(route, stream, target, begun, offer).await {
                    Err(error) if tls::may_try_elsewhere(error.reason()) => error,
                    established => return established,
                },
                Some(Err(error)) if tunnel::may_try_elsewhere(&error) => {
                    self.sideline(&route.host, address);
                    error.with_address(target)
                }
                Some(Err(error)) => return Err(error.with_address(target)),
                None => {
                    return Err(Error::new(Reason::ProxyTimeout, Phase::Connect, "the proxy opened no tunnel in time")
                        .with_address(target)
                        .with_budget("connect_timeout", self.config.connect_timeout));
                }
            };
            last = Some(failed);
        }
        Err(last.unwrap_or_else(nothing_left))
    }

    /// What makes a connection of a socket that reaches its target.
    async fn establish(
        &self,
        route: &Route,
        stream: Stream,
        address: SocketAddr,
        begun: Instant,
        offer: Offer<'_>,
    ) -> Result<Won> {
        let (connect, meter) = (begun.elapsed(), Arc::clone(stream.meter()));
        let shaken =
            self.shake_hands(route, stream, offer).instrument(tracing::debug_span!("handshake", host = %route.label));
        match shaken.await {
            Ok(io) => {
                route.host.favour(address.ip());
                Ok(Won { io, meter, address, connect, handshake: begun.elapsed() - connect })
            }
            Err(error) => {
                if tls::may_try_elsewhere(error.reason()) {
                    self.sideline(&route.host, address.ip());
                }
                Err(error.with_address(address))
            }
        }
    }

    /// The check on the literal itself, whatever brought it here.
    fn check(&self, address: IpAddr) -> Result<()> {
        match self.policy.refused(address) {
            None => Ok(()),
            Some(range) => {
                let detail = format!("{address} is in a refused range ({range})");
                Err(Error::new(Reason::PolicyAddress, Phase::Connect, detail))
            }
        }
    }

    /// The first socket to be connected.
    async fn next_winner(
        &self,
        hop: Hop<'_>,
        race: &mut Race,
        dials: &mut Vec<Dial>,
        last: &mut Option<Error>,
        deadline: Instant,
    ) -> Result<(Stream, SocketAddr)> {
        let mut failures = 0;
        loop {
            let wait_until = match race.step(Instant::now()) {
                Step::Dial(address) => {
                    self.check(address)?;
                    self.counters.dials.one();
                    let target = SocketAddr::new(address, hop.port);
                    dials.push(Box::pin(async move { (address, connect(target).await) }));
                    continue;
                }
                Step::Wait(until) => until.map_or(deadline, |until| until.min(deadline)),
                Step::Exhausted => {
                    return Err(last.take().unwrap_or_else(nothing_left));
                }
            };
            // A thread that drives waits for the last one only; the others are looked at in between.
            let wait_until = match dials.len() {
                2.. if drive::is_driven() => wait_until.min(Instant::now() + SLICE),
                _ => wait_until,
            };
            match drive::before(wait_until, next_end(dials)).await {
                Some(Some((address, Ok(stream)))) => {
                    for late in race.won(address) {
                        self.sideline(hop.host, late);
                    }
                    let target = SocketAddr::new(address, hop.port);
                    self.set_options(&stream).map_err(|error| socket_error(&error, 1).with_address(target))?;
                    return Ok((stream, target));
                }
                Some(Some((address, Err(error)))) => {
                    failures += 1;
                    race.failed(address);
                    let error = socket_error(&error, failures).with_address(SocketAddr::new(address, hop.port));
                    if !is_local(error.reason()) {
                        self.sideline(hop.host, address);
                    }
                    *last = Some(error);
                }
                // Every dial has ended, or the stagger has: the race knows what is next.
                Some(None) => {}
                None if Instant::now() >= deadline => {
                    let silent = race.given_up();
                    for &address in &silent {
                        self.sideline(hop.host, address);
                    }
                    if let Some(last) = last.take() {
                        return Err(last);
                    }
                    let detail = format!("no answer from any of {} pinned addresses", silent.len());
                    return Err(Error::new(Reason::ConnectTimeout, Phase::Connect, detail)
                        .with_budget("connect_timeout", self.config.connect_timeout));
                }
                None => {}
            }
        }
    }

    fn sideline(&self, host: &Host, address: IpAddr) {
        tracing::debug!(host = %host.name, %address, "sidelined");
        host.sideline(address, Instant::now() + self.config.sideline);
    }

    fn set_options(&self, stream: &Stream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(true)?;
        let keep_alive = TcpKeepalive::new().with_time(self.config.keep_alive).with_interval(Duration::from_secs(5));
        socket.set_tcp_keepalive(&keep_alive)?;
        // What is written and never acknowledged is a dead path, long before TCP itself gives up (15 minutes).
        socket.set_tcp_user_timeout(Some(self.config.stall_timeout.max(Duration::from_secs(1))))
    }

    async fn shake_hands(&self, route: &Route, stream: Stream, offer: Offer<'_>) -> Result<Io> {
        let name = match offer {
            Offer::Http1 | Offer::Http2 => route.server_name.as_ref(),
            Offer::Raw(name) => name,
        };
        let Some(name) = name else { return Ok(Io::Plain(stream)) };
        let connectors = self.connectors()?;
        let connector = match offer {
            Offer::Http1 => &connectors.http1,
            Offer::Http2 => &connectors.http2,
            Offer::Raw(_) => &connectors.raw,
        };
        let shaken = drive::rare(connector.connect(name.clone(), stream));
        match drive::before(Instant::now() + self.config.handshake_timeout, shaken).await {
            Some(Ok(session)) => {
                self.counters.handshakes.one();
                if session.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                    self.counters.resumptions.one();
                }
                Ok(Io::Tls(Box::new(session)))
            }
            Some(Err(error)) => {
                let (reason, detail) = tls::failure(&error);
                Err(Error::new(reason, Phase::Handshake, detail).with_source(error))
            }
            None => Err(Error::new(Reason::TlsTimeout, Phase::Handshake, "the handshake did not end")
                .with_budget("handshake_timeout", self.config.handshake_timeout)),
        }
    }

    /// [`Dialer::refresh`] on the runtime, whoever waits for it.
    async fn refreshes(self: &Arc<Self>, host: &Arc<Host>, failing_since: Instant) -> bool {
        let (dialer, host) = (Arc::clone(self), Arc::clone(host));
        let refreshing = process::spawn(async move { dialer.refresh(&host, failing_since).await });
        match refreshing {
            Ok(task) => task.await.unwrap_or_default(),
            Err(_) => false,
        }
    }

    /// Asks DNS for new addresses, one caller at a time. Whether the host now has an address worth another race; where
    /// the look-up fails, the stale ones stay.
    async fn refresh(&self, host: &Host, failing_since: Instant) -> bool {
        let failed = host.current().pin.addresses.clone();
        let mut last = host.refreshed.lock().await;
        if host.current().pin.addresses != failed {
            return true;
        }
        if !host.may_refresh(*last, Instant::now(), REFRESH_INTERVAL) {
            return false;
        }
        self.counters.refreshes.one();
        // A target that dies dies for every worker at once.
        tokio::time::sleep(full_jitter(REFRESH_JITTER, fastrand::f64())).await;
        let deadline = Instant::now() + self.config.connect_timeout;
        let looked_up = self.lookup.one(&host.name, Some(failing_since), deadline).await;
        // Only now: where the caller gives up meanwhile, the next one asks again.
        *last = Some(Instant::now());
        match looked_up {
            Ok(pin) => {
                let is_new = pin.addresses.iter().any(|address| !failed.contains(address));
                if is_new {
                    tracing::info!(host = %host.name, "all pinned addresses failed; pinned new ones");
                    host.replace(pin, Source::Resolved);
                }
                is_new
            }
            Err(error) => {
                tracing::warn!(host = %host.name, reason = error.reason().as_str(), "look-up failed; the stale addresses stay");
                false
            }
        }
    }
}

async fn connect(target: SocketAddr) -> io::Result<Stream> {
    let mut stream = Stream::connect(target, Arc::default())?;
    stream.connected(target).await?;
    Ok(stream)
}

/// The first dial to end; nothing where there is none left.
fn next_end(dials: &mut Vec<Dial>) -> impl Future<Output = Option<(IpAddr, io::Result<Stream>)>> {
    poll_fn(|cx| {
        for at in 0..dials.len() {
            if let Poll::Ready(ended) = dials[at].as_mut().poll(cx) {
                drop(dials.remove(at));
                return Poll::Ready(Some(ended));
            }
        }
        if dials.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    })
}

/// Whether it is this machine that can't connect, to whatever address.
fn is_local(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectLocalPorts | Reason::ConnectResource)
}

fn nothing_left() -> Error {
    Error::new(Reason::ConnectUnreachable, Phase::Connect, "the host has no address left to try")
}

fn socket_error(error: &io::Error, failures: u32) -> Error {
    let reason = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => Reason::ConnectRefused,
        (io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted, _) => Reason::ConnectReset,
        (io::ErrorKind::TimedOut, _) => Reason::ConnectTimeout,
        (_, Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EACCES | libc::EINVAL)) => Reason::ConnectUnreachable,
        (_, Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE)) => Reason::ConnectLocalPorts,
        (_, Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)) => Reason::ConnectResource,
        _ => Reason::ConnectIo,
    };
    let detail = match failures {
        0 | 1 => format!("the connection failed: {error}"),
        many => format!("{many} addresses failed, the last: {error}"),
    };
    Error::new(reason, Phase::Connect, detail)
}
