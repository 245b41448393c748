package io.github.pinlink.bench;

import java.io.IOException;
import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.DefaultClientTlsStrategy;
import org.apache.hc.core5.http.io.entity.EntityUtils;

/** Apache HttpClient 5, classic. */
final class ApacheClassic implements Get {
    private final CloseableHttpClient client;
    private final String url;

    ApacheClassic(At at) throws Exception {
        url = at.url;
        PoolingHttpClientConnectionManagerBuilder connections = PoolingHttpClientConnectionManagerBuilder.create()
                .setMaxConnPerRoute(At.CONNECTIONS)
                .setMaxConnTotal(At.CONNECTIONS);
        if (at.isTls()) {
            connections.setTlsSocketStrategy(new DefaultClientTlsStrategy(at.context()));
        }
        client = HttpClients.custom().setConnectionManager(connections.build()).build();
    }

    @Override
    public byte[] get() throws IOException {
        return client.execute(new HttpGet(url), answer -> EntityUtils.toByteArray(answer.getEntity()));
    }
}
