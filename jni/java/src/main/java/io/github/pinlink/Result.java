package io.github.pinlink;

import java.util.Objects;

/**
 * The outcome of one row of a batch: a value, or what went wrong with this row. One failing row fails no other.
 *
 * @param <T> what a row brings
 */
public final class Result<T> {
    private final T value;
    private final PinlinkException failure;

    private Result(T value, PinlinkException failure) {
        this.value = value;
        this.failure = failure;
    }

    static <T> Result<T> of(T value) {
        return new Result<>(Objects.requireNonNull(value), null);
    }

    static <T> Result<T> failed(PinlinkException failure) {
        return new Result<>(null, Objects.requireNonNull(failure));
    }

    /**
     * Whether there is a value.
     *
     * @return false where the row failed
     */
    public boolean isOk() {
        return failure == null;
    }

    /**
     * The row's value.
     *
     * @return the value
     * @throws PinlinkException where the row failed: what {@link #failure()} returns
     */
    public T value() throws PinlinkException {
        if (failure != null) {
            throw failure;
        }
        return value;
    }

    /**
     * What went wrong.
     *
     * @return the failure, or null where there is a value
     */
    public PinlinkException failure() {
        return failure;
    }

    @Override
    public String toString() {
        return failure == null ? "Result(" + value + ")" : "Result(" + failure.getMessage() + ")";
    }
}
