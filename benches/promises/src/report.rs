//! What is said about a run: findings with their bounds, for a reader and as one JSON object.
//!
//! It only compares. A bound that is missed changes no exit code, for a shared machine proves nothing by one run.

use std::fmt;

use serde_json::{Value, json};

use crate::machine::Circumstances;

/// From this share on the figures are told to be doubtful.
const DOUBTFUL: f64 = 0.1;

/// One workload with everything found in it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) findings: Vec<Finding>,
    /// What explains the findings; not shown.
    pub(crate) details: Value,
    /// The part of the machine that processes other than ours took meanwhile.
    pub(crate) others: f64,
}

/// One figure, and the promise about it where there is one.
pub(crate) struct Finding {
    what: String,
    value: f64,
    unit: &'static str,
    /// The least and the greatest of its parts.
    spread: Option<(f64, f64)>,
    bound: Option<Bound>,
}

/// On which side of a figure the promise is kept.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(bound) => write!(f, "<= {bound}"),
            Bound::AtLeast(bound) => write!(f, ">= {bound}"),
        }
    }
}

impl Finding {
    /// A figure that nothing is promised about.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Finding {
        Finding { what: what.into(), value, unit, spread: None, bound: None }
    }

    pub(crate) fn bound(self, bound: Bound) -> Finding {
        Finding { bound: Some(bound), ..self }
    }

    /// What must not happen at all.
    pub(crate) fn never(what: impl Into<String>, times: u64) -> Finding {
        Finding::new(what, times as f64, "").bound(Bound::AtMost(0.0))
    }

    pub(crate) fn spread(self, parts: impl IntoIterator<Item = f64>) -> Finding {
        let spread = parts.into_iter().fold(None, |spread, part| {
            let (least, most) = spread.unwrap_or((part, part));
            Some((f64::min(least, part), f64::max(most, part)))
        });
        Finding { spread, ..self }
    }

    fn is_met(&self) -> Option<bool> {
        self.bound.map(|bound| bound.holds(self.value))
    }

    fn to_json(&self) -> Value {
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "spread": self.spread,
            "bound": self.bound.map(|bound| bound.to_string()),
            "met": self.is_met(),
        })
    }
}

fn rounded(value: f64) -> String {
    let decimals = if value.fract() == 0.0 || value.abs() >= 1000.0 { 0 } else { 3 };
    format!("{value:.decimals$}")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut figure = rounded(self.value);
        if !self.unit.is_empty() {
            figure = format!("{figure} {}", self.unit);
        }
        if let Some((least, most)) = self.spread {
            figure = format!("{figure} [{}, {}]", rounded(least), rounded(most));
        }
        write!(f, "  {:<58} {figure:>26}", self.what)?;
        match (self.bound, self.is_met()) {
            (Some(bound), Some(true)) => write!(f, "  {bound}: met"),
            (Some(bound), _) => write!(f, "  {bound}: MISSED"),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.what)?;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.others >= DOUBTFUL {
            writeln!(f, "  DOUBTFUL: other processes took {:.0} % of the machine meanwhile", self.others * 100.0)?;
        }
        Ok(())
    }
}

/// The whole run as one JSON object.
pub(crate) fn to_json(circumstances: &Circumstances, workloads: &[Workload]) -> Value {
    let workload = |workload: &Workload| {
        json!({
            "name": workload.name,
            "what": workload.what,
            "others": workload.others,
            "findings": workload.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "details": workload.details,
        })
    };
    let mut object = json!(circumstances);
    object["workloads"] = workloads.iter().map(workload).collect();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_tells_its_figure_its_spread_and_its_verdict() {
        let finding = Finding::new("throughput", 0.975, "x").spread([0.99, 0.96]).bound(Bound::AtLeast(0.95));
        let line = finding.to_string();
        assert!(line.contains("0.975 x [0.960, 0.990]") && line.ends_with(">= 0.95: met"), "{line}");
        assert_eq!(finding.to_json()["met"], true);
        assert!(Finding::never("lost", 1).to_string().ends_with("<= 0: MISSED"));
        assert_eq!(Finding::new("dials", 3.0, "").to_json()["met"], Value::Null);
    }
}
