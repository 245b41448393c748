//! Promise: a peer that breaks HTTP/1, or makes treacherous use of it, gets an exact error, its connection is closed and
//! never pooled, nothing of it reaches the next request, and the next healthy request succeeds (FAULTS section 4).
//!
//! Every script meets blocking and async callers, and requests that may be repeated and that may not. Most scripts are the
//! box's scripted peer's; those it does not know are a [`Peer`]'s. What needs more words is in faults_http1.rs.

mod common;

use std::time::Duration;

use common::raw::Peer;
use common::survival::{Ask, Caller, Failure, TIMEOUT, every_call, fails_as, recovers_alone};
use common::{client, eventually, http, peer, seen, start};
use pinlink::{AsyncClient, Delivery, Reason, Request};
use pinlink_box::{ChunkSize, Fault, Plan, StatusLine};

/// Plays a script to every kind of call: the exact failure, as many tries as that says, every connection gone, and the next
/// request as if nothing had been.
#[track_caller]
fn refused(script: Fault, failure: impl Fn(Ask) -> Failure) {
    let network = start(Plan::default());
    for (caller, ask) in every_call() {
        network.reset_counts();
        let builder = client(&network).max_body(1 << 20).backoff_max(Duration::from_millis(50));
        let client = builder.build().unwrap();
        caller.send(&client, &Request::get(&peer(&network, "/before"))).unwrap();
        network.inject(script.clone());
        let failure = failure(ask);
        let request = ask.request(&peer(&network, "/broken"));
        fails_as(caller, &client, &request, TIMEOUT, failure);
        let tries = failure.attempts as usize;
        assert_eq!(seen(&network, "/broken").len(), tries, "{script:?} {caller:?} {ask:?}");
        assert_eq!(client.stats().connections_live, 0, "{script:?} {caller:?} {ask:?}: the connection was kept");
        network.heal();
        let next = caller.send(&client, &Request::get(&peer(&network, "/after"))).unwrap();
        assert_eq!((next.status(), next.text().unwrap()), (200, "hello"), "{script:?} {caller:?} {ask:?}");
        assert!(!next.trace().reused);
        let stats = client.stats();
        let told = (stats.failures, stats.retries as usize, stats.replaced, stats.dials as usize);
        assert_eq!(told, (1, tries - 1, 0, tries + 1), "{script:?} {caller:?} {ask:?}");
        assert_eq!((stats.connections_live, stats.connections_idle), (1, 1), "{script:?} {caller:?} {ask:?}");
        eventually("the peer's side is closed too", || network.counts().proxy.live == 1);
        client.close();
        eventually("the last one is closed", || network.counts().proxy.live == 0);
    }
}

/// Plays a script whose answer is good, on a connection that must not be used again.
#[track_caller]
fn not_pooled(script: Fault, status: u16, body: &str) {
    let network = start(Plan::default());
    for (caller, ask) in every_call() {
        network.reset_counts();
        let client = client(&network).build().unwrap();
        caller.send(&client, &Request::get(&peer(&network, "/before"))).unwrap();
        network.inject_times(script.clone(), 1);
        let answer = caller.send(&client, &ask.request(&peer(&network, "/odd"))).unwrap();
        assert_eq!((answer.status(), answer.text().unwrap()), (status, body), "{script:?}");
        assert_eq!((answer.trace().attempts, seen(&network, "/odd").len()), (1, 1), "{script:?}");
        assert_eq!(client.stats().connections_live, 0, "{script:?}: the connection was kept");
        let next = caller.send(&client, &Request::post(&peer(&network, "/after"))).unwrap();
        assert_eq!((next.status(), next.text().unwrap(), next.trace().reused), (200, "hello", false), "{script:?}");
        let stats = client.stats();
        assert_eq!(stats.replaced, 0, "{script:?}: it was pooled and found dead");
        assert_eq!((stats.connections_live, stats.connections_idle), (1, 1), "{script:?}");
        assert_eq!(network.counts().origins.connections, 2);
        assert_eq!(seen(&network, "/after").len(), 1);
        client.close();
        eventually("nothing is left at the proxy", || network.counts().proxy.live == 0);
    }
}

#[test]
fn h1_a_broken_chunk_size_is_a_broken_chunk() {
    for how in [
        ChunkSize::Overflow,
        ChunkSize::Sign,
        ChunkSize::Negative,
        ChunkSize::Space,
        ChunkSize::Prefix,
        ChunkSize::BareLf,
        ChunkSize::LongExtension,
        ChunkSize::Empty,
    ] {
        refused(Fault::BadChunkSize(how), |ask| ask.broken(Reason::ProtocolChunk, 1));
    }
}

#[test]
fn h2_a_length_beside_a_transfer_coding_is_ambiguous() {
    refused(Fault::LengthAndChunked, |ask| ask.lost(Reason::ProtocolFraming, 1));
}

#[test]
fn h3_lengths_that_contradict_or_are_no_numbers_are_refused() {
    refused(Fault::TwoLengths, |ask| ask.lost(Reason::ProtocolHead, 1));
    refused(Fault::NegativeLength, |ask| ask.lost(Reason::ProtocolHead, 1));
}

#[test]
fn h3_a_length_in_any_other_bad_form_is_refused() {
    for length in [
        "5, 5",
        "5, 6",
        "99999999999999999999",
        "18446744073709551616",
        "-5",
        "+5",
        "0x5",
        "5 5",
        "5\u{b2}",
        "five",
        "",
    ] {
        for (caller, ask) in every_call() {
            let peer = Peer::saying(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello"));
            let client = peer.client().build().unwrap();
            let request = ask.request(&peer.url("http", "/"));
            fails_as(caller, &client, &request, TIMEOUT, ask.lost(Reason::ProtocolHead, 1));
            assert_eq!((peer.requests("/"), client.stats().connections_live), (1, 0), "{length:?}");
            peer.recovers(&client, &peer.url("http", "/after"));
        }
    }
}

#[test]
fn h4_a_body_that_ends_early_is_incomplete() {
    refused(Fault::ShortBody, |ask| ask.broken(Reason::ProtocolIncomplete, 3));
    refused(Fault::ChunkedNoEnd, |ask| ask.broken(Reason::ProtocolIncomplete, 3));
    refused(Fault::WriteThenReset, |ask| ask.broken(Reason::ProtocolIncomplete, 3));
}

#[test]
fn h4_an_answer_that_ended_early_is_asked_for_again_where_that_is_safe() {
    for (caller, ask) in every_call().filter(|(_, ask)| *ask != Ask::Post) {
        let network = start(Plan::default());
        let client = client(&network).build().unwrap();
        network.inject_times(Fault::ShortBody, 1);
        let answer = caller.send(&client, &ask.request(&peer(&network, "/twice"))).unwrap();
        assert_eq!((answer.text().unwrap(), answer.trace().attempts), ("hello", 2));
        assert_eq!(seen(&network, "/twice").len(), 2);
        recovers_alone(&client, &network);
    }
}

#[test]
fn h5_what_follows_an_answer_is_nobody_s_answer() {
    not_pooled(Fault::ExtraBytes, 200, "hello");
}

#[test]
fn h6_too_many_or_too_great_header_fields_are_over_the_limit() {
    refused(Fault::HeaderFlood, |ask| ask.lost(Reason::LimitHeaders, 1));
    refused(Fault::HeaderCount(100_000), |ask| ask.lost(Reason::LimitHeaders, 1));
    refused(Fault::HeaderCount(99), |ask| ask.lost(Reason::LimitHeaders, 1));
    refused(Fault::BigHeader(70_000), |ask| ask.lost(Reason::LimitHeaders, 1));
    refused(Fault::BigHeader(10 << 20), |ask| ask.lost(Reason::LimitHeaders, 1));
}

#[test]
fn h6_a_head_within_the_limits_is_fine() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    // Two more than these are the peer's own.
    for (script, caller) in [Fault::HeaderCount(98), Fault::BigHeader(60_000)]
        .into_iter()
        .flat_map(|script| Caller::ALL.map(|caller| (script.clone(), caller)))
    {
        network.inject_times(script.clone(), 1);
        let answer = caller.send(&client, &Request::get(&peer(&network, "/")));
        let answer = answer.unwrap_or_else(|error| panic!("{script:?}: {error}"));
        assert_eq!(answer.text().unwrap(), "hello");
    }
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn h7_more_interim_answers_than_allowed_are_over_the_limit() {
    refused(Fault::InterimFlood, |ask| ask.lost(Reason::LimitInterim, 1));
    refused(Fault::Interim(33), |ask| ask.lost(Reason::LimitInterim, 1));
    refused(Fault::Interim(2_000), |ask| ask.lost(Reason::LimitInterim, 1));
}

#[test]
fn h7_as_many_interim_answers_as_allowed_are_passed_over() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    // Counted for each request anew, also on one connection.
    for (caller, ask) in every_call() {
        network.inject_times(Fault::Interim(32), 1);
        let answer = caller.send(&client, &ask.request(&peer(&network, "/"))).unwrap();
        assert_eq!((answer.text().unwrap(), answer.trace().attempts), ("hello", 1));
    }
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn h7_a_switch_of_protocols_that_nobody_asked_for_is_unexpected() {
    refused(Fault::UnaskedSwitch, |ask| ask.lost(Reason::ProtocolUnexpected, 1));
}

#[test]
fn h8_a_final_answer_during_the_upload_is_delivered_and_the_upload_stops() {
    for (script, caller) in [Fault::EarlyFinal, Fault::EarlyFinalKeep]
        .into_iter()
        .flat_map(|script| Caller::ALL.map(|caller| (script.clone(), caller)))
    {
        let network = start(Plan::default());
        let client = client(&network).build().unwrap();
        network.inject_times(script.clone(), 1);
        let size = 192 << 20;
        let request = Request::post(&peer(&network, "/upload")).body(vec![b'x'; size]);
        let answer = caller.send(&client, &request).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (413, 1), "{script:?}");
        assert_eq!(client.stats().connections_live, 0, "{script:?}: half a request stands on that connection");
        let next = caller.send(&client, &Request::get(&peer(&network, "/after"))).unwrap();
        assert_eq!((next.text().unwrap(), next.trace().reused), ("hello", false), "{script:?}");
        assert_eq!(seen(&network, "/upload").len(), 1, "{script:?}");
        let read = network.counts().origins.bytes_in;
        assert!(read < size as u64 / 2, "{script:?}: the upload went on: {read} bytes");
        recovers_alone(&client, &network);
    }
}

#[test]
fn h10_a_connection_that_the_peer_ends_is_not_reused() {
    not_pooled(Fault::CloseAfterAnswer, 200, "hello");
    not_pooled(Fault::Http10, 200, "hello");
}

#[test]
fn h10_an_announced_idle_limit_is_obeyed() {
    std::thread::scope(|scope| {
        for caller in Caller::ALL {
            scope.spawn(move || {
                let network = start(Plan::default());
                let client = client(&network).build().unwrap();
                network.inject(Fault::KeepAliveTimeout(1));
                caller.send(&client, &Request::get(&peer(&network, "/1"))).unwrap();
                // The time is what was announced; nothing else happens that could be awaited.
                std::thread::sleep(Duration::from_millis(1100));
                let answer = caller.send(&client, &Request::post(&peer(&network, "/2"))).unwrap();
                assert_eq!((answer.text().unwrap(), answer.trace().reused), ("hello", false));
                assert_eq!(seen(&network, "/2").len(), 1);
                let stats = client.stats();
                let surprised = (stats.replaced, stats.retries);
                assert_eq!(surprised, (0, 0), "the client knew that the connection was over (DESIGN 5)");
                recovers_alone(&client, &network);
            });
        }
    });
}

#[test]
fn h11_a_head_that_is_not_http_1_is_malformed() {
    for how in [
        StatusLine::Http09,
        StatusLine::Status99,
        StatusLine::Status1000,
        StatusLine::BareCr,
        StatusLine::Nul,
        StatusLine::ObsFold,
        StatusLine::Http30,
        StatusLine::NonAsciiField,
        StatusLine::Garbage,
    ] {
        refused(Fault::GarbageStatus(how), |ask| ask.lost(Reason::ProtocolHead, 1));
    }
}

#[test]
fn h15_an_unasked_408_on_an_idle_connection_is_nobody_s_answer() {
    for (caller, ask) in every_call() {
        let network = start(Plan::default());
        let client = client(&network).build().unwrap();
        network.inject_times(Fault::RequestTimeout408, 1);
        assert_eq!(client.send(&Request::get(&peer(&network, "/1"))).unwrap().text().unwrap(), "hello");
        // The peer says it 50 ms later, then FIN; the proxy hands both on before it forgets the connection.
        let sent = |peer: &pinlink_box::Network| peer.counts().origins.bytes_out;
        // The answer has 69 bytes.
        eventually("the 408 is out", || sent(&network) > 80);
        let answer = caller.send(&client, &ask.request(&peer(&network, "/2"))).unwrap();
        // Found by the probe, or, where the proxy hands it on a moment later, met by the request and asked again; for a POST
        // it is then an answer like any other, as far as anybody can tell.
        let met = (answer.status(), answer.trace().reused);
        assert!(met == (200, false) || (ask == Ask::Post && met == (408, true)), "{caller:?}, {ask:?}: {met:?}");
        assert!(answer.trace().attempts <= 2 && seen(&network, "/2").len() <= 2);
        recovers_alone(&client, &network);
    }
}

#[test]
fn h16_a_body_where_none_may_be_is_never_read_as_the_next_answer() {
    not_pooled(Fault::NoContentWithBody, 204, "");
}

#[test]
fn h16_head_and_not_modified_have_no_body_and_leave_the_connection_in_step() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let full = client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    let tag = full.header("etag").unwrap().to_owned();
    for caller in [Caller::ALL, Caller::ALL].concat() {
        let head = caller.send(&client, &Request::head(&http(&network, "/bytes/100000"))).unwrap();
        assert_eq!((head.status(), head.body().len(), head.header("content-length")), (200, 0, Some("100000")));
        let same = Request::get(&http(&network, "/rows/1")).header("If-None-Match", &tag);
        let same = caller.send(&client, &same).unwrap();
        assert_eq!((same.status(), same.body().len()), (304, 0));
        let none = caller.send(&client, &Request::get(&http(&network, "/empty/204"))).unwrap();
        assert_eq!((none.status(), none.body().len()), (204, 0));
        let answer = caller.send(&client, &Request::get(&http(&network, "/rows/1"))).unwrap();
        assert_eq!(answer.body(), full.body());
    }
    assert_eq!(network.counts().proxy.total, 1);
}

#[test]
fn h18_a_body_over_its_limit_is_not_read_to_its_end() {
    refused(Fault::EndlessBody, |ask| ask.broken(Reason::LimitBody, 1));
    refused(Fault::EndlessBodyNoLength, |ask| ask.broken(Reason::LimitBody, 1));
    let network = start(Plan::default());
    for (caller, ask) in every_call() {
        network.reset_counts();
        let client = client(&network).max_body(1000).build().unwrap();
        for path in ["/bytes/1001", "/chunked/1001"] {
            let request = ask.request(&http(&network, path));
            fails_as(caller, &client, &request, TIMEOUT, ask.broken(Reason::LimitBody, 1));
            let told = (seen(&network, path).len(), client.stats().connections_live);
            assert_eq!(told, (1, 0), "no second try, nothing pooled");
        }
        for path in ["/bytes/1000", "/chunked/1000", "/bytes/0", "/chunked/0"] {
            let size: usize = path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(caller.send(&client, &ask.request(&http(&network, path))).unwrap().body().len(), size);
        }
        recovers_alone(&client, &network);
    }
}

#[test]
fn h19_an_answer_that_comes_too_late_is_never_the_next_one_s() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).build().unwrap();
    for (turn, (caller, ask)) in every_call().enumerate() {
        let budget = Duration::from_millis(50);
        let late = ask.request(&http(&network, &format!("/delay/10{turn}"))).timeout(budget);
        fails_as(caller, &client, &late, budget, ask.lost(Reason::TimeoutTotal, 1));
        assert_eq!(seen(&network, &format!("/delay/10{turn}")).len(), 1);
        let next = caller.send(&client, &Request::get(&http(&network, &format!("/rows/{turn}")))).unwrap();
        assert!(next.text().unwrap().contains(&format!("\"id\":\"{turn}\"")), "{:?}", next.text());
        assert!(!next.trace().reused);
    }
    recovers_alone(&client, &network);
}

#[test]
fn h19_an_answer_to_a_call_that_was_given_up_is_never_the_next_one_s() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let asking = AsyncClient::from(client.clone());
    for turn in 0..5 {
        runtime.block_on(async {
            let request = Request::post(&http(&network, &format!("/delay/10{turn}")));
            let given_up = tokio::time::timeout(Duration::from_millis(50), asking.send(&request)).await;
            assert!(given_up.is_err(), "it was answered before: {given_up:?}");
            let next = asking.send(&Request::get(&http(&network, &format!("/rows/{turn}")))).await.unwrap();
            assert!(next.text().unwrap().contains(&format!("\"id\":\"{turn}\"")), "{:?}", next.text());
            assert!(!next.trace().reused);
        });
        assert!(seen(&network, &format!("/delay/10{turn}")).len() <= 1);
    }
    recovers_alone(&client, &network);
}

#[test]
fn h20_fields_that_belong_to_the_client_are_refused_before_anything_is_sent() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let url = http(&network, "/echo");
    let refused = Failure { reason: Reason::ConfigInput, delivery: Delivery::NotSent, attempts: 0 };
    for caller in Caller::ALL {
        let meets = |request: Request| _ = fails_as(caller, &client, &request, TIMEOUT, refused);
        for name in
            ["Host", "Content-Length", "Transfer-Encoding", "TE", "Connection", "Keep-Alive", "Upgrade", "Trailer"]
        {
            meets(Request::post(&url).header(name, "1"));
        }
        meets(Request::post(&url).header("Idempotency-Key", "\"a\"").header("idempotency-key", "\"b\""));
        for split in ["a\r\nX: b", "a\nb", "a\rb", "a\0b"] {
            meets(Request::get(&url).header("X", split));
        }
    }
    let counts = network.counts();
    assert_eq!((counts.proxy.total, counts.origins.requests), (0, 0));
    for ask in Ask::ALL {
        assert_eq!(client.send(&ask.request(&url)).unwrap().status(), 200);
    }
    for seen in network.seen() {
        for name in ["host", "content-length", "transfer-encoding", "connection", "te", "idempotency-key"] {
            let times = seen.headers.iter().filter(|(field, _)| field == name).count();
            assert!(times <= 1, "{name} stands {times} times in {:?}", seen.headers);
        }
    }
    recovers_alone(&client, &network);
}

#[test]
fn h22_a_great_error_answer_is_bounded_and_shown_to_nobody() {
    let secret = "password=hunter2 ".repeat(100_000);
    let text = format!("HTTP/1.1 500 Oops\r\nX-Secret: hunter2\r\nContent-Length: 104857600\r\n\r\n{secret}");
    let binary: Vec<u8> = b"HTTP/1.1 500 \xff\xfe\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n"
        .iter()
        .copied()
        .chain((0..0x20000).map(|at| at as u8))
        .collect();
    for (caller, ask) in every_call() {
        for answer in [text.clone().into_bytes(), binary.clone()] {
            let peer = Peer::saying(answer);
            let client = peer.client().build().unwrap();
            let request = ask.request(&peer.url("http", "/path?token=hunter2")).header("Authorization", "hunter2");
            let answer = caller.send(&client, &request).unwrap();
            assert_eq!((answer.status(), answer.is_cut(), answer.body().len()), (500, true, 64 * 1024));
            assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
            assert_eq!(peer.heads().len(), 1, "500 is an answer");
            assert_eq!(client.stats().connections_live, 0);
            peer.recovers(&client, &peer.url("http", "/after"));
        }
    }
}

#[test]
fn h22_a_hundred_megabytes_of_error_are_not_read() {
    let network = start(Plan::default());
    for (caller, ask) in every_call() {
        network.reset_counts();
        let client = client(&network).build().unwrap();
        network.inject_times(Fault::BigError(100 << 20), 1);
        let answer = caller.send(&client, &ask.request(&peer(&network, "/wrong"))).unwrap();
        assert_eq!((answer.status(), answer.is_cut(), answer.body().len()), (500, true, 64 * 1024));
        assert_eq!((answer.trace().attempts, client.stats().connections_live), (1, 0));
        // What fits the sockets' buffers on the way, and no more.
        let sent = network.counts().origins.bytes_out;
        assert!(sent < 50 << 20, "{sent} bytes were read");
        recovers_alone(&client, &network);
    }
}

#[test]
fn h1_h6_a_trailer_or_extension_without_end_is_cut_off() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = "5\r\nhello\r\n0\r\n".to_owned() + &"X-Trailer: 0123456789\r\n".repeat(100_000);
    let extended = "5;".to_owned() + &"x".repeat(2 << 20);
    for body in [endless, extended] {
        for (caller, ask) in every_call() {
            let peer = Peer::saying(format!("{head}{body}"));
            let client = peer.client().build().unwrap();
            let request = ask.request(&peer.url("http", "/"));
            fails_as(caller, &client, &request, TIMEOUT, ask.broken(Reason::ProtocolChunk, 1));
            assert_eq!((peer.requests("/"), client.stats().connections_live), (1, 0));
            peer.recovers(&client, &peer.url("http", "/after"));
        }
    }
    refused(Fault::TrailerFlood, |ask| ask.broken(Reason::ProtocolChunk, 1));
}

#[test]
fn h21_no_answer_leaves_a_trace_in_the_next_request() {
    let network = start(Plan::default());
    let peer = Peer::saying(
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nSet-Cookie: a=b\r\nAlt-Svc: h2=\":443\"\r\n\
         Strict-Transport-Security: max-age=9999\r\nRefresh: 0; url=/x\r\nContent-Length: 0\r\n\r\n",
    );
    for caller in Caller::ALL {
        let client = peer.client().build().unwrap();
        let before = caller.send(&client, &peer.get("/1")).unwrap();
        assert_eq!((before.status(), before.header("location")), (302, Some("http://elsewhere.test/")));
        caller.send(&client, &peer.get("/2")).unwrap();
        let heads = peer.heads();
        let [first, second] = &heads[heads.len() - 2..] else { panic!("{heads:?}") };
        assert_eq!(first.replace(" /1 ", " /2 "), *second, "the answer changed the next request");
        assert_eq!((client.stats().dials, client.stats().reuses), (1, 1), "nobody went elsewhere");
        client.close();

        let client = common::client(&network).build().unwrap();
        network.inject(Fault::HiddenState);
        for path in ["/1", "/2"] {
            let answer = caller.send(&client, &Request::get(&common::peer(&network, path))).unwrap();
            assert_eq!(answer.text().unwrap(), "hello");
        }
        let seen = network.seen();
        let [first, second] = &seen[seen.len() - 2..] else { panic!("{seen:?}") };
        assert_eq!(first.headers, second.headers);
        assert_eq!(network.counts().origins.connections, 1, "one connection, to the port that was asked for");
        recovers_alone(&client, &network);
        client.close();
        network.reset_counts();
    }
}
