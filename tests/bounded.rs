//! Promise: a peer that never stops costs little. Floods of interim answers, of header fields, of a body, of trailers are
//! stopped at their limit, soon, and with at most 2 MiB of extra memory while the call runs.
//!
//! A counting allocator measures the calling thread, which reads and parses every byte of its answer itself. The network in
//! a box, which has the flood in its own memory, runs in other threads of this process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{client, http, peer, start};
use pinlink::{Client, Reason, Request};
use pinlink_box::{ChunkSize, Fault, Network, Plan};

/// The system's allocator, counting what each thread has allocated now and at most.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn changed(by: isize) {
    let now = NOW.get() + by;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
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

/// What the thread may hold beyond what it held before the call.
const MOST: isize = 2 << 20;

/// The most that was allocated at a time while `action` ran, beyond what was before.
fn extra<T>(action: impl FnOnce() -> T) -> (T, isize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = action();
    (result, PEAK.get() - before)
}

fn warm(network: &Network, limit: usize) -> Client {
    let client = client(network).max_body(limit).max_attempts(1).build().unwrap();
    client.send(&Request::get(&peer(network, "/"))).unwrap();
    client
}

/// Plays a flood; it must end with this reason, soon, in little memory, and before the peer has said it all (64 MiB).
fn flooded(script: Fault, limit: usize, reason: Reason) {
    let network = start(Plan::default());
    let client = warm(&network, limit);
    network.inject_times(script.clone(), 1);
    network.reset_counts();
    let begun = Instant::now();
    let (sent, extra) = extra(|| client.send(&Request::get(&peer(&network, "/flood"))));
    assert_eq!(sent.expect_err(&format!("{script:?} came to an end")).reason(), reason, "{script:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{script:?} took {:?}", begun.elapsed());
    assert!(extra <= MOST, "{script:?} cost {extra} bytes");
    // What the sockets on the way can hold is sent in any case.
    let sent = network.counts().origins.bytes_out;
    assert!(sent < 48 << 20, "{script:?} was read to its end: {sent} bytes");
    assert_eq!(client.stats().connections_live, 0);
    assert_eq!(client.send(&Request::get(&peer(&network, "/next"))).unwrap().text().unwrap(), "hello");
}

#[test]
fn a_flood_of_interim_answers_costs_little() {
    flooded(Fault::InterimFlood, 1 << 20, Reason::LimitInterim);
}

#[test]
fn a_flood_of_header_fields_costs_little() {
    flooded(Fault::HeaderFlood, 1 << 20, Reason::LimitHeaders);
}

#[test]
fn one_endless_header_field_costs_little() {
    flooded(Fault::BigHeader(60 << 20), 1 << 20, Reason::LimitHeaders);
}

#[test]
fn an_endless_chunked_body_costs_little_more_than_its_limit() {
    flooded(Fault::EndlessBody, 512 << 10, Reason::LimitBody);
}

#[test]
fn an_endless_body_without_length_costs_little_more_than_its_limit() {
    flooded(Fault::EndlessBodyNoLength, 512 << 10, Reason::LimitBody);
}

#[test]
fn an_endless_chunk_extension_costs_little() {
    flooded(Fault::BadChunkSize(ChunkSize::LongExtension), 1 << 20, Reason::ProtocolChunk);
}

#[test]
fn a_promised_length_is_not_believed_with_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://peer.test:{}/", listener.local_addr().unwrap().port());
    let peer = std::thread::spawn(move || -> std::io::Result<()> {
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
    let (sent, extra) = extra(|| client.send(&Request::get(&url)));
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
    let with = NOW.get();
    let said: usize = kept.iter().map(|answer| answer.body().len()).sum();
    drop(kept);
    let each = usize::try_from(with - NOW.get()).expect("dropping frees") / KEPT;
    assert!(each <= said / KEPT + 2048, "each answer keeps {each} bytes");
}
