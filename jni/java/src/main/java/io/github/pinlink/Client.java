package io.github.pinlink;

import java.net.Socket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import javax.net.SocketFactory;

/**
 * A client: resolved, pinned, pooled, bounded. Build one per process and keep it; it is safe to share between threads.
 *
 * <p>A call runs on the calling thread down to the socket; a virtual thread would hold its carrier meanwhile, so that
 * one uses {@link #sendAsync(Request)}. {@link Thread#interrupt()} ends it with an exception of {@link
 * Kind#CANCELED}; the thread's interrupt flag stays set, and every further call fails at once until it is cleared
 * ({@link Thread#interrupted()}).
 *
 * <pre>{@code
 * try (Client client = Client.builder().hosts("https://kms.example").maxConnections(8).build()) {
 *     Response answer = client.send(Request.get("https://kms.example/keys/7"));
 *     use(answer.status(), answer.text());
 * }
 * }</pre>
 */
public final class Client implements AutoCloseable {
    private final long handle;
    private final boolean isShared;

    private Client(long handle, boolean isShared) {
        this.handle = handle;
        this.isShared = isShared;
    }

    /**
     * Starts with the defaults of every option.
     *
     * @return a builder
     */
    public static Builder builder() {
        return new Builder();
    }

    /**
     * The client that everybody in this process shares: {@link Builder#buildShared()} with these options.
     *
     * @param properties options under {@code pinlink.*} or {@code spark.pinlink.*}; other names are passed over
     * @return the shared client
     * @throws PinlinkException as {@link Builder#buildShared()}
     */
    public static Client shared(Map<String, String> properties) throws PinlinkException {
        return builder().options(properties).buildShared();
    }

    /**
     * Sends one request and reads its answer, on this thread.
     *
     * <p>A status of 400 or more is an answer, not an exception. Requests that may be repeated are, within the
     * options {@code max_attempts} and {@code retry_budget}; a {@code POST} or {@code PATCH} without {@code
     * Idempotency-Key} never is once a byte of it may have left.
     *
     * @param request what goes out
     * @return what comes back
     * @throws PinlinkException of every {@link Kind}; {@link PinlinkException#delivery()} says whether the target may
     *     have seen the request
     */
    public Response send(Request request) throws PinlinkException {
        begin();
        Packet packet = Packet.lend();
        try {
            byte[] body = request.packInto(packet);
            int got = Native.send(
                    handle, packet.address(), packet.length(), packet.capacity(), body, packet.attachments());
            byte[] answer = got == Native.IN_A_SLOT ? Native.rest(packet.slot()) : packet.copy(got);
            return Response.unpack(answer);
        } catch (PinlinkException failure) {
            throw packet.explain(failure);
        } finally {
            packet.giveBack();
        }
    }

    /**
     * Sends one request without waiting for its answer: the way of virtual threads, and of many calls at once over
     * HTTP/2.
     *
     * <p>The future is completed on a daemon thread of the process's pinlink, with the caller's context class loader
     * where no sandbox forbids it. What depends on it there may block, for another future too: other threads tell the
     * ends that come meanwhile. They are 64 at most, and where as many block, further ends wait for one of them: long
     * work belongs into the {@code Async} forms ({@code thenApplyAsync}). Canceling the future, or completing it in
     * any other way, ends the call. An answer that can't be given is the future's exception: a {@link
     * PinlinkException}, or the {@link Error} where the JVM has no memory for it.
     *
     * @param request what goes out; a body that is a stream is refused, since it is read on the calling thread
     * @return what comes back
     */
    public CompletableFuture<Response> sendAsync(Request request) {
        Unclosed.closeLost();
        Packet packet = Packet.lend();
        try {
            byte[] body = request.packInto(packet);
            Object[] attachments = packet.attachments();
            Pending<Response> pending = new Pending<>(attachments, Function.identity());
            if (request.hasStream()) {
                pending.completeExceptionally(
                        Failure.input("a stream is read on the calling thread: send it, or give its bytes or file"));
                return pending;
            }
            pending.begun(
                    Native.sendAsync(handle, pending, packet.address(), packet.length(), body, attachments));
            return pending;
        } finally {
            packet.giveBack();
        }
    }

    /**
     * Sends one request and returns when the head of its answer has come; the body is read by the caller, in constant
     * memory.
     *
     * @param request what goes out
     * @return what comes back, a stream that holds a connection until it has ended or is closed
     * @throws PinlinkException as {@link #send(Request)}
     */
    public Answer open(Request request) throws PinlinkException {
        begin();
        Packet packet = request.packWhole(Packet.inArray(512));
        try {
            return new Answer(Native.open(handle, packet.toArray(), packet.attachments()));
        } catch (PinlinkException failure) {
            throw packet.explain(failure);
        }
    }

    /**
     * Writes, and says what became of it: sends again under the same key where an answer is lost or puts it off,
     * waits for a twin that is being processed, and asks where the outcome is not known otherwise. What returns is a
     * write that had its effect, once: now or before.
     *
     * @param write what is written
     * @return how it had its effect
     * @throws PinlinkException whose {@link PinlinkException#outcome()} says whether the write surely had no effect
     *     ({@link Outcome#REJECTED}) or may have had it ({@link Outcome#UNKNOWN}): sending the same write again is
     *     then safe where {@link Write#guarantee()} says so
     */
    public Written write(Write write) throws PinlinkException {
        begin();
        Packet packet = write.pack(Packet.inArray(1024));
        try {
            return new Written(Response.unpack(Native.write(handle, packet.toArray(), packet.attachments())));
        } catch (PinlinkException failure) {
            throw packet.explain(failure);
        }
    }

    /**
     * Writes without waiting, as {@link #write(Write)} does; the future is as that of {@link #sendAsync(Request)}.
     * Canceling it leaves the outcome unknown.
     *
     * @param write what is written; a body that is a stream is refused, since it is read on the calling thread
     * @return how it had its effect
     */
    public CompletableFuture<Written> writeAsync(Write write) {
        Unclosed.closeLost();
        Packet packet = write.pack(Packet.inArray(1024));
        Object[] attachments = packet.attachments();
        Pending<Written> pending = new Pending<>(attachments, Written::new);
        if (write.hasStream()) {
            pending.completeExceptionally(
                    Failure.input("a stream is read on the calling thread: write it, or give its bytes or file"));
        } else {
            pending.begun(Native.writeAsync(handle, pending, packet.toArray(), attachments));
        }
        return pending;
    }

    /**
     * Writes many, as many at once as there may be connections, and returns an outcome for each, in their order. The
     * option {@code timeout} bounds them all together.
     *
     * @param writes what is written
     * @return an outcome for each
     * @throws PinlinkException where none was sent: the client is closed, or the thread was interrupted before
     */
    public List<Result<Written>> writeAll(List<Write> writes) throws PinlinkException {
        begin();
        Packet packet = Packet.inArray(1024).put(writes.size());
        int[] objects = new int[writes.size() + 1];
        int row = 0;
        for (Write write : writes) {
            write.pack(packet);
            objects[++row] = packet.attached();
            if (row == 1) {
                packet.expectRows(writes.size() - 1);
            }
        }
        byte[] first = Native.writeAll(handle, packet.array(), packet.length(), packet.attachments());
        return explained(rows(first, writes.size(), Written::new), packet, objects);
    }

    /**
     * Writes many in one request, and sends again only those items that failed; an outcome for each, in their order.
     * What {@code composes} or {@code reads} throws is the cause of the outcomes that came of it.
     *
     * @param batch what is written
     * @return an outcome for each item
     * @throws PinlinkException where none was sent: the client is closed, or the thread was interrupted before
     */
    public List<Result<Written>> writeBatch(Batch batch) throws PinlinkException {
        begin();
        Packet packet = batch.pack(Packet.inArray(1024));
        List<Result<Written>> rows = rows(
                Native.writeBatch(handle, packet.array(), packet.length(), packet.attachments()),
                batch.size(),
                Written::new);
        for (Result<Written> row : rows) {
            if (!row.isOk()) {
                packet.explain(row.failure());
            }
        }
        return rows;
    }

    /**
     * Sends many requests, as many at once as there may be connections, and returns an outcome for each, in their
     * order. One failing row fails no other. The option {@code timeout} bounds them all together.
     *
     * <p>Small answers lie in blocks of 256 KiB: whoever keeps one answer keeps its block. A row for whose answer the
     * JVM has no memory fails by itself.
     *
     * @param requests what goes out
     * @return an outcome for each
     * @throws PinlinkException where none was sent: the client is closed, or the thread was interrupted before
     */
    public List<Result<Response>> sendAll(List<Request> requests) throws PinlinkException {
        begin();
        Packet packet = Packet.inArray(512).put(requests.size());
        int[] objects = new int[requests.size() + 1];
        int row = 0;
        for (Request request : requests) {
            request.packWhole(packet);
            objects[++row] = packet.attached();
            if (row == 1) {
                packet.expectRows(requests.size() - 1);
            }
        }
        byte[] first = Native.sendAll(handle, packet.array(), packet.length(), packet.attachments());
        return explained(rows(first, requests.size(), Function.identity()), packet, objects);
    }

    /** Each failed row with what its own callbacks threw; {@code objects} says where those of a row begin. */
    private static <T> List<Result<T>> explained(List<Result<T>> rows, Packet packet, int[] objects) {
        for (int row = 0; row < rows.size(); row++) {
            if (!rows.get(row).isOk()) {
                packet.explain(rows.get(row).failure(), objects[row], objects[row + 1]);
            }
        }
        return rows;
    }

    /**
     * The outcomes of a batch, out of as many blocks as there are. Rows that no block tells of fail; those that are
     * there stay what they are.
     */
    private static <T> List<Result<T>> rows(byte[] first, int count, Function<Response, T> made)
            throws PinlinkException {
        List<Result<T>> rows = new ArrayList<>(count);
        Unpacking block = Unpacking.value(first);
        while (true) {
            long slot = block.longer();
            for (int left = block.integer(); left > 0; left--) {
                rows.add(block.row(made));
            }
            if (slot == 0) {
                return rows;
            }
            try {
                block = Unpacking.value(Native.moreRows(slot));
            } catch (PinlinkException lost) {
                while (rows.size() < count) {
                    rows.add(Result.failed(lost));
                }
                return rows;
            }
        }
    }

    /**
     * A connection to a declared {@code tcp://host:port}, for protocols that are not HTTP: pinned, raced, and counted
     * against the caps until it is closed. It keeps the host's name, so that TLS over it verifies that one.
     *
     * @param host a declared host
     * @param port its port
     * @return the socket, connected; a thread that waits on it and is interrupted closes it
     * @throws PinlinkException as {@link #send(Request)} for what was not sent; of {@link Kind#POLICY} for a host
     *     that is not declared
     */
    public Socket connect(String host, int port) throws PinlinkException {
        // Not here: whoever has no sockets would load their classes when this one is verified.
        return PinnedSockets.connected(this, host, port);
    }

    /**
     * Makes sockets as {@link #connect(String, int)} does, for drivers that take a factory.
     *
     * @return the factory, whose sockets are connected by whoever asks for them
     */
    public SocketFactory socketFactory() {
        return PinnedSockets.of(this, null, 0);
    }

    /**
     * Makes sockets that are connected when they are made, for drivers that look names up themselves and take a
     * factory.
     *
     * @param host a declared host, which all of them are connected to
     * @param port its port
     * @return the factory
     */
    public SocketFactory socketFactory(String host, int port) {
        return PinnedSockets.of(this, host, port);
    }

    /** Connects a native socket; answers with both ends' addresses. */
    byte[] connect(long socket, byte[] packet) throws PinlinkException {
        begin();
        return Native.connect(handle, socket, packet);
    }

    /**
     * What is pinned now.
     *
     * @return a copy
     * @throws PinlinkException where the client is closed
     */
    public PinSet pins() throws PinlinkException {
        return PinSet.unpack(Unpacking.value(Native.pins(handle)));
    }

    /**
     * Replaces the addresses of a declared host. Idle connections to addresses that are gone are closed now, busy
     * ones when their exchange ends.
     *
     * @param host a declared host
     * @param addresses its IP addresses from now on
     * @throws PinlinkException for a host without a pin, a refused address, or none
     */
    public void repin(String host, String... addresses) throws PinlinkException {
        Packet packet = Packet.inArray(256).put(host).put(addresses.length);
        for (String address : addresses) {
            packet.put(address);
        }
        Unpacking.value(Native.repin(handle, packet.toArray()));
    }

    /**
     * Whether this is the client that everybody in this process shares, whose {@link #stats()} are of all of them.
     *
     * @return true where it came from {@link Builder#buildShared()} or {@link #shared(Map)}
     */
    public boolean isShared() {
        return isShared;
    }

    /**
     * What this client has done in this process.
     *
     * @return its counters now
     * @throws PinlinkException where the client is closed
     */
    public Stats stats() throws PinlinkException {
        return Stats.unpack(Unpacking.value(Native.stats(handle)));
    }

    /**
     * Looks at the way to each declared origin, from where this client is: with its options, and the pins that it has
     * now. Wildcards are passed over. It takes at most some tens of seconds for eight targets.
     *
     * @return what was found, of the targets and of this machine
     * @throws PinlinkException where the client is closed, or the thread is interrupted
     */
    public Diagnosis doctor() throws PinlinkException {
        begin();
        byte[] facts = packFacts(Packet.inArray(1024)).toArray();
        return Diagnosis.unpack(Unpacking.value(Native.doctor(handle, facts)));
    }

    private static Packet packFacts(Packet packet) {
        List<Diagnosis.Fact> facts = Host.facts();
        packet.put(facts.size());
        for (Diagnosis.Fact fact : facts) {
            packet.put(fact.name()).put(fact.verdict().toString()).put(fact.value());
        }
        return packet;
    }

    /**
     * What comes before a call on this thread. What was interrupted before it began is not begun: a call on a warm
     * connection would not notice.
     */
    private static void begin() throws PinlinkException {
        Unclosed.closeLost();
        if (Thread.currentThread().isInterrupted()) {
            throw Failure.of(Reason.CANCELED, "the calling thread was interrupted before the call");
        }
    }

    /**
     * Closes idle connections and fails every later call with {@link Kind#CLOSED}; calls under way end as usual. The
     * summary is written once, where the option {@code summary} says. Closing again does nothing.
     */
    @Override
    public void close() {
        Native.close(handle);
    }

    /** Sets options and builds a {@link Client}. A mistake comes back from {@link #build()}. */
    public static final class Builder {
        private static final String PREFIX = "pinlink.";
        private static final String SPARK_PREFIX = "spark.pinlink.";

        private final Map<String, String> options = new LinkedHashMap<>();
        private String library;
        private PinSet pins;

        private Builder() {}

        /**
         * Sets one option by its name and text, as properties and files do.
         *
         * @param name the option's name, such as {@code max_connections}; the prefixes {@code pinlink.} and
         *     {@code spark.pinlink.} are allowed
         * @param value its value as text, with its unit where it has one
         * @return this builder
         */
        public Builder option(String name, String value) {
            Objects.requireNonNull(value, name);
            String bare = name.startsWith(SPARK_PREFIX) ? name.substring(SPARK_PREFIX.length())
                    : name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
            if (bare.equals("library")) {
                return library(value);
            }
            options.put(bare, value);
            return this;
        }

        /**
         * Sets every option whose name begins with {@code pinlink.} or {@code spark.pinlink.}; other names are passed
         * over.
         *
         * @param properties names and values, of a job's configuration for instance
         * @return this builder
         */
        public Builder options(Map<String, String> properties) {
            for (Map.Entry<String, String> property : properties.entrySet()) {
                if (property.getKey().startsWith(PREFIX) || property.getKey().startsWith(SPARK_PREFIX)) {
                    option(property.getKey(), property.getValue());
                }
            }
            return this;
        }

        /**
         * As {@link #options(Map)}, the properties' defaults included.
         *
         * @param properties names and values
         * @return this builder
         */
        public Builder options(Properties properties) {
            for (String name : properties.stringPropertyNames()) {
                if (name.startsWith(PREFIX) || name.startsWith(SPARK_PREFIX)) {
                    option(name, properties.getProperty(name));
                }
            }
            return this;
        }

        /**
         * Names the native library: the file, or the folder in which it lies. The property {@code pinlink.library}
         * does the same. It counts for the first client of a class loader; without it the library is looked for in
         * the working directory and then taken from the jar. From Java 24 on the JVM warns of native code unless it
         * is started with {@code --enable-native-access=ALL-UNNAMED}.
         *
         * @param path the file or its folder
         * @return this builder
         */
        public Builder library(String path) {
            library = path;
            return this;
        }

        /**
         * Imports a pin set that is at hand; {@link #pinSet(String)} names the file of one.
         *
         * @param pins the pin set
         * @return this builder
         */
        public Builder pinSet(PinSet pins) {
            this.pins = pins;
            return this;
        }

        /** In whole milliseconds: the least of every range is one. */
        private static String milliseconds(Duration value) {
            long whole = value.toMillis();
            return value.minusMillis(whole).isZero() ? whole + "ms" : whole + 1 + "ms";
        }

        /**
         * Checks the options, resolves every declared host that has no pin, and makes the client: the only moment
         * that may ask DNS.
         *
         * @return the client
         * @throws PinlinkException of {@link Kind#CONFIG} for a mistake in the options, a pin set or a CA file, or
         *     where the native library can't be loaded; of {@link Kind#POLICY} for an address in a refused range; of
         *     {@link Kind#DNS} with every host that did not resolve within {@code resolve_timeout}
         */
        public Client build() throws PinlinkException {
            return build((byte) 0);
        }

        /**
         * The client that everybody in this process shares who asks with the same options, whichever class loader
         * they come from: the first call builds it. Closing what is returned leaves it to the others and to those who
         * come after.
         *
         * @return the shared client
         * @throws PinlinkException as {@link #build()}; {@link Reason#CONFIG_ALREADY_INIT} where it has other options
         */
        public Client buildShared() throws PinlinkException {
            return build((byte) 1);
        }

        private Client build(byte isShared) throws PinlinkException {
            loadLibrary();
            begin();
            Packet packet = packOptions(Packet.inArray(1024).put(isShared));
            return new Client(Unpacking.value(Native.build(packet.toArray())).longer(), isShared != 0);
        }

        /**
         * Looks at the way to each of these targets, with these options: what a client with them would meet. It is
         * for where nothing works yet, so that even a library that can't be loaded is told of in what it returns.
         *
         * <p>A target is {@code scheme://host[:port]} with the scheme {@code https}, {@code http}, {@code tcp}, {@code
         * mysql}, {@code postgresql}, {@code hologres}, {@code oss}, {@code ots}, {@code kms}, {@code dlf}, {@code
         * hdfs}, {@code hbase} or {@code thrift}, or a bare host for HTTPS; {@code hosts} may be left out. Nothing is
         * sent but a {@code GET /} and the first bytes of PostgreSQL's protocol. It takes at most some tens of seconds
         * for eight targets, as the bounds among the options let it.
         *
         * @param targets what is looked at; with none, the machine alone
         * @return what was found, of the targets and of this machine
         * @throws PinlinkException of {@link Kind#CONFIG} for a mistake in the options or in a target, or where the
         *     thread is interrupted; what is wrong on the way to a target is in what is returned
         */
        public Diagnosis doctor(String... targets) throws PinlinkException {
            Library missing = Library.missing(library);
            if (missing != null) {
                return Diagnosis.withoutLibrary(targets, Host.without(missing));
            }
            begin();
            Packet packet = packFacts(Packet.inArray(1024)).put(targets.length);
            for (String target : targets) {
                packet.put(target);
            }
            return Diagnosis.unpack(Unpacking.value(Native.doctor(0, packOptions(packet).toArray())));
        }

        void loadLibrary() throws PinlinkException {
            Library.load(library);
        }

        Packet packOptions(Packet packet) {
            packet.put(options.size());
            // No lambda on the way to the first client: the JVM's first one costs more than the client.
            for (Map.Entry<String, String> option : options.entrySet()) {
                packet.put(option.getKey()).put(option.getValue());
            }
            return packet.put(pins == null ? "" : pins.toJson());
        }

        /**
         * The declared origins: {@code https://host[:port]}, {@code http://…}, {@code tcp://host:port}, a bare host
         * for HTTPS, or a wildcard {@code https://*.suffix}. Only these are reachable.
         *
         * <p>Unset by default. An egress allow-list, and the list of names to resolve at init.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder hosts(String... values) {
            return option("hosts", String.join(",", values));
        }

        /**
         * Addresses fixed by hand, {@code host=address|address}; they win over every other source and are never
         * looked up.
         *
         * <p>Unset by default. A target whose address is known needs no DNS at all.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder pins(String... values) {
            return option("pins", String.join(",", values));
        }

        /**
         * The file of a pin set, written by {@code pinlink resolve} or by another client.
         *
         * <p>Unset by default. Ten thousand workers start without one query.
         *
         * @param value the path of the file
         * @return this builder
         */
        public Builder pinSet(String value) {
            return option("pin_set", value);
        }

        /**
         * A file in the form of /etc/hosts whose names are pinned as in a pin set.
         *
         * <p>Unset by default. Clusters (HDFS, HBase) often come with one.
         *
         * @param value the path of the file
         * @return this builder
         */
        public Builder hostsFile(String value) {
            return option("hosts_file", value);
        }

        /**
         * Name servers as {@code address[:port]}, asked in this order.
         *
         * <p>Unset by default. Unset: those of /etc/resolv.conf. Public resolvers are never asked, they are out of
         * reach in a job.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder nameservers(String... values) {
            return option("nameservers", String.join(",", values));
        }

        /**
         * Which addresses to look up: {@code ipv4}, {@code ipv6} or {@code both}.
         *
         * <p>Default {@code ipv4}. MaxCompute's network carries IPv4 only; a second query would double the load on
         * its DNS.
         *
         * @param value one of them
         * @return this builder
         */
        public Builder addressFamily(String value) {
            return option("address_family", value);
        }

        /**
         * How long the whole of init may take to resolve every declared host.
         *
         * <p>Default {@code 30s}, from {@code 10ms} to {@code 10m}. A name server that drops queries above 20 a
         * second needs 10 s for 200 workers.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder resolveTimeout(Duration value) {
            return option("resolve_timeout", milliseconds(value));
        }

        /**
         * How long one query waits for its answer before the next server or try.
         *
         * <p>Default {@code 3s}, from {@code 10ms} to {@code 1m}. Slow forwarders take two seconds; a lost packet
         * never comes.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder resolveAttemptTimeout(Duration value) {
            return option("resolve_attempt_timeout", milliseconds(value));
        }

        /**
         * Init waits a random part of this before its first query.
         *
         * <p>Default {@code 0ms}, from {@code 0ms} to {@code 1m}. One process needs none; a job of a thousand workers
         * sets some seconds.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder resolveJitter(Duration value) {
            return option("resolve_jitter", milliseconds(value));
        }

        /**
         * How many names are looked up at once.
         *
         * <p>Default {@code 32}, from {@code 1} to {@code 64}. Fifty names of a slow resolver take two answers' time;
         * hickory takes 32 per connection.
         *
         * @param value how many
         * @return this builder
         */
        public Builder resolveConcurrency(int value) {
            return option("resolve_concurrency", Integer.toString(value));
        }

        /**
         * How long an address that failed is tried after all others.
         *
         * <p>Default {@code 30s}, from {@code 100ms} to {@code 10m}. Long enough to spare each call the wait, short
         * enough to notice a repair.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder sideline(Duration value) {
            return option("sideline", milliseconds(value));
        }

        /**
         * Networks (CIDR) that may be dialled although they lie in a refused range: loopback, link-local, metadata
         * (100.100.100.200 too), unspecified, multicast.
         *
         * <p>Unset by default. A name that resolves there is an attack or a mistake, unless it is meant.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder allowAddresses(String... values) {
            return option("allow_addresses", String.join(",", values));
        }

        /**
         * Dial another host for an origin, {@code host:port:host:port} as curl has it; SNI, {@code Host} and the
         * certificate check keep the first name.
         *
         * <p>Unset by default. Reaches a target through an nginx or a load balancer of the VPC.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder connectTo(String... values) {
            return option("connect_to", String.join(",", values));
        }

        /**
         * Another TLS server name for a host, {@code host=name}; it is sent as SNI and the certificate is checked for
         * it.
         *
         * <p>Unset by default. For targets whose certificate has another name than their URL.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder sni(String... values) {
            return option("sni", String.join(",", values));
        }

        /**
         * Another {@code Host} header for a host, {@code host=value}.
         *
         * <p>Unset by default. For gateways that route by it.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder hostHeader(String... values) {
            return option("host_header", String.join(",", values));
        }

        /**
         * An explicit proxy through which every target is reached, {@code http://[user:password@]host[:port]}
         * (CONNECT) or {@code socks5://…}; it is asked for the pinned address, and its own host is resolved at init.
         * Port 1080 where none is given, as in curl.
         *
         * <p>Unset by default. Networks without a way of their own. The environment's variables are never read: a
         * job's machine may have set any.
         *
         * @param value the URL
         * @return this builder
         */
        public Builder proxy(String value) {
            return option("proxy", value);
        }

        /**
         * A PEM file of CA certificates to trust beside the bundled web roots.
         *
         * <p>Unset by default. Private services have private CAs.
         *
         * @param value the path of the file
         * @return this builder
         */
        public Builder caFile(String value) {
            return option("ca_file", value);
        }

        /**
         * Whether to trust the bundled web roots (Mozilla's list).
         *
         * <p>Default {@code true}. A job's machine may have none of its own.
         *
         * @param value whether
         * @return this builder
         */
        public Builder webRoots(boolean value) {
            return option("web_roots", Boolean.toString(value));
        }

        /**
         * Whether to trust the machine's own roots too.
         *
         * <p>Default {@code false}. They differ from worker to worker.
         *
         * @param value whether
         * @return this builder
         */
        public Builder systemRoots(boolean value) {
            return option("system_roots", Boolean.toString(value));
        }

        /**
         * Turns certificate verification off. Every client built with it warns.
         *
         * <p>Default {@code false}. Never right in production.
         *
         * @param value whether
         * @return this builder
         */
        public Builder dangerAcceptAnyCertificate(boolean value) {
            return option("danger_accept_any_certificate", Boolean.toString(value));
        }

        /**
         * A PEM file with the client's certificate chain, for targets that ask for one.
         *
         * <p>Unset by default. Mutual TLS is how some private services know their callers.
         *
         * @param value the path of the file
         * @return this builder
         */
        public Builder clientCert(String value) {
            return option("client_cert", value);
        }

        /**
         * A PEM file with the key of {@code client_cert}, without a passphrase; unset where that file holds both.
         *
         * <p>Unset by default. There is nobody to type a passphrase.
         *
         * @param value the path of the file
         * @return this builder
         */
        public Builder clientKey(String value) {
            return option("client_key", value);
        }

        /**
         * The protocols offered (ALPN, RFC 7301) by {@code connect_tls}; HTTP has its own.
         *
         * <p>Unset by default. Some databases and gateways choose by it.
         *
         * @param values the elements of the list
         * @return this builder
         */
        public Builder alpn(String... values) {
            return option("alpn", String.join(",", values));
        }

        /**
         * The cap on live connections of this client, all origins together.
         *
         * <p>Default {@code 32}, from {@code 1} to {@code 10000}. The platform's proxy has little forwarding
         * capacity; its documentation asks for few connections.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxConnections(int value) {
            return option("max_connections", Integer.toString(value));
        }

        /**
         * The cap on live connections to one origin.
         *
         * <p>Default {@code 8}, from {@code 1} to {@code 10000}. Eight keep two cores busy; more only queue in the
         * proxy.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxConnectionsPerOrigin(int value) {
            return option("max_connections_per_origin", Integer.toString(value));
        }

        /**
         * The cap of the whole job: each of {@code workers} takes its share, at least one connection.
         *
         * <p>Unset by default, from {@code 1} to {@code 1000000}. Thousands of processes that can't talk to each
         * other share one proxy.
         *
         * @param value how many
         * @return this builder
         */
        public Builder jobConnections(int value) {
            return option("job_connections", Integer.toString(value));
        }

        /**
         * How many processes the job has.
         *
         * <p>Default {@code 1}, from {@code 1} to {@code 1000000}. Divides {@code job_connections}.
         *
         * @param value how many
         * @return this builder
         */
        public Builder workers(int value) {
            return option("workers", Integer.toString(value));
        }

        /**
         * How many callers may wait for a connection to one origin; one more fails at once.
         *
         * <p>Default {@code 1024}, from {@code 0} to {@code 100000}. Nothing queues without end.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxWaiting(int value) {
            return option("max_waiting", Integer.toString(value));
        }

        /**
         * How many connections to each declared origin are made at init, in their order, as far as {@code
         * max_connections} reaches.
         *
         * <p>Default {@code 0}, from {@code 0} to {@code 1000}. Connections are made when they are needed.
         *
         * @param value how many
         * @return this builder
         */
        public Builder prewarm(int value) {
            return option("prewarm", Integer.toString(value));
        }

        /**
         * The total deadline of a call: queue, dial, send, answer and retries.
         *
         * <p>Default {@code 30s}, from {@code 1ms} to {@code 1h}. A UDF's batch must end within
         * odps.function.timeout, by default 600 s for 1024 rows.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder timeout(Duration value) {
            return option("timeout", milliseconds(value));
        }

        /**
         * How long dialling may take, over all addresses.
         *
         * <p>Default {@code 5s}, from {@code 1ms} to {@code 5m}. Two lost SYNs (1 s, 3 s) are survived.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder connectTimeout(Duration value) {
            return option("connect_timeout", milliseconds(value));
        }

        /**
         * How long a TLS handshake may take.
         *
         * <p>Default {@code 5s}, from {@code 1ms} to {@code 5m}. Two round trips and a slow signature are far below
         * it.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder handshakeTimeout(Duration value) {
            return option("handshake_timeout", milliseconds(value));
        }

        /**
         * How long a call waits for a connection.
         *
         * <p>Default {@code 10s}, from {@code 1ms} to {@code 1h}. Longer means the cap is too low for the load.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder acquireTimeout(Duration value) {
            return option("acquire_timeout", milliseconds(value));
        }

        /**
         * A call ends when less than {@code min_progress} moved for this long.
         *
         * <p>Default {@code 15s}, from {@code 1ms} to {@code 1h}. A dead peer sends nothing; a slow one sends
         * something.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder stallTimeout(Duration value) {
            return option("stall_timeout", milliseconds(value));
        }

        /**
         * How much must move, in either direction, within each {@code stall_timeout}.
         *
         * <p>Default {@code 1B}, from {@code 1B} to {@code 1GiB}. A dead peer moves nothing; raise it against peers
         * that drip on purpose.
         *
         * @param value how many bytes
         * @return this builder
         */
        public Builder minProgress(long value) {
            return option("min_progress", value + "B");
        }

        /**
         * After this long without an answer the next address is dialled as well (RFC 8305 section 5).
         *
         * <p>Default {@code 250ms}, from {@code 1ms} to {@code 10s}. One dead address costs a quarter of a second,
         * once.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder raceStagger(Duration value) {
            return option("race_stagger", milliseconds(value));
        }

        /**
         * When TCP keep-alive probes begin on a silent connection, and HTTP/2 sends a PING.
         *
         * <p>Default {@code 30s}, from {@code 1s} to {@code 2h}. Below the idle limit of most proxies and NAT tables
         * (60 s).
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder keepAlive(Duration value) {
            return option("keep_alive", milliseconds(value));
        }

        /**
         * An idle connection is closed after this long.
         *
         * <p>Default {@code 50s}, from {@code 10ms} to {@code 1h}. Most proxies drop at 60 s; closing first costs
         * nothing.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder maxIdle(Duration value) {
            return option("max_idle", milliseconds(value));
        }

        /**
         * A connection is not reused after this long, less up to a tenth at random.
         *
         * <p>Default {@code 10m}, from {@code 10ms} to {@code 24h}. Spreads load again when the target scales.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder maxAge(Duration value) {
            return option("max_age", milliseconds(value));
        }

        /**
         * How often a request that may be repeated is sent at most.
         *
         * <p>Default {@code 3}, from {@code 1} to {@code 10}. A third failure in a row is no accident.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxAttempts(int value) {
            return option("max_attempts", Integer.toString(value));
        }

        /**
         * How many retries each origin may save up; each request adds a fifth of one.
         *
         * <p>Default {@code 20}, from {@code 0} to {@code 10000}. Retries stay below a fifth of the load, whatever
         * fails.
         *
         * @param value how many
         * @return this builder
         */
        public Builder retryBudget(int value) {
            return option("retry_budget", Integer.toString(value));
        }

        /**
         * How many writes are remembered, so that no key goes out with two bodies or after its target has forgotten
         * it; the oldest is dropped.
         *
         * <p>Default {@code 16384}, from {@code 0} to {@code 1000000}. About 100 bytes each, 1.6 MB when full; a
         * batch of a UDF has 1024 rows.
         *
         * @param value how many
         * @return this builder
         */
        public Builder rememberedKeys(int value) {
            return option("remembered_keys", Integer.toString(value));
        }

        /**
         * A write's body that can be read once is kept up to this size, so that it can be sent again; a longer one is
         * sent once.
         *
         * <p>Default {@code 1MiB}, from {@code 0B} to {@code 1GiB}. Most rows fit; the memory is held for as long as
         * the write takes.
         *
         * @param value how many bytes
         * @return this builder
         */
        public Builder maxSpool(long value) {
            return option("max_spool", value + "B");
        }

        /**
         * The ceiling of the first wait between tries; it doubles, and each wait is drawn from zero up to it.
         *
         * <p>Default {@code 50ms}, from {@code 1ms} to {@code 1m}. Full jitter spreads a thousand workers best.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder backoffBase(Duration value) {
            return option("backoff_base", milliseconds(value));
        }

        /**
         * The greatest ceiling of a wait between tries.
         *
         * <p>Default {@code 2s}, from {@code 1ms} to {@code 10m}. A call has 30 s.
         *
         * @param value how long; a fraction of a millisecond counts as a whole one
         * @return this builder
         */
        public Builder backoffMax(Duration value) {
            return option("backoff_max", milliseconds(value));
        }

        /**
         * How many redirects a GET or HEAD follows, within the declared hosts; 0 hands them to the caller.
         * Credentials never go to another origin, and nothing follows from HTTPS to HTTP.
         *
         * <p>Default {@code 0}, from {@code 0} to {@code 20}. An API that redirects is asked at the wrong URL;
         * following is for downloads.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxRedirects(int value) {
            return option("max_redirects", Integer.toString(value));
        }

        /**
         * Whether to ask for compressed answers (gzip, deflate, brotli, zstd) and decode them, within {@code
         * max_body} and a hundredfold of what came.
         *
         * <p>Default {@code false}. Rows are small; where answers are large and text, it saves the proxy's bandwidth.
         *
         * @param value whether
         * @return this builder
         */
        public Builder decode(boolean value) {
            return option("decode", Boolean.toString(value));
        }

        /**
         * The greatest header section of an answer.
         *
         * <p>Default {@code 64KiB}, from {@code 8KiB} to {@code 1MiB}. Real ones are below 16 KiB.
         *
         * @param value how many bytes
         * @return this builder
         */
        public Builder maxHeaders(long value) {
            return option("max_headers", value + "B");
        }

        /**
         * The most header fields of an answer.
         *
         * <p>Default {@code 100}, from {@code 1} to {@code 1000}. Real ones have below 50.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxHeaderCount(int value) {
            return option("max_header_count", Integer.toString(value));
        }

        /**
         * The most interim (1xx) answers before the answer.
         *
         * <p>Default {@code 32}, from {@code 0} to {@code 1000}. A flood of them would cost memory and time without
         * end.
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxInterim(int value) {
            return option("max_interim", Integer.toString(value));
        }

        /**
         * The greatest body of a buffered answer.
         *
         * <p>Default {@code 64MiB}, from {@code 0B} to {@code 2GiB}. A UDF has 1 GiB in all.
         *
         * @param value how many bytes
         * @return this builder
         */
        public Builder maxBody(long value) {
            return option("max_body", value + "B");
        }

        /**
         * How much is kept of the body of a buffered answer with a status of 400 or more; a longer one is cut, and
         * says so.
         *
         * <p>Default {@code 64KiB}, from {@code 0B} to {@code 2GiB}. An explanation is short; a page of HTML for
         * every row fills memory and logs.
         *
         * @param value how many bytes
         * @return this builder
         */
        public Builder maxErrorBody(long value) {
            return option("max_error_body", value + "B");
        }

        /**
         * {@code http1}; {@code http2}: wherever a target agrees (ALPN) over TLS, and without asking over plain TCP;
         * or {@code auto}: HTTP/1.1 for single blocking calls and plain TCP, ALPN for async callers and batches.
         *
         * <p>Default {@code auto}. One request at a time is fastest where the caller drives its connection; many at
         * once over one connection are as fast as over eight.
         *
         * @param value one of them
         * @return this builder
         */
        public Builder protocol(String value) {
            return option("protocol", value);
        }

        /**
         * The most requests at once on one HTTP/2 connection; fewer where the target says so.
         *
         * <p>Default {@code 100}, from {@code 1} to {@code 10000}. What most servers allow (RFC 9113 6.5.2 recommends
         * no less).
         *
         * @param value how many
         * @return this builder
         */
        public Builder maxStreams(int value) {
            return option("max_streams", Integer.toString(value));
        }

        /**
         * The {@code User-Agent} header, where a request has none.
         *
         * <p>Default {@code pinlink/0.1.0}. Operators of targets can tell who calls.
         *
         * @param value the text
         * @return this builder
         */
        public Builder userAgent(String value) {
            return option("user_agent", value);
        }

        /**
         * Where the one-line summary goes at close: {@code log} (a tracing event), {@code stderr} or {@code off}.
         *
         * <p>Default {@code log}. Authors of UDFs see stderr in Logview, others have a log.
         *
         * @param value one of them
         * @return this builder
         */
        public Builder summary(String value) {
            return option("summary", value);
        }
    }
}
