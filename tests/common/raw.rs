//! Peers of a test's own, for what the box has no script for: a listener that plays a script to every connection until
//! it is healed, in the clear or over TLS.
//!
//! Owns: the listener, the threads, and what was said to it. A script ends when it returns, and [`Wire::until_closed`]
//! lets the client close first. The peer's name is [`NAME`], pinned to 127.0.0.1; nobody is asked for it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pinlink::{Builder, Client, Request};
use rustls::ServerConfig;

use super::session::Session;
use super::{eventually, get};

/// The peer's name in URLs and certificates.
pub(crate) const NAME: &str = "peer.test";

/// A correct answer that keeps the connection.
pub(crate) const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[derive(Default)]
struct Book {
    connections: AtomicUsize,
    live: AtomicUsize,
    heads: Mutex<Vec<String>>,
    is_healed: AtomicBool,
    is_stopped: AtomicBool,
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
    requests: Requests,
}

impl Peer {
    /// Plays this to every connection; healed, it answers as it should.
    pub(crate) fn playing(script: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Peer {
        Peer::listening(move |wire| {
            if !wire.is_healed() {
                return script(wire);
            }
            while wire.request()?.is_some() {
                wire.say(FINE)?;
            }
            Ok(())
        })
    }

    /// Plays this instead of a handshake; healed, it shakes hands and answers as it should.
    pub(crate) fn instead_of_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static,
    ) -> Peer {
        Peer::listening(move |wire| if wire.is_healed() { serve_tls(wire, &config) } else { script(wire) })
    }

    /// Plays this to every session; healed, it answers as it should.
    pub(crate) fn over_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(Session, &Wire) -> io::Result<()> + Send + Sync + 'static,
    ) -> Peer {
        Peer::listening(move |wire| match wire.is_healed() {
            true => serve_tls(wire, &config),
            false => script(Session::accept(wire, &config)?, wire),
        })
    }

    /// Shakes hands and answers as it should.
    pub(crate) fn sound_over_tls(config: Arc<ServerConfig>) -> Peer {
        Peer::listening(move |wire| serve_tls(wire, &config))
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Peer {
        let answer = answer.into();
        Peer::answering(move |_, _| answer.clone())
    }

    /// Answers every request with what this makes of its head and of how many requests came before it.
    pub(crate) fn answering(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        let before = AtomicUsize::new(0);
        Peer::playing(move |wire| {
            while let Some(head) = wire.request()? {
                let healed = wire.is_healed();
                let answer = answer(&head, before.fetch_add(1, Ordering::SeqCst));
                wire.say(if healed { FINE.as_bytes() } else { &answer })?;
            }
            Ok(())
        })
    }

    fn listening(serve: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback is free");
        let at = listener.local_addr().expect("it is bound");
        let book = Arc::<Book>::default();
        let (noted, serve) = (Arc::clone(&book), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if noted.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                noted.live.fetch_add(1, Ordering::SeqCst);
                let number = noted.connections.fetch_add(1, Ordering::SeqCst);
                let (book, requests) = (Arc::clone(&noted), Requests::default());
                let mut wire = Wire { stream, number, book, requests };
                let serve = Arc::clone(&serve);
                // A script that fails has lost its client, which is what most of them are about.
                std::thread::spawn(move || _ = serve(&mut wire));
            }
        });
        Peer { at, book, thread: Some(thread) }
    }

    /// From now on new connections are served as they should be, and so are new requests where it only answers.
    pub(crate) fn heal(&self) {
        self.book.is_healed.store(true, Ordering::SeqCst);
    }

    /// After a fault: healed, it answers the next request, and nothing has leaked: whatever is live is idle, at both ends.
    #[track_caller]
    pub(crate) fn recovers(&self, client: &Client, url: &str) {
        self.heal();
        get(client, url);
        eventually("every live connection is idle in the pool", || {
            let stats = client.stats();
            stats.connections_live == stats.connections_idle
        });
        eventually("the peer has no connection more", || self.live() as u64 == client.stats().connections_live);
    }

    /// A builder that reaches this peer under its name, in the clear, and nobody else.
    pub(crate) fn client(&self) -> Builder {
        self.reached_by([self.url("http", "")])
    }

    /// A builder that reaches this peer under these origins of [`NAME`].
    pub(crate) fn reached_by(&self, origins: impl IntoIterator<Item = String>) -> Builder {
        Client::builder()
            .hosts(origins)
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

    /// How many requests for this path came.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.heads().iter().filter(|head| head.split(' ').nth(1) == Some(path)).count()
    }
}

fn serve_tls(wire: &mut Wire, config: &Arc<ServerConfig>) -> io::Result<()> {
    let mut session = Session::accept(wire, config)?;
    while session.request(wire)?.is_some() {
        session.say(FINE)?;
    }
    Ok(())
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.book.is_stopped.store(true, Ordering::SeqCst);
        // The listener waits for somebody.
        _ = TcpStream::connect(self.at);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Wire {
    fn is_healed(&self) -> bool {
        self.book.is_healed.load(Ordering::SeqCst)
    }

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
        Ok(self.requests.body(&head, &mut self.stream)?.then_some(head))
    }

    /// The head of the next request, whose body stays unread.
    pub(crate) fn head(&mut self) -> io::Result<Option<String>> {
        let head = self.requests.head(&mut self.stream)?;
        head.iter().for_each(|head| self.note(head));
        Ok(head)
    }

    /// Notes a request, whichever way it came.
    pub(crate) fn note(&self, head: &str) {
        self.book.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.to_owned());
    }

    /// Reads, and believes nothing, until the client closes.
    pub(crate) fn until_closed(&mut self) -> io::Result<()> {
        while self.stream.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.book.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes requests out of what comes.
#[derive(Default)]
pub(crate) struct Requests(Vec<u8>);

impl Requests {
    /// The next head; nothing at the end of what comes.
    pub(crate) fn head(&mut self, from: &mut impl Read) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.0.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.0.drain(..end + 4).collect();
                return Ok(Some(String::from_utf8(head).expect("the client's heads are ASCII")));
            }
            if !self.fill(from)? {
                return Ok(None);
            }
        }
    }

    /// Reads the body behind a head, by its length; false where it ends early.
    pub(crate) fn body(&mut self, head: &str, from: &mut impl Read) -> io::Result<bool> {
        let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
        let length = head.lines().find_map(length).unwrap_or(0);
        while self.0.len() < length {
            if !self.fill(from)? {
                return Ok(false);
            }
        }
        self.0.drain(..length);
        Ok(true)
    }

    fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let got = from.read(&mut piece)?;
        self.0.extend_from_slice(&piece[..got]);
        Ok(got > 0)
    }
}
