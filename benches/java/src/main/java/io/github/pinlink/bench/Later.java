package io.github.pinlink.bench;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** Requests that nobody waits for one by one: each answer's end begins the next, as many at once as connections. */
final class Later implements Batch {
    /** What gives an answer's body later. */
    interface Source {
        CompletableFuture<byte[]> later() throws Exception;
    }

    private final Source source;

    Later(Source source) {
        this.source = source;
    }

    @Override
    public void run(int count) throws Exception {
        new Run(source, count).await();
    }

    /** One batch. */
    private static final class Run {
        private final Source source;
        private final AtomicInteger left;
        private final CountDownLatch chains = new CountDownLatch(At.CONNECTIONS);
        private final AtomicReference<Throwable> failure = new AtomicReference<>();

        Run(Source source, int count) {
            this.source = source;
            left = new AtomicInteger(count);
        }

        void await() throws Exception {
            for (int i = 0; i < At.CONNECTIONS; i++) {
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
                    At.judged(body);
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
