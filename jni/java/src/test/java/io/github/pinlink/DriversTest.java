package io.github.pinlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.SocketTimeoutException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The promise: drivers of databases get pinned connections within the cap, verify the name, and see the end of one as
 * they always do. Real drivers, real servers.
 */
class DriversTest {
    /** Pinned to the same address, and not in the certificate. */
    private static final String WRONG = "wrong.nowhere.test";

    private static final int CAP = 3;
    private static final int THREADS = 9;
    private static final int CONNECTIONS = 4;
    private static final int STATEMENTS = 280;

    /** Held: loggers that nobody holds are forgotten, and their levels with them. */
    private static final Logger LOG = Logger.getLogger("org.postgresql");

    private static Box box;
    private static final Map<Driver, Engine> ENGINES = new EnumMap<>(Driver.class);

    enum Driver {
        POSTGRES {
            @Override
            Engine start() throws Exception {
                return Engine.postgres();
            }

            @Override
            String direct(int port) {
                return "jdbc:postgresql://127.0.0.1:" + port + "/postgres?user=test&sslmode=disable";
            }

            @Override
            String url(String host, int port) {
                return "jdbc:postgresql://" + host + ":" + port + "/postgres?user=test&socketFactory="
                        + PinnedSockets.class.getName() + "&socketFactoryArg=" + host + ":" + port;
            }

            @Override
            String plain() {
                return "&sslmode=disable";
            }

            @Override
            String verified(String caFile) {
                return "&sslmode=verify-full&sslrootcert=" + caFile;
            }

            @Override
            String impatient() {
                return "&socketTimeout=1";
            }
        },
        MARIADB {
            @Override
            Engine start() throws Exception {
                return Engine.mariadb();
            }

            @Override
            String direct(int port) {
                return "jdbc:mariadb://127.0.0.1:" + port + "/?user=root&sslMode=disable";
            }

            @Override
            String url(String host, int port) {
                OrdersDatabase.target = host + ":" + port;
                return "jdbc:mariadb://" + host + ":" + port + "/?user=root&socketFactory="
                        + OrdersDatabase.class.getName();
            }

            @Override
            String plain() {
                return "&sslMode=disable";
            }

            @Override
            String verified(String caFile) {
                return "&sslMode=verify-full&serverSslCert=" + caFile;
            }

            @Override
            String impatient() {
                return "&socketTimeout=1000";
            }
        };

        abstract Engine start() throws Exception;

        /** By the JDK's own sockets. */
        abstract String direct(int port);

        abstract String url(String host, int port);

        abstract String plain();

        abstract String verified(String caFile);

        abstract String impatient();

        String id() {
            return this == POSTGRES ? "SELECT pg_backend_pid()" : "SELECT connection_id()";
        }

        String kill(long id) {
            return this == POSTGRES ? "SELECT pg_terminate_backend(" + id + ")" : "KILL CONNECTION " + id;
        }

        String sleep() {
            return this == POSTGRES ? "SELECT pg_sleep(30)" : "SELECT sleep(30)";
        }

        String plusOne() {
            return this == POSTGRES ? "SELECT ?::int + 1" : "SELECT ? + 1";
        }

        /** Whether the connection is told to be encrypted by the server itself. */
        String isEncrypted() {
            return this == POSTGRES
                    ? "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
                    : "SELECT count(*) FROM information_schema.session_status "
                            + "WHERE variable_name = 'Ssl_cipher' AND variable_value <> ''";
        }
    }

    @BeforeAll
    static void start() throws Exception {
        // Both drivers print what they refuse.
        System.setProperty("mariadb.logging.disable", "true");
        LOG.setLevel(Level.OFF);
        box = Box.start();
        for (Driver driver : Driver.values()) {
            ENGINES.put(driver, driver.start());
        }
    }

    @AfterAll
    static void stop() throws Exception {
        for (Engine engine : ENGINES.values()) {
            engine.close();
        }
        if (box != null) {
            box.close();
        }
    }

    @AfterEach
    void forget() throws Exception {
        PinnedSockets.use(null);
        assertEquals(0, box.counts().at("/dns/queries").asInt(), "every name is pinned");
    }

    private static Client client(int cap, int port) throws PinlinkException {
        Client client = Client.builder()
                .hosts("tcp://" + Engine.NAME + ":" + port, "tcp://" + WRONG + ":" + port)
                .pins(Engine.NAME + "=127.0.0.1", WRONG + "=127.0.0.1")
                .nameservers(box.dns())
                .allowAddresses("127.0.0.0/8")
                .maxConnections(cap)
                .timeout(Duration.ofSeconds(60))
                .acquireTimeout(Duration.ofSeconds(60))
                .build();
        PinnedSockets.use(client);
        return client;
    }

    private static long number(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            assertTrue(rows.next());
            return rows.getLong(1);
        }
    }

    @ParameterizedTest
    @EnumSource
    void tenThousandStatementsOverVerifiedTlsStayWithinTheCapAndAskNobodyForTheName(Driver driver) throws Exception {
        Engine engine = ENGINES.get(driver);
        ExecutorService threads = Executors.newFixedThreadPool(THREADS);
        try (Relay relay = new Relay(engine.port);
                Client client = client(CAP, relay.port());
                LookUps lookUps = new LookUps()) {
            String url = driver.url(Engine.NAME, relay.port()) + driver.verified(engine.caFile());
            List<Future<Integer>> ran = new ArrayList<>();
            for (int thread = 0; thread < THREADS; thread++) {
                ran.add(threads.submit(() -> {
                    int statements = 0;
                    for (int i = 0; i < CONNECTIONS; i++) {
                        try (Connection connection = DriverManager.getConnection(url);
                                PreparedStatement plusOne = connection.prepareStatement(driver.plusOne())) {
                            assertEquals(1, number(connection, driver.isEncrypted()));
                            for (int value = 0; value < STATEMENTS; value++) {
                                plusOne.setInt(1, value);
                                try (ResultSet rows = plusOne.executeQuery()) {
                                    assertTrue(rows.next());
                                    assertEquals(value + 1, rows.getInt(1));
                                    statements++;
                                }
                            }
                        }
                    }
                    return statements;
                }));
            }
            int statements = 0;
            for (Future<Integer> one : ran) {
                statements += one.get(120, TimeUnit.SECONDS);
            }
            assertTrue(statements >= 10_000, () -> "too few");
            assertEquals(CAP, relay.most(), "the cap was reached, and kept");
            assertEquals(THREADS * CONNECTIONS, relay.total());
            assertEquals(0, client.stats().connectionsLive(), "every place came back");
            assertFalse(lookUps.seen().contains(Engine.NAME), () -> "looked up: " + lookUps.seen());
        } finally {
            threads.shutdownNow();
        }
    }

    @ParameterizedTest
    @EnumSource
    void aNameThatIsNotInTheCertificateIsRefusedByTheDriver(Driver driver) throws Exception {
        Engine engine = ENGINES.get(driver);
        try (Client client = client(1, engine.port)) {
            String wrong = driver.url(WRONG, engine.port) + driver.verified(engine.caFile());
            SQLException refused = assertThrows(SQLException.class, () -> DriverManager.getConnection(wrong));
            assertTrue(causes(refused).stream().anyMatch(cause -> cause instanceof SSLException)
                    || refused.getMessage().contains(WRONG), () -> "it is " + refused);
            assertEquals(0, client.stats().connectionsLive());
            String right = driver.url(Engine.NAME, engine.port) + driver.verified(engine.caFile());
            try (Connection connection = DriverManager.getConnection(right)) {
                assertEquals(1, number(connection, driver.isEncrypted()));
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void aKilledConnectionAndALateAnswerAreTheDriversOwnExceptionsAndThePlaceComesBack(Driver driver)
            throws Exception {
        Engine engine = ENGINES.get(driver);
        try (Client client = client(1, engine.port);
                Connection other = DriverManager.getConnection(driver.direct(engine.port))) {
            String url = driver.url(Engine.NAME, engine.port) + driver.plain();
            List<String> states = new ArrayList<>();
            for (String way : Arrays.asList(url, driver.direct(engine.port))) {
                try (Connection connection = DriverManager.getConnection(way)) {
                    long id = number(connection, driver.id());
                    ExecutorService waiter = Executors.newSingleThreadExecutor();
                    try {
                        Future<Long> asleep = waiter.submit(() -> number(connection, driver.sleep()));
                        awaitSleep(other, driver, id);
                        try (Statement kill = other.createStatement()) {
                            kill.execute(driver.kill(id));
                        }
                        Exception ended = assertThrows(Exception.class, () -> asleep.get(30, TimeUnit.SECONDS));
                        states.add(((SQLException) ended.getCause()).getSQLState());
                    } finally {
                        waiter.shutdownNow();
                    }
                }
            }
            assertEquals(states.get(1), states.get(0), "as over a socket of the JDK's");
            assertEquals(0, client.stats().connectionsLive());

            try (Connection connection = DriverManager.getConnection(url + driver.impatient())) {
                SQLException late = assertThrows(SQLException.class, () -> number(connection, driver.sleep()));
                assertTrue(causes(late).stream().anyMatch(cause -> cause instanceof SocketTimeoutException),
                        () -> "it is " + late);
            }
            try (Connection connection = DriverManager.getConnection(url)) {
                assertEquals(1, client.stats().connectionsLive());
                assertTrue(number(connection, driver.id()) > 0);
            }
        }
    }

    /** Until the server says that this connection runs its long statement. */
    private static void awaitSleep(Connection other, Driver driver, long id) throws Exception {
        String asks = driver == Driver.POSTGRES
                ? "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep%' AND pid = "
                : "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%sleep%' AND id = ";
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (number(other, asks + id) == 0) {
            assertTrue(System.nanoTime() < until, "it never began");
            Thread.sleep(5);
        }
    }

    private static List<Throwable> causes(Throwable failure) {
        List<Throwable> causes = new ArrayList<>();
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            causes.add(cause);
        }
        return Collections.unmodifiableList(causes);
    }
}
