//! Promise: a client may be inherited over `fork()`. The child starts afresh, with the same pins and not one look-up; it
//! never touches the parent's connections, and the parent goes on as if nothing had happened.
//!
//! The forking process is this test binary, run again with one test and one thread; the network stays in the process that
//! started it, and its records decide: who dialled, on which connection each request came, what was reset.

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{alone, client_at, eventually, http_at, outer, secure_at, start};
use pinlink::{Client, Request, Stats};
use pinlink_box::{Addresses, Network, Plan};

/// Longer than any child here needs, shorter than a build machine's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `child` in a child process; its id.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child is as any program that forks with threads must take it: it runs on this one thread, uses what the
    // library promises to work there and what the C library makes safe (memory, sockets), and leaves with `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork failed: {}", std::io::Error::last_os_error()),
        0 => {
            let outcome = catch_unwind(AssertUnwindSafe(child));
            // SAFETY: ends the child at once, without the parent's handlers and buffers.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => child,
    }
}

/// Waits for a child; one that hangs is killed and fails the test.
fn join(child: libc::pid_t) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let mut status = 0;
        // SAFETY: `status` is one live integer; the id is that of our own child.
        let ended = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if ended == child {
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child failed: status {status:#x}");
            return;
        }
        if Instant::now() > latest {
            // SAFETY: the child is ours and has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Four requests at once to each origin, so that each has four connections.
fn four_each(client: &Client, addresses: &Addresses, who: &str) {
    let urls = [http_at(addresses, "/delay/30"), secure_at(addresses, "/delay/30")];
    let rows = (0..4).flat_map(|_| urls.iter().map(|url| Request::get(&format!("{url}?{who}"))));
    for answer in client.map(&rows.collect::<Vec<_>>()) {
        assert_eq!(answer.expect("a row in flight beside others").status(), 200);
    }
}

fn one_each(client: &Client, addresses: &Addresses, who: &str) {
    for url in [http_at(addresses, "/rows/1"), secure_at(addresses, "/rows/1")] {
        assert_eq!(client.send(&Request::get(&format!("{url}?{who}"))).expect("a single call").status(), 200);
    }
}

/// The connections (by the client's own address) on which a process's requests came.
fn connections(network: &Network, who: &str) -> BTreeSet<SocketAddr> {
    network.seen().iter().filter(|seen| seen.query.as_deref() == Some(who)).map(|seen| seen.client).collect()
}

fn assert_untouched(network: &Network) {
    let counts = network.counts();
    assert_eq!(counts.dns.queries, 1, "one look-up by the parent at init, none by any child");
    assert_eq!((counts.proxy.reset, counts.proxy.refused), (0, 0), "{:?}", counts.proxy);
}

#[test]
fn parent_and_child_both_work_and_the_parent_s_connections_stay() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "parent_and_child_both_work_and_the_parent_s_connections_stay", &network);
        let before = connections(&network, "before");
        assert_eq!(before.len(), 8, "four plain, four over TLS");
        assert_eq!(connections(&network, "during"), before, "while the child was alive");
        assert_eq!(connections(&network, "after"), before, "when it had gone");
        let child = connections(&network, "child");
        assert_eq!(child.len(), 8);
        assert!(child.is_disjoint(&before), "the child's sockets are its own");
        assert_eq!(network.counts().proxy.total, 16);
        assert_eq!(network.counts().origins.handshakes, 8);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).max_connections_per_origin(4).build().unwrap();
    four_each(&client, &addresses, "before");
    let child = fork(|| {
        let empty = client.stats();
        assert_eq!((empty.requests, empty.connections_live), (0, 0), "the child has done nothing yet");
        four_each(&client, &addresses, "child");
        let stats = client.stats();
        assert_eq!((stats.requests, stats.dials, stats.lookups_dns, stats.failures), (8, 8, 0, 0));
        client.close();
    });
    four_each(&client, &addresses, "during");
    join(child);
    four_each(&client, &addresses, "after");
    let stats = client.stats();
    assert_eq!((stats.dials, stats.replaced, stats.retries, stats.failures), (8, 0, 0, 0));
}

#[test]
fn what_was_open_before_a_fork_fails_in_the_child_and_harms_nobody() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "what_was_open_before_a_fork_fails_in_the_child_and_harms_nobody", &network);
        return;
    };
    let (name, port) = (&addresses.plan.names[0], addresses.http);
    let client =
        client_at(&addresses).hosts([http_at(&addresses, ""), format!("tcp://{name}:{port}")]).build().unwrap();
    let mut reader = client.open(&Request::get(&http_at(&addresses, "/bytes/5000000"))).unwrap();
    let mut socket = client.connect(name, port).unwrap();
    let mut first = [0; 1000];
    reader.read_exact(&mut first).unwrap();
    let child = fork(|| {
        // A stranger's descriptors take the numbers that the library's had.
        let strangers: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/zero").unwrap()).collect();
        while reader.chunk().is_ok_and(|piece| piece.is_some()) {}
        assert!(reader.chunk().is_err(), "the rest is the parent's");
        assert!(socket.read(&mut [0; 1]).is_err() && socket.write(b"x").is_err());
        // SAFETY: the child has a copy of its own; what is read here is dropped here only.
        drop(unsafe { (std::ptr::read(&raw const reader), std::ptr::read(&raw const socket)) });
        let mut zeros = [1; 8];
        for mut stranger in &strangers {
            stranger.read_exact(&mut zeros).expect("a stranger's descriptor is still open");
        }
    });
    join(child);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(first.len() + rest.len(), 5_000_000);
    socket.write_all(b"GET /rows/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn fifty_forks_leave_the_parent_on_its_first_connection() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "fifty_forks_leave_the_parent_on_its_first_connection", &network);
        assert_eq!(connections(&network, "parent").len(), 2, "one plain, one over TLS");
        assert_eq!(connections(&network, "child").len(), 2 * 50);
        assert_eq!(network.counts().proxy.total, 2 + 2 * 50);
        eventually("everybody has gone", || network.counts().proxy.live == 0);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).build().unwrap();
    one_each(&client, &addresses, "parent");
    for _ in 0..50 {
        let child = fork(|| one_each(&client, &addresses, "child"));
        one_each(&client, &addresses, "parent");
        join(child);
        one_each(&client, &addresses, "parent");
    }
    assert_eq!(client.stats().dials, 2);
}

#[test]
fn a_fork_amid_other_threads_calls_hangs_nobody() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "a_fork_amid_other_threads_calls_hangs_nobody", &network);
        assert_eq!(connections(&network, "child").len(), 2 * 30);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).max_connections_per_origin(3).build().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    one_each(&client, &addresses, "parent");
                    _ = client.stats();
                }
            });
        }
        for _ in 0..30 {
            join(fork(|| one_each(&client, &addresses, "child")));
        }
        done.store(true, Ordering::Relaxed);
    });
    let stats: Stats = client.stats();
    assert_eq!((stats.failures, stats.retries, stats.replaced), (0, 0, 0));
    assert!(stats.dials <= 6, "{}", stats.to_json());
}

#[test]
fn a_fork_during_a_request_leaves_that_request_alone() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "a_fork_during_a_request_leaves_that_request_alone", &network);
        assert_eq!(connections(&network, "slow").len(), 1);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).build().unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| client.send(&Request::get(&secure_at(&addresses, "/delay/400?slow"))));
        eventually("it is under way", || client.stats().handshakes == 1);
        join(fork(|| one_each(&client, &addresses, "child")));
        assert!(!slow.is_finished(), "the fork came too late to say anything");
        let answer = slow.join().unwrap().unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 1));
    });
}

#[test]
fn a_client_that_the_child_never_uses_costs_the_parent_nothing() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "a_client_that_the_child_never_uses_costs_the_parent_nothing", &network);
        assert_eq!(connections(&network, "before"), connections(&network, "after"));
        assert_eq!(network.counts().proxy.total, 2);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).build().unwrap();
    one_each(&client, &addresses, "before");
    let inherited = client.clone();
    // Dropped, closed, asked for its pins: none of it may reach a socket.
    let name = &addresses.plan.names[0];
    join(fork(move || {
        assert_eq!(inherited.stats().requests, 0);
        assert!(inherited.pins().to_json().contains(name));
        inherited.close();
        drop(inherited);
    }));
    let dropped = AssertUnwindSafe(client.clone());
    join(fork(move || drop(dropped)));
    one_each(&client, &addresses, "after");
    assert_eq!((client.stats().dials, client.stats().replaced), (2, 0));
}

#[test]
fn a_child_of_a_child_works_too_and_so_does_one_whose_parent_has_gone() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "a_child_of_a_child_works_too_and_so_does_one_whose_parent_has_gone", &network);
        let all = ["parent", "child", "grandchild"].map(|who| connections(&network, who));
        assert_eq!(all.each_ref().map(BTreeSet::len), [2, 2, 2]);
        assert_eq!(all.into_iter().flatten().collect::<BTreeSet<_>>().len(), 6, "all different");
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).build().unwrap();
    one_each(&client, &addresses, "parent");
    join(fork(|| {
        one_each(&client, &addresses, "child");
        join(fork(|| one_each(&client, &addresses, "grandchild")));
        one_each(&client, &addresses, "child");
    }));
    one_each(&client, &addresses, "parent");
}

#[test]
fn a_connection_that_the_parent_closes_is_closed_although_a_child_lives() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        alone(&[], "a_connection_that_the_parent_closes_is_closed_although_a_child_lives", &network);
        return assert_untouched(&network);
    };
    let client = client_at(&addresses).build().unwrap();
    one_each(&client, &addresses, "parent");
    let live = || {
        let control = Request::get(&format!("http://{}/counts", addresses.control));
        let watcher =
            Client::builder().hosts([format!("http://{}", addresses.control)]).allow_addresses(["127.0.0.0/8"]);
        let counts = watcher.option("summary", "off").build().unwrap().send(&control).unwrap();
        let counts: pinlink_box::Counts = serde_json::from_str(counts.text().unwrap()).unwrap();
        counts.proxy.live
    };
    assert_eq!(live(), 2);
    // It neither uses nor drops what it inherited.
    let child = fork(|| thread::sleep(Duration::from_secs(60)));
    client.close();
    drop(client);
    eventually("the proxy sees both closed", || live() == 0);
    // SAFETY: the child is ours and has not been waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    // SAFETY: no status is asked for; the child is ours.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}
