package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import io.github.pinlink.Diagnosis.Cause;
import io.github.pinlink.Diagnosis.Certainty;
import io.github.pinlink.Diagnosis.Examination;
import io.github.pinlink.Diagnosis.Fact;
import io.github.pinlink.Diagnosis.Layer;
import io.github.pinlink.Diagnosis.Stage;
import io.github.pinlink.Diagnosis.Step;
import io.github.pinlink.Diagnosis.Verdict;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The promise: what stands between a job and its targets is told in Java as it is seen, whatever is missing. */
class DoctorTest {
    private static Box box;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
    }

    @AfterAll
    static void stop() {
        box.close();
    }

    private static Client.Builder builder(Box box) {
        return Client.builder()
                .nameservers(box.dns())
                .allowAddresses("127.0.0.0/8")
                .caFile(box.caFile())
                .webRoots(false);
    }

    private static List<Stage> stages(Examination examination) {
        return examination.steps().stream().map(Step::stage).collect(Collectors.toList());
    }

    private static Fact fact(Diagnosis diagnosis, String name) {
        return diagnosis.environment().stream().filter(fact -> fact.name().equals(name)).findFirst().get();
    }

    /** Whether the JSON says what the objects do, field by field. */
    private static void assertSame(Diagnosis diagnosis) throws Exception {
        JsonNode json = new ObjectMapper().readTree(diagnosis.toJson());
        assertEquals(2, json.size(), diagnosis.toJson());
        assertEquals(diagnosis.targets().size(), json.get("targets").size());
        for (int i = 0; i < diagnosis.targets().size(); i++) {
            Examination examination = diagnosis.targets().get(i);
            assertEquals(examination.target(), json.at("/targets/" + i + "/target").asText());
            assertEquals(examination.steps().size(), json.at("/targets/" + i + "/steps").size());
            for (int j = 0; j < examination.steps().size(); j++) {
                Step step = examination.steps().get(j);
                JsonNode told = json.at("/targets/" + i + "/steps/" + j);
                assertEquals(lower(step.stage()), told.get("stage").asText());
                assertEquals(lower(step.verdict()), told.get("verdict").asText());
                assertEquals(step.milliseconds(), told.get("milliseconds").asDouble(), 0.01);
                assertEquals(step.detail(), told.get("detail").asText());
                assertEquals(step.reason() == null ? "null" : step.reason().toString(), told.get("reason").asText());
                assertEquals(step.causes().size(), told.get("causes").size());
                for (int k = 0; k < step.causes().size(); k++) {
                    Cause cause = step.causes().get(k);
                    assertEquals(lower(cause.certainty()), told.at("/causes/" + k + "/certainty").asText());
                    assertEquals(lower(cause.layer()), told.at("/causes/" + k + "/layer").asText());
                    assertEquals(cause.step(), told.at("/causes/" + k + "/step").asText());
                }
            }
        }
        assertEquals(diagnosis.environment().size(), json.get("environment").size());
        for (int i = 0; i < diagnosis.environment().size(); i++) {
            Fact fact = diagnosis.environment().get(i);
            assertEquals(fact.name(), json.at("/environment/" + i + "/name").asText());
            assertEquals(lower(fact.verdict()), json.at("/environment/" + i + "/verdict").asText());
            assertEquals(fact.value(), json.at("/environment/" + i + "/value").asText());
        }
    }

    private static String lower(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }

    @Test
    void targetsThatAreReachableAreWellAtEveryStep() throws Exception {
        String tcp = box.http("").replace("http:", "tcp:");
        Diagnosis diagnosis = builder(box).doctor(box.https(""), box.http(""), tcp);
        assertTrue(diagnosis.isWell(), diagnosis.toString());
        assertTrue(diagnosis.targets().stream().allMatch(Examination::isWell));
        assertEquals(Arrays.asList(Stage.values()), stages(diagnosis.targets().get(0)));
        assertEquals(
                Arrays.asList(Stage.NAME, Stage.ADDRESS, Stage.TCP, Stage.ANSWER), stages(diagnosis.targets().get(1)));
        assertEquals(tcp, diagnosis.targets().get(2).target());
        for (Step step : diagnosis.targets().get(0).steps()) {
            assertNull(step.reason());
            assertTrue(step.milliseconds() >= 0 && step.milliseconds() < 10_000);
        }
        assertSame(diagnosis);
    }

    @Test
    void aMissingStepIsNamedWithItsLayerAndHowSureThatIs() throws Exception {
        try (Box faulty = Box.start()) {
            faulty.inject("nx-domain");
            Diagnosis diagnosis = builder(faulty).doctor(faulty.https(""), box.http(""));
            assertFalse(diagnosis.isWell());
            Examination examination = diagnosis.targets().get(0);
            assertFalse(examination.isWell());
            assertEquals(1, examination.steps().size(), diagnosis.toString());
            Step step = examination.steps().get(0);
            assertEquals(Stage.NAME, step.stage());
            assertEquals(Verdict.FAILED, step.verdict());
            assertEquals(Reason.DNS_NX_DOMAIN, step.reason());
            assertEquals(Layer.NAME, step.causes().get(0).layer());
            assertEquals(Certainty.LIKELY, step.causes().get(0).certainty());
            assertTrue(step.causes().get(0).step().contains("odps.session.networklink"), diagnosis.toString());
            assertTrue(diagnosis.toString().startsWith(faulty.https("") + ": NOT REACHABLE\n"), diagnosis.toString());
            assertSame(diagnosis);
        }
    }

    @Test
    void thisJvmIsToldOfBesideTheMachine() throws Exception {
        Diagnosis diagnosis = Client.builder().doctor();
        assertTrue(diagnosis.isWell() && diagnosis.targets().isEmpty());
        assertTrue(fact(diagnosis, "java").value().startsWith(System.getProperty("java.version")));
        assertEquals("off", fact(diagnosis, "sandbox").value());
        assertTrue(fact(diagnosis, "heap").value().startsWith("at most 256 MiB, "), diagnosis.toString());
        assertEquals(
                new File(System.getProperty("pinlink.library")).getAbsolutePath(), fact(diagnosis, "library").value());
        assertEquals(Native.VERSION, fact(diagnosis, "pinlink").value().replaceAll(" .*", ""));
        assertTrue(diagnosis.toString().contains("\n  library         ok      "), diagnosis.toString());
        assertSame(diagnosis);
    }

    @Test
    void aClientLooksAtItsDeclaredOrigins() throws Exception {
        Client client = builder(box).hosts(box.https(""), "https://*.box.test").pins(box.host() + "=127.0.0.1").build();
        int queries = box.counts().at("/dns/queries").asInt();
        Diagnosis diagnosis = client.doctor();
        assertTrue(diagnosis.isWell(), diagnosis.toString());
        assertEquals(1, diagnosis.targets().size(), "a wildcard is no target");
        assertEquals(queries, box.counts().at("/dns/queries").asInt(), "it has pins");
        client.close();
        assertEquals(Reason.CLOSED, assertThrows(PinlinkException.class, client::doctor).reason());
    }

    @Test
    void aMistakeInTheInputIsOneBeforeAnythingIsLookedAt() {
        for (String wrong : new String[] {"ftp://a.example", "tcp://a.example", "https://*.example", "", "a b"}) {
            PinlinkException failure = assertThrows(
                    PinlinkException.class, () -> Client.builder().doctor("https://127.0.0.1", wrong), wrong);
            assertEquals(Reason.CONFIG_INVALID_INPUT, failure.reason(), wrong);
        }
        assertEquals(Reason.CONFIG_UNKNOWN_OPTION, assertThrows(
                PinlinkException.class, () -> Client.builder().option("max_conns", "1").doctor("a.example")).reason());
    }

    @Test
    void anInterruptEndsIt() throws Exception {
        try (Box faulty = Box.start()) {
            faulty.inject("silent");
            Thread caller = Thread.currentThread();
            Thread other = new Thread(() -> {
                try {
                    // The look has begun.
                    while (faulty.counts().at("/dns/queries").asInt() == 0) {
                        Thread.yield();
                    }
                } catch (IOException failed) {
                    failed.printStackTrace();
                }
                caller.interrupt();
            });
            other.start();
            long begun = System.nanoTime();
            PinlinkException failure = assertThrows(
                    PinlinkException.class, () -> builder(faulty).doctor(faulty.https("")));
            assertEquals(Kind.CANCELED, failure.kind());
            assertThrows(PinlinkException.class, () -> builder(box).doctor(box.https("")), "it is interrupted still");
            assertTrue(Thread.interrupted());
            assertTrue((System.nanoTime() - begun) / 1_000_000 < 8_000, "far below what name servers are waited for");
            other.join();
        }
    }

    /** Where there is no library. */
    static final class Unserved {
        private Unserved() {}

        public static void main(String[] arguments) throws Exception {
            Diagnosis diagnosis = Client.builder().option("max_conns", "1").doctor("https://kms.example", "a\"\\\n");
            Exercise.check(!diagnosis.isWell() && diagnosis.targets().size() == 2, diagnosis);
            Exercise.check(!diagnosis.targets().get(0).isWell(), diagnosis);
            Exercise.check(fact(diagnosis, "library").verdict() == Verdict.FAILED, diagnosis);
            assertSame(diagnosis);
            Diagnosis alone = Client.builder().doctor();
            Exercise.check(!alone.isWell(), alone);
            assertSame(alone);
            System.out.print(diagnosis);
        }
    }

    @Test
    void aLibraryThatCantBeLoadedIsPartOfTheReport(@TempDir Path folder) throws Exception {
        List<String> options = Arrays.asList("-Dpinlink.library=" + folder, "-Duser.dir=" + folder);
        Fork fork = Fork.run(options, Unserved.class);
        assertEquals(0, fork.code, fork.output);
        String[] parts = {
            "https://kms.example: NOT LOOKED AT\n",
            "this machine\n  java            ok      ",
            "\n  library         FAILED  can't be loaded\n",
            "\n  library         FAILED  " + folder + "/libpinlink_jni.so: no such file\n",
            "\n  library         FAILED  the jar: it holds no native/linux-x86_64/libpinlink_jni.so\n",
        };
        for (String part : parts) {
            assertTrue(fork.output.contains(part), part + " in\n" + fork.output);
        }
    }

    @Test
    void namesAreThoseOfEveryLanguage() throws Exception {
        JsonNode table = new TomlMapper().readTree(new File(System.getProperty("box.parity"), "doctor.toml"));
        Map<String, Enum<?>[]> ours = new LinkedHashMap<>();
        ours.put("stages", Stage.values());
        ours.put("verdicts", Verdict.values());
        ours.put("certainties", Certainty.values());
        ours.put("layers", Layer.values());
        assertEquals(ours.size(), table.size());
        ours.forEach((name, values) -> {
            Map<String, String> told = new LinkedHashMap<>();
            table.get(name).properties().forEach(entry -> told.put(entry.getKey(), entry.getValue().asText()));
            Map<String, String> words = new LinkedHashMap<>();
            for (Enum<?> value : values) {
                words.put(lower(value), value.toString());
            }
            assertEquals(told, words);
        });
    }
}
