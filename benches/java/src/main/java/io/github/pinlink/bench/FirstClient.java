package io.github.pinlink.bench;

import io.github.pinlink.Client;
import io.github.pinlink.PinlinkException;

/** The first client of a process and nothing else: no class is loaded for another's sake. */
final class FirstClient {
    private FirstClient() {}

    static void make(String url) throws PinlinkException {
        Client.builder().hosts(url.substring(0, url.lastIndexOf('/'))).allowAddresses("127.0.0.0/8").build();
    }
}
