//! Which addresses may be dialled at all.
//!
//! It owns the refused ranges and the allow-list over them. Pure: an address goes in, a verdict comes out.
//! It is asked for every answer of a look-up, every pin, and again for the literal that is about to be
//! dialled, so that neither a rebinding name server nor a hand-written pin gets around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The refused ranges with their names, less what the user allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    pub(crate) fn new(allowed: Vec<IpNet>) -> AddressPolicy {
        AddressPolicy { allowed }
    }

    /// The first of these addresses that may not be dialled, and the name of its range.
    pub(crate) fn first_refused(&self, addresses: &[IpAddr]) -> Option<(IpAddr, &'static str)> {
        addresses.iter().find_map(|&address| Some((address, self.refused(address)?)))
    }

    /// The name of the refused range that `address` lies in, or none where it may be dialled.
    pub(crate) fn refused(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        match address {
            IpAddr::V4(v4) => refused_v4(v4),
            IpAddr::V6(v6) => refused_v6(v6),
        }
    }
}

/// Alibaba Cloud's metadata service; it hands out credentials to whoever asks.
const METADATA_ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// The metadata address of most other clouds, inside the link-local range.
const METADATA_COMMON: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        METADATA_ALIBABA | METADATA_COMMON => Some("metadata service"),
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_link_local() => Some("link-local"),
        _ if address.octets()[0] == 0 => Some("unspecified"),
        _ if address.is_multicast() => Some("multicast"),
        _ if address.octets()[0] >= 240 => Some("reserved or broadcast"),
        _ => None,
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address {
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_unspecified() => Some("unspecified"),
        _ if address.is_unicast_link_local() => Some("link-local"),
        _ if address.is_multicast() => Some("multicast"),
        _ => embedded_v4(address).and_then(refused_v4),
    }
}

/// NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address that the network would reach.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let from = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_ranges_are_refused_and_ordinary_ones_are_not() {
        let policy = AddressPolicy::default();
        for refused in [
            "100.100.100.200",
            "169.254.169.254",
            "169.254.1.1",
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:100.100.100.200",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(policy.refused(refused.parse().unwrap()).is_some(), "{refused}");
        }
        for fine in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.100.100.201", "47.1.2.3", "2001:db8::1"] {
            assert_eq!(policy.refused(fine.parse().unwrap()), None, "{fine}");
        }
    }

    #[test]
    fn what_the_user_allows_is_allowed() {
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert_eq!(policy.refused("127.0.0.1".parse().unwrap()), None);
        assert_eq!(policy.refused("::ffff:127.0.0.1".parse().unwrap()), None);
        assert!(policy.refused("100.100.100.200".parse().unwrap()).is_some());
    }
}
