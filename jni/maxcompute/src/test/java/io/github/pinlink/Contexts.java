package io.github.pinlink;

import com.aliyun.odps.counter.Counter;
import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.mapred.TaskId;
import com.aliyun.odps.mapred.conf.JobConf;
import com.aliyun.odps.udf.local.LocalExecutionContext;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/** Contexts as the platform gives them: the local runners' have no ids, and know of no second execution. */
final class Contexts {
    private Contexts() {}

    /** The context of a function. */
    static final class Function extends LocalExecutionContext {
        final Properties configuration = new Properties();
        Runnable onClaim = () -> {};

        Function(String instance, String stage, int worker, int retry, int backup) {
            instanceID = instance;
            stageID = stage;
            workerID = worker;
            retryCount = retry;
            backupWorkerID = backup;
        }

        Function with(String name, String value) {
            configuration.setProperty(name, value);
            return this;
        }

        @Override
        public Properties getConfigurations() {
            return configuration;
        }

        @Override
        public void claimAlive() {
            onClaim.run();
        }
    }

    static Function first() {
        return new Function("20261122060110436gskmgc", "M1_Stg1", 3, 0, 0);
    }

    /** The context of a MapReduce task, which counts its signs of life under {@code test.alive}. */
    static TaskContext task(JobConf configuration) {
        Map<String, Counter> counters = new HashMap<>();
        return (TaskContext) Proxy.newProxyInstance(
                Contexts.class.getClassLoader(), new Class<?>[] {TaskContext.class}, (proxy, method, arguments) -> {
                    switch (method.getName()) {
                        case "getJobConf":
                            return configuration;
                        case "getTaskID":
                            return new TaskId("M", 3);
                        case "progress":
                            configuration.setInt("test.alive", configuration.getInt("test.alive", 0) + 1);
                            return null;
                        case "getCounter":
                            return counters.computeIfAbsent((String) arguments[1], Named::new);
                        default:
                            throw new UnsupportedOperationException(method.getName());
                    }
                });
    }

    private static final class Named extends Counter {
        Named(String name) {
            super(name, name);
        }
    }
}
