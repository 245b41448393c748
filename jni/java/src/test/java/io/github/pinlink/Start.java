package io.github.pinlink;

/** What a JVM does that makes its first client, or with an argument what it does without. */
final class Start {
    private Start() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 0) {
            Client.builder().hosts("https://kms.example").pins("kms.example=192.0.2.1").build().close();
        }
    }
}
