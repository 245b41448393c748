package io.github.pinlink;

import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.util.Collections;
import java.util.concurrent.TimeUnit;

/** What a function does within a sandbox; it must be on. Arguments as for {@link Exercise}. */
final class Sandboxed {
    private Sandboxed() {}

    public static void main(String[] arguments) throws Exception {
        try {
            System.getProperty("java.library.path");
            throw new AssertionError("there is no sandbox");
        } catch (SecurityException isOn) {
            // As in a job.
        }
        int port = URI.create(arguments[0]).getPort();
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            throw new AssertionError("the sandbox lets " + socket + " be");
        } catch (SecurityException forbidden) {
            // The JDK's own.
        }
        try (Client client = Exercise.client(arguments)) {
            Request request = Request.get(arguments[0] + "/rows/1");
            Exercise.check(client.send(request).status() == 200, "send");
            Exercise.check(client.sendAll(Collections.singletonList(request)).get(0).isOk(), "sendAll");
            Exercise.check(client.sendAsync(request).get(10, TimeUnit.SECONDS).status() == 200, "sendAsync");
            Exercise.talk(client, arguments[0]);
            Diagnosis diagnosis = client.doctor();
            Exercise.check(diagnosis.isWell() && diagnosis.toString().contains("sandbox         warning on"), diagnosis);
            System.out.println("worked");
        } catch (PinlinkException failure) {
            System.out.println(failure.getMessage());
            System.out.print(Client.builder().doctor(arguments[0]));
        }
    }
}
