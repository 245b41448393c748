//! The numbers of one side.
//!
//! Connections, refusals, handshakes and queries are what the network counted, not what a client says of itself.
//! Latencies are the workers', all rows together.

use std::time::Duration;

use pinlink_box::Counts;
use serde::Serialize;

use super::Terms;
use super::words::Outcome;

/// The result of one side. The names are those of `--json`; programs rely on them.
#[derive(Debug, Serialize)]
pub(crate) struct Scoreboard {
    /// Rows answered, and the answer was right.
    pub(crate) rows_done: u64,
    /// Rows given up.
    pub(crate) rows_failed: u64,
    /// DNS queries after every worker was ready.
    pub(crate) dns_queries: u64,
    /// TCP connections that reached the proxy, refused ones included.
    pub(crate) connections_opened: u64,
    /// The most live connections at one time.
    pub(crate) peak_live: u64,
    /// Connections that the proxy turned away.
    pub(crate) refusals: u64,
    /// TLS handshakes completed.
    pub(crate) handshakes: u64,
    /// Median time of a row, retries included, in microseconds.
    pub(crate) p50_us: u64,
    /// 99 of 100 rows took no longer.
    pub(crate) p99_us: u64,
    /// Rows done over the time it took, or over the limit where rows were left.
    pub(crate) rows_per_s: f64,
    /// Rows that neither ended nor failed within the limit.
    pub(crate) rows_not_reached: u64,
    /// DNS queries while the workers initialised.
    pub(crate) dns_queries_init: u64,
    /// DNS queries that the server dropped.
    pub(crate) dns_dropped: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// One of the errors of failed rows.
    pub(crate) sample_error: Option<String>,
    /// How it went over time, for the charts.
    #[serde(skip)]
    pub(crate) course: Vec<Moment>,
}

/// A glance at a running job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Time since the start.
    pub(crate) at: Duration,
    /// Rows that had ended.
    pub(crate) rows: u64,
    /// Live connections at the proxy.
    pub(crate) live: u64,
}

impl Scoreboard {
    /// Adds up what the workers and the network say; `before` is the DNS count when all workers were ready.
    pub(crate) fn new(
        terms: &Terms,
        outcomes: Vec<Outcome>,
        before: u64,
        counts: &Counts,
        course: Vec<Moment>,
    ) -> Scoreboard {
        let rows_done: u64 = outcomes.iter().map(|outcome| outcome.done).sum();
        let rows_failed: u64 = outcomes.iter().map(|outcome| outcome.failed).sum();
        let elapsed_us = outcomes.iter().map(|outcome| outcome.elapsed_us).max().unwrap_or_default();
        let seconds = Duration::from_micros(elapsed_us).as_secs_f64();
        let sample_error = outcomes.iter().find_map(|outcome| outcome.error.clone());
        let mut latencies: Vec<u64> = outcomes.into_iter().flat_map(|outcome| outcome.latencies_us).collect();
        latencies.sort_unstable();
        Scoreboard {
            rows_done,
            rows_failed,
            dns_queries: counts.dns.queries - before,
            connections_opened: counts.proxy.total,
            peak_live: counts.proxy.peak,
            refusals: counts.proxy.refused,
            handshakes: counts.origins.handshakes,
            p50_us: quantile(&latencies, 0.5),
            p99_us: quantile(&latencies, 0.99),
            rows_per_s: if seconds > 0.0 { (rows_done as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 },
            rows_not_reached: (terms.rows.len() as u64).saturating_sub(rows_done + rows_failed),
            dns_queries_init: before,
            dns_dropped: counts.dns.dropped,
            seconds: (seconds * 1000.0).round() / 1000.0,
            sample_error,
            course,
        }
    }
}

/// The nearest-rank quantile of sorted values; 0 where there is none.
fn quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&[], 0.5)), (100, 198, 0));
        assert_eq!(quantile(&[7], 0.99), 7);
    }
}
