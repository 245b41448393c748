package io.github.pinlink;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import javax.net.SocketFactory;

/**
 * Sockets that connect to the pins of a client, keep the name of their host, and count against the client's caps: what
 * a driver of a database, a queue or a cache is given in place of the JDK's own. Hosts are declared as {@code
 * tcp://host:port}. A driver's own TLS works over them, and verifies the name.
 *
 * <p>{@link Client#socketFactory()} has one for drivers that take an object. Others take the name of this class, and
 * find the client that was named by {@link #use(Client)}:
 *
 * <pre>{@code
 * PinnedSockets.use(client);
 * // A driver that looks names up before it connects (pgjdbc does) gets sockets that are connected already.
 * properties.setProperty("socketFactory", "io.github.pinlink.PinnedSockets");
 * properties.setProperty("socketFactoryArg", "db.example:5432");
 *
 * // One that can pass no argument (Connector/J) names a class of yours:
 * public final class Orders extends PinnedSockets {
 *     public Orders() {
 *         super("orders.example:3306");
 *     }
 * }
 * }</pre>
 *
 * <p>A socket that is not connected before the driver does it connects to the pins as well, but the driver may have
 * asked DNS by then. The driver's time-outs count: one of 0 waits for ever, as with every socket. An interrupt closes
 * the socket that its thread waits on.
 */
public class PinnedSockets extends SocketFactory {
    private static volatile Client used;

    /** Whose sockets these are; null for those of {@link #use(Client)}. */
    private final Client client;

    /** Where they are connected to when they are made; null for nowhere. */
    private final String host;

    private final int port;

    /** Sockets of the client in use, which are connected by whoever asks for them. */
    public PinnedSockets() {
        this(null, null, 0);
    }

    /**
     * Sockets of the client in use that are connected when they are made, for drivers that look names up themselves.
     *
     * @param target the host and port that all of them are connected to, {@code host:port}
     */
    public PinnedSockets(String target) {
        int colon = target.lastIndexOf(':');
        try {
            host = target.substring(0, colon);
            port = Integer.parseInt(target.substring(colon + 1));
        } catch (IndexOutOfBoundsException | NumberFormatException none) {
            throw new IllegalArgumentException("a target is host:port, not '" + target + "'", none);
        }
        client = null;
    }

    private PinnedSockets(Client client, String host, int port) {
        this.client = client;
        this.host = host;
        this.port = port;
    }

    static SocketFactory of(Client client, String host, int port) {
        return new PinnedSockets(client, host, port);
    }

    static Socket connected(Client client, String host, int port) throws PinlinkException {
        PinnedSocket socket = PinnedSocket.of(client);
        try {
            socket.dial(host, port, 0);
        } catch (SocketException lost) {
            PinlinkException failure = Failure.of(Reason.CONNECT_RESET, lost.getMessage());
            failure.initCause(lost);
            throw failure;
        }
        return socket;
    }

    /**
     * Names the client whose sockets those factories make that are known by their class only.
     *
     * @param client the client, or null for none
     */
    public static void use(Client client) {
        used = client;
    }

    /**
     * A factory as of {@link #PinnedSockets()}, for drivers that ask its class for one (JNDI, mail).
     *
     * @return the factory
     */
    public static SocketFactory getDefault() {
        return new PinnedSockets();
    }

    private PinnedSocket made() throws SocketException {
        Client whose = client == null ? used : client;
        if (whose == null) {
            throw new SocketException("no client has sockets to give: call PinnedSockets.use(client) first");
        }
        return PinnedSocket.of(whose);
    }

    private Socket connected(InetSocketAddress target) throws IOException {
        Socket socket = made();
        socket.connect(target);
        return socket;
    }

    @Override
    public Socket createSocket() throws IOException {
        return host == null ? made() : createSocket(host, port);
    }

    @Override
    public Socket createSocket(String host, int port) throws IOException {
        return connected(InetSocketAddress.createUnresolved(host, port));
    }

    @Override
    public Socket createSocket(String host, int port, InetAddress localHost, int localPort) throws IOException {
        return connected(InetSocketAddress.createUnresolved(host, port), localHost, localPort);
    }

    @Override
    public Socket createSocket(InetAddress host, int port) throws IOException {
        return connected(new InetSocketAddress(host, port));
    }

    @Override
    public Socket createSocket(InetAddress address, int port, InetAddress localAddress, int localPort)
            throws IOException {
        return connected(new InetSocketAddress(address, port), localAddress, localPort);
    }

    private Socket connected(InetSocketAddress target, InetAddress own, int ownPort) throws IOException {
        Socket socket = made();
        socket.bind(new InetSocketAddress(own, ownPort));
        socket.connect(target);
        return socket;
    }
}
