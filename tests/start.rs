//! Promise: a process that makes blocking calls to pinned hosts pays for little: its callers dial on their own threads, and
//! no runtime is started. What is idle is looked at all the same.
//!
//! Seen from `/proc` by this test binary, run again with one test; the network stays in the process that started it. A
//! runtime shows by its epoll descriptors.

mod common;

use std::time::Duration;

use common::{alone, client_at, eventually, http_at, outer, secure_at, start};
use pinlink::{AsyncClient, Builder, Client, Request};
use pinlink_box::{Addresses, Plan};

/// How many descriptors of this process are of this kind.
fn descriptors(kind: &str) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.ok()?.path().read_link().ok());
    links.filter(|link| link.to_string_lossy().contains(kind)).count()
}

fn has_runtime() -> bool {
    descriptors("eventpoll") > 0
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// A client that asks no name server.
fn pinned(addresses: &Addresses) -> Builder {
    client_at(addresses).pins([format!("{}=127.0.0.1", addresses.plan.names[0])])
}

fn get(client: &Client, url: &str) {
    assert_eq!(client.send(&Request::get(url)).unwrap().status(), 200);
}

#[test]
fn a_blocking_caller_dials_itself_and_starts_no_runtime() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        return drop(alone(&[], "a_blocking_caller_dials_itself_and_starts_no_runtime", &network));
    };
    let before = threads();
    let client = pinned(&addresses).build().unwrap();
    assert_eq!(threads(), before, "a client that has made no connection has no thread");
    get(&client, &http_at(&addresses, "/rows/1"));
    get(&client, &secure_at(&addresses, "/rows/1"));
    let rows: Vec<_> = (0..8).map(|row| Request::get(&http_at(&addresses, &format!("/rows/{row}")))).collect();
    assert!(client.map(&rows).into_iter().all(|row| row.is_ok()));
    let other = pinned(&addresses).build().unwrap();
    get(&other, &http_at(&addresses, "/rows/1"));
    assert_eq!((has_runtime(), threads()), (false, before + 1), "one thread looks at what is idle, for both clients");

    // Whoever needs the runtime starts it, and it does the looking from then on.
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = executor.block_on(AsyncClient::from(client).send(&Request::get(&http_at(&addresses, "/rows/1"))));
    assert_eq!(answer.unwrap().status(), 200);
    assert!(has_runtime());
    eventually("the other thread has ended", || threads() == before + 1);
}

#[test]
fn what_is_idle_for_too_long_is_closed_where_there_is_no_runtime() {
    let Some(addresses) = outer() else {
        let network = start(Plan::default());
        return drop(alone(&[], "what_is_idle_for_too_long_is_closed_where_there_is_no_runtime", &network));
    };
    let before = threads();
    let client = pinned(&addresses).max_idle(Duration::from_millis(400)).build().unwrap();
    get(&client, &http_at(&addresses, "/rows/1"));
    assert_eq!(client.stats().connections_idle, 1);
    eventually("it was closed", || client.stats().connections_live == 0);
    assert_eq!((client.stats().expired, has_runtime()), (1, false));
    drop(client);
    eventually("nothing is left to look at", || threads() == before);
}
