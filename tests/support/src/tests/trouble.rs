//! What goes wrong with a write, on every route, and what chaos deals.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::http2::{ask, converse, negotiate, plain, speak};
use super::origin::{tls, trust};
use super::{at, dial, eventually, exchange, recorded, start};
use crate::trouble::{Moment, Trouble, deal};
use crate::{Certificate, Fault, Network, Plan};

/// One write on every route: the request's line and fields, its body, its record, and the status of a success.
const ROUTES: [(&str, &str, &str, &str); 7] = [
    ("POST /sink/r HTTP/1.1\r\nIdempotency-Key: k", "x", "r", "201"),
    ("POST /stripe/r HTTP/1.1\r\nIdempotency-Key: k", "x", "r", "200"),
    ("POST /token/r?ClientToken=k HTTP/1.1", "x", "r", "200"),
    ("PUT /oss/b/o HTTP/1.1\r\nx-oss-forbid-overwrite: true", "x", "b/o", "200"),
    ("PUT /oss/b/o HTTP/1.1\r\nIf-None-Match: *", "x", "b/o", "200"),
    ("PUT /es/i/_create/1 HTTP/1.1", "{}", "i/1", "201"),
    ("POST /ots/PutRow HTTP/1.1\r\nx-box-row: w", "x", "w", "200"),
];

fn request(head: &str, body: &str) -> String {
    format!("{head}\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// How a connection ended without an answer.
fn ending(network: &Network, request: &str) -> Option<ErrorKind> {
    let (answer, ended) = exchange(at(network.http()), request);
    assert_eq!(answer, "");
    ended.err().map(|error| error.kind())
}

#[test]
fn every_write_meets_every_reset() {
    let network = start(Plan::default());
    for (head, body, record, success) in ROUTES {
        for (fault, reset, arrived, applied) in [
            (Fault::SinkResetBeforeBody, true, 0, 0),
            (Fault::SinkResetInBody, true, 0, 0),
            (Fault::SinkResetAfterBody, true, 1, 0),
            (Fault::ApplyThenDie, false, 1, 1),
            (Fault::ApplyThenReset, true, 1, 1),
        ] {
            network.reset_counts();
            network.inject_times(fault.clone(), 1);
            let ended = ending(&network, &request(head, body));
            assert_eq!(ended, reset.then_some(ErrorKind::ConnectionReset), "{fault:?}: {head}");
            assert_eq!(recorded(&network, record), (1, applied, arrived), "{fault:?}: {head}");
            let again = exchange(at(network.http()), &request(head, body)).0;
            assert_eq!(recorded(&network, record), (2, 1, 1), "{fault:?}: {head}");
            assert!(applied == 1 || again.starts_with(&format!("HTTP/1.1 {success}")), "{fault:?}: {again}");
        }
    }
}

#[test]
fn every_write_meets_every_refusal() {
    let network = start(Plan::default());
    for (head, body, record, success) in ROUTES {
        for (fault, status, applied) in [
            (Fault::Fail500, "500", 0),
            (Fault::Refuse503, "503", 0),
            (Fault::ApplyThen500, "500", 1),
            (Fault::SlowSink(1), success, 1),
        ] {
            network.reset_counts();
            network.inject_times(fault.clone(), 1);
            let answer = exchange(at(network.http()), &request(head, body)).0;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{fault:?}: {answer}");
            assert_eq!(recorded(&network, record), (1, applied, 1), "{fault:?}: {head}");
            assert!(network.faults().is_empty());
            let again = exchange(at(network.http()), &request(head, body)).0;
            assert_eq!(recorded(&network, record), (2, 1, 1), "{fault:?}: {head}");
            assert!(applied == 1 || again.starts_with(&format!("HTTP/1.1 {success}")), "{fault:?}: {again}");
        }
    }
}

#[test]
fn every_write_meets_silence_after_its_effect() {
    let network = start(Plan::default());
    for (head, body, record, _) in ROUTES {
        network.reset_counts();
        network.inject_times(Fault::ApplyThenSilence, 1);
        let mut stream = dial(at(network.http()));
        stream.write_all(request(head, body).as_bytes()).expect("sent");
        eventually("the effect", || recorded(&network, record).1 == 1);
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let silence = stream.read(&mut [0; 16]).expect_err("no answer");
        assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
        drop(stream);
        eventually("the origin to let go", || network.counts().origins.live == 0);
        assert!(exchange(at(network.http()), &request(head, body)).0.starts_with("HTTP/1.1 "));
        assert_eq!(recorded(&network, record), (2, 1, 1), "{head}");
    }
}

#[test]
fn a_large_body_is_reset_before_it_is_whole() {
    let network = start(Plan::default());
    let size = 64 << 20;
    for fault in [Fault::SinkResetBeforeBody, Fault::SinkResetInBody] {
        network.reset_counts();
        network.inject_times(fault.clone(), 1);
        let mut stream = dial(network.direct_http());
        stream
            .write_all(format!("PUT /oss/b/o HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n").as_bytes())
            .expect("sent");
        let block = vec![0; 1 << 20];
        // A write or the read after it finds the reset, however much the kernel took before.
        let sent = (0..64).try_for_each(|_| stream.write_all(&block)).and_then(|()| stream.read(&mut [0; 16]));
        let kind = sent.expect_err("a reset").kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{fault:?}: {kind}");
        eventually("the connection to go", || network.counts().origins.live == 0);
        let read = network.counts().origins.bytes_in;
        assert!(read < size && (fault != Fault::SinkResetInBody || read > size / 2), "{fault:?}: {read}");
        assert_eq!(recorded(&network, "b/o"), (1, 0, 0));
    }
}

#[test]
fn a_reset_over_tls_is_a_reset() {
    let network = start(Plan::default());
    let config = trust(&network);
    for (fault, applied) in
        [(Fault::SinkResetBeforeBody, 0), (Fault::SinkResetAfterBody, 0), (Fault::ApplyThenReset, 1)]
    {
        network.reset_counts();
        let mut stream = tls(&config, network.https(Certificate::Right));
        // Once the handshake's tickets are read nothing else can be lost to the reset.
        stream.write_all(b"GET /bytes/0 HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        assert!(stream.read(&mut [0; 4096]).expect("an answer") > 0);
        network.inject_times(fault.clone(), 1);
        stream.write_all(request(ROUTES[0].0, ROUTES[0].1).as_bytes()).expect("sent");
        let error = stream.read(&mut [0; 16]).expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{fault:?}");
        assert_eq!(recorded(&network, "r").1, applied, "{fault:?}");
    }
}

#[test]
fn over_http2_the_stream_is_reset_and_the_connection_lives() {
    let network = start(Plan::default());
    converse(async {
        let plain = plain(at(network.http())).await;
        let (stream, _) = negotiate(&network, network.https(Certificate::Right), &[b"h2"]).await;
        for sender in [plain, speak(stream).await] {
            for (fault, applied) in [
                (Fault::SinkResetBeforeBody, 0),
                (Fault::SinkResetInBody, 0),
                (Fault::SinkResetAfterBody, 0),
                (Fault::ApplyThenReset, 1),
            ] {
                network.reset_counts();
                network.inject_times(fault.clone(), 1);
                let error = ask(&sender, "POST", "/sink/r?ClientToken=k", b"x").await.expect_err("no answer");
                assert!(error.is_reset(), "{fault:?}: {error}");
                assert_eq!(recorded(&network, "r").1, applied, "{fault:?}");
                let again = ask(&sender, "POST", "/sink/r?ClientToken=k", b"x").await.expect("an answer");
                assert_eq!(again.0.headers().contains_key("idempotent-replayed"), applied == 1, "{fault:?}");
            }
        }
    });
}

#[test]
fn chaos_deals_the_same_to_an_attempt_whatever_came_before() {
    let hand = |seed| (1..50).map(|attempt| deal(seed, 50, "r", attempt)).collect::<Vec<_>>();
    assert_eq!(hand(1), hand(1));
    assert_ne!(hand(1), hand(2));
    let mut backwards: Vec<_> = (1..50).rev().map(|attempt| deal(1, 50, "r", attempt)).collect();
    backwards.reverse();
    assert_eq!(hand(1), backwards);
    let other: Vec<_> = (1..50).map(|attempt| deal(1, 50, "s", attempt)).collect();
    assert_ne!(hand(1), other);
}

#[test]
fn chaos_deals_its_percentage_of_every_trouble() {
    let dealt: Vec<_> = (0..10_000).filter_map(|record| deal(7, 30, &record.to_string(), 1)).collect();
    assert!((2_700..3_300).contains(&dealt.len()), "{}", dealt.len());
    let kinds: BTreeSet<String> = dealt.iter().map(|trouble| format!("{trouble:?}")).collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert!(!dealt.contains(&Trouble::Stored500));
    assert!((0..1_000).all(|record| deal(7, 0, &record.to_string(), 1).is_none()));
}

#[test]
fn chaos_lets_every_fifth_attempt_through() {
    let spoilt: Vec<bool> = (1..=20).map(|attempt| deal(1, 100, "r", attempt).is_some()).collect();
    let row: Vec<bool> = (1..=20).map(|attempt| attempt % 5 != 0).collect();
    assert_eq!(spoilt, row);
    for record in 0..200 {
        let attempts: Vec<bool> = (1..100).map(|attempt| deal(3, 80, &record.to_string(), attempt).is_some()).collect();
        assert!(attempts.windows(5).all(|five| five.contains(&false)));
    }
}

#[test]
fn chaos_plays_what_it_deals_and_takes_answers_from_what_is_not_applied_again_too() {
    let (network, seed, percent) = (start(Plan::default()), 5, 60);
    network.inject(Fault::WriteChaos(seed, percent));
    let (mut lost, mut through) = (0, 0);
    for record in (0..60).map(|record| format!("o/{record}")) {
        let mut applied = 0;
        for attempt in 1..=6 {
            let dealt = deal(seed, percent, &record, attempt);
            if matches!(dealt, Some(Trouble::Slow(_) | Trouble::ThenSilence)) {
                // The others show it as well, and in less time.
                break;
            }
            let head = format!("PUT /oss/{record} HTTP/1.1\r\nx-oss-forbid-overwrite: true");
            let answer = exchange(at(network.http()), &request(&head, "x")).0;
            let reaches = dealt.is_none_or(|trouble| trouble.moment() == Moment::Applied);
            let status = match dealt {
                None if applied == 1 => "HTTP/1.1 409",
                None => "HTTP/1.1 200",
                Some(Trouble::Then500 | Trouble::Fail500) => "HTTP/1.1 500",
                Some(Trouble::Refuse503) => "HTTP/1.1 503",
                Some(_) => "",
            };
            assert!(answer.starts_with(status) && answer.is_empty() == status.is_empty(), "{dealt:?}: {answer}");
            lost += u64::from(applied == 1 && reaches && dealt.is_some());
            through += u64::from(dealt.is_none());
            applied |= u64::from(reaches);
            let (attempts, effects, _) = recorded(&network, &record);
            assert_eq!((attempts, effects), (attempt, applied), "{dealt:?}");
        }
    }
    assert!(lost > 0 && through > 0, "{lost} {through}");
    // A replay is no refusal, and loses its answer all the same.
    let first = (0..).map(|key| format!("r{key}")).find(|record| {
        deal(seed, percent, record, 1).is_none() && deal(seed, percent, record, 2) == Some(Trouble::ThenDie)
    });
    let record = first.expect("there is one");
    let head = format!("POST /sink/{record} HTTP/1.1\r\nIdempotency-Key: k");
    assert!(exchange(at(network.http()), &request(&head, "x")).0.starts_with("HTTP/1.1 201"));
    assert_eq!(ending(&network, &request(&head, "x")), None);
    assert_eq!(recorded(&network, &record), (2, 1, 1));
}
