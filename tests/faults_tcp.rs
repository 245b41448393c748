//! FAULTS section 2, row by row (`t4_…` is row T4), as every caller meets it: blocking and async; a GET, a POST without
//! a key, and a POST with one. The faults are played by the network in a box.
//!
//! What the kernel does (ports, descriptors, packets, sockets) is in `faults_kernel.rs`, explicit proxies are in
//! `proxies.rs`, races between addresses in `connect.rs`, and what any fault does to a write in `retries.rs`.

mod common;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use common::survival::{Ask, Caller, Failure, fails_as, recovers, unsent};
use common::*;
use pinlink::{Builder, Client, Delivery, Reason, Request};
use pinlink_box::{Fault, Network, OverCap, Plan, ProxyPlan};

/// Enough for a busy machine, little enough for a test.
const DEADLINE: Duration = Duration::from_millis(4000);

/// Two tries, and budgets that end every wait soon.
fn hasty(network: &Network) -> Builder {
    client(network)
        .timeout(DEADLINE)
        .connect_timeout(Duration::from_millis(800))
        .handshake_timeout(Duration::from_millis(1000))
        .stall_timeout(Duration::from_millis(1000))
        .max_attempts(2_usize)
        .backoff_base(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(5))
}

/// A fault, and what it must do to each of [`Ask::ALL`].
struct Row {
    fault: Fault,
    builder: fn(&Network) -> Builder,
    url: fn(&Network) -> String,
    asks: &'static [Ask],
    /// Whether the connection has served a request before.
    warm: bool,
    /// A POST's body, where it must be a long one.
    body: usize,
    outcome: fn(Ask) -> Failure,
    /// Whether the origin sees each try.
    arrives: bool,
}

fn record(network: &Network) -> String {
    http(network, "/sink/record")
}

impl Row {
    fn new(fault: Fault, outcome: fn(Ask) -> Failure) -> Row {
        let (builder, url, asks) = (hasty as fn(&Network) -> Builder, record as fn(&Network) -> String, &Ask::ALL);
        Row { fault, builder, url, asks, warm: false, body: 0, outcome, arrives: false }
    }

    /// The origin sees every try.
    fn arriving(self) -> Row {
        Row { arrives: true, ..self }
    }

    /// Every caller sends everything, each in a network of its own, side by side.
    fn is_survived(&self) {
        thread::scope(|scope| {
            for caller in Caller::ALL {
                for &ask in self.asks {
                    scope.spawn(move || self.meets(caller, ask));
                }
            }
        });
    }

    fn meets(&self, caller: Caller, ask: Ask) {
        let network = network();
        let client = caller.build((self.builder)(&network)).unwrap();
        let url = (self.url)(&network);
        if self.warm {
            let healthy = Request::get(&url.replace("/sink/record", "/rows/warm"));
            caller.send(&client, &healthy).expect("nothing is wrong yet");
        }
        network.reset_counts();
        network.inject(self.fault.clone());
        let mut request = ask.request(&url);
        if self.body > 0 && ask != Ask::Get {
            request = request.body(vec![b'x'; self.body]);
        }
        let outcome = (self.outcome)(ask);
        let error = fails_as(caller, &client, &request, DEADLINE, outcome);
        let case = format!("{caller:?}, {ask:?}, {:?}: {error}", self.fault);
        assert!(error.host().is_some_and(|at| at.starts_with(host(&network))), "{case}");
        let attempts = u64::from(outcome.attempts);
        let counts = network.counts();
        assert_eq!(counts.origins.requests, if self.arrives { attempts } else { 0 }, "{case}");
        assert_eq!(client.stats().retries, attempts - 1, "{case}");
        // A try is at most one connection, besides the warm one.
        assert!(counts.proxy.total <= attempts, "{case}");
        recovers(&client, &network);
        for write in network.sink() {
            assert!(write.applied <= 1 && write.bodies.len() <= 1, "{case}: {write:?}");
            assert!(ask == Ask::Keyed || write.attempts <= 1, "{case}: {write:?}");
        }
    }
}

#[test]
fn t1_a_target_that_refuses_is_an_error_of_its_own_and_nothing_was_sent() {
    Row::new(Fault::RefuseAll, |_| unsent(Reason::ConnectRefused, 2)).is_survived();
}

#[test]
fn t2_t22_a_target_that_swallows_every_syn_ends_each_try_in_its_time() {
    Row::new(Fault::Blackhole, |_| unsent(Reason::ConnectTimeout, 2)).is_survived();
}

/// A write over TLS to whoever resets connections as soon as they stand: no byte of it has left, whatever the kernel's
/// buffers hold. The reset is seen in the handshake, or a moment before it.
#[track_caller]
fn is_reset_before_it_is_sent(caller: Caller, client: &Client, url: &str, ask: Ask) {
    let begun = Instant::now();
    let error = caller.send(client, &ask.request(url)).expect_err("everybody is reset");
    assert!(matches!(error.reason(), Reason::TlsClosed | Reason::ConnectReset), "{error}");
    assert_eq!((error.delivery(), error.attempts()), (Delivery::NotSent, 2), "{error}");
    assert!(begun.elapsed() < DEADLINE + BOUNDED, "{error}");
}

#[test]
fn t3_a_connection_reset_before_a_byte_of_the_request_left_was_not_sent() {
    for caller in Caller::ALL {
        for ask in Ask::ALL {
            let network = network();
            let client = caller.build(hasty(&network)).unwrap();
            network.inject(Fault::ResetOnAccept);
            is_reset_before_it_is_sent(caller, &client, &secure(&network, "/sink/record"), ask);
            // Two tries of one dial each, or of two where the addresses were looked up again.
            assert!((2..=4).contains(&network.counts().proxy.reset), "{:?}", network.counts().proxy);
            assert_eq!(network.counts().origins.requests, 0);
            recovers(&client, &network);
        }
    }
}

#[test]
fn t4_an_answer_that_is_lost_leaves_no_silent_second_write() {
    Row::new(Fault::AckLost, |ask| ask.lost(Reason::ConnectClosed, 2)).arriving().is_survived();
    Row::new(Fault::AckLostReset, |ask| ask.lost(Reason::ConnectReset, 2)).arriving().is_survived();
    let peer = Row::new(Fault::EarlyClose, |ask| ask.lost(Reason::ConnectClosed, 2)).arriving();
    Row { url: scripted, ..peer }.is_survived();
    // The sink itself dies, after the effect.
    let sink = Row::new(Fault::ApplyThenDie, |ask| ask.lost(Reason::ConnectClosed, 1)).arriving();
    Row { asks: &[Ask::Post], ..sink }.is_survived();
}

#[test]
fn t5_an_answer_cut_in_its_head_or_body_is_never_complete_and_a_write_is_not_repeated() {
    // Of half a head there is nothing to hand out: it counts as none.
    Row::new(Fault::ResetMidAnswer(20), |ask| ask.lost(Reason::ConnectReset, 2)).arriving().is_survived();
    Row::new(Fault::CloseMidAnswer(20), |ask| ask.lost(Reason::ProtocolIncomplete, 2)).arriving().is_survived();
    for fault in [Fault::ResetMidAnswer(30_000), Fault::CloseMidAnswer(30_000)] {
        let row = Row::new(fault, |ask| ask.broken(Reason::ProtocolIncomplete, 2)).arriving();
        Row { url: |network| http(network, "/bytes/100000"), ..row }.is_survived();
    }
    let peer = Row::new(Fault::WriteThenReset, |ask| ask.broken(Reason::ProtocolIncomplete, 2)).arriving();
    Row { url: scripted, ..peer }.is_survived();
}

#[test]
fn t6_a_peer_that_vanishes_while_its_answer_is_awaited_is_given_up() {
    let row = Row::new(Fault::HalfOpen, |ask| ask.lost(Reason::TimeoutStalled, 2));
    Row { warm: true, ..row }.is_survived();
    // Over TLS the second try, on a new connection, does not even get through its handshake.
    let row = Row::new(Fault::HalfOpen, |ask| ask.lost(Reason::TlsTimeout, 2));
    Row { warm: true, url: |network| secure(network, "/sink/record"), ..row }.is_survived();
}

#[test]
fn t10_an_answer_that_trickles_below_the_least_progress_is_stalled() {
    // Less than a byte for each stall.
    let builder = |network: &Network| hasty(network).stall_timeout(Duration::from_millis(400));
    let row = Row::new(Fault::Drip(1), |ask| ask.lost(Reason::TimeoutStalled, 2)).arriving();
    Row { builder, ..row }.is_survived();
    // It moves, and less than it must.
    let builder =
        |network: &Network| hasty(network).stall_timeout(Duration::from_millis(400)).option("min_progress", "1KiB");
    let row = Row::new(Fault::Drip(200), |ask| ask.lost(Reason::TimeoutStalled, 2)).arriving();
    Row { builder, ..row }.is_survived();
    let body = Row::new(Fault::SlowBody(20), |ask| ask.broken(Reason::TimeoutStalled, 2)).arriving();
    Row { builder, url: scripted, ..body }.is_survived();
}

#[test]
fn t11_an_upload_that_nobody_reads_is_given_up_and_no_half_of_it_is_a_write() {
    // More than all the buffers on the way can hold.
    let row = Row::new(Fault::StallUpload, |ask| ask.lost(Reason::TimeoutStalled, 2));
    Row { body: 32 << 20, ..row }.is_survived();
}

#[test]
fn t7_a_connection_dropped_in_silence_costs_a_get_a_stall_and_a_post_its_certainty() {
    for caller in Caller::ALL {
        let network = network();
        let client = caller.build(hasty(&network)).unwrap();
        for (ask, path) in [(Ask::Get, "/rows/1"), (Ask::Keyed, "/sink/keyed"), (Ask::Post, "/sink/once")] {
            get(&client, &http(&network, "/rows/1"));
            network.reset_counts();
            network.inject(Fault::IdleDrop(200));
            // What the way forgets it tells nobody: only its time can be waited for.
            thread::sleep(Duration::from_millis(400));
            let request = ask.request(&http(&network, path));
            if ask == Ask::Post {
                fails_as(caller, &client, &request, DEADLINE, ask.lost(Reason::TimeoutStalled, 1));
                assert!(network.sink().is_empty(), "it never came");
            } else {
                let answer = caller.send(&client, &request).unwrap();
                assert_eq!((answer.trace().attempts, answer.trace().reused), (2, false), "{caller:?}, {ask:?}");
                assert_eq!(seen(&network, path).len(), 1, "{caller:?}, {ask:?}");
            }
            recovers(&client, &network);
        }
    }
}

#[test]
fn t7_who_closes_before_the_way_forgets_never_notices() {
    for caller in Caller::ALL {
        let network = network();
        let client = caller.build(hasty(&network).max_idle(Duration::from_millis(50))).unwrap();
        network.inject(Fault::IdleDrop(500));
        for turn in 1..=3 {
            let sent = caller.send(&client, &Request::post(&http(&network, &format!("/sink/{turn}"))).body("once"));
            assert_eq!(sent.unwrap().trace().attempts, 1, "{caller:?}");
            eventually("the idle connection is closed", || network.counts().proxy.live == 0);
        }
        assert_eq!((client.stats().expired, client.stats().retries, client.stats().failures), (3, 0, 0), "{caller:?}");
        recovers(&client, &network);
    }
}

/// Sends many at once, half of them writes over TLS, of which nothing can leave before a connection stands.
fn many_at_once(network: &Network, client: &Client, callers: usize, each: usize) {
    thread::scope(|scope| {
        for turn in 0..callers {
            scope.spawn(move || {
                let caller = Caller::ALL[turn % 2];
                for row in 0..each {
                    let (read, write) = (format!("/rows/{turn}-{row}"), format!("/sink/{turn}-{row}"));
                    let requests =
                        [Request::get(&http(network, &read)), Request::post(&secure(network, &write)).body("once")];
                    for request in requests {
                        let answer = caller.send(client, &request);
                        let answer = answer.unwrap_or_else(|error| panic!("{caller:?}, row {row}: {error}"));
                        assert!(answer.is_success(), "{answer:?}");
                    }
                }
            });
        }
    });
    let writes = network.sink();
    assert_eq!(writes.len(), callers * each);
    assert!(writes.iter().all(|write| (write.attempts, write.applied) == (1, 1)), "nothing came twice");
}

#[test]
fn t14_a_proxy_that_resets_what_is_above_its_cap_is_learned_and_no_call_fails() {
    let proxy = ProxyPlan { cap: Some(4), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    let network = start(Plan { proxy, ..Plan::default() });
    let client = client(&network).max_connections(12_usize).max_attempts(10_usize).retry_budget(1000_usize);
    let client = client.backoff_max(Duration::from_millis(200)).build().unwrap();
    many_at_once(&network, &client, 12, 25);
    let counts = network.counts().proxy;
    assert!(counts.peak <= 4 && counts.reset > 0, "{counts:?}");
    // Without learning, every third dial would be turned away.
    assert!(counts.reset <= 60, "{counts:?}");
    recovers(&client, &network);
}

#[test]
fn t15_a_proxy_that_lets_wait_what_is_above_its_cap_is_waited_for() {
    let proxy = ProxyPlan { cap: Some(4), over_cap: OverCap::Queue, ..ProxyPlan::default() };
    let network = start(Plan { proxy, ..Plan::default() });
    let client = client(&network).max_connections(4_usize).build().unwrap();
    many_at_once(&network, &client, 12, 25);
    let counts = network.counts().proxy;
    assert!(counts.peak <= 4, "{counts:?}");
    recovers(&client, &network);
}

#[test]
fn t15_a_place_in_the_proxy_s_queue_that_never_comes_free_ends_in_the_handshake_s_time() {
    let row = Row::new(Fault::Cap(0, OverCap::Queue), |_| unsent(Reason::TlsTimeout, 2));
    Row { url: |network| secure(network, "/sink/record"), ..row }.is_survived();
}

#[test]
fn t15_a_proxy_that_answers_503_or_429_above_its_cap_is_obeyed() {
    let obeyed = |caller: Caller, status: u16| {
        let network = network();
        let client = caller.build(client(&network).backoff_max(Duration::from_millis(20))).unwrap();
        let path = format!("/status/{status}");
        let begun = Instant::now();
        let url = http(&network, &format!("{path}?times=1&retry_after=1"));
        let answer = caller.send(&client, &Request::get(&url)).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 2), "{caller:?}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "it came back too early");
        assert_eq!(seen(&network, &path).len(), 2);
        // Whether a write without a key may be sent again is its caller's to say.
        let url = http(&network, &format!("{path}?times=1&write"));
        assert_eq!(caller.send(&client, &Request::post(&url)).unwrap().status(), status);
        assert_eq!(seen(&network, &path).len(), 3);
        recovers(&client, &network);
    };
    thread::scope(|scope| {
        for caller in Caller::ALL {
            for status in [503, 429] {
                scope.spawn(move || obeyed(caller, status));
            }
        }
    });
}

/// Longer than the `max_age` of these tests: the next call dials.
fn grow_old() {
    thread::sleep(Duration::from_millis(12));
}

/// Two addresses for one name, both working.
fn two_addresses() -> Network {
    let proxy_ips = vec![Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    start(Plan { proxy_ips, ..Plan::default() })
}

#[test]
fn t17_addresses_that_come_and_go_by_turns_fail_no_call() {
    for caller in Caller::ALL {
        let network = two_addresses();
        let builder = client(&network).max_age(Duration::from_millis(10)).sideline(Duration::from_millis(100));
        let client = caller.build(builder).unwrap();
        for turn in 1..=6 {
            let (down, up) = if turn % 2 == 0 { ("127.0.0.1", 2) } else { ("127.0.0.2", 1) };
            network.heal();
            network.inject_for(Fault::RefuseAll, down);
            for row in 0..3 {
                let path = format!("/sink/{turn}-{row}");
                let answer = caller.send(&client, &Request::post(&http(&network, &path)).body("once")).unwrap();
                assert_eq!(answer.status(), 201);
                assert_eq!(last_seen(&network).dialled.ip(), Ipv4Addr::new(127, 0, 0, up), "{caller:?}");
                grow_old();
            }
        }
        assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (1, 1)));
        assert_eq!((client.stats().failures, client.stats().retries), (0, 0), "{caller:?}");
        recovers(&client, &network);
    }
}

#[test]
fn t18_a_whitelist_that_ends_in_the_middle_of_a_job_is_seen_as_what_it_does() {
    for caller in Caller::ALL {
        for fault in [Fault::ResetOnAccept, Fault::Blackhole] {
            let network = two_addresses();
            let builder = hasty(&network).option("protocol", "http1").max_age(Duration::from_millis(10));
            let client = caller.build(builder).unwrap();
            let url = secure(&network, "/sink/record");
            get(&client, &secure(&network, "/rows/1"));
            grow_old();
            // One address that still lets us in is enough, and is found within the call.
            network.inject_for(fault.clone(), "127.0.0.1");
            for row in 0..4 {
                let path = format!("/sink/{row}");
                let answer = caller.send(&client, &Request::post(&secure(&network, &path)).body("once"));
                let answer = answer.unwrap_or_else(|error| panic!("{caller:?}, {fault:?}: {error}"));
                assert_eq!((answer.status(), answer.trace().attempts), (201, 1), "{caller:?}, {fault:?}");
                assert_eq!(last_seen(&network).dialled.ip(), Ipv4Addr::new(127, 0, 0, 2));
                grow_old();
            }
            // None that does: an error, after so many tries and no more.
            network.inject(fault.clone());
            network.reset_counts();
            if fault == Fault::Blackhole {
                fails_as(caller, &client, &Ask::Post.request(&url), DEADLINE, unsent(Reason::ConnectTimeout, 2));
            } else {
                is_reset_before_it_is_sent(caller, &client, &url, Ask::Post);
            }
            // Two tries at two addresses, and what the stagger adds.
            assert!(network.counts().proxy.total <= 4, "{fault:?}: {:?}", network.counts().proxy);
            assert_eq!(network.counts().origins.requests, 0);
            recovers(&client, &network);
        }
    }
}

#[test]
fn t19_a_narrow_way_takes_its_time_and_is_not_taken_for_a_stall() {
    let through = |caller: Caller, request: fn(&Network) -> Request| {
        let network = network();
        let client = caller.build(client(&network).stall_timeout(Duration::from_millis(2000))).unwrap();
        // A megabit each second: 4 s, in which a pause of 2 s would be too long.
        network.inject(Fault::Bandwidth(125_000));
        let answer = caller.send(&client, &request(&network)).unwrap_or_else(|error| panic!("{caller:?}: {error}"));
        assert!(answer.is_success() && answer.trace().attempts == 1, "{caller:?}: {answer:?}");
        assert!(answer.trace().total > Duration::from_secs(3), "the way was not narrow");
        assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (1, 1)));
        recovers(&client, &network);
    };
    thread::scope(|scope| {
        for caller in Caller::ALL {
            scope.spawn(move || through(caller, |network| Request::get(&http(network, "/bytes/500000"))));
            scope.spawn(move || {
                through(caller, |network| Request::post(&http(network, "/sink/upload")).body(vec![b'x'; 500_000]));
            });
        }
    });
}

#[test]
fn t21_a_way_that_is_there_and_gone_by_turns_delays_calls_and_fails_none() {
    for caller in Caller::ALL {
        let network = network();
        let client = caller.build(client(&network)).unwrap();
        network.inject(Fault::Flap(150));
        for row in 0..8 {
            let read = Request::get(&http(&network, &format!("/rows/{row}")));
            let write = Request::post(&http(&network, &format!("/sink/{row}"))).body("once");
            for request in [read, write] {
                let answer = caller.send(&client, &request).unwrap();
                assert!(answer.is_success() && answer.trace().attempts == 1, "{caller:?}: {answer:?}");
            }
        }
        assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (1, 1)));
        assert_eq!(network.counts().proxy.total, 1, "nobody dials anew for a pause");
        recovers(&client, &network);
    }
}
