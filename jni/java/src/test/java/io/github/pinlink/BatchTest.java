package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: many rows, one crossing, an outcome for each in their order. */
class BatchTest {
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

    @Test
    void outcomesComeInTheOrderOfTheirRows() throws Exception {
        List<Request> requests = new ArrayList<>();
        for (int row = 0; row < 500; row++) {
            requests.add(Request.get(box.http("/rows/" + row)));
        }
        List<Result<Response>> rows = client.sendAll(requests);
        assertEquals(500, rows.size());
        for (int row = 0; row < 500; row++) {
            assertTrue(rows.get(row).isOk());
            assertTrue(rows.get(row).value().text().contains("\"id\":\"" + row + "\""), rows.get(row).value().text());
            assertEquals("application/json", rows.get(row).value().header("content-type"));
        }
        assertTrue(client.stats().connectionsPeak() <= 8);
    }

    @Test
    void aFailingRowFailsNoOther() throws Exception {
        List<Request> requests = new ArrayList<>();
        requests.add(Request.post(box.http("/echo")).body("one"));
        requests.add(Request.get("https://elsewhere.example/"));
        requests.add(Request.get("no url"));
        requests.add(Request.get(box.http("/status/404")));
        List<Result<Response>> rows = client.sendAll(requests);
        assertTrue(rows.get(0).value().text().contains("\"body\":\"one\""));
        assertNull(rows.get(0).failure());
        assertFalse(rows.get(1).isOk());
        assertEquals(Reason.POLICY_NOT_DECLARED, rows.get(1).failure().reason());
        assertSame(rows.get(1).failure(), assertThrows(PinlinkException.class, rows.get(1)::value));
        assertEquals(Reason.CONFIG_INVALID_INPUT, rows.get(2).failure().reason());
        assertEquals(404, rows.get(3).value().status());
    }

    @Test
    void noRowsAreNoOutcomes() throws Exception {
        assertEquals(Collections.emptyList(), client.sendAll(Collections.emptyList()));
    }

    @Test
    void answersOfManyMebibytesComeInBlocks() throws Exception {
        List<Request> requests = new ArrayList<>();
        for (int row = 0; row < 15; row++) {
            requests.add(Request.get(box.http("/bytes/" + (row * (1 << 19)))));
        }
        List<Result<Response>> rows = client.sendAll(requests);
        assertEquals(15, rows.size());
        for (int row = 0; row < 15; row++) {
            assertEquals(row * (1 << 19), rows.get(row).value().bodyLength());
        }
    }

    @Test
    void aClosedClientSaysSoOnce() throws Exception {
        Client closed = box.client().build();
        closed.close();
        List<Request> requests = Collections.singletonList(Request.get(box.http("/rows/1")));
        assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, () -> closed.sendAll(requests)).kind());
        assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, closed::stats).kind());
        assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, closed::pins).kind());
        assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, () -> closed.repin("a", "1.2.3.4")).kind());
    }
}
