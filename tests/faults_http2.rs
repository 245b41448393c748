//! probe
mod common;
use common::{client as _, *};
use pinlink::Request;
use pinlink_box::*;
use std::time::{Duration, Instant};

#[test]
fn probe() {
    let mut faults = vec![
        Fault::GoAwayAfter(0),
        Fault::GoAwayAfter(1),
        Fault::GoAwayUnprocessed,
        Fault::GoAwayGraceful(1),
        Fault::GoAwayError,
        Fault::RefusedStream,
        Fault::ResetStream(0),
        Fault::ResetStream(1),
        Fault::ResetStream(2),
        Fault::ResetStream(8),
        Fault::ResetStream(11),
        Fault::ResetStream(13),
        Fault::ResetStream(99),
        Fault::ResetMidBody(8),
        Fault::ResetMidBody(0),
        Fault::ResetMidBody(7),
        Fault::ContinuationFlood,
        Fault::HeaderBomb,
        Fault::HeaderList(60_000),
        Fault::HeaderList(70_000),
        Fault::HeaderList(16 << 20),
        Fault::TableSizeGame,
        Fault::WindowClosed,
        Fault::WindowZeroIncrement,
        Fault::EmptyDataFlood,
        Fault::TinyDataFlood,
        Fault::SettingsFlood,
        Fault::PingFlood,
        Fault::PriorityFlood,
        Fault::MaxStreams(0),
        Fault::MaxStreamsLowered(0),
        Fault::MaxStreamsLowered(1),
        Fault::PushPromise,
        Fault::SilentPeer,
    ];
    faults.extend(BadFrame::ALL.map(Fault::MalformedFrame));
    for fault in faults {
        for (kind, warm) in [("get", true), ("post", true), ("keyed", true), ("get", false)] {
            let network = network();
            let host = host(&network).to_owned();
            let url = |path: &str| format!("http://{host}:{}{path}", network.scripted2());
            let client = bare(&network)
                .hosts([url(""), http(&network, "")])
                .option("protocol", "http2")
                .timeout(Duration::from_millis(3000))
                .stall_timeout(Duration::from_millis(300))
                .acquire_timeout(Duration::from_millis(500))
                .keep_alive(Duration::from_secs(1))
                .backoff_max(Duration::from_millis(50))
                .build()
                .unwrap();
            if warm {
                client.send(&Request::get(&url("/warm"))).unwrap();
            }
            network.inject(fault.clone());
            let request = match kind {
                "get" => Request::get(&url("/x")),
                "post" => Request::post(&url("/x")).body("hello"),
                _ => Request::post(&url("/x")).body("hello").header("Idempotency-Key", "k"),
            };
            let begun = Instant::now();
            let result = client.send(&request);
            let took = begun.elapsed();
            let text = match &result {
                Ok(a) => format!("OK {} attempts {}", a.status(), a.trace().attempts),
                Err(e) => format!("{} | {} | a{} | {}", e.reason().as_str(), e.delivery().as_str(), e.attempts(), e),
            };
            network.heal();
            let next = client.send(&Request::get(&url("/next")));
            std::thread::sleep(Duration::from_millis(50));
            let s = client.stats();
            let seen = network.seen();
            let x: Vec<_> =
                seen.iter().filter(|s| s.path == "/x").map(|s| (s.stream.unwrap(), s.turned_away)).collect();
            println!(
                "{fault:?} {kind} warm={warm} {}ms: {text}\n      next {:?} dials {} retries {} replaced {} live {}/{} proxy {} seen {x:?} complaints {:?}",
                took.as_millis(),
                next.map(|a| (a.status(), a.trace().attempts)).map_err(|e| e.to_string()),
                s.dials,
                s.retries,
                s.replaced,
                s.connections_live,
                s.connections_idle,
                network.counts().proxy.live,
                network.complaints()
            );
        }
    }
}
