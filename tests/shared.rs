//! The promise: who shares a client shares one pool and one cap, however often it is asked for.

mod common;

use common::{client, http, start};
use pinlink::{Builder, Client, Reason, Request};
use pinlink_box::{Network, Plan};

/// The options of everyone in these tests.
fn builder(network: &Network) -> Builder {
    client(network).max_connections_per_origin(2)
}

// One test: a process has one shared client.
#[test]
fn r12_all_who_ask_with_the_same_options_get_the_same_client_and_others_are_told() {
    let network = start(Plan::default());
    let asked: Vec<Client> = std::thread::scope(|scope| {
        let ask = || builder(&network).build_shared().unwrap();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    std::thread::scope(|scope| {
        for client in &asked {
            scope.spawn(|| client.send(&Request::get(&http(&network, "/delay/20"))).unwrap());
        }
    });
    assert_eq!(network.counts().proxy.peak, 2, "one cap for all");
    assert_eq!(asked[0].stats().requests, 16, "they are one");

    let other = builder(&network).max_connections_per_origin(3).build_shared().expect_err("other options");
    assert_eq!(other.reason(), Reason::ConfigShared);

    asked[3].close();
    let anew = builder(&network).build_shared().unwrap();
    assert_eq!(anew.send(&Request::get(&http(&network, "/rows/1"))).unwrap().status(), 200);
    assert_eq!(anew.stats().requests, 1, "a closed one is built anew");
}
