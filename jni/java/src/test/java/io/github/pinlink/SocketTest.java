package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import javax.net.SocketFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The promise: a socket of the client's behaves as one of the JDK's, but for where it goes and that it counts. */
class SocketTest {
    private static final String HOST = "cache.nowhere.test";
    private static final int FAR_MS = 20_000;

    private ServerSocket server;
    private Client client;

    @BeforeEach
    void start() throws Exception {
        server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        client = Client.builder()
                .hosts("tcp://" + HOST + ":" + server.getLocalPort(), "tcp://" + HOST + ":1")
                .pins(HOST + "=127.0.0.1")
                .allowAddresses("127.0.0.0/8")
                .maxConnections(1)
                .acquireTimeout(Duration.ofSeconds(20))
                .build();
    }

    @AfterEach
    void stop() throws Exception {
        PinnedSockets.use(null);
        client.close();
        server.close();
    }

    private int port() {
        return server.getLocalPort();
    }

    private Socket accept() throws IOException {
        Socket accepted = server.accept();
        accepted.setSoTimeout(FAR_MS);
        return accepted;
    }

    @Test
    void aSocketConnectsToThePinOfANameAndKeepsTheName() throws Exception {
        Socket socket = client.socketFactory().createSocket();
        assertFalse(socket.isConnected() || socket.isBound() || socket.isClosed());
        assertNull(socket.getInetAddress());
        assertThrows(SocketException.class, socket::getInputStream);
        socket.setTcpNoDelay(false);
        socket.setKeepAlive(true);
        socket.setSoTimeout(FAR_MS);
        socket.connect(InetSocketAddress.createUnresolved(HOST, port()), 5_000);
        try (Socket far = accept()) {
            assertTrue(socket.isConnected() && socket.isBound());
            assertEquals(HOST, socket.getInetAddress().getHostName());
            assertEquals("127.0.0.1", socket.getInetAddress().getHostAddress());
            assertEquals(port(), socket.getPort());
            assertEquals(far.getPort(), socket.getLocalPort());
            assertEquals(far.getRemoteSocketAddress(), socket.getLocalSocketAddress());
            assertEquals(HOST, ((InetSocketAddress) socket.getRemoteSocketAddress()).getHostString());
            assertEquals("PinnedSocket[" + HOST + "/127.0.0.1:" + port() + "]", socket.toString());
            assertFalse(socket.getTcpNoDelay(), "as it was set before it was connected");
            assertTrue(socket.getKeepAlive());
            assertEquals(FAR_MS, socket.getSoTimeout());
            assertThrows(SocketException.class, () -> socket.connect(new InetSocketAddress("127.0.0.1", port())));

            socket.setTcpNoDelay(true);
            socket.setSoLinger(true, 7);
            socket.setReceiveBufferSize(20_000);
            socket.setTrafficClass(16);
            socket.setReuseAddress(true);
            assertTrue(socket.getTcpNoDelay() && socket.getReuseAddress() && !socket.getOOBInline());
            assertEquals(7, socket.getSoLinger());
            assertTrue(socket.getReceiveBufferSize() >= 20_000 && socket.getSendBufferSize() > 0);
            assertEquals(16, socket.getTrafficClass());
            PinnedSocket pinned = (PinnedSocket) socket;
            pinned.setOption(StandardSocketOptions.TCP_NODELAY, false);
            assertFalse(pinned.getOption(StandardSocketOptions.TCP_NODELAY));
            assertTrue(pinned.getOption(StandardSocketOptions.SO_SNDBUF) > 0);
            socket.setSoLinger(false, 0);
            assertEquals(-1, socket.getSoLinger());

            socket.getOutputStream().write("ping".getBytes(StandardCharsets.US_ASCII));
            byte[] four = new byte[4];
            assertEquals(4, far.getInputStream().read(four));
            far.getOutputStream().write(four);
            assertEquals('p', socket.getInputStream().read());
            assertEquals(3, socket.getInputStream().available());
            assertEquals(3, socket.getInputStream().read(new byte[10]));
            assertEquals(0, client.stats().lookupsDns() + client.stats().lookupsSystem());
            assertEquals(1, client.stats().connectionsLive());
        }
        assertEquals(-1, socket.getInputStream().read());
        socket.close();
        socket.close();
        assertTrue(socket.isClosed() && socket.isConnected());
        assertEquals(0, client.stats().connectionsLive());
        assertThrows(SocketException.class, socket::getInputStream);
        assertThrows(SocketException.class, () -> socket.setSoTimeout(1));
    }

    @Test
    void aTimeOutEndsAReadAndTheSocketGoesOn() throws Exception {
        try (Socket socket = client.connect(HOST, port()); Socket far = accept()) {
            for (int timeout : new int[] {1, 30, 70}) {
                socket.setSoTimeout(timeout);
                long begun = System.nanoTime();
                assertThrows(SocketTimeoutException.class, () -> socket.getInputStream().read());
                assertTrue(System.nanoTime() - begun >= timeout * 1_000_000L, "not before its time");
            }
            far.getOutputStream().write(7);
            socket.setSoTimeout(FAR_MS);
            assertEquals(7, socket.getInputStream().read());
        }
    }

    /** Has a thread wait on the socket, then does something to it; what the wait ended with. */
    private static Throwable ended(Work waiting, Act act) throws Exception {
        AtomicReference<Throwable> end = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                waiting.run();
            } catch (Throwable thrown) {
                end.set(thrown);
            }
        });
        thread.start();
        while (thread.getState() == Thread.State.NEW) {
            Thread.sleep(1);
        }
        act.on(thread);
        thread.join(FAR_MS);
        assertFalse(thread.isAlive(), "it waits for ever");
        return end.get();
    }

    private interface Work {
        void run() throws Exception;
    }

    private interface Act {
        void on(Thread thread) throws Exception;
    }

    @Test
    void aCloseByAnotherThreadEndsReadsAndWritesAndGivesThePlaceBack() throws Exception {
        for (int round = 0; round < 10; round++) {
            Socket socket = client.connect(HOST, port());
            try (Socket far = accept()) {
                Throwable end = ended(() -> socket.getInputStream().read(), thread -> socket.close());
                assertTrue(end instanceof SocketException, () -> "it is " + end);
                assertEquals(-1, far.getInputStream().read());
            }
        }
        Socket socket = client.connect(HOST, port());
        try (Socket far = accept()) {
            Throwable end = ended(() -> {
                while (true) {
                    socket.getOutputStream().write(new byte[1 << 20]);
                }
            }, thread -> {
                // The far side has something, and takes no more of it.
                far.getInputStream().read();
                socket.close();
            });
            assertTrue(end instanceof SocketException, () -> "it is " + end);
        }
        assertEquals(0, client.stats().connectionsLive());
    }

    @Test
    void anInterruptClosesTheSocketThatItsThreadWaitsOn() throws Exception {
        Socket socket = client.connect(HOST, port());
        try (Socket far = accept()) {
            Throwable end = ended(() -> socket.getInputStream().read(), Thread::interrupt);
            assertEquals("Closed by interrupt", end.getMessage());
            assertTrue(socket.isClosed());
            assertEquals(-1, far.getInputStream().read());
        }
        try (Socket first = client.connect(HOST, port())) {
            Throwable end = ended(() -> client.connect(HOST, port()), Thread::interrupt);
            assertEquals(Kind.CANCELED, ((PinlinkException) end).kind());
            assertFalse(first.isClosed());
        }
    }

    @Test
    void whatCantBeConnectedIsWhatCallersOfSocketsExpect() throws Exception {
        SocketFactory factory = client.socketFactory();
        assertThrows(ConnectException.class, () -> factory.createSocket(HOST, 1));
        PinlinkException undeclared =
                assertThrows(PinlinkException.class, () -> factory.createSocket("other.nowhere.test", port()));
        assertEquals(Reason.POLICY_NOT_DECLARED, undeclared.reason());
        assertThrows(PinlinkException.class, () -> client.connect(HOST, 65_536));
        InetAddress own = InetAddress.getLoopbackAddress();
        assertThrows(SocketException.class, () -> factory.createSocket(HOST, port(), own, 9));
        Socket taken = client.connect(HOST, port());
        try (Socket far = accept()) {
            Socket late = factory.createSocket();
            SocketTimeoutException none = assertThrows(SocketTimeoutException.class,
                    () -> late.connect(InetSocketAddress.createUnresolved(HOST, port()), 60));
            assertTrue(none.getCause() instanceof PinlinkTimeoutException);
            assertTrue(late.isClosed());
            Socket closed = factory.createSocket();
            Throwable end = ended(
                    () -> closed.connect(InetSocketAddress.createUnresolved(HOST, port())), thread -> closed.close());
            assertEquals(SocketException.class, end.getClass());
            taken.close();
            assertEquals(-1, far.getInputStream().read());
            factory.createSocket(InetAddress.getByAddress(HOST, new byte[] {9, 9, 9, 9}), port()).close();
        }
        client.close();
        assertEquals(Kind.CLOSED, assertThrows(PinlinkException.class, () -> client.connect(HOST, port())).kind());
    }

    @Test
    void oneDirectionEndsBeforeTheOther() throws Exception {
        try (Socket socket = client.connect(HOST, port()); Socket far = accept()) {
            socket.getOutputStream().write(1);
            socket.shutdownOutput();
            assertTrue(socket.isOutputShutdown());
            assertThrows(SocketException.class, socket::getOutputStream);
            assertEquals(1, far.getInputStream().read());
            assertEquals(-1, far.getInputStream().read());
            far.getOutputStream().write(2);
            InputStream in = socket.getInputStream();
            assertEquals(2, in.read());
            socket.shutdownInput();
            assertEquals(-1, in.read());
            assertEquals(0, in.available());
        }
    }

    @Test
    void aPanicInAnyNativeFunctionIsAnExceptionAndTheNextSocketWorks() throws Exception {
        Path panics = Paths.get(System.getenv("PINLINK_PANIC_FILE"));
        String[] functions = {
            "receive", "transmit", "available", "shut", "urge", "option", "setOption", "makeSocket"
        };
        try {
            for (String function : functions) {
                Socket socket = client.connect(HOST, port());
                accept().close();
                Files.write(panics, function.getBytes(StandardCharsets.US_ASCII));
                Throwable panic = assertThrows(IOException.class, () -> panicking(socket, function), function);
                assertTrue(panic instanceof PinlinkException == function.equals("makeSocket"), panic::toString);
                Files.write(panics, new byte[0]);
                socket.close();
                assertEquals(0, client.stats().connectionsLive(), function);
            }
        } finally {
            Files.write(panics, new byte[0]);
        }
    }

    private void panicking(Socket socket, String function) throws IOException {
        switch (function) {
            case "receive":
                socket.getInputStream().read();
                break;
            case "transmit":
                socket.getOutputStream().write(1);
                break;
            case "available":
                socket.getInputStream().available();
                break;
            case "shut":
                socket.shutdownOutput();
                break;
            case "urge":
                socket.sendUrgentData(1);
                break;
            case "option":
                socket.getTcpNoDelay();
                break;
            case "setOption":
                socket.setTcpNoDelay(true);
                break;
            default:
                client.socketFactory(HOST, port()).createSocket();
        }
    }

    @Test
    void muchGoesBothWaysAtOnce() throws Exception {
        byte[] much = new byte[5_000_000];
        new Random(1).nextBytes(much);
        try (Socket socket = client.connect(HOST, port()); Socket far = accept()) {
            Thread echo = new Thread(() -> {
                byte[] piece = new byte[10_000];
                try {
                    InputStream in = far.getInputStream();
                    for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                        far.getOutputStream().write(piece, 0, got);
                    }
                    far.shutdownOutput();
                } catch (IOException failed) {
                    throw new AssertionError(failed);
                }
            });
            echo.start();
            Thread writer = new Thread(() -> {
                try {
                    OutputStream out = socket.getOutputStream();
                    out.write(much, 0, 1);
                    out.write(much, 1, much.length - 1);
                    socket.shutdownOutput();
                } catch (IOException failed) {
                    throw new AssertionError(failed);
                }
            });
            writer.start();
            byte[] back = new byte[much.length + 1];
            int length = 0;
            InputStream in = socket.getInputStream();
            for (int got = in.read(back, 0, 100_000); got >= 0; got = in.read(back, length, back.length - length)) {
                length += got;
            }
            assertEquals(much.length, length);
            assertArrayEquals(much, Arrays.copyOf(back, length));
            writer.join(FAR_MS);
            echo.join(FAR_MS);
        }
    }

    @Test
    void aSocketThatNobodyCanCloseAnyMoreGivesItsPlaceBack() throws Exception {
        assertTrue(client.connect(HOST, port()).isConnected());
        long until = System.nanoTime() + FAR_MS * 1_000_000L;
        while (true) {
            System.gc();
            Socket next = client.socketFactory().createSocket();
            try {
                next.connect(InetSocketAddress.createUnresolved(HOST, port()), 50);
                next.close();
                return;
            } catch (SocketTimeoutException notYet) {
                assertTrue(System.nanoTime() < until, "it never came back");
            }
        }
    }

    @Test
    void driversThatKnowAClassOnlyFindTheClientInUse() throws Exception {
        assertThrows(SocketException.class, () -> new PinnedSockets().createSocket());
        assertThrows(IllegalArgumentException.class, () -> new PinnedSockets("nothing"));
        PinnedSockets.use(client);
        try (Socket socket = new PinnedSockets(HOST + ":" + port()).createSocket()) {
            assertTrue(socket.isConnected());
        }
        try (Socket socket = PinnedSockets.getDefault().createSocket(HOST, port())) {
            assertTrue(socket.isConnected());
        }
        try (Socket socket = client.socketFactory(HOST, port()).createSocket()) {
            assertTrue(socket.isConnected());
        }
        assertEquals(0, client.stats().connectionsLive());
    }
}
