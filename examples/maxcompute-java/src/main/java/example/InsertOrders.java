package example;

import com.aliyun.odps.OdpsException;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.data.TableInfo;
import com.aliyun.odps.mapred.JobClient;
import com.aliyun.odps.mapred.MapperBase;
import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.mapred.conf.JobConf;
import com.aliyun.odps.mapred.utils.InputUtils;
import com.aliyun.odps.mapred.utils.OutputUtils;
import io.github.pinlink.Delivery;
import io.github.pinlink.Outcome;
import io.github.pinlink.PinlinkException;
import io.github.pinlink.Profile;
import io.github.pinlink.Result;
import io.github.pinlink.Scope;
import io.github.pinlink.Write;
import io.github.pinlink.Written;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import io.github.pinlink.maxcompute.Job;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * A MapReduce job that inserts each order of a table ({@code id:string,amount:bigint}) into the service, and writes
 * down what became of it ({@code id:string,outcome:string,error:string}).
 *
 * <p>The platform may run a node twice, at once or one after the other. Every execution derives the same key from the
 * job's key and the order's id, and the service does what has one key once. The job's key survives a job that is
 * submitted again, too.
 */
public final class InsertOrders {
    private InsertOrders() {}

    /** The job of one day. */
    public static JobConf of(String day) {
        JobConf job = new JobConf();
        job.setMapperClass(Insert.class);
        job.setNumReduceTasks(0);
        InputUtils.addTable(TableInfo.builder().tableName("orders").build(), job);
        OutputUtils.addTable(TableInfo.builder().tableName("inserted").build(), job);
        // Whose writes these are: the same for every execution of this day's job.
        job.set(Job.KEY, "orders of " + day);
        // Lets native code in.
        job.set("odps.isolation.session.enable", "true");
        return job;
    }

    /** Submits it. */
    public static void main(String[] arguments) throws OdpsException {
        JobClient.runJob(of(arguments[0]));
    }

    /** Writes in batches. */
    public static final class Insert extends MapperBase {
        private static final int BATCH = 256;

        private final Profile profile = Profile.idempotencyKey();
        private final List<String> ids = new ArrayList<>();
        private final List<Write> writes = new ArrayList<>();
        private Service service;
        private Scope scope;
        private Alive alive;
        private Counters counters;

        @Override
        public void setup(TaskContext context) throws IOException {
            service = Service.of(context);
            scope = Job.scope(context);
            alive = Alive.of(context);
            counters = Counters.of(context, service.client());
        }

        @Override
        public void map(long number, Record order, TaskContext context) throws IOException {
            String id = order.getString("id");
            String json = "{\"amount\":" + order.getBigint("amount") + "}";
            ids.add(id);
            writes.add(Write.of(service.order(id, json), scope.key("insert order", id), profile));
            if (writes.size() == BATCH) {
                write(context);
            }
        }

        private void write(TaskContext context) throws IOException {
            alive.claim();
            int row = 0;
            for (Result<Written> result : service.client().writeAll(writes)) {
                PinlinkException failure = result.failure();
                // A refusal of the target's is a row. Whatever was not sent, or is not known, lets this node fail: it is run
                // again, and writes under the same keys.
                if (failure != null
                        && (failure.delivery() != Delivery.ANSWERED || failure.outcome() == Outcome.UNKNOWN)) {
                    throw failure;
                }
                Record inserted = context.createOutputRecord();
                inserted.setString("id", ids.get(row++));
                inserted.setString("outcome", (failure == null ? result.value().outcome() : failure.outcome()).name());
                inserted.setString("error", failure == null ? null : failure.getMessage());
                context.write(inserted);
            }
            ids.clear();
            writes.clear();
        }

        @Override
        public void cleanup(TaskContext context) throws IOException {
            write(context);
            counters.report();
            service.close();
        }
    }
}
