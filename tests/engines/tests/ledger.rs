//! The promise: a ledger in a database lets one of two racing executions write, wherever their connections to it
//! break and whichever of them dies.
//!
//! The target is a table without any unique index, reached over a connection that never fails: it knows nothing of
//! keys, and shows a second effect. The ledger's connections are cut before a statement arrives and after it did.
//! Seeded, as in `once`.

use std::cell::{Cell, RefCell};
use std::thread;
use std::time::Duration;

use pinlink::sql::{Dialect, Ran, Statement};
use pinlink::{Attempt, Created, Failure, Key, Ledger, Outcome, Reason, Scope, SqlStore, Store};
use pinlink_engines::{Cut, Engine, Fault, Relay, Server, Session};

const ROWS: i64 = 300;
/// One execution of a row in so many meets a fault.
const FAULTS: u64 = 5;
/// Far more than a row can need: each try ends by itself.
const TRIES: usize = 50;

fn seed() -> u64 {
    std::env::var("PINLINK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5)
}

fn key(row: i64) -> Key {
    Scope::job("engines").unwrap().key("count", row)
}

/// Runs statements over a relay, over a new connection where one has failed; reads are tried again.
struct Line<'a> {
    server: &'a Server,
    relay: &'a Relay,
    session: RefCell<Option<Session>>,
}

impl Line<'_> {
    fn run(&self, statement: &Statement) -> Result<Ran, Fault> {
        let mut session = self.session.borrow_mut();
        for _ in 0..TRIES {
            if session.is_none() {
                *session = Session::connect(self.server.engine(), self.relay.port()).ok();
            }
            let Some(open) = session.as_mut() else { continue };
            let ran = open.run(statement);
            if ran.is_err() {
                *session = None;
            }
            if ran.is_ok() || !statement.text.starts_with("SELECT") {
                return ran;
            }
        }
        panic!("no connection")
    }
}

/// One execution of all rows: as a job whose node is run again until each row is done.
fn execute(server: &Server, dialect: Dialect, seed: u64) {
    let relay = Relay::to(server.port());
    let line = Line { server, relay: &relay, session: RefCell::new(None) };
    let ledger = Ledger::new(SqlStore::new(dialect, |statement: &Statement| line.run(statement)))
        .lease(Duration::from_millis(200))
        .margin(Duration::from_millis(20));
    let target = RefCell::new(Session::connect(server.engine(), server.port()).unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rows: Vec<_> = (0..ROWS).collect();
    random.shuffle(&mut rows);
    for row in rows {
        let (dies, count) = (Cell::new(false), format!("SELECT COUNT(*) FROM counted WHERE id = {row}"));
        // One that dies asks nothing more, and says nothing.
        let is_done = || (!dies.get()).then(|| target.borrow_mut().number(&count) > 0);
        let outcome = (0..TRIES).find_map(|_| {
            dies.set(false);
            if random.u64(..FAULTS) == 0 {
                match random.u8(..4) {
                    0 => relay.arm(Cut::Request),
                    1 => relay.arm(Cut::Answer),
                    _ => dies.set(true),
                }
            }
            let has_effect = !dies.get() || random.bool();
            let settled = ledger.entry(&key(row), b"content").verify(is_done).once(|_| {
                if has_effect {
                    target.borrow_mut().run_text(&format!("INSERT INTO counted VALUES ({row})")).unwrap();
                }
                if dies.get() { Attempt::Unknown(Failure::from("killed")) } else { Attempt::Applied(()) }
            });
            match settled {
                Ok(settled) => Some(settled.outcome()),
                Err(error) => {
                    assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "{error}");
                    None
                }
            }
        });
        assert!(matches!(outcome, Some(Outcome::Applied | Outcome::AlreadyApplied)), "row {row}");
    }
}

fn rows_are_counted_once(engine: Engine, dialect: Dialect) {
    let server = Server::shared(engine);
    let mut session = Session::connect(engine, server.port()).unwrap();
    session.run_text("CREATE TABLE counted (id BIGINT)").unwrap();
    let store = SqlStore::new(dialect, |_: &Statement| Ok::<_, Fault>(Ran::default()));
    session.run(&store.create_table()).unwrap();
    thread::scope(|scope| {
        for twin in 0..2 {
            let server = &server;
            scope.spawn(move || execute(server, dialect, seed() + twin));
        }
    });
    assert_eq!(session.number("SELECT COUNT(*) FROM counted"), ROWS);
    assert_eq!(session.number("SELECT COUNT(DISTINCT id) FROM counted"), ROWS);
}

#[test]
fn w2_w4_a_ledger_in_postgresql_lets_one_of_two_executions_write() {
    rows_are_counted_once(Engine::Postgres, Dialect::Postgres);
}

#[test]
fn w2_w4_a_ledger_in_mariadb_lets_one_of_two_executions_write() {
    rows_are_counted_once(Engine::MariaDb, Dialect::MySql);
}

#[test]
fn a_record_is_created_once_and_its_age_is_the_server_s() {
    for (engine, dialect) in [(Engine::Postgres, Dialect::Hologres), (Engine::MariaDb, Dialect::MySql)] {
        let server = Server::shared(engine);
        let counts_found = [false, true].into_iter().filter(|found| !found || engine == Engine::MariaDb);
        for (number, counts_found) in counts_found.enumerate() {
            let session = RefCell::new(match counts_found {
                false => Session::connect(engine, server.port()).unwrap(),
                true => Session::counting_found_rows(server.port()).unwrap(),
            });
            let table = format!("records_{number}");
            let run = |statement: &Statement| session.borrow_mut().run(statement);
            let store = SqlStore::in_table(dialect, &table, run).unwrap();
            run(&store.create_table()).unwrap();
            let (second, name) = (Duration::from_secs(1), format!("{}/claim-4294967295", key(1).hex()));
            assert_eq!(store.read(&name, second).unwrap(), None);
            assert_eq!(store.create(&name, b"one", second).unwrap(), Created::Now);
            assert_eq!(store.create(&name, b"two", second).unwrap(), Created::Before);
            let aged = match dialect {
                Dialect::MySql => format!("UPDATE {table} SET created_at = created_at - INTERVAL 90 SECOND"),
                _ => format!("UPDATE {table} SET created_at = created_at - interval '90 seconds'"),
            };
            session.borrow_mut().run_text(&aged).unwrap();
            let found = store.read(&name, second).unwrap().unwrap();
            let age = found.age.unwrap();
            assert!(found.record == b"one" && (90..150).contains(&age.as_secs()), "{age:?}");
        }
    }
}
