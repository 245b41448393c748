package io.github.pinlink;

import java.util.concurrent.CountDownLatch;

/** Leaves `main` with calls of every kind under way; ends by itself or by `System.exit`, as its third argument says. */
final class Busy {
    private Busy() {}

    public static void main(String[] arguments) throws Exception {
        Client client = Exercise.client(arguments);
        Request slow = Request.get(arguments[0] + "/delay/60000");
        for (int i = 0; i < 4; i++) {
            client.sendAsync(slow);
        }
        // Ends come in while the JVM ends.
        for (int i = 0; i < 200; i++) {
            client.sendAsync(Request.get(arguments[0] + "/rows/1"));
        }
        CountDownLatch begun = new CountDownLatch(1);
        Thread blocked = new Thread(() -> {
            begun.countDown();
            try {
                client.send(slow);
            } catch (PinlinkException ended) {
                throw new IllegalStateException(ended);
            }
        });
        blocked.setDaemon(true);
        blocked.start();
        begun.await();
        if (arguments[2].equals("exit")) {
            System.exit(0);
        }
    }
}
