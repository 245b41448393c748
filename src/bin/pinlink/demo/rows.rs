//! The records of the job: real ones by default, a user's own with `--rows`.
//!
//! It owns the reading of CSV, JSON Lines and the iso-codes tables, down to each record's id. A mistake names its
//! line, and is found before anything starts.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::exit::Failure;

/// Tables of Debian's package iso-codes, with the field that identifies a record.
const TABLES: [(&str, &str, &str); 2] = [
    ("/usr/share/iso-codes/json/iso_3166-2.json", "3166-2", "code"),
    ("/usr/share/iso-codes/json/iso_639-3.json", "639-3", "alpha_3"),
];
/// An id stands in a URL.
const LONGEST_ID: usize = 512;

/// What the rows are, and their ids, as they stand in a URL.
pub(crate) fn read(file: Option<&Path>, id: Option<&str>) -> Result<(String, Vec<String>), Failure> {
    let (source, ids) = match file {
        None => from_tables()?,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| wrong(path, &format!("can't be read: {error}")))?;
            let ids = match path.extension().and_then(|ending| ending.to_str()) {
                Some("csv") => from_csv(&text, id),
                Some("jsonl" | "ndjson") => from_json_lines(&text, id),
                _ => Err("is neither .csv nor .jsonl".to_owned()),
            };
            (path.display().to_string(), ids.map_err(|detail| wrong(path, &detail))?)
        }
    };
    if ids.is_empty() {
        return Err(Failure::usage(format!("--rows: {source} has no rows")));
    }
    Ok((source, ids.iter().map(|id| url::form_urlencoded::byte_serialize(id.as_bytes()).collect()).collect()))
}

fn wrong(path: &Path, detail: &str) -> Failure {
    Failure::usage(format!("--rows: {} {detail}", path.display()))
}

fn from_tables() -> Result<(String, Vec<String>), Failure> {
    let Some((path, name, field)) = TABLES.into_iter().find(|(path, ..)| Path::new(path).is_file()) else {
        return Err(Failure::usage(
            "there is no table of iso-codes on this machine: apt-get install iso-codes, or give --rows FILE",
        ));
    };
    let broken = |detail: String| Failure::usage(format!("{path}: {detail}"));
    let text = fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
    let table: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let records = table[name].as_array().ok_or_else(|| broken(format!("has no list {name:?}")))?;
    let ids = records.iter().filter_map(|record| record[field].as_str().map(str::to_owned)).collect();
    Ok((format!("ISO {name} (Debian's iso-codes)"), ids))
}

fn from_csv(text: &str, id: Option<&str>) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?;
    let column = match (id, header.iter().position(|name| name == id.unwrap_or("id"))) {
        (_, Some(column)) => column,
        (Some(name), None) => return Err(format!("has no column {name:?}")),
        (None, None) => 0,
    };
    let mut ids = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        ids.push(checked(record.get(column).unwrap_or_default(), line)?);
    }
    Ok(ids)
}

fn from_json_lines(text: &str, id: Option<&str>) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
        let record = record.as_object().ok_or_else(|| format!("line {number}: not an object"))?;
        ids.push(match (id, record.get(id.unwrap_or("id"))) {
            (_, Some(Value::String(text))) => checked(text, number)?,
            (_, Some(Value::Number(value))) => value.to_string(),
            (None, None) => number.to_string(),
            (Some(name), None) => return Err(format!("line {number}: has no field {name:?}")),
            (name, Some(_)) => {
                return Err(format!("line {number}: {:?} is neither text nor a number", name.unwrap_or("id")));
            }
        });
    }
    Ok(ids)
}

fn checked(id: &str, line: u64) -> Result<String, String> {
    match id.len() {
        0 => Err(format!("line {line}: the id is empty")),
        1..=LONGEST_ID => Ok(id.to_owned()),
        length => Err(format!("line {line}: the id has {length} bytes; {LONGEST_ID} are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_the_column_or_field_of_that_name() {
        assert_eq!(from_csv("name,id\nx,1\ny,2\n", None).unwrap(), ["1", "2"]);
        assert_eq!(from_csv("name,id\nx,1\n", Some("name")).unwrap(), ["x"]);
        assert_eq!(from_csv("name,code\nx,1\n", None).unwrap(), ["x"]);
        assert_eq!(from_json_lines("{\"id\":\"a\"}\n\n{\"id\":7}\n{}\n", None).unwrap(), ["a", "7", "4"]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (error, line) in [
            (from_csv("id\na\n\"\"\n", None), "line 3"),
            (from_csv("id,x\na,1\nb\n", None), "line: 3"),
            (from_json_lines("{\"id\":\"a\"}\nnonsense\n", None), "line 2"),
            (from_json_lines("[]\n", None), "line 1"),
            (from_json_lines("{}\n", Some("code")), "line 1"),
            (from_json_lines("{\"id\":null}\n", None), "line 1"),
        ] {
            let error = error.unwrap_err();
            assert!(error.contains(line), "{error}");
        }
    }
}
