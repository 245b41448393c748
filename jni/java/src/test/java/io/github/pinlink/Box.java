package io.github.pinlink;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A network in a box, in a process of its own: a DNS server, proxies, origins, and faults that are switched at run
 * time. It ends when its standard input closes, so it never outlives the tests.
 */
final class Box implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final AtomicInteger NEXT = new AtomicInteger();

    private final Process process;
    private final JsonNode plan;
    private final String host;

    private Box(Process process, JsonNode plan) {
        this.process = process;
        this.plan = plan;
        host = plan.at("/plan/names/0").asText();
    }

    /** Starts one whose name nobody else in this process has asked for: look-ups are shared within a process. */
    static Box start(String... options) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("box.program"));
        command.addAll(Arrays.asList("--names", "kms-" + NEXT.incrementAndGet() + ".box.test"));
        command.addAll(Arrays.asList(options));
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        InputStreamReader out = new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8);
        return new Box(process, JSON.readTree(new BufferedReader(out).readLine()));
    }

    String host() {
        return host;
    }

    /** The URL of a path at the plain origin. */
    String http(String path) {
        return "http://" + host + ":" + plan.at("/http").asInt() + path;
    }

    /** The URL of a path at the origin with the right certificate. */
    String https(String path) {
        return https("right", path);
    }

    /** The URL of a path at the origin with this certificate. */
    String https(String certificate, String path) {
        return "https://" + host + ":" + plan.at("/https/" + certificate).asInt() + path;
    }

    /** A port of the proxy at which nobody listens once the box has opened its own. */
    String dns() {
        return plan.at("/dns").asText();
    }

    String caFile() {
        return plan.at("/ca-file").asText();
    }

    /** A builder that reaches this network's plain and TLS origins. */
    Client.Builder client() {
        List<String> hosts = new ArrayList<>();
        hosts.add(http(""));
        plan.at("/https").fieldNames().forEachRemaining(certificate -> hosts.add(https(certificate, "")));
        return Client.builder()
                .hosts(hosts.toArray(new String[0]))
                .nameservers(dns())
                .allowAddresses("127.0.0.0/8")
                .caFile(caFile())
                .webRoots(false);
    }

    /** Switches a fault on: a name, or JSON. */
    void inject(String fault) throws IOException {
        control("POST", "/faults", fault.startsWith("{") ? fault : '"' + fault + '"');
    }

    void heal() throws IOException {
        control("DELETE", "/faults", null);
    }

    JsonNode counts() throws IOException {
        return control("GET", "/counts", null);
    }

    JsonNode sink() throws IOException {
        return control("GET", "/sink", null);
    }

    JsonNode seen() throws IOException {
        return control("GET", "/seen", null);
    }

    private JsonNode control(String method, String path, String body) throws IOException {
        URL url = new URL("http://" + plan.at("/control").asText() + path);
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestMethod(method);
        if (body != null) {
            connection.setDoOutput(true);
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body.getBytes(StandardCharsets.UTF_8));
            }
        }
        int status = connection.getResponseCode();
        if (status >= 300) {
            throw new IOException(method + " " + path + ": " + status);
        }
        try (InputStream in = connection.getInputStream()) {
            return JSON.readTree(in);
        }
    }

    @Override
    public void close() {
        process.destroy();
    }
}
