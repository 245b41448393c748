//! The client's own certificate: a PEM chain and its PEM key, read from one file or two.
//!
//! It owns what may be in these files and what is wrong with them. Everything is checked here, the key against the
//! certificate too, so that `tls` can take it as it is and a mistake is known at init. A message names the path, never
//! a byte of the content. Reads files, bounded; no clock.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::error::{Error, Phase, Reason, Result};

/// A chain of ten certificates and a key take some 30 KiB.
const MAX_FILE: u64 = 1 << 20;

/// How encrypted keys are marked: PKCS#8 (RFC 7468 11), and the older forms of PKCS#1 and SEC1 (RFC 1421 4.6.1.1).
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

fn unusable(path: &Path, what: &str) -> Error {
    Error::new(Reason::ConfigKey, Phase::Configure, format!("{} {what}", path.display()))
}

/// Reads the chain, the client's own certificate first, and the key (PKCS#8, PKCS#1 or SEC1); without `key` from one
/// file that holds both.
pub(crate) fn read(
    chain: &Path,
    key: Option<&Path>,
    provider: &CryptoProvider,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain_pem = read_file(chain)?;
    let (key_path, key_pem) = match key {
        Some(path) => (path, &read_file(path)?),
        None => (chain, &chain_pem),
    };
    // Before anything is decoded: what an older encrypted key holds is no base64.
    if ENCRYPTED.iter().any(|mark| key_pem.windows(mark.len()).any(|part| part == *mark)) {
        return Err(unusable(key_path, "holds an encrypted key; there is nowhere to give a passphrase"));
    }
    let certificates = certificates(chain, &chain_pem)?;
    let key = private_key(key_path, key_pem)?;
    match CertifiedKey::from_der(certificates.clone(), key.clone_key(), provider) {
        Ok(_) => Ok((certificates, key)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(unusable(
            key_path,
            &format!("holds the key of another certificate than the first of {}", chain.display()),
        )),
        Err(_) => Err(unusable(key_path, "holds a key that is malformed or of an unknown kind")),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: io::Error| unusable(path, &format!("can't be read: {error}")).with_source(error);
    // A pipe or a device could be waited for without end, or have none.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unusable(path, "is not a file"));
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content)).map_err(unreadable)?;
    if content.len() as u64 > MAX_FILE {
        return Err(unusable(path, &format!("is over {MAX_FILE} bytes")));
    }
    Ok(content)
}

// The errors of the PEM reader are not passed on: some repeat a line of the file.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(path, "holds malformed PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(path, "holds no certificate"));
    }
    if certificates.iter().any(|certificate| ParsedCertificate::try_from(certificate).is_err()) {
        return Err(unusable(path, "holds a malformed certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    let mut keys = PrivateKeyDer::pem_slice_iter(pem);
    let key = keys
        .next()
        .ok_or_else(|| unusable(path, "holds no private key"))?
        .map_err(|_| unusable(path, "holds malformed PEM"))?;
    if keys.next().is_some() {
        return Err(unusable(path, "holds more than one private key"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
    use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// Of no use anywhere but here: ring makes no RSA keys.
    const PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEoAIBAAKCAQEAxhqyoDjqQ5ttqkKy4jgU0ctUC0C+R21TP8YP1GSs8Y/F3K1y
smaJneLhLFNlOi7qitKCJEURIwHDCvIy2z4S8d4wRSTf+1NDmAxAB6sizKCboYp3
rhNOIZsJb06IZsFTgGneYNYDUrHygbY23n6Ea9ZlLd1F5TbSUwmCkLBaT4qqxe2d
mklEplf7QKi/u09kVqYLJhzLTzrC8bfFnyd25wV7u5/2Yw8FPABp3yIChqrNHDit
OcgaOytyH5Z/+YyZ2A1/6JBc4MPI6qlAol3mri00aAuQMMqVU8vU3BpNb1khvPYE
neGmHnHHpQl++/8JQgzpKo6RvIX/f+9wsaqM4wIDAQABAoIBAEqt7s+ClSFGWvl3
qlqoHIUX2sdhMTnY5yyf3ADLsPxhIAw4IIhLKi6oRA1DJOJhpE4P3DqTBMpHFEEw
m2ZVyKuAAH9YTs0+DrmnSI37gCNWmkSz37jyEx6NBOn+V2IxF+rNPiUQGHGYnlwy
lg2a8Q175Wl8RCiL2Y6vA5bKvEjGSf3Gy5NXwmVloqs4ufzc1bZ4nPA58BuvnDoP
XKnFKu1GWy+GL4FoMmXeJ5KRic109XT9HpLKkaV+CXiA/xEAvRT6GCJjIFQO/0ZM
H293CGlGC360IqKf7tBbDhmHgn3kbrTzlILYlqfxdYx6tSwQAnfqTmgFqUJ0DREg
sJrzvykCgYEA6jWjTRIaUejuagta0yWXqwc90bd++DlEHgbwU9+uqWHG8sM/o6fE
KiXrmuKxgHQQQnsgkzYYCRRUMmrnjXG/W3DY8RAGz/wmaYYMWov84YBys6qvPHwt
UxZR5F6GXAokdGiIv4vLkIDYVJjK6KRFJ725P2SjBjBDFGnVhQIKZ5kCgYEA2Ikc
kU3GLhjstCKSJAFi9Mpa1mX4e+XpjCZmx4y1us6kGrq9JXAlBU+duR6sso6L+9SH
2HG18BCks/0MFgk90lBwIi8qqaapaO71N6lwD+J4JDWEjzJWJlOxpsobFbR8mWD7
kTeQmFkpdiLoqdiyFpznHK4KPreY9vWbu/OjddsCgYA5sLKj1lSzXmvzpQ5fOkBM
uYDpuohE/l4gA1eJYWy1fkcyHxP67OUt+J87TKGqYWxr48ZXXJi5C8/dh2W3+o/H
J1nYrzjuXE7d6U37s8W7ihc22FFH1dKYR8QuO3ZfD4SBRAqDHB0tX/9pfyVj/qqm
Kl6KFfDuIk8zpQoaNDF56QKBgDBbjpG0uMmar2IbRl/cH2ljt52h8DhbRCkUemee
OQebFnMRuSQfQ2VIPoUVIKRPyVtYP25LFsKiNOYtYQGa1r+dTy2TMwfoPHU+yGzB
3lDt1r7fZNdF+o9cqZQCFsJmKF1ol0X7DsO3RdcoPKWRy1PZfpOdGpSfE/4zI7B5
3Mt5An8VGqp1m+W4jolZRLDR/f7Xgdbym1ScZZ8w1sXhWlHoqwVIB2N/ty+dqsYm
87TSIY62olIOKI6ywdW/EqdG9hbW3N9auXi6+zsMWAjeat+WT5MoUlf4Q5QZho43
uCE6VMV9n2emhF+M8kD5j1ISwyB+N2bFoLAL8i/rgaR5xF0U
-----END RSA PRIVATE KEY-----
";

    /// A folder that goes with its test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("pinlink-identity-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn provider() -> CryptoProvider {
        rustls::crypto::ring::default_provider()
    }

    fn certificate(key: &KeyPair) -> String {
        CertificateParams::new(vec!["client.example".to_owned()]).unwrap().self_signed(key).unwrap().pem()
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (certificate(&key), key.serialize_pem())
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = data_encoding::BASE64.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// DER: a tag, a length, the content.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len() as u16;
        [&[tag, 0x82], &length.to_be_bytes()[..], content].concat()
    }

    /// PKCS#8 around PKCS#1 (RFC 5208 5): version 0, rsaEncryption, the key.
    fn pkcs8_of_rsa(pkcs1: &[u8]) -> Vec<u8> {
        let algorithm = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
        der(0x30, &[&[2, 1, 0], &algorithm[..], &der(4, pkcs1)].concat())
    }

    #[track_caller]
    fn refused(chain: &Path, key: Option<&Path>, words: &str) {
        let error = read(chain, key, &provider()).expect_err(words);
        assert_eq!((error.reason(), error.phase()), (Reason::ConfigKey, Phase::Configure));
        let line = error.to_string();
        assert!(line.contains(words), "{line}");
        let path = key.filter(|path| line.contains(path.to_str().unwrap())).unwrap_or(chain);
        assert!(line.contains(path.to_str().unwrap()), "{line}");
        assert!(!format!("{line}{:?}", std::error::Error::source(&error)).contains("s3cret"), "{line}");
    }

    #[test]
    fn a_chain_and_a_key_are_read_from_two_files_or_one_in_any_order() {
        let folder = Folder::new();
        let (own, key) = pair();
        let (issuer, _) = pair();
        let chain = folder.file("chain.pem", format!("subject=client\r\n\r\n{own}{issuer}"));
        let key_file = folder.file("key.pem", &key);
        let two = read(&chain, Some(&key_file), &provider()).unwrap();
        assert_eq!(two.0.len(), 2);
        assert!(matches!(two.1, PrivateKeyDer::Pkcs8(_)));
        let one = folder.file("one.pem", format!("{key}{own}{issuer}"));
        assert_eq!(read(&one, None, &provider()).unwrap(), two);
        assert_eq!(read(&one, Some(&one), &provider()).unwrap(), two);
        let windows = folder.file("windows.pem", format!("{own}{issuer}{key}").replace('\n', "\r\n"));
        assert_eq!(read(&windows, None, &provider()).unwrap(), two);
    }

    #[test]
    fn what_is_read_serves_as_a_client_certificate() {
        let folder = Folder::new();
        let (own, key) = pair();
        let (chain, key) = read(&folder.file("one.pem", own + &key), None, &provider()).unwrap();
        rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_client_auth_cert(chain, key)
            .unwrap();
    }

    #[test]
    fn every_form_of_key_is_read() {
        let folder = Folder::new();
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let one = folder.file("ed25519.pem", certificate(&ed25519) + &ed25519.serialize_pem());
        assert!(matches!(read(&one, None, &provider()).unwrap().1, PrivateKeyDer::Pkcs8(_)));

        // PKCS#8 of an elliptic curve holds the SEC1 form from its 27th byte on.
        let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pkcs8 = ec.serialize_der();
        let at = pkcs8.windows(4).position(|bytes| bytes == [2, 1, 1, 4]).unwrap() - 2;
        let sec1 = &pkcs8[at..at + 2 + usize::from(pkcs8[at + 1])];
        let one = folder.file("sec1.pem", certificate(&ec) + &pem("EC PRIVATE KEY", sec1));
        assert!(matches!(read(&one, None, &provider()).unwrap().1, PrivateKeyDer::Sec1(_)));

        let pkcs1 = PrivatePkcs1KeyDer::from_pem_slice(PKCS1.as_bytes()).unwrap();
        let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8_of_rsa(pkcs1.secret_pkcs1_der()));
        let rsa = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_RSA_SHA256).unwrap();
        let one = folder.file("pkcs1.pem", certificate(&rsa) + PKCS1);
        assert!(matches!(read(&one, None, &provider()).unwrap().1, PrivateKeyDer::Pkcs1(_)));
        let one = folder.file("pkcs8.pem", certificate(&rsa) + &pem("PRIVATE KEY", pkcs8.secret_pkcs8_der()));
        assert!(matches!(read(&one, None, &provider()).unwrap().1, PrivateKeyDer::Pkcs8(_)));
    }

    #[test]
    fn an_encrypted_key_is_recognised_in_its_own_file_and_beside_the_chain() {
        let folder = Folder::new();
        let (own, _) = pair();
        let chain = folder.file("chain.pem", &own);
        for encrypted in [
            pem("ENCRYPTED PRIVATE KEY", b"s3cret"),
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\nczNjcmV0\n\
             -----END RSA PRIVATE KEY-----\n"
                .to_owned(),
            "-----BEGIN EC PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-256-CBC,0A\r\n\r\nczNjcmV0\r\n\
             -----END EC PRIVATE KEY-----\r\n"
                .to_owned(),
        ] {
            let key = folder.file("key.pem", &encrypted);
            refused(&chain, Some(&key), "encrypted");
            refused(&chain, Some(&key), "openssl pkey");
            refused(&folder.file("one.pem", format!("{own}{encrypted}")), None, "encrypted");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_named_by_its_path_and_never_by_its_content() {
        let folder = Folder::new();
        let (own, own_key) = pair();
        let (_, other_key) = pair();
        let chain = folder.file("chain.pem", &own);
        let key = folder.file("key.pem", &own_key);
        let absent = folder.0.join("absent.pem");
        refused(&absent, None, "can't be read");
        refused(&absent, Some(&key), "can't be read");
        refused(&chain, Some(&absent), "can't be read");
        refused(&folder.0, None, "is not a file");
        refused(Path::new("/dev/zero"), None, "is not a file");
        refused(&chain, None, "no private key");
        refused(&key, None, "no certificate");
        refused(&folder.file("empty.pem", ""), None, "no certificate");
        refused(&folder.file("text.pem", "s3cret"), None, "no certificate");
        refused(&chain, Some(&chain), "no private key");

        let file = |content: String| folder.file("wrong.pem", content);
        refused(&chain, Some(&file(other_key.clone())), "another certificate");
        refused(&chain, Some(&file(format!("{own_key}{other_key}"))), "more than one private key");
        refused(&chain, Some(&file(pem("PRIVATE KEY", b"s3cret"))), "malformed or of an unknown kind");
        refused(&chain, Some(&file(pem("RSA PRIVATE KEY", b"s3cret"))), "malformed or of an unknown kind");
        refused(&chain, Some(&file("-----BEGIN PRIVATE KEY-----\ns3cret".to_owned())), "malformed PEM");
        refused(&chain, Some(&file("-----BEGIN PRIVATE KEY s3cret\n".to_owned())), "malformed PEM");
        refused(&file(format!("{own}-----BEGIN CERTIFICATE-----\ns3cret?\n")), Some(&key), "malformed PEM");
        refused(&file(own.clone() + &pem("CERTIFICATE", b"s3cret")), Some(&key), "malformed certificate");
        refused(
            &file("-----BEGIN CERTIFICATE-----\ns3cret-s3cret\n-----END CERTIFICATE-----\n".into()),
            None,
            "malformed PEM",
        );
    }

    #[test]
    fn a_file_may_have_a_mebibyte_and_no_more() {
        let folder = Folder::new();
        let (own, key) = pair();
        let both = own + &key;
        let filled = |size: usize| "\n".repeat(size - both.len()) + &both;
        read(&folder.file("full.pem", filled(MAX_FILE as usize)), None, &provider()).unwrap();
        refused(&folder.file("over.pem", filled(MAX_FILE as usize + 1)), None, "over 1048576 bytes");
    }
}
