//! The scripted HTTP/1 peer: what its scripts say on the wire.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{again, at, dial, eventually, get, start};
use crate::{Fault, Layer, Plan, StatusLine};

const EXPECTS: &str = "POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\nX-Turn: 1\r\n\r\n";

/// The next head on the connection.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text")
}

fn hello(stream: &mut TcpStream) {
    let mut body = [0; 5];
    assert!(head(stream).starts_with("HTTP/1.1 200"));
    stream.read_exact(&mut body).expect("a body");
    assert_eq!(&body, b"hello");
}

#[test]
fn the_scripted_peer_keeps_alive_unless_told_otherwise() {
    let network = start(Plan::default());
    let scripted = at(network.scripted());
    let mut stream = dial(scripted);
    for _ in 0..2 {
        assert!(again(&mut stream).expect("an answer").ends_with("hello"));
    }
    for fault in Fault::ALL.iter().filter(|row| row.layer == Layer::Scripted) {
        // What takes a value is tried below; what floods, in a test of its own.
        let Ok(fault) = serde_json::from_value::<Fault>(json!(fault.name)) else {
            continue;
        };
        let floods = fault.name().contains("flood") || fault.name().contains("endless");
        if floods {
            continue;
        }
        network.inject_times(fault.clone(), 1);
        let mut stream = dial(scripted);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        let read = stream.read(&mut [0; 4096]);
        assert_eq!(read.is_ok_and(|read| read == 0), fault == Fault::EarlyClose, "{fault:?}");
    }
    network.inject_times(Fault::GarbageStatus(StatusLine::Status99), 1);
    assert!(get(scripted, "/").starts_with("HTTP/1.1 99"));
    network.inject_times(Fault::Interim(3), 1);
    assert_eq!(again(&mut stream).expect("an answer").matches("103 Early").count(), 3);
    assert!(network.faults().is_empty());
}

#[test]
fn floods_end_when_the_client_leaves() {
    let network = start(Plan::default());
    network.inject(Fault::InterimFlood);
    let mut stream = dial(network.direct_scripted());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    stream.read_exact(&mut vec![0; 1 << 20]).expect("a flood");
    drop(stream);
    eventually("the end of the flood", || network.counts().origins.live == 0);
    assert!(network.counts().origins.bytes_out < 64 << 20);
}

#[test]
fn who_expects_is_told_to_continue() {
    let network = start(Plan::default());
    let mut stream = dial(at(network.scripted()));
    stream.write_all(EXPECTS.as_bytes()).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 100"));
    stream.write_all(b"12345").expect("sent");
    hello(&mut stream);
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(chunked.as_bytes()).expect("sent");
        hello(&mut stream);
    }
    assert_eq!(network.counts().origins.requests, 3);
}

#[test]
fn expectations_are_disappointed() {
    let network = start(Plan::default());
    let asked = || {
        let mut stream = dial(at(network.scripted()));
        stream.write_all(EXPECTS.as_bytes()).expect("sent");
        stream
    };
    network.inject_times(Fault::ExpectIgnored, 1);
    let mut stream = asked();
    eventually("the request", || network.seen().len() == 1);
    stream.write_all(b"12345").expect("sent");
    hello(&mut stream);
    network.inject_times(Fault::ExpectLate(20), 1);
    let mut stream = asked();
    stream.write_all(b"12345").expect("sent before it is asked for");
    assert!(head(&mut stream).starts_with("HTTP/1.1 100"));
    hello(&mut stream);
    network.inject(Fault::ExpectFailed);
    let mut stream = asked();
    assert!(head(&mut stream).starts_with("HTTP/1.1 417"));
    again(&mut stream).expect("kept alive");
    network.inject(Fault::ExpectFinal(401));
    network.inject_times(Fault::ExpectFailed, 0);
    let mut stream = asked();
    assert!(head(&mut stream).starts_with("HTTP/1.1 401"));
    assert_eq!(stream.read(&mut [0]).expect("FIN"), 0);
    network.heal();
    network.inject_times(Fault::EarlyFinalKeep, 1);
    let mut stream = asked();
    assert!(head(&mut stream).starts_with("HTTP/1.1 413"));
    stream.write_all(b"12345").expect("sent");
    again(&mut stream).expect("kept alive");
}

#[test]
fn answers_carry_what_must_be_ignored_or_bounded() {
    let network = start(Plan::default());
    let scripted = at(network.scripted());
    network.inject_times(Fault::HiddenState, 1);
    let answer = again(&mut dial(scripted)).expect("an answer");
    for field in ["Set-Cookie: ", "Alt-Svc: ", "Strict-Transport-Security: ", "Refresh: ", "Link: "] {
        assert!(answer.contains(field), "{field}");
    }
    network.inject_times(Fault::BigError(300_000), 1);
    let mut stream = dial(scripted);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 500"));
    stream.read_exact(&mut vec![0; 300_000]).expect("a body");
    again(&mut stream).expect("kept alive");
    network.inject_times(Fault::SlowBody(2), 1);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    assert!(head(&mut stream).contains("Content-Length: 1000\r\n"));
    assert!(stream.read(&mut [0; 1000]).expect("some") < 900);
    network.inject_times(Fault::TrailerFlood, 1);
    let mut stream = dial(scripted);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    assert!(head(&mut stream).contains("chunked"));
    stream.read_exact(&mut vec![0; 1 << 20]).expect("a flood");
    drop(stream);
    let trailed = trailed(scripted);
    assert!(trailed.contains("\r\n\r\n3\r\n\0\u{1}\u{2}\r\n0\r\nx-checksum: "), "{trailed}");
}

fn trailed(at: std::net::SocketAddr) -> String {
    let mut stream = dial(at);
    stream.write_all(b"GET /trailers/3 HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    let (head, rest) = (head(&mut stream), head(&mut stream));
    assert!(rest.ends_with("x-rows: 3\r\n\r\n"));
    head + &rest
}
