package io.github.pinlink;

/** The configuration or the input is wrong: nothing was sent, and trying again would not help. */
public class PinlinkConfigException extends PinlinkException {
    private static final long serialVersionUID = 1L;

    PinlinkConfigException(Failure failure) {
        super(failure);
    }
}
