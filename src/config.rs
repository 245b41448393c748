//! Every option: its name, type, default, range and reason, in one table; and [`Builder`], which sets them.
//!
//! Each bound of each wait in this library stands here. The names are the same in Rust, in Java, in
//! Python and as `pinlink.*` properties; `tests/parity/options.toml` is the table that all of them are
//! held against. Values cross languages as text and are parsed here, once. No I/O, no clock.

use std::time::Duration;

use crate::error::{Error, Phase, Reason, Result};
use crate::origin::Origin;
use crate::pin_set::PinSet;
use crate::proxy::OptionalProxy;
pub use crate::value::{ByteSize, Family, IntoValue, Protocol, Summary};
use crate::value::{
    ConnectTo, HeaderText, NameMap, NameServers, Names, Networks, OptionalCount, OptionalPath, Origins, Pins, Value,
};

/// The prefix of options in `Properties`, Spark configuration (`spark.pinlink.*`) and the like.
pub const PROPERTY_PREFIX: &str = "pinlink.";

/// The longest wait in the kernel, and the receive time-out of every socket: after it the caller's loop looks at deadlines
/// and interrupts again. An interrupt ends a call within 50 ms: a kernel that ticks a hundred times a second makes 30 of
/// these, and a busy machine adds its own. Too long to cost anything.
pub(crate) const SLICE: Duration = Duration::from_millis(20);
/// How long an answer of DNS serves other clients of the process: its TTL within these bounds. A TTL of 0 never means a
/// query for every client, and no answer is shared for longer than a failover may take.
pub(crate) const LOOKUP_SHARED_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a failed look-up serves other clients of the process, so that they don't all ask again.
pub(crate) const LOOKUP_FAILED_FOR: Duration = Duration::from_secs(1);
/// Ceilings of the waits between rounds over the name servers, doubling; each wait is drawn from zero up to it, so that
/// hundreds of workers whose queries were dropped together don't ask again together.
pub(crate) const LOOKUP_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// Rounds in which some server answered, if only with a failure. Silence is asked again until `resolve_timeout`.
pub(crate) const FAILED_LOOKUP_ROUNDS: u32 = 5;
/// At most one look-up after init per host in this time, however many dials fail.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// Such a look-up begins within this time, at random.
pub(crate) const REFRESH_JITTER: Duration = Duration::from_millis(500);
/// How much earlier than a `Keep-Alive: timeout=` announces an idle connection is given up; half of it where that is less.
pub(crate) const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// How long a request that asks before it sends its body waits for the answer (RFC 9110 10.1.1: not indefinitely).
pub(crate) const EXPECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was alive after less idle time than this teaches nothing about a cut-off.
pub(crate) const LEAST_TELLING_IDLE: Duration = Duration::from_millis(100);
/// How often idle connections are looked at: a quarter of `max_idle` within these bounds. A death is noticed within a
/// second, which tells when the far side cuts off, and costs one system call for each idle connection.
pub(crate) const REAP_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A thread that calls again so soon after its last call may keep its turn while others wait: as long as handing it over takes.
pub(crate) const COMES_BACK_WITHIN: Duration = Duration::from_micros(50);
/// How long such a streak of calls lasts. Most services take longer for one call: there every turn is handed over.
pub(crate) const STREAK_LASTS: Duration = Duration::from_millis(1);
/// How long a turn is kept for a thread that does not come back after all, and how often that is looked at: twice this is
/// the longest that it is kept from those who wait.
pub(crate) const KEPT_FOR: Duration = Duration::from_millis(1);
/// How long nobody tries again where an HTTP/2 connection allows no stream at all: servers do so while they drain.
pub(crate) const SHUT_FOR: Duration = Duration::from_millis(100);
/// How much earlier than a target forgets a key nothing is sent under it again: a tenth of its memory, at most this. It is
/// the time that a request may take on its way.
pub(crate) const FORGOTTEN_MARGIN: Duration = Duration::from_secs(60);
/// Refusals of two origins within this time say that what lies on the way to both is full.
pub(crate) const SAME_CROWD: Duration = Duration::from_secs(2);
/// How long the least time to an answer on a fresh connection counts, against which queues are recognised.
pub(crate) const LEAST_WAIT_FOR: Duration = Duration::from_secs(60);

/// One row of the table of options.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OptionSpec {
    /// The name everywhere.
    pub name: &'static str,
    /// `count`, `duration`, `size`, `flag`, `text`, `path`, `choice`, or a `list of …`.
    pub kind: &'static str,
    /// The default as text; empty means unset.
    pub default: &'static str,
    /// The least value, as text; empty where there is no order.
    pub min: &'static str,
    /// The greatest value, as text.
    pub max: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}

macro_rules! options {
    ($($name:ident: $type:ty = $default:literal, $min:literal ..= $max:literal, $doc:literal, $reason:literal;)+) => {
        /// The table of options, in the order of the README.
        pub const OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            name: stringify!($name),
            kind: <$type as Value>::KIND,
            default: $default,
            min: $min,
            max: $max,
            doc: $doc,
            reason: $reason,
        },)+];

        /// All options, typed and within their ranges.
        #[derive(Clone, Debug)]
        pub(crate) struct Config {
            $(pub(crate) $name: $type,)+
            /// A pin set handed over in memory; `pin_set` is the file.
            pub(crate) imported: Option<PinSet>,
        }

        impl Default for Config {
            fn default() -> Config {
                Config {
                    $($name: <$type as Value>::read($default).expect("a default of the table is well-formed"),)+
                    imported: None,
                }
            }
        }

        impl Config {
            /// Sets one option from text.
            fn set(&mut self, name: &str, text: &str) -> Result<()> {
                match name {
                    $(stringify!($name) => {
                        let value = <$type as Value>::read(text).map_err(|detail| invalid(name, &detail))?;
                        self.$name = ranged(name, value, $min, $max)?;
                    })+
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }
        }

        impl Builder {
            $(
                #[doc = $doc]
                #[doc = ""]
                #[doc = concat!("Default `", $default, "`, range `", $min, "` to `", $max, "` (empty: unset, no range). ", $reason)]
                #[must_use]
                pub fn $name(mut self, value: impl IntoValue<$type>) -> Builder {
                    let value = value
                        .into_value()
                        .map_err(|detail| invalid(stringify!($name), &detail))
                        .and_then(|value| ranged(stringify!($name), value, $min, $max));
                    match value {
                        Ok(value) => self.config.$name = value,
                        Err(error) => self.invalid = self.invalid.or(Some(error)),
                    }
                    self
                }
            )+
        }
    };
}

options! {
    hosts: Origins = "", "" ..= "",
        "The declared origins: `https://host[:port]`, `http://…`, `tcp://host:port`, a bare host for HTTPS, or a wildcard `https://*.suffix`. Only these are reachable.",
        "An egress allow-list, and the list of names to resolve at init.";
    pins: Pins = "", "" ..= "",
        "Addresses fixed by hand, `host=address|address`; they win over every other source and are never looked up.",
        "A target whose address is known needs no DNS at all.";
    pin_set: OptionalPath = "", "" ..= "",
        "The file of a pin set, written by `pinlink resolve` or by another client.",
        "Ten thousand workers start without one query.";
    hosts_file: OptionalPath = "", "" ..= "",
        "A file in the form of /etc/hosts whose names are pinned as in a pin set.",
        "Clusters (HDFS, HBase) often come with one.";
    nameservers: NameServers = "", "" ..= "",
        "Name servers as `address[:port]`, asked in this order.",
        "Unset: those of /etc/resolv.conf. Public resolvers are never asked, they are out of reach in a job.";
    address_family: Family = "ipv4", "" ..= "",
        "Which addresses to look up: `ipv4`, `ipv6` or `both`.",
        "MaxCompute's network carries IPv4 only; a second query would double the load on its DNS.";
    resolve_timeout: Duration = "30s", "10ms" ..= "10m",
        "How long the whole of init may take to resolve every declared host.",
        "A name server that drops queries above 20 a second needs 10 s for 200 workers.";
    resolve_attempt_timeout: Duration = "3s", "10ms" ..= "1m",
        "How long one query waits for its answer before the next server or try.",
        "Slow forwarders take two seconds; a lost packet never comes.";
    resolve_jitter: Duration = "0ms", "0ms" ..= "1m",
        "Init waits a random part of this before its first query.",
        "One process needs none; a job of a thousand workers sets some seconds.";
    resolve_concurrency: usize = "32", "1" ..= "64",
        "How many names are looked up at once.",
        "Fifty names of a slow resolver take two answers' time; hickory takes 32 per connection.";
    sideline: Duration = "30s", "100ms" ..= "10m",
        "How long an address that failed is tried after all others.",
        "Long enough to spare each call the wait, short enough to notice a repair.";
    allow_addresses: Networks = "", "" ..= "",
        "Networks (CIDR) that may be dialled although they lie in a refused range: loopback, link-local, metadata (100.100.100.200 too), unspecified, multicast.",
        "A name that resolves there is an attack or a mistake, unless it is meant.";
    connect_to: ConnectTo = "", "" ..= "",
        "Dial another host for an origin, `host:port:host:port` as curl has it; SNI, `Host` and the certificate check keep the first name.",
        "Reaches a target through an nginx or a load balancer of the VPC.";
    sni: NameMap = "", "" ..= "",
        "Another TLS server name for a host, `host=name`; it is sent as SNI and the certificate is checked for it.",
        "For targets whose certificate has another name than their URL.";
    host_header: NameMap = "", "" ..= "",
        "Another `Host` header for a host, `host=value`.",
        "For gateways that route by it.";
    proxy: OptionalProxy = "", "" ..= "",
        "An explicit proxy through which every target is reached, `http://[user:password@]host[:port]` (CONNECT) or `socks5://…`; it is asked for the pinned address, and its own host is resolved at init. Port 1080 where none is given, as in curl.",
        "Networks without a way of their own. The environment's variables are never read: a job's machine may have set any.";
    ca_file: OptionalPath = "", "" ..= "",
        "A PEM file of CA certificates to trust beside the bundled web roots.",
        "Private services have private CAs.";
    web_roots: bool = "true", "" ..= "",
        "Whether to trust the bundled web roots (Mozilla's list).",
        "A job's machine may have none of its own.";
    system_roots: bool = "false", "" ..= "",
        "Whether to trust the machine's own roots too.",
        "They differ from worker to worker.";
    danger_accept_any_certificate: bool = "false", "" ..= "",
        "Turns certificate verification off. Every client built with it warns.",
        "Never right in production.";
    client_cert: OptionalPath = "", "" ..= "",
        "A PEM file with the client's certificate chain, for targets that ask for one.",
        "Mutual TLS is how some private services know their callers.";
    client_key: OptionalPath = "", "" ..= "",
        "A PEM file with the key of `client_cert`, without a passphrase; unset where that file holds both.",
        "There is nobody to type a passphrase.";
    alpn: Names = "", "" ..= "",
        "The protocols offered (ALPN, RFC 7301) by `connect_tls`; HTTP has its own.",
        "Some databases and gateways choose by it.";
    max_connections: usize = "32", "1" ..= "10000",
        "The cap on live connections of this client, all origins together.",
        "The platform's proxy has little forwarding capacity; its documentation asks for few connections.";
    max_connections_per_origin: usize = "8", "1" ..= "10000",
        "The cap on live connections to one origin.",
        "Eight keep two cores busy; more only queue in the proxy.";
    job_connections: OptionalCount = "", "1" ..= "1000000",
        "The cap of the whole job: each of `workers` takes its share, at least one connection.",
        "Thousands of processes that can't talk to each other share one proxy.";
    workers: usize = "1", "1" ..= "1000000",
        "How many processes the job has.",
        "Divides `job_connections`.";
    max_waiting: usize = "1024", "0" ..= "100000",
        "How many callers may wait for a connection to one origin; one more fails at once.",
        "Nothing queues without end.";
    prewarm: usize = "0", "0" ..= "1000",
        "How many connections to each declared origin are made at init, in their order, as far as `max_connections` reaches.",
        "Connections are made when they are needed.";
    timeout: Duration = "30s", "1ms" ..= "1h",
        "The total deadline of a call: queue, dial, send, answer and retries.",
        "A UDF's batch must end within odps.function.timeout, by default 600 s for 1024 rows.";
    connect_timeout: Duration = "5s", "1ms" ..= "5m",
        "How long dialling may take, over all addresses.",
        "Two lost SYNs (1 s, 3 s) are survived.";
    handshake_timeout: Duration = "5s", "1ms" ..= "5m",
        "How long a TLS handshake may take.",
        "Two round trips and a slow signature are far below it.";
    acquire_timeout: Duration = "10s", "1ms" ..= "1h",
        "How long a call waits for a connection.",
        "Longer means the cap is too low for the load.";
    stall_timeout: Duration = "15s", "1ms" ..= "1h",
        "A call ends when less than `min_progress` moved for this long.",
        "A dead peer sends nothing; a slow one sends something.";
    min_progress: ByteSize = "1B", "1B" ..= "1GiB",
        "How much must move, in either direction, within each `stall_timeout`.",
        "A dead peer moves nothing; raise it against peers that drip on purpose.";
    race_stagger: Duration = "250ms", "1ms" ..= "10s",
        "After this long without an answer the next address is dialled as well (RFC 8305 section 5).",
        "One dead address costs a quarter of a second, once.";
    keep_alive: Duration = "30s", "1s" ..= "2h",
        "When TCP keep-alive probes begin on a silent connection, and HTTP/2 sends a PING.",
        "Below the idle limit of most proxies and NAT tables (60 s).";
    max_idle: Duration = "50s", "10ms" ..= "1h",
        "An idle connection is closed after this long.",
        "Most proxies drop at 60 s; closing first costs nothing.";
    max_age: Duration = "10m", "10ms" ..= "24h",
        "A connection is not reused after this long, less up to a tenth at random.",
        "Spreads load again when the target scales.";
    max_attempts: usize = "3", "1" ..= "10",
        "How often a request that may be repeated is sent at most.",
        "A third failure in a row is no accident.";
    retry_budget: usize = "20", "0" ..= "10000",
        "How many retries each origin may save up; each request adds a fifth of one.",
        "Retries stay below a fifth of the load, whatever fails.";
    remembered_keys: usize = "16384", "0" ..= "1000000",
        "How many writes are remembered, so that no key goes out with two bodies or after its target has forgotten it; the oldest is dropped.",
        "About 100 bytes each, 1.6 MB when full; a batch of a UDF has 1024 rows.";
    max_spool: ByteSize = "1MiB", "0B" ..= "1GiB",
        "A write's body that can be read once is kept up to this size, so that it can be sent again; a longer one is sent once.",
        "Most rows fit; the memory is held for as long as the write takes.";
    backoff_base: Duration = "50ms", "1ms" ..= "1m",
        "The ceiling of the first wait between tries; it doubles, and each wait is drawn from zero up to it.",
        "Full jitter spreads a thousand workers best.";
    backoff_max: Duration = "2s", "1ms" ..= "10m",
        "The greatest ceiling of a wait between tries.",
        "A call has 30 s.";
    max_redirects: usize = "0", "0" ..= "20",
        "How many redirects a GET or HEAD follows, within the declared hosts; 0 hands them to the caller. Credentials never go to another origin, and nothing follows from HTTPS to HTTP.",
        "An API that redirects is asked at the wrong URL; following is for downloads.";
    decode: bool = "false", "" ..= "",
        "Whether to ask for compressed answers (gzip, deflate, brotli, zstd) and decode them, within `max_body` and a hundredfold of what came.",
        "Rows are small; where answers are large and text, it saves the proxy's bandwidth.";
    max_headers: ByteSize = "64KiB", "8KiB" ..= "1MiB",
        "The greatest header section of an answer.",
        "Real ones are below 16 KiB.";
    max_header_count: usize = "100", "1" ..= "1000",
        "The most header fields of an answer.",
        "Real ones have below 50.";
    max_interim: usize = "32", "0" ..= "1000",
        "The most interim (1xx) answers before the answer.",
        "A flood of them would cost memory and time without end.";
    max_body: ByteSize = "64MiB", "0B" ..= "2GiB",
        "The greatest body of a buffered answer.",
        "A UDF has 1 GiB in all.";
    max_error_body: ByteSize = "64KiB", "0B" ..= "2GiB",
        "How much is kept of the body of a buffered answer with a status of 400 or more; a longer one is cut, and says so.",
        "An explanation is short; a page of HTML for every row fills memory and logs.";
    protocol: Protocol = "auto", "" ..= "",
        "`http1`; `http2`: wherever a target agrees (ALPN) over TLS, and without asking over plain TCP; or `auto`: HTTP/1.1 for single blocking calls and plain TCP, ALPN for async callers and batches.",
        "One request at a time is fastest where the caller drives its connection; many at once over one connection are as fast as over eight.";
    max_streams: usize = "100", "1" ..= "10000",
        "The most requests at once on one HTTP/2 connection; fewer where the target says so.",
        "What most servers allow (RFC 9113 6.5.2 recommends no less).";
    user_agent: HeaderText = "pinlink/0.1.0", "" ..= "",
        "The `User-Agent` header, where a request has none.",
        "Operators of targets can tell who calls.";
    summary: Summary = "log", "" ..= "",
        "Where the one-line summary goes at close: `log` (a tracing event), `stderr` or `off`.",
        "Authors of UDFs see stderr in Logview, others have a log.";
}

fn invalid(name: &str, detail: &str) -> Error {
    Error::new(Reason::ConfigInput, Phase::Configure, format!("option {name}: {detail}"))
}

fn ranged<T: Value>(name: &str, value: T, min: &str, max: &str) -> Result<T> {
    if value.within(min, max) { Ok(value) } else { Err(invalid(name, &format!("the value is outside {min} to {max}"))) }
}

fn unknown(name: &str) -> Error {
    let nearest = OPTIONS
        .iter()
        .map(|spec| (strsim::osa_distance(spec.name, name), spec.name))
        .min()
        .filter(|(distance, nearest)| *distance <= nearest.len().div_ceil(2));
    let hint = nearest.map(|(_, nearest)| format!("; did you mean {nearest}?")).unwrap_or_default();
    Error::new(Reason::ConfigOption, Phase::Configure, format!("option {name:?} does not exist{hint}"))
}

/// Sets options and builds a [`Client`](crate::Client). Mistakes come back from `build`.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) invalid: Option<Error>,
}

impl Clone for Error {
    fn clone(&self) -> Error {
        self.duplicate()
    }
}

impl Builder {
    /// Sets one option by its name and text, as bindings, properties and files do. The prefix
    /// `pinlink.` is allowed.
    ///
    /// # Errors
    /// At `build`: [`Reason::ConfigOption`] with the nearest known name, [`Reason::ConfigInput`] for the value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Builder {
        let bare = name.strip_prefix(PROPERTY_PREFIX).unwrap_or(name);
        if let Err(error) = self.config.set(bare, value) {
            self.invalid = self.invalid.or(Some(error));
        }
        self
    }

    /// Imports a pin set that is at hand in memory.
    #[must_use]
    pub fn import(mut self, pins: PinSet) -> Builder {
        self.config.imported = Some(match self.config.imported.take() {
            Some(mut earlier) => {
                earlier.merge(pins);
                earlier
            }
            None => pins,
        });
        self
    }

    /// The options, or the first mistake.
    pub(crate) fn finish(self) -> Result<Config> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        let mut config = self.config;
        // A default contradicts nobody: it gives way to what was set.
        let defaults = Config::default();
        if config.connect_timeout == defaults.connect_timeout {
            // Half of a call: a dial that takes all of it would be given up with the call, before it knows which address
            // is dead.
            config.connect_timeout = config.connect_timeout.min(config.timeout / 2);
        }
        if config.backoff_base == defaults.backoff_base {
            config.backoff_base = config.backoff_base.min(config.backoff_max);
        }
        let conflict = |detail: &str| Err(Error::new(Reason::ConfigConflict, Phase::Configure, detail.to_owned()));
        if config.hosts.0.is_empty() {
            return conflict("hosts is empty: nothing would be reachable");
        }
        if config.connect_timeout > config.timeout {
            return conflict("connect_timeout is greater than timeout");
        }
        if config.backoff_base > config.backoff_max {
            return conflict("backoff_base is greater than backoff_max");
        }
        if config.client_key.0.is_some() && config.client_cert.0.is_none() {
            return conflict("client_key is set and client_cert is not");
        }
        if config.prewarm > config.connections_per_origin() {
            return conflict("prewarm is greater than the connections one origin may have");
        }
        if !config.web_roots && !config.system_roots && config.ca_file.0.is_none() && config.hosts.needs_tls() {
            return conflict("web_roots and system_roots are off and there is no ca_file: nothing would be trusted");
        }
        Ok(config)
    }
}

impl Config {
    /// The cap over all origins: the job's share where one is given.
    pub(crate) fn connections(&self) -> usize {
        match self.job_connections.0 {
            Some(job) => self.max_connections.min((job / self.workers).max(1)),
            None => self.max_connections,
        }
    }

    /// The cap of one origin, never above the cap over all.
    pub(crate) fn connections_per_origin(&self) -> usize {
        self.max_connections_per_origin.min(self.connections())
    }

    /// The host and port that are dialled for an origin.
    pub(crate) fn dialled<'a>(&'a self, origin: &'a Origin) -> (&'a str, u16) {
        let detour =
            self.connect_to.0.iter().find(|(host, port, ..)| **host == *origin.host() && *port == origin.port());
        detour.map_or((origin.host(), origin.port()), |(_, _, host, port)| (host, *port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(name: &str, value: &str) -> Option<Reason> {
        Builder::default().hosts(["https://a.example"]).option(name, value).finish().err().map(|error| error.reason())
    }

    #[test]
    fn every_default_is_in_its_own_range() {
        for spec in OPTIONS {
            assert_eq!(
                reason_of(spec.name, if spec.name == "hosts" { "a.example" } else { spec.default }),
                None,
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn values_outside_their_range_or_without_a_unit_are_refused() {
        for (name, value) in [
            ("timeout", "0s"),
            ("timeout", "10"),
            ("timeout", "-1s"),
            ("timeout", "NaNs"),
            ("timeout", "infs"),
            ("timeout", "2h"),
            ("timeout", ""),
            ("timeout", "1e3s"),
            ("max_connections", "0"),
            ("max_connections", "-1"),
            ("max_connections", "1.5"),
            ("max_connections", "99999999999999999999"),
            ("max_body", "10"),
            ("max_body", "99999999999GiB"),
            ("max_headers", "1B"),
            ("system_roots", "yes"),
            ("protocol", "http9"),
            ("nameservers", "dns.example"),
            ("nameservers", "10.0.0.1:0"),
            ("allow_addresses", "10.0.0.0/33"),
            ("pins", "a.example"),
            ("pins", "a.example="),
            ("pins", "a.example=b"),
            ("connect_to", "a:443:b"),
            ("connect_to", "a:443:b:0"),
            ("user_agent", "a\r\nb"),
            ("hosts", "https://a.example:0"),
        ] {
            assert_eq!(reason_of(name, value), Some(Reason::ConfigInput), "{name}={value}");
        }
    }

    #[test]
    fn an_unknown_option_is_answered_with_the_nearest_name() {
        let error = Builder::default().option("max_conections", "1").finish().unwrap_err();
        assert_eq!(error.reason(), Reason::ConfigOption);
        assert!(error.to_string().contains("did you mean max_connections?"), "{error}");
    }

    #[test]
    fn contradictions_are_refused() {
        let host = || Builder::default().hosts(["https://a.example"]);
        for builder in [
            Builder::default(),
            host().timeout(Duration::from_secs(1)).connect_timeout(Duration::from_secs(2)),
            host().backoff_base(Duration::from_secs(3)),
            host().prewarm(9usize),
            host().web_roots(false),
        ] {
            assert_eq!(builder.finish().unwrap_err().reason(), Reason::ConfigConflict);
        }
    }

    #[test]
    fn the_cap_of_a_job_is_split_over_its_workers() {
        let config =
            Builder::default().hosts(["a.example"]).job_connections(100usize).workers(30usize).finish().unwrap();
        assert_eq!((config.connections(), config.connections_per_origin()), (3, 3));
    }

    #[test]
    fn properties_and_setters_reach_the_same_option() {
        let text = Builder::default()
            .hosts(["a.example"])
            .option("pinlink.timeout", "1500ms")
            .option("pinlink.connect_timeout", "1s");
        let typed = Builder::default()
            .hosts(["a.example"])
            .timeout(Duration::from_millis(1500))
            .connect_timeout(Duration::from_secs(1));
        assert_eq!(text.finish().unwrap().timeout, typed.finish().unwrap().timeout);
    }
}
