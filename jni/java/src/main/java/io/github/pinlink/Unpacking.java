package io.github.pinlink;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** Reads the fields of an answer, one behind the other, in the machine's byte order. */
final class Unpacking {
    /** What the first byte of an answer says. */
    static final byte RESPONSE = 0;
    static final byte FAILURE = 1;
    static final byte VALUE = 2;

    private final ByteBuffer fields;

    Unpacking(byte[] packet, int start, int end) {
        fields = ByteBuffer.wrap(packet, start, end - start).order(ByteOrder.nativeOrder());
    }

    /** The fields of an answer that is a value; null stands for an answer for which the JVM had no room. */
    static Unpacking value(byte[] packet) throws PinlinkException {
        if (packet == null) {
            throw Failure.lost();
        }
        Unpacking fields = new Unpacking(packet, 0, packet.length);
        if (fields.octet() == FAILURE) {
            throw Failure.unpack(fields);
        }
        return fields;
    }

    byte octet() {
        return fields.get();
    }

    int integer() {
        return fields.getInt();
    }

    long longer() {
        return fields.getLong();
    }

    byte[] bytes() {
        byte[] bytes = new byte[fields.getInt()];
        fields.get(bytes);
        return bytes;
    }

    String text() {
        int length = fields.getInt();
        int start = fields.arrayOffset() + fields.position();
        String text = new String(fields.array(), start, length, StandardCharsets.UTF_8);
        fields.position(fields.position() + length);
        return text;
    }

    /** An answer within others, behind its length. It stays where it lies. */
    <T> Result<T> row(Function<Response, T> made) {
        int length = fields.getInt();
        int start = fields.arrayOffset() + fields.position();
        fields.position(fields.position() + length);
        try {
            return Result.of(made.apply(Response.unpack(fields.array(), start, start + length)));
        } catch (PinlinkException failure) {
            return Result.failed(failure);
        }
    }

    /** All that is left, as an answer. */
    Response response() throws PinlinkException {
        int start = fields.arrayOffset() + fields.position();
        return Response.unpack(fields.array(), start, start + fields.remaining());
    }

    /** Header fields. */
    List<Map.Entry<String, String>> headers() {
        return Fields.all(fields.array(), fields.arrayOffset() + fields.position());
    }
}
