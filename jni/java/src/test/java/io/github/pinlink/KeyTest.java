package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import java.io.File;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** The promise: the same inputs give the same key in every language. */
class KeyTest {
    private static Object part(JsonNode part) {
        if (part.isTextual()) {
            return part.asText();
        }
        return part.has("null") ? null : bytes(part);
    }

    private static byte[] bytes(JsonNode part) {
        if (part.isTextual()) {
            return part.asText().getBytes(StandardCharsets.UTF_8);
        }
        String hex = part.get("hex").asText();
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }

    private static Scope scope(JsonNode scope) throws PinlinkException {
        String text = scope.get("text").asText();
        switch (scope.get("kind").asText()) {
            case "job": return Scope.job(text);
            case "instance": return Scope.instance(text);
            default: return Scope.spark(text);
        }
    }

    private static Record record(JsonNode record) throws PinlinkException {
        JsonNode parts = record.get("parts");
        switch (record.get("kind").asText()) {
            case "content": return Record.content(bytes(parts.get(0)));
            case "chunk": return Record.chunk(parts.get(0).asInt(), parts.get(1).asLong());
            default:
                Object[] values = new Object[parts.size()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = part(parts.get(i));
                }
                return Record.of(values);
        }
    }

    @Test
    void everyVectorOfTheTableIsDerivedInEveryForm() throws Exception {
        JsonNode table = new TomlMapper().readTree(new File(System.getProperty("box.parity"), "keys.toml")).get("key");
        assertTrue(table.size() >= 20);
        for (JsonNode vector : table) {
            String name = vector.get("name").asText();
            Key key = scope(vector.get("scope")).key(vector.get("operation").asText(), record(vector.get("record")));
            assertEquals(vector.get("hex").asText(), key.hex(), name);
            assertEquals(vector.get("uuid").asText(), key.uuid(), name);
            assertEquals(vector.get("short").asText(), key.shortened(), name);
            assertEquals(vector.get("logged").asText(), key.logged(), name);
            assertEquals("Key(" + key.logged() + ")", key.toString());
        }
    }

    @Test
    void aNumberIsItsDecimalTextAndNullIsNothingElse() throws Exception {
        Scope scope = Scope.job("j");
        assertEquals(scope.key("o", 7), scope.key("o", "7"));
        assertEquals(scope.key("o", -7L), scope.key("o", "-7"));
        assertEquals(scope.key("o", new BigInteger("7")), scope.key("o", (short) 7));
        assertEquals(scope.key("o", "\u00e9"), scope.key("o", (Object) "\u00e9".getBytes(StandardCharsets.UTF_8)));
        assertNotEquals(scope.key("o", "\u00e9"), scope.key("o", "e\u0301"));
        assertNotEquals(scope.key("o", (Object) null), scope.key("o", ""));
        assertNotEquals(scope.key("o", "a", "b"), scope.key("o", "ab"));
        assertEquals(scope.key("o", 7).hashCode(), scope.key("o", 7).hashCode());
        for (Object part : new Object[] {1.5, 1.5f, new Object(), 'c'}) {
            assertEquals(Reason.CONFIG_INVALID_INPUT,
                    assertThrows(PinlinkConfigException.class, () -> scope.key("o", part)).reason());
        }
    }

    @Test
    void aScopeTakesNothingThatChangesFromRunToRun() throws Exception {
        String tooLong = new String(new char[257]).replace('\0', 'a');
        for (String job : new String[] {"", "attempt_1", "task_2026", "a\nb", tooLong}) {
            assertThrows(PinlinkConfigException.class, () -> Scope.job(job), job);
        }
        for (String id : new String[] {"", "20261122060110436", "2026112206011043xgskmgc", "20261122060110436gSKM"}) {
            assertThrows(PinlinkConfigException.class, () -> Scope.instance(id), id);
        }
        for (String id : new String[] {"", "job-1", "spark-\u00e9", "spark- 1"}) {
            assertThrows(PinlinkConfigException.class, () -> Scope.spark(id), id);
        }
        String id = "20261122060110436gskmgc";
        assertNotEquals(Scope.job(id).key("o", 1), Scope.instance(id).key("o", 1));
        assertFalse(Scope.job("j").key("o", 1).toString().contains(Scope.job("j").key("o", 1).hex().substring(0, 8)));
    }
}
