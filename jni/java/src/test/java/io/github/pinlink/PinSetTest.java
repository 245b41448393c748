package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** The promise: resolved once, shipped as a file, imported without a query. */
class PinSetTest {
    @Test
    void aSetThatWasSavedIsImportedWithoutAQuery(@TempDir Path folder) throws Exception {
        try (Box box = Box.start()) {
            String file = folder.resolve("pins.json").toString();
            PinSet resolved = PinSet.resolve(box.client());
            assertEquals(Collections.singletonList("127.0.0.1"), resolved.find(box.host()));
            resolved.save(file);
            long queries = box.counts().at("/dns/queries").asLong();
            assertTrue(queries > 0);

            for (Client.Builder builder : new Client.Builder[] {
                box.client().pinSet(file), box.client().pinSet(PinSet.load(file))
            }) {
                try (Client client = builder.build()) {
                    assertEquals(200, client.send(Request.get(box.http("/rows/1"))).status());
                    assertEquals(1, client.stats().pinsImported());
                    assertEquals(resolved.hosts(), client.pins().hosts());
                }
            }
            assertEquals(queries, box.counts().at("/dns/queries").asLong());
        }
    }

    @Test
    void aSetIsAValue() throws Exception {
        PinSet pins = PinSet.hostsFile("10.0.0.1 nn.example nn\n10.0.0.2 dn1.example # first\n10.0.0.3 nn.example\n");
        assertEquals(Arrays.asList("10.0.0.1", "10.0.0.3"), pins.hosts().get("nn.example"));
        PinSet more = pins.with("*.nodes.example", "10.0.1.1", "10.0.1.2");
        assertEquals(3, pins.hosts().size(), "the first is as it was");
        assertEquals(Arrays.asList("10.0.1.1", "10.0.1.2"), more.find("a.b.Nodes.Example"));
        assertEquals(Collections.emptyList(), more.find("elsewhere.example"));
        assertEquals(more, PinSet.parse(more.toJson()));
        assertEquals(more.hashCode(), PinSet.parse(more.toJson()).hashCode());
        assertEquals(4, pins.merge(more).hosts().size());
        assertEquals(0, more.validFor(Duration.ZERO).expire().hosts().size());
        assertEquals(4, more.validFor(Duration.ofDays(1)).expire().hosts().size());
        assertTrue(more.toString().contains("dn1.example\t10.0.0.2"), more.toString());
    }

    @Test
    void whatIsNoPinSetIsRefused() {
        assertEquals(Reason.CONFIG_PIN_SET, refused(() -> PinSet.parse("[]")));
        assertEquals(Reason.CONFIG_PIN_SET, refused(() -> PinSet.load("/nowhere")));
        assertEquals(Reason.CONFIG_INVALID_INPUT, refused(() -> PinSet.hostsFile("").with("a.example", "b.example")));
    }

    private static Reason refused(Executable call) {
        return assertThrows(PinlinkConfigException.class, call).reason();
    }

    @Test
    void aRepinnedHostIsDialledAtItsNewAddress() throws Exception {
        try (Box box = Box.start("--proxy-ips", "127.0.0.1,127.0.0.2")) {
            try (Client client = box.client().pins(box.host() + "=127.0.0.1").build()) {
                assertEquals("127.0.0.1", peer(client, box));
                client.repin(box.host(), "127.0.0.2");
                assertEquals("127.0.0.2", peer(client, box));
                assertEquals(Collections.singletonList("127.0.0.2"), client.pins().find(box.host()));
                PinlinkException refused = assertThrows(
                        PinlinkException.class, () -> client.repin(box.host(), "100.100.100.200"));
                assertEquals(Reason.POLICY_ADDRESS_DENIED, refused.reason());
            }
        }
    }

    private static String peer(Client client, Box box) throws PinlinkException {
        return client.send(Request.get(box.http("/rows/1"))).trace().address().getAddress().getHostAddress();
    }
}
