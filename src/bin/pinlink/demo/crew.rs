//! The job's processes: started, listened to, and gone on every path.
//!
//! A child lives as long as its standard input is open. It has a process group of its own, so that a Ctrl-C ends
//! the parent alone, and the children by the end of their input: in order, with their temporary files removed.
//! What does not end within [`PATIENCE`] is killed. Nothing is ever left unreaped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::words::{GO, Job, Said};
use crate::exit::{Exit, Failure};

/// How long a child may take to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process of this program's own, with another subcommand.
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts `pinlink <arguments>` with pipes for both ends.
    pub(crate) fn start(arguments: &[&str]) -> Result<(Child, ChildStdin, ChildStdout), Failure> {
        let failed = |error| Failure::new(Exit::Other, format!("a process of the demo does not start: {error}"));
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take().expect("its input is a pipe");
        let output = child.stdout.take().expect("its output is a pipe");
        Ok((Child(child), input, output))
    }

    /// Kills it (SIGKILL). True where it had not ended before.
    pub(crate) fn kill(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None)) && self.0.kill().is_ok()
    }

    /// Waits for its end. True where it ended well.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.0.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.0.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The workers of one side.
pub(crate) struct Crew {
    // Before the children: all inputs close first, so that all end at the same time.
    inputs: Vec<ChildStdin>,
    said: Receiver<(usize, Result<Said, String>)>,
    children: Vec<Child>,
}

impl Crew {
    /// Starts a worker for each job. They initialise at once.
    pub(crate) fn start(jobs: &[Job]) -> Result<Crew, Failure> {
        let (sender, said) = channel();
        let mut crew = Crew { inputs: Vec::new(), said, children: Vec::new() };
        for (index, job) in jobs.iter().enumerate() {
            let (child, mut input, output) = Child::start(&["worker"])?;
            crew.children.push(child);
            let sender = sender.clone();
            thread::spawn(move || listen(index, output, &sender));
            let line = serde_json::to_string(job).expect("a job is plain data");
            writeln!(input, "{line}").map_err(|error| lost(index, &error))?;
            crew.inputs.push(input);
        }
        Ok(crew)
    }

    /// Tells all workers to begin.
    pub(crate) fn go(&mut self) -> Result<(), Failure> {
        for (index, input) in self.inputs.iter_mut().enumerate() {
            writeln!(input, "{GO}").map_err(|error| lost(index, &error))?;
        }
        Ok(())
    }

    /// The next word of any worker, or none within `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Result<Option<(usize, Said)>, Failure> {
        match self.said.recv_timeout(patience) {
            Err(_) => Ok(None),
            Ok((index, Ok(Said::Broken(error)))) => {
                Err(Failure::new(Exit::Other, format!("worker {index} could not begin: {error}")))
            }
            Ok((index, Ok(said))) => Ok(Some((index, said))),
            Ok((index, Err(error))) => Err(lost(index, &error)),
        }
    }
}

fn lost(index: usize, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("worker {index} has ended: {error}"))
}

/// Passes on what a worker says, until its last word or its end.
fn listen(index: usize, output: ChildStdout, sender: &Sender<(usize, Result<Said, String>)>) {
    for line in BufReader::new(output).lines() {
        let said = line
            .map_err(|error| error.to_string())
            .and_then(|line| serde_json::from_str::<Said>(&line).map_err(|error| error.to_string()));
        let last = matches!(said, Ok(Said::Outcome(_)) | Err(_));
        // A parent that no longer listens has seen enough.
        if sender.send((index, said)).is_err() || last {
            return;
        }
    }
    _ = sender.send((index, Err("its output is closed".to_owned())));
}
