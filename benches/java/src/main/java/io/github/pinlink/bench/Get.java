package io.github.pinlink.bench;

import java.io.IOException;
import java.io.InputStream;

/** One request and its answer's body, the way a blocking caller has it. */
interface Get {
    byte[] get() throws Exception;

    /** The same with a body that is read while it comes, and counted; of those that take part in {@code stream}. */
    default long stream() throws Exception {
        throw new UnsupportedOperationException();
    }

    /** Reads a stream to its end. */
    static long counted(InputStream in) throws IOException {
        byte[] piece = new byte[64 << 10];
        long all = 0;
        for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
            all += got;
        }
        return all;
    }
}
