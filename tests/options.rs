//! The promise: one table of options, the same names everywhere.
//!
//! `tests/parity/options.toml` is the table that every language reads. Here it is held against the core's
//! own table, the builder's methods, the properties and the README.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pinlink::Client;
use pinlink::config::{OPTIONS, PROPERTY_PREFIX};
use serde::Deserialize;

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    default: String,
    min: String,
    max: String,
    reason: String,
    /// A value other than the default that is accepted.
    example: String,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table() -> BTreeMap<String, Row> {
    toml::from_str(&read("tests/parity/options.toml")).expect("tests/parity/options.toml is a table of tables")
}

#[test]
fn the_core_has_the_table_s_options_and_no_others() {
    let table = table();
    let names: Vec<&str> = OPTIONS.iter().map(|spec| spec.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, table.keys().map(String::as_str).collect::<Vec<_>>());
    for spec in OPTIONS {
        let row = &table[spec.name];
        let ours = [spec.kind, spec.default, spec.min, spec.max, spec.reason];
        assert_eq!(
            ours,
            [&row.kind, &row.default, &row.min, &row.max, &row.reason].map(String::as_str),
            "{}",
            spec.name
        );
        assert!(!spec.doc.is_empty());
    }
}

#[test]
fn every_option_takes_its_example_by_its_property_name() {
    for (name, row) in table() {
        assert_ne!(row.example, row.default, "{name}: the example shows nothing");
        let host = if name == "hosts" { "" } else { "https://127.0.0.1:1" };
        let built = Client::builder()
            .hosts([host].into_iter().filter(|host| !host.is_empty()))
            .option("allow_addresses", "127.0.0.0/8,10.0.0.0/8")
            .option(&format!("{PROPERTY_PREFIX}{name}"), &row.example)
            .build();
        // These examples name what is not there; their text was read all the same.
        let elsewhere = ["ca_file", "client_cert", "client_key", "pin_set", "hosts_file", "pins", "proxy", "web_roots"]
            .contains(&name.as_str());
        assert_eq!(built.is_err(), elsewhere, "{name}: {:?}", built.err());
    }
}

#[test]
fn every_option_has_a_setter_of_its_name() {
    let source = read("src/config.rs");
    // The setters are made by one macro from the rows of the table: the row is the setter.
    for spec in OPTIONS {
        assert!(source.contains(&format!("\n    {}: ", spec.name)), "{} is no row of the macro", spec.name);
    }
    let _compiles = Client::builder()
        .hosts(["https://kms.example"])
        .pins(["kms.example=10.0.0.1"])
        .max_connections(4)
        .max_body(1024)
        .timeout(std::time::Duration::from_secs(9))
        .system_roots(false)
        .ca_file("ca.pem")
        .user_agent("job/1");
}

#[test]
fn the_readme_shows_the_table() {
    let readme = read("README.md");
    for spec in OPTIONS {
        let default = if spec.default.is_empty() { "unset".to_owned() } else { format!("`{}`", spec.default) };
        let cells = format!("| `{}` | {} | {default} |", spec.name, spec.kind.replace('|', "\\|"));
        assert!(readme.contains(&cells), "README.md lacks the row {cells}");
    }
}
