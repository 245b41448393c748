//! Looks at the way to targets, as Python asks for them.
//!
//! It owns nothing but the conversion: what Python knows of its host goes in, the report comes out as text and JSON, of
//! which the package makes its classes.

use pinlink::{Diagnosis, Error, Fact, Target, Verdict};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::options::Blueprint;
use crate::waiting;

/// A fact of the host's own: name, whether it is as calls need it, value.
type Told = (String, bool, String);

/// Looks, and makes of it what the package calls a diagnosis.
pub(crate) fn diagnose<'py>(
    py: Python<'py>,
    look: impl FnOnce() -> Result<Diagnosis, Error> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    static FACTS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static DIAGNOSIS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let told: Vec<Told> = FACTS.import(py, "pinlink._doctor", "facts")?.call0()?.extract()?;
    let mut diagnosis = waiting::call(py, look)?;
    diagnosis.environment.extend(told.into_iter().map(|(name, is_well, value)| {
        let verdict = if is_well { Verdict::Well } else { Verdict::Warning };
        Fact { name, verdict, value }
    }));
    let text = (diagnosis.to_json(), diagnosis.to_string(), diagnosis.is_well());
    DIAGNOSIS.import(py, "pinlink._doctor", "Diagnosis")?.call1(text)
}

/// Looks at the way to each of these targets, with these options.
#[pyfunction]
#[pyo3(signature = (targets=None, **options))]
pub(crate) fn doctor<'py>(
    py: Python<'py>,
    targets: Option<&Bound<'py, PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let texts = match targets {
        None => Vec::new(),
        Some(targets) => match targets.extract::<String>() {
            Ok(target) => vec![target],
            Err(_) => targets.try_iter()?.map(|target| target?.extract()).collect::<PyResult<Vec<String>>>()?,
        },
    };
    let builder = Blueprint::new(options)?.builder();
    diagnose(py, || {
        let targets: Result<Vec<Target>, Error> = texts.iter().map(|text| Target::parse(text)).collect();
        builder.doctor(&targets?)
    })
}
