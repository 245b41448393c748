package io.github.pinlink.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The ways from Java into native code and back that the binding could take: the same request and answer through each.
 * The native side reads all of the one and writes all of the other, and does nothing else.
 */
final class Crossing {
    private static final int SIZE = 16 * 1024;
    private static final byte[] REQUEST = "GET http://127.0.0.1:8080/answer and as many bytes of other fields...."
            .getBytes(StandardCharsets.US_ASCII);

    private Crossing() {}

    static native long address(ByteBuffer buffer);

    /** Takes nothing and gives nothing. */
    static native int nothing(long client);

    /** Reads what lies at an address, and leaves the answer there. */
    static native int direct(long client, long address, int length);

    /** Copies the request out of an array, and the answer into it. */
    static native int regions(long client, byte[] packet, int length);

    /** Copies the request out of an array, and makes an array for the answer. */
    static native byte[] made(long client, byte[] packet, int length);

    /** The form of this name; all pack the request anew each time, and end with the answer in an array of its own. */
    static Batch of(String name) {
        System.load(System.getProperty("bench.crossing"));
        return switch (name) {
            case "nothing crosses" -> count -> {
                for (int i = 0; i < count; i++) {
                    nothing(1);
                }
            };
            case "direct buffer" -> direct();
            case "array regions" -> regions();
            case "array in, array made" -> made();
            default -> throw new IllegalArgumentException(name);
        };
    }

    private static Batch direct() {
        ByteBuffer buffer = ByteBuffer.allocateDirect(SIZE).order(ByteOrder.nativeOrder());
        long address = address(buffer);
        return count -> {
            for (int i = 0; i < count; i++) {
                buffer.clear();
                buffer.put(REQUEST);
                byte[] answer = new byte[direct(1, address, buffer.position())];
                buffer.clear();
                buffer.get(answer);
                judged(answer);
            }
        };
    }

    private static Batch regions() {
        ByteBuffer buffer = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
        return count -> {
            for (int i = 0; i < count; i++) {
                buffer.clear();
                buffer.put(REQUEST);
                judged(Arrays.copyOf(buffer.array(), regions(1, buffer.array(), buffer.position())));
            }
        };
    }

    private static Batch made() {
        ByteBuffer buffer = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
        return count -> {
            for (int i = 0; i < count; i++) {
                buffer.clear();
                buffer.put(REQUEST);
                judged(made(1, buffer.array(), buffer.position()));
            }
        };
    }

    private static void judged(byte[] answer) {
        if (answer.length != 330 || answer[329] != REQUEST[0]) {
            throw new IllegalStateException("the answer is another one");
        }
    }
}
