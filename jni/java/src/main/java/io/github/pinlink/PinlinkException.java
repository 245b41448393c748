package io.github.pinlink;

import java.io.IOException;
import java.time.Duration;

/**
 * A failed call, resolution or configuration: what failed, where, and whether the target may have seen the request.
 *
 * <p>The message is one line: reason, host, address, what happened, phase, delivery, attempts, elapsed time, and what
 * to do about it. It holds no header value, no query, no body and no credential.
 */
public class PinlinkException extends IOException {
    private static final long serialVersionUID = 1L;

    /** What failed. */
    private final Reason reason;
    /** Where in the call. */
    private final Phase phase;
    /** Whether the target may have seen it. */
    private final Delivery delivery;
    /** What it says about a write. */
    private final Outcome outcome;
    /** The target, or null. */
    private final String host;
    /** The pinned address, or null. */
    private final String address;
    /** How many tries there were. */
    private final int attempts;
    /** How long the call had taken, or null. */
    private final Duration elapsed;

    PinlinkException(Failure failure) {
        super(failure.message);
        reason = failure.reason;
        phase = failure.phase;
        delivery = failure.delivery;
        outcome = failure.outcome;
        host = failure.host;
        address = failure.address;
        attempts = failure.attempts;
        elapsed = failure.elapsed;
    }

    /**
     * The family of the failure.
     *
     * @return the kind
     */
    public Kind kind() {
        return reason.kind();
    }

    /**
     * The finer reason.
     *
     * @return the reason
     */
    public Reason reason() {
        return reason;
    }

    /**
     * Where in the call it happened.
     *
     * @return the phase
     */
    public Phase phase() {
        return phase;
    }

    /**
     * Whether the target may have seen the request.
     *
     * @return the delivery
     */
    public Delivery delivery() {
        return delivery;
    }

    /**
     * What the failure says about a write: {@link Outcome#REJECTED} where it surely had no effect, else
     * {@link Outcome#UNKNOWN}.
     *
     * @return the outcome
     */
    public Outcome outcome() {
        return outcome;
    }

    /**
     * The host and port of the target.
     *
     * @return the target, or null where none was known
     */
    public String host() {
        return host;
    }

    /**
     * The pinned address that was in use, with its port.
     *
     * @return the address, or null where none was in use
     */
    public String address() {
        return address;
    }

    /**
     * How many times the request was tried.
     *
     * @return the number of tries; 0 where nothing was tried
     */
    public int attempts() {
        return attempts;
    }

    /**
     * How long the call had taken.
     *
     * @return the time, or null where nothing was tried
     */
    public Duration elapsed() {
        return elapsed;
    }
}
