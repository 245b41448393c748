//! `pinlink demo --re-execute`: a job that writes, killed and executed again, cycle after cycle.
//!
//! It owns the order of things: draw the plan (`plan.rs`), play the cycles of one side, several at a time, each lane in a
//! network of its own (`cycle.rs`, `node.rs`), let what is still on its way arrive, and hold the service's record against
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
const LANES: usize = 8;
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
    let naive = play(Side::Naive, seed, &plan, terms, &progress)?;
    let pinlink = play(Side::Pinlink, seed, &plan, terms, &progress)?;
    progress.end();
    let told = report::Told { terms, seed, plan: &plan, naive: &naive, pinlink: &pinlink };
    output::print(if as_json { told.json() } else { told.table() })?;
    Ok(if pinlink.is_right() { Exit::Done } else { Exit::Other })
}

/// Plays all cycles of one side.
fn play(side: Side, seed: u64, plan: &[Cycle], terms: &Terms, progress: &Progress) -> Result<Board, Failure> {
    progress.begin(side);
    let (next, ended, has_failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let lane = || {
        let mut network = Network::start(&[
            "--queries-per-second",
            QUERIES,
            "--chaos",
            &CHAOS.to_string(),
            "--seed",
            &seed.to_string(),
        ])?;
        let mut courses = Vec::new();
        // Where one lane fails the demo does; the others need not go on.
        while !has_failed.load(Ordering::Relaxed)
            && let Some(cycle) = plan.get(next.fetch_add(1, Ordering::Relaxed))
        {
            courses.push((cycle, cycle::run(side, cycle, terms, network.place())?));
            progress.show(side, ended.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let took = start.elapsed();
        Ok(Lane { courses, took, sink: at_rest(&mut network)? })
    };
    let lanes = thread::scope(|scope| {
        let begin = |_| {
            scope.spawn(|| {
                let lane = lane();
                has_failed.fetch_or(lane.is_err(), Ordering::Relaxed);
                lane
            })
        };
        let running: Vec<_> = (0..LANES.min(plan.len())).map(begin).collect();
        let ended: Vec<_> = running.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect();
        ended.into_iter().collect::<Result<Vec<Lane<'_>>, Failure>>()
    })?;
    let board = Board::new(&lanes);
    progress.finish(
        side,
        &format!("{} cycles done", board.cycles),
        &format!("{} rows lost, {} double in {:.1} s", board.lost, board.double, board.seconds),
    );
    Ok(board)
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
