//! The explicit proxies: HTTP `CONNECT` and SOCKS5, which dial what the client names instead of being in the way.
//!
//! Owns: both handshakes, who may use them, and what goes wrong in them. They dial addresses in 127.0.0.0/8 and names
//! that the DNS server knows (at the first proxy address); nothing else. Counts are the business of `tally`.
//! Time: tokio's clock, after a failed `accept`. Randomness: none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::dns::Dns;
use crate::fault::{Fault, Layer};
use crate::message::plain;
use crate::peer::FLOOD;
use crate::socket;
use crate::switch::Faults;
use crate::tally::{Tally, TunnelRequest};

/// How large the head of a `CONNECT` may be.
const HEAD: usize = 64 << 10;

/// SOCKS5 (RFC 1928, RFC 1929): the version, the methods, and the replies that the proxy has a use for.
const VERSION: u8 = 5;
const NO_AUTH: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const REFUSED: u8 = 5;
const NO_COMMAND: u8 = 7;

const ESTABLISHED: &str = "HTTP/1.1 200 Connection Established\r\n";

/// What a proxy says that lets nobody through.
const PAGE: &str = "<html><head><title>No</title></head><body>This page is the proxy's.</body></html>";

/// Which language a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Socks,
}

/// Both proxies.
pub(crate) struct Tunnels {
    pub(crate) faults: Arc<Faults>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) tally: Arc<Tally>,
    /// Where names lead.
    pub(crate) names: Ipv4Addr,
    pub(crate) auth: Option<(String, String)>,
}

/// Why there is no tunnel.
enum Failed {
    /// The target is none that the box dials.
    Outside,
    Refused,
}

/// What follows the words of a script.
enum Then {
    Close,
    Flood,
    Silence,
}

impl Tunnels {
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, kind: Kind) {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            _ = client.set_nodelay(true);
            let tunnels = Arc::clone(&self);
            tokio::spawn(async move {
                match kind {
                    Kind::Connect => tunnels.connect(client).await,
                    Kind::Socks => tunnels.socks(client).await,
                }
            });
        }
    }

    async fn connect(&self, mut client: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let Some(head) = head(&mut client, &mut buffer).await? else { return Ok(()) };
            let mut lines = head.lines();
            let mut first = lines.next().unwrap_or_default().split(' ');
            let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
            let fields = lines.filter_map(|line| line.split_once(':'));
            let headers: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
            let authorized = self.knows(&headers);
            let (proxy, name) = ("connect".to_owned(), target.to_owned());
            self.tally.asked(TunnelRequest { proxy, target: name, headers, authorized });
            if !authorized {
                let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"box\"\r\n\
                              Content-Length: 0\r\n\r\n";
                client.write_all(answer.as_bytes()).await?;
                continue;
            }
            if let Some((words, then)) = self.script(Kind::Connect) {
                return play(client, &words, then).await;
            }
            let place = target.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let refusal = match (method, place) {
                ("CONNECT", Some((host, port))) => match self.dial(host, port).await {
                    Ok(mut origin) => {
                        origin.write_all(&buffer).await?;
                        return self.carry(client, origin, format!("{ESTABLISHED}\r\n").as_bytes()).await;
                    }
                    Err(Failed::Outside) => "403 Forbidden",
                    Err(Failed::Refused) => "502 Bad Gateway",
                },
                ("CONNECT", None) => "400 Bad Request",
                _ => "405 Method Not Allowed",
            };
            let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return play(client, answer.as_bytes(), Then::Close).await;
        }
    }

    /// Whether these fields let the client through.
    fn knows(&self, fields: &[(String, String)]) -> bool {
        let Some((user, password)) = &self.auth else { return true };
        let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        fields.iter().any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && *value == wanted)
    }

    async fn socks(&self, mut client: TcpStream) -> io::Result<()> {
        let mut methods = vec![0; usize::from(self.greeting(&mut client).await?)];
        client.read_exact(&mut methods).await?;
        let method = if self.auth.is_some() { PASSWORD } else { NO_AUTH };
        if !methods.contains(&method) {
            self.tally.unauthorized();
            return play(client, &[VERSION, NO_METHOD], Then::Close).await;
        }
        client.write_all(&[VERSION, method]).await?;
        if let Some((user, password)) = &self.auth {
            client.read_exact(&mut [0; 1]).await?;
            let said = (counted(&mut client).await?, counted(&mut client).await?);
            if said != (user.clone().into_bytes(), password.clone().into_bytes()) {
                self.tally.unauthorized();
                return play(client, &[1, 1], Then::Close).await;
            }
            client.write_all(&[1, 0]).await?;
        }
        let mut head = [0; 4];
        client.read_exact(&mut head).await?;
        let [_, command, _, kind] = head;
        let host = match kind {
            1 => {
                let mut ip = [0; 4];
                client.read_exact(&mut ip).await?;
                Ipv4Addr::from(ip).to_string()
            }
            4 => {
                let mut ip = [0; 16];
                client.read_exact(&mut ip).await?;
                format!("[{}]", Ipv6Addr::from(ip))
            }
            _ => String::from_utf8_lossy(&counted(&mut client).await?).into_owned(),
        };
        let port = client.read_u16().await?;
        let (proxy, target) = ("socks".to_owned(), format!("{host}:{port}"));
        self.tally.asked(TunnelRequest { proxy, target, headers: Vec::new(), authorized: true });
        if let Some((words, then)) = self.script(Kind::Socks) {
            return play(client, &words, then).await;
        }
        // Of the commands, CONNECT alone.
        let refusal = match command {
            1 => match self.dial(&host, port).await {
                Ok(origin) => return self.carry(client, origin, &reply(SUCCEEDED)).await,
                Err(Failed::Outside) => NOT_ALLOWED,
                Err(Failed::Refused) => REFUSED,
            },
            _ => NO_COMMAND,
        };
        play(client, &reply(refusal), Then::Close).await
    }

    /// How many methods the client offers.
    async fn greeting(&self, client: &mut TcpStream) -> io::Result<u8> {
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).await?;
        if greeting[0] == VERSION { Ok(greeting[1]) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// What is said instead of the answer to a request.
    fn script(&self, kind: Kind) -> Option<(Vec<u8>, Then)> {
        let socks = kind == Kind::Socks;
        self.faults.hit(Layer::Tunnel, None, |fault| {
            let says = match fault {
                Fault::ConnectSilent => (Vec::new(), Then::Silence),
                Fault::TunnelClose => (Vec::new(), Then::Close),
                Fault::ConnectThenSilent if socks => (reply(SUCCEEDED), Then::Silence),
                Fault::ConnectThenSilent => (format!("{ESTABLISHED}\r\n").into_bytes(), Then::Silence),
                Fault::SocksRefused(code) if socks => (reply(*code), Then::Close),
                Fault::SocksGarbage if socks => (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Then::Close),
                Fault::ConnectStatus(code) if !socks => {
                    let head = format!("HTTP/1.1 {code} No\r\nContent-Type: text/html\r\n");
                    (format!("{head}Content-Length: {}\r\n\r\n{PAGE}", PAGE.len()).into_bytes(), Then::Close)
                }
                Fault::ConnectGarbage if !socks => (b"\x16\x03\x01\x02 no HTTP here\r\n\r\n".to_vec(), Then::Close),
                Fault::ConnectEndless if !socks => (ESTABLISHED.as_bytes().to_vec(), Then::Flood),
                _ => return None,
            };
            Some(says)
        })
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Failed> {
        let ip = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => ip,
            Err(_) if self.dns.knows(&plain(host)) => IpAddr::V4(self.names),
            _ => return Err(Failed::Outside),
        };
        let origin = TcpStream::connect(SocketAddr::new(ip, port)).await.map_err(|_| Failed::Refused)?;
        _ = origin.set_nodelay(true);
        Ok(origin)
    }

    /// Says that the way is open, and copies until both sides have said all; a reset is handed on.
    async fn carry(&self, mut client: TcpStream, mut origin: TcpStream, words: &[u8]) -> io::Result<()> {
        // Counted before the client is told, or it could ask for a count that does not know it yet.
        let live = self.tally.opened(&client);
        client.write_all(words).await?;
        let copied = copy_bidirectional(&mut client, &mut origin).await;
        if copied.is_err() {
            socket::reset_on_close(&client);
            socket::reset_on_close(&origin);
        }
        // Given back before the client can notice, and before the descriptor that the tally watches is closed.
        drop(live);
        copied.map(|_| ())
    }
}

/// The next head, without its empty line; `None` when the client has closed.
async fn head(client: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8_lossy(&head[..end]).into_owned()));
        }
        if buffer.len() > HEAD || client.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Bytes behind their number.
async fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A SOCKS reply whose bound address tells nothing.
fn reply(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// Says something; then reads on until the client closes, or unread bytes would turn the FIN into a RST.
async fn play(mut client: TcpStream, words: &[u8], then: Then) -> io::Result<()> {
    client.write_all(words).await?;
    if matches!(then, Then::Flood) {
        let block = "X-Flood: 0123456789012345678901234567890123456789\r\n".repeat(1 << 10);
        for _ in 0..FLOOD / block.len() {
            client.write_all(block.as_bytes()).await?;
        }
    }
    if !matches!(then, Then::Silence) {
        client.shutdown().await?;
    }
    let mut waste = vec![0; 16 << 10];
    while client.read(&mut waste).await? > 0 {}
    Ok(())
}
