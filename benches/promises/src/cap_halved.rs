//! Workload `cap-halved`: 64 blocking threads on 16 connections, and a proxy that has room for 8 from one moment on.
//!
//! A proxy whose room is halved loses the connections that are above it, or nobody would notice: 8 of the 16 are reset
//! in the middle of an exchange, and whoever dials instead is reset on accept. GETs only, so what was reset may be sent
//! again. Later the room is there again. The server takes a fixed time for each request, so that connections are the
//! limit. What the proxy counted is looked at every 100 ms.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pinlink::{Client, Request};
use pinlink_box::{Counts, Fault, OverCap, Plan, ProxyPlan};
use serde_json::json;

use crate::Result;
use crate::boxed::Boxed;
use crate::report::{Bound, Finding, Workload};
use crate::timeline::{SLICE, Timeline};

const THREADS: usize = 64;
const CAP: usize = 16;
const PATH: &str = "/delay/10";
/// The slices of a second.
const SECOND: usize = 10;
/// How much of the former throughput counts as back.
const BACK: f64 = 0.9;

/// How long each part lasts; the last one ends when throughput is back.
struct Parts {
    before: Duration,
    halved: Duration,
    restored: Duration,
}

struct Load<'a> {
    client: &'a Client,
    timeline: Timeline,
    stop: AtomicBool,
    rows: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn call(&self, url: &str) {
        while !self.stop.load(Relaxed) {
            self.rows.fetch_add(1, Relaxed);
            let answer = self.client.send(&Request::get(url));
            self.timeline.count(answer.as_ref().is_ok_and(|answer| answer.status() == 200));
            if let Err(error) = answer {
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(error.reason().as_str().to_owned());
            }
        }
    }

    /// The slice that is being filled.
    fn now(&self) -> usize {
        Timeline::at(self.timeline.begun.elapsed())
    }
}

/// What the box counted at the end of each slice.
#[derive(Default)]
struct Watch(Vec<(usize, Counts)>);

impl Watch {
    /// Looks until this moment, or until there is no need to.
    fn look(
        &mut self,
        network: &Boxed,
        load: &Load<'_>,
        until: Instant,
        mut enough: impl FnMut() -> bool,
    ) -> Result<()> {
        while Instant::now() < until && !enough() {
            self.0.push((load.now(), network.counts()?));
            thread::sleep(SLICE);
        }
        self.0.push((load.now(), network.counts()?));
        Ok(())
    }

    /// What the proxy refused in these slices, and a little before and after them.
    fn refused(&self, slices: Range<usize>) -> u64 {
        let before = self.0.iter().take_while(|(at, _)| *at < slices.start).last();
        let after = self.0.iter().find(|(at, _)| *at >= slices.end).or(self.0.last());
        let count = |look: Option<&(usize, Counts)>| look.map_or(0, |(_, counts)| counts.proxy.refused);
        count(after) - count(before)
    }
}

pub(crate) fn run(quick: bool) -> Result<Workload> {
    let seconds = |full, short| Duration::from_secs(if quick { short } else { full });
    let parts = Parts { before: seconds(10, 4), halved: seconds(30, 10), restored: Duration::from_secs(40) };
    let proxy = ProxyPlan { cap: Some(CAP), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    let network = Boxed::start(&Plan { proxy, ..Plan::default() })?;
    let client =
        network.builder().hosts([network.http("")]).max_connections(CAP).max_connections_per_origin(CAP).build()?;
    let timeline = Timeline::new(parts.before + parts.halved + parts.restored + Duration::from_secs(5));
    let load = Load { client: &client, timeline, stop: false.into(), rows: 0.into(), failures: Mutex::default() };
    let url = network.http(PATH);
    let workload = thread::scope(|scope| {
        (0..THREADS).for_each(|_| _ = scope.spawn(|| load.call(&url)));
        let watched = watch(&network, &load, &parts);
        load.stop.store(true, Relaxed);
        watched
    })?;
    Ok(workload)
}

fn watch(network: &Boxed, load: &Load<'_>, parts: &Parts) -> Result<Workload> {
    let mut watch = Watch::default();
    watch.look(network, load, load.timeline.begun + parts.before, || false)?;

    network.inject(Fault::Cap(CAP / 2, OverCap::Reset), None)?;
    let (halved_at, counts) = (Instant::now(), network.counts()?);
    let (halved, rows, stats) = (load.now(), load.rows.load(Relaxed), load.client.stats());
    network.inject(Fault::AckLostReset, Some((CAP / 2) as u32))?;
    watch.look(network, load, halved_at + parts.halved, || false)?;

    let (at_restored, stats_restored) = (network.counts()?, load.client.stats());
    let (restored, rows_halved) = (load.now(), load.rows.load(Relaxed) - rows);
    network.inject(Fault::Cap(CAP, OverCap::Reset), None)?;
    // The first second is the warm-up.
    let before = load.timeline.rate(SECOND..halved);
    let back = |slice: usize| load.timeline.rate(slice - SECOND..slice) >= BACK * before;
    let is_back = || load.now() > restored + SECOND && (restored + SECOND..load.now()).any(back);
    watch.look(network, load, Instant::now() + parts.restored, is_back)?;

    let end = load.now();
    let timeline = &load.timeline;
    // The first second without an error or a refusal.
    let failed = timeline.failed(halved..restored);
    let is_calm = |from: usize| {
        let failures: u64 = failed[from..from + SECOND].iter().sum();
        failures == 0 && watch.refused(halved + from..halved + from + SECOND) == 0
    };
    let calm = (0..failed.len().saturating_sub(SECOND)).find(|&from| is_calm(from));
    let seconds = |slices: usize| slices as f64 * SLICE.as_secs_f64();
    let failures: u64 = failed.iter().sum();
    let requests = at_restored.origins.requests - counts.origins.requests;
    let uncalm = calm.map_or(0, |calm| watch.refused(halved + calm..restored));
    let recovered = (restored + SECOND..end).find(|&slice| back(slice)).map(|slice| slice - restored);
    let during = timeline.rates(halved + SECOND..restored);
    let findings = vec![
        Finding::new("until a second without error or refusal", calm.map_or(f64::INFINITY, seconds), "s")
            .bound(Bound::AtMost(5.0)),
        Finding::new("rows that failed", 100.0 * failures as f64 / rows_halved.max(1) as f64, "%")
            .bound(Bound::AtMost(1.0)),
        Finding::new("sends per row", requests as f64 / rows_halved.max(1) as f64, "").bound(Bound::AtMost(1.2)),
        Finding::new("retries", (stats_restored.retries - stats.retries) as f64, ""),
        Finding::new("refused by the proxy", (at_restored.proxy.refused - counts.proxy.refused) as f64, ""),
        Finding::new("of those after the first such second", uncalm as f64, ""),
        Finding::new("rows per second before", before, "/s").spread(timeline.rates(SECOND..halved)),
        Finding::new("rows per second with half the cap", timeline.rate(halved + SECOND..restored), "/s")
            .spread(during),
        Finding::new(
            format!("until throughput is back to {:.0} %", BACK * 100.0),
            recovered.map_or(f64::INFINITY, seconds),
            "s",
        ),
    ];
    let failures = load.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let look = |(at, counts): &(usize, Counts)| json!([at, counts.proxy.live, counts.proxy.refused]);
    let looks: Vec<_> = watch.0.iter().map(look).collect();
    let details = json!({
        "slice_ms": SLICE.as_millis() as u64,
        "halved": halved,
        "restored": restored,
        "answered": timeline.answered(0..end),
        "failed": timeline.failed(0..end),
        "proxy": looks,
        "failures": failures,
        "stats": load.client.stats(),
    });
    let what = format!("{THREADS} threads, cap {CAP}, then {} for {} s, then {CAP}", CAP / 2, parts.halved.as_secs());
    Ok(Workload { name: "cap-halved", what, findings, details, others: 0.0 })
}
