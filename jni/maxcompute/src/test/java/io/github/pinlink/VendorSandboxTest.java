package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.Deflater;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The promise: in the platform's sandbox, as the vendor's runners imitate it, a function is told which flag it needs;
 * and where native code is let in it works, although Java may open no socket, start no thread and write to no folder
 * but two.
 */
class VendorSandboxTest {
    private static final String RESOURCE = "io/github/pinlink/native/linux-x86_64/libpinlink_jni.so";

    /** The library's jar as it is shipped, and the same without the native library. */
    @TempDir
    private static Path jars;

    private static Path whole;
    private static Path bare;
    private static Box box;

    /** Where the function runs. */
    @TempDir
    private Path folder;

    private Warehouse warehouse;

    @BeforeAll
    static void start() throws Exception {
        float version = Float.parseFloat(System.getProperty("java.specification.version"));
        Assumptions.assumeTrue(version < 18, "the vendor's sandbox needs a JVM that lets it be on");
        whole = jar("pinlink.jar", true);
        bare = jar("bare.jar", false);
        box = Box.start();
    }

    @AfterAll
    static void stop() {
        if (box != null) {
            box.close();
        }
    }

    private static Path classes() throws Exception {
        URI location = Client.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        return Paths.get(location);
    }

    private static Path jar(String name, boolean isWhole) throws Exception {
        Path classes = classes();
        List<Path> files;
        try (Stream<Path> tree = Files.walk(classes)) {
            files = tree.filter(file -> file.toString().endsWith(".class")).collect(Collectors.toList());
        }
        Path jar = jars.resolve(name);
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
            out.setLevel(Deflater.BEST_SPEED);
            for (Path file : files) {
                out.putNextEntry(new JarEntry(classes.relativize(file).toString()));
                Files.copy(file, out);
            }
            if (isWhole) {
                out.putNextEntry(new JarEntry(RESOURCE));
                Files.copy(Paths.get(System.getProperty("pinlink.library")), out);
            }
        }
        return jar;
    }

    @BeforeEach
    void ship() throws IOException {
        warehouse = Warehouse.in(folder.resolve("wh"));
        warehouse.add("service.properties", Warehouse.service(box.http(""), box.dns()));
        warehouse.table("orders", "id:STRING,amount:BIGINT", "4711,10\n");
        warehouse.table("inserted", "id:STRING,outcome:STRING,error:STRING");
    }

    /** Runs an example in a JVM whose sandbox is on, with this jar of the library. */
    private String run(String example, Path jar, String... options) throws Exception {
        return run(new String[] {example}, jar, options);
    }

    private String run(String[] arguments, Path jar, String... options) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(new File(System.getProperty("java.home"), "bin/java").getPath());
        command.addAll(Arrays.asList("-Xmx128m", "-Dodps.local.security.enable=true"));
        for (String internal : new String[] {"util", "provider"}) {
            command.addAll(Arrays.asList("--add-exports", "java.base/sun.security." + internal + "=ALL-UNNAMED"));
        }
        command.addAll(Arrays.asList(options));
        String classes = classes().toString();
        String others = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> !entry.equals(classes) && !entry.equals(classes + "/"))
                .collect(Collectors.joining(File.pathSeparator));
        command.addAll(Arrays.asList("-cp", jar + File.pathSeparator + others, LocalRun.class.getName()));
        command.addAll(Arrays.asList(arguments));
        Process process = new ProcessBuilder(command)
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .redirectInput(new File("/dev/null"))
                .start();
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        byte[] piece = new byte[4096];
        try (InputStream in = process.getInputStream()) {
            for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                output.write(piece, 0, got);
            }
        }
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the JVM does not end");
        String text = output.toString("UTF-8");
        assertEquals(0, process.exitValue(), text);
        assertTrue(text.contains("sandboxed\n"), text);
        return text;
    }

    private static final String NATIVE = "-Dodps.local.security.jni.enable=true";

    private void assertWorked(String example, String output) throws Exception {
        assertTrue(output.endsWith("worked\n"), output);
        if (example.equals("mr")) {
            assertEquals(1, warehouse.rows("inserted").size(), output);
            assertTrue(warehouse.rows("inserted").get(0).matches("4711,(ALREADY_)?APPLIED,.*"), output);
        } else {
            assertTrue(output.contains("row {\"hash\":") || output.contains("row {\"id\":"), output);
            assertTrue(output.contains("berlin"), output);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"udf", "udtf", "udaf", "mr"})
    void aFunctionThatMayNotLoadNativeCodeIsToldWhichFlagLetsIt(String example) throws Exception {
        String output = run(example, whole);
        assertTrue(output.contains("failed: Config.Library: the native library can't be loaded: "), output);
        assertTrue(output.contains("set odps.isolation.session.enable=true for the job"), output);
        String[] attempts = {
            folder + "/libpinlink_jni.so: ",
            folder + "/temp/libpinlink_jni.so: ",
            "the jar in /tmp: ",
            "the jar in " + folder + "/temp: ",
            "the jar in " + folder + ": ",
            "the jar in /dev/shm: ",
            "(\"java.lang.RuntimePermission\" \"loadLibrary.",
        };
        for (String attempt : attempts) {
            assertTrue(output.contains(attempt), attempt + " in " + output);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"udf", "udtf", "udaf", "mr"})
    void aFunctionThatMayLoadNativeCodeWorksFromTheJarAlone(String example) throws Exception {
        assertWorked(example, run(example, whole, NATIVE));
        String[] left = folder.resolve("temp").toFile().list((where, name) -> name.startsWith("pinlink-"));
        assertArrayEquals(new String[0], left, "the extracted library is gone");
    }

    @Test
    void aShippedLibraryIsTakenFromTheResourcesThatAreNamed() throws Exception {
        Files.createSymbolicLink(
                warehouse.resource("libpinlink_jni.so"), Paths.get(System.getProperty("pinlink.library")));
        String resources = warehouse.resource("").toString();
        warehouse.add("service.properties",
                Warehouse.service(box.http(""), box.dns()) + "\npinlink.library=" + resources);
        assertWorked("udf", run("udf", bare, NATIVE));
    }

    @Test
    void aShippedLibraryIsFoundInTheWorkingDirectory() throws Exception {
        Files.createSymbolicLink(
                folder.resolve("libpinlink_jni.so"), Paths.get(System.getProperty("pinlink.library")));
        assertWorked("udf", run("udf", bare, NATIVE));
    }

    private String probe(String... options) throws Exception {
        String[] arguments = {"probe", box.http(""), "allow_addresses=127.0.0.0/8 nameservers=" + box.dns()};
        return run(arguments, whole, options);
    }

    @Test
    void aProbeThatMayNotLoadNativeCodeSaysSoAndWhichFlagLetsIt() throws Exception {
        String output = probe();
        assertTrue(output.contains("row " + box.http("") + ": NOT LOOKED AT\n"), output);
        assertTrue(output.contains("library         FAILED  can't be loaded; to do: "), output);
        assertTrue(output.contains("set odps.isolation.session.enable=true for the job"), output);
        assertTrue(output.contains("sandbox         warning on: "), output);
        assertTrue(output.contains("library         FAILED  the jar in " + folder + "/temp: "), output);
        assertTrue(output.endsWith("worked\n"), "a report is no failure: " + output);
    }

    @Test
    void aProbeThatMayLoadNativeCodeSeesTheWholeWay() throws Exception {
        String output = probe(NATIVE);
        assertTrue(output.contains("row " + box.http("") + ": reachable\n"), output);
        assertTrue(output.contains("answer  ok "), output);
        assertTrue(output.contains("sandbox         warning on: "), output);
        assertTrue(output.contains("library         ok      the jar, by a copy in " + folder + "/temp\n"), output);
    }
}
