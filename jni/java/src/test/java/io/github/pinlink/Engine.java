package io.github.pinlink;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * PostgreSQL or MariaDB, a real server of its own with a certificate for one name. It runs as nobody where we are root,
 * since neither runs as root, listens on 127.0.0.1, and ends with the thread that started it.
 */
final class Engine implements AutoCloseable {
    /** The one name in the certificate; it exists nowhere (RFC 6761, 6.2). */
    static final String NAME = "orders.nowhere.test";

    private static final int TRIES = 5;

    private final Process process;
    private final Path folder;
    final int port;

    private Engine(Process process, Path folder, int port) {
        this.process = process;
        this.folder = folder;
        this.port = port;
    }

    String caFile() {
        return folder.resolve("ca.pem").toString();
    }

    static Engine postgres() throws Exception {
        Path bin;
        try (Stream<Path> versions = Files.list(new File("/usr/lib/postgresql").toPath())) {
            bin = versions.map(version -> version.resolve("bin"))
                    .filter(path -> path.resolve("postgres").toFile().exists())
                    .max(Path::compareTo)
                    .orElseThrow(() -> new IOException("package postgresql is not installed"));
        }
        return start(
                Arrays.asList(bin.resolve("initdb").toString(), "-A", "trust", "-U", "test", "-E", "UTF8",
                        "--no-locale", "--no-sync", "-D", "data"),
                Arrays.asList(bin.resolve("postgres").toString(), "-D", "data", "-k", ".", "-h", "127.0.0.1", "-p", "@",
                        "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "ssl=on",
                        "-c", "ssl_cert_file=../cert.pem", "-c", "ssl_key_file=../key.pem"),
                "ready to accept connections");
    }

    static Engine mariadb() throws Exception {
        return start(
                Arrays.asList("/usr/bin/mariadb-install-db", "--no-defaults", "--skip-test-db", "--skip-name-resolve",
                        "--auth-root-authentication-method=normal", "--datadir=./data"),
                Arrays.asList("/usr/sbin/mariadbd", "--no-defaults", "--bind-address=127.0.0.1", "--port=@",
                        "--datadir=./data", "--socket=socket", "--pid-file=pid", "--innodb-flush-log-at-trx-commit=0",
                        "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--ssl-ca=../ca.pem",
                        "--ssl-cert=../cert.pem", "--ssl-key=../key.pem"),
                "ready for connections");
    }

    private static Engine start(List<String> maker, List<String> server, String ready) throws Exception {
        Path folder = Files.createTempDirectory("pinlink-engine-");
        certify(folder);
        boolean isRoot = ran(folder, "id", "-u").trim().equals("0");
        if (isRoot) {
            ran(folder, "chown", "-R", "65534:65534", ".");
        }
        List<String> unprivileged = new ArrayList<>(Collections.singletonList("setpriv"));
        if (isRoot) {
            unprivileged.addAll(Arrays.asList("--reuid=65534", "--regid=65534", "--clear-groups"));
        }
        unprivileged.addAll(Arrays.asList("--pdeathsig", "KILL", "--"));
        ran(folder, join(unprivileged, maker).toArray(new String[0]));
        StringBuilder log = new StringBuilder();
        for (int tries = 0; tries < TRIES; tries++) {
            int port;
            try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                port = free.getLocalPort();
            }
            List<String> command =
                    server.stream().map(word -> word.replace("@", Integer.toString(port))).collect(Collectors.toList());
            Process process = process(folder, join(unprivileged, command).toArray(new String[0])).start();
            process.getOutputStream().close();
            BufferedReader out =
                    new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                log.append(line).append('\n');
                if (line.contains(ready)) {
                    drain(out);
                    return new Engine(process, folder, port);
                }
            }
        }
        throw new IOException("no server: " + log);
    }

    /** A full pipe would stop the server. */
    private static void drain(BufferedReader out) {
        Thread drain = new Thread(() -> {
            try {
                while (out.readLine() != null) {
                    // Nobody asks.
                }
            } catch (IOException ended) {
                // With its server.
            }
        });
        drain.setDaemon(true);
        drain.start();
    }

    private static void certify(Path folder) throws Exception {
        List<String> curve = Arrays.asList("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes");
        ran(folder, join(Arrays.asList("openssl", "req", "-x509", "-days", "2", "-subj", "/CN=test"),
                join(Arrays.asList("-keyout", "ca.key", "-out", "ca.pem"), curve)).toArray(new String[0]));
        ran(folder, join(Arrays.asList("openssl", "req", "-subj", "/CN=server"),
                join(Arrays.asList("-keyout", "key.pem", "-out", "request"), curve)).toArray(new String[0]));
        Files.write(folder.resolve("names"), ("subjectAltName=DNS:" + NAME).getBytes(StandardCharsets.UTF_8));
        ran(folder, "openssl", "x509", "-req", "-days", "2", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "names", "-out", "cert.pem");
    }

    private static List<String> join(List<String> one, List<String> other) {
        return Stream.concat(one.stream(), other.stream()).collect(Collectors.toList());
    }

    private static ProcessBuilder process(Path folder, String... command) {
        ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
        builder.environment().put("LC_ALL", "C");
        return builder;
    }

    private static String ran(Path folder, String... command) throws Exception {
        Process process = process(folder, command).start();
        process.getOutputStream().close();
        StringBuilder output = new StringBuilder();
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                output.append(line).append('\n');
            }
        }
        if (process.waitFor() != 0) {
            throw new IOException(Arrays.toString(command) + ": " + output);
        }
        return output.toString();
    }

    @Override
    public void close() throws IOException {
        process.destroy();
        try {
            if (!process.waitFor(5, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        List<Path> all;
        try (Stream<Path> files = Files.walk(folder)) {
            all = files.collect(Collectors.toList());
        }
        Collections.reverse(all);
        for (Path file : all) {
            Files.deleteIfExists(file);
        }
    }
}
