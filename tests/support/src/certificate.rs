//! The test CA and the certificates it did, and did not, sign.
//!
//! Owns: keys and certificates made afresh at every start (rcgen), the files in which clients find theirs, and the
//! rustls configurations of the HTTPS origins: per certificate one for both TLS versions and one for each, sharing one
//! ticketer so that sessions resume.
//! Never does: touch the network. Time: validity is relative to the wall clock at start.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::tickets::Tickets;

/// Which certificate an HTTPS origin shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// All names of the plan and `*.box.test`, signed by the test CA.
    Right,
    /// `other.invalid`, signed by the test CA (FAULTS L2).
    WrongName,
    /// Expired yesterday (FAULTS L1).
    Expired,
    /// Valid from tomorrow (FAULTS L1).
    NotYetValid,
    /// Signed by its own key (FAULTS L3).
    SelfSigned,
    /// Signed by a CA that nobody trusts (FAULTS L3).
    UnknownIssuer,
    /// The name in the subject only, no alternative names (FAULTS L4).
    CnOnly,
    /// 5,000 names, none of them the right one, signed by the test CA (FAULTS L10). It fits a handshake message.
    ManyNames,
}

/// How many names [`Certificate::ManyNames`] has.
const MANY: usize = 5000;

/// A key that needs a password (`box`), of no certificate: for who must say that it cannot be read.
const ENCRYPTED_KEY: &str = include_str!("client-encrypted.key");

impl Certificate {
    /// Every kind.
    pub const ALL: [Certificate; 8] = [
        Certificate::Right,
        Certificate::WrongName,
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::SelfSigned,
        Certificate::UnknownIssuer,
        Certificate::CnOnly,
        Certificate::ManyNames,
    ];
}

/// The TLS versions an origin offers, as three ready configurations, and the key of their tickets.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) both: Arc<ServerConfig>,
    pub(crate) tls12: Arc<ServerConfig>,
    pub(crate) tls13: Arc<ServerConfig>,
}

/// Two CAs: one the client is told to trust, one it is not.
pub(crate) struct Authority {
    trusted: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
    pem: String,
    names: Vec<String>,
}

fn broken(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(format!("test certificate: {error}"))
}

fn now() -> OffsetDateTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(since.as_secs() as i64)
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn issuer(name: &str) -> std::io::Result<(Issuer<'static, KeyPair>, String)> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now() - Duration::days(30);
    params.not_after = now() + Duration::days(30);
    let key = KeyPair::generate().map_err(broken)?;
    let pem = params.self_signed(&key).map_err(broken)?.pem();
    Ok((Issuer::new(params, key), pem))
}

impl Authority {
    pub(crate) fn new(names: &[String]) -> std::io::Result<Self> {
        let (trusted, pem) = issuer("pinlink-box test CA")?;
        let (stranger, _) = issuer("pinlink-box unknown CA")?;
        let mut names = names.to_vec();
        names.push(format!("*.{}", crate::ZONE));
        Ok(Authority { trusted, stranger, pem, names })
    }

    fn leaf(&self, kind: Certificate) -> std::io::Result<(CertificateDer<'static>, KeyPair)> {
        let names = match kind {
            Certificate::WrongName => vec!["other.invalid".to_owned()],
            Certificate::CnOnly => Vec::new(),
            Certificate::ManyNames => (0..MANY).map(|i| format!("n{i}.t")).collect(),
            _ => self.names.clone(),
        };
        let mut params = CertificateParams::new(names).map_err(broken)?;
        let common = if kind == Certificate::CnOnly { self.names[0].as_str() } else { "pinlink-box" };
        params.distinguished_name = subject(common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (from, until) = match kind {
            Certificate::Expired => (-10, -1),
            Certificate::NotYetValid => (1, 10),
            _ => (-1, 10),
        };
        params.not_before = now() + Duration::days(from);
        params.not_after = now() + Duration::days(until);
        let key = KeyPair::generate().map_err(broken)?;
        let certificate = match kind {
            Certificate::SelfSigned => params.self_signed(&key),
            Certificate::UnknownIssuer => params.signed_by(&key, &self.stranger),
            _ => params.signed_by(&key, &self.trusted),
        };
        Ok((certificate.map_err(broken)?.der().clone(), key))
    }

    /// The right certificate for who speaks nothing but HTTP/2.
    pub(crate) fn serve_h2(&self) -> std::io::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::clone(&self.serve(Certificate::Right)?.both);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// The right certificate for who knows only clients with a certificate of the test CA.
    pub(crate) fn serve_known(&self, ca_file: &Path) -> std::io::Result<Served> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca_file).map_err(broken)?).map_err(broken)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        self.configure(Certificate::Right, verifier.map_err(broken)?)
    }

    pub(crate) fn serve(&self, kind: Certificate) -> std::io::Result<Served> {
        self.configure(kind, WebPkiClientVerifier::no_client_auth())
    }

    fn configure(&self, kind: Certificate, clients: Arc<dyn ClientCertVerifier>) -> std::io::Result<Served> {
        let (certificate, key) = self.leaf(kind)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tickets = Arc::new(Tickets::new().map_err(broken)?);
        let build = |versions: &[&'static rustls::SupportedProtocolVersion]| {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions)
                .map_err(broken)?
                .with_client_cert_verifier(Arc::clone(&clients))
                .with_single_cert(vec![certificate.clone()], key)
                .map_err(broken)?;
            config.ticketer = Arc::clone(&tickets) as Arc<dyn ProducesTickets>;
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok::<_, std::io::Error>(Arc::new(config))
        };
        Ok(Served {
            both: build(&[&rustls::version::TLS13, &rustls::version::TLS12])?,
            tls12: build(&[&rustls::version::TLS12])?,
            tls13: build(&[&rustls::version::TLS13])?,
            tickets,
        })
    }

    /// Writes the test CA, and what clients may show: a certificate of the test CA, one of a CA that nobody trusts, and
    /// a key that needs a password.
    pub(crate) fn write(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::write(directory.join("ca.pem"), &self.pem)?;
        for (name, issuer) in [("client", &self.trusted), ("stranger", &self.stranger)] {
            let mut params = CertificateParams::default();
            params.distinguished_name = subject(&format!("pinlink-box {name}"));
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.not_before = now() - Duration::days(1);
            params.not_after = now() + Duration::days(10);
            let key = KeyPair::generate().map_err(broken)?;
            let certificate = params.signed_by(&key, issuer).map_err(broken)?;
            std::fs::write(directory.join(format!("{name}.pem")), certificate.pem())?;
            std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem())?;
        }
        std::fs::write(directory.join("client-encrypted.key"), ENCRYPTED_KEY)
    }
}

/// The last common name in a certificate: the subject's, as the issuer's comes first. Enough for what the box signs.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 4, 3];
    let at = certificate.windows(COMMON_NAME.len()).rposition(|five| five == COMMON_NAME)?;
    let [_kind, length, rest @ ..] = &certificate[at + COMMON_NAME.len()..] else { return None };
    rest.get(..usize::from(*length)).map(|name| String::from_utf8_lossy(name).into_owned())
}
