package io.github.pinlink.maxcompute;

import com.aliyun.odps.counter.Counter;
import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.udf.ExecutionContext;
import io.github.pinlink.Client;
import io.github.pinlink.PinlinkException;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Reports what a client has done as counters of the job, which the platform sums up over all workers and shows in
 * Logview, in the group {@code pinlink}.
 *
 * <p>A job has 64 counters in all, its author's included: so only a few are used unless more are asked for. Figures
 * that no sum makes sense of (latencies, live connections) are left to the client's summary.
 *
 * <pre>{@code
 * counters = Counters.of(context, client);   // in setup
 * counters.report();                         // in close, and now and then
 * client.close();
 * }</pre>
 */
public final class Counters {
    /** The group under which they stand. */
    public static final String GROUP = "pinlink";

    /** Names of {@code Stats}, the most telling first. A peak only grows, and the peaks' sum bounds the job's. */
    private static final List<String> NAMES = Collections.unmodifiableList(Arrays.asList(
            "requests", "failures", "retries", "refusals", "waits", "connections_peak", "lookups_dns", "lookups_system",
            "dials", "dial_failures", "replaced", "reuses", "answers", "handshakes", "resumptions", "http2", "died",
            "expired", "evictions", "drained", "refreshes"));
    private static final int FEW = 8;

    /** What was reported of the one shared client: many functions of a worker may report it, each in its turn. */
    private static final Map<String, Long> SHARED = new HashMap<>();

    private final Client client;
    private final Map<String, Counter> counters;
    private final Map<String, Long> reported;

    private Counters(Client client, int most, Function<String, Counter> platform) {
        this.client = client;
        reported = client.isShared() ? SHARED : new HashMap<>();
        counters = new HashMap<>();
        for (String name : NAMES.subList(0, Math.max(0, Math.min(most, NAMES.size())))) {
            try {
                counters.put(name, platform.apply(name));
            } catch (IllegalArgumentException refused) {
                // All 64 are taken: a figure less, which is no reason to fail a job.
                break;
            }
        }
    }

    /**
     * Takes the eight counters that tell most.
     *
     * @param context as {@code setup} gets it
     * @param client whose doings are reported, from its beginning
     * @return what reports them
     */
    public static Counters of(ExecutionContext context, Client client) {
        return of(context, client, FEW);
    }

    /**
     * Takes at most so many counters.
     *
     * @param context as {@code setup} gets it
     * @param client whose doings are reported, from its beginning
     * @param most how many, from 0; there are {@link #names()}
     * @return what reports them
     */
    public static Counters of(ExecutionContext context, Client client, int most) {
        return new Counters(client, most, name -> context.getCounter(GROUP, name));
    }

    /**
     * Takes the eight counters that tell most.
     *
     * @param context as {@code setup} gets it
     * @param client whose doings are reported, from its beginning
     * @return what reports them
     */
    public static Counters of(TaskContext context, Client client) {
        return of(context, client, FEW);
    }

    /**
     * Takes at most so many counters.
     *
     * @param context as {@code setup} gets it
     * @param client whose doings are reported, from its beginning
     * @param most how many, from 0; there are {@link #names()}
     * @return what reports them
     */
    public static Counters of(TaskContext context, Client client, int most) {
        return new Counters(client, most, name -> context.getCounter(GROUP, name));
    }

    /**
     * The counters that there are, the most telling first.
     *
     * @return their names, as in {@link io.github.pinlink.Stats#counters()}
     */
    public static List<String> names() {
        return NAMES;
    }

    /**
     * Adds what has happened since the last report. However many functions of a worker report the shared client, it is
     * counted once.
     *
     * @throws PinlinkException where the client is closed
     */
    public void report() throws PinlinkException {
        synchronized (reported) {
            Map<String, Long> stats = client.stats().counters();
            for (Map.Entry<String, Counter> counter : counters.entrySet()) {
                String name = counter.getKey();
                long now = stats.getOrDefault(name, 0L);
                long more = now - reported.getOrDefault(name, 0L);
                if (more > 0) {
                    counter.getValue().increment(more);
                    reported.put(name, now);
                }
            }
        }
    }
}
