package io.github.pinlink;

import java.util.concurrent.CompletableFuture;

/** A call that runs without its caller. However it is completed, the native call ends with it. */
final class Pending extends CompletableFuture<Response> {
    private final Object[] callbacks;
    private volatile long call;

    Pending(Object[] callbacks) {
        this.callbacks = callbacks;
    }

    /** The native call has begun, unless it has ended already. */
    void begun(long number) {
        call = number;
        if (isDone()) {
            Native.cancel(number);
        }
    }

    /** Called from native code, once. */
    void arrive(byte[] answer) {
        try {
            super.complete(Response.unpack(answer));
        } catch (PinlinkException failure) {
            super.completeExceptionally(Callback.explain(callbacks, failure));
        }
    }

    @Override
    public boolean cancel(boolean mayInterruptIfRunning) {
        return ended(super.cancel(mayInterruptIfRunning));
    }

    @Override
    public boolean complete(Response value) {
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
