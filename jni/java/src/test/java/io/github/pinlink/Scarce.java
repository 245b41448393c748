package io.github.pinlink;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** Answers that no heap as small as this JVM's has room for, by every way; arguments as for {@link Exercise}. */
final class Scarce {
    private static final int LARGE = 24 << 20;

    private final Client client;
    private final String url;
    private final Scope scope;
    private int writes;

    private Scarce(Client client, String url) throws PinlinkException {
        scope = Scope.job("scarce");
        this.client = client;
        this.url = url;
    }

    private Request get(int size) {
        return Request.get(url + "/bytes/" + size);
    }

    private Write write(int size) throws PinlinkException {
        Request request = Request.post(url + "/bytes/" + size).body("row");
        return Write.of(request, scope.key("row", ++writes), Profile.idempotencyKey());
    }

    private static void checkNoRoom(Throwable failure) {
        Exercise.check(failure instanceof PinlinkException, failure);
        PinlinkException told = (PinlinkException) failure;
        boolean isTrue = told.delivery() == Delivery.ANSWERED && told.outcome() == Outcome.UNKNOWN;
        Exercise.check(told.reason() == Reason.LIMIT_BODY && isTrue, told + " " + told.delivery());
    }

    private static void checkApplied(Written written) {
        Response answer = written.response();
        Exercise.check(written.outcome() == Outcome.APPLIED && answer.status() == 200, written);
        Exercise.check(answer.isCut() && answer.body().length == 0, written);
    }

    private void one() throws Exception {
        try {
            Exercise.check(false, client.send(get(LARGE)));
        } catch (PinlinkException failure) {
            checkNoRoom(failure);
        }
        checkApplied(client.write(write(LARGE)));
    }

    private void many() throws Exception {
        List<Result<Response>> answers = client.sendAll(Arrays.asList(get(10), get(LARGE), get(100_000), get(10)));
        checkNoRoom(answers.get(1).failure());
        int[] lengths = {10, -1, 100_000, 10};
        for (int row = 0; row < lengths.length; row++) {
            Exercise.check(row == 1 || answers.get(row).value().bodyLength() == lengths[row], answers);
        }
        List<Result<Written>> written = client.writeAll(Arrays.asList(write(LARGE), write(10), write(LARGE)));
        checkApplied(written.get(0).value());
        Exercise.check(written.get(1).value().response().bodyLength() == 10, written);
        checkApplied(written.get(2).value());
    }

    private void later() throws Exception {
        CompletableFuture<Response> answer = client.sendAsync(get(LARGE));
        try {
            Exercise.check(false, answer.get(30, TimeUnit.SECONDS));
        } catch (ExecutionException failed) {
            checkNoRoom(failed.getCause());
        }
        checkApplied(client.writeAsync(write(LARGE)).get(30, TimeUnit.SECONDS));
    }

    public static void main(String[] arguments) throws Exception {
        Exercise.check(Runtime.getRuntime().maxMemory() < LARGE, "the heap has room for it");
        try (Client client = Exercise.client(arguments)) {
            Scarce scarce = new Scarce(client, arguments[0]);
            scarce.one();
            scarce.many();
            scarce.later();
            Exercise.check(client.send(scarce.get(10).timeout(Duration.ofSeconds(10))).bodyLength() == 10, "after it");
        }
        System.out.print("told");
    }
}
