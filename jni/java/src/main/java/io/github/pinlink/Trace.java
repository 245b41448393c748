package io.github.pinlink;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;

/** How a call went: what it used and how long each phase took. */
public final class Trace {
    private static final int FLAGS = 1;
    private static final int ATTEMPTS = 4;
    private static final int TIMES = 8;
    private static final int ADDRESS = 36;

    private static final int IS_REUSED = 2;
    private static final int IS_HTTP2 = 4;

    private final byte[] block;
    private final int start;

    Trace(byte[] block, int start) {
        this.block = block;
        this.start = start;
    }

    /**
     * The address that answered.
     *
     * @return the address, or null where it is not known
     */
    public InetSocketAddress address() {
        int at = start + ADDRESS;
        int size = block[at];
        if (size == 0) {
            return null;
        }
        try {
            InetAddress address = InetAddress.getByAddress(Arrays.copyOfRange(block, at + 1, at + 1 + size));
            return new InetSocketAddress(address, Bytes.unsignedShort(block, at + 1 + size));
        } catch (UnknownHostException impossible) {
            // Only a length other than 4 and 16 is refused.
            throw new AssertionError(impossible);
        }
    }

    /**
     * How many times the request was tried, the successful time included.
     *
     * @return the number of tries
     */
    public int attempts() {
        return Bytes.integer(block, start + ATTEMPTS);
    }

    /**
     * Whether the connection had served another request before.
     *
     * @return true where it had
     */
    public boolean isReused() {
        return (block[start + FLAGS] & IS_REUSED) != 0;
    }

    /**
     * Whether it was HTTP/2.
     *
     * @return true where it was
     */
    public boolean isHttp2() {
        return (block[start + FLAGS] & IS_HTTP2) != 0;
    }

    private Duration time(int index) {
        long microseconds = Bytes.integer(block, start + TIMES + index * Integer.BYTES) & 0xffffffffL;
        return Duration.of(microseconds, ChronoUnit.MICROS);
    }

    /**
     * From the call to the lease of a connection, dialling included.
     *
     * @return the time, to the microsecond
     */
    public Duration queue() {
        return time(0);
    }

    /**
     * Making the TCP connection; zero on a reused one.
     *
     * @return the time, to the microsecond
     */
    public Duration connect() {
        return time(1);
    }

    /**
     * The TLS handshake; zero on a reused or plain connection.
     *
     * @return the time, to the microsecond
     */
    public Duration handshake() {
        return time(2);
    }

    /**
     * From the lease to the head of the answer.
     *
     * @return the time, to the microsecond
     */
    public Duration waiting() {
        return time(3);
    }

    /**
     * From the head to the end of the answer.
     *
     * @return the time, to the microsecond
     */
    public Duration receive() {
        return time(4);
    }

    /**
     * The whole call.
     *
     * @return the time, to the microsecond
     */
    public Duration total() {
        return time(5);
    }
}
