//! The result of the demo as a table side by side, and as one JSON object.
//!
//! It owns the wording of the rows. The page with charts is in `page.rs`.

use comfy_table::CellAlignment;
use serde_json::json;

use super::scoreboard::Scoreboard;
use super::{CAP, QUERIES_PER_SECOND, Terms};
use crate::output;

/// One line of the comparison: what it is, and what each side has.
pub(crate) struct Line {
    /// What is compared.
    pub(crate) what: String,
    /// The naive side.
    pub(crate) naive: String,
    /// This library's side.
    pub(crate) pinlink: String,
}

/// All lines of the comparison, in order.
pub(crate) fn lines(naive: &Scoreboard, pinlink: &Scoreboard) -> Vec<Line> {
    let line = |what: &str, show: &dyn Fn(&Scoreboard) -> String| Line {
        what: what.to_owned(),
        naive: show(naive),
        pinlink: show(pinlink),
    };
    vec![
        line("rows done", &|board| grouped(board.rows_done)),
        line("rows failed", &|board| grouped(board.rows_failed)),
        line("rows not reached in time", &|board| grouped(board.rows_not_reached)),
        line("DNS queries while workers initialise", &|board| grouped(board.dns_queries_init)),
        line("DNS queries during execution", &|board| grouped(board.dns_queries)),
        line("DNS queries dropped", &|board| grouped(board.dns_dropped)),
        line("connections opened", &|board| grouped(board.connections_opened)),
        line(&format!("peak live connections (cap {CAP})"), &|board| grouped(board.peak_live)),
        line("proxy refusals", &|board| grouped(board.refusals)),
        line("TLS handshakes", &|board| grouped(board.handshakes)),
        line("latency p50", &|board| time(board.p50_us)),
        line("latency p99", &|board| time(board.p99_us)),
        line("rows per second", &|board| rate(board.rows_per_s)),
        line("time taken", &|board| format!("{:.2} s", board.seconds)),
    ]
}

/// The table, and below it what it rests on.
pub(crate) fn table(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> String {
    let mut table = output::table(["", "naive", "pinlink"]);
    for line in lines(naive, pinlink) {
        table.add_row([line.what, line.naive, line.pinlink]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = output::text(&table);
    for note in notes(terms, naive, pinlink) {
        text.push_str(&note);
        text.push('\n');
    }
    text
}

/// What a reader must know to judge the numbers.
pub(crate) fn notes(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> Vec<String> {
    let mut notes = vec![format!(
        "{} rows of {}; {} worker processes with {} threads each. DNS answers {QUERIES_PER_SECOND} queries/s and drops the \
         rest; the proxy resets what exceeds {CAP} connections.",
        grouped(terms.rows.len() as u64),
        terms.source,
        terms.workers,
        terms.threads,
    )];
    if naive.rows_not_reached + pinlink.rows_not_reached > 0 {
        notes.push(format!(
            "Each side had {} s. Rows not reached by then count as not done, and their latency is not in p50 and p99.",
            terms.limit.as_secs()
        ));
    }
    notes.push(
        "Queries, connections, refusals and handshakes are counted by the network, latencies by the workers."
            .to_owned(),
    );
    for (name, board) in [("naive", naive), ("pinlink", pinlink)] {
        if let Some(error) = &board.sample_error {
            notes.push(format!("An error of {name}: {error}"));
        }
    }
    notes
}

/// The object of `--json`.
pub(crate) fn json(terms: &Terms, naive: &Scoreboard, pinlink: &Scoreboard) -> String {
    let object = json!({
        "cap": CAP,
        "rows": terms.rows.len(),
        "workers": terms.workers,
        "naive": naive,
        "pinlink": pinlink,
        "threads": terms.threads,
        "queries_per_second": QUERIES_PER_SECOND,
        "limit_s": terms.limit.as_secs(),
        "source": terms.source,
    });
    format!("{object:#}\n")
}

/// `5,127`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: with a decimal only where it matters.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { grouped(per_second as u64) }
}

/// Microseconds in the unit a person would use.
pub(crate) fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([time(999), time(1_500), time(2_000_000)], ["999 µs", "1.5 ms", "2.00 s"]);
    }
}
