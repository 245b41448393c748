//! Promise: what a client did can be seen, in counters that agree with what the network counted, in latencies, in one
//! summary line at close and in a span for each phase; and nothing secret is in any of them.

mod common;

use std::fmt::{Debug, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{alone, client, client_at, eventually, host, http, http_at, outer, peer, secure, secure_at, start};
use pinlink::{Client, Reason, Request};
use pinlink_box::{Fault, Plan};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[test]
fn counters_agree_with_what_the_network_counted() {
    let network = start(Plan::default());
    let client = client(&network).max_connections_per_origin(2).backoff_max(Duration::from_millis(50)).build().unwrap();
    let fresh = client.stats();
    assert_eq!((fresh.pins_resolved, fresh.lookups_dns), (1, network.counts().dns.queries));
    assert_eq!((fresh.requests, fresh.dials, fresh.connections_live), (0, 0, 0));

    for _ in 0..5 {
        client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
        client.send(&Request::get(&secure(&network, "/rows/1"))).unwrap();
    }
    network.inject_times(Fault::EarlyClose, 1);
    client.send(&Request::get(&peer(&network, "/"))).unwrap();
    network.inject_times(Fault::UnaskedSwitch, 1);
    client.send(&Request::get(&peer(&network, "/"))).unwrap_err();
    client.send(&Request::get("http://undeclared.box.test/")).unwrap_err();

    let (stats, counts) = (client.stats(), network.counts());
    assert_eq!((stats.requests, stats.answers, stats.failures), (13, 11, 2));
    assert_eq!(stats.retries, 1);
    assert_eq!(counts.origins.requests, stats.answers + 1 + stats.retries, "answers, the switch, the retry");
    assert_eq!((stats.dials, counts.proxy.total), (4, 4));
    assert_eq!((stats.handshakes, stats.resumptions), (counts.origins.handshakes, counts.origins.resumed));
    assert_eq!(stats.reuses, 4 + 4 + 1);
    assert_eq!((stats.connections_live, stats.connections_idle), (2, 2));
    assert_eq!(stats.connections_live, counts.proxy.live);
    assert_eq!(stats.latency.count, stats.answers);
    assert_eq!((stats.refreshes, stats.lookups_system, stats.evictions, stats.dial_failures), (0, 0, 0, 0));

    network.inject(Fault::RefuseAll);
    let other = common::client(&network).option("pins", &format!("{}=127.0.0.1", host(&network))).max_attempts(1);
    let other = other.build().unwrap();
    assert_eq!(other.send(&Request::get(&http(&network, "/"))).unwrap_err().reason(), Reason::ConnectRefused);
    let stats = other.stats();
    assert_eq!((stats.pins_by_hand, stats.pins_resolved, stats.lookups_dns), (1, 0, 0));
    assert_eq!((stats.dial_failures, stats.connections_live, stats.refreshes), (1, 0, 0));
}

#[test]
fn counters_of_a_busy_client_add_up() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(4).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope
                .spawn(|| (0..100).for_each(|_| drop(client.send(&Request::get(&http(&network, "/rows/1"))).unwrap())));
        }
    });
    let stats = client.stats();
    assert_eq!((stats.requests, stats.answers, stats.latency.count), (800, 800, 800));
    assert_eq!(stats.reuses + stats.dials, 800, "each call had a new connection or an old one: {}", stats.to_json());
    assert!(stats.waits > 0, "eight callers, four connections");
    assert_eq!(stats.connections_peak, network.counts().proxy.peak);
}

#[test]
fn latencies_are_those_of_the_calls() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for _ in 0..9 {
        client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    }
    client.send(&Request::get(&http(&network, "/delay/300"))).unwrap();
    let latency = client.stats().latency;
    assert_eq!(latency.count, 10);
    assert!((300_000..3_000_000).contains(&latency.max_us), "{latency:?}");
    assert!(latency.p50_us > 0 && latency.p50_us < 300_000, "{latency:?}");
    assert!(latency.p50_us <= latency.p90_us && latency.p90_us <= latency.p99_us && latency.p99_us <= latency.max_us);
}

#[test]
fn an_answer_says_how_its_time_went() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let first = *client.send(&Request::get(&secure(&network, "/delay/50"))).unwrap().trace();
    assert_eq!((first.attempts, first.reused), (1, false));
    assert_eq!(
        first.address.unwrap().to_string(),
        format!("127.0.0.1:{}", network.addresses().https[&pinlink_box::Certificate::Right])
    );
    assert!(first.connect > Duration::ZERO && first.handshake > Duration::ZERO);
    assert!(first.queue >= first.connect + first.handshake, "{first:?}");
    assert!(first.wait >= Duration::from_millis(50));
    assert!(first.total >= first.queue + first.wait + first.receive, "{first:?}");
    let second = *client.send(&Request::get(&secure(&network, "/rows/1"))).unwrap().trace();
    assert_eq!((second.reused, second.connect, second.handshake), (true, Duration::ZERO, Duration::ZERO));
}

#[test]
fn the_json_of_the_counters_has_every_name() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&client.stats().to_json()).unwrap();
    for name in [
        "requests",
        "answers",
        "failures",
        "lookups_dns",
        "lookups_system",
        "pins_by_hand",
        "pins_imported",
        "pins_resolved",
        "refreshes",
        "dials",
        "dial_failures",
        "handshakes",
        "resumptions",
        "reuses",
        "waits",
        "replaced",
        "retries",
        "evictions",
        "expired",
        "drained",
        "connections_live",
        "connections_peak",
        "connections_idle",
    ] {
        assert!(json[name].is_u64(), "{name} is missing: {json}");
    }
    assert!(json["latency"]["p99_us"].as_u64() > Some(0));
}

const SECRET: &str = "hunter2";

/// Calls that carry a secret wherever one can stand, and fail in as many ways as they succeed.
fn secretive(client: &Client, url: &str) -> String {
    let mut said = String::new();
    for path in ["/echo", "/status/500", "/close-early/5", "/sink/1"] {
        let request = Request::post(&format!("{url}{path}?token={SECRET}"))
            .header("Authorization", format!("Bearer {SECRET}"))
            .header("Idempotency-Key", format!("\"{SECRET}\""))
            .body(SECRET);
        write!(said, "{request:?}").unwrap();
        match client.send(&request) {
            Ok(answer) => write!(said, "{answer:?}").unwrap(),
            Err(error) => write!(said, "{error} {error:?} {error:#?}").unwrap(),
        }
    }
    for bad in [
        Request::get(&format!("{url}/{SECRET}\r\n")),
        Request::get(&format!("https://user:{SECRET}@host.test/")),
        Request::get(&format!("{url}/")).header("X", format!("{SECRET}\n")),
    ] {
        let error = client.send(&bad).unwrap_err();
        write!(said, "{bad:?} {error} {error:?}").unwrap();
    }
    said
}

#[test]
fn nothing_secret_is_printed() {
    let network = start(Plan::default());
    let client = client(&network).max_attempts(1).build().unwrap();
    for fault in [None, Some(Fault::AckLost), Some(Fault::ResetMidAnswer(60)), Some(Fault::RefuseAll)] {
        if let Some(fault) = fault.clone() {
            network.inject(fault);
        }
        let said = secretive(&client, &http(&network, ""));
        assert!(!said.contains(SECRET), "{fault:?}: {said}");
        network.heal();
    }
    let stats = client.stats();
    for text in [stats.to_string(), stats.to_json(), format!("{stats:?}"), format!("{client:?}")] {
        assert!(!text.contains(SECRET) && !text.contains(host(&network)), "{text}");
    }
}

#[test]
fn the_summary_is_one_line_at_close_and_only_once() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        let output = alone(&[], "the_summary_is_one_line_at_close_and_only_once", &network);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("pinlink: ")).collect();
        assert_eq!(lines.len(), 2, "one for the client that was closed, one for the one that was dropped:\n{stderr}");
        assert!(
            lines[0].contains("11 requests, ") && lines[1].contains("3 requests, 3 answered, 0 failed"),
            "{lines:#?}"
        );
        assert!(!stderr.contains(SECRET), "{stderr}");
        return;
    };
    let loud = || client_at(&addresses).option("summary", "stderr").max_attempts(1).build().unwrap();
    let client = loud();
    secretive(&client, &http_at(&addresses, ""));
    (0..4).for_each(|_| drop(client.send(&Request::get(&http_at(&addresses, "/rows/1"))).unwrap()));
    client.clone().close();
    client.close();
    assert_eq!(client.send(&Request::get(&http_at(&addresses, "/rows/1"))).unwrap_err().reason(), Reason::Closed);
    drop(client);
    let client = loud();
    (0..3).for_each(|_| drop(client.send(&Request::get(&secure_at(&addresses, "/rows/1"))).unwrap()));
}

#[test]
fn a_closed_client_lets_go_of_its_connections() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let twin = client.clone();
    client.send(&Request::get(&secure(&network, "/rows/1"))).unwrap();
    client.close();
    eventually("its idle connection is closed", || network.counts().proxy.live == 0);
    assert_eq!(twin.send(&Request::get(&secure(&network, "/rows/1"))).unwrap_err().reason(), Reason::Closed);
    assert_eq!(network.counts().origins.requests, 1);
    assert_eq!((twin.stats().requests, twin.stats().connections_live), (1, 0));
}

/// Keeps the names of all spans and the text of all fields, of every thread of this process.
#[derive(Default)]
struct Listener {
    heard: Mutex<String>,
    next: AtomicU64,
}

static HEARD: Listener = Listener { heard: Mutex::new(String::new()), next: AtomicU64::new(1) };

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

struct Forward;

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pinlink")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut heard = HEARD.heard.lock().unwrap();
        writeln!(heard, "span {}", span.metadata().name()).unwrap();
        span.record(&mut Text(&mut heard));
        Id::from_u64(HEARD.next.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Text(&mut HEARD.heard.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut heard = HEARD.heard.lock().unwrap();
        writeln!(heard, "event").unwrap();
        event.record(&mut Text(&mut heard));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn each_phase_has_its_span_and_no_span_has_a_secret() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "each_phase_has_its_span_and_no_span_has_a_secret", &network);
        assert!(network.counts().origins.requests > 0);
        return;
    };
    tracing::subscriber::set_global_default(Forward).unwrap();
    let client = client_at(&addresses).option("summary", "log").build().unwrap();
    secretive(&client, &secure_at(&addresses, ""));
    client.close();
    let heard = HEARD.heard.lock().unwrap().clone();
    for name in ["resolve", "lease", "connect", "handshake", "exchange"] {
        assert!(heard.contains(&format!("span {name}\n")), "no span called {name}:\n{heard}");
    }
    assert!(heard.contains("pinlink: 7 requests"), "the summary is an event:\n{heard}");
    assert!(!heard.contains(SECRET), "{heard}");
}
