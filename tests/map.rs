//! Promise: `map` takes many requests and gives an outcome for each, in their order. A row's error is that row's alone,
//! one deadline bounds all rows, the caps hold however many map at once, and the rows of a slow origin keep nobody else's
//! waiting.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use common::{client, http, network, peer, secure, seen, start};
use pinlink::{Delivery, Kind, Reason, Request};
use pinlink_box::{Fault, Network, OverCap, Plan, ProxyPlan};

fn capped(cap: usize) -> Network {
    let proxy = ProxyPlan { cap: Some(cap), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    start(Plan { proxy, ..Plan::default() })
}

fn rows(network: &Network, count: usize) -> Vec<Request> {
    (0..count).map(|row| Request::get(&secure(network, &format!("/rows/{row}")))).collect()
}

#[test]
fn outcomes_come_in_the_order_of_the_requests() {
    const ROWS: usize = 2000;
    let network = capped(8);
    let client = client(&network).max_connections(8).option("protocol", "http1").build().unwrap();
    let (mut ended, requests) = (Vec::new(), rows(&network, ROWS));
    let outcomes = client.map_with(&requests, &mut |row, outcome| {
        assert!(outcome.is_ok());
        ended.push(row);
    });
    assert_eq!(outcomes.len(), ROWS);
    for (row, outcome) in outcomes.iter().enumerate() {
        let answer = outcome.as_ref().unwrap();
        assert!(answer.text().unwrap().contains(&format!("\"id\":\"{row}\"")), "row {row} has another one's answer");
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..ROWS).collect::<Vec<_>>(), "each row is told of once");
    let counts = network.counts();
    assert_eq!((counts.origins.requests, counts.origins.handshakes), (ROWS as u64, 8));
    assert_eq!((counts.proxy.peak, counts.proxy.refused), (8, 0), "all the connections it may have, and no more");
    assert_eq!(client.stats().answers, ROWS as u64);
}

#[test]
fn nothing_comes_of_nothing() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    assert!(client.map_with(&[], &mut |_, _| panic!("no row can end")).is_empty());
    assert_eq!((network.counts().proxy.total, client.stats().requests), (0, 0));
}

#[test]
fn a_failing_row_is_its_own_affair() {
    let network = start(Plan::default());
    let client = client(&network).max_attempts(1).build().unwrap();
    let good = |row: usize| Request::get(&http(&network, &format!("/rows/{row}")));
    let requests = [
        good(0),
        Request::get("http://undeclared.box.test/"),
        good(2),
        Request::get(&http(&network, "/close-early/10")),
        Request::get("not a url"),
        good(5),
        Request::get(&http(&network, "/status/500")),
        Request::get(&http(&network, "/delay/60000")).timeout(Duration::from_millis(100)),
        Request::get(&http(&network, "/rows/8")).header("Host", "other"),
        good(9),
    ];
    let outcomes = client.map(&requests);
    let reason = |row: usize| outcomes[row].as_ref().unwrap_err().reason();
    assert_eq!(reason(1), Reason::PolicyNotDeclared);
    assert_eq!(reason(3), Reason::ProtocolIncomplete);
    assert_eq!(reason(4), Reason::ConfigInput);
    assert_eq!(reason(7), Reason::TimeoutTotal);
    assert_eq!(reason(8), Reason::ConfigInput);
    assert_eq!(outcomes[6].as_ref().unwrap().status(), 500);
    for row in [0, 2, 5, 9] {
        assert!(outcomes[row].as_ref().unwrap().text().unwrap().contains(&format!("\"id\":\"{row}\"")));
    }
    assert!(seen(&network, "/rows/8").is_empty());
    let stats = client.stats();
    assert_eq!((stats.requests, stats.answers, stats.failures), (10, 5, 5));
    assert_eq!(client.send(&good(1)).unwrap().status(), 200);
}

#[test]
fn one_deadline_bounds_all_rows_and_what_it_overtakes_is_not_sent() {
    const LANES: usize = 2;
    let network = capped(LANES);
    let budget = Duration::from_millis(700);
    let client = client(&network).max_connections(LANES).timeout(budget).connect_timeout(budget).build().unwrap();
    let post = |row: usize| Request::post(&http(&network, &format!("/sink/{row}?slow=100")));
    let requests: Vec<Request> = (0..200).map(post).collect();
    let begun = Instant::now();
    let outcomes = client.map(&requests);
    let took = begun.elapsed();
    // Ten seconds if each row had a deadline of its own.
    assert!(took < budget + Duration::from_secs(2), "{took:?}");
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((1..=LANES * 7).contains(&done), "{done} rows");
    let attempts =
        |row: usize| network.sink().iter().find(|write| write.record == row.to_string()).map_or(0, |w| w.attempts);
    let mut unknown = 0;
    for (row, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(answer) => assert_eq!((answer.status(), attempts(row)), (201, 1)),
            Err(error) if error.delivery() == Delivery::NotSent => {
                assert_eq!((error.kind(), attempts(row)), (Kind::Timeout, 0), "row {row}: {error}");
            }
            Err(error) => {
                assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "row {row}: {error}");
                assert!(attempts(row) <= 1);
                unknown += 1;
            }
        }
    }
    assert!(unknown <= LANES, "{unknown} rows were in doubt, and only {LANES} can have been under way");
    let counts = network.counts();
    assert!(counts.proxy.total <= 2 * LANES as u64, "rows that had no time left dialled: {:?}", counts.proxy);
    assert!(counts.proxy.peak <= LANES as u64);
    let late = Request::get(&http(&network, "/rows/1")).timeout(Duration::from_secs(5));
    assert_eq!(client.send(&late).unwrap().status(), 200);
}

#[test]
fn several_origins_are_served_in_one_batch_within_the_total_cap() {
    let network = capped(3);
    let client = client(&network).max_connections(3).build().unwrap();
    let requests: Vec<Request> = (0..300)
        .map(|row| match row % 3 {
            0 => Request::get(&http(&network, &format!("/rows/{row}"))),
            1 => Request::get(&secure(&network, &format!("/rows/{row}"))),
            _ => Request::get(&peer(&network, &format!("/rows/{row}"))),
        })
        .collect();
    for (row, outcome) in client.map(&requests).into_iter().enumerate() {
        let answer = outcome.unwrap_or_else(|error| panic!("row {row}: {error}"));
        let expected = if row % 3 == 2 { "hello".to_owned() } else { format!("\"id\":\"{row}\"") };
        assert!(answer.text().unwrap().contains(&expected), "row {row}: {:?}", answer.text());
    }
    let counts = network.counts();
    assert_eq!(counts.origins.requests, 300);
    assert_eq!((counts.proxy.peak, counts.proxy.refused), (3, 0));
}

#[test]
fn rows_of_a_slow_origin_keep_no_other_s_waiting() {
    let network = start(Plan::default());
    let client = client(&network).max_connections_per_origin(2).build().unwrap();
    // Slow rows first: one queue for all would let nothing past them.
    let slow = (0..6).map(|_| Request::get(&http(&network, "/delay/150")));
    let requests: Vec<Request> = slow.chain(rows(&network, 40)).collect();
    let mut order = Vec::new();
    let outcomes = client.map_with(&requests, &mut |row, _| order.push(row));
    assert!(outcomes.iter().all(Result::is_ok));
    let last_quick = order.iter().rposition(|row| *row >= 6).unwrap();
    let slow_before = order[..last_quick].iter().filter(|row| **row < 6).count();
    assert!(slow_before <= 4, "the quick rows waited for the slow ones: {order:?}");
}

#[test]
fn a_dead_origin_fails_its_rows_only() {
    let network = start(Plan::default());
    let client = client(&network).max_attempts(1).build().unwrap();
    network.inject(Fault::EarlyClose);
    let requests: Vec<Request> = (0..40)
        .map(|row| match row % 2 {
            0 => Request::get(&peer(&network, "/")),
            _ => Request::get(&secure(&network, &format!("/rows/{row}"))),
        })
        .collect();
    for (row, outcome) in client.map(&requests).into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), row % 2 == 1, "row {row}: {outcome:?}");
    }
    network.heal();
    assert!(client.map(&requests).iter().all(Result::is_ok));
}

#[test]
fn rows_that_fail_on_the_way_are_tried_again_as_single_calls_are() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(4).backoff_max(Duration::from_millis(50)).build().unwrap();
    network.inject_times(Fault::AckLost, 5);
    let requests: Vec<Request> = (0..50).map(|row| Request::get(&http(&network, &format!("/rows/{row}")))).collect();
    assert!(client.map(&requests).iter().all(Result::is_ok));
    assert_eq!(network.counts().origins.requests, 55);
    assert_eq!(client.stats().retries, 5);
}

#[test]
fn a_batch_inside_a_runtime_works() {
    let network = start(Plan::default());
    let client = client(&network).timeout(Duration::from_secs(5)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // More than the 128 steps that tokio grants a task before it must yield, which a blocking call never does.
    let requests = rows(&network, 500);
    for outcome in runtime.block_on(async { client.map(&requests) }) {
        assert_eq!(outcome.unwrap().status(), 200);
    }
}

#[test]
fn single_calls_inside_a_runtime_work() {
    let network = start(Plan::default());
    let client = client(&network).timeout(Duration::from_secs(5)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for request in rows(&network, 500) {
            assert_eq!(client.send(&request).unwrap().status(), 200);
        }
    });
    assert_eq!(network.counts().proxy.total, 1);
}

#[test]
fn ten_threads_that_map_at_once_keep_the_cap() {
    const CAP: usize = 6;
    let network = capped(CAP);
    let client = client(&network).max_connections(CAP).max_connections_per_origin(CAP).build().unwrap();
    let requests = rows(&network, 100);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for (row, outcome) in client.map(&requests).into_iter().enumerate() {
                    assert!(outcome.unwrap().text().unwrap().contains(&format!("\"id\":\"{row}\"")));
                }
            });
        }
    });
    let counts = network.counts();
    assert!(counts.proxy.peak <= CAP as u64, "{:?}", counts.proxy);
    assert_eq!((counts.proxy.refused, counts.origins.requests), (0, 1000));
    assert!(counts.origins.handshakes <= CAP as u64);
    assert_eq!(client.stats().failures, 0);
}

#[test]
fn whoever_is_told_of_a_row_may_call_too() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let requests = rows(&network, 20);
    let outcomes = client.map_with(&requests, &mut |row, _| {
        let url = http(&network, &format!("/rows/{row}"));
        assert!(client.send(&Request::get(&url)).unwrap().text().unwrap().contains(&format!("\"id\":\"{row}\"")));
    });
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(network.counts().origins.requests, 40);
}

#[test]
fn a_panic_of_whoever_is_told_gives_every_place_back() {
    let network = capped(4);
    let client = client(&network).max_connections(4).build().unwrap();
    let requests = rows(&network, 20);
    let panicked = catch_unwind(AssertUnwindSafe(|| client.map_with(&requests, &mut |_, _| panic!("told"))));
    assert!(panicked.is_err());
    for _ in 0..2 {
        assert!(client.map(&requests).iter().all(Result::is_ok));
    }
    assert!(client.stats().connections_live <= 4);
    assert_eq!(network.counts().proxy.refused, 0);
}

#[test]
fn rows_for_targets_that_choose_http2_share_a_connection() {
    let network = network();
    let client = client(&network).build().unwrap();
    let requests = (0..500).map(|row| Request::get(&secure(&network, &format!("/rows/{row}")))).collect::<Vec<_>>();
    let mut told = 0;
    let outcomes = client.map_with(&requests, &mut |_, _| told += 1);
    for (row, outcome) in outcomes.iter().enumerate() {
        let answer = outcome.as_ref().unwrap();
        assert!(answer.trace().is_http2 && answer.text().unwrap().contains(&format!("\"id\":\"{row}\"")), "row {row}");
    }
    assert_eq!((told, client.stats().dials), (500, 1));
    // One target that does not choose it, and all rows go over connections of their own.
    let mixed = [secure(&network, "/rows/1"), http(&network, "/rows/2")].map(|url| Request::get(&url));
    assert!(client.map(&mixed).iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| !answer.trace().is_http2)));
}

#[test]
fn rows_for_a_target_that_does_not_choose_http2_have_connections_of_their_own() {
    let network = network();
    network.inject(Fault::AlpnNone);
    let client = client(&network).max_waiting(0usize).build().unwrap();
    let requests = (0..200).map(|row| Request::get(&secure(&network, &format!("/rows/{row}")))).collect::<Vec<_>>();
    assert!(client.map(&requests).iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| !answer.trace().is_http2)));
    assert!(client.stats().connections_peak <= 8);
}
