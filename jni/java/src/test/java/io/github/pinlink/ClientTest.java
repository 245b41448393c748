package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.lang.management.ManagementFactory;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The promise: a request goes out as it was made, and comes back whole or as one exception that says what to do. */
class ClientTest {
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

    private static JsonNode echoed(Response answer) throws Exception {
        assertEquals(200, answer.status(), answer.text());
        return new ObjectMapper().readTree(answer.text());
    }

    @Test
    void aRequestArrivesAsItWasMade() throws Exception {
        Request request = Request.post(box.http("/echo?q=1"))
                .header("x-trace", "7")
                .header("x-text", "caf\u00e9 \u20ac \ud834\udd1e")
                .body("{\"id\":4711}");
        JsonNode echo = echoed(client.send(request));
        assertEquals("POST", echo.get("method").asText());
        assertEquals("q=1", echo.get("query").asText());
        assertEquals("{\"id\":4711}", echo.get("body").asText());
        String fields = echo.get("headers").toString();
        assertTrue(fields.contains("[\"x-trace\",\"7\"]"), fields);
        assertTrue(fields.contains("caf\u00e9 \u20ac \ud834\udd1e"), fields);
    }

    @Test
    void anAnswerHasItsHeadersItsBodyAndItsTrace() throws Exception {
        Response answer = client.send(Request.get(box.https("/rows/7")));
        assertEquals(200, answer.status());
        assertTrue(answer.isSuccess());
        assertEquals("application/json", answer.header("Content-Type"));
        assertNotNull(answer.header("ETAG"));
        assertNull(answer.header("x-none"));
        assertTrue(answer.headers().stream().anyMatch(field -> field.getKey().equals("etag")));
        assertEquals(answer.text(), new String(answer.body(), StandardCharsets.UTF_8));
        assertEquals(answer.bodyLength(), answer.bodyStream().available());
        Trace trace = answer.trace();
        assertEquals(1, trace.attempts());
        assertEquals("127.0.0.1", trace.address().getAddress().getHostAddress());
        assertTrue(trace.total().compareTo(Duration.ZERO) > 0);
        assertTrue(trace.total().compareTo(trace.waiting()) >= 0);
        assertTrue(client.send(Request.get(box.https("/rows/8"))).trace().isReused());
    }

    @Test
    void trailersComeBehindTheBody() throws Exception {
        try (Client http2 = box.client().protocol("http2").build()) {
            Response answer = http2.send(Request.get(box.https("/trailers/10")));
            assertEquals(10, answer.bodyLength());
            assertTrue(answer.trace().isHttp2());
            assertTrue(answer.trailers().stream().anyMatch(field -> field.getKey().equals("x-rows")
                    && field.getValue().equals("10")));
        }
    }

    @Test
    void bodiesBeyondThePacketTravelBothWays() throws Exception {
        byte[] rows = new byte[3 << 20];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = (byte) ('a' + i % 23);
        }
        JsonNode echo = echoed(client.send(Request.put(box.http("/echo")).body(rows)));
        assertEquals(rows.length, echo.get("body_bytes").asInt());
        assertArrayEquals(rows, echo.get("body").asText().getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void aBodyOfAnySizeAroundThePacketSIsWhole() throws Exception {
        for (int size = Packet.SIZE - 400; size <= Packet.SIZE + 20; size += 7) {
            byte[] body = new byte[size];
            Arrays.fill(body, (byte) 'x');
            Response answer = client.send(Request.post(box.http("/upload")).body(body));
            assertEquals(200, answer.status());
            assertEquals(size, client.send(Request.get(box.http("/bytes/" + size))).bodyLength());
        }
    }

    @Test
    void aHeadBeyondThePacketArrives() throws Exception {
        char[] value = new char[Packet.SIZE + 1];
        Arrays.fill(value, 'v');
        JsonNode echo = echoed(client.send(Request.get(box.http("/echo")).header("x-long", new String(value))));
        assertTrue(echo.get("headers").toString().contains(new String(value)));
    }

    @Test
    void aFileIsSent(@TempDir Path folder) throws Exception {
        File file = folder.resolve("rows.csv").toFile();
        Files.write(file.toPath(), "a,b\n".getBytes(StandardCharsets.UTF_8));
        assertEquals("a,b\n", echoed(client.send(Request.put(box.http("/echo")).body(file))).get("body").asText());
    }

    @Test
    void aStatusOf400OrMoreIsAnAnswer() throws Exception {
        Response answer = client.send(Request.get(box.http("/status/404")));
        assertEquals(404, answer.status());
        assertFalse(answer.isSuccess());
    }

    private static PinlinkException failure(Client client, Request request) {
        return assertThrows(PinlinkException.class, () -> client.send(request));
    }

    @Test
    void aFailureSaysWhatFailedWhereAndWhetherItArrived() {
        PinlinkException undeclared = failure(client, Request.get("https://elsewhere.example/"));
        assertEquals(Kind.POLICY, undeclared.kind());
        assertEquals(Reason.POLICY_NOT_DECLARED, undeclared.reason());
        assertEquals(Delivery.NOT_SENT, undeclared.delivery());
        assertEquals(Outcome.REJECTED, undeclared.outcome());
        assertTrue(undeclared.getMessage().startsWith("Policy.NotDeclared: "), undeclared.getMessage());

        PinlinkException expired = failure(client, Request.get(box.https("expired", "/")));
        assertEquals(Reason.TLS_EXPIRED, expired.reason());
        assertEquals(Phase.HANDSHAKE, expired.phase());
        assertTrue(expired.host().startsWith(box.host()), expired.host());
        assertTrue(expired.address().startsWith("127.0.0.1:"), expired.address());
        assertTrue(expired.attempts() >= 1);
        assertNotNull(expired.elapsed());
        assertFalse(expired.getMessage().contains("\n"));

        assertEquals(Reason.TLS_WRONG_NAME, failure(client, Request.get(box.https("wrong-name", "/"))).reason());
        assertEquals(Reason.TLS_UNKNOWN_ISSUER, failure(client, Request.get(box.https("self-signed", "/"))).reason());
    }

    @Test
    void aDeadlineIsAnExceptionOfItsOwn() {
        Request slow = Request.get(box.http("/delay/60000")).timeout(Duration.ofMillis(100));
        PinlinkException late = assertThrows(PinlinkTimeoutException.class, () -> client.send(slow));
        assertEquals(Reason.TIMEOUT_TOTAL, late.reason());
        assertEquals(Delivery.UNKNOWN, late.delivery());
    }

    @Test
    void aMistakeInARequestIsFoundBeforeAnythingIsSent() {
        for (Request request : new Request[] {
            Request.get("no url"),
            Request.of("G T", box.http("/")),
            Request.get(box.http("/")).header("x", "a\r\nb: c"),
            Request.get(box.http("/")).header("host", "other"),
            Request.get(box.http("/")).timeout(Duration.ZERO),
            Request.get(box.http("/")).timeout(Duration.ofSeconds(-1)),
            Request.get(box.http("/")).timeout(Duration.ofSeconds(Long.MAX_VALUE)),
        }) {
            PinlinkException mistake = assertThrows(PinlinkConfigException.class, () -> client.send(request));
            assertEquals(Reason.CONFIG_INVALID_INPUT, mistake.reason());
            assertEquals(Delivery.NOT_SENT, mistake.delivery());
        }
    }

    @Test
    void aMistakeInTheOptionsComesBackFromBuild() {
        Client.Builder misspelt = box.client().option("max_conections", "1");
        PinlinkException unknown = assertThrows(PinlinkConfigException.class, misspelt::build);
        assertEquals(Reason.CONFIG_UNKNOWN_OPTION, unknown.reason());
        assertTrue(unknown.getMessage().contains("max_connections"), unknown.getMessage());
        PinlinkException range = assertThrows(PinlinkConfigException.class, box.client().maxConnections(0)::build);
        assertEquals(Reason.CONFIG_INVALID_INPUT, range.reason());
    }

    @Test
    void aPinnedHostIsNotLookedUp() throws Exception {
        int port = Integer.parseInt(box.http("").replaceAll(".*:", ""));
        try (Client pinned = Client.builder()
                .hosts("http://nowhere.example:" + port)
                .pins("nowhere.example=127.0.0.1")
                .allowAddresses("127.0.0.0/8")
                .build()) {
            assertEquals(200, pinned.send(Request.get("http://nowhere.example:" + port + "/rows/1")).status());
        }
    }

    @Test
    void aRefusedConnectionIsNotSent() throws Exception {
        int port;
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        try (Client alone = Client.builder().hosts("http://127.0.0.1:" + port).allowAddresses("127.0.0.1").build()) {
            PinlinkException refused = failure(alone, Request.post("http://127.0.0.1:" + port + "/").body("once"));
            assertEquals(Reason.CONNECT_REFUSED, refused.reason());
            assertEquals(Delivery.NOT_SENT, refused.delivery());
        }
    }

    @Test
    void optionsComeFromPropertiesAndMapsUnderTheirPrefixes() throws Exception {
        Map<String, String> spark = new HashMap<>();
        spark.put("spark.pinlink.hosts", box.http(""));
        spark.put("spark.executor.cores", "4");
        Properties defaults = new Properties();
        defaults.setProperty("pinlink.nameservers", box.dns());
        Properties properties = new Properties(defaults);
        properties.setProperty("pinlink.allow_addresses", "127.0.0.0/8");
        properties.setProperty("user.dir", "/");
        try (Client configured = Client.builder().options(spark).options(properties).build()) {
            assertEquals(200, configured.send(Request.get(box.http("/rows/1"))).status());
        }
        spark.put("spark.pinlink.colour", "blue");
        Client.Builder misspelt = Client.builder().options(spark);
        PinlinkException unknown = assertThrows(PinlinkConfigException.class, misspelt::build);
        assertEquals(Reason.CONFIG_UNKNOWN_OPTION, unknown.reason());
    }

    @Test
    void aSmallCallTakesLittleOfTheHeap() throws Exception {
        com.sun.management.ThreadMXBean threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        Request request = Request.get(box.http("/bytes/100")).header("x-trace", "7");
        int calls = 3_000;
        long before = 0;
        for (int i = -500; i < calls; i++) {
            if (i == 0) {
                before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
            }
            client.send(request);
        }
        long each = (threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before) / calls;
        assertTrue(each <= 600, each + " bytes");
    }

    @Test
    void aClosedClientSaysSoAndClosesAgainInPeace() throws Exception {
        Client closed = box.client().build();
        assertEquals(200, closed.send(Request.get(box.http("/rows/1"))).status());
        closed.close();
        closed.close();
        PinlinkException failure = failure(closed, Request.get(box.http("/rows/1")));
        assertEquals(Reason.CLOSED, failure.reason());
        assertEquals(Delivery.NOT_SENT, failure.delivery());
        assertEquals(200, client.send(Request.get(box.http("/rows/1"))).status(), "another client is not concerned");
    }
}
