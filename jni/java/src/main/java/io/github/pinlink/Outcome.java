package io.github.pinlink;

/** What became of a write. */
public enum Outcome {
    /** It had its effect. */
    APPLIED("Applied"),
    /** An earlier request under the same key had its effect: an earlier try, an earlier execution, or a twin. */
    ALREADY_APPLIED("AlreadyApplied"),
    /** It had none: the target refused it, or nothing was sent. */
    REJECTED("Rejected"),
    /** It may have had its effect. */
    UNKNOWN("Unknown");

    private final String text;

    Outcome(String text) {
        this.text = text;
    }

    /** The name in messages, the same in every language. */
    @Override
    public String toString() {
        return text;
    }

    static Outcome of(String text) {
        for (Outcome value : values()) {
            if (value.text.equals(text)) {
                return value;
            }
        }
        return UNKNOWN;
    }
}
