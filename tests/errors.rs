//! The promise: every language has the same names for what can go wrong.

use std::collections::BTreeMap;

use pinlink::{Delivery, Outcome, Phase, Reason};
use serde::Deserialize;

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
