//! The system calls of the fast path, and what happens at `fork()`. The only `unsafe` of the core.
//!
//! It owns the flags of `recv`, `send` and `poll`, the event descriptor that wakes a waiting caller, the bare
//! thread, and the list of our sockets that a child process closes. It decides nothing and keeps no time.

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Reads into `buffer`; waits up to the socket's receive time-out where `wait` says so, else not at all.
pub(crate) fn recv(socket: RawFd, buffer: &mut [MaybeUninit<u8>], wait: bool) -> io::Result<usize> {
    let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the pointer and length are those of one live, writable slice; the kernel writes at most that much.
    checked(unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// Writes without waiting and without SIGPIPE.
pub(crate) fn send(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of one live slice, which is only read.
    checked(unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// Writes several slices in one call, without waiting and without SIGPIPE.
pub(crate) fn send_vectored(socket: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len() as _;
    // SAFETY: `IoSlice` has the layout of `iovec` (its documentation promises it); the slices outlive the call and
    // are only read.
    checked(unsafe { libc::sendmsg(socket, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// The version of the C library, where it is GNU's.
pub(crate) fn libc_version() -> Option<String> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes nothing and returns a pointer to a constant, NUL-terminated string.
        let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        version.to_str().ok().map(str::to_owned)
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// Lets calls on a socket wait unless they say otherwise.
pub(crate) fn set_blocking(socket: RawFd) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the request reads one int, to which the pointer leads.
    checked(unsafe { libc::ioctl(socket, libc::FIONBIO, &raw const off) } as isize).map(drop)
}

/// Sets how long a waiting `recv` waits at most.
pub(crate) fn set_receive_timeout(socket: RawFd, timeout: Duration) -> io::Result<()> {
    let value = libc::timeval { tv_sec: timeout.as_secs() as _, tv_usec: timeout.subsec_micros() as _ };
    // SAFETY: the pointer and length describe one live timeval, which is only read.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const value).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    checked(result as isize).map(drop)
}

pub(crate) use libc::pollfd as PollFd;

pub(crate) const READ: i16 = libc::POLLIN;
pub(crate) const WRITE: i16 = libc::POLLOUT;

/// Waits until a descriptor is ready, the time is over (rounded up to a millisecond) or a signal comes.
pub(crate) fn poll(descriptors: &mut [PollFd], timeout: Duration) {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
    // SAFETY: the pointer and length are those of one live slice of pollfd. A failure (EINTR) leaves `revents` as they
    // are, which callers clear first; they look again at time and readiness in any case.
    unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, milliseconds) };
}

/// Whether the far side of a connection has closed or reset it, without waiting and without reading.
pub(crate) fn has_hung_up(socket: RawFd) -> bool {
    let mut descriptor = [PollFd { fd: socket, events: libc::POLLRDHUP, revents: 0 }];
    poll(&mut descriptor, Duration::ZERO);
    descriptor[0].revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// How many of the bytes written to a connection the far side has not acknowledged.
pub(crate) fn unacknowledged(socket: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, to which the pointer leads.
    let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or_default() } else { 0 }
}

/// A counter in the kernel: what another thread writes to wake a caller that waits in `poll`.
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> io::Result<Event> {
        // SAFETY: no pointer is passed; a descriptor that is returned is ours alone.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } as isize)?;
        // SAFETY: `fd` is open and owned by nobody else.
        Ok(Event(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    pub(crate) fn raise(&self) {
        let one = 1_u64;
        // SAFETY: eight live bytes are read. The only failure is a full counter, which wakes as well.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(crate) fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: eight live bytes are written. The only failure is an empty counter, which is clear.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a bare thread has for its stack. Only what is touched is there.
const BARE_STACK: usize = 1 << 20;

/// Runs `work` on a thread that costs half of one of `std`: it has no signal stack, and no memory of its own until it asks
/// for some.
pub(crate) fn bare_thread(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the pointer comes from `Box::into_raw` below, for this thread alone.
        let work = unsafe { Box::from_raw(work.cast::<Box<dyn FnOnce() + Send>>()) };
        // SAFETY: the name is a constant that ends in NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"pinlink".as_ptr()) };
        // A panic was told where it happened; nobody waits for this thread.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        std::ptr::null_mut()
    }
    let refused = |number| if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number)) };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: it initialises what the pointer leads to.
    refused(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    let work = Box::into_raw(Box::new(work));
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes were initialised above and are destroyed once; where a value is refused, the default stays.
    // The thread is detached: its number is not used again. What it is given is its own from here on.
    let made = refused(unsafe {
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), BARE_STACK);
        let made = libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, work.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        made
    });
    if made.is_err() {
        // SAFETY: no thread was made, so the box is still ours.
        drop(unsafe { Box::from_raw(work) });
    }
    made
}

/// How many forks lie between this process and the one that loaded the library.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The generation of this process. Costs one load; `getpid` would be a system call for every request.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Our sockets, for the child of a fork to close. A socket that finds no place here only stays open in a child.
static SOCKETS: [AtomicI32; 4096] = [const { AtomicI32::new(NONE) }; 4096];
const NONE: i32 = -1;

/// A place in [`SOCKETS`]. It must be dropped before its socket is closed, or a child could close a stranger's.
pub(crate) struct Registered(Option<&'static AtomicI32>);

impl Registered {
    pub(crate) fn new(socket: RawFd) -> Registered {
        watch_forks();
        let place = SOCKETS
            .iter()
            .find(|place| place.compare_exchange(NONE, socket, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        Registered(place)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(NONE, Ordering::Release);
        }
    }
}

/// What was opened in one process and must not be touched in its children: there it is forgotten, not dropped. Its
/// descriptors are closed there and may be a stranger's, its locks may be held by threads that do not exist.
pub(crate) struct OfThisProcess<T> {
    value: ManuallyDrop<T>,
    generation: u64,
}

impl<T> OfThisProcess<T> {
    pub(crate) fn new(value: T) -> OfThisProcess<T> {
        OfThisProcess { value: ManuallyDrop::new(value), generation: generation() }
    }

    /// The value, where this is the process that it was opened in.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        let is_ours = self.generation == generation();
        // No generation is the last one: what is taken out here is not dropped a second time.
        self.generation = u64::MAX;
        // SAFETY: the value is taken once: `self` ends here, and its drop leaves a value of another generation alone.
        is_ours.then(|| unsafe { ManuallyDrop::take(&mut self.value) })
    }
}

impl<T> Deref for OfThisProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for OfThisProcess<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for OfThisProcess<T> {
    fn drop(&mut self) {
        if self.generation == generation() {
            // SAFETY: it is dropped once: `into_inner` leaves another generation behind.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// Asks to be told of forks. Cheap to call again.
pub(crate) fn watch_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a plain function that lives as long as the library; it calls only `close` and touches
        // only atomics, both of which are safe between fork and exec of a process with threads.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// Runs in the child, before `fork()` returns there. Closing the child's copies neither shuts the parent's connections
/// down nor takes them off the parent's reactor (the parent's descriptors keep both alive); leaving them open would keep
/// them alive at the proxy after the parent has closed them.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for place in &SOCKETS {
        let socket = place.swap(NONE, Ordering::Relaxed);
        if socket != NONE {
            // SAFETY: the place held an open socket of this library at the time of the fork (see `Registered`), and every
            // structure that owned it is abandoned in this process (see `OfThisProcess`), so nobody uses or closes the
            // number again.
            unsafe { libc::close(socket) };
        }
    }
}
