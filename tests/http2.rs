//! The promise: many requests on few HTTP/2 connections, none lost and none twice, and one cap with everything else.

mod common;

use std::collections::BTreeMap;

use common::{all_at_once, assert_whole, assert_whole_at, client, http, http2, network, peer2, secure, seen, start};
use pinlink::{AsyncClient, Request};
use pinlink_box::{Fault, Plan};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn blocking_callers_speak_it_where_they_want_to() {
    let network = network();
    let client = http2(&network).build().unwrap();
    for url in [http(&network, "/echo"), secure(&network, "/echo")] {
        let request = Request::post(&url).header("x-a", "1").header("x-a", "2").header("accept", "a/b").body("hello");
        let answer = client.send(&request).unwrap();
        let text = answer.text().unwrap();
        assert!(answer.trace().is_http2 && text.contains("HTTP/2.0") && text.contains("\"body\":\"hello\""), "{text}");
        let fields = [r#"["x-a","1"],["x-a","2"]"#, r#"["content-length","5"]"#, r#"["accept","a/b"]"#];
        assert!(fields.iter().all(|field| text.contains(field)) && !text.contains("*/*"), "{text}");
    }
    let stats = client.stats();
    assert_eq!((stats.connections_live, stats.connections_idle, stats.http2), (2, 2, 2));
}

#[test]
fn auto_is_http1_for_blocking_callers_and_the_target_s_choice_for_async_ones() {
    let network = network();
    let blocking = client(&network).build().unwrap();
    let asynchronous = AsyncClient::from(blocking.clone());
    let runtime = runtime();
    for (path, over_tls) in [(http(&network, "/rows/1"), false), (secure(&network, "/rows/1"), true)] {
        let answer = runtime.block_on(asynchronous.send(&Request::get(&path))).unwrap();
        assert_eq!((answer.status(), answer.trace().is_http2), (200, over_tls), "{path}");
        assert!(!blocking.send(&Request::get(&path)).unwrap().trace().is_http2, "{path}");
    }
    let only = client(&network).option("protocol", "http1").build().unwrap();
    let answer = runtime.block_on(AsyncClient::from(only).send(&Request::get(&secure(&network, "/rows/1")))).unwrap();
    assert!(!answer.trace().is_http2);
}

#[test]
fn a_hundred_at_once_share_one_connection() {
    let network = network();
    let client = client(&network).build().unwrap();
    let outcomes = all_at_once(&runtime(), &client, (0..100).map(|row| secure(&network, &format!("/rows/{row}"))));
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| answer.status() == 200)));
    let stats = client.stats();
    assert_eq!((stats.dials, stats.http2, stats.connections_idle), (1, 1, 1));
}

#[test]
fn the_target_s_limit_is_obeyed_with_more_connections_up_to_the_cap() {
    let network = start(Plan { h2_max_streams: Some(4), ..Plan::default() });
    let client = client(&network).max_connections_per_origin(3usize).build().unwrap();
    let urls = (0..200).map(|row| secure(&network, &format!("/delay/{}", row % 20)));
    let outcomes = all_at_once(&runtime(), &client, urls);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| answer.status() == 200)));
    let stats = client.stats();
    assert_eq!((stats.retries, network.counts().proxy.peak), (0, 3), "{stats:?}");
}

#[test]
fn a_target_that_chooses_http1_gets_it() {
    let network = network();
    network.inject(Fault::AlpnNone);
    let client = client(&network).build().unwrap();
    let outcomes = all_at_once(&runtime(), &client, (0..20).map(|row| secure(&network, &format!("/rows/{row}"))));
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| !answer.trace().is_http2)));
    let stats = client.stats();
    assert_eq!((stats.http2, stats.connections_live), (0, stats.connections_idle));
}

#[test]
fn p1_goaway_loses_nothing_and_repeats_nothing() {
    let network = network();
    for fault in [Fault::GoAwayAfter(100), Fault::GoAwayGraceful(100)] {
        let client = http2(&network).build().unwrap();
        network.inject(fault.clone());
        let urls: Vec<String> = (0..1000).map(|row| peer2(&network, &format!("/{}/{row}", fault.name()))).collect();
        let outcomes = all_at_once(&runtime(), &client, urls.clone());
        let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(failed.is_empty(), "{fault:?}: {} failed, the first: {}", failed.len(), failed[0]);
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for seen in network.seen().into_iter().filter(|seen| !seen.turned_away) {
            *times.entry(seen.path).or_default() += 1;
        }
        assert!(urls.iter().all(|url| times.get(&url[url.find("/go").unwrap()..]) == Some(&1)), "{fault:?}");
        network.heal();
    }
}

#[test]
fn p2_a_refused_stream_is_sent_again_even_for_a_post_without_key() {
    let network = network();
    let client = http2(&network).build().unwrap();
    network.inject_times(Fault::RefusedStream, 1);
    let answer = client.send(&Request::post(&peer2(&network, "/post")).body("once")).unwrap();
    assert_eq!((answer.status(), answer.trace().attempts), (200, 2));
    assert_eq!(seen(&network, "/post").iter().filter(|seen| !seen.turned_away).count(), 1);
}

#[test]
fn bodies_of_any_size_go_both_ways_over_streams() {
    let network = network();
    let client = http2(&network).build().unwrap();
    for (url, upload) in [
        (secure(&network, "/bytes/3000000"), secure(&network, "/upload")),
        (http(&network, "/bytes/3000000"), http(&network, "/upload")),
    ] {
        let mut answer = client.open(&Request::get(&url)).unwrap();
        assert_eq!(std::io::copy(&mut answer, &mut std::io::sink()).unwrap(), 3_000_000);
        assert_eq!(client.send(&Request::get(&url)).unwrap().body().len(), 3_000_000);
        let body = std::io::Cursor::new(vec![7; 2_000_000]);
        let answer = client.send(&Request::put(&upload).body_reader(body, None).trailer("x-sum", "7")).unwrap();
        let text = answer.text().unwrap();
        assert!(text.contains("\"bytes\":2000000") && text.contains("x-sum"), "{text}");
        let answer = client.send(&Request::get(&url.replace("bytes", "trailers"))).unwrap();
        assert!(answer.trailers().get("x-checksum").is_some(), "{answer:?}");
    }
    assert_whole(&client, &network);
}

#[test]
fn a_batch_may_have_fewer_streams_than_connections() {
    let network = network();
    let client = http2(&network).max_streams(2usize).max_connections_per_origin(4usize).build().unwrap();
    let requests: Vec<_> = (0..20).map(|row| Request::get(&secure(&network, &format!("/rows/{row}")))).collect();
    for outcome in client.map(&requests) {
        assert_eq!(outcome.unwrap().status(), 200);
    }
}

#[test]
fn a_caller_who_leaves_gives_its_stream_back_and_the_connection_lives_on() {
    let network = network();
    let client = http2(&network).max_connections(1usize).max_streams(1usize).build().unwrap();
    let asynchronous = AsyncClient::from(client.clone());
    assert_whole_at(&client, &secure(&network, "/rows/1"));
    runtime().block_on(async {
        for _ in 0..50 {
            let request = Request::get(&secure(&network, "/delay/60000"));
            let call = asynchronous.send(&request);
            assert!(tokio::time::timeout(std::time::Duration::from_millis(2), call).await.is_err());
        }
    });
    assert_whole_at(&client, &secure(&network, "/rows/2"));
    assert_eq!(client.stats().dials, 1);
}

#[test]
fn connections_of_all_kinds_share_one_cap() {
    let network = network();
    let client = client(&network).max_connections(2usize).build().unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (client, network) = (&client, &network);
            scope.spawn(move || {
                for row in 0..100 {
                    common::get(client, &secure(network, &format!("/rows/{worker}-{row}")));
                    common::get(client, &http(network, &format!("/rows/{worker}-{row}")));
                }
            });
        }
        for _ in 0..4 {
            let outcomes =
                all_at_once(&runtime(), &client, (0..100).map(|row| secure(&network, &format!("/rows/{row}"))));
            let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
            assert!(failed.is_empty(), "{failed:?}");
        }
    });
    assert!(network.counts().proxy.peak <= 2, "{:?}", network.counts().proxy);
    assert_whole(&client, &network);
}
