package io.github.pinlink;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
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

    /** Makes the request of some of a batch's items, and finds their fates in its answer. */
    static final class Composing extends Callback {
        private final Function<List<Batch.Item>, Request> composes;
        private final Function<Response, List<Batch.Fate>> reads;

        Composing(Function<List<Batch.Item>, Request> composes, Function<Response, List<Batch.Fate>> reads) {
            this.composes = composes;
            this.reads = reads;
        }

        /** Called from native code: the request, packed, or null where there is none. */
        byte[] compose(byte[] packed) {
            try {
                Unpacking fields = new Unpacking(packed, 0, packed.length);
                List<Batch.Item> items = new ArrayList<>();
                for (int left = fields.integer(); left > 0; left--) {
                    items.add(new Batch.Item(Key.ofHex(fields.text()), fields.bytes()));
                }
                Packet packet = composes.apply(items).packWhole(Packet.inArray(1024));
                if (packet.attachments() != null) {
                    throw Failure.input("a batch's request is no stream, and signed where it is composed");
                }
                return packet.toArray();
            } catch (Throwable failure) {
                keep(failure);
                return null;
            }
        }

        /** Called from native code: what became of each item, packed, or null where it can't be told. */
        byte[] read(byte[] answer) {
            try {
                List<Batch.Fate> fates = reads.apply(Response.unpack(answer));
                if (fates == null) {
                    return null;
                }
                Packet packet = Packet.inArray(64).put(fates.size());
                for (Batch.Fate fate : fates) {
                    packet.put(fate.meaning().toString()).put(fate.status());
                }
                return packet.toArray();
            } catch (Throwable failure) {
                keep(failure);
                return null;
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
