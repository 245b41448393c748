package io.github.pinlink;

import io.github.pinlink.Diagnosis.Fact;
import io.github.pinlink.Diagnosis.Verdict;
import java.util.ArrayList;
import java.util.List;

/**
 * What this JVM has that decides about calls, for a {@link Diagnosis}. A sandbox may keep any of it, which is then not
 * known; nothing is thrown, and nothing changed.
 */
final class Host {
    private Host() {}

    /** What there is beside the machine's own facts, with the library as it was found. */
    static List<Fact> facts() {
        List<Fact> facts = new ArrayList<>();
        facts.add(java());
        facts.add(sandbox());
        facts.add(heap());
        String found = Library.found();
        if (found != null) {
            facts.add(new Fact("library", Verdict.WELL, found));
        }
        return facts;
    }

    /** The same where the library can't be loaded: what to do, and what was tried. */
    static List<Fact> without(Library missing) {
        List<Fact> facts = facts();
        facts.add(new Fact("library", Verdict.FAILED, "can't be loaded" + missing.advice()));
        for (String attempt : missing.attempts()) {
            facts.add(new Fact("library", Verdict.FAILED, attempt));
        }
        return facts;
    }

    private static Fact java() {
        String version = property("java.version");
        String vendor = property("java.vendor");
        if (version == null) {
            return new Fact("java", Verdict.UNKNOWN, "this JVM's sandbox keeps java.version");
        }
        return new Fact("java", Verdict.WELL, vendor == null ? version : version + " (" + vendor + ")");
    }

    private static String property(String name) {
        try {
            return System.getProperty(name);
        } catch (SecurityException kept) {
            return null;
        }
    }

    private static Fact sandbox() {
        try {
            boolean isOn = System.getSecurityManager() != null;
            return isOn
                    ? new Fact("sandbox", Verdict.WARNING, "on: Java's own sockets, threads and files are restricted")
                    : new Fact("sandbox", Verdict.WELL, "off");
        } catch (LinkageError newer) {
            return new Fact("sandbox", Verdict.WELL, "none in this JVM");
        }
    }

    private static Fact heap() {
        Runtime runtime = Runtime.getRuntime();
        long used = runtime.totalMemory() - runtime.freeMemory();
        long most = runtime.maxMemory();
        String limit = most == Long.MAX_VALUE ? "no limit" : "at most " + (most >> 20) + " MiB";
        return new Fact("heap", Verdict.WELL, limit + ", " + (used >> 20) + " MiB in use");
    }
}
