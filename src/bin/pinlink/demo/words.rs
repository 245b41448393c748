//! What the demo's processes say to each other, one JSON object a line.
//!
//! The parent writes a [`Job`] to a worker's standard input, then the line [`GO`]; the worker answers with
//! [`Said`] on its standard output. The end of standard input means "stop, whatever you do": a parent that dies,
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
