//! The origins: certificates, paths, the sink and the control API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::{at, dial, eventually, exchange, get, post, start};
use crate::{Certificate, Fault, Network, Plan};

pub(super) fn roots(network: &Network) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(network.ca_file()).expect("the CA file")).expect("a CA");
    roots
}

pub(super) fn trust(network: &Network) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(network))
        .with_no_client_auth();
    Arc::new(config)
}

pub(super) fn tls(config: &Arc<ClientConfig>, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("kms.box.test").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a session"), dial(at(port)))
}

pub(super) fn fetch(config: &Arc<ClientConfig>, port: u16) -> std::io::Result<String> {
    let mut stream = tls(config, port);
    stream.write_all(b"GET /echo HTTP/1.1\r\nHost: kms.box.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(super) fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").expect("a whole head").1;
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn only_the_right_certificate_passes() {
    let network = start(Plan::default());
    let config = trust(&network);
    for kind in Certificate::ALL {
        let fetched = fetch(&config, network.https(kind));
        let says = fetched.map_err(|error| error.to_string());
        let reason = match kind {
            Certificate::Right => {
                let echo = body(&says.expect("an answer"));
                assert_eq!((echo["sni"].as_str(), echo["host"].as_str()), (Some("kms.box.test"), Some("kms.box.test")));
                continue;
            }
            Certificate::WrongName | Certificate::CnOnly | Certificate::ManyNames => "not valid for name",
            Certificate::Expired => "expired",
            Certificate::NotYetValid => "not valid yet",
            Certificate::SelfSigned | Certificate::UnknownIssuer => "UnknownIssuer",
        };
        let error = says.expect_err("a refusal");
        assert!(error.contains(reason), "{kind:?}: {error}");
    }
    eventually("seven failed handshakes", || network.counts().origins.failed_handshakes == 7);
}

#[test]
fn sessions_resume_in_both_versions() {
    let network = start(Plan::default());
    for fault in [Fault::Tls12Only, Fault::Tls13Only] {
        network.reset_counts();
        network.inject(fault);
        let config = trust(&network);
        for resumed in [false, true] {
            let echo = body(&fetch(&config, network.https(Certificate::Right)).expect("an answer"));
            assert_eq!(echo["resumed"].as_bool(), Some(resumed));
        }
        let counts = network.counts().origins;
        assert_eq!((counts.handshakes, counts.resumed), (2, 1));
        network.heal();
    }
}

#[test]
fn tls_breaks_before_and_after_the_handshake() {
    let network = start(Plan::default());
    let config = trust(&network);
    for (fault, reason) in [
        (Fault::HandshakeClose, "end of file"),
        (Fault::NotTls, "corrupt"),
        (Fault::AlertMidStream, ""),
        (Fault::GarbageRecord, ""),
        (Fault::TruncatedClose, "close_notify"),
    ] {
        network.inject_times(fault.clone(), 1);
        let error = fetch(&config, network.https(Certificate::Right)).expect_err("a failure").to_string();
        assert!(error.contains(reason), "{fault:?}: {error}");
    }
    fetch(&config, network.https(Certificate::Right)).expect("healed");
}

#[test]
fn paths_answer_as_documented() {
    let network = start(Plan::default());
    let http = at(network.http());
    assert!(get(http, "/bytes/1000").contains("content-length: 1000\r\n"));
    assert!(get(http, "/chunked/1000").contains("transfer-encoding: chunked\r\n"));
    assert!(get(http, "/stream/3/10/1").contains("transfer-encoding: chunked\r\n"));
    assert_eq!(body(&get(http, "/delay/1"))["delay-ms"], 1);
    let limited = get(http, "/status/503?retry_after=2&times=1");
    assert!(limited.starts_with("HTTP/1.1 503") && limited.contains("retry-after: 2\r\n"));
    assert!(get(http, "/status/503?retry_after=2&times=1").starts_with("HTTP/1.1 200"));
    assert!(get(http, "/status/204").ends_with("\r\n\r\n"));
    let short = get(http, "/close-early/100");
    assert!(short.contains("content-length: 201\r\n") && short.split_once("\r\n\r\n").expect("a head").1.len() == 100);
    let row = get(http, "/rows/17");
    assert_eq!(body(&row)["id"], "17");
    let tag = row.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
    let again = format!("GET /rows/17 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n");
    assert!(exchange(http, &again).0.starts_with("HTTP/1.1 304"));
    assert!(get(http, "/nothing").starts_with("HTTP/1.1 404"));
    let seen = network.seen();
    assert_eq!((seen[0].path.as_str(), seen[0].host.as_deref()), ("/bytes/1000", Some("kms.box.test")));
    assert_eq!(seen[0].dialled, http);
    assert_eq!(network.counts().origins.requests, seen.len() as u64);
}

#[test]
fn a_key_is_applied_once_and_replayed() {
    let network = start(Plan::default());
    let http = at(network.http());
    let first = post(http, "/sink/r", "Idempotency-Key: \"k1\"\r\n", "one");
    assert!(first.starts_with("HTTP/1.1 201") && !first.contains("idempotent-replayed"));
    let second = post(http, "/sink/r", "Idempotency-Key: k1\r\n", "one");
    assert!(second.starts_with("HTTP/1.1 201") && second.contains("idempotent-replayed: true"));
    assert_eq!(body(&first), body(&second));
    assert!(post(http, "/sink/r", "Idempotency-Key: k1\r\n", "two").starts_with("HTTP/1.1 422"));
    let died = post(http, "/sink/r?ClientToken=k%32&fault=apply-then-die", "", "one");
    assert_eq!(died, "");
    assert!(post(http, "/sink/r?ClientToken=k2", "", "one").contains("idempotent-replayed: true"));
    assert!(post(http, "/sink/r?fault=fail-after-apply", "", "one").starts_with("HTTP/1.1 500"));
    assert!(post(http, "/sink/r", "", "one").starts_with("HTTP/1.1 201"));
    let put = "PUT /sink/o HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    assert!(exchange(http, put).0.starts_with("HTTP/1.1 201"));
    assert!(exchange(http, put).0.starts_with("HTTP/1.1 412"));
    let found: Vec<_> = network.sink().into_iter().map(|w| (w.key, w.attempts, w.applied, w.bodies.len())).collect();
    let key = |key: &str| Some(key.to_owned());
    assert_eq!(found, [(key("*"), 2, 1, 1), (None, 2, 2, 1), (key("k1"), 3, 1, 2), (key("k2"), 2, 1, 1)]);
}

#[test]
fn a_write_in_progress_conflicts_and_survives_its_client() {
    let network = start(Plan::default());
    let http = at(network.http());
    let mut slow = dial(http);
    slow.write_all(b"POST /sink/r?slow=150 HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\nx")
        .expect("sent");
    eventually("the first twin", || network.sink().first().is_some_and(|write| !write.bodies.is_empty()));
    assert!(post(http, "/sink/r", "Idempotency-Key: k\r\n", "x").starts_with("HTTP/1.1 409"));
    drop(slow);
    eventually("the write", || network.sink()[0].applied == 1);
    assert!(post(http, "/sink/r", "Idempotency-Key: k\r\n", "x").contains("idempotent-replayed"));
}

#[test]
fn the_control_api_does_what_the_methods_do() {
    let network = start(Plan::default());
    let control = network.control();
    let plan = body(&get(control, "/plan"));
    assert_eq!(plan["http"], network.http());
    assert_eq!(plan["https"]["wrong-name"], network.https(Certificate::WrongName));
    for fault in ["\"silent\"", "{\"cap\": [4, \"reset\"]}", "{\"fault\": \"ack-lost\", \"times\": 2}"] {
        assert!(post(control, "/faults", "", fault).starts_with("HTTP/1.1 204"), "{fault}");
    }
    assert_eq!(network.faults().len(), 3);
    assert_eq!(body(&get(control, "/faults"))[2], json!({"fault": "ack-lost", "times": 2}));
    let unknown = post(control, "/faults", "", "\"silence\"");
    assert!(unknown.starts_with("HTTP/1.1 422") && unknown.contains("unknown variant `silence`"));
    assert!(exchange(control, "DELETE /faults HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").0.contains("204"));
    assert!(network.faults().is_empty());
    assert_eq!(body(&get(control, "/counts"))["proxy"]["live"], 0);
    for path in ["/queries", "/sink", "/seen", "/complaints", "/tunnels"] {
        assert!(body(&get(control, path)).is_array());
    }
    assert!(post(control, "/reset", "", "").starts_with("HTTP/1.1 204"));
    assert!(post(control, "/stop", "", "").starts_with("HTTP/1.1 204"));
    network.wait();
}

#[test]
fn the_ca_file_goes_with_the_network() {
    let network = start(Plan::default());
    let file = network.ca_file().to_owned();
    let control = network.control();
    assert!(file.exists());
    drop(network);
    assert!(!file.exists());
    assert!(TcpStream::connect(control).is_err());
}
