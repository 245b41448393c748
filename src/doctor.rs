//! What stands between this process and its targets, looked at step by step: [`Diagnosis`].
//!
//! It owns the steps (name, address, TCP, TLS, first answer), their verdicts, and the report of them. It looks with the
//! client's own means, so that what it sees is what calls meet: the same pins, name servers, proxy, trust and bounds.
//! Nothing is written to a target but a `GET /` and the first bytes of PostgreSQL's protocol. It decides nothing about
//! causes (`advice`), and reads nothing of the machine (`environment`).

use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::advice::{Cause, Place, causes};
use crate::blocking::Client;
use crate::config::{Builder, Config, SLICE};
use crate::drive;
use crate::environment::{self, Fact, Verdict};
use crate::error::{Error, Phase, Reason, Result};
use crate::origin::{Origin, Scheme};
use crate::raw::Socket;
use crate::request::Request;
use crate::tls;

/// How many targets are looked at at once, each on a thread of its own.
const AT_ONCE: usize = 8;
/// How many addresses of a target are dialled, one after the other.
const MOST_ADDRESSES: usize = 4;
/// How long a target whose clients speak first may take to say or do something unasked.
const UNASKED: Duration = Duration::from_millis(300);
/// A call takes a day at most; a look at a target less.
const LONGEST: Duration = Duration::from_secs(10);
/// A certificate that ends sooner is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Seconds. Signatures of requests bear 15 minutes; a clock that somebody keeps is not off by one.
const CLOCK_DRIFT: i64 = 60;

/// A target of [`Builder::doctor`]: an origin, or a service by its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    host: Box<str>,
    port: u16,
    speech: Speech,
}

/// Who says what first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http,
    Https,
    /// The server greets.
    Mysql,
    /// The client asks for TLS, and the server answers with one byte.
    Postgres,
    /// The client speaks first, and nothing can be seen without speaking its protocol.
    Silent,
}

/// Schemes, their port where none is given, and who speaks first.
const SCHEMES: &[(&str, u16, Speech)] = &[
    ("https", 443, Speech::Https),
    ("http", 80, Speech::Http),
    ("oss", 443, Speech::Https),
    ("ots", 443, Speech::Https),
    ("kms", 443, Speech::Https),
    ("dlf", 443, Speech::Https),
    ("mysql", 3306, Speech::Mysql),
    ("postgresql", 5432, Speech::Postgres),
    ("hologres", 80, Speech::Postgres),
    ("hdfs", 8020, Speech::Silent),
    ("hbase", 2181, Speech::Silent),
    ("thrift", 9083, Speech::Silent),
    ("tcp", 0, Speech::Silent),
];

impl Target {
    /// Reads `scheme://host[:port]`; a bare host is one for HTTPS.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`] for a scheme that is not known, a malformed host or port, or a path.
    pub fn parse(text: &str) -> Result<Target> {
        let (scheme, authority) = text.split_once("://").unwrap_or(("https", text));
        let known = SCHEMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let &(_, port, speech) = known.ok_or_else(|| {
            let names: Vec<&str> = SCHEMES.iter().map(|(name, ..)| *name).collect();
            Error::input(format!("{scheme:?} is no scheme of a target: {}", names.join(", ")))
        })?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        // An origin has a default port for HTTPS, so that its absence is an error for plain TCP only.
        let origin = match Origin::from_authority(Scheme::Tcp, authority) {
            Ok(origin) => origin,
            Err(_) if port != 0 => Origin::from_authority(Scheme::Tcp, &format!("{authority}:{port}"))?,
            Err(error) => return Err(error),
        };
        if origin.is_wildcard() {
            return Err(Error::input(format!("{authority} stands for many hosts: name one of them")));
        }
        Ok(Target { text: text.to_owned(), host: origin.host().into(), port: origin.port(), speech })
    }

    fn of(origin: &Origin) -> Target {
        let speech = match origin.scheme() {
            Scheme::Http => Speech::Http,
            Scheme::Https => Speech::Https,
            Scheme::Tcp => Speech::Silent,
        };
        Target { text: origin.to_string(), host: origin.host().into(), port: origin.port(), speech }
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        format!("{host}:{}", self.port)
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// The name's addresses: pinned, imported or looked up.
    Name,
    /// Whether such addresses may be dialled.
    Address,
    /// A connection to each address.
    Tcp,
    /// The handshake: SNI, chain, name, dates.
    Tls,
    /// What the service says first, or answers to `GET /`.
    Answer,
}

impl Stage {
    /// Every stage there is, in their order.
    #[doc(hidden)]
    pub const ALL: [Stage; 5] = [Stage::Name, Stage::Address, Stage::Tcp, Stage::Tls, Stage::Answer];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Name => "name",
            Stage::Address => "address",
            Stage::Tcp => "tcp",
            Stage::Tls => "tls",
            Stage::Answer => "answer",
        }
    }
}

/// One step towards a target.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What was looked at.
    pub stage: Stage,
    /// How it went.
    pub verdict: Verdict,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub took: Duration,
    /// The failure's name, as `Connect.Timeout`; nothing where it went well.
    #[serde(serialize_with = "name_of")]
    pub reason: Option<Reason>,
    /// What was seen, one line.
    pub detail: String,
    /// What is probably missing, the most probable first.
    pub causes: &'static [Cause],
}

impl Step {
    fn panicked() -> Step {
        let detail = "the look at it panicked".to_owned();
        let reason = Some(Reason::Internal);
        Step { stage: Stage::Name, verdict: Verdict::Failed, took: Duration::ZERO, reason, detail, causes: &[] }
    }
}

fn milliseconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e3)
}

fn name_of<S: serde::Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::as_str).serialize(serializer)
}

/// The way to one target.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// The target as it was given.
    pub target: String,
    /// The steps, up to the first that failed.
    pub steps: Vec<Step>,
}

impl Examination {
    /// Whether every step went well, perhaps with a warning.
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.verdict != Verdict::Failed)
    }
}

/// What a look at targets and machine has found. Displayed it is a table of plain text; it holds hosts, addresses and names of
/// failures, and nothing that is secret.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The targets, in the order given.
    pub targets: Vec<Examination>,
    /// The machine, as far as it matters.
    pub environment: Vec<Fact>,
}

impl Diagnosis {
    /// Whether all targets are reachable.
    pub fn is_well(&self) -> bool {
        self.targets.iter().all(Examination::is_well)
    }

    /// The report as JSON: `targets` and `environment`, with the names of this type's fields.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Builder {
    /// Looks at the way to each of `targets`, with these options: what a client with them would meet.
    ///
    /// Without a target it looks at the machine alone. It takes at most some tens of seconds for eight targets, as the
    /// options' bounds let it: `resolve_timeout`, `connect_timeout` for each address, `handshake_timeout`, `timeout`, each
    /// cut to 10 s. Let one process look, not a thousand: MySQL counts who leaves before logging in, and after
    /// `max_connect_errors` of them it blocks the host (error 1129).
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) for a mistake in the options, [`Kind::Canceled`](crate::Kind::Canceled)
    /// where the caller was interrupted; what is wrong with a target is in the diagnosis.
    pub fn doctor(self, targets: &[Target]) -> Result<Diagnosis> {
        if targets.is_empty() {
            return Ok(Diagnosis { targets: Vec::new(), environment: environment::facts() });
        }
        // `hosts` is replaced for each target; a mistake in anything else shows here.
        let config = match self.config.hosts.0.is_empty() {
            true => self.hosts(targets.iter().map(|target| format!("tcp://{}", target.authority()))).finish()?,
            false => self.finish()?,
        };
        let trust = tls::configuration(&config)?;
        let given_up = Arc::new(AtomicBool::new(false));
        let examine = |target: &Target| {
            let examiner = Examiner { config: &config, target, steps: Vec::new() };
            drive::working_for(Arc::clone(&given_up), || examiner.examine(&trust))
        };
        let mut examinations = Vec::with_capacity(targets.len());
        for some in targets.chunks(AT_ONCE) {
            std::thread::scope(|scope| {
                let (done, all_done) = channel::<()>();
                let threads: Vec<_> = some
                    .iter()
                    .map(|target| {
                        let done = done.clone();
                        scope.spawn(move || {
                            let _done = done;
                            examine(target)
                        })
                    })
                    .collect();
                drop(done);
                // Nothing is ever sent: the channel ends with its last sender.
                while all_done.recv_timeout(SLICE) == Err(RecvTimeoutError::Timeout) {
                    if drive::is_interrupted() {
                        given_up.store(true, Ordering::Relaxed);
                    }
                }
                for (thread, target) in threads.into_iter().zip(some) {
                    let steps = thread.join().unwrap_or_else(|_| vec![Step::panicked()]);
                    examinations.push(Examination { target: target.text.clone(), steps });
                }
            });
            if given_up.load(Ordering::Relaxed) {
                return Err(drive::interrupted());
            }
        }
        Ok(Diagnosis { targets: examinations, environment: environment::facts() })
    }
}

impl Client {
    /// Looks at the way to each declared origin, from where this client is: with its options and the pins that it has
    /// now. Wildcards are passed over. See [`Builder::doctor`].
    ///
    /// # Errors
    /// As [`Builder::doctor`]; [`Kind::Closed`](crate::Kind::Closed) where the client is closed.
    pub fn doctor(&self) -> Result<Diagnosis> {
        let mut config = Config::clone(&self.0.life()?.core.config);
        config.pins.0.clear();
        config.imported = Some(self.pins());
        let declared = config.hosts.0.iter().filter(|origin| !origin.is_wildcard());
        let targets: Vec<Target> = declared.map(Target::of).collect();
        Builder { config, invalid: None }.doctor(&targets)
    }
}

/// One target being looked at.
struct Examiner<'a> {
    config: &'a Config,
    target: &'a Target,
    steps: Vec<Step>,
}

/// A step that went well: what was seen, and whether that is worth a warning.
type Seen<T> = Result<(T, String, Verdict)>;

impl Examiner<'_> {
    fn examine(mut self, trust: &Arc<rustls::ClientConfig>) -> Vec<Step> {
        _ = self.follow(trust);
        self.steps
    }

    /// The steps in their order; nothing comes back where one has failed.
    fn follow(&mut self, trust: &Arc<rustls::ClientConfig>) -> Option<()> {
        let addresses = self.resolve()?;
        let (socket, address) = self.connect(&addresses)?;
        match self.target.speech {
            Speech::Https => {
                self.step(Stage::Tls, Some(address), |examiner| examiner.handshake(socket, trust))?;
                self.step(Stage::Answer, Some(address), |examiner| examiner.ask("https", address))?;
            }
            Speech::Http => {
                drop(socket);
                self.step(Stage::Answer, Some(address), |examiner| examiner.ask("http", address))?;
            }
            Speech::Mysql => self.step(Stage::Answer, Some(address), |_| greeting(socket))?,
            Speech::Postgres => self.step(Stage::Answer, Some(address), |_| agreement(socket))?,
            Speech::Silent => self.step(Stage::Answer, Some(address), |_| unasked(socket))?,
        }
        Some(())
    }

    /// Takes one step and notes it.
    fn step<T>(&mut self, stage: Stage, address: Option<IpAddr>, take: impl FnOnce(&mut Self) -> Seen<T>) -> Option<T> {
        let begun = Instant::now();
        let (step, found) = match take(self) {
            Ok((found, detail, verdict)) => {
                let took = begun.elapsed();
                (Step { stage, verdict, took, reason: None, detail, causes: &[] }, Some(found))
            }
            Err(error) => {
                let address = error.address().map(|address| address.ip()).or(address);
                let step = Step {
                    stage,
                    verdict: Verdict::Failed,
                    took: begun.elapsed(),
                    reason: Some(error.reason()),
                    detail: error.detail().to_owned(),
                    causes: causes(error.reason(), Place::of(address)),
                };
                (step, None)
            }
        };
        self.steps.push(step);
        found
    }

    /// A client for this target alone.
    fn client(&self, scheme: &str, pinned: Option<IpAddr>) -> Result<Client> {
        let mut config = self.config.clone();
        config.prewarm = 0;
        config.max_attempts = 1;
        config.max_redirects = 0;
        for bound in [&mut config.timeout, &mut config.connect_timeout, &mut config.resolve_timeout] {
            *bound = LONGEST.min(*bound);
        }
        // The dial must end by its own bound: that of the call knows nothing of what was dialled.
        config.timeout = config.timeout.max(2 * config.connect_timeout);
        let own: &str = &self.target.host;
        let proxy = config.proxy.0.as_ref().map(|proxy| proxy.host.clone());
        config.pins.0.retain(|(host, _)| **host == *own || proxy.as_ref() == Some(host));
        let mut builder = Builder { config, invalid: None }
            .hosts([format!("{scheme}://{}", self.target.authority())])
            .option("summary", "off");
        if let Some(address) = pinned.filter(|_| own.parse::<IpAddr>().is_err()) {
            builder.config.pins.0.retain(|(host, _)| **host != *own);
            builder.config.pins.0.push((own.into(), vec![address]));
        }
        builder.build()
    }

    /// The name and the policy over its addresses. The two are one step of the client's, and two of the report's.
    fn resolve(&mut self) -> Option<Vec<IpAddr>> {
        let host: &str = &self.target.host;
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let begun = Instant::now();
        let built = self.client("tcp", None);
        let is_refused = matches!(&built, Err(error) if error.reason() == Reason::PolicyAddress);
        if let Err(error) = built.as_ref()
            && is_refused
        {
            let detail = "the name has addresses".to_owned();
            let took = begun.elapsed();
            self.steps.push(Step {
                stage: Stage::Name,
                verdict: Verdict::Well,
                took,
                reason: None,
                detail,
                causes: &[],
            });
            let error = error.duplicate();
            return self.step(Stage::Address, None, |_| Err(error));
        }
        let addresses = self.step(Stage::Name, None, |_| {
            let pins = built?.pins();
            let (addresses, detail) = match (literal, pins.find(host)) {
                (Some(address), _) => (vec![address], "the target is an address".to_owned()),
                (None, Some(pin)) => (pin.addresses.clone(), format!("{} (by {})", list(&pin.addresses), pin.resolver)),
                (None, None) => (Vec::new(), "dialled under another name (option connect_to)".to_owned()),
            };
            Ok((addresses, detail, Verdict::Well))
        })?;
        let kinds: Vec<&str> = addresses
            .iter()
            .map(|address| match Place::of(Some(*address)) {
                Place::Private => "private",
                Place::Public => "public",
                Place::Unknown => "of this machine or its link",
            })
            .collect();
        let detail = if kinds.is_empty() { "allowed".to_owned() } else { kinds.join(", ") };
        self.step(Stage::Address, None, |_| Ok(((), detail, Verdict::Well)))?;
        Some(addresses)
    }

    /// A connection to every address; the first that was made is kept.
    fn connect(&mut self, addresses: &[IpAddr]) -> Option<(Socket, IpAddr)> {
        let tried: Vec<Option<IpAddr>> = match addresses {
            [] => vec![None],
            some => some.iter().take(MOST_ADDRESSES).copied().map(Some).collect(),
        };
        self.step(Stage::Tcp, addresses.first().copied(), |examiner| {
            let (mut made, mut failed) = (None, Vec::new());
            for pinned in tried {
                let begun = Instant::now();
                let dialled = examiner
                    .client("tcp", pinned)
                    .and_then(|client| client.connect(&examiner.target.host, examiner.target.port));
                match dialled {
                    Ok(socket) => {
                        made.get_or_insert((socket, begun.elapsed()));
                    }
                    Err(error) => failed.push(error),
                }
            }
            let Some((socket, took)) = made else {
                return Err(failed.swap_remove(0));
            };
            let peer = socket.peer_address();
            let mut detail = format!("{peer} in {:.1} ms", took.as_secs_f64() * 1e3);
            for error in &failed {
                let address = error.address().map_or_else(String::new, |address| format!("{address} "));
                detail.push_str(&format!("; {address}{}: {}", error.reason().as_str(), error.detail()));
            }
            let verdict = if failed.is_empty() { Verdict::Well } else { Verdict::Warning };
            Ok(((socket, peer.ip()), detail, verdict))
        })
    }

    fn handshake(&self, mut socket: Socket, trust: &Arc<rustls::ClientConfig>) -> Seen<()> {
        socket.set_timeout(self.config.handshake_timeout.min(LONGEST));
        let host: &str = &self.target.host;
        let name = tls::server_name(self.config.sni.find(host).unwrap_or(host))?;
        let mut session = rustls::ClientConnection::new(Arc::clone(trust), name.clone())
            .map_err(|error| Error::input(format!("no TLS session can begin: {error}")))?;
        while session.is_handshaking() {
            if let Err(error) = session.complete_io(&mut socket) {
                let (reason, detail) = match error.kind() {
                    std::io::ErrorKind::TimedOut => {
                        (Reason::TlsTimeout, "the port is open and silent: the handshake was not answered".to_owned())
                    }
                    _ => tls::failure(&error),
                };
                return Err(Error::new(reason, Phase::Handshake, detail));
            }
        }
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        let sent = format!("{version}, certificate for {}", name.to_str());
        let ends = session.peer_certificates().and_then(|chain| tls::chain_ends(self.config, chain, &name));
        Ok(match ends {
            Some(ends) if ends < Timestamp::now() + SOON => {
                ((), format!("{sent}, ends {ends}: soon"), Verdict::Warning)
            }
            Some(ends) => ((), format!("{sent}, ends {ends}"), Verdict::Well),
            None => ((), format!("{sent}, not verified"), Verdict::Warning),
        })
    }

    /// The head of the answer to `GET /`; its status says nothing about the way.
    fn ask(&self, scheme: &str, address: IpAddr) -> Seen<()> {
        let url = format!("{scheme}://{}/", self.target.authority());
        let answer = match self.client(scheme, Some(address)).and_then(|client| client.open(&Request::get(&url))) {
            Err(error) if matches!(error.reason(), Reason::TimeoutTotal | Reason::TimeoutStalled) => {
                let detail = "the port is open and silent: GET / was not answered";
                return Err(Error::new(error.reason(), error.phase(), detail));
            }
            answer => answer?,
        };
        let detail = format!("status {} to GET /", answer.status());
        let now = Timestamp::now();
        let told = answer.header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let drift = told.map(|told| now.as_second() - told.timestamp().as_second());
        Ok(match drift {
            Some(drift) if drift.abs() > CLOCK_DRIFT => {
                ((), format!("{detail}; this machine's clock is {drift} s off the target's"), Verdict::Warning)
            }
            _ => ((), detail, Verdict::Well),
        })
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// What a service's first words, or their absence, end with.
fn at_first_words(reason: Reason, detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(reason, Phase::Receive, detail)
}

fn silent() -> Error {
    let detail = "the port is open and silent: the service did not say its first word";
    at_first_words(Reason::TimeoutStalled, detail)
}

fn closed() -> Error {
    let detail = "the connection was made and then closed without a word";
    at_first_words(Reason::ConnectClosed, detail)
}

/// Reads some first bytes, or says why there are none.
fn first_bytes<'a>(socket: &mut Socket, into: &'a mut [u8]) -> Result<&'a [u8]> {
    match socket.read(into) {
        Ok(0) => Err(closed()),
        Ok(got) => Ok(&into[..got]),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(silent()),
        Err(_) => Err(closed()),
    }
}

/// MySQL's handshake: a header of four bytes, the protocol's version, the server's; or an error packet.
fn greeting(mut socket: Socket) -> Seen<()> {
    socket.set_timeout(LONGEST);
    let mut bytes = [0; 256];
    let greeting = first_bytes(&mut socket, &mut bytes)?;
    let of_another = || at_first_words(Reason::ProtocolHead, "what it says is not MySQL's");
    match greeting.get(4..) {
        Some([10, rest @ ..]) => {
            let version = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            let version: String = version.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_graphic).collect();
            Ok(((), format!("MySQL's greeting, version {version}"), Verdict::Well))
        }
        Some([0xff, low, high, ..]) => {
            let code = u16::from_le_bytes([*low, *high]);
            let meaning = match code {
                1040 => "too many connections",
                1129 | 1130 => "this host is not allowed: the white list",
                _ => "an error of the server's",
            };
            let detail = format!("the server refuses with error {code}: {meaning}");
            Err(at_first_words(Reason::ConnectClosed, detail))
        }
        _ => Err(of_another()),
    }
}

/// PostgreSQL's `SSLRequest` (protocol 3.0): the answer is `S` or `N`, or an error message.
fn agreement(mut socket: Socket) -> Seen<()> {
    socket.set_timeout(LONGEST);
    socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).map_err(|_| closed())?;
    let mut bytes = [0; 1];
    let detail = match first_bytes(&mut socket, &mut bytes)? {
        [b'S'] => "PostgreSQL's protocol, TLS offered",
        [b'N'] => "PostgreSQL's protocol, without TLS",
        [b'E'] => {
            let detail = "the server refuses: too many connections, or this host is not allowed";
            return Err(at_first_words(Reason::ConnectClosed, detail));
        }
        _ => {
            let detail = "what it says is not PostgreSQL's";
            return Err(at_first_words(Reason::ProtocolHead, detail));
        }
    };
    Ok(((), detail.to_owned(), Verdict::Well))
}

/// Whether the connection stays, where nothing can be asked.
fn unasked(mut socket: Socket) -> Seen<()> {
    socket.set_timeout(UNASKED);
    let mut bytes = [0; 64];
    match first_bytes(&mut socket, &mut bytes) {
        Ok(said) => Ok(((), format!("it says {} bytes first", said.len()), Verdict::Well)),
        Err(error) if error.reason() == Reason::TimeoutStalled => {
            Ok(((), "open; its clients speak first, so nothing more can be seen".to_owned(), Verdict::Well))
        }
        Err(error) => Err(error),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for examination in &self.targets {
            let state = if examination.is_well() { "reachable" } else { "NOT REACHABLE" };
            writeln!(f, "{}: {state}", examination.target)?;
            for stage in Stage::ALL {
                for step in examination.steps.iter().filter(|step| step.stage == stage) {
                    write!(f, "  {:<8}{:<8}", stage.as_str(), step.verdict.as_str())?;
                    write!(f, "{:>9.1} ms  ", step.took.as_secs_f64() * 1e3)?;
                    if let Some(reason) = step.reason {
                        write!(f, "{}: ", reason.as_str())?;
                    }
                    writeln!(f, "{}", step.detail)?;
                    for cause in step.causes {
                        let certainty = cause.certainty.as_str();
                        writeln!(f, "          {certainty} ({}): {}", cause.layer.as_str(), cause.step)?;
                    }
                }
            }
        }
        writeln!(f, "this machine")?;
        for fact in &self.environment {
            writeln!(f, "  {:<16}{:<8}{}", fact.name, fact.verdict.as_str(), fact.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_host_and_a_port() {
        let target = |text: &str| {
            let target = Target::parse(text).unwrap();
            (target.authority(), target.speech)
        };
        assert_eq!(target("kms.example"), ("kms.example:443".to_owned(), Speech::Https));
        assert_eq!(target("HTTPS://kms.example/"), ("kms.example:443".to_owned(), Speech::Https));
        assert_eq!(target("mysql://rds.example"), ("rds.example:3306".to_owned(), Speech::Mysql));
        assert_eq!(target("hologres://h.example:5432"), ("h.example:5432".to_owned(), Speech::Postgres));
        assert_eq!(target("thrift://meta.example:9083"), ("meta.example:9083".to_owned(), Speech::Silent));
        assert_eq!(target("tcp://[::1]:80"), ("[::1]:80".to_owned(), Speech::Silent));
    }

    #[test]
    fn what_is_no_target_is_refused_with_the_schemes_there_are() {
        for wrong in
            ["ftp://a.example", "tcp://a.example", "https://*.example", "https://a.example/path", "mysql://:1", ""]
        {
            let error = Target::parse(wrong).unwrap_err();
            assert_eq!(error.reason(), Reason::ConfigInput, "{wrong}");
        }
        assert!(Target::parse("ftp://a.example").unwrap_err().to_string().contains("postgresql"));
    }
}
