package io.github.pinlink.bench;

import java.io.File;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Who is compared in which workload. A peer's classes are loaded by the process that runs it only. */
final class Peers {
    /** What the names of the peers' jars begin with; one without a jar is the JDK's. */
    private static final String[][] JARS = {
        {"pinlink", "pinlink"},
        {"OkHttp", "okhttp-jvm"},
        {"HttpClient 5", "httpclient5"},
        {"AsyncHttpClient", "async-http-client"},
        {"aws-crt", "aws-crt"},
    };

    private Peers() {}

    private static Map<String, List<String>> workloads() {
        Map<String, List<String>> all = new LinkedHashMap<>();
        List<String> blocking = List.of(
                "HttpURLConnection", "java.net.http", "OkHttp", "HttpClient 5 classic", "HttpClient 5 async",
                "AsyncHttpClient", "aws-crt");
        for (String workload : List.of("sync", "post", "body")) {
            all.put(workload, joined(List.of("raw socket", "pinlink send", "pinlink sendAsync"), blocking));
        }
        all.put("stream", joined(List.of("raw socket", "pinlink open"), blocking));
        List<String> later = List.of("aws-crt", "AsyncHttpClient", "HttpClient 5 async", "OkHttp", "java.net.http");
        for (int connections : new int[] {8, 32, 128}) {
            String threads = ", " + connections + " threads";
            List<String> ours = List.of("pinlink sendAll", "pinlink sendAsync", "pinlink send" + threads);
            List<String> blocked = List.of("HttpClient 5 classic" + threads, "HttpURLConnection" + threads);
            List<String> more =
                    connections == 32 ? List.of("OkHttp" + threads, "pinlink send, one at a time") : List.of();
            all.put("many-" + connections, joined(ours, later, blocked, more));
        }
        all.put("http2", joined(List.of("pinlink sendAll", "pinlink sendAsync"), later));
        all.put("threads", List.of(
                "pinlink, 1 thread", "pinlink, 2 threads", "pinlink, 8 threads", "raw socket, 8 threads",
                "HttpClient 5 classic, 8 threads", "OkHttp, 8 threads"));
        List<String> begun = List.of(
                "empty process", "pinlink from the jar, no answer", "pinlink from a file, no answer", "pinlink");
        all.put("start", joined(begun, blocking));
        all.put("crossing", List.of("nothing crosses", "direct buffer", "array regions", "array in, array made"));
        return all;
    }

    @SafeVarargs
    private static List<String> joined(List<String>... lists) {
        List<String> all = new ArrayList<>();
        for (List<String> list : lists) {
            all.addAll(list);
        }
        return all;
    }

    /** Prints a line for each peer of each workload: its version, or that it is missing. */
    static void tell() {
        workloads().forEach((workload, names) -> {
            for (String name : names) {
                String jar = jar(name);
                String what = jar.isEmpty() ? "\"missing\":\"its jar is not on the class path\""
                        : "\"version\":\"" + jar + "\"";
                System.out.println(
                        "{\"workload\":\"" + workload + "\",\"name\":\"" + name + "\"," + what + "}");
            }
        });
    }

    /** The name of the peer's jar, which has its version in it. */
    private static String jar(String peer) {
        for (String[] jar : JARS) {
            if (peer.startsWith(jar[0])) {
                return onClassPath(jar[1]);
            }
        }
        return "JDK " + System.getProperty("java.version");
    }

    private static String onClassPath(String start) {
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            String file = new File(path).getName();
            if (file.startsWith(start + "-") && file.endsWith(".jar")) {
                return file.substring(0, file.length() - ".jar".length());
            }
        }
        return "";
    }

    /** Runs a peer until the input ends. */
    static void run(String workload, String peer, At at) throws Exception {
        switch (workload) {
            case "sync", "post", "body" -> Turns.oneByOne(() -> call(peer, at));
            case "stream" -> Turns.oneByOne(() -> {
                Get get = caller(peer, at);
                return () -> at.judged(get.stream());
            });
            case "threads" -> Turns.atOnce(() -> threads(peer, at));
            case "crossing" -> Turns.atOnce(() -> Crossing.of(peer));
            default -> Turns.atOnce(() -> many(peer, at));
        }
    }

    /** One that is asked one request after the other. */
    private static Call call(String peer, At at) throws Exception {
        Get get = caller(peer, at);
        return () -> at.judged(get.get());
    }

    /** One that is asked once, the way of the first answer of a process. */
    static Get caller(String peer, At at) throws Exception {
        return switch (peer) {
            case "raw socket" -> new RawSocket(at);
            case "pinlink", "pinlink send", "pinlink open" -> new Pinlink(at);
            case "HttpURLConnection" -> new UrlConnection(at);
            case "java.net.http" -> new JdkClient(at);
            case "OkHttp" -> new OkHttp(at);
            case "HttpClient 5 classic" -> new ApacheClassic(at);
            case "HttpClient 5 async" -> new ApacheAsync(at);
            case "AsyncHttpClient" -> new NettyClient(at);
            case "aws-crt" -> new AwsCrt(at);
            case "pinlink sendAsync" -> {
                Pinlink client = new Pinlink(at);
                yield () -> client.later().get();
            }
            default -> throw new IllegalArgumentException(peer);
        };
    }

    private static Batch many(String peer, At at) throws Exception {
        return switch (peer) {
            case "pinlink sendAll" -> new Pinlink(at);
            case "pinlink sendAsync" -> new Later(at, new Pinlink(at));
            case "aws-crt" -> new Later(at, new AwsCrt(at));
            case "AsyncHttpClient" -> new Later(at, new NettyClient(at));
            case "HttpClient 5 async" -> new Later(at, new ApacheAsync(at));
            case "OkHttp" -> new Later(at, new OkHttp(at));
            case "java.net.http" -> new Later(at, new JdkClient(at));
            default -> threads(peer, at);
        };
    }

    /** The peer that stands before the comma, called by the number of threads behind it. */
    private static Batch threads(String peer, At at) throws Exception {
        String name = peer.substring(0, peer.indexOf(", "));
        if (peer.endsWith(", one at a time")) {
            Call call = call(name, at);
            return count -> {
                for (int i = 0; i < count; i++) {
                    call.call();
                }
            };
        }
        int count = Integer.parseInt(peer.substring(name.length() + 2, peer.lastIndexOf(' ')));
        if (!name.equals("raw socket")) {
            return new InThreads(Collections.nCopies(count, call(name, at)));
        }
        List<Call> sockets = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            sockets.add(call(name, at));
        }
        return new InThreads(sockets);
    }
}
