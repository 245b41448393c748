package io.github.pinlink.bench;

import io.github.pinlink.Client;
import io.github.pinlink.PinlinkException;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** What this project is about. */
final class Pinlink implements Get, Batch, Later.Source {
    private final Client client;
    private final String url;

    Pinlink(At at) throws PinlinkException {
        url = at.url;
        Client.Builder builder = Client.builder()
                .hosts(at.origin())
                .allowAddresses("127.0.0.0/8")
                .maxConnections(At.CONNECTIONS)
                .maxConnectionsPerOrigin(At.CONNECTIONS)
                .option("summary", "off");
        if (at.isTls()) {
            builder.pins("localhost=127.0.0.1").caFile(at.ca);
        }
        client = builder.build();
    }

    @Override
    public byte[] get() throws PinlinkException {
        return client.send(Request.get(url)).body();
    }

    @Override
    public void run(int count) throws PinlinkException {
        List<Request> requests = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            requests.add(Request.get(url));
        }
        for (Result<Response> row : client.sendAll(requests)) {
            At.judged(row.value().body());
        }
    }

    @Override
    public CompletableFuture<byte[]> later() {
        return client.sendAsync(Request.get(url)).thenApply(Response::body);
    }
}
