package io.github.pinlink.bench;

import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

/** Where the server is, and whom to trust for it. */
final class At {
    /** The connections of each client. */
    static final int CONNECTIONS = 32;

    final String url;
    final String ca;

    At(String url, String ca) {
        this.url = url;
        this.ca = ca;
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

    /** Every answer's body is the same. */
    static byte[] judged(byte[] body) {
        if (body.length != 100 || body[0] != 'x' || body[99] != 'x') {
            throw new IllegalStateException("the body is another one");
        }
        return body;
    }
}
