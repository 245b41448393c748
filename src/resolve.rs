//! From names to addresses: at init, and again only when every address of a host has failed.
//!
//! It owns the queries to name servers (through hickory-resolver), their spacing, the single flight of a
//! process, and the failure cache. Names are absolute: no search list, one query per family and try. It
//! never asks a public resolver and never returns an address that the policy refuses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin as Pinned;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ConnectionProvider, PoolContext, Resolver};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::config::{Config, FAILED_LOOKUP_ROUNDS, Family, LOOKUP_BACKOFF, LOOKUP_FAILED_FOR, LOOKUP_SHARED_FOR};
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Counters;
use crate::pin_set::{Pin, PinSet};
use crate::pins::MAX_ADDRESSES;
use crate::policy::AddressPolicy;
use crate::process::PerProcess;
use crate::retry::full_jitter;

/// The longest chain of aliases that is followed, within one answer as over several (hickory's own limit for these).
const MAX_ALIASES: usize = 8;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What a look-up depends on; equal ones share a flight.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Query {
    host: Box<str>,
    family: u8,
    servers: Arc<[SocketAddr]>,
}

/// The look-ups of a process that are under way or have just ended.
#[derive(Default)]
struct Flights(Mutex<HashMap<Query, Arc<Flight>>>);

/// One look-up.
#[derive(Default)]
struct Flight {
    /// Held while one client asks; the others wait for it and then read what it found.
    landed: tokio::sync::Mutex<Option<Landed>>,
    /// Why it has not landed yet, for those whose time is over while they wait.
    trouble: Mutex<Option<Error>>,
}

/// What a look-up found.
struct Landed {
    found: Result<Pin>,
    at: Instant,
    until: Instant,
}

fn flights() -> Result<&'static Flights> {
    static FLIGHTS: PerProcess<Flights> = PerProcess::new();
    FLIGHTS.find_or(|| Ok(Flights::default()))
}

impl Flights {
    fn of(&self, query: &Query) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Each time the table has doubled: looking through it for every new name would be quadratic.
        if flights.len() >= 64 && flights.len().is_power_of_two() && !flights.contains_key(query) {
            // What nobody waits for and nobody may read any more is dropped here, so the table stays small.
            let now = Instant::now();
            flights.retain(|_, flight| {
                Arc::strong_count(flight) > 1
                    || flight
                        .landed
                        .try_lock()
                        .is_ok_and(|landed| landed.as_ref().is_some_and(|landed| landed.until > now))
            });
        }
        Arc::clone(flights.entry(query.clone()).or_default())
    }
}

/// Resolves names for one client.
pub(crate) struct Lookup {
    /// Those that were given by hand, or the system's, which are read for the first name that is asked for.
    servers: OnceLock<Arc<[SocketAddr]>>,
    /// The system's resolver may be asked where name servers were not given by hand.
    ask_system: bool,
    family: Family,
    policy: AddressPolicy,
    attempt_timeout: Duration,
    timeout: Duration,
    jitter: Duration,
    concurrency: usize,
    counters: Arc<Counters>,
}

/// What one round over the name servers ended with.
enum Round {
    Found(Pin),
    /// The name has no address; asking again is no use.
    Final(Error),
    /// Some server failed; another round may help.
    Failed(Error),
    Silent(Error),
}

impl Lookup {
    pub(crate) fn new(config: &Config, counters: Arc<Counters>) -> Lookup {
        let given = &config.nameservers.0;
        let servers = if given.is_empty() { OnceLock::new() } else { OnceLock::from(Arc::from(&**given)) };
        Lookup {
            servers,
            ask_system: given.is_empty(),
            family: config.address_family,
            policy: AddressPolicy::new(config.allow_addresses.0.clone()),
            attempt_timeout: config.resolve_attempt_timeout,
            timeout: config.resolve_timeout,
            jitter: config.resolve_jitter,
            concurrency: config.resolve_concurrency,
            counters,
        }
    }

    fn servers(&self) -> &Arc<[SocketAddr]> {
        self.servers.get_or_init(|| system_servers(Path::new(RESOLV_CONF)).into())
    }

    /// Resolves all names, a few at once. Fails with one error that lists every name without an address.
    pub(crate) async fn all(self: Arc<Self>, hosts: Vec<Box<str>>) -> Result<PinSet> {
        let deadline = Instant::now() + self.timeout;
        // A sleep of nothing lasts until the next tick of the runtime's clock.
        if !hosts.is_empty() && !self.jitter.is_zero() {
            tokio::time::sleep(full_jitter(self.jitter, fastrand::f64())).await;
        }
        // A task exists only while its name is looked up: ten thousand that wait would cost as much as all answers.
        let mut hosts = hosts.into_iter();
        let mut lookups = JoinSet::new();
        let mut begin = |lookups: &mut JoinSet<_>| {
            if let Some(host) = hosts.next() {
                let lookup = Arc::clone(&self);
                lookups.spawn(async move {
                    let found = lookup.one(&host, None, deadline).await;
                    (host, found)
                });
            }
        };
        for _ in 0..self.concurrency {
            begin(&mut lookups);
        }
        let mut set = PinSet::default();
        let mut failures = Vec::new();
        while let Some(joined) = lookups.join_next().await {
            begin(&mut lookups);
            match joined {
                Ok((host, Ok(pin))) => set.insert(&host, pin)?,
                Ok((host, Err(error))) => failures.push((host, error)),
                Err(_) => return Err(Error::new(Reason::Internal, Phase::Resolve, "a look-up panicked")),
            }
        }
        failures.sort_by(|one, other| one.0.cmp(&other.0));
        match failures.len() {
            0 => Ok(set),
            1 => Err(failures.remove(0).1),
            many => {
                let first = &failures[0].1;
                let list = failures
                    .iter()
                    .map(|(host, error)| format!("{host} ({})", error.reason().as_str()))
                    .collect::<Vec<_>>()
                    .join(", ");
                Err(Error::new(first.reason(), Phase::Resolve, format!("{many} hosts did not resolve: {list}")))
            }
        }
    }

    /// The pins of names that no server is asked for, where all of them are such and may be used.
    pub(crate) fn without_asking(&self, hosts: &[Box<str>]) -> Option<PinSet> {
        let mut set = PinSet::default();
        for host in hosts {
            set.insert(host, self.evident(host)?.ok()?).ok()?;
        }
        Some(set)
    }

    /// What a name itself tells: an address, or that it is this machine.
    fn evident(&self, host: &str) -> Option<Result<Pin>> {
        let address = match host.parse::<IpAddr>() {
            Ok(address) => address,
            // RFC 6761 6.3: never a question for a name server.
            Err(_) if host == "localhost" || host.ends_with(".localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Err(_) => return None,
        };
        Some(self.allowed(host, Pin::by_hand(vec![address], PinSet::now())))
    }

    /// Resolves one name, or reads what this process has found out a moment ago.
    /// What was found before `since` is of no use: those addresses have failed since.
    pub(crate) async fn one(&self, host: &str, since: Option<Instant>, deadline: Instant) -> Result<Pin> {
        if let Some(evident) = self.evident(host) {
            return evident;
        }
        let query = Query { host: host.into(), family: self.family as u8, servers: Arc::clone(self.servers()) };
        let flight = flights()?.of(&query);
        let late = || {
            let trouble = flight.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            let silent = || Error::new(Reason::DnsTimeout, Phase::Resolve, "no name server answered in time");
            trouble.unwrap_or_else(silent).with_host(host).with_budget("resolve_timeout", self.timeout)
        };
        let landed = tokio::time::timeout_at(deadline.into(), async {
            let mut landed = flight.landed.lock().await;
            if let Some(landed) = &*landed
                && landed.until > Instant::now()
                && since.is_none_or(|since| landed.at > since)
            {
                return landed.found.clone();
            }
            let found =
                self.ask(host, &flight.trouble, deadline).instrument(tracing::debug_span!("resolve", host)).await;
            let keep = match &found {
                Ok(pin) => {
                    Duration::from_secs(pin.ttl.unwrap_or(0).into()).clamp(LOOKUP_SHARED_FOR.0, LOOKUP_SHARED_FOR.1)
                }
                Err(_) => LOOKUP_FAILED_FOR,
            };
            let at = Instant::now();
            *landed = Some(Landed { found: found.clone(), at, until: at + keep });
            found
        })
        .await;
        // The policy is this client's, the flight is the process's: so it is applied to every reader.
        self.allowed(host, landed.unwrap_or_else(|_| Err(late()))?)
    }

    fn allowed(&self, host: &str, mut pin: Pin) -> Result<Pin> {
        let refused = self.policy.first_refused(&pin.addresses);
        pin.addresses.retain(|&address| self.policy.refused(address).is_none());
        match refused {
            Some((address, range)) if pin.addresses.is_empty() => Err(Error::new(
                Reason::PolicyAddress,
                Phase::Resolve,
                format!("it resolves to {address}, which is in a refused range ({range})"),
            )
            .with_host(host)),
            _ => Ok(pin),
        }
    }

    /// Asks round after round until there is an answer or the time is over.
    async fn ask(&self, host: &str, trouble: &Mutex<Option<Error>>, deadline: Instant) -> Result<Pin> {
        let note = |error| *trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = error;
        note(None);
        let mut failed_rounds = 0;
        for round in 0.. {
            let error = match self.round(host, deadline).await {
                Round::Found(pin) => return Ok(pin),
                Round::Final(error) => return Err(error.with_host(host)),
                Round::Failed(error) => {
                    failed_rounds += 1;
                    note(Some(error.clone()));
                    error
                }
                Round::Silent(error) => error,
            };
            let ceiling = LOOKUP_BACKOFF.0.saturating_mul(1 << round.min(8)).min(LOOKUP_BACKOFF.1);
            let pause = full_jitter(ceiling, fastrand::f64());
            if failed_rounds == FAILED_LOOKUP_ROUNDS || Instant::now() + pause >= deadline {
                return match self.ask_system(host, deadline).await {
                    Some(pin) => Ok(pin),
                    None => Err(error.with_host(host)),
                };
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop above has no end of its own")
    }

    /// Asks each name server once, until one answers.
    async fn round(&self, host: &str, deadline: Instant) -> Round {
        let mut worst = Round::Silent(Error::new(Reason::DnsTimeout, Phase::Resolve, "no name server answered"));
        if self.servers().is_empty() {
            return Round::Final(Error::new(
                Reason::ConfigNoResolver,
                Phase::Resolve,
                format!("{RESOLV_CONF} names no server and none was given"),
            ));
        }
        for &server in &**self.servers() {
            match self.query(server, host, deadline).await {
                Ok(pin) => return Round::Found(pin),
                Err(error) => match error.reason() {
                    Reason::DnsNxDomain | Reason::DnsNoData | Reason::DnsAliasLimit | Reason::ConfigInput => {
                        return Round::Final(error);
                    }
                    Reason::DnsTimeout => {}
                    _ => worst = Round::Failed(error),
                },
            }
        }
        match worst {
            // A server that refuses by policy will refuse again.
            Round::Failed(error) if error.reason() == Reason::DnsRefused => Round::Final(error),
            other => other,
        }
    }

    async fn query(&self, server: SocketAddr, host: &str, deadline: Instant) -> Result<Pin> {
        let kinds: &[RecordType] = match self.family {
            Family::Ipv4 => &[RecordType::A],
            Family::Ipv6 => &[RecordType::AAAA],
            Family::Both => &[RecordType::A, RecordType::AAAA],
        };
        let mut name =
            Name::from_ascii(host).map_err(|error| Error::input(format!("{host:?} is no domain name: {error}")))?;
        name.set_fqdn(true);
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = self.attempt_timeout.min(left);
        let resolver = resolver(server, timeout)?;
        let mut found = Pin { resolver: server.to_string(), ..Pin::by_hand(Vec::new(), PinSet::now()) };
        let mut missing = None;
        for &kind in kinds {
            self.counters.lookups_dns.one();
            match resolver.lookup(name.clone(), kind).await {
                Ok(answer) => {
                    let aliases = answer.answers().iter().filter(|record| matches!(record.data, RData::CNAME(_)));
                    if aliases.count() > MAX_ALIASES {
                        let detail = format!("its chain of aliases is longer than {MAX_ALIASES}");
                        return Err(Error::new(Reason::DnsAliasLimit, Phase::Resolve, detail));
                    }
                    for record in answer.answers() {
                        let address = match &record.data {
                            RData::A(a) => IpAddr::V4(a.0),
                            RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                            _ => continue,
                        };
                        found.ttl = Some(found.ttl.map_or(record.ttl, |least| least.min(record.ttl)));
                        if found.addresses.len() < MAX_ADDRESSES && !found.addresses.contains(&address) {
                            found.addresses.push(address);
                        }
                    }
                }
                Err(error) => missing = Some(classify(&error, &name)),
            }
        }
        if found.addresses.is_empty() {
            let nothing = (Reason::DnsNoData, "the name has no address of the wanted family".to_owned());
            let (reason, detail) = missing.unwrap_or(nothing);
            return Err(Error::new(reason, Phase::Resolve, format!("{detail} (server {server})")));
        }
        Ok(found)
    }

    /// The last resort where UDP port 53 is closed but the host's own resolver works: `getaddrinfo`.
    async fn ask_system(&self, host: &str, deadline: Instant) -> Option<Pin> {
        if !self.ask_system {
            return None;
        }
        self.counters.lookups_system.one();
        let absolute = format!("{host}.");
        let family = self.family;
        let asked = tokio::task::spawn_blocking(move || (absolute.as_str(), 0).to_socket_addrs().map(Vec::from_iter));
        // It has its own time-outs, which nobody can shorten: beyond ours its thread is left alone.
        let grace = deadline.max(Instant::now() + self.attempt_timeout);
        let addresses = tokio::time::timeout_at(grace.into(), asked).await.ok()?.ok()?.ok()?;
        let addresses: Vec<IpAddr> = addresses
            .into_iter()
            .map(|address: SocketAddr| address.ip())
            .filter(|address| match family {
                Family::Ipv4 => address.is_ipv4(),
                Family::Ipv6 => address.is_ipv6(),
                Family::Both => true,
            })
            .take(MAX_ADDRESSES)
            .collect();
        let now = PinSet::now();
        (!addresses.is_empty()).then(|| Pin { resolver: "getaddrinfo".to_owned(), ..Pin::by_hand(addresses, now) })
    }
}

/// The servers of resolv.conf; none where the file is missing or names none.
fn system_servers(path: &Path) -> Vec<SocketAddr> {
    let Ok(text) = std::fs::read(path) else {
        return Vec::new();
    };
    let Ok((config, _)) = hickory_resolver::system_conf::parse_resolv_conf(text) else {
        return Vec::new();
    };
    config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect()
}

/// A resolver for one query: a new source port each time (RFC 5452), TCP after truncation, nothing cached or repeated.
fn resolver(server: SocketAddr, timeout: Duration) -> Result<Resolver<OneTry>> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let servers = vec![NameServerConfig::new(server.ip(), true, connections.into())];
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.attempts = 0;
    options.edns0 = false;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.num_concurrent_reqs = 1;
    options.case_randomization = true;
    Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), OneTry::default())
        .with_options(options)
        .build()
        .map_err(|error| Error::new(Reason::Internal, Phase::Resolve, format!("the resolver can't be built: {error}")))
}

/// hickory's connections, less its own repetition of UDP queries: under a query limit every repetition makes it worse.
#[derive(Clone, Default)]
struct OneTry(TokioRuntimeProvider);

impl ConnectionProvider for OneTry {
    type Conn = DnsExchange<TokioRuntimeProvider>;
    type FutureConn = Pinned<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        if !matches!(config.protocol, ProtocolConfig::Udp) {
            return self.0.new_connection(ip, config, cx);
        }
        let stream = UdpClientStream::builder(SocketAddr::new(ip, config.port), self.0.clone())
            .with_timeout(Some(cx.options.timeout))
            .with_max_retries(1)
            .with_bind_addr(config.bind_addr);
        Ok(Box::pin(async move { Ok(stream.exchange()) }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.0
    }
}

fn classify(error: &NetError, asked: &Name) -> (Reason, String) {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { query, response_code, .. })) => {
            if query.name() != asked {
                (Reason::DnsAliasLimit, "its chain of aliases ends nowhere or is too long".to_owned())
            } else if *response_code == ResponseCode::NXDomain {
                (Reason::DnsNxDomain, "the name does not exist".to_owned())
            } else {
                (Reason::DnsNoData, "the name has no address of the wanted family".to_owned())
            }
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            (Reason::DnsServFail, "the name server failed (SERVFAIL)".to_owned())
        }
        NetError::Dns(DnsError::ResponseCode(
            code @ (ResponseCode::Refused | ResponseCode::NotImp | ResponseCode::FormErr),
        )) => (Reason::DnsRefused, format!("the name server refused ({code})")),
        NetError::Timeout => (Reason::DnsTimeout, "no answer".to_owned()),
        NetError::Io(error) => (Reason::DnsTimeout, format!("the name server is out of reach: {error}")),
        other => (Reason::DnsProtocol, format!("the name server's answer can't be used: {other}")),
    }
}
