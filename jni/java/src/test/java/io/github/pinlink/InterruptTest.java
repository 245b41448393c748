package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collections;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The promise: an interrupt ends a call, gives its connection's place back, and stays set. */
class InterruptTest {
    private static final long BOUNDED_MS = 10_000;

    /** Runs a call on a thread of its own, interrupts it when {@code isUnderWay} says so, and returns its exception. */
    private static PinlinkException interrupted(Executable call, Callable<Boolean> isUnderWay) throws Exception {
        AtomicReference<PinlinkException> failure = new AtomicReference<>();
        AtomicReference<Throwable> wrong = new AtomicReference<>();
        // Whatever goes wrong, it keeps no JVM alive.
        Thread caller = new Thread(() -> {
            try {
                failure.set(assertThrows(PinlinkException.class, call));
                assertTrue(Thread.currentThread().isInterrupted(), "the flag is the caller's");
            } catch (Throwable other) {
                wrong.set(other);
            }
        });
        caller.setDaemon(true);
        caller.start();
        long until = System.nanoTime() + BOUNDED_MS * 1_000_000;
        while (!isUnderWay.call()) {
            assertTrue(caller.isAlive(), () -> "it has ended: " + failure.get() + ", " + wrong.get());
            assertTrue(System.nanoTime() < until, "it never began");
            Thread.sleep(1);
        }
        caller.interrupt();
        caller.join(BOUNDED_MS);
        assertFalse(caller.isAlive(), "it does not end");
        if (wrong.get() != null) {
            throw new AssertionError(wrong.get());
        }
        return failure.get();
    }

    @Test
    void anInterruptEndsACallAndTheNextOneWorks() throws Exception {
        try (Box box = Box.start(); Client client = box.client().maxConnections(1).build()) {
            Request slow = Request.get(box.http("/delay/60000"));
            for (int i = 0; i < 5; i++) {
                int sent = i + 1;
                PinlinkException canceled = interrupted(
                        () -> client.send(slow), () -> box.counts().at("/origins/requests").asInt() == sent);
                assertEquals(Kind.CANCELED, canceled.kind());
                assertEquals(Delivery.UNKNOWN, canceled.delivery());
            }
            assertEquals(200, client.send(Request.get(box.http("/rows/1"))).status());
            PinlinkException batch = interrupted(
                    () -> client.sendAll(Collections.singletonList(slow)).get(0).value(),
                    () -> box.counts().at("/origins/requests").asInt() == 7);
            assertEquals(Kind.CANCELED, batch.kind());
        }
    }

    @Test
    void anInterruptedThreadBeginsNothing() throws Exception {
        try (Box box = Box.start(); Client client = box.client().build()) {
            Request request = Request.get(box.http("/rows/1"));
            Thread.currentThread().interrupt();
            PinlinkException canceled;
            try {
                canceled = assertThrows(PinlinkException.class, () -> client.send(request));
            } finally {
                assertTrue(Thread.interrupted());
            }
            assertEquals(Kind.CANCELED, canceled.kind());
            assertEquals(Delivery.NOT_SENT, canceled.delivery());
            assertEquals(0, box.counts().at("/origins/requests").asInt());
            assertEquals(200, client.send(request).status());
        }
    }

    @Test
    void anInterruptEndsInit() throws Exception {
        try (Box box = Box.start("--fault", "silent")) {
            PinlinkException canceled = interrupted(
                    () -> box.client().build(), () -> box.counts().at("/dns/queries").asInt() > 0);
            assertEquals(Kind.CANCELED, canceled.kind());
        }
    }
}
