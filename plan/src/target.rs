//! One target, read from a URL: scheme, host, port, and where it lies.
//!
//! It owns every check of what a caller hands in as a target. It resolves nothing, and repeats no user information.

use std::net::Ipv4Addr;

use crate::facts::{Facts, Region, Scheme};

/// Where a target lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Internet,
    Vpc,
    Service,
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        match text {
            "internet" => Ok(Place::Internet),
            "vpc" => Ok(Place::Vpc),
            "service" => Ok(Place::Service),
            _ => Err(format!("{text:?} is none of internet, vpc, service")),
        }
    }

    /// The name in requests and tags.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Place::Internet => "internet",
            Place::Vpc => "vpc",
            Place::Service => "service",
        }
    }

    /// Which solution leads there.
    pub(crate) fn solution(self) -> &'static str {
        self.as_str()
    }
}

/// Scheme, host and port of a target.
#[derive(Clone, Debug)]
pub(crate) struct Address<'f> {
    pub(crate) scheme: &'f Scheme,
    pub(crate) host: String,
    /// Not known where neither the URL nor the scheme has one.
    pub(crate) port: Option<u16>,
}

/// A target that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Target<'f> {
    pub(crate) address: Address<'f>,
    pub(crate) at: Place,
    /// Why the place was assumed, where nothing tells it.
    pub(crate) assumption: Option<&'static str>,
    /// Its own VPC, where it is not the connected one.
    pub(crate) vpc: Option<String>,
    /// Its own region, where it is not the job's.
    pub(crate) region: Option<&'f Region>,
}

impl<'f> Address<'f> {
    /// Reads `SCHEME://HOST[:PORT][/…]`.
    pub(crate) fn parse(facts: &'f Facts, url: &str) -> Result<Address<'f>, String> {
        let known = || facts.schemes.iter().map(|scheme| scheme.id.as_str()).collect::<Vec<_>>().join(", ");
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| format!("write SCHEME://HOST[:PORT]; the schemes are {}", known()))?;
        let scheme = scheme.to_ascii_lowercase();
        let scheme = facts
            .schemes
            .iter()
            .find(|known| known.id == scheme)
            .ok_or_else(|| format!("scheme {scheme:?} is none of {}", known()))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if rest.contains('@') {
            return Err("user information has no place in a plan; leave it out".to_owned());
        }
        if authority.starts_with('[') || authority.matches(':').count() > 1 {
            return Err("IPv6 is not supported by MaxCompute; give a name or an IPv4 address".to_owned());
        }
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let port = match port {
            None => scheme.ports.first().map(|port| port.port),
            Some(text) => Some(
                text.parse()
                    .ok()
                    .filter(|port| *port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
                    .ok_or_else(|| format!("port {text:?} is not a number from 1 to 65535"))?,
            ),
        };
        if port.is_none() && scheme.at.is_empty() {
            return Err(format!("{}:// needs a port", scheme.id));
        }
        let host = host_name(host)?;
        Ok(Address { scheme: of_service(facts, scheme, &host), host, port })
    }

    /// The host as an address, if it is one.
    pub(crate) fn literal(&self) -> Option<Ipv4Addr> {
        self.host.parse().ok()
    }

    /// Whether it is an address that only this machine, its neighbours or nobody has.
    pub(crate) fn is_special(&self) -> bool {
        self.literal().is_some_and(|it| {
            it.is_loopback() || it.is_link_local() || it.is_multicast() || it.is_unspecified() || it.is_broadcast()
        })
    }

    /// Whether it is a name without a domain: a bucket, an instance.
    pub(crate) fn is_bare(&self) -> bool {
        !self.host.contains('.')
    }

    /// `host:port`.
    pub(crate) fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port_text())
    }

    pub(crate) fn port_text(&self) -> String {
        self.port.map_or_else(|| "<port>".to_owned(), |port| port.to_string())
    }

    /// As plans name it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme.id, self.host_port())
    }

    /// The ports that must be open, with what listens there.
    pub(crate) fn ports(&self) -> String {
        let own = self.port.map(|port| {
            let what = self.scheme.ports.iter().find(|known| known.port == port).or(self.scheme.ports.first());
            what.map_or_else(|| port.to_string(), |what| format!("{port} ({})", what.what))
        });
        let others = self.scheme.ports.iter().skip(1).filter(|other| Some(other.port) != self.port);
        let others = others.map(|other| format!("{} ({})", other.port, other.what));
        let all: Vec<_> = own.into_iter().chain(others).collect();
        if all.is_empty() { "<port>".to_owned() } else { all.join(", ") }
    }
}

/// The canonical form of a host, which is a name or an IPv4 address (RFC 1123 2.1, RFC 1035 2.3.4).
fn host_name(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let host = match url::Host::parse(bare) {
        Ok(url::Host::Domain(domain)) => domain,
        Ok(url::Host::Ipv4(address)) => address.to_string(),
        Ok(url::Host::Ipv6(_)) => return Err("IPv6 is not supported by MaxCompute".to_owned()),
        Err(_) => return Err(format!("host {text:?} is malformed")),
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(format!("host {text:?} is malformed: at most 253 letters, digits and hyphens, 63 between dots"));
    }
    Ok(host)
}

/// OSS is told by its name, however it is asked for.
fn of_service<'f>(facts: &'f Facts, scheme: &'f Scheme, host: &str) -> &'f Scheme {
    let is_oss = host.ends_with(".aliyuncs.com") && host.split('.').any(|label| label.starts_with("oss-"));
    let is_web = scheme.id == "https" || scheme.id == "http";
    facts.schemes.iter().find(|known| is_web && is_oss && known.id == "oss").unwrap_or(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_port_of_its_url_or_of_its_scheme() {
        let facts = Facts::published();
        for (url, shown, ports) in [
            ("https://KMS.example/keys?q=1", "https://kms.example:443", "443 (HTTPS)"),
            ("tcp://es.example:9200", "tcp://es.example:9200", "9200"),
            ("hdfs://nn.example", "hdfs://nn.example:8020", "8020 (NameNode), 50010 (every DataNode)"),
            ("mysql://10.0.0.7:3307/db", "mysql://10.0.0.7:3307", "3307 (MySQL)"),
            ("hologres://holo.example", "hologres://holo.example:<port>", "<port>"),
            (
                "https://b.oss-cn-hangzhou-internal.aliyuncs.com",
                "oss://b.oss-cn-hangzhou-internal.aliyuncs.com:443",
                "443 (HTTPS)",
            ),
        ] {
            let address = Address::parse(facts, url).expect(url);
            assert_eq!((address.url().as_str(), address.ports().as_str()), (shown, ports), "{url}");
        }
    }

    #[test]
    fn malformed_targets_are_refused_and_no_password_is_repeated() {
        let long = format!("https://{}.example", "a".repeat(64));
        for (url, why) in [
            ("kms.example", "write SCHEME://"),
            ("ftp://files.example", "scheme \"ftp\""),
            ("https://[::1]:443", "IPv6"),
            ("https://fe80::1", "IPv6"),
            ("https://h:0", "port \"0\""),
            ("https://h:65536", "port \"65536\""),
            ("https://h:+80", "port \"+80\""),
            ("tcp://h", "needs a port"),
            ("https://", "malformed"),
            ("https://*.oss.example", "malformed"),
            ("mysql://u:hunter2@h:3306", "user information"),
            (&long, "malformed"),
        ] {
            let fault = Address::parse(facts(), url).expect_err(url);
            assert!(fault.contains(why) && !fault.contains("hunter2"), "{url}: {fault}");
        }
    }

    fn facts() -> &'static Facts {
        Facts::published()
    }
}
