package io.github.pinlink;

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Every way in and out once, for JVMs that watch closely: arguments are a URL, its hosts option and a name server. */
final class Exercise {
    private Exercise() {}

    static void check(boolean holds, Object seen) {
        if (!holds) {
            throw new AssertionError(seen);
        }
    }

    static Client client(String[] arguments) throws PinlinkException {
        return Client.builder()
                .hosts(arguments[0], arguments[0].replace("http:", "tcp:"))
                .nameservers(arguments[1])
                .allowAddresses("127.0.0.0/8")
                .build();
    }

    /** A request by hand, over a socket for what is not HTTP. */
    static void talk(Client client, String url) throws Exception {
        URI target = URI.create(url);
        try (Socket socket = client.connect(target.getHost(), target.getPort())) {
            String request = "GET /rows/1 HTTP/1.1\r\nhost: " + target.getAuthority() + "\r\nconnection: close\r\n\r\n";
            socket.setSoTimeout(10_000);
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            byte[] answer = new byte[4096];
            int length = 0;
            InputStream in = socket.getInputStream();
            for (int got = in.read(answer); got >= 0; got = in.read(answer, length, answer.length - length)) {
                length += got;
            }
            String text = new String(answer, 0, length, StandardCharsets.US_ASCII);
            check(text.startsWith("HTTP/1.1 200") && socket.getSendBufferSize() > 0, text);
            socket.setSoLinger(true, 1);
            check(socket.getInputStream().available() == 0, "available");
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        try (Client client = client(arguments)) {
            for (int i = 0; i < 50; i++) {
                check(client.send(Request.get(url + "/rows/" + i)).status() == 200, i);
            }
            Request large = Request.post(url + "/echo").body(new byte[1 << 20]);
            check(client.send(large).bodyLength() > 1 << 20, "large");
            check(client.sendAll(Arrays.asList(Request.get(url + "/rows/1"), large)).get(1).isOk(), "sendAll");
            CompletableFuture<Response> future = client.sendAsync(Request.get(url + "/rows/1"));
            check(future.get(10, TimeUnit.SECONDS).status() == 200, "sendAsync");
            client.sendAsync(Request.get(url + "/delay/60000")).cancel(true);
            Request signed = Request.put(url + "/upload").body(new ByteArrayInputStream(new byte[1 << 20]))
                    .signed(unsigned -> unsigned.header("authorization", "x"));
            check(client.send(signed).status() == 200, "signed");
            try (Answer answer = client.open(Request.get(url + "/bytes/100000"))) {
                byte[] piece = new byte[4096];
                int total = 0;
                for (int got = answer.read(piece); got >= 0; got = answer.read(piece)) {
                    total += got;
                }
                check(total == 100_000 && answer.trailers().isEmpty(), total);
            }
            talk(client, url);
            Key key = Scope.job("exercise").key("o", 1);
            Profile profile = Profile.header("x").storesFailures(true);
            Write write = Write.of(Request.post(url + "/status/500").body("{}"), key, profile)
                    .verify(Request.get(url + "/rows/1"), answer -> answer.status() == 200);
            check(write.guarantee() == Guarantee.ONCE, "guarantee");
            check(client.write(write).outcome() == Outcome.ALREADY_APPLIED, "write");
            Write refused = Write.keyless(Request.post(url));
            check(client.writeAll(Collections.singletonList(refused)).get(0).failure() != null, "writeAll");
            Batch batch = Batch.of(items -> Request.post(url + "/echo").body(items.get(0).body()),
                    answer -> Collections.singletonList(Batch.Fate.of(Meaning.APPLIED, 200)));
            check(client.writeBatch(batch.item(Scope.job("exercise").key("b", 1), "x")).get(0).isOk(), "writeBatch");
            check(PinSet.parse(client.pins().toJson()).equals(client.pins()), "pins");
            client.repin(client.pins().hosts().keySet().iterator().next(), "127.0.0.1");
            check(client.stats().requests() > 50, client.stats());
            Thread caller = Thread.currentThread();
            Thread interrupter = new Thread(() -> {
                try {
                    Thread.sleep(300);
                } catch (InterruptedException none) {
                    return;
                }
                caller.interrupt();
            });
            interrupter.start();
            try {
                client.send(Request.get(url + "/delay/60000").timeout(Duration.ofSeconds(30)));
                check(false, "interrupt");
            } catch (PinlinkException canceled) {
                check(canceled.kind() == Kind.CANCELED && Thread.interrupted(), canceled);
            }
        }
    }
}
