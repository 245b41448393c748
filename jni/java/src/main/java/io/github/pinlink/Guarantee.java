package io.github.pinlink;

/** What a target promises about a write that is executed twice. */
public enum Guarantee {
    /** One effect across retries, re-executions and twins, as long as the target remembers the key. */
    ONCE("Once"),
    /** The method's own: a repeated effect equals one (RFC 9110 9.2.2). Two twins are in no order. */
    REPEATABLE("Repeatable"),
    /** This process sends it at most once where it may have arrived; a re-executed node sends it again. */
    AT_MOST_ONCE_PER_PROCESS("AtMostOncePerProcess");

    private final String text;

    Guarantee(String text) {
        this.text = text;
    }

    static Guarantee of(String text) {
        for (Guarantee guarantee : values()) {
            if (guarantee.text.equals(text)) {
                return guarantee;
            }
        }
        return AT_MOST_ONCE_PER_PROCESS;
    }

    /** The name, the same in every language. */
    @Override
    public String toString() {
        return text;
    }
}
