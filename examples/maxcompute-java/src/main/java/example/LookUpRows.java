package example;

import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.UDFException;
import com.aliyun.odps.udf.UDTF;
import com.aliyun.odps.udf.annotation.Resolve;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.Result;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * A UDTF: {@code SELECT look_up_rows(id) AS (id, found, error) FROM t}. Rows are gathered and looked up in batches,
 * many at once; they come out in the order in which they went in, and a row that fails says why and fails no other.
 */
@Resolve("string->string,string,string")
public final class LookUpRows extends UDTF {
    private static final int BATCH = 256;

    private final List<String> ids = new ArrayList<>();
    private Service service;
    private Alive alive;
    private Counters counters;

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
    public void process(Object[] row) throws UDFException, IOException {
        // Without an id there is nothing to ask for.
        if (row[0] == null) {
            return;
        }
        // The platform uses the array again; the text in it stays.
        ids.add((String) row[0]);
        if (ids.size() == BATCH) {
            lookUp();
        }
    }

    private void lookUp() throws UDFException, IOException {
        alive.claim();
        List<Request> requests = new ArrayList<>(ids.size());
        for (String id : ids) {
            requests.add(service.row(id));
        }
        int row = 0;
        for (Result<Response> result : service.client().sendAll(requests)) {
            String id = ids.get(row++);
            try {
                forward(id, Service.known(result.value()), null);
            } catch (IOException failed) {
                forward(id, null, failed.getMessage());
            }
        }
        ids.clear();
    }

    @Override
    public void close() throws UDFException {
        try {
            lookUp();
            counters.report();
        } catch (IOException failed) {
            throw new UDFException(failed);
        }
        service.close();
    }
}
