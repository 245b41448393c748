//! How the demo shows that it is alive: two bars on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error, so that `--json` and the table stay clean.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::words::Side;

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
    /// Says what is about to happen; a side is `length` of `unit`.
    pub(crate) fn new(announcement: &str, length: u64, unit: &str) -> Progress {
        eprintln!("{announcement}");
        if !stderr().is_terminal() {
            return Progress::Lines;
        }
        let bars = MultiProgress::new();
        let template = format!("{{prefix:>8}} {{bar:36.cyan/blue}} {{pos:>6}}/{{len}} {unit}  {{elapsed:>3}}  {{msg}}");
        let style = ProgressStyle::with_template(&template).expect("the template is a constant but for one word");
        let bar = |side: Side| {
            let bar = bars.add(ProgressBar::new(length)).with_style(style.clone());
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

    /// So many have ended.
    pub(crate) fn show(&self, side: Side, ended: u64) {
        if let Some(bar) = self.bar(side) {
            bar.set_position(ended);
        }
    }

    /// A side is over; a bar shows already what was done.
    pub(crate) fn finish(&self, side: Side, done: &str, rest: &str) {
        match self.bar(side) {
            Some(bar) => bar.abandon_with_message(rest.to_owned()),
            None => eprintln!("{}: {done}, {rest}", side.name()),
        }
    }

    /// Leaves an empty line between the bars and what follows.
    pub(crate) fn end(&self) {
        if let Progress::Bars { .. } = self {
            eprintln!();
        }
    }
}
