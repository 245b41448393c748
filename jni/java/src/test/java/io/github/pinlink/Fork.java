package io.github.pinlink;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A JVM of its own that runs one main class, and what became of it. */
final class Fork {
    final int code;
    final String output;

    private Fork(int code, String output) {
        this.code = code;
        this.output = output;
    }

    static Fork run(List<String> options, Class<?> main, String... arguments) throws IOException, InterruptedException {
        return run(options, null, main, arguments);
    }

    /** The same with classes and resources that come first. */
    static Fork run(List<String> options, Path first, Class<?> main, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(new File(System.getProperty("java.home"), "bin/java").getPath());
        command.add("-Xmx128m");
        command.add("-Dpinlink.library=" + System.getProperty("pinlink.library"));
        if (Float.parseFloat(System.getProperty("java.specification.version")) >= 22) {
            command.add("--enable-native-access=ALL-UNNAMED");
        }
        command.addAll(options);
        command.addAll(Arrays.asList(
                "-cp", (first == null ? "" : first + ":") + System.getProperty("java.class.path"), main.getName()));
        command.addAll(Arrays.asList(arguments));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        byte[] piece = new byte[4096];
        try (InputStream in = process.getInputStream()) {
            for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                output.write(piece, 0, got);
            }
        }
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IOException("the JVM does not end: " + output);
        }
        return new Fork(process.exitValue(), output.toString("UTF-8"));
    }
}
