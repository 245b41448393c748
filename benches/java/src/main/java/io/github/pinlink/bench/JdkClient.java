package io.github.pinlink.bench;

import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;

/** {@code java.net.http}. */
final class JdkClient implements Get, Later.Source {
    private final HttpClient client;
    private final At at;

    JdkClient(At at) throws Exception {
        this.at = at;
        HttpClient.Builder builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
        client = at.isTls() ? builder.sslContext(at.context()).build() : builder.build();
    }

    private HttpRequest request() {
        return HttpRequest.newBuilder(at.uri()).build();
    }

    @Override
    public byte[] get() throws Exception {
        return client.send(request(), BodyHandlers.ofByteArray()).body();
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return client.sendAsync(request(), BodyHandlers.ofByteArray()).thenApply(HttpResponse::body);
    }
}
