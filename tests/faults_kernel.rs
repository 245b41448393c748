//! FAULTS section 2, those rows that the kernel makes: ports and descriptors that run out, packets that are lost, great
//! ones that never arrive, a backlog that overflows, and a socket that is killed under a request.
//!
//! Each of these tests runs in a process of its own. Where it changes ports or packets it has a network namespace of
//! its own too, so that nobody else notices (`unshare`, `ip`, `nft` and `ss`; no right of root is needed outside it).
//! The rest of the section is in `faults_tcp.rs`.

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::survival::{Ask, Caller, fails_as, recovers, unsent};
use common::*;
use pinlink::{Builder, Client, Reason, Request, Response, Result};
use pinlink_box::Network;
use socket2::{Domain, SockAddr, Socket, Type};

/// Enough for a busy machine, little enough for a test.
const DEADLINE: Duration = Duration::from_millis(2000);

fn hasty(network: &Network) -> Builder {
    client(network).timeout(DEADLINE).max_attempts(2_usize).backoff_max(Duration::from_millis(5))
}

/// Sends the same from so many threads at once.
fn all_at_once(client: &Client, count: usize, url: &str) -> Vec<Result<Response>> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count)
            .map(|turn| scope.spawn(move || Caller::ALL[turn % 2].send(client, &Request::get(url))))
            .collect();
        calls.into_iter().map(|call| call.join().expect("no call panics")).collect()
    })
}

#[test]
fn t12_a_machine_without_a_free_port_says_so_and_reuse_needs_none() {
    if !apart("t12_a_machine_without_a_free_port_says_so_and_reuse_needs_none") {
        return;
    }
    let network = network();
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20009").expect("the namespace is ours");
    let warm = hasty(&network).build().unwrap();
    get(&warm, &http(&network, "/rows/1"));
    let target = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], network.http())));
    let mut held = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Closed by a reset: its port is free at once.
        socket.set_linger(Some(Duration::ZERO)).expect("a socket takes its options");
        match socket.connect(&target) {
            Ok(()) => held.push(socket),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..10).contains(&held.len()), "ten ports and one in use: {}", held.len());
    eventually("the proxy has accepted them", || network.counts().proxy.live == held.len() as u64 + 1);
    let fresh = hasty(&network).build().unwrap();
    let before = network.counts();
    for caller in Caller::ALL {
        for ask in Ask::ALL {
            let request = ask.request(&http(&network, "/sink/never"));
            let error = fails_as(caller, &fresh, &request, DEADLINE, unsent(Reason::ConnectLocalPorts, 2));
            assert!(error.address().is_some(), "{error}");
        }
        // Whoever has a connection needs no other.
        for row in 0..20 {
            get(&warm, &http(&network, &format!("/rows/{row}")));
        }
    }
    assert_eq!((warm.stats().dials, network.counts().proxy.total), (1, before.proxy.total));
    assert!(network.sink().is_empty());
    assert_eq!(network.counts().dns, before.dns, "it is no fault of the addresses: nobody looks for others");
    held.clear();
    // The proxy needs ports as well, and its own are not free at once.
    eventually("everybody has ports again", || fresh.send(&Request::get(&http(&network, "/rows/1"))).is_ok());
    assert_whole(&fresh, &network);
    assert_whole(&warm, &network);
    eventually("everybody has one connection", || network.counts().proxy.live == 2);
}

/// What a process does whose descriptors have run out.
fn without_descriptors(addresses: &pinlink_box::Addresses) {
    let builder = client_at(addresses).max_attempts(2_usize).backoff_max(Duration::from_millis(5)).timeout(DEADLINE);
    for caller in Caller::ALL {
        let warm = builder.clone().build().unwrap();
        get(&warm, &http_at(addresses, "/rows/1"));
        let fresh = builder.clone().build().unwrap();
        // Whatever a look-up or a runtime opens once is open now.
        get(&fresh, &secure_at(addresses, "/rows/1"));
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        for ask in Ask::ALL {
            let request = ask.request(&http_at(addresses, "/sink/never"));
            fails_as(caller, &fresh, &request, DEADLINE, unsent(Reason::ConnectResource, 2));
        }
        // Connections that there are work on.
        get(&warm, &http_at(addresses, "/rows/2"));
        assert_eq!(warm.stats().dials, 1);
        drop(taken);
        // It was no fault of the addresses, so no look-up has failed meanwhile that would be remembered.
        get(&fresh, &http_at(addresses, "/rows/3"));
        let stats = fresh.stats();
        assert_eq!((stats.connections_live, stats.connections_idle), (2, 2), "{stats:?}");
    }
}

#[test]
fn t13_a_process_without_a_free_descriptor_says_so_and_goes_on_when_it_has_one() {
    const NAME: &str = "t13_a_process_without_a_free_descriptor_says_so_and_goes_on_when_it_has_one";
    if let Some(addresses) = outer() {
        return without_descriptors(&addresses);
    }
    let network = network();
    alone(&["prlimit", "--nofile=128", "--"], NAME, &network);
    assert!(network.sink().is_empty());
    eventually("everything is closed", || network.counts().proxy.live == 0);
}

#[test]
fn t20_lost_packets_cost_time_and_no_second_request() {
    if !apart("t20_lost_packets_cost_time_and_no_second_request") {
        return;
    }
    let network = network();
    let port = network.http();
    run("nft add table ip loss");
    run("nft add chain ip loss in { type filter hook input priority 0 ; }");
    run(&format!("nft add rule ip loss in tcp dport {port} numgen random mod 100 < 10 counter drop"));
    run(&format!("nft add rule ip loss in tcp sport {port} numgen random mod 100 < 10 counter drop"));
    let client = client(&network).max_age(Duration::from_millis(200)).build().unwrap();
    thread::scope(|scope| {
        for turn in 0..8 {
            let (client, network, caller) = (&client, &network, Caller::ALL[turn % 2]);
            scope.spawn(move || {
                for row in 0..6 {
                    let (large, record) =
                        (format!("/bytes/{}", 50_000 + 10 * turn + row), format!("/sink/{turn}-{row}"));
                    let answer = caller.send(client, &Request::get(&http(network, &large))).unwrap();
                    assert_eq!(answer.body().len(), 50_000 + 10 * turn + row);
                    assert_eq!(seen(network, &large).len(), 1);
                    let write = Request::post(&http(network, &record)).body(vec![b'x'; 20_000]);
                    assert_eq!(caller.send(client, &write).unwrap().status(), 201);
                }
            });
        }
    });
    let lost = run("nft list table ip loss");
    assert!(!lost.contains("packets 0 "), "nothing was lost: {lost}");
    let writes = network.sink();
    assert_eq!(writes.len(), 48);
    assert!(writes.iter().all(|write| (write.attempts, write.applied) == (1, 1)), "{writes:?}");
    assert_eq!((client.stats().retries, client.stats().failures), (0, 0));
    run("nft delete table ip loss");
    recovers(&client, &network);
}

#[test]
fn t23_a_way_that_swallows_great_packets_ends_in_a_typed_error_in_time() {
    if !apart("t23_a_way_that_swallows_great_packets_ends_in_a_typed_error_in_time") {
        return;
    }
    let network = network();
    let (plain, tls) = (network.http(), network.https(pinlink_box::Certificate::Right));
    run("nft add table ip hole");
    run("nft add chain ip hole in { type filter hook input priority 0 ; }");
    let rule = format!("nft add rule ip hole in tcp dport {{ {plain}, {tls} }} meta length > 1400 counter drop");
    run(&rule);
    run(&rule.replace("dport", "sport"));
    let builder =
        hasty(&network).stall_timeout(Duration::from_millis(300)).handshake_timeout(Duration::from_millis(300));
    for caller in Caller::ALL {
        let client = caller.build(builder.clone()).unwrap();
        // Small packets come through: the connection stands, and the request is small.
        get(&client, &http(&network, "/rows/1"));
        for ask in Ask::ALL {
            let url = if ask == Ask::Get { http(&network, "/bytes/20000") } else { http(&network, "/sink/great") };
            let mut request = ask.request(&url);
            if ask != Ask::Get {
                request = request.body(vec![b'x'; 20_000]);
            }
            network.reset_counts();
            let mut failure = ask.lost(Reason::TimeoutStalled, 2);
            if ask == Ask::Get {
                // The head may be small enough to come alone.
                let error = caller.send(&client, &request).expect_err("the answer is great");
                assert_eq!((error.reason(), error.attempts()), (Reason::TimeoutStalled, 2), "{error}");
                failure.delivery = error.delivery();
            }
            fails_as(caller, &client, &request, DEADLINE, failure);
            assert!(network.sink().iter().all(|write| write.applied == 0), "half a body is no write");
        }
    }
    let dropped = run("nft list table ip hole");
    assert!(!dropped.contains("counter packets 0 bytes 0 drop\n\t\ttcp sport"), "{dropped}");
    // The flight of the server with its certificate is what a real hole swallows.
    run("nft flush chain ip hole in");
    run(&format!("nft add rule ip hole in tcp sport {tls} meta length > 400 counter drop"));
    for caller in Caller::ALL {
        let client = caller.build(builder.clone()).unwrap();
        for ask in Ask::ALL {
            let request = ask.request(&secure(&network, "/sink/never"));
            fails_as(caller, &client, &request, DEADLINE, unsent(Reason::TlsTimeout, 2));
        }
        assert_eq!(client.stats().connections_live, 0);
    }
    run("nft delete table ip hole");
    assert!(network.sink().iter().all(|write| write.applied == 0));
    // What the kernel still tries to send of closed connections may come now, and is nobody's any more.
    assert_whole(&builder.build().unwrap(), &network);
}

#[test]
fn t25_a_socket_killed_under_a_request_is_a_lost_connection() {
    if !apart("t25_a_socket_killed_under_a_request_is_a_lost_connection") {
        return;
    }
    for caller in Caller::ALL {
        for ask in Ask::ALL {
            let network = network();
            let client = caller.build(hasty(&network).max_attempts(1_usize)).unwrap();
            get(&client, &http(&network, "/rows/1"));
            network.reset_counts();
            let (url, port) = (http(&network, "/delay/60000"), network.http());
            thread::scope(|scope| {
                let call = scope.spawn(|| {
                    let failure = ask.lost(Reason::ConnectReset, 1);
                    fails_as(caller, &client, &ask.request(&url), DEADLINE, failure);
                });
                eventually("the request has arrived", || network.counts().origins.requests == 1);
                run(&format!("ss --kill --tcp state established dport = :{port}"));
                call.join().expect("it fails as it must");
            });
            let stats = client.stats();
            assert_eq!((stats.connections_live, stats.connections_idle), (0, 0), "the place is free again");
            assert_eq!(seen(&network, "/delay/60000").len(), 1, "{caller:?}, {ask:?}");
            recovers(&client, &network);
        }
    }
}

/// A small server: a backlog of one, one thread, and an answer to each request after a moment.
struct Small {
    address: SocketAddr,
    live: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
    listener: Arc<Socket>,
}

impl Small {
    fn start() -> Small {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port is free");
        listener.listen(1).expect("it listens");
        let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("it has an address");
        let small = Small { address, live: Arc::default(), peak: Arc::default(), listener: Arc::new(listener) };
        let (listener, live, peak) = (Arc::clone(&small.listener), Arc::clone(&small.live), Arc::clone(&small.peak));
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (live, peak) = (Arc::clone(&live), Arc::clone(&peak));
                peak.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::spawn(move || {
                    serve(&mut TcpStream::from(socket));
                    live.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        small
    }
}

/// Answers requests without a body until the client closes.
fn serve(stream: &mut TcpStream) {
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => asked.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        if asked.ends_with(b"\r\n\r\n") {
            asked.clear();
            thread::sleep(Duration::from_millis(2));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall").is_err() {
                return;
            }
        }
    }
}

#[test]
fn t22_a_small_server_is_never_met_with_more_than_the_cap() {
    let small = Small::start();
    let url = format!("http://small.test:{}/", small.address.port());
    let client = Client::builder()
        .hosts([&url])
        .pins(["small.test=127.0.0.1"])
        .allow_addresses(["127.0.0.0/8"])
        .max_connections_per_origin(2_usize)
        .build()
        .unwrap();
    for _ in 0..10 {
        let answers = all_at_once(&client, 16, &url);
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(Response::is_success)), "{answers:?}");
    }
    assert!(small.peak.load(Ordering::SeqCst) <= 2);
    let stats = client.stats();
    assert_eq!((stats.failures, stats.retries, stats.dials), (0, 0, 2), "the backlog was never full: {stats:?}");
    client.close();
    let begun = Instant::now();
    eventually("its connections are closed", || small.live.load(Ordering::SeqCst) == 0);
    assert!(begun.elapsed() < BOUNDED);
}
