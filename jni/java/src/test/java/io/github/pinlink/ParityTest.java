package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** The promise: Java has the names that every language has, read from the tables that every language reads. */
class ParityTest {
    private static JsonNode table(String name) throws IOException {
        return new TomlMapper().readTree(new File(System.getProperty("box.parity"), name));
    }

    private static String camel(String name) {
        StringBuilder camel = new StringBuilder();
        for (String word : name.split("_")) {
            String capital = word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1);
            camel.append(camel.length() == 0 ? word : capital);
        }
        return camel.toString();
    }

    private static Class<?> type(String kind) {
        switch (kind.replaceAll(" .*", "")) {
            case "list": return String[].class;
            case "count": return int.class;
            case "duration": return Duration.class;
            case "size": return long.class;
            case "flag": return boolean.class;
            default: return String.class;
        }
    }

    @Test
    void everyOptionHasAMethodOfItsNameAndType() throws Exception {
        Set<String> known = new HashSet<>(
                Arrays.asList("option", "options", "library", "build", "buildShared", "doctor"));
        JsonNode options = table("options.toml");
        List<String> names = new ArrayList<>();
        options.fieldNames().forEachRemaining(names::add);
        assertTrue(names.size() > 40);
        for (String name : names) {
            Method method = Client.Builder.class.getMethod(camel(name), type(options.get(name).get("kind").asText()));
            assertEquals(Client.Builder.class, method.getReturnType());
            known.add(method.getName());
        }
        for (Method method : Client.Builder.class.getDeclaredMethods()) {
            if (java.lang.reflect.Modifier.isPublic(method.getModifiers())) {
                assertTrue(known.contains(method.getName()), method + " is no option");
            }
        }
    }

    @Test
    void everyOptionTakesItsExampleByItsPropertyName() throws Exception {
        Set<String> elsewhere = new HashSet<>(Arrays.asList(
                "ca_file", "client_cert", "client_key", "pin_set", "hosts_file", "pins", "proxy", "web_roots"));
        JsonNode options = table("options.toml");
        List<String> names = new ArrayList<>();
        options.fieldNames().forEachRemaining(names::add);
        for (String name : names) {
            Client.Builder builder = Client.builder()
                    .hosts("https://127.0.0.1:1")
                    .allowAddresses("127.0.0.0/8", "10.0.0.0/8")
                    .option("pinlink." + name, options.get(name).get("example").asText());
            // These examples name what is not there; their text was read all the same.
            try (Client client = builder.build()) {
                assertTrue(!elsewhere.contains(name), name + " " + client);
            } catch (PinlinkException failed) {
                assertTrue(elsewhere.contains(name), name + ": " + failed.getMessage());
            }
        }
    }

    @Test
    void everyReasonPhaseDeliveryAndOutcomeHasItsName() throws Exception {
        JsonNode errors = table("errors.toml");
        Set<String> reasons = new TreeSet<>();
        errors.get("reasons").properties().forEach(
                kind -> kind.getValue().forEach(reason -> reasons.add(kind.getKey() + "." + reason.asText())));
        Set<String> ours = new TreeSet<>();
        Set<String> kinds = new TreeSet<>();
        for (Reason reason : Reason.values()) {
            ours.add(reason.toString());
            kinds.add(reason.kind().toString());
            assertEquals(reason.kind().toString(), reason.toString().replaceAll("\\..*", ""));
        }
        assertEquals(reasons, ours);
        assertEquals(kinds.size(), Kind.values().length);
        assertEquals(errors.get("phases").toString(), quoted(Phase.values()));
        assertEquals(errors.get("deliveries").toString(), quoted(Delivery.values()));
        assertEquals(errors.get("outcomes").toString(), quoted(Outcome.values()));
    }

    private static String quoted(Object[] values) {
        List<String> texts = new ArrayList<>();
        for (Object value : values) {
            texts.add('"' + value.toString() + '"');
        }
        return "[" + String.join(",", texts) + "]";
    }

    @Test
    void classesLibraryAndPackageAreOfOneVersion() throws Exception {
        String cargo = new String(Files.readAllBytes(Paths.get("../../Cargo.toml")), "UTF-8");
        assertTrue(cargo.contains("[workspace.package]\nversion = \"" + Native.VERSION + "\""), Native.VERSION);
        String pom = new String(Files.readAllBytes(Paths.get("pom.xml")), "UTF-8");
        assertTrue(pom.contains("<artifactId>pinlink</artifactId>\n  <version>" + Native.VERSION + "</version>"));
    }

    @Test
    void everyCounterHasAMethodOfItsName() throws Exception {
        try (Client client = Client.builder().hosts("https://127.0.0.1:1").allowAddresses("127.0.0.1").build()) {
            Stats stats = client.stats();
            assertTrue(stats.counters().size() > 25);
            for (String name : stats.counters().keySet()) {
                assertNotNull(Stats.class.getMethod(camel(name)), name);
                assertEquals(stats.counters().get(name), Stats.class.getMethod(camel(name)).invoke(stats), name);
            }
            assertTrue(stats.toString().startsWith("pinlink: 0 requests"), stats.toString());
        }
    }
}
