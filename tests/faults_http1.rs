//! FAULTS section 4, the rows that need more words than http1.rs has: `Expect: 100-continue` (H9), content codings (H12),
//! redirects (H13), statuses that ask for another way (H15), bodies where none may be (H16), and interim answers that
//! nobody asked for (H7).
//!
//! What the servers saw decides, not what the client says of itself.

mod common;

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use common::raw::{FINE, Peer};
use common::survival::{Ask, Caller, Failure, TIMEOUT, every_call, fails_as, recovers_alone};
use common::{assert_failed, bare, client, host, http, network, peer, secure, seen, start, unique};
use pinlink::{AsyncClient, Builder, Delivery, Error, Reason, Request};
use pinlink_box::{Fault, Network, Plan, Seen};

/// Where the answer was read and what it said is not taken.
fn answered(reason: Reason) -> Failure {
    Failure { reason, delivery: Delivery::Answered, attempts: 1 }
}

fn field<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
}

#[test]
fn h7_an_interim_answer_that_nobody_asked_for_is_passed_over() {
    for interim in
        ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nX: 1\r\n\r\n", "HTTP/1.1 199 X\r\n\r\n"]
    {
        let peer = Peer::saying(format!("{interim}{interim}{FINE}"));
        let client = peer.client().build().unwrap();
        for (caller, ask) in every_call() {
            let answer = caller.send(&client, &ask.request(&peer.url("http", "/"))).unwrap();
            assert_eq!((answer.status(), answer.text().unwrap(), answer.trace().attempts), (200, "hello", 1));
        }
        assert_eq!((peer.connections(), peer.requests("/")), (1, 6), "{interim:?}");
        peer.recovers(&client, &peer.url("http", "/after"));
    }
}

#[test]
fn h7_one_interim_answer_has_no_more_room_than_an_answer() {
    let peer = Peer::saying(format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n{FINE}", "x".repeat(70_000)));
    for (caller, ask) in every_call() {
        let client = peer.client().build().unwrap();
        let before = peer.connections();
        let request = ask.request(&peer.url("http", "/"));
        fails_as(caller, &client, &request, TIMEOUT, ask.lost(Reason::LimitHeaders, 1));
        assert_eq!((peer.connections() - before, client.stats().connections_live), (1, 0));
    }
    let client = peer.client().build().unwrap();
    peer.recovers(&client, &peer.url("http", "/after"));
}

/// A write that asks before it sends its body.
fn asking(ask: Ask, url: &str, size: usize) -> Request {
    let request = Request::post(url).body(vec![b'x'; size]).expect_continue();
    if ask == Ask::Keyed { request.header("Idempotency-Key", "\"7\"") } else { request }
}

#[test]
fn h9_a_body_that_is_not_asked_for_goes_out_after_a_second() {
    // Side by side: each of them waits for what does not come.
    thread::scope(|scope| {
        for script in [Fault::ExpectIgnored, Fault::ExpectLate(1500), Fault::ExpectLate(200)] {
            for (caller, ask) in every_call().filter(|(_, ask)| *ask != Ask::Get) {
                let script = script.clone();
                scope.spawn(move || {
                    let network = network();
                    let client = client(&network).build().unwrap();
                    network.inject(script.clone());
                    let begun = Instant::now();
                    let answer = caller.send(&client, &asking(ask, &peer(&network, "/asked"), 50_000)).unwrap();
                    assert_eq!((answer.status(), answer.trace().attempts), (200, 1), "{script:?}");
                    if script != Fault::ExpectLate(200) {
                        assert!(begun.elapsed() >= Duration::from_secs(1), "{script:?}: it did not wait to be asked");
                    }
                    let asked = seen(&network, "/asked");
                    assert_eq!((asked.len(), field(&asked[0], "expect")), (1, Some("100-continue")), "{script:?}");
                    // A 100 that comes late is nobody's answer.
                    let next = caller.send(&client, &Request::get(&peer(&network, "/next"))).unwrap();
                    assert_eq!(next.text().unwrap(), "hello", "{script:?}");
                    assert_eq!(client.stats().retries, 0, "{script:?}");
                    recovers_alone(&client, &network);
                });
            }
        }
    });
}

#[test]
fn h9_who_does_not_know_the_question_gets_the_request_once_without_it() {
    for (caller, ask) in every_call().filter(|(_, ask)| *ask != Ask::Get) {
        let network = network();
        let client = client(&network).build().unwrap();
        network.inject(Fault::ExpectFailed);
        let answer = caller.send(&client, &asking(ask, &peer(&network, "/asked"), 50_000)).unwrap();
        assert_eq!(answer.status(), 200);
        let asked = seen(&network, "/asked");
        assert_eq!(asked.iter().map(|seen| field(seen, "expect")).collect::<Vec<_>>(), [Some("100-continue"), None]);
        recovers_alone(&client, &network);

        let stubborn = Peer::saying("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        let client = stubborn.client().build().unwrap();
        // The peer waits for the body that the question's length announces: it has left, and is not sent a second time.
        let answer = caller.send(&client, &asking(ask, &stubborn.url("http", "/asked"), 0).body("once")).unwrap();
        assert_eq!(answer.status(), 417, "an answer is an answer");
        assert_eq!(stubborn.requests("/asked"), 1, "the body was sent, after the second that a question waits");
        stubborn.recovers(&client, &stubborn.url("http", "/after"));
    }
}

#[test]
fn h9_a_final_answer_to_the_question_spares_the_body() {
    for (caller, ask) in every_call().filter(|(_, ask)| *ask != Ask::Get) {
        for status in [401, 413] {
            let network = network();
            let client = client(&network).build().unwrap();
            network.inject(Fault::ExpectFinal(status));
            let answer = caller.send(&client, &asking(ask, &peer(&network, "/asked"), 1 << 20)).unwrap();
            assert_eq!((answer.status(), answer.trace().attempts), (status, 1));
            assert_eq!(seen(&network, "/asked").len(), 1);
            assert!(network.counts().origins.bytes_in < 4096, "the body went out: {:?}", network.counts().origins);
            assert_eq!(client.stats().connections_live, 0, "half a request stands on that connection");
            recovers_alone(&client, &network);
        }
    }
}

/// A client that asks for codings.
fn decoding(network: &Network) -> Builder {
    client(network).decode(true).max_body(8 << 20)
}

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

#[test]
fn h12_a_coded_body_is_decoded_where_that_was_asked_for_and_else_left_alone() {
    let network = network();
    let (raw, decoded) = (client(&network).build().unwrap(), decoding(&network).build().unwrap());
    let plain = raw.send(&Request::get(&http(&network, "/bytes/100000"))).unwrap();
    for (coding, caller) in CODINGS.into_iter().flat_map(|coding| Caller::ALL.map(|caller| (coding, caller))) {
        for url in [http(&network, ""), secure(&network, "")] {
            let request = Request::get(&format!("{url}/encoded/{coding}/100000"));
            let answer = caller.send(&decoded, &request).unwrap();
            assert!(answer.body() == plain.body(), "{coding} {caller:?}");
            assert_eq!(answer.header("content-encoding"), None, "{coding}: it is not coded any more");
            let answer = caller.send(&raw, &request).unwrap();
            assert_eq!(answer.header("content-encoding"), Some(coding));
            assert!(answer.body() != plain.body(), "{coding} {caller:?}: nobody asked for it to be decoded");
        }
    }
    let members = format!("{}?members=3", http(&network, "/encoded/gzip/100000"));
    for caller in Caller::ALL {
        let answer = caller.send(&decoded, &Request::get(&members)).unwrap();
        assert!(answer.body() == plain.body(), "three members are one body (RFC 1952 2.2)");
    }
    raw.close();
    recovers_alone(&decoded, &network);
}

/// What each treacherous body must be refused for.
fn bad_codings() -> Vec<(String, Reason)> {
    let each = |coding: &str| {
        vec![
            // A hundred megabytes of nothing.
            (format!("/bomb/{coding}/100"), Reason::LimitDecode),
            (format!("/encoded/{coding}/1000?times=2"), Reason::LimitDecode),
            (format!("/encoded/{coding}/1000?times=5"), Reason::LimitDecode),
            (format!("/encoded/{coding}/100000?cut=1"), Reason::ProtocolDecode),
            (format!("/encoded/{coding}/100000?cut=10"), Reason::ProtocolDecode),
            (format!("/encoded/{coding}/1000?garbage=1"), Reason::ProtocolDecode),
            (format!("/encoded/{coding}/1000?garbage=5000"), Reason::ProtocolDecode),
        ]
    };
    CODINGS.into_iter().flat_map(each).collect()
}

#[test]
fn h12_bombs_layers_and_broken_codings_are_refused_whoever_asks() {
    let network = network();
    for (path, reason) in bad_codings() {
        // What a body is decoded to does not depend on what was asked for: all of it is tried with one coding.
        for (caller, ask) in every_call().filter(|(_, ask)| *ask == Ask::Get || path.contains("gzip")) {
            network.reset_counts();
            let client = decoding(&network).build().unwrap();
            let request = ask.request(&http(&network, &path));
            let error = fails_as(caller, &client, &request, TIMEOUT, answered(reason));
            assert!(error.host().is_some(), "{path}: {error}");
            assert_eq!(network.counts().origins.requests, 1, "{path}: it would be no better a second time");
            recovers_alone(&client, &network);
        }
    }
    // What is decoded counts, not what came.
    for (coding, caller) in CODINGS.into_iter().flat_map(|coding| Caller::ALL.map(|caller| (coding, caller))) {
        let client = decoding(&network).max_body(500_000).build().unwrap();
        let request = Request::get(&http(&network, &format!("/encoded/{coding}/500001")));
        fails_as(caller, &client, &request, TIMEOUT, answered(Reason::LimitBody));
        let request = Request::get(&http(&network, &format!("/encoded/{coding}/500000")));
        assert_eq!(caller.send(&client, &request).unwrap().body().len(), 500_000);
        recovers_alone(&client, &network);
    }
}

/// Reads an answer while it comes, to its end or its error.
fn streamed(caller: Caller, client: &pinlink::Client, request: &Request) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    match caller {
        Caller::Blocking => {
            let mut answer = client.open(request)?;
            while let Some(piece) = answer.chunk()? {
                body.extend_from_slice(&piece);
            }
        }
        Caller::Async => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
            runtime.block_on(async {
                let mut answer = AsyncClient::from(client.clone()).open(request).await?;
                while let Some(piece) = answer.chunk().await? {
                    body.extend_from_slice(&piece);
                }
                Ok::<_, Error>(())
            })?;
        }
    }
    Ok(body)
}

#[test]
fn h12_a_reader_meets_the_same_bombs_and_never_sees_a_whole_body() {
    let network = network();
    let client = client(&network).decode(true).build().unwrap();
    for (path, reason) in bad_codings() {
        for caller in Caller::ALL {
            let error = streamed(caller, &client, &Request::get(&http(&network, &path))).expect_err(&path);
            assert_failed(&error, reason, Delivery::Answered);
        }
    }
    for (coding, caller) in CODINGS.into_iter().flat_map(|coding| Caller::ALL.map(|caller| (coding, caller))) {
        let url = http(&network, &format!("/encoded/{coding}/1000000"));
        assert_eq!(streamed(caller, &client, &Request::get(&url)).unwrap().len(), 1_000_000, "{coding}");
    }
    recovers_alone(&client, &network);
}

/// Follows ten redirects.
fn following(network: &Network) -> Builder {
    client(network).max_redirects(10_usize)
}

#[test]
fn h13_nothing_is_followed_unless_that_was_asked_for_and_writes_never() {
    let network = network();
    for (caller, ask) in every_call() {
        for (status, most) in [301, 302, 303, 307, 308].into_iter().flat_map(|status| [(status, 0_usize), (status, 10)])
        {
            if ask == Ask::Get && most > 0 {
                continue;
            }
            network.reset_counts();
            let client = client(&network).max_redirects(most).build().unwrap();
            let url = http(&network, &format!("/redirect/{status}?to=/sink/1"));
            let answer = caller.send(&client, &ask.request(&url)).unwrap();
            assert_eq!((answer.status(), answer.header("location")), (status, Some("/sink/1")));
            assert_eq!(network.counts().origins.requests, 1, "{status} {ask:?}");
            assert!(network.sink().is_empty());
            recovers_alone(&client, &network);
        }
    }
    let client = following(&network).build().unwrap();
    let with_body = Request::get(&http(&network, "/redirect/307?to=/rows/1")).body("asked");
    assert_eq!(client.send(&with_body).unwrap().status(), 307, "a body is for who was asked");
}

#[test]
fn h13_a_get_follows_as_many_redirects_as_allowed_and_no_circle() {
    let network = network();
    for caller in Caller::ALL {
        let client = following(&network).build().unwrap();
        for status in [301, 302, 303, 307, 308] {
            let url = http(&network, &format!("/redirect/{status}?to=../rows/end"));
            let answer = caller.send(&client, &Request::get(&url)).unwrap();
            assert!(answer.text().unwrap().contains("\"end\""), "{status}: {:?}", answer.text());
        }
        network.reset_counts();
        let answer = caller.send(&client, &Request::get(&http(&network, "/redirects/10"))).unwrap();
        assert_eq!((answer.status(), network.counts().origins.requests), (200, 11));

        network.reset_counts();
        for (path, requests) in [("/redirects/11", 11), ("/redirects/100", 11), ("/redirect/302?to=/redirect/302", 2)] {
            network.reset_counts();
            let request = Request::get(&http(&network, path));
            if path.ends_with("/302") {
                // The second has no Location: it is the answer.
                assert_eq!(caller.send(&client, &request).unwrap().status(), 302);
            } else {
                // Every hop is a try.
                let failure = Failure { attempts: 11, ..answered(Reason::LimitRedirects) };
                fails_as(caller, &client, &request, TIMEOUT, failure);
            }
            assert_eq!(network.counts().origins.requests, requests, "{path}");
        }
        recovers_alone(&client, &network);

        let there = Peer::answering(|head, _| {
            let to = if head.starts_with("GET /a ") { "/b" } else { "/a" };
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        });
        let client = there.client().max_redirects(10_usize).build().unwrap();
        let failure = Failure { attempts: 2, ..answered(Reason::LimitRedirects) };
        fails_as(caller, &client, &there.get("/a"), TIMEOUT, failure);
        assert_eq!((there.requests("/a"), there.requests("/b"), there.connections()), (1, 1, 1), "a circle is seen");
        there.recovers(&client, &there.url("http", "/after"));
    }
}

#[test]
fn h13_what_speaks_for_the_caller_goes_to_no_other_origin() {
    for caller in Caller::ALL {
        let network = start(Plan { names: ["a", "b"].map(unique).to_vec(), ..Plan::default() });
        let port = network.http();
        let [a, b] = [0, 1].map(|name| format!("http://{}:{port}", network.addresses().plan.names[name]));
        let client = bare(&network).hosts([&a, &b]).max_redirects(10_usize).build().unwrap();
        let ask = |url: &str| {
            Request::get(url)
                .header("Authorization", "Bearer hunter2")
                .header("Cookie", "session=hunter2")
                .header("Idempotency-Key", "\"hunter2\"")
                .header("X-Trace", "7")
        };
        let answer = caller.send(&client, &ask(&format!("{a}/redirect/302?to={b}/rows/there"))).unwrap();
        assert_eq!(answer.status(), 200);
        let there = &seen(&network, "/rows/there")[0];
        assert_eq!(there.host.as_deref(), b.strip_prefix("http://"));
        assert_eq!(field(there, "x-trace"), Some("7"));
        assert!(!format!("{:?}", there.headers).contains("hunter2"), "{:?}", there.headers);

        let answer = caller.send(&client, &ask(&format!("{a}/redirect/302?to={a}/rows/here"))).unwrap();
        assert_eq!(answer.status(), 200);
        let here = &seen(&network, "/rows/here")[0];
        assert_eq!(field(here, "authorization"), Some("Bearer hunter2"), "at the same origin it is still asked for");
        recovers_at(&client, &network, &format!("{a}/rows/healthy"));
    }
}

/// As [`recovers_alone`], for a client that knows only some origins.
#[track_caller]
fn recovers_at(client: &pinlink::Client, network: &Network, url: &str) {
    network.heal();
    common::assert_whole_at(client, url);
    common::eventually("the proxy has no connection more", || {
        network.counts().proxy.live == client.stats().connections_live
    });
}

#[test]
fn h13_no_hop_leaves_what_is_declared_pinned_and_allowed() {
    let network = network();
    let wild = format!("http://*.{}:{}", host(&network), network.http());
    for caller in Caller::ALL {
        let client =
            following(&network).hosts([http(&network, ""), secure(&network, ""), wild.clone()]).build().unwrap();
        let unpinned = wild.replace('*', "unpinned");
        for (to, reason) in [
            ("http://elsewhere.test/", Reason::PolicyNotDeclared),
            ("//elsewhere.test/", Reason::PolicyNotDeclared),
            ("http://169.254.169.254/latest/meta-data", Reason::PolicyNotDeclared),
            ("http://[::ffff:169.254.169.254]/", Reason::PolicyNotDeclared),
            ("http://127.0.0.1:22/", Reason::PolicyNotDeclared),
            ("http://2130706433/", Reason::PolicyNotDeclared),
            (&unpinned, Reason::PolicyNotPinned),
            ("ftp://elsewhere.test/", Reason::ProtocolHead),
            ("file:///etc/passwd", Reason::ProtocolHead),
            ("http://user:password@elsewhere.test/", Reason::ProtocolHead),
            ("http:///rows/1", Reason::ProtocolHead),
        ] {
            network.reset_counts();
            let request = Request::get(&http(&network, &format!("/redirect/302?to={to}")));
            fails_as(caller, &client, &request, TIMEOUT, answered(reason));
            let counts = network.counts();
            assert_eq!((counts.origins.requests, counts.dns.queries), (1, 0), "{to}: nobody else was asked");
        }
        // No way leads from TLS into the open.
        network.reset_counts();
        let request = Request::get(&secure(&network, &format!("/redirect/302?to={}", http(&network, "/rows/1"))));
        fails_as(caller, &client, &request, TIMEOUT, answered(Reason::PolicyDowngrade));
        assert_eq!(network.counts().origins.requests, 1);
        // The other way it does.
        let request = Request::get(&http(&network, &format!("/redirect/302?to={}", secure(&network, "/rows/1"))));
        assert_eq!(caller.send(&client, &request).unwrap().status(), 200);
        recovers_alone(&client, &network);
    }
}

#[test]
fn h13_all_hops_together_have_the_time_of_one_call() {
    let network = network();
    for caller in Caller::ALL {
        let client = following(&network).build().unwrap();
        let budget = Duration::from_millis(300);
        let request = Request::get(&http(&network, "/redirect/302?to=/delay/60000")).timeout(budget);
        let failure = Failure { reason: Reason::TimeoutTotal, delivery: Delivery::Unknown, attempts: 2 };
        fails_as(caller, &client, &request, budget, failure);
        recovers_alone(&client, &network);
    }
}

#[test]
fn h12_h13_the_body_of_a_redirect_is_neither_decoded_nor_read_without_end() {
    let much = "x".repeat(2 << 20);
    let bodies = [
        ("Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip".to_owned(), None),
        (format!("Content-Length: 104857600\r\n\r\n{much}"), Some(Reason::LimitBody)),
        (format!("Transfer-Encoding: chunked\r\n\r\n40000000\r\n{much}"), Some(Reason::LimitBody)),
        (format!("Connection: close\r\n\r\n{much}"), Some(Reason::LimitBody)),
    ];
    for ((body, refused), caller) in
        bodies.into_iter().flat_map(|body| Caller::ALL.map(|caller| (body.clone(), caller)))
    {
        let peer = Peer::answering(move |head, _| match head.starts_with("GET /from ") {
            true => format!("HTTP/1.1 302 Found\r\nLocation: /to\r\n{body}").into_bytes(),
            false => FINE.as_bytes().to_vec(),
        });
        let client = peer.client().max_redirects(1_usize).decode(true).max_body(1 << 20).build().unwrap();
        match refused {
            Some(reason) => _ = fails_as(caller, &client, &peer.get("/from"), TIMEOUT, answered(reason)),
            None => assert_eq!(caller.send(&client, &peer.get("/from")).unwrap().text().unwrap(), "hello"),
        }
        assert_eq!((peer.requests("/from"), peer.requests("/to")), (1, usize::from(refused.is_none())));
        peer.recovers(&client, &peer.url("http", "/after"));
    }
}

#[test]
fn h14_every_caller_waits_as_long_as_asked_and_no_write_is_repeated() {
    thread::scope(|scope| {
        for (caller, ask) in every_call() {
            scope.spawn(move || {
                let network = network();
                let client = client(&network).build().unwrap();
                let begun = Instant::now();
                let request = ask.request(&http(&network, "/status/503?retry_after=1&times=1"));
                let answer = caller.send(&client, &request).unwrap();
                let expected = if ask == Ask::Post { (503, 1) } else { (200, 2) };
                assert_eq!((answer.status(), answer.trace().attempts), expected, "{caller:?} {ask:?}");
                assert!(ask == Ask::Post || begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
                assert_eq!(seen(&network, "/status/503").len(), expected.1 as usize);
                // What is not waited for in vain: longer than the call has.
                let request = ask.request(&http(&network, "/status/503?retry_after=1000000000000"));
                let answer = caller.send(&client, &request).unwrap();
                assert_eq!((answer.status(), answer.trace().attempts), (503, 1), "{caller:?} {ask:?}");
                assert_eq!(network.counts().proxy.total, 1, "an answer, whatever it says, ends no connection");
                recovers_alone(&client, &network);
            });
        }
    });
}

#[test]
fn h15_a_misdirected_request_goes_once_to_a_new_connection() {
    for (caller, ask) in every_call().filter(|(_, ask)| *ask != Ask::Post) {
        let network = network();
        let client = client(&network).build().unwrap();
        let answer = caller.send(&client, &ask.request(&http(&network, "/status/421?times=1"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts, answer.trace().reused), (200, 2, false));
        assert_eq!(network.counts().origins.connections, 2, "RFC 9110 15.5.20: over a different connection");
        let answer = caller.send(&client, &ask.request(&http(&network, "/status/421"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (421, 2), "once");
        recovers_alone(&client, &network);
    }
}

#[test]
fn h15_too_early_and_a_408_to_a_write_are_answers() {
    for (caller, ask) in every_call() {
        let network = network();
        let client = client(&network).build().unwrap();
        // Nothing is ever sent early, so 425 is no reason to send later.
        let answer = caller.send(&client, &ask.request(&http(&network, "/status/425?times=1"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (425, 1));
        let expected = if ask == Ask::Post { (408, 1) } else { (200, 2) };
        let answer = caller.send(&client, &ask.request(&http(&network, "/status/408?times=1"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), expected, "{ask:?}");
        assert_eq!(seen(&network, "/status/408").len(), expected.1 as usize);
        recovers_alone(&client, &network);
    }
}

#[test]
fn h16_bytes_behind_an_answer_without_a_body_end_the_connection() {
    let length = "Content-Length: 5\r\n";
    for (method, head) in [
        ("HEAD", format!("HTTP/1.1 200 OK\r\n{length}\r\n")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".to_owned()),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n{length}\r\n")),
        ("GET", format!("HTTP/1.1 204 No Content\r\n{length}\r\n")),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
    ] {
        for caller in Caller::ALL {
            let peer = Peer::saying(format!("{head}hello"));
            let client = peer.client().build().unwrap();
            let status: u16 = head[9..12].parse().unwrap();
            let answer = caller.send(&client, &Request::new(method, &peer.url("http", "/"))).unwrap();
            assert_eq!((answer.status(), answer.body().len()), (status, 0), "{method} {head:?}");
            peer.heal();
            let next = caller.send(&client, &peer.get("/next")).unwrap();
            assert_eq!((next.status(), next.text().unwrap(), next.trace().reused), (200, "hello", false), "{head:?}");
            assert_eq!((peer.requests("/"), peer.requests("/next"), peer.connections()), (1, 1, 2), "{head:?}");
            peer.recovers(&client, &peer.url("http", "/after"));
        }
    }
}

#[test]
fn h4_h18_a_reader_is_never_told_that_half_a_body_is_whole() {
    let network = network();
    for (script, caller) in [Fault::ShortBody, Fault::ChunkedNoEnd, Fault::WriteThenReset]
        .into_iter()
        .flat_map(|script| Caller::ALL.map(|caller| (script.clone(), caller)))
    {
        let client = client(&network).build().unwrap();
        network.inject(script.clone());
        let error = streamed(caller, &client, &Request::get(&peer(&network, "/half"))).expect_err("half of it");
        assert_failed(&error, Reason::ProtocolIncomplete, Delivery::Answered);
        if caller == Caller::Blocking {
            let mut answer = client.open(&Request::get(&peer(&network, "/half"))).unwrap();
            answer.read_to_end(&mut Vec::new()).expect_err("half of it");
        }
        network.heal();
        network.inject(Fault::EndlessBodyNoLength);
        let request = Request::get(&peer(&network, "/endless")).size_limit(1 << 20);
        let error = streamed(caller, &client, &request).expect_err("it has no end");
        assert_failed(&error, Reason::LimitBody, Delivery::Answered);
        recovers_alone(&client, &network);
    }
}
