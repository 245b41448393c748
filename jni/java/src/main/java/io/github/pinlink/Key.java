package io.github.pinlink;

import java.util.Arrays;

/**
 * The key of one write: 256 bits, in the form that its target takes. It is the same for every execution of the same
 * work, in every language, and for no other.
 *
 * <p>It is shown as a short hash only: who knows a key may claim its write.
 */
public final class Key {
    private static final char[] HEX = "0123456789abcdef".toCharArray();
    private static final char[] BASE32 = "abcdefghijklmnopqrstuvwxyz234567".toCharArray();
    private static final int LOGGED = 8;

    private final byte[] bytes;

    Key(byte[] bytes) {
        this.bytes = bytes;
    }

    /** A key that native code gives back. */
    static Key ofHex(String digits) {
        byte[] bytes = new byte[digits.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(digits.substring(2 * i, 2 * i + 2), 16);
        }
        return new Key(bytes);
    }

    /** The bytes themselves, which only go to native code. */
    byte[] bytes() {
        return bytes;
    }

    private static String hex(byte[] bytes, int length) {
        StringBuilder text = new StringBuilder(2 * length);
        for (int i = 0; i < length; i++) {
            text.append(HEX[bytes[i] >> 4 & 0xf]).append(HEX[bytes[i] & 0xf]);
        }
        return text.toString();
    }

    /**
     * 64 hexadecimal digits in lower case: all 256 bits, and just what {@code ClientToken} has room for.
     *
     * @return the digits
     */
    public String hex() {
        return hex(bytes, bytes.length);
    }

    /**
     * A UUID of version 8 (RFC 9562 5.8) of the first 122 bits.
     *
     * @return the UUID
     */
    public String uuid() {
        byte[] half = Arrays.copyOf(bytes, 16);
        half[6] = (byte) (half[6] & 0x0f | 0x80);
        half[8] = (byte) (half[8] & 0x3f | 0x80);
        StringBuilder text = new StringBuilder(hex(half, 16));
        return text.insert(20, '-').insert(16, '-').insert(12, '-').insert(8, '-').toString();
    }

    /**
     * 26 lower-case letters and digits (base32, RFC 4648 6, without padding) of the first 128 bits, for targets with
     * tight limits.
     *
     * @return the letters and digits
     */
    public String shortened() {
        StringBuilder text = new StringBuilder(26);
        for (int bit = 0; bit < 128; bit += 5) {
            int two = (bytes[bit / 8] & 0xff) << 8 | (bit / 8 + 1 < 16 ? bytes[bit / 8 + 1] & 0xff : 0);
            text.append(BASE32[two >> 11 - bit % 8 & 0x1f]);
        }
        return text.toString();
    }

    /**
     * What may stand in a log: eight digits of a hash of it. Equal keys show the same.
     *
     * @return the digits
     */
    public String logged() {
        return hex(Scope.sha256().digest(bytes), LOGGED / 2);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Key && Arrays.equals(bytes, ((Key) other).bytes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bytes);
    }

    /** As {@link #logged()}. */
    @Override
    public String toString() {
        return "Key(" + logged() + ")";
    }
}
