package io.github.pinlink.maxcompute;

import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.udf.ExecutionContext;
import io.github.pinlink.Client;
import io.github.pinlink.PinSet;
import io.github.pinlink.PinlinkConfigException;
import io.github.pinlink.PinlinkException;
import io.github.pinlink.Scope;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * What a node of a job knows of itself: whose writes it makes, how long a call may take, which attempt it is.
 *
 * <pre>{@code
 * public void setup(ExecutionContext context) throws IOException {
 *     scope = Job.scope(context);
 *     client = Job.client(context).hosts("https://kms.example").buildShared();
 * }
 * }</pre>
 */
public final class Job {
    /**
     * Where a job's submitter leaves the job's key: {@code conf.set(Job.KEY, "orders of 2026-11-22")} for a
     * MapReduce job.
     */
    public static final String KEY = "io.github.pinlink.job";

    /** How many seconds one call of the platform's into user code may take: its name, and its newer name. */
    private static final String[] LIMITS = {"odps.function.timeout", "odps.sql.udf.timeout"};
    /** The least of the defaults that are documented. */
    private static final long DEFAULT_LIMIT = 600;
    private static final long LEAST_LIMIT = 1;
    private static final long GREATEST_LIMIT = 3600;

    private Job() {}

    /**
     * Whose writes these are: the job's key where the configuration has one under {@link #KEY}, else the instance,
     * which re-runs and backup workers share. Stage, worker and attempt never enter it.
     *
     * @param context as {@code setup} gets it
     * @return the scope
     * @throws PinlinkConfigException where there is neither, as in the platform's local runners
     */
    public static Scope scope(ExecutionContext context) throws PinlinkConfigException {
        return scope(context, configuration(context).getProperty(KEY));
    }

    /**
     * As {@link #scope(ExecutionContext)}, for a job whose key the caller has: an argument of the function, a line of
     * a resource. It is the better one, since it also survives a job that is submitted again.
     *
     * @param context as {@code setup} gets it
     * @param key the same text for every execution of the job, such as {@code orders of 2026-11-22}; null where there
     *     is none, and the instance has to do
     * @return the scope
     * @throws PinlinkConfigException where there is neither, or the key is no key: empty, too long, or with a place
     *     holder such as <code>${bizdate}</code> that the scheduler has not filled
     */
    public static Scope scope(ExecutionContext context, String key) throws PinlinkConfigException {
        if (key != null) {
            return named(key);
        }
        String instance = known(() -> context.getInstanceID());
        if (instance == null) {
            throw new PinlinkConfigException("this context has no instance id, as in the local runners: give the job "
                    + "a key instead, the same for every execution: Job.scope(context, \"orders of 2026-11-22\")");
        }
        return Scope.instance(instance);
    }

    /**
     * Whose writes these are: the key that the job's submitter has set under {@link #KEY}. A MapReduce task has no
     * instance id.
     *
     * @param context as {@code setup} gets it
     * @return the scope
     * @throws PinlinkConfigException where there is no key, or one that is none
     */
    public static Scope scope(TaskContext context) throws PinlinkConfigException {
        String key = context.getJobConf().get(KEY);
        if (key == null) {
            throw new PinlinkConfigException("a MapReduce task has no instance id: give the job a key where it is "
                    + "submitted, the same for every execution: conf.set(Job.KEY, \"orders of 2026-11-22\")");
        }
        return named(key);
    }

    private static Scope named(String key) throws PinlinkConfigException {
        // Every day's job would have the same key.
        if (key.contains("${")) {
            throw new PinlinkConfigException("the job's key has a place holder that nobody has filled");
        }
        return Scope.job(key);
    }

    /**
     * Which attempt this is, as far as the platform tells: {@code instance 20261122060110436gskmgc; stage M1_Stg1;
     * worker 3; retry 1; backup 0}.
     *
     * <p>For the target's access log, which is where twins are told apart: {@code request.header("user-agent",
     * "my-functions (" + Job.attempt(context) + ")")}. Not for keys and scopes, which it would make different for
     * every attempt; and not for options, which have to be the same for all who share a client.
     *
     * @param context as {@code setup} gets it
     * @return text of one line that a header may hold
     */
    public static String attempt(ExecutionContext context) {
        List<String> parts = new ArrayList<>();
        add(parts, "instance", known(() -> context.getInstanceID()));
        add(parts, "stage", known(() -> context.getStageID()));
        add(parts, "worker", known(() -> context.getWorkerID()));
        add(parts, "retry", known(() -> context.getRetryCount()));
        add(parts, "backup", known(() -> context.getBackupWorkerID()));
        return String.join("; ", parts);
    }

    /**
     * Which task this is: {@code task M_000003}. The platform tells a MapReduce task no more.
     *
     * @param context as {@code setup} gets it
     * @return text of one line that a header may hold
     */
    public static String attempt(TaskContext context) {
        return "task " + context.getTaskID();
    }

    private static void add(List<String> parts, String name, String value) {
        if (value != null) {
            parts.add(name + " " + value);
        }
    }

    /** What an older platform has no method for is not known; a method reference would be linked too early for that. */
    private static String known(Supplier<String> told) {
        try {
            return told.get();
        } catch (LinkageError older) {
            return null;
        }
    }

    private static String known(IntSupplier told) {
        return known(() -> {
            int value = told.getAsInt();
            return value < 0 ? null : Integer.toString(value);
        });
    }

    /**
     * How long a call may take at most: nine tenths of {@code odps.function.timeout}, so that a call fails with a
     * reason before the platform kills its worker. {@link Alive} starts the platform's clock anew between calls.
     *
     * @param context as {@code setup} gets it
     * @return the option {@code timeout} of {@link #client(ExecutionContext)}
     * @throws PinlinkConfigException where the platform's setting is no number of seconds from 1 to 3600
     */
    public static Duration timeout(ExecutionContext context) throws PinlinkConfigException {
        return limit(context).multipliedBy(9).dividedBy(10);
    }

    /**
     * As {@link #timeout(ExecutionContext)}.
     *
     * @param context as {@code setup} gets it
     * @return the option {@code timeout} of {@link #client(TaskContext)}
     * @throws PinlinkConfigException where the platform's setting is no number of seconds from 1 to 3600
     */
    public static Duration timeout(TaskContext context) throws PinlinkConfigException {
        return limit(context).multipliedBy(9).dividedBy(10);
    }

    static Duration limit(ExecutionContext context) throws PinlinkConfigException {
        return limit(configuration(context)::getProperty);
    }

    static Duration limit(TaskContext context) throws PinlinkConfigException {
        return limit(context.getJobConf()::get);
    }

    /** The least of what is set. */
    private static Duration limit(UnaryOperator<String> configuration) throws PinlinkConfigException {
        Duration limit = null;
        for (String name : LIMITS) {
            String text = configuration.apply(name);
            if (text != null) {
                Duration seconds = seconds(name, text);
                limit = limit == null || seconds.compareTo(limit) < 0 ? seconds : limit;
            }
        }
        return limit == null ? Duration.ofSeconds(DEFAULT_LIMIT) : limit;
    }

    private static Duration seconds(String name, String text) throws PinlinkConfigException {
        try {
            long seconds = Long.parseLong(text.trim());
            if (LEAST_LIMIT <= seconds && seconds <= GREATEST_LIMIT) {
                return Duration.ofSeconds(seconds);
            }
        } catch (NumberFormatException none) {
            // Told below.
        }
        throw new PinlinkConfigException(name + " is no number of seconds from 1 to 3600");
    }

    /**
     * Begins a client with what the job says: {@code timeout} as above, the summary to stderr, where Logview shows
     * it, and the options of the configuration ({@code pinlink.*}). What is set on the builder afterwards wins.
     *
     * @param context as {@code setup} gets it
     * @return a builder
     * @throws PinlinkConfigException as {@link #timeout(ExecutionContext)}
     */
    public static Client.Builder client(ExecutionContext context) throws PinlinkConfigException {
        return client(timeout(context)).options(configuration(context));
    }

    /**
     * As {@link #client(ExecutionContext)}, of the job's configuration.
     *
     * @param context as {@code setup} gets it
     * @return a builder
     * @throws PinlinkConfigException as {@link #timeout(TaskContext)}
     */
    public static Client.Builder client(TaskContext context) throws PinlinkConfigException {
        Properties configuration = new Properties();
        for (Map.Entry<String, String> entry : context.getJobConf()) {
            configuration.setProperty(entry.getKey(), entry.getValue());
        }
        return client(timeout(context)).options(configuration);
    }

    private static Client.Builder client(Duration timeout) {
        return Client.builder().timeout(timeout).summary("stderr");
    }

    private static Properties configuration(ExecutionContext context) {
        Properties configuration = context.getConfigurations();
        return configuration == null ? new Properties() : configuration;
    }

    /**
     * Reads a pin set that was shipped with the job ({@code ADD FILE pins.json}).
     *
     * @param context as {@code setup} gets it
     * @param resource the resource's name
     * @return the pin set
     * @throws PinlinkException where it is no pin set, or the native library can't be loaded
     * @throws IOException where the resource can't be read
     */
    public static PinSet pins(ExecutionContext context, String resource) throws IOException {
        return pins(context.readResourceFileAsStream(resource));
    }

    /**
     * As {@link #pins(ExecutionContext, String)}.
     *
     * @param context as {@code setup} gets it
     * @param resource the resource's name
     * @return the pin set
     * @throws PinlinkException where it is no pin set, or the native library can't be loaded
     * @throws IOException where the resource can't be read
     */
    public static PinSet pins(TaskContext context, String resource) throws IOException {
        return pins(context.readResourceFileAsStream(resource));
    }

    private static PinSet pins(InputStream resource) throws IOException {
        try (InputStream in = resource) {
            ByteArrayOutputStream text = new ByteArrayOutputStream();
            byte[] piece = new byte[4096];
            for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                text.write(piece, 0, got);
            }
            return PinSet.parse(new String(text.toByteArray(), StandardCharsets.UTF_8));
        }
    }
}
