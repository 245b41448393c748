//! TLS of a test's own: a CA and what it signs, a session as its server sees it, and records that say what no server
//! would say; and what a call must come to that meets one of them.
//!
//! Owns: certificates that the box does not have, and, after a handshake, the keys of a session ([`Records`]), with
//! which a script encrypts alerts, tickets and empty records of its own. Keys are made afresh.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pinlink::{Builder, Delivery, Error, Kind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned,
    SupportedCipherSuite,
};

use super::Scratch;
use super::raw::{NAME, Peer, Requests, Wire};
use super::survival::{Ask, Caller, Failure, TIMEOUT, fails_as};

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Its own certificate.
    pub(crate) certificate: CertificateDer<'static>,
}

/// A certificate with those that lead to its root, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A certificate for these names.
pub(crate) fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("the names are ASCII")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    /// A root of this name.
    pub(crate) fn root(name: &str) -> Authority {
        let (params, key) = (authority(name), KeyPair::generate().expect("a key"));
        let certificate = params.self_signed(&key).expect("a root");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Authority { issuer: Issuer::new(params, key), pem, certificate: der }
    }

    /// An intermediate below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let (params, key) = (authority(name), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, &self.issuer).expect("an intermediate");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Authority { issuer: Issuer::new(params, key), pem, certificate: der }
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity { chain: vec![certificate.der().clone()], key }
    }

    /// What a server of [`NAME`] needs.
    pub(crate) fn right(&self) -> Arc<ServerConfig> {
        self.sign(&named(&[NAME])).server()
    }

    /// A file with its certificate, for who trusts it.
    pub(crate) fn file(&self, scratch: &Scratch) -> PathBuf {
        scratch.file("ca.pem", &self.pem)
    }
}

impl Identity {
    /// As servers of many names keep it. Whether the certificate is any good is left to the client.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.key).expect("a key that signs");
        Arc::new(CertifiedKey::new(self.chain.clone(), key))
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server_with(|_| {})
    }

    /// A server that shows this certificate, with what is different about it.
    pub(crate) fn server_with(&self, change: impl FnOnce(&mut ServerConfig)) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified())));
        config.enable_secret_extraction = true;
        change(&mut config);
        Arc::new(config)
    }
}

/// A session, seen from its server.
pub(crate) struct Session {
    pub(crate) tls: StreamOwned<ServerConnection, TcpStream>,
    requests: Requests,
}

impl Session {
    /// Shakes hands.
    pub(crate) fn accept(wire: &Wire, config: &Arc<ServerConfig>) -> io::Result<Session> {
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut stream = wire.stream.try_clone()?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Session { tls: StreamOwned::new(connection, stream), requests: Requests::default() })
    }

    /// The head of the next request, whose body is read as well.
    pub(crate) fn request(&mut self, wire: &Wire) -> io::Result<Option<String>> {
        let Some(head) = self.requests.head(&mut self.tls)? else { return Ok(None) };
        wire.note(&head);
        Ok(self.requests.body(&head, &mut self.tls)?.then_some(head))
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tls.write_all(bytes.as_ref())?;
        self.tls.flush()
    }

    /// Reads until the client closes.
    pub(crate) fn until_closed(mut self) -> io::Result<()> {
        while self.tls.sock.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }

    /// From here on the script encrypts.
    pub(crate) fn into_records(self) -> Records {
        let StreamOwned { conn, sock } = self.tls;
        let Some(SupportedCipherSuite::Tls13(suite)) = conn.negotiated_cipher_suite() else {
            panic!("both sides speak TLS 1.3");
        };
        let (sequence, secrets) = conn.dangerous_extract_secrets().expect("it was enabled").tx;
        let (key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("an unknown cipher"),
        };
        Records { encrypter: suite.aead_alg.encrypter(key, iv), sequence, socket: sock }
    }
}

/// The sending half of a TLS 1.3 session, for a script that says what no server would.
pub(crate) struct Records {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    pub(crate) socket: TcpStream,
}

impl Records {
    /// The next record.
    pub(crate) fn sealed(&mut self, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(content);
        let plain = OutboundPlainMessage { typ: kind, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.encrypter.encrypt(plain, self.sequence).expect("it encrypts");
        self.sequence += 1;
        sealed.encode()
    }

    pub(crate) fn say(&mut self, kind: ContentType, content: &[u8]) -> io::Result<()> {
        let record = self.sealed(kind, content);
        self.socket.write_all(&record)
    }

    /// Says it over and over, until the client has had enough.
    pub(crate) fn flood(&mut self, kind: ContentType, content: &[u8]) -> io::Result<()> {
        loop {
            let many: Vec<u8> = (0..256).flat_map(|_| self.sealed(kind, content)).collect();
            self.socket.write_all(&many)?;
        }
    }

    /// Reads until the client closes.
    pub(crate) fn until_closed(mut self) -> io::Result<()> {
        while self.socket.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }
}

/// A CA of a test's own, and the file with it.
pub(crate) struct Trust {
    pub(crate) authority: Authority,
    pub(crate) scratch: Scratch,
}

impl Trust {
    pub(crate) fn new() -> Trust {
        Trust::of("the test's own CA")
    }

    pub(crate) fn of(name: &str) -> Trust {
        Trust { authority: Authority::root(name), scratch: Scratch::new() }
    }

    /// A builder that trusts it, and nobody else, to reach this peer over TLS.
    pub(crate) fn client(&self, peer: &Peer) -> Builder {
        let builder = peer.reached_by([peer.url("https", "")]).web_roots(false);
        builder.ca_file(self.authority.file(&self.scratch)).backoff_max(Duration::from_millis(50))
    }
}

/// One call into a peer's fault: it fails as it must, with as many connections as tries, each closed, and as many requests
/// as left; and the next one, to a peer that is healed, succeeds.
#[track_caller]
pub(crate) fn meets(caller: Caller, ask: Ask, peer: &Peer, builder: Builder, failure: Failure) -> Error {
    let client = builder.build().unwrap();
    let error = fails_as(caller, &client, &ask.request(&peer.url("https", "/asked")), TIMEOUT, failure);
    let attempts = failure.attempts as usize;
    let sent = if failure.delivery == Delivery::NotSent { 0 } else { attempts };
    assert_eq!((peer.connections(), peer.requests("/asked")), (attempts, sent), "{caller:?} {ask:?}: {error}");
    assert_eq!(client.stats().connections_live, 0, "{caller:?} {ask:?}: {error}");
    peer.recovers(&client, &peer.url("https", "/after"));
    error
}

/// As [`meets`], where what breaks the session may come together with the head of the answer, or behind it: then either
/// doubt or an answer is true.
#[track_caller]
pub(crate) fn breaks(caller: Caller, ask: Ask, peer: &Peer, builder: Builder) -> Error {
    let client = builder.build().unwrap();
    let error = caller.send(&client, &ask.request(&peer.url("https", "/asked"))).unwrap_err();
    let kinds = if ask == Ask::Post { &[Kind::Tls, Kind::Write][..] } else { &[Kind::Tls] };
    assert!(kinds.contains(&error.kind()), "{caller:?} {ask:?}: {error}");
    assert_ne!(error.delivery(), Delivery::NotSent, "{caller:?} {ask:?}: {error}");
    assert_eq!(
        (error.attempts(), peer.connections(), peer.requests("/asked")),
        (1, 1, 1),
        "{caller:?} {ask:?}: {error}"
    );
    assert_eq!(client.stats().connections_live, 0, "{caller:?} {ask:?}: {error}");
    peer.recovers(&client, &peer.url("https", "/after"));
    error
}
