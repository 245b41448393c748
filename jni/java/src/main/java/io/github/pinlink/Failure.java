package io.github.pinlink;

import java.time.Duration;

/**
 * What an exception is made of: unpacked from an answer, or this side's own. Which class it becomes is decided here.
 */
final class Failure {
    final Reason reason;
    final Phase phase;
    final Delivery delivery;
    final Outcome outcome;
    final String host;
    final String address;
    final int attempts;
    final Duration elapsed;
    final String message;
    final int status;
    final byte[] body;

    private Failure(Unpacking fields) {
        reason = Reason.of(fields.text());
        phase = Phase.of(fields.text());
        delivery = Delivery.of(fields.text());
        outcome = Outcome.of(fields.text());
        host = orNull(fields.text());
        address = orNull(fields.text());
        attempts = fields.integer();
        long nanoseconds = fields.longer();
        elapsed = nanoseconds < 0 ? null : Duration.ofNanos(nanoseconds);
        message = fields.text();
        status = fields.integer();
        body = fields.bytes();
    }

    private Failure(Reason reason, Phase phase, Delivery delivery, Outcome outcome, String detail) {
        this.reason = reason;
        this.phase = phase;
        this.delivery = delivery;
        this.outcome = outcome;
        host = null;
        address = null;
        attempts = 0;
        elapsed = null;
        message = reason + ": " + detail;
        status = 0;
        body = new byte[0];
    }

    private static String orNull(String text) {
        return text.isEmpty() ? null : text;
    }

    /** The exception that a packed answer tells of; {@code fields} stand behind its first byte. */
    static PinlinkException unpack(Unpacking fields) {
        return new Failure(fields).exception();
    }

    /** An exception of this side's own, before anything was sent. */
    static PinlinkException of(Reason reason, String detail) {
        return notSent(reason, detail).exception();
    }

    static Failure notSent(Reason reason, String detail) {
        return new Failure(reason, Phase.CONFIGURE, Delivery.NOT_SENT, Outcome.REJECTED, detail);
    }

    /** What native code had to say found no room: nobody knows what became of the call. */
    static PinlinkException lost() {
        String detail = "the JVM has no memory for the answer";
        return new Failure(Reason.LIMIT_BODY, Phase.RECEIVE, Delivery.UNKNOWN, Outcome.UNKNOWN, detail).exception();
    }

    /** Malformed input. */
    static PinlinkConfigException input(String detail) {
        return new PinlinkConfigException(notSent(Reason.CONFIG_INVALID_INPUT, detail));
    }

    private PinlinkException exception() {
        switch (reason) {
            case CONNECT_TIMEOUT:
            case DNS_TIMEOUT:
            case PROXY_TIMEOUT:
            case TLS_TIMEOUT:
                return new PinlinkTimeoutException(this);
            default:
        }
        switch (reason.kind()) {
            case TIMEOUT:
                return new PinlinkTimeoutException(this);
            case WRITE:
                return new PinlinkWriteException(this);
            case CONFIG:
                return new PinlinkConfigException(this);
            default:
                return new PinlinkException(this);
        }
    }
}
