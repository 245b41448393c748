package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: bodies of any size pass through in constant memory, and one that breaks off never looks whole. */
class StreamTest {
    /** Far beyond the heap that the tests have. */
    private static final long LARGE = 600L << 20;

    private static Box box;
    private static Client client;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
        client = box.client().maxConnections(2).build();
    }

    @AfterAll
    static void stop() {
        client.close();
        box.close();
    }

    /** Opens two large answers that nobody can close any more. */
    private static void forget(Client client) throws Exception {
        for (int i = 0; i < 2; i++) {
            assertEquals(200, client.open(Request.get(box.http("/bytes/" + LARGE))).status());
        }
    }

    @Test
    void anAnswerThatWasForgottenGivesItsConnectionBack() throws Exception {
        try (Client two = box.client().maxConnections(2).acquireTimeout(Duration.ofMillis(100)).build()) {
            forget(two);
            long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            while (true) {
                System.gc();
                try {
                    assertEquals(200, two.send(Request.get(box.http("/rows/1"))).status());
                    return;
                } catch (PinlinkException failure) {
                    assertEquals(Reason.TIMEOUT_ACQUIRE, failure.reason());
                    assertTrue(System.nanoTime() < until, "it is held for ever");
                }
            }
        }
    }

    /** Brings so many bytes, and has none of them before they are asked for. */
    private static InputStream zeros(long length) {
        return new InputStream() {
            private long left = length;

            @Override
            public int read() {
                return left-- > 0 ? 0 : -1;
            }

            @Override
            public int read(byte[] into, int offset, int size) {
                if (left == 0) {
                    return -1;
                }
                int got = (int) Math.min(left, size);
                Arrays.fill(into, offset, offset + got, (byte) 0);
                left -= got;
                return got;
            }
        };
    }

    @Test
    void anAnswerLargerThanTheHeapIsRead() throws Exception {
        byte[] piece = new byte[1 << 16];
        long total = 0;
        try (Answer answer = client.open(Request.get(box.http("/bytes/" + LARGE)))) {
            assertEquals(200, answer.status());
            assertTrue(answer.isSuccess());
            assertEquals(LARGE, answer.length());
            assertEquals(Long.toString(LARGE), answer.header("content-length"));
            for (int got = answer.read(piece); got >= 0; got = answer.read(piece)) {
                total += got;
            }
            assertEquals(-1, answer.read());
        }
        assertEquals(LARGE, total);
    }

    /** Reads on to the end, so much at a time at most, and expects what {@code /bytes} sends from this place on. */
    private static void assertBody(Answer answer, int from, int until, int most) throws IOException {
        byte[] piece = new byte[most + 2];
        int at = from;
        for (int got = answer.read(piece, 1, most); got >= 0; got = answer.read(piece, 1, most)) {
            assertTrue(got > 0 && got <= most, "it read " + got);
            for (int i = 1; i <= got; i++) {
                assertEquals((byte) (at++ % 251), piece[i]);
            }
            assertEquals(0, piece[0] | piece[most + 1], "it wrote beside what it was given");
        }
        assertEquals(until, at);
        assertEquals(-1, answer.read(piece, 1, most));
    }

    @Test
    void readsOfEverySizeBringTheSameBytes() throws Exception {
        for (String url : new String[] {box.http("/bytes/300000"), box.https("/bytes/300000"), box.http("/chunked/300000")}) {
            for (int most : new int[] {7, 8192, 1 << 16, 1 << 20}) {
                try (Answer answer = client.open(Request.get(url))) {
                    assertEquals(0, answer.read());
                    assertEquals(1, answer.read());
                    assertBody(answer, 2, 300000, most);
                }
            }
        }
    }

    @Test
    void whatOneAnswerLeavesUnreadIsNoneOfTheNextOnes() throws Exception {
        for (int i = 0; i < 40; i++) {
            Answer left = client.open(Request.get(box.http("/bytes/300000")));
            assertEquals(0, left.read());
            try (Answer other = client.open(Request.get(box.http("/bytes/300000")))) {
                assertEquals(0, other.read());
                left.close();
                assertBody(other, 1, 300000, 1000);
            }
        }
    }

    @Test
    void anAnswerThatIsClosedWhileItIsReadKeepsItsMemoryUntilThatReadHasEnded() throws Exception {
        Answer slow = client.open(Request.get(box.http("/stream/100/1000/20")));
        AtomicReference<Throwable> ended = new AtomicReference<>();
        Thread reader = new Thread(() -> {
            try {
                while (slow.read(new byte[1 << 16]) >= 0) {
                    continue;
                }
            } catch (Throwable failure) {
                ended.set(failure);
            }
        });
        reader.start();
        Thread.sleep(50);
        slow.close();
        for (int i = 0; i < 20; i++) {
            try (Answer answer = client.open(Request.get(box.http("/bytes/300000")))) {
                assertBody(answer, 0, 300000, 1000);
            }
        }
        reader.join();
        assertEquals(Kind.CLOSED, ((PinlinkException) ended.get()).kind());
    }

    @Test
    void aStreamLargerThanTheHeapIsSentWithAndWithoutALength() throws Exception {
        for (Request request : new Request[] {
            Request.put(box.http("/upload")).body(zeros(LARGE), LARGE),
            Request.put(box.https("/upload")).body(zeros(LARGE / 20)),
        }) {
            Response answer = client.send(request);
            assertEquals(200, answer.status(), answer.text());
            long length = request.url().startsWith("https") ? LARGE / 20 : LARGE;
            assertEquals(length, new ObjectMapper().readTree(answer.text()).get("bytes").asLong(), answer.text());
        }
    }

    @Test
    void anAnswerIsReadByteByByteAndItsTrailersComeBehindIt() throws Exception {
        try (Client http2 = box.client().protocol("http2").build();
                Answer answer = http2.open(Request.get(box.https("/trailers/10")))) {
            assertTrue(answer.trailers().isEmpty());
            int bytes = 0;
            while (answer.read() >= 0) {
                bytes++;
            }
            assertEquals(10, bytes);
            assertTrue(answer.trailers().toString().contains("x-rows=10"), answer.trailers().toString());
        }
    }

    @Test
    void anAnswerThatBreaksOffIsAnException() throws Exception {
        try (Answer answer = client.open(Request.get(box.http("/close-early/1000")))) {
            PinlinkException broken = assertThrows(PinlinkException.class, () -> {
                while (answer.read(new byte[100]) >= 0) {
                    continue;
                }
            });
            assertEquals(Reason.PROTOCOL_INCOMPLETE, broken.reason());
            assertEquals(Delivery.ANSWERED, broken.delivery());
        }
    }

    @Test
    void whatIsClosedGivesItsConnectionBackAndIsReadNoMore() throws Exception {
        for (int i = 0; i < 10; i++) {
            Answer answer = client.open(Request.get(box.http("/bytes/" + LARGE)));
            assertTrue(answer.read(new byte[10]) > 0);
            answer.close();
            answer.close();
            PinlinkException closed = assertThrows(PinlinkException.class, () -> answer.read(new byte[1]));
            assertEquals(Kind.CLOSED, closed.kind());
        }
    }

    @Test
    void aStreamThatFailsIsTheCause() throws Exception {
        IOException thrown = new IOException("the disk is gone");
        InputStream broken = new InputStream() {
            private int left = 10;

            @Override
            public int read() throws IOException {
                if (left-- == 0) {
                    throw thrown;
                }
                return 7;
            }

            @Override
            public int read(byte[] into, int offset, int size) throws IOException {
                into[offset] = (byte) read();
                return 1;
            }
        };
        PinlinkException failed = assertThrows(
                PinlinkException.class, () -> client.send(Request.put(box.http("/upload")).body(broken)));
        assertEquals(Reason.CANCELED_BODY, failed.reason());
        assertSame(thrown, failed.getCause());
        assertEquals(200, client.send(Request.get(box.http("/rows/1"))).status());
    }

    @Test
    void aStreamIsNotForACallThatNobodyWaitsFor() {
        Request request = Request.put(box.http("/upload")).body(new ByteArrayInputStream(new byte[1]), 1);
        Throwable refused = assertThrows(Exception.class, () -> client.sendAsync(request).get()).getCause();
        assertEquals(Reason.CONFIG_INVALID_INPUT, ((PinlinkException) refused).reason());
    }
}
