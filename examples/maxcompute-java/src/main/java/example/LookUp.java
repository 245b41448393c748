package example;

import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.UDF;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * A UDF: {@code SELECT look_up(id) FROM t}. A function of one row can't know the next, so each row is one call on a
 * connection that is kept. With an array ({@code look_up(COLLECT_LIST(id))}) it is one batch: many calls at once.
 */
public final class LookUp extends UDF {
    private Service service;
    private Alive alive;
    private Counters counters;

    @Override
    public void setup(ExecutionContext context) throws IOException {
        service = Service.of(context);
        alive = Alive.of(context);
        counters = Counters.of(context, service.client());
    }

    /** What the service knows of an id. */
    public String evaluate(String id) throws IOException {
        if (id == null) {
            return null;
        }
        alive.claim();
        return Service.known(service.client().send(service.row(id)));
    }

    /** What it knows of each, in their order. */
    public List<String> evaluate(List<String> ids) throws IOException {
        if (ids == null) {
            return null;
        }
        alive.claim();
        List<Request> requests = new ArrayList<>(ids.size());
        for (String id : ids) {
            requests.add(service.row(id));
        }
        List<String> rows = new ArrayList<>(ids.size());
        for (Result<Response> result : service.client().sendAll(requests)) {
            rows.add(Service.known(result.value()));
        }
        return rows;
    }

    @Override
    public void close() throws IOException {
        counters.report();
        service.close();
    }
}
