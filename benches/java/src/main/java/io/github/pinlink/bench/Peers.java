package io.github.pinlink.bench;

import java.io.File;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;

/** Who is compared in which workload. A peer's classes are loaded by the process that runs it only. */
final class Peers {
    /** What the names of the peers' jars begin with; one without a jar is the JDK's. */
    private static final Map<String, String> JARS = new TreeMap<>(Map.of(
            "pinlink", "pinlink",
            "OkHttp", "okhttp-jvm",
            "HttpClient 5 classic", "httpclient5",
            "HttpClient 5 async", "httpclient5",
            "AsyncHttpClient", "async-http-client",
            "aws-crt", "aws-crt"));

    private static final Map<String, String[]> WORKLOADS = Map.of(
            "sync", new String[] {
                "raw socket", "pinlink send", "pinlink sendAsync", "HttpURLConnection", "java.net.http", "OkHttp",
                "HttpClient 5 classic", "HttpClient 5 async", "AsyncHttpClient", "aws-crt",
            },
            "many", new String[] {
                "pinlink sendAll", "pinlink sendAsync", "pinlink send, 32 threads", "aws-crt", "AsyncHttpClient",
                "HttpClient 5 async", "HttpClient 5 classic, 32 threads", "OkHttp", "OkHttp, 32 threads",
                "HttpURLConnection, 32 threads", "java.net.http",
            },
            "threads", new String[] {
                "pinlink, 1 thread", "pinlink, 2 threads", "pinlink, 8 threads", "raw socket, 8 threads",
                "HttpClient 5 classic, 8 threads", "OkHttp, 8 threads",
            },
            "start", new String[] {
                "empty process", "pinlink from the jar, no answer", "pinlink from a file, no answer", "pinlink",
                "HttpURLConnection", "java.net.http", "OkHttp", "HttpClient 5 classic", "AsyncHttpClient", "aws-crt",
            },
            "crossing",
                    new String[] {"nothing crosses", "direct buffer", "array regions", "array in, array made"});

    private Peers() {}

    /** Prints a line for each peer of each workload: its version, or that it is missing. */
    static void tell() {
        WORKLOADS.forEach((workload, names) -> {
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
        String jdk = "JDK " + System.getProperty("java.version");
        return JARS.entrySet().stream()
                .filter(entry -> peer.startsWith(entry.getKey()))
                .map(entry -> onClassPath(entry.getValue()))
                .findFirst()
                .orElse(jdk);
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
            case "sync" -> Turns.oneByOne(() -> caller(peer, at));
            case "many" -> Turns.atOnce(() -> many(peer, at));
            case "threads" -> Turns.atOnce(() -> threads(peer, at));
            case "crossing" -> Turns.atOnce(() -> Crossing.of(peer));
            default -> throw new IllegalArgumentException(workload);
        }
    }

    /** One that is asked once, the way of the first answer of a process. */
    static Get caller(String peer, At at) throws Exception {
        return switch (peer) {
            case "raw socket" -> new RawSocket(at);
            case "pinlink", "pinlink send" -> new Pinlink(at);
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
            case "pinlink sendAsync" -> new Later(new Pinlink(at));
            case "aws-crt" -> new Later(new AwsCrt(at));
            case "AsyncHttpClient" -> new Later(new NettyClient(at));
            case "HttpClient 5 async" -> new Later(new ApacheAsync(at));
            case "OkHttp" -> new Later(new OkHttp(at));
            case "java.net.http" -> new Later(new JdkClient(at));
            default -> threads(peer, at);
        };
    }

    /** The peer that stands before the comma, called by the number of threads behind it. */
    private static Batch threads(String peer, At at) throws Exception {
        String name = peer.substring(0, peer.indexOf(", "));
        int count = Integer.parseInt(peer.substring(name.length() + 2, peer.lastIndexOf(' ')));
        if (!name.equals("raw socket")) {
            return new InThreads(Collections.nCopies(count, caller(name, at)));
        }
        Get[] sockets = new Get[count];
        for (int i = 0; i < count; i++) {
            sockets[i] = new RawSocket(at);
        }
        return new InThreads(Arrays.asList(sockets));
    }
}
