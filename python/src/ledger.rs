//! The ledger as Python has it: one write of many executions, at a target that knows nothing of keys.
//!
//! It owns what the caller's functions say: a return is an effect, an exception says whether there may have been one. The
//! protocol is the core's.

use std::sync::Arc;
use std::time::Duration;

use pinlink::sql::{Ran, Statement};
use pinlink::{Attempt, Created, Failure, Found, HttpStore, Outcome, SqlStore, Store, Takeover};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::client::Client;
use crate::request::{duration, signed};
use crate::write::{Key, Profile};
use crate::{failure, sql, waiting};

type Run = Box<dyn Fn(&Statement) -> PyResult<Ran> + Send + Sync>;

/// Where the records stand.
enum Records {
    Http(HttpStore),
    Sql(SqlStore<Run>),
}

impl Store for Records {
    fn create(&self, name: &str, record: &[u8], within: Duration) -> Result<Created, Failure> {
        match self {
            Records::Http(store) => store.create(name, record, within),
            Records::Sql(store) => store.create(name, record, within),
        }
    }

    fn read(&self, name: &str, within: Duration) -> Result<Option<Found>, Failure> {
        match self {
            Records::Http(store) => store.read(name, within),
            Records::Sql(store) => store.read(name, within),
        }
    }
}

/// Lets one of many executions write.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Ledger {
    ledger: pinlink::Ledger<Records>,
}

impl Ledger {
    fn of(
        py: Python<'_>,
        records: Records,
        lease: Option<&Bound<'_, PyAny>>,
        margin: Option<&Bound<'_, PyAny>>,
        takeover: &str,
    ) -> PyResult<Ledger> {
        let mut ledger = pinlink::Ledger::new(records).takeover(match takeover {
            "stop" => Takeover::Stop,
            "repeat" => Takeover::Repeat,
            "conditional" => Takeover::Conditional,
            _ => return Err(failure::input(py, "a takeover is stop, repeat or conditional")),
        });
        if let Some(lease) = lease {
            ledger = ledger.lease(duration(py, "lease", lease)?);
        }
        if let Some(margin) = margin {
            ledger = ledger.margin(duration(py, "margin", margin)?);
        }
        Ok(Ledger { ledger })
    }
}

#[pymethods]
impl Ledger {
    /// With records below a URL, in a store that takes a `PUT` on condition that there is none of that name.
    #[staticmethod]
    #[pyo3(signature = (client, base, profile, *, sign=None, lease=None, margin=None, takeover="stop"))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python's")]
    fn http(
        py: Python<'_>,
        client: &Bound<'_, Client>,
        base: &str,
        profile: &Bound<'_, Profile>,
        sign: Option<Py<PyAny>>,
        lease: Option<&Bound<'_, PyAny>>,
        margin: Option<&Bound<'_, PyAny>>,
        takeover: &str,
    ) -> PyResult<Ledger> {
        let client = client.get().core(py)?.clone();
        let store = HttpStore::new(client, base, &profile.get().profile);
        let mut store = store.map_err(|error| failure::raised(py, &error))?;
        if let Some(sign) = sign.map(Arc::new) {
            store = store.signed(move |unsigned| signed(unsigned, &sign, waiting::raise));
        }
        Ledger::of(py, Records::Http(store), lease, margin, takeover)
    }

    /// With records in a table, by statements that a cursor of the caller's runs.
    #[staticmethod]
    #[pyo3(signature = (dialect, cursor, *, table="pinlink_ledger", lease=None, margin=None, takeover="stop"))]
    fn sql(
        py: Python<'_>,
        dialect: &str,
        cursor: Py<PyAny>,
        table: &str,
        lease: Option<&Bound<'_, PyAny>>,
        margin: Option<&Bound<'_, PyAny>>,
        takeover: &str,
    ) -> PyResult<Ledger> {
        let run: Run = Box::new(move |statement| {
            let ended = || PyRuntimeError::new_err("the interpreter has ended");
            Python::try_attach(|py| sql::run(py, &cursor, statement)).ok_or_else(ended)?
        });
        let store = SqlStore::in_table(sql::dialect_of(py, dialect)?, table, run);
        let store = store.map_err(|error| failure::raised(py, &error))?;
        Ledger::of(py, Records::Sql(store), lease, margin, takeover)
    }

    /// Makes the table, where there is one. Once, by whoever may: not by every worker.
    fn create_table(&self, py: Python<'_>) -> PyResult<sql::Statement> {
        match self.ledger.store() {
            Records::Sql(store) => sql::Statement::of(py, &store.create_table()),
            Records::Http(_) => Err(failure::input(py, "the records of this ledger stand in no table")),
        }
    }

    /// Has the write done by this execution, or finds it done by another.
    #[pyo3(signature = (key, content, write, *, timeout=None, verify=None))]
    fn once(
        &self,
        py: Python<'_>,
        key: &Bound<'_, Key>,
        content: &[u8],
        write: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
        verify: Option<Py<PyAny>>,
    ) -> PyResult<Settled> {
        let timeout = timeout.map(|timeout| duration(py, "timeout", timeout)).transpose()?;
        let (key, write) = (key.get().key, write.clone().unbind());
        let work = || {
            let mut entry = self.ledger.entry(&key, content);
            if let Some(timeout) = timeout {
                entry = entry.timeout(timeout);
            }
            if let Some(reads) = verify {
                entry = entry.verify(move || Python::try_attach(|py| answer_of(py, &reads)).flatten());
            }
            entry.once(|left| attempt(&write, left))
        };
        let settled = waiting::wait(py, work, Ok)?;
        match settled {
            Ok(settled) => {
                let (outcome, is_confirmed) = (settled.outcome(), settled.is_confirmed());
                Ok(Settled { outcome, is_confirmed, value: settled.into_value().unwrap_or_else(|| py.None()) })
            }
            Err(error) => Err(raised_by_write(py, &error).unwrap_or_else(|| failure::raised(py, &error))),
        }
    }

    fn __repr__(&self) -> &'static str {
        "<pinlink.Ledger>"
    }
}

/// What the caller's function says by returning or raising.
fn attempt(write: &Py<PyAny>, left: Duration) -> Attempt<Py<PyAny>, Failure> {
    let attached = Python::try_attach(|py| match write.call1(py, (left.as_secs_f64(),)) {
        Ok(value) => Attempt::Applied(value),
        Err(raised) if failure::is_rejected(py, &raised) => Attempt::Rejected(raised.into()),
        Err(raised) => Attempt::Unknown(raised.into()),
    });
    attached.unwrap_or_else(|| Attempt::Unknown("the interpreter has ended".into()))
}

/// What a read of the caller's tells: nothing where it raises, which ends the call.
fn answer_of(py: Python<'_>, reads: &Py<PyAny>) -> Option<bool> {
    match reads.call0(py).and_then(|read| read.extract(py)) {
        Ok(read) => read,
        Err(raised) => {
            waiting::raise(py, raised);
            None
        }
    }
}

/// The error of this library's that the write itself ended with, which says more than what is made of it.
fn raised_by_write(py: Python<'_>, error: &pinlink::Error) -> Option<PyErr> {
    let raised = std::error::Error::source(error)?.downcast_ref::<PyErr>()?;
    failure::is_own(py, raised).then(|| raised.clone_ref(py))
}

/// A write that happened.
#[pyclass(module = "pinlink", frozen)]
pub(crate) struct Settled {
    outcome: Outcome,
    /// Whether the store knows.
    #[pyo3(get)]
    is_confirmed: bool,
    /// What the function returned, where this execution wrote.
    #[pyo3(get)]
    value: Py<PyAny>,
}

#[pymethods]
impl Settled {
    /// `Outcome.APPLIED` where this execution wrote, `Outcome.ALREADY_APPLIED` where another did.
    #[getter]
    fn outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        failure::outcome(py, self.outcome)
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.Settled, {}>", self.outcome.as_str())
    }
}
