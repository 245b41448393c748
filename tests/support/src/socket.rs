//! The few socket operations that tokio does not offer, and the crate's only `unsafe`.
//!
//! Owns: binding and listening with a chosen backlog, a port that swallows SYNs, a reset, and the question whether the
//! other side has gone. Never blocks. No time, no randomness.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Connections the kernel may hold ready for us.
pub(crate) const BACKLOG: i32 = 1024;

/// Connections that fill a backlog of zero: one gets in, the others make sure.
const FILLERS: usize = 4;

/// A bound socket that does not listen: it keeps the port ours while the real listener comes and goes. Without
/// `SO_REUSEADDR`, or the kernel would hand the same free port to the next who asks with it.
pub(crate) fn reserve(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(at))?;
    Ok(socket)
}

/// Lets nobody else in again after [`listen_over`], once that listener has gone.
pub(crate) fn keep_reserved(reserved: &Socket) {
    _ = reserved.set_reuse_address(false);
}

/// A listening, non-blocking socket beside the one that reserves its port.
pub(crate) fn listen_over(reserved: &Socket, backlog: i32) -> io::Result<std::net::TcpListener> {
    let at = reserved.local_addr()?;
    // Two sockets may be bound to one port when both say so and at most one listens.
    reserved.set_reuse_address(true)?;
    let socket = Socket::new(at.domain(), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A listener on a free port, or on one that must be free, inside the runtime.
pub(crate) fn listener(at: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = reserve(at)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket.into())
}

/// A port that drops SYNs: it listens, nobody accepts, and its backlog is full.
#[derive(Debug)]
pub(crate) struct BlackHole {
    _listener: std::net::TcpListener,
    _fillers: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn open(reserved: &Socket) -> io::Result<Self> {
        let listener = listen_over(reserved, 0)?;
        let at = reserved.local_addr()?;
        let mut fillers = Vec::with_capacity(FILLERS);
        for _ in 0..FILLERS {
            let filler = Socket::new(at.domain(), Type::STREAM, None)?;
            filler.set_nonblocking(true)?;
            // In progress is what we want from all but the first.
            _ = filler.connect(&at);
            fillers.push(filler);
        }
        Ok(BlackHole { _listener: listener, _fillers: fillers })
    }
}

/// Makes the coming `close` send RST instead of FIN.
pub(crate) fn reset_on_close(socket: &impl AsFd) {
    _ = SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

/// Sends FIN.
pub(crate) fn finish(socket: &impl AsFd) {
    _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
}

/// Whether the peer's FIN or RST has arrived, read or not.
pub(crate) fn peer_gone(socket: BorrowedFd<'_>) -> bool {
    gone(socket.as_raw_fd())
}

/// As [`peer_gone`] for a descriptor that the caller keeps from being closed meanwhile.
pub(crate) fn gone(fd: RawFd) -> bool {
    // The states of `enum tcp_state` in <netinet/tcp.h> in which the peer still talks.
    const ESTABLISHED: u8 = 1;
    const FIN_WAIT1: u8 = 4;
    const FIN_WAIT2: u8 = 5;
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `size` are valid for writes of the size given; the kernel writes at most `size` bytes, and
    // all-zero bytes are a valid `tcp_info`. A stale descriptor would only give an error or another socket's state.
    let answer =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size) };
    // SAFETY: zero-initialised above, so initialised whether or not the call wrote to it.
    let state = unsafe { info.assume_init() }.tcpi_state;
    answer != 0 || !matches!(state, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2)
}
