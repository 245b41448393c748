package io.github.pinlink;

/** How a key is written. */
public enum KeyForm {
    /** 64 hexadecimal digits ({@link Key#hex()}). */
    HEX("hex"),
    /** A UUID of version 8 ({@link Key#uuid()}). */
    UUID("uuid"),
    /** 26 letters and digits ({@link Key#shortened()}). */
    SHORT("short");

    private final String word;

    KeyForm(String word) {
        this.word = word;
    }

    String word() {
        return word;
    }
}
