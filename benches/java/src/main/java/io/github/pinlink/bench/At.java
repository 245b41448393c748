package io.github.pinlink.bench;

import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

/** What is asked in a workload, where, how much at once, whom to trust for it, and what must come. */
final class At {
    /** What is posted is of this type. */
    static final String TYPE = "application/octet-stream";

    private static final int SHORT = 100;
    private static final byte[] ANSWER = "x".repeat(SHORT).getBytes(StandardCharsets.US_ASCII);

    final String url;
    final String ca;
    /** What is posted; null where it is a GET. */
    final byte[] posted;
    /** The length of the answer's body. */
    final int length;
    /** The most connections that a client may have. */
    final int connections;
    /** How many requests go on at once where nobody waits for them one by one. */
    final int atOnce;

    final boolean isHttp2;

    At(String workload, String url, String ca) {
        this.url = url;
        this.ca = ca;
        posted = workload.equals("post") ? "p".repeat(1024).getBytes(StandardCharsets.US_ASCII) : null;
        length = switch (workload) {
            case "body" -> 64 << 10;
            case "stream" -> 10 << 20;
            default -> SHORT;
        };
        isHttp2 = workload.equals("http2");
        if (workload.startsWith("many-")) {
            connections = Integer.parseInt(workload.substring("many-".length()));
        } else {
            connections = isHttp2 ? 1 : 32;
        }
        atOnce = isHttp2 ? 100 : connections;
    }

    boolean isTls() {
        return url.startsWith("https:");
    }

    URI uri() {
        return URI.create(url);
    }

    String origin() {
        return url.substring(0, url.lastIndexOf('/'));
    }

    TrustManager[] trust() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(ca))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory.getTrustManagers();
    }

    SSLContext context() throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust(), null);
        return context;
    }

    /** Fails unless this is the body of the answer. */
    void judged(byte[] body) {
        judged(body.length);
        if (length == SHORT && !Arrays.equals(body, ANSWER)) {
            throw new IllegalStateException("the body is another one");
        }
    }

    /** Fails unless the body of the answer had this length. */
    void judged(long bytes) {
        if (bytes != length) {
            throw new IllegalStateException("the body has another length");
        }
    }
}
