package io.github.pinlink;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;

/**
 * Many writes in one request whose answer tells of each: only the failed ones are sent again, each under its own key.
 * Immutable.
 *
 * <pre>{@code
 * Batch batch = Batch.elasticsearch("https://es.example:9200/_bulk", "orders");
 * for (Order order : orders) {
 *     batch = batch.item(scope.key("index order", order.id()), order.json());
 * }
 * for (Result<Written> outcome : client.writeBatch(batch)) {
 *     use(outcome);
 * }
 * }</pre>
 */
public final class Batch {
    /** What the first byte says: see {@code jni/src/writes.rs}. */
    private static final byte IS_COMPOSED = 0;
    private static final byte IS_BULK = 1;

    private final String url;
    private final String index;
    private final Function<List<Item>, Request> composes;
    private final Function<Response, List<Fate>> reads;
    private final Duration memory;
    /** Shared with the batches that this one was made of, which see no more than their own. */
    private final List<Item> items;
    private final int size;

    private Batch(
            String url,
            String index,
            Function<List<Item>, Request> composes,
            Function<Response, List<Fate>> reads,
            Duration memory,
            List<Item> items) {
        this.url = url;
        this.index = index;
        this.composes = composes;
        this.reads = reads;
        this.memory = memory;
        this.items = items;
        size = items.size();
    }

    /** One item: its key and what is written. */
    public static final class Item {
        private final Key key;
        private final byte[] body;

        Item(Key key, byte[] body) {
            this.key = key;
            this.body = body;
        }

        /**
         * The key that the item is written under.
         *
         * @return the key
         */
        public Key key() {
            return key;
        }

        /**
         * What is written.
         *
         * @return a copy of the bytes
         */
        public byte[] body() {
            return body.clone();
        }

        /**
         * What is written, as UTF-8.
         *
         * @return the text
         */
        public String text() {
            return new String(body, StandardCharsets.UTF_8);
        }
    }

    /** What became of one item, as its answer has it. */
    public static final class Fate {
        private final Meaning meaning;
        private final int status;

        private Fate(Meaning meaning, int status) {
            this.meaning = meaning;
            this.status = status;
        }

        /**
         * What became of one item.
         *
         * @param meaning what the answer says of it; {@link Meaning#EXISTS} counts as done, since items go by their
         *     keys
         * @param status the item's own status, as the target has it
         * @return the fate
         */
        public static Fate of(Meaning meaning, int status) {
            if (status < 0 || status > 65535) {
                throw new IllegalArgumentException("no status is " + status);
            }
            return new Fate(Objects.requireNonNull(meaning, "meaning"), status);
        }

        Meaning meaning() {
            return meaning;
        }

        int status() {
            return status;
        }
    }

    /**
     * {@code _bulk} of Elasticsearch and OpenSearch, one {@code create} for each item, whose document's id is its key:
     * an item is a JSON document without a line feed.
     *
     * @param url where it goes
     * @param index the index that the documents are put into
     * @return a batch without items
     */
    public static Batch elasticsearch(String url, String index) {
        Objects.requireNonNull(url, "url");
        return new Batch(url, Objects.requireNonNull(index, "index"), null, null, null, new ArrayList<>());
    }

    /**
     * A batch of a target's own making. Both functions may be called on a thread of the client's, and must not make
     * calls of their own.
     *
     * @param composes makes the request of some of the items, with their keys in it; it can be neither signed nor a
     *     stream
     * @param reads finds the items' fates in the answer, one for each, in their order; null where it can't be
     *     understood
     * @return a batch without items
     */
    public static Batch of(Function<List<Item>, Request> composes, Function<Response, List<Fate>> reads) {
        Objects.requireNonNull(composes, "composes");
        return new Batch(null, null, composes, Objects.requireNonNull(reads, "reads"), null, new ArrayList<>());
    }

    /**
     * Adds an item.
     *
     * @param key its key
     * @param body what is written
     * @return the batch with it
     */
    public Batch item(Key key, byte[] body) {
        Item item = new Item(Objects.requireNonNull(key, "key"), body.clone());
        List<Item> all;
        synchronized (items) {
            // The usual way adds to the batch that was made last: nothing is copied.
            all = items.size() == size ? items : new ArrayList<>(items.subList(0, size));
            all.add(item);
            return new Batch(url, index, composes, reads, memory, all);
        }
    }

    /**
     * Adds an item.
     *
     * @param key its key
     * @param body what is written, as UTF-8
     * @return the batch with it
     */
    public Batch item(Key key, String body) {
        return item(key, body.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * How long the target remembers the items' keys; the default is 24 hours, and for ever for Elasticsearch. After
     * that, less a margin, nothing is sent again.
     *
     * @param memory how long
     * @return the batch that knows
     */
    public Batch memory(Duration memory) {
        synchronized (items) {
            return new Batch(url, index, composes, reads, memory, new ArrayList<>(items.subList(0, size)));
        }
    }

    int size() {
        return size;
    }

    /** As many as a number holds: what is longer is for ever. */
    private static long milliseconds(Duration memory) {
        try {
            return memory.toMillis();
        } catch (ArithmeticException forEver) {
            return memory.isNegative() ? -1 : Long.MAX_VALUE;
        }
    }

    Packet pack(Packet packet) {
        if (composes == null) {
            packet.put(IS_BULK).put(url).put(index);
        } else {
            packet.put(IS_COMPOSED).attach(new Callback.Composing(composes, reads));
        }
        packet.put(memory == null ? -1 : milliseconds(memory)).put(size);
        synchronized (items) {
            for (Item item : items.subList(0, size)) {
                packet.put(item.key.bytes()).put(item.body);
            }
        }
        return packet;
    }

    @Override
    public String toString() {
        return "Batch(" + size + " items)";
    }
}
