//! What a network is asked to be: plain data, in Rust or as JSON, with the defaults of a network without faults.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::fault::OverCap;

/// The network to start. As JSON: kebab-case, every field optional, unknown ones refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Plan {
    /// The names that the DNS server knows and the right certificate covers, besides `*.box.test`.
    pub names: Vec<String>,
    /// Time to live of every answer, in seconds.
    pub ttl: u32,
    /// The addresses that names resolve to, each with all proxied ports. All in 127.0.0.0/8.
    pub proxy_ips: Vec<Ipv4Addr>,
    /// Addresses listed first in every answer, whose proxied ports drop SYNs. All in 127.0.0.0/8.
    pub dead_ips: Vec<Ipv4Addr>,
    /// DNS queries per second (and burst) above which queries are silently dropped.
    pub queries_per_second: Option<u32>,
    /// Streams that the origins let one HTTP/2 connection have open at once; without it, any number.
    pub h2_max_streams: Option<u32>,
    /// User and password that the explicit proxies ask for (Basic, RFC 1929); without it, they let everybody in.
    pub proxy_auth: Option<(String, String)>,
    /// The proxy's limits.
    pub proxy: ProxyPlan,
}

/// What the proxy does to its connections from the start; faults can change it later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct ProxyPlan {
    /// Live connections that it allows, all proxied ports together.
    pub cap: Option<usize>,
    /// What happens above the cap.
    pub over_cap: OverCap,
    /// Connections without a byte for this long are closed, in milliseconds.
    pub idle_cut_ms: Option<u64>,
    /// Bytes per second that all connections and both directions share.
    pub bytes_per_second: Option<u64>,
    /// Delay in each direction, in milliseconds.
    pub latency_ms: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            names: vec!["kms.box.test".to_owned(), "oss.box.test".to_owned()],
            ttl: 60,
            proxy_ips: vec![Ipv4Addr::LOCALHOST],
            dead_ips: Vec::new(),
            queries_per_second: None,
            h2_max_streams: Some(100),
            proxy_auth: None,
            proxy: ProxyPlan::default(),
        }
    }
}
