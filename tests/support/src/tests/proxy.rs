//! The proxy: its cap, its counts and what it does to connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{PATIENCE, again, at, dial, eventually, exchange, get, post, start};
use crate::{Fault, Network, OverCap, Plan, ProxyPlan};

const REQUEST: &str = "GET /bytes/5 HTTP/1.1\r\nHost: kms.box.test\r\nConnection: close\r\n\r\n";

fn capped(cap: usize, over_cap: OverCap) -> Network {
    start(Plan { proxy: ProxyPlan { cap: Some(cap), over_cap, ..ProxyPlan::default() }, ..Plan::default() })
}

fn error(ended: std::io::Result<()>) -> Option<ErrorKind> {
    ended.err().map(|error| error.kind())
}

/// As many connections as asked for, each having had an answer.
fn warm(network: &Network, n: usize) -> Vec<TcpStream> {
    (0..n)
        .map(|_| {
            let mut stream = dial(at(network.http()));
            again(&mut stream).expect("an answer");
            stream
        })
        .collect()
}

#[test]
fn above_the_cap_connections_are_closed() {
    let network = capped(2, OverCap::Refuse);
    let mut held = warm(&network, 2);
    let mut turned_away = dial(at(network.http()));
    assert_eq!(turned_away.read(&mut [0; 1]).expect("FIN"), 0);
    let counts = network.counts().proxy;
    assert_eq!((counts.live, counts.peak, counts.total, counts.refused, counts.reset), (2, 2, 3, 1, 0));
    drop(held.pop());
    warm(&network, 1);
    assert_eq!(network.counts().proxy.peak, 2);
}

#[test]
fn above_the_cap_connections_are_reset() {
    let network = capped(1, OverCap::Reset);
    let _held = warm(&network, 1);
    // The reset may overtake the end of `connect` itself.
    let failed = match TcpStream::connect(at(network.http())) {
        Ok(mut stream) => stream.read(&mut [0; 1]).err(),
        Err(error) => Some(error),
    };
    assert_eq!(failed.map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    let counts = network.counts().proxy;
    assert_eq!((counts.live, counts.peak, counts.refused, counts.reset), (1, 1, 1, 1));
}

#[test]
fn above_the_cap_connections_wait_their_turn() {
    let network = capped(1, OverCap::Queue);
    let mut held = warm(&network, 1);
    let mut waiting = dial(at(network.http()));
    let gone = dial(at(network.http()));
    eventually("two in the queue", || network.counts().proxy.queued == 2);
    assert_eq!(network.counts().proxy.live, 1);
    drop(gone);
    drop(held.pop());
    again(&mut waiting).expect("its turn");
    drop(waiting);
    warm(&network, 1);
    let counts = network.counts().proxy;
    assert_eq!((counts.peak, counts.refused, counts.queued), (1, 0, 2));
}

#[test]
fn a_client_that_replaces_a_connection_is_never_counted_twice() {
    let network = capped(1, OverCap::Refuse);
    for _ in 0..300 {
        let mut stream = dial(at(network.http()));
        again(&mut stream).expect("let in");
    }
    let counts = network.counts().proxy;
    assert_eq!((counts.peak, counts.total, counts.refused), (1, 300, 0));
}

#[test]
fn the_cap_can_change_at_run_time_and_the_peak_starts_again() {
    let network = start(Plan::default());
    let held = warm(&network, 3);
    network.reset_counts();
    let counts = network.counts().proxy;
    assert_eq!((counts.live, counts.peak, counts.total), (3, 3, 0));
    network.inject(Fault::Cap(3, OverCap::Queue));
    let mut waiting = dial(at(network.http()));
    eventually("one in the queue", || network.counts().proxy.queued == 1);
    network.inject(Fault::Cap(4, OverCap::Queue));
    again(&mut waiting).expect("its turn");
    assert_eq!(network.counts().proxy.peak, 4);
    drop((held, waiting));
    assert_eq!(network.counts().proxy.live, 0);
}

#[test]
fn idle_connections_are_cut_busy_ones_are_not() {
    let network = start(Plan::default());
    let mut streams = warm(&network, 2);
    network.inject(Fault::IdleCut(1500));
    let begun = Instant::now();
    let (mut busy, mut idle) = (streams.remove(0), streams.remove(0));
    while network.counts().proxy.idle_cut == 0 && begun.elapsed() < PATIENCE {
        again(&mut busy).expect("busy is not idle");
    }
    assert_eq!(idle.read(&mut [0; 1]).expect("FIN"), 0);
    assert_eq!(network.counts().proxy.live, 1);
}

#[test]
fn a_dead_address_and_a_blackhole_swallow_syns() {
    let dead = Ipv4Addr::new(127, 0, 0, 7);
    let network = start(Plan { dead_ips: vec![dead], ..Plan::default() });
    let probe = |at: SocketAddr| TcpStream::connect_timeout(&at, Duration::from_millis(60)).map_err(|e| e.kind());
    for _ in 0..3 {
        assert_eq!(probe(SocketAddr::from((dead, network.http()))).err(), Some(ErrorKind::TimedOut));
    }
    let mut warm = warm(&network, 1);
    network.inject(Fault::Blackhole);
    assert_eq!(probe(at(network.http())).err(), Some(ErrorKind::TimedOut));
    again(&mut warm[0]).expect("old connections go on");
    network.heal();
    assert!(get(at(network.http()), "/bytes/5").ends_with("\0\u{1}\u{2}\u{3}\u{4}"));
}

#[test]
fn closed_ports_refuse_until_healed() {
    let second = Ipv4Addr::new(127, 0, 0, 2);
    let network = start(Plan { proxy_ips: vec![Ipv4Addr::LOCALHOST, second], ..Plan::default() });
    network.inject_for(Fault::RefuseAll, "127.0.0.1");
    let refused = TcpStream::connect(at(network.http())).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    assert!(get(SocketAddr::from((second, network.http())), "/bytes/1").starts_with("HTTP/1.1 200"));
    assert_eq!(network.seen()[0].dialled.ip(), second);
    network.heal();
    assert!(get(at(network.http()), "/bytes/1").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_lost_ack_is_an_applied_write_without_an_answer() {
    let network = start(Plan::default());
    for (fault, ending) in [(Fault::AckLost, None), (Fault::AckLostReset, Some(ErrorKind::ConnectionReset))] {
        network.reset_counts();
        network.inject_times(fault, 1);
        let write = "POST /sink/r1 HTTP/1.1\r\nHost: kms.box.test\r\nContent-Length: 2\r\n\r\nhi";
        let (answer, ended) = exchange(at(network.http()), write);
        assert_eq!((answer.as_str(), error(ended)), ("", ending));
        let sink = network.sink();
        assert_eq!((sink[0].attempts, sink[0].applied, sink[0].key.as_deref()), (1, 1, None));
        assert!(post(at(network.http()), "/sink/r2", "", "hi").starts_with("HTTP/1.1 201"), "one hit only");
    }
}

#[test]
fn connections_break_in_the_middle() {
    let network = start(Plan::default());
    let http = at(network.http());
    network.inject_times(Fault::ResetMidAnswer(20), 1);
    let (answer, ended) = exchange(http, REQUEST);
    assert_eq!((answer.len(), error(ended)), (20, Some(ErrorKind::ConnectionReset)));
    network.inject_times(Fault::CloseMidAnswer(20), 1);
    let (answer, ended) = exchange(http, REQUEST);
    assert_eq!((answer.len(), error(ended)), (20, None));
    network.inject_times(Fault::ResetAfterRequest(10), 1);
    let (answer, ended) = exchange(http, REQUEST);
    assert_eq!((answer.as_str(), error(ended)), ("", Some(ErrorKind::ConnectionReset)));
    network.inject_times(Fault::ResetOnAccept, 1);
    let failed = TcpStream::connect(http).and_then(|mut stream| stream.read(&mut [0; 1]));
    assert_eq!(failed.map_err(|error| error.kind()).err(), Some(ErrorKind::ConnectionReset));
    assert!(get(http, "/bytes/5").starts_with("HTTP/1.1 200"));
    assert_eq!(network.counts().proxy.reset, 3);
}

#[test]
fn held_connections_go_on_when_healed() {
    let network = start(Plan::default());
    for fault in [Fault::HalfOpen, Fault::StallUpload] {
        let mut stream = warm(&network, 1).remove(0);
        network.inject(fault);
        let requests = network.counts().origins.requests;
        stream.write_all(REQUEST.as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(60))).expect("a timeout");
        assert!(stream.read(&mut [0; 1]).is_err(), "held");
        assert_eq!(network.counts().origins.requests, requests, "nothing went through");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        network.heal();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer");
        assert!(answer.starts_with("HTTP/1.1 200"));
    }
    // A held connection whose client leaves gives its place back.
    network.inject(Fault::HalfOpen);
    drop(dial(at(network.http())));
    eventually("no live connection", || network.counts().proxy.live == 0);
}

#[test]
fn latency_bandwidth_and_drip_take_their_time() {
    let network = start(Plan::default());
    let timed = |path: &str| {
        let begun = Instant::now();
        let answer = get(at(network.http()), path);
        assert!(answer.starts_with("HTTP/1.1 200"));
        (begun.elapsed(), answer.len())
    };
    network.inject(Fault::Latency(40));
    let (took, _) = timed("/bytes/5");
    assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(2), "{took:?}");
    network.heal();
    network.inject(Fault::Bandwidth(1_000_000));
    let (took, _) = timed("/bytes/100000");
    assert!(took >= Duration::from_millis(90) && took < Duration::from_secs(2), "{took:?}");
    network.heal();
    network.inject(Fault::Drip(1000));
    let (took, bytes) = timed("/bytes/5");
    assert!(took >= Duration::from_millis(bytes as u64 * 9 / 10), "{took:?} for {bytes} bytes");
}

#[test]
fn an_idle_connection_can_be_forgotten_without_a_word() {
    let network = start(Plan::default());
    let mut stream = warm(&network, 1).remove(0);
    network.inject_times(Fault::IdleDrop(20), 1);
    eventually("a hit", || network.faults().is_empty());
    network.heal();
    stream.write_all(REQUEST.as_bytes()).expect("sent into the void");
    stream.set_read_timeout(Some(Duration::from_millis(60))).expect("a timeout");
    assert!(stream.read(&mut [0; 1]).is_err(), "neither an answer nor an end");
    let counts = network.counts();
    assert_eq!((counts.origins.requests, counts.proxy.live, counts.proxy.idle_cut), (1, 1, 0));
    warm(&network, 1);
    drop(stream);
    eventually("the forgotten to leave", || network.counts().origins.live == 0);
    assert_eq!(network.counts().proxy.live, 0);
}

#[test]
fn a_flapping_proxy_forwards_by_turns() {
    let network = start(Plan::default());
    let mut stream = warm(&network, 1).remove(0);
    network.inject(Fault::Flap(100));
    let (mut quick, mut slow) = (0, 0);
    while quick == 0 || slow == 0 {
        let begun = Instant::now();
        again(&mut stream).expect("late or not");
        if begun.elapsed() < Duration::from_millis(50) { quick += 1 } else { slow += 1 }
    }
    assert_eq!(network.faults().len(), 1);
}
