package io.github.pinlink;

import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * A call that runs without its caller. However it is completed, the native call ends with it.
 *
 * @param <T> what it brings
 */
final class Pending<T> extends CompletableFuture<T> {
    private final Object[] callbacks;
    private final Function<Response, T> made;
    private volatile long call;

    Pending(Object[] callbacks, Function<Response, T> made) {
        this.callbacks = callbacks;
        this.made = made;
    }

    /** The native call has begun, unless it has ended already; less than 0 where there is no memory for one. */
    void begun(long number) {
        if (number < 0) {
            completeExceptionally(Failure.of(Reason.INTERNAL, "the JVM has no memory left"));
            return;
        }
        call = number;
        if (isDone()) {
            Native.cancel(number);
        }
    }

    /** Called from native code, once. */
    void arrive(byte[] answer) {
        try {
            super.complete(made.apply(Response.unpack(answer)));
        } catch (PinlinkException failure) {
            super.completeExceptionally(Callback.explain(callbacks, failure));
        }
    }

    @Override
    public boolean cancel(boolean mayInterruptIfRunning) {
        return ended(super.cancel(mayInterruptIfRunning));
    }

    @Override
    public boolean complete(T value) {
        return ended(super.complete(value));
    }

    @Override
    public boolean completeExceptionally(Throwable failure) {
        return ended(super.completeExceptionally(failure));
    }

    private boolean ended(boolean byThis) {
        if (byThis) {
            Native.cancel(call);
        }
        return byThis;
    }
}
