//! Connections for protocols that are not HTTP: [`Socket`] for blocking callers, [`AsyncSocket`] for async ones.
//!
//! It owns the way of reading and writing them: pinned, raced, verified and counted like every other connection,
//! and no wait without a bound. They are never pooled: whoever asked for one keeps it, and its place is given back
//! when it is dropped. What goes over them is the caller's.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::drive::{self, Alarm};
use crate::error::{Error, Phase, Reason, Result};
use crate::exchange::Core;
use crate::lease::Line;
use crate::origin::{Origin, Scheme};
use crate::request::MAX_TIMEOUT;
use crate::stream::Io;
use crate::sys::OfThisProcess;
use crate::tls;

impl Core {
    /// A new connection to a declared `tcp://` origin.
    pub(crate) async fn connect(self: Arc<Self>, host: &str, port: u16, over_tls: bool) -> Result<Raw> {
        let now = Instant::now();
        let bracketed = host.contains(':') && !host.starts_with('[');
        let authority = if bracketed { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let site = self.pool.site(Scheme::Tcp, &authority)?;
        let server_name = match over_tls {
            true => {
                let origin = Origin::from_authority(Scheme::Tcp, &authority)?;
                Some(tls::server_name(self.config.sni.find(origin.host()).unwrap_or(origin.host()))?)
            }
            false => None,
        };
        let timeout = self.config.timeout;
        let line = site.connect(drive::is_driven(), server_name, now + timeout, timeout).await?;
        line.parts.meter.keep_unsent();
        Ok(Raw { line: OfThisProcess::new(line), timeout, reading: Patience::default(), writing: Patience::default() })
    }
}

/// One connection, whoever uses it.
pub(crate) struct Raw {
    line: OfThisProcess<Line>,
    timeout: Duration,
    reading: Patience,
    writing: Patience,
}

/// How long one direction has been waiting.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
    alarm: Alarm,
}

impl Patience {
    /// The operation's outcome, or an error once it has waited too long.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Duration,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.since = None;
            return polled;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.alarm.poll(cx, since + timeout).is_pending() {
            return Poll::Pending;
        }
        self.since = None;
        let late =
            Error::new(Reason::TimeoutStalled, Phase::Receive, "nothing moved in time").with_budget("timeout", timeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

impl Raw {
    fn io(&mut self) -> Pin<&mut Io> {
        Pin::new(&mut self.line.parts.io)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = self.io().poll_read(cx, into);
        self.reading.bound(cx, self.timeout, polled)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = self.io().poll_write_vectored(cx, slices);
        self.writing.bound(cx, self.timeout, polled)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = AsyncWrite::poll_flush(self.io(), cx);
        self.writing.bound(cx, self.timeout, polled)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.io().poll_shutdown(cx);
        self.writing.bound(cx, self.timeout, polled)
    }

    fn alpn(&self) -> Option<&[u8]> {
        match &self.line.parts.io {
            Io::Plain(_) => None,
            Io::Tls(session) => session.get_ref().1.alpn_protocol(),
        }
    }
}

macro_rules! about_the_connection {
    ($name:ident) => {
        impl $name {
            pub(crate) fn new(raw: Raw) -> $name {
                $name(raw)
            }

            /// The pinned address that it is connected to; the target's also where a proxy lies between.
            pub fn peer_address(&self) -> SocketAddr {
                self.0.line.parts.address
            }

            /// The protocol that the target chose (ALPN), over TLS.
            pub fn alpn(&self) -> Option<&[u8]> {
                self.0.alpn()
            }

            /// Sets how long one read or write waits at most, up to an hour; by default as long as a call, the option
            /// `timeout`.
            pub fn set_timeout(&mut self, timeout: Duration) {
                self.0.timeout = timeout.min(MAX_TIMEOUT);
            }
        }

        impl AsFd for $name {
            /// The socket, for the options of a protocol. Over TLS its bytes are not the connection's.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.line.parts.io.as_fd()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("peer", &self.peer_address()).finish_non_exhaustive()
            }
        }
    };
}

/// A TCP or TLS connection to a pinned address: [`Read`] and [`Write`] on the calling thread.
///
/// It counts against `max_connections` until it is dropped. Each read and write ends within its time-out, as
/// [`io::ErrorKind::TimedOut`] with an [`Error`] inside.
pub struct Socket(Raw);

about_the_connection!(Socket);

impl Socket {
    /// Says that nothing more will be written: over TLS with `close_notify`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn shutdown(&mut self) -> io::Result<()> {
        drive::block_on_io(poll_fn(|cx| self.0.poll_shutdown(cx)))
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        drive::block_on_io(poll_fn(|cx| self.0.poll_read(cx, &mut buffer)))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        drive::block_on_io(poll_fn(|cx| self.0.poll_write(cx, slices)))
    }

    fn flush(&mut self) -> io::Result<()> {
        drive::block_on_io(poll_fn(|cx| self.0.poll_flush(cx)))
    }
}

/// A TCP or TLS connection to a pinned address: [`AsyncRead`] and [`AsyncWrite`] on any executor.
///
/// As [`Socket`] otherwise.
pub struct AsyncSocket(Raw);

about_the_connection!(AsyncSocket);

impl AsyncRead for AsyncSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, into)
    }
}

impl AsyncWrite for AsyncSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
