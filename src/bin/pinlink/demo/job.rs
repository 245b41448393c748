//! One side of the demo, from the first process to the last number.
//!
//! It owns the order that makes the numbers mean something: a new network, workers that initialise, the DNS count
//! at that moment, the start for all at once, and the counts when the last worker is done.

use std::time::{Duration, Instant};

use super::crew::Crew;
use super::network::Network;
use super::progress::Progress;
use super::scoreboard::{Moment, Scoreboard};
use super::words::{Job, Said, Side};
use super::{CAP, Terms};
use crate::exit::{Exit, Failure};

/// How long all workers together may take to initialise.
const INIT: Duration = Duration::from_secs(60);
/// How long after the limit the workers' last words are awaited.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// How often the network is asked for its counts, for the charts.
const SAMPLE: Duration = Duration::from_millis(100);

/// Plays one side.
pub(crate) fn play(side: Side, terms: &Terms, progress: &Progress) -> Result<Scoreboard, Failure> {
    progress.begin(side);
    let mut network = Network::start(&[])?;
    let mut crew = Crew::start(&jobs(side, terms, &network))?;
    let begun = Instant::now();
    for _ in 0..terms.workers {
        // Ready is the only word a worker has before it is told to go; a broken one ends the demo.
        if crew.next(INIT.saturating_sub(begun.elapsed()))?.is_none() {
            return Err(Failure::new(Exit::Timeout, "the workers did not initialise in time"));
        }
    }
    let before = network.counts()?;

    let start = Instant::now();
    crew.go()?;
    let mut ended = vec![0; terms.workers];
    let mut outcomes = Vec::new();
    let mut course = vec![Moment { at: Duration::ZERO, rows: 0, live: before.proxy.live }];
    while outcomes.len() < terms.workers {
        if start.elapsed() > terms.limit + LAST_WORDS {
            return Err(Failure::new(Exit::Timeout, "the workers did not end in time"));
        }
        match crew.next(SAMPLE / 2)? {
            Some((index, Said::Progress(rows))) => ended[index] = rows,
            Some((index, Said::Outcome(outcome))) => {
                ended[index] = outcome.done + outcome.failed;
                outcomes.push(outcome);
            }
            _ => {}
        }
        let rows = ended.iter().sum();
        progress.show(side, rows);
        let at = start.elapsed();
        if course.last().is_none_or(|last: &Moment| at >= last.at + SAMPLE) {
            course.push(Moment { at, rows, live: network.counts()?.proxy.live });
        }
    }
    let counts = network.counts()?;
    course.push(Moment { at: start.elapsed(), rows: ended.iter().sum(), live: counts.proxy.live });
    let board = Scoreboard::new(terms, outcomes, before.dns.queries, &counts, course);
    progress.finish(
        side,
        &format!("{} rows done", board.rows_done),
        &format!("{} failed, {} not reached in {:.1} s", board.rows_failed, board.rows_not_reached, board.seconds),
    );
    Ok(board)
}

/// Deals the rows out like cards, so that no worker gets only the end of the table.
fn jobs(side: Side, terms: &Terms, network: &Network) -> Vec<Job> {
    let share = |worker| terms.rows.iter().skip(worker).step_by(terms.workers).cloned().collect();
    let job = |worker| Job {
        side,
        rows: share(worker),
        threads: terms.threads,
        limit_ms: u64::try_from(terms.limit.as_millis()).unwrap_or(u64::MAX),
        workers: terms.workers,
        cap: CAP,
        place: network.place().clone(),
    };
    (0..terms.workers).map(job).collect()
}
