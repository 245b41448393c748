//! `pinlink demo --re-execute`: a job that writes, killed and executed again, cycle after cycle.
//!
//! It owns the order of things: draw the plan (`plan.rs`), play the cycles of both sides, several at a time, each lane in
//! a network of its own (`cycle.rs`, `node.rs`), let what is still on its way arrive, and hold the service's record against
//! the input (`tally.rs`). Time: the clock, for how long it took. Randomness: the seed.

mod cycle;
pub(crate) mod node;
mod plan;
mod report;
mod tally;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::network::{Network, Sink};
use super::progress::Progress;
use super::report::grouped;
use super::words::Side;
use super::{CAP, Terms};
use crate::exit::{Exit, Failure};
use crate::output;
use cycle::{Course, processes};
use plan::{CHAOS, Cycle};
use tally::Board;

/// How many cycles of one side run at a time: they mostly wait for answers that come late or never.
const LANES: usize = 12;
/// Look-ups are not what this is about.
const QUERIES: &str = "100000";
/// The slowest write takes 3 s, and goes on when its client has gone. After this it has had its effect …
const LAST_EFFECTS: Duration = Duration::from_millis(3500);
/// … and this is how long none may have come since.
const QUIET: Duration = Duration::from_millis(500);

/// Plays both sides and reports.
pub(crate) fn run(terms: &Terms, seed: u64, cycles: u64, as_json: bool) -> Result<Exit, Failure> {
    if processes(terms.workers) > CAP {
        return Err(Failure::usage(format!("--workers: with --re-execute {} at most", CAP / 2)));
    }
    let plan: Vec<Cycle> = (0..cycles).map(|number| Cycle::draw(seed, number, &terms.rows, terms.workers)).collect();
    let announcement = format!(
        "{} cycles of {} nodes with {} threads each, seed {seed}: killed, executed again, shadowed by copies; {CHAOS} % of \
         the writes meet a fault",
        grouped(cycles),
        terms.workers,
        terms.threads,
    );
    let progress = Progress::new(&announcement, cycles, "cycles");
    let play = Play { seed, plan: &plan, terms, progress: &progress, has_failed: AtomicBool::new(false) };
    // Side by side: both mostly wait, and neither can touch the other's networks.
    let (naive, pinlink) = thread::scope(|scope| {
        let naive = scope.spawn(|| play.side(Side::Naive));
        let pinlink = play.side(Side::Pinlink);
        (naive.join().expect("a side does not panic"), pinlink)
    });
    progress.end();
    let (naive, pinlink) = (naive?, pinlink?);
    let told = report::Told { terms, seed, plan: &plan, naive: &naive, pinlink: &pinlink };
    output::print(if as_json { told.json() } else { told.table() })?;
    Ok(if pinlink.is_right() { Exit::Done } else { Exit::Other })
}

/// What both sides have in common.
struct Play<'a> {
    seed: u64,
    plan: &'a [Cycle],
    terms: &'a Terms,
    progress: &'a Progress,
    /// Where one lane fails the demo does; the others need not go on.
    has_failed: AtomicBool,
}

impl Play<'_> {
    /// Plays all cycles of one side.
    fn side(&self, side: Side) -> Result<Board, Failure> {
        self.progress.begin(side);
        let (next, ended, start) = (AtomicUsize::new(0), AtomicU64::new(0), Instant::now());
        let lanes = thread::scope(|scope| {
            let begin = |_| {
                scope.spawn(|| {
                    let lane = self.lane(side, &next, &ended, start);
                    self.has_failed.fetch_or(lane.is_err(), Ordering::Relaxed);
                    lane
                })
            };
            let running: Vec<_> = (0..LANES.min(self.plan.len())).map(begin).collect();
            let ended: Vec<_> = running.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect();
            ended.into_iter().collect::<Result<Vec<Lane<'_>>, Failure>>()
        })?;
        let board = Board::new(&lanes);
        self.progress.finish(
            side,
            &format!("{} cycles done", board.cycles),
            &format!("{} rows lost, {} double in {:.1} s", board.lost, board.double, board.seconds),
        );
        Ok(board)
    }

    /// Plays one cycle after another in a network of its own, until none is left.
    fn lane(&self, side: Side, next: &AtomicUsize, ended: &AtomicU64, start: Instant) -> Result<Lane<'_>, Failure> {
        let (chaos, seed) = (CHAOS.to_string(), self.seed.to_string());
        let mut network = Network::start(&["--queries-per-second", QUERIES, "--chaos", &chaos, "--seed", &seed])?;
        let mut courses = Vec::new();
        while !self.has_failed.load(Ordering::Relaxed)
            && let Some(cycle) = self.plan.get(next.fetch_add(1, Ordering::Relaxed))
        {
            courses.push((cycle, cycle::run(side, cycle, self.terms, network.place())?));
            self.progress.show(side, ended.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Ok(Lane { courses, took: start.elapsed(), sink: at_rest(&mut network)? })
    }
}

/// The cycles of one lane, and what its service recorded.
struct Lane<'a> {
    courses: Vec<(&'a Cycle, Course)>,
    /// When its last cycle ended, counted from the start of the side.
    took: Duration,
    sink: Sink,
}

/// The service's record when nothing is on its way any more.
fn at_rest(network: &mut Network) -> Result<Sink, Failure> {
    thread::sleep(LAST_EFFECTS);
    let mut sink = network.sink()?;
    loop {
        thread::sleep(QUIET);
        let now = network.sink()?;
        if now.writes == sink.writes {
            return Ok(now);
        }
        sink = now;
    }
}
