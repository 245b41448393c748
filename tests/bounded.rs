//! Promise: a peer that never stops costs little, and a body of any size no more. Floods of HTTP/1.1 and of HTTP/2 end
//! in a typed error, soon; meanwhile they, and bodies of hundreds of megabytes, cost at most 2 MiB of extra memory.
//!
//! A counting allocator measures the whole process: an HTTP/2 connection lives on the runtime's thread, not on its
//! caller's. So each of these tests runs in a process of its own, and the network in a box in another. The last two
//! measure their own thread alone, which reads its answers itself.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::survival::Caller;
use common::{BOUNDED, alone, client, client_at, http, http_at, outer, start};
use pinlink::{AsyncClient, Client, Error, Reason, Request};
use pinlink_box::{Addresses, ChunkSize, Fault, Plan};

/// The system's allocator, counting what is allocated now and at most, by this process and by each thread.
struct Counting;

static NOW: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static NOW_HERE: Cell<isize> = const { Cell::new(0) };
    static PEAK_HERE: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn changed(by: isize) {
    let now = NOW.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(now, Ordering::Relaxed);
    let here = NOW_HERE.get() + by;
    NOW_HERE.set(here);
    PEAK_HERE.set(PEAK_HERE.get().max(here));
}

// SAFETY: every call is handed to the system's allocator as it came; the counters touch no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        changed(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Blocks that matter here are far above malloc's mmap threshold: they move without a copy.
        changed(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What may be held beyond what was held before the call.
const MOST: isize = 2 << 20;

/// The most that this process held at a time while `action` ran, beyond what it held before.
fn extra<T>(action: impl FnOnce() -> T) -> (T, isize) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = action();
    (result, PEAK.load(Ordering::Relaxed) - before)
}

/// The same of this thread.
fn extra_here<T>(action: impl FnOnce() -> T) -> (T, isize) {
    let before = NOW_HERE.get();
    PEAK_HERE.set(before);
    let result = action();
    (result, PEAK_HERE.get() - before)
}

/// Who floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Http1,
    Http2,
}

impl Peer {
    fn url(self, network: &Addresses, path: &str) -> String {
        let port = match self {
            Peer::Http1 => network.scripted,
            Peer::Http2 => network.scripted2,
        };
        format!("http://{}:{port}{path}", network.plan.names[0])
    }

    fn client(self, network: &Addresses) -> Client {
        // Byte by byte not even half a megabyte comes soon.
        let (protocol, max_body) = match self {
            Peer::Http1 => ("http1", 512usize << 10),
            Peer::Http2 => ("http2", 64usize << 10),
        };
        let hosts = [self.url(network, ""), http_at(network, "")];
        let builder = client_at(network).hosts(hosts).option("protocol", protocol).option("summary", "off");
        let client = builder.max_body(max_body).max_attempts(1).build().unwrap();
        // What is made once, for all calls.
        client.send(&Request::get(&http_at(network, "/rows/warm"))).unwrap();
        client
    }
}

/// How a caller reads what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Eager,
    /// Nothing is read until the connection is gone.
    Slow,
}

/// Plays a flood before every caller; it must end with one of these reasons, soon, in little memory, and before the
/// peer has said it all (64 MiB).
fn flooded(test: &str, peer: Peer, reader: Reader, fault: Fault, reasons: &[Reason]) {
    let Some(there) = outer() else {
        let network = start(Plan::default());
        network.inject_times(fault.clone(), Caller::ALL.len() as u32);
        alone(&[], test, &network);
        assert!(network.faults().is_empty(), "{fault:?} was not played");
        // What the sockets on the way can hold is sent in any case.
        let sent = network.counts().origins.bytes_out;
        assert!(sent < (Caller::ALL.len() * (48 << 20)) as u64, "{fault:?} was read to its end: {sent} bytes");
        return;
    };
    for caller in Caller::ALL {
        let client = peer.client(&there);
        let request = Request::get(&peer.url(&there, "/flood"));
        let begun = Instant::now();
        let (error, extra) = extra(|| match reader {
            Reader::Eager => caller.send(&client, &request).expect_err("it came to an end"),
            Reader::Slow => read_late(&client, &request),
        });
        assert!(reasons.contains(&error.reason()), "{caller:?}: {error}");
        assert!(begun.elapsed() < BOUNDED, "{caller:?}: {fault:?} took {:?}", begun.elapsed());
        assert!(extra <= MOST, "{caller:?}: {fault:?} cost {extra} bytes");
        common::eventually("the flooded connection is closed", || {
            let stats = client.stats();
            stats.connections_live == stats.connections_idle
        });
    }
    for caller in Caller::ALL {
        let next = caller.send(&peer.client(&there), &Request::get(&peer.url(&there, "/next"))).unwrap();
        assert_eq!(next.text().unwrap(), "hello");
    }
}

/// Opens an answer and reads it when its connection has been given up.
fn read_late(client: &Client, request: &Request) -> Error {
    let before = client.stats().connections_live;
    let mut answer = client.open(request).expect("its head comes");
    common::eventually("the connection is given up", || client.stats().connections_live == before);
    loop {
        match answer.chunk() {
            Ok(piece) => assert!(piece.is_some(), "a flood looks whole"),
            Err(error) => return error,
        }
    }
}

/// A flood of HTTP/1.1 that an eager reader meets.
fn flooded1(test: &str, fault: Fault, reason: Reason) {
    flooded(test, Peer::Http1, Reader::Eager, fault, &[reason]);
}

/// The same of HTTP/2.
fn flooded2(test: &str, fault: Fault, reasons: &[Reason]) {
    flooded(test, Peer::Http2, Reader::Eager, fault, reasons);
}

#[test]
fn h7_a_flood_of_interim_answers_costs_little() {
    flooded1("h7_a_flood_of_interim_answers_costs_little", Fault::InterimFlood, Reason::LimitInterim);
}

#[test]
fn h6_a_flood_of_header_fields_costs_little() {
    flooded1("h6_a_flood_of_header_fields_costs_little", Fault::HeaderFlood, Reason::LimitHeaders);
}

#[test]
fn h6_one_endless_header_field_costs_little() {
    flooded1("h6_one_endless_header_field_costs_little", Fault::BigHeader(60 << 20), Reason::LimitHeaders);
}

#[test]
fn h6_trailers_without_end_cost_little() {
    flooded1("h6_trailers_without_end_cost_little", Fault::TrailerFlood, Reason::ProtocolChunk);
}

#[test]
fn h18_an_endless_chunked_body_costs_little_more_than_its_limit() {
    flooded1("h18_an_endless_chunked_body_costs_little_more_than_its_limit", Fault::EndlessBody, Reason::LimitBody);
}

#[test]
fn h18_an_endless_body_without_length_costs_little_more_than_its_limit() {
    let test = "h18_an_endless_body_without_length_costs_little_more_than_its_limit";
    flooded1(test, Fault::EndlessBodyNoLength, Reason::LimitBody);
}

#[test]
fn h1_an_endless_chunk_extension_costs_little() {
    let fault = Fault::BadChunkSize(ChunkSize::LongExtension);
    flooded1("h1_an_endless_chunk_extension_costs_little", fault, Reason::ProtocolChunk);
}

#[test]
fn p3_a_head_of_continuations_without_end_costs_little() {
    let test = "p3_a_head_of_continuations_without_end_costs_little";
    flooded2(test, Fault::ContinuationFlood, &[Reason::LimitFlood, Reason::LimitHeaders]);
}

#[test]
fn p4_a_head_that_explodes_costs_little() {
    flooded2("p4_a_head_that_explodes_costs_little", Fault::HeaderBomb, &[Reason::LimitFlood, Reason::LimitHeaders]);
}

#[test]
fn p4_a_head_of_sixteen_megabytes_costs_little() {
    flooded2(
        "p4_a_head_of_sixteen_megabytes_costs_little",
        Fault::HeaderList(16 << 20),
        &[Reason::LimitFlood, Reason::LimitHeaders],
    );
}

#[test]
fn p6_empty_data_without_end_costs_little() {
    flooded2("p6_empty_data_without_end_costs_little", Fault::EmptyDataFlood, &[Reason::LimitFlood]);
}

#[test]
fn p6_data_byte_by_byte_costs_little() {
    flooded2("p6_data_byte_by_byte_costs_little", Fault::TinyDataFlood, &[Reason::LimitBody, Reason::LimitFlood]);
}

#[test]
fn p6_data_byte_by_byte_costs_a_slow_reader_little() {
    let test = "p6_data_byte_by_byte_costs_a_slow_reader_little";
    flooded(test, Peer::Http2, Reader::Slow, Fault::TinyDataFlood, &[Reason::LimitFlood]);
}

#[test]
fn p7_settings_without_end_cost_little() {
    flooded2("p7_settings_without_end_cost_little", Fault::SettingsFlood, &[Reason::LimitFlood]);
}

#[test]
fn p7_pings_without_end_cost_little() {
    flooded2("p7_pings_without_end_cost_little", Fault::PingFlood, &[Reason::LimitFlood]);
}

#[test]
fn p7_priorities_without_end_cost_little() {
    flooded2("p7_priorities_without_end_cost_little", Fault::PriorityFlood, &[Reason::LimitFlood]);
}

/// The body of the tests below: a quarter of the gigabyte that is promised, because builds for tests are slow. What it
/// costs does not depend on it.
const LARGE: u64 = 256 << 20;

/// Runs it in a process of its own; it must cost little.
fn costs_little(test: &str, protocol: &str, action: impl FnOnce(&Addresses, &Client)) {
    let Some(there) = outer() else {
        alone(&[], test, &start(Plan::default()));
        return;
    };
    let client = client_at(&there).option("protocol", protocol).option("summary", "off").build().unwrap();
    client.send(&Request::get(&http_at(&there, "/rows/warm"))).unwrap();
    let ((), extra) = extra(|| action(&there, &client));
    assert!(extra <= MOST, "{extra} bytes");
    common::eventually("whatever is live is idle", || {
        let stats = client.stats();
        stats.connections_live == stats.connections_idle
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn h18_a_large_body_is_downloaded_in_constant_memory() {
    costs_little("h18_a_large_body_is_downloaded_in_constant_memory", "http1", |there, client| {
        let request = Request::get(&http_at(there, &format!("/bytes/{LARGE}")));
        let mut answer = client.open(&request).unwrap();
        assert_eq!(io::copy(&mut answer, &mut io::sink()).unwrap(), LARGE);
        runtime().block_on(async {
            let mut answer = AsyncClient::from(client.clone()).open(&request).await.unwrap();
            let mut read = 0;
            while let Some(piece) = answer.chunk().await.unwrap() {
                read += piece.len() as u64;
            }
            assert_eq!(read, LARGE);
        });
    });
}

#[test]
fn h18_an_endless_body_over_http2_costs_little_more_than_its_limit() {
    costs_little("h18_an_endless_body_over_http2_costs_little_more_than_its_limit", "http2", |there, client| {
        let request = Request::get(&http_at(there, "/chunked/1000000000000")).size_limit(512 << 10);
        for caller in Caller::ALL {
            assert_eq!(caller.send(client, &request).unwrap_err().reason(), Reason::LimitBody);
        }
    });
}

#[test]
fn h18_a_large_body_is_uploaded_in_constant_memory() {
    costs_little("h18_a_large_body_is_uploaded_in_constant_memory", "http1", |there, client| {
        let request = || Request::put(&http_at(there, "/upload"));
        let expected = format!("\"bytes\":{LARGE}");
        for length in [Some(LARGE), None] {
            let answer = client.send(&request().body_reader(io::repeat(7).take(LARGE), length)).unwrap();
            assert!(answer.text().unwrap().contains(&expected), "{answer:?}");
            let answer = runtime()
                .block_on(AsyncClient::from(client.clone()).send(&request().body_stream(Zeros(LARGE), length)));
            let answer = answer.unwrap();
            assert!(answer.text().unwrap().contains(&expected), "{answer:?}");
        }
    });
}

/// So many zeros in pieces of 64 KiB.
struct Zeros(u64);

impl futures_core::Stream for Zeros {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Bytes>>> {
        static PIECE: [u8; 64 << 10] = [0; 64 << 10];
        let size = self.0.min(PIECE.len() as u64);
        self.0 -= size;
        std::task::Poll::Ready((size > 0).then(|| Ok(Bytes::from_static(&PIECE[..size as usize]))))
    }
}

#[test]
fn a_promised_length_is_not_believed_with_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://peer.test:{}/", listener.local_addr().unwrap().port());
    let peer = std::thread::spawn(move || -> io::Result<()> {
        let mut stream = listener.accept()?.0;
        _ = stream.read(&mut [0; 4096])?;
        // Two pieces, so that the second one has to be put behind the first.
        for piece in ["HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\nhello", "hello"] {
            stream.write_all(piece.as_bytes())?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let client = Client::builder()
        .hosts([&url])
        .pins(["peer.test=127.0.0.1"])
        .allow_addresses(["127.0.0.0/8"])
        .option("summary", "off")
        .max_attempts(1)
        .build()
        .unwrap();
    let (sent, extra) = extra_here(|| client.send(&Request::get(&url)));
    assert_eq!(sent.unwrap_err().reason(), Reason::ProtocolIncomplete);
    assert!(extra <= MOST, "{extra} bytes");
    peer.join().unwrap().unwrap();
}

#[test]
fn answers_that_are_kept_hold_no_more_than_they_say() {
    const KEPT: usize = 1000;
    let network = start(Plan::default());
    let client = client(&network).build().unwrap();
    client.send(&Request::get(&http(&network, "/rows/1"))).unwrap();
    let kept: Vec<_> =
        (0..KEPT).map(|row| client.send(&Request::get(&http(&network, &format!("/rows/{row}")))).unwrap()).collect();
    let with = NOW_HERE.get();
    let said: usize = kept.iter().map(|answer| answer.body().len()).sum();
    drop(kept);
    let each = usize::try_from(with - NOW_HERE.get()).expect("dropping frees") / KEPT;
    assert!(each <= said / KEPT + 2048, "each answer keeps {each} bytes");
}
