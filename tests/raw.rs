//! The promise: protocols that are not HTTP get a pinned, verified, capped and bounded connection.

mod common;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use common::{assert_failed, bare, eventually, host, http, network, start};
use pinlink::{AsyncClient, Builder, Client, Delivery, Phase, Reason};
use pinlink_box::{Certificate, Fault, Network, OverCap, Plan, ProxyPlan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A builder for the plain, the scripted and the right HTTPS port, as bytes.
fn raw(network: &Network) -> Builder {
    let ports =
        [network.http(), network.scripted(), network.https(Certificate::Right), network.https(Certificate::WrongName)];
    bare(network).hosts(ports.map(|port| format!("tcp://{}:{port}", host(network))))
}

const QUESTION: &[u8] = b"GET /rows/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn ask(mut socket: impl Read + Write) -> String {
    socket.write_all(QUESTION).unwrap();
    socket.flush().unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn bytes_go_both_ways_plain_and_over_tls() {
    let network = network();
    let client = raw(&network).build().unwrap();
    let plain = client.connect(host(&network), network.http()).unwrap();
    assert_eq!(plain.peer_address().port(), network.http());
    assert!(ask(plain).starts_with("HTTP/1.1 200 OK\r\n"));
    let tls = client.connect_tls(host(&network), network.https(Certificate::Right)).unwrap();
    assert!(ask(tls).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(common::seen(&network, "/rows/7")[1].sni.as_deref(), Some(host(&network)));
    eventually("both are closed", || client.stats().connections_live == 0);
}

#[test]
fn an_async_caller_has_the_same_on_any_executor() {
    let network = network();
    let client = AsyncClient::from(raw(&network).build().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let port = network.https(Certificate::Right);
        let mut socket = client.connect_tls(host(&network), port).await.unwrap();
        socket.write_all(QUESTION).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(client.connect(host(&network), network.http()).await.is_ok());
    });
}

#[test]
fn only_what_is_declared_can_be_reached_and_the_certificate_is_verified() {
    let network = network();
    let client = raw(&network).build().unwrap();
    let error = client.connect(host(&network), 1).expect_err("not declared");
    assert_failed(&error, Reason::PolicyNotDeclared, Delivery::NotSent);
    let wrong = network.https(Certificate::WrongName);
    let error = client.connect_tls(host(&network), wrong).expect_err("another's certificate");
    assert_failed(&error, Reason::TlsWrongName, Delivery::NotSent);
    assert_eq!(error.phase(), Phase::Handshake);
    for bad in ["", "a b", "user@host"] {
        assert_failed(&client.connect(bad, 80).expect_err(bad), Reason::ConfigInput, Delivery::NotSent);
    }
    network.inject(Fault::RefuseAll);
    let error = client.connect(host(&network), network.http()).expect_err("nobody listens");
    assert_failed(&error, Reason::ConnectRefused, Delivery::NotSent);
    assert_eq!(client.stats().connections_live, 0);
}

#[test]
fn it_counts_against_the_caps_until_it_is_closed() {
    let network = start(Plan {
        proxy: ProxyPlan { cap: Some(2), over_cap: OverCap::Reset, ..ProxyPlan::default() },
        ..Plan::default()
    });
    let client = raw(&network)
        .hosts([format!("tcp://{}:{}", host(&network), network.http()), http(&network, "")])
        .max_connections(2usize)
        .acquire_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let connect = || client.connect(host(&network), network.http());
    let (first, second) = (connect().unwrap(), connect().unwrap());
    let error = connect().expect_err("both places are taken");
    assert_failed(&error, Reason::TimeoutAcquire, Delivery::NotSent);
    assert_eq!(error.phase(), Phase::Queue);
    common::fails(
        &client,
        &pinlink::Request::get(&http(&network, "/rows/1")),
        Reason::TimeoutAcquire,
        Delivery::NotSent,
    );
    drop(first);
    common::get(&client, &http(&network, "/rows/1"));
    // An idle connection gives its place up for it.
    let third = connect().unwrap();
    assert_eq!((client.stats().evictions, network.counts().proxy.peak), (1, 2));
    drop((second, third));
    eventually("all are closed", || client.stats().connections_live == 0);
}

#[test]
fn no_read_or_write_waits_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client =
        Client::builder().hosts([format!("tcp://127.0.0.1:{port}")]).allow_addresses(["127.0.0.0/8"]).build().unwrap();
    let mut socket = client.connect("127.0.0.1", port).unwrap();
    socket.set_timeout(Duration::from_millis(50));
    let error = socket.read(&mut [0; 1]).expect_err("nobody says anything");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let inner =
        error.get_ref().and_then(|inner| inner.downcast_ref::<pinlink::Error>()).expect("the whole error is inside");
    assert_eq!(inner.reason(), Reason::TimeoutStalled);
    // Nobody reads either: the buffers of both kernels fill up.
    let block = vec![0; 1 << 20];
    let error = (0..100).find_map(|_| socket.write_all(&block).err()).expect("the far side is full");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_far_side_s_words_and_its_silence_are_read_as_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client =
        Client::builder().hosts([format!("tcp://127.0.0.1:{port}")]).allow_addresses(["127.0.0.0/8"]).build().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // It speaks first, as databases do.
        socket.write_all(b"welcome").unwrap();
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).unwrap();
        socket.write_all(b"bye").unwrap();
        heard
    });
    let mut socket = client.connect("127.0.0.1", port).unwrap();
    let mut words = [0; 7];
    socket.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"welcome");
    socket.write_all(b"thanks").unwrap();
    // The end of one direction leaves the other open.
    socket.shutdown().unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert_eq!((&*rest, &*server.join().unwrap()), ("bye", &b"thanks"[..]));
}
