package io.github.pinlink;

import java.io.IOException;
import java.io.InputStream;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/**
 * What native code calls back while a call lasts. Nothing that a user's code throws gets through to it: it is kept, and
 * becomes the cause of the call's exception.
 */
abstract class Callback {
    private Throwable thrown;

    /** The first that counts: what follows may come of it. */
    final synchronized void keep(Throwable failure) {
        if (thrown == null) {
            thrown = failure;
        }
    }

    private synchronized Throwable thrown() {
        return thrown;
    }

    /** Names what was thrown in a callback as the cause of what came of it. */
    static PinlinkException explain(Object[] callbacks, PinlinkException failure) {
        if (callbacks != null) {
            for (Object callback : callbacks) {
                Throwable thrown = ((Callback) callback).thrown();
                if (thrown != null && failure.getCause() == null) {
                    failure.initCause(thrown);
                }
            }
        }
        return failure;
    }

    /** Signs one try of a request. */
    static final class Signing extends Callback {
        private final UnaryOperator<Request> signer;

        Signing(UnaryOperator<Request> signer) {
            this.signer = signer;
        }

        /** Called from native code: the fields that the signature adds, packed, or null where the signer failed. */
        byte[] sign(byte[] unsigned) {
            try {
                Unpacking fields = new Unpacking(unsigned, 0, unsigned.length);
                Request request = Request.of(fields.text(), fields.text());
                int given = fields.integer();
                for (int left = given; left > 0; left--) {
                    request = request.header(fields.text(), fields.text());
                }
                Request signed = signer.apply(request.body(fields.bytes()));
                Packet packet = Packet.inArray(256);
                signed.packHeadersFrom(given, packet);
                return packet.toArray();
            } catch (Throwable failure) {
                keep(failure);
                return null;
            }
        }
    }

    /** Reads in an answer whether a write had its effect. */
    static final class Reading extends Callback {
        private final Function<Response, Boolean> reads;

        Reading(Function<Response, Boolean> reads) {
            this.reads = reads;
        }

        /** Called from native code: 1 for yes, 0 for no, -1 where it can't be told. */
        int read(byte[] answer) {
            try {
                Boolean verdict = reads.apply(Response.unpack(answer));
                return verdict == null ? -1 : verdict ? 1 : 0;
            } catch (Throwable failure) {
                keep(failure);
                return -1;
            }
        }
    }

    /** Brings the body of a request. */
    static final class Pulling extends Callback {
        private final InputStream stream;

        Pulling(InputStream stream) {
            this.stream = stream;
        }

        /** Called from native code: how many bytes were read, 0 at the end, -1 where the stream failed. */
        int pull(byte[] into, int length) {
            try {
                int got = stream.read(into, 0, length);
                if (got == 0 && length > 0) {
                    throw new IOException("the stream read nothing and has not ended");
                }
                return Math.max(got, 0);
            } catch (Throwable failure) {
                keep(failure);
                return -1;
            }
        }
    }
}
