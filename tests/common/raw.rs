//! Peers of a test's own, for what the box has no script for: a listener that plays a script to every connection.
//!
//! Owns: the listener, the threads, and what was said to it. A script ends when it returns, and [`Wire::until_closed`]
//! lets the client close first. The peer's name is [`NAME`], pinned to 127.0.0.1; nobody is asked for it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pinlink::{Builder, Client, Request};

/// The peer's name in URLs and certificates.
pub(crate) const NAME: &str = "peer.test";

/// A correct answer that keeps the connection.
pub(crate) const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[derive(Default)]
struct Book {
    connections: AtomicUsize,
    live: AtomicUsize,
    heads: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A listener whose connections all hear the same script.
pub(crate) struct Peer {
    pub(crate) at: SocketAddr,
    book: Arc<Book>,
    thread: Option<JoinHandle<()>>,
}

/// One connection to it.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// How many came before it.
    pub(crate) number: usize,
    book: Arc<Book>,
    buffer: Vec<u8>,
}

impl Peer {
    /// Plays this to every connection.
    pub(crate) fn playing(script: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback is free");
        let at = listener.local_addr().expect("it is bound");
        let book = Arc::<Book>::default();
        let (noted, script) = (Arc::clone(&book), Arc::new(script));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if noted.stopped.load(Ordering::SeqCst) {
                    return;
                }
                noted.live.fetch_add(1, Ordering::SeqCst);
                let number = noted.connections.fetch_add(1, Ordering::SeqCst);
                let mut wire = Wire { stream, number, book: Arc::clone(&noted), buffer: Vec::new() };
                let script = Arc::clone(&script);
                // A script that fails has lost its client, which is what most of them are about.
                std::thread::spawn(move || _ = script(&mut wire));
            }
        });
        Peer { at, book, thread: Some(thread) }
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Peer {
        let answer = answer.into();
        Peer::playing(move |wire| {
            while wire.request()?.is_some() {
                wire.say(&answer)?;
            }
            Ok(())
        })
    }

    /// Answers every request with what this makes of its head and of how many requests came before it.
    pub(crate) fn answering(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        let before = AtomicUsize::new(0);
        Peer::playing(move |wire| {
            while let Some(head) = wire.request()? {
                wire.say(answer(&head, before.fetch_add(1, Ordering::SeqCst)))?;
            }
            Ok(())
        })
    }

    /// A builder that reaches this peer under its name, in the clear, and nobody else.
    pub(crate) fn client(&self) -> Builder {
        self.reached_by(&self.url("http", ""))
    }

    /// A builder that reaches this peer under this origin of [`NAME`].
    pub(crate) fn reached_by(&self, origin: &str) -> Builder {
        Client::builder()
            .hosts([origin])
            .pins([format!("{NAME}=127.0.0.1")])
            .allow_addresses(["127.0.0.0/8"])
            .option("summary", "off")
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{NAME}:{}{path}", self.at.port())
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        Request::get(&self.url("http", path))
    }

    /// Connections that came.
    pub(crate) fn connections(&self) -> usize {
        self.book.connections.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub(crate) fn live(&self) -> usize {
        self.book.live.load(Ordering::SeqCst)
    }

    /// The heads of all requests, oldest first.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.book.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.book.stopped.store(true, Ordering::SeqCst);
        // The listener waits for somebody.
        _ = TcpStream::connect(self.at);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Wire {
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says it over and over, until the client has had enough.
    pub(crate) fn flood(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let many = bytes.as_ref().repeat((64 << 10) / bytes.as_ref().len() + 1);
        loop {
            self.say(&many)?;
        }
    }

    /// The head of the next request, whose body is read as well; nothing once the client has closed.
    pub(crate) fn request(&mut self) -> io::Result<Option<String>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
        let length = head.lines().find_map(length).unwrap_or(0);
        while self.buffer.len() < length {
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.buffer.drain(..length);
        Ok(Some(head))
    }

    /// The head of the next request, whose body stays unread.
    pub(crate) fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("the client's heads are ASCII");
                self.book.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
                return Ok(Some(head));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Notes a request that came by another way, as through TLS.
    pub(crate) fn note(&self, head: &str) {
        self.book.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.to_owned());
    }

    /// Reads, and believes nothing, until the client closes.
    pub(crate) fn until_closed(&mut self) -> io::Result<()> {
        while self.stream.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let got = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..got]);
        Ok(got > 0)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.book.live.fetch_sub(1, Ordering::SeqCst);
    }
}
