//! When an advice holds: [`Condition`]s over the tags of one way from a job to a target.
//!
//! It owns the notation and the list of tags; `draft` decides which tags a way has.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Every kind of tag that a way may have.
pub const TAGS: &[&str] = &[
    "at",
    "cap",
    "capacity",
    "client",
    "domain",
    "host",
    "internet",
    "job",
    "place",
    "port",
    "python",
    "region",
    "scheme",
    "solution",
    "spark",
    "spark-version",
    "timeout",
    "uses",
    "verdict",
    "vpc",
    "workers",
    "zone",
];

/// One condition: `job:udf|spark` holds where the way has either tag, `!vpc:other` where it doesn't.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Condition {
    negated: bool,
    tags: Vec<String>,
}

impl TryFrom<String> for Condition {
    type Error = String;

    fn try_from(text: String) -> Result<Condition, String> {
        let (negated, positive) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
        match positive.split_once(':') {
            Some((kind, values)) if TAGS.contains(&kind) && !values.is_empty() => {
                Ok(Condition { negated, tags: values.split('|').map(|value| format!("{kind}:{value}")).collect() })
            }
            _ => Err(format!("{text:?} is no condition: write KIND:VALUE, and a KIND that exists")),
        }
    }
}

impl Condition {
    /// Whether it holds for a way.
    pub(crate) fn holds(&self, tags: &BTreeSet<String>) -> bool {
        self.negated != self.tags.iter().any(|tag| tags.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_any_of_its_values_and_can_be_negated() {
        let tags = BTreeSet::from(["job:udf".to_owned(), "vpc:known".to_owned()]);
        for (text, holds) in [("job:udf", true), ("job:spark|udf", true), ("job:spark", false), ("!vpc:other", true)] {
            assert_eq!(Condition::try_from(text.to_owned()).unwrap().holds(&tags), holds, "{text}");
        }
        for bad in ["", "udf", "job:", "colour:red", "!"] {
            assert!(Condition::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
