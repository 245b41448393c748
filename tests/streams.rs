//! The promise: bodies of any size go both ways in constant memory, and a broken one never looks whole.

mod common;

use std::io::{self, Cursor, Read, Write};
use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use common::raw::Peer;
use common::{Scratch, assert_failed, assert_whole, client, http, network, secure};
use pinlink::{
    AsyncClient, Client, Delivery, Error, Interrupt, Kind, Phase, Piece, Reader, Reason, Request, interruptible,
};
use pinlink_box::{Fault, Network};

/// What `/bytes/n` sends.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// What `/upload` says of a body.
#[derive(serde::Deserialize)]
struct Received {
    bytes: u64,
    framing: String,
    trailers: std::collections::BTreeMap<String, String>,
}

fn upload(client: &Client, request: &Request) -> Received {
    let answer = client.send(request).expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_slice(answer.body()).expect("JSON")
}

fn inner(error: &io::Error) -> &Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("the whole error is inside")
}

#[test]
fn an_answer_is_read_while_it_comes() {
    let network = network();
    let client = client(&network).build().unwrap();
    for url in
        [http(&network, "/bytes/3000000"), secure(&network, "/bytes/3000000"), secure(&network, "/chunked/3000000")]
    {
        let mut answer = client.open(&Request::get(&url)).unwrap();
        assert_eq!((answer.status(), answer.is_success()), (200, true));
        assert_eq!(answer.length(), url.contains("bytes").then_some(3_000_000));
        let mut body = Vec::new();
        answer.read_to_end(&mut body).unwrap();
        assert!(body == pattern(3_000_000), "{url}");
        assert!(answer.chunk().unwrap().is_none());
    }
    let stats = client.stats();
    assert_eq!((stats.connections_live, stats.connections_idle), (2, 2));
}

/// Reads an answer into memory of which so much is given, or as much as is left of it; true where some of it came straight.
fn read_into(answer: &mut Reader, room: Option<usize>, body: &mut Vec<u8>) -> bool {
    let mut came_straight = false;
    loop {
        let mut memory = vec![MaybeUninit::new(0); room.unwrap_or(BODY - body.len()).max(1)];
        match answer.chunk_into(&mut memory).unwrap() {
            Piece::Here(0) => return came_straight,
            Piece::Here(size) => {
                came_straight = true;
                // SAFETY: it was initialised above, whoever has written to it since.
                body.extend(memory[..size].iter().map(|byte| unsafe { byte.assume_init() }));
            }
            Piece::Apart(piece) if piece.is_empty() => panic!("an end is told without a piece"),
            Piece::Apart(piece) => body.extend_from_slice(&piece),
        }
    }
}

const BODY: usize = 400_000;

#[test]
fn a_large_body_comes_straight_into_the_callers_memory_and_nothing_behind_it_does() {
    let body = pattern(BODY);
    let known = [format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes(), &body].concat();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(150_000) {
        chunked.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    for (answer, is_clean) in [(known.clone(), true), (chunked, true), ([known, b"HTTP/1.1".to_vec()].concat(), false)]
    {
        let peer = Peer::saying(answer);
        let client = peer.client().build().unwrap();
        for room in [Some(40_000), Some(65_536), Some(1 << 20), None] {
            let mut answer = client.open(&peer.get("/")).unwrap();
            let mut read = answer.chunk().unwrap().unwrap().to_vec();
            assert!(read_into(&mut answer, room, &mut read), "{room:?}");
            assert!(read == body, "{room:?}");
            assert_eq!(client.stats().connections_idle, u64::from(is_clean), "{room:?}");
            // The other way to the same, which the standard library's copies and collections go.
            let mut answer = client.open(&peer.get("/")).unwrap();
            let mut read = vec![0; room.unwrap_or(BODY)];
            let mut taken = 0;
            while let got @ 1.. = answer.read(&mut read).unwrap() {
                assert!(read[..got] == body[taken..taken + got], "{room:?}");
                taken += got;
            }
            assert_eq!(taken, BODY);
        }
        assert_eq!(peer.connections(), if is_clean { 1 } else { 8 });
    }
}

#[test]
fn a_size_limit_holds_for_what_comes_straight() {
    let network = network();
    let client = client(&network).build().unwrap();
    for (limit, is_over) in [(BODY - 1, true), (BODY, false)] {
        let request = Request::get(&http(&network, &format!("/bytes/{BODY}"))).size_limit(limit as u64);
        let mut answer = client.open(&request).unwrap();
        let (mut memory, mut taken) = (vec![0; 1 << 20], 0);
        let error = loop {
            match answer.read(&mut memory) {
                Ok(0) => break None,
                Ok(got) => taken += got,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(error.is_some(), is_over);
        assert!(taken < BODY || !is_over);
        if let Some(error) = error {
            assert_failed(inner(&error), Reason::LimitBody, Delivery::Answered);
        }
    }
}

#[test]
fn an_async_caller_reads_the_same() {
    let network = network();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let client = client(&network).build_async().await.unwrap();
        let mut answer = client.open(&Request::get(&secure(&network, "/bytes/1000000"))).await.unwrap();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        assert!(body == pattern(1_000_000));
        let mut answer = client.open(&Request::get(&http(&network, "/chunked/1000000"))).await.unwrap();
        let mut body = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut answer, &mut body).await.unwrap();
        assert!(body == pattern(1_000_000));
        let stats = client.stats();
        assert_eq!((stats.connections_live, stats.connections_idle), (2, 2));
    });
}

#[test]
fn an_answer_without_a_body_frees_its_connection_at_once() {
    let network = network();
    let client = client(&network).max_connections(1usize).build().unwrap();
    let kept = client.open(&Request::head(&http(&network, "/bytes/5"))).unwrap();
    assert_whole(&client, &network);
    assert_eq!(kept.length(), Some(5));
}

#[test]
fn an_answer_dropped_half_way_closes_its_connection() {
    let network = network();
    let client = client(&network).max_connections(1usize).build().unwrap();
    let mut answer = client.open(&Request::get(&http(&network, "/bytes/100000000"))).unwrap();
    assert!(answer.chunk().unwrap().is_some());
    drop(answer);
    assert_whole(&client, &network);
    assert_eq!(client.stats().dials, 2);
}

#[test]
fn a_body_that_breaks_off_is_an_error_and_stays_one() {
    let network = network();
    let client = client(&network).build().unwrap();
    let mut answer = client.open(&Request::get(&http(&network, "/close-early/100000"))).unwrap();
    let mut body = Vec::new();
    let error = answer.read_to_end(&mut body).expect_err("half of it came");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_failed(inner(&error), Reason::ProtocolIncomplete, Delivery::Answered);
    assert_eq!(body.len(), 100_000);
    assert_failed(&answer.chunk().expect_err("it stays broken"), Reason::ProtocolIncomplete, Delivery::Answered);
    drop(answer);
    assert_whole(&client, &network);
}

#[test]
fn a_slow_reader_is_not_taken_for_a_slow_target() {
    let network = network();
    let client = client(&network).stall_timeout(Duration::from_millis(300)).build().unwrap();
    let mut answer = client.open(&Request::get(&http(&network, "/bytes/20000000"))).unwrap();
    let mut read = answer.chunk().unwrap().unwrap().len();
    // Longer than a stall: the target can't go on meanwhile.
    std::thread::sleep(Duration::from_millis(600));
    while let Some(piece) = answer.chunk().unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 20_000_000);
}

#[test]
fn a_target_that_stops_in_the_middle_is_given_up() {
    let network = network();
    let client = client(&network).stall_timeout(Duration::from_millis(200)).build().unwrap();
    let mut answer = client.open(&Request::get(&http(&network, "/bytes/50000000"))).unwrap();
    network.inject(Fault::HalfOpen);
    let error = io::copy(&mut answer, &mut io::sink()).expect_err("it stalls");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_failed(inner(&error), Reason::TimeoutStalled, Delivery::Answered);
    network.heal();
    drop(answer);
    assert_whole(&client, &network);
}

#[test]
fn a_target_that_drips_makes_too_little_progress() {
    let network = network();
    network.inject(Fault::Drip(20));
    let client = client(&network).stall_timeout(Duration::from_millis(500)).min_progress(1000usize).build().unwrap();
    let error = client.send(&Request::get(&http(&network, "/bytes/5000"))).expect_err("twenty bytes a second");
    assert_failed(&error, Reason::TimeoutStalled, Delivery::Unknown);
    assert!(error.to_string().contains("less than 1000 bytes"), "{error}");
    network.heal();
    assert_whole(&client, &network);
}

#[test]
fn a_size_limit_holds_for_both_ways_of_reading() {
    let network = network();
    let client = client(&network).build().unwrap();
    let request = Request::get(&http(&network, "/chunked/100000")).size_limit(99_999);
    common::fails(&client, &request, Reason::LimitBody, Delivery::Answered);
    let mut answer = client.open(&request).unwrap();
    let error = io::copy(&mut answer, &mut io::sink()).expect_err("one byte too many");
    assert_failed(inner(&error), Reason::LimitBody, Delivery::Answered);
    let mut answer = client.open(&Request::get(&http(&network, "/chunked/100000")).size_limit(100_000)).unwrap();
    assert_eq!(io::copy(&mut answer, &mut io::sink()).unwrap(), 100_000);
}

fn bodies(url: &str) -> Vec<(&'static str, Request, u64, &'static str)> {
    let put = || Request::put(url);
    let scratch = Scratch::new();
    let file = scratch.file("body", pattern(700_000));
    let stream = Pieces { left: 5 };
    vec![
        (
            "a reader of known length",
            put().body_reader(Cursor::new(pattern(500_000)), Some(500_000)),
            500_000,
            "length",
        ),
        ("a reader of unknown length", put().body_reader(Cursor::new(pattern(500_000)), None), 500_000, "chunked"),
        ("an empty reader", put().body_reader(io::empty(), None), 0, "chunked"),
        ("a file", put().body_file(&file), 700_000, "length"),
        ("a stream", put().body_stream(stream, None), 5000, "chunked"),
        ("bytes with a trailer", put().body("hello").trailer("x-sum", "7"), 5, "chunked"),
        ("bytes with a question first", put().body(pattern(300_000)).expect_continue(), 300_000, "length"),
    ]
}

/// A stream of thousand-byte pieces, every second poll of which has nothing yet.
struct Pieces {
    left: usize,
}

impl futures_core::Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Bytes>>> {
        static POLLS: AtomicUsize = AtomicUsize::new(0);
        if POLLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                std::task::Poll::Ready(Some(Ok(Bytes::from(pattern(1000)))))
            }
            None => std::task::Poll::Ready(None),
        }
    }
}

#[test]
fn a_body_is_sent_while_it_is_read_whatever_it_is_and_whoever_calls() {
    let network = network();
    let client = client(&network).build().unwrap();
    let asynchronous = AsyncClient::from(client.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for url in [http(&network, "/upload"), secure(&network, "/upload")] {
        for (what, request, bytes, framing) in bodies(&url) {
            let received = upload(&client, &request);
            assert_eq!((received.bytes, &*received.framing), (bytes, framing), "{what}");
            assert_eq!(received.trailers.contains_key("x-sum"), what.contains("trailer"), "{what}");
        }
        for (what, request, bytes, framing) in bodies(&url) {
            let answer = runtime.block_on(asynchronous.send(&request)).expect(what);
            let received: Received = serde_json::from_slice(answer.body()).unwrap();
            let framing = if url.starts_with("https") { "h2" } else { framing };
            assert_eq!((received.bytes, &*received.framing), (bytes, framing), "{what}");
        }
    }
    // Plain, TLS for the blocking caller, and HTTP/2 for the async one.
    let stats = client.stats();
    assert_eq!((stats.connections_live, stats.connections_idle), (3, 3));
}

#[test]
fn a_body_that_can_be_read_once_is_sent_once_and_a_file_again() {
    let network = network();
    let client = client(&network).build().unwrap();
    let url = http(&network, "/upload");
    let request = Request::put(&url).body_reader(Cursor::new("once"), None);
    assert_eq!(upload(&client, &request).bytes, 4);
    let error = client.send(&request).expect_err("it was read");
    assert_failed(&error, Reason::ConfigInput, Delivery::NotSent);

    network.inject_times(Fault::AckLost, 1);
    let request = Request::put(&url).body_reader(Cursor::new("once"), None);
    let error = client.send(&request).expect_err("the answer was lost, and a reader can't be read twice");
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::Unknown), "{error}");

    let scratch = Scratch::new();
    network.inject_times(Fault::AckLost, 1);
    let request = Request::put(&url).body_file(scratch.file("body", "twice"));
    assert_eq!(upload(&client, &request).bytes, 5);
    assert_eq!(client.stats().retries, 1);
    assert_whole(&client, &network);
}

#[test]
fn a_source_that_fails_or_breaks_its_word_ends_the_call_and_the_connection() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("a disk with a secret name"))
        }
    }
    let network = network();
    let client = client(&network).build().unwrap();
    let put = || Request::put(&http(&network, "/upload"));
    for request in [
        put().body_reader(Broken, None),
        put().body_reader(Cursor::new("short"), Some(6)),
        put().body_reader(Cursor::new("much too long"), Some(6)),
    ] {
        let error = client.send(&request).expect_err("the source is broken");
        assert_eq!((error.reason(), error.phase()), (Reason::CanceledBody, Phase::Send), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let missing = put().body_file("/nowhere/at/all");
    assert_failed(&client.send(&missing).expect_err("no file"), Reason::ConfigInput, Delivery::NotSent);
    assert_whole(&client, &network);
}

fn resumed(network: &Network, path: &str, fault: Fault) -> (Client, io::Result<Vec<u8>>) {
    let client = client(network).build().unwrap();
    common::get(&client, &http(network, "/rows/1"));
    network.inject_times(fault, 1);
    let mut answer = client.open(&Request::get(&http(network, path)).resume()).unwrap();
    let mut body = Vec::new();
    let read = answer.read_to_end(&mut body).map(|_| body);
    (client, read)
}

#[test]
fn a_read_that_broke_is_resumed_where_that_was_asked_for() {
    let network = network();
    let (client, read) = resumed(&network, "/range/5000000", Fault::CloseMidAnswer(1_500_000));
    assert!(read.unwrap() == pattern(5_000_000));
    let seen = common::last_seen(&network);
    let range = seen.headers.iter().find(|(name, _)| name == "range").map(|(_, value)| value.clone());
    assert!(range.is_some_and(|range| range != "bytes=0-"), "{seen:?}");
    assert_whole(&client, &network);
    // A reset may overtake the head: then the request is sent again as a whole.
    let (client, read) = resumed(&network, "/range/5000000", Fault::ResetMidAnswer(1_500_000));
    assert!(read.unwrap() == pattern(5_000_000));
    assert_whole(&client, &network);
    // Without a strong validator nobody knows whether the rest belongs to the beginning.
    for path in ["/range/5000000?weak=1", "/bytes/5000000"] {
        let (_, read) = resumed(&network, path, Fault::CloseMidAnswer(1_500_000));
        assert_eq!(read.expect_err(path).kind(), io::ErrorKind::UnexpectedEof);
    }
}

/// Reads until a wait ends because `asks` says that the caller is interrupted.
fn read_until_interrupted(answer: &mut Reader, asks: fn(usize) -> bool, body: &mut Vec<u8>) {
    let interrupt = Interrupt { asks, of: 0 };
    loop {
        match interruptible(interrupt, || answer.chunk()) {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => panic!("the rest has not come"),
            Err(error) => return assert_eq!(error.reason(), Reason::Canceled, "{error}"),
        }
    }
}

#[test]
fn who_was_interrupted_reads_on_where_it_was() {
    let whole = pattern(BODY);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(&whole).unwrap();
    for (coding, sent) in [("identity", whole.clone()), ("gzip", packed.finish().unwrap())] {
        let (go_on, going_on) = mpsc::channel::<()>();
        let going_on = Mutex::new(going_on);
        let peer = Peer::playing(move |wire| {
            wire.request()?;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", sent.len());
            wire.say(head)?;
            wire.say(&sent[..sent.len() / 2])?;
            going_on.lock().unwrap().recv().map_err(io::Error::other)?;
            wire.say(&sent[sent.len() / 2..])?;
            wire.until_closed()
        });
        let client = peer.client().decode(true).build().unwrap();
        let (mut answer, mut body) = (client.open(&peer.get("/")).unwrap(), Vec::new());
        read_until_interrupted(&mut answer, |_| true, &mut body);
        go_on.send(()).unwrap();
        answer.read_to_end(&mut body).unwrap();
        assert!(body == whole, "{coding}: {} bytes", body.len());
    }
}

#[test]
fn a_body_whose_resumption_was_interrupted_never_looks_whole() {
    static IS_ASKED_AGAIN: AtomicBool = AtomicBool::new(false);
    let peer = Peer::playing(|wire| {
        wire.request()?;
        IS_ASKED_AGAIN.store(wire.number > 0, Ordering::SeqCst);
        match wire.number {
            0 => wire.say("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\nbegun"),
            _ => wire.until_closed(),
        }
    });
    let client = peer.client().build().unwrap();
    let (mut answer, mut body) = (client.open(&peer.get("/").resume()).unwrap(), Vec::new());
    read_until_interrupted(&mut answer, |_| IS_ASKED_AGAIN.load(Ordering::SeqCst), &mut body);
    assert_eq!((body.as_slice(), peer.connections()), (&b"begun"[..], 2));
    assert_failed(&answer.chunk().expect_err("half of it"), Reason::ProtocolIncomplete, Delivery::Answered);
}
