//! Workload `goaway`: an HTTP/2 peer that serves a hundred requests of a connection, says GOAWAY, and ignores the
//! rest.
//!
//! 10,000 GETs with 100 under way, in the plain and over TLS. Every row has a path of its own, and the peer tells of
//! each request it saw whether it was turned away, so what was processed twice can be counted. The peer remembers the
//! last 10,000 requests; it is asked after every quarter. No randomness.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use pinlink::{AsyncClient, Request, Stats};
use pinlink_box::{Fault, Plan};
use serde_json::json;

use crate::Result;
use crate::boxed::Boxed;
use crate::report::{Finding, Workload};

const ROWS: usize = 10_000;
const QUARTER: usize = ROWS / 4;
const UNDER_WAY: usize = 100;
/// The requests that a connection serves.
const SERVED: u32 = 100;

/// What became of all rows.
#[derive(Default)]
struct Met {
    failed: u64,
    first_failure: Option<String>,
    twice: u64,
    never: u64,
    turned_away: u64,
    rate: f64,
    stats: Stats,
}

pub(crate) fn run() -> Result<Workload> {
    let network = Boxed::start(&Plan::default())?;
    network.inject(Fault::GoAwayAfter(SERVED), None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut findings, mut details) = (Vec::new(), Vec::new());
    for (over, origin) in [("plain", network.peer("")), ("TLS", network.secure_peer(""))] {
        let met = ask(&network, &runtime, &origin)?;
        let say = |what: &str| format!("{over}: {what}");
        findings.extend([
            Finding::never(say("rows that failed"), met.failed),
            Finding::never(say("rows processed twice"), met.twice),
            Finding::never(say("rows answered and not processed"), met.never),
            Finding::new(say("sent and turned away by GOAWAY"), met.turned_away as f64, ""),
            Finding::new(say("connections"), met.stats.http2 as f64, ""),
            Finding::new(say("put on another connection"), (met.stats.replaced + met.stats.retries) as f64, ""),
            Finding::new(say("rows per second"), met.rate, "/s"),
        ]);
        if let Some(failure) = &met.first_failure {
            findings.push(Finding::new(say(&format!("the first failure: {failure}")), 1.0, ""));
        }
        details.push(json!({"over": over, "stats": met.stats}));
    }
    let what = format!("{ROWS} GETs, {UNDER_WAY} under way, GOAWAY after every {SERVED} of a connection");
    Ok(Workload { name: "goaway", what, findings, details: details.into(), others: 0.0 })
}

fn ask(network: &Boxed, runtime: &tokio::runtime::Runtime, origin: &str) -> Result<Met> {
    let client = network.builder().hosts([origin]).option("protocol", "http2").build()?;
    let mut met = Met::default();
    let mut asking = 0.0;
    for quarter in 0..ROWS / QUARTER {
        network.reset()?;
        let next = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        let lanes: Vec<_> = (0..UNDER_WAY)
            .map(|_| {
                let (client, next) = (AsyncClient::from(client.clone()), Arc::clone(&next));
                let origin = origin.to_owned();
                runtime.spawn(async move {
                    let mut failures = Vec::new();
                    loop {
                        let row = next.fetch_add(1, Relaxed);
                        if row >= QUARTER {
                            return failures;
                        }
                        match client.send(&Request::get(&format!("{origin}/rows/{quarter}-{row}"))).await {
                            Ok(answer) if answer.status() == 200 => {}
                            Ok(answer) => failures.push((row, format!("status {}", answer.status()))),
                            Err(error) => failures.push((row, error.to_string())),
                        }
                    }
                })
            })
            .collect();
        let mut failures = Vec::new();
        for lane in lanes {
            failures.extend(runtime.block_on(lane)?);
        }
        asking += begun.elapsed().as_secs_f64();
        met.failed += failures.len() as u64;
        let mut processed: HashMap<String, u64> = HashMap::new();
        for seen in network.seen()? {
            match seen.turned_away {
                true => met.turned_away += 1,
                false => *processed.entry(seen.path).or_default() += 1,
            }
        }
        met.twice += processed.values().filter(|times| **times > 1).count() as u64;
        let unprocessed = QUARTER.saturating_sub(processed.len());
        met.never += unprocessed.saturating_sub(failures.len()) as u64;
        met.first_failure = met.first_failure.take().or(failures.pop().map(|(_, failure)| failure));
    }
    met.rate = ROWS as f64 / asking;
    met.stats = client.stats();
    Ok(met)
}
