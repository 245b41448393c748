//! How the demo shows that it is alive: two bars on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error, so that `--json` and the table stay clean.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::scoreboard::Scoreboard;
use super::words::Side;
use super::{CAP, QUERIES_PER_SECOND, Terms};

/// What the user sees while the job runs.
pub(crate) enum Progress {
    /// One bar for each side.
    Bars {
        /// Of [`Side::Naive`].
        naive: ProgressBar,
        /// Of [`Side::Pinlink`].
        pinlink: ProgressBar,
    },
    /// A line when a side begins and when it ends.
    Lines,
}

impl Progress {
    /// Says what is about to happen.
    pub(crate) fn new(terms: &Terms) -> Progress {
        eprintln!(
            "{} rows of {}, {} workers with {} threads each; DNS answers {QUERIES_PER_SECOND} queries/s, the proxy allows {CAP} \
             connections; {} s for each side",
            terms.rows.len(),
            terms.source,
            terms.workers,
            terms.threads,
            terms.limit.as_secs(),
        );
        if !stderr().is_terminal() {
            return Progress::Lines;
        }
        let bars = MultiProgress::new();
        let style =
            ProgressStyle::with_template("{prefix:>8} {bar:36.cyan/blue} {pos:>6}/{len} rows  {elapsed:>3}  {msg}")
                .expect("the template is a constant");
        let bar = |side: Side| {
            let bar = bars.add(ProgressBar::new(terms.rows.len() as u64)).with_style(style.clone());
            bar.set_prefix(side.name());
            bar
        };
        Progress::Bars { naive: bar(Side::Naive), pinlink: bar(Side::Pinlink) }
    }

    fn bar(&self, side: Side) -> Option<&ProgressBar> {
        match (self, side) {
            (Progress::Bars { naive, .. }, Side::Naive) => Some(naive),
            (Progress::Bars { pinlink, .. }, Side::Pinlink) => Some(pinlink),
            (Progress::Lines, _) => None,
        }
    }

    /// A side begins.
    pub(crate) fn begin(&self, side: Side) {
        match self.bar(side) {
            Some(bar) => {
                bar.reset_elapsed();
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            None => eprintln!("{}: starting the network and the workers", side.name()),
        }
    }

    /// So many rows have ended.
    pub(crate) fn show(&self, side: Side, rows: u64) {
        if let Some(bar) = self.bar(side) {
            bar.set_position(rows);
        }
    }

    /// A side is over.
    pub(crate) fn finish(&self, side: Side, board: &Scoreboard) {
        let rest =
            format!("{} failed, {} not reached in {:.1} s", board.rows_failed, board.rows_not_reached, board.seconds);
        match self.bar(side) {
            Some(bar) => bar.abandon_with_message(rest),
            None => eprintln!("{}: {} rows done, {rest}", side.name(), board.rows_done),
        }
    }

    /// Leaves an empty line between the bars and what follows.
    pub(crate) fn end(&self) {
        if let Progress::Bars { .. } = self {
            eprintln!();
        }
    }
}
