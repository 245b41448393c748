package io.github.pinlink.bench;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The least that is an exchange: one write, and reads until the announced body is there. */
final class RawSocket implements Get {
    private static final byte[] LENGTH = "\r\nContent-Length: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

    private final byte[] request;
    private final byte[] buffer;
    private final InputStream in;
    private final OutputStream out;
    /** How much of the last answer's head, and of what came with it, lies in the buffer; and where its body begins. */
    private int filled;

    private int begin;

    RawSocket(At at) throws Exception {
        URI uri = at.uri();
        Socket socket = new Socket("127.0.0.1", uri.getPort());
        socket.setTcpNoDelay(true);
        if (at.isTls()) {
            socket = at.context().getSocketFactory().createSocket(socket, uri.getHost(), uri.getPort(), true);
        }
        in = socket.getInputStream();
        out = socket.getOutputStream();
        buffer = new byte[Math.max(4 << 10, Math.min(at.length, 64 << 10))];
        request = request(at, uri);
    }

    private static byte[] request(At at, URI uri) {
        byte[] body = at.posted == null ? new byte[0] : at.posted;
        StringBuilder head = new StringBuilder(at.posted == null ? "GET " : "POST ")
                .append(uri.getPath())
                .append(" HTTP/1.1\r\nhost: ")
                .append(uri.getAuthority())
                .append("\r\nuser-agent: raw/1.0\r\naccept: */*\r\n");
        if (at.posted != null) {
            head.append("content-type: ").append(At.TYPE);
            head.append("\r\ncontent-length: ").append(body.length).append("\r\n");
        }
        byte[] fields = head.append("\r\n").toString().getBytes(StandardCharsets.US_ASCII);
        byte[] whole = Arrays.copyOf(fields, fields.length + body.length);
        System.arraycopy(body, 0, whole, fields.length, body.length);
        return whole;
    }

    @Override
    public byte[] get() throws IOException {
        byte[] body = new byte[exchanged()];
        int have = filled - begin;
        System.arraycopy(buffer, begin, body, 0, have);
        while (have < body.length) {
            have += read(body, have);
        }
        return body;
    }

    @Override
    public long stream() throws IOException {
        int length = exchanged();
        long have = filled - begin;
        while (have < length) {
            have += read(buffer, 0);
        }
        return have;
    }

    /** Sends the request and reads until a head is there; returns the length of its body. */
    private int exchanged() throws IOException {
        out.write(request);
        filled = 0;
        do {
            filled += read(buffer, filled);
            begin = find(END) + END.length;
        } while (begin < END.length);
        return length();
    }

    private int read(byte[] into, int from) throws IOException {
        int got = in.read(into, from, into.length - from);
        if (got < 0) {
            throw new EOFException();
        }
        return got;
    }

    private int length() throws IOException {
        int at = find(LENGTH);
        if (at < 0) {
            throw new IOException("no length was announced");
        }
        int length = 0;
        for (at += LENGTH.length; buffer[at] != '\r'; at++) {
            length = length * 10 + buffer[at] - '0';
        }
        return length;
    }

    private int find(byte[] what) {
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
