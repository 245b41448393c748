package io.github.pinlink;

/** Whether the far side may have seen the request. In doubt it is {@link #UNKNOWN}. */
public enum Delivery {
    /** No byte of the request was written to any connection. */
    NOT_SENT("not sent"),
    /** At least one byte was written and no answer came. */
    UNKNOWN("delivery unknown"),
    /** The far side answered, at least with the head. */
    ANSWERED("answered");

    private final String text;

    Delivery(String text) {
        this.text = text;
    }

    /** The name in messages, the same in every language. */
    @Override
    public String toString() {
        return text;
    }

    static Delivery of(String text) {
        for (Delivery value : values()) {
            if (value.text.equals(text)) {
                return value;
            }
        }
        return UNKNOWN;
    }
}
