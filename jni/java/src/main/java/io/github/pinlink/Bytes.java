package io.github.pinlink;

import java.nio.ByteOrder;

/** Numbers where they lie packed in an array, in the machine's byte order. */
final class Bytes {
    private static final boolean IS_LITTLE = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN;

    private Bytes() {}

    static int integer(byte[] block, int at) {
        int first = block[at] & 0xff;
        int second = block[at + 1] & 0xff;
        int third = block[at + 2] & 0xff;
        int fourth = block[at + 3] & 0xff;
        return IS_LITTLE
                ? first | second << 8 | third << 16 | fourth << 24
                : first << 24 | second << 16 | third << 8 | fourth;
    }

    /** A length in as few bytes as it takes, seven bits in each: see {@code jni/src/packet.rs}. */
    static int shortLength(byte[] block, int at) {
        int length = block[at] & 0x7f;
        for (int next = at, shift = 7; block[next] < 0; shift += 7) {
            length |= (block[++next] & 0x7f) << shift;
        }
        return length;
    }

    /** The position behind that length. */
    static int behindShortLength(byte[] block, int at) {
        int next = at;
        while (block[next] < 0) {
            next++;
        }
        return next + 1;
    }

    static int unsignedShort(byte[] block, int at) {
        int first = block[at] & 0xff;
        int second = block[at + 1] & 0xff;
        return IS_LITTLE ? first | second << 8 : first << 8 | second;
    }
}
