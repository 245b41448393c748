//! DNS messages: the small pieces of right ones, and whole broken ones.
//!
//! Owns: names, records, what fits a datagram, and the bytes of [`Malformation`]. Decides nothing, does no I/O.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record};

use crate::fault::Malformation;

/// How a query came, and its answer goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Lower case, no final dot: how names are compared and logged.
pub(crate) fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

pub(crate) fn zone_name(label: &str) -> Name {
    Name::from_ascii(format!("{label}.{}.", crate::ZONE)).unwrap_or_else(|_| Name::root())
}

pub(crate) fn alias(owner: &Name, ttl: u32, target: &Name) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target.clone())))
}

pub(crate) fn address(owner: &Name, ttl: u32, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner.clone(), ttl, data)
}

/// The message on the wire, and whether it had to be cut to fit a datagram.
pub(crate) fn pack(message: &Message, transport: Transport) -> (Vec<u8>, bool) {
    let packet = message.to_vec().unwrap_or_default();
    let room = usize::from(message.edns.as_ref().map_or(512, Edns::max_payload).max(512));
    if transport == Transport::Udp && packet.len() > room {
        return (message.truncate().to_vec().unwrap_or_default(), true);
    }
    (packet, false)
}

pub(crate) fn malformed(how: Malformation, query: &Message, right: &Message, ttl: u32) -> Vec<u8> {
    let id = query.metadata.id;
    match how {
        Malformation::WrongId => {
            let mut wrong = right.clone();
            wrong.metadata.id = id.wrapping_add(1);
            wrong.to_vec().unwrap_or_default()
        }
        Malformation::WrongQuestion => {
            let mut wrong = right.clone();
            let other = zone_name("somebody-else");
            wrong.queries[0].name = other.clone();
            wrong.answers = vec![address(&other, ttl, IpAddr::V4(Ipv4Addr::new(127, 66, 66, 66)))];
            wrong.to_vec().unwrap_or_default()
        }
        Malformation::CompressionLoop => {
            // Header (one question, one answer), then a name at offset 12 that points at offset 12.
            let mut packet = id.to_be_bytes().to_vec();
            packet.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xC0, 0x0C, 0, 1, 0, 1]);
            packet.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            packet
        }
        Malformation::Garbage => {
            let mut packet = id.to_be_bytes().to_vec();
            packet.extend([0x81, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x42, 0x42]);
            packet
        }
    }
}
