package io.github.pinlink.bench;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLSocketFactory;

/** {@link HttpURLConnection}: connections are kept by the JDK where a body is read to its end. */
final class UrlConnection implements Get {
    private final URL url;
    private final SSLSocketFactory sockets;

    UrlConnection(At at) throws Exception {
        // As many idle connections as the others keep; read when the first one becomes idle.
        System.setProperty("http.maxConnections", Integer.toString(At.CONNECTIONS));
        url = at.uri().toURL();
        sockets = at.isTls() ? at.context().getSocketFactory() : null;
    }

    @Override
    public byte[] get() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        if (sockets != null) {
            ((HttpsURLConnection) connection).setSSLSocketFactory(sockets);
        }
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }
}
