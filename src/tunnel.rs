//! The client's side of an explicit proxy: asking it for a tunnel to a pinned address, by HTTP `CONNECT`
//! (RFC 9110 9.3.6) or SOCKS5 (RFC 1928, 1929), over any stream.
//!
//! It sends the address, the port and the proxy's own credentials, never anything of a request. It reads byte-exact:
//! what follows the proxy's answer stays in the stream, so that the caller goes on with the stream as it is, also
//! where the target speaks first. It reads no clock; the caller bounds the wait ([`Reason::ProxyTimeout`]).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Phase, Reason, Result};
use crate::proxy::{Credentials, Proxy, ProxyKind};

/// The most bytes of all heads a proxy answers `CONNECT` with: real ones have some hundred.
const MAX_HEAD: usize = 16 * 1024;
/// The most fields of one such head.
const MAX_FIELDS: usize = 100;
/// The most interim (1xx) answers before it. No proxy has a use for one.
const MAX_INTERIM: usize = 8;
/// `HTTP/1.1 200` and two line ends: a head can't be shorter.
const SHORTEST_HEAD: usize = 16;

fn failure(reason: Reason, detail: impl Into<String>) -> Error {
    Error::new(reason, Phase::Connect, detail.into())
}

/// Opens a tunnel to `target`. Afterwards the stream is the target's; after an error it is of no more use.
pub(crate) async fn open<S>(stream: &mut S, proxy: &Proxy, target: SocketAddr, max_headers: usize) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Without an IPv6 scope, which means nothing on the proxy's machine.
    let target = SocketAddr::new(target.ip().to_canonical(), target.port());
    let credentials = proxy.credentials.as_ref();
    match proxy.kind {
        ProxyKind::Http => connect(stream, credentials, target, max_headers.min(MAX_HEAD)).await,
        ProxyKind::Socks5 => socks5(stream, credentials, target).await,
    }
}

/// Whether another address of the target may be luckier: the proxy works and could not reach this one.
pub(crate) fn may_try_elsewhere(error: &Error) -> bool {
    error.reason() == Reason::ProxyUnavailable
}

/// The number a proxy refused with: the source of its error.
#[derive(Debug)]
enum Refusal {
    Status(StatusCode),
    Reply(u8),
}

impl Refusal {
    /// Whether it may be otherwise later, or for another address.
    fn is_passing(&self) -> bool {
        match self {
            Refusal::Status(status) => matches!(
                *status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
            Refusal::Reply(reply) => matches!(reply, 3..=6),
        }
    }

    fn error(self, target: SocketAddr) -> Error {
        let detail = match self {
            // The standard's words, not the proxy's: what it writes may repeat what it was sent.
            Refusal::Status(status) => {
                let meaning = status.canonical_reason().unwrap_or("no standard status");
                format!("the proxy answered CONNECT {target} with {} ({meaning})", status.as_u16())
            }
            Refusal::Reply(reply) => {
                let meaning = match reply {
                    1 => "general failure of the proxy",
                    2 => "forbidden by the proxy's rules",
                    3 => "the proxy has no route to the target's network",
                    4 => "the proxy can't reach the target",
                    5 => "the target refused the proxy's connection",
                    6 => "the way from the proxy to the target is too long: TTL expired",
                    7 => "the proxy does not make TCP connections",
                    8 => "the proxy does not know this kind of address",
                    _ => "no standard reply",
                };
                format!("the proxy answered the request for {target} with reply {reply} ({meaning})")
            }
        };
        let reason = if self.is_passing() { Reason::ProxyUnavailable } else { Reason::ProxyStatus };
        failure(reason, detail).with_source(self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Status(status) => write!(f, "status {}", status.as_u16()),
            Refusal::Reply(reply) => write!(f, "SOCKS reply {reply}"),
        }
    }
}

impl StdError for Refusal {}

fn broken(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => closed(),
        _ => failure(Reason::ProxyProtocol, format!("the connection to the proxy failed: {error}")).with_source(error),
    }
}

fn closed() -> Error {
    failure(Reason::ProxyProtocol, "the proxy closed the connection before it opened the tunnel")
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

async fn connect<S>(stream: &mut S, credentials: Option<&Credentials>, target: SocketAddr, most: usize) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authorization = credentials.map(|credentials| format!("Proxy-Authorization: {}\r\n", credentials.basic()));
    let authorization = authorization.unwrap_or_default();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    send(stream, request.as_bytes()).await?;

    let mut left = most;
    for _ in 0..=MAX_INTERIM {
        let head = read_head(stream, left).await?;
        left -= head.len();
        let answer = Answer::parse(&head)?;
        match answer.status {
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(failure(Reason::ProxyProtocol, "the proxy switches protocols, which nobody asked for"));
            }
            status if status.is_informational() => {}
            // A length or coding that such an answer announces means nothing (RFC 9110 9.3.6).
            status if status.is_success() => return Ok(()),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let detail = match (answer.takes_basic, credentials) {
                    (false, _) => "the proxy does not take Basic authentication, the only one there is here (407)",
                    (true, Some(_)) => "the proxy refused the credentials (407)",
                    (true, None) => "the proxy wants credentials (407)",
                };
                return Err(failure(Reason::ProxyAuth, detail));
            }
            status => return Err(Refusal::Status(status).error(target)),
        }
    }
    Err(failure(Reason::ProxyProtocol, format!("the proxy sent more than {MAX_INTERIM} interim answers")))
}

/// Reads one head and no byte more: each read asks for what its end needs at least.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, most: usize) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; SHORTEST_HEAD];
        let count = stream.read(&mut piece[..least_missing(&head)]).await.map_err(broken)?;
        if count == 0 {
            return Err(closed());
        }
        if head.len() + count > most {
            return Err(failure(Reason::ProxyProtocol, "the head of the proxy's answer is over its limit"));
        }
        let begin = head.len().saturating_sub(1);
        head.extend_from_slice(&piece[..count]);
        let version = head.len().min(7);
        if head[..version] != b"HTTP/1."[..version] {
            return Err(failure(Reason::ProxyProtocol, "what listens there does not speak HTTP/1"));
        }
        // With a bare line feed as an end too, reads would have to be shorter; no proxy is known to send one.
        if head[begin..].windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r') {
            return Err(malformed());
        }
    }
    Ok(head)
}

fn least_missing(head: &[u8]) -> usize {
    match head {
        _ if head.len() < SHORTEST_HEAD - 4 => SHORTEST_HEAD - head.len(),
        [.., b'\r', b'\n', b'\r'] => 1,
        [.., b'\r', b'\n'] => 2,
        [.., b'\r'] => 3,
        _ => 4,
    }
}

fn malformed() -> Error {
    failure(Reason::ProxyProtocol, "the head of the proxy's answer is malformed")
}

/// What matters of a head.
struct Answer {
    status: StatusCode,
    /// Whether the proxy takes Basic authentication, or does not say.
    takes_basic: bool,
}

impl Answer {
    fn parse(head: &[u8]) -> Result<Answer> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => {
                return Err(failure(Reason::ProxyProtocol, "the proxy's answer has too many fields"));
            }
            _ => return Err(malformed()),
        }
        let status = StatusCode::from_u16(response.code.unwrap_or_default());
        let status = status.ok().filter(|status| status.as_u16() < 600).ok_or_else(malformed)?;
        let challenges = || response.headers.iter().filter(|field| is_named(field, "proxy-authenticate"));
        let takes_basic = challenges().next().is_none() || challenges().any(|field| offers_basic(field.value));
        Ok(Answer { status, takes_basic })
    }
}

fn is_named(field: &httparse::Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

/// Whether `Basic` is among the challenges of a field (RFC 9110 11.6.1).
fn offers_basic(challenges: &[u8]) -> bool {
    challenges.split(|byte| matches!(byte, b',' | b' ' | b'\t')).any(|word| word.eq_ignore_ascii_case(b"basic"))
}

const SOCKS_VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

async fn socks5<S>(stream: &mut S, credentials: Option<&Credentials>, target: SocketAddr) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let methods: &[u8] =
        if credentials.is_some() { &[NO_AUTHENTICATION, USER_AND_PASSWORD] } else { &[NO_AUTHENTICATION] };
    send(stream, &[&[SOCKS_VERSION, methods.len() as u8], methods].concat()).await?;
    let [version, method] = read(stream).await?;
    check_version(version)?;
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => {}
        (USER_AND_PASSWORD, Some(credentials)) => authenticate(stream, credentials).await?,
        (NO_METHOD, Some(_)) => return Err(failure(Reason::ProxyAuth, "the proxy takes neither a password nor none")),
        (NO_METHOD, None) => return Err(failure(Reason::ProxyAuth, "the proxy wants credentials")),
        _ => return Err(failure(Reason::ProxyProtocol, "the proxy chose a method that was not offered")),
    }

    let (kind, address) = match target.ip() {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (4, address.octets().to_vec()),
    };
    let request = [&[SOCKS_VERSION, 1, 0, kind], &address[..], &target.port().to_be_bytes()].concat();
    send(stream, &request).await?;
    let [version, reply] = read(stream).await?;
    check_version(version)?;
    if reply != 0 {
        // Some proxies close before the rest of a refusal.
        return Err(Refusal::Reply(reply).error(target));
    }
    // The address the proxy dials from concerns nobody, but has to be read to its end.
    match read(stream).await? {
        [_, 1] => skip(stream, 4 + 2).await,
        [_, 4] => skip(stream, 16 + 2).await,
        [_, 3] => {
            let [length] = read(stream).await?;
            skip(stream, usize::from(length) + 2).await
        }
        _ => Err(failure(Reason::ProxyProtocol, "the proxy's reply has an address of an unknown kind")),
    }
}

/// RFC 1929. The lengths were checked when the option was read.
async fn authenticate<S>(stream: &mut S, credentials: &Credentials) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (user, password) = (&*credentials.user, &*credentials.password);
    let message = [&[1, user.len() as u8], user, &[password.len() as u8], password].concat();
    send(stream, &message).await?;
    match read(stream).await? {
        [1, 0] => Ok(()),
        [1, _] => Err(failure(Reason::ProxyAuth, "the proxy refused the credentials")),
        _ => Err(failure(Reason::ProxyProtocol, "the proxy's answer to the credentials is malformed")),
    }
}

fn check_version(version: u8) -> Result<()> {
    if version == SOCKS_VERSION {
        Ok(())
    } else {
        Err(failure(Reason::ProxyProtocol, "what listens there does not speak SOCKS5"))
    }
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}

async fn skip<S: AsyncRead + Unpin>(stream: &mut S, count: usize) -> Result<()> {
    let mut bytes = [0; 255 + 2];
    stream.read_exact(&mut bytes[..count]).await.map_err(broken)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::DuplexStream;
    use tokio::runtime::Builder;

    use super::*;
    use crate::error::Delivery;

    const TARGET: &str = "192.0.2.7:443";
    const HTTP: &str = "http://proxy.example";
    const HTTP_AUTH: &str = "http://jane:s3cret@proxy.example";
    const SOCKS: &str = "socks5://proxy.example";
    const SOCKS_AUTH: &str = "socks5://jane:s3cret@proxy.example";
    const CHOSE_NONE: &[u8] = &[5, 0];
    const CHOSE_PASSWORD: &[u8] = &[5, 2];
    const GRANTED: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0x1f, 0x90];

    fn run<F: Future>(future: F) -> F::Output {
        Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// What the proxy answers, and where its writes end.
    fn pieces(answer: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for &end in at.iter().chain([&answer.len()]) {
            pieces.push(answer[begin..end.max(begin)].to_vec());
            begin = end.max(begin);
        }
        pieces
    }

    struct Outcome {
        result: Result<()>,
        /// What the proxy was sent.
        sent: Vec<u8>,
        /// What was left in the stream.
        rest: Vec<u8>,
    }

    impl Outcome {
        #[track_caller]
        fn refused(&self) -> &Error {
            let error = self.result.as_ref().expect_err("the tunnel is open");
            assert_eq!((error.phase(), error.delivery()), (Phase::Connect, Delivery::NotSent));
            let shown = format!("{error} {error:?} {:?}", error.source());
            assert!(!shown.contains("s3cret") && !shown.contains("amFuZ"), "{shown}");
            error
        }

        #[track_caller]
        fn failed(&self, reason: Reason, words: &str) {
            let error = self.refused();
            assert_eq!(error.reason(), reason, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    /// The proxy writes its pieces, each when the one before has been read, and closes.
    fn script(proxy: &str, target: &str, pieces: Vec<Vec<u8>>) -> Outcome {
        run(async {
            let proxy = Proxy::parse(proxy).unwrap();
            let (mut near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
            let (mut heard, mut says) = tokio::io::split(far);
            let answers = tokio::spawn(async move {
                for piece in pieces {
                    if says.write_all(&piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                says.shutdown().await.ok();
            });
            let result = open(&mut near, &proxy, target.parse().unwrap(), 64 * 1024).await;
            let mut rest = Vec::new();
            if result.is_ok() {
                near.read_to_end(&mut rest).await.unwrap();
            }
            drop(near);
            answers.await.unwrap();
            let mut sent = Vec::new();
            heard.read_to_end(&mut sent).await.unwrap();
            Outcome { result, sent, rest }
        })
    }

    fn answered(proxy: &str, answer: &[u8]) -> Outcome {
        script(proxy, TARGET, vec![answer.to_vec()])
    }

    #[test]
    fn connect_names_the_address_twice_and_nothing_else() {
        let outcome = answered(HTTP, b"HTTP/1.1 200 Connection established\r\n\r\n");
        outcome.result.unwrap();
        assert_eq!(outcome.sent, b"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n");
        let outcome = script(HTTP, "[2001:db8::1%3]:8443", vec![b"HTTP/1.0 200 OK\r\n\r\n".to_vec()]);
        outcome.result.unwrap();
        assert_eq!(outcome.sent, b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n");
        assert!(script(HTTP, "[::ffff:192.0.2.7]:1", Vec::new()).sent.starts_with(b"CONNECT 192.0.2.7:1 "));
    }

    #[test]
    fn connect_sends_basic_credentials_at_once() {
        let outcome = answered(HTTP_AUTH, b"HTTP/1.1 200 OK\r\n\r\n");
        outcome.result.unwrap();
        let sent = String::from_utf8(outcome.sent).unwrap();
        assert!(sent.ends_with("\r\nProxy-Authorization: Basic amFuZTpzM2NyZXQ=\r\n\r\n"), "{sent}");
    }

    #[test]
    fn every_2xx_opens_and_its_length_means_nothing() {
        for head in [
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 299 Whatever\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let answer = [head.as_bytes(), b"SSH-2.0-server\r\n"].concat();
            let outcome = answered(HTTP, &answer);
            assert!(outcome.result.is_ok(), "{head}");
            assert_eq!(outcome.rest, b"SSH-2.0-server\r\n", "{head}");
        }
    }

    #[test]
    fn an_answer_split_at_every_byte_opens_and_leaves_what_follows() {
        let head = b"HTTP/1.1 100 Wait\r\nA: b\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n";
        let answer = [&head[..], b"\r\n\r\nHTTP/1.1 220 ready"].concat();
        for at in 0..=answer.len() {
            let outcome = script(HTTP, TARGET, pieces(&answer, &[at]));
            outcome.result.unwrap();
            assert_eq!(outcome.rest, b"\r\n\r\nHTTP/1.1 220 ready", "split at {at}");
        }
        let every: Vec<usize> = (0..answer.len()).collect();
        assert_eq!(script(HTTP, TARGET, pieces(&answer, &every)).rest.len(), answer.len() - head.len());
    }

    #[test]
    fn an_answer_cut_off_at_any_byte_is_a_closed_proxy() {
        let head = b"HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n\r\n";
        for at in 0..head.len() {
            answered(HTTP, &head[..at]).failed(Reason::ProxyProtocol, "closed");
        }
        let replies = [CHOSE_PASSWORD, &[1, 0], GRANTED].concat();
        for at in 0..replies.len() {
            answered(SOCKS_AUTH, &replies[..at]).failed(Reason::ProxyProtocol, "closed");
        }
    }

    #[test]
    fn a_407_says_what_is_missing() {
        let with = |challenge: &str| format!("HTTP/1.1 407 s3cret\r\n{challenge}\r\n").into_bytes();
        answered(HTTP, &with("")).failed(Reason::ProxyAuth, "wants credentials");
        answered(HTTP, &with("Proxy-Authenticate: Basic realm=\"s3cret\"\r\n"))
            .failed(Reason::ProxyAuth, "wants credentials");
        answered(HTTP_AUTH, &with("Proxy-Authenticate: Negotiate, BASIC realm=\"x\"\r\n"))
            .failed(Reason::ProxyAuth, "refused the credentials");
        answered(HTTP_AUTH, &with("Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n"))
            .failed(Reason::ProxyAuth, "does not take Basic");
        answered(HTTP, &with("")).failed(Reason::ProxyAuth, "option proxy");
    }

    #[test]
    fn other_statuses_are_named_by_number_and_the_standards_words() {
        for (status, words, elsewhere) in [
            (302, "302 (Found)", false),
            (400, "400 (Bad Request)", false),
            (401, "401 (Unauthorized)", false),
            (403, "403 (Forbidden)", false),
            (429, "429 (Too Many Requests)", false),
            (500, "500 (Internal Server Error)", false),
            (502, "502 (Bad Gateway)", true),
            (503, "503 (Service Unavailable)", true),
            (504, "504 (Gateway Timeout)", true),
            (599, "599 (no standard status)", false),
        ] {
            let answer = format!("HTTP/1.1 {status} s3cret\r\nVia: s3cret\r\nContent-Length: 6\r\n\r\ns3cret");
            let outcome = answered(HTTP_AUTH, answer.as_bytes());
            outcome.failed(if elsewhere { Reason::ProxyUnavailable } else { Reason::ProxyStatus }, words);
            outcome.failed(if elsewhere { Reason::ProxyUnavailable } else { Reason::ProxyStatus }, TARGET);
            assert_eq!(may_try_elsewhere(outcome.refused()), elsewhere, "{status}");
        }
    }

    #[test]
    fn garbage_is_refused_at_once() {
        for answer in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "\x15\x03\x01\x00\x02\x02\x46",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n\r\n\r\n",
            "HTTP/1.1 000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.7 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            let outcome = answered(HTTP_AUTH, answer.as_bytes());
            outcome.failed(Reason::ProxyProtocol, "");
            assert!(!outcome.refused().to_string().contains("closed"), "{answer:?}: {}", outcome.refused());
            assert!(!may_try_elsewhere(outcome.refused()));
        }
    }

    #[test]
    fn endless_answers_are_bounded() {
        let endless = |head: &str, again: &str| {
            let outcome = answered(HTTP, format!("{head}{}", again.repeat(40_000 / again.len())).as_bytes());
            outcome.refused().to_string()
        };
        assert!(endless("HTTP/1.1 200 ", "x").contains("over its limit"));
        assert!(endless("HTTP/1.1 200 OK\r\nA: ", "x").contains("over its limit"));
        assert!(endless("HTTP/1.1 200 OK\r\n", "Abcdef: ghijk lmnopq\r\n").contains("over its limit"));
        assert!(endless("", "HTTP/1.1 100 Continue\r\n\r\n").contains("more than 8 interim"));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:b\r\n".repeat(MAX_FIELDS + 1));
        answered(HTTP, many.as_bytes()).failed(Reason::ProxyProtocol, "too many fields");
        let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:b\r\n".repeat(MAX_FIELDS));
        answered(HTTP, most.as_bytes()).result.unwrap();
    }

    #[test]
    fn a_head_may_fill_its_limit_and_no_more_whoever_sets_it() {
        run(async {
            let proxy = Proxy::parse(HTTP).unwrap();
            let head = |size: usize| {
                let (begin, end) = ("HTTP/1.1 200 OK\r\nA: ", "\r\n\r\n");
                format!("{begin}{}{end}", "x".repeat(size - begin.len() - end.len()))
            };
            for (size, max_headers, opens) in
                [(500, 500, true), (501, 500, false), (MAX_HEAD, 1 << 20, true), (MAX_HEAD + 1, 1 << 20, false)]
            {
                let (mut near, mut far) = tokio::io::duplex(64 * 1024);
                far.write_all(head(size).as_bytes()).await.unwrap();
                let result = open(&mut near, &proxy, TARGET.parse().unwrap(), max_headers).await;
                assert_eq!(result.is_ok(), opens, "{size} of {max_headers}");
            }
        });
    }

    #[test]
    fn socks5_without_credentials_offers_no_authentication_only() {
        let outcome = answered(SOCKS, &[CHOSE_NONE, GRANTED, b"220 ready"].concat());
        outcome.result.unwrap();
        assert_eq!(outcome.sent, [&[5, 1, 0][..], &[5, 1, 0, 1, 192, 0, 2, 7, 1, 187]].concat());
        assert_eq!(outcome.rest, b"220 ready");
    }

    #[test]
    fn socks5_sends_the_password_only_when_the_proxy_chooses_it() {
        let outcome = answered(SOCKS_AUTH, &[CHOSE_PASSWORD, &[1, 0], GRANTED].concat());
        outcome.result.unwrap();
        let request = [5, 1, 0, 1, 192, 0, 2, 7, 1, 187];
        assert_eq!(outcome.sent, [&[5, 2, 0, 2][..], b"\x01\x04jane\x06s3cret", &request].concat());
        let outcome = answered(SOCKS_AUTH, &[CHOSE_NONE, GRANTED].concat());
        outcome.result.unwrap();
        assert_eq!(outcome.sent, [&[5, 2, 0, 2][..], &request].concat());
    }

    #[test]
    fn socks5_asks_for_ipv6_and_reads_a_reply_of_any_length_to_its_end() {
        let name = [&[5, 0, 0, 3, 5][..], b"proxy", &[0, 80]].concat();
        let empty_name = [5, 0, 0, 3, 0, 0, 80].to_vec();
        let long_name = [&[5, 0, 0, 3, 255][..], &[b'x'; 255], &[0, 80]].concat();
        let ipv6 = [&[5, 0, 0, 4][..], &[7; 16], &[0, 80]].concat();
        for reply in [GRANTED.to_vec(), name, empty_name, long_name, ipv6] {
            let answer = [CHOSE_NONE, &reply, b"220 ready"].concat();
            for at in 0..=answer.len() {
                let outcome = script(SOCKS, "[2001:db8::1]:8443", pieces(&answer, &[at]));
                outcome.result.unwrap();
                assert_eq!(outcome.rest, b"220 ready", "split at {at}");
                assert_eq!(&outcome.sent[3..7], [5, 1, 0, 4]);
                assert_eq!(&outcome.sent[7..11], [0x20, 0x01, 0x0d, 0xb8]);
                assert_eq!(&outcome.sent[23..], 8443u16.to_be_bytes());
            }
        }
    }

    #[test]
    fn socks5_replies_are_named_by_number_and_meaning_even_when_cut_short() {
        for (reply, words, elsewhere) in [
            (1, "general failure", false),
            (2, "rules", false),
            (3, "no route to the target's network", true),
            (4, "can't reach the target", true),
            (5, "the target refused", true),
            (6, "TTL", true),
            (7, "TCP", false),
            (8, "kind of address", false),
            (9, "no standard reply", false),
            (255, "no standard reply", false),
        ] {
            for rest in [&[][..], &[0], &[0, 1, 0, 0, 0, 0, 0, 0]] {
                let outcome = answered(SOCKS_AUTH, &[CHOSE_NONE, &[5, reply], rest].concat());
                outcome.failed(if elsewhere { Reason::ProxyUnavailable } else { Reason::ProxyStatus }, words);
                outcome.failed(
                    if elsewhere { Reason::ProxyUnavailable } else { Reason::ProxyStatus },
                    &format!("reply {reply} "),
                );
                assert_eq!(may_try_elsewhere(outcome.refused()), elsewhere, "{reply}");
            }
        }
    }

    #[test]
    fn socks5_refusals_of_credentials_are_told_apart() {
        answered(SOCKS, &[5, 0xff]).failed(Reason::ProxyAuth, "wants credentials");
        answered(SOCKS_AUTH, &[5, 0xff]).failed(Reason::ProxyAuth, "neither");
        answered(SOCKS_AUTH, &[CHOSE_PASSWORD, &[1, 1]].concat()).failed(Reason::ProxyAuth, "refused the credentials");
    }

    #[test]
    fn socks5_garbage_is_refused_and_costs_no_password() {
        for (proxy, answer) in [
            (SOCKS_AUTH, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
            (SOCKS_AUTH, &[4, 0]),
            (SOCKS_AUTH, &[5, 1]),
            (SOCKS_AUTH, &[5, 3]),
            (SOCKS, CHOSE_PASSWORD),
            (SOCKS, &[CHOSE_NONE, &[4, 0]].concat()),
            (SOCKS, &[CHOSE_NONE, &[5, 0, 0, 0, 0, 0]].concat()),
            (SOCKS, &[CHOSE_NONE, &[5, 0, 0, 9, 0, 0]].concat()),
        ] {
            let outcome = answered(proxy, answer);
            outcome.failed(Reason::ProxyProtocol, "");
            assert!(!outcome.refused().to_string().contains("closed"), "{}", outcome.refused());
            assert!(!outcome.sent.windows(6).any(|bytes| bytes == b"s3cret"));
        }
        answered(SOCKS_AUTH, &[CHOSE_PASSWORD, &[5, 0]].concat())
            .failed(Reason::ProxyProtocol, "credentials is malformed");
    }

    #[test]
    fn a_proxy_that_is_gone_before_the_first_byte_is_a_broken_proxy() {
        run(async {
            for proxy in [HTTP_AUTH, SOCKS_AUTH] {
                let (mut near, far) = tokio::io::duplex(64);
                drop(far);
                let proxy = Proxy::parse(proxy).unwrap();
                let error = open(&mut near, &proxy, TARGET.parse().unwrap(), 1024).await.unwrap_err();
                assert_eq!(error.reason(), Reason::ProxyProtocol);
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        });
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_and_every_answer_ends(
            proxy in prop::sample::select(vec![HTTP_AUTH, SOCKS_AUTH]),
            begin in prop::sample::select(vec!["HTTP/1.1 ", "HTTP/1.1 200 ", "\x05\x02", "\x05\0\x05\0", ""]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let outcome = answered(proxy, &[begin.as_bytes(), &bytes].concat());
            if outcome.result.is_err() {
                outcome.refused();
            }
        }
    }
}
