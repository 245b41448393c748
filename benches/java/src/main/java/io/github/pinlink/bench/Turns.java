package io.github.pinlink.bench;

import com.sun.management.ThreadMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;

/** What a turn is, and what is said of it: times by the monotonic clock; CPU time is counted by whoever asked. */
final class Turns {
    /** How many looks at the compiler it must have been idle in, and how many there are at least. */
    private static final int IDLE_LOOKS = 3;

    private static final int LEAST_LOOKS = 12;
    private static final long LEAST_WARM_UP_NS = 1_000_000_000L;
    private static final long WARM_UP_NS = 10_000_000_000L;

    /** What makes the peer; a failure of it is an answer like any other. */
    interface Made<T> {
        T make() throws Exception;
    }

    private final Made<Call> makesCall;
    private final Made<Batch> makesBatch;
    private Call call;
    private Batch batch;

    private final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private final CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();

    private Turns(Made<Call> makesCall, Made<Batch> makesBatch) {
        this.makesCall = makesCall;
        this.makesBatch = makesBatch;
    }

    /** Takes turns of single calls, each with its time, until the input ends. */
    static void oneByOne(Made<Call> call) throws IOException {
        new Turns(call, null).serve();
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
            String[] words = line.split(" ");
            if (words[0].equals("warm")) {
                warm(Integer.parseInt(words[1]));
                return "{}";
            }
            int count = Integer.parseInt(words[0]);
            return call == null ? batches(count, Long.parseLong(words[1]) * 1_000_000) : calls(count);
        } catch (Exception failure) {
            return "{\"error\":\"" + failure.toString().replaceAll("[^ -~]|[\"\\\\]", "?") + "\"}";
        }
    }

    private void make() throws Exception {
        if (makesCall != null && call == null) {
            call = makesCall.make();
        } else if (makesBatch != null && batch == null) {
            batch = makesBatch.make();
        }
    }

    /** Until the compiler has nothing more to do. */
    private void warm(int count) throws Exception {
        long begun = System.nanoTime();
        long elapsed = 0;
        int idle = 0;
        for (int looks = 0; idle < IDLE_LOOKS || looks < LEAST_LOOKS || elapsed < LEAST_WARM_UP_NS; looks++) {
            long before = compiler.getTotalCompilationTime();
            if (call == null) {
                batch.run(count);
            } else {
                calls(count);
            }
            idle = compiler.getTotalCompilationTime() - before > 1 ? 0 : idle + 1;
            elapsed = System.nanoTime() - begun;
            if (elapsed > WARM_UP_NS) {
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

    /** The same, without what the look before this one has allocated. */
    private long allocatedSince(long before) {
        long now = allocated();
        long ofALook = allocated() - now;
        return now - before - ofALook;
    }

    private String calls(int count) throws Exception {
        long[] times = new long[count];
        long before = allocated();
        long begun = System.nanoTime();
        for (int i = 0; i < count; i++) {
            long sent = System.nanoTime();
            call.call();
            times[i] = System.nanoTime() - sent;
        }
        long elapsed = System.nanoTime() - begun;
        StringBuilder answer = figures(count, elapsed, allocatedSince(before)).append(",\"latencies_ns\":[");
        for (int i = 0; i < count; i++) {
            answer.append(i == 0 ? "" : ",").append(times[i]);
        }
        return answer.append("]}").toString();
    }

    private String batches(int count, long atLeast) throws Exception {
        long before = allocated();
        long begun = System.nanoTime();
        long requests = 0;
        do {
            batch.run(count);
            requests += count;
        } while (System.nanoTime() - begun < atLeast);
        long elapsed = System.nanoTime() - begun;
        return figures(requests, elapsed, allocatedSince(before)).append('}').toString();
    }

    private static StringBuilder figures(long requests, long elapsed, long bytes) {
        return new StringBuilder("{\"requests\":")
                .append(requests)
                .append(",\"seconds\":")
                .append(elapsed / 1e9)
                .append(",\"heap\":")
                .append(bytes / (double) requests);
    }
}
