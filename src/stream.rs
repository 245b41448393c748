//! The socket under a connection, which belongs to no thread.
//!
//! It owns the two ways of driving it: while it is dialled it is registered with the runtime; afterwards
//! it is a plain blocking socket whose reads and writes go through [`drive`], on whatever thread calls. It
//! counts the bytes of both directions, which is what `Delivery` rests on. It knows nothing of HTTP.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::config::SLICE;
use crate::drive;
use crate::sys::{self, Registered};

/// What a connection has carried so far. Shared by its stream, its lease and hyper's callback.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Interim (1xx) answers to the current request.
    pub(crate) interim: AtomicUsize,
    /// Set where a limit was passed inside hyper, which can't be told to stop: the next read fails.
    pub(crate) tripped: AtomicBool,
}

impl Meter {
    /// Bytes moved in either direction.
    pub(crate) fn moved(&self) -> u64 {
        self.sent.load(Relaxed) + self.received.load(Relaxed)
    }
}

/// A TCP connection.
pub(crate) struct Stream {
    socket: Socket,
    meter: Arc<Meter>,
}

enum Socket {
    /// Registered with the runtime's reactor. In both states the fields are dropped in this order (see [`Registered`]).
    Dialled { registered: Registered, socket: TcpStream },
    /// On nobody's reactor, in blocking mode.
    Driven { _registered: Registered, fd: OwnedFd },
    /// Between the two, for the length of one function.
    Moving,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, meter: Arc<Meter>) -> Stream {
        let registered = Registered::new(socket.as_raw_fd());
        Stream { socket: Socket::Dialled { registered, socket }, meter }
    }

    /// Takes the socket off the reactor: from here on whoever polls it drives it.
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        if let Socket::Dialled { registered, socket } = std::mem::replace(&mut self.socket, Socket::Moving) {
            let socket = socket.into_std()?;
            socket.set_nonblocking(false)?;
            sys::set_receive_timeout(socket.as_raw_fd(), SLICE)?;
            self.socket = Socket::Driven { _registered: registered, fd: socket.into() };
        }
        Ok(())
    }

    /// Reads into memory that may be uninitialised, and counts.
    fn receive(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.tripped.load(Relaxed) {
            return Poll::Ready(Err(io::Error::other("a limit was passed")));
        }
        let before = buffer.filled().len();
        let result = match &mut self.socket {
            Socket::Dialled { socket, .. } => Pin::new(socket).poll_read(cx, buffer),
            Socket::Driven { fd, .. } => {
                // SAFETY: `recv` only writes to the slice, so nothing initialised becomes uninitialised.
                let space: &mut [MaybeUninit<u8>] = unsafe { buffer.unfilled_mut() };
                let fd = fd.as_raw_fd();
                drive::read(fd, space.len(), |wait| sys::recv(fd, space, wait)).map_ok(|got| {
                    // SAFETY: the kernel has written `got` bytes from the start of that slice.
                    unsafe { buffer.assume_init(got) };
                    buffer.advance(got);
                })
            }
            Socket::Moving => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        let got = buffer.filled().len() - before;
        self.meter.received.fetch_add(got as u64, Relaxed);
        result
    }

    fn transmit(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = match &mut self.socket {
            Socket::Dialled { socket, .. } => Pin::new(socket).poll_write_vectored(cx, slices),
            Socket::Driven { fd, .. } => {
                let fd = fd.as_raw_fd();
                drive::write(fd, || match slices {
                    [one] => sys::send(fd, one),
                    many => sys::send_vectored(fd, many),
                })
            }
            Socket::Moving => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        if let Poll::Ready(Ok(sent)) = result {
            self.meter.sent.fetch_add(sent as u64, Relaxed);
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().receive(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().transmit(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().transmit(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing to do: the socket is closed when it is dropped, which ends both directions.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper reads from and writes to: the stream itself, or TLS over it.
pub(crate) enum Io {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl Io {
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        match self {
            Io::Plain(stream) => stream.detach(),
            Io::Tls(tls) => tls.get_mut().0.detach(),
        }
    }

    fn writer(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream),
            Io::Tls(tls) => Pin::new(&mut **tls),
        }
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let got = {
            // SAFETY: what is below only writes to the slice, so nothing initialised becomes uninitialised.
            let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
            let polled = match self.get_mut() {
                Io::Plain(stream) => stream.receive(cx, &mut buffer),
                Io::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, &mut buffer),
            };
            match polled {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                other => return other,
            }
        };
        // SAFETY: `ReadBuf` counted `got` bytes as initialised and filled from the start of the slice.
        unsafe { cursor.advance(got) };
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Io::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}
