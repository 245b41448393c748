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
        int at = Bytes.behindShortLength(block, start);
        for (int left = Bytes.shortLength(block, start); left > 0; left--) {
            at = Bytes.behindShortLength(block, at) + Bytes.shortLength(block, at);
            at = Bytes.behindShortLength(block, at) + Bytes.shortLength(block, at);
        }
        return at;
    }

    /** The first value of a field, or null. */
    static String find(byte[] block, int start, String name) {
        int at = Bytes.behindShortLength(block, start);
        for (int left = Bytes.shortLength(block, start); left > 0; left--) {
            int length = Bytes.shortLength(block, at);
            int text = Bytes.behindShortLength(block, at);
            at = text + length;
            int valueLength = Bytes.shortLength(block, at);
            int value = Bytes.behindShortLength(block, at);
            if (length == name.length() && isNamed(block, text, name)) {
                return new String(block, value, valueLength, StandardCharsets.UTF_8);
            }
            at = value + valueLength;
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
        int count = Bytes.shortLength(block, start);
        List<Map.Entry<String, String>> fields = new ArrayList<>(count);
        int at = Bytes.behindShortLength(block, start);
        for (int i = 0; i < count; i++) {
            int text = Bytes.behindShortLength(block, at);
            int value = text + Bytes.shortLength(block, at);
            String name = new String(block, text, value - text, StandardCharsets.UTF_8);
            text = Bytes.behindShortLength(block, value);
            at = text + Bytes.shortLength(block, value);
            fields.add(new AbstractMap.SimpleImmutableEntry<>(
                    name, new String(block, text, at - text, StandardCharsets.UTF_8)));
        }
        return Collections.unmodifiableList(fields);
    }
}
