package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.odps.Odps;
import com.aliyun.odps.mapred.JobClient;
import com.aliyun.odps.udf.local.runner.AggregatorRunner;
import com.aliyun.odps.udf.local.runner.BaseRunner;
import com.aliyun.odps.udf.local.runner.UDFRunner;
import com.aliyun.odps.udf.local.runner.UDTFRunner;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import example.InsertOrders;
import example.LookUp;
import example.LookUpDistinct;
import example.LookUpRows;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: the examples work as they stand, run by the vendor's own local runners. */
class FunctionsTest {
    private static Box box;
    private static Warehouse warehouse;
    private static Odps odps;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
        Path folder = Warehouse.fresh("warehouse");
        warehouse = Warehouse.in(folder);
        warehouse.add("service.properties", Warehouse.service(box.http(""), box.dns()));
        odps = Warehouse.odps(folder);
    }

    @AfterAll
    static void stop() {
        box.close();
    }

    private static String id(Object row) throws Exception {
        return new ObjectMapper().readTree((String) row).get("id").asText();
    }

    @Test
    void aUdfLooksUpARowAtATime() throws Exception {
        BaseRunner runner = new UDFRunner(odps, new LookUp());
        List<Object[]> rows = runner.feed(new Object[] {"berlin"}).feed(new Object[] {"a/b c"}).yield();
        assertEquals("berlin", id(rows.get(0)[0]));
        assertEquals("a%2Fb%20c", id(rows.get(1)[0]), "the box tells of the path as it came");
        runner = new UDFRunner(odps, new LookUp());
        rows = runner.feed(new Object[] {"berlin"}).feed(new Object[] {null}).yield();
        assertNull(rows.get(1)[0]);
    }

    @Test
    void aUdfLooksUpAnArrayInOneBatch() throws Exception {
        BaseRunner runner = new UDFRunner(odps, new LookUp());
        Object[] row = runner.feed(new Object[] {Arrays.asList("a", "b", "c")}).yield().get(0);
        List<?> found = (List<?>) row[0];
        assertEquals(3, found.size());
        assertEquals("c", id(found.get(2)));
    }

    @Test
    void aUdtfLooksUpInBatchesAndKeepsTheOrder() throws Exception {
        assertEquals(0, new UDTFRunner(odps, new LookUpRows()).yield().size(), "no row, no call");
        BaseRunner runner = new UDTFRunner(odps, new LookUpRows());
        int queries = box.counts().at("/dns/queries").asInt();
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < 600; i++) {
            ids.add("row-" + i);
            runner.feed(new Object[] {"row-" + i});
        }
        runner.feed(new Object[] {null});
        List<Object[]> rows = runner.yield();
        List<String> came = new ArrayList<>();
        for (Object[] row : rows) {
            came.add((String) row[0]);
            assertEquals(row[0], id(row[1]));
            assertNull(row[2]);
        }
        assertEquals(ids, came);
        assertEquals(queries, box.counts().at("/dns/queries").asInt(), "rows ask DNS nothing");
        assertEquals(0, box.counts().at("/proxy/refused").asInt());
    }

    @Test
    void aUdafAsksOnceForEachDistinctCode() throws Exception {
        BaseRunner runner = new AggregatorRunner(odps, new LookUpDistinct());
        for (String code : new String[] {"FR", "DE", "FR", "DE", "DE"}) {
            runner.feed(new Object[] {code});
        }
        String[] lines = runner.yield().get(0)[0].toString().split("\n");
        assertEquals(2, lines.length);
        assertEquals("DE", id(lines[0]));
        assertEquals("FR", id(lines[1]));
    }

    /** How often the writes to these records had an effect, by record and key. */
    private static List<String> effects() throws Exception {
        List<String> effects = new ArrayList<>();
        for (JsonNode write : box.sink()) {
            effects.add(write.get("record").asText() + " " + write.get("applied").asInt());
        }
        effects.sort(null);
        return effects;
    }

    private static boolean insertOrders(String day) throws Exception {
        return JobClient.runJob(InsertOrders.of(day)).isSuccessful();
    }

    @Test
    void aMapReduceJobThatIsRunAgainInsertsNothingTwice() throws Exception {
        warehouse.table("orders", "id:STRING,amount:BIGINT", "4711,10\n4712,20\n", "4713,30\n");
        warehouse.table("inserted", "id:STRING,outcome:STRING,error:STRING");
        assertTrue(insertOrders("2026-11-22"));
        assertEquals(
                Arrays.asList("4711,APPLIED,\\N", "4712,APPLIED,\\N", "4713,APPLIED,\\N"), warehouse.rows("inserted"));
        assertTrue(insertOrders("2026-11-22"));
        assertEquals("4711,ALREADY_APPLIED,\\N", warehouse.rows("inserted").get(0));
        assertEquals(Arrays.asList("4711 1", "4712 1", "4713 1"), effects());
        assertTrue(insertOrders("2026-11-23"));
        assertEquals(6, effects().size(), "another day's job has other keys");
        JsonNode seen = box.seen();
        assertTrue(seen.toString().contains("my-functions (task M_000001)"), seen.toString());
    }
}
