//! Promise: a peer that breaks HTTP/1, or makes treacherous use of it, gets an exact error, its connection is closed and
//! never pooled, nothing of it reaches the next request, and the next healthy request succeeds (FAULTS section 4).
//!
//! Most scripts are the box's scripted peer's; those it does not know are played by [`Peer`], a raw socket below.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{client, eventually, http, peer, seen, start};
use pinlink::{Builder, Client, Delivery, Reason, Request};
use pinlink_box::{ChunkSize, Fault, Plan, StatusLine};

/// Plays a script to one GET: the exact reason, no second try, the connection gone, the next request as if nothing had been.
fn refused(script: Fault, reason: Reason) {
    let network = start(Plan::default());
    let client = client(&network).max_attempts(1).max_body(1 << 20).build().unwrap();
    client.send(&Request::get(&peer(&network, "/before"))).unwrap();
    network.inject_times(script.clone(), 1);
    let begun = Instant::now();
    let error = client.send(&Request::get(&peer(&network, "/broken"))).expect_err(&format!("{script:?} was accepted"));
    assert_eq!(error.reason(), reason, "{script:?}: {error}");
    assert_ne!(error.delivery(), Delivery::NotSent, "{script:?}: the peer had the request");
    assert!(begun.elapsed() < Duration::from_secs(5), "{script:?} took {:?}", begun.elapsed());
    assert_eq!(seen(&network, "/broken").len(), 1);
    assert_eq!(client.stats().connections_live, 0, "{script:?}: the connection was kept");
    let next = client.send(&Request::get(&peer(&network, "/after"))).unwrap();
    assert_eq!((next.status(), next.text().unwrap()), (200, "hello"), "{script:?}");
    assert!(!next.trace().reused);
    let stats = client.stats();
    assert_eq!((stats.failures, stats.retries, stats.replaced, stats.connections_live), (1, 0, 0, 1), "{script:?}");
    eventually("the peer's side is closed too", || network.counts().proxy.live == 1);
}

/// Plays a script whose answer is good, on a connection that must not be used again.
fn not_pooled(script: Fault, status: u16, body: &str) {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    client.send(&Request::get(&peer(&network, "/before"))).unwrap();
    network.inject_times(script.clone(), 1);
    let answer = client.send(&Request::get(&peer(&network, "/odd"))).unwrap();
    assert_eq!((answer.status(), answer.text().unwrap()), (status, body), "{script:?}");
    assert_eq!(client.stats().connections_live, 0, "{script:?}: the connection was kept");
    let next = client.send(&Request::post(&peer(&network, "/after"))).unwrap();
    assert_eq!((next.status(), next.text().unwrap(), next.trace().reused), (200, "hello", false), "{script:?}");
    assert_eq!(client.stats().replaced, 0, "{script:?}: it was pooled and found dead");
    assert_eq!(network.counts().origins.connections, 2);
    assert_eq!(seen(&network, "/after").len(), 1);
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
        refused(Fault::BadChunkSize(how), Reason::ProtocolChunk);
    }
}

#[test]
fn h2_a_length_beside_a_transfer_coding_is_ambiguous() {
    refused(Fault::LengthAndChunked, Reason::ProtocolFraming);
}

#[test]
fn h3_lengths_that_contradict_or_are_no_numbers_are_refused() {
    // hyper tells a bad length as a malformed head; either name says what is wrong.
    refused(Fault::TwoLengths, Reason::ProtocolHead);
    refused(Fault::NegativeLength, Reason::ProtocolHead);
}

#[test]
fn h3_a_length_in_any_other_bad_form_is_refused() {
    for length in ["5, 6", "99999999999999999999", "18446744073709551616", "+5", "0x5", "5 5", "five", ""] {
        let peer = Peer::saying(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello"));
        let error = peer.client().max_attempts(1).build().unwrap().send(&peer.get("/")).expect_err(length);
        assert!(matches!(error.reason(), Reason::ProtocolHead | Reason::ProtocolFraming), "{length:?}: {error}");
    }
}

#[test]
fn h4_a_body_that_ends_early_is_incomplete() {
    refused(Fault::ShortBody, Reason::ProtocolIncomplete);
    refused(Fault::ChunkedNoEnd, Reason::ProtocolIncomplete);
    refused(Fault::WriteThenReset, Reason::ProtocolIncomplete);
}

#[test]
fn h4_a_get_that_ended_early_is_asked_for_again() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    network.inject_times(Fault::ShortBody, 1);
    let answer = client.send(&Request::get(&peer(&network, "/twice"))).unwrap();
    assert_eq!((answer.text().unwrap(), answer.trace().attempts), ("hello", 2));
    assert_eq!(seen(&network, "/twice").len(), 2);
}

#[test]
fn h5_what_follows_an_answer_is_nobody_s_answer() {
    not_pooled(Fault::ExtraBytes, 200, "hello");
}

#[test]
fn h6_too_many_or_too_great_header_fields_are_over_the_limit() {
    refused(Fault::HeaderFlood, Reason::LimitHeaders);
    refused(Fault::HeaderCount(100_000), Reason::LimitHeaders);
    refused(Fault::HeaderCount(99), Reason::LimitHeaders);
    refused(Fault::BigHeader(70_000), Reason::LimitHeaders);
    refused(Fault::BigHeader(10 << 20), Reason::LimitHeaders);
}

#[test]
fn h6_a_head_within_the_limits_is_fine() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    // Two more than these are the peer's own.
    for script in [Fault::HeaderCount(98), Fault::BigHeader(60_000)] {
        network.inject_times(script.clone(), 1);
        let answer =
            client.send(&Request::get(&peer(&network, "/"))).unwrap_or_else(|error| panic!("{script:?}: {error}"));
        assert_eq!(answer.text().unwrap(), "hello");
    }
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn h7_more_interim_answers_than_allowed_are_over_the_limit() {
    refused(Fault::InterimFlood, Reason::LimitInterim);
    refused(Fault::Interim(33), Reason::LimitInterim);
    refused(Fault::Interim(2_000), Reason::LimitInterim);
}

#[test]
fn h7_as_many_interim_answers_as_allowed_are_passed_over() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    // Counted for each request anew, also on one connection.
    for _ in 0..3 {
        network.inject_times(Fault::Interim(32), 1);
        assert_eq!(client.send(&Request::get(&peer(&network, "/"))).unwrap().text().unwrap(), "hello");
    }
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn h7_a_switch_of_protocols_that_nobody_asked_for_is_unexpected() {
    refused(Fault::UnaskedSwitch, Reason::ProtocolUnexpected);
}

#[test]
fn h8_a_final_answer_during_the_upload_is_delivered_and_the_upload_stops() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    network.inject_times(Fault::EarlyFinal, 1);
    let size = 48 << 20;
    let answer = client.send(&Request::post(&peer(&network, "/upload")).body(vec![b'x'; size])).unwrap();
    assert_eq!((answer.status(), answer.trace().attempts), (413, 1));
    assert_eq!(client.stats().connections_live, 0, "half a request stands on that connection");
    let next = client.send(&Request::get(&peer(&network, "/after"))).unwrap();
    assert_eq!(next.text().unwrap(), "hello");
    assert_eq!(seen(&network, "/upload").len(), 1);
    let read = network.counts().origins.bytes_in;
    assert!(read < size as u64 / 2, "the upload went on: {read} bytes");
}

#[test]
fn h10_a_connection_that_the_peer_ends_is_not_reused() {
    not_pooled(Fault::CloseAfterAnswer, 200, "hello");
    not_pooled(Fault::Http10, 200, "hello");
}

#[test]
fn h10_an_announced_idle_limit_is_obeyed() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    network.inject(Fault::KeepAliveTimeout(1));
    client.send(&Request::get(&peer(&network, "/1"))).unwrap();
    // The time is what was announced; nothing else happens that could be awaited.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(client.send(&Request::post(&peer(&network, "/2"))).unwrap().text().unwrap(), "hello");
    assert_eq!(seen(&network, "/2").len(), 1);
    let stats = client.stats();
    assert_eq!((stats.replaced, stats.retries), (0, 0), "the client knew that the connection was over (DESIGN 5)");
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
        refused(Fault::GarbageStatus(how), Reason::ProtocolHead);
    }
}

#[test]
fn h15_an_unasked_408_on_an_idle_connection_is_nobody_s_answer() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    network.inject_times(Fault::RequestTimeout408, 1);
    assert_eq!(client.send(&Request::get(&peer(&network, "/1"))).unwrap().text().unwrap(), "hello");
    // The peer says it 50 ms later, then FIN; the proxy hands both on before it forgets the connection.
    let sent = |peer: &pinlink_box::Network| peer.counts().origins.bytes_out;
    let before = sent(&network);
    eventually("the 408 is out", || sent(&network) > before.max(80));
    let answer = client.send(&Request::post(&peer(&network, "/2"))).unwrap();
    assert_eq!((answer.status(), answer.trace().attempts), (200, 1));
    assert_eq!(seen(&network, "/2").len(), 1);
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
    for _ in 0..5 {
        let head = client.send(&Request::head(&http(&network, "/bytes/100000"))).unwrap();
        assert_eq!((head.status(), head.body().len(), head.header("content-length")), (200, 0, Some("100000")));
        let same = client.send(&Request::get(&http(&network, "/rows/1")).header("If-None-Match", &tag)).unwrap();
        assert_eq!((same.status(), same.body().len()), (304, 0));
        assert_eq!(client.send(&Request::get(&http(&network, "/rows/1"))).unwrap().body(), full.body());
    }
    assert_eq!(network.counts().proxy.total, 1);
}

#[test]
fn h18_a_body_over_its_limit_is_not_read_to_its_end() {
    refused(Fault::EndlessBody, Reason::LimitBody);
    refused(Fault::EndlessBodyNoLength, Reason::LimitBody);
    let network = start(Plan::default());
    let client = client(&network).max_body(1000).build().unwrap();
    for path in ["/bytes/1001", "/chunked/1001"] {
        let error = client.send(&Request::get(&http(&network, path))).unwrap_err();
        assert_eq!((error.reason(), error.delivery()), (Reason::LimitBody, Delivery::Answered));
        assert_eq!(
            (seen(&network, path).len(), client.stats().connections_live),
            (1, 0),
            "no second try, nothing pooled"
        );
    }
    for path in ["/bytes/1000", "/chunked/1000", "/bytes/0", "/chunked/0"] {
        let size: usize = path.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(client.send(&Request::get(&http(&network, path))).unwrap().body().len(), size);
    }
}

#[test]
fn h19_an_answer_that_comes_too_late_is_never_the_next_one_s() {
    let network = start(Plan::default());
    let client = client(&network).max_connections(1).build().unwrap();
    for turn in 0..10 {
        let late = Request::get(&http(&network, "/delay/100")).timeout(Duration::from_millis(50));
        assert_eq!(client.send(&late).unwrap_err().reason(), Reason::TimeoutTotal);
        let next = client.send(&Request::get(&http(&network, &format!("/rows/{turn}")))).unwrap();
        assert!(next.text().unwrap().contains(&format!("\"id\":\"{turn}\"")), "{:?}", next.text());
        assert!(!next.trace().reused);
    }
}

#[test]
fn h20_fields_that_belong_to_the_client_are_refused_before_anything_is_sent() {
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    let url = http(&network, "/echo");
    for name in ["Host", "Content-Length", "Transfer-Encoding", "TE", "Connection", "Keep-Alive", "Upgrade", "Trailer"]
    {
        let error = client.send(&Request::post(&url).header(name, "1")).unwrap_err();
        assert_eq!((error.reason(), error.delivery()), (Reason::ConfigInput, Delivery::NotSent), "{name}");
    }
    let twice = Request::post(&url).header("Idempotency-Key", "\"a\"").header("idempotency-key", "\"b\"");
    assert_eq!(client.send(&twice).unwrap_err().reason(), Reason::ConfigInput);
    for split in ["a\r\nX: b", "a\nb", "a\rb", "a\0b"] {
        assert_eq!(client.send(&Request::get(&url).header("X", split)).unwrap_err().reason(), Reason::ConfigInput);
    }
    let counts = network.counts();
    assert_eq!((counts.proxy.total, counts.origins.requests), (0, 0));
    assert_eq!(client.send(&Request::get(&url)).unwrap().status(), 200);
    let fields = &network.seen()[0].headers;
    assert_eq!(fields.iter().filter(|(name, _)| name == "host").count(), 1);
}

#[test]
fn h22_a_great_error_answer_is_bounded_and_shown_to_nobody() {
    let secret = "password=hunter2 ".repeat(100_000);
    let peer =
        Peer::saying(format!("HTTP/1.1 500 Oops\r\nX-Secret: hunter2\r\nContent-Length: 104857600\r\n\r\n{secret}"));
    let client = peer.client().build().unwrap();
    let answer = client.send(&peer.get("/path?token=hunter2").header("Authorization", "hunter2")).unwrap();
    assert_eq!((answer.status(), answer.is_cut(), answer.body().len()), (500, true, 64 * 1024));
    assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
    assert_eq!(peer.connections.load(Ordering::SeqCst), 1, "500 is an answer");
    assert_eq!(client.stats().connections_live, 0);
}

#[test]
fn a_trailer_or_extension_without_end_is_cut_off() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = "5\r\nhello\r\n0\r\n".to_owned() + &"X-Trailer: 0123456789\r\n".repeat(100_000);
    let extended = "5;".to_owned() + &"x".repeat(2 << 20);
    for body in [endless, extended] {
        let peer = Peer::saying(format!("{head}{body}"));
        let client = peer.client().max_attempts(1).build().unwrap();
        let error = client.send(&peer.get("/")).unwrap_err();
        assert!(matches!(error.reason(), Reason::ProtocolChunk | Reason::LimitHeaders), "{error}");
        assert_eq!(client.stats().connections_live, 0);
    }
}

#[test]
fn no_answer_leaves_a_trace_in_the_next_request() {
    // H21: no cookie jar, no Alt-Svc, no HSTS, no redirect.
    let peer = Peer::saying(
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nSet-Cookie: a=b\r\nAlt-Svc: h2=\":443\"\r\n\
         Strict-Transport-Security: max-age=9999\r\nRefresh: 0; url=/x\r\nContent-Length: 0\r\n\r\n",
    );
    let client = peer.client().build().unwrap();
    let answer = client.send(&peer.get("/1")).unwrap();
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://elsewhere.test/")));
    client.send(&peer.get("/2")).unwrap();
    let said = String::from_utf8(peer.heard.lock().unwrap().clone()).unwrap();
    assert_eq!(said.matches("GET ").count(), 2);
    assert!(!said.to_ascii_lowercase().contains("cookie"), "{said}");
}

/// A raw peer that answers every request head with the same bytes, and counts its connections.
struct Peer {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Arc<std::sync::Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    fn saying(answer: impl Into<Vec<u8>>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let answer = Arc::new(answer.into());
        let (connections, stop, heard) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let (counted, stopped, listening) = (Arc::clone(&connections), Arc::clone(&stop), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&listening));
                std::thread::spawn(move || stream.and_then(|stream| converse(stream, &answer, &heard)));
            }
        });
        Peer { at, connections, heard, stop, thread: Some(thread) }
    }

    fn client(&self) -> Builder {
        Client::builder()
            .hosts([format!("http://peer.test:{}", self.at.port())])
            .pins(["peer.test=127.0.0.1"])
            .allow_addresses(["127.0.0.0/8"])
            .option("summary", "off")
    }

    fn get(&self, path: &str) -> Request {
        Request::get(&format!("http://peer.test:{}{path}", self.at.port()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(self.at);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Until the client closes.
fn converse(mut stream: TcpStream, answer: &[u8], heard: &std::sync::Mutex<Vec<u8>>) -> std::io::Result<()> {
    let (mut buffer, mut head) = ([0; 4096], Vec::new());
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            return Ok(());
        }
        heard.lock().unwrap().extend_from_slice(&buffer[..got]);
        head.extend_from_slice(&buffer[..got]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(answer)?;
        }
    }
}
