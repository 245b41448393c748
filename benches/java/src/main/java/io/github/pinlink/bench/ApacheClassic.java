package io.github.pinlink.bench;

import java.io.IOException;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.DefaultClientTlsStrategy;
import org.apache.hc.core5.http.ClassicHttpRequest;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.io.support.ClassicRequestBuilder;

/** Apache HttpClient 5, classic. */
final class ApacheClassic implements Get {
    private final CloseableHttpClient client;
    private final At at;

    ApacheClassic(At at) throws Exception {
        this.at = at;
        PoolingHttpClientConnectionManagerBuilder connections = PoolingHttpClientConnectionManagerBuilder.create()
                .setMaxConnPerRoute(at.connections)
                .setMaxConnTotal(at.connections);
        if (at.isTls()) {
            connections.setTlsSocketStrategy(new DefaultClientTlsStrategy(at.context()));
        }
        client = HttpClients.custom().setConnectionManager(connections.build()).build();
    }

    private ClassicHttpRequest request() {
        return at.posted == null
                ? ClassicRequestBuilder.get(at.url).build()
                : ClassicRequestBuilder.post(at.url)
                        .setEntity(at.posted, ContentType.APPLICATION_OCTET_STREAM)
                        .build();
    }

    @Override
    public byte[] get() throws IOException {
        return client.execute(request(), answer -> EntityUtils.toByteArray(answer.getEntity()));
    }

    @Override
    public long stream() throws IOException {
        return client.execute(request(), answer -> Get.counted(answer.getEntity().getContent()));
    }
}
