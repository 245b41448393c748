//! The scripted HTTP/2 peer: right without a script (says the `h2` crate), and its scripts frame by frame.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http::Request;
use serde_json::json;

use super::http2::{ask, converse, negotiate, plain, speak};
use super::{at, dial, eventually, start};
use crate::frames::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::hpack::{self, Decoder};
use crate::{BadFrame, Complaint, Fault, Layer, Network, Plan};

/// A client that says what it is told and complains about nothing.
struct Client {
    stream: TcpStream,
}

impl Client {
    /// With the greeting behind it.
    fn new(network: &Network) -> (Client, Vec<(u16, u32)>) {
        let mut client = Client { stream: dial(at(network.scripted2())) };
        client.say(&[frames::PREFACE, &frames::settings(&[])].concat());
        let greeting = client.frame().expect("a greeting");
        assert_eq!((greeting.kind, greeting.has(ACK)), (SETTINGS, false));
        let ack = client.frame().expect("an acknowledgement");
        assert_eq!((ack.kind, ack.has(ACK)), (SETTINGS, true));
        let settings = greeting.settings().collect();
        (client, settings)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    fn ask(&mut self, stream: u32) {
        self.say(&request(stream, END_STREAM));
    }

    /// The next frame; `None` when the peer has closed.
    fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn kinds(&mut self, n: usize) -> Vec<u8> {
        (0..n).map_while(|_| self.frame()).map(|frame| frame.kind).collect()
    }

    /// A right answer on this stream, and nothing else.
    fn answered(&mut self, stream: u32) {
        let head = self.frame().expect("a head");
        assert_eq!((head.kind, head.stream, head.payload[0]), (HEADERS, stream, frames::STATUS_200));
        let body = self.frame().expect("a body");
        assert_eq!((body.kind, body.stream, body.has(END_STREAM)), (DATA, stream, true));
        assert_eq!(body.payload, b"hello");
    }

    /// GOAWAY's last stream and code.
    fn farewell(&mut self) -> (u32, u32) {
        let frame = self.frame().expect("a farewell");
        assert_eq!(frame.kind, GOAWAY);
        (frame.number(0).expect("a stream"), frame.number(4).expect("a code"))
    }

    fn reset(&mut self) -> (u32, u32) {
        let frame = self.frame().expect("a reset");
        assert_eq!(frame.kind, RST_STREAM);
        (frame.stream, frame.number(0).expect("a code"))
    }
}

fn request(stream: u32, flags: u8) -> Vec<u8> {
    let block = [vec![0x82, 0x86, 0x84], hpack::field(":authority", "kms.box.test"), hpack::field("x-turn", "1")];
    frames::frame(HEADERS, END_HEADERS | flags, stream, &block.concat())
}

fn places(network: &Network) -> Vec<(Option<u32>, bool)> {
    network.seen().into_iter().map(|seen| (seen.stream, seen.turned_away)).collect()
}

#[test]
fn without_a_script_it_is_a_right_peer() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.scripted2())).await;
        for _ in 0..3 {
            let (head, body, _) = ask(&sender, "GET", "/any?x=1", b"").await.expect("an answer");
            assert_eq!((head.status().as_u16(), &body[..]), (200, &b"hello"[..]));
        }
        // More than all windows together.
        let mut sender = sender.ready().await.expect("a stream");
        let asked = Request::post("http://kms.box.test/upload").header("x-long", "v".repeat(20_000));
        let (answer, mut body) = sender.send_request(asked.body(()).expect("a request"), false).expect("sent");
        let mut left = 300_000;
        while left > 0 {
            body.reserve_capacity(left);
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.expect("open").expect("room");
            left -= room;
            body.send_data(Bytes::from(vec![0; room]), left == 0).expect("sent");
        }
        assert_eq!(answer.await.expect("an answer").status(), 200);
    });
    let seen = network.seen();
    assert_eq!((seen[0].path.as_str(), seen[0].query.as_deref()), ("/any", Some("x=1")));
    assert_eq!((seen[0].protocol.as_str(), seen[0].host.as_deref()), ("HTTP/2.0", Some("kms.box.test")));
    assert_eq!((seen[3].method.as_str(), seen[3].stream, seen[3].turned_away), ("POST", Some(7), false));
    assert_eq!(seen[3].headers.iter().find(|field| field.0 == "x-long").expect("a field").1.len(), 20_000);
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn it_speaks_tls_too() {
    let network = start(Plan::default());
    converse(async {
        let (stream, chosen) = negotiate(&network, network.scripted2_tls(), &[b"h2"]).await;
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]));
        let (_, body, _) = ask(&speak(stream).await, "GET", "/", b"").await.expect("an answer");
        assert_eq!(body, b"hello");
    });
    assert_eq!(network.seen()[0].sni.as_deref(), Some("kms.box.test"));
}

#[test]
fn it_keeps_within_the_clients_windows() {
    let network = start(Plan::default());
    let mut client = Client { stream: dial(at(network.scripted2())) };
    client.say(&[frames::PREFACE, &frames::settings(&[(INITIAL_WINDOW_SIZE, 2)]), &request(1, END_STREAM)].concat());
    assert_eq!(client.kinds(3), [SETTINGS, SETTINGS, HEADERS]);
    assert_eq!(client.frame().expect("a piece").payload, b"he");
    client.say(&frames::window_update(1, 1));
    assert_eq!(client.frame().expect("a piece").payload, b"l");
    client.say(&frames::frame(PING, 0, 0, b"12345678"));
    let ack = client.frame().expect("an acknowledgement");
    assert_eq!((ack.kind, ack.has(ACK), &ack.payload[..]), (PING, true, &b"12345678"[..]));
    client.say(&frames::settings(&[(INITIAL_WINDOW_SIZE, 60_000)]));
    let last = client.frame().expect("the rest");
    assert_eq!((&last.payload[..], last.has(END_STREAM)), (&b"lo"[..], true));
}

#[test]
fn it_goes_away_after_so_many_requests() {
    let network = start(Plan::default());
    network.inject_times(Fault::GoAwayAfter(2), 1);
    let (mut client, _) = Client::new(&network);
    client.say(&[request(1, END_STREAM), request(3, END_STREAM), request(5, END_STREAM)].concat());
    client.answered(1);
    client.answered(3);
    assert_eq!(client.farewell(), (3, 0));
    assert!(client.frame().is_none());
    eventually("the late request", || network.seen().len() == 3);
    assert_eq!(places(&network), [(Some(1), false), (Some(3), false), (Some(5), true)]);
    let (mut client, _) = Client::new(&network);
    client.ask(1);
    client.answered(1);
}

#[test]
fn it_goes_away_in_every_other_way() {
    let network = start(Plan::default());
    for (fault, farewell, turned_away) in
        [(Fault::GoAwayUnprocessed, (0, 0), true), (Fault::GoAwayError, (1, 11), false)]
    {
        network.reset_counts();
        network.inject_times(fault, 1);
        let (mut client, _) = Client::new(&network);
        client.ask(1);
        assert_eq!(client.farewell(), farewell);
        assert!(client.frame().is_none());
        assert_eq!(places(&network), [(Some(1), turned_away)]);
    }
    network.inject_times(Fault::GoAwayGraceful(1), 1);
    let (mut client, _) = Client::new(&network);
    client.say(&[request(1, 0), request(3, END_STREAM)].concat());
    assert_eq!(client.farewell(), (i32::MAX as u32, 0));
    client.answered(3);
    client.say(&frames::frame(DATA, END_STREAM, 1, b"x"));
    assert_eq!(client.frame().expect("a window").kind, WINDOW_UPDATE);
    client.answered(1);
    assert_eq!(client.farewell(), (3, 0));
    assert!(client.frame().is_none());
}

#[test]
fn it_resets_streams_and_keeps_the_connection() {
    let network = start(Plan::default());
    let (mut client, _) = Client::new(&network);
    network.inject_times(Fault::RefusedStream, 1);
    client.say(&request(1, 0));
    assert_eq!(client.reset(), (1, 7));
    network.inject_times(Fault::ResetStream(8), 1);
    client.ask(3);
    assert_eq!(client.reset(), (3, 8));
    network.inject_times(Fault::ResetMidBody(2), 1);
    client.ask(5);
    assert_eq!(client.kinds(2), [HEADERS, DATA]);
    assert_eq!(client.reset(), (5, 2));
    network.inject_times(Fault::WindowZeroIncrement, 1);
    client.ask(7);
    assert_eq!(client.frame().expect("a window").number(0), Some(0));
    client.ask(9);
    client.answered(9);
    assert_eq!(places(&network)[..2], [(Some(1), true), (Some(3), false)]);
}

#[test]
fn its_settings_stop_the_client() {
    let network = start(Plan::default());
    network.inject_times(Fault::WindowClosed, 1);
    let (mut client, settings) = Client::new(&network);
    assert!(settings.contains(&(INITIAL_WINDOW_SIZE, 0)));
    client.ask(1);
    client.answered(1);
    network.inject_times(Fault::MaxStreams(0), 1);
    let (mut client, settings) = Client::new(&network);
    assert!(settings.contains(&(MAX_CONCURRENT_STREAMS, 0)));
    client.ask(1);
    assert_eq!(client.reset(), (1, 7));
    network.inject_times(Fault::MaxStreamsLowered(1), 1);
    let (mut client, settings) = Client::new(&network);
    assert!(settings.contains(&(MAX_CONCURRENT_STREAMS, 100)));
    client.ask(1);
    client.answered(1);
    let lowered = client.frame().expect("settings");
    assert_eq!(lowered.settings().collect::<Vec<_>>(), [(MAX_CONCURRENT_STREAMS, 1)]);
    client.say(&[request(3, 0), request(5, END_STREAM)].concat());
    assert_eq!(client.reset(), (5, 7));
    // A client that obeys waits for ever.
    network.inject_times(Fault::MaxStreams(0), 1);
    converse(async {
        let mut sender = plain(at(network.scripted2())).await;
        while sender.current_max_send_streams() > 0 {
            tokio::task::yield_now().await;
        }
        let ready = std::future::poll_fn(|cx| sender.poll_ready(cx));
        drop(tokio::time::timeout(std::time::Duration::from_millis(20), ready).await);
    });
}

#[test]
fn heads_explode_and_flood() {
    let network = start(Plan::default());
    let (mut client, _) = Client::new(&network);
    let mut decoder = Decoder::new();
    network.inject_times(Fault::HeaderList(100_000), 1);
    client.ask(1);
    let mut block = Vec::new();
    loop {
        let frame = client.frame().expect("a piece");
        assert_eq!(frame.kind, if block.is_empty() { HEADERS } else { CONTINUATION });
        block.extend(&frame.payload);
        if frame.has(END_HEADERS) {
            break;
        }
    }
    let size =
        |fields: &[hpack::Field]| fields.iter().map(|(name, value)| 32 + name.len() + value.len()).sum::<usize>();
    assert_eq!(size(&decoder.decode(&block).expect("HPACK")[1..]), 100_000);
    assert_eq!(client.frame().expect("a body").payload, b"hello");
    network.inject_times(Fault::HeaderBomb, 1);
    client.ask(3);
    let head = client.frame().expect("a head");
    assert_eq!((head.payload.len(), head.has(END_HEADERS)), (16 << 10, true));
    assert!(size(&decoder.decode(&head.payload).expect("HPACK")) > 40_000_000);
    assert_eq!(client.frame().expect("a body").payload, b"hello");
    network.inject_times(Fault::TableSizeGame, 1);
    client.ask(5);
    assert_eq!(client.frame().expect("a head").payload[..1], [0x3F]);
    network.inject_times(Fault::ContinuationFlood, 1);
    client.ask(7);
    client.frame().expect("the end of the body");
    let flood: Vec<_> = (0..1000).map_while(|_| client.frame()).collect();
    assert_eq!(flood[0].kind, HEADERS);
    assert!(flood[1..].iter().all(|frame| frame.kind == CONTINUATION && !frame.has(END_HEADERS)));
    assert!(decoder.decode(&flood[1].payload).is_some());
}

#[test]
fn floods_flow() {
    let network = start(Plan::default());
    for (fault, kind) in [
        (Fault::SettingsFlood, SETTINGS),
        (Fault::PingFlood, PING),
        (Fault::PriorityFlood, PRIORITY),
        (Fault::EmptyDataFlood, DATA),
        (Fault::TinyDataFlood, DATA),
    ] {
        network.inject_times(fault.clone(), 1);
        let (mut client, _) = Client::new(&network);
        client.ask(1);
        if kind == DATA {
            assert_eq!(client.frame().expect("a head").kind, HEADERS);
        }
        let flood = client.kinds(10_000);
        assert!(flood.len() == 10_000 && flood.iter().all(|found| *found == kind), "{fault:?}");
        if kind == DATA {
            client.say(&frames::reset(1, 8));
            client.ask(3);
            while client.frame().expect("an answer").stream != 3 {}
        }
    }
    assert!(network.complaints().contains(&Complaint { stream: 1, code: 8 }));
    eventually("the end of the floods", || network.counts().origins.live == 0);
}

#[test]
fn tiny_frames_keep_within_the_window() {
    let network = start(Plan::default());
    network.inject(Fault::TinyDataFlood);
    let mut client = Client { stream: dial(at(network.scripted2())) };
    client.say(&[frames::PREFACE, &frames::settings(&[(INITIAL_WINDOW_SIZE, 3)]), &request(1, END_STREAM)].concat());
    assert_eq!(client.kinds(6), [SETTINGS, SETTINGS, HEADERS, DATA, DATA, DATA]);
    client.say(&frames::frame(PING, 0, 0, b"12345678"));
    assert_eq!(client.kinds(1), [PING]);
    client.say(&frames::window_update(1, 2));
    client.say(&frames::frame(PING, 0, 0, b"12345678"));
    let mut last = client.kinds(3);
    last.sort_unstable();
    assert_eq!(last, [DATA, DATA, PING]);
}

#[test]
fn it_pushes_and_sends_what_is_malformed() {
    let network = start(Plan::default());
    network.inject_times(Fault::PushPromise, 1);
    let (mut client, _) = Client::new(&network);
    client.ask(1);
    let promise = client.frame().expect("a promise");
    assert_eq!((promise.kind, promise.number(0)), (PUSH_PROMISE, Some(2)));
    client.answered(2);
    client.answered(1);
    for how in BadFrame::ALL {
        network.reset_counts();
        network.inject_times(Fault::MalformedFrame(how), 1);
        converse(async {
            let sender = plain(at(network.scripted2())).await;
            let answer = ask(&sender, "GET", "/", b"").await;
            // What h2 overlooks, or takes for a matter of the stream, is right to be overlooked or was answered.
            let lenient = matches!(how, BadFrame::NoStatus | BadFrame::SettingsAckPayload);
            assert!(answer.is_err() || lenient, "{how:?}: {answer:?}");
        });
        assert_eq!(network.seen().len(), 1, "{how:?}");
    }
}

#[test]
fn a_client_that_gives_up_is_told_goodbye() {
    let network = start(Plan::default());
    let (mut client, _) = Client::new(&network);
    client.say(&[request(1, 0), frames::go_away(0, 11)].concat());
    assert!(client.frame().is_none());
    assert_eq!(network.complaints(), [Complaint { stream: 0, code: 11 }]);
}

#[test]
fn a_window_that_never_opens_takes_no_body() {
    let network = start(Plan::default());
    network.inject(Fault::WindowClosed);
    let (mut client, _) = Client::new(&network);
    client.say(&[request(1, 0), frames::frame(DATA, END_STREAM, 1, b"unasked"), request(3, END_STREAM)].concat());
    client.answered(3);
    client.say(&frames::frame(PING, 0, 0, b"12345678"));
    assert_eq!(client.kinds(1), [PING]);
}

#[test]
fn a_silent_peer_answers_neither_requests_nor_pings() {
    let network = start(Plan::default());
    let (mut client, _) = Client::new(&network);
    client.ask(1);
    client.answered(1);
    network.inject(Fault::SilentPeer);
    client.ask(3);
    client.say(&frames::frame(PING, 0, 0, b"12345678"));
    eventually("the request", || network.seen().len() == 2);
    client.stream.set_read_timeout(Some(std::time::Duration::from_millis(60))).expect("a timeout");
    assert!(client.frame().is_none());
    assert!(!network.seen()[1].turned_away);
    assert_eq!(network.counts().origins.live, 1);
}

#[test]
fn every_script_hits_once_and_then_the_peer_is_right_again() {
    let network = start(Plan::default());
    for row in Fault::ALL.iter().filter(|row| row.layer == Layer::Http2) {
        let fault = [json!(row.name), json!({row.name: 1}), json!({row.name: "data-on-idle"})];
        let fault = fault.into_iter().find_map(|fault| serde_json::from_value::<Fault>(fault).ok()).expect("a fault");
        network.inject_times(fault, 1);
        let mut spoilt = Client { stream: dial(at(network.scripted2())) };
        spoilt.say(&[frames::PREFACE, &frames::settings(&[]), &request(1, END_STREAM)].concat());
        eventually("a hit", || network.faults().is_empty());
        let (mut client, _) = Client::new(&network);
        client.ask(1);
        client.answered(1);
    }
}
