package example;

import com.aliyun.odps.io.Text;
import com.aliyun.odps.io.Writable;
import com.aliyun.odps.udf.Aggregator;
import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.UDFException;
import com.aliyun.odps.udf.annotation.Resolve;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * A UDAF: {@code SELECT look_up_distinct(code) FROM t GROUP BY day} gives what the service knows of a group's distinct
 * codes, a line each. Rows and partial results only gather codes, so that each is asked for once per group, all in one
 * batch, where the group ends.
 */
@Resolve("string->string")
public final class LookUpDistinct extends Aggregator {
    private Service service;
    private Alive alive;
    private Counters counters;

    /** The codes of a group, in their order. */
    private static final class Codes implements Writable {
        private final TreeSet<String> all = new TreeSet<>();

        @Override
        public void write(DataOutput out) throws IOException {
            out.writeInt(all.size());
            for (String code : all) {
                Text.writeString(out, code);
            }
        }

        @Override
        public void readFields(DataInput in) throws IOException {
            all.clear();
            for (int left = in.readInt(); left > 0; left--) {
                all.add(Text.readString(in));
            }
        }
    }

    @Override
    public void setup(ExecutionContext context) throws UDFException {
        try {
            service = Service.of(context);
            alive = Alive.of(context);
            counters = Counters.of(context, service.client());
        } catch (IOException failed) {
            throw new UDFException(failed);
        }
    }

    @Override
    public Writable newBuffer() {
        return new Codes();
    }

    @Override
    public void iterate(Writable buffer, Writable[] row) {
        if (row[0] != null) {
            ((Codes) buffer).all.add(row[0].toString());
        }
    }

    @Override
    public void merge(Writable buffer, Writable partial) {
        ((Codes) buffer).all.addAll(((Codes) partial).all);
    }

    @Override
    public Writable terminate(Writable buffer) throws UDFException {
        alive.claim();
        List<Request> requests = new ArrayList<>();
        for (String code : ((Codes) buffer).all) {
            requests.add(service.row(code));
        }
        List<String> lines = new ArrayList<>();
        try {
            for (Result<Response> result : service.client().sendAll(requests)) {
                lines.add(Service.known(result.value()));
            }
        } catch (IOException failed) {
            throw new UDFException(failed);
        }
        return new Text(String.join("\n", lines));
    }

    @Override
    public void close() throws UDFException {
        try {
            counters.report();
        } catch (IOException failed) {
            throw new UDFException(failed);
        }
        service.close();
    }
}
