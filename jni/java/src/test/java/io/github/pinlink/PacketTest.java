package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * The promise: text crosses as the UTF-8 that every Java program would make of it, whatever it is and wherever it
 * grows.
 */
class PacketTest {
    private static byte[] packed(String text, int capacity) {
        byte[] packet = Packet.inArray(capacity).put(text).toArray();
        assertEquals(packet.length - Integer.BYTES, Bytes.integer(packet, 0));
        return Arrays.copyOfRange(packet, Integer.BYTES, packet.length);
    }

    @Test
    void textIsPackedAsStringGetBytesHasIt() {
        Random random = new Random(7);
        int[] planes = {0x20, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000, 0xffff};
        for (int round = 0; round < 20_000; round++) {
            StringBuilder text = new StringBuilder();
            for (int left = random.nextInt(12); left > 0; left--) {
                if (random.nextBoolean()) {
                    text.append((char) planes[random.nextInt(planes.length)]);
                } else {
                    text.appendCodePoint(random.nextInt(Character.MAX_CODE_POINT + 1));
                }
            }
            byte[] expected = text.toString().getBytes(StandardCharsets.UTF_8);
            assertArrayEquals(expected, packed(text.toString(), 1 + round % 64));
        }
    }

    @Test
    void whatAResponseIsReadFromIsInTheMachinesOrder() {
        byte[] packet = Packet.inArray(1).put(0x01020384).put((byte) 7).put(-2L).put(new byte[] {1, 2}).toArray();
        Unpacking fields = new Unpacking(packet, 0, packet.length);
        assertEquals(0x01020384, Bytes.integer(packet, 0));
        assertEquals(0x01020384, fields.integer());
        assertEquals(7, fields.octet());
        assertEquals(-2, fields.longer());
        assertArrayEquals(new byte[] {1, 2}, fields.bytes());
    }
}
