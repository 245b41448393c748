package io.github.pinlink;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * A way to a server that counts connections as a proxy between sees them. One thread does all, and looks at what has
 * ended before it takes what is new: a connection that ended before another began is never counted beside it.
 */
final class Relay implements AutoCloseable {
    private final Selector selector = Selector.open();
    private final ServerSocketChannel listener = ServerSocketChannel.open();
    private final InetSocketAddress server;
    private final Thread thread = new Thread(this::run, "relay");
    private volatile int live;
    private volatile int most;
    private volatile int total;
    private volatile IOException failure;

    Relay(int server) throws IOException {
        this.server = new InetSocketAddress(InetAddress.getLoopbackAddress(), server);
        listener.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        thread.setDaemon(true);
        thread.start();
    }

    int port() {
        return listener.socket().getLocalPort();
    }

    int live() {
        return live;
    }

    /** The most at once. */
    int most() {
        return most;
    }

    int total() {
        return total;
    }

    private void run() {
        try {
            while (selector.isOpen()) {
                selector.select();
                if (!selector.isOpen()) {
                    return;
                }
                boolean comes = false;
                for (SelectionKey key : selector.selectedKeys()) {
                    if (key.isValid() && key.isAcceptable()) {
                        comes = true;
                    } else if (key.isValid()) {
                        carry(key);
                    }
                }
                selector.selectedKeys().clear();
                SocketChannel client = comes ? listener.accept() : null;
                if (client != null) {
                    begin(client);
                }
            }
        } catch (ClosedSelectorException ended) {
            // As it was told to.
        } catch (IOException failed) {
            failure = failed;
        }
    }

    private void begin(SocketChannel client) throws IOException {
        live++;
        total++;
        most = Math.max(most, live);
        SocketChannel other = SocketChannel.open(server);
        for (SocketChannel channel : new SocketChannel[] {client, other}) {
            channel.configureBlocking(false);
            channel.socket().setTcpNoDelay(true);
        }
        client.register(selector, SelectionKey.OP_READ, other);
        other.register(selector, SelectionKey.OP_READ, client);
    }

    private void carry(SelectionKey key) throws IOException {
        SocketChannel from = (SocketChannel) key.channel();
        SocketChannel to = (SocketChannel) key.attachment();
        ByteBuffer bytes = ByteBuffer.allocate(64 * 1024);
        try {
            for (int got = from.read(bytes); got != 0; got = from.read(bytes)) {
                if (got < 0) {
                    end(from, to);
                    return;
                }
                bytes.flip();
                while (bytes.hasRemaining()) {
                    to.write(bytes);
                }
                bytes.clear();
            }
        } catch (IOException broken) {
            end(from, to);
        }
    }

    private void end(SocketChannel one, SocketChannel other) throws IOException {
        if (one.isOpen() && other.isOpen()) {
            live--;
        }
        one.close();
        other.close();
    }

    @Override
    public void close() throws IOException {
        selector.close();
        listener.close();
        if (failure != null) {
            throw failure;
        }
    }
}
