package io.github.pinlink.bench;

import com.sun.management.ThreadMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;

/** What a turn is, and what is said of it: times by the monotonic clock; CPU time is counted by whoever asked. */
final class Turns {
    /** Calls between two looks at the compiler, and how many of them it must have been idle in. */
    private static final int STRETCH = 1000;

    private static final int IDLE_STRETCHES = 3;
    private static final int LEAST_STRETCHES = 12;
    private static final long WARM_UP_NS = 10_000_000_000L;

    /** What makes the peer; a failure of it is an answer like any other. */
    interface Made<T> {
        T make() throws Exception;
    }

    private final Made<Get> makesGet;
    private final Made<Batch> makesBatch;
    private Get get;
    private Batch batch;
    /** How long a request of the last turn took. */
    private double each;

    private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private final CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();

    private Turns(Made<Get> makesGet, Made<Batch> makesBatch) {
        this.makesGet = makesGet;
        this.makesBatch = makesBatch;
    }

    /** Takes turns of single calls, each with its time, until the input ends. */
    static void oneByOne(Made<Get> get) throws IOException {
        new Turns(get, null).serve();
    }

    /** Takes turns of batches until the input ends. */
    static void atOnce(Made<Batch> batch) throws IOException {
        new Turns(null, batch).serve();
    }

    private void serve() throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(answer(line));
        }
    }

    private String answer(String line) {
        try {
            make();
            if (line.equals("warm")) {
                warm();
                return "{}";
            }
            String[] words = line.split(" ");
            int count = Integer.parseInt(words[0]);
            return get == null ? batches(count, Long.parseLong(words[1]) * 1_000_000) : calls(count);
        } catch (Exception failure) {
            return "{\"error\":\"" + failure.toString().replaceAll("[^ -~]|[\"\\\\]", "?") + "\"}";
        }
    }

    private void make() throws Exception {
        if (makesGet != null && get == null) {
            get = makesGet.make();
        } else if (makesBatch != null && batch == null) {
            batch = makesBatch.make();
        }
    }

    /** Until the compiler has nothing more to do. */
    private void warm() throws Exception {
        long begun = System.nanoTime();
        int idle = 0;
        for (int done = 0; idle < IDLE_STRETCHES || done < LEAST_STRETCHES; done++) {
            long before = compiler.getTotalCompilationTime();
            if (get == null) {
                batch.run(STRETCH);
            } else {
                calls(STRETCH);
            }
            idle = compiler.getTotalCompilationTime() - before > 1 ? 0 : idle + 1;
            if (System.nanoTime() - begun > WARM_UP_NS) {
                return;
            }
        }
    }

    /** Bytes that all threads have allocated so far. */
    private long allocated() {
        long all = 0;
        for (long bytes : threads.getThreadAllocatedBytes(threads.getAllThreadIds())) {
            all += Math.max(bytes, 0);
        }
        return all;
    }

    private String calls(int count) throws Exception {
        long[] times = new long[count];
        long before = allocated();
        long begun = System.nanoTime();
        for (int i = 0; i < count; i++) {
            long sent = System.nanoTime();
            byte[] body = get.get();
            times[i] = System.nanoTime() - sent;
            At.judged(body);
        }
        long elapsed = System.nanoTime() - begun;
        long bytes = allocated() - before;
        Arrays.sort(times);
        return figures(count, elapsed, bytes) + ",\"p50_us\":" + quantile(times, 0.5) / 1e3 + ",\"p99_us\":"
                + quantile(times, 0.99) / 1e3 + "}";
    }

    /** Until the time is over; in smaller batches where one would take much longer than that. */
    private String batches(int most, long atLeast) throws Exception {
        int count = each == 0 || atLeast == 0 ? most
                : (int) Math.min(most, Math.max(4L * At.CONNECTIONS, atLeast / each));
        long before = allocated();
        long begun = System.nanoTime();
        long requests = 0;
        do {
            batch.run(count);
            requests += count;
        } while (System.nanoTime() - begun < atLeast);
        long elapsed = System.nanoTime() - begun;
        each = elapsed / (double) requests;
        return figures(requests, elapsed, allocated() - before) + "}";
    }

    private static String figures(long requests, long elapsed, long bytes) {
        double each = bytes / (double) requests;
        return "{\"requests\":" + requests + ",\"seconds\":" + elapsed / 1e9 + ",\"heap\":" + each;
    }

    /** A quantile of sorted values, interpolated. */
    private static double quantile(long[] sorted, double part) {
        double at = part * (sorted.length - 1);
        int below = (int) at;
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
    }
}
