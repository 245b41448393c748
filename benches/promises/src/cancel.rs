//! Workload `cancel`: 10,000 calls that are given up at random points, and what is left behind.
//!
//! Calls are dropped at some poll or within three milliseconds, while they queue, dial, shake hands, send, wait or
//! read: over HTTP/1.1 through a narrow cap, and over HTTP/2 with TLS. A place is lost where fewer calls than the cap
//! can be under way at once afterwards; a socket is lost where the proxy or the origins still hold one that the pool
//! does not know, or any once the client is gone. Random numbers come from fixed seeds; what the machine makes of them
//! differs.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use pinlink::{AsyncClient, Client, Request};
use pinlink_box::{OverCap, Plan, ProxyPlan};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::boxed::Boxed;
use crate::report::{Finding, Workload};

const CALLERS: u64 = 32;
const CAP: usize = 8;
/// The cancelled calls over each protocol; 10,000 in all.
const CANCELLED: usize = 5000;
/// The most polls after which a call is given up, and the most microseconds.
const POLLS: u32 = 8;
const MICROSECONDS: u64 = 3000;
/// How long pool and proxy may take to agree.
const SETTLE: Duration = Duration::from_secs(5);

/// What was left behind.
struct Left {
    failed: u64,
    first_failure: Option<String>,
    places: u64,
    sockets: u64,
    peak: u64,
    refused: u64,
    is_next_answered: bool,
    rate: f64,
}

pub(crate) fn run() -> Result<Workload> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut findings, mut details) = (Vec::new(), Vec::new());
    for (name, protocol, origin) in [
        ("HTTP/1.1", "http1", Boxed::http as fn(&Boxed, &str) -> String),
        ("HTTP/2 over TLS", "http2", Boxed::https as fn(&Boxed, &str) -> String),
    ] {
        let left = storm(&runtime, protocol, origin)?;
        let say = |what: &str| format!("{name}: {what}");
        findings.extend([
            Finding::never(say("places lost"), left.places),
            Finding::never(say("sockets lost"), left.sockets),
            Finding::never(say("connections above the cap"), left.peak.saturating_sub(CAP as u64) + left.refused),
            Finding::never(say("calls that nobody gave up and that failed"), left.failed),
            Finding::never(say("next requests that failed"), u64::from(!left.is_next_answered)),
            Finding::new(say("calls given up per second"), left.rate, "/s"),
        ]);
        if let Some(failure) = &left.first_failure {
            findings.push(Finding::new(say(&format!("the first failure: {failure}")), 1.0, ""));
        }
        details.push(json!({"protocol": protocol, "peak": left.peak}));
    }
    let what = format!("{} calls given up at random points, {CALLERS} callers, cap {CAP}", 2 * CANCELLED);
    Ok(Workload { name: "cancel", what, findings, details: details.into(), others: 0.0 })
}

fn storm(runtime: &Runtime, protocol: &str, origin: fn(&Boxed, &str) -> String) -> Result<Left> {
    let proxy = ProxyPlan { cap: Some(CAP), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    let network = Boxed::start(&Plan { proxy, ..Plan::default() })?;
    let client = network
        .builder()
        .hosts([origin(&network, "")])
        .option("protocol", protocol)
        .max_connections(CAP)
        .max_connections_per_origin(CAP)
        // Below CALLERS, so that HTTP/2 queues and needs all connections, too.
        .max_streams(2usize)
        .build()?;
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|seed| {
            let (client, base) = (AsyncClient::from(client.clone()), origin(&network, ""));
            let share = CANCELLED / CALLERS as usize + usize::from((seed as usize) < CANCELLED % CALLERS as usize);
            runtime.spawn(async move { give_up(&client, &base, seed, share).await })
        })
        .collect();
    let mut failures = Vec::new();
    for caller in callers {
        failures.extend(runtime.block_on(caller)?);
    }
    let rate = CANCELLED as f64 / begun.elapsed().as_secs_f64();
    let proxy = network.counts()?.proxy;
    let next = client.send(&Request::get(&origin(&network, "/rows/next")));
    let is_next_answered = next.is_ok_and(|answer| answer.status() == 200);
    let unknown = unknown_sockets(&network, &client)?;
    let places = CAP as u64 - full(runtime, &network, &client, &origin(&network, "/delay/1500"), protocol)?;
    drop(client);
    let kept =
        network.eventually("every connection is closed", |counts| (counts.proxy.live, counts.origins.live) == (0, 0));
    let sockets = match kept {
        Ok(()) => unknown,
        Err(_) => unknown.max(network.counts()?.proxy.live),
    };
    Ok(Left {
        failed: failures.len() as u64,
        first_failure: failures.pop(),
        places,
        sockets,
        peak: proxy.peak,
        refused: proxy.refused,
        is_next_answered,
        rate,
    })
}

/// Connections at the proxy that are not idle in the pool, once nothing is under way.
fn unknown_sockets(network: &Boxed, client: &Client) -> Result<u64> {
    let until = Instant::now() + SETTLE;
    loop {
        let (stats, live) = (client.stats(), network.counts()?.proxy.live);
        let unknown = live.abs_diff(stats.connections_idle).max(stats.connections_live - stats.connections_idle);
        if unknown == 0 || Instant::now() > until {
            return Ok(unknown);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many connections carry as many calls as there is room for, all under way at once.
fn full(runtime: &Runtime, network: &Boxed, client: &Client, url: &str, protocol: &str) -> Result<u64> {
    network.reset()?;
    let calls = if protocol == "http2" { 2 * CAP } else { CAP };
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let (client, url) = (AsyncClient::from(client.clone()), url.to_owned());
            runtime.spawn(async move { client.send(&Request::get(&url)).await })
        })
        .collect();
    for call in calls {
        runtime.block_on(call)??;
    }
    Ok(network.counts()?.proxy.peak.min(CAP as u64))
}

/// Calls until so many were given up; what the others failed with.
async fn give_up(client: &AsyncClient, base: &str, seed: u64, times: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut given_up, mut failures) = (0, Vec::new());
    while given_up < times {
        let request = match random.u32(0..3) {
            0 => Request::get(&format!("{base}/rows/{seed}-{given_up}")),
            1 => Request::get(&format!("{base}/delay/2")),
            _ => Request::get(&format!("{base}/bytes/100000")),
        };
        let mut call = pin!(client.send(&request));
        let ended = if random.bool() {
            let mut polls = random.u32(0..POLLS);
            poll_fn(|cx| match polls.checked_sub(1) {
                None => Poll::Ready(None),
                Some(left) => {
                    polls = left;
                    call.as_mut().poll(cx).map(Some)
                }
            })
            .await
        } else {
            tokio::time::timeout(Duration::from_micros(random.u64(0..MICROSECONDS)), call).await.ok()
        };
        match ended {
            None => given_up += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => failures.push(error.to_string()),
        }
    }
    failures
}
