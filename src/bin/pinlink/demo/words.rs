//! What the demo's processes say to each other, one JSON object a line.
//!
//! The parent writes a [`Job`] to a worker's standard input, then the line [`GO`]; the worker answers with
//! [`Said`] on its standard output. A node gets a [`Task`], begins at once and answers with [`Told`]. The end of standard input means "stop, whatever you do": a parent that dies,
//! however it dies, takes its children with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The parent's word to begin, sent when every worker is ready.
pub(crate) const GO: &str = "go";

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    /// As people write it today.
    Naive,
    /// With this library.
    Pinlink,
}

impl Side {
    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Naive => "naive",
            Side::Pinlink => "pinlink",
        }
    }
}

/// One worker's part of the job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Whose code to run.
    pub(crate) side: Side,
    /// The share of the rows.
    pub(crate) rows: Vec<String>,
    /// How many threads call at once.
    pub(crate) threads: usize,
    /// How long it may take.
    pub(crate) limit_ms: u64,
    /// How many workers the job has.
    pub(crate) workers: usize,
    /// How many connections the whole job may have.
    pub(crate) cap: usize,
    /// Where the network is.
    pub(crate) place: Place,
}

/// Where the demo's network is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The DNS server.
    pub(crate) dns: std::net::SocketAddr,
    /// The origin of the service.
    pub(crate) origin: String,
    /// The CA that signed its certificate.
    pub(crate) ca_file: PathBuf,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Said {
    /// Initialised; waits for [`GO`].
    Ready,
    /// Rows that ended so far, well or not.
    Progress(u64),
    /// The last word of a worker that worked.
    Outcome(Outcome),
    /// The last word of one that could not begin.
    Broken(String),
}

/// What became of a worker's rows. Those that are neither done nor failed were not reached in time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answered, and the answer was right.
    pub(crate) done: u64,
    /// Given up.
    pub(crate) failed: u64,
    /// How long each ended row took, retries included, in microseconds.
    pub(crate) latencies_us: Vec<u64>,
    /// When the last row ended, counted from [`GO`]; the limit, where rows were left.
    pub(crate) elapsed_us: u64,
    /// One of the errors, as a sample.
    pub(crate) error: Option<String>,
}

/// One execution of a node: its share of a job's writes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Whose code to run.
    pub(crate) side: Side,
    /// What all executions of the job have in common.
    pub(crate) scope: String,
    /// What is to be written.
    pub(crate) rows: Vec<Row>,
    /// How many threads write at once.
    pub(crate) threads: usize,
    /// How many processes the job has at most at one time.
    pub(crate) processes: usize,
    /// How many connections the whole job may have.
    pub(crate) cap: usize,
    /// How long the answer to a write may take, retries included where the client makes them.
    pub(crate) patience_ms: u64,
    /// Where the network is.
    pub(crate) place: Place,
}

/// One row of a job that writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its place in the job's input.
    pub(crate) number: usize,
    /// Its id in the table, as it stands in a URL.
    pub(crate) id: String,
    /// Where it goes: no two rows of all cycles have the same.
    pub(crate) record: String,
}

impl Row {
    /// What is written: the same in every execution.
    pub(crate) fn body(&self) -> String {
        serde_json::json!({"row": self.number, "id": self.id}).to_string()
    }
}

/// What a node says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    /// Initialised; the first write leaves now.
    Begun,
    /// Its last word.
    Ended(Ended),
}

/// What an execution reports. The platform takes it from a node that ended well, and from no other.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Rows that were written, as far as their writer knows for the first time.
    pub(crate) applied: u64,
    /// Rows that turned out to have been written before.
    pub(crate) already_applied: u64,
    /// Why the node failed, if it did: what became of the first row that could not be written.
    pub(crate) error: Option<String>,
}
