//! The socket under a connection, which belongs to no thread.
//!
//! It owns the two ways of driving it. A blocking caller connects, reads and writes through [`drive`] on its own
//! thread; for everybody else the socket is registered with the reactor of the process's runtime, whatever executor
//! polls. It changes over by itself, when the other kind of caller first waits for it, also while it is still being
//! connected. It counts the bytes of both directions, which is what `Delivery` rests on. It knows nothing of HTTP.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::config::SLICE;
use crate::sys::{self, Registered};
use crate::{drive, process};

/// What a connection has carried so far. Shared by its stream and its exchanges.
pub(crate) struct Meter {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// The socket, for as long as its stream lives.
    socket: AtomicI32,
    /// What was written is to arrive although nobody waits for an answer.
    keeps_unsent: AtomicBool,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            socket: AtomicI32::new(NO_SOCKET),
            keeps_unsent: AtomicBool::new(false),
        }
    }
}

const NO_SOCKET: RawFd = -1;
/// The most reads in a row before others get their turn.
const LONGEST_STREAK: u8 = 16;

impl Meter {
    /// Bytes moved in either direction.
    pub(crate) fn moved(&self) -> u64 {
        self.sent.load(Relaxed) + self.received.load(Relaxed)
    }

    /// Lets what was written arrive also where the connection is closed right behind it.
    pub(crate) fn keep_unsent(&self) {
        self.keeps_unsent.store(true, Relaxed);
    }

    /// How many of the bytes that were sent still wait in the kernel, or for the far side's acknowledgement.
    pub(crate) fn queued(&self) -> usize {
        match self.socket.load(Relaxed) {
            NO_SOCKET => 0,
            socket => sys::unacknowledged(socket),
        }
    }
}

/// A TCP connection. The fields are dropped in this order: off the reactor, off the list of sockets (see
/// [`Registered`]), closed.
pub(crate) struct Stream {
    attached: Option<AsyncFd<RawFd>>,
    /// Reads in a row that did not wait.
    streak: u8,
    /// The process that it was opened in.
    generation: u64,
    _registered: Registered,
    fd: OwnedFd,
    meter: Arc<Meter>,
}

impl Stream {
    /// Begins to connect a socket; [`Stream::connected`] waits for it.
    pub(crate) fn connect(address: SocketAddr, meter: Arc<Meter>) -> io::Result<Stream> {
        let kind = Type::STREAM.cloexec().nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        let registered = Registered::new(socket.as_raw_fd());
        meter.socket.store(socket.as_raw_fd(), Relaxed);
        let stream = Stream {
            attached: None,
            streak: 0,
            generation: sys::generation(),
            _registered: registered,
            fd: socket.into(),
            meter,
        };
        match stream.go_on_connecting(address) {
            Err(error) if !drive::is_not_yet(&error) => Err(error),
            _ => Ok(stream),
        }
    }

    /// Waits until it is connected to the address that [`Stream::connect`] was given.
    pub(crate) async fn connected(&mut self, address: SocketAddr) -> io::Result<()> {
        poll_fn(|cx| self.poll_connected(cx, address)).await?;
        sys::set_blocking(self.fd.as_raw_fd())?;
        sys::set_receive_timeout(self.fd.as_raw_fd(), SLICE)
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>, address: SocketAddr) -> Poll<io::Result<()>> {
        if self.generation != sys::generation() {
            return Poll::Ready(Err(inherited()));
        }
        if drive::is_driven() {
            self.attached = None;
            return drive::write(self.fd.as_raw_fd(), || self.go_on_connecting(address));
        }
        self.attach()?;
        let attached = self.attached.as_ref().expect("it was attached a line above");
        loop {
            let mut readiness = ready!(attached.poll_write_ready(cx))?;
            match self.go_on_connecting(address) {
                Err(error) if drive::is_not_yet(&error) => readiness.clear_ready(),
                result => return Poll::Ready(result),
            }
        }
    }

    /// The same call begins it and tells how far it is, and why it has failed.
    fn go_on_connecting(&self, address: SocketAddr) -> io::Result<()> {
        SockRef::from(self).connect(&address.into()).or_else(|error| match error.raw_os_error() {
            Some(libc::EISCONN) => Ok(()),
            Some(libc::EINPROGRESS | libc::EALREADY) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Err(error),
        })
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The registration with the reactor, made where there is none yet.
    fn attach(&mut self) -> io::Result<&AsyncFd<RawFd>> {
        if self.attached.is_none() {
            let runtime = process::runtime().map_err(io::Error::other)?;
            let _inside = runtime.enter();
            // SAFETY: the descriptor is open for as long as `fd` lives, which is dropped after the registration.
            self.attached = Some(unsafe { AsyncFd::register(self.fd.as_raw_fd()) }?);
        }
        Ok(self.attached.as_ref().expect("it was attached a line above"))
    }

    /// Reads into memory that may be uninitialised, and counts.
    fn receive(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.generation != sys::generation() {
            return Poll::Ready(Err(inherited()));
        }
        // A far side that is faster than we are must not keep whoever reads (TLS, h2) from looking at the time.
        self.streak += 1;
        if self.streak > LONGEST_STREAK {
            self.streak = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let fd = self.fd.as_raw_fd();
        // SAFETY: `recv` only writes to the slice, so nothing initialised becomes uninitialised.
        let space: &mut [MaybeUninit<u8>] = unsafe { buffer.unfilled_mut() };
        let got = if drive::is_driven() {
            self.attached = None;
            drive::read(fd, space.len(), |wait| sys::recv(fd, space, wait))
        } else {
            self.receive_attached(cx, space)
        };
        let Poll::Ready(got) = got else {
            self.streak = 0;
            return Poll::Pending;
        };
        let got = got?;
        // SAFETY: the kernel has written `got` bytes from the start of that slice.
        unsafe { buffer.assume_init(got) };
        buffer.advance(got);
        self.meter.received.fetch_add(got as u64, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn receive_attached(&mut self, cx: &mut Context<'_>, space: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        let fd = self.fd.as_raw_fd();
        // What the reactor knows may be older than the bytes: who asks to look again looks at the socket itself.
        if drive::looks_again() {
            match sys::recv(fd, space, false) {
                Err(error) if drive::is_not_yet(&error) => {}
                result => return Poll::Ready(result),
            }
        }
        let attached = self.attach()?;
        loop {
            let mut readiness = ready!(attached.poll_read_ready(cx))?;
            match sys::recv(fd, space, false) {
                Err(error) if drive::is_not_yet(&error) => readiness.clear_ready(),
                Ok(got) => {
                    // A short read has emptied the socket; the reactor tells when more comes.
                    if got > 0 && got < space.len() {
                        readiness.clear_ready();
                    }
                    return Poll::Ready(Ok(got));
                }
                failed => return Poll::Ready(failed),
            }
        }
    }

    /// Not through tokio's own write, which may raise SIGPIPE in a host process that does not ignore it.
    fn transmit(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.generation != sys::generation() {
            return Poll::Ready(Err(inherited()));
        }
        let fd = self.fd.as_raw_fd();
        let send = || match slices {
            [one] => sys::send(fd, one),
            many => sys::send_vectored(fd, many),
        };
        let sent = if drive::is_driven() {
            ready!(drive::write(fd, send))?
        } else {
            loop {
                match send() {
                    Err(error) if drive::is_not_yet(&error) => {
                        let attached = self.attach()?;
                        ready!(attached.poll_write_ready(cx))?.clear_ready();
                    }
                    result => break result?,
                }
            }
        };
        self.meter.sent.fetch_add(sent as u64, Relaxed);
        Poll::Ready(Ok(sent))
    }
}

fn inherited() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was opened before a fork, by the parent process")
}

impl Drop for Stream {
    /// Bytes that nobody wants to arrive any more are discarded and the connection reset: a close would queue behind them,
    /// and the connection live on at the far side while its place is somebody else's.
    fn drop(&mut self) {
        if !self.meter.keeps_unsent.load(Relaxed) && self.meter.queued() > 0 {
            // Where it fails the connection is gone already.
            let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
        }
        // The number may be a stranger's from here on.
        self.meter.socket.store(NO_SOCKET, Relaxed);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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

    /// Ends the direction to the far side.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self).shutdown(std::net::Shutdown::Write))
    }
}

/// What an exchange reads from and writes to: the stream itself, or TLS over it.
pub(crate) enum Io {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl Io {
    /// Reads up to `most` bytes behind what `into` holds; 0 is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        into.reserve(most);
        let filled = ready!(self.poll_into(cx, &mut ReadBuf::uninit(into.spare_capacity_mut()), most))?;
        // SAFETY: `ReadBuf` has counted so many bytes as initialised from the start of the spare capacity.
        unsafe { into.set_len(into.len() + filled) };
        Poll::Ready(Ok(filled))
    }

    /// Reads up to `most` bytes into memory that may be uninitialised; 0 is the end of the stream.
    pub(crate) fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut space = into.take(most);
        match self {
            Io::Plain(stream) => ready!(stream.receive(cx, &mut space))?,
            Io::Tls(tls) => ready!(Pin::new(&mut **tls).poll_read(cx, &mut space))?,
        }
        let got = space.filled().len();
        // SAFETY: `space` was the beginning of the unfilled part, and so much of it is filled.
        unsafe { into.assume_init(got) };
        into.advance(got);
        Poll::Ready(Ok(got))
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

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Io::Plain(stream) => stream.as_fd(),
            Io::Tls(tls) => tls.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
