package io.github.pinlink.maxcompute;

import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.udf.ExecutionContext;
import io.github.pinlink.PinlinkConfigException;
import io.github.pinlink.PinlinkException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Tells the platform that a function is alive, so that a batch of slow rows is not taken for a hanging one and its
 * worker killed after {@code odps.function.timeout}.
 *
 * <p>The sandbox lets a function start no thread, and a call blocks the one it has. So a sign is given between calls,
 * by {@link #claim()}; a call ends before the platform's time by itself ({@link Job#timeout(ExecutionContext)}). What
 * may last longer is sent without waiting and awaited in slices: {@link #await(CompletableFuture)}.
 *
 * <p>For one thread, the function's own.
 */
public final class Alive {
    /** A sign costs a word to the platform, so no row needs more than one in so many nanoseconds. */
    private static final long MOST = TimeUnit.SECONDS.toNanos(10);

    private final Runnable sign;
    private final long interval;
    private long given;

    private Alive(Runnable sign, Duration limit) {
        this.sign = sign;
        interval = Math.min(limit.toNanos() / 10, MOST);
        given = System.nanoTime() - interval;
    }

    /**
     * For a function.
     *
     * @param context as {@code setup} gets it
     * @return what gives its signs
     * @throws PinlinkConfigException as {@link Job#timeout(ExecutionContext)}
     */
    public static Alive of(ExecutionContext context) throws PinlinkConfigException {
        return new Alive(context::claimAlive, Job.limit(context));
    }

    /**
     * For a MapReduce task.
     *
     * @param context as {@code setup} gets it
     * @return what gives its signs
     * @throws PinlinkConfigException as {@link Job#timeout(TaskContext)}
     */
    public static Alive of(TaskContext context) throws PinlinkConfigException {
        return new Alive(context::progress, Job.limit(context));
    }

    /**
     * Gives a sign, unless one was given just before: within a tenth of the platform's time, and 10 seconds. For
     * every row, or before every batch.
     */
    public void claim() {
        long now = System.nanoTime();
        if (now - given >= interval) {
            given = now;
            sign.run();
        }
    }

    /**
     * Waits on this thread, and gives signs meanwhile.
     *
     * @param answer what is waited for: {@link io.github.pinlink.Client#sendAsync}
     * @param <T> what it brings
     * @return what it brought
     * @throws PinlinkException what it failed with
     * @throws InterruptedIOException where this thread is interrupted: the call is ended, and the flag stays set
     */
    public <T> T await(CompletableFuture<T> answer) throws PinlinkException, InterruptedIOException {
        while (true) {
            claim();
            try {
                return answer.get(interval, TimeUnit.NANOSECONDS);
            } catch (TimeoutException still) {
                continue;
            } catch (InterruptedException interrupted) {
                answer.cancel(true);
                Thread.currentThread().interrupt();
                throw new InterruptedIOException("the calling thread was interrupted");
            } catch (ExecutionException failed) {
                Throwable cause = failed.getCause();
                if (cause instanceof PinlinkException) {
                    throw (PinlinkException) cause;
                }
                if (cause instanceof RuntimeException) {
                    throw (RuntimeException) cause;
                }
                throw new IllegalStateException(cause);
            }
        }
    }
}
