//! The scripted peer's side of one connection: reading requests without judging them, and saying anything at all.
//!
//! Owns: the buffer of what was read too far, both framings of request bodies, floods and the close that loses nothing.
//! Which answer is said is the business of `scripted`. No time, no randomness.

use std::io;
use std::sync::Arc;

use http::Request;
use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::origin::Counted;

/// What a flood sends at most.
pub(crate) const FLOOD: usize = 64 << 20;

/// How large a request head may be.
const HEAD: usize = 1 << 20;

/// A connection and what it has read beyond the last request.
pub(crate) struct Peer {
    stream: Counted,
    buffer: Vec<u8>,
}

/// A request's head, as far as it can be understood.
pub(crate) struct Asked {
    pub(crate) parts: Arc<Parts>,
    /// Whether the client waits for `100` before it sends its body.
    pub(crate) expects: bool,
    length: usize,
    chunked: bool,
}

impl Peer {
    pub(crate) fn new(stream: Counted) -> Self {
        Peer { stream, buffer: Vec::new() }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// The next request's head; `None` when the client has closed.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Asked>> {
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

    /// Reads a request's body and drops it.
    pub(crate) async fn body(&mut self, asked: &Asked) -> io::Result<()> {
        if !asked.chunked {
            return self.skip(asked.length).await;
        }
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                // The trailers, and the empty line after them.
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.skip(size).await?;
            self.line().await?;
        }
    }

    async fn skip(&mut self, mut length: usize) -> io::Result<()> {
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

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > HEAD || self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(text.as_ref()).await
    }

    /// Says the same again and again, at most 64 MiB of it.
    pub(crate) async fn flood(&mut self, text: &str) -> io::Result<()> {
        let block = text.repeat((64 << 10) / text.len() + 1);
        for _ in 0..FLOOD / block.len() {
            self.say(&block).await?;
        }
        Ok(())
    }

    /// Says so many bytes, a block at a time.
    pub(crate) async fn repeat(&mut self, block: &[u8], mut left: usize) -> io::Result<()> {
        while left > 0 {
            let now = left.min(block.len());
            self.say(&block[..now]).await?;
            left -= now;
        }
        Ok(())
    }

    /// FIN, then reads on until the client closes: unread bytes would turn the FIN into a RST.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut waste = vec![0; 16 << 10];
        while self.stream.read(&mut waste).await? > 0 {}
        Ok(())
    }
}

fn parse(head: &str) -> Asked {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or("/"));
    let mut request = Request::builder().method(method).uri(target);
    let (mut length, mut chunked, mut expects) = (0, false, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value.to_ascii_lowercase().ends_with("chunked"),
            "expect" => expects = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
        let known = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = known {
            request = request.header(name, value);
        }
    }
    let parts = request.body(()).unwrap_or_default().into_parts().0;
    Asked { parts: Arc::new(parts), expects, length, chunked }
}
