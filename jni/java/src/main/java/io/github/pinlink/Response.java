package io.github.pinlink;

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * An answer, read to its end. A status of 400 or more is an answer too, not an exception.
 *
 * <p>It keeps the answer in one array, as it came from native code, and reads in it what it is asked for.
 */
public final class Response {
    /** Where the fields stand: see {@code jni/src/answer.rs}. */
    private static final int FLAGS = 1;
    private static final int STATUS = 2;
    private static final int BODY_LENGTH = 32;
    private static final int ADDRESS = 36;

    private static final int IS_CUT = 1;
    private static final int WAS_APPLIED_BEFORE = 8;

    private final byte[] block;
    private final int start;
    private final int end;

    private Response(byte[] block, int start, int end) {
        this.block = block;
        this.start = start;
        this.end = end;
    }

    /** The answer that is all of an array, or its exception; null stands for one for which the JVM had no room. */
    static Response unpack(byte[] block) throws PinlinkException {
        if (block == null) {
            throw Failure.lost();
        }
        return unpack(block, 0, block.length);
    }

    /** The answer that lies packed here, or its exception. */
    static Response unpack(byte[] block, int start, int end) throws PinlinkException {
        if (block[start] != Unpacking.RESPONSE) {
            throw Failure.unpack(new Unpacking(block, start + 1, end));
        }
        return new Response(block, start, end);
    }

    /**
     * The status code, 200 to 599.
     *
     * @return the status
     */
    public int status() {
        return Bytes.unsignedShort(block, start + STATUS);
    }

    /**
     * Whether the status is 200 to 299.
     *
     * @return true where it is
     */
    public boolean isSuccess() {
        return status() / 100 == 2;
    }

    private int fields() {
        int at = start + ADDRESS;
        return at + 1 + (block[at] == 0 ? 0 : block[at] + Short.BYTES);
    }

    /**
     * The first value of a header field.
     *
     * @param name the field's name, in any case
     * @return its value, or null where there is none
     */
    public String header(String name) {
        return Fields.find(block, fields(), name);
    }

    /**
     * All header fields in the order in which they came, their names in lower case.
     *
     * @return names and values
     */
    public List<Map.Entry<String, String>> headers() {
        return Fields.all(block, fields());
    }

    /**
     * The fields that came behind the body (RFC 9110 6.5).
     *
     * @return names and values
     */
    public List<Map.Entry<String, String>> trailers() {
        return Fields.all(block, Fields.end(block, fields()));
    }

    private int bodyStart() {
        return end - bodyLength();
    }

    /**
     * How many bytes the body has.
     *
     * @return its length
     */
    public int bodyLength() {
        return Bytes.integer(block, start + BODY_LENGTH);
    }

    /**
     * The body.
     *
     * @return a copy of its own
     */
    public byte[] body() {
        return Arrays.copyOfRange(block, bodyStart(), end);
    }

    /**
     * The body as a stream, without a copy.
     *
     * @return a stream from the body's first byte
     */
    public InputStream bodyStream() {
        return new ByteArrayInputStream(block, bodyStart(), bodyLength());
    }

    /**
     * The body as text, read as UTF-8; what is malformed becomes U+FFFD.
     *
     * @return the text
     */
    public String text() {
        return new String(block, bodyStart(), bodyLength(), StandardCharsets.UTF_8);
    }

    /**
     * Whether the body goes on beyond what was kept of it: that of a status of 400 or more (option {@code
     * max_error_body}), or that of a write's answer for which the JVM had no memory, of which none is kept.
     *
     * @return true where it was cut
     */
    public boolean isCut() {
        return (block[start + FLAGS] & IS_CUT) != 0;
    }

    /** Whether it is the answer to a write that had had its effect before. */
    boolean wasAppliedBefore() {
        return (block[start + FLAGS] & WAS_APPLIED_BEFORE) != 0;
    }

    /**
     * How the call went: what it used and how long each phase took.
     *
     * @return the trace
     */
    public Trace trace() {
        return new Trace(block, start);
    }

    /** Status and sizes only: headers and body may hold secrets. */
    @Override
    public String toString() {
        return "Response(" + status() + ", " + bodyLength() + " bytes)";
    }
}
