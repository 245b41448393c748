package io.github.pinlink.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Blocking calls of several threads, which stay. */
final class InThreads implements Batch {
    private final List<Call> callers;
    private final ExecutorService threads;

    /** As many threads as there are callers; one that threads share may be there several times. */
    InThreads(List<Call> callers) {
        this.callers = callers;
        threads = Executors.newFixedThreadPool(callers.size(), work -> {
            Thread thread = new Thread(work, "caller");
            thread.setDaemon(true);
            return thread;
        });
    }

    @Override
    public void run(int count) throws Exception {
        List<Future<?>> works = new ArrayList<>();
        for (int i = 0; i < callers.size(); i++) {
            Call caller = callers.get(i);
            int calls = (count + i) / callers.size();
            works.add(threads.submit(() -> {
                for (int done = 0; done < calls; done++) {
                    caller.call();
                }
                return null;
            }));
        }
        for (Future<?> work : works) {
            work.get();
        }
    }
}
