//! What failures are called: their families ([`Kind`]) and their names ([`Reason`]).
//!
//! It owns the names that every language has and `tests/parity/errors.toml` holds. Nothing else.

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
}
