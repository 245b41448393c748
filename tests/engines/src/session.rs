//! One connection to either server, and how a statement of pinlink's is run on it.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use pinlink::sql::{Ran, Statement, Value};
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::server::{DATABASE, Engine};

/// What went wrong, as the driver tells it.
#[derive(Debug)]
pub struct Fault {
    /// The server's own code (SQLSTATE, or MySQL's number); nothing where the connection failed.
    pub code: Option<String>,
    cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Fault {
        Fault { code: error.code().map(|code| code.code().to_owned()), cause: error.into() }
    }
}

impl From<mysql::Error> for Fault {
    fn from(error: mysql::Error) -> Fault {
        let code = match &error {
            mysql::Error::MySqlError(error) => Some(error.code.to_string()),
            _ => None,
        };
        Fault { code, cause: error.into() }
    }
}

/// A connection.
pub struct Session(Driver);

#[expect(clippy::large_enum_variant, reason = "a test has few of them")]
enum Driver {
    Postgres(postgres::Client, HashMap<String, postgres::Statement>),
    MariaDb(mysql::Conn),
}

impl Session {
    /// To a server or a relay to it. MariaDB counts changed rows, as is its default.
    ///
    /// # Errors
    /// The driver's.
    pub fn connect(engine: Engine, port: u16) -> Result<Session, Fault> {
        Session::open(engine, port, false)
    }

    /// To MariaDB by a connection that counts found rows, as Connector/J's do.
    ///
    /// # Errors
    /// The driver's.
    pub fn counting_found_rows(port: u16) -> Result<Session, Fault> {
        Session::open(Engine::MariaDb, port, true)
    }

    fn open(engine: Engine, port: u16, counts_found: bool) -> Result<Session, Fault> {
        Ok(Session(match engine {
            Engine::Postgres => {
                let mut config = postgres::Config::new();
                config.host("127.0.0.1").port(port).user("test").dbname("postgres");
                Driver::Postgres(config.connect(postgres::NoTls)?, HashMap::new())
            }
            Engine::MariaDb => {
                let flags = if counts_found { CapabilityFlags::CLIENT_FOUND_ROWS } else { CapabilityFlags::empty() };
                let options = mysql::OptsBuilder::new()
                    .ip_or_hostname(Some("127.0.0.1"))
                    .tcp_port(port)
                    .user(Some("root"))
                    .prefer_socket(false)
                    .db_name(Some(DATABASE))
                    .additional_capabilities(flags);
                Driver::MariaDb(mysql::Conn::new(options)?)
            }
        }))
    }

    /// What the server calls this connection.
    ///
    /// # Errors
    /// The driver's.
    pub fn id(&mut self) -> Result<i64, Fault> {
        match &mut self.0 {
            Driver::Postgres(client, _) => {
                Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0).into())
            }
            Driver::MariaDb(connection) => Ok(connection.connection_id().into()),
        }
    }

    /// Ends another connection, at whatever it is.
    ///
    /// # Errors
    /// The driver's; also where it has ended already.
    pub fn kill(&mut self, id: i64) -> Result<(), Fault> {
        match &mut self.0 {
            Driver::Postgres(client, _) => client.batch_execute(&format!("SELECT pg_terminate_backend({id})"))?,
            Driver::MariaDb(connection) => connection.query_drop(format!("KILL CONNECTION {id}"))?,
        }
        Ok(())
    }

    /// Runs statements without parameters, which need not be pinlink's.
    ///
    /// # Errors
    /// The driver's.
    pub fn run_text(&mut self, text: &str) -> Result<Ran, Fault> {
        self.run(&Statement::new(text, []))
    }

    /// One whole number.
    ///
    /// # Panics
    /// Where the statement fails or reads anything else.
    pub fn number(&mut self, text: &str) -> i64 {
        let ran = self.run_text(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        match ran.rows.first().and_then(|row| row.first()) {
            Some(Value::I64(number)) => *number,
            other => panic!("{text} read {other:?}"),
        }
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The driver's.
    pub fn run(&mut self, statement: &Statement) -> Result<Ran, Fault> {
        match &mut self.0 {
            Driver::Postgres(client, prepared) => run_postgres(client, prepared, statement),
            Driver::MariaDb(connection) => run_mariadb(connection, statement),
        }
    }
}

fn run_postgres(
    client: &mut postgres::Client,
    prepared: &mut HashMap<String, postgres::Statement>,
    statement: &Statement,
) -> Result<Ran, Fault> {
    let is_read = statement.text.starts_with("SELECT");
    if statement.parameters.is_empty() && !is_read {
        // As one message that holds the text, as drivers send BEGIN and COMMIT.
        let messages = client.simple_query(&statement.text)?;
        let counts = messages.iter().map(|message| match message {
            postgres::SimpleQueryMessage::CommandComplete(count) => *count,
            _ => 0,
        });
        return Ok(Ran { affected: counts.sum(), rows: Vec::new() });
    }
    if !prepared.contains_key(&statement.text) {
        prepared.insert(statement.text.clone(), client.prepare(&statement.text)?);
    }
    let ready = &prepared[&statement.text];
    let values: Vec<Bound<'_>> = statement.parameters.iter().map(Bound).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    if !is_read {
        return Ok(Ran { affected: client.execute(ready, &parameters)?, rows: Vec::new() });
    }
    let rows = client.query(ready, &parameters)?;
    let rows = rows.iter().map(|row| (0..row.len()).map(|at| read_postgres(row, at)).collect()).collect();
    Ok(Ran { affected: 0, rows })
}

fn read_postgres(row: &postgres::Row, at: usize) -> Value {
    match *row.columns()[at].type_() {
        Type::INT4 => row.get::<_, Option<i32>>(at).into(),
        Type::INT8 => row.get::<_, Option<i64>>(at).into(),
        Type::BYTEA => row.get::<_, Option<Vec<u8>>>(at).into(),
        _ => row.get::<_, Option<String>>(at).into(),
    }
}

/// A value as the type that the server gave its placeholder.
#[derive(Debug)]
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self.0, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Bool(value), kind) => value.to_sql(kind, out),
            (Value::I64(value), &Type::INT4) => i32::try_from(*value)?.to_sql(kind, out),
            (Value::I64(value), kind) => value.to_sql(kind, out),
            (Value::F64(value), kind) => value.to_sql(kind, out),
            (Value::Text(value), kind) => value.to_sql(kind, out),
            (Value::Bytes(value), kind) => value.to_sql(kind, out),
            (other, kind) => Err(format!("no {other:?} for {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn run_mariadb(connection: &mut mysql::Conn, statement: &Statement) -> Result<Ran, Fault> {
    let (affected, rows): (u64, Vec<mysql::Row>) = if statement.parameters.is_empty() {
        let mut result = connection.query_iter(&statement.text)?;
        (result.affected_rows(), result.by_ref().collect::<Result<_, _>>()?)
    } else {
        let values: Vec<mysql::Value> = statement.parameters.iter().map(bind_mariadb).collect();
        let mut result = connection.exec_iter(&statement.text, values)?;
        (result.affected_rows(), result.by_ref().collect::<Result<_, _>>()?)
    };
    let rows = rows.into_iter().map(|row| row.unwrap().into_iter().map(read_mariadb).collect()).collect();
    Ok(Ran { affected, rows })
}

fn bind_mariadb(value: &Value) -> mysql::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
        Value::Bytes(value) => value.as_slice().into(),
        _ => mysql::Value::NULL,
    }
}

/// The text protocol brings numbers as text.
fn read_mariadb(value: mysql::Value) -> Value {
    match value {
        mysql::Value::NULL => Value::Null,
        mysql::Value::Int(number) => Value::I64(number),
        mysql::Value::UInt(number) => Value::I64(number.try_into().unwrap_or(i64::MAX)),
        mysql::Value::Double(number) => Value::F64(number),
        mysql::Value::Float(number) => Value::F64(number.into()),
        mysql::Value::Bytes(bytes) => match str::from_utf8(&bytes) {
            Ok(text) => text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::I64),
            Err(_) => Value::Bytes(bytes),
        },
        other => Value::Text(other.as_sql(true)),
    }
}
