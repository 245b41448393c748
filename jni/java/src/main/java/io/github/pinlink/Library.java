package io.github.pinlink;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URISyntaxException;
import java.net.URL;
import java.security.AccessController;
import java.security.CodeSource;
import java.security.PrivilegedAction;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Finds the native library and loads it, once per class loader: an explicit path, then a file of its name in the
 * working directory, then the copy in the jar, which is put into the first folder that lets it be mapped.
 *
 * <p>A sandbox may forbid any of these steps, so each fails by itself and is noted; what is thrown tells of all of
 * them. Nothing is thrown while a class is initialised, no process is started, and no system property is read that
 * the platform's sandbox keeps.
 */
final class Library {
    /** The property that names the file, or the folder in which it lies. */
    static final String PROPERTY = "pinlink.library";

    /** The file's name wherever it is looked for. */
    static final String FILE = "libpinlink_jni.so";

    /** What the platform's sandbox is turned off by. */
    private static final String ADVICE = "; to do: this JVM's sandbox forbids native code or the files that it needs: "
            + "set odps.isolation.session.enable=true for the job";

    /** Where the library is from that is loaded; null before. */
    private static String found;

    private final List<String> attempts = new ArrayList<>();
    private String from;
    private boolean isForbidden;

    private Library() {}

    /**
     * Loads it unless it is loaded.
     *
     * @param explicit the file or its folder, or null
     */
    static void load(String explicit) throws PinlinkException {
        Library missing = missing(explicit);
        if (missing != null) {
            throw Failure.of(Reason.CONFIG_LIBRARY, missing.report());
        }
    }

    /** Loads it unless it is loaded; null, or the vain search. */
    static synchronized Library missing(String explicit) {
        if (found == null) {
            Library library = new Library();
            if (!library.search(explicit)) {
                return library;
            }
            found = library.from;
        }
        return null;
    }

    /** Where the library is from, or null where it is not loaded. */
    static synchronized String found() {
        return found;
    }

    private String report() {
        return "the native library can't be loaded: " + String.join("; ", attempts) + advice();
    }

    /** What was tried in vain, and why it was. */
    List<String> attempts() {
        return attempts;
    }

    /** What is to be done, where that is known. */
    String advice() {
        return isForbidden ? ADVICE : "";
    }

    private void note(String what, Throwable why) {
        isForbidden |= why instanceof SecurityException;
        attempts.add(what + ": " + why);
    }

    private boolean search(String explicit) {
        String property = property(PROPERTY);
        for (String path : new String[] {explicit, property}) {
            if (path != null && !path.isEmpty() && (loadFile(new File(path)) || loadFile(new File(path, FILE)))) {
                return true;
            }
        }
        String directory = property("user.dir");
        if (directory != null) {
            for (String folder : new String[] {"", "temp"}) {
                if (loadFile(new File(new File(directory, folder), FILE))) {
                    return true;
                }
            }
        }
        return loadEmbedded();
    }

    /** A property, or null where it is not set or not to be read. */
    private String property(String name) {
        try {
            return System.getProperty(name);
        } catch (SecurityException forbidden) {
            note("property " + name, forbidden);
            return null;
        }
    }

    private boolean loadFile(File file) {
        String path = file.getPath();
        try {
            path = file.getAbsolutePath();
            if (!file.isFile()) {
                attempts.add(path + ": no such file");
                return false;
            }
        } catch (SecurityException unreadable) {
            // What may not be looked at may be loadable all the same: the JVM looks with rights of its own.
            note(path, unreadable);
        }
        try {
            System.load(path);
            return isOurs(path);
        } catch (UnsatisfiedLinkError error) {
            // The JVM lets a file be loaded by one class loader only, and says so in no other way.
            if (String.valueOf(error.getMessage()).contains("already loaded in another classloader")) {
                return loadCopy(path, file, null);
            }
            note(path, error);
            return false;
        } catch (SecurityException | LinkageError failed) {
            note(path, failed);
            return false;
        }
    }

    /** Whether what was loaded has the functions of this version. */
    private boolean isOurs(String path) {
        String version;
        try {
            version = Native.version();
        } catch (LinkageError error) {
            note(path, error);
            return false;
        }
        if (!Native.VERSION.equals(version)) {
            attempts.add(path + ": it is of version " + version + ", these classes are of " + Native.VERSION);
            return false;
        }
        from = path;
        return true;
    }

    private boolean loadEmbedded() {
        String architecture = property("os.arch");
        String resource = "native/linux-" + ("amd64".equals(architecture) ? "x86_64" : architecture) + "/" + FILE;
        return loadCopy("the jar", null, resource);
    }

    /**
     * A resource of this jar, or null. With this jar's own rights: in a sandbox those of the function that calls don't
     * reach so far.
     */
    private static InputStream open(String resource) {
        return AccessController.doPrivileged(new PrivilegedAction<InputStream>() {
            @Override
            public InputStream run() {
                InputStream entry = entry(resource);
                return entry == null ? Library.class.getResourceAsStream(resource) : entry;
            }
        });
    }

    /**
     * The same out of the jar file itself, or null where there is none: a class loader would look through all of the
     * JDK's modules first, which on some costs more than the client.
     */
    private static InputStream entry(String resource) {
        ZipFile jar = null;
        InputStream entry = null;
        try {
            CodeSource source = Library.class.getProtectionDomain().getCodeSource();
            URL location = source == null ? null : source.getLocation();
            if (location == null || !"file".equals(location.getProtocol()) || !location.getPath().endsWith(".jar")) {
                return null;
            }
            jar = new ZipFile(new File(location.toURI()));
            ZipEntry found = jar.getEntry("io/github/pinlink/" + resource);
            entry = found == null ? null : new Entry(jar, jar.getInputStream(found));
            return entry;
        } catch (IOException | SecurityException | URISyntaxException | IllegalArgumentException unreadable) {
            // A class loader may have it all the same.
            return null;
        } finally {
            if (jar != null && entry == null) {
                close(jar);
            }
        }
    }

    private static void close(ZipFile jar) {
        try {
            jar.close();
        } catch (IOException ignored) {
            // It was only read.
        }
    }

    /** A stream that closes its jar. */
    private static final class Entry extends FilterInputStream {
        private final ZipFile jar;

        Entry(ZipFile jar, InputStream in) {
            super(in);
            this.jar = jar;
        }

        @Override
        public void close() throws IOException {
            super.close();
            jar.close();
        }
    }

    /** Puts a copy of a file, or where that is null of a resource, into the first folder that it can be loaded from. */
    private boolean loadCopy(String what, File source, String resource) {
        for (String folder : folders()) {
            File file = null;
            try (InputStream in = source == null ? open(resource) : new FileInputStream(source)) {
                if (in == null) {
                    attempts.add(what + ": it holds no " + resource);
                    return false;
                }
                file = unique(folder);
                write(in, file);
                System.load(file.getAbsolutePath());
                if (isOurs(file.getPath())) {
                    from = what + ", by a copy in " + folder;
                    return true;
                }
            } catch (IOException | SecurityException | LinkageError failed) {
                note(what + " in " + folder, failed);
            } finally {
                delete(file);
            }
        }
        return false;
    }

    /**
     * A file that nobody else has, empty. Not by a random name: a JVM's first random number takes longer than all the
     * rest here.
     */
    private static File unique(String folder) throws IOException {
        for (int tries = 0; tries < 100; tries++) {
            int loader = System.identityHashCode(Library.class);
            String name = Long.toHexString(System.nanoTime()) + "-" + Integer.toHexString(loader);
            File file = new File(folder, "pinlink-" + Native.VERSION + "-" + name + ".so");
            if (file.createNewFile()) {
                return file;
            }
        }
        throw new IOException("every name is taken");
    }

    /** Folders that may be written to and mapped from: each is refused somewhere (read-only, noexec, a sandbox). */
    private Set<String> folders() {
        Set<String> folders = new LinkedHashSet<>();
        String temporary = property("java.io.tmpdir");
        if (temporary != null) {
            folders.add(temporary);
        }
        String directory = property("user.dir");
        if (directory != null) {
            folders.add(new File(directory, "temp").getPath());
            folders.add(directory);
        }
        folders.add("/tmp");
        folders.add("/var/tmp");
        folders.add("/dev/shm");
        return folders;
    }

    /** Writes it under another name first: nobody finds half a library under this one. */
    private static void write(InputStream in, File file) throws IOException {
        File half = new File(file.getPath() + ".half");
        try (OutputStream out = new FileOutputStream(half)) {
            byte[] piece = new byte[1 << 16];
            for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                out.write(piece, 0, got);
            }
            if (!half.renameTo(file)) {
                throw new IOException("it can't be renamed");
            }
        } finally {
            delete(half);
        }
    }

    /** A mapped file needs its name no more, so none is left behind. */
    private static void delete(File file) {
        try {
            if (file != null) {
                file.delete();
            }
        } catch (SecurityException ignored) {
            // It stays, which harms nobody.
        }
    }
}
