package io.github.pinlink.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLSocketFactory;

/** {@link HttpURLConnection}: connections are kept by the JDK where a body is read to its end. */
final class UrlConnection implements Get {
    private final URL url;
    private final byte[] posted;
    private final SSLSocketFactory sockets;

    UrlConnection(At at) throws Exception {
        // As many idle connections as the others keep; read when the first one becomes idle.
        System.setProperty("http.maxConnections", Integer.toString(at.connections));
        url = at.uri().toURL();
        posted = at.posted;
        sockets = at.isTls() ? at.context().getSocketFactory() : null;
    }

    private InputStream answer() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        if (sockets != null) {
            ((HttpsURLConnection) connection).setSSLSocketFactory(sockets);
        }
        if (posted != null) {
            connection.setDoOutput(true);
            // Not in its streaming mode, which waits a millisecond before each request: has the server gone?
            connection.setRequestProperty("content-type", At.TYPE);
            try (OutputStream out = connection.getOutputStream()) {
                out.write(posted);
            }
        }
        return connection.getInputStream();
    }

    @Override
    public byte[] get() throws IOException {
        try (InputStream in = answer()) {
            return in.readAllBytes();
        }
    }

    @Override
    public long stream() throws IOException {
        try (InputStream in = answer()) {
            return Get.counted(in);
        }
    }
}
