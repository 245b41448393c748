//! The scripted peer: a raw socket that reads a request and answers with whatever script is on.
//!
//! Owns: every malformed, endless or treacherous HTTP/1 answer of the box. Without a script it answers a correct
//! keep-alive `200`. Floods stop after 64 MiB or when the client closes.
//! Time: tokio's clock, for announced and silent idle closes. Randomness: none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::counts::{Book, Link};
use crate::fault::{ChunkSize, Fault, Layer, StatusLine};
use crate::origin::{Counted, accept};
use crate::socket;
use crate::switch::Faults;

/// What a flood sends at most.
const FLOOD: usize = 64 << 20;

/// How large a request head may be.
const HEAD: usize = 1 << 20;

/// When the unasked 408 comes.
const IDLE: Duration = Duration::from_millis(50);

/// The answer without a script.
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// The raw origin.
pub(crate) struct Scripted {
    pub(crate) book: Arc<Book>,
    pub(crate) faults: Arc<Faults>,
}

/// What happens to the connection after an answer.
enum After {
    Keep,
    /// Keep, but close when nothing has come for so long.
    KeepFor(Duration),
    Close,
    Reset,
}

/// A connection and what it has read beyond the last request.
struct Peer {
    stream: Counted,
    buffer: Vec<u8>,
}

impl Scripted {
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        accept(listener, &self.book, |stream| {
            let scripted = Arc::clone(&self);
            tokio::spawn(async move { scripted.converse(stream).await });
        })
        .await;
    }

    async fn converse(&self, stream: Counted) -> io::Result<()> {
        let link = Arc::new(stream.link("scripted")?);
        let mut peer = Peer { stream, buffer: Vec::new() };
        let mut patience = None;
        loop {
            let head = match patience {
                None => peer.head().await?,
                Some(limit) => match tokio::time::timeout(limit, peer.head()).await {
                    Ok(head) => head?,
                    Err(_) => return peer.close().await,
                },
            };
            let Some((parts, length)) = head else { return Ok(()) };
            self.note(parts, &link);
            let script = |fault: &Fault| (fault.row().layer == Layer::Scripted).then(|| fault.clone());
            let script = self.faults.hit(Layer::Scripted, None, script);
            if script == Some(Fault::EarlyFinal) {
                let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                peer.say(answer).await?;
                return peer.close().await;
            }
            peer.body(length).await?;
            match peer.play(script).await? {
                After::Keep => patience = None,
                After::KeepFor(limit) => patience = Some(limit),
                After::Close => return peer.close().await,
                After::Reset => {
                    socket::reset_on_close(peer.stream.socket());
                    return Ok(());
                }
            }
        }
    }

    fn note(&self, parts: Parts, link: &Arc<Link>) {
        self.book.request(&Arc::new(parts), link);
    }
}

impl Peer {
    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// The next request's head and the length of its body; `None` when the client has closed.
    async fn head(&mut self) -> io::Result<Option<(Parts, usize)>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(Some(parse(&String::from_utf8_lossy(&head))));
            }
            if self.buffer.len() > HEAD || self.more().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn body(&mut self, mut length: usize) -> io::Result<()> {
        loop {
            let here = length.min(self.buffer.len());
            self.buffer.drain(..here);
            length -= here;
            if length == 0 {
                return Ok(());
            }
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn say(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(text.as_ref()).await
    }

    /// Says the same again and again, at most 64 MiB of it.
    async fn flood(&mut self, text: &str) -> io::Result<()> {
        let block = text.repeat((64 << 10) / text.len() + 1);
        for _ in 0..FLOOD / block.len() {
            self.say(&block).await?;
        }
        Ok(())
    }

    /// FIN, then reads on until the client closes: unread bytes would turn the FIN into a RST.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut waste = vec![0; 16 << 10];
        while self.stream.read(&mut waste).await? > 0 {}
        Ok(())
    }

    async fn play(&mut self, script: Option<Fault>) -> io::Result<After> {
        let Some(script) = script else {
            self.say(PLAIN).await?;
            return Ok(After::Keep);
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        match script {
            Fault::InterimFlood => {
                self.flood("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await?;
            }
            Fault::Interim(n) => {
                self.say("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(n as usize)).await?;
                self.say(PLAIN).await?;
                return Ok(After::Keep);
            }
            Fault::UnaskedSwitch => {
                self.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n").await?;
                self.say("not HTTP any more").await?;
            }
            Fault::HeaderFlood => {
                self.say(head).await?;
                self.flood("X-Flood: 0123456789012345678901234567890123456789\r\n").await?;
            }
            Fault::HeaderCount(n) => {
                let fields: String = (0..n).map(|i| format!("X-{i}: {i}\r\n")).collect();
                self.say(format!("{head}{fields}Content-Length: 5\r\n\r\nhello")).await?;
                return Ok(After::Keep);
            }
            Fault::BigHeader(n) => {
                self.say(format!("{head}X-Big: ")).await?;
                let block = "x".repeat(64 << 10);
                let mut left = (n as usize).min(FLOOD);
                while left > 0 {
                    let now = left.min(block.len());
                    self.say(&block[..now]).await?;
                    left -= now;
                }
                self.say("\r\nContent-Length: 5\r\n\r\nhello").await?;
                return Ok(After::Keep);
            }
            Fault::EndlessBody => {
                self.say(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await?;
                self.flood(&format!("1000\r\n{}\r\n", "x".repeat(0x1000))).await?;
            }
            Fault::EndlessBodyNoLength => {
                self.say(format!("{head}Connection: close\r\n\r\n")).await?;
                self.flood(&"x".repeat(0x1000)).await?;
            }
            Fault::LengthAndChunked => {
                self.say(format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")).await?;
                self.say("5\r\nhello\r\n0\r\n\r\n").await?;
                return Ok(After::Keep);
            }
            Fault::TwoLengths => {
                self.say(format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")).await?;
                return Ok(After::Keep);
            }
            Fault::NegativeLength => self.say(format!("{head}Content-Length: -5\r\n\r\nhello")).await?,
            Fault::ShortBody => self.say(format!("{head}Content-Length: 50\r\n\r\nhello")).await?,
            Fault::ChunkedNoEnd => {
                self.say(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")).await?;
            }
            Fault::BadChunkSize(how) => {
                self.say(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await?;
                self.say(chunk(how)).await?;
            }
            Fault::ExtraBytes => {
                self.say(format!("{PLAIN}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")).await?;
                return Ok(After::Keep);
            }
            Fault::GarbageStatus(how) => self.say(status(how)).await?,
            Fault::CloseAfterAnswer => {
                self.say(format!("{head}Content-Length: 5\r\nConnection: close\r\n\r\nhello")).await?;
            }
            Fault::Http10 => self.say("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello").await?,
            Fault::KeepAliveTimeout(seconds) => {
                self.say(format!("{head}Connection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n")).await?;
                self.say("Content-Length: 5\r\n\r\nhello").await?;
                return Ok(After::KeepFor(Duration::from_secs(seconds)));
            }
            Fault::SilentClose => self.say(PLAIN).await?,
            Fault::RequestTimeout408 => {
                self.say(PLAIN).await?;
                tokio::time::sleep(IDLE).await;
                self.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
            }
            Fault::NoContentWithBody => {
                self.say("HTTP/1.1 204 No Content\r\n\r\nbytes that must not be here").await?;
                return Ok(After::Keep);
            }
            Fault::WriteThenReset => {
                self.say(format!("{head}Content-Length: 50\r\n\r\nhello")).await?;
                return Ok(After::Reset);
            }
            // EarlyClose says nothing; the rest belongs to other layers.
            _ => {}
        }
        Ok(After::Close)
    }
}

/// The head as request parts, as far as it can be understood, and the announced length of its body.
fn parse(head: &str) -> (Parts, usize) {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or("/"));
    let mut request = Request::builder().method(method).uri(target);
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
        let known = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = known {
            request = request.header(name, value);
        }
    }
    let parts = request.body(()).unwrap_or_default().into_parts().0;
    (parts, length)
}

fn chunk(how: ChunkSize) -> String {
    match how {
        ChunkSize::Overflow => "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::Sign => "+5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::Negative => "-5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::Space => " 5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::Prefix => "0x5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::BareLf => "5\nhello\r\n0\r\n\r\n".to_owned(),
        ChunkSize::LongExtension => format!("5;x={}\r\nhello\r\n0\r\n\r\n", "e".repeat(1 << 20)),
        ChunkSize::Empty => "\r\nhello\r\n0\r\n\r\n".to_owned(),
    }
}

fn status(how: StatusLine) -> &'static [u8] {
    match how {
        StatusLine::Http09 => b"<html>hello</html>\n",
        StatusLine::Status99 => b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        StatusLine::Status1000 => b"HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
        StatusLine::BareCr => b"HTTP/1.1 200 OK\r\nX-A: one\rX-B: two\r\nContent-Length: 0\r\n\r\n",
        StatusLine::Nul => b"HTTP/1.1 200 OK\r\nX-A: one\0two\r\nContent-Length: 0\r\n\r\n",
        StatusLine::ObsFold => b"HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Length: 0\r\n\r\n",
        StatusLine::Http30 => b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        StatusLine::NonAsciiField => b"HTTP/1.1 200 OK\r\nX-\xC3\xA9: one\r\nContent-Length: 0\r\n\r\n",
        StatusLine::Garbage => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP here\r\n\r\n",
    }
}
