package io.github.pinlink.bench;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import software.amazon.awssdk.crt.CrtRuntimeException;
import software.amazon.awssdk.crt.http.Http2Request;
import software.amazon.awssdk.crt.http.Http2StreamManager;
import software.amazon.awssdk.crt.http.Http2StreamManagerOptions;
import software.amazon.awssdk.crt.http.HttpClientConnection;
import software.amazon.awssdk.crt.http.HttpClientConnectionManager;
import software.amazon.awssdk.crt.http.HttpClientConnectionManagerOptions;
import software.amazon.awssdk.crt.http.HttpHeader;
import software.amazon.awssdk.crt.http.HttpRequest;
import software.amazon.awssdk.crt.http.HttpRequestBodyStream;
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
    private final At at;
    private final HttpHeader[] headers;
    private final String path;
    /** One of the two: of HTTP/1.1, or of streams of HTTP/2. */
    private final HttpClientConnectionManager connections;

    private final Http2StreamManager streams;

    AwsCrt(At at) throws Exception {
        this.at = at;
        URI uri = at.uri();
        path = uri.getPath();
        EventLoopGroup loops = new EventLoopGroup(Runtime.getRuntime().availableProcessors());
        HttpClientConnectionManagerOptions options = new HttpClientConnectionManagerOptions()
                .withUri(uri)
                .withPort(uri.getPort())
                .withMaxConnections(at.connections)
                .withSocketOptions(new SocketOptions())
                .withClientBootstrap(new ClientBootstrap(loops, new HostResolver(loops)));
        if (at.isTls()) {
            TlsContextOptions tls = TlsContextOptions.createDefaultClient()
                    .withCertificateAuthority(Files.readString(Path.of(at.ca)))
                    .withAlpnList(at.isHttp2 ? "h2" : "http/1.1");
            options.withTlsContext(new TlsContext(tls));
        }
        headers = headers(at, uri);
        if (at.isHttp2) {
            connections = null;
            streams = Http2StreamManager.create(new Http2StreamManagerOptions()
                    .withConnectionManagerOptions(options)
                    .withIdealConcurrentStreamsPerConnection(at.atOnce)
                    .withMaxConcurrentStreamsPerConnection(at.atOnce));
        } else {
            connections = HttpClientConnectionManager.create(options);
            streams = null;
        }
    }

    private static HttpHeader[] headers(At at, URI uri) {
        List<HttpHeader> headers = new ArrayList<>();
        if (at.isHttp2) {
            headers.add(new HttpHeader(":method", "GET"));
            headers.add(new HttpHeader(":scheme", uri.getScheme()));
            headers.add(new HttpHeader(":authority", uri.getAuthority()));
            headers.add(new HttpHeader(":path", uri.getPath()));
        } else {
            headers.add(new HttpHeader("host", uri.getAuthority()));
        }
        headers.add(new HttpHeader("user-agent", "aws-crt"));
        headers.add(new HttpHeader("accept", "*/*"));
        if (at.posted != null) {
            headers.add(new HttpHeader("content-type", At.TYPE));
            headers.add(new HttpHeader("content-length", Integer.toString(at.posted.length)));
        }
        return headers.toArray(new HttpHeader[0]);
    }

    @Override
    public byte[] get() throws Exception {
        return later().get();
    }

    @Override
    public long stream() throws Exception {
        return sent(new Counted()).get();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return sent(new Whole(at.length));
    }

    private <T> CompletableFuture<T> sent(Exchange<T> exchange) {
        if (streams == null) {
            return connections.acquireConnection().thenCompose(connection -> sent(exchange, connection));
        }
        streams.acquireStream(new Http2Request(headers, null), exchange).whenComplete((stream, refused) -> {
            if (refused != null) {
                exchange.ended.completeExceptionally(refused);
            }
        });
        return exchange.ended;
    }

    private <T> CompletableFuture<T> sent(Exchange<T> exchange, HttpClientConnection connection) {
        exchange.leased(connections, connection);
        HttpRequest request = at.posted == null
                ? new HttpRequest("GET", path, headers, null)
                : new HttpRequest("POST", path, headers, new Posted(at.posted));
        connection.makeRequest(request, exchange).activate();
        return exchange.ended;
    }

    private static final class Posted implements HttpRequestBodyStream {
        private final ByteBuffer left;

        Posted(byte[] body) {
            left = ByteBuffer.wrap(body);
        }

        @Override
        public boolean sendRequestBody(ByteBuffer into) {
            int piece = Math.min(left.remaining(), into.remaining());
            into.put(left.slice().limit(piece));
            left.position(left.position() + piece);
            return !left.hasRemaining();
        }

        @Override
        public boolean resetPosition() {
            left.rewind();
            return true;
        }

        @Override
        public long getLength() {
            return left.limit();
        }
    }

    private abstract static class Exchange<T> implements HttpStreamBaseResponseHandler {
        final CompletableFuture<T> ended = new CompletableFuture<>();
        private HttpClientConnectionManager lender;
        private HttpClientConnection connection;

        void leased(HttpClientConnectionManager from, HttpClientConnection what) {
            lender = from;
            connection = what;
        }

        abstract void took(byte[] piece);

        abstract T result();

        @Override
        public void onResponseHeaders(HttpStreamBase stream, int status, int type, HttpHeader[] next) {
            // Every answer of the server is the same.
        }

        @Override
        public int onResponseBody(HttpStreamBase stream, byte[] piece) {
            took(piece);
            return piece.length;
        }

        @Override
        public void onResponseComplete(HttpStreamBase stream, int error) {
            stream.close();
            if (lender != null) {
                lender.releaseConnection(connection);
            }
            if (error == 0) {
                ended.complete(result());
            } else {
                ended.completeExceptionally(new CrtRuntimeException(error));
            }
        }
    }

    private static final class Whole extends Exchange<byte[]> {
        private final ByteArrayOutputStream bytes;

        Whole(int length) {
            bytes = new ByteArrayOutputStream(length);
        }

        @Override
        void took(byte[] piece) {
            bytes.write(piece, 0, piece.length);
        }

        @Override
        byte[] result() {
            return bytes.toByteArray();
        }
    }

    private static final class Counted extends Exchange<Long> {
        private long all;

        @Override
        void took(byte[] piece) {
            all += piece.length;
        }

        @Override
        Long result() {
            return all;
        }
    }
}
