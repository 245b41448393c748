//! The one error of this library: what failed ([`Kind`], [`Reason`]), where ([`Phase`]), and whether
//! the far side may have seen the request ([`Delivery`]).
//!
//! It owns the names, the advice for each reason and the one line a user reads. It never holds a
//! header value, a query, a body or a credential: only host, port, address, counts and durations, so
//! printing it anywhere is safe. It reads no clock.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

/// What this library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The family of a failure. A finer name is [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The caller gave up: an interrupt or a dropped future.
    Canceled,
    /// The client was closed.
    Closed,
    /// The configuration or the input is wrong; nothing was sent.
    Config,
    /// No connection could be made or kept.
    Connect,
    /// A name could not be resolved.
    Dns,
    /// A fault of this library.
    Internal,
    /// The far side sent more than a limit allows.
    Limit,
    /// Too many callers wait already.
    Overloaded,
    /// The target is not declared, or its address is not allowed.
    Policy,
    /// The far side broke the protocol.
    Protocol,
    /// An explicit proxy refused.
    Proxy,
    /// A budget of time ran out.
    Timeout,
    /// The TLS handshake or a certificate failed.
    Tls,
    /// A write was refused, or may or may not have happened.
    Write,
}

macro_rules! reasons {
    ($($kind:ident { $($variant:ident $name:literal $doc:literal;)+ })+) => {
        /// The finer reason of a failure, written `Kind.Reason` in messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc] $variant,)+)+
        }

        impl Reason {
            /// Every reason there is, in the order of their kinds.
            pub const ALL: &'static [Reason] = &[$($(Reason::$variant,)+)+];

            /// The family this reason belongs to.
            pub fn kind(self) -> Kind {
                match self { $($(Reason::$variant => Kind::$kind,)+)+ }
            }

            /// The stable name, as `Tls.Expired`.
            pub fn as_str(self) -> &'static str {
                match self { $($(Reason::$variant => concat!(stringify!($kind), ".", $name),)+)+ }
            }
        }
    };
}

reasons! {
    Canceled {
        Canceled "Canceled" "The caller gave up before the answer came.";
        CanceledBody "Body" "The request's body could not be read from its source.";
    }
    Closed { Closed "Closed" "The client had been closed."; }
    Config {
        ConfigInput "InvalidInput" "A URL, header, method or option value is malformed.";
        ConfigOption "UnknownOption" "No option of this name exists.";
        ConfigConflict "Conflict" "Two options contradict each other.";
        ConfigNoResolver "NoResolver" "A host needs a look-up and there is no name server to ask.";
        ConfigTrust "Trust" "A CA file is missing, unreadable, empty or holds a bad certificate.";
        ConfigKey "Key" "A client certificate or its key is missing, unreadable, encrypted or malformed.";
        ConfigPinSet "PinSet" "A pin set is missing, corrupt or of another version.";
        ConfigPinSetExpired "PinSetExpired" "A pin set is older than it says it may be.";
        ConfigLibrary "Library" "The native library of a binding can't be loaded.";
        ConfigShared "AlreadyInit" "The process's shared client was built with other options.";
    }
    Connect {
        ConnectRefused "Refused" "Every address refused the connection.";
        ConnectTimeout "Timeout" "No address answered within `connect_timeout`.";
        ConnectReset "Reset" "The connection was reset.";
        ConnectClosed "Closed" "The far side closed the connection before answering.";
        ConnectUnreachable "Unreachable" "There is no route to any address.";
        ConnectLocalPorts "LocalPorts" "This machine has no free local port.";
        ConnectResource "Resource" "This process has no free file descriptor or memory.";
        ConnectGoAway "GoAway" "The far side closed the HTTP/2 connection and did not process the request.";
        ConnectStreamRefused "StreamRefused" "The far side refused the HTTP/2 stream and did not process the request.";
        ConnectIo "Io" "The operating system reported another error.";
    }
    Dns {
        DnsTimeout "Timeout" "No name server answered in time.";
        DnsNxDomain "NxDomain" "The name does not exist.";
        DnsNoData "NoData" "The name exists and has no address of the wanted family.";
        DnsServFail "ServFail" "The name server failed.";
        DnsRefused "Refused" "The name server refused to answer.";
        DnsAliasLimit "AliasLimit" "The name is an alias of an alias, too many times over.";
        DnsProtocol "Protocol" "The name server's answer cannot be understood.";
    }
    Internal { Internal "Internal" "A fault of this library; please report it."; }
    Limit {
        LimitHeaders "Headers" "The answer's header section is over `max_headers` or `max_header_count`.";
        LimitInterim "Interim" "More interim (1xx) answers than `max_interim`.";
        LimitBody "Body" "The answer's body is over `max_body`.";
        LimitDecode "Decode" "The decoded body is over its limits: too many layers or expanding too far.";
        LimitRedirects "Redirects" "More redirects than `max_redirects`, or a loop.";
        LimitFlood "Flood" "The far side sends frames that carry nothing, or faster than they are read.";
    }
    Overloaded { Overloaded "Queue" "`max_waiting` callers wait for this origin already."; }
    Policy {
        PolicyNotDeclared "NotDeclared" "The origin is not among the declared `hosts`.";
        PolicyAddress "AddressDenied" "The address lies in a refused range.";
        PolicyDowngrade "Downgrade" "A redirect leads from HTTPS to HTTP.";
        PolicyNotPinned "NotPinned" "A declared wildcard host has no pin.";
    }
    Protocol {
        ProtocolHead "Head" "The answer's head is malformed.";
        ProtocolFraming "Framing" "The answer's length is ambiguous (RFC 9112 6.3).";
        ProtocolChunk "Chunk" "The answer's chunked coding is malformed.";
        ProtocolDecode "Decode" "The body's content coding is malformed or cut off.";
        ProtocolIncomplete "Incomplete" "The connection ended inside the answer.";
        ProtocolHttp2 "Http2" "The far side broke the HTTP/2 protocol (RFC 9113).";
        ProtocolUnexpected "Unexpected" "The far side sent what nobody asked for.";
    }
    Proxy {
        ProxyAuth "Auth" "The proxy wants credentials, or refused those it was given.";
        ProxyStatus "Status" "The proxy would not open a tunnel to the target.";
        ProxyUnavailable "Unavailable" "The proxy could not open a tunnel to the target now.";
        ProxyProtocol "Protocol" "The proxy broke the protocol or closed the connection.";
        ProxyTimeout "Timeout" "The proxy opened no tunnel in time.";
    }
    Timeout {
        TimeoutTotal "Total" "The call's `timeout` ran out.";
        TimeoutStalled "Stalled" "No byte moved for `stall_timeout`.";
        TimeoutAcquire "Acquire" "No connection came free within `acquire_timeout`.";
    }
    Tls {
        TlsExpired "Expired" "The certificate has expired.";
        TlsNotYetValid "NotYetValid" "The certificate is not valid yet.";
        TlsWrongName "WrongName" "The certificate is for another name.";
        TlsUnknownIssuer "UnknownIssuer" "The certificate's issuer is not trusted, or it is self-signed.";
        TlsCertificate "Certificate" "The certificate is unusable for another reason.";
        TlsVersion "Version" "The far side speaks no TLS version or cipher suite of ours.";
        TlsAlert "Alert" "The far side ended the session with an alert.";
        TlsClientAuth "ClientAuth" "The target wants a client certificate, or refused the one it was given.";
        TlsAlpn "Alpn" "The far side speaks none of the offered protocols.";
        TlsNotTls "NotTls" "The far side does not speak TLS on this port.";
        TlsTimeout "Timeout" "The handshake did not end within `handshake_timeout`.";
        TlsClosed "Closed" "The connection ended inside the handshake.";
        TlsProtocol "Protocol" "The far side broke the TLS protocol.";
    }
    Write {
        WriteOutcomeUnknown "OutcomeUnknown" "The request left and no answer came: the write may or may not have happened.";
        WriteRejected "Rejected" "The target refused the write; it had no effect.";
        WriteMismatch "Mismatch" "The same key came with another body: one of the two is not what was meant.";
        WriteConflict "Conflict" "Something else stands where this write would go.";
        WriteLedger "Ledger" "The ledger's store failed before the write was sent; this call wrote nothing.";
        WriteUnkeyed "Unkeyed" "A write without a key to a target that would do it twice; nothing was sent.";
    }
}

/// Where in a call it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Checking the configuration and the input.
    Configure,
    /// Waiting for a connection to come free.
    Queue,
    /// Resolving a name.
    Resolve,
    /// Making a TCP connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Writing the request.
    Send,
    /// The request is out; waiting for the head of the answer.
    Wait,
    /// Reading the answer.
    Receive,
}

impl Phase {
    /// The name in messages, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Configure => "configure",
            Phase::Queue => "queue",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Handshake => "handshake",
            Phase::Send => "send",
            Phase::Wait => "wait",
            Phase::Receive => "receive",
        }
    }
}

/// Whether the far side may have seen the request. In doubt it is [`Delivery::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Delivery {
    /// No byte of the request was written to any connection.
    NotSent,
    /// At least one byte was written and no answer came.
    Unknown,
    /// The far side answered, at least with the head.
    Answered,
}

impl Delivery {
    /// What holds for a request that was sent more than once: in doubt, the doubt.
    pub(crate) fn and(self, other: Delivery) -> Delivery {
        match (self, other) {
            (Delivery::Unknown, _) | (_, Delivery::Unknown) => Delivery::Unknown,
            _ => self.max(other),
        }
    }

    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::NotSent => "not sent",
            Delivery::Unknown => "delivery unknown",
            Delivery::Answered => "answered",
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It had its effect.
    Applied,
    /// An earlier request under the same key had its effect: an earlier try, an earlier execution, or a twin.
    AlreadyApplied,
    /// It had none: the target refused it, or nothing was sent. That speaks of this process: what another execution may
    /// have done under the same key a client can't know where the target does not say it.
    Rejected,
    /// It may have had its effect. [`Error::delivery`] and [`Error::phase`] say what that rests on.
    Unknown,
}

impl Outcome {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "Applied",
            Outcome::AlreadyApplied => "AlreadyApplied",
            Outcome::Rejected => "Rejected",
            Outcome::Unknown => "Unknown",
        }
    }
}

/// A failed call, resolution or configuration.
///
/// Its `Display` is one line: reason, host, address, what happened, phase, delivery, attempts, elapsed
/// time, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    reason: Reason,
    phase: Phase,
    delivery: Delivery,
    host: Option<Box<str>>,
    address: Option<SocketAddr>,
    attempts: u32,
    elapsed: Option<Duration>,
    budget: Option<(&'static str, Duration)>,
    detail: Cow<'static, str>,
    answer: Option<Box<(u16, Bytes)>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(reason: Reason, phase: Phase, detail: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            reason,
            phase,
            delivery: Delivery::NotSent,
            host: None,
            address: None,
            attempts: 0,
            elapsed: None,
            budget: None,
            detail: detail.into(),
            answer: None,
            source: None,
        }))
    }

    /// Malformed input: the commonest error before anything is sent.
    pub(crate) fn input(detail: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Reason::ConfigInput, Phase::Configure, detail)
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Error {
        self.0.delivery = delivery;
        self
    }

    /// The same where it turns out that what was waited for was in use by others.
    pub(crate) fn queued(mut self) -> Error {
        if self.0.phase != Phase::Queue {
            (self.0.phase, self.0.detail) = (Phase::Queue, "no stream came free".into());
        }
        self
    }

    pub(crate) fn with_host(mut self, host: impl Into<Box<str>>) -> Error {
        self.0.host.get_or_insert_with(|| host.into());
        self
    }

    pub(crate) fn with_address(mut self, address: SocketAddr) -> Error {
        self.0.address.get_or_insert(address);
        self
    }

    pub(crate) fn with_effort(mut self, attempts: u32, elapsed: Duration) -> Error {
        self.0.attempts = attempts;
        self.0.elapsed = Some(elapsed);
        self
    }

    pub(crate) fn with_budget(mut self, option: &'static str, budget: Duration) -> Error {
        self.0.budget = Some((option, budget));
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_answer(mut self, status: u16, body: Bytes) -> Error {
        self.0.answer = Some(Box::new((status, body)));
        self
    }

    /// What the failure says about a write: [`Outcome::Rejected`] where it surely had no effect, else
    /// [`Outcome::Unknown`].
    pub fn outcome(&self) -> Outcome {
        let is_refused = matches!(
            self.0.reason,
            Reason::WriteRejected | Reason::WriteMismatch | Reason::WriteConflict | Reason::WriteUnkeyed
        );
        if is_refused || self.0.delivery == Delivery::NotSent { Outcome::Rejected } else { Outcome::Unknown }
    }

    /// The status of the answer that a write was refused with, if it was.
    pub fn status(&self) -> Option<u16> {
        self.0.answer.as_ref().map(|answer| answer.0)
    }

    /// The body of that answer, as far as it was kept (`max_error_body`); it is in no message.
    pub fn body(&self) -> Option<&Bytes> {
        self.0.answer.as_ref().map(|answer| &answer.1)
    }

    /// The family of the failure.
    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
    }

    /// The finer reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Where in the call it happened.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// Whether the far side may have seen the request.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The host and port of the target, where one was known.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// The pinned address that was in use, where one was.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// How many times the request was tried; 0 where nothing was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the call had taken; nothing where nothing was tried.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// What to do about it, one sentence; empty where nothing general can be said.
    pub fn advice(&self) -> &'static str {
        advice(self.0.reason)
    }

    /// An equal error for another holder: all but the source, which is not clonable.
    pub(crate) fn duplicate(&self) -> Error {
        let inner = &self.0;
        Error(Box::new(Inner {
            reason: inner.reason,
            phase: inner.phase,
            delivery: inner.delivery,
            host: inner.host.clone(),
            address: inner.address,
            attempts: inner.attempts,
            elapsed: inner.elapsed,
            budget: inner.budget,
            detail: inner.detail.clone(),
            answer: inner.answer.clone(),
            source: None,
        }))
    }

    /// What happened, without host, phase and advice.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }
}

/// One sentence for each reason that a user can do something about. The settings named are the
/// platform's (PLATFORM.md) or ours (the table of options).
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::ConnectTimeout => {
            "packets are dropped on the way: name the network connection (set odps.session.networklink=...), and let the \
             target's security group and white list admit the vSwitch's CIDR block"
        }
        Reason::ConnectRefused => {
            "the address answered that nothing listens there: check the port, or the proxy's connection limit \
             (lower max_connections or set job_connections)"
        }
        Reason::ConnectUnreachable => {
            "there is no route from this job: set odps.session.networklink, or for the Internet ask for the target in \
             odps.internet.access.list"
        }
        Reason::ConnectReset | Reason::ConnectClosed => {
            "the proxy or the target drops connections: lower max_connections (or set job_connections) and keep max_idle \
             below the proxy's idle limit"
        }
        Reason::ConnectLocalPorts | Reason::ConnectResource => "share one client per process and lower max_connections",
        Reason::DnsTimeout | Reason::DnsServFail => {
            "the job's DNS is overloaded or out of reach: ship a pin set (pinlink resolve HOST... --output pins.json; option \
             pin_set), or raise resolve_timeout"
        }
        Reason::DnsNxDomain | Reason::DnsNoData | Reason::DnsRefused => {
            "check the name; a private name resolves only inside its VPC: set odps.session.networklink, or pin it (option pins)"
        }
        Reason::DnsAliasLimit | Reason::DnsProtocol => {
            "ask another name server (option nameservers) or pin the host (option pins)"
        }
        Reason::ConfigNoResolver => "give nameservers, pins or pin_set",
        Reason::ConfigTrust => "give a readable PEM file with at least one CA certificate (option ca_file)",
        Reason::ConfigKey => {
            "give a PEM certificate chain and its PEM key without a passphrase (openssl pkey -in KEY -out PLAIN)"
        }
        Reason::ConfigPinSet | Reason::ConfigPinSetExpired => {
            "write it again with `pinlink resolve`, inside the job's network"
        }
        Reason::Overloaded | Reason::TimeoutAcquire => {
            "send less at once, or raise max_connections_per_origin within what the proxy allows"
        }
        Reason::PolicyNotDeclared => "declare it in hosts; only declared origins are reachable",
        Reason::PolicyAddress => "if this address is meant, allow it (option allow_addresses)",
        Reason::PolicyDowngrade | Reason::LimitRedirects => "ask for the URL at which the redirects end",
        Reason::PolicyNotPinned => "give its addresses in pins or pin_set; wildcard hosts are never looked up",
        Reason::LimitHeaders | Reason::LimitInterim | Reason::LimitBody => {
            "raise the limit only if the target is known to send that much"
        }
        Reason::LimitDecode | Reason::ProtocolDecode => {
            "ask the target for the body as it is: send Accept-Encoding: identity"
        }
        Reason::ProxyAuth => "give user and password in option proxy: http://user:password@host:port, percent-encoded",
        Reason::ProxyStatus | Reason::ProxyUnavailable => {
            "ask the proxy's owner to allow tunnels to this address and port, and whether the proxy has a route to it"
        }
        Reason::ProxyProtocol => "check scheme, host and port in option proxy: something else may listen there",
        Reason::ProxyTimeout => {
            "check that the proxy of option proxy is up and within this job's reach, or raise connect_timeout"
        }
        Reason::TimeoutTotal => "raise timeout, and keep it below odps.function.timeout",
        Reason::TimeoutStalled => {
            "the target or the proxy stopped moving bytes: raise stall_timeout if it is known to be slow"
        }
        Reason::TlsExpired | Reason::TlsNotYetValid => {
            "the certificate must be renewed at the target, or this machine's clock is wrong"
        }
        Reason::TlsWrongName => {
            "the address belongs to another server, or the host name in hosts is not the certificate's"
        }
        Reason::TlsUnknownIssuer => {
            "give the issuing CA (option ca_file), or allow the machine's own (option system_roots)"
        }
        Reason::TlsClientAuth => "give a certificate that the target knows (options client_cert and client_key)",
        Reason::TlsAlpn => "set protocol, or alpn for connect_tls, to what the target speaks",
        Reason::TlsNotTls => "check the port and the scheme: this port does not speak TLS",
        Reason::WriteOutcomeUnknown => {
            "with a key, write the same again: the outcome is known then; without one, ask the target whether it happened"
        }
        Reason::ConfigLibrary => {
            "ship the library beside the job (property pinlink.library), or let native code run: \
             set odps.isolation.session.enable=true"
        }
        Reason::ConfigShared => "give everyone who shares a client the same options, or build clients of their own",
        Reason::WriteRejected => {
            "read status and body of the answer (Error::status, Error::body); the same write would be refused again"
        }
        Reason::WriteMismatch => {
            "make the body the same in every execution: no time stamps or random values in it, rows in a fixed order; or put \
             what differs into the key"
        }
        Reason::WriteConflict => {
            "read what stands there; a name that holds the key ({key} in the URL) is nobody else's"
        }
        Reason::WriteLedger => "see the cause: the store that keeps the claims was not reached, or refused",
        Reason::WriteUnkeyed => {
            "give a key and the target's profile, use the ledger, or accept that a re-executed node writes twice (unkeyed)"
        }
        _ => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: ", inner.reason.as_str())?;
        if let Some(host) = &inner.host {
            write!(f, "{host}")?;
            if let Some(address) = inner.address {
                write!(f, " ({address})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.detail)?;
        if let Some((option, budget)) = inner.budget {
            write!(f, " ({option} {budget:?})")?;
        }
        if inner.phase != Phase::Configure {
            write!(f, "; phase {}, {}", inner.phase.as_str(), inner.delivery.as_str())?;
        }
        if inner.attempts > 0 {
            write!(f, ", attempts {}", inner.attempts)?;
        }
        if let Some(elapsed) = inner.elapsed {
            write!(f, ", after {:.3} s", elapsed.as_secs_f64())?;
        }
        let advice = self.advice();
        if !advice.is_empty() {
            write!(f, "; to do: {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_name_of_its_own() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn an_error_is_one_line_with_host_phase_and_what_to_do() {
        let error = Error::new(Reason::ConnectTimeout, Phase::Connect, "no answer from 2 addresses")
            .with_host("kms.example:443")
            .with_budget("connect_timeout", Duration::from_secs(5))
            .with_effort(2, Duration::from_millis(5012));
        let line = error.to_string();
        assert!(!line.contains('\n'));
        for part in
            ["Connect.Timeout", "kms.example:443", "connect_timeout 5s", "phase connect", "not sent", "networklink"]
        {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }
}
