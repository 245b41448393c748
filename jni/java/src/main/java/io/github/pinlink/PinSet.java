package io.github.pinlink;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Addresses by host, and by suffix ({@code *.suffix}) for names that nobody can list ahead, as an artefact that
 * outlives a process: a first stage or a Spark driver resolves once inside the job's network, saves, ships the file,
 * and every worker imports it without one query. Immutable: every method that changes something returns another set.
 */
public final class PinSet {
    /** What native code is asked for: see {@code jni/src/pins.rs}. */
    private static final byte PARSE = 0;
    private static final byte LOAD = 1;
    private static final byte SAVE = 2;
    private static final byte HOSTS_FILE = 3;
    private static final byte MERGE = 4;
    private static final byte EXPIRE = 5;
    private static final byte VALID_FOR = 6;
    private static final byte INSERT = 7;
    private static final byte FIND = 8;
    private static final byte RESOLVE = 9;

    private final String json;
    private final String text;
    private final Map<String, List<String>> hosts;

    private PinSet(String json, String text, Map<String, List<String>> hosts) {
        this.json = json;
        this.text = text;
        this.hosts = Collections.unmodifiableMap(hosts);
    }

    static PinSet unpack(Unpacking fields) {
        String json = fields.text();
        String text = fields.text();
        Map<String, List<String>> hosts = new LinkedHashMap<>();
        for (int left = fields.integer(); left > 0; left--) {
            String host = fields.text();
            List<String> addresses = new ArrayList<>();
            for (int more = fields.integer(); more > 0; more--) {
                addresses.add(fields.text());
            }
            hosts.put(host, Collections.unmodifiableList(addresses));
        }
        return new PinSet(json, text, hosts);
    }

    private static PinSet ask(Packet packet) throws PinlinkException {
        Library.load(null);
        return unpack(Unpacking.value(Native.pinSet(packet.toArray())));
    }

    private static Packet packet(byte operation) {
        return Packet.inArray(256).put(operation);
    }

    private Packet about(byte operation) {
        return packet(operation).put(json);
    }

    /**
     * Reads the artefact.
     *
     * @param json its text
     * @return the pin set
     * @throws PinlinkException {@link Reason#CONFIG_PIN_SET} where it is no pin set, or one of another version
     */
    public static PinSet parse(String json) throws PinlinkException {
        return ask(packet(PARSE).put(json));
    }

    /**
     * Reads a file.
     *
     * @param path the file
     * @return the pin set
     * @throws PinlinkException {@link Reason#CONFIG_PIN_SET} where it can't be read or is no pin set
     */
    public static PinSet load(String path) throws PinlinkException {
        return ask(packet(LOAD).put(path));
    }

    /**
     * Reads a text in the form of /etc/hosts: an address, then its names.
     *
     * @param text the lines
     * @return the pin set
     * @throws PinlinkException {@link Reason#CONFIG_PIN_SET} with the number of the first malformed line
     */
    public static PinSet hostsFile(String text) throws PinlinkException {
        return ask(packet(HOSTS_FILE).put(text));
    }

    /**
     * Resolves a builder's hosts, whatever pins it has, and makes no connection.
     *
     * @param builder with hosts, and with options for the look-ups
     * @return a pin set that is good for a day
     * @throws PinlinkException of {@link Kind#DNS} with every host that did not resolve
     */
    public static PinSet resolve(Client.Builder builder) throws PinlinkException {
        builder.loadLibrary();
        return ask(builder.packOptions(packet(RESOLVE)));
    }

    /**
     * Writes a file, whole or not at all: a reader never sees half of it.
     *
     * @param path the file
     * @throws PinlinkException {@link Reason#CONFIG_PIN_SET} where it can't be written
     */
    public void save(String path) throws PinlinkException {
        ask(about(SAVE).put(path));
    }

    /**
     * This set with every pin of another; where both have one, the one resolved later stays.
     *
     * @param other another set
     * @return the set of both
     * @throws PinlinkException never for sets that were made here
     */
    public PinSet merge(PinSet other) throws PinlinkException {
        return ask(about(MERGE).put(other.json));
    }

    /**
     * This set without what has expired.
     *
     * @return the set of what is good now
     * @throws PinlinkException never for a set that was made here
     */
    public PinSet expire() throws PinlinkException {
        return ask(about(EXPIRE));
    }

    /**
     * This set with another time for which each pin may be imported, counted from its resolution.
     *
     * @param validity how long
     * @return the set with that time
     * @throws PinlinkException never for a set that was made here
     */
    public PinSet validFor(Duration validity) throws PinlinkException {
        return ask(about(VALID_FOR).put(validity.toNanos()));
    }

    /**
     * This set with a pin made by hand, which never expires; it replaces an earlier one of that host.
     *
     * @param host a host, or {@code *.suffix}
     * @param addresses its IP addresses
     * @return the set with it
     * @throws PinlinkException {@link Reason#CONFIG_INVALID_INPUT} for a malformed host or address, or none
     */
    public PinSet with(String host, String... addresses) throws PinlinkException {
        Packet packet = about(INSERT).put(host).put(addresses.length);
        for (String address : addresses) {
            packet.put(address);
        }
        return ask(packet);
    }

    /**
     * The addresses of a host: its own, else those of the longest suffix above it.
     *
     * @param host the host
     * @return its addresses; none where it has no pin
     * @throws PinlinkException never for a set that was made here
     */
    public List<String> find(String host) throws PinlinkException {
        return ask(about(FIND).put(host)).hosts.values().stream().findFirst().orElse(Collections.emptyList());
    }

    /**
     * All hosts and suffixes with their addresses, in alphabetical order.
     *
     * @return hosts and addresses
     */
    public Map<String, List<String>> hosts() {
        return hosts;
    }

    /**
     * The artefact as text: JSON with a version.
     *
     * @return the text
     */
    public String toJson() {
        return json;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof PinSet && json.equals(((PinSet) other).json);
    }

    @Override
    public int hashCode() {
        return json.hashCode();
    }

    /** A line per host: name, addresses, time to live, when and by whom it was resolved, until when it is good. */
    @Override
    public String toString() {
        return text;
    }
}
