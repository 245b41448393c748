//! The result of the demo as one HTML page: charts in SVG, light and dark, nothing loaded from anywhere.
//!
//! It owns the geometry of the charts; the looks are in `page.html`. All text is escaped by the template engine.

use std::time::Duration;

use minijinja::{Environment, Value, context};

use super::report::{self, grouped, rate, time};
use super::scoreboard::{Moment, Scoreboard};
use super::words::Side;
use super::{CAP, QUERIES_PER_SECOND, Terms};
use crate::exit::{Exit, Failure};

/// The inside of a line chart, in SVG units; `page.html` leaves the margins around it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 200.0;
/// The length of the longest bar.
const BAR: f64 = 100.0;

/// The page.
pub(crate) fn render(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> Result<String, Failure> {
    let lines = report::lines(naive, pinlink).into_iter().map(|line| {
        context! { what => line.what, naive => line.naive, pinlink => line.pinlink }
    });
    let mut environment = Environment::new();
    environment
        .add_template("page.html", include_str!("page.html"))
        .and_then(|()| environment.get_template("page.html"))
        .and_then(|page| {
            page.render(context! {
                tiles => tiles(terms, naive, pinlink),
                charts => charts(terms, naive, pinlink),
                bars => bars(naive, pinlink),
                lines => Value::from_iter(lines),
                notes => Value::from_iter(report::notes(terms, naive, pinlink)),
                version => env!("CARGO_PKG_VERSION"),
            })
        })
        .map_err(|error| Failure::new(Exit::Other, format!("the page can't be made: {error}")))
}

/// The four numbers that matter most.
fn tiles(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> Value {
    let percent = |board: &Scoreboard| {
        let share = board.rows_done as f64 * 100.0 / terms.rows.len() as f64;
        if share < 10.0 { format!("{share:.1} %") } else { format!("{share:.0} %") }
    };
    let tile = |what: &str, ours: String, theirs: String| context! { what => what, ours => ours, theirs => theirs };
    Value::from_iter([
        tile("rows done", percent(pinlink), percent(naive)),
        tile("DNS queries during execution", grouped(pinlink.dns_queries), grouped(naive.dns_queries)),
        tile("handshakes per 1,000 rows", per_thousand(pinlink), per_thousand(naive)),
        tile("latency p99", time(pinlink.p99_us), time(naive.p99_us)),
    ])
}

fn per_thousand(board: &Scoreboard) -> String {
    match board.rows_done {
        0 => "–".to_owned(),
        rows => grouped((board.handshakes * 1000).div_ceil(rows)),
    }
}

/// Rows over time, and live connections over time.
fn charts(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> Value {
    let seconds = naive.seconds.max(pinlink.seconds).max(0.1);
    let live = |board: &Scoreboard| board.course.iter().map(|moment| moment.live).max().unwrap_or_default();
    let chart = |title: &str, unit: &str, top: u64, limit: Option<u64>, value: &dyn Fn(&Moment) -> u64| {
        let scale = Scale { seconds, top: round_up(top) };
        context! {
            title => title,
            unit => unit,
            naive => scale.line(naive, value),
            pinlink => scale.line(pinlink, value),
            limit => limit.map(|limit| scale.y(limit)),
            limit_text => limit.map(|limit| format!("cap {limit}")),
            columns => scale.columns(),
            rows => scale.rows(),
        }
    };
    Value::from_iter([
        chart("Rows ended over time", "rows", terms.rows.len() as u64, None, &|moment| moment.rows),
        chart(
            "Live connections at the proxy over time",
            "connections",
            (CAP as u64).max(live(naive)).max(live(pinlink)) + 2,
            Some(CAP as u64),
            &|moment| moment.live,
        ),
    ])
}

/// From time and value to places in a chart.
struct Scale {
    seconds: f64,
    top: u64,
}

impl Scale {
    fn x(&self, at: Duration) -> f64 {
        (at.as_secs_f64() / self.seconds).min(1.0) * WIDTH
    }

    fn y(&self, value: u64) -> f64 {
        HEIGHT - value as f64 / self.top as f64 * HEIGHT
    }

    /// A line through a side's moments, and where it ends.
    fn line(&self, board: &Scoreboard, value: &dyn Fn(&Moment) -> u64) -> Value {
        let points: Vec<_> = board
            .course
            .iter()
            .map(|moment| format!("{:.1},{:.1}", self.x(moment.at), self.y(value(moment))))
            .collect();
        let last = board.course.last().map(|moment| (self.x(moment.at), self.y(value(moment))));
        let (x, y) = last.unwrap_or((0.0, HEIGHT));
        context! { points => points.join(" "), x => format!("{x:.1}"), y => format!("{y:.1}") }
    }

    fn columns(&self) -> Value {
        let step = match self.seconds {
            ..2.0 => 0.5,
            2.0..6.0 => 1.0,
            6.0..30.0 => 5.0,
            _ => (self.seconds / 5.0).ceil(),
        };
        let count = (self.seconds / step).floor() as u32;
        Value::from_iter((0..=count).map(|index| {
            let at = f64::from(index) * step;
            context! { x => format!("{:.1}", at / self.seconds * WIDTH), text => format!("{at} s") }
        }))
    }

    fn rows(&self) -> Value {
        Value::from_iter((0..=4).map(|quarter| {
            let value = self.top * quarter / 4;
            context! { y => format!("{:.1}", self.y(value)), text => grouped(value) }
        }))
    }
}

/// A round number at or above, divisible by four, for an axis.
fn round_up(value: u64) -> u64 {
    let step = (1..).map(|power| 10u64.pow(power)).take_while(|step| *step <= value / 5).last().unwrap_or(4);
    value.max(1).next_multiple_of(if step == 4 { 4 } else { step * 2 })
}

/// Pairs of bars, each pair to its own scale.
fn bars(naive: &Scoreboard, pinlink: &Scoreboard) -> Value {
    let pair = |title: &str, note: String, value: &dyn Fn(&Scoreboard) -> f64, text: &dyn Fn(&Scoreboard) -> String| {
        let most = value(naive).max(value(pinlink)).max(1.0);
        let side = |side: Side, board: &Scoreboard| {
            context! { name => side.name(), text => text(board), length => format!("{:.2}", value(board) / most * BAR) }
        };
        context! {
            title => title,
            note => note,
            sides => Value::from_iter([side(Side::Naive, naive), side(Side::Pinlink, pinlink)]),
        }
    };
    let count = |title: &str, note: String, value: &dyn Fn(&Scoreboard) -> u64| {
        pair(title, note, &|board| value(board) as f64, &|board| grouped(value(board)))
    };
    Value::from_iter([
        count("DNS queries during execution", format!("the server answers {QUERIES_PER_SECOND} a second"), &|board| {
            board.dns_queries
        }),
        count("Connections opened", "refused ones included".to_owned(), &|board| board.connections_opened),
        count("TLS handshakes", "full and resumed".to_owned(), &|board| board.handshakes),
        count("Proxy refusals", format!("above {CAP} live connections"), &|board| board.refusals),
        pair("Rows per second", "rows done over the time taken".to_owned(), &|board| board.rows_per_s, &|board| {
            rate(board.rows_per_s)
        }),
        pair("Latency p99", "of rows that ended".to_owned(), &|board| board.p99_us as f64, &|board| time(board.p99_us)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_that_has_quarters() {
        for value in [0, 1, 5, 18, 99, 100, 5127, 7910, 1_000_000] {
            let top = round_up(value);
            assert!(top >= value.max(1) && top.is_multiple_of(4) && top <= value * 3 / 2 + 4, "{value}: {top}");
        }
    }
}
