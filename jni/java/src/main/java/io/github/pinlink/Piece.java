package io.github.pinlink;

import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * What was read of an answer and not asked for yet: a direct buffer into which native code reads. Small reads are served
 * from it without a crossing.
 *
 * <p>Lent from a small table, as {@link Packet}s are: a stream that was short leaves no memory behind that only the
 * collector frees. One that is forgotten is left to it.
 */
final class Piece {
    /**
     * So much that a crossing is little beside it, and that the kernel lets its receive window grow; so little that it is in
     * the processor's cache when it is taken on.
     */
    private static final int SIZE = 128 * 1024;

    /** How many are kept: 4 MiB in all. */
    private static final int KEPT = 32;

    private static final AtomicReferenceArray<Piece> TABLE = new AtomicReferenceArray<>(KEPT);

    private final ByteBuffer buffer = ByteBuffer.allocateDirect(SIZE);
    private final long address = Native.address(buffer);

    private Piece() {
        if (address == 0) {
            throw new UnsupportedOperationException("this JVM gives native code no access to direct buffers");
        }
    }

    /** Lends one, empty. */
    static Piece lend() {
        for (int place = 0; place < KEPT; place++) {
            // A look before the exchange: an empty place costs no write.
            if (TABLE.get(place) != null) {
                Piece piece = TABLE.getAndSet(place, null);
                if (piece != null) {
                    return piece.emptied();
                }
            }
        }
        return new Piece().emptied();
    }

    /** Takes it back. One too many is left to the collector. */
    void giveBack() {
        for (int place = 0; place < KEPT; place++) {
            if (TABLE.get(place) == null && TABLE.compareAndSet(place, null, this)) {
                return;
            }
        }
    }

    private Piece emptied() {
        buffer.limit(0);
        return this;
    }

    boolean isEmpty() {
        return !buffer.hasRemaining();
    }

    /** Reads the next piece of a stream; false at its end. */
    boolean fill(long stream) throws PinlinkException {
        long got = Native.read(stream, address, SIZE);
        if (got < 0) {
            Unpacking.value(Native.rest(-got));
        }
        buffer.clear();
        buffer.limit((int) Math.max(got, 0));
        return got > 0;
    }

    /** Takes as much as is there, up to {@code size} bytes; returns how much that was. */
    int take(byte[] into, int offset, int size) {
        int taken = Math.min(size, buffer.remaining());
        buffer.get(into, offset, taken);
        return taken;
    }
}
