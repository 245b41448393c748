package io.github.pinlink;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;

/**
 * What a look at the way to some targets has found, step by step, and what of the machine decides about calls. It holds
 * hosts, addresses and names of failures, and nothing that is secret.
 *
 * <p>As text it is a table that fits into a job's log; names of stages, verdicts, layers and certainties are the same
 * in every language.
 */
public final class Diagnosis {
    private final boolean isWell;
    private final String table;
    private final String json;
    private final List<Examination> targets;
    private final List<Fact> environment;

    private Diagnosis(boolean isWell, String table, String json, List<Examination> targets, List<Fact> environment) {
        this.isWell = isWell;
        this.table = table;
        this.json = json;
        this.targets = Collections.unmodifiableList(targets);
        this.environment = Collections.unmodifiableList(environment);
    }

    static Diagnosis unpack(Unpacking fields) {
        boolean isWell = fields.octet() != 0;
        String table = fields.text();
        String json = fields.text();
        List<Examination> targets = new ArrayList<>();
        for (int left = fields.integer(); left > 0; left--) {
            targets.add(Examination.unpack(fields));
        }
        List<Fact> environment = new ArrayList<>();
        for (int left = fields.integer(); left > 0; left--) {
            environment.add(new Fact(fields.text(), Verdict.of(fields.text()), fields.text()));
        }
        return new Diagnosis(isWell, table, json, targets, environment);
    }

    /** Where nothing could be looked at: only what this side knows, in the form of the others. */
    static Diagnosis withoutLibrary(String[] targets, List<Fact> environment) {
        StringBuilder table = new StringBuilder();
        StringBuilder json = new StringBuilder("{\n  \"targets\": [");
        List<Examination> examinations = new ArrayList<>();
        for (String target : targets) {
            table.append(target).append(": NOT LOOKED AT\n");
            json.append(examinations.isEmpty() ? "\n" : ",\n").append("    {\n      \"target\": ");
            quote(target, json).append(",\n      \"steps\": []\n    }");
            examinations.add(new Examination(target, false, Collections.emptyList()));
        }
        table.append("this machine\n");
        json.append(targets.length == 0 ? "" : "\n  ").append("],\n  \"environment\": [");
        String comma = "\n";
        for (Fact fact : environment) {
            table.append(String.format(Locale.ROOT, "  %-16s%-8s%s%n", fact.name, fact.verdict, fact.value));
            quote(fact.name, json.append(comma).append("    {\n      \"name\": ")).append(",\n      \"verdict\": ");
            quote(fact.verdict.name().toLowerCase(Locale.ROOT), json).append(",\n      \"value\": ");
            quote(fact.value, json).append("\n    }");
            comma = ",\n";
        }
        json.append("\n  ]\n}");
        return new Diagnosis(false, table.toString(), json.toString(), examinations, environment);
    }

    private static StringBuilder quote(String text, StringBuilder json) {
        json.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c == '"' || c == '\\' ? "\\" : "").append(c);
            }
        }
        return json.append('"');
    }

    /**
     * Whether all targets are reachable, perhaps with a warning.
     *
     * @return false where a step has failed, or nothing could be looked at
     */
    public boolean isWell() {
        return isWell;
    }

    /**
     * The targets.
     *
     * @return in the order given
     */
    public List<Examination> targets() {
        return targets;
    }

    /**
     * The machine and this JVM, as far as they matter.
     *
     * @return what was read
     */
    public List<Fact> environment() {
        return environment;
    }

    /**
     * The report as JSON.
     *
     * @return {@code targets} and {@code environment}, with the same fields in every language
     */
    public String toJson() {
        return json;
    }

    /** The report as a table of plain text. */
    @Override
    public String toString() {
        return table;
    }

    /** The way to one target. */
    public static final class Examination {
        private final String target;
        private final boolean isWell;
        private final List<Step> steps;

        private Examination(String target, boolean isWell, List<Step> steps) {
            this.target = target;
            this.isWell = isWell;
            this.steps = Collections.unmodifiableList(steps);
        }

        private static Examination unpack(Unpacking fields) {
            String target = fields.text();
            boolean isWell = fields.octet() != 0;
            List<Step> steps = new ArrayList<>();
            for (int left = fields.integer(); left > 0; left--) {
                steps.add(new Step(fields));
            }
            return new Examination(target, isWell, steps);
        }

        /**
         * What was looked at.
         *
         * @return the target as it was given
         */
        public String target() {
            return target;
        }

        /**
         * Whether every step went well, perhaps with a warning.
         *
         * @return false where one has failed, or none was taken
         */
        public boolean isWell() {
            return isWell;
        }

        /**
         * The steps towards it.
         *
         * @return in their order, up to the first that failed
         */
        public List<Step> steps() {
            return steps;
        }
    }

    /** One step towards a target. */
    public static final class Step {
        private final Stage stage;
        private final Verdict verdict;
        private final long nanoseconds;
        private final Reason reason;
        private final String detail;
        private final List<Cause> causes;

        private Step(Unpacking fields) {
            stage = Stage.of(fields.text());
            verdict = Verdict.of(fields.text());
            nanoseconds = fields.longer();
            String name = fields.text();
            reason = name.isEmpty() ? null : Reason.of(name);
            detail = fields.text();
            List<Cause> all = new ArrayList<>();
            for (int left = fields.integer(); left > 0; left--) {
                all.add(new Cause(Certainty.of(fields.text()), Layer.of(fields.text()), fields.text()));
            }
            causes = Collections.unmodifiableList(all);
        }

        /**
         * What was looked at.
         *
         * @return the stage
         */
        public Stage stage() {
            return stage;
        }

        /**
         * How it went.
         *
         * @return the verdict
         */
        public Verdict verdict() {
            return verdict;
        }

        /**
         * How long it took.
         *
         * @return milliseconds, with their fraction
         */
        public double milliseconds() {
            return nanoseconds / 1e6;
        }

        /**
         * Why it failed.
         *
         * @return the reason, or null where it went well
         */
        public Reason reason() {
            return reason;
        }

        /**
         * What was seen.
         *
         * @return one line
         */
        public String detail() {
            return detail;
        }

        /**
         * What is probably missing.
         *
         * @return the most probable first; nothing where it went well
         */
        public List<Cause> causes() {
            return causes;
        }
    }

    /** One step of somebody's that may be missing. */
    public static final class Cause {
        private final Certainty certainty;
        private final Layer layer;
        private final String step;

        private Cause(Certainty certainty, Layer layer, String step) {
            this.certainty = certainty;
            this.layer = layer;
            this.step = step;
        }

        /**
         * How sure that is.
         *
         * @return the certainty
         */
        public Certainty certainty() {
            return certainty;
        }

        /**
         * Whose step it is.
         *
         * @return the layer
         */
        public Layer layer() {
            return layer;
        }

        /**
         * What to do.
         *
         * @return one sentence
         */
        public String step() {
            return step;
        }
    }

    /** One thing about the machine, or about this JVM. */
    public static final class Fact {
        private final String name;
        private final Verdict verdict;
        private final String value;

        Fact(String name, Verdict verdict, String value) {
            this.name = name;
            this.verdict = verdict;
            this.value = value;
        }

        /**
         * What it is about.
         *
         * @return the name
         */
        public String name() {
            return name;
        }

        /**
         * Whether it is as calls need it.
         *
         * @return the verdict
         */
        public Verdict verdict() {
            return verdict;
        }

        /**
         * What was read.
         *
         * @return the value as text
         */
        public String value() {
            return value;
        }
    }

    /** What is looked at, in this order. */
    public enum Stage {
        /** The name's addresses: pinned, imported or looked up. */
        NAME("name"),
        /** Whether such addresses may be dialled. */
        ADDRESS("address"),
        /** A connection to each address. */
        TCP("tcp"),
        /** The handshake: SNI, chain, name, dates. */
        TLS("tls"),
        /** What the service says first, or answers to {@code GET /}. */
        ANSWER("answer");

        private final String text;

        Stage(String text) {
            this.text = text;
        }

        /** The name in reports. */
        @Override
        public String toString() {
            return text;
        }

        private static Stage of(String text) {
            return named(values(), text, ANSWER);
        }
    }

    /** How something went, or is. */
    public enum Verdict {
        /** As it should. */
        WELL("ok"),
        /** Worth a look. */
        WARNING("warning"),
        /** Not at all. */
        FAILED("FAILED"),
        /** It could not be seen. */
        UNKNOWN("unknown");

        private final String text;

        Verdict(String text) {
            this.text = text;
        }

        /** The name in reports. */
        @Override
        public String toString() {
            return text;
        }

        private static Verdict of(String text) {
            return named(values(), text, UNKNOWN);
        }
    }

    /** How sure a cause is: a failure seen from one side alone is never more than likely. */
    public enum Certainty {
        /** Mostly this. */
        LIKELY("likely"),
        /** Sometimes this. */
        POSSIBLE("possible");

        private final String text;

        Certainty(String text) {
            this.text = text;
        }

        /** The name in reports. */
        @Override
        public String toString() {
            return text;
        }

        private static Certainty of(String text) {
            return named(values(), text, POSSIBLE);
        }
    }

    /** The layers that must all agree, of reaching a service from a job, and those beside the way. */
    public enum Layer {
        /** The network connection between the project and a VPC. */
        NETWORK_CONNECTION("network connection"),
        /** The security group that was made for the network connection. */
        CONNECTION_GROUP("security group of the connection"),
        /** The target's own security group. */
        SECURITY_GROUP("security group of the target"),
        /** The target's white list of addresses. */
        WHITE_LIST("white list of the target"),
        /** The project's list of external addresses, and the job's. */
        INTERNET_ACCESS("internet access list"),
        /** A setting that the job itself carries. */
        JOB_FLAG("job flag"),
        /** Which of a service's endpoints is asked. */
        ENDPOINT("endpoint"),
        /** Names and their resolution. */
        NAME("name"),
        /** A proxy on the way. */
        PROXY("proxy"),
        /** The target's certificate, or ours. */
        CERTIFICATE("certificate"),
        /** The target itself. */
        TARGET("target"),
        /** How the job calls. */
        JOB("job"),
        /** Options of this library. */
        CONFIGURATION("configuration"),
        /** The isolation that the job's code runs in. */
        ISOLATION("isolation"),
        /** The machine that the job runs on. */
        MACHINE("machine");

        private final String text;

        Layer(String text) {
            this.text = text;
        }

        /** The name in reports. */
        @Override
        public String toString() {
            return text;
        }

        private static Layer of(String text) {
            return named(values(), text, TARGET);
        }
    }

    private static <E extends Enum<E>> E named(E[] values, String text, E otherwise) {
        for (E value : values) {
            if (value.toString().equals(text)) {
                return value;
            }
        }
        return otherwise;
    }
}
