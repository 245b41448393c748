//! curl's notations, read as curl reads them: `--resolve`, `--connect-to`, `-H`, `-d`, times in seconds.
//!
//! It owns the translation into the library's options. curl's rules name a host *and* a port, may hold
//! wildcards and apply to whatever URL they match; ours belong to declared hosts, so each rule is applied to
//! the origins of the URLs at hand here. Nothing is sent and nothing is resolved.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pinlink::Origin;

use crate::exit::{Exit, Failure};

/// The origin of a URL, which is what must be declared.
pub(crate) fn origin(text: &str) -> Result<Origin, Failure> {
    let malformed = |detail: String| Failure::usage(format!("{text:?}: {detail}"));
    if !text.contains("://") {
        return Err(malformed("a URL begins with http:// or https://".to_owned()));
    }
    if let Some(bad) = text.chars().find(|&c| c <= ' ' || c == '\u{7f}' || c == '\\') {
        return Err(malformed(format!("a URL can't hold {bad:?}")));
    }
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    Origin::parse(&text[..end]).map_err(|error| malformed(error.to_string()))
}

/// A host in the one form that origins have.
fn canonical(host: &str) -> Result<String, String> {
    let probe = Origin::parse(&format!("tcp://{host}:1")).map_err(|error| error.to_string())?;
    Ok(probe.host().to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{text:?} is not a port"))
}

/// Cuts the first field off at its colon; an IPv6 address is in brackets.
fn field(text: &str) -> Option<(&str, &str)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':')? };
    Some((&text[..end], text[end..].strip_prefix(':')?))
}

/// `--resolve HOST:PORT:ADDR[,ADDR]`; the host `*` stands for every host on that port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    host: Option<String>,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl FromStr for Resolve {
    type Err = String;

    fn from_str(text: &str) -> Result<Resolve, String> {
        let fail = || "write HOST:PORT:ADDR[,ADDR]".to_owned();
        // curl's `+` lets an entry grow old; ours live as long as the program either way.
        let (host, rest) = field(text.strip_prefix('+').unwrap_or(text)).ok_or_else(fail)?;
        let (number, addresses) = field(rest).ok_or_else(fail)?;
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.parse().map_err(|_| format!("{text:?} is not an IP address"))
        };
        Ok(Resolve {
            host: if host == "*" { None } else { Some(canonical(host)?) },
            port: port(number)?,
            addresses: addresses.split(',').map(address).collect::<Result<_, _>>()?,
        })
    }
}

impl Resolve {
    fn matches(&self, origin: &Origin) -> bool {
        self.port == origin.port() && self.host.as_deref().is_none_or(|host| host == origin.host())
    }
}

/// What the option `pins` must hold so that every origin is dialled as `rules` say.
///
/// A pin belongs to a host, a rule to a host and port: two ports of one host with different rules can't be
/// expressed and are refused rather than guessed.
pub(crate) fn pins(rules: &[Resolve], origins: &[Origin]) -> Result<Vec<String>, Failure> {
    let mut by_host: BTreeMap<&str, Option<&[IpAddr]>> = BTreeMap::new();
    for origin in origins {
        // The host's own rule comes before one with a wildcard; the last of equals wins, as in curl.
        let rule = rules.iter().filter(|rule| rule.matches(origin)).max_by_key(|rule| rule.host.is_some());
        let addresses = rule.map(|rule| rule.addresses.as_slice());
        let known = by_host.entry(origin.host()).or_insert(addresses);
        if *known != addresses {
            let host = origin.host();
            return Err(Failure::usage(format!(
                "--resolve: {host} is called on two ports with different rules; make two calls"
            )));
        }
    }
    let pin = |(host, addresses): (&str, Option<&[IpAddr]>)| {
        let addresses = addresses?.iter().map(IpAddr::to_string).collect::<Vec<_>>().join("|");
        Some(format!("{host}={addresses}"))
    };
    Ok(by_host.into_iter().filter_map(pin).collect())
}

/// `--connect-to HOST1:PORT1:HOST2:PORT2`; an empty first part matches all, an empty second part changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectTo {
    from: (Option<String>, Option<u16>),
    to: (Option<String>, Option<u16>),
}

impl FromStr for ConnectTo {
    type Err = String;

    fn from_str(text: &str) -> Result<ConnectTo, String> {
        let fail = || "write HOST1:PORT1:HOST2:PORT2".to_owned();
        let (host1, rest) = field(text).ok_or_else(fail)?;
        let (port1, rest) = field(rest).ok_or_else(fail)?;
        let (host2, port2) = field(rest).ok_or_else(fail)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let host = |text| some(text).map(|text| canonical(&text)).transpose();
        let number = |text| some(text).map(|text| port(&text)).transpose();
        Ok(ConnectTo { from: (host(host1)?, number(port1)?), to: (host(host2)?, number(port2)?) })
    }
}

/// What the option `connect_to` must hold: for each origin, the first rule that matches.
pub(crate) fn detours(rules: &[ConnectTo], origins: &[Origin]) -> Vec<String> {
    let detour = |origin: &Origin| {
        let rule = rules.iter().find(|rule| {
            rule.from.0.as_deref().is_none_or(|host| host == origin.host())
                && rule.from.1.is_none_or(|port| port == origin.port())
        })?;
        let host = rule.to.0.as_deref().unwrap_or(origin.host());
        let port = rule.to.1.unwrap_or(origin.port());
        Some(format!("{}:{}:{host}:{port}", origin.host(), origin.port()))
    };
    origins.iter().filter_map(detour).collect()
}

/// `-H`: `Name: value`, or `Name;` for an empty value, or `Name:` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The name as written.
    pub(crate) name: String,
    /// The value; none takes away what the program would add.
    pub(crate) value: Option<String>,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Header, String> {
        let (name, value) = match text.split_once(':') {
            // Blanks around the value are no part of it (RFC 9110 5.5); a line break is an attempt at a second header.
            Some((name, value)) => (name, Some(value.trim_matches([' ', '\t']))),
            None => (text.strip_suffix(';').ok_or("write 'Name: value'")?, Some("")),
        };
        let value =
            if text.ends_with(';') && !text.contains(':') { value } else { value.filter(|value| !value.is_empty()) };
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| "the name is not a token".to_owned())?;
        if value.is_some_and(|value| HeaderValue::from_bytes(value.as_bytes()).is_err()) {
            return Err("the value holds a control character".to_owned());
        }
        Ok(Header { name: name.to_owned(), value: value.map(str::to_owned) })
    }
}

/// The body of all `-d` together: joined by `&`; `@file` is the file without its line breaks, `@-` standard input.
pub(crate) fn data(parts: &[String]) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        match part.strip_prefix('@') {
            Some(file) => body.extend(read(file)?.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))),
            None => body.extend_from_slice(part.as_bytes()),
        }
    }
    Ok(body)
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let content = if file == "-" {
        let mut content = Vec::new();
        io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        fs::read(file)
    };
    content.map_err(|error| Failure::new(Exit::Usage, format!("--data: {file:?} can't be read: {error}")))
}

/// A time in seconds with decimals, more than 0.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "write seconds, for example 2 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("0 would mean no limit, and every wait has one".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins<const N: usize>(urls: [&str; N]) -> Vec<Origin> {
        urls.map(|url| origin(url).unwrap()).to_vec()
    }

    #[test]
    fn a_resolve_rule_pins_the_host_it_names_and_no_other() {
        let rules = ["A.example:443:10.0.0.1,[::1]", "*:80:10.0.0.9"].map(|rule| rule.parse().unwrap());
        let pinned =
            pins(&rules, &origins(["https://a.example/x", "http://b.example?q", "https://c.example"])).unwrap();
        assert_eq!(pinned, ["a.example=10.0.0.1|::1", "b.example=10.0.0.9"]);
    }

    #[test]
    fn one_host_on_two_ports_needs_one_rule() {
        let rules = ["a.example:443:10.0.0.1".parse().unwrap()];
        assert!(pins(&rules, &origins(["https://a.example", "https://a.example:8443"])).is_err());
    }

    #[test]
    fn empty_parts_of_connect_to_match_all_and_keep_what_was() {
        let rules = ["a.example:443:nginx.vpc:8443", "::gate.vpc:", "x:1:y:2"].map(|rule| rule.parse().unwrap());
        let detours = detours(&rules, &origins(["https://a.example", "http://b.example"]));
        assert_eq!(detours, ["a.example:443:nginx.vpc:8443", "b.example:80:gate.vpc:80"]);
    }

    #[test]
    fn malformed_rules_are_refused() {
        for bad in ["", "a", "a:443", "a:443:", "a:0:10.0.0.1", "a:443:b", "a b:443:10.0.0.1", "[::1:443:10.0.0.1"] {
            assert!(bad.parse::<Resolve>().is_err(), "{bad}");
        }
        for bad in ["", "a:1:b", "a:1:b:x", "a:0:b:1", "a b:1:c:2"] {
            assert!(bad.parse::<ConnectTo>().is_err(), "{bad}");
        }
        for bad in ["", "a", "a b: c", "a: b\r\nc: d", "a: b\0", ": b"] {
            assert!(bad.parse::<Header>().is_err(), "{bad}");
        }
        for bad in ["", "-1", "0", "x", "NaN", "inf", "1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        for bad in
            ["", "a.example", "https://a b/", "ftp://a/", "https://", "https://a\\b/", "http://u@h/", "http://a:0/"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_read_as_curl_reads_them() {
        let header = |text: &str| text.parse::<Header>().unwrap().value;
        assert_eq!(header("x-a:  b: c ").as_deref(), Some("b: c"));
        assert_eq!(header("x-a;").as_deref(), Some(""));
        assert_eq!(header("x-a:"), None);
    }

    #[test]
    fn data_is_joined_by_ampersands() {
        assert_eq!(data(&["a=1".into(), "b=2".into()]).unwrap(), b"a=1&b=2");
    }
}
