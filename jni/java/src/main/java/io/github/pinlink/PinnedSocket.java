package io.github.pinlink;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketImpl;
import java.net.SocketOption;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.channels.SocketChannel;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * A socket of a client's: dialled to the pins of its host by the client, whose name it keeps, and counted against the
 * client's caps until it is closed.
 *
 * <p>Nothing of the JDK's own sockets is used beneath, so that it works where a sandbox forbids those. It behaves as
 * they do otherwise, and as they do on virtual threads where a thread that waits is interrupted: the socket is closed.
 */
final class PinnedSocket extends Socket {
    private static final String CLOSED = "Socket closed";

    private final Client client;
    /** What was set before there was anything to set it on; guarded by itself. */
    private final Map<SocketFlag, Integer> wanted = new EnumMap<>(SocketFlag.class);
    /** The number of the native socket, 0 before there is one. */
    private volatile long handle;
    /** Where it is connected to, null before; it stays what it was when the socket is closed. */
    private volatile InetSocketAddress remote;
    private volatile InetSocketAddress local;
    private volatile Unclosed unclosed;
    private volatile int soTimeout;
    private volatile boolean isClosed;
    private volatile boolean isInputShut;
    private volatile boolean isOutputShut;

    private PinnedSocket(Client client) throws SocketException {
        // All that would need an implementation is overridden.
        super((SocketImpl) null);
        this.client = client;
    }

    /** One that is not connected yet. */
    static PinnedSocket of(Client client) {
        try {
            return new PinnedSocket(client);
        } catch (SocketException impossible) {
            throw new AssertionError(impossible);
        }
    }

    @Override
    public void connect(SocketAddress endpoint) throws IOException {
        connect(endpoint, 0);
    }

    @Override
    public void connect(SocketAddress endpoint, int timeout) throws IOException {
        if (timeout < 0) {
            throw new IllegalArgumentException("connect: timeout can't be negative");
        }
        if (!(endpoint instanceof InetSocketAddress)) {
            throw new IllegalArgumentException("Unsupported address type");
        }
        InetSocketAddress target = (InetSocketAddress) endpoint;
        try {
            // The name, also where it has an address already; without asking anybody for one.
            dial(target.getHostString(), target.getPort(), timeout);
        } catch (PinlinkException failure) {
            throw asOfAnySocket(failure);
        }
    }

    /** What callers of sockets tell apart; the failure is its cause. */
    private IOException asOfAnySocket(PinlinkException failure) {
        IOException usual;
        if (failure instanceof PinlinkTimeoutException) {
            usual = new SocketTimeoutException(failure.getMessage());
        } else if (failure.kind() == Kind.CONNECT) {
            usual = new ConnectException(failure.getMessage());
        } else if (failure.kind() == Kind.DNS) {
            usual = new UnknownHostException(failure.getMessage());
        } else {
            return failure;
        }
        usual.initCause(failure);
        return usual;
    }

    /** Connects, once. A socket that could not be is closed. */
    void dial(String host, int port, int timeout) throws PinlinkException, SocketException {
        long made;
        synchronized (wanted) {
            refuseClosed();
            if (handle != 0) {
                throw new SocketException("Already connected");
            }
            made = Native.makeSocket();
            handle = made;
            unclosed = Unclosed.socket(this, made);
        }
        boolean isDone = false;
        try {
            byte[] packet = Packet.inArray(64).put(host).put(port).put(timeout).toArray();
            Unpacking ends = Unpacking.value(client.connect(made, packet));
            InetSocketAddress peer = address(host, ends);
            synchronized (wanted) {
                local = address(null, ends);
                remote = peer;
                for (Map.Entry<SocketFlag, Integer> flag : wanted.entrySet()) {
                    done(Native.setOption(made, flag.getKey().ordinal(), flag.getValue()));
                }
            }
            isDone = true;
        } catch (PinlinkException failure) {
            // Closed by another thread meanwhile, or failed by itself.
            refuseClosed();
            throw failure;
        } finally {
            if (!isDone) {
                release();
            }
        }
    }

    private static InetSocketAddress address(String name, Unpacking fields) {
        try {
            // The name goes with the address: nobody asks for it again.
            InetAddress address = InetAddress.getByAddress(name, fields.bytes());
            return new InetSocketAddress(address, fields.integer());
        } catch (UnknownHostException impossible) {
            throw new AssertionError(impossible);
        }
    }

    private void release() {
        isClosed = true;
        Unclosed open = unclosed;
        if (open != null) {
            open.close();
        }
    }

    private void refuseClosed() throws SocketException {
        if (isClosed) {
            throw new SocketException(CLOSED);
        }
    }

    private void refuseUnconnected() throws SocketException {
        refuseClosed();
        if (remote == null) {
            throw new SocketException("Socket is not connected");
        }
    }

    /** What a native function brought, or the exception that its number stands for. */
    private int done(int code) throws SocketException {
        if (code >= 0) {
            return code;
        }
        switch (code) {
            case Native.SOCKET_CLOSED:
                throw new SocketException(CLOSED);
            case Native.SOCKET_INTERRUPTED:
                release();
                throw new SocketException("Closed by interrupt");
            case Native.SOCKET_PANIC:
                release();
                throw new SocketException("a native function panicked");
            default:
                throw new SocketException(Native.meaning(-code));
        }
    }

    private void set(SocketFlag flag, int value) throws SocketException {
        synchronized (wanted) {
            refuseClosed();
            if (remote == null) {
                wanted.put(flag, value);
            } else {
                done(Native.setOption(handle, flag.ordinal(), value));
            }
        }
    }

    private int get(SocketFlag flag) throws SocketException {
        synchronized (wanted) {
            refuseClosed();
            if (remote == null) {
                Integer value = wanted.get(flag);
                return value == null ? flag.usual : value;
            }
            long value = Native.option(handle, flag.ordinal());
            return value < Integer.MIN_VALUE ? done((int) (value - Integer.MIN_VALUE)) : (int) value;
        }
    }

    /** Its bytes as they come. */
    private final class Incoming extends InputStream {
        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int size) throws IOException {
            if (offset < 0 || size < 0 || size > into.length - offset) {
                throw new IndexOutOfBoundsException();
            }
            if (isClosed) {
                throw new SocketException(CLOSED);
            }
            if (size == 0) {
                return 0;
            }
            if (isInputShut) {
                return -1;
            }
            int got = Native.receive(handle, into, offset, size, soTimeout);
            if (got == Native.SOCKET_TIMED_OUT) {
                throw new SocketTimeoutException("Read timed out");
            }
            return done(got) == 0 ? -1 : got;
        }

        @Override
        public int available() throws IOException {
            return isInputShut && !isClosed ? 0 : done(Native.available(handle));
        }

        @Override
        public void close() {
            PinnedSocket.this.close();
        }
    }

    /** What is written goes out at once. */
    private final class Outgoing extends OutputStream {
        @Override
        public void write(int octet) throws IOException {
            write(new byte[] {(byte) octet}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int size) throws IOException {
            if (offset < 0 || size < 0 || size > bytes.length - offset) {
                throw new IndexOutOfBoundsException();
            }
            done(Native.transmit(handle, bytes, offset, size));
        }

        @Override
        public void close() {
            PinnedSocket.this.close();
        }
    }

    @Override
    public InputStream getInputStream() throws IOException {
        refuseUnconnected();
        if (isInputShut) {
            throw new SocketException("Socket input is shutdown");
        }
        return new Incoming();
    }

    @Override
    public OutputStream getOutputStream() throws IOException {
        refuseUnconnected();
        if (isOutputShut) {
            throw new SocketException("Socket output is shutdown");
        }
        return new Outgoing();
    }

    @Override
    public void shutdownInput() throws IOException {
        getInputStream();
        isInputShut = true;
        done(Native.shut(handle, false));
    }

    @Override
    public void shutdownOutput() throws IOException {
        getOutputStream();
        isOutputShut = true;
        done(Native.shut(handle, true));
    }

    @Override
    public void sendUrgentData(int data) throws IOException {
        refuseUnconnected();
        done(Native.urge(handle, data));
    }

    /** Ends whatever waits on it, with an exception, and gives its place to the next. */
    @Override
    public void close() {
        synchronized (wanted) {
            release();
        }
    }

    @Override
    public void bind(SocketAddress bindpoint) throws IOException {
        refuseClosed();
        boolean isAny = bindpoint == null
                || bindpoint instanceof InetSocketAddress
                        && ((InetSocketAddress) bindpoint).getPort() == 0
                        && !((InetSocketAddress) bindpoint).isUnresolved()
                        && ((InetSocketAddress) bindpoint).getAddress().isAnyLocalAddress();
        if (!isAny) {
            throw new SocketException("a pinned socket is dialled from whatever address leads to its target");
        }
    }

    @Override
    public SocketChannel getChannel() {
        return null;
    }

    @Override
    public InetAddress getInetAddress() {
        InetSocketAddress peer = remote;
        return peer == null ? null : peer.getAddress();
    }

    @Override
    public int getPort() {
        InetSocketAddress peer = remote;
        return peer == null ? 0 : peer.getPort();
    }

    @Override
    public SocketAddress getRemoteSocketAddress() {
        return remote;
    }

    @Override
    public InetAddress getLocalAddress() {
        InetSocketAddress own = local;
        return own == null || isClosed ? new InetSocketAddress(0).getAddress() : own.getAddress();
    }

    @Override
    public int getLocalPort() {
        InetSocketAddress own = local;
        return own == null ? -1 : own.getPort();
    }

    @Override
    public SocketAddress getLocalSocketAddress() {
        return isClosed ? null : local;
    }

    @Override
    public boolean isConnected() {
        return remote != null;
    }

    @Override
    public boolean isBound() {
        return local != null;
    }

    @Override
    public boolean isClosed() {
        return isClosed;
    }

    @Override
    public boolean isInputShutdown() {
        return isInputShut;
    }

    @Override
    public boolean isOutputShutdown() {
        return isOutputShut;
    }

    @Override
    public void setSoTimeout(int timeout) throws SocketException {
        refuseClosed();
        if (timeout < 0) {
            throw new IllegalArgumentException("timeout can't be negative");
        }
        soTimeout = timeout;
    }

    @Override
    public int getSoTimeout() throws SocketException {
        refuseClosed();
        return soTimeout;
    }

    @Override
    public void setTcpNoDelay(boolean on) throws SocketException {
        set(SocketFlag.NO_DELAY, on ? 1 : 0);
    }

    @Override
    public boolean getTcpNoDelay() throws SocketException {
        return get(SocketFlag.NO_DELAY) != 0;
    }

    @Override
    public void setKeepAlive(boolean on) throws SocketException {
        set(SocketFlag.KEEP_ALIVE, on ? 1 : 0);
    }

    @Override
    public boolean getKeepAlive() throws SocketException {
        return get(SocketFlag.KEEP_ALIVE) != 0;
    }

    @Override
    public void setSoLinger(boolean on, int seconds) throws SocketException {
        if (on && seconds < 0) {
            throw new IllegalArgumentException("invalid value for SO_LINGER");
        }
        set(SocketFlag.LINGER, on ? Math.min(seconds, 65535) : -1);
    }

    @Override
    public int getSoLinger() throws SocketException {
        return get(SocketFlag.LINGER);
    }

    @Override
    public void setSendBufferSize(int size) throws SocketException {
        set(SocketFlag.SEND_BUFFER, positive(size));
    }

    @Override
    public int getSendBufferSize() throws SocketException {
        return get(SocketFlag.SEND_BUFFER);
    }

    @Override
    public void setReceiveBufferSize(int size) throws SocketException {
        set(SocketFlag.RECEIVE_BUFFER, positive(size));
    }

    @Override
    public int getReceiveBufferSize() throws SocketException {
        return get(SocketFlag.RECEIVE_BUFFER);
    }

    private static int positive(int size) {
        if (size <= 0) {
            throw new IllegalArgumentException("invalid size");
        }
        return size;
    }

    @Override
    public void setTrafficClass(int octet) throws SocketException {
        if (octet < 0 || octet > 255) {
            throw new IllegalArgumentException("tc is not in range 0 -- 255");
        }
        set(SocketFlag.TRAFFIC_CLASS, octet);
    }

    @Override
    public int getTrafficClass() throws SocketException {
        return get(SocketFlag.TRAFFIC_CLASS);
    }

    @Override
    public void setReuseAddress(boolean on) throws SocketException {
        set(SocketFlag.REUSE_ADDRESS, on ? 1 : 0);
    }

    @Override
    public boolean getReuseAddress() throws SocketException {
        return get(SocketFlag.REUSE_ADDRESS) != 0;
    }

    @Override
    public void setOOBInline(boolean on) throws SocketException {
        set(SocketFlag.URGENT_INLINE, on ? 1 : 0);
    }

    @Override
    public boolean getOOBInline() throws SocketException {
        return get(SocketFlag.URGENT_INLINE) != 0;
    }

    @Override
    public void setPerformancePreferences(int connectionTime, int latency, int bandwidth) {
        // As with the JDK's own: nothing comes of it.
    }

    /**
     * Sets an option by its standard name. Overrides the method that Java 9 added.
     *
     * @param option the option, by its name
     * @param value a number or a truth value
     * @param <T> what values it has
     * @return this socket
     * @throws SocketException where the socket is closed, or the kernel refuses the value
     */
    public <T> Socket setOption(SocketOption<T> option, T value) throws SocketException {
        if (value instanceof Boolean) {
            set(SocketFlag.named(option.name()), (Boolean) value ? 1 : 0);
        } else {
            set(SocketFlag.named(option.name()), (Integer) value);
        }
        return this;
    }

    /**
     * An option by its standard name. Overrides the method that Java 9 added.
     *
     * @param option the option, by its name
     * @param <T> what values it has
     * @return its value
     * @throws SocketException where the socket is closed
     */
    public <T> T getOption(SocketOption<T> option) throws SocketException {
        int value = get(SocketFlag.named(option.name()));
        return option.type().cast(option.type() == Boolean.class ? (Object) (value != 0) : (Object) value);
    }

    /**
     * The options that can be set. Overrides the method that Java 9 added.
     *
     * @return none: they are known by name
     */
    public Set<SocketOption<?>> supportedOptions() {
        return new HashSet<>();
    }

    @Override
    public String toString() {
        return "PinnedSocket[" + (remote == null ? "unconnected" : remote) + "]";
    }
}
