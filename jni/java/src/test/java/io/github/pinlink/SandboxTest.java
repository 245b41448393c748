package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The promise: where native code is allowed the library is found in any sandbox, and where it is not the error says
 * so.
 */
class SandboxTest {
    private static Box box;

    @TempDir
    Path folder;

    @BeforeAll
    static void start() throws Exception {
        float version = Float.parseFloat(System.getProperty("java.specification.version"));
        Assumptions.assumeTrue(version < 24, "no sandbox from 24 on");
        box = Box.start();
    }

    @AfterAll
    static void stop() {
        if (box != null) {
            box.close();
        }
    }

    /** The jar as it is shipped: classes with the library among them. */
    @BeforeEach
    void embed() throws Exception {
        Path resource = folder.resolve("jar/io/github/pinlink/native/linux-x86_64/" + Library.FILE);
        Files.createDirectories(resource.getParent());
        Files.createSymbolicLink(resource, new File(System.getProperty("pinlink.library")).toPath());
        Files.createDirectory(folder.resolve("temp"));
    }

    /** Runs under a policy that lets the classes be read, and the folder {@code ./temp/} be used. */
    private String run(String... permissions) throws Exception {
        StringBuilder policy = new StringBuilder("grant {\n");
        for (String property : new String[] {"os.arch", "java.io.tmpdir", "user.dir"}) {
            policy.append("permission java.util.PropertyPermission \"").append(property).append("\", \"read\";\n");
        }
        for (String permission : permissions) {
            policy.append("permission ").append(permission).append(";\n");
        }
        for (String entry : (folder.resolve("jar") + ":" + System.getProperty("java.class.path")).split(":")) {
            policy.append("permission java.io.FilePermission \"").append(entry).append("/-\", \"read\";\n");
        }
        File library = new File(System.getProperty("pinlink.library"));
        policy.append("permission java.io.FilePermission \"").append(library).append("\", \"read\";\n};\n");
        Path file = folder.resolve("policy");
        Files.write(file, policy.toString().getBytes(StandardCharsets.UTF_8));
        List<String> options = Arrays.asList(
                "-Djava.security.manager",
                "-Djava.security.policy==" + file,
                "-Duser.dir=" + folder,
                "-Dpinlink.library=");
        Fork fork = Fork.run(options, folder.resolve("jar"), Sandboxed.class, box.http(""), box.dns());
        assertEquals(0, fork.code, fork.output);
        return fork.output;
    }

    private String temp() {
        return "java.io.FilePermission \"" + folder.resolve("temp") + "/-\", \"read,write,delete\"";
    }

    @Test
    void aSandboxThatAllowsNativeCodeIsServedFromTheOneFolderItLeaves() throws Exception {
        assertTrue(run(temp(), "java.lang.RuntimePermission \"loadLibrary.*\"").endsWith("worked\n"));
        assertEquals(0, folder.resolve("temp").toFile().list().length, "nothing is left behind");
    }

    @Test
    void aSandboxThatForbidsNativeCodeIsNamedWithTheFlagThatTurnsItOff() throws Exception {
        String message = run(temp());
        assertTrue(message.contains("Config.Library: "), message);
        assertTrue(message.contains("odps.isolation.session.enable=true"), message);
        assertTrue(message.contains("loadLibrary."), message);
        assertTrue(message.contains("the jar in " + folder.resolve("temp")), message);
        String report = message.substring(message.indexOf(": NOT LOOKED AT"));
        assertTrue(report.contains("library         FAILED  can't be loaded; to do: "), report);
        assertTrue(report.contains("odps.isolation.session.enable=true"), report);
        assertTrue(report.contains("library         FAILED  the jar in " + folder.resolve("temp") + ": "), report);
    }

    @Test
    void aSandboxWithoutAFolderTellsEveryFolderThatWasTried() throws Exception {
        String message = run("java.lang.RuntimePermission \"loadLibrary.*\"");
        for (String tried : new String[] {"the jar in /tmp", "the jar in " + folder, "the jar in /dev/shm"}) {
            assertTrue(message.contains(tried), message);
        }
        assertTrue(message.contains("odps.isolation.session.enable=true"), message);
    }
}
