package io.github.pinlink;

/** The options of a socket, by the numbers that native code knows them by and the names that the JDK gives them. */
enum SocketFlag {
    NO_DELAY("TCP_NODELAY", 0),
    KEEP_ALIVE("SO_KEEPALIVE", 0),
    LINGER("SO_LINGER", -1),
    SEND_BUFFER("SO_SNDBUF", 64 * 1024),
    RECEIVE_BUFFER("SO_RCVBUF", 64 * 1024),
    TRAFFIC_CLASS("IP_TOS", 0),
    REUSE_ADDRESS("SO_REUSEADDR", 0),
    URGENT_INLINE("SO_OOBINLINE", 0),
    KEEP_IDLE("TCP_KEEPIDLE", 0),
    KEEP_INTERVAL("TCP_KEEPINTERVAL", 0),
    KEEP_COUNT("TCP_KEEPCOUNT", 0);

    private static final SocketFlag[] ALL = values();

    /** What the JDK calls it. */
    final String standardName;

    /** What a socket says that is not connected and was told nothing. */
    final int usual;

    SocketFlag(String standardName, int usual) {
        this.standardName = standardName;
        this.usual = usual;
    }

    static SocketFlag named(String name) {
        for (SocketFlag flag : ALL) {
            if (flag.standardName.equals(name)) {
                return flag;
            }
        }
        throw new UnsupportedOperationException("'" + name + "' not supported");
    }
}
