package io.github.pinlink.bench;

/** One request and its answer's body, the way a blocking caller has it. */
interface Get {
    byte[] get() throws Exception;
}
