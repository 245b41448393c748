//! One job as the platform runs it: nodes that are killed and executed again, with backup copies beside them.
//!
//! It owns the processes of one cycle and what counts as their output: the report of the first execution of a node that
//! ends well, and nothing of any other. A copy that comes too late is killed, as the platform does. When a cycle is
//! over none of its processes runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::{After, Cycle, Node};
use crate::demo::crew::Child;
use crate::demo::words::{Ended, Place, Row, Side, Task, Told};
use crate::demo::{CAP, Terms};
use crate::exit::{Exit, Failure};

/// After so many executions a node has failed, and its job with it.
const EXECUTIONS: u32 = 20;
/// How long a node waits for the answer to a write: less than the slowest answers take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing at all may happen.
const SILENCE: Duration = Duration::from_secs(120);

/// What came of one cycle.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Processes started.
    pub(crate) executions: u64,
    /// Those of them that were backup copies.
    pub(crate) backups: u64,
    /// Processes that the plan killed before they ended.
    pub(crate) kills: u64,
    /// Processes killed because another execution of the node had ended well.
    pub(crate) overtaken: u64,
    /// Executions that ended with an error.
    pub(crate) failures: u64,
    /// Rows whose node reported them, by what it said of them.
    pub(crate) applied: u64,
    /// Rows that their node found to have been written before.
    pub(crate) already_applied: u64,
    /// The nodes that never ended well.
    pub(crate) given_up: Vec<usize>,
    /// One of the errors.
    pub(crate) error: Option<String>,
}

/// Runs a job to its end.
pub(crate) fn run(side: Side, cycle: &Cycle, terms: &Terms, place: &Place) -> Result<Course, Failure> {
    let (sender, heard) = channel();
    let nodes = cycle.nodes.iter().map(|_| State::default()).collect();
    let mut stage = Stage {
        side,
        cycle,
        terms,
        place,
        nodes,
        running: BTreeMap::new(),
        started: 0,
        sender,
        course: Course::default(),
    };
    for node in 0..cycle.nodes.len() {
        stage.start(node, Copy::Original)?;
    }
    stage.direct(&heard)?;
    Ok(stage.course)
}

/// What a process is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Original,
    Backup,
}

/// Where a node stands.
#[derive(Debug, Default)]
struct State {
    executions: u32,
    /// How many of these were originals.
    originals: usize,
    /// When its backup copy starts; none where there is none, or not yet, or not any more.
    backup_at: Option<Instant>,
    is_done: bool,
}

/// A running execution.
struct Execution {
    node: usize,
    copy: Copy,
    /// When it is killed, counted from its first word; and the moment, once that was heard.
    kill: Option<After>,
    kill_at: Option<Instant>,
    was_killed: bool,
    ended: Option<Ended>,
    // Before the child: it ends when this does.
    _input: ChildStdin,
    child: Child,
}

/// A word of an execution, or its end.
type Heard = (u64, Option<Result<Told, String>>);

struct Stage<'a> {
    side: Side,
    cycle: &'a Cycle,
    terms: &'a Terms,
    place: &'a Place,
    nodes: Vec<State>,
    running: BTreeMap<u64, Execution>,
    started: u64,
    sender: Sender<Heard>,
    course: Course,
}

impl Stage<'_> {
    fn plan(&self, node: usize) -> &Node {
        &self.cycle.nodes[node]
    }

    fn start(&mut self, node: usize, copy: Copy) -> Result<(), Failure> {
        let kill = match copy {
            Copy::Original => self.plan(node).kills.get(self.nodes[node].originals).copied().flatten(),
            Copy::Backup => self.plan(node).backup.as_ref().and_then(|backup| backup.kill),
        };
        let (child, mut input, output) = Child::start(&["node"])?;
        self.started += 1;
        let (id, sender) = (self.started, self.sender.clone());
        thread::spawn(move || listen(id, output, &sender));
        let line = serde_json::to_string(&self.task(&self.plan(node).rows)).expect("a task is plain data");
        writeln!(input, "{line}").map_err(|error| lost(&error))?;
        let execution =
            Execution { node, copy, kill, kill_at: None, was_killed: false, ended: None, _input: input, child };
        self.running.insert(id, execution);
        self.nodes[node].executions += 1;
        self.course.executions += 1;
        match copy {
            Copy::Original => self.nodes[node].originals += 1,
            Copy::Backup => self.course.backups += 1,
        }
        Ok(())
    }

    fn task(&self, rows: &[Row]) -> Task {
        Task {
            side: self.side,
            scope: self.cycle.scope.clone(),
            rows: rows.to_vec(),
            threads: self.terms.threads,
            processes: processes(self.terms.workers),
            cap: CAP,
            patience_ms: PATIENCE.as_millis() as u64,
            place: self.place.clone(),
        }
    }

    /// Until the last process has ended.
    fn direct(&mut self, heard: &Receiver<Heard>) -> Result<(), Failure> {
        while !self.running.is_empty() {
            let now = Instant::now();
            let next = self.next_moment().unwrap_or(now + SILENCE);
            match heard.recv_timeout(next.saturating_duration_since(now)) {
                Ok((id, Some(told))) => self.hear(id, told.map_err(|error| lost(&error))?),
                Ok((id, None)) => self.part(id)?,
                Err(RecvTimeoutError::Timeout) if self.next_moment().is_none() => {
                    return Err(Failure::new(Exit::Timeout, "a node of the demo neither writes nor ends"));
                }
                Err(_) => {}
            }
            self.do_what_is_due(Instant::now())?;
        }
        Ok(())
    }

    fn next_moment(&self) -> Option<Instant> {
        let kills = self.running.values().filter_map(|execution| execution.kill_at);
        kills.chain(self.nodes.iter().filter_map(|node| node.backup_at)).min()
    }

    fn hear(&mut self, id: u64, told: Told) {
        let now = Instant::now();
        let Some(execution) = self.running.get_mut(&id) else { return };
        match told {
            // It has been overtaken.
            Told::Begun if self.nodes[execution.node].is_done => {}
            Told::Begun => {
                execution.kill_at = execution.kill.map(|after| now + after.0);
                let node = execution.node;
                if execution.copy == Copy::Original && self.nodes[node].originals == 1 {
                    let backup = self.plan(node).backup.as_ref();
                    self.nodes[node].backup_at = backup.map(|backup| now + backup.start.0);
                }
            }
            Told::Ended(ended) => execution.ended = Some(ended),
        }
    }

    fn do_what_is_due(&mut self, now: Instant) -> Result<(), Failure> {
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        for execution in self.running.values_mut() {
            if is_due(&mut execution.kill_at) && execution.child.kill() {
                execution.was_killed = true;
                self.course.kills += 1;
            }
        }
        for node in 0..self.nodes.len() {
            if is_due(&mut self.nodes[node].backup_at) {
                self.start(node, Copy::Backup)?;
            }
        }
        Ok(())
    }

    /// A process has ended: its output counts, or the node is executed again.
    fn part(&mut self, id: u64) -> Result<(), Failure> {
        let Some(mut execution) = self.running.remove(&id) else { return Ok(()) };
        let (node, is_well) = (execution.node, execution.child.ended_well());
        match execution.ended {
            _ if self.nodes[node].is_done => return Ok(()),
            Some(Ended { applied, already_applied, error: None }) if is_well => {
                self.course.applied += applied;
                self.course.already_applied += already_applied;
                self.commit(node);
                return Ok(());
            }
            _ if execution.was_killed => {}
            ended => {
                self.course.failures += 1;
                let error = ended.and_then(|ended| ended.error);
                self.course.error.get_or_insert(error.unwrap_or_else(|| "a node ended without a word".to_owned()));
            }
        }
        let is_last = self.nodes[node].executions >= EXECUTIONS;
        if execution.copy == Copy::Original && !is_last {
            return self.start(node, Copy::Original);
        }
        if is_last && self.running.values().all(|other| other.node != node) {
            self.nodes[node].backup_at = None;
            self.course.given_up.push(node);
        }
        Ok(())
    }

    fn commit(&mut self, node: usize) {
        self.nodes[node].is_done = true;
        self.nodes[node].backup_at = None;
        for other in self.running.values_mut().filter(|other| other.node == node) {
            other.kill_at = None;
            if other.child.kill() && !other.was_killed {
                self.course.overtaken += 1;
            }
        }
    }
}

/// How many processes a job has at most at one time: every node and its copy.
pub(crate) fn processes(nodes: usize) -> usize {
    2 * nodes
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("a node of the demo was not understood: {error}"))
}

/// Passes on what a node says, and its end.
fn listen(id: u64, output: ChildStdout, sender: &Sender<Heard>) {
    for line in BufReader::new(output).lines() {
        let told = line
            .map_err(|error| error.to_string())
            .and_then(|line| serde_json::from_str::<Told>(&line).map_err(|error| error.to_string()));
        if sender.send((id, Some(told))).is_err() {
            return;
        }
    }
    // The stage may have fallen already.
    _ = sender.send((id, None));
}
