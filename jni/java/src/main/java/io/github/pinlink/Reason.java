package io.github.pinlink;

/** The finer reason of a failure, written {@code Kind.Reason} in messages. */
public enum Reason {
    /** The caller gave up before the answer came. */
    CANCELED(Kind.CANCELED, "Canceled.Canceled"),
    /** The request's body could not be read from its source. */
    CANCELED_BODY(Kind.CANCELED, "Canceled.Body"),
    /** The client had been closed. */
    CLOSED(Kind.CLOSED, "Closed.Closed"),
    /** A URL, header, method or option value is malformed. */
    CONFIG_INVALID_INPUT(Kind.CONFIG, "Config.InvalidInput"),
    /** No option of this name exists. */
    CONFIG_UNKNOWN_OPTION(Kind.CONFIG, "Config.UnknownOption"),
    /** Two options contradict each other. */
    CONFIG_CONFLICT(Kind.CONFIG, "Config.Conflict"),
    /** A host needs a look-up and there is no name server to ask. */
    CONFIG_NO_RESOLVER(Kind.CONFIG, "Config.NoResolver"),
    /** A CA file is missing, unreadable, empty or holds a bad certificate. */
    CONFIG_TRUST(Kind.CONFIG, "Config.Trust"),
    /** A client certificate or its key is missing, unreadable, encrypted or malformed. */
    CONFIG_KEY(Kind.CONFIG, "Config.Key"),
    /** A pin set is missing, corrupt or of another version. */
    CONFIG_PIN_SET(Kind.CONFIG, "Config.PinSet"),
    /** A pin set is older than it says it may be. */
    CONFIG_PIN_SET_EXPIRED(Kind.CONFIG, "Config.PinSetExpired"),
    /** The process's shared client was built with other options. */
    CONFIG_ALREADY_INIT(Kind.CONFIG, "Config.AlreadyInit"),
    /** The native library can't be loaded. */
    CONFIG_LIBRARY(Kind.CONFIG, "Config.Library"),
    /** Every address refused the connection. */
    CONNECT_REFUSED(Kind.CONNECT, "Connect.Refused"),
    /** No address answered within {@code connect_timeout}. */
    CONNECT_TIMEOUT(Kind.CONNECT, "Connect.Timeout"),
    /** The connection was reset. */
    CONNECT_RESET(Kind.CONNECT, "Connect.Reset"),
    /** The far side closed the connection before answering. */
    CONNECT_CLOSED(Kind.CONNECT, "Connect.Closed"),
    /** There is no route to any address. */
    CONNECT_UNREACHABLE(Kind.CONNECT, "Connect.Unreachable"),
    /** This machine has no free local port. */
    CONNECT_LOCAL_PORTS(Kind.CONNECT, "Connect.LocalPorts"),
    /** This process has no free file descriptor or memory. */
    CONNECT_RESOURCE(Kind.CONNECT, "Connect.Resource"),
    /** The far side closed the HTTP/2 connection and did not process the request. */
    CONNECT_GO_AWAY(Kind.CONNECT, "Connect.GoAway"),
    /** The far side refused the HTTP/2 stream and did not process the request. */
    CONNECT_STREAM_REFUSED(Kind.CONNECT, "Connect.StreamRefused"),
    /** The operating system reported another error. */
    CONNECT_IO(Kind.CONNECT, "Connect.Io"),
    /** No name server answered in time. */
    DNS_TIMEOUT(Kind.DNS, "Dns.Timeout"),
    /** The name does not exist. */
    DNS_NX_DOMAIN(Kind.DNS, "Dns.NxDomain"),
    /** The name exists and has no address of the wanted family. */
    DNS_NO_DATA(Kind.DNS, "Dns.NoData"),
    /** The name server failed. */
    DNS_SERV_FAIL(Kind.DNS, "Dns.ServFail"),
    /** The name server refused to answer. */
    DNS_REFUSED(Kind.DNS, "Dns.Refused"),
    /** The name is an alias of an alias, too many times over. */
    DNS_ALIAS_LIMIT(Kind.DNS, "Dns.AliasLimit"),
    /** The name server's answer cannot be understood. */
    DNS_PROTOCOL(Kind.DNS, "Dns.Protocol"),
    /** A fault of this library; please report it. */
    INTERNAL(Kind.INTERNAL, "Internal.Internal"),
    /** The answer's header section is over {@code max_headers} or {@code max_header_count}. */
    LIMIT_HEADERS(Kind.LIMIT, "Limit.Headers"),
    /** More interim (1xx) answers than {@code max_interim}. */
    LIMIT_INTERIM(Kind.LIMIT, "Limit.Interim"),
    /** The answer's body is over {@code max_body}. */
    LIMIT_BODY(Kind.LIMIT, "Limit.Body"),
    /** The decoded body is over its limits: too many layers or expanding too far. */
    LIMIT_DECODE(Kind.LIMIT, "Limit.Decode"),
    /** More redirects than {@code max_redirects}, or a loop. */
    LIMIT_REDIRECTS(Kind.LIMIT, "Limit.Redirects"),
    /** The far side sends frames that carry nothing, or faster than they are read. */
    LIMIT_FLOOD(Kind.LIMIT, "Limit.Flood"),
    /** {@code max_waiting} callers wait for this origin already. */
    OVERLOADED(Kind.OVERLOADED, "Overloaded.Queue"),
    /** The origin is not among the declared {@code hosts}. */
    POLICY_NOT_DECLARED(Kind.POLICY, "Policy.NotDeclared"),
    /** The address lies in a refused range. */
    POLICY_ADDRESS_DENIED(Kind.POLICY, "Policy.AddressDenied"),
    /** A redirect leads from HTTPS to HTTP. */
    POLICY_DOWNGRADE(Kind.POLICY, "Policy.Downgrade"),
    /** A declared wildcard host has no pin. */
    POLICY_NOT_PINNED(Kind.POLICY, "Policy.NotPinned"),
    /** The answer's head is malformed. */
    PROTOCOL_HEAD(Kind.PROTOCOL, "Protocol.Head"),
    /** The answer's length is ambiguous (RFC 9112 6.3). */
    PROTOCOL_FRAMING(Kind.PROTOCOL, "Protocol.Framing"),
    /** The answer's chunked coding is malformed. */
    PROTOCOL_CHUNK(Kind.PROTOCOL, "Protocol.Chunk"),
    /** The body's content coding is malformed or cut off. */
    PROTOCOL_DECODE(Kind.PROTOCOL, "Protocol.Decode"),
    /** The connection ended inside the answer. */
    PROTOCOL_INCOMPLETE(Kind.PROTOCOL, "Protocol.Incomplete"),
    /** The far side broke the HTTP/2 protocol (RFC 9113). */
    PROTOCOL_HTTP2(Kind.PROTOCOL, "Protocol.Http2"),
    /** The far side sent what nobody asked for. */
    PROTOCOL_UNEXPECTED(Kind.PROTOCOL, "Protocol.Unexpected"),
    /** The proxy wants credentials, or refused those it was given. */
    PROXY_AUTH(Kind.PROXY, "Proxy.Auth"),
    /** The proxy would not open a tunnel to the target. */
    PROXY_STATUS(Kind.PROXY, "Proxy.Status"),
    /** The proxy could not open a tunnel to the target now. */
    PROXY_UNAVAILABLE(Kind.PROXY, "Proxy.Unavailable"),
    /** The proxy broke the protocol or closed the connection. */
    PROXY_PROTOCOL(Kind.PROXY, "Proxy.Protocol"),
    /** The proxy opened no tunnel in time. */
    PROXY_TIMEOUT(Kind.PROXY, "Proxy.Timeout"),
    /** The call's {@code timeout} ran out. */
    TIMEOUT_TOTAL(Kind.TIMEOUT, "Timeout.Total"),
    /** No byte moved for {@code stall_timeout}. */
    TIMEOUT_STALLED(Kind.TIMEOUT, "Timeout.Stalled"),
    /** No connection came free within {@code acquire_timeout}. */
    TIMEOUT_ACQUIRE(Kind.TIMEOUT, "Timeout.Acquire"),
    /** The certificate has expired. */
    TLS_EXPIRED(Kind.TLS, "Tls.Expired"),
    /** The certificate is not valid yet. */
    TLS_NOT_YET_VALID(Kind.TLS, "Tls.NotYetValid"),
    /** The certificate is for another name. */
    TLS_WRONG_NAME(Kind.TLS, "Tls.WrongName"),
    /** The certificate's issuer is not trusted, or it is self-signed. */
    TLS_UNKNOWN_ISSUER(Kind.TLS, "Tls.UnknownIssuer"),
    /** The certificate is unusable for another reason. */
    TLS_CERTIFICATE(Kind.TLS, "Tls.Certificate"),
    /** The far side speaks no TLS version or cipher suite of ours. */
    TLS_VERSION(Kind.TLS, "Tls.Version"),
    /** The far side ended the session with an alert. */
    TLS_ALERT(Kind.TLS, "Tls.Alert"),
    /** The target wants a client certificate, or refused the one it was given. */
    TLS_CLIENT_AUTH(Kind.TLS, "Tls.ClientAuth"),
    /** The far side speaks none of the offered protocols. */
    TLS_ALPN(Kind.TLS, "Tls.Alpn"),
    /** The far side does not speak TLS on this port. */
    TLS_NOT_TLS(Kind.TLS, "Tls.NotTls"),
    /** The handshake did not end within {@code handshake_timeout}. */
    TLS_TIMEOUT(Kind.TLS, "Tls.Timeout"),
    /** The connection ended inside the handshake. */
    TLS_CLOSED(Kind.TLS, "Tls.Closed"),
    /** The far side broke the TLS protocol. */
    TLS_PROTOCOL(Kind.TLS, "Tls.Protocol"),
    /** The request left and no answer came: the write may or may not have happened. */
    WRITE_OUTCOME_UNKNOWN(Kind.WRITE, "Write.OutcomeUnknown"),
    /** The target refused the write; it had no effect. */
    WRITE_REJECTED(Kind.WRITE, "Write.Rejected"),
    /** The same key came with another body: one of the two is not what was meant. */
    WRITE_MISMATCH(Kind.WRITE, "Write.Mismatch"),
    /** Something else stands where this write would go. */
    WRITE_CONFLICT(Kind.WRITE, "Write.Conflict"),
    /** The ledger's store failed before the write was sent; this call wrote nothing. */
    WRITE_LEDGER(Kind.WRITE, "Write.Ledger"),
    /** A write without a key to a target that would do it twice; nothing was sent. */
    WRITE_UNKEYED(Kind.WRITE, "Write.Unkeyed");

    private final Kind kind;
    private final String text;

    Reason(Kind kind, String text) {
        this.kind = kind;
        this.text = text;
    }

    /**
     * The family that this reason belongs to.
     *
     * @return the kind
     */
    public Kind kind() {
        return kind;
    }

    /** The stable name, as {@code Tls.Expired}; the same in every language. */
    @Override
    public String toString() {
        return text;
    }

    static Reason of(String text) {
        for (Reason reason : values()) {
            if (reason.text.equals(text)) {
                return reason;
            }
        }
        return INTERNAL;
    }
}
