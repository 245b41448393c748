//! Workload `idle-cut`: proxies that close what is idle, and clients that come back at random.
//!
//! One box for each cut-off, side by side, and for each several clients that learn by themselves. A client sends a
//! burst of requests, is silent for a random time from zero to twice the cut-off, and so on. Its first silence is
//! longer than the cut-off, so that something dies soon; from the moment it has noticed (`died` or `replaced` in its
//! statistics) it goes on for four cut-offs, in which no request may meet a dead connection. Random numbers come from
//! fixed seeds. `max_idle` and `max_age` are far above the cut-offs: what is closed early is closed because of what
//! was learned.

use std::thread;
use std::time::{Duration, Instant};

use pinlink::{Client, Request, Stats};
use pinlink_box::{Plan, ProxyCounts, ProxyPlan};
use serde::Serialize;
use serde_json::json;

use crate::Result;
use crate::boxed::Boxed;
use crate::report::{Finding, Workload};

/// Clients for each cut-off.
const CLIENTS: u64 = 8;
/// The most requests of a burst.
const BURST: usize = 4;
/// The cut-offs that a client goes on for after its first death.
const AFTER: u32 = 4;
/// How often a client's statistics are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Silence in which nothing can have been cut off, as part of the cut-off.
const SHORT: f64 = 0.5;

/// What one client met.
#[derive(Serialize)]
struct Met {
    /// Requests that met a dead connection before the first death was noticed, and after.
    before: u64,
    after: u64,
    failures: u64,
    bursts: u64,
    requests: u64,
    /// Requests after the first death that came after a silence below half of the cut-off, and those of them that
    /// found a connection.
    short: u64,
    short_reused: u64,
    dials: u64,
    /// The longest silence after which a connection was of use, as part of the cut-off.
    longest: f64,
    /// How long a connection lived on average.
    kept: f64,
    noticed: bool,
}

/// One client, and what was seen of it.
struct Caller<'a> {
    client: &'a Client,
    url: String,
    cut_off: Duration,
    begun: Instant,
    /// The statistics when the first death was noticed, and when that was.
    noticed: Option<(Stats, Instant)>,
    looked: Instant,
    /// Live connections, over time.
    lived: f64,
}

/// Requests that met a dead connection: replaced before a byte was sent, sent again, or failed.
fn met(stats: &Stats) -> u64 {
    stats.replaced + stats.retries + stats.failures
}

impl Caller<'_> {
    fn look(&mut self) {
        let (stats, now) = (self.client.stats(), Instant::now());
        self.lived += stats.connections_live as f64 * (now - self.looked).as_secs_f64();
        self.looked = now;
        if self.noticed.is_none() && stats.died + stats.replaced > 0 {
            self.noticed = Some((stats, now));
        }
    }

    fn silent_for(&mut self, silence: Duration) {
        let until = Instant::now() + silence;
        while Instant::now() < until {
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            self.look();
        }
    }

    fn is_done(&self) -> bool {
        let patience = self.begun + self.cut_off * (AFTER + 8);
        let until = self.noticed.as_ref().map_or(patience, |(_, at)| *at + self.cut_off * AFTER);
        Instant::now() >= until
    }

    fn run(mut self, seed: u64) -> Met {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut bursts, mut longest, mut short, mut short_reused) = (0, 0.0_f64, 0, 0);
        let mut part = 0.0;
        while !self.is_done() {
            let rows: Vec<Request> = (0..random.usize(1..=BURST)).map(|_| Request::get(&self.url)).collect();
            let is_learned = self.noticed.is_some();
            for answer in self.client.map(&rows).iter().flatten() {
                let is_reused = answer.trace().reused;
                if is_reused && bursts > 0 {
                    longest = longest.max(part);
                }
                if is_learned && part < SHORT {
                    short += 1;
                    short_reused += u64::from(is_reused);
                }
            }
            self.look();
            part = match bursts {
                0 => 1.2 + random.f64() * 0.3,
                _ => random.f64() * 2.0,
            };
            bursts += 1;
            self.silent_for(self.cut_off.mul_f64(part));
        }
        let stats = self.client.stats();
        let before = self.noticed.as_ref().map_or_else(|| met(&stats), |(noticed, _)| met(noticed));
        Met {
            before,
            after: met(&stats) - before,
            failures: stats.failures,
            bursts,
            requests: stats.requests,
            short,
            short_reused,
            dials: stats.dials,
            longest,
            kept: self.lived / stats.dials.max(1) as f64,
            noticed: self.noticed.is_some(),
        }
    }
}

pub(crate) fn run(quick: bool) -> Result<Workload> {
    let cut_offs: &[u64] = if quick { &[1, 2] } else { &[5, 30, 60] };
    let all = thread::scope(|scope| {
        let threads: Vec<_> = cut_offs.iter().map(|&seconds| scope.spawn(move || side(seconds))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a cut-off panicked")?).collect::<Result<Vec<_>>>()
    })?;
    let mut findings = Vec::new();
    let mut details = Vec::new();
    for (&seconds, (mets, proxy)) in cut_offs.iter().zip(&all) {
        let sum = |of: fn(&Met) -> u64| mets.iter().map(of).sum::<u64>();
        let say = |what: &str| format!("{seconds} s: {what}");
        let mean = |of: fn(&Met) -> f64| mets.iter().map(of).sum::<f64>() / mets.len() as f64;
        findings.extend([
            Finding::never(say("dead connections met after the first was noticed"), sum(|met| met.after)),
            Finding::never(say("clients that noticed none"), sum(|met| u64::from(!met.noticed))),
            Finding::never(say("requests that failed"), sum(|met| met.failures)),
            Finding::new(say("dead connections met before"), sum(|met| met.before) as f64, ""),
            Finding::new(say("requests"), sum(|met| met.requests) as f64, ""),
            Finding::new(say("dials"), sum(|met| met.dials) as f64, "").spread(mets.iter().map(|met| met.dials as f64)),
            Finding::new(
                say("reuses after less than half of it, once learned"),
                100.0 * sum(|met| met.short_reused) as f64 / sum(|met| met.short).max(1) as f64,
                "%",
            ),
            Finding::new(say("longest silence that a connection was kept over"), mean(|met| met.longest), "x")
                .spread(mets.iter().map(|met| met.longest)),
            Finding::new(say("a connection's life"), mean(|met| met.kept), "s").spread(mets.iter().map(|met| met.kept)),
        ]);
        details.push(json!({"cut_off_s": seconds, "clients": mets, "proxy": proxy}));
    }
    let what = format!("{CLIENTS} clients each at cut-offs of {cut_offs:?} s, bursts of 1 to {BURST}");
    Ok(Workload { name: "idle-cut", what, findings, details: details.into(), others: 0.0 })
}

/// One cut-off.
fn side(seconds: u64) -> Result<(Vec<Met>, ProxyCounts)> {
    let proxy = ProxyPlan { idle_cut_ms: Some(seconds * 1000), ..ProxyPlan::default() };
    let network = Boxed::start(&Plan { proxy, ..Plan::default() })?;
    let clients = (0..CLIENTS)
        .map(|_| {
            let builder = network.builder().hosts([network.http("")]);
            builder.max_idle(Duration::from_secs(600)).max_age(Duration::from_secs(3600)).build()
        })
        .collect::<pinlink::Result<Vec<_>>>()?;
    let mets = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(&clients)
            .map(|(seed, client)| {
                // Slow enough that the requests of a burst are under way at once.
                let url = network.http("/delay/20");
                let (begun, cut_off) = (Instant::now(), Duration::from_secs(seconds));
                let caller = Caller { client, url, cut_off, begun, noticed: None, looked: begun, lived: 0.0 };
                scope.spawn(move || caller.run(seconds << 8 | seed))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".into())).collect::<Result<_>>()
    })?;
    Ok((mets, network.counts()?.proxy))
}
