package io.github.pinlink;

/** A write that had its effect. */
public final class Written {
    private final Response response;

    Written(Response response) {
        this.response = response;
    }

    /**
     * When it had its effect.
     *
     * @return {@link Outcome#APPLIED} or {@link Outcome#ALREADY_APPLIED}
     */
    public Outcome outcome() {
        return response.wasAppliedBefore() ? Outcome.ALREADY_APPLIED : Outcome.APPLIED;
    }

    /**
     * The answer that said so: to the write, or to the read that settled it. Where the JVM had no memory for its body
     * it has none, and {@link Response#isCut()} says so: the write had its effect all the same.
     *
     * @return the answer
     */
    public Response response() {
        return response;
    }

    @Override
    public String toString() {
        return "Written(" + outcome() + ", " + response + ")";
    }
}
