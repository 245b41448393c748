//! Promise: whoever leaves takes nothing along. Ten thousand calls are given up at random points (at some poll, or
//! within three milliseconds), while they queue, dial, shake hands, send, wait or read; no place, socket or stream is
//! lost, no other call feels it, and no answer that came too late is ever seen by the next.
//!
//! Random numbers come from fixed seeds; what the machine makes of them differs from run to run. Open descriptors are
//! counted over the whole process, so this file has one test. The runtime's tasks can't be counted from outside: one
//! that was left behind would keep a socket, which can.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common::{bare, eventually, get, http, secure, start};
use pinlink::{AsyncClient, Builder, Client, Request, Result};
use pinlink_box::{Network, OverCap, Plan, ProxyPlan};

/// How many calls are under way at once.
const CALLERS: usize = 16;

/// Where calls are given up.
struct Storm {
    what: &'static str,
    protocol: &'static str,
    origin: fn(&Network, &str) -> String,
    /// The client's cap, and the proxy's: a socket above it is refused.
    cap: usize,
    /// How many exchanges a connection carries.
    streams: usize,
    cancellations: usize,
}

const STORMS: [Storm; 5] = [
    Storm { what: "HTTP/1.1", protocol: "http1", origin: http, cap: 16, streams: 1, cancellations: 4000 },
    Storm { what: "HTTP/1.1 over TLS", protocol: "http1", origin: secure, cap: 16, streams: 1, cancellations: 1000 },
    Storm { what: "the queue", protocol: "http1", origin: http, cap: 4, streams: 1, cancellations: 2500 },
    Storm { what: "HTTP/2", protocol: "http2", origin: http, cap: 2, streams: 4, cancellations: 1500 },
    Storm { what: "HTTP/2 over TLS", protocol: "http2", origin: secure, cap: 2, streams: 8, cancellations: 1000 },
];

impl Storm {
    fn network(&self) -> Network {
        let proxy = ProxyPlan { cap: Some(self.cap), over_cap: OverCap::Reset, ..ProxyPlan::default() };
        start(Plan { proxy, ..Plan::default() })
    }

    fn builder(&self, network: &Network) -> Builder {
        bare(network)
            .hosts([http(network, ""), secure(network, "")])
            .option("protocol", self.protocol)
            .max_connections(self.cap)
            .max_connections_per_origin(self.cap)
            .max_streams(self.streams)
            // Below what a call of `all_places` takes: who has to wait for another's place fails.
            .acquire_timeout(Duration::from_millis(600))
    }
}

/// One call of some kind, to its end. `row` is nobody else's.
async fn call(client: &AsyncClient, url: &(impl Fn(&str) -> String + Sync), kind: u32, row: u64) -> Result<()> {
    match kind {
        0 => {
            let answer = client.send(&Request::get(&url(&format!("/rows/{row}")))).await?;
            assert!(answer.text().unwrap().contains(&format!("\"id\":\"{row}\"")), "an answer to another: {answer:?}");
        }
        1 => drop(client.send(&Request::get(&url("/delay/2"))).await?),
        2 => {
            let answer = client.send(&Request::put(&url("/upload")).body(vec![7; 100_000])).await?;
            assert!(answer.text().unwrap().contains("\"bytes\":100000"), "an answer to another: {answer:?}");
        }
        _ => {
            let mut answer = client.open(&Request::get(&url("/bytes/200000"))).await?;
            let mut read = 0;
            while let Some(piece) = answer.chunk().await? {
                read += piece.len();
            }
            assert_eq!(read, 200_000, "an answer to another");
        }
    }
    Ok(())
}

/// Calls until so many calls were given up. Those that were not must have succeeded.
async fn give_up(client: AsyncClient, url: impl Fn(&str) -> String + Sync, seed: u64, times: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut given_up = 0;
    let mut row = seed << 32;
    while given_up < times {
        row += 1;
        let mut call = pin!(call(&client, &url, random.u32(0..4), row));
        let ended = if random.bool() {
            let mut polls = random.u32(0..8);
            poll_fn(|cx| match polls.checked_sub(1) {
                None => Poll::Ready(None),
                Some(left) => {
                    polls = left;
                    call.as_mut().poll(cx).map(Some)
                }
            })
            .await
        } else {
            tokio::time::timeout(Duration::from_micros(random.u64(0..3000)), call).await.ok()
        };
        match ended {
            None => given_up += 1,
            Some(outcome) => outcome.expect("a call that nobody gave up"),
        }
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("this process may look at itself").count()
}

/// Every place is still there: as many calls as fit are under way at once, and none has to wait for another.
fn all_places(storm: &Storm, runtime: &tokio::runtime::Runtime, network: &Network, client: &AsyncClient) {
    network.reset_counts();
    let places = storm.cap * storm.streams;
    let calls: Vec<_> = (0..places)
        .map(|_| {
            let (client, url) = (client.clone(), (storm.origin)(network, "/delay/1000"));
            runtime.spawn(async move { client.send(&Request::get(&url)).await })
        })
        .collect();
    for call in calls {
        let answer = runtime.block_on(call).unwrap().unwrap_or_else(|error| panic!("{}: {error}", storm.what));
        assert_eq!(answer.status(), 200, "{}", storm.what);
    }
    assert_eq!(network.counts().proxy.peak, storm.cap as u64, "{}", storm.what);
}

fn rage(storm: &Storm, seed: u64, runtime: &tokio::runtime::Runtime) {
    let what = storm.what;
    let network = storm.network();
    // What a process makes once is there; what a client makes must go with it.
    let open = || open_descriptors() - network.counts().origins.live as usize;
    for _ in 0..2 {
        let client = storm.builder(&network).build().unwrap();
        get(&client, &(storm.origin)(&network, "/rows/warm"));
    }
    let gone = || (network.counts().proxy.live, network.counts().origins.live) == (0, 0);
    eventually("the warm connections are closed", gone);
    let before = open();

    let client = storm.builder(&network).build().unwrap();
    let asynchronous = AsyncClient::from(client.clone());
    let share = storm.cancellations.div_ceil(CALLERS);
    let callers: Vec<_> = (0..CALLERS as u64)
        .map(|caller| {
            let base = (storm.origin)(&network, "");
            let url = move |path: &str| format!("{base}{path}");
            runtime.spawn(give_up(asynchronous.clone(), url, seed << 8 | caller, share))
        })
        .collect();
    for caller in callers {
        runtime.block_on(caller).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    whole(what, &client, &network);
    let counts = network.counts().proxy;
    assert!(counts.peak <= storm.cap as u64, "{what}: {counts:?}");
    // A connection that is given up must be gone before another takes its place, whatever it still had to send.
    assert_eq!((counts.refused, counts.reset), (0, 0), "{what}: {counts:?}");

    for url in [http(&network, "/rows/next"), secure(&network, "/rows/next")] {
        get(&client, &url);
        assert_eq!(runtime.block_on(asynchronous.send(&Request::get(&url))).unwrap().status(), 200, "{what}");
    }
    all_places(storm, runtime, &network, &asynchronous);
    drop((client, asynchronous));
    eventually(&format!("{what}: all is closed"), gone);
    eventually(&format!("{what}: no more than {before} descriptors are open"), || open() <= before);
}

fn whole(what: &str, client: &Client, network: &Network) {
    eventually(&format!("{what}: whatever is live is idle, here and at the proxy"), || {
        let stats = client.stats();
        stats.connections_live == stats.connections_idle && network.counts().proxy.live == stats.connections_live
    });
}

#[test]
fn h19_ten_thousand_calls_given_up_at_random_points_lose_nothing() {
    assert_eq!(STORMS.iter().map(|storm| storm.cancellations).sum::<usize>(), 10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    for (seed, storm) in STORMS.iter().enumerate() {
        rage(storm, seed as u64, &runtime);
    }
}
