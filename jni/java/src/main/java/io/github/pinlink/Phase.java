package io.github.pinlink;

/** Where in a call it happened. */
public enum Phase {
    /** Checking the configuration and the input. */
    CONFIGURE("configure"),
    /** Waiting for a connection to come free. */
    QUEUE("queue"),
    /** Resolving a name. */
    RESOLVE("resolve"),
    /** Making a TCP connection. */
    CONNECT("connect"),
    /** The TLS handshake. */
    HANDSHAKE("handshake"),
    /** Writing the request. */
    SEND("send"),
    /** The request is out; waiting for the head of the answer. */
    WAIT("wait"),
    /** Reading the answer. */
    RECEIVE("receive");

    private final String text;

    Phase(String text) {
        this.text = text;
    }

    /** The name in messages, the same in every language. */
    @Override
    public String toString() {
        return text;
    }

    static Phase of(String text) {
        for (Phase value : values()) {
            if (value.text.equals(text)) {
                return value;
            }
        }
        return RECEIVE;
    }
}
