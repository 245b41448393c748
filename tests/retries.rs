//! Promise: what may have left is sent again only where that is safe. A POST without a key reaches the sink at most
//! once under every fault that the box can play, and its caller is told when nobody can know; a keyed write is applied
//! once and a GET is answered, both without an error; servers that ask to wait are obeyed; retries stay within their
//! budget and every call within its time.
//!
//! The sink's and the origins' own records decide, not what the client says of itself.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::survival::{Caller, every_fault, recovers};
use common::{client, eventually, host, http, peer, secure, seen, start};
use pinlink::{Builder, Client, Delivery, Kind, Reason, Request, Response};
use pinlink_box::{Fault, Injection, Layer, Network, OverCap, Plan, Write};

/// Budgets that end every stalled call soon, and still leave a slow machine its time.
fn hasty(network: &Network) -> Builder {
    client(network)
        .timeout(Duration::from_millis(4000))
        .connect_timeout(Duration::from_millis(1000))
        .handshake_timeout(Duration::from_millis(1000))
        .stall_timeout(Duration::from_millis(1000))
        .max_attempts(2)
        .backoff_base(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(5))
        .max_body(1 << 20)
}

fn writes_to(network: &Network, record: &str) -> Write {
    network.sink().into_iter().find(|write| write.record == record).unwrap_or_default()
}

/// The POSTs for one path that reached somebody who did not say at once that it would not process them.
fn posts(network: &Network, path: &str) -> usize {
    seen(network, path).iter().filter(|seen| seen.method == "POST" && !seen.turned_away).count()
}

/// How a POST gets to where a layer's faults are played.
#[derive(Clone, Copy)]
struct Way {
    builder: fn(&Network) -> Builder,
    url: fn(&Network, &str) -> String,
}

const PLAIN: Way = Way { builder: hasty, url: http };
const TLS: Way = Way { builder: hasty, url: secure };
const SCRIPTED: Way = Way { builder: hasty, url: peer };
const HTTP2: Way = Way { builder: http2, url: http2_peer };
const CONNECT: Way = Way {
    builder: |network| hasty(network).option("proxy", &format!("http://{}", network.connect_proxy())),
    url: http,
};
const SOCKS: Way = Way {
    builder: |network| hasty(network).option("proxy", &format!("socks5://{}", network.socks_proxy())),
    url: http,
};

fn http2_peer(network: &Network, path: &str) -> String {
    format!("http://{}:{}{path}", host(network), network.scripted2())
}

/// Speaks HTTP/2 to the peer that plays its faults.
fn http2(network: &Network) -> Builder {
    hasty(network).hosts([http2_peer(network, "")]).option("protocol", "http2")
}

/// Sends a POST into every fault of a layer, on a fresh and on a warm connection, while the fault lasts and where it
/// hits only once (so that a second send would come through). Then: what does the sink say?
fn every_fault_meets_a_post(layer: Layer, way: Way, key: Option<&str>) {
    // Most of the time is spent waiting for what never comes: side by side.
    let faults: Vec<Fault> = every_fault().into_iter().filter(|fault| fault.row().layer == layer).collect();
    assert!(faults.len() >= 3);
    thread::scope(|scope| {
        for part in faults.chunks(8) {
            for (warm, once) in [(false, false), (false, true), (true, false), (true, true)] {
                scope.spawn(move || each_fault_meets_a_post(part, way, key, warm, once));
            }
        }
    });
}

fn each_fault_meets_a_post(faults: &[Fault], way: Way, key: Option<&str>, warm: bool, once: bool) {
    let Way { builder, url } = way;
    let network = start(Plan::default());
    let mut records = Vec::new();
    for fault in faults {
        let client = builder(&network).build().unwrap();
        if warm {
            client.send(&Request::get(&url(&network, "/rows/warm"))).expect("nothing is wrong yet");
        }
        let record = format!("{}-{}", fault.name(), records.len());
        let path = format!("/sink/{record}");
        network.inject_injection(Injection { fault: fault.clone(), times: once.then_some(1), name: None });
        let mut request = Request::post(&url(&network, &path)).body(vec![b'x'; 32 << 10]);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", format!("\"{key}-{record}\""));
        }
        let sent = client.send(&request);
        let case = format!("{fault:?}, warm {warm}, once {once}: {:?}", sent.as_ref().map(Response::status));
        let arrived = posts(&network, &path);
        match &sent {
            Err(error) if error.delivery() == Delivery::NotSent => {
                assert_eq!(arrived, 0, "{case}: said to be not sent, and yet it came");
            }
            Err(error) if error.delivery() == Delivery::Unknown => {
                assert_eq!(error.reason() == Reason::WriteOutcomeUnknown, key.is_none(), "{case}");
            }
            // What breaks a TLS session inside the box reads requests without recording them.
            _ if fault.row().layer == Layer::Tls => {}
            _ => assert!(arrived >= 1, "{case}: answered, and yet nobody saw it"),
        }
        network.heal();
        let healthy = client.send(&Request::get(&url(&network, "/rows/healthy")).timeout(Duration::from_secs(10)));
        assert_eq!(healthy.unwrap_or_else(|error| panic!("after {case}: {error}")).status(), 200, "{case}");
        records.push((record, path, case));
    }
    // At the end, when nothing can still be under way.
    for (record, path, case) in records {
        let write = writes_to(&network, &record);
        assert!(write.applied <= 1, "{case}: applied {} times", write.applied);
        if key.is_none() {
            assert!(posts(&network, &path) <= 1, "{case}: seen {} times", posts(&network, &path));
            assert!(write.attempts <= 1, "{case}: {} attempts", write.attempts);
        }
    }
}

#[test]
fn a_post_without_key_is_never_sent_twice_whatever_the_proxy_does() {
    every_fault_meets_a_post(Layer::Proxy, PLAIN, None);
}

#[test]
fn a_post_without_key_over_tls_is_never_sent_twice_whatever_the_proxy_does() {
    every_fault_meets_a_post(Layer::Proxy, TLS, None);
}

#[test]
fn a_post_without_key_is_never_sent_twice_whatever_tls_does() {
    every_fault_meets_a_post(Layer::Tls, TLS, None);
}

#[test]
fn a_post_without_key_is_never_sent_twice_whatever_the_peer_answers() {
    every_fault_meets_a_post(Layer::Scripted, SCRIPTED, None);
}

#[test]
fn a_post_without_key_is_never_sent_twice_whatever_the_sink_does() {
    every_fault_meets_a_post(Layer::Sink, PLAIN, None);
    every_fault_meets_a_post(Layer::Sink, TLS, None);
}

#[test]
fn a_post_without_key_is_never_processed_twice_whatever_an_http2_peer_does() {
    every_fault_meets_a_post(Layer::Http2, HTTP2, None);
}

#[test]
fn a_post_without_key_is_never_sent_twice_whatever_an_explicit_proxy_does() {
    every_fault_meets_a_post(Layer::Tunnel, CONNECT, None);
    every_fault_meets_a_post(Layer::Tunnel, SOCKS, None);
}

#[test]
fn a_post_without_key_is_sent_once_whatever_dns_does_after_init() {
    every_fault_meets_a_post(Layer::Dns, PLAIN, None);
}

#[test]
fn a_keyed_post_is_never_applied_twice_under_any_fault() {
    every_fault_meets_a_post(Layer::Proxy, PLAIN, Some("key"));
    every_fault_meets_a_post(Layer::Sink, PLAIN, Some("key"));
}

/// FAULTS T4 for one way of losing the answer: fifty keyless writes on as many connections.
fn fifty_answers_are_lost(url: fn(&Network, &str) -> String, fault: Fault) {
    let network = start(Plan::default());
    for record in 0..50 {
        let client = client(&network).build().unwrap();
        // Over TLS the fault would otherwise hit the handshake.
        client.send(&Request::get(&url(&network, "/rows/warm"))).unwrap();
        network.inject(fault.clone());
        let error = client.send(&Request::post(&url(&network, &format!("/sink/{record}"))).body("once")).unwrap_err();
        network.heal();
        assert_eq!((error.kind(), error.reason()), (Kind::Write, Reason::WriteOutcomeUnknown), "{error}");
        assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 1), "{error}");
    }
    let writes = network.sink();
    assert_eq!(writes.len(), 50);
    for write in writes {
        assert_eq!((write.attempts, write.applied), (1, 1), "{write:?}");
    }
}

#[test]
fn t4_fifty_of_fifty_keyless_posts_whose_answer_is_lost_happen_once_and_say_so() {
    fifty_answers_are_lost(http, Fault::AckLost);
    fifty_answers_are_lost(http, Fault::AckLostReset);
}

#[test]
fn t4_fifty_of_fifty_keyless_posts_over_tls_whose_answer_is_lost_happen_once_and_say_so() {
    fifty_answers_are_lost(secure, Fault::AckLost);
    fifty_answers_are_lost(secure, Fault::AckLostReset);
}

#[test]
fn t4_fifty_of_fifty_keyed_posts_whose_answer_is_lost_are_applied_once_without_an_error() {
    let network = start(Plan::default());
    let client = client(&network).retry_budget(100).backoff_max(Duration::from_millis(50)).build().unwrap();
    for record in 0..50 {
        network.inject_times(if record % 2 == 0 { Fault::AckLost } else { Fault::AckLostReset }, 1);
        let request = Request::post(&http(&network, &format!("/sink/{record}")))
            .header("Idempotency-Key", format!("\"key-{record}\""))
            .body("once");
        let answer = client.send(&request).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (201, 2));
        assert_eq!(answer.header("idempotent-replayed"), Some("true"), "the second send got the first one's answer");
    }
    let writes = network.sink();
    assert_eq!(writes.len(), 50);
    for write in writes {
        assert_eq!((write.attempts, write.applied, write.bodies.len()), (2, 1, 1), "{write:?}");
    }
    assert_eq!((client.stats().failures, client.stats().retries), (0, 50));
}

#[test]
fn t4_t5_a_get_whose_answer_is_lost_is_sent_again() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for fault in [
        Fault::ResetOnAccept,
        Fault::AckLost,
        Fault::AckLostReset,
        Fault::ResetAfterRequest(20),
        Fault::ResetMidAnswer(20),
        Fault::CloseMidAnswer(20),
        Fault::CloseMidAnswer(10_000),
    ] {
        network.reset_counts();
        network.inject_times(fault.clone(), 1);
        // A connection of its own, so that the fault hits a fresh one.
        let client = hasty(&network).build().unwrap();
        let answer = client.send(&Request::get(&http(&network, "/bytes/20000"))).unwrap();
        assert_eq!((answer.body().len(), answer.trace().attempts), (20_000, 2), "{fault:?}");
        assert!((1..=2).contains(&network.counts().origins.requests), "{fault:?}");
        assert_eq!(client.stats().retries, 1, "{fault:?}");
    }
    assert_eq!(client.send(&Request::get(&http(&network, "/rows/1"))).unwrap().trace().attempts, 1);
}

#[test]
fn t5_a_reset_inside_the_body_is_never_a_short_body() {
    let network = start(Plan::default());
    let client = client(&network).max_attempts(1).build().unwrap();
    for fault in [Fault::ResetMidAnswer(5_000), Fault::CloseMidAnswer(5_000)] {
        network.inject(fault.clone());
        for path in ["/bytes/20000", "/chunked/20000"] {
            let error = client.send(&Request::get(&http(&network, path))).unwrap_err();
            assert_eq!(
                (error.reason(), error.delivery()),
                (Reason::ProtocolIncomplete, Delivery::Answered),
                "{fault:?}"
            );
        }
        network.heal();
    }
    let error = client.send(&Request::get(&http(&network, "/close-early/1000"))).unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Reason::ProtocolIncomplete, Delivery::Answered));
    assert_eq!(client.send(&Request::get(&http(&network, "/bytes/20000"))).unwrap().body().len(), 20_000);
    assert_eq!(client.stats().connections_live, 1);
}

#[test]
fn t3_a_reset_on_accept_is_survived_by_a_get_and_doubles_no_post() {
    let network = start(Plan::default());
    for record in 0..20 {
        let client = hasty(&network).build().unwrap();
        network.inject_times(Fault::ResetOnAccept, 1);
        let sent = client.send(&Request::post(&http(&network, &format!("/sink/{record}"))));
        match &sent {
            // The reset came before the first byte was written: nothing had left.
            Ok(answer) => assert_eq!(answer.status(), 201),
            Err(error) => assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "{error}"),
        }
        let write = writes_to(&network, &record.to_string());
        assert_eq!((write.attempts, write.applied), (u64::from(sent.is_ok()), u64::from(sent.is_ok())));
    }
}

#[test]
fn h14_a_server_that_asks_to_wait_is_obeyed() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for status in [503, 429] {
        let begun = Instant::now();
        let path = format!("/status/{status}");
        let url = http(&network, &format!("{path}?retry_after=1&times=1"));
        let answer = client.send(&Request::get(&url)).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 2));
        assert!(begun.elapsed() >= Duration::from_secs(1), "it came back too early: {:?}", begun.elapsed());
        assert_eq!(seen(&network, &path).len(), 2);
    }
    assert_eq!(network.counts().proxy.total, 1, "an answer, whatever it says, ends no connection");
}

#[test]
fn h14_retry_after_in_every_form_is_read_or_ignored() {
    let network = start(Plan::default());
    let client = client(&network).backoff_max(Duration::from_millis(50)).build().unwrap();
    let past = "Sun%2C%2006%20Nov%201994%2008%3A49%3A37%20GMT";
    for after in ["0", past, "-5", "soon", "1.5", ""] {
        let url = http(&network, &format!("/status/503?retry_after={after}&times=1"));
        let answer = client.send(&Request::get(&url)).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 2), "{after:?}");
    }
    // Longer than the call has: the answer itself is worth more than a wait in vain.
    for after in ["60", "1000000000000", "Tue%2C%2006%20Nov%202294%2008%3A49%3A37%20GMT"] {
        let begun = Instant::now();
        let url = http(&network, &format!("/status/503?retry_after={after}&times=1"));
        let answer = client.send(&Request::get(&url)).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (503, 1), "{after:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn an_answer_that_asks_again_is_the_answer_of_a_keyless_post() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for status in [408, 429, 502, 503, 504] {
        let path = format!("/status/{status}");
        let url = http(&network, &format!("{path}?times=1&retry_after=0"));
        assert_eq!(client.send(&Request::post(&url)).unwrap().status(), status);
        assert_eq!(seen(&network, &path).len(), 1);
        // The counter of that URL has moved on; under a key the same status is tried again.
        let keyed = Request::post(&http(&network, &format!("{path}?times=1&retry_after=0&keyed")))
            .header("Idempotency-Key", "\"k\"");
        let answer = client.send(&keyed).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 2));
        assert_eq!(seen(&network, &path).len(), 3);
    }
}

#[test]
fn h15_other_statuses_are_answers_and_not_tried_again() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for status in [400, 401, 403, 404, 409, 412, 422, 425, 500, 501] {
        let path = format!("/status/{status}");
        let answer = client.send(&Request::get(&http(&network, &path))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (status, 1));
        assert_eq!(seen(&network, &path).len(), 1);
    }
}

#[test]
fn in_a_total_outage_retries_stay_within_their_budget() {
    const REQUESTS: u64 = 200;
    let network = start(Plan::default());
    let client = client(&network)
        .retry_budget(5)
        .max_attempts(10)
        .backoff_base(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(1))
        .build()
        .unwrap();
    for _ in 0..REQUESTS {
        assert_eq!(client.send(&Request::get(&http(&network, "/status/503"))).unwrap().status(), 503);
    }
    // Five saved up, and a fifth of one earned by each request.
    let requests = network.counts().origins.requests;
    assert!(requests > REQUESTS + 5, "a budget that allows nothing bounds nothing: {requests}");
    assert!(requests <= REQUESTS + 5 + REQUESTS / 5, "{requests} requests");
    assert_eq!(client.stats().retries, requests - REQUESTS);

    // The same where nobody answers at all.
    network.inject(Fault::EarlyClose);
    network.reset_counts();
    for _ in 0..REQUESTS {
        client.send(&Request::get(&peer(&network, "/"))).unwrap_err();
    }
    let requests = network.counts().origins.requests;
    assert!(requests > REQUESTS + 5 && requests <= REQUESTS + 5 + REQUESTS / 5, "{requests} requests");
    network.heal();
    assert_eq!(client.send(&Request::get(&peer(&network, "/"))).unwrap().status(), 200);
}

#[test]
fn what_was_never_sent_is_tried_again_within_its_attempts_whatever_the_budget() {
    let network = start(Plan::default());
    let client = client(&network)
        .retry_budget(0)
        .max_attempts(4)
        .backoff_base(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(1))
        .build()
        .unwrap();
    network.inject(Fault::HandshakeClose);
    for _ in 0..10 {
        let error = client.send(&Request::post(&secure(&network, "/sink/1"))).unwrap_err();
        assert_eq!((error.reason(), error.delivery(), error.attempts()), (Reason::TlsClosed, Delivery::NotSent, 4));
    }
    assert_eq!(network.counts().proxy.total, 40);
    network.heal();
    network.inject_times(Fault::HandshakeClose, 3);
    let answer = client.send(&Request::post(&secure(&network, "/sink/2"))).unwrap();
    assert_eq!((answer.status(), answer.trace().attempts, writes_to(&network, "2").attempts), (201, 4, 1));
}

#[test]
fn t9_a_failure_on_a_fresh_connection_never_loops() {
    for caller in Caller::ALL {
        let network = start(Plan::default());
        network.inject(Fault::EarlyClose);
        let client = client(&network).build().unwrap();
        let error = caller.send(&client, &Request::get(&peer(&network, "/get"))).unwrap_err();
        assert_eq!((error.reason(), error.delivery()), (Reason::ConnectClosed, Delivery::Unknown));
        assert_eq!((error.attempts(), seen(&network, "/get").len()), (3, 3), "max_attempts and no more");
        let error = caller.send(&client, &Request::post(&peer(&network, "/post"))).unwrap_err();
        assert_eq!((error.reason(), error.attempts()), (Reason::WriteOutcomeUnknown, 1));
        assert_eq!(seen(&network, "/post").len(), 1);
        assert_eq!((client.stats().replaced, network.counts().proxy.total), (0, 4));
        recovers(&client, &network);
    }
}

#[test]
fn t7_a_connection_cut_while_idle_is_replaced_silently_even_for_a_post() {
    let network = start(Plan::default());
    for (url, idle) in [(http as fn(&Network, &str) -> String, "plain"), (secure, "tls")] {
        let client = client(&network).build().unwrap();
        network.reset_counts();
        network.inject(Fault::IdleCut(50));
        client.send(&Request::get(&url(&network, "/rows/1"))).unwrap();
        eventually("the proxy cuts the idle connection", || {
            let proxy = network.counts().proxy;
            (proxy.idle_cut, proxy.live) == (1, 0)
        });
        network.heal();
        let record = format!("/sink/{idle}");
        let answer = client.send(&Request::post(&url(&network, &record)).body("once")).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (201, 1), "no try is spent on it");
        assert_eq!(posts(&network, &record), 1);
        let stats = client.stats();
        assert_eq!((stats.replaced, stats.retries, stats.failures), (1, 0, 0));
        assert_eq!(stats.connections_live, 1, "the dead one is gone");
    }
}

/// Cuts all eight idle connections, then asks for a write.
fn eight_dead_connections_cost_a_post_nothing(network: &Network, client: &Client) {
    assert_eq!(client.stats().connections_idle, 8);
    eventually("the proxy has accepted them all", || network.counts().proxy.live == 8);
    network.inject(Fault::IdleCut(20));
    eventually("the proxy cuts them all", || {
        let proxy = network.counts().proxy;
        (proxy.idle_cut, proxy.live) == (8, 0)
    });
    network.heal();
    let answer = client.send(&Request::post(&http(network, "/sink/once"))).unwrap();
    assert_eq!((answer.status(), answer.trace().attempts), (201, 1));
    assert_eq!(writes_to(network, "once").attempts, 1);
    assert_eq!((client.stats().retries, client.stats().connections_live), (0, 1));
}

#[test]
fn t7_connections_that_died_together_are_replaced_within_one_call() {
    let network = start(Plan::default());
    let client = client(&network).max_connections_per_origin(8).build().unwrap();
    let slow: Vec<Request> = (0..8).map(|_| Request::get(&http(&network, "/delay/50"))).collect();
    assert!(client.map(&slow).iter().all(Result::is_ok));
    eight_dead_connections_cost_a_post_nothing(&network, &client);
}

#[test]
fn t7_prewarmed_connections_that_died_together_are_replaced_within_one_call() {
    let network = start(Plan::default());
    let client = client(&network).hosts([http(&network, "")]).prewarm(8).build().unwrap();
    eight_dead_connections_cost_a_post_nothing(&network, &client);
}

#[test]
fn t8_a_peer_that_closes_right_after_its_answer_loses_no_get_and_doubles_no_post() {
    for caller in Caller::ALL {
        let network = start(Plan::default());
        network.inject(Fault::SilentClose);
        let client = client(&network).retry_budget(1000).build().unwrap();
        for turn in 0..50 {
            caller.send(&client, &Request::get(&peer(&network, "/get"))).unwrap();
            let path = format!("/post/{turn}");
            let sent = caller.send(&client, &Request::post(&peer(&network, &path)));
            if let Err(error) = &sent {
                assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "{error}");
            }
            let arrived = seen(&network, &path).len();
            assert!(arrived <= 1, "seen {arrived} times");
            assert!(sent.is_err() || arrived == 1);
        }
        recovers(&client, &network);
    }
}

#[test]
fn t7_a_learned_idle_limit_is_kept_from_then_on() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    network.inject(Fault::IdleCut(300));
    client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    for cut in 1..=3 {
        eventually("the proxy cuts the idle connection", || {
            network.counts().proxy.idle_cut >= cut || client.stats().connections_live == 0
        });
        client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    }
    assert!(
        client.stats().replaced <= 1,
        "DESIGN 5: once learned, the client closes first: {}",
        client.stats().to_json()
    );
}

#[test]
fn t10_a_slow_answer_that_moves_is_not_stalled() {
    let network = start(Plan::default());
    let client = client(&network).stall_timeout(Duration::from_millis(500)).build().unwrap();
    // A second in all, never half a second without a byte.
    let answer = client.send(&Request::get(&http(&network, "/stream/10/100/100"))).unwrap();
    assert_eq!((answer.body().len(), answer.trace().attempts), (1000, 1));
}

/// The least of three: a loaded machine delays, it never hastens.
fn least_overshoot(client: &Client, request: &Request, budget: Duration) -> Duration {
    let overshoot = |_| {
        let begun = Instant::now();
        let error = client.send(request).unwrap_err();
        let took = begun.elapsed();
        assert!(took < budget + Duration::from_secs(5), "{took:?} {error}");
        took.saturating_sub(budget)
    };
    (0..3).map(overshoot).min().unwrap()
}

#[test]
fn no_call_lasts_longer_than_its_time() {
    let network = start(Plan::default());
    let budget = Duration::from_millis(250);
    let slow = client(&network).timeout(budget).connect_timeout(budget).max_attempts(10).build().unwrap();
    for (fault, url) in [
        (None, http(&network, "/delay/60000")),
        (None, http(&network, "/stream/1000/10/50")),
        (Some(Fault::HalfOpen), http(&network, "/rows/1")),
        (Some(Fault::HalfOpen), secure(&network, "/rows/1")),
        (Some(Fault::Blackhole), http(&network, "/rows/1")),
        (Some(Fault::Cap(0, OverCap::Queue)), http(&network, "/rows/1")),
        (Some(Fault::HandshakeStall), secure(&network, "/rows/1")),
        (Some(Fault::Drip(5)), http(&network, "/bytes/10000")),
    ] {
        if let Some(fault) = fault.clone() {
            network.inject(fault);
        }
        let overshoot = least_overshoot(&slow, &Request::get(&url), budget);
        assert!(overshoot < Duration::from_millis(300), "{overshoot:?} over: {fault:?} {url}");
        network.heal();
    }
    let upload = Request::put(&http(&network, "/sink/big")).body(vec![0; 32 << 20]);
    network.inject(Fault::StallUpload);
    assert!(least_overshoot(&slow, &upload, budget) < Duration::from_millis(300));
    network.heal();
    let healthy = client(&network).build().unwrap();
    assert_eq!(healthy.send(&Request::get(&http(&network, "/rows/1"))).unwrap().status(), 200);
}
