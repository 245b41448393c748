package io.github.pinlink;

/** The family of a failure. A finer name is {@link Reason}. */
public enum Kind {
    /** The caller gave up: an interrupt or a canceled future. */
    CANCELED("Canceled"),
    /** The client was closed. */
    CLOSED("Closed"),
    /** The configuration or the input is wrong; nothing was sent. */
    CONFIG("Config"),
    /** No connection could be made or kept. */
    CONNECT("Connect"),
    /** A name could not be resolved. */
    DNS("Dns"),
    /** A fault of this library. */
    INTERNAL("Internal"),
    /** The far side sent more than a limit allows. */
    LIMIT("Limit"),
    /** Too many callers wait already. */
    OVERLOADED("Overloaded"),
    /** The target is not declared, or its address is not allowed. */
    POLICY("Policy"),
    /** The far side broke the protocol. */
    PROTOCOL("Protocol"),
    /** An explicit proxy refused. */
    PROXY("Proxy"),
    /** A budget of time ran out. */
    TIMEOUT("Timeout"),
    /** The TLS handshake or a certificate failed. */
    TLS("Tls"),
    /** A write was refused, or may or may not have happened. */
    WRITE("Write");

    private final String text;

    Kind(String text) {
        this.text = text;
    }

    /** The name in messages, the same in every language. */
    @Override
    public String toString() {
        return text;
    }
}
