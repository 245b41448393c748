//! Options as Python gives them, and as the core takes them: text by name.
//!
//! It owns how a value of each kind of the core's table becomes text: a number of seconds, a `timedelta`, a count, a list, a
//! dictionary. Names, ranges and defaults are the table's, and so is every complaint about them.

use pinlink::config::{Builder, OPTIONS};
use pinlink::{Client, PinSet as Pins};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use crate::pins::PinSet;

/// Options, and pins as their artefact.
pub(crate) type Pickled = (Vec<(String, String)>, Option<String>);

/// What a client is made of: what a pickle carries, since sockets can't be.
#[derive(Clone, Default)]
pub(crate) struct Blueprint {
    pub(crate) options: Vec<(String, String)>,
    pub(crate) imported: Option<Pins>,
}

impl Blueprint {
    /// Of the keyword arguments of a constructor; `None` stands for the default.
    pub(crate) fn new(options: Option<&Bound<'_, PyDict>>) -> PyResult<Blueprint> {
        let mut blueprint = Blueprint::default();
        let given = options.into_iter().flat_map(|options| options.iter());
        for (name, value) in given.filter(|(_, value)| !value.is_none()) {
            let name: String = name.extract()?;
            if let Ok(set) = value.cast::<PinSet>() {
                if name != "pin_set" {
                    return Err(mistaken(&name, "anything but a PinSet", &value));
                }
                blueprint.imported = Some(set.get().pins.clone());
                continue;
            }
            // What the table does not know, the core complains about.
            let spec = OPTIONS.iter().find(|spec| spec.name == name);
            let text = spec.map_or_else(|| Ok(String::new()), |spec| text_of(&name, spec.kind, &value))?;
            blueprint.options.push((name, text));
        }
        Ok(blueprint)
    }

    /// As a pickle carries it, with what is `pinned` now: files of pins may not be where it is read.
    pub(crate) fn pickled(&self, pinned: Option<Pins>) -> Pickled {
        let mut options = self.options.clone();
        let mut pins = self.imported.clone();
        let mut add = |more: Pins| match &mut pins {
            Some(pins) => pins.merge(more),
            None => pins = Some(more),
        };
        options.retain(|(name, path)| {
            let read = match name.as_str() {
                "pin_set" => Pins::load(path),
                "hosts_file" => match std::fs::read_to_string(path) {
                    Ok(text) => Pins::from_hosts_file(&text, Pins::now()),
                    Err(_) => return true,
                },
                _ => return true,
            };
            // One that can't be read is complained about by the client that is built of it.
            read.map(&mut add).is_err()
        });
        pinned.map(add);
        (options, pins.map(|pins| pins.to_json()))
    }

    pub(crate) fn builder(&self) -> Builder {
        let mut builder = Client::builder();
        for (name, value) in &self.options {
            builder = builder.option(name, value);
        }
        match &self.imported {
            Some(pins) => builder.import(pins.clone()),
            None => builder,
        }
    }
}

/// A value as the core reads one of this kind.
fn text_of(name: &str, kind: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_cow()?.into_owned());
    }
    match kind {
        "duration" => match seconds(value)? {
            // Without an exponent, as the core reads numbers.
            Some(seconds) => Ok(format!("{seconds}s")),
            None => Err(mistaken(name, "seconds or a timedelta", value)),
        },
        "count" if is_whole(value) => value.str()?.extract(),
        "size" if is_whole(value) => Ok(format!("{}B", value.str()?)),
        "flag" => match value.cast::<PyBool>() {
            Ok(flag) => Ok(flag.is_true().to_string()),
            Err(_) => Err(mistaken(name, "a bool", value)),
        },
        "path" => value.py().import("os")?.call_method1("fspath", (value,))?.extract(),
        "list of host=address|address" | "list of host=name" if value.hasattr("items")? => {
            let mut items = Vec::new();
            for pair in value.call_method0("items")?.try_iter()? {
                let (host, to): (String, Bound<'_, PyAny>) = pair?.extract()?;
                items.push(format!("{host}={}", texts(name, &to)?.join("|")));
            }
            Ok(items.join(","))
        }
        _ if kind.starts_with("list of") => Ok(texts(name, value)?.join(",")),
        "count" | "size" => Err(mistaken(name, "an int", value)),
        _ => Err(mistaken(name, "a str", value)),
    }
}

/// One text, or several; addresses of the module `ipaddress` are texts too.
fn texts(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.cast::<PyString>().is_ok() {
        return Ok(vec![value.extract()?]);
    }
    let Ok(items) = value.try_iter() else {
        return match value.cast::<PyInt>().is_ok() || value.cast::<PyFloat>().is_ok() {
            true => Err(mistaken(name, "a str or several", value)),
            false => Ok(vec![value.str()?.extract()?]),
        };
    };
    items.map(|item| item?.str()?.extract()).collect()
}

fn is_whole(value: &Bound<'_, PyAny>) -> bool {
    value.cast::<PyInt>().is_ok() && value.cast::<PyBool>().is_err()
}

/// A time in seconds: of a number or a `timedelta`; nothing where it is neither.
pub(crate) fn seconds(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if value.cast::<PyFloat>().is_ok() || is_whole(value) {
        return value.extract().map(Some);
    }
    // Asked by what it can do: importing `datetime` would cost every import of ours.
    if value.hasattr("total_seconds")? { value.call_method0("total_seconds")?.extract().map(Some) } else { Ok(None) }
}

pub(crate) fn mistaken(name: &str, wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let got = value.get_type().name().map_or_else(|_| String::new(), |got| format!(", not {got}"));
    PyTypeError::new_err(format!("{name} takes {wanted}{got}"))
}
