//! An error as Python has it: an exception of `pinlink`, with its cause.
//!
//! It owns what an error's attributes are. The classes themselves, with their builtin second bases, are the package's, and so
//! is which reason becomes which.

use std::error::Error as Cause;
use std::io;
use std::sync::{Arc, Mutex};

use pinlink::{Delivery, Error, Outcome, Phase, Reason};
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyType};

use crate::waiting;

/// A cause is told in so many characters: a certificate may have thousands of names.
const CAUSE: usize = 500;

/// A class of the package's, imported once.
macro_rules! class {
    ($py:expr, $name:literal) => {{
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import($py, "pinlink._errors", $name)
    }};
}

/// The class that Python catches this by: the package's table has one for each reason.
fn class_of(py: Python<'_>, reason: Reason) -> PyResult<Bound<'_, PyAny>> {
    static CLASS_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS_OF.import(py, "pinlink._errors", "class_of")?.call1((reason.as_str(),))
}

/// What a function of the caller's raised for one row of a call, or for its only one: the others' outcomes stay.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps it for who asks what became of the row; what is no mere `Exception` (a Ctrl-C) ends the whole call.
    pub(crate) fn keep(&self, py: Python<'_>, raised: PyErr) {
        if raised.is_instance_of::<PyException>(py) {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(raised);
        } else {
            waiting::raise(py, raised);
        }
    }

    fn kept(&self, py: Python<'_>) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref().map(|raised| raised.clone_ref(py))
    }
}

/// What a row of a call was: where it went, and what a function of the caller's raised for it.
pub(crate) struct Asked {
    pub(crate) url: Py<PyString>,
    pub(crate) raised: Option<Raised>,
}

impl Asked {
    /// One that no function of the caller's has a part in.
    pub(crate) fn plain(url: Py<PyString>) -> Asked {
        Asked { url, raised: None }
    }

    /// The outcome of this row: what was raised for it is the cause.
    pub(crate) fn outcome<'py>(&self, py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
        let exception = exception(py, error)?;
        if let Some(raised) = self.raised.as_ref().and_then(|raised| raised.kept(py)) {
            exception.setattr("__cause__", raised.into_value(py))?;
        }
        Ok(exception)
    }

    /// The exception of a call that has no other row: what was raised, itself.
    pub(crate) fn raise(&self, py: Python<'_>, error: &Error) -> PyErr {
        let kept = self.raised.as_ref().and_then(|raised| raised.kept(py));
        kept.unwrap_or_else(|| raised(py, error))
    }
}

/// The exception of an error, as an outcome or to be raised.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let exception = class_of(py, error.reason())?.call1((error.to_string(),))?;
    let set = |name: &str, value: Option<&str>| exception.setattr(name, value);
    set("kind", error.reason().as_str().split('.').next())?;
    set("reason", Some(error.reason().as_str()))?;
    set("phase", Some(error.phase().as_str()))?;
    set("delivery", Some(error.delivery().as_str()))?;
    set("host", error.host())?;
    set("address", error.address().map(|address| address.to_string()).as_deref())?;
    exception.setattr("outcome", outcome(py, error.outcome())?)?;
    exception.setattr("attempts", error.attempts())?;
    exception.setattr("elapsed", error.elapsed().map(|elapsed| elapsed.as_secs_f64()))?;
    exception.setattr("status", error.status())?;
    exception.setattr("body", error.body().map(|body| PyBytes::new(py, body)))?;
    if let Some(cause) = error.source() {
        exception.setattr("__cause__", cause_of(py, cause)?)?;
    }
    Ok(exception)
}

/// A member of the package's `Outcome`.
pub(crate) fn outcome<'py>(py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
    static OUTCOME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    OUTCOME.import(py, "pinlink._outcome", "Outcome")?.call1((outcome.as_str(),))
}

/// What lies beneath an error, as the exception that Python knows for it.
fn cause_of<'py>(py: Python<'py>, cause: &(dyn Cause + 'static)) -> PyResult<Bound<'py, PyAny>> {
    if let Some(raised) = raised_within(py, cause) {
        return Ok(raised.into_value(py).into_bound(py).into_any());
    }
    if let Some(error) = cause.downcast_ref::<Error>() {
        return exception(py, error);
    }
    let os = cause.downcast_ref::<io::Error>().and_then(|error| error.raw_os_error());
    let class = if os.is_some() { py.get_type::<PyOSError>() } else { py.get_type::<PyException>() };
    match os {
        Some(number) => {
            let text = cause.to_string();
            // Python adds the number itself.
            class.call1((number, text.split(" (os error").next()))
        }
        None => class.call1((cause.to_string().chars().take(CAUSE).collect::<String>(),)),
    }
}

/// What a function of the caller's raised.
fn raised_within(py: Python<'_>, cause: &(dyn Cause + 'static)) -> Option<PyErr> {
    let raised = cause.downcast_ref::<PyErr>();
    let raised = raised.or_else(|| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref());
    raised.map(|raised| raised.clone_ref(py))
}

/// The exception of an error, to be raised. What is no mere `Exception` (a Ctrl-C within a function of the caller's) goes
/// on as it is.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let mut cause = error.source();
    let within = std::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    })
    .find_map(|cause| raised_within(py, cause));
    match within {
        Some(raised) if !raised.is_instance_of::<PyException>(py) => raised,
        _ => exception(py, error).map_or_else(|failed| failed, PyErr::from_value),
    }
}

/// Whether a function of the caller's raised an error of this library's.
pub(crate) fn is_own(py: Python<'_>, raised: &PyErr) -> bool {
    class!(py, "Error").is_ok_and(|class| raised.matches(py, class).unwrap_or(false))
}

/// Whether what it raised says that a write surely had no effect.
pub(crate) fn is_rejected(py: Python<'_>, raised: &PyErr) -> bool {
    let said = || raised.value(py).getattr("outcome")?.eq(outcome(py, Outcome::Rejected)?);
    is_own(py, raised) && said().unwrap_or(false)
}

/// A write that ended by what a function of the caller's raised.
pub(crate) fn caused(py: Python<'_>, reason: Reason, became: Outcome, detail: &str, raised: PyErr) -> PyErr {
    let error = own(py, reason, detail);
    let set = || {
        let value = error.value(py);
        value.setattr("outcome", outcome(py, became)?)?;
        if became == Outcome::Unknown {
            value.setattr("delivery", Delivery::Unknown.as_str())?;
        }
        value.setattr("__cause__", raised.into_value(py))
    };
    set().map_or_else(|failed| failed, |()| error)
}

/// An error of this side's own, in the core's words.
fn own(py: Python<'_>, reason: Reason, detail: &str) -> PyErr {
    let exception = || {
        let message = format!("{}: {detail}", reason.as_str());
        let exception = class_of(py, reason)?.call1((message,))?;
        exception.setattr("kind", reason.as_str().split('.').next())?;
        exception.setattr("reason", reason.as_str())?;
        exception.setattr("phase", Phase::Configure.as_str())?;
        exception.setattr("delivery", Delivery::NotSent.as_str())?;
        exception.setattr("outcome", outcome(py, Outcome::Rejected)?)?;
        Ok(exception)
    };
    exception().map_or_else(|failed| failed, PyErr::from_value)
}

/// A value that no call could be made with.
pub(crate) fn input(py: Python<'_>, detail: &str) -> PyErr {
    own(py, Reason::ConfigInput, detail)
}

/// There is nobody left to call.
pub(crate) fn closed(py: Python<'_>, detail: &str) -> PyErr {
    own(py, Reason::Closed, detail)
}

/// An answer whose status says no, where the caller asked for an exception.
pub(crate) fn status(py: Python<'_>, status: u16, host: &str, body: &[u8]) -> PyErr {
    let reason = if status < 500 { "Status.Client" } else { "Status.Server" };
    let exception = || {
        let exception = class!(py, "StatusError")?
            .call1((format!("{reason}: {host}: the target answered {status}; phase receive, answered"),))?;
        exception.setattr("kind", "Status")?;
        exception.setattr("reason", reason)?;
        exception.setattr("phase", Phase::Receive.as_str())?;
        exception.setattr("delivery", Delivery::Answered.as_str())?;
        exception.setattr("outcome", outcome(py, Outcome::Unknown)?)?;
        exception.setattr("host", host)?;
        exception.setattr("attempts", 1)?;
        exception.setattr("status", status)?;
        exception.setattr("body", PyBytes::new(py, body))?;
        Ok(exception)
    };
    exception().map_or_else(|failed| failed, PyErr::from_value)
}
