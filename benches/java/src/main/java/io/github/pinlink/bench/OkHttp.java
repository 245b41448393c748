package io.github.pinlink.bench;

import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;
import okhttp3.Call;
import okhttp3.Callback;
import okhttp3.ConnectionPool;
import okhttp3.Dispatcher;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/** OkHttp 5. */
final class OkHttp implements Get, Later.Source {
    private final OkHttpClient client;
    private final At at;
    private final MediaType type;

    OkHttp(At at) throws Exception {
        this.at = at;
        type = at.posted == null ? null : MediaType.get(At.TYPE);
        Dispatcher dispatcher = new Dispatcher();
        dispatcher.setMaxRequests(at.atOnce);
        dispatcher.setMaxRequestsPerHost(at.atOnce);
        OkHttpClient.Builder builder = new OkHttpClient.Builder()
                .dispatcher(dispatcher)
                .connectionPool(new ConnectionPool(at.connections, 5, TimeUnit.MINUTES));
        if (at.isTls()) {
            TrustManager trust = at.trust()[0];
            builder.sslSocketFactory(at.context().getSocketFactory(), (X509TrustManager) trust);
        }
        client = builder.build();
    }

    private Call call() {
        Request.Builder builder = new Request.Builder().url(at.url);
        if (at.posted != null) {
            builder.post(RequestBody.create(at.posted, type));
        }
        return client.newCall(builder.build());
    }

    @Override
    public byte[] get() throws IOException {
        try (Response answer = call().execute()) {
            return answer.body().bytes();
        }
    }

    @Override
    public long stream() throws IOException {
        try (Response answer = call().execute()) {
            return Get.counted(answer.body().byteStream());
        }
    }

    @Override
    public CompletableFuture<byte[]> later() {
        CompletableFuture<byte[]> body = new CompletableFuture<>();
        call().enqueue(new Callback() {
            @Override
            public void onResponse(Call call, Response answer) throws IOException {
                byte[] bytes;
                try (answer) {
                    bytes = answer.body().bytes();
                } catch (IOException failure) {
                    body.completeExceptionally(failure);
                    return;
                }
                body.complete(bytes);
            }

            @Override
            public void onFailure(Call call, IOException failure) {
                body.completeExceptionally(failure);
            }
        });
        return body;
    }
}
