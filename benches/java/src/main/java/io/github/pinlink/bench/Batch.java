package io.github.pinlink.bench;

/** So many requests, as many at once as there are connections, and every body looked at. */
interface Batch {
    void run(int count) throws Exception;
}
