package io.github.pinlink;

import java.util.Objects;
import java.util.function.Function;

/**
 * A write, ready to be sent as often as it takes. Immutable.
 *
 * <pre>{@code
 * Scope scope = Scope.job("orders of 2026-11-22");
 * Request order = Request.post("https://orders.example/orders").body("{\"id\":4711}");
 * Written written = client.write(Write.of(order, scope.key("insert order", 4711), Profile.idempotencyKey()));
 * }</pre>
 */
public final class Write {
    /** The bits of the first byte: see {@code jni/src/writes.rs}. */
    private static final int HAS_KEY = 1;
    private static final int IS_UNKEYED = 2;
    private static final int HAS_READING = 4;

    private final Request request;
    private final Key key;
    private final Profile profile;
    private final boolean isUnkeyed;
    private final Request question;
    private final Function<Response, Boolean> reads;

    private Write(
            Request request,
            Key key,
            Profile profile,
            boolean isUnkeyed,
            Request question,
            Function<Response, Boolean> reads) {
        this.request = Objects.requireNonNull(request, "request");
        this.key = key;
        this.profile = profile;
        this.isUnkeyed = isUnkeyed;
        this.question = question;
        this.reads = reads;
    }

    /**
     * A write under a key, to a target that takes keys as {@code profile} says. <code>{key}</code> in the URL stands
     * for the key, in the form that the profile has.
     *
     * @param request what is sent
     * @param key its key
     * @param profile its target's profile
     * @return the write
     */
    public static Write of(Request request, Key key, Profile profile) {
        Objects.requireNonNull(key, "key");
        return new Write(request, key, Objects.requireNonNull(profile, "profile"), false, null, null);
    }

    /**
     * A write to a target that knows nothing of keys. {@code PUT} and {@code DELETE} are repeatable by definition;
     * any other method is refused ({@link Reason#WRITE_UNKEYED}) unless the caller says {@link #unkeyed()}.
     *
     * @param request what is sent
     * @return the write
     */
    public static Write keyless(Request request) {
        return new Write(request, null, null, false, null, null);
    }

    /**
     * Accepts that a re-executed node may have this effect twice.
     *
     * @return the write that does
     */
    public Write unkeyed() {
        return new Write(request, key, profile, true, question, reads);
    }

    /**
     * A read that settles an unknown outcome. The last quarter of the call's time is kept for it. A "no" leaves the
     * outcome unknown all the same: the write may still be on its way.
     *
     * @param question what is asked
     * @param reads says of its answer whether the write had its effect, or null where it can't be told; it may be
     *     called on a thread of the client's, and must not make calls of its own
     * @return the write with it
     */
    public Write verify(Request question, Function<Response, Boolean> reads) {
        Objects.requireNonNull(question, "question");
        return new Write(request, key, profile, isUnkeyed, question, Objects.requireNonNull(reads, "reads"));
    }

    /**
     * What may be promised of it.
     *
     * @return the guarantee
     * @throws PinlinkException where the native library can't be loaded
     */
    public Guarantee guarantee() throws PinlinkException {
        Library.load(null);
        Packet packet = pack(Packet.inArray(512));
        return Guarantee.of(Unpacking.value(Native.guarantee(packet.toArray(), packet.attachments())).text());
    }

    boolean hasStream() {
        return request.hasStream();
    }

    Packet pack(Packet packet) {
        int flags = (key == null ? 0 : HAS_KEY) | (isUnkeyed ? IS_UNKEYED : 0) | (reads == null ? 0 : HAS_READING);
        packet.put((byte) flags);
        request.packWhole(packet);
        if (key != null) {
            packet.put(key.bytes());
            profile.pack(packet);
        }
        if (reads != null) {
            question.packWhole(packet);
            packet.attach(new Callback.Reading(reads));
        }
        return packet;
    }

    /** The request's method and a short hash of the key: paths, headers and bodies may hold secrets. */
    @Override
    public String toString() {
        return "Write(" + request + ", " + key + ")";
    }
}
