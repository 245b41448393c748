package io.github.pinlink;

import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.FutureTask;

/** Many class loaders that load the library at one moment, in a JVM without it; arguments as for {@link Exercise}. */
final class Crowd {
    private static final int LOADERS = 6;

    private Crowd() {}

    public static void main(String[] arguments) throws Exception {
        URL[] classes = {
            Crowd.class.getProtectionDomain().getCodeSource().getLocation(),
            Library.class.getProtectionDomain().getCodeSource().getLocation()
        };
        CyclicBarrier together = new CyclicBarrier(LOADERS);
        List<FutureTask<Long>> members = new ArrayList<>();
        for (int i = 0; i < LOADERS; i++) {
            ClassLoader loader = new URLClassLoader(classes, ClassLoader.getSystemClassLoader().getParent());
            FutureTask<Long> member = new FutureTask<>(() -> {
                Class<?> own = loader.loadClass(Crowd.class.getName());
                together.await();
                Method join = own.getDeclaredMethod("join", String[].class);
                join.setAccessible(true);
                return (Long) join.invoke(null, (Object) arguments);
            });
            new Thread(member).start();
            members.add(member);
        }
        long most = 0;
        for (FutureTask<Long> member : members) {
            most = Math.max(most, member.get());
        }
        Exercise.check(most == LOADERS, "the last one sees " + most + " requests");
    }

    /** One member, within its class loader: how many requests the client has sent that all share. */
    static long join(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        options.put("pinlink.hosts", arguments[0]);
        options.put("pinlink.nameservers", arguments[1]);
        options.put("pinlink.allow_addresses", "127.0.0.0/8");
        try (Client client = Client.shared(options)) {
            client.send(Request.get(arguments[0] + "/rows/1"));
            return client.stats().requests();
        }
    }
}
