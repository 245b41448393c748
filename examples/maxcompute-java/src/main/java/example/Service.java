package example;

import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.udf.ExecutionContext;
import io.github.pinlink.Client;
import io.github.pinlink.Request;
import io.github.pinlink.Response;
import io.github.pinlink.maxcompute.Job;
import java.io.IOException;
import java.io.InputStream;
import java.io.UnsupportedEncodingException;
import java.net.URLEncoder;
import java.util.Properties;

/**
 * The service that everything here calls. Where it is, and the options of the client, are in the FILE resource {@code
 * service.properties}; all functions of a worker share the client.
 */
final class Service implements AutoCloseable {
    static final String RESOURCE = "service.properties";

    private final String url;
    private final String agent;
    private final Client client;

    private Service(Client.Builder builder, InputStream resource, String attempt) throws IOException {
        Properties properties = new Properties();
        try (InputStream in = resource) {
            properties.load(in);
        }
        url = properties.getProperty("url");
        // In the service's access log this tells a backup worker from the original.
        agent = "my-functions (" + attempt + ")";
        client = builder.options(properties).buildShared();
    }

    static Service of(ExecutionContext context) throws IOException {
        return new Service(Job.client(context), context.readResourceFileAsStream(RESOURCE), Job.attempt(context));
    }

    static Service of(TaskContext context) throws IOException {
        return new Service(Job.client(context), context.readResourceFileAsStream(RESOURCE), Job.attempt(context));
    }

    Client client() {
        return client;
    }

    private String path(String folder, String id) {
        try {
            return url + folder + URLEncoder.encode(id, "UTF-8").replace("+", "%20");
        } catch (UnsupportedEncodingException impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** Asks for a row. */
    Request row(String id) {
        return Request.get(path("/rows/", id)).header("user-agent", agent);
    }

    /** What the service knows of a row; null where it knows none. */
    static String known(Response answer) throws IOException {
        if (answer.status() == 404) {
            return null;
        }
        if (!answer.isSuccess()) {
            throw new IOException("the service answers with status " + answer.status());
        }
        return answer.text();
    }

    /** Inserts an order. */
    Request order(String id, String json) {
        return Request.post(path("/sink/", id))
                .header("user-agent", agent)
                .header("content-type", "application/json")
                .body(json);
    }

    @Override
    public void close() {
        client.close();
    }
}
