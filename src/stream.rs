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
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::config::SLICE;
use crate::drive;
use crate::sys::{self, Registered};

/// What a connection has carried so far. Shared by its stream and its exchanges.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
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
            // Not through tokio's own write, which may raise SIGPIPE in a host process that does not ignore it.
            Socket::Dialled { socket, .. } => loop {
                match socket.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                }
                let fd = socket.as_raw_fd();
                match socket.try_io(Interest::WRITABLE, || sys::send_vectored(fd, slices)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => break Poll::Ready(result),
                }
            },
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

/// What an exchange reads from and writes to: the stream itself, or TLS over it.
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

    /// Reads up to `most` bytes behind what `into` holds; 0 is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        into.reserve(most);
        let filled = {
            let space = &mut into.spare_capacity_mut()[..most];
            let mut buffer = ReadBuf::uninit(space);
            let polled = match self {
                Io::Plain(stream) => stream.receive(cx, &mut buffer),
                Io::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, &mut buffer),
            };
            match polled {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        };
        // SAFETY: `ReadBuf` has counted so many bytes as initialised from the start of the spare capacity.
        unsafe { into.set_len(into.len() + filled) };
        Poll::Ready(Ok(filled))
    }

    /// Writes some of `head` and, behind it, of `body`.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Io::Plain(stream) if head.is_empty() => stream.transmit(cx, &[IoSlice::new(body)]),
            Io::Plain(stream) if body.is_empty() => stream.transmit(cx, &[IoSlice::new(head)]),
            Io::Plain(stream) => stream.transmit(cx, &[IoSlice::new(head), IoSlice::new(body)]),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, if head.is_empty() { body } else { head }),
        }
    }

    /// Sees that what was written has left this process.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }
}
