//! HTTP/2 at the HTTP and HTTPS origins, as a client of the `h2` crate sees it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::origin::{body, fetch, trust};
use super::{PATIENCE, at, start};
use crate::{Certificate, Fault, Network, Plan};

/// Runs a client's side of a conversation, for as long as patience lasts.
pub(super) fn converse<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, conversation).await.expect("in time") })
}

/// Starts HTTP/2 on a connection; a task drives it until it ends.
pub(super) async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

pub(super) async fn plain(to: SocketAddr) -> SendRequest<Bytes> {
    speak(TcpStream::connect(to).await.expect("a connection")).await
}

/// What the client offers by ALPN, and what is chosen.
pub(super) async fn negotiate(
    network: &Network,
    port: u16,
    offers: &[&[u8]],
) -> (tokio_rustls::client::TlsStream<TcpStream>, Option<Vec<u8>>) {
    let mut config: ClientConfig = (*trust(network)).clone();
    config.alpn_protocols = offers.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(at(port)).await.expect("a connection");
    let name = ServerName::try_from("kms.box.test").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a session");
    let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    (stream, chosen)
}

/// One request, its answer's head, its whole body and its trailers.
pub(super) async fn ask(
    sender: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    sent: &'static [u8],
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let request = Request::builder().method(method).uri(format!("http://kms.box.test{path}"));
    let request = request.body(()).expect("a request");
    let (answer, mut stream) = sender.send_request(request, sent.is_empty())?;
    if !sent.is_empty() {
        stream.send_data(Bytes::from_static(sent), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        _ = body.flow_control().release_capacity(data.len());
        bytes.extend(data);
    }
    let trailers = body.trailers().await?;
    Ok((Response::from_parts(head, ()), bytes, trailers))
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

#[test]
fn one_plain_port_speaks_both_versions() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.http())).await;
        let (head, echo, _) = ask(&sender, "POST", "/echo", b"hi").await.expect("an answer");
        assert_eq!((head.status().as_u16(), json(&echo)["body"].as_str()), (200, Some("hi")));
        assert_eq!(json(&echo)["protocol"], "HTTP/2.0");
        assert_eq!(json(&echo)["host"], "kms.box.test");
    });
    assert_eq!(body(&super::get(at(network.http()), "/echo"))["protocol"], "HTTP/1.1");
    let seen: Vec<_> = network.seen().into_iter().map(|seen| seen.protocol).collect();
    assert_eq!(seen, ["HTTP/2.0", "HTTP/1.1"]);
}

#[test]
fn alpn_decides_over_tls() {
    let network = start(Plan::default());
    converse(async {
        let (stream, chosen) = negotiate(&network, network.https(Certificate::Right), &[b"http/1.1", b"h2"]).await;
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]));
        let (_, echo, _) = ask(&speak(stream).await, "GET", "/echo", b"").await.expect("an answer");
        assert_eq!(json(&echo)["protocol"], "HTTP/2.0");
        assert_eq!(
            negotiate(&network, network.https(Certificate::Right), &[b"http/1.1"]).await.1.as_deref(),
            Some(&b"http/1.1"[..])
        );
        assert_eq!(negotiate(&network, network.https(Certificate::Right), &[]).await.1, None);
    });
    let silent = fetch(&trust(&network), network.https(Certificate::Right)).expect("an answer");
    assert_eq!(body(&silent)["protocol"], "HTTP/1.1");
}

#[test]
fn one_connection_has_as_many_streams_as_planned() {
    let network = start(Plan { h2_max_streams: Some(3), ..Plan::default() });
    converse(async {
        let sender = plain(at(network.http())).await;
        ask(&sender, "GET", "/bytes/1", b"").await.expect("an answer");
        assert_eq!(sender.current_max_send_streams(), 3);
        let three = [1, 2, 3].map(|_| ask(&sender, "GET", "/busy/3/20", b""));
        let [one, two, three] = three;
        for answer in [tokio::join!(one, two, three)].map(|(a, b, c)| [a, b, c]).into_iter().flatten() {
            assert_eq!(answer.expect("an answer").0.status(), 200);
        }
    });
    assert_eq!(network.counts().origins.connections, 1);
}

#[test]
fn a_sink_that_dies_resets_the_stream_and_keeps_the_write() {
    let network = start(Plan::default());
    network.inject_times(Fault::ApplyThenDie, 1);
    converse(async {
        let sender = plain(at(network.http())).await;
        let error = ask(&sender, "POST", "/sink/r", b"x").await.expect_err("no answer");
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert_eq!(network.sink()[0].applied, 1);
        let broken = ask(&sender, "GET", "/close-early/100", b"").await.expect_err("half an answer");
        assert!(broken.is_reset());
        assert_eq!(ask(&sender, "POST", "/sink/r", b"x").await.expect("an answer").0.status(), 201);
    });
}

#[test]
fn tls_faults_break_http2_too() {
    let network = start(Plan::default());
    for fault in [Fault::AlertMidStream, Fault::GarbageRecord, Fault::TruncatedClose] {
        network.inject_times(fault.clone(), 1);
        converse(async {
            let (stream, _) = negotiate(&network, network.https(Certificate::Right), &[b"h2"]).await;
            let sender = speak(stream).await;
            let error = ask(&sender, "GET", "/echo", b"").await.expect_err("half an answer");
            assert!(!error.is_reset(), "{fault:?}: {error}");
        });
    }
}

#[test]
fn answers_without_a_body_say_how_long_it_would_be() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.http())).await;
        for (method, path, length) in [
            ("HEAD", "/bytes/1000", Some("1000")),
            ("HEAD", "/empty/200?length=7", Some("7")),
            ("GET", "/empty/304", Some("5")),
            ("GET", "/empty/204", None),
            ("HEAD", "/chunked/1000", None),
        ] {
            let (head, body, _) = ask(&sender, method, path, b"").await.expect("an answer");
            let told = head.headers().get("content-length").map(|length| length.to_str().expect("a number"));
            assert_eq!((told, body.len()), (length, 0), "{method} {path}");
        }
    });
}

#[test]
fn trailers_follow_the_body_both_ways() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.http())).await;
        let (_, body, trailers) = ask(&sender, "GET", "/trailers/300", b"").await.expect("an answer");
        let trailers = trailers.expect("trailers");
        assert_eq!((body.len(), trailers["x-rows"].to_str().expect("a number")), (300, "300"));
        assert_eq!(trailers["x-checksum"].len(), 64);
        let (_, told, _) = ask(&sender, "POST", "/upload", b"abc").await.expect("an answer");
        assert_eq!((json(&told)["framing"].as_str(), json(&told)["bytes"].as_u64()), (Some("h2"), Some(3)));
    });
}
