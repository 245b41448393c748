package io.github.pinlink;

import com.aliyun.odps.Odps;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.io.Writable;
import com.aliyun.odps.mapred.JobClient;
import com.aliyun.odps.mapred.MapperBase;
import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.mapred.conf.JobConf;
import com.aliyun.odps.udf.Aggregator;
import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.UDF;
import com.aliyun.odps.udf.UDFException;
import com.aliyun.odps.udf.UDTF;
import com.aliyun.odps.udf.annotation.Resolve;
import com.aliyun.odps.udf.local.runner.AggregatorRunner;
import com.aliyun.odps.udf.local.runner.UDFRunner;
import com.aliyun.odps.udf.local.runner.UDTFRunner;
import example.InsertOrders;
import example.LookUp;
import example.LookUpDistinct;
import example.LookUpRows;
import io.github.pinlink.maxcompute.Probe;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Paths;
import java.util.List;

/**
 * One of the examples in the vendor's sandbox, which must be on: by itself it turns off where the JVM does not suit it.
 * The first argument says which; those of a probe follow. The warehouse is {@code wh} in the working directory.
 */
final class LocalRun {
    private LocalRun() {}

    /** Fails unless the platform's rules hold for the code that calls it. */
    private static void insistOnTheSandbox() {
        if (System.getSecurityManager() == null) {
            throw new AssertionError("there is no sandbox");
        }
        try {
            new Socket("127.0.0.1", 9).close();
            throw new AssertionError("sockets are allowed");
        } catch (SecurityException denied) {
            // As on the platform.
        } catch (IOException reached) {
            throw new AssertionError("sockets are allowed", reached);
        }
        File temporary = new File(System.getProperty("java.io.tmpdir"), "pinlink-local-run");
        try {
            new FileOutputStream(temporary).close();
            throw new AssertionError("the folder for temporary files may be written to");
        } catch (SecurityException denied) {
            // As on the platform.
        } catch (IOException reached) {
            throw new AssertionError("the folder for temporary files may be written to", reached);
        }
        System.out.println("sandboxed");
    }

    /** The UDF. */
    public static final class SandboxedLookUp extends UDF {
        private final LookUp function = new LookUp();

        @Override
        public void setup(ExecutionContext context) throws IOException {
            insistOnTheSandbox();
            function.setup(context);
        }

        /** As the example's. */
        public String evaluate(String id) throws IOException {
            insistOnTheSandbox();
            return function.evaluate(id);
        }

        @Override
        public void close() throws IOException {
            function.close();
        }
    }

    /** The UDTF. */
    @Resolve("string->string,string,string")
    public static final class SandboxedLookUpRows extends UDTF {
        private final LookUpRows function = new LookUpRows();

        @Override
        public void setup(ExecutionContext context) throws UDFException {
            insistOnTheSandbox();
            function.setCollector(getCollector());
            function.setup(context);
        }

        @Override
        public void process(Object[] row) throws UDFException, IOException {
            function.process(row);
        }

        @Override
        public void close() throws UDFException {
            insistOnTheSandbox();
            function.close();
        }
    }

    /** The UDAF. */
    @Resolve("string->string")
    public static final class SandboxedLookUpDistinct extends Aggregator {
        private final LookUpDistinct function = new LookUpDistinct();

        @Override
        public void setup(ExecutionContext context) throws UDFException {
            insistOnTheSandbox();
            function.setup(context);
        }

        @Override
        public Writable newBuffer() {
            return function.newBuffer();
        }

        @Override
        public void iterate(Writable buffer, Writable[] row) {
            function.iterate(buffer, row);
        }

        @Override
        public void merge(Writable buffer, Writable partial) {
            function.merge(buffer, partial);
        }

        @Override
        public Writable terminate(Writable buffer) throws UDFException {
            insistOnTheSandbox();
            return function.terminate(buffer);
        }

        @Override
        public void close() throws UDFException {
            function.close();
        }
    }

    /** The mapper. */
    public static final class SandboxedInsert extends MapperBase {
        private final InsertOrders.Insert mapper = new InsertOrders.Insert();

        @Override
        public void setup(TaskContext context) throws IOException {
            insistOnTheSandbox();
            mapper.setup(context);
        }

        @Override
        public void map(long number, Record order, TaskContext context) throws IOException {
            mapper.map(number, order, context);
        }

        @Override
        public void cleanup(TaskContext context) throws IOException {
            insistOnTheSandbox();
            mapper.cleanup(context);
        }
    }

    /** The function that looks at the way to a target. */
    public static final class SandboxedProbe extends UDF {
        private final Probe probe = new Probe();

        /** As the library's. */
        public String evaluate(String targets, String options) throws IOException {
            insistOnTheSandbox();
            return probe.evaluate(targets, options);
        }
    }

    private static void print(List<Object[]> rows) {
        for (Object[] row : rows) {
            System.out.println("row " + row[row.length > 1 ? 1 : 0]);
        }
    }

    private static void run(String[] arguments) throws Exception {
        Odps odps = Warehouse.odps(Paths.get("wh"));
        Object[] row = {"berlin"};
        switch (arguments[0]) {
            case "udf":
                print(new UDFRunner(odps, new SandboxedLookUp()).feed(row).yield());
                return;
            case "udtf":
                print(new UDTFRunner(odps, new SandboxedLookUpRows()).feed(row).yield());
                return;
            case "udaf":
                print(new AggregatorRunner(odps, new SandboxedLookUpDistinct()).feed(row).yield());
                return;
            case "probe":
                row = new Object[] {arguments[1], arguments[2]};
                print(new UDFRunner(odps, new SandboxedProbe()).feed(row).yield());
                return;
            default:
                JobConf job = InsertOrders.of("2026-11-22");
                job.setMapperClass(SandboxedInsert.class);
                // A job's sandbox is switched in its configuration.
                for (String name : new String[] {"odps.local.security.enable", "odps.local.security.jni.enable"}) {
                    job.set(name, System.getProperty(name, "false"));
                }
                JobClient.runJob(job);
        }
    }

    public static void main(String[] arguments) throws Exception {
        try {
            run(arguments);
            System.out.println("worked");
        } catch (Exception failed) {
            for (Throwable cause = failed; cause != null; cause = cause.getCause()) {
                if (cause instanceof PinlinkException) {
                    System.out.println("failed: " + cause.getMessage());
                    return;
                }
            }
            throw failed;
        }
    }
}
