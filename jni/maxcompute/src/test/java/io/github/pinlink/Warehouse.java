package io.github.pinlink;

import com.aliyun.odps.Odps;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.local.common.WareHouse;
import com.aliyun.odps.mapred.conf.SessionState;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The folder in which the vendor's local runners find tables and resources, and the project that stands for the
 * platform. A JVM has one.
 */
final class Warehouse {
    private static final String PROJECT = "my_project";

    private final Path project;

    private Warehouse(Path folder) {
        project = folder.resolve(PROJECT);
    }

    /** In an empty folder. */
    static Warehouse in(Path folder) throws IOException {
        Warehouse warehouse = new Warehouse(folder);
        Files.createDirectories(warehouse.project.resolve("__resources__"));
        return warehouse;
    }

    Path resource(String name) {
        return project.resolve("__resources__").resolve(name);
    }

    /** Adds a FILE resource. */
    void add(String name, String text) throws IOException {
        Files.write(resource(name), text.getBytes(StandardCharsets.UTF_8));
    }

    /** Adds a table, whose rows lie in as many files as are given. */
    void table(String name, String columns, String... files) throws IOException {
        Path table = project.resolve("__tables__").resolve(name);
        Files.createDirectories(table);
        String schema = "project=" + PROJECT + "\ntable=" + name + "\ncolumns=" + columns + "\n";
        Files.write(table.resolve("__schema__"), schema.getBytes(StandardCharsets.UTF_8));
        for (int i = 0; i < files.length; i++) {
            Files.write(table.resolve("data" + i), files[i].getBytes(StandardCharsets.UTF_8));
        }
    }

    /** A table's rows, as the runners write them, in the order of their text. */
    List<String> rows(String name) throws IOException {
        List<String> rows = new ArrayList<>();
        File[] files = project.resolve("__tables__").resolve(name).toFile().listFiles((folder, file) -> {
            return !file.startsWith("__") && !file.startsWith(".");
        });
        for (File file : files) {
            rows.addAll(Files.readAllLines(file.toPath(), StandardCharsets.UTF_8));
        }
        rows.sort(null);
        return rows;
    }

    /** What {@code service.properties} says of the box's service. */
    static String service(String url, String dns) {
        return String.join("\n", Arrays.asList(
                "url=" + url,
                "pinlink.hosts=" + url,
                "pinlink.nameservers=" + dns,
                "pinlink.allow_addresses=127.0.0.0/8"));
    }

    /**
     * The platform, as the runners have it. Its address is none: what is missing is an error at once, and nothing is
     * asked for over a network.
     */
    static Odps odps(Path folder) {
        WareHouse.getInstance(folder.toAbsolutePath().toString());
        Odps odps = new Odps(new AliyunAccount("id", "key"));
        odps.setEndpoint("endpoint");
        odps.setDefaultProject(PROJECT);
        SessionState.get().setOdps(odps);
        SessionState.get().setLocalRun(true);
        return odps;
    }

    static Path fresh(String name) throws IOException {
        return Files.createTempDirectory(Paths.get("").toAbsolutePath(), name);
    }
}
