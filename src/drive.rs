//! The caller's own thread as the executor.
//!
//! A blocking caller polls its request and its connection itself and waits in the kernel on that one
//! socket: no runtime thread is woken, nothing hops. [`block_on`] drives one future, [`drive_all`] many
//! over one `poll(2)`. It owns the protocol between this loop and [`Stream`](crate::stream::Stream): a
//! thread-local [`Turn`] in which the stream notes what it missed and the loop grants what it may do.
//! Whoever calls for another language may have it asked, between two waits, whether its caller was interrupted.
//! It never decides about requests; time comes from the monotonic clock.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::task::coop::Unconstrained;

use crate::config::SLICE;
use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::process;
use crate::sys::{self, Event, PollFd};

thread_local! {
    static TURN: Turn = const { Turn::new() };
    /// The waker of this thread, made once: a wake is a flag, and an unpark only where the thread sleeps.
    static SIGNAL: RefCell<Option<Arc<Signal>>> = const { RefCell::new(None) };
    static INTERRUPT: Cell<Option<Interrupt>> = const { Cell::new(None) };
    /// Set on a thread that works for another's call.
    static WORKS_FOR: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// For bindings. How a caller of another language is asked whether it was interrupted: a function, and what it is to be given.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Interrupt {
    /// Asked on the calling thread, at least every 30 ms while a call waits.
    pub asks: fn(usize) -> bool,
    /// What it is given: a pointer or a handle that is good on this thread while the call lasts.
    pub of: usize,
}

/// For bindings. Runs `work`, whose blocking calls end with [`Reason::Canceled`] when `interrupt` says so.
#[doc(hidden)]
pub fn interruptible<T>(interrupt: Interrupt, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Interrupt>);
    impl Drop for Restore {
        fn drop(&mut self) {
            INTERRUPT.set(self.0);
        }
    }
    let _restore = Restore(INTERRUPT.replace(Some(interrupt)));
    work()
}

/// Whether the caller of this thread, or of the one that it works for, was interrupted.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPT.get().is_some_and(|interrupt| (interrupt.asks)(interrupt.of))
        || WORKS_FOR.with_borrow(|given_up| given_up.as_ref().is_some_and(|given_up| given_up.load(Ordering::Relaxed)))
}

/// Whether anybody may interrupt this thread's calls.
fn may_be_interrupted() -> bool {
    INTERRUPT.get().is_some() || WORKS_FOR.with_borrow(Option::is_some)
}

/// Runs `work` on a thread that was made for another's call: it ends when that one gives up.
pub(crate) fn working_for<T>(given_up: Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    WORKS_FOR.set(Some(given_up));
    let done = work();
    WORKS_FOR.set(None);
    done
}

/// What an interrupted call ends with. It is dropped wherever it stands, so whether it was sent is not known.
pub(crate) fn interrupted() -> Error {
    Error::new(Reason::Canceled, Phase::Wait, "the caller was interrupted").with_delivery(Delivery::Unknown)
}

/// What the loop and the streams tell each other during one poll of a future.
struct Turn {
    /// Whether a caller drives this thread; otherwise a runtime does.
    active: Cell<bool>,
    /// Whether a non-blocking read may bring something. It may not after a short read: the socket was empty.
    readable: Cell<bool>,
    /// Whether the next read may wait in the kernel: nothing else is left to do.
    may_wait: Cell<bool>,
    missed: Cell<Missed>,
    wake_at: Cell<Option<Instant>>,
    /// When the time was looked at last.
    looked_at: Cell<Option<Instant>>,
}

/// The socket, and the events on it, that a poll could not do without.
#[derive(Clone, Copy)]
struct Missed {
    socket: RawFd,
    events: i16,
}

const NOTHING: Missed = Missed { socket: -1, events: 0 };

impl Turn {
    const fn new() -> Turn {
        Turn {
            active: Cell::new(false),
            readable: Cell::new(false),
            may_wait: Cell::new(false),
            missed: Cell::new(NOTHING),
            wake_at: Cell::new(None),
            looked_at: Cell::new(None),
        }
    }

    fn miss(&self, socket: RawFd, event: i16) {
        let missed = self.missed.get();
        let events = if missed.socket == socket { missed.events | event } else { event };
        self.missed.set(Missed { socket, events });
    }
}

/// Whether the current poll is driven by a caller, so that reads and writes go through [`read`] and [`write`].
pub(crate) fn is_driven() -> bool {
    TURN.with(|turn| turn.active.get())
}

/// What tells this thread from all others that live.
pub(crate) fn thread() -> usize {
    TURN.with(|turn| std::ptr::from_ref(turn).addr())
}

/// Says that the next read shall really look at the socket: the liveness probe before a reuse.
pub(crate) fn look_again() {
    TURN.with(|turn| turn.readable.set(true));
}

/// Whether somebody has just asked to [`look_again`], on a thread that no caller drives.
pub(crate) fn looks_again() -> bool {
    TURN.with(|turn| turn.readable.replace(false))
}

/// A read on behalf of the caller that drives. `receive` is told whether it may wait; `size` is how much it could take.
pub(crate) fn read(
    socket: RawFd,
    size: usize,
    receive: impl FnOnce(bool) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    TURN.with(|turn| {
        let wait = turn.may_wait.replace(false);
        if !wait && !turn.readable.get() {
            turn.miss(socket, sys::READ);
            return Poll::Pending;
        }
        match receive(wait) {
            Ok(got) => {
                // An end of stream stays readable; a short read has emptied the socket.
                turn.readable.set(got == 0 || got == size);
                Poll::Ready(Ok(got))
            }
            Err(error) if is_not_yet(&error) => {
                turn.readable.set(false);
                turn.miss(socket, sys::READ);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    })
}

/// A write on behalf of the caller that drives, or what else has to wait for room in a socket.
pub(crate) fn write<T>(socket: RawFd, send: impl FnOnce() -> io::Result<T>) -> Poll<io::Result<T>> {
    match send() {
        Err(error) if is_not_yet(&error) => {
            TURN.with(|turn| turn.miss(socket, sys::WRITE));
            Poll::Pending
        }
        result => Poll::Ready(result),
    }
}

/// Whether a socket that does not wait has nothing, or no room, for now.
pub(crate) fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A time-out that works wherever it is polled: noted for the loop that drives, or a timer of the runtime.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<tokio::time::Sleep>>>);

impl Alarm {
    /// Ready once `at` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.poll_at(cx, at, Instant::now())
    }

    /// The same where the time has just been looked at.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant, now: Instant) -> Poll<()> {
        if is_driven() {
            if now >= at {
                return Poll::Ready(());
            }
            TURN.with(|turn| {
                turn.wake_at.set(Some(turn.wake_at.get().map_or(at, |earlier| earlier.min(at))));
                turn.looked_at.set(Some(now));
            });
            return Poll::Pending;
        }
        let sleep = match &mut self.0 {
            Some(sleep) => sleep,
            unset => {
                // Whatever executor polls this: the time is kept by our own runtime. Where it can't be started nothing can
                // be dialled either, and the wait is over.
                let Ok(runtime) = process::runtime() else { return Poll::Ready(()) };
                let _inside = runtime.enter();
                unset.insert(Box::pin(tokio::time::sleep_until(at.into())))
            }
        };
        if sleep.deadline() > at.into() {
            sleep.as_mut().reset(at.into());
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at.into() {
                return Poll::Ready(());
            }
            // It was set for an earlier time, and is moved only now: most that wait have left by then.
            sleep.as_mut().reset(at.into());
        }
    }

    /// The same for another wait, where it holds a timer. Whoever waited is forgotten.
    pub(crate) fn at_rest(mut self) -> Option<Alarm> {
        let sleep = self.0.as_mut()?;
        let forgotten = pin!(tokio::task::unconstrained(sleep.as_mut()));
        let _ = forgotten.poll(&mut Context::from_waker(Waker::noop()));
        Some(self)
    }
}

/// Waits until `at`.
pub(crate) async fn sleep_until(at: Instant) {
    let mut alarm = Alarm::default();
    std::future::poll_fn(|cx| alarm.poll(cx, at)).await;
}

/// Lets the other futures that are ready go first.
pub(crate) async fn give_way() {
    let mut went = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The future's result, or nothing where `at` passes first. The future is asked first.
pub(crate) async fn before<F: Future>(at: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = Alarm::default();
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.poll(cx, at).map(|()| None),
    })
    .await
}

/// Runs a task here where a caller drives this thread, for everybody else on the runtime's. Nothing where it has panicked
/// there.
pub(crate) async fn run<T: Send + 'static>(task: Rare<T>) -> Result<Option<T>> {
    if is_driven() { Ok(Some(task.await)) } else { Ok(process::spawn(task)?.await) }
}

/// What few calls come to.
pub(crate) type Rare<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Puts a future aside that is large and rarely wanted: within another one it would make every frame of that one as large.
#[inline(never)]
pub(crate) fn rare<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}

/// Puts the thread's turn back as it was, also on a panic: a caller may drive inside another one's callback.
struct Driving {
    was_active: bool,
}

impl Driving {
    fn begin() -> Driving {
        TURN.with(|turn| Driving { was_active: turn.active.replace(true) })
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        TURN.with(|turn| {
            turn.active.set(self.was_active);
            turn.may_wait.set(false);
        });
    }
}

/// The flag of a waker. Waking costs one store while the thread runs.
struct Signal {
    woken: AtomicBool,
    parked: AtomicBool,
    thread: Thread,
}

impl Signal {
    fn of_this_thread() -> Arc<Signal> {
        SIGNAL.with(|cached| {
            // Taken, not shared: a future that drives another one inside itself gets a signal of its own.
            cached.borrow_mut().take().unwrap_or_else(|| {
                Arc::new(Signal {
                    woken: AtomicBool::new(false),
                    parked: AtomicBool::new(false),
                    thread: std::thread::current(),
                })
            })
        })
    }

    fn park(&self, timeout: Duration) {
        self.parked.store(true, Ordering::SeqCst);
        if !self.woken.load(Ordering::SeqCst) {
            std::thread::park_timeout(timeout);
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// Drives one future on this thread until it ends. It must bound itself by [`Alarm`]s.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    drive(future, || false).expect("nobody interrupts it")
}

/// The same for a call, which ends when its caller is interrupted.
pub(crate) fn block_on_call<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    drive(call, is_interrupted).unwrap_or_else(|| Err(interrupted()))
}

/// The same for an operation on a socket.
pub(crate) fn block_on_io<T>(operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    drive(operation, is_interrupted).unwrap_or_else(|| Err(io::Error::other(interrupted())))
}

fn drive<F: Future>(future: F, is_interrupted: impl Fn() -> bool) -> Option<F::Output> {
    // A runtime that this call happens inside of would else ration the wakes of its own kind that the future uses.
    let mut future = pin!(tokio::task::unconstrained(future));
    let signal = Signal::of_this_thread();
    let waker = Waker::from(Arc::clone(&signal));
    let mut cx = Context::from_waker(&waker);
    let mut has_waited = false;
    let mut asks_at: Option<Instant> = None;
    let output = loop {
        let driving = Driving::begin();
        TURN.with(|turn| {
            turn.missed.set(NOTHING);
            turn.wake_at.set(None);
            turn.looked_at.set(None);
        });
        let polled = future.as_mut().poll(&mut cx);
        drop(driving);
        if let Poll::Ready(output) = polled {
            break Some(output);
        }
        // A call on a warm connection is polled twice: it never asks.
        if std::mem::replace(&mut has_waited, true) {
            let now = Instant::now();
            if asks_at.is_none_or(|at| now >= at) {
                asks_at = Some(now + SLICE / 2);
                if is_interrupted() {
                    break None;
                }
            }
        }
        if !signal.woken.swap(false, Ordering::SeqCst) {
            wait(&signal);
        }
    };
    signal.woken.store(false, Ordering::SeqCst);
    SIGNAL.with(|cached| *cached.borrow_mut() = Some(signal));
    output
}

/// Waits for what the last poll missed. Where only an answer is awaited, the wait is the next read itself.
fn wait(signal: &Signal) {
    TURN.with(|turn| {
        // Whoever set the alarm has looked at the time in the poll that has just ended.
        let now = || turn.looked_at.take().unwrap_or_else(Instant::now);
        let left = turn.wake_at.get().map_or(SLICE, |at| at.saturating_duration_since(now()));
        let missed = turn.missed.get();
        if missed.events == 0 {
            // Whatever it waits for wakes it. Only an interrupt has to be asked for, and a queue is longer than a slice.
            signal.park(if may_be_interrupted() { left.min(SLICE) } else { left });
        } else if missed.events == sys::READ && left >= SLICE {
            turn.may_wait.set(true);
        } else {
            sys::poll(&mut [PollFd { fd: missed.socket, events: missed.events, revents: 0 }], left.min(SLICE));
            turn.readable.set(true);
        }
    });
}

/// One of many futures that a caller drives at once.
struct Lane<'a> {
    future: Option<Unconstrained<Pin<Box<dyn Future<Output = ()> + 'a>>>>,
    signal: Arc<LaneSignal>,
    readable: bool,
    wake_at: Option<Instant>,
}

struct LaneSignal {
    woken: AtomicBool,
    hub: Arc<Hub>,
}

/// What wakes the loop while it waits for its sockets.
struct Hub {
    asleep: AtomicBool,
    event: Event,
}

impl Wake for LaneSignal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.hub.asleep.swap(false, Ordering::SeqCst) {
            self.hub.event.raise();
        }
    }
}

/// Drives many futures on this thread until all have ended, waiting for all their sockets in one `poll(2)`.
///
/// # Errors
/// Where the process has no descriptor left for the event that wakes it; [`Reason::Canceled`] where the caller was
/// interrupted, and the futures that have not ended are dropped.
pub(crate) fn drive_all<'a>(futures: impl IntoIterator<Item = Pin<Box<dyn Future<Output = ()> + 'a>>>) -> Result<()> {
    let event = Event::new().map_err(|error| {
        Error::new(Reason::ConnectResource, Phase::Queue, format!("no descriptor is left: {error}")).with_source(error)
    })?;
    let hub = Arc::new(Hub { asleep: AtomicBool::new(false), event });
    let mut lanes: Vec<Lane<'a>> = futures
        .into_iter()
        .map(|future| Lane {
            future: Some(tokio::task::unconstrained(future)),
            signal: Arc::new(LaneSignal { woken: AtomicBool::new(true), hub: Arc::clone(&hub) }),
            readable: true,
            wake_at: None,
        })
        .collect();
    let wakers: Vec<Waker> = lanes.iter().map(|lane| Waker::from(Arc::clone(&lane.signal))).collect();
    // One descriptor a lane, in the same order, and the hub's at the end. A negative one is passed over.
    let idle = PollFd { fd: -1, events: 0, revents: 0 };
    let mut descriptors = vec![idle; lanes.len()];
    descriptors.push(PollFd { fd: hub.event.as_raw_fd(), events: sys::READ, revents: 0 });

    let mut open = lanes.len();
    let mut asks_at = Instant::now() + SLICE / 2;
    while open > 0 {
        let mut ran = false;
        for ((lane, waker), descriptor) in lanes.iter_mut().zip(&wakers).zip(&mut descriptors) {
            if lane.future.is_some() && lane.signal.woken.swap(false, Ordering::SeqCst) {
                ran = true;
                let missed = lane.run(waker);
                *descriptor = PollFd { fd: missed.socket, events: missed.events, revents: 0 };
                if lane.future.is_none() {
                    open -= 1;
                }
            }
        }
        if !ran {
            let now = sleep(&hub, &mut lanes, &mut descriptors);
            if now >= asks_at {
                asks_at = now + SLICE / 2;
                if is_interrupted() {
                    return Err(interrupted());
                }
            }
        }
    }
    Ok(())
}

impl Lane<'_> {
    fn run(&mut self, waker: &Waker) -> Missed {
        let Some(future) = &mut self.future else { return NOTHING };
        let driving = Driving::begin();
        TURN.with(|turn| {
            turn.missed.set(NOTHING);
            turn.wake_at.set(None);
            turn.readable.set(self.readable);
        });
        let polled = Pin::new(future).poll(&mut Context::from_waker(waker));
        drop(driving);
        if polled.is_ready() {
            self.future = None;
            return NOTHING;
        }
        TURN.with(|turn| {
            self.readable = turn.readable.get();
            self.wake_at = turn.wake_at.get();
            turn.missed.get()
        })
    }
}

/// Waits until a socket is ready, another thread wakes a lane, or a lane's time has come; the time is then this.
fn sleep(hub: &Hub, lanes: &mut [Lane<'_>], descriptors: &mut [PollFd]) -> Instant {
    hub.asleep.store(true, Ordering::SeqCst);
    // A lane that has ended may still be woken by what it left behind.
    let open = || lanes.iter().filter(|lane| lane.future.is_some());
    if !open().any(|lane| lane.signal.woken.load(Ordering::SeqCst)) {
        let next = open().filter_map(|lane| lane.wake_at).min();
        let left = next.map_or(SLICE, |at| at.saturating_duration_since(Instant::now()));
        for descriptor in descriptors.iter_mut() {
            descriptor.revents = 0;
        }
        sys::poll(descriptors, left.min(SLICE));
    }
    hub.asleep.store(false, Ordering::SeqCst);
    // Whenever it stands, also where the wake came late and the one it was for is long awake.
    if descriptors.last().is_some_and(|event| event.revents != 0) {
        hub.event.clear();
    }
    let now = Instant::now();
    for (lane, descriptor) in lanes.iter_mut().zip(descriptors) {
        let ready = descriptor.revents != 0;
        lane.readable |= ready;
        if ready || lane.wake_at.is_some_and(|at| at <= now) {
            lane.signal.woken.store(true, Ordering::SeqCst);
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_time_and_not_before() {
        let start = Instant::now();
        let at = start + Duration::from_millis(20);
        assert!(block_on(before(at, std::future::pending::<()>())).is_none());
        assert!(Instant::now() >= at);
    }

    #[test]
    fn an_alarm_that_was_another_s_goes_off_in_its_own_time_and_forgets_who_waited() {
        struct Sleeper;
        impl Wake for Sleeper {
            fn wake(self: Arc<Self>) {}
        }
        let runtime = process::runtime().unwrap();
        let ring = |alarm: &mut Alarm, at| runtime.block_on(std::future::poll_fn(|cx| alarm.poll(cx, at)));
        let set_by_another = |after| {
            let (mut alarm, sleeper) = (Alarm::default(), Arc::new(Sleeper));
            let waker = Waker::from(Arc::clone(&sleeper));
            assert!(alarm.poll(&mut Context::from_waker(&waker), Instant::now() + after).is_pending());
            drop(waker);
            let alarm = alarm.at_rest().unwrap();
            assert_eq!(Arc::strong_count(&sleeper), 1);
            alarm
        };
        for after in [Duration::from_millis(1), Duration::from_secs(3600)] {
            let mut alarm = set_by_another(after);
            let at = Instant::now() + Duration::from_millis(20);
            ring(&mut alarm, at);
            assert!(Instant::now() >= at, "set for {after:?}");
        }
        assert!(Alarm::default().at_rest().is_none());
    }

    #[test]
    fn another_thread_wakes_a_caller() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver).unwrap(), 7);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn many_futures_end_in_any_order_and_wake_each_other() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sum = Cell::new(0);
        let waits: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async {
            let received = receiver.await.unwrap();
            sum.set(sum.get() + received);
        });
        let sends: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async {
            sleep_until(Instant::now() + Duration::from_millis(5)).await;
            sum.set(1);
            sender.send(2).unwrap();
        });
        drive_all([waits, sends]).unwrap();
        assert_eq!(sum.get(), 3);
    }

    #[test]
    fn an_interrupted_caller_is_asked_while_it_waits_and_not_before() {
        thread_local!(static ASKED: Cell<usize> = const { Cell::new(0) });
        let interrupt = Interrupt { asks: |after| ASKED.replace(ASKED.get() + 1) + 1 >= after, of: 3 };
        interruptible(interrupt, || {
            assert_eq!(block_on_call(async { Ok(7) }).unwrap(), 7);
            assert_eq!(ASKED.get(), 0, "what does not wait does not ask");
            let error = block_on_call(std::future::pending::<Result<()>>()).expect_err("interrupted");
            assert_eq!((error.reason(), error.delivery()), (Reason::Canceled, Delivery::Unknown));
            assert_eq!(ASKED.get(), 3);
            let forever: Pin<Box<dyn Future<Output = ()>>> = Box::pin(std::future::pending());
            assert_eq!(drive_all([forever]).expect_err("interrupted").reason(), Reason::Canceled);
        });
        assert!(!is_interrupted(), "it was for that work only");
    }

    #[test]
    fn driving_inside_a_driven_future_works() {
        assert_eq!(block_on(async { block_on(async { 3 }) + 1 }), 4);
        assert!(!is_driven());
    }
}
