package io.github.pinlink;

/** A write was refused, or may or may not have happened: {@link #outcome()} says which. */
public class PinlinkWriteException extends PinlinkException {
    private static final long serialVersionUID = 1L;

    /** The status of the answer that refused it, or 0. */
    private final int status;
    /** That answer's body. */
    private final byte[] body;

    PinlinkWriteException(Failure failure) {
        super(failure);
        status = failure.status;
        body = failure.body;
    }

    /**
     * The status of the answer that the write was refused with.
     *
     * @return the status, or 0 where no answer refused it
     */
    public int status() {
        return status;
    }

    /**
     * The body of that answer, as far as it was kept (option {@code max_error_body}); it is in no message.
     *
     * @return the bytes; empty where there are none
     */
    public byte[] body() {
        return body.clone();
    }
}
