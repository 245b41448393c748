package io.github.pinlink;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * A request on its way out, and the memory into which its answer comes: a direct buffer that native code reads and
 * writes in place.
 *
 * <p>Buffers are lent from a small table, striped by thread, and not kept in thread-locals: those would keep a class
 * loader alive, and virtual threads would make one each.
 */
final class Packet {
    /** Room for a request and an answer of a few fields and some KiB of body; what is longer takes another way. */
    static final int SIZE = 16 * 1024;

    /** How many are kept: 1 MiB in all. A power of two. */
    private static final int KEPT = 64;

    private static final AtomicReferenceArray<Packet> TABLE = new AtomicReferenceArray<>(KEPT);

    private ByteBuffer buffer;
    private long address;
    /** What can't be packed, or null where there is nothing: nearly always. */
    private List<Object> attachments;

    private Packet(ByteBuffer buffer) {
        this.buffer = buffer.order(ByteOrder.nativeOrder());
        address = addressOf(buffer);
    }

    private static long addressOf(ByteBuffer buffer) {
        long address = buffer.isDirect() ? Native.address(buffer) : 0;
        if (buffer.isDirect() && address == 0) {
            throw new UnsupportedOperationException("this JVM gives native code no access to direct buffers");
        }
        return address;
    }

    private static int stripe() {
        return (int) Thread.currentThread().getId() & (KEPT - 1);
    }

    /** Lends one, empty. */
    static Packet lend() {
        int stripe = stripe();
        for (int next = 0; next < KEPT; next++) {
            int place = (stripe + next) & (KEPT - 1);
            // A look before the exchange: an empty place costs no write.
            if (TABLE.get(place) != null) {
                Packet packet = TABLE.getAndSet(place, null);
                if (packet != null) {
                    packet.buffer.clear();
                    return packet;
                }
            }
        }
        return new Packet(ByteBuffer.allocateDirect(SIZE));
    }

    /** Takes it back. One that has grown is left to the collector, and so is one too many. */
    void giveBack() {
        attachments = null;
        if (buffer.capacity() != SIZE) {
            return;
        }
        int stripe = stripe();
        for (int next = 0; next < KEPT; next++) {
            int place = (stripe + next) & (KEPT - 1);
            if (TABLE.get(place) == null && TABLE.compareAndSet(place, null, this)) {
                return;
            }
        }
    }

    /** One in an array, which grows: for what is packed once in a while. */
    static Packet inArray(int capacity) {
        return new Packet(ByteBuffer.allocate(capacity));
    }

    long address() {
        return address;
    }

    int length() {
        return buffer.position();
    }

    int capacity() {
        return buffer.capacity();
    }

    /** Whether so many bytes more fit without growing. */
    boolean fits(int bytes) {
        return bytes <= buffer.remaining();
    }

    /** Packs the place of an object that goes beside the packet. */
    Packet attach(Object object) {
        if (attachments == null) {
            attachments = new ArrayList<>();
        }
        attachments.add(object);
        return put(attachments.size() - 1);
    }

    /** The objects beside the packet, or null where there are none. */
    Object[] attachments() {
        return attachments == null ? null : attachments.toArray();
    }

    /** How many objects are beside it up to now. */
    int attached() {
        return attachments == null ? 0 : attachments.size();
    }

    /** Names what was thrown in a callback as the cause of what came of it. */
    PinlinkException explain(PinlinkException failure) {
        return Callback.explain(attachments(), failure);
    }

    /** The same for one row, whose objects these are. */
    PinlinkException explain(PinlinkException failure, int from, int to) {
        return from == to ? failure : Callback.explain(attachments.subList(from, to).toArray(), failure);
    }

    /** The answer, which native code has put at the beginning. */
    byte[] copy(int length) {
        byte[] bytes = new byte[length];
        buffer.clear();
        buffer.get(bytes);
        return bytes;
    }

    /** What was packed, for a packet in an array. */
    byte[] toArray() {
        byte[] bytes = new byte[buffer.position()];
        System.arraycopy(buffer.array(), buffer.arrayOffset(), bytes, 0, bytes.length);
        return bytes;
    }

    /** The array of a packet in one: what was packed stands at its beginning. */
    byte[] array() {
        return buffer.array();
    }

    /** Makes room, behind the first row, for so many like it: those of a batch are alike. */
    void expectRows(int more) {
        room((int) Math.min(9L * buffer.position() * more / 8, 1 << 20));
    }

    /** The number that native code has put at the beginning. */
    long slot() {
        return buffer.getLong(0);
    }

    private void room(int bytes) {
        if (bytes > buffer.remaining()) {
            long wanted = Math.max(2L * buffer.capacity(), (long) buffer.position() + bytes);
            int capacity = (int) Math.min(wanted, Integer.MAX_VALUE - 8);
            ByteBuffer grown = buffer.isDirect() ? ByteBuffer.allocateDirect(capacity) : ByteBuffer.allocate(capacity);
            grown.order(ByteOrder.nativeOrder());
            buffer.flip();
            grown.put(buffer);
            buffer = grown;
            address = addressOf(grown);
        }
    }

    Packet put(byte value) {
        room(1);
        buffer.put(value);
        return this;
    }

    Packet put(int value) {
        room(Integer.BYTES);
        buffer.putInt(value);
        return this;
    }

    Packet put(long value) {
        room(Long.BYTES);
        buffer.putLong(value);
        return this;
    }

    Packet put(byte[] bytes) {
        room(Integer.BYTES + bytes.length);
        buffer.putInt(bytes.length);
        buffer.put(bytes);
        return this;
    }

    /** Text as UTF-8 behind its length, without an object in between. */
    Packet put(String text) {
        int length = text.length();
        room(Integer.BYTES + length);
        int start = buffer.position();
        int at = start + Integer.BYTES;
        for (int i = 0; i < length; i++) {
            char c = text.charAt(i);
            if (c >= 0x80) {
                buffer.position(at);
                putUnicode(text, i);
                at = buffer.position();
                break;
            }
            buffer.put(at++, (byte) c);
        }
        buffer.putInt(start, at - start - Integer.BYTES);
        buffer.position(at);
        return this;
    }

    /** The text from its first character beyond ASCII on. */
    private void putUnicode(String text, int from) {
        // Three bytes for each character is the most: a surrogate pair takes four for two.
        room(3 * (text.length() - from));
        for (int i = from; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < 0x80) {
                buffer.put((byte) c);
            } else if (c < 0x800) {
                buffer.put((byte) (0xc0 | c >> 6));
                buffer.put((byte) (0x80 | c & 0x3f));
            } else if (Character.isHighSurrogate(c)
                    && i + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(i + 1))) {
                int point = Character.toCodePoint(c, text.charAt(++i));
                buffer.put((byte) (0xf0 | point >> 18));
                buffer.put((byte) (0x80 | point >> 12 & 0x3f));
                buffer.put((byte) (0x80 | point >> 6 & 0x3f));
                buffer.put((byte) (0x80 | point & 0x3f));
            } else if (Character.isSurrogate(c)) {
                // Half of a character is none: what String.getBytes makes of it too.
                buffer.put((byte) '?');
            } else {
                buffer.put((byte) (0xe0 | c >> 12));
                buffer.put((byte) (0x80 | c >> 6 & 0x3f));
                buffer.put((byte) (0x80 | c & 0x3f));
            }
        }
    }
}
