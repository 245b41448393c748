//! What is wrong with a request: all of it at once, each fault with its place.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `region`, `target 2`.
    pub at: String,
    /// What, and what to do.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All faults of a request; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, fault)| match index {
            0 => write!(f, "{fault}"),
            _ => write!(f, "\n{fault}"),
        })
    }
}

impl std::error::Error for Faults {}

/// Collects faults while a request is read.
#[derive(Default)]
pub(crate) struct Findings(Vec<Fault>);

impl Findings {
    pub(crate) fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault { at: at.into(), what: what.into() });
    }

    /// The value, or nothing and a fault.
    pub(crate) fn take<T>(&mut self, at: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|what| self.add(at, what)).ok()
    }

    pub(crate) fn end<T>(self, value: T) -> Result<T, Faults> {
        if self.0.is_empty() { Ok(value) } else { Err(Faults(self.0)) }
    }
}
