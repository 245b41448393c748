package io.github.pinlink;

import java.nio.ByteBuffer;

/** The native functions, registered when {@link Library} loads them. Nothing here runs before that. */
final class Native {
    /** The version of these classes, which the library must have too. */
    static final String VERSION = "0.1.0";

    /** What {@link #send} returns where the answer waits in a slot. */
    static final int IN_A_SLOT = -1;

    /** What functions of sockets return below zero: these, or a number of the kernel's, negated. */
    static final int SOCKET_TIMED_OUT = -4096;

    static final int SOCKET_CLOSED = -4097;

    static final int SOCKET_INTERRUPTED = -4098;

    static final int SOCKET_PANIC = -4099;

    private Native() {}

    static native String version();

    /** Where the memory of a direct buffer lies. */
    static native long address(ByteBuffer buffer);

    /** Makes a client, or finds the shared one, of packed options; answers with its handle. */
    static native byte[] build(byte[] options);

    static native void close(long client);

    /**
     * Sends the request that lies packed at an address, and leaves the answer there.
     *
     * @param body the request's body where it is not in the packet, else null
     * @param attachments what the packet refers to, or null
     * @return the answer's length, or {@link #IN_A_SLOT}
     */
    static native int send(long client, long address, int length, int capacity, byte[] body, Object[] attachments);

    /** Takes an answer out of its slot. */
    static native byte[] rest(long slot);

    /** Sends many packed requests, which are the first bytes; answers with the first block of their outcomes. */
    static native byte[] sendAll(long client, byte[] requests, int length, Object[] attachments);

    /** The next block of outcomes out of their slot. */
    static native byte[] moreRows(long slot);

    /**
     * Sends a request without waiting; {@code pending} is told how it ends.
     *
     * @return the number of the call, or -1 where there is no memory for one
     */
    static native long sendAsync(
            long client, Pending<?> pending, long address, int length, byte[] body, Object[] attachments);

    /** Writes without waiting; as {@link #sendAsync} otherwise. */
    static native long writeAsync(long client, Pending<?> pending, byte[] write, Object[] attachments);

    /** Ends a call by its number; does nothing where it has ended. */
    static native void cancel(long call);

    static native byte[] write(long client, byte[] write, Object[] attachments);

    static native byte[] writeAll(long client, byte[] writes, int length, Object[] attachments);

    static native byte[] writeBatch(long client, byte[] batch, int length, Object[] attachments);

    static native byte[] guarantee(byte[] write, Object[] attachments);

    /** Sends a request; answers with the number of the answer's stream, its length, and its head. */
    static native byte[] open(long client, byte[] request, Object[] attachments);

    /**
     * Reads the next piece of a stream to an address.
     *
     * @return its length, 0 at the end, or the number of a failure's slot, negated
     */
    static native long read(long stream, long address, int capacity);

    static native byte[] trailers(long stream);

    static native void closeStream(long stream);

    static native byte[] pins(long client);

    static native byte[] repin(long client, byte[] pin);

    static native byte[] stats(long client);

    /** Looks at the way to a client's targets, or where that is 0 to the packet's; the packet begins with facts. */
    static native byte[] doctor(long client, byte[] packet);

    /** Whatever is done with a pin set that is no client's. */
    static native byte[] pinSet(byte[] operation);

    /** A number for a socket, which can be closed from now on. */
    static native long makeSocket();

    /** Connects it to the packet's host; answers with the addresses of both ends. */
    static native byte[] connect(long client, long socket, byte[] packet);

    /** How many bytes were read, 0 at the end; waits for so many milliseconds, or for ever where that is 0. */
    static native int receive(long socket, byte[] into, int offset, int length, int timeout);

    static native int transmit(long socket, byte[] bytes, int offset, int length);

    static native int available(long socket);

    static native int shut(long socket, boolean isOutput);

    static native int urge(long socket, int octet);

    /** The value of a {@link SocketFlag}, or a failure's number below those of all values. */
    static native long option(long socket, int flag);

    static native int setOption(long socket, int flag, int value);

    /** What a number of the kernel's means. */
    static native String meaning(int number);

    static native void closeSocket(long socket);
}
