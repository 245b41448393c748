//! The HTTP and HTTPS origins: accept, handshake, count, and hand the connection to hyper.
//!
//! Owns: the listeners' loops, the TLS faults, and the byte counts. What is answered is the business of `routes`.
//! Time: tokio's clock. Randomness: only what rustls needs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Certificate, Served};
use crate::counts::{Book, Link, add};
use crate::fault::{Fault, Layer};
use crate::routes::Routes;
use crate::switch::Faults;

/// A fatal alert `internal_error` as nobody encrypted it: in the middle of a session it is a record that fails its MAC
/// check in TLS 1.2 and an illegal record in TLS 1.3.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// The start of a plausible answer that breaks off: no length, so that only `close_notify` could end it.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthe first half of";

/// What the plain and TLS origins share.
pub(crate) struct Origin {
    pub(crate) routes: Arc<Routes>,
    pub(crate) book: Arc<Book>,
    pub(crate) faults: Arc<Faults>,
}

/// What happens instead of, or after, a handshake.
enum Break {
    Stall,
    Close,
    Plain,
}

/// A socket that counts its bytes, and itself while it lives.
pub(crate) struct Counted {
    stream: TcpStream,
    book: Arc<Book>,
}

impl Counted {
    pub(crate) fn new(stream: TcpStream, book: Arc<Book>) -> Self {
        _ = stream.set_nodelay(true);
        add(&book.connections, 1);
        add(&book.live, 1);
        Counted { stream, book }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// The link of a connection that speaks no TLS.
    pub(crate) fn link(&self, origin: &'static str) -> io::Result<Link> {
        Ok(Link {
            peer: self.stream.peer_addr()?,
            local: self.stream.local_addr()?,
            origin,
            certificate: None,
            sni: None,
            resumed: false,
            route: OnceLock::new(),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.book.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        add(&self.book.bytes_in, (buf.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            add(&self.book.bytes_out, written as u64);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(written)) = polled {
            add(&self.book.bytes_out, written as u64);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts until the runtime ends.
pub(crate) async fn accept(listener: TcpListener, book: &Arc<Book>, serve: impl Fn(Counted)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(Counted::new(stream, Arc::clone(book))),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

impl Origin {
    pub(crate) async fn serve_plain(self: Arc<Self>, listener: TcpListener) {
        accept(listener, &self.book, |stream| {
            let origin = Arc::clone(&self);
            tokio::spawn(async move {
                if let Ok(link) = stream.link("http") {
                    origin.http(stream, link).await;
                }
            });
        })
        .await;
    }

    pub(crate) async fn serve_tls(self: Arc<Self>, listener: TcpListener, kind: Certificate, served: Arc<Served>) {
        accept(listener, &self.book, |stream| {
            let (origin, served) = (Arc::clone(&self), Arc::clone(&served));
            tokio::spawn(async move { origin.tls(stream, kind, &served).await });
        })
        .await;
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, link: Link) {
        let link = Arc::new(link);
        let service = service_fn(|request| {
            let (routes, link) = (Arc::clone(&self.routes), Arc::clone(&link));
            async move { routes.answer(request, link).await }
        });
        // An error is a client that hung up, or a fault that wanted just this.
        _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn tls(&self, stream: Counted, kind: Certificate, served: &Served) -> io::Result<()> {
        let breaks = |fault: &Fault| match fault {
            Fault::HandshakeStall => Some(Break::Stall),
            Fault::HandshakeClose => Some(Break::Close),
            Fault::NotTls => Some(Break::Plain),
            _ => None,
        };
        if let Some(how) = self.faults.hit(Layer::Tls, None, breaks) {
            add(&self.book.failed_handshakes, 1);
            return interrupt(stream, how).await;
        }
        let version = |fault: &Fault| match fault {
            Fault::Tls12Only => Some(&served.tls12),
            Fault::Tls13Only => Some(&served.tls13),
            _ => None,
        };
        let config = self.faults.hit(Layer::Tls, None, version).unwrap_or(&served.both);
        let mut link = stream.link("https")?;
        let mut stream = match TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                add(&self.book.failed_handshakes, 1);
                return Err(error);
            }
        };
        let session = stream.get_ref().1;
        link.certificate = Some(kind);
        link.sni = session.server_name().map(str::to_owned);
        link.resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        add(&self.book.handshakes, 1);
        add(&self.book.resumed, u64::from(link.resumed));
        let spoils = |fault: &Fault| match fault {
            Fault::AlertMidStream => Some(ALERT.to_vec()),
            Fault::GarbageRecord => Some([&[23, 3, 3, 0, 32][..], &[0x5A; 32]].concat()),
            Fault::TruncatedClose => Some(Vec::new()),
            _ => None,
        };
        if let Some(record) = self.faults.hit(Layer::Tls, None, spoils) {
            let mut request = [0; 8192];
            _ = stream.read(&mut request).await?;
            add(&self.book.requests, 1);
            stream.write_all(HALF).await?;
            stream.flush().await?;
            let socket = stream.get_mut().0;
            socket.write_all(&record).await?;
            // FIN on the socket, past the session, which therefore says no close_notify.
            return socket.shutdown().await;
        }
        self.http(stream, link).await;
        Ok(())
    }
}

/// Plays a handshake that comes to nothing, then waits for the client to leave.
async fn interrupt(mut stream: Counted, how: Break) -> io::Result<()> {
    let mut hello = [0; 4096];
    _ = stream.read(&mut hello).await?;
    match how {
        Break::Stall => {}
        Break::Close => return Ok(()),
        Break::Plain => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await?;
            stream.shutdown().await?;
        }
    }
    while stream.read(&mut hello).await? > 0 {}
    Ok(())
}
