package io.github.pinlink;

/** What an answer says about a write. */
public enum Meaning {
    /** This request had its effect. */
    APPLIED("Applied"),
    /** An earlier one under this key had. */
    ALREADY_APPLIED("AlreadyApplied"),
    /** Something stands where this write would go; whose it is must be found out. */
    EXISTS("Exists"),
    /** Another request under this key is being processed: ask again later. */
    IN_PROGRESS("InProgress"),
    /** This key came with another body before. */
    MISMATCH("Mismatch"),
    /** Not now: send again under the same key. */
    AGAIN("Again"),
    /**
     * The target failed, and says the same to every repetition under this key: whether there was an effect is not
     * known.
     */
    STORED("Stored"),
    /** Refused: this request had no effect. */
    REJECTED("Rejected");

    private final String text;

    Meaning(String text) {
        this.text = text;
    }

    /** The name, the same in every language. */
    @Override
    public String toString() {
        return text;
    }
}
