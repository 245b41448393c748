//! Peers: each a process of its own, which is told how many requests to make and says how they went.
//!
//! It owns those processes and their protocol. `WORKER peers` prints a line of JSON for each peer of each workload:
//! `{"workload", "name", "version"}`, or `"missing"` with the reason instead of a version, `"x"` for a point of a curve,
//! and `"over": "tls"` or `"plain"` for one that takes part only there. `WORKER run WORKLOAD PEER URL CA` makes that peer and answers each line of its input with a line of JSON:
//!
//! * `warm COUNT`: requests until it is as fast as it gets, with a look at that after every COUNT; `{}`.
//! * `COUNT MILLISECONDS`: a turn of COUNT requests, or of batches of COUNT until so much time has passed;
//!   `{"requests", "seconds"}`, of single requests also `"latencies_ns"`, of a JVM also `"heap"`, the bytes that all
//!   threads allocated for a request. Figures of ours by their own names are taken as they are.
//!
//! Either may be `{"error"}`. It ends with its input. A process of its own keeps one peer's threads, heap and compiled
//! code out of the figures of another; CPU time, memory and system calls of it are the kernel's to say, connections the
//! server's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::measure::{Counted, Figure, Outcome, Peer, Peers, Result, Turn, Who, Whose, cpu, quantile};
use crate::plan::{Plan, Size, Turns};
use crate::process::{Process, await_end, lines};
use crate::server::{Server, Status};

/// A worker whose input has ended is given this long to end too.
const END: Duration = Duration::from_secs(5);
/// A process that is started for a turn has this long for all of it.
const PASSING: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// How a language's workers are started, and whom they know.
pub(crate) struct Workers<'a> {
    /// The program, and the arguments in front of ours.
    command: &'a [String],
    language: &'static str,
    known: Vec<Known>,
}

/// What a worker says of a peer.
#[derive(Clone, Deserialize)]
struct Known {
    workload: String,
    name: String,
    #[serde(default)]
    version: String,
    missing: Option<String>,
    x: Option<f64>,
    over: Option<Over>,
}

/// What a peer needs under it, where that is not all the same to it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Over {
    Plain,
    Tls,
}

impl Workers<'_> {
    /// Asks the worker for its peers.
    pub(crate) fn new<'a>(command: &'a [String], language: &'static str) -> Result<Workers<'a>> {
        let mut workers = Workers { command, language, known: Vec::new() };
        let output = workers.command()?.arg("peers").stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the worker could not name its peers: {}", output.status).into());
        }
        let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        workers.known = lines.map(serde_json::from_slice).collect::<std::result::Result<_, _>>()?;
        Ok(workers)
    }

    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.command.split_first().ok_or("no command of a worker was given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    fn of_peer(&self, plan: &Plan, name: &str, url: &str, ca: &Path) -> Result<Command> {
        let mut command = self.command()?;
        command.args(["run", plan.worker, name, url]).arg(ca);
        Ok(command)
    }

    /// A peer of a workload by its name, for who watches its process at work.
    pub(crate) fn watched(&self, plan: &Plan, server: &Server, name: &str) -> Result<Watched> {
        let mut known = self.known.iter().filter(|peer| peer.workload == plan.worker);
        let peer = known.find(|peer| peer.name == name).ok_or("the worker knows no such row")?;
        if let Some(why) = &peer.missing {
            return Err(why.as_str().into());
        }
        let command = self.of_peer(plan, name, &server.url(plan.door, plan.path), &server.ca_file())?;
        Ok(Watched { command, version: peer.version.clone(), x: peer.x })
    }

    /// The peers of a workload, whose processes are started by their first turns.
    pub(crate) fn peers(&self, plan: &'static Plan, server: &Server) -> Result<Peers> {
        let mut peers = Peers::default();
        let over = if plan.door.is_tls() { Over::Tls } else { Over::Plain };
        let suits = |peer: &&Known| peer.workload == plan.worker && peer.over.is_none_or(|needs| needs == over);
        let known: Vec<&Known> = self.known.iter().filter(suits).collect();
        if known.is_empty() {
            let why = format!("the worker knows no workload {}", plan.worker);
            peers.missing.push(Outcome::missing(Who::new("worker", self.language), why));
        }
        let (url, ca) = (server.url(plan.door, plan.path), server.ca_file());
        for peer in known {
            let Known { name, version, missing, x, .. } = peer.clone();
            let who = Who { name, version, language: self.language, x };
            if let Some(why) = missing {
                peers.missing.push(Outcome::missing(who, why));
                continue;
            }
            let command = self.of_peer(plan, &who.name, &url, &ca)?;
            let told = Told { who, command };
            peers.present.push(match plan.turns {
                Turns::Standing(size) => {
                    let status = Some(server.status());
                    Box::new(Standing::new(told, size, plan.figures, status))
                }
                Turns::Fresh => Box::new(Fresh(told)),
                Turns::Passing => Box::new(Passing(told)),
            });
        }
        Ok(peers)
    }
}

/// A peer that is known, and how it is started.
struct Told {
    who: Who,
    command: Command,
}

/// A peer whose process is not started yet.
pub(crate) struct Watched {
    pub(crate) command: Command,
    pub(crate) version: String,
    x: Option<f64>,
}

/// What a process did while it was watched.
pub(crate) struct Work {
    pub(crate) requests: f64,
    /// User and system time.
    pub(crate) cpu: Duration,
}

impl Watched {
    /// Warms its process, has it take turns for as long as it needs to settle, and goes on from when `begin` has seen its
    /// id until `ended` says so. The process has ended, and said what it has to say at its end, when this returns.
    pub(crate) fn work<W>(
        &mut self,
        size: Size,
        settled: Duration,
        begin: impl FnOnce(u32) -> Result<W>,
        ended: impl Fn(&mut W) -> Result<bool>,
    ) -> Result<Work> {
        let mut running = Running::start(&mut self.command)?;
        running.ask(&format!("warm {}", size.warm), size.at_most)?;
        let line = format!("{} {}", size.count(self.x), size.at_least.as_millis());
        let latest = Instant::now() + settled;
        while Instant::now() < latest {
            running.ask(&line, size.at_most)?;
        }
        let (mut watcher, mut requests) = (begin(running.process.id())?, 0.0);
        let cpu_before = running.process.cpu();
        while !ended(&mut watcher)? {
            requests += running.ask(&line, size.at_most)?.requests.ok_or("the worker made no request")?;
        }
        Ok(Work { requests, cpu: running.process.cpu() - cpu_before })
    }
}

/// What a worker answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Failed { error: String },
    Done(Done),
}

#[derive(Deserialize)]
struct Done {
    requests: Option<f64>,
    seconds: Option<f64>,
    #[serde(default)]
    latencies_ns: Vec<u64>,
    heap: Option<f64>,
    #[serde(flatten)]
    figures: BTreeMap<String, serde_json::Value>,
}

impl Done {
    /// What a turn's answer says by itself.
    fn turn(&self, cpu_used: Duration, body: usize) -> Result<Turn> {
        let (requests, seconds) = match (self.requests, self.seconds) {
            (Some(requests), Some(seconds)) if requests >= 1.0 && seconds > 0.0 => (requests, seconds),
            _ => return Err("the worker made no request".into()),
        };
        let mut turn = Turn::from([
            (Figure::PerSecond, requests / seconds),
            (Figure::MibPerSecond, requests * body as f64 / MIB / seconds),
            (Figure::NsPerCall, seconds * 1e9 / requests),
            (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / requests),
        ]);
        if !self.latencies_ns.is_empty() {
            let sorted = microseconds(&self.latencies_ns);
            turn.insert(Figure::P50Us, quantile(&sorted, 0.5));
            turn.insert(Figure::P99Us, quantile(&sorted, 0.99));
        }
        turn.extend(self.heap.map(|bytes| (Figure::HeapBytes, bytes)));
        turn.extend(self.figures.iter().filter_map(|(name, value)| Some((Figure::named(name)?, value.as_f64()?))));
        Ok(turn)
    }
}

/// Times in their order of size.
fn microseconds(latencies_ns: &[u64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = latencies_ns.iter().map(|&ns| ns as f64 / 1e3).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// A worker's process.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    process: Process,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let answers = lines(child.stdout.take().ok_or("the worker has no output")?);
        let process = Process::of(&child)?;
        Ok(Running { child, input, answers, process })
    }

    /// Says a line and waits for the answer; kills the worker when that takes too long.
    fn ask(&mut self, line: &str, at_most: Duration) -> Result<Done> {
        const ENDED: &str = "the worker has ended";
        let input = self.input.as_mut().ok_or(ENDED)?;
        input.write_all(format!("{line}\n").as_bytes()).map_err(|_| ENDED)?;
        let answer = match self.answers.recv_timeout(at_most) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => return Err(ENDED.into()),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                return Err(format!("the worker did not answer within {} s", at_most.as_secs()).into());
            }
        };
        match serde_json::from_str(&answer) {
            Ok(Said::Failed { error }) => Err(error.into()),
            Ok(Said::Done(done)) => Ok(done),
            Err(_) => Err("the worker's answer is not one of the protocol".into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        await_end(&mut self.child, END);
    }
}

/// A worker that serves one peer's turns.
struct Standing {
    told: Told,
    size: Size,
    /// What of it is shown: nothing else is counted at the end.
    figures: &'static [Figure],
    status: Option<Rc<RefCell<Status>>>,
    running: Option<Running>,
    latencies_ns: Vec<u64>,
    connections: u64,
}

impl Standing {
    fn new(told: Told, size: Size, figures: &'static [Figure], status: Option<Rc<RefCell<Status>>>) -> Standing {
        Standing { told, size, figures, status, running: None, latencies_ns: Vec::new(), connections: 0 }
    }

    /// Connections that the server has accepted so far.
    fn accepted(&self) -> Result<u64> {
        self.status.as_ref().map_or(Ok(0), |status| status.borrow_mut().accepted())
    }

    fn take_turn(&mut self) -> Result<Turn> {
        let at_most = self.size.at_most;
        let line = format!("{} {}", self.size.count(self.told.who.x), self.size.at_least.as_millis());
        let is_first = self.running.is_none();
        if is_first || self.size.renews {
            let running = self.running.insert(Running::start(&mut self.told.command)?);
            running.ask(&format!("warm {}", self.size.warm), at_most)?;
            if is_first {
                return Ok(Turn::new());
            }
        }
        let running = self.running.as_mut().ok_or("there was no first turn")?;
        if self.size.lead_in > 0 {
            running.ask(&format!("{} 0", self.size.lead_in), at_most)?;
        }
        let cpu_before = running.process.cpu();
        let done = running.ask(&line, at_most)?;
        let cpu_used = running.process.cpu() - cpu_before;
        let turn = done.turn(cpu_used, self.size.body)?;
        self.latencies_ns.extend(done.latencies_ns);
        Ok(turn)
    }

    /// One more turn, which strace makes slow.
    fn calls(&mut self) -> Result<f64> {
        let line = format!("{} 0", self.size.count(self.told.who.x));
        let running = self.running.as_mut().ok_or("there was no turn")?;
        let tracer = running.process.trace()?;
        let done = running.ask(&line, self.size.at_most)?;
        Ok(tracer.finish()? / done.requests.ok_or("the worker made no request")?)
    }
}

impl Peer for Standing {
    fn who(&self) -> &Who {
        &self.told.who
    }

    fn turn(&mut self) -> Result<Turn> {
        let before = self.accepted()?;
        let turn = self.take_turn()?;
        self.connections += self.accepted()? - before;
        Ok(turn)
    }

    fn end(&mut self) -> Counted {
        let mut counted = Counted::new();
        for &figure in self.figures {
            let value = match figure {
                Figure::P999Us if self.latencies_ns.is_empty() => Err("the worker told no latencies".into()),
                Figure::P999Us => Ok(quantile(&microseconds(&self.latencies_ns), 0.999)),
                Figure::Connections => Ok(self.connections as f64),
                Figure::PeakMib => {
                    self.running.as_ref().ok_or("there was no turn".into()).and_then(|running| running.process.peak())
                }
                _ => continue,
            };
            counted.push((figure, value));
        }
        // The last of all, for it leaves traces.
        if self.figures.contains(&Figure::SyscallsPerReq) {
            counted.push((Figure::SyscallsPerReq, self.calls()));
        }
        self.running = None;
        counted
    }
}

/// A worker that is started for each turn and told how much.
struct Fresh(Told);

impl Peer for Fresh {
    fn who(&self) -> &Who {
        &self.0.who
    }

    fn turn(&mut self) -> Result<Turn> {
        let x = self.0.who.x.ok_or("the worker told no point of the curve")?;
        let mut running = Running::start(&mut self.0.command)?;
        let done = running.ask(&format!("{x} 0"), PASSING)?;
        let mut turn = done.turn(running.process.cpu(), 0)?;
        turn.insert(Figure::PeakMib, running.process.peak()?);
        Ok(turn)
    }
}

/// A process a turn: what starting costs.
struct Passing(Told);

impl Peer for Passing {
    fn who(&self) -> &Who {
        &self.0.who
    }

    fn turn(&mut self) -> Result<Turn> {
        let command = self.0.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let cpu_before = cpu(Whose::Children);
        let begun = Instant::now();
        let child = command.spawn()?;
        let id = child.id() as libc::pid_t;
        let (ended, watched) = channel::<()>();
        let watch = std::thread::spawn(move || {
            if watched.recv_timeout(PASSING) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: the child is waited for until `ended` is dropped, so the process id is still its own.
                unsafe { libc::kill(id, libc::SIGKILL) };
            }
        });
        let output = child.wait_with_output();
        let elapsed = begun.elapsed();
        let cpu_used = cpu(Whose::Children) - cpu_before;
        drop(ended);
        let _ = watch.join();
        let output = output?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}", output.status, said.lines().next().unwrap_or_default()).into());
        }
        Ok(Turn::from([(Figure::CpuMs, cpu_used.as_secs_f64() * 1e3), (Figure::WallMs, elapsed.as_secs_f64() * 1e3)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Requests;

    const FIGURES: &[Figure] = &[Figure::P999Us, Figure::PeakMib, Figure::SyscallsPerReq];
    const SIZE: Size = Size {
        warm: 2,
        renews: false,
        lead_in: 0,
        requests: Requests::Count(4),
        at_least: Duration::ZERO,
        at_most: Duration::from_secs(30),
        body: 1024 * 1024,
    };

    fn told(script: &str, x: Option<f64>) -> Told {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Told { who: Who { x, ..Who::new("sh", "sh") }, command }
    }

    fn worker(script: &str) -> Standing {
        Standing::new(told(script, None), SIZE, FIGURES, None)
    }

    /// Answers every line with the same.
    fn constant(answer: &str) -> String {
        format!("while read line; do echo '{answer}'; done")
    }

    #[test]
    fn a_turn_is_what_the_worker_says_of_it() {
        let answer =
            r#"{"requests":4,"seconds":0.5,"latencies_ns":[9000,3000,7000],"heap":12,"bytes_each":5,"more":1}"#;
        let mut worker = worker(&constant(answer));
        assert!(worker.turn().unwrap().is_empty(), "the first turn is warm-up");
        let turn = worker.turn().unwrap();
        assert_eq!((turn[&Figure::PerSecond], turn[&Figure::MibPerSecond]), (8.0, 8.0));
        assert_eq!((turn[&Figure::P50Us], turn[&Figure::P99Us]), (7.0, 8.96));
        assert_eq!((turn[&Figure::HeapBytes], turn[&Figure::BytesEach]), (12.0, 5.0));
        assert!(turn.contains_key(&Figure::CpuUs));
    }

    #[test]
    fn the_worker_is_told_what_the_workload_says() {
        let script = "read warm; echo {}; read lead; echo {}; read turn; \
                      [ \"$warm $lead $turn\" = 'warm 2 1 0 4 250' ] && echo '{\"requests\":4,\"seconds\":1}'; read end";
        let mut worker = worker(script);
        (worker.size.lead_in, worker.size.at_least) = (1, Duration::from_millis(250));
        worker.turn().unwrap();
        assert_eq!(worker.turn().unwrap()[&Figure::PerSecond], 4.0);
    }

    #[test]
    fn a_worker_that_is_renewed_has_a_process_of_its_own_for_each_turn() {
        let script = "read warm; echo {}; while read line; do echo \"{\\\"requests\\\":4,\\\"seconds\\\":1,\\\"heap\\\":$$}\"; done";
        for renews in [false, true] {
            let mut worker = worker(script);
            worker.size.renews = renews;
            assert!(worker.turn().unwrap().is_empty());
            let mut process = || worker.turn().unwrap()[&Figure::HeapBytes];
            assert_eq!(process() != process(), renews);
        }
    }

    #[test]
    fn what_comes_once_is_counted_at_the_end() {
        let mut worker = worker(&constant(r#"{"requests":4,"seconds":0.5,"latencies_ns":[1000,2000]}"#));
        (0..3).for_each(|_| drop(worker.turn().unwrap()));
        let counted: BTreeMap<Figure, f64> =
            worker.end().into_iter().map(|(figure, value)| (figure, value.unwrap())).collect();
        assert_eq!(counted[&Figure::P999Us], 2.0);
        assert!(counted[&Figure::PeakMib] > 0.1, "{counted:?}");
        // A shell reads byte by byte and writes a line at once; strace may miss the calls that are under way as it comes.
        assert!((0.2..50.0).contains(&counted[&Figure::SyscallsPerReq]), "{counted:?}");
        assert!(worker.running.is_none());
    }

    #[test]
    fn what_a_worker_fails_with_is_the_turns_error() {
        let failed = |script: &str| worker(script).turn().unwrap_err().to_string();
        assert_eq!(failed("read warm; echo '{\"error\":\"no route\"}'; read end"), "no route");
        assert_eq!(failed("exit 3"), "the worker has ended");
        assert_eq!(failed("read warm; echo warm; read end"), "the worker's answer is not one of the protocol");
        let mut idle = worker(&constant("{}"));
        idle.turn().unwrap();
        assert_eq!(idle.turn().unwrap_err().to_string(), "the worker made no request");
    }

    #[test]
    fn a_worker_that_never_answers_is_ended() {
        let mut worker = worker("while read line; do :; done");
        worker.size.at_most = Duration::from_millis(20);
        assert_eq!(worker.turn().unwrap_err().to_string(), "the worker did not answer within 0 s");
    }

    #[test]
    fn a_fresh_worker_is_told_its_point_and_nothing_before() {
        let script =
            "read x; echo \"{\\\"requests\\\":${x% 0},\\\"seconds\\\":1,\\\"bytes_each\\\":${x% 0}}\"; read end";
        let mut fresh = Fresh(told(script, Some(1000.0)));
        for _ in 0..2 {
            assert_eq!(fresh.turn().unwrap()[&Figure::BytesEach], 1000.0);
        }
    }

    #[test]
    fn who_is_watched_works_until_its_watcher_is_done() {
        let counting =
            r#"read warm; echo {}; while read line; do [ "$line" = "4 0" ] && echo '{"requests":4,"seconds":1}'; done"#;
        let Told { command, .. } = told(counting, None);
        let mut watched = Watched { command, version: String::new(), x: None };
        let begin = |id: u32| if id > 1 { Ok(3) } else { Err("no process".into()) };
        let ended = |left: &mut i32| {
            *left -= 1;
            Ok(*left < 0)
        };
        let work = watched.work(SIZE, Duration::from_millis(1), begin, ended).unwrap();
        assert_eq!(work.requests, 12.0);
    }

    #[test]
    fn what_starting_costs_is_a_whole_process() {
        let turn = Passing(told("exit 0", None)).turn().unwrap();
        assert!(turn[&Figure::WallMs] > 0.0 && turn[&Figure::CpuMs] >= 0.0);
        let failed = Passing(told("echo no answer >&2; exit 3", None)).turn().unwrap_err().to_string();
        assert!(failed.ends_with("3: no answer"), "{failed}");
    }
}
