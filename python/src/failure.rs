//! An error as Python has it: an exception of `pinlink`, with its cause.
//!
//! It owns which class an error becomes, and what its attributes are. The classes themselves, with their builtin second
//! bases, are the package's.

use std::error::Error as Cause;
use std::io;

use pinlink::{Delivery, Error, Kind, Outcome, Phase, Reason};
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};

/// A class of the package's, imported once.
macro_rules! class {
    ($py:expr, $name:literal) => {{
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import($py, "pinlink._errors", $name)
    }};
}

/// The class that Python catches this by.
fn class_of(py: Python<'_>, reason: Reason) -> PyResult<&Bound<'_, PyType>> {
    match reason {
        Reason::ConnectTimeout | Reason::DnsTimeout | Reason::ProxyTimeout | Reason::TlsTimeout => {
            class!(py, "TimeoutError")
        }
        _ => match reason.kind() {
            Kind::Timeout => class!(py, "TimeoutError"),
            Kind::Connect | Kind::Dns | Kind::Proxy | Kind::Tls => class!(py, "ConnectionError"),
            Kind::Config => class!(py, "ConfigError"),
            Kind::Write => class!(py, "WriteError"),
            _ => class!(py, "Error"),
        },
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
        None => class.call1((cause.to_string(),)),
    }
}

/// What a function of the caller's raised, where a reader brought it.
fn raised_within(py: Python<'_>, cause: &(dyn Cause + 'static)) -> Option<PyErr> {
    let raised = cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<PyErr>()?;
    Some(raised.clone_ref(py))
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
