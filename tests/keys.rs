//! The promise: the same inputs give the same key in every language.
//!
//! `tests/parity/keys.toml` was derived by an implementation that shares no code with the core.

use pinlink::{Part, Record, Scope};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    key: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    scope: Scoped,
    operation: String,
    record: Recorded,
    hex: String,
    uuid: String,
    short: String,
    logged: String,
}

#[derive(Deserialize)]
struct Scoped {
    kind: String,
    text: String,
}

#[derive(Deserialize)]
struct Recorded {
    kind: String,
    parts: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex { hex: String },
    Null { null: bool },
}

impl Written {
    fn part(&self) -> Part<'static> {
        match self {
            Written::Text(text) => text.clone().into(),
            Written::Hex { hex } => {
                let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                Part::Bytes((0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into())
            }
            Written::Null { null } => {
                assert!(null);
                Part::Null
            }
        }
    }

    /// The part of what has no composite key.
    fn bytes(&self) -> Vec<u8> {
        match self.part() {
            Part::Text(text) => text.into_owned().into_bytes(),
            Part::Bytes(bytes) => bytes.into_owned(),
            Part::Null => panic!("only a part of a composite key is null"),
        }
    }

    fn number(&self) -> u64 {
        String::from_utf8(self.bytes()).unwrap().parse().unwrap()
    }
}

#[test]
fn every_vector_of_the_table_is_derived_in_every_form() {
    let table: Table = toml::from_str(include_str!("parity/keys.toml")).unwrap();
    assert!(table.key.len() >= 20);
    for vector in table.key {
        let scope = match vector.scope.kind.as_str() {
            "job" => Scope::job(&vector.scope.text),
            "instance" => Scope::instance(&vector.scope.text),
            kind => {
                assert_eq!(kind, "spark");
                Scope::spark(&vector.scope.text)
            }
        };
        let parts = &vector.record.parts;
        let record = match (vector.record.kind.as_str(), parts.as_slice()) {
            ("record", parts) => Record::parts(parts.iter().map(Written::part).collect::<Vec<_>>()),
            ("content", [content]) => Record::content(&content.bytes()),
            ("chunk", [partition, ordinal]) => Record::chunk(partition.number().try_into().unwrap(), ordinal.number()),
            (kind, _) => panic!("no record is a {kind}"),
        };
        let key = scope.unwrap().key(&vector.operation, record);
        let derived = (key.hex(), key.uuid(), key.short(), key.logged());
        assert_eq!(derived, (vector.hex, vector.uuid, vector.short, vector.logged), "{}", vector.name);
    }
}
