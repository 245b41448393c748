//! What there is to show: the files of the benches, fresh or as kept from an earlier run.
//!
//! A fresh file in the build folder replaces what is kept, unless it is the older one. What is neither fresh nor kept is
//! missing, and the page says so. A file that can't be read ends the program: a page must not leave it out in silence.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::result::Run;

/// Any failure; it is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Everything that the page is made of.
pub(crate) struct Sources {
    pub(crate) runs: Vec<Run>,
    pub(crate) job: Option<Job>,
    pub(crate) parts: Vec<Part>,
    pub(crate) instructions: Option<Instructions>,
    pub(crate) promises: Option<Promises>,
    /// What there is nothing of, and which command makes it.
    pub(crate) missing: Vec<String>,
}

/// The runs in the order of the page: language, its file, and what makes it.
const RUNS: [(&str, &str); 4] =
    [("rust", "bench-rust"), ("java", "bench-java"), ("python", "bench-python"), ("growth", "bench-growth")];

/// The whole job in the network in a box, as `pinlink demo --json` writes it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) source: String,
    pub(crate) rows: u64,
    pub(crate) workers: u64,
    pub(crate) threads: u64,
    pub(crate) limit_s: u64,
    pub(crate) cap: u64,
    pub(crate) queries_per_second: u64,
    pub(crate) naive: Side,
    pub(crate) pinlink: Side,
}

/// One side of the job.
#[derive(Deserialize, Serialize)]
pub(crate) struct Side {
    pub(crate) rows_done: u64,
    pub(crate) rows_failed: u64,
    pub(crate) rows_not_reached: u64,
    pub(crate) rows_per_s: f64,
    pub(crate) seconds: f64,
    pub(crate) dns_queries: u64,
    pub(crate) dns_queries_init: u64,
    pub(crate) dns_dropped: u64,
    pub(crate) connections_opened: u64,
    pub(crate) peak_live: u64,
    pub(crate) refusals: u64,
    pub(crate) handshakes: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// One of the parts that criterion measures.
#[derive(Deserialize, Serialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Nanoseconds of one, with the ends of the confidence interval of 95 %.
    pub(crate) median: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Instructions per call, and the committed baseline.
#[derive(Deserialize, Serialize)]
pub(crate) struct Instructions {
    pub(crate) made_with: MadeWith,
    pub(crate) tolerance_percent: f64,
    pub(crate) modes: Vec<Mode>,
}

/// What counted, and what it counted.
#[derive(Deserialize, Serialize)]
pub(crate) struct MadeWith {
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
}

/// One hot path.
#[derive(Deserialize, Serialize)]
pub(crate) struct Mode {
    pub(crate) name: String,
    pub(crate) instructions: f64,
    pub(crate) baseline: Option<f64>,
    pub(crate) percent: Option<f64>,
}

/// What is promised under faults.
#[derive(Deserialize, Serialize)]
pub(crate) struct Promises {
    #[serde(default)]
    pub(crate) date: String,
    #[serde(default)]
    pub(crate) commit: String,
    pub(crate) workloads: Vec<Promise>,
}

/// One fault, and what was found under it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Promise {
    pub(crate) name: String,
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) others: f64,
    pub(crate) findings: Vec<Finding>,
}

/// A figure under a fault, and its bound.
#[derive(Deserialize, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) bound: Option<String>,
    pub(crate) met: Option<bool>,
}

impl Sources {
    /// Reads what is fresh in `fresh` and what is kept in `kept`, and keeps what is fresh.
    pub(crate) fn gather(fresh: &Path, kept: &Path) -> Result<Sources> {
        let mut missing = Vec::new();
        let mut runs = Vec::new();
        for (language, file) in RUNS {
            let read = |path: PathBuf| at(&path, Run::parse);
            let new = read(fresh.join(format!("{file}.json")))?;
            let path = kept.join(format!("{language}.json"));
            let old = read(path.clone())?;
            let mut run = match (new, old) {
                (Some(new), Some(old)) if old.date > new.date => old,
                (Some(run), _) | (None, Some(run)) => run,
                (None, None) => {
                    missing.push(format!("{language}: no result (make {file})"));
                    continue;
                }
            };
            run.language = language.to_owned();
            fs::write(&path, run.kept()?)?;
            runs.push(run);
        }
        let parts: Option<Vec<Part>> = match criterion(&fresh.join("criterion"))? {
            Some(parts) => Some(keep(&kept.join("parts.json"), parts)?),
            None => at(&kept.join("parts.json"), |text| serde_json::from_str(text))?,
        };
        let mut lacks = |is_there: bool, what: &str| {
            if !is_there {
                missing.push(what.to_owned());
            }
        };
        let job = either(&fresh.join("demo.json"), &kept.join("job.json"))?;
        lacks(job.is_some(), "the job in the box: no result (make bench)");
        lacks(parts.is_some(), "parts: no result (make bench)");
        let instructions = either(&fresh.join("instructions.json"), &kept.join("instructions.json"))?;
        lacks(instructions.is_some(), "instruction counts: no result (make check)");
        let promises = either(&fresh.join("promises.json"), &kept.join("promises.json"))?;
        lacks(promises.is_some(), "promises under faults: no result (make promises)");
        Ok(Sources { runs, job, parts: parts.unwrap_or_default(), instructions, promises, missing })
    }
}

/// A fresh file, which is kept from now on; else the kept one.
fn either<T: Serialize + for<'de> Deserialize<'de>>(fresh: &Path, kept: &Path) -> Result<Option<T>> {
    match at(fresh, |text| serde_json::from_str(text))? {
        Some(value) => keep(kept, value).map(Some),
        None => at(kept, |text| serde_json::from_str(text)),
    }
}

fn keep<T: Serialize>(path: &Path, value: T) -> Result<T> {
    fs::write(path, serde_json::to_string_pretty(&value)? + "\n")?;
    Ok(value)
}

/// A file's content; none where there is no file.
fn at<T>(path: &Path, parse: impl Fn(&str) -> serde_json::Result<T>) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    parse(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// All that criterion has measured: each in a folder `new` with its estimates and its name.
fn criterion(folder: &Path) -> Result<Option<Vec<Part>>> {
    #[derive(Deserialize)]
    struct Named {
        full_id: String,
    }
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
        confidence_interval: Interval,
    }
    #[derive(Deserialize)]
    struct Interval {
        lower_bound: f64,
        upper_bound: f64,
    }
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            let estimates: Option<Estimates> = match path.ends_with("new") {
                true => at(&path.join("estimates.json"), |text| serde_json::from_str(text))?,
                false => None,
            };
            let Some(Estimates { median }) = estimates else {
                folders.push(path);
                continue;
            };
            let named: Option<Named> = at(&path.join("benchmark.json"), |text| serde_json::from_str(text))?;
            let name = named.ok_or_else(|| format!("{}: no benchmark.json", path.display()))?.full_id;
            let Interval { lower_bound, upper_bound } = median.confidence_interval;
            parts.push(Part { name, median: median.point_estimate, from: lower_bound, to: upper_bound });
        }
    }
    parts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Some(parts).filter(|parts| !parts.is_empty()))
}
