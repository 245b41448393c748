//! The paths that try out how messages are exchanged and encoded, over HTTP/1.1 as it is on the wire.

use std::io::{Read, Write};

use super::origin::body;
use super::{at, dial, eventually, exchange, get, start};
use crate::Plan;

/// A GET with more fields, and its head and body.
fn fetch(at: std::net::SocketAddr, path: &str, fields: &str) -> (String, Vec<u8>) {
    let mut stream = dial(at);
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).expect("text"), body)
}

/// The body inside its chunks; whatever follows the last chunk must be the end.
fn unchunk(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = coded.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&coded[..end]).expect("text"), 16).expect("a size");
        if size == 0 {
            assert_eq!(&coded[end..], b"\r\n\r\n");
            return body;
        }
        body.extend(&coded[end + 2..end + 2 + size]);
        coded = &coded[end + 4 + size..];
    }
}

fn plain(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn decode(coding: &str, mut coded: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(coded).read_to_end(&mut body)?,
        "deflate" => flate2::read::ZlibDecoder::new(coded).read_to_end(&mut body)?,
        "br" => brotli::Decompressor::new(&mut coded, 4096).read_to_end(&mut body)?,
        _ => zstd::stream::read::Decoder::new(coded)?.read_to_end(&mut body)?,
    };
    Ok(body)
}

#[test]
fn redirects_go_where_they_are_told() {
    let network = start(Plan::default());
    let http = at(network.http());
    let (head, _) = fetch(http, "/redirect/307?to=https%3A%2F%2Fother.box.test%3A1%2Fx%3Fa%3Db", "");
    assert!(head.starts_with("HTTP/1.1 307") && head.contains("\r\nlocation: https://other.box.test:1/x?a=b\r\n"));
    assert!(!fetch(http, "/redirect/302", "").0.contains("location"));
    let (head, _) = fetch(http, "/redirects/2", "");
    assert!(head.starts_with("HTTP/1.1 302") && head.contains("\r\nlocation: ../redirects/1\r\n"));
    assert!(fetch(http, "/redirects/1", "").0.contains("\r\nlocation: ../rows/end\r\n"));
    assert!(fetch(http, "/rows/end", "").0.starts_with("HTTP/1.1 200"));
}

#[test]
fn ranges_are_parts_of_the_whole() {
    let network = start(Plan::default());
    let http = at(network.http());
    let (head, whole) = fetch(http, "/range/1000?etag=v1", "");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("etag: \"v1\"\r\n"));
    assert!(head.contains("accept-ranges: bytes\r\n"));
    assert_eq!(whole, plain(1000));
    for (range, first, last) in [("260-", 260, 999), ("3-5", 3, 5), ("990-5000", 990, 999), ("-10", 990, 999)] {
        let (head, part) = fetch(http, "/range/1000", &format!("Range: bytes={range}\r\n"));
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        assert!(head.contains(&format!("content-range: bytes {first}-{last}/1000\r\n")), "{head}");
        assert_eq!(part, whole[first..=last]);
    }
    let (head, _) = fetch(http, "/range/1000", "Range: bytes=1000-\r\n");
    assert!(head.starts_with("HTTP/1.1 416") && head.contains("content-range: bytes */1000\r\n"));
    for (tag, weak, status) in [("\"v1\"", "", "206"), ("\"v2\"", "", "200"), ("W/\"v1\"", "&weak=1", "200")] {
        let fields = format!("Range: bytes=1-\r\nIf-Range: {tag}\r\n");
        let (head, _) = fetch(http, &format!("/range/1000?etag=v1{weak}"), &fields);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{tag}: {head}");
    }
}

#[test]
fn uploads_are_told_as_they_came() {
    let network = start(Plan::default());
    let http = at(network.http());
    let told = body(&super::post(http, "/upload", "", "abc"));
    assert_eq!((told["framing"].as_str(), told["bytes"].as_u64()), (Some("length"), Some(3)));
    assert_eq!(told["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let chunked = "POST /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: x-sum\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 7\r\n\r\n";
    let chunked = body(&exchange(http, chunked).0);
    assert_eq!((chunked["framing"].as_str(), &chunked["sha256"]), (Some("chunked"), &told["sha256"]));
    assert_eq!(chunked["trailers"]["x-sum"], "7");
}

#[test]
fn trailers_come_to_whom_they_are_announced() {
    let network = start(Plan::default());
    let (head, body) = fetch(at(network.http()), "/trailers/5", "TE: trailers\r\n");
    assert!(head.contains("trailer: x-checksum, x-rows\r\n") && head.contains("transfer-encoding: chunked\r\n"));
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("\r\n0\r\nx-checksum: ") && body.ends_with("x-rows: 5\r\n\r\n"), "{body}");
}

#[test]
fn codings_decode_to_what_was_encoded() {
    let network = start(Plan::default());
    let http = at(network.http());
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let (head, coded) = fetch(http, &format!("/encoded/{coding}/100000"), "");
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")) && head.contains("chunked"), "{head}");
        let coded = unchunk(&coded);
        assert!(coded.len() < 50_000);
        assert_eq!(decode(coding, &coded).expect("right"), plain(100_000), "{coding}");
        let twice = unchunk(&fetch(http, &format!("/encoded/{coding}/1000?times=2"), "").1);
        assert_eq!(decode(coding, &decode(coding, &twice).expect("once")).expect("twice"), plain(1000));
        let cut = unchunk(&fetch(http, &format!("/encoded/{coding}/1000?cut=4"), "").1);
        assert!(decode(coding, &cut).is_err(), "{coding}: cut off");
        let garbage = unchunk(&fetch(http, &format!("/encoded/{coding}/1000?garbage=9"), "").1);
        assert!(garbage.ends_with(&[0xA5; 9]));
        let nothing = unchunk(&fetch(http, &format!("/encoded/{coding}/0"), "").1);
        assert_eq!(decode(coding, &nothing).expect("right"), b"");
    }
    let members = unchunk(&fetch(http, "/encoded/gzip/1000?members=3", "").1);
    assert_eq!(members.windows(3).filter(|three| three == &[0x1F, 0x8B, 8]).count(), 3);
    assert_eq!(decode("gzip", &members).expect("right"), plain(1000));
    assert!(fetch(http, "/encoded/gzip/1?times=2", "").0.contains("content-encoding: gzip, gzip\r\n"));
}

#[test]
fn bombs_explode() {
    let network = start(Plan::default());
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for mib in [1, 2, 9] {
            let bomb = unchunk(&fetch(at(network.http()), &format!("/bomb/{coding}/{mib}"), "").1);
            let zeros = decode(coding, &bomb).expect("right");
            assert!(zeros.len() == mib << 20 && zeros.iter().all(|byte| *byte == 0), "{coding}: {}", zeros.len());
            assert!(bomb.len() < zeros.len() / 500, "{coding}: {}", bomb.len());
        }
    }
}

#[test]
fn a_busy_place_turns_away_what_is_too_much() {
    let network = start(Plan::default());
    let http = at(network.http());
    let mut held = dial(http);
    held.write_all(b"GET /busy/1/60000 HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    eventually("the first", || network.seen().len() == 1);
    let (head, _) = fetch(http, "/busy/1/60000?retry_after=3", "");
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 3\r\n"), "{head}");
    assert!(fetch(http, "/busy/1/60000?status=429", "").0.starts_with("HTTP/1.1 429"));
    drop(held);
    eventually("the first to leave", || network.counts().origins.live == 0);
    assert!(get(http, "/busy/1/0").starts_with("HTTP/1.1 200"));
}

#[test]
fn empty_answers_tell_a_length_only_where_they_may() {
    let network = start(Plan::default());
    let http = at(network.http());
    for (method, path, length) in [
        ("GET", "/empty/304", Some("5")),
        ("GET", "/empty/204", None),
        ("GET", "/empty/200", Some("0")),
        ("HEAD", "/empty/200?length=9", Some("9")),
    ] {
        let answer = exchange(http, &format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).0;
        let told = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!((told, answer.ends_with("\r\n\r\n")), (length, true), "{method} {path}: {answer}");
    }
}
