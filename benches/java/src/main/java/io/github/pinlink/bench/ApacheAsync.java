package io.github.pinlink.bench;

import java.util.concurrent.CompletableFuture;
import org.apache.hc.client5.http.async.methods.SimpleHttpRequest;
import org.apache.hc.client5.http.async.methods.SimpleHttpResponse;
import org.apache.hc.client5.http.async.methods.SimpleRequestBuilder;
import org.apache.hc.client5.http.config.TlsConfig;
import org.apache.hc.client5.http.impl.async.CloseableHttpAsyncClient;
import org.apache.hc.client5.http.impl.async.HttpAsyncClients;
import org.apache.hc.client5.http.impl.nio.PoolingAsyncClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.DefaultClientTlsStrategy;
import org.apache.hc.core5.concurrent.FutureCallback;
import org.apache.hc.core5.http2.HttpVersionPolicy;

/** Apache HttpClient 5, async. */
final class ApacheAsync implements Get, Later.Source {
    private final CloseableHttpAsyncClient client;
    private final String url;

    ApacheAsync(At at) throws Exception {
        url = at.url;
        PoolingAsyncClientConnectionManagerBuilder connections = PoolingAsyncClientConnectionManagerBuilder.create()
                .setMaxConnPerRoute(At.CONNECTIONS)
                .setMaxConnTotal(At.CONNECTIONS)
                .setDefaultTlsConfig(TlsConfig.custom().setVersionPolicy(HttpVersionPolicy.FORCE_HTTP_1).build());
        if (at.isTls()) {
            connections.setTlsStrategy(new DefaultClientTlsStrategy(at.context()));
        }
        client = HttpAsyncClients.custom().setConnectionManager(connections.build()).build();
        client.start();
    }

    @Override
    public byte[] get() throws Exception {
        return client.execute(request(), null).get().getBodyBytes();
    }

    private SimpleHttpRequest request() {
        return SimpleRequestBuilder.get(url).build();
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
}
