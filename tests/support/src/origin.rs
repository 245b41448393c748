//! The HTTP and HTTPS origins: accept, count, and hand the connection to hyper.
//!
//! Owns: the listeners' loops, the byte counts, and which HTTP version a connection speaks. Handshakes and their faults
//! are the business of `handshake`, what is answered that of `routes`.
//! Time: tokio's clock. Randomness: none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::certificate::{Certificate, Served};
use crate::counts::{Book, Link, add};
use crate::routes::Routes;
use crate::socket;
use crate::switch::Faults;

/// The largest HTTP/2 request head, decoded.
const LARGEST_HEAD: u32 = 1 << 20;

/// How many streams a client may reset before they were served.
const RESETS: usize = 1 << 20;

/// What the plain and TLS origins share.
pub(crate) struct Origin {
    pub(crate) routes: Arc<Routes>,
    pub(crate) book: Arc<Book>,
    pub(crate) faults: Arc<Faults>,
    /// Streams that one HTTP/2 connection may have open at once.
    pub(crate) streams: Option<u32>,
}

/// Which HTTP a connection speaks: what ALPN settled, or, on the plain port, what its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    Either,
}

/// A socket that counts its bytes, and itself while it lives.
pub(crate) struct Counted {
    stream: TcpStream,
    book: Arc<Book>,
    resets: Arc<AtomicBool>,
}

impl Counted {
    pub(crate) fn new(stream: TcpStream, book: Arc<Book>) -> Self {
        _ = stream.set_nodelay(true);
        add(&book.connections, 1);
        add(&book.live, 1);
        Counted { stream, book, resets: Arc::default() }
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
            client: None,
            resumed: false,
            resets: Arc::clone(&self.resets),
            route: OnceLock::new(),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.resets.load(Ordering::Relaxed) {
            socket::reset_on_close(&self.stream);
        }
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
                    origin.http(stream, link, Speaks::Either).await;
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

    pub(crate) async fn http<T>(&self, stream: T, link: Link, speaks: Speaks)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let link = Arc::new(link);
        let service = service_fn(|request| {
            let (routes, link) = (Arc::clone(&self.routes), Arc::clone(&link));
            async move { routes.answer(request, link).await }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder = match speaks {
            Speaks::Http1 => builder.http1_only(),
            Speaks::Http2 => builder.http2_only(),
            Speaks::Either => builder,
        };
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        // A client that resets streams by the thousand is tested here, not punished.
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_header_list_size(LARGEST_HEAD)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(None);
        // An error is a client that hung up, or a fault that wanted just this.
        _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}
