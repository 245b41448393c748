package io.github.pinlink;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a client has done since it was built. It holds no host name, no path and no header. */
public final class Stats {
    private final String summary;
    private final Map<String, Long> counters;

    private Stats(String summary, Map<String, Long> counters) {
        this.summary = summary;
        this.counters = Collections.unmodifiableMap(counters);
    }

    static Stats unpack(Unpacking fields) {
        String summary = fields.text();
        Map<String, Long> counters = new LinkedHashMap<>();
        for (int left = fields.integer(); left > 0; left--) {
            counters.put(fields.text(), fields.longer());
        }
        return new Stats(summary, counters);
    }

    /**
     * All counters under their names, the same in every language.
     *
     * @return names and numbers
     */
    public Map<String, Long> counters() {
        return counters;
    }

    private long counter(String name) {
        return counters.getOrDefault(name, 0L);
    }

    /**
     * Calls made.
     *
     * @return the number
     */
    public long requests() {
        return counter("requests");
    }

    /**
     * Calls that were answered, whatever the status.
     *
     * @return the number
     */
    public long answers() {
        return counter("answers");
    }

    /**
     * Calls that ended in an error.
     *
     * @return the number
     */
    public long failures() {
        return counter("failures");
    }

    /**
     * Queries sent to name servers, tries included.
     *
     * @return the number
     */
    public long lookupsDns() {
        return counter("lookups_dns");
    }

    /**
     * Look-ups handed to the system's resolver (getaddrinfo).
     *
     * @return the number
     */
    public long lookupsSystem() {
        return counter("lookups_system");
    }

    /**
     * Hosts pinned by configuration.
     *
     * @return the number
     */
    public long pinsByHand() {
        return counter("pins_by_hand");
    }

    /**
     * Hosts pinned from a pin set or a hosts file.
     *
     * @return the number
     */
    public long pinsImported() {
        return counter("pins_imported");
    }

    /**
     * Hosts pinned by a look-up at init.
     *
     * @return the number
     */
    public long pinsResolved() {
        return counter("pins_resolved");
    }

    /**
     * Look-ups after init, because every address of a host had failed.
     *
     * @return the number
     */
    public long refreshes() {
        return counter("refreshes");
    }

    /**
     * TCP connections tried.
     *
     * @return the number
     */
    public long dials() {
        return counter("dials");
    }

    /**
     * Dials that ended in an error, over all addresses.
     *
     * @return the number
     */
    public long dialFailures() {
        return counter("dial_failures");
    }

    /**
     * TLS handshakes completed.
     *
     * @return the number
     */
    public long handshakes() {
        return counter("handshakes");
    }

    /**
     * TLS handshakes that resumed an earlier session.
     *
     * @return the number
     */
    public long resumptions() {
        return counter("resumptions");
    }

    /**
     * HTTP/2 connections made.
     *
     * @return the number
     */
    public long http2() {
        return counter("http2");
    }

    /**
     * Requests sent on a connection that had served another before.
     *
     * @return the number
     */
    public long reuses() {
        return counter("reuses");
    }

    /**
     * Calls that had to wait for a connection.
     *
     * @return the number
     */
    public long waits() {
        return counter("waits");
    }

    /**
     * Reused connections found dead before a byte was sent, and replaced.
     *
     * @return the number
     */
    public long replaced() {
        return counter("replaced");
    }

    /**
     * Requests sent again after a failure or an answer that asks for it.
     *
     * @return the number
     */
    public long retries() {
        return counter("retries");
    }

    /**
     * Idle connections closed to make room for another origin.
     *
     * @return the number
     */
    public long evictions() {
        return counter("evictions");
    }

    /**
     * Dials and first exchanges that found no room on the way.
     *
     * @return the number
     */
    public long refusals() {
        return counter("refusals");
    }

    /**
     * Idle connections that the far side has closed.
     *
     * @return the number
     */
    public long died() {
        return counter("died");
    }

    /**
     * Connections closed for idle time or age.
     *
     * @return the number
     */
    public long expired() {
        return counter("expired");
    }

    /**
     * Connections closed because their address is no longer pinned.
     *
     * @return the number
     */
    public long drained() {
        return counter("drained");
    }

    /**
     * Live connections now, dialling ones included.
     *
     * @return the number
     */
    public long connectionsLive() {
        return counter("connections_live");
    }

    /**
     * The most live connections at one time.
     *
     * @return the number
     */
    public long connectionsPeak() {
        return counter("connections_peak");
    }

    /**
     * Idle connections in the pool now.
     *
     * @return the number
     */
    public long connectionsIdle() {
        return counter("connections_idle");
    }

    /**
     * How many latencies were recorded: those of calls that were answered.
     *
     * @return the number
     */
    public long latencyCount() {
        return counter("latency_count");
    }

    /**
     * The median latency, in microseconds.
     *
     * @return the time
     */
    public long latencyP50Us() {
        return counter("latency_p50_us");
    }

    /**
     * 90 of 100 latencies are at or below this, in microseconds.
     *
     * @return the time
     */
    public long latencyP90Us() {
        return counter("latency_p90_us");
    }

    /**
     * 99 of 100 latencies are at or below this, in microseconds.
     *
     * @return the time
     */
    public long latencyP99Us() {
        return counter("latency_p99_us");
    }

    /**
     * 999 of 1000 latencies are at or below this, in microseconds.
     *
     * @return the time
     */
    public long latencyP999Us() {
        return counter("latency_p999_us");
    }

    /**
     * The greatest latency, in microseconds.
     *
     * @return the time
     */
    public long latencyMaxUs() {
        return counter("latency_max_us");
    }

    /** The summary: one line. */
    @Override
    public String toString() {
        return summary;
    }
}
