//! What goes out: [`Request`].
//!
//! It owns the parsing of URLs and every check of method, target and fields (RFC 3986, RFC 9110 sections
//! 4.2 and 5.5), so that nothing malformed gets further, and the bytes of a head. No I/O, no clock.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Uri};

use crate::body::{Content, Source};
use crate::error::{Error, Phase, Reason, Result};
use crate::origin::{Scheme, check_visible};
use crate::profile::Profile;

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
    /// The body of the answer is wanted as it is.
    is_plain: bool,
    is_keyed: bool,
    expects: bool,
    resumes: bool,
    max_size: Option<u64>,
    content: Content,
    /// Lines behind a chunked body.
    trailers: Vec<u8>,
    timeout: Option<Duration>,
    keying: Option<Arc<Keying>>,
    signer: Option<Signer>,
    invalid: Option<Box<(Reason, String)>>,
}

/// Signs one try of a request.
type Signer = Arc<dyn Fn(Request) -> Request + Send + Sync>;

/// What makes a request one write, however often it is sent.
pub(crate) struct Keying {
    pub(crate) profile: Profile,
    /// From then on the target may have forgotten the key.
    pub(crate) forgotten_at: Option<Instant>,
    /// Whether an earlier call may have done it.
    pub(crate) is_doubtful: bool,
}

/// The two parts of a URL: whom to ask, and for what.
#[derive(Clone)]
struct Target {
    scheme: Scheme,
    /// As the caller wrote it: the key of a client's fast look-up. Canonical only in [`Origin`].
    authority: Authority,
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
                authority: Authority::from_static("invalid"),
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
            is_plain: false,
            is_keyed: false,
            expects: false,
            resumes: false,
            max_size: None,
            content: Content::Whole(Bytes::new()),
            trailers: Vec::new(),
            timeout: None,
            keying: None,
            signer: None,
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
        let (name, value) = field(name, value)?;
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
        self.is_plain |= name == header::ACCEPT_ENCODING || name == header::RANGE;
        add_line(&mut self.fields, &name, &value)
    }

    /// Adds a parameter to the query, percent-encoded: for a signature in the query, say.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Request {
        let joint = if self.target.path.query().is_some() { '&' } else { '?' };
        let mut pair = url::form_urlencoded::Serializer::new(String::new());
        // What a form writes as a plus is a space only to those who read a query as a form.
        let pair = pair.append_pair(name, value).finish().replace('+', "%20");
        match format!("{}{joint}{pair}", self.target.path).parse() {
            Ok(path) => self.target.path = path,
            Err(_) => self.reject("the query is too long".to_owned()),
        }
        self
    }

    /// Sets the body, at hand as a whole.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Request {
        self.content = Content::Whole(body.into());
        self
    }

    /// Sends a file, with its length at this moment; it is read while it is sent and can be sent again.
    #[must_use]
    pub fn body_file(mut self, path: impl AsRef<Path>) -> Request {
        match Content::file(path.as_ref()) {
            Ok(content) => self.content = content,
            Err(error) => self.reject(format!("the body's file can't be opened: {error}")),
        }
        self
    }

    /// Sends what a reader brings: as `length` bytes, or chunked where that is not known. It is read while it is sent,
    /// by a blocking caller on its own thread, so the reader must bound its own waits. It can be read once: a request
    /// that has begun to send it is not sent again, and a clone shares it.
    #[must_use]
    pub fn body_reader(mut self, reader: impl Read + Send + 'static, length: Option<u64>) -> Request {
        self.content = Content::once(Source::Reader(Box::new(reader)), length);
        self
    }

    /// Sends what a stream brings, as [`Request::body_reader`] does.
    #[must_use]
    pub fn body_stream(
        mut self,
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Request {
        self.content = Content::once(Source::Stream(Box::pin(stream)), length);
        self
    }

    /// Adds a trailer field, sent behind the body (RFC 9110 6.5), which then goes chunked.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        let added = field(name, value.as_ref()).and_then(|(name, value)| add_line(&mut self.trailers, &name, &value));
        if let Err(detail) = added {
            self.reject(detail);
        }
        self
    }

    /// Asks before the body is sent (`Expect: 100-continue`, RFC 9110 10.1.1): a target that refuses spares both sides
    /// the body. One that says nothing for a second gets it all the same; one that answers 417 gets the request once
    /// more without asking.
    #[must_use]
    pub fn expect_continue(mut self) -> Request {
        self.expects = true;
        self
    }

    /// Lets an answer that breaks off while it is read be gone on with (`Range` and `If-Range`, RFC 9110 14.2 and 13.1.5):
    /// for `GET`s whose answers are opened, not sent, and whose target gives a strong `ETag` or `Last-Modified`.
    #[must_use]
    pub fn resume(mut self) -> Request {
        if self.method == Method::GET {
            (self.resumes, self.is_plain) = (true, true);
        } else {
            self.reject("only a GET can be resumed".to_owned());
        }
        self
    }

    /// The greatest body of the answer, in bytes; below `max_body` where that counts. One more is
    /// [`Reason::LimitBody`].
    #[must_use]
    pub fn size_limit(mut self, bytes: u64) -> Request {
        self.max_size = Some(bytes);
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

    /// Has every try signed anew, retries too: `sign` gets the request as it would be sent, its key in place, and returns
    /// it with what a signature adds: header fields, parameters behind the query ([`Request::query`]) or behind a form. It
    /// may change nothing that is there: [`Reason::ConfigInput`].
    ///
    /// ```
    /// # fn signature(_: &str, _: &str) -> String { String::new() }
    /// let request = pinlink::Request::put("https://oss.example/o").body("rows").signed(|unsigned| {
    ///     let authorization = signature(unsigned.method(), &unsigned.url());
    ///     unsigned.header("Authorization", authorization)
    /// });
    /// # let _ = request;
    /// ```
    #[must_use]
    pub fn signed(mut self, sign: impl Fn(Request) -> Request + Send + Sync + 'static) -> Request {
        self.signer = Some(Arc::new(sign));
        self
    }

    /// What a try is sent as, where it is signed. In a box: it is held over a whole try, and most requests have none.
    pub(crate) fn as_signed(&self) -> Result<Option<Box<Request>>> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let mut signed = signer(Request { signer: None, ..self.clone() });
        signed.check()?;
        let (here, there) = (&self.target, &signed.target);
        let whereto = |target: &Target| (target.scheme, target.authority.clone(), target.path.path().to_owned());
        if whereto(here) != whereto(there) || self.method != signed.method {
            return Err(Error::input("signing may not change a request's method, scheme, host or path"));
        }
        // The key may stand in any of them: what is there stays as it is, and the signature comes behind it.
        let query = |target: &Target| target.path.query().unwrap_or_default().to_owned();
        let keeps_body = match (&self.content, &signed.content) {
            (Content::Whole(ours), Content::Whole(signed)) => signed.starts_with(ours),
            (Content::File(ours, _), Content::File(signed, _)) => Arc::ptr_eq(ours, signed),
            (Content::Once(ours), Content::Once(signed)) => Arc::ptr_eq(ours, signed),
            _ => false,
        };
        if !signed.fields.starts_with(&self.fields) || !query(there).starts_with(&query(here)) || !keeps_body {
            return Err(Error::input("signing may add to header, query and body, and change nothing of them"));
        }
        if signed.is_keyed != self.is_keyed {
            return Err(Error::input("signing may not add a key"));
        }
        signed.keying.clone_from(&self.keying);
        Ok(Some(Box::new(signed)))
    }

    fn reject(&mut self, detail: String) {
        self.invalid.get_or_insert_with(|| Box::new((Reason::ConfigInput, detail)));
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Where it goes, as the caller wrote it, without a fragment.
    pub fn url(&self) -> String {
        let Target { scheme, authority, path } = &self.target;
        format!("{}://{authority}{path}", scheme.as_str())
    }

    /// The caller's header fields, in their order, the names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        fields(&self.fields)
    }

    /// The body, where it is at hand as a whole.
    pub fn body_bytes(&self) -> Option<&Bytes> {
        self.content.at_once()
    }

    /// Whether it can be sent at all.
    ///
    /// # Errors
    /// The first mistake made while building, which every call would return: [`Reason::ConfigInput`].
    pub fn check(&self) -> Result<()> {
        match &self.invalid {
            None => Ok(()),
            Some(fault) => Err(Error::new(fault.0, Phase::Configure, fault.1.clone())),
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.target.scheme
    }

    pub(crate) fn authority(&self) -> &str {
        self.target.authority.as_str()
    }

    /// Whether another one goes to the same origin, in the same words.
    pub(crate) fn is_for_the_same(&self, other: &Request) -> bool {
        let (own, others) = (&self.target, &other.target);
        own.scheme == others.scheme && own.authority.as_str() == others.authority.as_str()
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

    /// What it is as a write, where it is one.
    pub(crate) fn keying(&self) -> Option<&Keying> {
        self.keying.as_deref()
    }

    /// The same as one write, which may be sent again.
    pub(crate) fn keyed(mut self, keying: Keying) -> Request {
        self.is_keyed = true;
        // What an answer means may stand in its body: it is read as it comes.
        self.is_plain = true;
        self.keying = Some(Arc::new(keying));
        self
    }

    /// The same with another body.
    pub(crate) fn with_content(mut self, content: Content) -> Request {
        self.content = content;
        self
    }

    /// Another request to the same URL, with the same credentials and time: what is asked about a write.
    pub(crate) fn beside(&self, method: Method) -> Request {
        let is_credential = |line: &&[u8]| names_one_of(line, &CREDENTIALS) && !names_one_of(line, &[IDEMPOTENCY_KEY]);
        let question = Request {
            method,
            target: self.target.clone(),
            fields: self.fields.split_inclusive(|&b| b == b'\n').filter(is_credential).flatten().copied().collect(),
            timeout: self.timeout,
            signer: self.signer.clone(),
            ..Request::get("https://invalid/")
        };
        // What is there is compared as it is there.
        question.header(header::ACCEPT_ENCODING.as_str(), "identity")
    }

    /// Adds a header where the caller has not given it.
    pub(crate) fn header_unless_given(self, name: &str, value: &str) -> Request {
        let is_given = self.headers().any(|(given, _)| given.as_str().eq_ignore_ascii_case(name));
        if is_given { self } else { self.header(name, value) }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Whether the body is sent in chunks: its length is not known, or something follows it.
    pub(crate) fn is_chunked(&self) -> bool {
        self.content.length().is_none() || !self.trailers.is_empty()
    }

    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Whether a content coding may be asked for: not where the caller has said which it takes, nor for parts of a body.
    pub(crate) fn takes_codings(&self) -> bool {
        !self.is_plain
    }

    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    pub(crate) fn max_size(&self) -> Option<u64> {
        self.max_size
    }

    /// Whether to ask before the body is sent: not where there is none.
    pub(crate) fn expects(&self) -> bool {
        self.expects && self.content.length() != Some(0)
    }

    /// Writes the head: origin-form target (RFC 9112 3.2.1), the client's fields, the caller's fields, the length.
    pub(crate) fn write_head(&self, own: &OwnFields, expects: bool, wire: &mut Vec<u8>) {
        for part in [self.method.as_str(), " ", self.target.path.as_str(), " HTTP/1.1\r\n", &own.host] {
            wire.extend_from_slice(part.as_bytes());
        }
        if !self.has_user_agent {
            wire.extend_from_slice(&own.user_agent);
        }
        if !self.has_accept {
            wire.extend_from_slice(b"accept: */*\r\n");
        }
        if own.decodes && !self.is_plain {
            wire.extend_from_slice(b"accept-encoding: gzip, br, zstd, deflate\r\n");
        }
        wire.extend_from_slice(&self.fields);
        if expects {
            wire.extend_from_slice(b"expect: 100-continue\r\n");
        }
        match self.content.length() {
            _ if self.is_chunked() => wire.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            // RFC 9110 8.6: a method whose content has a meaning says so when it is empty.
            Some(0) if !matches!(self.method, Method::POST | Method::PUT | Method::PATCH) => {}
            length => {
                // A vector takes every write.
                let _ = write!(wire, "content-length: {}\r\n", length.unwrap_or_default());
            }
        }
        wire.extend_from_slice(b"\r\n");
    }

    /// The head as HTTP/2 has it (RFC 9113 8.3.1).
    pub(crate) fn http2_head(&self, own: &OwnFields) -> http::Request<()> {
        let mut target = http::uri::Parts::default();
        target.scheme = Some(match self.target.scheme {
            Scheme::Https => http::uri::Scheme::HTTPS,
            _ => http::uri::Scheme::HTTP,
        });
        target.authority = own.authority.clone().or_else(|| Some(self.target.authority.clone()));
        target.path_and_query = Some(self.target.path.clone());
        let mut head = http::Request::new(());
        *head.method_mut() = self.method.clone();
        *head.uri_mut() = Uri::from_parts(target).unwrap_or_default();
        *head.version_mut() = http::Version::HTTP_2;
        let map = head.headers_mut();
        *map = own.map.clone();
        if self.has_user_agent {
            map.remove(header::USER_AGENT);
        }
        if self.has_accept {
            map.remove(header::ACCEPT);
        }
        if self.is_plain {
            map.remove(header::ACCEPT_ENCODING);
        }
        map.extend(fields(&self.fields));
        match self.content.length() {
            None => {}
            Some(0) if !matches!(self.method, Method::POST | Method::PUT | Method::PATCH) => {}
            Some(length) => {
                map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        head
    }

    pub(crate) fn http2_trailers(&self) -> HeaderMap {
        fields(&self.trailers).collect()
    }
}

/// The fields of a head's lines.
fn fields(lines: &[u8]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    lines.split(|&b| b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|&b| b == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line.get(colon + 2..)?).ok()?))
    })
}

/// A field of the caller's, if it may have one of that name.
fn field(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header name is not a token".to_owned())?;
    if OWNED_HEADERS.contains(&name) {
        return Err(format!("header {name} belongs to the client"));
    }
    match HeaderValue::from_bytes(value) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("header {name}: the value holds a control character")),
    }
}

fn add_line(lines: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) -> Result<(), String> {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        lines.extend_from_slice(part);
    }
    if lines.len() > MAX_REQUEST_HEADERS {
        return Err(format!("the headers are over {MAX_REQUEST_HEADERS} bytes"));
    }
    Ok(())
}

/// What the client says of itself in every request to an origin: as lines of a head, and as HTTP/2 has it.
pub(crate) struct OwnFields {
    host: String,
    user_agent: Vec<u8>,
    authority: Option<Authority>,
    map: HeaderMap,
    /// Whether answers are decoded.
    decodes: bool,
}

impl OwnFields {
    pub(crate) fn new(host: &str, user_agent: &HeaderValue, decodes: bool) -> OwnFields {
        let mut map = HeaderMap::new();
        map.insert(header::USER_AGENT, user_agent.clone());
        map.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if decodes {
            map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd, deflate"));
        }
        OwnFields {
            host: format!("host: {host}\r\n"),
            user_agent: [b"user-agent: ", user_agent.as_bytes(), b"\r\n"].concat(),
            // What was checked as an origin is an authority.
            authority: Authority::try_from(host).ok(),
            map,
            decodes,
        }
    }
}

/// The draft's header (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What speaks for the caller at one origin and for nobody at another.
pub(crate) const CREDENTIALS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    IDEMPOTENCY_KEY,
    HeaderName::from_static("x-acs-security-token"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-oss-security-token"),
];
/// As the option `timeout` has it.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
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
            .field("body_bytes", &self.content.length())
            .finish_non_exhaustive()
    }
}

/// What a redirect makes of a request.
impl Request {
    /// The same for another URL.
    pub(crate) fn with_target(&self, url: &str) -> Result<Request> {
        Ok(Request { target: parse_url(url)?, ..self.clone() })
    }

    /// The same without what speaks for the caller: for another origin.
    pub(crate) fn without_credentials(mut self) -> Request {
        // A value holds no line feed, so a line is a field.
        let lines = self.fields.split_inclusive(|&b| b == b'\n');
        self.fields = lines.filter(|line| !names_one_of(line, &CREDENTIALS)).flatten().copied().collect();
        (self.is_keyed, self.signer) = (false, None);
        self
    }
}

/// Whether a line of a head is one of these fields.
fn names_one_of(line: &[u8], names: &[HeaderName]) -> bool {
    names.iter().any(|name| line.split(|&b| b == b':').next() == Some(name.as_ref()))
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
    if authority.as_str().as_bytes().contains(&b'@') {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

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
        let own = OwnFields::new(&origin.host_header(), &HeaderValue::from_static("agent"), false);
        let head = |request: Request| {
            let mut wire = Vec::new();
            request.write_head(&own, request.expects(), &mut wire);
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
    fn debug_output_tells_no_secret() {
        let request =
            Request::post("https://host/path?token=hunter2").header("authorization", "hunter2").body("hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
