package io.github.pinlink;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.Permission;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** The names that this JVM looks up, told by the only one that it asks before: a security manager, where it has one. */
final class LookUps implements AutoCloseable {
    /** From 18 on a JVM takes none while it runs. */
    private static final boolean CAN_BE_SEEN =
            Float.parseFloat(System.getProperty("java.specification.version")) < 18;

    private final List<String> names = new CopyOnWriteArrayList<>();

    LookUps() throws UnknownHostException {
        if (CAN_BE_SEEN) {
            change(new Watching());
            InetAddress.getByName("localhost");
            if (!names.remove("localhost")) {
                throw new AssertionError("it sees nothing");
            }
        }
    }

    /** What was looked up; nothing where that can't be seen. */
    List<String> seen() {
        return names;
    }

    @Override
    public void close() {
        if (CAN_BE_SEEN) {
            change(null);
        }
    }

    @SuppressWarnings({"deprecation", "removal"})
    private static void change(SecurityManager manager) {
        System.setSecurityManager(manager);
    }

    /** Forbids nothing. */
    @SuppressWarnings({"deprecation", "removal"})
    private final class Watching extends SecurityManager {
        @Override
        public void checkPermission(Permission permission) {
            // Everything is allowed.
        }

        @Override
        public void checkPermission(Permission permission, Object context) {
            // Everything is allowed.
        }

        @Override
        public void checkConnect(String host, int port) {
            if (port == -1) {
                names.add(host);
            }
        }
    }
}
