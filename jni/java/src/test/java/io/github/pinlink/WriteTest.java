package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The promise: a write happens once whatever is executed twice, and its outcome is said as the target's records have
 * it.
 */
class WriteTest {
    private static Box box;
    private static Client client;
    private static Scope scope;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
        client = box.client().backoffBase(Duration.ofMillis(1)).backoffMax(Duration.ofMillis(20)).build();
        scope = Scope.job("orders of 2026-11-22");
    }

    @AfterAll
    static void stop() {
        client.close();
        box.close();
    }

    private static Write order(String record, String body) throws PinlinkException {
        Request request = Request.post(box.http("/sink/" + record)).body(body);
        return Write.of(request, scope.key("insert order", record), Profile.idempotencyKey());
    }

    private static long effects(String record) throws Exception {
        long effects = 0;
        for (JsonNode write : box.sink()) {
            effects += write.get("record").asText().equals(record) ? write.get("applied").asLong() : 0;
        }
        return effects;
    }

    @Test
    void whatARowsSignerThrowsIsTheCauseOfThatRowAlone() throws Exception {
        Request good = Request.post(box.http("/echo")).body("{}");
        Request bad = good.signed(unsigned -> {
            throw new IllegalStateException("no key");
        });
        Request fine = good.signed(unsigned -> unsigned.header("x-signed", "yes"));
        List<Result<Response>> answers = client.sendAll(Arrays.asList(fine, bad, good));
        assertEquals("no key", answers.get(1).failure().getCause().getMessage());
        assertTrue(answers.get(0).isOk() && answers.get(2).isOk(), answers.toString());
        List<Result<Written>> written = client.writeAll(Arrays.asList(
                Write.keyless(fine).unkeyed(),
                Write.keyless(bad).unkeyed(),
                Write.keyless(Request.put("https://elsewhere.example/"))));
        assertEquals("no key", written.get(1).failure().getCause().getMessage());
        assertTrue(written.get(0).isOk(), written.toString());
        assertNull(written.get(2).failure().getCause());
    }

    @Test
    void aWriteThatIsExecutedAgainHasOneEffectAndSaysSo() throws Exception {
        Written now = client.write(order("again", "{}"));
        assertEquals(Outcome.APPLIED, now.outcome());
        assertTrue(now.response().isSuccess());
        try (Client reexecuted = box.client().build()) {
            assertEquals(Outcome.ALREADY_APPLIED, reexecuted.write(order("again", "{}")).outcome());
        }
        assertEquals(1, effects("again"));
    }

    @Test
    void aLostAnswerIsAskedForUnderTheSameKey() throws Exception {
        try (Box lossy = Box.start(); Client writer = lossy.client().build()) {
            lossy.inject("{\"fault\": \"ack-lost\", \"times\": 1}");
            Request request = Request.post(lossy.http("/sink/lost")).body("{}");
            Written written = writer.write(Write.of(request, scope.key("o", "lost"), Profile.idempotencyKey()));
            assertEquals(Outcome.ALREADY_APPLIED, written.outcome());
            assertEquals(1, lossy.sink().at("/0/applied").asInt());
            assertEquals(2, written.response().trace().attempts());
        }
    }

    @Test
    void anotherBodyUnderTheSameKeyIsRefused() throws Exception {
        client.write(order("mismatch", "{}"));
        Write other = order("mismatch", "[]");
        PinlinkException refused = assertThrows(PinlinkWriteException.class, () -> client.write(other));
        assertEquals(Reason.WRITE_MISMATCH, refused.reason());
        assertEquals(Outcome.REJECTED, refused.outcome());
    }

    @Test
    void aRefusalBringsItsAnswer() throws Exception {
        Write write = Write.of(Request.post(box.http("/status/400")).body("{}"), scope.key("o", "refused"),
                Profile.idempotencyKey());
        PinlinkWriteException refused = assertThrows(PinlinkWriteException.class, () -> client.write(write));
        assertEquals(Reason.WRITE_REJECTED, refused.reason());
        assertEquals(400, refused.status());
        assertTrue(new String(refused.body(), StandardCharsets.UTF_8).contains("400"));
    }

    @Test
    void aPlainPostIsRefusedUnlessTheCallerAcceptsWhatItIs() throws Exception {
        Write plain = Write.keyless(Request.post(box.http("/sink/plain")).body("{}"));
        assertEquals(Guarantee.AT_MOST_ONCE_PER_PROCESS, plain.guarantee());
        PinlinkException refused = assertThrows(PinlinkWriteException.class, () -> client.write(plain));
        assertEquals(Reason.WRITE_UNKEYED, refused.reason());
        assertEquals(0, effects("plain"));
        assertEquals(Outcome.APPLIED, client.write(plain.unkeyed()).outcome());
        assertEquals(Guarantee.ONCE, order("x", "{}").guarantee());
        assertEquals(Guarantee.REPEATABLE, Write.keyless(Request.put(box.http("/sink/x"))).guarantee());
    }

    @Test
    void everyProfileCrosses() throws Exception {
        Profile own = Profile.header("X-Request-Id")
                .form(KeyForm.UUID)
                .memory(Duration.ofMinutes(30))
                .mark(409, Meaning.IN_PROGRESS)
                .mark(422, "x", Meaning.MISMATCH)
                .replayMark("Idempotent-Replayed", "true")
                .storesFailures(true);
        Request request = Request.post(box.http("/sink/own?key_header=X-Request-Id")).body("{}");
        Write write = Write.of(request, scope.key("o", "own"), own);
        assertEquals(Outcome.APPLIED, client.write(write).outcome());
        assertEquals(Outcome.ALREADY_APPLIED, client.write(write).outcome());
        assertEquals(1, effects("own"));
        for (Profile profile : new Profile[] {
            Profile.idempotencyKey(), Profile.bareIdempotencyKey(), Profile.query("q"), Profile.formField("f"),
            Profile.clientToken(), Profile.clientTokenInForm(), Profile.oss(), Profile.s3(), Profile.ifNoneMatch(),
            Profile.elasticsearch(), Profile.tablestore(), Profile.header("x").form(KeyForm.HEX).form(KeyForm.SHORT)
        }) {
            Write any = Write.of(Request.put(box.http("/x")), scope.key("o", 1), profile);
            assertEquals(Guarantee.ONCE, any.guarantee(), profile.toString());
        }
        for (Meaning meaning : Meaning.values()) {
            Profile profile = Profile.header("x").mark(400, meaning);
            assertEquals(Guarantee.ONCE, Write.of(request, scope.key("o", 1), profile).guarantee(), meaning.toString());
        }
        Request object = Request.put(box.http("/oss/bucket/{key}.csv")).body("rows");
        Write part = Write.of(object, scope.key("o", "object"), Profile.oss());
        assertEquals(Outcome.APPLIED, client.write(part).outcome());
        assertEquals(Outcome.ALREADY_APPLIED, client.write(part).outcome());
    }

    @Test
    void manyWritesHaveAnOutcomeEachInTheirOrder() throws Exception {
        List<Write> writes = new ArrayList<>();
        for (int row = 0; row < 100; row++) {
            writes.add(order("many-" + row / 2, "{}"));
        }
        writes.set(50, Write.keyless(Request.post(box.http("/sink/never"))));
        List<Result<Written>> rows = client.writeAll(writes);
        assertEquals(100, rows.size());
        assertEquals(Reason.WRITE_UNKEYED, rows.get(50).failure().reason());
        for (int row = 0; row < 100; row++) {
            assertTrue(row == 50 || rows.get(row).isOk(), row + ": " + rows.get(row));
        }
        for (int record = 0; record < 50; record++) {
            assertEquals(1, effects("many-" + record));
        }
        assertEquals(0, effects("never"));
    }

    @Test
    void anUnknownOutcomeIsSettledByAReadOfTheCallersOwn() throws Exception {
        Write doubtful = Write.of(Request.post(box.http("/status/500")).body("{}").timeout(Duration.ofSeconds(2)),
                scope.key("o", "verify"), Profile.header("x").storesFailures(true));
        AtomicInteger asked = new AtomicInteger();
        Write verified = doubtful.verify(Request.get(box.http("/rows/7")), answer -> {
            asked.incrementAndGet();
            return answer.text().contains("\"id\":\"7\"");
        });
        assertEquals(Outcome.ALREADY_APPLIED, client.write(verified).outcome());
        assertEquals(1, asked.get());

        for (Boolean verdict : new Boolean[] {false, null}) {
            Write unsettled = doubtful.verify(Request.get(box.http("/rows/7")), answer -> verdict);
            PinlinkException unknown = assertThrows(PinlinkWriteException.class, () -> client.write(unsettled));
            assertEquals(Reason.WRITE_OUTCOME_UNKNOWN, unknown.reason());
            assertEquals(Outcome.UNKNOWN, unknown.outcome());
        }
        RuntimeException thrown = new IllegalStateException("in a callback");
        Write broken = doubtful.verify(Request.get(box.http("/rows/7")), answer -> {
            throw thrown;
        });
        assertSame(thrown, assertThrows(PinlinkWriteException.class, () -> client.write(broken)).getCause());
    }

    @Test
    void everyTryIsSignedAnew() throws Exception {
        AtomicInteger tries = new AtomicInteger();
        Request request = Request.post(box.http("/status/503?times=2&for=signed")).body("rows").signed(unsigned -> {
            assertEquals("POST", unsigned.method());
            assertEquals("rows", new String(unsigned.body(), StandardCharsets.UTF_8));
            assertTrue(unsigned.headers().stream().anyMatch(field -> field.getKey().equals("idempotency-key")));
            return unsigned.header("authorization", "nonce " + tries.incrementAndGet());
        });
        Write write = Write.of(request, scope.key("o", "signed"), Profile.idempotencyKey());
        assertEquals(Outcome.APPLIED, client.write(write).outcome());
        assertEquals(3, tries.get());
        List<String> nonces = new ArrayList<>();
        for (JsonNode seen : box.seen()) {
            if (seen.get("query").asText().contains("for=signed")) {
                seen.get("headers").forEach(field -> {
                    if (field.get(0).asText().equals("authorization")) {
                        nonces.add(field.get(1).asText());
                    }
                });
            }
        }
        assertEquals("[nonce 1, nonce 2, nonce 3]", nonces.toString());
    }

    @Test
    void aSignerThatFailsSendsNothing() throws Exception {
        RuntimeException thrown = new IllegalStateException("no credentials");
        Request request = Request.get(box.http("/rows/unsigned")).signed(unsigned -> {
            throw thrown;
        });
        PinlinkException refused = assertThrows(PinlinkException.class, () -> client.send(request));
        assertEquals(Delivery.NOT_SENT, refused.delivery());
        assertSame(thrown, refused.getCause());
        for (JsonNode seen : box.seen()) {
            assertTrue(!seen.get("path").asText().equals("/rows/unsigned"));
        }
    }

    @Test
    void aBodyThatCanBeReadOnceIsSpooledAndWrittenOnce() throws Exception {
        byte[] body = "{\"once\":true}".getBytes(StandardCharsets.UTF_8);
        Request request = Request.post(box.http("/sink/spooled")).body(new ByteArrayInputStream(body));
        assertEquals(Outcome.APPLIED,
                client.write(Write.of(request, scope.key("o", "spooled"), Profile.idempotencyKey())).outcome());
        assertEquals(1, effects("spooled"));
    }

    @Test
    void aWriteThatNobodyWaitsForHasOneEffectAndSaysSo() throws Exception {
        Write write = order("async", "{}");
        assertEquals(Outcome.APPLIED, client.writeAsync(write).get(10, TimeUnit.SECONDS).outcome());
        assertEquals(Outcome.ALREADY_APPLIED, client.writeAsync(write).get(10, TimeUnit.SECONDS).outcome());
        assertEquals(1, effects("async"));
        ExecutionException mismatch = assertThrows(
                ExecutionException.class, () -> client.writeAsync(order("async", "other")).get(10, TimeUnit.SECONDS));
        assertTrue(mismatch.getCause() instanceof PinlinkWriteException);
        Request stream = Request.put(box.http("/upload")).body(new ByteArrayInputStream(new byte[1]));
        ExecutionException refused = assertThrows(
                ExecutionException.class, () -> client.writeAsync(Write.keyless(stream)).get(10, TimeUnit.SECONDS));
        assertTrue(refused.getCause() instanceof PinlinkConfigException);
    }

    @Test
    void aBatchWritesEachItemOnce() throws Exception {
        Batch batch = Batch.elasticsearch(box.https("/es/_bulk"), "orders");
        for (int row = 0; row < 5; row++) {
            batch = batch.item(scope.key("index", row), "{\"row\":" + row + "}");
        }
        for (Outcome expected : new Outcome[] {Outcome.APPLIED, Outcome.ALREADY_APPLIED}) {
            List<Result<Written>> outcomes = client.writeBatch(batch);
            assertEquals(5, outcomes.size());
            for (Result<Written> outcome : outcomes) {
                assertEquals(expected, outcome.value().outcome());
            }
        }
    }

    @Test
    void aBatchOfOnesOwnSendsAgainOnlyWhatFailed() throws Exception {
        List<String> sent = Collections.synchronizedList(new ArrayList<>());
        Batch batch = Batch.of(
                        items -> {
                            String rows = items.stream().map(Batch.Item::text).collect(Collectors.joining(" "));
                            sent.add(rows);
                            return Request.post(box.http("/echo")).body(rows);
                        },
                        answer -> {
                            // The target had no time for the second row at first.
                            String[] rows = sent.get(sent.size() - 1).split(" ");
                            return Arrays.stream(rows)
                                    .map(row -> Batch.Fate.of(
                                            row.equals("b") && sent.size() == 1 ? Meaning.AGAIN : Meaning.APPLIED, 200))
                                    .collect(Collectors.toList());
                        })
                .memory(Duration.ofHours(1));
        Batch filled = batch.item(scope.key("own", "a"), "a")
                .item(scope.key("own", "b"), "b")
                .item(scope.key("own", "c"), "c".getBytes(StandardCharsets.UTF_8));
        batch.item(scope.key("own", "other"), "not of this one");
        for (Result<Written> outcome : client.writeBatch(filled)) {
            assertEquals(Outcome.APPLIED, outcome.value().outcome());
        }
        assertEquals(Arrays.asList("a b c", "b"), sent);
    }

    @Test
    void whatABatchsFunctionsThrowIsTheCauseOfItsOutcomes() throws Exception {
        Function<List<Batch.Item>, Request> composes = items -> Request.post(box.http("/echo")).body("x");
        RuntimeException thrown = new IllegalStateException("no row");
        List<Batch> batches = Arrays.asList(
                Batch.of(items -> {
                    throw thrown;
                }, answer -> null),
                Batch.of(composes, answer -> {
                    throw thrown;
                }));
        for (Batch batch : batches) {
            Batch one = batch.item(scope.key("thrown", batches.indexOf(batch)), "a");
            Result<Written> outcome = client.writeBatch(one).get(0);
            assertSame(thrown, outcome.failure().getCause());
        }
        Batch streamed = Batch.of(
                items -> Request.post(box.http("/echo")).body(new ByteArrayInputStream(new byte[1])), answer -> null);
        PinlinkException refused = client.writeBatch(streamed.item(scope.key("thrown", 2), "a")).get(0).failure();
        assertTrue(refused.getCause() instanceof PinlinkConfigException);
        assertThrows(IllegalArgumentException.class, () -> Batch.Fate.of(Meaning.APPLIED, -1));
    }
}
