//! The scripted peer: a raw socket that reads a request and answers with whatever script is on.
//!
//! Owns: every malformed, endless or treacherous HTTP/1 answer of the box. Without a script it answers a correct
//! keep-alive `200`, with trailers at `/trailers/{n}`, and sends `100` to whoever expects it. Floods stop after 64 MiB
//! or when the client closes.
//! Time: tokio's clock, for announced and silent idle closes and for what is late or slow. Randomness: none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::content::pattern;
use crate::counts::Book;
use crate::exchange::checksum;
use crate::fault::{ChunkSize, Fault, Layer, StatusLine};
use crate::origin::{Counted, accept};
use crate::peer::{Asked, FLOOD, Peer};
use crate::routes::number;
use crate::socket;
use crate::switch::Faults;

/// When the unasked 408 comes.
const IDLE: Duration = Duration::from_millis(50);

/// The answer without a script.
pub(crate) const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// What a client without a memory of its own does not act on.
const HIDDEN: &str = "Set-Cookie: session=box; Path=/; Max-Age=86400\r\n\
    Alt-Svc: h2=\":1\", h3=\":1\"; ma=86400\r\n\
    Strict-Transport-Security: max-age=86400; includeSubDomains\r\n\
    Refresh: 0; url=/refreshed\r\n\
    Link: </linked>; rel=preload\r\n";

/// The bytes of a slow body.
const SLOW: usize = 1000;

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
        let mut peer = Peer::new(stream);
        let mut patience = None;
        loop {
            let asked = match patience {
                None => peer.head().await?,
                Some(limit) => match tokio::time::timeout(limit, peer.head()).await {
                    Ok(asked) => asked?,
                    Err(_) => return peer.close().await,
                },
            };
            let Some(asked) = asked else { return Ok(()) };
            self.book.request(&asked.parts, &link);
            let script = |fault: &Fault| (fault.row().layer == Layer::Scripted).then(|| fault.clone());
            let script = self.faults.hit(Layer::Scripted, None, script);
            let after = match peer.before_body(script.as_ref(), &asked).await? {
                Some(after) => after,
                None => {
                    peer.body(&asked).await?;
                    peer.play(script, &asked).await?
                }
            };
            match after {
                After::Keep => patience = None,
                After::KeepFor(limit) => patience = Some(limit),
                After::Close => return peer.close().await,
                After::Reset => {
                    socket::reset_on_close(peer.socket());
                    return Ok(());
                }
            }
        }
    }
}

impl Peer {
    /// What a script says before the request's body is read; `None` when the body comes first.
    async fn before_body(&mut self, script: Option<&Fault>, asked: &Asked) -> io::Result<Option<After>> {
        match script {
            Some(Fault::EarlyFinal) => {
                let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                self.say(answer).await?;
                return Ok(Some(After::Close));
            }
            Some(Fault::EarlyFinalKeep) => {
                self.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await?;
                self.body(asked).await?;
                return Ok(Some(After::Keep));
            }
            Some(Fault::ExpectFailed) if asked.expects => {
                self.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await?;
                return Ok(Some(After::Keep));
            }
            Some(Fault::ExpectFinal(code)) if asked.expects => {
                let answer = format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                self.say(answer).await?;
                return Ok(Some(After::Close));
            }
            Some(Fault::ExpectIgnored) => return Ok(None),
            Some(Fault::ExpectLate(ms)) if asked.expects => tokio::time::sleep(Duration::from_millis(*ms)).await,
            _ => {}
        }
        if asked.expects {
            self.say("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        Ok(None)
    }

    async fn play(&mut self, script: Option<Fault>, asked: &Asked) -> io::Result<After> {
        let Some(script) = script else {
            match asked.parts.uri.path().strip_prefix("/trailers/").and_then(number) {
                Some(n) => self.say(trailed(n)).await?,
                None => self.say(PLAIN).await?,
            }
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
                self.repeat(&[b'x'; 64 << 10], (n as usize).min(FLOOD)).await?;
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
            Fault::ExpectIgnored | Fault::ExpectLate(_) | Fault::ExpectFailed | Fault::ExpectFinal(_) => {
                self.say(PLAIN).await?;
                return Ok(After::Keep);
            }
            Fault::HiddenState => {
                self.say(format!("{head}{HIDDEN}Content-Length: 5\r\n\r\nhello")).await?;
                return Ok(After::Keep);
            }
            Fault::BigError(n) => {
                self.say(format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {n}\r\n\r\n")).await?;
                self.repeat(&pattern(64 << 10), n as usize).await?;
                return Ok(After::Keep);
            }
            Fault::TrailerFlood => {
                self.say(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")).await?;
                self.flood("X-Flood: 0123456789012345678901234567890123456789\r\n").await?;
            }
            Fault::SlowBody(ms) => {
                self.say(format!("{head}Content-Length: {SLOW}\r\n\r\n")).await?;
                let mut tick = tokio::time::interval(Duration::from_millis(ms.max(1)));
                for _ in 0..SLOW {
                    tick.tick().await;
                    self.say("x").await?;
                }
                return Ok(After::Keep);
            }
            // EarlyClose says nothing; the rest belongs to other layers.
            _ => {}
        }
        Ok(After::Close)
    }
}

/// So many bytes in one chunk, then the trailers of `/trailers/{n}` at the origins.
fn trailed(n: u64) -> Vec<u8> {
    let n = n.min(FLOOD as u64);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-checksum, x-rows\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    if n > 0 {
        answer.extend(format!("{n:x}\r\n").into_bytes());
        answer.extend(pattern(n as usize));
        answer.extend(b"\r\n");
    }
    answer.extend(format!("0\r\nx-checksum: {}\r\nx-rows: {n}\r\n\r\n", checksum(n)).into_bytes());
    answer
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
