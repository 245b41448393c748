package io.github.pinlink;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * Whose writes these are: what all executions of one job share, and no other job has.
 *
 * <p>It is the part of a key that keeps two jobs apart, so it must survive what the platform does: a re-run node, a
 * backup worker, a Spark retry. What does not survive (attempt numbers, clocks, host names, row counters, task
 * attempt ids) has no way in: a scope takes one text, and refuses what is plainly an attempt's name.
 *
 * <pre>{@code
 * Scope scope = Scope.job("orders of 2026-11-22");
 * Key key = scope.key("insert order", "berlin", 4711);
 * }</pre>
 */
public final class Scope {
    /** Names the derivation: another one gets another tag, and no key of the old one. */
    private static final String VERSION = "pinlink/1";
    /** The longest text of a scope, in bytes. */
    private static final int MAX = 256;

    private final String kind;
    private final String text;

    private Scope(String kind, String text) {
        this.kind = kind;
        this.text = text;
    }

    /**
     * A key that the job's owner gave it: the best one, since it also survives a job that is submitted again. A
     * business date and the job's name will do.
     *
     * @param key the same text for every execution of the job
     * @return the scope
     * @throws PinlinkConfigException where it is empty, over 256 bytes, holds a control character or names an attempt
     */
    public static Scope job(String key) throws PinlinkConfigException {
        if (key.isEmpty() || key.getBytes(StandardCharsets.UTF_8).length > MAX
                || key.codePoints().anyMatch(Character::isISOControl)) {
            throw Failure.input("a job's key has 1 to " + MAX + " bytes and no control character");
        }
        // Hadoop's and Spark's ids of attempts and tasks.
        if (key.matches("(attempt|task)_[0-9].*")) {
            throw Failure.input("a job's key must be the same for every execution: this one names an attempt");
        }
        return new Scope("job", key);
    }

    /**
     * The id of a MaxCompute instance ({@code 20261122060110436gskmgc}): shared by re-runs and backup workers of this
     * instance, not by the next submission of the same job.
     *
     * @param id as {@code ExecutionContext} has it
     * @return the scope
     * @throws PinlinkConfigException where it has not that form: 17 digits, then {@code g} and letters and digits
     */
    public static Scope instance(String id) throws PinlinkConfigException {
        if (!id.matches("[0-9]{17}g[a-z0-9]{1,31}")) {
            throw Failure.input("an instance id is 17 digits, then 'g' and lower-case letters and digits");
        }
        return new Scope("instance", id);
    }

    /**
     * The id of a Spark application ({@code application_…} on a cluster, {@code spark-…} on Kubernetes, {@code
     * local-…}): shared by retried and speculative tasks, not by a driver that is submitted again.
     *
     * @param application the application's id
     * @return the scope
     * @throws PinlinkConfigException where it begins otherwise, or holds anything but letters, digits, {@code _} and
     *     {@code -}
     */
    public static Scope spark(String application) throws PinlinkConfigException {
        if (application.length() > MAX || !application.matches("(application_|spark-|local-|app-)[A-Za-z0-9_-]*")) {
            throw Failure.input("a Spark application's id begins with application_, app-, spark- or local-");
        }
        return new Scope("spark", application);
    }

    /**
     * The key of one write. The same inputs give the same key in every process, on every machine and in every language.
     *
     * @param operation what is done, such as {@code insert order}
     * @param record to which record
     * @return the key
     */
    public Key key(String operation, Record record) {
        MessageDigest hash = sha256();
        for (String field : new String[] {VERSION, kind, text, operation}) {
            add(hash, field.getBytes(StandardCharsets.UTF_8));
        }
        record.addTo(hash);
        return new Key(hash.digest());
    }

    /**
     * The key of one write to a record with a business key: {@link Record#of(Object...)}.
     *
     * @param operation what is done
     * @param parts the record's business key, of one part or several
     * @return the key
     * @throws PinlinkConfigException for a part that has no one text
     */
    public Key key(String operation, Object... parts) throws PinlinkConfigException {
        return key(operation, Record.of(parts));
    }

    /** Adds a field behind its length, so that no two inputs run into each other. */
    static void add(MessageDigest hash, byte[] field) {
        hash.update(ByteBuffer.allocate(Long.BYTES).putLong(0, field.length));
        hash.update(field);
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            // Every JVM must have it.
            throw new AssertionError(impossible);
        }
    }

    @Override
    public String toString() {
        return "Scope(" + kind + " \"" + text + "\")";
    }
}
