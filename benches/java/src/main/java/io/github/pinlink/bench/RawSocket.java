package io.github.pinlink.bench;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The least that is an exchange: one write, and reads until the announced body is there. */
final class RawSocket implements Get {
    private static final byte[] LENGTH = "\r\nContent-Length: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

    private final byte[] request;
    private final byte[] buffer = new byte[4096];
    private final InputStream in;
    private final OutputStream out;

    RawSocket(At at) throws Exception {
        String host = at.uri().getHost();
        int port = at.uri().getPort();
        Socket socket = new Socket("127.0.0.1", port);
        socket.setTcpNoDelay(true);
        if (at.isTls()) {
            socket = at.context().getSocketFactory().createSocket(socket, host, port, true);
        }
        in = socket.getInputStream();
        out = socket.getOutputStream();
        String fields = "host: " + host + ":" + port + "\r\nuser-agent: raw/1.0\r\naccept: */*\r\n\r\n";
        request = ("GET /answer HTTP/1.1\r\n" + fields).getBytes(StandardCharsets.US_ASCII);
    }

    @Override
    public byte[] get() throws IOException {
        out.write(request);
        int filled = 0;
        while (true) {
            int got = in.read(buffer, filled, buffer.length - filled);
            if (got < 0) {
                throw new EOFException();
            }
            filled += got;
            int head = find(END, filled);
            if (head >= 0) {
                int end = head + END.length + length(filled);
                if (filled >= end) {
                    return Arrays.copyOfRange(buffer, head + END.length, end);
                }
            }
        }
    }

    private int length(int filled) throws IOException {
        int at = find(LENGTH, filled);
        if (at < 0) {
            throw new IOException("no length was announced");
        }
        int length = 0;
        for (at += LENGTH.length; buffer[at] != '\r'; at++) {
            length = length * 10 + buffer[at] - '0';
        }
        return length;
    }

    private int find(byte[] what, int filled) {
        for (int at = 0; at + what.length <= filled; at++) {
            int same = 0;
            while (same < what.length && buffer[at + same] == what[same]) {
                same++;
            }
            if (same == what.length) {
                return at;
            }
        }
        return -1;
    }
}
