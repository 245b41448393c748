package io.github.pinlink;

/** What a user of Connector/J writes: the name of this class is all that the driver takes. */
public final class OrdersDatabase extends PinnedSockets {
    /** Where the driver's sockets are connected to. */
    static volatile String target;

    public OrdersDatabase() {
        super(target);
    }
}
