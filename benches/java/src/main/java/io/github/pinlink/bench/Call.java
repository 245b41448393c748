package io.github.pinlink.bench;

/** One request, its answer's body read and judged. */
interface Call {
    void call() throws Exception;
}
