package example;

import io.github.pinlink.Client;
import io.github.pinlink.PinSet;
import io.github.pinlink.PinlinkException;
import java.util.HashMap;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkFiles;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import scala.Tuple2;

/**
 * A Spark job that asks a service about every row, and stores each answer at a service once.
 *
 * <p>Addresses are resolved in the driver and broadcast: executors ask DNS nothing. Each executor has one client, with
 * its share of the job's connections. What happens to a partition is {@link Enrichment}.
 *
 * <p>Options are properties of the job: {@code --conf spark.pinlink.max_connections=8}.
 */
public final class Enrich {
    private Enrich() {}

    /**
     * Runs the job.
     *
     * @param arguments the URL that a row's number is added to for asking, and the one for storing; how many rows, in
     *     how many partitions; the folder of the output; and, so that a job that is submitted again writes nothing
     *     twice, a name that both submissions have
     * @throws PinlinkException where a host does not resolve
     */
    public static void main(String[] arguments) throws PinlinkException {
        String source = arguments[0];
        String store = arguments[1];
        List<Long> rows = LongStream.range(0, Long.parseLong(arguments[2])).boxed().collect(Collectors.toList());
        int partitions = Integer.parseInt(arguments[3]);
        String job = arguments.length > 5 ? arguments[5] : null;
        try (JavaSparkContext spark = new JavaSparkContext(new SparkConf().setAppName("enrich"))) {
            HashMap<String, String> options = new HashMap<>();
            for (Tuple2<String, String> option : spark.getConf().getAllWithPrefix("spark.pinlink.")) {
                options.put("pinlink." + option._1(), option._2());
            }
            // The library is what --files brought, else the jar's own.
            PinSet resolved = PinSet.resolve(
                    Client.builder().options(options).library(SparkFiles.getRootDirectory()));
            Broadcast<String> pins = spark.broadcast(resolved.toJson());
            String application = spark.sc().applicationId();
            spark.parallelize(rows, partitions)
                    .mapPartitions(new Enrichment(options, pins, application, job, source, store))
                    .saveAsTextFile(arguments[4]);
        }
    }
}
