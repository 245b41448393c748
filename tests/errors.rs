//! The promise: every language has the same names for what can go wrong.

use std::collections::BTreeMap;

use pinlink::{Certainty, Delivery, Layer, Outcome, Phase, Reason, Stage, Verdict};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Table {
    reasons: BTreeMap<String, Vec<String>>,
    phases: Vec<String>,
    deliveries: Vec<String>,
    outcomes: Vec<String>,
}

#[test]
fn the_core_has_the_table_s_names_and_no_others() {
    let table: Table = toml::from_str(include_str!("parity/errors.toml")).unwrap();
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reason in Reason::ALL {
        let (kind, finer) = reason.as_str().split_once('.').unwrap();
        assert_eq!(kind, format!("{:?}", reason.kind()));
        reasons.entry(kind.to_owned()).or_default().push(finer.to_owned());
    }
    assert_eq!(table.reasons, reasons);
    let phases = [
        Phase::Configure,
        Phase::Queue,
        Phase::Resolve,
        Phase::Connect,
        Phase::Handshake,
        Phase::Send,
        Phase::Wait,
        Phase::Receive,
    ];
    assert_eq!(table.phases, phases.map(Phase::as_str));
    assert_eq!(table.deliveries, [Delivery::NotSent, Delivery::Unknown, Delivery::Answered].map(Delivery::as_str));
    let outcomes = [Outcome::Applied, Outcome::AlreadyApplied, Outcome::Rejected, Outcome::Unknown];
    assert_eq!(table.outcomes, outcomes.map(Outcome::as_str));
}

/// The words of tables by their names in JSON.
fn words<T: Serialize + Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> BTreeMap<String, String> {
    let name = |value: &T| serde_json::to_value(value).unwrap().as_str().unwrap().to_owned();
    all.iter().map(|value| (name(value), word(*value).to_owned())).collect()
}

#[test]
fn a_diagnosis_is_told_in_the_table_s_words_and_no_others() {
    let table: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(include_str!("parity/doctor.toml")).unwrap();
    let ours = [
        ("stages", words(&Stage::ALL, Stage::as_str)),
        ("verdicts", words(&Verdict::ALL, Verdict::as_str)),
        ("certainties", words(&Certainty::ALL, Certainty::as_str)),
        ("layers", words(&Layer::ALL, Layer::as_str)),
    ];
    assert_eq!(table, ours.map(|(name, words)| (name.to_owned(), words)).into());
}
