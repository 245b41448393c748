package io.github.pinlink.bench;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.apache.hc.client5.http.async.methods.AbstractBinResponseConsumer;
import org.apache.hc.client5.http.async.methods.SimpleHttpRequest;
import org.apache.hc.client5.http.async.methods.SimpleHttpResponse;
import org.apache.hc.client5.http.async.methods.SimpleRequestBuilder;
import org.apache.hc.client5.http.async.methods.SimpleRequestProducer;
import org.apache.hc.client5.http.config.TlsConfig;
import org.apache.hc.client5.http.impl.async.CloseableHttpAsyncClient;
import org.apache.hc.client5.http.impl.async.HttpAsyncClients;
import org.apache.hc.client5.http.impl.nio.PoolingAsyncClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.DefaultClientTlsStrategy;
import org.apache.hc.core5.concurrent.FutureCallback;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.HttpResponse;
import org.apache.hc.core5.http2.HttpVersionPolicy;

/** Apache HttpClient 5, async. */
final class ApacheAsync implements Get, Later.Source {
    private final CloseableHttpAsyncClient client;
    private final At at;

    ApacheAsync(At at) throws Exception {
        this.at = at;
        client = at.isHttp2 ? multiplexing(at) : pooling(at);
        client.start();
    }

    /** The one that its documentation has for many requests on one connection. */
    private static CloseableHttpAsyncClient multiplexing(At at) throws Exception {
        return HttpAsyncClients.customHttp2()
                .setTlsStrategy(new DefaultClientTlsStrategy(at.context()))
                .build();
    }

    private static CloseableHttpAsyncClient pooling(At at) throws Exception {
        PoolingAsyncClientConnectionManagerBuilder connections = PoolingAsyncClientConnectionManagerBuilder.create()
                .setMaxConnPerRoute(at.connections)
                .setMaxConnTotal(at.connections)
                .setDefaultTlsConfig(TlsConfig.custom().setVersionPolicy(HttpVersionPolicy.FORCE_HTTP_1).build());
        if (at.isTls()) {
            connections.setTlsStrategy(new DefaultClientTlsStrategy(at.context()));
        }
        return HttpAsyncClients.custom().setConnectionManager(connections.build()).build();
    }

    private SimpleHttpRequest request() {
        return at.posted == null
                ? SimpleRequestBuilder.get(at.url).build()
                : SimpleRequestBuilder.post(at.url).setBody(at.posted, ContentType.APPLICATION_OCTET_STREAM).build();
    }

    @Override
    public byte[] get() throws Exception {
        return client.execute(request(), null).get().getBodyBytes();
    }

    @Override
    public long stream() throws Exception {
        return client.execute(SimpleRequestProducer.create(request()), new Counted(), null).get();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        CompletableFuture<byte[]> body = new CompletableFuture<>();
        client.execute(request(), new FutureCallback<SimpleHttpResponse>() {
            @Override
            public void completed(SimpleHttpResponse answer) {
                body.complete(answer.getBodyBytes());
            }

            @Override
            public void failed(Exception failure) {
                body.completeExceptionally(failure);
            }

            @Override
            public void cancelled() {
                body.cancel(false);
            }
        });
        return body;
    }

    /** Looks at pieces of a body where they lie. */
    private static final class Counted extends AbstractBinResponseConsumer<Long> {
        private long all;

        @Override
        protected void start(HttpResponse answer, ContentType type) {
            // Every answer of the server is the same.
        }

        @Override
        protected int capacityIncrement() {
            return Integer.MAX_VALUE;
        }

        @Override
        protected void data(ByteBuffer piece, boolean isLast) {
            all += piece.remaining();
            piece.position(piece.limit());
        }

        @Override
        protected Long buildResult() {
            return all;
        }

        @Override
        public void releaseResources() {
            // It holds none.
        }
    }
}
