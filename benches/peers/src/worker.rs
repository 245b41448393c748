//! Peers of other languages: each a process of its own, which is told how many requests to make and says how they went.
//!
//! It owns those processes and their protocol. `WORKER peers` prints a line of JSON for each peer of each workload;
//! `WORKER run WORKLOAD PEER URL CA` makes that peer and reads lines: `warm` until it is as fast as it gets, `COUNT
//! MILLISECONDS` for a turn, the end of its input to end. Each is answered with a line of JSON. A process of its own
//! keeps one peer's threads, heap and compiled code out of the figures of another, and the kernel counts its CPU time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::measure::{Figure, Outcome, Peer, Peers, Result, Turn, Whose, cpu};
use crate::server::{NAME, Server};

/// A worker whose input has ended is given this long to end too.
const END: Duration = Duration::from_secs(5);

/// How a language's workers are started, and what they are.
pub(crate) struct Workers<'a> {
    /// The program, and the arguments in front of ours.
    pub(crate) command: &'a [String],
    pub(crate) language: &'static str,
}

/// What a worker says of a peer.
#[derive(Deserialize)]
struct Known {
    workload: String,
    name: String,
    #[serde(default)]
    version: String,
    missing: Option<String>,
}

/// How much a turn is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Requests before the first measured one: caches are the previous peer's.
    pub(crate) lead_in: usize,
    pub(crate) requests: usize,
    /// A turn goes on until so much time has passed.
    pub(crate) at_least: Duration,
}

impl Workers<'_> {
    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.command.split_first().ok_or("no command of a worker was given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    /// The peers of a workload, whose processes are started by their first turns.
    fn known(&self, workload: &str) -> Result<Vec<Known>> {
        let output = self.command()?.arg("peers").stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the worker could not name its peers: {}", output.status).into());
        }
        let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let known: Vec<Known> = lines.map(serde_json::from_slice).collect::<std::result::Result<_, _>>()?;
        Ok(known.into_iter().filter(|peer| peer.workload == workload).collect())
    }

    fn peers(&self, workload: &str, make: impl Fn(Known, Command) -> Box<dyn Peer>, at: [&str; 2]) -> Result<Peers> {
        let mut peers = Peers::default();
        for peer in self.known(workload)? {
            match peer.missing {
                Some(why) => peers.missing.push(Outcome::missing(&peer.name, self.language, why)),
                None => {
                    let mut command = self.command()?;
                    command.args(["run", workload, &peer.name]).args(at);
                    peers.present.push(make(peer, command));
                }
            }
        }
        Ok(peers)
    }

    /// Those that go on from turn to turn.
    pub(crate) fn standing(&self, workload: &str, server: &Server, tls: bool, size: Size) -> Result<Peers> {
        let url = url(server, tls);
        let make = |peer: Known, command| -> Box<dyn Peer> {
            let Known { name, version, .. } = peer;
            Box::new(Standing { name, version, language: self.language, command, size, running: None })
        };
        self.peers(workload, make, [&url, &server.ca_file().display().to_string()])
    }

    /// Those that are started for each turn, and end by themselves.
    pub(crate) fn passing(&self, workload: &str, server: &Server) -> Result<Peers> {
        let url = url(server, false);
        let make = |peer: Known, command| -> Box<dyn Peer> {
            Box::new(Passing { name: peer.name, version: peer.version, language: self.language, command })
        };
        self.peers(workload, make, [&url, &server.ca_file().display().to_string()])
    }
}

fn url(server: &Server, tls: bool) -> String {
    match tls {
        true => format!("https://{NAME}:{}/answer", server.tls().port()),
        false => format!("http://{}/answer", server.plain()),
    }
}

/// A worker that serves one peer's turns.
struct Standing {
    name: String,
    version: String,
    language: &'static str,
    command: Command,
    size: Size,
    running: Option<Running>,
}

struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    clock: libc::clockid_t,
}

/// What a worker answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Failed { error: String },
    Done(BTreeMap<String, f64>),
}

impl Running {
    fn start(command: &mut Command) -> Result<Running> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("the worker has no output")?);
        let mut clock = 0;
        // SAFETY: the pointer is to a clock id of ours, and the call only writes to it.
        let refused = unsafe { libc::clock_getcpuclockid(child.id() as libc::pid_t, &raw mut clock) };
        let running = Running { child, input, output, clock };
        match refused {
            0 => Ok(running),
            code => Err(std::io::Error::from_raw_os_error(code).into()),
        }
    }

    /// User and system time of the process so far.
    fn cpu(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a `timespec` of ours, and the call only writes to it.
        unsafe { libc::clock_gettime(self.clock, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn ask(&mut self, line: &str) -> Result<BTreeMap<String, f64>> {
        const ENDED: &str = "the worker has ended";
        let input = self.input.as_mut().ok_or("the worker has no input")?;
        input.write_all(format!("{line}\n").as_bytes()).map_err(|_| ENDED)?;
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err(ENDED.into());
        }
        match serde_json::from_str(&answer)? {
            Said::Failed { error } => Err(error.into()),
            Said::Done(figures) => Ok(figures),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        let latest = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > latest {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Peer for Standing {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn language(&self) -> &'static str {
        self.language
    }

    fn turn(&mut self) -> Result<Turn> {
        let Some(running) = &mut self.running else {
            self.running.insert(Running::start(&mut self.command)?).ask("warm")?;
            return Ok(Turn::new());
        };
        if self.size.lead_in > 0 {
            running.ask(&format!("{} 0", self.size.lead_in))?;
        }
        let cpu_before = running.cpu();
        let said = running.ask(&format!("{} {}", self.size.requests, self.size.at_least.as_millis()))?;
        let cpu_used = running.cpu() - cpu_before;
        let (requests, seconds) = match (said.get("requests"), said.get("seconds")) {
            (Some(&requests), Some(&seconds)) if requests >= 1.0 && seconds > 0.0 => (requests, seconds),
            _ => return Err("the worker made no request".into()),
        };
        let mut turn = Turn::from([
            (Figure::PerSecond, requests / seconds),
            (Figure::NsPerCall, seconds * 1e9 / requests),
            (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / requests),
        ]);
        for (name, figure) in [("p50_us", Figure::P50Us), ("p99_us", Figure::P99Us), ("heap", Figure::HeapBytes)] {
            if let Some(&value) = said.get(name) {
                turn.insert(figure, value);
            }
        }
        Ok(turn)
    }
}

/// A process a turn: what starting costs.
struct Passing {
    name: String,
    version: String,
    language: &'static str,
    command: Command,
}

impl Peer for Passing {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn language(&self) -> &'static str {
        self.language
    }

    fn turn(&mut self) -> Result<Turn> {
        let cpu_before = cpu(Whose::Children);
        let begun = Instant::now();
        let output = self.command.stdin(Stdio::null()).output()?;
        let elapsed = begun.elapsed();
        let cpu_used = cpu(Whose::Children) - cpu_before;
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

    fn worker(script: &str) -> Standing {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let size = Size { lead_in: 0, requests: 4, at_least: Duration::ZERO };
        let (name, version) = ("sh".to_owned(), String::new());
        Standing { name, version, language: "sh", command, size, running: None }
    }

    #[test]
    fn a_turn_is_what_the_worker_says_of_it() {
        let mut worker =
            worker("read warm; echo {}; read turn; echo '{\"requests\":4,\"seconds\":0.5,\"p50_us\":7}'; read end");
        assert!(worker.turn().unwrap().is_empty());
        let turn = worker.turn().unwrap();
        assert_eq!((turn[&Figure::PerSecond], turn[&Figure::P50Us]), (8.0, 7.0));
        assert!(turn.contains_key(&Figure::CpuUs) && !turn.contains_key(&Figure::HeapBytes));
    }

    #[test]
    fn what_a_worker_fails_with_is_the_turns_error() {
        let mut failing = worker("read warm; echo '{\"error\":\"no route\"}'; read end");
        assert_eq!(failing.turn().unwrap_err().to_string(), "no route");
        assert_eq!(worker("exit 3").turn().unwrap_err().to_string(), "the worker has ended");
    }
}
