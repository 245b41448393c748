package io.github.pinlink.bench;

import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.ssl.ApplicationProtocolConfig;
import io.netty.handler.ssl.ApplicationProtocolConfig.Protocol;
import io.netty.handler.ssl.ApplicationProtocolConfig.SelectedListenerFailureBehavior;
import io.netty.handler.ssl.ApplicationProtocolConfig.SelectorFailureBehavior;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import java.io.File;
import java.util.concurrent.CompletableFuture;
import org.asynchttpclient.AsyncHandler;
import org.asynchttpclient.AsyncHttpClient;
import org.asynchttpclient.BoundRequestBuilder;
import org.asynchttpclient.DefaultAsyncHttpClientConfig;
import org.asynchttpclient.Dsl;
import org.asynchttpclient.HttpResponseBodyPart;
import org.asynchttpclient.HttpResponseStatus;
import org.asynchttpclient.Response;

/** AsyncHttpClient 3, which is Netty's. */
final class NettyClient implements Get, Later.Source {
    private final AsyncHttpClient client;
    private final At at;

    NettyClient(At at) throws Exception {
        this.at = at;
        DefaultAsyncHttpClientConfig.Builder config = Dsl.config()
                .setMaxConnections(at.connections)
                .setMaxConnectionsPerHost(at.connections)
                .setHttp2Enabled(at.isHttp2);
        if (at.isTls()) {
            config.setSslContext(context(at));
        }
        client = Dsl.asyncHttpClient(config);
    }

    private static SslContext context(At at) throws Exception {
        SslContextBuilder builder = SslContextBuilder.forClient().trustManager(new File(at.ca));
        if (at.isHttp2) {
            builder.applicationProtocolConfig(new ApplicationProtocolConfig(
                    Protocol.ALPN,
                    SelectorFailureBehavior.NO_ADVERTISE,
                    SelectedListenerFailureBehavior.ACCEPT,
                    "h2",
                    "http/1.1"));
        }
        return builder.build();
    }

    private BoundRequestBuilder request() {
        return at.posted == null
                ? client.prepareGet(at.url)
                : client.preparePost(at.url).setHeader("content-type", At.TYPE).setBody(at.posted);
    }

    @Override
    public byte[] get() throws Exception {
        return request().execute().get().getResponseBodyAsBytes();
    }

    @Override
    public long stream() throws Exception {
        return request().execute(new Counted()).get();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return request().execute().toCompletableFuture().thenApply(Response::getResponseBodyAsBytes);
    }

    /** Looks at the length of each piece. */
    private static final class Counted implements AsyncHandler<Long> {
        private long all;

        @Override
        public State onStatusReceived(HttpResponseStatus status) {
            return State.CONTINUE;
        }

        @Override
        public State onHeadersReceived(HttpHeaders headers) {
            return State.CONTINUE;
        }

        @Override
        public State onBodyPartReceived(HttpResponseBodyPart piece) {
            all += piece.length();
            return State.CONTINUE;
        }

        @Override
        public void onThrowable(Throwable failure) {
            // The future ends with it.
        }

        @Override
        public Long onCompleted() {
            return all;
        }
    }
}
