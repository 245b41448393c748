//! Whom a request is for: [`Origin`], scheme, host and port in one canonical form.
//!
//! It owns the parsing of hosts and every check of what a caller hands in as one (RFC 3986, RFC 1123, UTS
//! 46), so that pin, SNI, `Host` and certificate check agree. It never does I/O and reads no clock.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::error::{Error, Result};

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// Plain HTTP; port 80 where none is given.
    Http,
    /// HTTP over TLS; port 443 where none is given.
    Https,
    /// Any TCP protocol; the port must be given. Declares a host and port; [`Request`](crate::Request)s can't use it.
    Tcp,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Scheme> {
        match text {
            _ if text.eq_ignore_ascii_case("https") => Some(Scheme::Https),
            _ if text.eq_ignore_ascii_case("http") => Some(Scheme::Http),
            _ if text.eq_ignore_ascii_case("tcp") => Some(Scheme::Tcp),
            _ => None,
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp => None,
        }
    }

    /// The name in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
        }
    }
}

/// Scheme, host and port (RFC 6454): what a connection, a pin and a cap belong to.
///
/// The host is in one canonical form: lower case, ASCII (IDNA, UTS 46), no trailing dot, IPv4 in dotted
/// decimal whatever way it was written, IPv6 without brackets. A wildcard host begins with `*.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Reads `https://host[:port]`, `http://…`, `tcp://host:port`, or a bare `host[:port]`, which means
    /// HTTPS. A path other than `/` is refused.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) that names the part which is wrong.
    pub fn parse(text: &str) -> Result<Origin> {
        check_visible("origin", text)?;
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (
                Scheme::parse(scheme)
                    .ok_or_else(|| Error::input(format!("scheme {scheme:?} is none of http, https, tcp")))?,
                rest,
            ),
            None => (Scheme::Https, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(Error::input("an origin is scheme, host and port, without a path"));
        }
        Origin::from_authority(scheme, authority)
    }

    pub(crate) fn from_authority(scheme: Scheme, authority: &str) -> Result<Origin> {
        if authority.contains('@') {
            return Err(Error::input("user information in a URL is refused; send an Authorization header"));
        }
        let (host, port) = split_port(authority)?;
        let port = match port.or(scheme.default_port()) {
            Some(port) => port,
            None => return Err(Error::input("a tcp:// origin needs a port")),
        };
        Ok(Origin { scheme, host: canonical_host(host)?, port })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The canonical host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this declares every host below a suffix.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.host.starts_with("*.")
    }

    /// Whether `origin` is declared by this one: equal, or below this wildcard.
    pub(crate) fn covers(&self, origin: &Origin) -> bool {
        self.scheme == origin.scheme
            && self.port == origin.port
            && (self.host == origin.host
                || self
                    .host
                    .strip_prefix('*')
                    .is_some_and(|suffix| origin.host.len() > suffix.len() && origin.host.ends_with(suffix)))
    }

    /// `host:port`, as in messages.
    pub(crate) fn host_port(&self) -> Box<str> {
        let bracketed = self.host.contains(':');
        if bracketed { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }.into()
    }

    /// The value of `Host` (RFC 9110 7.2): the port only where it is not the scheme's own.
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if Some(self.port) == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host_port())
    }
}

pub(crate) fn check_visible(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::input(format!("the {what} is empty")));
    }
    // All of them are single bytes, and no part of a longer character is one.
    let is_bad = |b: u8| b <= b' ' || b == 0x7f || b == b'\\';
    // Looked for without a branch in between: many bytes at a time, and next to no text holds one.
    if !text.bytes().fold(false, |found, b| found | is_bad(b)) {
        return Ok(());
    }
    let bad = text.bytes().find(|&b| is_bad(b)).map(char::from).unwrap_or_default();
    Err(Error::input(format!("the {what} holds {bad:?}")))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (_, after) =
                rest.split_once(']').ok_or_else(|| Error::input("an IPv6 address needs its closing bracket"))?;
            let host = &authority[..authority.len() - after.len()];
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(Error::input("only a port may follow an IPv6 address")),
            }
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(Error::input("an IPv6 address is written in brackets: [::1]:443"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let Some(port) = port else { return Ok((host, None)) };
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((host, Some(number))),
        _ => Err(Error::input(format!("port {port:?} is not a number from 1 to 65535"))),
    }
}

/// One form for every spelling of a host, so that pin, SNI, `Host` and certificate check agree.
pub(crate) fn canonical_host(text: &str) -> Result<Box<str>> {
    check_visible("host", text)?;
    if text.contains('%') {
        return Err(Error::input("a host holds no percent sign: neither a zone id nor percent-encoding is accepted"));
    }
    let (wildcard, bare) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if is_plain(bare) || wildcard.is_empty() && bare.parse::<Ipv4Addr>().is_ok() {
        check_labels(text, bare)?;
        return Ok(format!("{wildcard}{bare}").into());
    }
    let host = match url::Host::parse(bare) {
        Ok(url::Host::Domain(domain)) => domain,
        Ok(url::Host::Ipv4(address)) if wildcard.is_empty() => address.to_string(),
        Ok(url::Host::Ipv6(address)) if wildcard.is_empty() => match address.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => address.to_string(),
        },
        Ok(_) => return Err(Error::input("a wildcard host is a domain")),
        Err(error) => return Err(Error::input(format!("host {text:?}: {error}"))),
    };
    if host.parse::<IpAddr>().is_err() {
        check_labels(text, &host)?;
    }
    Ok(format!("{wildcard}{host}").into())
}

/// Whether no rule of URLs changes this name: nearly every one, and the rules are thousands of instructions.
fn is_plain(name: &str) -> bool {
    let is_kept = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    // What ends in a number may be an address in some other spelling.
    let last = name.rsplit('.').next().unwrap_or(name);
    last.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(is_kept)
        && !name.split('.').any(|label| label.starts_with("xn--"))
}

/// RFC 1123 2.1 and RFC 1035 2.3.4. Underscores are let through: names of service hosts have them.
fn check_labels(text: &str, host: &str) -> Result<()> {
    if host.len() > 253 {
        return Err(Error::input(format!("the host has {} characters; 253 are allowed", host.len())));
    }
    for label in host.split('.') {
        let fault = match label {
            "" => "an empty label",
            _ if label.len() > 63 => "a label of over 63 characters",
            _ if label.starts_with('-') || label.ends_with('-') => "a label that begins or ends with a hyphen",
            _ if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') => {
                "a character that no host name has"
            }
            _ => continue,
        };
        return Err(Error::input(format!("host {text:?} has {fault}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn one_host_has_one_form() {
        for (written, canonical) in [
            ("KMS.Example", "kms.example"),
            ("kms.example.", "kms.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
            ("*.OSS.example", "*.oss.example"),
            ("my_host.example", "my_host.example"),
        ] {
            assert_eq!(&*canonical_host(written).unwrap(), canonical, "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_plain_name_is_what_the_rules_of_urls_make_of_it(name in "([a-c0x_-]{0,4}[.]){0,3}(xn--)?[a-c0x_-]{1,4}") {
            if is_plain(&name) {
                assert_eq!(url::Host::parse(&name), Ok(url::Host::Domain(name)));
            }
        }
    }

    #[test]
    fn what_may_be_another_spelling_is_not_plain() {
        for name in ["", "xn--bcher-kva.example", "a.xn--bcher-kva", "a.0x7f", "1.2", "KMS.example", "bücher.example"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn malformed_hosts_and_ports_are_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_host = format!("{}example", "abcdefgh.".repeat(30));
        for bad in [
            "",
            "https://",
            "https://:443",
            "a b",
            "a\0b",
            "a\r\nb",
            "-a.example",
            "a-.example",
            "a..example",
            "ex%41mple",
            "[fe80::1%25eth0]",
            "[::1",
            "::1",
            "host:0",
            "host:65536",
            "host:-1",
            "host:80a",
            "host:+80",
            "https://u:p@host",
            "ftp://host",
            "tcp://host",
            "https://host/path",
            "https://host?q",
            "xn--a.example\\b",
            "*.10.0.0.1",
            &long_label,
            &long_host,
            "1.2.3.4.5",
            "256.1.1.1",
        ] {
            let error = Origin::parse(bad).expect_err(bad);
            assert_eq!(error.reason(), Reason::ConfigInput, "{bad}");
        }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_and_nothing_else() {
        let wildcard = Origin::parse("https://*.oss.example").unwrap();
        assert!(wildcard.covers(&Origin::parse("https://a.b.oss.example").unwrap()));
        for other in
            ["https://oss.example", "https://evil-oss.example", "http://a.oss.example", "https://a.oss.example:8443"]
        {
            assert!(!wildcard.covers(&Origin::parse(other).unwrap()), "{other}");
        }
    }
}
