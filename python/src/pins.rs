//! Pin sets as Python holds them: values, of which every change makes another.
//!
//! It owns nothing but the conversion; what a pin set is stands in the core.

use std::net::IpAddr;
use std::path::PathBuf;

use pinlink::{Pin, PinSet as Pins};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::options::Blueprint;
use crate::request::duration;
use crate::{failure, waiting};

/// Addresses by host, as an artefact that outlives a process.
#[pyclass(module = "pinlink", frozen, eq)]
#[derive(PartialEq)]
pub(crate) struct PinSet {
    pub(crate) pins: Pins,
}

impl PinSet {
    pub(crate) fn new(pins: Pins) -> PinSet {
        PinSet { pins }
    }
}

/// Addresses as text or as objects of `ipaddress`: one, or several.
pub(crate) fn addresses(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Vec<IpAddr>> {
    let read = |item: &Bound<'_, PyAny>| {
        let text: String = item.str()?.extract()?;
        text.parse().map_err(|_| failure::input(py, "a pin is an IP address, not a name"))
    };
    match value.try_iter() {
        Ok(items) if value.extract::<String>().is_err() => items.map(|item| read(&item?)).collect(),
        _ => Ok(vec![read(value)?]),
    }
}

#[pymethods]
impl PinSet {
    /// A set of hosts and addresses given by hand.
    #[new]
    #[pyo3(signature = (pins=None))]
    fn made(py: Python<'_>, pins: Option<&Bound<'_, PyDict>>) -> PyResult<PinSet> {
        let mut set = Pins::default();
        for (host, to) in pins.into_iter().flat_map(|pins| pins.iter()) {
            let pin = Pin::by_hand(addresses(py, &to)?, Pins::now());
            set.insert(&host.extract::<String>()?, pin).map_err(|error| failure::raised(py, &error))?;
        }
        Ok(PinSet::new(set))
    }

    /// Resolves the hosts of these options, which are a client's, and makes no connection.
    #[staticmethod]
    #[pyo3(signature = (**options))]
    fn resolve(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<PinSet> {
        let blueprint = Blueprint::new(options)?;
        waiting::call(py, || Pins::resolve(blueprint.builder())).map(PinSet::new)
    }

    /// Reads a file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<PinSet> {
        waiting::call(py, || Pins::load(&path)).map(PinSet::new)
    }

    /// Writes a file, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        waiting::call(py, || self.pins.save(&path))
    }

    /// Reads the artefact's text.
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<PinSet> {
        Pins::from_json(text).map(PinSet::new).map_err(|error| failure::raised(py, &error))
    }

    /// The artefact as text.
    fn to_json(&self) -> String {
        self.pins.to_json()
    }

    /// Reads text in the form of /etc/hosts.
    #[staticmethod]
    fn from_hosts_file(py: Python<'_>, text: &str) -> PyResult<PinSet> {
        Pins::from_hosts_file(text, Pins::now()).map(PinSet::new).map_err(|error| failure::raised(py, &error))
    }

    /// The addresses of a host: its own pin, else that of the longest suffix above it.
    fn find(&self, host: &str) -> Option<Vec<String>> {
        self.pins.find(host).map(|pin| pin.addresses.iter().map(IpAddr::to_string).collect())
    }

    /// This set and another; of two pins of a host, the one resolved later.
    fn merge(&self, other: &Bound<'_, PinSet>) -> PinSet {
        let mut pins = self.pins.clone();
        pins.merge(other.get().pins.clone());
        PinSet::new(pins)
    }

    /// The same without what has expired.
    fn expire(&self) -> PinSet {
        let mut pins = self.pins.clone();
        pins.expire(Pins::now());
        PinSet::new(pins)
    }

    /// The same, each pin good for so long after it was resolved.
    fn valid_for(&self, py: Python<'_>, validity: &Bound<'_, PyAny>) -> PyResult<PinSet> {
        let mut pins = self.pins.clone();
        pins.valid_for(duration(py, "validity", validity)?);
        Ok(PinSet::new(pins))
    }

    fn __len__(&self) -> usize {
        self.pins.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let hosts: Vec<_> = self.pins.iter().map(|(host, _)| host).collect();
        Ok(PyList::new(py, hosts)?.try_iter()?.into_any())
    }

    fn __contains__(&self, host: &str) -> bool {
        self.pins.find(host).is_some()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let made = py.get_type::<PinSet>().getattr("from_json")?;
        Ok((made, (slf.get().to_json(),).into_bound_py_any(py)?.cast_into()?))
    }

    fn __str__(&self) -> String {
        self.pins.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<pinlink.PinSet of {} hosts>", self.pins.len())
    }
}
