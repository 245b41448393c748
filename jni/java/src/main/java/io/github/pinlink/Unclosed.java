package io.github.pinlink;

import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Collections;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Closes what native code holds of those that nobody can close any more: each holds a connection's place. */
final class Unclosed extends PhantomReference<Object> {
    private static final ReferenceQueue<Object> LOST = new ReferenceQueue<>();
    private static final Set<Unclosed> ALL = Collections.newSetFromMap(new ConcurrentHashMap<>());

    private final long handle;
    private final boolean isSocket;

    private Unclosed(Object holder, long handle, boolean isSocket) {
        super(holder, LOST);
        this.handle = handle;
        this.isSocket = isSocket;
        ALL.add(this);
    }

    static Unclosed socket(PinnedSocket holder, long handle) {
        return new Unclosed(holder, handle, true);
    }

    static Unclosed stream(Answer holder, long handle) {
        return new Unclosed(holder, handle, false);
    }

    void close() {
        if (!ALL.remove(this)) {
            return;
        }
        if (isSocket) {
            Native.closeSocket(handle);
        } else {
            Native.closeStream(handle);
        }
    }

    /** When it matters: before another call takes a place. It costs a look at an empty queue. */
    static void closeLost() {
        for (Object lost = LOST.poll(); lost != null; lost = LOST.poll()) {
            ((Unclosed) lost).close();
        }
    }
}
