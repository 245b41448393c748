package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.lang.ref.WeakReference;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Scanner;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The promise: the library is found in this order, each class loader works, and a failure tells of every attempt. */
class LibraryTest {
    private static final File FILE = new File(System.getProperty("pinlink.library"));

    /** These classes once more, as another class loader has them; resources from {@code more} first. */
    private static URLClassLoader loader(File... more) throws IOException {
        URL classes = Library.class.getProtectionDomain().getCodeSource().getLocation();
        URL[] urls = new URL[more.length + 1];
        for (int i = 0; i < more.length; i++) {
            urls[i] = more[i].toURI().toURL();
        }
        urls[more.length] = classes;
        return new URLClassLoader(urls, ClassLoader.getSystemClassLoader().getParent());
    }

    private static Object invoke(Object on, String method) throws Exception {
        Method found = on.getClass().getMethod(method);
        return found.invoke(on);
    }

    /** Loads the library for a class loader, and says what went wrong. */
    private static String load(ClassLoader loader, String explicit) throws Exception {
        Class<?> library = loader.loadClass(Library.class.getName());
        assertNotSame(Library.class, library);
        Method load = library.getDeclaredMethod("load", String.class);
        load.setAccessible(true);
        try {
            load.invoke(null, explicit);
            return null;
        } catch (InvocationTargetException failed) {
            return failed.getCause().getMessage();
        }
    }

    /** Runs what must not see the property that names the library of the tests. */
    private static String withoutProperty(ClassLoader loader, String explicit) throws Exception {
        String property = System.clearProperty(Library.PROPERTY);
        try {
            return load(loader, explicit);
        } finally {
            System.setProperty(Library.PROPERTY, property);
        }
    }

    @Test
    void aFailureListsEveryAttemptInItsOrder(@TempDir Path folder) throws Exception {
        File broken = folder.resolve("broken.so").toFile();
        Files.write(broken.toPath(), new byte[0]);
        try (URLClassLoader loader = loader()) {
            String message = withoutProperty(loader, broken.getPath());
            assertTrue(message.startsWith("Config.Library: "), message);
            int[] places = Stream.of(
                            "broken.so: java.lang.UnsatisfiedLinkError",
                            "broken.so/libpinlink_jni.so: no such file",
                            new File(System.getProperty("user.dir"), Library.FILE) + ": no such file",
                            "temp/" + Library.FILE,
                            "the jar: it holds no native/linux-")
                    .mapToInt(message::indexOf)
                    .toArray();
            int[] ascending = places.clone();
            Arrays.sort(ascending);
            assertEquals(Arrays.toString(ascending), Arrays.toString(places), message);
            assertTrue(places[0] > 0, message);
        }
    }

    @Test
    void aFailureIsNotRemembered() throws Exception {
        try (URLClassLoader loader = loader()) {
            assertTrue(withoutProperty(loader, "/nowhere").contains("/nowhere: no such file"));
            assertNull(withoutProperty(loader, FILE.getParent()), "a folder will do");
        }
    }

    @Test
    void theCopyInTheJarIsUsedWhereNothingElseIsAndLeavesNoFile(@TempDir Path folder) throws Exception {
        Path resource = folder.resolve("io/github/pinlink/native/linux-x86_64/" + Library.FILE);
        Files.createDirectories(resource.getParent());
        Files.createSymbolicLink(resource, FILE.toPath());
        try (URLClassLoader loader = loader(folder.toFile())) {
            assertNull(withoutProperty(loader, null));
        }
        for (String directory : new String[] {System.getProperty("java.io.tmpdir"), "/dev/shm", "."}) {
            String[] left = new File(directory).list((where, name) -> name.startsWith("pinlink-" + Native.VERSION));
            assertEquals(0, left == null ? 0 : left.length, Arrays.toString(left));
        }
    }

    @Test
    void twoClassLoadersShareOneCap() throws Exception {
        try (Box box = Box.start("--cap", "2", "--over-cap", "reset");
                URLClassLoader one = loader();
                URLClassLoader other = loader()) {
            // The file of the tests is loaded by this class loader already: each of these needs a copy.
            box.client().build().close();
            Object[] clients = new Object[2];
            ClassLoader[] loaders = {one, other};
            for (int i = 0; i < 2; i++) {
                Class<?> client = loaders[i].loadClass(Client.class.getName());
                Object builder = client.getMethod("builder").invoke(null);
                Method option = builder.getClass().getMethod("option", String.class, String.class);
                option.invoke(builder, "hosts", box.http(""));
                option.invoke(builder, "nameservers", box.dns());
                option.invoke(builder, "allow_addresses", "127.0.0.0/8");
                option.invoke(builder, "max_connections", "2");
                clients[i] = invoke(builder, "buildShared");
            }
            Stream.of(clients).parallel().forEach(client -> {
                for (int i = 0; i < 50; i++) {
                    assertEquals(200, status(client, box.http("/delay/2")));
                }
            });
            assertTrue(box.counts().at("/proxy/peak").asInt() <= 2, box.counts().toString());
            assertEquals(100, box.counts().at("/origins/requests").asInt(), box.counts().toString());
            for (Object client : clients) {
                invoke(client, "close");
            }
        }
    }

    @Test
    void classLoadersThatLoadAtOnceAgreeOnOneRuntime() throws Exception {
        try (Box box = Box.start()) {
            for (int round = 0; round < 3; round++) {
                Fork fork = Fork.run(Collections.emptyList(), Crowd.class, box.http(""), box.dns());
                assertEquals(0, fork.code, fork.output);
            }
        }
    }

    @Test
    void theLibraryShowsNothingButItsEntryPoints() throws Exception {
        Process nm = new ProcessBuilder("nm", "--dynamic", "--defined-only", FILE.getPath()).start();
        List<String> names = new ArrayList<>();
        try (Scanner out = new Scanner(nm.getInputStream(), "UTF-8")) {
            while (out.hasNextLine()) {
                names.add(out.nextLine().replaceAll(".* ", ""));
            }
        }
        Collections.sort(names);
        assertEquals(Arrays.asList("JNI_OnLoad", "pinlink_natives_v1"), names);
    }

    @Test
    void aClassLoaderThatIsDroppedIsCollectedThoughItsCopyWasUsed() throws Exception {
        try (Box box = Box.start()) {
            WeakReference<ClassLoader> dropped = used(box);
            for (int i = 0; i < 100 && dropped.get() != null; i++) {
                System.gc();
                Thread.sleep(20);
            }
            assertNull(dropped.get());
            try (URLClassLoader next = loader()) {
                assertNull(load(next, null), "what the first one brought serves those who come after");
            }
        }
    }

    /** Loads, calls in every way that keeps something meanwhile, and lets go. */
    private static WeakReference<ClassLoader> used(Box box) throws Exception {
        Class<?> exercise = new URLClassLoader(
                new URL[] {Exercise.class.getProtectionDomain().getCodeSource().getLocation(),
                    Library.class.getProtectionDomain().getCodeSource().getLocation()},
                ClassLoader.getSystemClassLoader().getParent()).loadClass(Exercise.class.getName());
        Method main = exercise.getDeclaredMethod("main", String[].class);
        main.setAccessible(true);
        main.invoke(null, (Object) new String[] {box.http(""), box.dns()});
        ((URLClassLoader) exercise.getClassLoader()).close();
        return new WeakReference<>(exercise.getClassLoader());
    }

    private static int status(Object client, String url) {
        try {
            Class<?> request = client.getClass().getClassLoader().loadClass(Request.class.getName());
            Object get = request.getMethod("get", String.class).invoke(null, url);
            return (Integer) invoke(client.getClass().getMethod("send", request).invoke(client, get), "status");
        } catch (Exception failed) {
            throw new AssertionError(failed);
        }
    }
}
