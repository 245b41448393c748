package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The promise: one client for a process, for all who ask with the same options. */
class SharingTest {
    @Test
    void whoAsksWithTheSameOptionsGetsTheSameClientAndOthersAreRefused() throws Exception {
        try (Box box = Box.start()) {
            Map<String, String> options = new HashMap<>();
            options.put("pinlink.hosts", box.http(""));
            options.put("pinlink.nameservers", box.dns());
            options.put("pinlink.allow_addresses", "127.0.0.0/8");
            Client one = Client.shared(options);
            Client other = Client.shared(options);
            assertEquals(200, one.send(Request.get(box.http("/rows/1"))).status());
            assertEquals(1, other.stats().requests());
            one.close();
            assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, one::stats).kind());
            assertEquals(200, other.send(Request.get(box.http("/rows/2"))).status(), "it was the other's too");
            other.close();
            assertEquals(2, Client.shared(options).stats().requests(), "it outlives its users");
            options.put("pinlink.max_connections", "3");
            PinlinkException refused = assertThrows(PinlinkConfigException.class, () -> Client.shared(options));
            assertEquals(Reason.CONFIG_ALREADY_INIT, refused.reason());
        }
    }
}
