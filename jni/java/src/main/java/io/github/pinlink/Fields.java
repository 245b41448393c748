package io.github.pinlink;

import java.nio.charset.StandardCharsets;
import java.util.AbstractMap;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * The header fields of an answer where they lie packed: found by looking through them, since most are never asked for.
 */
final class Fields {
    private Fields() {}

    /** The position behind the fields that begin here. */
    static int end(byte[] block, int start) {
        int at = start + Integer.BYTES;
        for (int left = Bytes.integer(block, start); left > 0; left--) {
            at += Integer.BYTES + Bytes.integer(block, at);
            at += Integer.BYTES + Bytes.integer(block, at);
        }
        return at;
    }

    /** The first value of a field, or null. */
    static String find(byte[] block, int start, String name) {
        int at = start + Integer.BYTES;
        for (int left = Bytes.integer(block, start); left > 0; left--) {
            int length = Bytes.integer(block, at);
            int value = at + Integer.BYTES + length;
            int valueLength = Bytes.integer(block, value);
            if (length == name.length() && isNamed(block, at + Integer.BYTES, name)) {
                return new String(block, value + Integer.BYTES, valueLength, StandardCharsets.UTF_8);
            }
            at = value + Integer.BYTES + valueLength;
        }
        return null;
    }

    private static boolean isNamed(byte[] block, int at, String name) {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (block[at + i] != (c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c)) {
                return false;
            }
        }
        return true;
    }

    static List<Map.Entry<String, String>> all(byte[] block, int start) {
        int count = Bytes.integer(block, start);
        List<Map.Entry<String, String>> fields = new ArrayList<>(count);
        Unpacking packed = new Unpacking(block, start + Integer.BYTES, block.length);
        for (int i = 0; i < count; i++) {
            fields.add(new AbstractMap.SimpleImmutableEntry<>(packed.text(), packed.text()));
        }
        return Collections.unmodifiableList(fields);
    }
}
