package io.github.pinlink;

import java.io.File;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.AbstractMap;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * A request: method, URL, headers, body. Immutable: every method that changes something returns another request.
 *
 * <p>A mistake (a malformed URL, a header with a line break) comes back as the {@link PinlinkConfigException} of the
 * call, before anything is sent.
 *
 * <pre>{@code
 * Request request = Request.post("https://kms.example/keys").header("x-trace", "7").body("{}");
 * }</pre>
 */
public final class Request {
    private static final String[] NONE = {};
    private static final byte[] EMPTY = {};

    /** The bits of the first byte: see {@code jni/src/request.rs}. */
    private static final int EXPECTS = 1;
    private static final int RESUMES = 2;
    private static final int HAS_TIMEOUT = 4;
    private static final int HAS_SIZE_LIMIT = 8;
    private static final int HAS_FILE = 16;
    private static final int HAS_STREAM = 32;
    private static final int HAS_SIGNER = 64;

    private final String method;
    private final String url;
    private int flags;
    /** Names and values in turn. */
    private String[] headers = NONE;
    /** The body, or the path of its file. */
    private byte[] body = EMPTY;
    private Extras extras = Extras.NONE;

    /** What few requests have, apart from them: there may be many requests. */
    private static final class Extras {
        static final Extras NONE = new Extras();

        private long timeout;
        private long sizeLimit;
        private String[] trailers = Request.NONE;
        private InputStream stream;
        private long length;
        private UnaryOperator<Request> signer;

        private Extras copy() {
            Extras copy = new Extras();
            copy.timeout = timeout;
            copy.sizeLimit = sizeLimit;
            copy.trailers = trailers;
            copy.stream = stream;
            copy.length = length;
            copy.signer = signer;
            return copy;
        }
    }

    private Request(String method, String url) {
        this.method = Objects.requireNonNull(method, "method");
        this.url = Objects.requireNonNull(url, "url");
    }

    private Request copy() {
        Request copy = new Request(method, url);
        copy.flags = flags;
        copy.headers = headers;
        copy.body = body;
        copy.extras = extras;
        return copy;
    }

    /** The same with extras of its own. */
    private Request copyWithExtras() {
        Request copy = copy();
        copy.extras = extras.copy();
        return copy;
    }

    /**
     * A request with any method.
     *
     * @param method a token of RFC 9110 9.1, such as {@code PATCH}
     * @param url where it goes
     * @return the request
     */
    public static Request of(String method, String url) {
        return new Request(method, url);
    }

    /**
     * A {@code GET} request.
     *
     * @param url where it goes
     * @return the request
     */
    public static Request get(String url) {
        return new Request("GET", url);
    }

    /**
     * A {@code POST} request.
     *
     * @param url where it goes
     * @return the request
     */
    public static Request post(String url) {
        return new Request("POST", url);
    }

    /**
     * A {@code PUT} request.
     *
     * @param url where it goes
     * @return the request
     */
    public static Request put(String url) {
        return new Request("PUT", url);
    }

    /**
     * A {@code DELETE} request.
     *
     * @param url where it goes
     * @return the request
     */
    public static Request delete(String url) {
        return new Request("DELETE", url);
    }

    /**
     * A {@code HEAD} request.
     *
     * @param url where it goes
     * @return the request
     */
    public static Request head(String url) {
        return new Request("HEAD", url);
    }

    private static String[] with(String[] fields, String name, String value) {
        String[] more = Arrays.copyOf(fields, fields.length + 2);
        more[fields.length] = Objects.requireNonNull(name, "name");
        more[fields.length + 1] = Objects.requireNonNull(value, "value");
        return more;
    }

    /**
     * Adds a header field. {@code Host}, {@code Content-Length}, {@code Transfer-Encoding}, {@code Connection} and
     * the like belong to the client and are refused, as are control characters and a second {@code Idempotency-Key}.
     *
     * @param name the field's name
     * @param value its value, sent as UTF-8
     * @return the request with it
     */
    public Request header(String name, String value) {
        Request copy = copy();
        copy.headers = with(headers, name, value);
        return copy;
    }

    /**
     * Adds a trailer field, sent behind the body (RFC 9110 6.5), which then goes chunked.
     *
     * @param name the field's name
     * @param value its value
     * @return the request with it
     */
    public Request trailer(String name, String value) {
        Request copy = copyWithExtras();
        copy.extras.trailers = with(extras.trailers, name, value);
        return copy;
    }

    private Request body(byte[] bytes, int flag) {
        Request copy = copy();
        copy.flags = flags & ~(HAS_FILE | HAS_STREAM) | flag;
        copy.body = bytes;
        if (extras.stream != null) {
            copy.extras = extras.copy();
            copy.extras.stream = null;
        }
        return copy;
    }

    /**
     * Sets the body.
     *
     * @param body its bytes, not copied: they must stay as they are while the request is in use
     * @return the request with it
     */
    public Request body(byte[] body) {
        return body(Objects.requireNonNull(body, "body"), 0);
    }

    /**
     * Sets the body.
     *
     * @param body text, sent as UTF-8
     * @return the request with it
     */
    public Request body(String body) {
        return body(body.getBytes(StandardCharsets.UTF_8), 0);
    }

    /**
     * Sends a file, with its length at the moment of the call; it is read while it is sent and can be sent again.
     *
     * @param file the file, which native code opens
     * @return the request with it
     */
    public Request body(File file) {
        return body(file.getAbsolutePath().getBytes(StandardCharsets.UTF_8), HAS_FILE);
    }

    /**
     * Sends what a stream brings, of a length that is known. It is read while it is sent, on the calling thread, so
     * it must bound its own waits. It can be read once: a request that has begun to send it is not sent again.
     *
     * @param stream the body; it is not closed
     * @param length how many bytes it has
     * @return the request with it
     */
    public Request body(InputStream stream, long length) {
        Request copy = copyWithExtras().body(EMPTY, HAS_STREAM);
        copy.extras.stream = Objects.requireNonNull(stream, "stream");
        copy.extras.length = length;
        return copy;
    }

    /**
     * As {@link #body(InputStream, long)} where the length is not known: it is sent in chunks.
     *
     * @param stream the body; it is not closed
     * @return the request with it
     */
    public Request body(InputStream stream) {
        return body(stream, -1);
    }

    /**
     * Has every try signed anew, retries too: {@code signer} gets the request as it would be sent, its key in place,
     * and returns it with the header fields that a signature adds ({@code Authorization}, a date, a nonce). Nothing
     * else that it changes counts. It may be called on a thread of the client's, and must not make calls of its own.
     *
     * @param signer adds what a signature adds
     * @return the request that is signed
     */
    public Request signed(UnaryOperator<Request> signer) {
        Request copy = copyWithExtras();
        copy.flags |= HAS_SIGNER;
        copy.extras.signer = Objects.requireNonNull(signer, "signer");
        return copy;
    }

    /**
     * Asks before the body is sent ({@code Expect: 100-continue}, RFC 9110 10.1.1): a target that refuses spares both
     * sides the body.
     *
     * @return the request that asks
     */
    public Request expectContinue() {
        Request copy = copy();
        copy.flags |= EXPECTS;
        return copy;
    }

    /**
     * Lets an answer that breaks off while it is read be gone on with: for {@code GET}s whose answers are opened, not
     * sent.
     *
     * @return the request that resumes
     */
    public Request resume() {
        Request copy = copy();
        copy.flags |= RESUMES;
        return copy;
    }

    /**
     * Sets the greatest body of the answer; below the option {@code max_body} where that counts.
     *
     * @param bytes how many
     * @return the request with that limit
     */
    public Request sizeLimit(long bytes) {
        Request copy = copyWithExtras();
        copy.flags |= HAS_SIZE_LIMIT;
        copy.extras.sizeLimit = bytes;
        return copy;
    }

    /**
     * Sets this call's total deadline instead of the client's {@code timeout}.
     *
     * @param timeout how long the call may take
     * @return the request with that deadline
     */
    public Request timeout(Duration timeout) {
        Request copy = copyWithExtras();
        copy.flags |= HAS_TIMEOUT;
        copy.extras.timeout = nanoseconds(timeout);
        return copy;
    }

    /** What is beyond a long is beyond every limit too. */
    private static long nanoseconds(Duration time) {
        try {
            return time.toNanos();
        } catch (ArithmeticException tooLong) {
            return time.isNegative() ? 0 : Long.MAX_VALUE;
        }
    }

    /**
     * The method.
     *
     * @return as it was given
     */
    public String method() {
        return method;
    }

    /**
     * Where it goes.
     *
     * @return as it was given
     */
    public String url() {
        return url;
    }

    /**
     * The header fields, in their order.
     *
     * @return names and values as they were given
     */
    public List<Map.Entry<String, String>> headers() {
        List<Map.Entry<String, String>> fields = new ArrayList<>();
        for (int i = 0; i < headers.length; i += 2) {
            fields.add(new AbstractMap.SimpleImmutableEntry<>(headers[i], headers[i + 1]));
        }
        return Collections.unmodifiableList(fields);
    }

    /**
     * The body.
     *
     * @return its bytes, not copied; empty for a file and a stream
     */
    public byte[] body() {
        return (flags & HAS_FILE) == 0 ? body : EMPTY;
    }

    /** Whether its body is read on the thread that sends it. */
    boolean hasStream() {
        return extras.stream != null;
    }

    /**
     * Packs all but a body that is too long for the packet.
     *
     * @return that body, or null
     */
    byte[] packInto(Packet packet) {
        packHead(packet);
        boolean fits = packet.fits(Integer.BYTES + body.length) || (flags & HAS_FILE) != 0;
        packet.put(fits ? body : EMPTY);
        packObjects(packet);
        return fits ? null : body;
    }

    /** Packs all of it. */
    Packet packWhole(Packet packet) {
        packHead(packet);
        packet.put(body);
        packObjects(packet);
        return packet;
    }

    private void packObjects(Packet packet) {
        if (extras.stream != null) {
            packet.attach(new Callback.Pulling(extras.stream)).put(extras.length);
        }
        if (extras.signer != null) {
            packet.attach(new Callback.Signing(extras.signer));
        }
    }

    /** Packs the header fields behind the first {@code given}. */
    void packHeadersFrom(int given, Packet packet) {
        pack(Arrays.copyOfRange(headers, Math.min(2 * given, headers.length), headers.length), packet);
    }

    private void packHead(Packet packet) {
        packet.put((byte) flags);
        if ((flags & HAS_TIMEOUT) != 0) {
            packet.put(extras.timeout);
        }
        if ((flags & HAS_SIZE_LIMIT) != 0) {
            packet.put(extras.sizeLimit);
        }
        packet.put(method).put(url);
        pack(headers, packet);
        pack(extras.trailers, packet);
    }

    private static void pack(String[] fields, Packet packet) {
        packet.put(fields.length / 2);
        for (String text : fields) {
            packet.put(text);
        }
    }

    /** The method only: paths, headers and bodies may hold secrets. */
    @Override
    public String toString() {
        return "Request(" + method + ", " + headers.length / 2 + " headers, " + body.length + " bytes)";
    }
}
