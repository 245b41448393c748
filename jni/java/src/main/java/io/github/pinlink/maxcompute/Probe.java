package io.github.pinlink.maxcompute;

import com.aliyun.odps.udf.UDF;
import io.github.pinlink.Client;
import io.github.pinlink.PinlinkConfigException;
import java.io.IOException;

/**
 * A function that looks at the way to some targets from inside a job, and tells what is missing: the first thing to
 * upload, before any function of one's own.
 *
 * <pre>{@code
 * CREATE FUNCTION pinlink_probe AS 'io.github.pinlink.maxcompute.Probe' USING 'pinlink-0.1.0.jar';
 * SELECT pinlink_probe('https://kms.example,mysql://rds.example:3306');
 * }</pre>
 */
public final class Probe extends UDF {
    /** The platform calls it. */
    public Probe() {}

    /**
     * Looks with the defaults of every option.
     *
     * @param targets as {@link Client.Builder#doctor(String...)} takes them, separated by commas; with none, or null,
     *     the machine alone is looked at
     * @return the table; where no native code may be loaded, it says so with what was tried
     * @throws IOException of {@link io.github.pinlink.Kind#CONFIG} for a target that is none
     */
    public String evaluate(String targets) throws IOException {
        return evaluate(targets, null);
    }

    /**
     * Looks with these options.
     *
     * @param targets as above
     * @param options {@code name=value}, separated by spaces: {@code nameservers=10.0.0.2 connect_timeout=3s}
     * @return the table
     * @throws IOException as above, or for an option that is none
     */
    public String evaluate(String targets, String options) throws IOException {
        Client.Builder builder = Client.builder();
        for (String option : split(options, "\\s+")) {
            int equals = option.indexOf('=');
            if (equals < 1) {
                throw new PinlinkConfigException("options are name=value, separated by spaces");
            }
            builder.option(option.substring(0, equals), option.substring(equals + 1));
        }
        return builder.doctor(split(targets, "\\s*,\\s*")).toString();
    }

    private static String[] split(String text, String between) {
        String trimmed = text == null ? "" : text.trim();
        return trimmed.isEmpty() ? new String[0] : trimmed.split(between);
    }
}
