//! What the box saw, in numbers and in logs.
//!
//! Owns: the DNS and origin counters, the query log and the request log, and the shapes in which all of it is handed
//! out. The proxy's own counts live in the gate, under the lock that makes them exact.
//! Time: `Query::at_us` is counted from the start of the network on the monotonic clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use http::request::Parts;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::tally::TunnelCounts;

/// How many requests [`Seen`] remembers, and how many queries the log keeps.
const SEEN: usize = 10_000;
const QUERIES: usize = 200_000;

/// Everything counted since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// The DNS server.
    pub dns: DnsCounts,
    /// The proxy, all proxied ports together.
    pub proxy: ProxyCounts,
    /// The origins, the scripted peer included, whether reached through the proxy or past it.
    pub origins: OriginCounts,
    /// The explicit proxies, CONNECT and SOCKS5 together.
    pub tunnels: TunnelCounts,
}

/// What the DNS server counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DnsCounts {
    /// Queries that arrived, over UDP and TCP.
    pub queries: u64,
    /// Queries that got any answer, an error or a broken one included.
    pub answered: u64,
    /// Queries that got silence.
    pub dropped: u64,
    /// Queries by name, lower case, without the final dot.
    pub by_name: BTreeMap<String, u64>,
}

/// What the proxy counted. A connection is live from `accept` until the client has closed its side (its FIN or RST
/// has arrived, read or not) or the proxy has closed the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProxyCounts {
    /// Live now.
    pub live: u64,
    /// The most that were ever live at once.
    pub peak: u64,
    /// Accepted, those turned away included.
    pub total: u64,
    /// Turned away above the cap, by FIN or by RST.
    pub refused: u64,
    /// Connections that the proxy reset: above the cap, or as a fault.
    pub reset: u64,
    /// Closed because they were idle for too long.
    pub idle_cut: u64,
    /// Connections that had to wait for a place.
    pub queued: u64,
}

/// What the origins counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OriginCounts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub live: u64,
    /// Requests whose head was read.
    pub requests: u64,
    /// TLS handshakes that completed, resumed ones included.
    pub handshakes: u64,
    /// TLS handshakes that resumed a session.
    pub resumed: u64,
    /// TLS handshakes that failed.
    pub failed_handshakes: u64,
    /// Bytes read, TLS included.
    pub bytes_in: u64,
    /// Bytes written, TLS included.
    pub bytes_out: u64,
}

/// One line of the DNS server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Query {
    /// Microseconds since the network started.
    pub at_us: u64,
    /// The name asked for, lower case, without the final dot.
    pub name: String,
    /// The record type (`A`, `AAAA`, …).
    pub kind: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// What the server did: `answer`, `no-data`, `nx-domain`, `dropped`, `truncated`, or the fault's name.
    pub answered: String,
    /// Who asked.
    pub client: SocketAddr,
}

/// A request as an origin saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The `Host` field (or `:authority`).
    pub host: Option<String>,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The address the client dialled: a proxied port on one of the proxy's addresses, or the origin itself.
    pub dialled: SocketAddr,
    /// The client's own address.
    pub client: SocketAddr,
    /// `http`, `https`, `scripted`, `scripted2` or `scripted2-tls`.
    pub origin: String,
    /// The certificate of an `https` origin.
    pub certificate: Option<Certificate>,
    /// The common name of the client's certificate.
    pub client_certificate: Option<String>,
    /// Whether the connection's TLS session was resumed.
    pub resumed: bool,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// All fields in order.
    pub headers: Vec<(String, String)>,
    /// Its stream at a scripted HTTP/2 peer.
    pub stream: Option<u32>,
    /// A scripted HTTP/2 peer told the client that it did not process this request: REFUSED_STREAM, or above GOAWAY's
    /// last stream.
    pub turned_away: bool,
}

/// What a client told a scripted HTTP/2 peer about its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Complaint {
    /// The stream of a RST_STREAM; 0 for GOAWAY.
    pub stream: u32,
    /// The error code of RFC 9113, section 7.
    pub code: u32,
}

/// A request's place on an HTTP/2 connection, carried in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) stream: u32,
    pub(crate) turned_away: bool,
}

/// What an origin knows about the connection a request came on.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) origin: &'static str,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) sni: Option<String>,
    /// The common name of the client's certificate.
    pub(crate) client: Option<String>,
    pub(crate) resumed: bool,
    /// Whether the socket is to be reset rather than closed when it goes.
    pub(crate) resets: Arc<AtomicBool>,
    /// Client and dialled address, looked up at the first request: by then the proxy has told.
    pub(crate) route: OnceLock<Route>,
}

/// Where a proxied connection comes from and what it dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) client: SocketAddr,
    pub(crate) dialled: SocketAddr,
}

/// The shared book: counters are atomics, logs are short critical sections.
#[derive(Debug)]
pub(crate) struct Book {
    start: Instant,
    dns: Mutex<(DnsCounts, VecDeque<Query>)>,
    routes: Mutex<BTreeMap<SocketAddr, Route>>,
    seen: Mutex<VecDeque<(Arc<Parts>, Arc<Link>)>>,
    complaints: Mutex<Vec<Complaint>>,
    pub(crate) connections: AtomicU64,
    pub(crate) live: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) failed_handshakes: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// A lock that a panicking test thread cannot take away from the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Book {
    pub(crate) fn new() -> Self {
        Book {
            start: Instant::now(),
            dns: Mutex::default(),
            routes: Mutex::default(),
            seen: Mutex::default(),
            complaints: Mutex::default(),
            connections: AtomicU64::new(0),
            live: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    pub(crate) fn query(&self, query: Query) {
        let mut dns = lock(&self.dns);
        dns.0.queries += 1;
        if query.answered == "dropped" {
            dns.0.dropped += 1;
        } else {
            dns.0.answered += 1;
        }
        match dns.0.by_name.get_mut(&query.name) {
            Some(n) => *n += 1,
            None => _ = dns.0.by_name.insert(query.name.clone(), 1),
        }
        if dns.1.len() == QUERIES {
            dns.1.pop_front();
        }
        dns.1.push_back(query);
    }

    pub(crate) fn queries(&self) -> Vec<Query> {
        lock(&self.dns).1.iter().cloned().collect()
    }

    pub(crate) fn dns(&self) -> DnsCounts {
        lock(&self.dns).0.clone()
    }

    pub(crate) fn origins(&self) -> OriginCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OriginCounts {
            connections: read(&self.connections),
            live: read(&self.live),
            requests: read(&self.requests),
            handshakes: read(&self.handshakes),
            resumed: read(&self.resumed),
            failed_handshakes: read(&self.failed_handshakes),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
        }
    }

    pub(crate) fn route(&self, from: SocketAddr, route: Route) {
        lock(&self.routes).insert(from, route);
    }

    pub(crate) fn unroute(&self, from: SocketAddr) {
        lock(&self.routes).remove(&from);
    }

    /// Logs a request; the fields are turned into text only when somebody asks.
    pub(crate) fn request(&self, parts: &Arc<Parts>, link: &Arc<Link>) {
        add(&self.requests, 1);
        link.route.get_or_init(|| {
            let known = lock(&self.routes).get(&link.peer).copied();
            known.unwrap_or(Route { client: link.peer, dialled: link.local })
        });
        let mut seen = lock(&self.seen);
        if seen.len() == SEEN {
            seen.pop_front();
        }
        seen.push_back((Arc::clone(parts), Arc::clone(link)));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen: Vec<_> = lock(&self.seen).iter().cloned().collect();
        seen.iter().map(|(parts, link)| Seen::new(parts, link)).collect()
    }

    pub(crate) fn complain(&self, complaint: Complaint) {
        let mut complaints = lock(&self.complaints);
        if complaints.len() < SEEN {
            complaints.push(complaint);
        }
    }

    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        lock(&self.complaints).clone()
    }

    pub(crate) fn reset(&self) {
        *lock(&self.dns) = Default::default();
        lock(&self.seen).clear();
        lock(&self.complaints).clear();
        for counter in [
            &self.connections,
            &self.requests,
            &self.handshakes,
            &self.resumed,
            &self.failed_handshakes,
            &self.bytes_in,
            &self.bytes_out,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Seen {
    fn new(parts: &Parts, link: &Link) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let place = parts.extensions.get::<Place>();
        let route = link.route.get().copied().unwrap_or(Route { client: link.peer, dialled: link.local });
        Seen {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            host: host(parts),
            sni: link.sni.clone(),
            dialled: route.dialled,
            client: route.client,
            origin: link.origin.to_owned(),
            certificate: link.certificate,
            client_certificate: link.client.clone(),
            resumed: link.resumed,
            protocol: format!("{:?}", parts.version),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            stream: place.map(|place| place.stream),
            turned_away: place.is_some_and(|place| place.turned_away),
        }
    }
}

/// The host a request names: the `Host` field, or HTTP/2's `:authority`.
pub(crate) fn host(parts: &Parts) -> Option<String> {
    let field = parts.headers.get(http::header::HOST);
    let field = field.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    field.or_else(|| parts.uri.authority().map(ToString::to_string))
}
