//! Promise: the caps hold. However many threads call, the proxy never sees more live connections than configured, over
//! one origin or many; whoever waits is served in order, within a bound, or told so before anything is sent; and every
//! connection that ends, however it ends, gives its place back.
//!
//! What the proxy and the origins counted is asserted beside what callers got.

mod common;

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{client, eventually, http, peer, secure, seen, start};
use pinlink::{AsyncClient, Client, Delivery, Phase, Reason, Request, Response, Result};
use pinlink_box::{ChunkSize, Fault, Network, OverCap, Plan, ProxyPlan, StatusLine};

/// A network whose proxy turns away whatever is above the cap.
fn capped(cap: usize, over_cap: OverCap) -> Network {
    start(Plan { proxy: ProxyPlan { cap: Some(cap), over_cap, ..ProxyPlan::default() }, ..Plan::default() })
}

/// The same HTTP origin under a name of its own: for the client, another origin.
fn origin(network: &Network, name: &str, path: &str) -> String {
    format!("http://{name}.box.test:{}{path}", network.http())
}

fn origins(network: &Network, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| origin(network, name, "")).collect()
}

/// Holds every answer back, so that a caller keeps its connection until `heal`; returns once the call is under way.
fn hold<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    network: &Network,
    client: &Client,
    url: &str,
) -> thread::ScopedJoinHandle<'scope, ()> {
    let live = network.counts().proxy.live;
    network.inject(Fault::HalfOpen);
    let (client, url) = (client.clone(), url.to_owned());
    let holder = scope.spawn(move || {
        assert_eq!(client.send(&Request::get(&url)).expect("the holder is answered after all").status(), 200);
    });
    eventually("the holder has its connection", || network.counts().proxy.live == live + 1);
    holder
}

#[test]
fn t24_sixty_four_threads_never_pass_the_cap_and_no_row_fails() {
    const CAP: usize = 16;
    const THREADS: usize = 64;
    const ROWS: usize = 20_000;
    let network = capped(CAP, OverCap::Reset);
    let client = client(&network)
        .max_connections(CAP)
        .max_connections_per_origin(CAP)
        .timeout(Duration::from_secs(60))
        .acquire_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, network) = (&client, &network);
            scope.spawn(move || {
                for row in (thread..ROWS).step_by(THREADS) {
                    let answer = client.send(&Request::get(&secure(network, &format!("/rows/{row}")))).unwrap();
                    assert!(answer.text().unwrap().contains(&format!("\"id\":\"{row}\"")), "an answer to another row");
                }
            });
        }
    });
    let (counts, stats) = (network.counts(), client.stats());
    assert!(counts.proxy.peak <= CAP as u64, "{:?}", counts.proxy);
    assert!(counts.proxy.peak >= 2, "the load was no load: {:?}", counts.proxy);
    assert_eq!((counts.proxy.refused, counts.proxy.reset), (0, 0));
    assert_eq!(counts.origins.requests, ROWS as u64, "each row is asked for exactly once");
    assert!(counts.origins.handshakes <= CAP as u64, "{:?}", counts.origins);
    assert_eq!((stats.answers, stats.failures, stats.retries), (ROWS as u64, 0, 0));
    assert!(stats.connections_peak <= CAP as u64);
    assert_eq!(counts.dns.queries, 1, "execution asks DNS nothing");
}

#[test]
fn t24_the_total_cap_holds_over_many_origins_and_nobody_starves() {
    const CAP: usize = 4;
    const ROWS: usize = 120;
    let network = capped(CAP, OverCap::Reset);
    let names = ["a", "b", "c", "d", "e", "f"];
    let client = client(&network)
        .hosts(origins(&network, &names))
        .max_connections(CAP)
        .max_connections_per_origin(3)
        .build()
        .unwrap();
    let longest = AtomicU64::new(0);
    thread::scope(|scope| {
        for name in names.iter().chain(&names) {
            let (client, network, longest) = (&client, &network, &longest);
            scope.spawn(move || {
                for row in 0..ROWS {
                    let answer = client.send(&Request::get(&origin(network, name, &format!("/rows/{row}")))).unwrap();
                    assert_eq!(answer.status(), 200);
                    longest.fetch_max(answer.trace().queue.as_millis() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let counts = network.counts();
    assert!(counts.proxy.peak <= CAP as u64, "{:?}", counts.proxy);
    assert_eq!((counts.proxy.refused, counts.proxy.reset), (0, 0));
    assert_eq!(counts.origins.requests, (2 * names.len() * ROWS) as u64);
    let longest = longest.into_inner();
    assert!(longest < 5_000, "a caller waited {longest} ms: it starved");
    assert!(client.stats().connections_peak <= CAP as u64);
}

#[test]
fn t24_callers_of_every_kind_share_one_cap_and_none_fails() {
    const CAP: usize = 8;
    const BLOCKING: usize = 60;
    const ASYNC: usize = 140;
    const ROWS: usize = 30;
    let network = capped(CAP, OverCap::Reset);
    let patience = Duration::from_secs(60);
    let client = client(&network)
        .max_connections(CAP)
        .max_connections_per_origin(CAP)
        .timeout(patience)
        .acquire_timeout(patience)
        .build()
        .unwrap();
    // Blocking callers speak HTTP/1.1; async ones HTTP/1.1 in the plain and HTTP/2 over TLS.
    let urls = |caller: usize| {
        let origin = if caller.is_multiple_of(2) { http } else { secure };
        let network = &network;
        (0..ROWS)
            .map(move |row| (format!("\"id\":\"{caller}-{row}\""), origin(network, &format!("/rows/{caller}-{row}"))))
    };
    let check = |answer: Result<Response>, id: &str, is_http2: bool| {
        let answer = answer.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(answer.text().unwrap().contains(id), "an answer to another row");
        assert_eq!(answer.trace().is_http2, is_http2);
    };
    thread::scope(|scope| {
        for caller in 0..BLOCKING {
            let (client, urls, check) = (&client, &urls, &check);
            scope.spawn(move || {
                urls(caller).for_each(|(id, url)| check(client.send(&Request::get(&url)), &id, false));
            });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let calls: Vec<_> = (BLOCKING..BLOCKING + ASYNC)
            .map(|caller| {
                let (client, rows) = (AsyncClient::from(client.clone()), urls(caller).collect::<Vec<_>>());
                runtime.spawn(async move {
                    let mut answers = Vec::new();
                    for (id, url) in rows {
                        answers.push((id, client.send(&Request::get(&url)).await));
                    }
                    answers
                })
            })
            .collect();
        for (caller, call) in calls.into_iter().enumerate() {
            let is_http2 = !(BLOCKING + caller).is_multiple_of(2);
            runtime.block_on(call).unwrap().into_iter().for_each(|(id, answer)| check(answer, &id, is_http2));
        }
    });
    let (counts, stats) = (network.counts(), client.stats());
    assert!(counts.proxy.peak <= CAP as u64, "{:?}", counts.proxy);
    assert_eq!((counts.proxy.refused, counts.proxy.reset), (0, 0));
    assert_eq!(counts.origins.requests, ((BLOCKING + ASYNC) * ROWS) as u64, "each row is asked for exactly once");
    assert!(stats.http2 >= 1 && stats.connections_peak <= CAP as u64, "{stats:?}");
    assert_eq!((stats.answers, stats.failures, stats.retries), (counts.origins.requests, 0, 0));
    assert_eq!(stats.connections_live, stats.connections_idle);
}

#[test]
fn a_full_total_evicts_the_connection_that_was_idle_longest() {
    let network = capped(2, OverCap::Reset);
    let client = client(&network).hosts(origins(&network, &["a", "b", "c"])).max_connections(2).build().unwrap();
    let reused = |name| client.send(&Request::get(&origin(&network, name, "/echo"))).unwrap().trace().reused;
    assert!(!reused("a"));
    assert!(!reused("b"));
    assert!(!reused("c"), "the place of a's connection");
    assert!(reused("b"), "b's was younger than a's and stays");
    assert!(!reused("a"), "the place of c's");
    let (counts, stats) = (network.counts(), client.stats());
    assert_eq!(stats.evictions, 2);
    assert_eq!((counts.proxy.peak, counts.proxy.total, counts.proxy.refused), (2, 4, 0));
    assert_eq!((stats.connections_live, stats.connections_idle), (2, 2));
}

#[test]
fn one_place_is_handed_to_and_fro_between_origins_without_a_stall() {
    let network = capped(1, OverCap::Reset);
    let client = client(&network)
        .hosts(origins(&network, &["a", "b"]))
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for name in ["a", "b"] {
            let (client, network, barrier) = (&client, &network, &barrier);
            scope.spawn(move || {
                for round in 0..300_u32 {
                    barrier.wait();
                    // The second comes a little later each round, so that it meets the first at every stage: dialling,
                    // busy, giving back, idle.
                    let late = Instant::now() + Duration::from_micros(u64::from(round) * 4 * u64::from(name == "b"));
                    while Instant::now() < late {
                        std::hint::spin_loop();
                    }
                    let asked = client.send(&Request::get(&origin(network, name, "/rows/1")));
                    assert_eq!(asked.map(|answer| answer.status()).map_err(|error| error.to_string()), Ok(200));
                }
            });
        }
    });
    let counts = network.counts();
    assert_eq!((counts.proxy.peak, counts.proxy.refused), (1, 0));
    assert_eq!(counts.origins.requests, 600);
}

#[test]
fn t24_callers_are_served_in_the_order_in_which_they_came() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).build().unwrap();
    thread::scope(|scope| {
        hold(scope, &network, &client, &http(&network, "/rows/first"));
        for turn in 0..8 {
            let (client, url) = (&client, http(&network, &format!("/rows/{turn}")));
            scope.spawn(move || client.send(&Request::get(&url)).unwrap());
            eventually("the caller waits", || client.stats().waits == turn + 1);
            // It has been counted; its step from there into the queue is nothing that can be seen.
            thread::sleep(Duration::from_millis(10));
        }
        network.heal();
    });
    let order: Vec<String> = network.seen().into_iter().map(|seen| seen.path).collect();
    let expected: Vec<String> = (0..8).map(|turn| format!("/rows/{turn}")).collect();
    assert_eq!(order[0], "/rows/first");
    assert_eq!(order[1..], expected);
    assert_eq!(network.counts().proxy.total, 1, "all on one connection");
}

#[test]
fn a_thread_that_does_not_come_back_for_its_turn_holds_nobody_up() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).build().unwrap();
    let (url, round) = (http(&network, "/rows/1"), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..50 {
                    // Quick calls in a row, so that whoever has the connection may keep it; then a long pause, at its end
                    // nobody has come back for it and everybody has been served.
                    for _ in 0..5 {
                        assert_eq!(client.send(&Request::get(&url)).unwrap().status(), 200);
                    }
                    round.wait();
                }
            });
        }
    });
    assert_eq!(network.counts().origins.requests, 750);
    assert_eq!(network.counts().proxy.total, 1, "all on one connection");
    eventually("what was kept is given back", || client.stats().connections_idle == 1);
}

#[test]
fn a_full_queue_turns_callers_away_at_once() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).max_waiting(2).build().unwrap();
    thread::scope(|scope| {
        hold(scope, &network, &client, &http(&network, "/rows/held"));
        for turn in 0..2 {
            let (client, url) = (&client, http(&network, "/rows/waited"));
            scope.spawn(move || client.send(&Request::get(&url)).unwrap());
            eventually("the caller waits", || client.stats().waits == turn + 1);
        }
        let begun = Instant::now();
        let error = client.send(&Request::post(&http(&network, "/sink/turned-away"))).unwrap_err();
        assert_eq!(
            (error.reason(), error.delivery(), error.phase()),
            (Reason::Overloaded, Delivery::NotSent, Phase::Queue)
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited for its turn after all");
        network.heal();
    });
    assert_eq!(seen(&network, "/rows/waited").len(), 2, "those in the queue were served");
    assert!(network.sink().is_empty());
    assert_eq!(client.send(&Request::get(&http(&network, "/rows/next"))).unwrap().status(), 200);
}

#[test]
fn a_wait_for_a_connection_ends_after_its_budget_and_nothing_was_sent() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).acquire_timeout(Duration::from_millis(200)).build().unwrap();
    thread::scope(|scope| {
        hold(scope, &network, &client, &http(&network, "/rows/held"));
        let write = Request::post(&http(&network, "/sink/never"));
        let error = client.send(&write).unwrap_err();
        assert_eq!(error.reason(), Reason::TimeoutAcquire);
        assert_eq!((error.delivery(), error.phase()), (Delivery::NotSent, Phase::Queue));
        assert!(error.to_string().contains("acquire_timeout"), "the line names the budget: {error}");
        let error = client.send(&write.timeout(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error.reason(), Reason::TimeoutTotal);
        assert_eq!((error.delivery(), error.phase()), (Delivery::NotSent, Phase::Queue));
        network.heal();
    });
    assert!(network.sink().is_empty(), "who never had a connection never sent a byte");
    assert_eq!(client.send(&Request::get(&http(&network, "/rows/next"))).unwrap().status(), 200);
    assert_eq!(network.counts().proxy.total, 1);
}

#[test]
fn callers_that_give_up_in_the_queue_leave_no_hole_in_it() {
    let network = start(Plan::default());
    let client = client(&network).hosts(origins(&network, &["a", "b"])).max_connections(2).build().unwrap();
    thread::scope(|scope| {
        hold(scope, &network, &client, &origin(&network, "a", "/rows/1"));
        hold(scope, &network, &client, &origin(&network, "a", "/rows/2"));
        thread::scope(|scope| {
            for name in ["a", "b", "a", "b", "a", "b", "a", "b"] {
                let (client, url) = (&client, origin(&network, name, "/rows/3"));
                scope.spawn(move || {
                    for _ in 0..10 {
                        let request = Request::get(&url).timeout(Duration::from_millis(20));
                        assert_eq!(client.send(&request).unwrap_err().delivery(), Delivery::NotSent);
                    }
                });
            }
        });
        network.heal();
    });
    for name in ["a", "b"] {
        assert_eq!(client.send(&Request::get(&origin(&network, name, "/rows/4"))).unwrap().status(), 200);
    }
    let counts = network.counts();
    assert_eq!(counts.proxy.peak, 2);
    assert!(seen(&network, "/rows/3").is_empty());
}

#[test]
fn t7_an_idle_connection_is_closed_when_its_time_is_over() {
    let network = start(Plan::default());
    let client = client(&network).max_idle(Duration::from_millis(100)).build().unwrap();
    client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    assert_eq!(network.counts().proxy.live, 1);
    eventually("the client has closed it", || network.counts().proxy.live == 0);
    assert_eq!(network.counts().proxy.idle_cut, 0);
    let next = client.send(&Request::get(&http(&network, "/rows/2"))).unwrap();
    assert!(!next.trace().reused);
    let stats = client.stats();
    assert_eq!((stats.expired, stats.replaced), (1, 0), "closed for its age, not found dead");
}

#[test]
fn no_connection_is_reused_past_its_age_and_every_re_dial_resumes() {
    let network = start(Plan::default());
    let client = client(&network).max_age(Duration::from_millis(100)).max_connections(1).build().unwrap();
    let last = Cell::new(None);
    eventually("five connections have grown old", || {
        client.send(&Request::get(&secure(&network, "/rows/1"))).unwrap();
        let connections = network.counts().origins.connections;
        if last.replace(Some(connections)) != Some(connections) {
            assert_eq!(network.counts().proxy.peak, 1, "the old one goes before the new one comes");
        }
        connections == 6
    });
    let (counts, stats) = (network.counts(), client.stats());
    assert_eq!((counts.origins.handshakes, counts.origins.resumed), (6, 5));
    assert_eq!((stats.handshakes, stats.resumptions, stats.expired), (6, 5, 5));
    assert_eq!((stats.failures, stats.retries), (0, 0));
}

#[test]
fn prewarmed_connections_are_there_before_the_first_call() {
    let network = capped(6, OverCap::Reset);
    let client = client(&network)
        .hosts([secure(&network, ""), http(&network, "")])
        .prewarm(3)
        .max_connections_per_origin(3)
        .build()
        .unwrap();
    // The client has ended its part of a handshake a moment before the server.
    eventually("six connections stand", || {
        let counts = network.counts();
        (counts.proxy.total, counts.origins.handshakes, counts.origins.requests) == (6, 3, 0)
    });
    assert_eq!(client.stats().connections_idle, 6);
    for url in [secure(&network, "/rows/1"), http(&network, "/rows/1")] {
        client.send(&Request::get(&url)).unwrap();
    }
    assert_eq!((network.counts().proxy.total, network.counts().proxy.refused), (6, 0), "no call had to dial");
}

#[test]
fn prewarming_more_than_the_total_cap_ends_and_keeps_the_cap() {
    let network = capped(2, OverCap::Reset);
    let begun = Instant::now();
    let client =
        client(&network).hosts(origins(&network, &["a", "b", "c", "d"])).max_connections(2).prewarm(1).build().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "building waited for places that nobody gives");
    for name in ["a", "b", "c", "d"] {
        assert_eq!(client.send(&Request::get(&origin(&network, name, "/rows/1"))).unwrap().status(), 200);
    }
    assert_eq!((network.counts().proxy.peak, network.counts().proxy.refused), (2, 0));
}

#[test]
fn prewarming_a_dead_origin_leaves_the_reason_to_the_first_call() {
    let network = start(Plan::default());
    network.inject(Fault::RefuseAll);
    let client = client(&network).prewarm(2).max_attempts(1).build().expect("prewarming is no condition");
    let error = client.send(&Request::get(&http(&network, "/rows/1"))).unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Reason::ConnectRefused, Delivery::NotSent));
    network.heal();
    assert_eq!(client.send(&Request::get(&http(&network, "/rows/1"))).unwrap().status(), 200);
    assert_eq!(client.stats().connections_live, 1);
}

#[test]
fn a_thousand_calls_from_one_thread_need_one_connection() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    for row in 0..1000 {
        let url = secure(&network, &format!("/rows/{row}"));
        assert_eq!(client.send(&Request::get(&url)).unwrap().trace().reused, row > 0);
    }
    let counts = network.counts();
    assert_eq!((counts.proxy.total, counts.origins.handshakes, counts.origins.requests), (1, 1, 1000));
    assert_eq!(client.stats().reuses, 999);
}

#[test]
fn a_thousand_failing_calls_give_every_place_back() {
    let network = capped(2, OverCap::Reset);
    let client = client(&network).max_connections(2).max_attempts(1).build().unwrap();
    let on_proxy = [Fault::ResetOnAccept, Fault::AckLost, Fault::ResetMidAnswer(10), Fault::RefuseAll];
    let on_peer = [
        Fault::EarlyClose,
        Fault::WriteThenReset,
        Fault::ShortBody,
        Fault::BadChunkSize(ChunkSize::Sign),
        Fault::GarbageStatus(StatusLine::Garbage),
        Fault::HeaderCount(1000),
    ];
    for fault in on_proxy.into_iter().chain(on_peer) {
        network.inject(fault.clone());
        thread::scope(|scope| {
            for _ in 0..4 {
                let (client, url, fault) = (&client, peer(&network, "/fails"), &fault);
                scope.spawn(move || {
                    for _ in 0..25 {
                        assert!(client.send(&Request::get(&url)).is_err(), "{fault:?} did not fail");
                    }
                });
            }
        });
        network.heal();
    }
    let stats = client.stats();
    assert_eq!((stats.failures, stats.answers), (1000, 0));
    assert_eq!((stats.connections_live, stats.connections_idle), (0, 0), "all were closed");
    assert_eq!(client.send(&Request::get(&peer(&network, "/works"))).unwrap().text().unwrap(), "hello");
    assert_eq!(client.stats().connections_live, 1);
    eventually("the proxy sees one connection", || network.counts().proxy.live == 1);
    let counts = network.counts();
    assert!(counts.proxy.peak <= 2, "{:?}", counts.proxy);
    assert_eq!(counts.proxy.refused, 0);
}

#[test]
fn calls_that_run_out_of_time_give_their_places_back() {
    let network = capped(2, OverCap::Reset);
    let client = client(&network).max_connections(2).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (client, url) = (&client, http(&network, "/delay/60000"));
            scope.spawn(move || {
                for _ in 0..5 {
                    let error = client.send(&Request::get(&url).timeout(Duration::from_millis(60))).unwrap_err();
                    assert_eq!(error.reason(), Reason::TimeoutTotal);
                }
            });
        }
    });
    assert_eq!(client.send(&Request::get(&http(&network, "/rows/1"))).unwrap().status(), 200);
    eventually("nobody holds a connection", || {
        let stats = client.stats();
        stats.connections_live == stats.connections_idle
    });
    let counts = network.counts();
    assert!(counts.proxy.peak <= 2, "{:?}", counts.proxy);
    assert_eq!(counts.proxy.refused, 0);
}

#[test]
fn each_worker_takes_its_share_of_the_job_s_connections() {
    let network = capped(2, OverCap::Reset);
    let client = client(&network).job_connections(8).workers(4).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..16 {
            let (client, url) = (&client, http(&network, "/rows/1"));
            scope.spawn(move || (0..50).for_each(|_| assert!(client.send(&Request::get(&url)).unwrap().is_success())));
        }
    });
    let counts = network.counts();
    assert_eq!((counts.origins.requests, counts.proxy.refused), (800, 0));
    assert!(counts.proxy.peak <= 2, "{:?}", counts.proxy);
}
