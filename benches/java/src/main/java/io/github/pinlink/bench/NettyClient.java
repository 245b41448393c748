package io.github.pinlink.bench;

import io.netty.handler.ssl.SslContextBuilder;
import java.io.File;
import java.util.concurrent.CompletableFuture;
import org.asynchttpclient.AsyncHttpClient;
import org.asynchttpclient.DefaultAsyncHttpClientConfig;
import org.asynchttpclient.Dsl;
import org.asynchttpclient.Response;

/** AsyncHttpClient 3, which is Netty's. */
final class NettyClient implements Get, Later.Source {
    private final AsyncHttpClient client;
    private final String url;

    NettyClient(At at) throws Exception {
        url = at.url;
        DefaultAsyncHttpClientConfig.Builder config =
                Dsl.config().setMaxConnections(At.CONNECTIONS).setMaxConnectionsPerHost(At.CONNECTIONS);
        if (at.isTls()) {
            config.setSslContext(SslContextBuilder.forClient().trustManager(new File(at.ca)).build());
        }
        client = Dsl.asyncHttpClient(config);
    }

    @Override
    public byte[] get() throws Exception {
        return client.prepareGet(url).execute().get().getResponseBodyAsBytes();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return client.prepareGet(url).execute().toCompletableFuture().thenApply(Response::getResponseBodyAsBytes);
    }
}
