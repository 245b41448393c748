package io.github.pinlink;

/** A budget of time ran out: {@link Kind#TIMEOUT}, or the {@code Timeout} of another kind. */
public class PinlinkTimeoutException extends PinlinkException {
    private static final long serialVersionUID = 1L;

    PinlinkTimeoutException(Failure failure) {
        super(failure);
    }
}
