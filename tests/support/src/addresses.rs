//! Where everything in a running network is.
//!
//! Owns: the one value that says so, in Rust and as JSON. Decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::plan::Plan;

/// Where everything is; what the program prints when it is ready, and what `GET /plan` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Addresses {
    /// The DNS server, UDP and TCP.
    pub dns: SocketAddr,
    /// The control API.
    pub control: SocketAddr,
    /// The test CA, PEM; `client.pem`, `client.key` and the others are in the same directory.
    pub ca_file: PathBuf,
    /// Proxied port of the HTTP origin, on every proxy address.
    pub http: u16,
    /// Proxied ports of the HTTPS origins, by certificate.
    pub https: BTreeMap<Certificate, u16>,
    /// Proxied port of the scripted peer.
    pub scripted: u16,
    /// Proxied port of the scripted HTTP/2 peer (prior knowledge).
    pub scripted2: u16,
    /// Proxied port of the scripted HTTP/2 peer over TLS, with the right certificate.
    pub scripted2_tls: u16,
    /// Proxied port of the HTTPS origin that asks for a client certificate.
    pub https_client_auth: u16,
    /// The explicit HTTP proxy (CONNECT), not behind the transparent one.
    pub connect_proxy: SocketAddr,
    /// The explicit SOCKS5 proxy, not behind the transparent one.
    pub socks_proxy: SocketAddr,
    /// The HTTP origin, past the proxy.
    pub direct_http: SocketAddr,
    /// The HTTPS origins, past the proxy.
    pub direct_https: BTreeMap<Certificate, SocketAddr>,
    /// The scripted peer, past the proxy.
    pub direct_scripted: SocketAddr,
    /// The plan it was started with.
    pub plan: Plan,
}
