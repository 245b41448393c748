package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.odps.mapred.TaskContext;
import com.aliyun.odps.mapred.conf.JobConf;
import com.aliyun.odps.udf.ExecutionContext;
import com.aliyun.odps.udf.local.LocalExecutionContext;
import io.github.pinlink.maxcompute.Alive;
import io.github.pinlink.maxcompute.Counters;
import io.github.pinlink.maxcompute.Job;
import io.github.pinlink.maxcompute.Probe;
import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The promise: the jar needs nothing where there is no MaxCompute, and where there is, functions need nothing of
 * MapReduce, nor tasks of functions.
 */
class IndependenceTest {
    private static Path classes() throws Exception {
        URI location = Client.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        return Paths.get(location);
    }

    /** The names of the jar's classes, those of the MaxCompute part or the others. */
    private static List<String> names(boolean isMaxCompute) throws Exception {
        Path root = classes();
        try (Stream<Path> files = Files.walk(root)) {
            return files.map(file -> root.relativize(file).toString())
                    .filter(file -> file.endsWith(".class"))
                    .filter(file -> file.startsWith("io/github/pinlink/maxcompute/") == isMaxCompute)
                    .map(file -> file.substring(0, file.length() - ".class".length()).replace('/', '.'))
                    .collect(Collectors.toList());
        }
    }

    /** These classes once more, with what of the class path is let in. */
    private static URLClassLoader loader(Predicate<String> isIn, Path... more) throws Exception {
        List<URL> urls = new ArrayList<>();
        urls.add(classes().toUri().toURL());
        for (Path folder : more) {
            urls.add(folder.toUri().toURL());
        }
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (isIn.test(entry)) {
                urls.add(new File(entry).toURI().toURL());
            }
        }
        return new URLClassLoader(urls.toArray(new URL[0]), ClassLoader.getSystemClassLoader().getParent());
    }

    @Test
    void noClassButTheAdaptersKnowsThePlatform() throws Exception {
        assertTrue(names(false).size() > 30, names(false).toString());
        try (URLClassLoader loader = loader(entry -> false)) {
            for (String name : names(false)) {
                Class<?> loaded = Class.forName(name, true, loader);
                assertNotSame(Client.class, loaded);
                // Every type in every signature is looked for.
                loaded.getDeclaredMethods();
                loaded.getDeclaredConstructors();
                loaded.getDeclaredFields();
                Path file = classes().resolve(name.replace('.', '/') + ".class");
                String constants = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
                assertFalse(constants.contains("com/aliyun/"), name);
            }
            Class<?> adapter = Class.forName(Job.class.getName(), true, loader);
            assertThrows(NoClassDefFoundError.class, adapter::getDeclaredMethods, "there is no platform here");
        }
    }

    @Test
    void functionsNeedNothingOfMapReduce() throws Exception {
        try (URLClassLoader loader = loader(entry -> !entry.contains("mapred"))) {
            assertThrows(ClassNotFoundException.class, () -> loader.loadClass(TaskContext.class.getName()));
            for (String name : names(true)) {
                Class.forName(name, true, loader);
            }
            Class<?> local = Class.forName(LocalExecutionContext.class.getName(), true, loader);
            Object context = local.getDeclaredConstructor().newInstance();
            assertEquals(Adapted.ATTEMPT, Class.forName(Adapted.class.getName(), true, loader)
                    .getMethod("function", Object.class)
                    .invoke(null, context));
        }
    }

    @Test
    void tasksNeedNothingOfFunctions() throws Exception {
        try (URLClassLoader loader = loader(entry -> !entry.contains("-udf"))) {
            assertThrows(ClassNotFoundException.class, () -> loader.loadClass(ExecutionContext.class.getName()));
            for (String name : names(true)) {
                // That one is a function.
                if (!name.equals(Probe.class.getName())) {
                    Class.forName(name, true, loader);
                }
            }
            Object conf = Class.forName(JobConf.class.getName(), true, loader).getDeclaredConstructor().newInstance();
            assertEquals("task M_000003", Class.forName(Adapted.class.getName(), true, loader)
                    .getMethod("task", Object.class)
                    .invoke(null, conf));
        }
    }

    @Test
    void anOlderPlatformTellsLessAndFailsNothing(@TempDir Path folder) throws Exception {
        // Instance, retry and backup ids are of 2018 and 2019.
        String older = "package com.aliyun.odps.udf;\n"
                + "public class ExecutionContext {\n"
                + "    public String getStageID() { return \"M1_Stg1\"; }\n"
                + "    public int getWorkerID() { return 3; }\n"
                + "    public java.util.Properties getConfigurations() { return null; }\n"
                + "}\n";
        Path source = Files.write(folder.resolve("ExecutionContext.java"), older.getBytes(StandardCharsets.UTF_8));
        String[] options = {"-d", folder.toString(), source.toString()};
        assertEquals(0, ToolProvider.getSystemJavaCompiler().run(null, null, null, options));
        try (URLClassLoader loader = loader(entry -> !entry.contains("-udf"), folder)) {
            Class<?> type = Class.forName(ExecutionContext.class.getName(), true, loader);
            assertNotSame(ExecutionContext.class, type);
            Class<?> job = Class.forName(Job.class.getName(), true, loader);
            Object context = type.getDeclaredConstructor().newInstance();
            assertEquals("stage M1_Stg1; worker 3", job.getMethod("attempt", type).invoke(null, context));
            InvocationTargetException refused = assertThrows(
                    InvocationTargetException.class, () -> job.getMethod("scope", type).invoke(null, context));
            assertEquals(PinlinkConfigException.class.getName(), refused.getCause().getClass().getName());
        }
    }

    /** What a function, and what a task does, each where the other's part is missing. */
    public static final class Adapted {
        /** What the local runners' context tells. */
        public static final String ATTEMPT = "worker 0; retry 0; backup 0";

        private Adapted() {}

        /** As a function. */
        public static String function(Object context) throws Exception {
            ExecutionContext own = (ExecutionContext) context;
            Alive.of(own).claim();
            Job.client(own);
            Counters.names();
            return Job.attempt(own);
        }

        /** As a task. */
        public static String task(Object conf) throws Exception {
            TaskContext own = Contexts.task((JobConf) conf);
            Alive.of(own).claim();
            Job.client(own);
            Counters.names();
            return Job.attempt(own);
        }
    }
}
