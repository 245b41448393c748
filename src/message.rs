//! What goes out and what comes back: [`Request`], [`Response`], and the [`Origin`] a request is for.
//!
//! It owns the parsing of URLs and hosts and every check of what a caller hands in (RFC 3986, RFC 9110
//! sections 4.2 and 5.5), so that nothing malformed gets further. It never does I/O and reads no clock.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::error::{Error, Reason, Result};

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// Plain HTTP; port 80 where none is given.
    Http,
    /// HTTP over TLS; port 443 where none is given.
    Https,
    /// Any TCP protocol; the port must be given. Declares a host and port; [`Request`]s can't use it.
    Tcp,
}

impl Scheme {
    fn parse(text: &str) -> Option<Scheme> {
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
    /// [`Reason::ConfigInput`] that names the part which is wrong.
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

fn check_visible(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::input(format!("the {what} is empty")));
    }
    match text.chars().find(|&c| c <= ' ' || c == '\u{7f}' || c == '\\') {
        Some(bad) => Err(Error::input(format!("the {what} holds {bad:?}"))),
        None => Ok(()),
    }
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

/// A request: method, URL, headers, body.
///
/// A mistake (a malformed URL, a header with a line break) is kept and comes back as the error of the
/// call, before anything is sent.
///
/// ```
/// let request = pinlink::Request::post("https://kms.example/keys").header("x-trace", "7").body("{}");
/// assert_eq!(request.method(), "POST");
/// ```
#[derive(Clone)]
pub struct Request {
    method: Method,
    target: Target,
    /// The caller's fields as lines of a head.
    fields: Vec<u8>,
    has_user_agent: bool,
    has_accept: bool,
    is_keyed: bool,
    body: Bytes,
    timeout: Option<Duration>,
    invalid: Option<Box<(Reason, String)>>,
}

/// The two parts of a URL: whom to ask, and for what.
#[derive(Clone)]
struct Target {
    scheme: Scheme,
    /// As the caller wrote it: the key of a client's fast look-up. Canonical only in [`Origin`].
    authority: http::uri::Authority,
    path: PathAndQuery,
}

impl Request {
    /// A request with any method (a token of RFC 9110 9.1, such as `PATCH`).
    pub fn new(method: &str, url: &str) -> Request {
        let mut invalid = None;
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_else(|_| {
            invalid = Some("the method is not a token".to_owned());
            Method::GET
        });
        if method == Method::CONNECT {
            invalid = Some("CONNECT is not a request of this client".to_owned());
        }
        let target = parse_url(url).unwrap_or_else(|error| {
            invalid.get_or_insert(error.detail().to_owned());
            Target {
                scheme: Scheme::Https,
                authority: http::uri::Authority::from_static("invalid"),
                path: PathAndQuery::from_static("/"),
            }
        });
        let invalid = invalid.map(|detail| Box::new((Reason::ConfigInput, detail)));
        Request {
            method,
            target,
            fields: Vec::new(),
            has_user_agent: false,
            has_accept: false,
            is_keyed: false,
            body: Bytes::new(),
            timeout: None,
            invalid,
        }
    }

    /// A `GET` request.
    pub fn get(url: &str) -> Request {
        Request::new("GET", url)
    }

    /// A `POST` request.
    pub fn post(url: &str) -> Request {
        Request::new("POST", url)
    }

    /// A `PUT` request.
    pub fn put(url: &str) -> Request {
        Request::new("PUT", url)
    }

    /// A `DELETE` request.
    pub fn delete(url: &str) -> Request {
        Request::new("DELETE", url)
    }

    /// A `HEAD` request.
    pub fn head(url: &str) -> Request {
        Request::new("HEAD", url)
    }

    /// Adds a header. `Host`, `Content-Length`, `Transfer-Encoding`, `Connection` and the like belong to
    /// the client and are refused (RFC 9112 section 3.2, RFC 9110 section 7.6.1), as are CR, LF, NUL and
    /// other control characters, and a second `Idempotency-Key`.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        if let Err(detail) = self.add_header(name, value.as_ref()) {
            self.reject(detail);
        }
        self
    }

    fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), String> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header name is not a token".to_owned())?;
        if OWNED_HEADERS.contains(&name) {
            return Err(format!("header {name} belongs to the client"));
        }
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("header {name}: the value holds a control character"))?;
        if name == IDEMPOTENCY_KEY {
            if self.is_keyed {
                return Err(format!("header {name} is given twice"));
            }
            let key = value.as_bytes().trim_ascii();
            if key.is_empty() || key.len() > MAX_KEY || !key.iter().all(|b| (b' '..=b'~').contains(b)) {
                return Err(format!("header {name}: a key has 1 to {MAX_KEY} visible ASCII characters"));
            }
            self.is_keyed = true;
        }
        self.has_user_agent |= name == header::USER_AGENT;
        self.has_accept |= name == header::ACCEPT;
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            self.fields.extend_from_slice(part);
        }
        if self.fields.len() > MAX_REQUEST_HEADERS {
            return Err(format!("the headers are over {MAX_REQUEST_HEADERS} bytes"));
        }
        Ok(())
    }

    /// Sets the body, buffered.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets this call's total deadline instead of the client's `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        match timeout {
            Duration::ZERO => self.reject("a timeout of 0 would never let a call succeed".to_owned()),
            _ if timeout > MAX_TIMEOUT => self.reject(format!("a timeout is at most {MAX_TIMEOUT:?}")),
            _ => self.timeout = Some(timeout),
        }
        self
    }

    fn reject(&mut self, detail: String) {
        self.invalid.get_or_insert_with(|| Box::new((Reason::ConfigInput, detail)));
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Whether it can be sent at all.
    ///
    /// # Errors
    /// The first mistake made while building, which every call would return: [`Reason::ConfigInput`].
    pub fn check(&self) -> Result<()> {
        match &self.invalid {
            None => Ok(()),
            Some(fault) => Err(Error::new(fault.0, crate::error::Phase::Configure, fault.1.clone())),
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.target.scheme
    }

    pub(crate) fn authority(&self) -> &str {
        self.target.authority.as_str()
    }

    pub(crate) fn deadline_after(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether sending it twice does what sending it once does (RFC 9110 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
        )
    }

    /// Whether the caller gave a key under which the server recognises a repetition.
    pub(crate) fn is_keyed(&self) -> bool {
        self.is_keyed
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) fn content(&self) -> &Bytes {
        &self.body
    }

    /// Writes the head: origin-form target (RFC 9112 3.2.1), the client's fields, the caller's fields, the length.
    pub(crate) fn write_head(&self, own: &OwnFields, wire: &mut Vec<u8>) {
        for part in [self.method.as_str(), " ", self.target.path.as_str(), " HTTP/1.1\r\n", &own.host] {
            wire.extend_from_slice(part.as_bytes());
        }
        if !self.has_user_agent {
            wire.extend_from_slice(&own.user_agent);
        }
        if !self.has_accept {
            wire.extend_from_slice(b"accept: */*\r\n");
        }
        wire.extend_from_slice(&self.fields);
        // RFC 9110 8.6: a method whose content has a meaning says so when it is empty.
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            // A vector takes every write.
            let _ = write!(wire, "content-length: {}\r\n", self.body.len());
        }
        wire.extend_from_slice(b"\r\n");
    }
}

/// What the client says of itself in every request to an origin, as lines of a head.
pub(crate) struct OwnFields {
    host: String,
    user_agent: Vec<u8>,
}

impl OwnFields {
    pub(crate) fn new(host: &str, user_agent: &HeaderValue) -> OwnFields {
        let user_agent = [b"user-agent: ", user_agent.as_bytes(), b"\r\n"].concat();
        OwnFields { host: format!("host: {host}\r\n"), user_agent }
    }
}

/// The draft's header (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// As the option `timeout` has it.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest key that any target takes.
const MAX_KEY: usize = 255;
/// No server takes more: nginx 32 KiB in all, others 8 to 64.
const MAX_REQUEST_HEADERS: usize = 64 * 1024;
/// Framing, routing and hop-by-hop fields: two owners of one of them is how requests are smuggled.
const OWNED_HEADERS: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

impl fmt::Debug for Request {
    /// Method, scheme and host only: paths, headers and bodies may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("scheme", &self.target.scheme.as_str())
            .field("authority", &self.target.authority)
            .field("header_bytes", &self.fields.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn parse_url(text: &str) -> Result<Target> {
    check_visible("URL", text)?;
    let uri = match text.parse::<Uri>() {
        Ok(uri) if text.is_ascii() => uri,
        // The URL standard mends what is malformed: http:/host and http:///host become http://host. Only what it is
        // here for may get to it.
        Err(error) if text.is_ascii() => return Err(Error::input(format!("the URL is malformed: {error}"))),
        _ if !text.split_once("://").is_some_and(|(_, rest)| rest.starts_with(|c| !matches!(c, '/' | '?' | '#'))) => {
            return Err(Error::input("a URL begins with http:// or https:// and a host"));
        }
        // Not what goes on the wire yet: let the URL standard percent-encode the path and IDNA the host.
        _ => {
            let url = url::Url::parse(text).map_err(|error| Error::input(format!("the URL is malformed: {error}")))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(Error::input("user information in a URL is refused; send an Authorization header"));
            }
            url.as_str().parse::<Uri>().map_err(|error| Error::input(format!("the URL is malformed: {error}")))?
        }
    };
    let scheme = match uri.scheme_str().map(Scheme::parse) {
        Some(Some(scheme @ (Scheme::Http | Scheme::Https))) => scheme,
        _ => return Err(Error::input("a URL begins with http:// or https://")),
    };
    let parts = uri.into_parts();
    let authority = parts.authority.ok_or_else(|| Error::input("the URL has no host"))?;
    if authority.as_str().contains('@') {
        return Err(Error::input("user information in a URL is refused; send an Authorization header"));
    }
    // RFC 9112 3.2.1: an absent path is sent as a slash, also before a query.
    let path = match parts.path_and_query {
        Some(path) if path.as_str().starts_with('/') => path,
        Some(query) => PathAndQuery::try_from(format!("/{}", query.as_str()))
            .map_err(|error| Error::input(format!("the URL is malformed: {error}")))?,
        None => PathAndQuery::from_static("/"),
    };
    Ok(Target { scheme, authority, path })
}

/// Bodies up to this size share one allocation with the headers, so that a kept answer holds what it needs and not the
/// buffer it was read into.
const PACKED_BODY: usize = 16 * 1024;

/// The header fields of an answer, in the order in which they came, packed into one block of memory: cheap to make, to
/// keep, to drop and to hand to another language.
#[derive(Clone, Default)]
pub struct Headers {
    packed: Bytes,
    fields: Box<[Field]>,
}

/// Where a field stands in the block: its name from `start`, its value right behind.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    name: u32,
    value: u32,
}

/// [`Headers`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    block: Vec<u8>,
    fields: Vec<Field>,
}

impl Packing {
    /// For so many fields, which take so many bytes on the wire.
    pub(crate) fn new(fields: usize, bytes: usize) -> Packing {
        Packing { block: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.block.len();
        self.block.extend_from_slice(name.as_bytes());
        self.block[start..].make_ascii_lowercase();
        self.block.extend_from_slice(value);
        // A header section is at most `max_headers`, far below 4 GiB.
        self.fields.push(Field { start: start as u32, name: name.len() as u32, value: value.len() as u32 });
    }

    /// Done: the fields, and the body, behind them in the same block where it is small.
    pub(crate) fn finish(mut self, body: Vec<u8>) -> (Headers, Bytes) {
        let size = self.block.len();
        let is_small = body.len() <= PACKED_BODY;
        if is_small {
            self.block.extend_from_slice(&body);
        }
        let packed = Bytes::from(self.block);
        let body = if is_small { packed.slice(size..) } else { Bytes::from(body) };
        (Headers { packed, fields: self.fields.into() }, body)
    }
}

impl Headers {
    fn at(&self, field: &Field) -> (&str, &[u8]) {
        let (start, name, value) = (field.start as usize, field.name as usize, field.value as usize);
        let text = std::str::from_utf8(&self.packed[start..start + name]).unwrap_or_default();
        (text, &self.packed[start + name..start + name + value])
    }

    /// The first value of a field, by its case-insensitive name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields: the name in lower case, and the value as it came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| self.at(field))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Debug for Headers {
    /// The names only: values may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// An answer, read to its end.
#[derive(Clone)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) trace: Trace,
}

/// How a call went: what it used and how long each phase took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Trace {
    /// The address that answered.
    pub address: Option<SocketAddr>,
    /// How many times the request was tried, the successful time included.
    pub attempts: u32,
    /// Whether the connection had served another request before.
    pub reused: bool,
    /// From the call to the lease of a connection, dialling included.
    pub queue: Duration,
    /// Making the TCP connection; zero on a reused one.
    pub connect: Duration,
    /// The TLS handshake; zero on a reused or plain one.
    pub handshake: Duration,
    /// From the lease to the head of the answer.
    pub wait: Duration,
    /// From the head to the end of the answer.
    pub receive: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Response {
    /// The status code, 200 to 599.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The first value of a header, by its case-insensitive name; none where it is absent or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body without a copy, consuming the answer.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Reason::ProtocolUnexpected`] where it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Error::new(
                Reason::ProtocolUnexpected,
                crate::error::Phase::Receive,
                format!("the body is not UTF-8 from byte {}", error.valid_up_to()),
            )
            .with_delivery(crate::error::Delivery::Answered)
        })
    }

    /// How the call went.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("trace", &self.trace)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn injection_is_refused_before_anything_is_sent() {
        let bad = [
            Request::get("https://host/a b"),
            Request::get("https://host/a\r\nX: 1"),
            Request::get("https://user@host/"),
            Request::get("//host/"),
            Request::get("file:///etc/passwd"),
            Request::new("GE T", "https://host/"),
            Request::new("CONNECT", "https://host/"),
            Request::get("https://host/").header("x", "a\r\nb: c"),
            Request::get("https://host/").header("x", "a\0b"),
            Request::get("https://host/").header("x y", "a"),
            Request::get("https://host/").header("Host", "other"),
            Request::get("https://host/").header("Transfer-Encoding", "chunked"),
            Request::get("https://host/").header("Idempotency-Key", "a").header("idempotency-key", "b"),
            Request::get("https://host/").timeout(Duration::ZERO),
            Request::get("https://host/").timeout(Duration::MAX),
            Request::get("https://host/").header("Expect", "100-continue"),
        ];
        for request in bad {
            assert_eq!(request.check().expect_err("refused").reason(), Reason::ConfigInput, "{request:?}");
        }
    }

    #[test]
    fn a_head_has_origin_form_one_host_and_a_length() {
        let origin = Origin::parse("https://kms.example:8443").unwrap();
        let own = OwnFields::new(&origin.host_header(), &HeaderValue::from_static("agent"));
        let head = |request: Request| {
            let mut wire = Vec::new();
            request.write_head(&own, &mut wire);
            String::from_utf8(wire).unwrap()
        };
        assert_eq!(
            head(Request::post("https://kms.example:8443/a?b=c#d").header("User-Agent", "mine")),
            "POST /a?b=c HTTP/1.1\r\nhost: kms.example:8443\r\naccept: */*\r\nuser-agent: mine\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(
            head(Request::get("https://kms.example:8443").header("accept", "a/b")),
            "GET / HTTP/1.1\r\nhost: kms.example:8443\r\nuser-agent: agent\r\naccept: a/b\r\n\r\n"
        );
        let query = head(Request::get("https://kms.example:8443?b=c"));
        assert!(query.starts_with("GET /?b=c HTTP/1.1\r\n"), "{query}");
        let put = head(Request::put("https://kms.example:8443/").body("body"));
        assert!(put.ends_with("content-length: 4\r\n\r\n"), "{put}");
    }

    #[test]
    fn packed_headers_are_what_came_and_a_small_body_lies_behind_them() {
        let packing = || {
            let mut packing = Packing::new(3, 100);
            packing.push("X-A", b"1");
            packing.push("x-a", b"2");
            packing.push("x-b", b"");
            packing
        };
        let (headers, body) = packing().finish(b"body".to_vec());
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [("x-a", &b"1"[..]), ("x-a", b"2"), ("x-b", b"")]);
        assert_eq!((headers.get("X-A"), headers.get("x-c"), &body[..]), (Some(&b"1"[..]), None, &b"body"[..]));
        let large = vec![7; PACKED_BODY + 1];
        let at = large.as_ptr();
        assert_eq!(packing().finish(large).1.as_ptr(), at);
    }

    #[test]
    fn debug_output_tells_no_secret() {
        let request =
            Request::post("https://host/path?token=hunter2").header("authorization", "hunter2").body("hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
