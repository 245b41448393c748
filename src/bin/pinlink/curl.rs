//! curl's notations, read as curl reads them: `--resolve`, `--connect-to`, `-H`, `-d`, `-T`, `-x`, times, sizes.
//!
//! It owns the translation into the library's options. curl's rules name a host *and* a port, may hold
//! wildcards and apply to whatever URL they match; ours belong to declared hosts, so each rule is applied to
//! the origins of the URLs at hand here. A failure repeats no header, no query and no credentials. Nothing is
//! sent and nothing is resolved.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pinlink::Origin;

use crate::exit::{Exit, Failure};

/// The origin of a URL, which is what must be declared.
pub(crate) fn origin(text: &str) -> Result<Origin, Failure> {
    let without_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let malformed = |detail: String| Failure::usage(format!("{:?}: {detail}", shown(without_user)));
    if !text.contains("://") {
        return Err(malformed("a URL begins with http:// or https://".to_owned()));
    }
    if let Some(bad) = text.chars().find(|&c| c <= ' ' || c == '\u{7f}' || c == '\\') {
        return Err(malformed(format!("a URL can't hold {bad:?}")));
    }
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    Origin::parse(&text[..end]).map_err(|error| match text.contains('@') {
        // A password with a slash in it makes the rest look like a port, which the error would repeat.
        true => malformed("user information in a URL is refused; send an Authorization header".to_owned()),
        false => malformed(error.to_string()),
    })
}

/// A URL as messages show it: without query and fragment.
pub(crate) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Where `-T` puts a file: a URL without a file name of its own gets that of the file.
pub(crate) fn upload_url<'a>(url: &'a str, file: &Path) -> Cow<'a, str> {
    let (before, after) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let has_path = before.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let Some(name) = file.file_name().filter(|name| *name != "-" && (!has_path || before.ends_with('/'))) else {
        return Cow::Borrowed(url);
    };
    Cow::Owned(format!("{}/{}{after}", before.strip_suffix('/').unwrap_or(before), percent_encoded(name.as_bytes())))
}

/// What the option `proxy` must hold for `-x` and `-U`.
pub(crate) fn proxy(url: &str, user: Option<&str>) -> Result<String, Failure> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let Some(user) = user else { return Ok(format!("{scheme}://{rest}")) };
    if rest.contains('@') {
        return Err(Failure::usage("--proxy-user: user and password stand in the URL of --proxy already"));
    }
    let (user, password) = user.split_once(':').ok_or_else(|| Failure::usage("--proxy-user: write USER:PASSWORD"))?;
    let (user, password) = (percent_encoded(user.as_bytes()), percent_encoded(password.as_bytes()));
    Ok(format!("{scheme}://{user}:{password}@{rest}"))
}

/// The proxy's host and port, to which `--resolve` applies as to a URL's; nothing where it is malformed, which the
/// library says without repeating it.
pub(crate) fn proxy_end(url: &str) -> Option<Origin> {
    let end = url.rsplit(['@', '/']).find(|part| !part.is_empty())?;
    let has_port = end.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    Origin::parse(&format!("tcp://{end}{}", if has_port { "" } else { ":1080" })).ok()
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
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

/// All `-H`. A value may be a secret, so it is not for the parser of the command line, which repeats what is wrong.
pub(crate) fn headers(texts: &[String]) -> Result<Vec<Header>, Failure> {
    let read = |text: &String| text.parse().map_err(|detail| Failure::usage(format!("--header: {detail}")));
    texts.iter().map(read).collect()
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
    content.map_err(|error| Failure::new(Exit::Read, format!("--data: {file:?} can't be read: {error}")))
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

/// A number of bytes; `k`, `m` and `g` stand for their powers of 1024. 0 is no limit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, scale) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| digits);
    number.and_then(|number| number.checked_mul(scale)).ok_or_else(|| "write bytes, for example 5000 or 10M".to_owned())
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
        for bad in ["", "-1", "+1", "k", "1.5", "1T", "99999999999g"] {
            assert!(size(bad).is_err(), "{bad}");
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
    fn an_upload_gets_the_name_of_its_file_where_the_url_has_none() {
        for (url, file, put) in [
            ("http://a", "x/b c", "http://a/b%20c"),
            ("http://a/", "b", "http://a/b"),
            ("http://a/d/?q#f", "b", "http://a/d/b?q#f"),
            ("http://a?q", "b", "http://a/b?q"),
            ("http://a/d", "b", "http://a/d"),
            ("http://a/d/", "-", "http://a/d/"),
        ] {
            assert_eq!(upload_url(url, Path::new(file)), put, "{url} {file}");
        }
    }

    #[test]
    fn a_proxy_needs_no_scheme_and_takes_credentials_as_they_are() {
        assert_eq!(proxy("proxy.example:3128", None).unwrap(), "http://proxy.example:3128");
        let text = proxy("socks5://10.0.0.7", Some("j@ne:p:a/s%s")).unwrap();
        assert_eq!(text, "socks5://j%40ne:p%3Aa%2Fs%25s@10.0.0.7");
        for (url, user) in [("http://a:hunter2@b", "jane:hunter2"), ("b", "hunter2")] {
            let failure = proxy(url, Some(user)).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
    }

    #[test]
    fn the_end_of_a_proxy_is_found_in_every_spelling() {
        for (url, end) in [
            ("http://u:p@proxy.example:3128/", "tcp://proxy.example:3128"),
            ("proxy.example", "tcp://proxy.example:1080"),
            ("socks5://[::1]", "tcp://[::1]:1080"),
        ] {
            assert_eq!(proxy_end(url).unwrap().to_string(), end);
        }
        assert!(proxy_end("").is_none() && proxy_end("http://a b").is_none());
    }

    #[test]
    fn messages_show_no_secret() {
        for url in ["https://u:hunter2@h/a", "https://u:hunter2/x@h", "u:hunter2@h/a#hunter2", "h/a?t=hunter2"] {
            let failure = origin(url).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
        assert_eq!(shown("https://h/@a?t=hunter2#b"), "https://h/@a");
        let failure = headers(&["x: hunter2\n".to_owned()]).unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }

    #[test]
    fn sizes_are_bytes_and_powers_of_1024() {
        assert_eq!(["0", "5000", "2k", "3M", "1g"].map(|text| size(text).unwrap()), [0, 5000, 2048, 3 << 20, 1 << 30]);
    }

    #[test]
    fn data_is_joined_by_ampersands() {
        assert_eq!(data(&["a=1".into(), "b=2".into()]).unwrap(), b"a=1&b=2");
    }
}
