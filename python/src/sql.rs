//! Statements that write into a database once, and who runs them: a cursor of the caller's.
//!
//! It owns how a program's values stay what they are: the core makes the text and checks which of them may be unique; the
//! driver gets the objects themselves. What a cursor raises is the cause of what is raised here.

use pinlink::sql::{self as core, Dialect, Ran, Unfinished, Value, Winner};
use pinlink::{Outcome, Reason};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

use crate::failure;
use crate::request::{duration, pairs};
use crate::write::Key;

/// What a cursor is asked to run.
#[pyclass(module = "pinlink.sql", frozen)]
pub(crate) struct Statement {
    /// The SQL as the server reads it: `?` for MySQL, `$1` for PostgreSQL.
    #[pyo3(get)]
    text: String,
    /// A value for each placeholder, in order.
    #[pyo3(get)]
    parameters: Py<PyTuple>,
}

#[pymethods]
impl Statement {
    /// A statement of the caller's own, as the server reads it.
    #[new]
    #[pyo3(signature = (text, parameters=None))]
    fn new(py: Python<'_>, text: String, parameters: Option<&Bound<'_, PyAny>>) -> PyResult<Statement> {
        let parameters =
            parameters.map_or_else(|| Ok(Vec::new()), |given| given.try_iter()?.collect::<PyResult<_>>())?;
        Ok(Statement { text, parameters: PyTuple::new(py, parameters)?.unbind() })
    }

    /// The SQL with `%s` for each placeholder, as psycopg and PyMySQL read it.
    #[getter]
    fn format(&self) -> String {
        formatted(&self.text)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        // A value may be a secret.
        format!("<pinlink.sql.Statement {:?}, {} parameters>", self.text, self.parameters.bind(py).len())
    }
}

/// `?` and `$1` become `%s`, wherever they stand outside quotes.
fn formatted(text: &str) -> String {
    let (mut made, mut quote, mut characters) = (String::with_capacity(text.len()), None, text.chars().peekable());
    while let Some(character) = characters.next() {
        match (quote, character) {
            (_, '%') => made.push_str("%%"),
            (Some(open), _) => {
                quote = (character != open).then_some(open);
                made.push(character);
            }
            (None, '`' | '"' | '\'') => {
                quote = Some(character);
                made.push(character);
            }
            (None, '?') => made.push_str("%s"),
            (None, '$') if characters.peek().is_some_and(char::is_ascii_digit) => {
                while characters.next_if(char::is_ascii_digit).is_some() {}
                made.push_str("%s");
            }
            (None, _) => made.push(character),
        }
    }
    made
}

impl Statement {
    /// One of the core's, whose values it made itself.
    pub(crate) fn of(py: Python<'_>, statement: &core::Statement) -> PyResult<Statement> {
        let parameters = statement.parameters.iter().map(|value| shown(py, value)).collect::<PyResult<Vec<_>>>()?;
        Ok(Statement { text: statement.text.clone(), parameters: PyTuple::new(py, parameters)?.unbind() })
    }

    /// Has a cursor run it; what it affected and read.
    fn run(&self, py: Python<'_>, cursor: &Bound<'_, PyAny>) -> PyResult<Ran> {
        let parameters = self.parameters.bind(py);
        // Drivers read no placeholders where there is no value, and psycopg prepares what has none differently.
        match parameters.is_empty() {
            true => cursor.call_method1("execute", (&self.text,))?,
            false => cursor.call_method1("execute", (self.format(), parameters))?,
        };
        // Drivers say -1 where there is nothing to count.
        let affected: i64 = cursor.getattr("rowcount")?.extract()?;
        let mut rows = Vec::new();
        if !cursor.getattr("description")?.is_none() {
            for row in cursor.call_method0("fetchall")?.try_iter()? {
                rows.push(row?.try_iter()?.map(|value| read(&value?)).collect::<PyResult<Vec<_>>>()?);
            }
        }
        Ok(Ran { affected: u64::try_from(affected).unwrap_or(0), rows })
    }
}

/// Has a cursor run one of the core's.
pub(crate) fn run(py: Python<'_>, cursor: &Py<PyAny>, statement: &core::Statement) -> PyResult<Ran> {
    Statement::of(py, statement)?.run(py, cursor.bind(py))
}

/// What the core has to know of a value: whether it can be unique.
fn kind_of(value: &Bound<'_, PyAny>) -> Value {
    match value {
        value if value.is_none() => Value::Null,
        value if value.cast::<PyFloat>().is_ok() => Value::F64(0.0),
        _ => Value::Bool(true),
    }
}

fn read(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    Ok(if value.is_none() {
        Value::Null
    } else if let Ok(text) = value.cast::<PyString>() {
        Value::Text(text.to_cow()?.into_owned())
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        Value::Bytes(bytes.as_bytes().to_vec())
    } else if value.cast::<PyBool>().is_err() && value.cast::<PyInt>().is_ok() {
        Value::I64(value.extract()?)
    } else {
        // MySQL's whole quotients are decimals to its drivers.
        match value.str()?.to_cow()?.parse() {
            Ok(whole) => Value::I64(whole),
            Err(_) => Value::Text(value.str()?.extract()?),
        }
    })
}

fn shown<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::I64(value) => value.into_bound_py_any(py),
        Value::F64(value) => value.into_bound_py_any(py),
        Value::Text(value) => value.into_bound_py_any(py),
        Value::Bytes(value) => PyBytes::new(py, value).into_bound_py_any(py),
        _ => Ok(py.None().into_bound(py)),
    }
}

pub(crate) fn dialect_of(py: Python<'_>, name: &str) -> PyResult<Dialect> {
    match name {
        "mysql" => Ok(Dialect::MySql),
        "postgres" => Ok(Dialect::Postgres),
        "hologres" => Ok(Dialect::Hologres),
        _ => Err(failure::input(py, "a dialect is mysql, postgres or hologres")),
    }
}

/// The columns of a row: names for the core, objects for the driver.
type Row<'py> = (Vec<String>, Vec<Bound<'py, PyAny>>);

fn row<'py>(columns: &Bound<'py, PyAny>) -> PyResult<Row<'py>> {
    let mut row = (Vec::new(), Vec::new());
    for (name, value) in pairs("columns", columns)? {
        row.0.push(name.extract()?);
        row.1.push(value);
    }
    Ok(row)
}

fn named(unique: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    match unique.cast::<PyString>() {
        Ok(one) => Ok(vec![one.extract()?]),
        Err(_) => unique.try_iter()?.map(|name| name?.extract()).collect(),
    }
}

fn made(
    py: Python<'_>,
    columns: &Bound<'_, PyAny>,
    unique: &Bound<'_, PyAny>,
    make: impl FnOnce(&[(&str, Value)], &[&str]) -> pinlink::Result<core::Statement>,
) -> PyResult<Statement> {
    let ((names, values), unique) = (row(columns)?, named(unique)?);
    let known: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(kind_of)).collect();
    let unique: Vec<_> = unique.iter().map(String::as_str).collect();
    let statement = make(&known, &unique).map_err(|error| failure::raised(py, &error))?;
    Ok(Statement { text: statement.text, parameters: PyTuple::new(py, values)?.unbind() })
}

/// Inserts a row unless one with the same values in the columns `unique` is there.
#[pyfunction]
pub(crate) fn insert_once(
    py: Python<'_>,
    dialect: &str,
    table: &str,
    columns: &Bound<'_, PyAny>,
    unique: &Bound<'_, PyAny>,
) -> PyResult<Statement> {
    let dialect = dialect_of(py, dialect)?;
    made(py, columns, unique, |columns, unique| core::insert_once(dialect, table, columns, unique))
}

/// Inserts a row, or sets the columns of the one that is there.
#[pyfunction]
#[pyo3(signature = (dialect, table, columns, unique, *, greatest=None))]
pub(crate) fn upsert(
    py: Python<'_>,
    dialect: &str,
    table: &str,
    columns: &Bound<'_, PyAny>,
    unique: &Bound<'_, PyAny>,
    greatest: Option<&str>,
) -> PyResult<Statement> {
    let dialect = dialect_of(py, dialect)?;
    let winner = greatest.map_or(Winner::LastToArrive, Winner::Greatest);
    made(py, columns, unique, |columns, unique| core::upsert(dialect, table, columns, unique, winner))
}

/// What the count of affected rows says about one of these.
#[pyfunction]
pub(crate) fn outcome<'py>(py: Python<'py>, dialect: &str, affected: u64) -> PyResult<Bound<'py, PyAny>> {
    let outcome = core::outcome(dialect_of(py, dialect)?, affected).map_err(|error| failure::raised(py, &error))?;
    failure::outcome(py, outcome)
}

/// A table of keys, written in the same transaction as what they stand for.
#[pyclass(module = "pinlink.sql", frozen)]
pub(crate) struct Dedup {
    dedup: core::Dedup,
}

#[pymethods]
impl Dedup {
    /// In the table `pinlink_writes`, or another.
    #[new]
    #[pyo3(signature = (dialect, table="pinlink_writes"))]
    fn new(py: Python<'_>, dialect: &str, table: &str) -> PyResult<Dedup> {
        let dedup = core::Dedup::in_table(dialect_of(py, dialect)?, table);
        dedup.map(|dedup| Dedup { dedup }).map_err(|error| failure::raised(py, &error))
    }

    /// Makes the table. Once, by whoever may: not by every worker.
    fn create_table(&self, py: Python<'_>) -> PyResult<Statement> {
        Statement::of(py, &self.dedup.create_table())
    }

    /// Deletes the rows of keys that are older than this.
    fn forget(&self, py: Python<'_>, older_than: &Bound<'_, PyAny>) -> PyResult<Statement> {
        Statement::of(py, &self.dedup.forget(duration(py, "older_than", older_than)?))
    }

    /// The whole transaction: marks the key, runs `writes` if this execution is the first, and commits.
    fn once<'py>(
        &self,
        py: Python<'py>,
        cursor: &Bound<'py, PyAny>,
        key: &Bound<'py, Key>,
        content: &[u8],
        writes: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let writes: Vec<Bound<'_, Statement>> =
            writes.try_iter()?.map(|write| Ok(write?.cast_into()?)).collect::<PyResult<_>>()?;
        // The core's loop runs its own statements; ours carry objects, and go by their place.
        let stand_ins: Vec<_> = (0..writes.len()).map(|at| core::Statement::new(at.to_string(), [])).collect();
        let done = self.dedup.once(&key.get().key, content, &stand_ins, |statement| {
            match statement.text.parse::<usize>().ok().and_then(|at| writes.get(at)) {
                Some(write) => write.get().run(py, cursor),
                None => Statement::of(py, statement)?.run(py, cursor),
            }
        });
        let raise = |reason, outcome, detail, raised: PyErr| match raised.is_instance_of::<PyException>(py) {
            true => failure::caused(py, reason, outcome, detail, raised),
            false => raised,
        };
        match done {
            Ok(done) => failure::outcome(py, done),
            Err(Unfinished::NotCommitted(raised)) => {
                Err(raise(Reason::WriteRejected, Outcome::Rejected, "nothing was committed: run it again", raised))
            }
            Err(Unfinished::CommitUnknown(raised)) => Err(raise(
                Reason::WriteOutcomeUnknown,
                Outcome::Unknown,
                "whether it was committed is not known: run it again over a new connection",
                raised,
            )),
            Err(Unfinished::Refused(error)) => Err(failure::raised(py, &error)),
        }
    }

    fn __repr__(&self) -> &'static str {
        "<pinlink.sql.Dedup>"
    }
}
