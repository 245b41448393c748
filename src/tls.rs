//! Whom TLS trusts, and what its failures are called.
//!
//! It owns the rustls configuration of one client: versions, roots, and the store of sessions to resume,
//! which belongs to this client alone, so that clients with other trust never share a session. It maps
//! every failure to a reason. No socket is touched here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore, SignatureScheme};

use crate::config::Config;
use crate::error::{Error, Phase, Reason, Result};
use crate::identity;

/// Sessions kept for resumption; each host keeps a few tickets, so this is enough for a hundred hosts.
const SESSIONS: usize = 512;

/// A CA file with more than this is not one: Mozilla's list takes 200 KiB.
const MAX_CA_FILE: u64 = 16 << 20;

fn broken_trust(detail: String) -> Error {
    Error::new(Reason::ConfigTrust, Phase::Configure, detail)
}

/// The configuration for every TLS connection of a client.
pub(crate) fn configuration(config: &Config) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| broken_trust(format!("no TLS version is usable: {error}")))?;
    let builder = if config.danger_accept_any_certificate {
        tracing::warn!(
            "danger_accept_any_certificate is on: no certificate is verified, anybody can read and change what is sent"
        );
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(Arc::clone(&provider))))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let mut tls = match &config.client_cert.0 {
        None => builder.with_no_client_auth(),
        Some(chain) => {
            let (chain, key) = identity::read(chain, config.client_key.0.as_deref(), &provider)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::new(Reason::ConfigKey, Phase::Configure, format!("the client certificate is unusable: {error}"))
            })?
        }
    };
    forget_sessions(&mut tls);
    Ok(Arc::new(tls))
}

/// The configuration, where there is use for it or an option of it to be wrong: elsewhere it would be made for nothing.
pub(crate) fn wanted_configuration(config: &Config) -> Result<Option<Arc<ClientConfig>>> {
    let is_asked_for = config.hosts.needs_tls()
        || config.ca_file.0.is_some()
        || config.client_cert.0.is_some()
        || config.system_roots
        || config.danger_accept_any_certificate;
    is_asked_for.then(|| configuration(config)).transpose()
}

/// Gives the configuration an empty store of sessions of its own.
pub(crate) fn forget_sessions(tls: &mut ClientConfig) {
    tls.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
}

fn roots(config: &Config) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if config.web_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if config.system_roots {
        // Some of a machine's roots may be unreadable; what could be read is still wanted.
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(broken_trust("system_roots is on and this machine has no usable root".to_owned()));
        }
    }
    if let Some(path) = &config.ca_file.0 {
        for certificate in read_ca_file(path)? {
            roots.add(certificate).map_err(|error| {
                broken_trust(format!("{} holds a certificate that is no CA certificate: {error}", path.display()))
            })?;
        }
    }
    Ok(roots)
}

fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable =
        |error: io::Error| broken_trust(format!("{} can't be read: {error}", path.display())).with_source(error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_CA_FILE {
        return Err(broken_trust(format!("{} is over {MAX_CA_FILE} bytes", path.display())));
    }
    let pem = std::fs::read(path).map_err(unreadable)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken_trust(format!("{} holds a malformed certificate: {error}", path.display())))?;
    if certificates.is_empty() {
        return Err(broken_trust(format!("{} holds no certificate", path.display())));
    }
    Ok(certificates)
}

/// The name that is sent as SNI and that the certificate is checked for; never the pinned address of a named host.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|_| Error::input(format!("{host:?} can't be a TLS server name")))
}

/// When the first certificate of a verified chain ends; nothing where none is verified.
pub(crate) fn chain_ends(config: &Config, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Option<Timestamp> {
    if config.danger_accept_any_certificate {
        return None;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots(config).ok()?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
    let (own, rest) = chain.split_first()?;
    // Verified in the year 9999 the chain is refused with the time at which it ended.
    let late = UnixTime::since_unix_epoch(Duration::from_secs(253_370_764_800));
    match verifier.verify_server_cert(own, rest, name, &[], late) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
        }
        _ => Some(Timestamp::MAX),
    }
}

/// The reason and the words for a failed handshake.
pub(crate) fn failure(error: &io::Error) -> (Reason, String) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                (Reason::TlsClosed, "the connection ended inside the handshake".to_owned())
            }
            _ => (Reason::TlsClosed, format!("the handshake failed: {error}")),
        };
    };
    let reason = match tls {
        rustls::Error::InvalidCertificate(certificate) => certificate_reason(certificate),
        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
        | rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure)
        | rustls::Error::AlertReceived(rustls::AlertDescription::InsufficientSecurity)
        | rustls::Error::PeerIncompatible(_) => Reason::TlsVersion,
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => Reason::TlsAlpn,
        rustls::Error::AlertReceived(alert) => alert_reason(*alert),
        // What the first bytes of another protocol look like, read as a record.
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => Reason::TlsNotTls,
        _ => Reason::TlsProtocol,
    };
    (reason, describe(tls))
}

/// The failure in words. Where it is a matter of time the local time is named: a clock can be wrong too.
fn describe(error: &rustls::Error) -> String {
    let at = |time: u64| {
        let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
        time.map_or_else(|| "a time beyond all calendars".to_owned(), |time| time.to_string())
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            format!("the certificate ended {}, and the local time is {}", at(not_after.as_secs()), at(time.as_secs()))
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            format!("the certificate begins {}, and the local time is {}", at(not_before.as_secs()), at(time.as_secs()))
        }
        // Not with the names that it has instead: there may be thousands.
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, .. }) => {
            format!("the certificate is for other names than {}", expected.to_str())
        }
        other => other.to_string(),
    }
}

/// What it means that the far side ended a session with this alert. Those about a certificate are about ours.
pub(crate) fn alert_reason(alert: rustls::AlertDescription) -> Reason {
    use rustls::AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => Reason::TlsClientAuth,
        _ => Reason::TlsAlert,
    }
}

/// What it means that a session has failed after its handshake.
pub(crate) fn session_reason(error: &rustls::Error) -> (Reason, &'static str) {
    match error {
        rustls::Error::AlertReceived(alert) => match alert_reason(*alert) {
            Reason::TlsClientAuth => (Reason::TlsClientAuth, "the target ended the handshake with an alert about it"),
            reason => (reason, "the far side ended the TLS session with an alert"),
        },
        rustls::Error::DecryptError => (Reason::TlsAlert, "a record of the TLS session is broken"),
        _ => (Reason::TlsProtocol, "the far side broke the TLS protocol"),
    }
}

fn certificate_reason(error: &CertificateError) -> Reason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::TlsExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Reason::TlsNotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Reason::TlsWrongName,
        CertificateError::UnknownIssuer => Reason::TlsUnknownIssuer,
        // A self-signed end entity is offered as its own issuer.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            Reason::TlsUnknownIssuer
        }
        _ => Reason::TlsCertificate,
    }
}

/// Whether another address of the same host may succeed: not where the certificate itself is wrong.
pub(crate) fn may_try_elsewhere(reason: Reason) -> bool {
    matches!(reason, Reason::TlsTimeout | Reason::TlsClosed | Reason::TlsNotTls | Reason::TlsAlert)
}

/// The verifier behind `danger_accept_any_certificate`.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
