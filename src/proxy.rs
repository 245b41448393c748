//! An explicit proxy as the option `proxy` names it: kind, host, port and credentials.
//!
//! It owns the option's text: `http://[user:password@]host[:port]`, or `socks5://…`. Neither `Debug` nor
//! `Display` nor an error ever shows the credentials, and since a misplaced `@` or `:` can make them look like any
//! other part, a refusal repeats no part of the text. No I/O, no clock; `tunnel` speaks to the proxy.

use std::fmt;

use data_encoding::BASE64;

use crate::origin::{Origin, Scheme};
use crate::value::{IntoValue, Value};

/// The port where none is given, for both kinds: curl's, so that one setting means one thing in a job.
const DEFAULT_PORT: u16 = 1080;

/// The longest text: a host name, and a token as password, are far below it.
const MAX_TEXT: usize = 8 * 1024;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProxyKind {
    /// `CONNECT` (RFC 9110 9.3.6).
    Http,
    /// SOCKS version 5 (RFC 1928). `socks5h` is the same, because the address is pinned before.
    Socks5,
}

/// Whom to ask for a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// Canonical, as an origin's.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
}

/// User and password, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Box<[u8]>,
    pub(crate) password: Box<[u8]>,
}

impl Proxy {
    pub(crate) fn parse(text: &str) -> Result<Proxy, &'static str> {
        if text.len() > MAX_TEXT {
            return Err("the proxy's text is too long");
        }
        let (scheme, rest) =
            text.split_once("://").ok_or("the proxy needs its scheme: http://host:port or socks5://host:port")?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "https" => {
                return Err("a proxy that is itself spoken to in TLS (https://) is not supported; use http://, what \
                            goes to an https target stays encrypted all the way through the tunnel");
            }
            _ => return Err("the proxy's scheme is none of http, socks5, socks5h"),
        };
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((user_information, authority)) => (Some(Credentials::parse(kind, user_information)?), authority),
            None => (None, rest),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#']) {
            return Err(
                "a proxy is scheme, credentials, host and port, without a path; in credentials write / ? # as \
                        %2F %3F %23",
            );
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let with_port = if has_port { authority.to_owned() } else { format!("{authority}:{DEFAULT_PORT}") };
        let (host, port) = match Origin::from_authority(Scheme::Tcp, &with_port) {
            Ok(end) if !end.is_wildcard() => (end.host().into(), end.port()),
            // What an origin's error repeats may be a password here.
            _ => return Err("the proxy's host or port is malformed: http://host:port, an IPv6 address in brackets"),
        };
        Ok(Proxy { kind, host, port, credentials })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Credentials {
    fn parse(kind: ProxyKind, text: &str) -> Result<Credentials, &'static str> {
        if text.contains(['/', '?', '#', '@']) {
            return Err("in the proxy's credentials write / ? # @ as %2F %3F %23 %40");
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
        if user.iter().chain(&*password).any(u8::is_ascii_control) {
            return Err("the proxy's credentials hold a control character");
        }
        match kind {
            ProxyKind::Http if user.contains(&b':') => {
                Err("the proxy's user holds a colon, which ends it in Basic authentication")
            }
            // RFC 1929 gives each one byte of length, and no meaning to zero.
            ProxyKind::Socks5 if [&user, &password].iter().any(|part| !(1..=255).contains(&part.len())) => {
                Err("a SOCKS5 proxy takes a user and a password of 1 to 255 bytes each")
            }
            _ => Ok(Credentials { user, password }),
        }
    }

    /// The value of `Proxy-Authorization` (RFC 7617).
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64.encode(&[&self.user, &b":"[..], &self.password].concat()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// Strict: a lone percent sign means a password that was never encoded, and would be sent as another one.
fn percent_decoded(text: &str) -> Result<Box<[u8]>, &'static str> {
    let fail = "a percent sign in the proxy's credentials needs two hexadecimal digits after it; itself it is %25";
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or(fail);
                (digit()? * 16 + digit()?) as u8
            }
            _ => byte,
        });
    }
    Ok(decoded.into())
}

/// A proxy that may be unset.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct OptionalProxy(pub(crate) Option<Proxy>);

impl Value for OptionalProxy {
    const KIND: &'static str = "proxy";

    fn read(text: &str) -> Result<OptionalProxy, String> {
        if text.is_empty() {
            return Ok(OptionalProxy(None));
        }
        Proxy::parse(text).map(|proxy| OptionalProxy(Some(proxy))).map_err(str::to_owned)
    }
}

impl IntoValue<OptionalProxy> for &str {
    fn into_value(self) -> Result<OptionalProxy, String> {
        OptionalProxy::read(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Proxy {
        Proxy::parse(text).unwrap_or_else(|detail| panic!("{text}: {detail}"))
    }

    fn end(text: &str) -> (ProxyKind, String, u16) {
        let proxy = parsed(text);
        (proxy.kind, proxy.host.into(), proxy.port)
    }

    #[test]
    fn kind_host_and_port_are_read_in_every_spelling() {
        assert_eq!(end("http://proxy.example:3128"), (ProxyKind::Http, "proxy.example".into(), 3128));
        assert_eq!(end("HTTP://Proxy.Example."), (ProxyKind::Http, "proxy.example".into(), 1080));
        assert_eq!(end("http://proxy.example:8080/"), (ProxyKind::Http, "proxy.example".into(), 8080));
        assert_eq!(end("socks5://10.0.0.7"), (ProxyKind::Socks5, "10.0.0.7".into(), 1080));
        assert_eq!(end("socks5h://[::1]:9050"), (ProxyKind::Socks5, "::1".into(), 9050));
        assert_eq!(end("socks5://u:p@[2001:db8::1]"), (ProxyKind::Socks5, "2001:db8::1".into(), 1080));
    }

    #[test]
    fn credentials_are_percent_decoded_and_split_at_the_first_colon() {
        let proxy = parsed("http://j%40ne:p%3Aa%2Fs%25s:w%C3%B6rd@proxy.example:3128");
        let credentials = proxy.credentials.unwrap();
        assert_eq!(&*credentials.user, b"j@ne");
        assert_eq!(&*credentials.password, "p:a/s%s:wörd".as_bytes());
        assert_eq!(parsed("http://jane@proxy.example").credentials.unwrap().basic(), "Basic amFuZTo=");
        // RFC 7617 section 2.
        let aladdin = parsed("http://Aladdin:open%20sesame@proxy.example").credentials.unwrap();
        assert_eq!(aladdin.basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(parsed("http://proxy.example").credentials.is_none());
    }

    #[test]
    fn what_is_malformed_is_refused_with_words_that_repeat_nothing_of_it() {
        for text in [
            "s3cret",
            "s3cret:3128",
            "://s3cret",
            "https://s3cret:1",
            "HTTPS://u:s3cret@proxy",
            "socks4://s3cret:1",
            "ftp://s3cret",
            "http://",
            "http://u:s3cret@",
            "http://u:s3cret",
            "http://proxy:s3cret",
            "http://s3cret:0",
            "http://s3cret:65536",
            "http://s3cret:+80",
            "http://s3cret:",
            "http://::1:s3cret",
            "http://[::1:s3cret",
            "http://[::1]s3cret",
            "http://*.s3cret:80",
            "http://s3cret/path",
            "http://s3cret?query",
            "http://u:s3cret/x@proxy",
            "http://u:s3cret@x@proxy",
            "http://u:s3cret%@proxy",
            "http://u:s3cret%4@proxy",
            "http://u:s3cret%zz@proxy",
            "http://u:s3cret%0D%0A@proxy",
            "http://u%00:s3cret@proxy",
            "http://u%3A:s3cret@proxy",
            "http://u:s3cret@pro xy",
            "http://u:s3cret@pro\\xy",
            "http://u:s3cret@p%41",
            "socks5://s3cret@proxy",
            "socks5://:s3cret@proxy",
            &format!("socks5://s3cret:{}@proxy", "x".repeat(256)),
            &format!("http://s3cret:{}@proxy", "x".repeat(MAX_TEXT)),
        ] {
            let detail = Proxy::parse(text).expect_err(text);
            assert!(!detail.contains("s3cret") && !detail.is_empty(), "{text}: {detail}");
        }
        assert!(Proxy::parse("https://proxy").unwrap_err().contains("http://"));
    }

    #[test]
    fn neither_debug_nor_display_shows_credentials() {
        for text in ["http://s3cret:s3cret@proxy.example:3128", "socks5://s3cret:s3cret@[::1]"] {
            let value = OptionalProxy(Some(parsed(text)));
            let shown = format!("{value:?} {:#?} {}", value, parsed(text));
            assert!(!shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
        }
        assert_eq!(parsed("http://s3cret:s3cret@proxy.example").to_string(), "http://proxy.example:1080");
        assert_eq!(parsed("socks5h://u:p@[::1]:1").to_string(), "socks5://[::1]:1");
    }

    #[test]
    fn the_option_is_unset_by_empty_text_and_set_by_a_proxy() {
        assert!(OptionalProxy::read("").unwrap().0.is_none());
        let value: OptionalProxy = "socks5://p:1".into_value().unwrap();
        assert_eq!(value.0.unwrap().port, 1);
        assert!(OptionalProxy::read("http://u:s3cret@").is_err_and(|detail| !detail.contains("s3cret")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(http|socks5)://[a-z0-9:%@/\\[\\].*?#é -]{0,30}") {
            let _ = Proxy::parse(&text);
        }

        #[test]
        fn any_encoded_password_arrives_as_it_was(password in prop::collection::vec(32u8..127, 1..40)) {
            let encoded: String = password.iter().map(|byte| format!("%{byte:02x}")).collect();
            let proxy = parsed(&format!("socks5://u:{encoded}@proxy"));
            prop_assert_eq!(&*proxy.credentials.unwrap().password, &password[..]);
        }
    }
}
