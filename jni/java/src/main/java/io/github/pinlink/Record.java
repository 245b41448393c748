package io.github.pinlink;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/**
 * Which record a write is about: its business key, of one part or several; else its content; for a request that
 * carries many rows, the rows' place in the job.
 */
public final class Record {
    private final String kind;
    /** Text as its UTF-8 bytes; null is SQL's NULL. */
    private final byte[][] parts;

    private Record(String kind, byte[]... parts) {
        this.kind = kind;
        this.parts = parts;
    }

    /**
     * A business key, of one part or several, in the order given: texts, whole numbers (as their decimal text: 7 and
     * {@code "7"} are the same part), bytes, or null (SQL's NULL, which is not the empty text). Text counts byte by
     * byte as UTF-8: nothing is trimmed, folded or normalised.
     *
     * @param parts the parts
     * @return the record
     * @throws PinlinkConfigException for a part of another type: a floating-point number has no one text
     */
    public static Record of(Object... parts) throws PinlinkConfigException {
        byte[][] bytes = new byte[parts.length][];
        for (int i = 0; i < parts.length; i++) {
            bytes[i] = bytes(parts[i]);
        }
        return new Record("record", bytes);
    }

    private static byte[] bytes(Object part) throws PinlinkConfigException {
        if (part == null) {
            return null;
        }
        if (part instanceof byte[]) {
            return ((byte[]) part).clone();
        }
        if (part instanceof CharSequence || part instanceof Byte || part instanceof Short || part instanceof Integer
                || part instanceof Long || part instanceof BigInteger) {
            return part.toString().getBytes(StandardCharsets.UTF_8);
        }
        throw Failure.input("a part of a record's key is text, a whole number, bytes or null, not a "
                + part.getClass().getName());
    }

    /**
     * What is written, where the record has no business key. Two equal records are then one write; and a record whose
     * content differs from run to run (a time stamp in it) is written again.
     *
     * @param content its bytes
     * @return the record
     */
    public static Record content(byte[] content) {
        return new Record("content", Scope.sha256().digest(content));
    }

    /**
     * A request that carries many rows, by the rows' place in the job: the ordinal of the chunk within its partition.
     * Both must be the same in every execution, and so must the rows of a chunk: sort them first.
     *
     * @param partition the partition
     * @param ordinal the ordinal of the chunk in it
     * @return the record
     * @throws PinlinkConfigException where one is below zero
     */
    public static Record chunk(int partition, long ordinal) throws PinlinkConfigException {
        if (partition < 0 || ordinal < 0) {
            throw Failure.input("partitions and chunks are counted from 0");
        }
        return new Record("chunk", bytes(partition), bytes(ordinal));
    }

    void addTo(MessageDigest hash) {
        Scope.add(hash, kind.getBytes(StandardCharsets.UTF_8));
        hash.update(ByteBuffer.allocate(Long.BYTES).putLong(0, parts.length));
        for (byte[] part : parts) {
            hash.update((byte) (part == null ? 0 : 1));
            if (part != null) {
                Scope.add(hash, part);
            }
        }
    }
}
