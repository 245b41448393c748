//! Where the processor time goes of the rows that are behind: their stacks, as perf samples them.
//!
//! It owns which rows those are, and the profiler while it is at work: perf is attached to the process of one row at a
//! time, after its warm-up, and ends by itself. What comes out is a file of folded stacks a row (`stacks.rs`), which the
//! page draws. What is measured elsewhere is measured without any of this. Nothing is written for a row that could not
//! be recorded, so what was drawn of it before stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::languages::Language;
use crate::measure::Result;
use crate::plan::{Plan, Requests, Size, Turns};
use crate::server::{Server, program};
use crate::stacks::{Folded, fold, samples, text};
use crate::worker::{Watched, Workers};

/// A place where a peer is ahead or a target is missed, and the rows that tell why.
pub(crate) struct Gap {
    language: Language,
    pub(crate) workload: &'static str,
    pub(crate) rows: &'static [&'static str],
}

const fn gap(language: Language, workload: &'static str, rows: &'static [&'static str]) -> Gap {
    Gap { language, workload, rows }
}

/// All of them; and one call beside the bare socket, as what the others are to be read against.
const GAPS: [Gap; 18] = [
    gap(Language::Rust, "sync", &["pinlink send", "raw socket"]),
    gap(Language::Rust, "body", &["pinlink send", "hyper"]),
    gap(Language::Rust, "stream-tls", &["pinlink send", "hyper", "ureq"]),
    gap(Language::Rust, "many-8", &["pinlink map", "pinlink AsyncClient", "hyper"]),
    gap(Language::Rust, "many-32", &["pinlink map", "hyper"]),
    gap(Language::Rust, "many-128", &["pinlink map", "hyper"]),
    gap(Language::Rust, "http2", &["pinlink map", "pinlink AsyncClient", "hyper"]),
    gap(Language::Rust, "http2-tls", &["pinlink map", "pinlink map, 8 x http1", "pinlink AsyncClient", "hyper"]),
    gap(Language::Rust, "start", &["pinlink send", "hyper", "ureq"]),
    gap(Language::Growth, "spread-threads", &["256 threads", "1 thread"]),
    gap(Language::Java, "body", &["pinlink send", "HttpURLConnection"]),
    gap(Language::Java, "stream", &["pinlink open", "raw socket", "HttpURLConnection"]),
    gap(Language::Java, "start", &["pinlink from a file, no answer", "empty process"]),
    gap(Language::Python, "sync", &["httpx + pinlink", "httpx"]),
    gap(Language::Python, "sync-tls", &["pinlink get", "primp", "http.client"]),
    gap(Language::Python, "stream", &["pinlink get", "raw socket", "pyreqwest"]),
    gap(Language::Python, "stream-tls", &["pinlink get", "pinlink AsyncClient", "pycurl"]),
    gap(Language::Python, "many-32", &["pinlink map", "pycurl multi"]),
];

/// The gaps of a language, or those of growth.
pub(crate) fn gaps(language: Language) -> impl Iterator<Item = &'static Gap> {
    GAPS.iter().filter(move |gap| gap.language == language)
}

/// How often a processor is looked at that works for the process: no round number, so that it keeps no step with a timer.
const HERTZ: u64 = 997;
/// For so long a row is recorded.
const RECORDED: Duration = Duration::from_secs(3);
/// The part of a stack that perf keeps of each sample, to be unwound later: nested futures take much.
const UNWOUND: &str = "dwarf,32768";
/// Before, a JVM compiles what it has found to be worth it.
const SETTLED: Duration = Duration::from_secs(3);
/// The most starts that are recorded: the least processes take a millisecond.
const STARTS: u32 = 400;
/// Single calls are told in larger turns than those that are measured: what is recorded between two is not theirs.
const LARGER: usize = 10;

/// What a file says of its stacks, in its first line.
#[derive(Serialize)]
struct Told<'a> {
    language: &'static str,
    workload: &'static str,
    row: &'a str,
    version: String,
    commit: &'a str,
    hertz: u64,
    samples: u64,
    /// User and system time of a request, or of a start, in microseconds.
    cpu_us: f64,
    per: &'static str,
}

/// Whether perf can record here; why not otherwise.
pub(crate) fn is_possible(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let recording = Recording::new(folder)?;
    let mut perf = recording.perf(Unwinding::Tables, &[])?;
    let Output { status, stderr, .. } = perf.args(["--", "true"]).output()?;
    if status.success() { Ok(()) } else { Err(why(&stderr).into()) }
}

/// Records a row, and writes its stacks into the folder; returns what it is called and how much there is of it.
pub(crate) fn record(
    gap: &Gap,
    row: &str,
    plan: &'static Plan,
    (workers, server): (&Workers<'_>, &Server),
    (folder, commit): (&Path, &str),
) -> Result<String> {
    let mut watched = workers.watched(plan, server, row)?;
    let recording = Recording::new(folder)?;
    let is_managed = gap.language == Language::Java;
    let unwinding = if is_managed && !row.contains("pinlink") { Unwinding::Pointers } else { Unwinding::Tables };
    let (folded, cpu_us, per) = match plan.turns {
        Turns::Standing(size) => {
            if is_managed {
                // Its compiled code has names in a file that it writes at its end, and no tables to unwind it by.
                watched.command.env(
                    "JAVA_TOOL_OPTIONS",
                    "-XX:+PreserveFramePointer -XX:+UnlockDiagnosticVMOptions -XX:+DumpPerfMapAtExit",
                );
                // It says there that it was told so.
                watched.command.stderr(Stdio::null());
            }
            let settled = if is_managed { SETTLED } else { Duration::ZERO };
            let mut again = || recording.standing(&mut watched, size, (settled, unwinding));
            // perf gives up where a thread ends while it attaches to it.
            let (folded, each) = again().or_else(|_| again())?;
            (folded, each, "request")
        }
        Turns::Passing => {
            let (folded, each) = recording.passing(&mut watched, unwinding)?;
            (folded, each, "start")
        }
        Turns::Fresh => return Err("a row that is measured by its memory has no stacks of interest".into()),
    };
    let samples = samples(&folded);
    if samples == 0 {
        return Err("perf has seen nothing of it".into());
    }
    let language = gap.language.name();
    let version = watched.version;
    let told = Told { language, workload: gap.workload, row, version, commit, hertz: HERTZ, samples, cpu_us, per };
    let file = folder.join(name(language, gap.workload, row) + ".folded");
    fs::write(&file, format!("# {}\n{}", serde_json::to_string(&told)?, text(&folded)))?;
    Ok(format!("{samples} samples, {cpu_us:.1} µs of CPU a {per}"))
}

/// What the files of a row are called; the page says the same.
fn name(language: &str, workload: &str, row: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let words: String = row.chars().map(plain).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    format!("{language}-{workload}-{}", words.join("-"))
}

/// How perf finds the callers.
#[derive(Clone, Copy)]
enum Unwinding {
    /// By the tables that every library has: a part of the stack is kept with each sample.
    Tables,
    /// By the chain of frame pointers: what a JVM's compiled code has.
    Pointers,
}

/// perf's file while it is needed.
struct Recording {
    perf: PathBuf,
    data: PathBuf,
}

impl Recording {
    fn new(folder: &Path) -> Result<Recording> {
        Ok(Recording { perf: program("perf")?, data: folder.join("perf.data") })
    }

    /// perf, that records a process, or what it is told to start.
    fn perf(&self, unwinding: Unwinding, whom: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.perf);
        command.args(["record", "-q", "-e", "cpu-clock", "-F", &HERTZ.to_string(), "--call-graph"]);
        command.arg(match unwinding {
            Unwinding::Tables => UNWOUND,
            Unwinding::Pointers => "fp",
        });
        command.arg("-o").arg(&self.data).args(whom);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    /// A worker that goes on: its stacks, and the processor time of a request.
    fn standing(
        &self,
        watched: &mut Watched,
        size: Size,
        (settled, unwinding): (Duration, Unwinding),
    ) -> Result<(Folded, f64)> {
        let requests = match size.requests {
            Requests::Count(count) if size.at_least.is_zero() => Requests::Count(count * LARGER),
            requests => requests,
        };
        let mut process = 0;
        let begin = |id: u32| {
            process = id;
            let seconds = RECORDED.as_secs().to_string();
            let mut command = self.perf(unwinding, &["-p", &id.to_string()])?;
            Ok(Attached(command.args(["--", "sleep", &seconds]).spawn()?))
        };
        let work = watched.work(Size { requests, ..size }, settled, begin, Attached::has_ended);
        let recorded = work.and_then(|work| Ok((self.script("")?, work.cpu.as_secs_f64() * 1e6 / work.requests)));
        // What a JVM has written for perf.
        let _ = fs::remove_file(format!("/tmp/perf-{process}.map"));
        recorded
    }

    /// A process a turn, one after the other: their stacks, and the processor time of one, by the samples.
    fn passing(&self, watched: &mut Watched, unwinding: Unwinding) -> Result<(Folded, f64)> {
        const SHELL: &str = "sh";
        const AGAIN: &str = r#"left=$1; shift; while [ "$left" -gt 0 ]; do "$@" || exit 1; left=$((left - 1)); done"#;
        let mut elapsed = Duration::ZERO;
        // The first one finds nothing in the caches.
        for _ in 0..2 {
            let begun = Instant::now();
            let Output { status, stderr, .. } = watched.command.stdin(Stdio::null()).output()?;
            ended_well(status, &stderr)?;
            elapsed = begun.elapsed();
        }
        let starts = (RECORDED.as_secs_f64() / elapsed.as_secs_f64()).ceil().clamp(5.0, f64::from(STARTS));
        let mut command = self.perf(unwinding, &["--", SHELL, "-c", AGAIN, SHELL, &format!("{starts:.0}")])?;
        command.arg(watched.command.get_program()).args(watched.command.get_args());
        let Output { status, stderr, .. } = command.output()?;
        ended_well(status, &stderr)?;
        let folded = self.script(SHELL)?;
        let each = samples(&folded) as f64 / HERTZ as f64 / starts * 1e6;
        Ok((folded, each))
    }

    /// What was recorded, folded.
    fn script(&self, without: &str) -> Result<Folded> {
        let mut command = Command::new(&self.perf);
        command.args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "-i"]).arg(&self.data);
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output()?;
        ended_well(status, &stderr)?;
        Ok(fold(&String::from_utf8_lossy(&stdout), without))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.data);
        let _ = fs::remove_file(self.data.with_extension("data.old"));
    }
}

/// perf at work on a process that others have started.
struct Attached(Child);

impl Attached {
    fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.0.try_wait()? else { return Ok(false) };
        let mut said = Vec::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            std::io::Read::read_to_end(&mut stderr, &mut said)?;
        }
        ended_well(status, &said).map(|()| true)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ended_well(status: ExitStatus, said: &[u8]) -> Result<()> {
    if status.success() { Ok(()) } else { Err(format!("{status}: {}", why(said)).into()) }
}

/// The first line of an error that says something.
fn why(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "Error:");
    lines.next().unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Kind;

    #[test]
    fn every_gap_is_in_a_workload_that_has_requests() {
        for gap in &GAPS {
            let plan = gap.language.plans().iter().find(|plan| plan.name == gap.workload);
            let plan = plan.unwrap_or_else(|| panic!("there is no {}", gap.workload));
            assert!(!matches!(plan.turns, Turns::Fresh), "{}", plan.name);
            assert!(gap.rows.len() >= 2, "{}: nothing beside it", plan.name);
            assert!(plan.kind == Kind::Growth || gap.rows[0].contains("pinlink"), "{}: ours comes first", plan.name);
        }
    }

    #[test]
    fn a_row_has_a_file_name_of_its_own() {
        assert_eq!(name("rust", "http2-tls", "pinlink map, 8 x http1"), "rust-http2-tls-pinlink-map-8-x-http1");
        assert_eq!(name("python", "sync", "httpx + pinlink"), "python-sync-httpx-pinlink");
        let mut names: Vec<String> = Vec::new();
        for gap in &GAPS {
            names.extend(gap.rows.iter().map(|row| name(gap.language.name(), gap.workload, row)));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
