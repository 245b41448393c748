//! The promise: an async caller has the same connections, caps and errors, on any executor or none.

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use common::{assert_failed, client, eventually, host, http, network, secure};
use pinlink::{AsyncClient, Client, Delivery, Reason, Request};
use pinlink_box::{Fault, Network, OverCap, Plan, ProxyPlan};

/// The smallest executor there is: no reactor, no timer, one parked thread.
fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

async fn build(network: &Network) -> AsyncClient {
    client(network).build_async().await.expect("the client is built")
}

async fn get(client: &AsyncClient, url: &str) {
    let answer = client.send(&Request::get(url)).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{url}");
}

async fn plain_and_tls(network: &Network) {
    let client = build(network).await;
    for _ in 0..3 {
        get(&client, &http(network, "/rows/1")).await;
        get(&client, &secure(network, "/rows/1")).await;
        get(&client, &http(network, "/bytes/300000")).await;
    }
    assert_eq!(client.stats().connections_live, 2);
}

#[test]
fn a_call_runs_on_any_executor() {
    let network = network();
    park_on(plain_and_tls(&network));
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bare.block_on(plain_and_tls(&network));
    let full = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    full.block_on(plain_and_tls(&network));
}

#[test]
fn t24_a_thousand_tasks_share_a_cap_of_eight() {
    let proxy = ProxyPlan { cap: Some(8), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    let network = common::start(Plan { proxy, ..Plan::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = runtime.block_on(async {
        let client = client(&network).max_connections(8usize).build_async().await.unwrap();
        let calls: Vec<_> = (0..1000)
            .map(|row| {
                // Half of them over plain HTTP/1.1, half over TLS, where the target chooses HTTP/2: one cap for all.
                let path = format!("/rows/{row}");
                let url = if row % 2 == 0 { http(&network, &path) } else { secure(&network, &path) };
                let client = client.clone();
                tokio::spawn(async move { client.send(&Request::get(&url)).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().status(), 200);
        }
        Client::from(client)
    });
    let counts = network.counts();
    assert!(counts.proxy.peak <= 8, "{:?}", counts.proxy);
    assert_eq!((counts.origins.requests, counts.proxy.reset), (1000, 0), "{:?}", counts.proxy);
    assert_eq!(client.stats().retries, 0);
    common::survival::recovers(&client, &network);
}

#[test]
fn both_kinds_of_caller_share_connections_in_turn() {
    let network = network();
    let blocking = client(&network).build().unwrap();
    let asynchronous = AsyncClient::from(blocking.clone());
    for _ in 0..5 {
        common::get(&blocking, &http(&network, "/rows/1"));
        park_on(get(&asynchronous, &http(&network, "/rows/1")));
    }
    let stats = blocking.stats();
    assert_eq!((stats.dials, stats.reuses), (1, 9));
    assert_eq!(Client::from(asynchronous).stats().requests, 10);
}

#[test]
fn a_dropped_call_gives_its_place_back() {
    let network = network();
    let client = client(&network).max_connections(1usize).build().unwrap();
    let asynchronous = AsyncClient::from(client.clone());
    let url = http(&network, "/delay/60000");
    let request = Request::get(&url);
    let mut call: Pin<Box<dyn Future<Output = _>>> = Box::pin(asynchronous.send(&request));
    eventually("the request has arrived", || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        !common::seen(&network, "/delay/60000").is_empty()
    });
    drop(call);
    common::assert_whole(&client, &network);
}

#[test]
fn an_async_call_ends_by_its_deadline_and_says_so() {
    let network = network();
    let client = client(&network).build().unwrap();
    common::get(&client, &http(&network, "/rows/1"));
    network.inject(Fault::HalfOpen);
    let asynchronous = AsyncClient::from(client.clone());
    let request = Request::get(&http(&network, "/rows/2")).timeout(Duration::from_millis(200));
    let error = park_on(asynchronous.send(&request)).expect_err("no answer came");
    assert_failed(&error, Reason::TimeoutTotal, Delivery::Unknown);
    assert_eq!(error.host(), Some(&*format!("{}:{}", host(&network), network.http())));
    network.heal();
    common::assert_whole(&client, &network);
}
