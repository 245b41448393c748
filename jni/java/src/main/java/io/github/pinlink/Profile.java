package io.github.pinlink;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * What is known of a target that takes keys: where the key goes, in which form, how long it is remembered, and what
 * the answers mean. Immutable: every method that changes something returns another profile.
 *
 * <pre>{@code
 * Profile orders = Profile.header("X-Request-Id")
 *         .form(KeyForm.UUID)
 *         .memory(Duration.ofMinutes(30))
 *         .mark(409, "REQUEST_RUNNING", Meaning.IN_PROGRESS)
 *         .replayMark("X-Replayed", "1");
 * }</pre>
 */
public final class Profile {
    /** Sentences of a few words, as native code reads them: see {@code jni/src/writes.rs}. */
    private final List<String[]> sentences;

    private Profile(List<String[]> sentences) {
        this.sentences = sentences;
    }

    private static Profile of(String... words) {
        List<String[]> sentences = new ArrayList<>();
        sentences.add(words);
        return new Profile(sentences);
    }

    private Profile and(String... words) {
        List<String[]> more = new ArrayList<>(sentences);
        more.add(words);
        return new Profile(more);
    }

    /**
     * {@code Idempotency-Key} as the IETF's draft has it: a quoted structured-field string; 409 while the first
     * request runs, 422 where the body is another one.
     *
     * @return the profile
     */
    public static Profile idempotencyKey() {
        return of("idempotency_key");
    }

    /**
     * {@code Idempotency-Key} as Stripe and those after it take it: bare; the first answer is replayed, a stored 500
     * too.
     *
     * @return the profile
     */
    public static Profile bareIdempotencyKey() {
        return of("bare_idempotency_key");
    }

    /**
     * A header of the target's own, bare.
     *
     * @param name the header's name
     * @return the profile
     */
    public static Profile header(String name) {
        return of("header", name);
    }

    /**
     * A parameter of the query.
     *
     * @param name the parameter's name
     * @return the profile
     */
    public static Profile query(String name) {
        return of("query", name);
    }

    /**
     * A field of a body in {@code application/x-www-form-urlencoded}.
     *
     * @param name the field's name
     * @return the profile
     */
    public static Profile formField(String name) {
        return of("form_field", name);
    }

    /**
     * {@code ClientToken} in the query, as Alibaba Cloud's OpenAPI has it.
     *
     * @return the profile
     */
    public static Profile clientToken() {
        return of("client_token");
    }

    /**
     * The same in a form body.
     *
     * @return the profile
     */
    public static Profile clientTokenInForm() {
        return of("client_token_in_form");
    }

    /**
     * {@code PUT} of an OSS object that must not exist yet. Where the object's name holds {@code {key}}, one that
     * exists is this write; else its metadata, set by the write, or its bytes tell whose it is.
     *
     * @return the profile
     */
    public static Profile oss() {
        return of("oss");
    }

    /**
     * The same at an S3-compatible store.
     *
     * @return the profile
     */
    public static Profile s3() {
        return of("s3");
    }

    /**
     * {@code PUT} of what must not exist yet at any HTTP server ({@code If-None-Match: *}, RFC 9110 13.1.2).
     *
     * @return the profile
     */
    public static Profile ifNoneMatch() {
        return of("if_none_match");
    }

    /**
     * Elasticsearch and OpenSearch: {@code PUT /index/_create/{key}}.
     *
     * @return the profile
     */
    public static Profile elasticsearch() {
        return of("elasticsearch");
    }

    /**
     * Tablestore: a row whose condition {@code EXPECT_NOT_EXIST} stands in the caller's body, and whose primary key
     * holds the key ({@link Key#hex()}).
     *
     * @return the profile
     */
    public static Profile tablestore() {
        return of("tablestore");
    }

    /**
     * How the key is written; the default is {@link KeyForm#HEX}.
     *
     * @param form the form
     * @return the profile with it
     */
    public Profile form(KeyForm form) {
        return and("form", form.word());
    }

    /**
     * How long the target remembers a key; the default is 24 hours. After that, less a margin, nothing is sent again.
     *
     * @param memory how long
     * @return the profile with it
     */
    public Profile memory(Duration memory) {
        return and("memory", Long.toString(Math.max(0, memory.toMillis())));
    }

    /**
     * What an answer of this status means. The first mark that fits counts.
     *
     * @param status the status, 200 to 599
     * @param meaning what it means
     * @return the profile with it
     */
    public Profile mark(int status, Meaning meaning) {
        return and("mark", Integer.toString(status & 0xffff), meaning.toString());
    }

    /**
     * What an answer of this status means where its body holds a code.
     *
     * @param status the status, 200 to 599
     * @param code the code
     * @param meaning what it means
     * @return the profile with it
     */
    public Profile mark(int status, String code, Meaning meaning) {
        return and("mark", Integer.toString(status & 0xffff), meaning.toString(), code);
    }

    /**
     * The header and value by which the target says that an answer is a stored one.
     *
     * @param name the header's name
     * @param value its value
     * @return the profile with it
     */
    public Profile replayMark(String name, String value) {
        return and("replay_mark", name, value);
    }

    /**
     * Whether a failure (500) is stored under the key, so that every repetition gets it again; the default is no.
     *
     * @param stores whether
     * @return the profile with it
     */
    public Profile storesFailures(boolean stores) {
        return and("stores_failures", Boolean.toString(stores));
    }

    void pack(Packet packet) {
        packet.put(sentences.size());
        for (String[] words : sentences) {
            packet.put(words.length);
            for (String word : words) {
                packet.put(word);
            }
        }
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("Profile(");
        for (String[] words : sentences) {
            text.append(text.charAt(text.length() - 1) == '(' ? "" : ", ").append(String.join(" ", words));
        }
        return text.append(')').toString();
    }
}
