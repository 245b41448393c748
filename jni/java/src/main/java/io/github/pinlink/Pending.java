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
    /** Where whoever made the call finds classes; what depends on its end finds them there too. */
    private final ClassLoader context;
    private volatile long call;

    Pending(Object[] callbacks, Function<Response, T> made) {
        this.callbacks = callbacks;
        this.made = made;
        context = contextOf(Thread.currentThread());
    }

    private static ClassLoader contextOf(Thread thread) {
        try {
            return thread.getContextClassLoader();
        } catch (SecurityException denied) {
            return null;
        }
    }

    private static void setContext(ClassLoader context) {
        try {
            Thread.currentThread().setContextClassLoader(context);
        } catch (SecurityException denied) {
            // A sandbox lets nobody: what depends on the call is as far as it lets it be.
        }
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

    /** Called from native code, on one of its threads; again, with null, where that threw. */
    void arrive(byte[] answer) {
        setContext(context);
        try {
            super.complete(made.apply(Response.unpack(answer)));
        } catch (PinlinkException failure) {
            super.completeExceptionally(Callback.explain(callbacks, failure));
        } catch (Throwable failure) {
            // An answer that came and can't be taken: whoever waits learns of it.
            super.completeExceptionally(failure);
        } finally {
            setContext(null);
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
