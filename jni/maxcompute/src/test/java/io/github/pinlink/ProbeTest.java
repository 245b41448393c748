package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.odps.Odps;
import com.aliyun.odps.udf.local.runner.UDFRunner;
import io.github.pinlink.maxcompute.Probe;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: what is uploaded first tells in one cell what stands between a job and its targets. */
class ProbeTest {
    private static Box box;
    private static Odps odps;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
        odps = Warehouse.odps(Warehouse.fresh("warehouse"));
    }

    @AfterAll
    static void stop() {
        box.close();
    }

    private static String options() {
        return " allow_addresses=127.0.0.0/8  nameservers=" + box.dns();
    }

    /** Runs the vendor's runner for one row. */
    private static String probe(Object... row) throws Exception {
        List<Object[]> rows = new UDFRunner(odps, new Probe()).feed(row).yield();
        assertEquals(1, rows.size());
        return (String) rows.get(0)[0];
    }

    @Test
    void aTargetIsReachable() throws Exception {
        String tcp = box.http("").replace("http:", "tcp:");
        String report = probe(box.http("") + " , " + tcp, options());
        assertTrue(report.startsWith(box.http("") + ": reachable\n  name    ok "), report);
        assertTrue(report.contains("\n" + tcp + ": reachable\n"), report);
        assertTrue(report.contains("\n  sandbox         ok      off\n"), report);
    }

    @Test
    void aTargetThatIsNotReachableIsNoErrorButAReport() throws Exception {
        String report = probe("http://127.0.0.1:9", "");
        assertTrue(report.startsWith("http://127.0.0.1:9: NOT REACHABLE\n"), report);
        assertTrue(report.contains("Policy.AddressDenied"), report);
    }

    @Test
    void withoutATargetTheMachineIsToldOf() throws Exception {
        // The runner gives an overloaded function no null.
        for (String report : new String[] {probe(""), probe(" ", " "), new Probe().evaluate(null)}) {
            assertTrue(report.startsWith("this machine\n"), report);
            assertTrue(report.contains("\n  java            ok "), report);
        }
    }

    @Test
    void whatIsNoTargetAndNoOptionIsAnError() {
        Probe probe = new Probe();
        assertThrows(PinlinkConfigException.class, () -> probe.evaluate("ftp://a.example"));
        assertThrows(PinlinkConfigException.class, () -> probe.evaluate("a.example", "timeout"));
        IOException unknown = assertThrows(IOException.class, () -> probe.evaluate("a.example", "time=1s"));
        assertTrue(unknown.getMessage().contains("Config.UnknownOption"), unknown.getMessage());
    }
}
