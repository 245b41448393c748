package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: calls that nobody waits for on a thread; what is given up ends, and gives its connection back. */
class AsyncTest {
    private static Box box;
    private static Client client;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
        client = box.client().build();
    }

    @AfterAll
    static void stop() {
        client.close();
        box.close();
    }

    private static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(10, TimeUnit.SECONDS);
    }

    @Test
    void manyCallsEndEachWithItsOwnAnswer() throws Exception {
        List<CompletableFuture<Response>> calls = new ArrayList<>();
        for (int row = 0; row < 300; row++) {
            String path = "/rows/" + row;
            calls.add(client.sendAsync(Request.get(row % 2 == 0 ? box.http(path) : box.https(path))));
        }
        for (int row = 0; row < 300; row++) {
            assertTrue(get(calls.get(row)).text().contains("\"id\":\"" + row + "\""));
        }
    }

    @Test
    void aLargeBodyGoesAndComes() throws Exception {
        byte[] body = new byte[1 << 20];
        java.util.Arrays.fill(body, (byte) 'x');
        Response answer = get(client.sendAsync(Request.post(box.http("/echo")).body(body)));
        assertTrue(answer.bodyLength() > body.length);
    }

    @Test
    void aFailureIsTheFuturesException() throws Exception {
        CompletableFuture<Response> failed = client.sendAsync(Request.get("https://elsewhere.example/"));
        Throwable cause = assertThrows(ExecutionException.class, () -> get(failed)).getCause();
        assertEquals(Reason.POLICY_NOT_DECLARED, ((PinlinkException) cause).reason());
        Client closed = box.client().build();
        closed.close();
        CompletableFuture<Response> late = closed.sendAsync(Request.get(box.http("/")));
        Throwable gone = assertThrows(ExecutionException.class, () -> get(late)).getCause();
        assertEquals(Kind.CLOSED, ((PinlinkException) gone).kind());
    }

    @Test
    void aCanceledCallEndsAndGivesItsConnectionBack() throws Exception {
        try (Box slow = Box.start(); Client one = slow.client().maxConnections(1).build()) {
            for (int i = 0; i < 20; i++) {
                CompletableFuture<Response> call = one.sendAsync(Request.get(slow.http("/delay/60000")));
                if (i % 2 == 0) {
                    int sent = i / 2 + 1;
                    while (slow.counts().at("/origins/requests").asInt() < sent && i < 10) {
                        Thread.sleep(1);
                    }
                }
                if (i % 3 == 0) {
                    call.completeExceptionally(new IllegalStateException("given up"));
                } else {
                    assertTrue(call.cancel(true));
                    assertThrows(CancellationException.class, () -> get(call));
                }
            }
            assertEquals(200, get(one.sendAsync(Request.get(slow.http("/rows/1")))).status());
            assertTrue(one.stats().connectionsLive() <= 1);
        }
    }

    @Test
    void whatDependsOnACallMayMakeCallsOfItsOwn() throws Exception {
        // Late enough for what depends on it to be there first.
        CompletableFuture<Integer> chain = client.sendAsync(Request.get(box.http("/delay/200")))
                .thenApply(first -> {
                    assertTrue(Thread.currentThread().isDaemon(), "no thread of ours keeps a JVM alive");
                    try {
                        return client.send(Request.get(box.http("/rows/" + first.status()))).status();
                    } catch (PinlinkException failure) {
                        throw new IllegalStateException(failure);
                    }
                });
        assertEquals(200, get(chain));
        CompletableFuture<Object> thrown = client.sendAsync(Request.get(box.http("/rows/1"))).thenApply(answer -> {
            throw new IllegalStateException("a user's own");
        });
        assertThrows(ExecutionException.class, () -> get(thrown));
        assertEquals(200, get(client.sendAsync(Request.get(box.http("/rows/1")))).status());
    }

    private static long tellers() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().equals("pinlink-callback"))
                .count();
    }

    @Test
    void whatDependsOnACallMayWaitForOthersAndTheThreadsThatTookAreGivenBack() throws Exception {
        int many = 8;
        CountDownLatch waiting = new CountDownLatch(many);
        CountDownLatch all = new CountDownLatch(1);
        List<CompletableFuture<Integer>> chains = new ArrayList<>();
        for (int i = 0; i < many; i++) {
            // Late enough for what depends on it to be there first.
            chains.add(client.sendAsync(Request.get(box.http("/delay/300"))).thenApply(first -> {
                waiting.countDown();
                try {
                    all.await();
                } catch (InterruptedException ended) {
                    throw new IllegalStateException(ended);
                }
                return client.sendAsync(Request.get(box.http("/rows/1"))).join().status();
            }));
        }
        assertTrue(waiting.await(20, TimeUnit.SECONDS), "each waits on a thread of its own");
        assertTrue(tellers() >= many, "as many threads tell");
        all.countDown();
        for (CompletableFuture<Integer> chain : chains) {
            assertEquals(200, get(chain));
        }
        // The JVM forgets a thread that has ended only where it was told so.
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (tellers() > 2 && System.nanoTime() < until) {
            Thread.sleep(50);
        }
        assertTrue(tellers() <= 2, tellers() + " threads are left");
    }

    @Test
    void whatDependsOnACallFindsClassesWhereItsCallerDoes() throws Exception {
        Thread caller = Thread.currentThread();
        ClassLoader before = caller.getContextClassLoader();
        ClassLoader own = new URLClassLoader(new URL[0], before);
        caller.setContextClassLoader(own);
        CompletableFuture<ClassLoader> seen;
        try {
            seen = client.sendAsync(Request.get(box.http("/delay/300")))
                    .thenApply(answer -> Thread.currentThread().getContextClassLoader());
        } finally {
            caller.setContextClassLoader(before);
        }
        assertSame(own, get(seen));
    }

    @Test
    void aSignerIsAskedForACallThatNobodyWaitsFor() throws Exception {
        Response answer = get(client.sendAsync(
                Request.get(box.http("/echo")).signed(unsigned -> unsigned.header("x-signed", "yes"))));
        assertTrue(answer.text().contains("x-signed"), answer.text());
    }

    @Test
    void virtualThreadsDoNotStarveTheirCarriers() throws Exception {
        Method start;
        try {
            start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        } catch (NoSuchMethodException before21) {
            Assumptions.abort("this JVM has no virtual threads");
            return;
        }
        int threads = 200;
        try (Client wide = box.client().maxConnections(threads).maxConnectionsPerOrigin(threads).build()) {
            AtomicInteger answered = new AtomicInteger();
            List<Thread> started = new ArrayList<>();
            long begun = System.nanoTime();
            for (int i = 0; i < threads; i++) {
                started.add((Thread) start.invoke(null, (Runnable) () -> {
                    try {
                        if (get(wide.sendAsync(Request.get(box.http("/delay/500")))).status() == 200) {
                            answered.incrementAndGet();
                        }
                    } catch (Exception failed) {
                        throw new IllegalStateException(failed);
                    }
                }));
            }
            for (Thread thread : started) {
                thread.join(20_000);
                assertFalse(thread.isAlive());
            }
            assertEquals(threads, answered.get());
            // One after the other, on as many carriers as there are processors, they would take 100 s over those.
            assertTrue((System.nanoTime() - begun) / 1_000_000 < 20_000);
        }
        assertNotNull(start);
    }
}
