//! The promise: a row is written once, whatever is executed twice and wherever a connection breaks.
//!
//! Two writers on threads and connections of their own write the same 10,000 rows in orders of their own, while their
//! connections are killed by the server, cut before a request arrives, or cut after it did. Each writer does what a
//! job does: on a failure it connects anew and runs the same once more. What happened is counted by the database.
//! Seeded: `PINLINK_SEED` repeats a run's orders and faults. Hologres speaks PostgreSQL's protocol and its statements
//! are run there; the one by which it switches transactions on is left out, since no other server knows it.

use std::error::Error as _;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;

use pinlink::sql::{self, Dedup, Dialect, Statement, Unfinished, Value, Winner};
use pinlink::{Key, Outcome, Reason, Scope};
use pinlink_engines::{Cut, Engine, Fault, Relay, Server, Session};

const ROWS: i64 = 10_000;
/// One row in so many meets a fault.
const FAULTS: u64 = 40;

fn seed() -> u64 {
    std::env::var("PINLINK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5)
}

fn engine(dialect: Dialect) -> Engine {
    if dialect == Dialect::MySql { Engine::MariaDb } else { Engine::Postgres }
}

fn key(row: i64) -> Key {
    Scope::job("engines").unwrap().key("insert", row)
}

/// A connection, and the server that it holds.
struct Bench {
    dialect: Dialect,
    server: Arc<Server>,
    session: Session,
}

impl Bench {
    fn new(dialect: Dialect, tables: &[&str]) -> Bench {
        let server = Server::shared(engine(dialect));
        let mut session = Session::connect(server.engine(), server.port()).unwrap();
        for table in tables {
            session.run_text(&format!("CREATE TABLE {table}")).unwrap();
        }
        Bench { dialect, server, session }
    }
}

/// One execution: a way to the server that breaks, and the connection over it.
struct Writer {
    engine: Engine,
    relay: Relay,
    session: Option<Session>,
    kill: Sender<i64>,
    random: fastrand::Rng,
    reconnects: u64,
}

impl Writer {
    fn new(server: &Server, seed: u64, kill: Sender<i64>) -> Writer {
        let (engine, relay) = (server.engine(), Relay::to(server.port()));
        Writer { engine, relay, session: None, kill, random: fastrand::Rng::with_seed(seed), reconnects: 0 }
    }

    /// The rows in this writer's order.
    fn rows(&mut self, count: i64) -> Vec<i64> {
        let mut rows: Vec<_> = (0..count).collect();
        self.random.shuffle(&mut rows);
        rows
    }

    /// The connection, or a new one.
    fn session(&mut self) -> &mut Session {
        while self.session.is_none() {
            // A cut that was armed may hit the greeting.
            self.session = Session::connect(self.engine, self.relay.port()).ok();
            self.reconnects += 1;
        }
        self.session.as_mut().expect("it was made")
    }

    /// Lets something break soon.
    fn trouble(&mut self) {
        match self.random.u8(..3) {
            0 => self.relay.arm(Cut::Request),
            1 => self.relay.arm(Cut::Answer),
            // By another thread, so at any moment of what follows.
            _ => {
                if let Ok(id) = self.session().id() {
                    self.kill.send(id).unwrap();
                }
            }
        }
    }

    /// Runs it as often as it takes. What a server refuses for other reasons than a race is a fault of the test's.
    fn until_done(&mut self, mut run: impl FnMut(&mut Session) -> Result<Outcome, Fault>) -> Outcome {
        loop {
            match run(self.session()) {
                Ok(outcome) => return outcome,
                Err(fault) => {
                    assert!(is_expected(fault.code.as_deref()), "{fault} {:?}", fault.source());
                    self.session = None;
                }
            }
        }
    }
}

/// A connection that ended, one that an administrator ended, and races that are to be run again.
fn is_expected(code: Option<&str>) -> bool {
    matches!(code, None | Some("57P01" | "40001" | "40P01" | "1213" | "1927" | "1317"))
}

/// Lets two writers do the same at the same time. Returns how many connections they needed.
fn race(server: &Server, seed: u64, write: impl Fn(&mut Writer) + Send + Sync) -> u64 {
    let (kill, killed) = channel();
    let mut killer = Session::connect(server.engine(), server.port()).unwrap();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|number| {
                let (kill, write, barrier) = (kill.clone(), &write, &barrier);
                scope.spawn(move || {
                    let mut writer = Writer::new(server, seed.wrapping_add(number), kill);
                    barrier.wait();
                    write(&mut writer);
                    writer.reconnects
                })
            })
            .collect();
        drop(kill);
        for id in killed {
            // It may have ended already.
            let _ = killer.kill(id);
        }
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    })
}

/// The form that needs a unique index: the index itself refuses a second row, so what is asked here is that none is
/// lost and that no race or repetition is an error.
fn rows_by_insert_once(dialect: Dialect, table: &str, rows: i64) {
    let create = format!("{table} (id BIGINT PRIMARY KEY, writer_text VARCHAR(20) NOT NULL)");
    let mut bench = Bench::new(dialect, &[&create]);
    let reconnects = race(&bench.server, seed(), |writer| {
        for row in writer.rows(rows) {
            if writer.random.u64(..FAULTS) == 0 {
                writer.trouble();
            }
            let columns = [("id", row.into()), ("writer_text", format!("row {row}").into())];
            let insert = sql::insert_once(dialect, table, &columns, &["id"]).unwrap();
            writer.until_done(|session| Ok(sql::outcome(dialect, session.run(&insert)?.affected).unwrap()));
        }
    });
    let there = bench.session.number(&format!("SELECT COUNT(*) FROM {table}"));
    assert_eq!((there, reconnects > 10), (rows, true), "{reconnects} connections");
}

/// The form that needs none: the key's row and the job's own rows in one transaction. The log has no unique index, so
/// that a second effect would be seen.
fn rows_by_dedup(dialect: Dialect, name: &str, rows: i64) {
    let (log, sum) = (format!("{name}_log"), format!("{name}_sum"));
    let mut bench = Bench::new(dialect, &[&format!("{log} (id BIGINT)"), &format!("{sum} (id BIGINT, n BIGINT)")]);
    bench.session.run_text(&format!("INSERT INTO {sum} VALUES (0, 0)")).unwrap();
    let dedup = Dedup::in_table(dialect, &format!("{name}_keys")).unwrap();
    bench.session.run(&dedup.create_table()).unwrap();
    let count = |session: &mut Session, row: i64| {
        let placeholder = if dialect == Dialect::MySql { "?" } else { "$1" };
        let mut writes = vec![Statement::new(format!("INSERT INTO {log} (id) VALUES ({placeholder})"), [row.into()])];
        if row % 20 == 0 {
            // All writers meet at one row.
            writes.push(Statement::new(format!("UPDATE {sum} SET n = n + 1"), []));
        }
        once(&dedup, row, &writes, session)
    };
    let reconnects = race(&bench.server, seed(), |writer| {
        for row in writer.rows(rows) {
            if writer.random.u64(..FAULTS) == 0 {
                writer.trouble();
            }
            writer.until_done(|session| match count(session, row) {
                Ok(outcome) => Ok(outcome),
                Err(Unfinished::NotCommitted(fault) | Unfinished::CommitUnknown(fault)) => Err(fault),
                Err(Unfinished::Refused(error)) => panic!("{error}"),
            });
        }
    });
    let (all, distinct) = (format!("SELECT COUNT(*) FROM {log}"), format!("SELECT COUNT(DISTINCT id) FROM {log}"));
    assert_eq!((bench.session.number(&all), bench.session.number(&distinct)), (rows, rows), "all, distinct");
    assert_eq!(bench.session.number(&format!("SELECT n FROM {sum}")), rows / 20);
    assert_eq!(bench.session.number(&format!("SELECT COUNT(*) FROM {name}_keys")), rows);
    assert!(reconnects > 10, "{reconnects} connections");
}

/// The transaction, without the statement that only Hologres knows.
fn once(dedup: &Dedup, row: i64, writes: &[Statement], session: &mut Session) -> Result<Outcome, Unfinished<Fault>> {
    dedup.once(&key(row), b"content", writes, |statement| {
        if statement.text.starts_with("SET hg_") {
            return Ok(sql::Ran::default());
        }
        session.run(statement)
    })
}

#[test]
fn w2_w4_ten_thousand_rows_by_two_racing_writers_are_in_postgresql_once() {
    rows_by_insert_once(Dialect::Postgres, "w2_rows", ROWS);
}

#[test]
fn w2_w4_ten_thousand_rows_by_two_racing_writers_are_in_mariadb_once() {
    rows_by_insert_once(Dialect::MySql, "w2_rows", ROWS);
}

#[test]
fn w2_w4_hologres_statements_write_once_where_postgresql_runs_them() {
    rows_by_insert_once(Dialect::Hologres, "w2_hologres", ROWS / 10);
    rows_by_dedup(Dialect::Hologres, "w2_hologres_dedup", ROWS / 10);
}

#[test]
fn w2_w4_ten_thousand_transactions_by_two_racing_writers_are_in_postgresql_once() {
    rows_by_dedup(Dialect::Postgres, "w2_dedup", ROWS);
}

#[test]
fn w2_w4_ten_thousand_transactions_by_two_racing_writers_are_in_mariadb_once() {
    rows_by_dedup(Dialect::MySql, "w2_dedup", ROWS);
}

/// `COMMIT` arrives and its answer does not, or it does not arrive: the client sees the same.
fn commits_without_an_answer(dialect: Dialect) {
    const COMMITS: i64 = 150;
    let log = "w12_log (id BIGINT, is_marked BIGINT)";
    let mut bench = Bench::new(dialect, &[log]);
    let dedup = Dedup::in_table(dialect, "w12_keys").unwrap();
    bench.session.run(&dedup.create_table()).unwrap();
    let relay = Relay::to(bench.server.port());
    let connect = || Session::connect(bench.server.engine(), relay.port()).unwrap();
    let mut random = fastrand::Rng::with_seed(seed());
    for row in 0..COMMITS {
        let arrives = random.bool();
        let cut = if arrives { Cut::CommitAnswer } else { Cut::Commit };
        let writes = [Statement::new(format!("INSERT INTO w12_log VALUES ({row}, 1)"), [])];
        let mut session = connect();
        relay.arm(cut);
        match once(&dedup, row, &writes, &mut session) {
            Err(Unfinished::CommitUnknown(_)) => {}
            other => panic!("{other:?}"),
        }
        let again = once(&dedup, row, &writes, &mut connect()).unwrap();
        assert_eq!(again, if arrives { Outcome::AlreadyApplied } else { Outcome::Applied });

        let mut session = connect();
        relay.arm(cut);
        let unmarked = |session: &mut Session| {
            ["BEGIN", &format!("INSERT INTO w12_log VALUES ({row}, 0)"), "COMMIT"]
                .into_iter()
                .try_for_each(|text| session.run_text(text).map(drop))
        };
        unmarked(&mut session).unwrap_err();
        unmarked(&mut connect()).unwrap();
    }
    let mut count =
        |is_marked| bench.session.number(&format!("SELECT COUNT(*) FROM w12_log WHERE is_marked = {is_marked}"));
    assert_eq!(count(1), COMMITS);
    // The same retry without the mark: what the test would see if the mark did nothing.
    assert!(count(0) > COMMITS);
}

#[test]
fn w12_a_commit_whose_answer_is_lost_is_told_from_one_that_never_arrived_by_postgresql() {
    commits_without_an_answer(Dialect::Postgres);
}

#[test]
fn w12_a_commit_whose_answer_is_lost_is_told_from_one_that_never_arrived_by_mariadb() {
    commits_without_an_answer(Dialect::MySql);
}

#[test]
fn w6_another_content_under_the_same_key_is_a_mismatch_and_an_old_key_is_forgotten() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let mut bench = Bench::new(dialect, &[]);
        let dedup = Dedup::in_table(dialect, "w6_keys").unwrap();
        bench.session.run(&dedup.create_table()).unwrap();
        let mut run = |content: &[u8]| dedup.once(&key(1), content, &[], |statement| bench.session.run(statement));
        assert_eq!(run(b"a").unwrap(), Outcome::Applied);
        assert_eq!(run(b"a").unwrap(), Outcome::AlreadyApplied);
        match run(b"b") {
            Err(Unfinished::Refused(error)) => assert_eq!(error.reason(), Reason::WriteMismatch),
            other => panic!("{other:?}"),
        }
        let hour = std::time::Duration::from_secs(3600);
        assert_eq!(bench.session.run(&dedup.forget(hour)).unwrap().affected, 0);
        let aged = match dialect {
            Dialect::MySql => "UPDATE w6_keys SET written_at = written_at - INTERVAL 2 HOUR",
            _ => "UPDATE w6_keys SET written_at = written_at - interval '2 hours'",
        };
        bench.session.run_text(aged).unwrap();
        assert_eq!(bench.session.run(&dedup.forget(hour)).unwrap().affected, 1);
    }
}

#[test]
fn a_late_duplicate_of_an_older_version_undoes_nothing() {
    const VERSIONS: i64 = 8;
    for (dialect, rows) in [(Dialect::Postgres, 200), (Dialect::MySql, 200)] {
        let table = "orders (id BIGINT PRIMARY KEY, note VARCHAR(20), version BIGINT)";
        let mut bench = Bench::new(dialect, &[table]);
        race(&bench.server, seed(), |writer| {
            for write in writer.rows(rows * VERSIONS) {
                let (id, version) = (write / VERSIONS, write % VERSIONS);
                let columns = [("id", id.into()), ("version", version.into()), ("note", format!("v{version}").into())];
                let upsert = sql::upsert(dialect, "orders", &columns, &["id"], Winner::Greatest("version")).unwrap();
                writer.until_done(|session| Ok(sql::outcome(dialect, session.run(&upsert)?.affected).unwrap()));
            }
        });
        let last = format!("SELECT COUNT(*) FROM orders WHERE version = {0} AND note = 'v{0}'", VERSIONS - 1);
        assert_eq!((bench.session.number(&last), bench.session.number("SELECT COUNT(*) FROM orders")), (rows, rows));

        // A row from before there were versions is older than any.
        bench.session.run_text("INSERT INTO orders (id, note) VALUES (-1, 'old')").unwrap();
        let first = [("id", Value::from(-1)), ("version", 1.into()), ("note", "first".into())];
        let upsert = sql::upsert(dialect, "orders", &first, &["id"], Winner::Greatest("version")).unwrap();
        for outcome in [Outcome::Applied, Outcome::AlreadyApplied] {
            let ran = bench.session.run(&upsert).unwrap();
            assert_eq!(sql::outcome(dialect, ran.affected).unwrap(), outcome, "{dialect:?}");
        }

        let arrived = [("id", 0.into()), ("version", 0.into()), ("note", "late".into())];
        let upsert = sql::upsert(dialect, "orders", &arrived, &["id"], Winner::LastToArrive).unwrap();
        let outcome = sql::outcome(dialect, bench.session.run(&upsert).unwrap().affected).unwrap();
        let late = bench.session.number("SELECT COUNT(*) FROM orders WHERE note = 'late'");
        assert_eq!((outcome, late), (Outcome::Applied, 1));
    }
}

#[test]
fn a_clash_over_another_index_is_an_error_and_not_taken_for_already_there() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let table = "clash (id BIGINT PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE)";
        let mut bench = Bench::new(dialect, &[table]);
        let mut insert = |id: i64, name: &str| {
            let insert =
                sql::insert_once(dialect, "clash", &[("id", id.into()), ("name", name.into())], &["id"]).unwrap();
            bench.session.run(&insert).map(|ran| sql::outcome(dialect, ran.affected).unwrap())
        };
        assert_eq!(insert(1, "a").unwrap(), Outcome::Applied);
        assert_eq!(insert(1, "a").unwrap(), Outcome::AlreadyApplied);
        assert_eq!(insert(1, "b").unwrap(), Outcome::AlreadyApplied);
        let code = insert(2, "a").unwrap_err().code;
        let expected = if dialect == Dialect::MySql { "1690" } else { "23505" };
        assert_eq!(code.as_deref(), Some(expected));
        let columns = [("id", 2.into()), ("name", "a".into())];
        let upsert = sql::upsert(dialect, "clash", &columns, &["id"], Winner::LastToArrive).unwrap();
        assert_eq!(bench.session.run(&upsert).unwrap_err().code.as_deref(), Some(expected));
        assert_eq!(bench.session.number("SELECT COUNT(*) FROM clash WHERE id = 1 AND name = 'a'"), 1);
    }
}

#[test]
fn mariadb_takes_a_repetition_for_one_whatever_the_type_of_its_key() {
    let values: [(&str, Value, Value); 10] = [
        ("BIGINT", 0.into(), 1.into()),
        ("VARCHAR(20) COLLATE utf8mb4_unicode_ci", "".into(), "ä".into()),
        ("VARCHAR(20) COLLATE utf8mb4_bin", "a".into(), "A".into()),
        ("CHAR(5)", "a".into(), "b".into()),
        ("VARBINARY(9)", vec![0_u8, 255].into(), vec![0_u8].into()),
        ("DATETIME(6)", "2026-11-22 10:00:00.000001".into(), "2026-11-22 10:00:00.000002".into()),
        ("DECIMAL(20,4)", "1.5000".into(), "1.5001".into()),
        ("DATE", "2026-11-22".into(), "2026-11-23".into()),
        ("ENUM('x','y')", "x".into(), "y".into()),
        ("BINARY(4)", vec![1_u8, 2, 3, 4].into(), vec![4_u8; 4].into()),
    ];
    let mut bench = Bench::new(Dialect::MySql, &[]);
    for (number, (kind, one, other)) in values.into_iter().enumerate() {
        let table = format!("kinds_{number}");
        for is_strict in [true, false] {
            let mode = if is_strict { "STRICT_ALL_TABLES" } else { "" };
            bench.session.run_text(&format!("SET sql_mode = '{mode}'")).unwrap();
            // Nullable on purpose: an optimiser knows less about it.
            let null = if is_strict { "NOT NULL" } else { "NULL" };
            bench
                .session
                .run_text(&format!("CREATE OR REPLACE TABLE {table} (k {kind} {null} UNIQUE, n BIGINT UNIQUE)"))
                .unwrap();
            let mut insert = |k: &Value, n: i64| {
                let columns = [("k", k.clone()), ("n", n.into())];
                bench.session.run(&sql::insert_once(Dialect::MySql, &table, &columns, &["k"]).unwrap())
            };
            assert_eq!(insert(&one, 1).unwrap().affected, 1, "{kind}");
            assert_eq!(insert(&one, 2).unwrap().affected, 0, "{kind}");
            assert_eq!(insert(&other, 1).unwrap_err().code.as_deref(), Some("1690"), "{kind}");
            assert_eq!(insert(&other, 3).unwrap().affected, 1, "{kind}");
        }
    }
}

/// Why it is not `INSERT IGNORE`.
#[test]
fn insert_ignore_loses_rows_and_cuts_values_where_insert_once_tells() {
    let mut bench = Bench::new(
        Dialect::MySql,
        &[
            "city (id BIGINT PRIMARY KEY)",
            "person (id BIGINT PRIMARY KEY, name VARCHAR(4), city BIGINT, FOREIGN KEY (city) REFERENCES city (id))",
        ],
    );
    let mut both = |columns: [(&str, Value); 3]| {
        let once = sql::insert_once(bench.dialect, "person", &columns, &["id"]).unwrap();
        let ours = bench.session.run(&once).map_err(|fault| fault.code.unwrap_or_default());
        let text = "INSERT IGNORE INTO person (id, name, city) VALUES (?, ?, ?)";
        let ignore = Statement::new(text, columns.map(|(_, value)| value));
        (ours.map(|ran| ran.affected), bench.session.run(&ignore).unwrap().affected)
    };
    let nowhere = both([("id", 1.into()), ("name", "a".into()), ("city", 9.into())]);
    assert_eq!(nowhere, (Err("1452".to_owned()), 0), "a lost row that looks like one that was there");
    let long = both([("id", 2.into()), ("name", "too long".into()), ("city", Value::Null)]);
    assert_eq!(long, (Err("1406".to_owned()), 1), "a cut value that looks like success");
    assert_eq!(bench.session.number("SELECT COUNT(*) FROM person WHERE name = 'too '"), 1);
}

/// Connector/J's and SQLAlchemy's way of counting.
#[test]
fn a_connection_that_counts_found_rows_is_misled_by_insert_once_and_not_by_dedup() {
    let mut bench = Bench::new(Dialect::MySql, &["found (id BIGINT PRIMARY KEY)"]);
    let dedup = Dedup::in_table(bench.dialect, "found_keys").unwrap();
    bench.session.run(&dedup.create_table()).unwrap();
    let mut session = Session::counting_found_rows(bench.server.port()).unwrap();
    let insert = sql::insert_once(bench.dialect, "found", &[("id", 1.into())], &["id"]).unwrap();
    let counts: Vec<_> = (0..2).map(|_| session.run(&insert).unwrap().affected).collect();
    assert_eq!(counts, [1, 1], "once all the same");
    assert_eq!(bench.session.number("SELECT COUNT(*) FROM found"), 1);
    let outcomes: Vec<_> = (0..2).map(|_| once(&dedup, 1, &[], &mut session).unwrap()).collect();
    assert_eq!(outcomes, [Outcome::Applied, Outcome::AlreadyApplied]);
}
