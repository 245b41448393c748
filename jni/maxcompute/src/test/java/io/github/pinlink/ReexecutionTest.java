package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.odps.mapred.JobClient;
import com.aliyun.odps.mapred.conf.JobConf;
import com.fasterxml.jackson.databind.JsonNode;
import example.InsertOrders;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** The promise: a node that fails in the middle of its writes, and is run again, writes nothing twice. */
class ReexecutionTest {
    private static JobConf job() {
        JobConf job = InsertOrders.of("2026-11-22");
        // Bounds the test, not the writes: they give up after three attempts.
        job.setFunctionTimeout(120);
        return job;
    }

    private static PinlinkException cause(Throwable failed) {
        for (Throwable cause = failed; cause != null; cause = cause.getCause()) {
            if (cause instanceof PinlinkException) {
                return (PinlinkException) cause;
            }
        }
        throw new AssertionError(failed);
    }

    @Test
    void whatANodeDidBeforeItFailedIsFoundDone() throws Exception {
        try (Box box = Box.start()) {
            Path folder = Warehouse.fresh("warehouse");
            Warehouse warehouse = Warehouse.in(folder);
            warehouse.add("service.properties", Warehouse.service(box.http(""), box.dns()));
            warehouse.table("orders", "id:STRING,amount:BIGINT", "4711,10\n4712,20\n");
            warehouse.table("inserted", "id:STRING,outcome:STRING,error:STRING");
            Warehouse.odps(folder);

            box.inject("ack-lost");
            Exception failed = assertThrows(Exception.class, () -> JobClient.runJob(job()));
            assertEquals(Outcome.UNKNOWN, cause(failed).outcome());
            for (JsonNode write : box.sink()) {
                assertEquals(1, write.get("applied").asInt(), "done, but nobody knows");
            }
            box.heal();
            assertTrue(JobClient.runJob(job()).isSuccessful());
            assertEquals(
                    Arrays.asList("4711,ALREADY_APPLIED,\\N", "4712,ALREADY_APPLIED,\\N"), warehouse.rows("inserted"));
            assertEquals(2, box.sink().size());
            for (JsonNode write : box.sink()) {
                assertEquals(1, write.get("applied").asInt());
            }
        }
    }
}
