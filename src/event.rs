//! What one sees of a client: counters, the latency histogram, and the summary line.
//!
//! It owns the names of the counters. Counting never blocks and never fails; times are handed in. It
//! holds no host name, no path and no header, so that a summary is safe in any log.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

macro_rules! counters {
    ($($name:ident: $doc:literal,)+) => {
        /// The counters themselves. One per client.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Count,)+
            pub(crate) live: Gauge,
            latency: Latencies,
        }

        /// What a client did since it was built.
        #[derive(Clone, Debug, Default, Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            $(#[doc = $doc] pub $name: u64,)+
            /// Live connections now, dialling ones included.
            pub connections_live: u64,
            /// The most live connections at one time.
            pub connections_peak: u64,
            /// Idle connections in the pool now.
            pub connections_idle: u64,
            /// Latency of calls that were answered, in microseconds.
            pub latency: Latency,
        }

        impl Counters {
            pub(crate) fn snapshot(&self, idle: u64) -> Stats {
                Stats {
                    $($name: self.$name.0.load(Relaxed),)+
                    connections_live: self.live.now.load(Relaxed),
                    connections_peak: self.live.peak.load(Relaxed),
                    connections_idle: idle,
                    latency: self.latency.snapshot(),
                }
            }
        }
    };
}

counters! {
    requests: "Calls made.",
    answers: "Calls that were answered, whatever the status.",
    failures: "Calls that ended in an error.",
    lookups_dns: "Queries sent to name servers, tries included.",
    lookups_system: "Look-ups handed to the system's resolver (getaddrinfo).",
    pins_by_hand: "Hosts pinned by configuration.",
    pins_imported: "Hosts pinned from a pin set or a hosts file.",
    pins_resolved: "Hosts pinned by a look-up at init.",
    refreshes: "Look-ups after init, because every address of a host had failed.",
    dials: "TCP connections tried.",
    dial_failures: "Dials that ended in an error, over all addresses.",
    handshakes: "TLS handshakes completed.",
    resumptions: "TLS handshakes that resumed an earlier session.",
    http2: "HTTP/2 connections made.",
    reuses: "Requests sent on a connection that had served another before.",
    waits: "Calls that had to wait for a connection.",
    replaced: "Reused connections found dead before a byte was sent, and replaced.",
    retries: "Requests sent again after a failure or an answer that asks for it.",
    evictions: "Idle connections closed to make room for another origin.",
    refusals: "Dials and first exchanges that found no room on the way.",
    died: "Idle connections that the far side has closed.",
    expired: "Connections closed for idle time or age.",
    drained: "Connections closed because their address is no longer pinned.",
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}

/// A number that rises and falls, and its peak.
#[derive(Default)]
pub(crate) struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    pub(crate) fn rise(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
    }

    pub(crate) fn fall(&self) {
        self.now.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    pub(crate) fn answered(&self, latency: Duration) {
        self.answers.one();
        self.latency.record(latency);
    }
}

/// Latencies from 1 µs to an hour at two significant digits. It grows with the longest: a second takes 14 KiB, an hour 25.
struct Latencies(Mutex<Histogram<u64>>);

const LONGEST_US: u64 = 3_600_000_000;

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Mutex::new(Histogram::new(2).expect("two digits are within its bounds")))
    }
}

impl Latencies {
    fn record(&self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).map_or(LONGEST_US, |latency| latency.min(LONGEST_US));
        let mut histogram = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        histogram.record(microseconds).expect("it grows up to an hour");
    }

    fn snapshot(&self) -> Latency {
        let histogram = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Latency {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

/// Quantiles of an HDR histogram (two significant digits), in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// How many were recorded.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// 90 of 100 are at or below.
    pub p90_us: u64,
    /// 99 of 100 are at or below.
    pub p99_us: u64,
    /// 999 of 1000 are at or below.
    pub p999_us: u64,
    /// The greatest.
    pub max_us: u64,
}

impl Stats {
    /// All counters as a JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("counters are plain data")
    }
}

impl fmt::Display for Stats {
    /// The summary: one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pinlink: {} requests, {} answered, {} failed; {} retries; {} dials, {} handshakes ({} resumed), {} reuses, \
             peak {} connections; {} DNS queries, {} after init; p50 {} us, p99 {} us",
            self.requests,
            self.answers,
            self.failures,
            self.retries,
            self.dials,
            self.handshakes,
            self.resumptions,
            self.reuses,
            self.connections_peak,
            self.lookups_dns,
            self.refreshes,
            self.latency.p50_us,
            self.latency.p99_us,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_outlives_the_load() {
        let counters = Counters::default();
        counters.live.rise();
        counters.live.rise();
        counters.live.fall();
        let stats = counters.snapshot(1);
        assert_eq!((stats.connections_live, stats.connections_peak, stats.connections_idle), (1, 2, 1));
    }

    #[test]
    fn latencies_are_kept_to_two_digits() {
        let counters = Counters::default();
        for microseconds in 1..=1000 {
            counters.answered(Duration::from_micros(microseconds));
        }
        let latency = counters.snapshot(0).latency;
        assert_eq!(latency.count, 1000);
        assert!((490..=510).contains(&latency.p50_us), "{latency:?}");
    }

    #[test]
    fn a_latency_beyond_all_bounds_counts_as_an_hour() {
        let counters = Counters::default();
        for latency in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX] {
            counters.answered(latency);
        }
        let latency = counters.snapshot(0).latency;
        let hour = LONGEST_US..=LONGEST_US + LONGEST_US / 100;
        assert_eq!(latency.count, 3);
        assert!(hour.contains(&latency.p50_us) && hour.contains(&latency.max_us), "{latency:?}");
    }
}
