//! The network in a box: a DNS server, a transparent proxy and two explicit ones, origins that speak HTTP/1.1 and
//! HTTP/2, scripted peers and a sink, with faults that switch at run time.
//!
//! ```no_run
//! let network = pinlink_box::Network::start(pinlink_box::Plan::default())?;
//! network.inject_times(pinlink_box::Fault::AckLost, 1);
//! println!("ask {} for oss.box.test, then dial port {}", network.dns(), network.http());
//! assert_eq!(network.counts().proxy.refused, 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Owns: the plan, the threads, and how the parts are put together; [`Network`] is all that callers see. Everything
//! binds to 127.0.0.0/8. It knows nothing of the library under test. Faults are named as in FAULTS.md: [`Fault`].

mod addresses;
mod certificate;
mod coding;
mod content;
mod control;
mod counts;
mod dialect;
mod dns;
mod exchange;
mod fault;
mod frames;
mod gate;
mod handshake;
mod hpack;
mod index;
mod line;
mod message;
mod network;
mod objects;
mod origin;
mod peer;
mod plan;
mod ports;
mod proxy;
mod routes;
mod scripted;
mod scripted2;
mod shelf;
mod sink;
mod socket;
mod switch;
mod table;
mod talk;
mod tally;
#[cfg(test)]
mod tests;
mod tickets;
mod trouble;
mod tunnel;
mod wrong;

pub use addresses::Addresses;
pub use certificate::Certificate;
pub use counts::{Complaint, Counts, DnsCounts, OriginCounts, ProxyCounts, Query, Seen};
pub use fault::{BadFrame, ChunkSize, Fault, Followed, Injection, Layer, Malformation, OverCap, Row, StatusLine};
pub use network::Network;
pub use plan::{Plan, ProxyPlan};
pub use sink::Write;
pub use tally::{TunnelCounts, TunnelRequest};

/// The zone of the DNS server, whose direct children all exist and are covered by the right certificate.
pub const ZONE: &str = "box.test";
