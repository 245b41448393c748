package io.github.pinlink.bench;

/**
 * Runs one peer, as {@code benches/peers/src/worker.rs} asks for it.
 *
 * <p>{@code peers} prints who takes part. {@code run WORKLOAD PEER URL CA} makes that peer and reads lines from stdin:
 * {@code warm COUNT}, or {@code COUNT MILLISECONDS} for a turn; each is answered with a line of JSON.
 */
public final class Worker {
    private Worker() {}

    /**
     * Does what the first argument says.
     *
     * @param arguments the command, and what belongs to it
     * @throws Exception whatever a peer throws
     */
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("peers")) {
            Peers.tell();
        } else if (arguments[1].equals("start")) {
            start(arguments[2], arguments[3], arguments[4]);
        } else {
            Peers.run(arguments[1], arguments[2], new At(arguments[1], arguments[3], arguments[4]));
        }
        // Some peers leave threads behind.
        System.exit(0);
    }

    /** What a process does that wants one answer. Nothing is loaded for the empty one. */
    private static void start(String peer, String url, String ca) throws Exception {
        if (peer.equals("empty process")) {
            return;
        }
        if (peer.equals("pinlink from a file, no answer")) {
            System.setProperty("pinlink.library", System.getProperty("bench.library"));
        }
        if (peer.endsWith(", no answer")) {
            FirstClient.make(url);
        } else {
            At at = new At("start", url, ca);
            at.judged(Peers.caller(peer, at).get());
        }
    }
}
