package example;

import io.github.pinlink.Client;
import io.github.pinlink.Key;
import io.github.pinlink.PinSet;
import io.github.pinlink.PinlinkException;
import io.github.pinlink.Profile;
import io.github.pinlink.Record;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import io.github.pinlink.Scope;
import io.github.pinlink.Write;
import io.github.pinlink.Written;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;

/**
 * What happens to a partition: its rows are asked about and stored, a batch at a time.
 *
 * <p>Spark executes a partition again when its executor is lost, and twice at once when it speculates. So a key is made
 * of what every execution knows alike: the application or the job's own name, what is done, and the row's business key;
 * for what has none, the partition's number and a place in it. Attempt numbers, executors and times differ; the
 * stage's number differs between two actions over the same rows. Those go into a header, for whoever reads logs.
 */
final class Enrichment implements FlatMapFunction<Iterator<Long>, String> {
    private static final long serialVersionUID = 1;
    /** How many rows are under way at once, at most. */
    private static final int BATCH = 16;

    private final HashMap<String, String> options;
    private final Broadcast<String> pins;
    private final String application;
    private final String job;
    private final String source;
    private final String store;

    Enrichment(
            HashMap<String, String> options,
            Broadcast<String> pins,
            String application,
            String job,
            String source,
            String store) {
        this.options = options;
        this.pins = pins;
        this.application = application;
        this.job = job;
        this.source = source;
        this.store = store;
    }

    @Override
    public Iterator<String> call(Iterator<Long> rows) throws PinlinkException {
        return new Task(rows);
    }

    /** One execution. It reads on only when what it has is asked for. */
    private final class Task implements Iterator<String> {
        private final Iterator<Long> rows;
        private final Client client;
        private final Scope scope;
        private final int partition;
        private final String attempt;
        private Iterator<String> done = Collections.emptyIterator();
        private long count;
        private boolean isReported;

        private Task(Iterator<Long> rows) throws PinlinkException {
            this.rows = rows;
            // The executor's first task builds it; it lives as long as the executor.
            client = Client.builder().options(options).pinSet(PinSet.parse(pins.value())).buildShared();
            scope = job == null ? Scope.spark(application) : Scope.job(job);
            TaskContext task = TaskContext.get();
            partition = task.partitionId();
            attempt = "executor=" + SparkEnv.get().executorId() + " stage=" + task.stageId() + "."
                    + task.stageAttemptNumber() + " partition=" + partition + " attempt=" + task.attemptNumber();
        }

        @Override
        public boolean hasNext() {
            try {
                if (!done.hasNext() && rows.hasNext()) {
                    done = batch();
                }
                if (!done.hasNext() && !isReported) {
                    report();
                }
                return done.hasNext();
            } catch (IOException failure) {
                // The task fails, and Spark executes it again: what is written by then has its key.
                throw new UncheckedIOException(failure);
            }
        }

        @Override
        public String next() {
            return done.next();
        }

        private Iterator<String> batch() throws IOException {
            List<Long> batch = new ArrayList<>();
            List<Request> questions = new ArrayList<>();
            while (batch.size() < BATCH && rows.hasNext()) {
                batch.add(rows.next());
                questions.add(Request.get(source + batch.get(batch.size() - 1)).header("x-task", attempt));
            }
            List<Result<Response>> answers = client.sendAll(questions);
            List<Write> writes = new ArrayList<>();
            for (int i = 0; i < batch.size(); i++) {
                Response answer = answers.get(i).value();
                if (!answer.isSuccess()) {
                    throw new IOException("row " + batch.get(i) + ": status " + answer.status());
                }
                writes.add(write(store + batch.get(i), answer.body(), scope.key("store row", batch.get(i))));
            }
            List<Result<Written>> written = client.writeAll(writes);
            List<String> lines = new ArrayList<>();
            for (int i = 0; i < batch.size(); i++) {
                String text = answers.get(i).value().text();
                lines.add(batch.get(i) + "\t" + text + "\t" + written.get(i).value().outcome());
            }
            count += batch.size();
            return lines.iterator();
        }

        /** No row's business key says which report this is: its place in the job does. */
        private void report() throws PinlinkException {
            byte[] body = ("{\"rows\":" + count + "}").getBytes(StandardCharsets.UTF_8);
            Key key = scope.key("report", Record.chunk(partition, 0));
            client.write(write(store + "partition-" + partition, body, key));
            isReported = true;
        }

        private Write write(String url, byte[] body, Key key) {
            return Write.of(Request.post(url).header("x-task", attempt).body(body), key, Profile.idempotencyKey());
        }
    }
}
