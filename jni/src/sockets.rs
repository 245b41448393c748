//! Sockets for protocols that are not HTTP, as `java.net.Socket` is used: by several threads, closed by any of them.
//!
//! It owns the connections that Java holds by number. The core dials them and counts them against its caps until they
//! are closed; bytes go over the descriptor itself, since reading, writing and closing must not wait for each other.
//! Time comes from the monotonic clock. Which exception a [`Trouble`] becomes is decided in Java.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pinlink::{Client, Error, Interrupt, Reason, Socket, interruptible};
use socket2::SockRef;

use crate::answer::Failure;
use crate::handles::Handles;
use crate::packet::{Packing, Unpacking};

/// How long a wait lasts before it is asked whether it shall go on.
const SLICE: Duration = Duration::from_millis(20);

/// A connection from the moment on at which somebody may close it.
#[derive(Default)]
struct Wire {
    socket: OnceLock<Socket>,
    is_closed: AtomicBool,
}

static WIRES: Handles<Arc<Wire>> = Handles::new();

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    TimedOut,
    Closed,
    Interrupted,
    /// The kernel's number.
    System(i32),
    /// A panic was caught.
    Panic,
}

impl Trouble {
    /// The kernel's numbers are below 4096.
    const OURS: i32 = 4096;

    /// As it crosses: below zero.
    pub(crate) fn code(self) -> i32 {
        match self {
            Trouble::System(number) => -number,
            Trouble::TimedOut => -Trouble::OURS,
            Trouble::Closed => -Trouble::OURS - 1,
            Trouble::Interrupted => -Trouble::OURS - 2,
            Trouble::Panic => -Trouble::OURS - 3,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::System(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl Wire {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn connected(&self) -> Result<BorrowedFd<'_>, Trouble> {
        self.socket.get().map(AsFd::as_fd).ok_or(Trouble::System(libc::ENOTCONN))
    }

    /// What a wait ends with, now that it has brought nothing.
    fn asked(&self, interrupt: Interrupt) -> Result<(), Trouble> {
        if self.is_closed() {
            Err(Trouble::Closed)
        } else if (interrupt.asks)(interrupt.of) {
            Err(Trouble::Interrupted)
        } else {
            Ok(())
        }
    }

    /// What went wrong, unless it came of a close.
    fn trouble(&self, error: io::Error) -> Trouble {
        if self.is_closed() { Trouble::Closed } else { error.into() }
    }
}

fn find(wire: i64) -> Result<Arc<Wire>, Trouble> {
    WIRES.find(wire).ok_or(Trouble::Closed)
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A number under which a connection may be closed before there is one.
pub(crate) fn make() -> i64 {
    WIRES.insert(Arc::default())
}

/// When dialling ends, besides its own bounds.
struct Patience<'a> {
    wire: &'a Wire,
    interrupt: Interrupt,
    until: Option<Instant>,
}

impl Patience<'_> {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|at| Instant::now() >= at)
    }

    /// What dialling ended with, by whom it was ended.
    fn explain(&self, error: Error) -> Failure {
        if error.reason() != Reason::Canceled {
            Failure::Core(error)
        } else if self.wire.is_closed() {
            Failure::CLOSED_SOCKET
        } else if self.is_over() && !(self.interrupt.asks)(self.interrupt.of) {
            Failure::LATE
        } else {
            Failure::Core(error)
        }
    }
}

fn is_over(patience: usize) -> bool {
    // SAFETY: what `connect` lends for as long as it asks, on its own thread.
    let patience = unsafe { &*(patience as *const Patience<'_>) };
    patience.is_over() || patience.wire.asked(patience.interrupt).is_err()
}

/// Connects to the packet's host and port within its milliseconds (0 for the client's own bounds), and packs both ends'
/// addresses.
pub(crate) fn connect(
    client: &Client,
    wire: i64,
    interrupt: Interrupt,
    mut fields: Unpacking<'_>,
) -> Result<Vec<u8>, Failure> {
    let (host, port, timeout) = (fields.text()?, fields.count()?, fields.count()?);
    let port = u16::try_from(port).map_err(|_| Failure::PORT)?;
    let wire = find(wire).map_err(|_| Failure::CLOSED_SOCKET)?;
    let until = (timeout > 0).then(|| Instant::now() + Duration::from_millis(timeout as u64));
    let patience = Patience { wire: &wire, interrupt, until };
    let asked = Interrupt { asks: is_over, of: std::ptr::from_ref(&patience) as usize };
    let socket = interruptible(asked, || client.connect(host, port)).map_err(|error| patience.explain(error))?;
    let peer = socket.peer_address();
    let local = {
        let options = SockRef::from(&socket);
        // Where it can't be set the connection is gone, which the first read tells.
        let _ = options.set_read_timeout(Some(SLICE)).and_then(|()| options.set_write_timeout(Some(SLICE)));
        options.local_addr().ok().and_then(|address| address.as_socket())
    };
    // One connect for each number: nobody was first.
    let _ = wire.socket.set(socket);
    if wire.is_closed() {
        return Err(Failure::CLOSED_SOCKET);
    }
    let mut packet = Vec::new();
    pack_address(peer, &mut packet);
    pack_address(local.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)), &mut packet);
    Ok(packet)
}

fn pack_address(address: SocketAddr, packet: &mut Vec<u8>) {
    let octets: &[u8] = match &address.ip() {
        IpAddr::V4(ip) => &ip.octets(),
        IpAddr::V6(ip) => &ip.octets(),
    };
    packet.put_length(octets.len());
    packet.put(octets);
    packet.put_int(address.port().into());
}

/// Reads what there is, and waits for it as long as `patience` lasts, or for ever; 0 is the end.
pub(crate) fn receive(
    wire: i64,
    into: &mut [MaybeUninit<u8>],
    patience: Option<Duration>,
    interrupt: Interrupt,
) -> Result<usize, Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    let options = SockRef::from(&socket);
    let until = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = until.map_or(SLICE, |at| at.saturating_duration_since(Instant::now()));
        let flags = if left < SLICE {
            await_bytes(socket, left);
            libc::MSG_DONTWAIT
        } else {
            0
        };
        match options.recv_with_flags(into, flags) {
            Ok(0) if wire.is_closed() => return Err(Trouble::Closed),
            Ok(got) => return Ok(got),
            Err(error) if is_not_yet(&error) => {
                wire.asked(interrupt)?;
                if until.is_some_and(|at| Instant::now() >= at) {
                    return Err(Trouble::TimedOut);
                }
            }
            Err(error) => return Err(wire.trouble(error)),
        }
    }
}

fn await_bytes(socket: BorrowedFd<'_>, patience: Duration) {
    let mut awaited = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Not before the time is over: rounded up.
    let milliseconds = i32::try_from(patience.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    // SAFETY: one record, which outlives the call. Whatever it says, the read behind it looks itself.
    unsafe { libc::poll(&mut awaited, 1, milliseconds) };
}

/// Writes all of it.
pub(crate) fn transmit(wire: i64, mut bytes: &[u8], interrupt: Interrupt) -> Result<(), Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    let options = SockRef::from(&socket);
    while !bytes.is_empty() {
        match options.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if is_not_yet(&error) => wire.asked(interrupt)?,
            Err(error) => return Err(wire.trouble(error)),
        }
    }
    Ok(())
}

/// How many bytes a read would bring at once.
pub(crate) fn available(wire: i64) -> Result<i32, Trouble> {
    let wire = find(wire)?;
    let mut count: libc::c_int = 0;
    // SAFETY: a live descriptor, and an integer to put the count into.
    match unsafe { libc::ioctl(wire.connected()?.as_raw_fd(), libc::FIONREAD, &mut count) } {
        0 => Ok(count),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Ends one direction.
pub(crate) fn shut(wire: i64, is_output: bool) -> Result<(), Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    Ok(SockRef::from(&socket).shutdown(if is_output { Shutdown::Write } else { Shutdown::Read })?)
}

/// One byte out of band.
pub(crate) fn urge(wire: i64, byte: u8) -> Result<(), Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    SockRef::from(&socket).send_out_of_band(&[byte])?;
    Ok(())
}

/// Ends whatever waits on it. Its place is free when the last of those has noticed: at once.
pub(crate) fn close(wire: i64) {
    if let Some(wire) = WIRES.remove(wire) {
        wire.is_closed.store(true, Ordering::SeqCst);
        // Somebody may be reading: a close alone would not wake him.
        if let Ok(socket) = wire.connected() {
            let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
        }
    }
}

/// The option of this number, which Java's `SocketFlag` gives it; what is measured in seconds is not set where it is
/// negative.
pub(crate) fn option(wire: i64, option: i32) -> Result<i32, Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    let options = SockRef::from(&socket);
    let whole = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    Ok(match option {
        0 => options.tcp_nodelay()?.into(),
        1 => options.keepalive()?.into(),
        2 => options.linger()?.map_or(-1, seconds),
        3 => whole(options.send_buffer_size()?),
        4 => whole(options.recv_buffer_size()?),
        5 => i32::try_from(options.tos_v4()?).unwrap_or(i32::MAX),
        6 => options.reuse_address()?.into(),
        7 => options.out_of_band_inline()?.into(),
        8 => seconds(options.tcp_keepalive_time()?),
        9 => seconds(options.tcp_keepalive_interval()?),
        10 => i32::try_from(options.tcp_keepalive_retries()?).unwrap_or(i32::MAX),
        _ => return Err(Trouble::System(libc::ENOPROTOOPT)),
    })
}

/// Sets an option.
pub(crate) fn set_option(wire: i64, option: i32, value: i32) -> Result<(), Trouble> {
    let wire = find(wire)?;
    let socket = wire.connected()?;
    let options = SockRef::from(&socket);
    let whole = usize::try_from(value).unwrap_or(0);
    let count = u32::try_from(value).unwrap_or(0);
    let time = Duration::from_secs(count.into());
    let keep_alive = socket2::TcpKeepalive::new();
    match option {
        0 => options.set_tcp_nodelay(value != 0),
        1 => options.set_keepalive(value != 0),
        2 => options.set_linger((value >= 0).then_some(time)),
        3 => options.set_send_buffer_size(whole),
        4 => options.set_recv_buffer_size(whole),
        5 => options.set_tos_v4(count),
        6 => options.set_reuse_address(value != 0),
        7 => options.set_out_of_band_inline(value != 0),
        8 => options.set_tcp_keepalive(&keep_alive.with_time(time)),
        9 => options.set_tcp_keepalive(&keep_alive.with_interval(time)),
        10 => options.set_tcp_keepalive(&keep_alive.with_retries(count)),
        _ => return Err(Trouble::System(libc::ENOPROTOOPT)),
    }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_closed_or_not_connected_is_told_so() {
        let nobody = Interrupt { asks: |_| false, of: 0 };
        let wire = make();
        let mut space = [MaybeUninit::uninit(); 8];
        assert_eq!(receive(wire, &mut space, None, nobody), Err(Trouble::System(libc::ENOTCONN)));
        close(wire);
        close(wire);
        assert_eq!(receive(wire, &mut space, None, nobody), Err(Trouble::Closed));
        assert_eq!(transmit(wire, b"x", nobody), Err(Trouble::Closed));
    }

    #[test]
    fn no_trouble_looks_like_another() {
        let all = [Trouble::TimedOut, Trouble::Closed, Trouble::Interrupted, Trouble::Panic, Trouble::System(4095)];
        let mut codes = all.map(Trouble::code);
        assert!(codes.iter().all(|code| *code < 0));
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
