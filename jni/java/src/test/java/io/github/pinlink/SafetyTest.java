package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The promise: whatever a caller does, and whatever goes wrong below, the JVM lives and says what it was. */
class SafetyTest {
    private static Box box;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
    }

    @AfterAll
    static void stop() {
        box.close();
    }

    @Test
    void aCloseThatRacesCallsEndsThemOrFailsThem() throws Exception {
        for (int round = 0; round < 20; round++) {
            Client client = box.client().pins(box.host() + "=127.0.0.1").build();
            CountDownLatch under = new CountDownLatch(6);
            ConcurrentLinkedQueue<Throwable> wrong = new ConcurrentLinkedQueue<>();
            Thread[] callers = new Thread[6];
            for (int i = 0; i < callers.length; i++) {
                int way = i % 3;
                callers[i] = new Thread(() -> {
                    Request request = Request.get(box.http("/rows/1"));
                    under.countDown();
                    try {
                        while (true) {
                            if (way == 0) {
                                assertEquals(200, client.send(request).status());
                            } else if (way == 1) {
                                assertEquals(200, client.sendAsync(request).get(10, TimeUnit.SECONDS).status());
                            } else {
                                client.sendAll(Arrays.asList(request, request));
                            }
                        }
                    } catch (Throwable end) {
                        Throwable cause = end instanceof ExecutionException ? end.getCause() : end;
                        if (!(cause instanceof PinlinkException && ((PinlinkException) cause).kind() == Kind.CLOSED)) {
                            wrong.add(cause);
                        }
                    }
                });
                callers[i].start();
            }
            under.await();
            Thread.sleep(round);
            Thread other = new Thread(client::close);
            other.start();
            client.close();
            other.join();
            for (Thread caller : callers) {
                caller.join(10_000);
                assertFalse(caller.isAlive());
            }
            assertEquals(Collections.emptyList(), Arrays.asList(wrong.toArray()));
        }
    }

    /** What is called, under the name of its native function. */
    private static final class Call {
        final String function;
        final Executable executable;

        Call(String function, Executable executable) {
            this.function = function;
            this.executable = executable;
        }
    }

    private static void name(Path file, String function) throws Exception {
        Files.write(file, function.getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void aPanicInAnyNativeFunctionIsAnExceptionAndTheNextCallWorks() throws Exception {
        Path panics = Paths.get(System.getenv("PINLINK_PANIC_FILE"));
        Client client = box.client().build();
        try {
            Request request = Request.get(box.http("/rows/1"));
            Request large = Request.get(box.http("/bytes/100000"));
            List<Request> many = Collections.nCopies(60, Request.get(box.http("/bytes/" + (1 << 20))));
            Write write = Write.of(Request.put(box.http("/sink/panic")).body("{}"), Scope.job("j").key("o", 1),
                    Profile.idempotencyKey());
            Answer opened = client.open(large);
            Answer ended = client.open(Request.get(box.http("/bytes/10")));
            Call[] calls = {
                new Call("build", () -> box.client().build()),
                new Call("send", () -> client.send(request)),
                new Call("rest", () -> client.send(large)),
                new Call("sendAll", () -> client.sendAll(Collections.singletonList(request))),
                new Call("moreRows", () -> client.sendAll(many).get(many.size() - 1).value()),
                new Call("write", () -> client.write(write)),
                new Call("writeAll", () -> client.writeAll(Collections.singletonList(write))),
                new Call("writeBatch", () -> client.writeBatch(Batch.elasticsearch(box.http("/es/_bulk"), "orders"))),
                new Call("guarantee", write::guarantee),
                new Call("open", () -> client.open(request)),
                new Call("read", opened::read),
                new Call("trailers", () -> ended.read(new byte[100], 0, 100 - ended.read(new byte[100]))),
                new Call("pins", client::pins),
                new Call("repin", () -> client.repin(box.host(), "127.0.0.1")),
                new Call("stats", client::stats),
                new Call("doctor", client::doctor),
                new Call("pinSet", () -> PinSet.parse("{}")),
                new Call("connect", () -> client.connect(box.host(), 1)),
            };
            try {
                for (Call call : calls) {
                    name(panics, call.function);
                    PinlinkException failure = assertThrows(PinlinkException.class, call.executable, call.function);
                    assertEquals(Reason.INTERNAL, failure.reason(), call.function);
                    name(panics, "");
                    assertEquals(200, client.send(request).status());
                }
                name(panics, "sendAsync");
                ExecutionException failed = assertThrows(
                        ExecutionException.class, () -> client.sendAsync(request).get(10, TimeUnit.SECONDS));
                assertEquals(Kind.INTERNAL, ((PinlinkException) failed.getCause()).kind());
                name(panics, "writeAsync");
                failed = assertThrows(
                        ExecutionException.class, () -> client.writeAsync(write).get(10, TimeUnit.SECONDS));
                assertEquals(Kind.INTERNAL, ((PinlinkException) failed.getCause()).kind());
                name(panics, "cancel close closeStream");
                client.sendAsync(request).cancel(true);
                opened.close();
                client.close();
            } finally {
                name(panics, "");
            }
            assertEquals(200, client.send(request).status(), "it was not closed");
        } finally {
            client.close();
        }
    }

    private static String watched(List<String> options, Class<?> main, String... arguments) throws Exception {
        Fork fork = Fork.run(options, main, arguments);
        assertEquals(0, fork.code, fork.output);
        return fork.output;
    }

    @Test
    void aJvmThatChecksEveryCallHasNothingToSay() throws Exception {
        String output = watched(Collections.singletonList("-Xcheck:jni"), Exercise.class, box.http(""), box.dns());
        String ours = Arrays.stream(output.split("\n"))
                .filter(line -> Stream.of("WARNING in native", "FATAL ERROR", "pinlink").anyMatch(line::contains))
                .reduce("", (all, line) -> all + line + "\n");
        assertEquals("", ours, output);
    }

    @Test
    void whatTheHeapHasNoRoomForIsToldAsWhatItIsAndFailsNoOtherRow() throws Exception {
        assertEquals("told", watched(Collections.singletonList("-Xmx20m"), Scarce.class, box.http(""), box.dns()));
    }

    @Test
    void anAnswerThatCantBeTakenEndsItsFuture() {
        Pending<Response> pending = new Pending<>(null, answer -> {
            throw new OutOfMemoryError("a test's");
        });
        pending.arrive(new byte[64]);
        ExecutionException failed = assertThrows(ExecutionException.class, () -> pending.get(0, TimeUnit.SECONDS));
        assertEquals("a test's", failed.getCause().getMessage());
        Pending<Response> untold = new Pending<>(null, answer -> answer);
        untold.arrive(null);
        failed = assertThrows(ExecutionException.class, () -> untold.get(0, TimeUnit.SECONDS));
        PinlinkException lost = (PinlinkException) failed.getCause();
        assertEquals(Delivery.UNKNOWN, lost.delivery());
        assertEquals(Outcome.UNKNOWN, lost.outcome());
    }

    @Test
    void aJvmEndsWhileCallsAreUnderWay() throws Exception {
        for (String way : new String[] {"return", "exit"}) {
            for (int round = 0; round < 3; round++) {
                long begun = System.nanoTime();
                String output = watched(Collections.emptyList(), Busy.class, box.http(""), box.dns(), way);
                assertEquals("", output);
                assertTrue((System.nanoTime() - begun) / 1_000_000 < 10_000, "far below what it would wait for");
            }
        }
    }
}
