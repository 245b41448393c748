package io.github.pinlink.bench;

/** So many requests, as many at once as the workload has it, and every body judged. */
interface Batch {
    void run(int count) throws Exception;
}
