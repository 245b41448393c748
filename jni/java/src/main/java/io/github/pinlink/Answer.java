package io.github.pinlink;

import java.io.IOException;
import java.io.InputStream;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;

/**
 * An answer whose body is read while it comes, in constant memory. Close it: until its body has ended or it is
 * closed, it holds its connection. One that is forgotten gives it back to a call that begins after it was collected.
 *
 * <p>From the head on there is no total deadline, but less than {@code min_progress} within {@code stall_timeout} is
 * an exception. Exceptions of {@code read} are {@link PinlinkException}s; a body that broke off never ends as if it
 * were whole.
 */
public final class Answer extends InputStream {
    private final long handle;
    private final long length;
    private final Response head;
    private final Unclosed unclosed;
    /** What has come and was not asked for yet; none while it is read, and none before and after that. */
    private final AtomicReference<Piece> kept = new AtomicReference<>();
    private boolean isAtEnd;
    private volatile boolean isClosed;
    private List<Map.Entry<String, String>> trailers = Collections.emptyList();

    Answer(byte[] opened) throws PinlinkException {
        Unpacking fields = Unpacking.value(opened);
        handle = fields.longer();
        unclosed = Unclosed.stream(this, handle);
        length = fields.longer();
        head = fields.response();
    }

    /**
     * The status code, 200 to 599.
     *
     * @return the status
     */
    public int status() {
        return head.status();
    }

    /**
     * Whether the status is 200 to 299.
     *
     * @return true where it is
     */
    public boolean isSuccess() {
        return head.isSuccess();
    }

    /**
     * The first value of a header field.
     *
     * @param name the field's name, in any case
     * @return its value, or null where there is none
     */
    public String header(String name) {
        return head.header(name);
    }

    /**
     * All header fields in the order in which they came, their names in lower case.
     *
     * @return names and values
     */
    public List<Map.Entry<String, String>> headers() {
        return head.headers();
    }

    /**
     * The fields that came behind the body (RFC 9110 6.5).
     *
     * @return names and values; none before the body has ended
     */
    public synchronized List<Map.Entry<String, String>> trailers() {
        return trailers;
    }

    /**
     * The length of the whole body.
     *
     * @return how many bytes, or -1 where the target has not announced it
     */
    public long length() {
        return length;
    }

    /**
     * How the call went until the head of its answer had come.
     *
     * @return the trace
     */
    public Trace trace() {
        return head.trace();
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public synchronized int read(byte[] into, int offset, int size) throws IOException {
        if (offset < 0 || size < 0 || size > into.length - offset) {
            throw new IndexOutOfBoundsException();
        }
        if (isClosed) {
            throw Failure.of(Reason.CLOSED, "the answer's stream was closed");
        }
        if (size == 0) {
            return 0;
        }
        Piece piece = kept.getAndSet(null);
        try {
            if (piece == null || piece.isEmpty()) {
                if (isAtEnd) {
                    return -1;
                }
                piece = piece == null ? Piece.lend() : piece;
                if (!piece.fill(handle)) {
                    isAtEnd = true;
                    trailers = Unpacking.value(Native.trailers(handle)).headers();
                    unclosed.close();
                    return -1;
                }
            }
            return piece.take(into, offset, size);
        } finally {
            kept.set(piece);
            // Whoever closed it meanwhile has found none.
            if (isAtEnd || isClosed) {
                letGo();
            }
        }
    }

    private void letGo() {
        Piece piece = kept.getAndSet(null);
        if (piece != null) {
            piece.giveBack();
        }
    }

    /** Ends it; its connection is closed unless the body had ended. Closing again does nothing. */
    @Override
    public void close() {
        if (!isClosed) {
            isClosed = true;
            unclosed.close();
            letGo();
        }
    }
}
