package io.github.pinlink.bench;

import io.github.pinlink.Answer;
import io.github.pinlink.Client;
import io.github.pinlink.PinlinkException;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** What this project is about. */
final class Pinlink implements Get, Batch, Later.Source {
    private final At at;
    private final Client client;

    Pinlink(At at) throws PinlinkException {
        this.at = at;
        Client.Builder builder = Client.builder()
                .hosts(at.origin())
                .allowAddresses("127.0.0.0/8")
                .maxConnections(at.connections)
                .maxConnectionsPerOrigin(at.connections)
                .option("summary", "off");
        if (at.isTls()) {
            builder.pins("localhost=127.0.0.1").caFile(at.ca);
        }
        if (at.isHttp2) {
            builder.protocol("http2");
        }
        client = builder.build();
    }

    private Request request() {
        return at.posted == null
                ? Request.get(at.url)
                : Request.post(at.url).header("content-type", At.TYPE).body(at.posted);
    }

    @Override
    public byte[] get() throws PinlinkException {
        return client.send(request()).body();
    }

    @Override
    public long stream() throws IOException {
        try (Answer answer = client.open(request())) {
            return Get.counted(answer);
        }
    }

    @Override
    public void run(int count) throws PinlinkException {
        List<Request> requests = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            requests.add(request());
        }
        for (Result<Response> row : client.sendAll(requests)) {
            at.judged(row.value().body());
        }
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return client.sendAsync(request()).thenApply(Response::body);
    }
}
