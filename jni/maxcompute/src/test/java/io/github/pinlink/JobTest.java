package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.mapred.conf.JobConf;
import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.local.LocalExecutionContext;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import io.github.pinlink.maxcompute.Job;
import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The promise: what survives a second execution is what keys are made of, and the platform hears of what goes on. */
class JobTest {
    private static Box box;

    @BeforeAll
    static void start() throws Exception {
        box = Box.start();
    }

    @AfterAll
    static void stop() {
        box.close();
    }

    private static Key key(ExecutionContext context) throws PinlinkException {
        return Job.scope(context).key("insert order", "berlin", 4711);
    }

    @Test
    void everyExecutionOfAnInstanceHasTheSameKeys() throws Exception {
        String instance = "20261122060110436gskmgc";
        Key key = key(Contexts.first());
        assertEquals(Scope.instance(instance).key("insert order", "berlin", 4711), key);
        assertEquals(key, key(new Contexts.Function(instance, "M1_Stg1", 3, 1, 0)), "run again");
        assertEquals(key, key(new Contexts.Function(instance, "M1_Stg1", 3, 0, 1)), "a backup worker");
        assertEquals(key, key(new Contexts.Function(instance, "M1_Stg1", 3, -1, -1)), "an older platform");
        assertEquals(key, key(new Contexts.Function(instance, "R2_1_Stg1", 8, 0, 0)), "the row came to another worker");
        assertNotEquals(key, key(new Contexts.Function("20261123060110436gskmgd", "M1_Stg1", 3, 0, 0)));
    }

    @Test
    void aJobsKeySurvivesItsNextSubmission() throws Exception {
        Key key = Scope.job("orders of 2026-11-22").key("insert order", "berlin", 4711);
        for (String instance : new String[] {"20261122060110436gskmgc", "20261122090110436gskmgd", null}) {
            Contexts.Function context = new Contexts.Function(instance, "M1_Stg1", 3, 0, 0);
            Scope explicit = Job.scope(context, "orders of 2026-11-22");
            assertEquals(key, explicit.key("insert order", "berlin", 4711));
            assertEquals(key, key(context.with(Job.KEY, "orders of 2026-11-22")));
        }
        assertEquals(key(Contexts.first()), Job.scope(Contexts.first(), null).key("insert order", "berlin", 4711));
    }

    @Test
    void aContextWithoutAnInstanceSaysWhatToGiveInstead() {
        PinlinkConfigException local =
                assertThrows(PinlinkConfigException.class, () -> Job.scope(new LocalExecutionContext()));
        assertEquals(Reason.CONFIG_INVALID_INPUT, local.reason());
        assertEquals(Delivery.NOT_SENT, local.delivery());
        assertTrue(local.getMessage().contains("Job.scope(context, \"orders of 2026-11-22\")"), local.getMessage());
        PinlinkConfigException task =
                assertThrows(PinlinkConfigException.class, () -> Job.scope(Contexts.task(new JobConf())));
        assertTrue(task.getMessage().contains("conf.set(Job.KEY, \"orders of 2026-11-22\")"), task.getMessage());
    }

    @Test
    void aKeyThatEveryDayWouldHaveIsRefused() {
        for (String key : new String[] {"orders of ${bizdate}", "", "attempt_1"}) {
            assertThrows(PinlinkConfigException.class, () -> Job.scope(Contexts.first(), key), key);
        }
        JobConf conf = new JobConf();
        conf.set(Job.KEY, "orders of ${bizdate}");
        assertThrows(PinlinkConfigException.class, () -> Job.scope(Contexts.task(conf)));
    }

    @Test
    void aMapReduceJobHasTheKeyOfItsSubmitter() throws Exception {
        JobConf conf = new JobConf();
        conf.set(Job.KEY, "orders of 2026-11-22");
        Key key = Job.scope(Contexts.task(conf)).key("insert order", 4711);
        assertEquals(Scope.job("orders of 2026-11-22").key("insert order", 4711), key);
        assertEquals("task M_000003", Job.attempt(Contexts.task(conf)));
    }

    @Test
    void anAttemptIsToldAsFarAsItIsKnown() throws Exception {
        String attempt = Job.attempt(new Contexts.Function("20261122060110436gskmgc", "M1_Stg1", 3, 1, 2));
        assertEquals("instance 20261122060110436gskmgc; stage M1_Stg1; worker 3; retry 1; backup 2", attempt);
        assertEquals("worker 3", Job.attempt(new Contexts.Function(null, null, 3, -1, -1)));
        assertEquals("worker 0; retry 0; backup 0", Job.attempt(new LocalExecutionContext()));
        try (Client client = box.client().build()) {
            Request request = Request.get(box.http("/echo")).header("user-agent", "my-functions (" + attempt + ")");
            assertTrue(client.send(request).text().contains("worker 3; retry 1; backup 2"), "a header may hold it");
        }
    }

    @Test
    void aCallEndsBeforeThePlatformsTime() throws Exception {
        assertEquals(Duration.ofSeconds(540), Job.timeout(Contexts.first()), "600 s is the least default");
        assertEquals(Duration.ofSeconds(540), Job.timeout(Contexts.task(new JobConf())));
        assertEquals(Duration.ofMillis(900), Job.timeout(Contexts.first().with("odps.function.timeout", "1")));
        Contexts.Function both = Contexts.first().with("odps.function.timeout", "1800");
        assertEquals(Duration.ofSeconds(90), Job.timeout(both.with("odps.sql.udf.timeout", " 100 ")));
        JobConf conf = new JobConf();
        conf.setFunctionTimeout(3600);
        assertEquals(Duration.ofSeconds(3240), Job.timeout(Contexts.task(conf)));
        for (String none : new String[] {"0", "3601", "10m", ""}) {
            Contexts.Function context = Contexts.first().with("odps.function.timeout", none);
            PinlinkConfigException refused =
                    assertThrows(PinlinkConfigException.class, () -> Job.timeout(context), none);
            assertTrue(refused.getMessage().contains("odps.function.timeout"), refused.getMessage());
        }
    }

    private static Client.Builder reach(Client.Builder builder) {
        return builder.hosts(box.http("")).nameservers(box.dns()).allowAddresses("127.0.0.0/8").summary("off");
    }

    @Test
    void aClientTakesItsDeadlineAndItsOptionsFromTheJob() throws Exception {
        Contexts.Function short1 = Contexts.first().with("odps.function.timeout", "1");
        try (Client client = reach(Job.client(short1)).build()) {
            Request hanging = Request.get(box.http("/delay/60000"));
            assertThrows(PinlinkTimeoutException.class, () -> client.send(hanging), "nobody asked for a timeout");
        }
        Contexts.Function options = Contexts.first().with("pinlink.max_connections", "0");
        PinlinkConfigException refused =
                assertThrows(PinlinkConfigException.class, () -> reach(Job.client(options)).build());
        assertTrue(refused.getMessage().contains("max_connections"), refused.getMessage());
        JobConf conf = new JobConf();
        conf.set("pinlink.max_connections", "0");
        assertThrows(PinlinkConfigException.class, () -> reach(Job.client(Contexts.task(conf))).build());
    }

    @Test
    void aShippedPinSetIsReadAsAResource() throws Exception {
        PinSet pins = PinSet.resolve(box.client());
        LocalExecutionContext context = new LocalExecutionContext() {
            @Override
            public BufferedInputStream readResourceFileAsStream(String name) throws FileNotFoundException {
                if (!name.equals("pins.json")) {
                    throw new FileNotFoundException(name);
                }
                byte[] text = pins.toJson().getBytes(StandardCharsets.UTF_8);
                return new BufferedInputStream(new ByteArrayInputStream(text));
            }
        };
        assertEquals(pins, Job.pins(context, "pins.json"));
        assertThrows(FileNotFoundException.class, () -> Job.pins(context, "others.json"));
        int before = box.counts().at("/dns/queries").asInt();
        try (Client client = box.client().pinSet(Job.pins(context, "pins.json")).build()) {
            assertEquals(200, client.send(Request.get(box.http("/rows/1"))).status());
        }
        assertEquals(before, box.counts().at("/dns/queries").asInt(), "shipped pins ask DNS nothing");
    }

    @Test
    void waitingGivesSignsOfLifeOnTheCallingThread() throws Exception {
        CompletableFuture<String> answer = new CompletableFuture<>();
        Thread caller = Thread.currentThread();
        int[] signs = {0};
        Contexts.Function context = Contexts.first().with("odps.function.timeout", "1");
        context.onClaim = () -> {
            assertSame(caller, Thread.currentThread());
            if (++signs[0] == 3) {
                answer.complete("late");
            }
        };
        assertEquals("late", Alive.of(context).await(answer), "it never comes unless three signs are given");
        assertEquals(3, signs[0]);
        JobConf conf = new JobConf();
        Alive.of(Contexts.task(conf)).claim();
        assertEquals(1, conf.getInt("test.alive", 0), "the first sign is given at once");
    }

    @Test
    void rowsThatFollowFastNeedOneSign() throws Exception {
        int[] signs = {0};
        Contexts.Function context = Contexts.first().with("odps.function.timeout", "3600");
        context.onClaim = () -> signs[0]++;
        Alive alive = Alive.of(context);
        for (int row = 0; row < 1024; row++) {
            alive.claim();
        }
        assertEquals(1, signs[0]);
    }

    @Test
    void waitingEndsAsTheCallDoes() throws Exception {
        Alive alive = Alive.of(Contexts.first());
        try (Client client = box.client().build()) {
            assertEquals(200, alive.await(client.sendAsync(Request.get(box.http("/rows/1")))).status());
            Request undeclared = Request.get("http://undeclared.box.test/");
            assertThrows(PinlinkException.class, () -> alive.await(client.sendAsync(undeclared)));
            CompletableFuture<Response> hanging = client.sendAsync(Request.get(box.http("/delay/60000")));
            Thread.currentThread().interrupt();
            assertThrows(InterruptedIOException.class, () -> alive.await(hanging));
            assertTrue(Thread.interrupted(), "the flag stays set");
            assertTrue(hanging.isCancelled());
        }
    }

    private static long counter(ExecutionContext context, String name) {
        return context.getCounter(Counters.GROUP, name).getValue();
    }

    @Test
    void whatAClientDoesIsCountedForTheJob() throws Exception {
        ExecutionContext context = Contexts.first();
        try (Box unknown = Box.start(); Client client = unknown.client().build()) {
            Counters counters = Counters.of(context, client);
            for (int rows = 1; rows <= 3; rows++) {
                client.send(Request.get(unknown.http("/rows/" + rows)));
                counters.report();
                assertEquals(rows, counter(context, "requests"));
            }
            counters.report();
            assertEquals(3, counter(context, "requests"), "reported once");
            assertEquals(client.stats().lookupsDns(), counter(context, "lookups_dns"), "what was before counts, too");
            assertTrue(counter(context, "lookups_dns") > 0);
        }
    }

    @Test
    void onlyAFewOfTheJobsCountersAreTaken() throws Exception {
        try (Client client = box.client().build()) {
            assertTrue(client.stats().counters().keySet().containsAll(Counters.names()), "they are named as stats are");
            ExecutionContext context = Contexts.first();
            Counters.of(context, client);
            for (int others = 0; others < 56; others++) {
                context.getCounter("mine", "c" + others);
            }
            assertThrows(IllegalArgumentException.class, () -> context.getCounter("mine", "one more"));
            ExecutionContext more = Contexts.first();
            Counters.of(more, client, 64);
            for (int others = 0; others < 64 - Counters.names().size(); others++) {
                more.getCounter("mine", "c" + others);
            }
            assertThrows(IllegalArgumentException.class, () -> more.getCounter("mine", "one more"));
        }
    }

    @Test
    void aPlatformWithoutACounterLeftFailsNoJob() throws Exception {
        ExecutionContext context = Contexts.first();
        for (int others = 0; others < 63; others++) {
            context.getCounter("mine", "c" + others);
        }
        try (Client client = box.client().build()) {
            Counters counters = Counters.of(context, client);
            client.send(Request.get(box.http("/rows/1")));
            counters.report();
            assertEquals(1, counter(context, "requests"), "the most telling one has the last place");
        }
    }

    @Test
    void theSharedClientIsCountedOnceHoweverManyFunctionsReportIt() throws Exception {
        ExecutionContext context = Contexts.first();
        JobConf conf = new JobConf();
        TaskContext task = Contexts.task(conf);
        try (Client one = box.client().buildShared(); Client two = box.client().buildShared()) {
            Counters ofOne = Counters.of(context, one);
            Counters ofTwo = Counters.of(context, two);
            one.send(Request.get(box.http("/rows/1")));
            two.send(Request.get(box.http("/rows/2")));
            ofOne.report();
            ofTwo.report();
            assertEquals(2, counter(context, "requests"));
            two.send(Request.get(box.http("/rows/3")));
            Counters.of(task, two).report();
            ofOne.report();
            assertEquals(2, counter(context, "requests"));
            assertEquals(1, task.getCounter(Counters.GROUP, "requests").getValue(), "the next worker of this JVM");
        }
    }
}
