package io.github.pinlink.bench;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** Requests that nobody waits for one by one: each answer's end begins the next. */
final class Later implements Batch {
    /** What gives an answer's body later. */
    interface Source {
        CompletableFuture<byte[]> later() throws Exception;
    }

    private final At at;
    private final Source source;

    /** The first request goes alone: the connection that it makes is the one that all share over HTTP/2. */
    Later(At at, Source source) throws Exception {
        this.at = at;
        this.source = source;
        at.judged(source.later().get());
    }

    @Override
    public void run(int count) throws Exception {
        new Run(count).await();
    }

    /** One batch. */
    private final class Run {
        private final AtomicInteger left;
        private final CountDownLatch chains = new CountDownLatch(at.atOnce);
        private final AtomicReference<Throwable> failure = new AtomicReference<>();

        Run(int count) {
            left = new AtomicInteger(count);
        }

        void await() throws Exception {
            for (int i = 0; i < at.atOnce; i++) {
                next();
            }
            chains.await();
            if (failure.get() != null) {
                throw new IllegalStateException(failure.get());
            }
        }

        private void next() {
            if (failure.get() != null || left.getAndDecrement() <= 0) {
                chains.countDown();
                return;
            }
            try {
                source.later().whenComplete(this::ended);
            } catch (Exception refused) {
                ended(null, refused);
            }
        }

        private void ended(byte[] body, Throwable why) {
            try {
                if (why == null) {
                    at.judged(body);
                } else {
                    failure.set(why);
                }
            } catch (IllegalStateException another) {
                failure.set(another);
            }
            next();
        }
    }
}
