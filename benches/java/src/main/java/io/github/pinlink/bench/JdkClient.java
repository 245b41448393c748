package io.github.pinlink.bench;

import java.io.InputStream;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;

/** {@code java.net.http}. */
final class JdkClient implements Get, Later.Source {
    private final HttpClient client;
    private final At at;

    JdkClient(At at) throws Exception {
        this.at = at;
        HttpClient.Builder builder = HttpClient.newBuilder()
                .version(at.isHttp2 ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1);
        client = at.isTls() ? builder.sslContext(at.context()).build() : builder.build();
    }

    private HttpRequest request() {
        HttpRequest.Builder builder = HttpRequest.newBuilder(at.uri());
        if (at.posted != null) {
            builder.header("content-type", At.TYPE).POST(BodyPublishers.ofByteArray(at.posted));
        }
        return builder.build();
    }

    @Override
    public byte[] get() throws Exception {
        return client.send(request(), BodyHandlers.ofByteArray()).body();
    }

    @Override
    public long stream() throws Exception {
        try (InputStream in = client.send(request(), BodyHandlers.ofInputStream()).body()) {
            return Get.counted(in);
        }
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return client.sendAsync(request(), BodyHandlers.ofByteArray()).thenApply(HttpResponse::body);
    }
}
