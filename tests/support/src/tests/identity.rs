//! Who the origins and their clients are: client certificates, ALPN, tickets.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::http2::{converse, negotiate};
use super::origin::{body, fetch, roots, tls, trust};
use super::start;
use crate::{Certificate, Fault, Network, Plan};

fn showing(network: &Network, name: &str) -> Arc<ClientConfig> {
    let file = |kind: &str| network.file(&format!("{name}.{kind}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(file("key")).expect("a key");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(network))
        .with_client_auth_cert(chain, key);
    Arc::new(config.expect("a key that fits"))
}

#[test]
fn only_the_test_cas_clients_are_known() {
    let network = start(Plan::default());
    let port = network.https_client_auth();
    for fault in [None, Some(Fault::Tls12Only)] {
        network.heal();
        fault.into_iter().for_each(|fault| network.inject(fault));
        let known = showing(&network, "client");
        for resumed in [false, true] {
            let echo = body(&fetch(&known, port).expect("an answer"));
            assert_eq!(
                (&echo["client_certificate"], &echo["resumed"]),
                (&"pinlink-box client".into(), &resumed.into())
            );
        }
        let stranger = fetch(&showing(&network, "stranger"), port).expect_err("a refusal").to_string();
        assert!(stranger.contains("alert") || stranger.contains("reset"), "{stranger}");
        let nobody = fetch(&trust(&network), port).expect_err("a refusal").to_string();
        assert!(nobody.contains("alert") || nobody.contains("reset"), "{nobody}");
    }
    assert_eq!(network.seen()[0].client_certificate.as_deref(), Some("pinlink-box client"));
    let key = std::fs::read_to_string(network.file("client-encrypted.key")).expect("a key");
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert!(PrivateKeyDer::from_pem_file(network.file("client-encrypted.key")).is_err());
    assert_eq!(network.file("ca.pem").as_path(), network.ca_file() as &Path);
}

#[test]
fn alpn_is_ignored_or_a_lie() {
    let network = start(Plan::default());
    network.inject_times(Fault::AlpnNone, 1);
    converse(async {
        let (_, chosen) = negotiate(&network, network.https(Certificate::Right), &[b"h2"]).await;
        assert_eq!(chosen, None);
        let (_, chosen) = negotiate(&network, network.https(Certificate::Right), &[b"h2"]).await;
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]));
    });
    network.inject(Fault::AlpnLies);
    let mut config = ClientConfig::clone(&trust(&network));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = tls(&Arc::new(config), network.https(Certificate::Right));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"));
    // To whom nothing was promised, nothing is broken.
    fetch(&trust(&network), network.https(Certificate::Right)).expect("an answer");
}

#[test]
fn a_rotated_ticket_key_forgets_sessions() {
    let network = start(Plan::default());
    let config = trust(&network);
    let resumed = || body(&fetch(&config, network.https(Certificate::Right)).expect("an answer"))["resumed"].clone();
    assert_eq!([resumed(), resumed()], [false, true]);
    network.inject_times(Fault::RotateTickets, 1);
    assert_eq!([resumed(), resumed()], [false, true]);
}

#[test]
fn many_names_fit_a_handshake_message() {
    let network = start(Plan::default());
    let error = fetch(&trust(&network), network.https(Certificate::ManyNames)).expect_err("a refusal").to_string();
    assert!(error.contains("not valid for name") && error.contains("n4999.t"));
}
