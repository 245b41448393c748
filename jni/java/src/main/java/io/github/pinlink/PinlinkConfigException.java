package io.github.pinlink;

/** The configuration or the input is wrong: nothing was sent, and trying again would not help. */
public class PinlinkConfigException extends PinlinkException {
    private static final long serialVersionUID = 1L;

    PinlinkConfigException(Failure failure) {
        super(failure);
    }

    /**
     * A mistake that an adapter finds: {@link Reason#CONFIG_INVALID_INPUT}.
     *
     * @param detail what is wrong and what to do instead, without secrets
     */
    public PinlinkConfigException(String detail) {
        super(Failure.notSent(Reason.CONFIG_INVALID_INPUT, detail));
    }
}
