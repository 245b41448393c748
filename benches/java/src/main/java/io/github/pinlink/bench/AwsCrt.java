package io.github.pinlink.bench;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import software.amazon.awssdk.crt.CrtRuntimeException;
import software.amazon.awssdk.crt.http.HttpClientConnection;
import software.amazon.awssdk.crt.http.HttpClientConnectionManager;
import software.amazon.awssdk.crt.http.HttpClientConnectionManagerOptions;
import software.amazon.awssdk.crt.http.HttpHeader;
import software.amazon.awssdk.crt.http.HttpRequest;
import software.amazon.awssdk.crt.http.HttpStreamBase;
import software.amazon.awssdk.crt.http.HttpStreamBaseResponseHandler;
import software.amazon.awssdk.crt.io.ClientBootstrap;
import software.amazon.awssdk.crt.io.EventLoopGroup;
import software.amazon.awssdk.crt.io.HostResolver;
import software.amazon.awssdk.crt.io.SocketOptions;
import software.amazon.awssdk.crt.io.TlsContext;
import software.amazon.awssdk.crt.io.TlsContextOptions;

/** The AWS common runtime's HTTP client. Its objects live as long as the process. */
final class AwsCrt implements Get, Later.Source {
    private final HttpClientConnectionManager connections;
    private final HttpHeader[] headers;

    AwsCrt(At at) throws Exception {
        URI uri = at.uri();
        EventLoopGroup loops = new EventLoopGroup(Runtime.getRuntime().availableProcessors());
        HttpClientConnectionManagerOptions options = new HttpClientConnectionManagerOptions()
                .withUri(uri)
                .withPort(uri.getPort())
                .withMaxConnections(At.CONNECTIONS)
                .withSocketOptions(new SocketOptions())
                .withClientBootstrap(new ClientBootstrap(loops, new HostResolver(loops)));
        if (at.isTls()) {
            TlsContextOptions tls = TlsContextOptions.createDefaultClient()
                    .withCertificateAuthority(Files.readString(Path.of(at.ca)));
            options.withTlsContext(new TlsContext(tls));
        }
        connections = HttpClientConnectionManager.create(options);
        headers = new HttpHeader[] {
            new HttpHeader("host", uri.getAuthority()),
            new HttpHeader("user-agent", "aws-crt"),
            new HttpHeader("accept", "*/*"),
        };
    }

    @Override
    public byte[] get() throws Exception {
        return later().get();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return connections.acquireConnection().thenCompose(this::send);
    }

    private CompletableFuture<byte[]> send(HttpClientConnection connection) {
        Exchange exchange = new Exchange(connection);
        connection.makeRequest(new HttpRequest("GET", "/answer", headers, null), exchange).activate();
        return exchange.body;
    }

    private final class Exchange implements HttpStreamBaseResponseHandler {
        private final HttpClientConnection connection;
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(128);
        private final CompletableFuture<byte[]> body = new CompletableFuture<>();

        Exchange(HttpClientConnection connection) {
            this.connection = connection;
        }

        @Override
        public void onResponseHeaders(HttpStreamBase stream, int status, int type, HttpHeader[] next) {
            // Every answer of the server is the same.
        }

        @Override
        public int onResponseBody(HttpStreamBase stream, byte[] piece) {
            bytes.write(piece, 0, piece.length);
            return piece.length;
        }

        @Override
        public void onResponseComplete(HttpStreamBase stream, int error) {
            stream.close();
            connections.releaseConnection(connection);
            if (error == 0) {
                body.complete(bytes.toByteArray());
            } else {
                body.completeExceptionally(new CrtRuntimeException(error));
            }
        }
    }
}
