//! The transparent proxy: a door per proxied port and address, and one task per connection.
//!
//! Owns: the listeners (real ones, closed ones, ones that swallow SYNs) and what connections share. Who is let in is the
//! gate's business, what happens to the bytes the line's. It knows no protocol.
//! Time: tokio's clock, for the bandwidth that all connections share. Randomness: none.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ProxyPlan;
use crate::counts::{Book, Route, lock};
use crate::fault::{Fault, Layer};
use crate::gate::{Admission, Gate, Pass};
use crate::line::{Ending, Line};
use crate::socket::{self, BlackHole};
use crate::switch::Faults;

/// What all connections share.
pub(crate) struct Proxy {
    pub(crate) plan: ProxyPlan,
    pub(crate) gate: Arc<Gate>,
    pub(crate) faults: Arc<Faults>,
    book: Arc<Book>,
    /// When the shared line is free again, for the bandwidth limit.
    line: Mutex<Instant>,
    start: Instant,
}

/// How a listener answers SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Starting,
    Open,
    Closed,
    Swallow,
}

/// One proxied port on one address.
pub(crate) struct Door {
    at: SocketAddr,
    origin: SocketAddr,
    mode: AtomicU8,
    /// Keeps the port ours while the door is closed.
    reserved: socket2::Socket,
}

impl Door {
    pub(crate) fn new(reserved: socket2::Socket, at: SocketAddr, origin: SocketAddr) -> Self {
        Door { at, origin, mode: AtomicU8::new(Mode::Starting as u8), reserved }
    }

    fn open(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(socket::listen_over(&self.reserved, socket::BACKLOG)?)
    }

    fn wanted(&self, faults: &Faults) -> Mode {
        let pick = |fault: &Fault| match fault {
            Fault::RefuseAll => Some(Mode::Closed),
            Fault::Blackhole => Some(Mode::Swallow),
            _ => None,
        };
        faults.look(Some(&self.at.ip().to_string()), pick).unwrap_or(Mode::Open)
    }

    /// Whether the door stands as the faults want it.
    pub(crate) fn settled(&self, faults: &Faults) -> bool {
        self.mode.load(Ordering::Acquire) == self.wanted(faults) as u8
    }
}

impl Proxy {
    pub(crate) fn new(plan: ProxyPlan, gate: Arc<Gate>, faults: Arc<Faults>, book: Arc<Book>) -> Self {
        Proxy { plan, gate, faults, book, line: Mutex::new(Instant::now()), start: Instant::now() }
    }

    /// Keeps one door as the faults want it, until the runtime ends.
    pub(crate) async fn keep(self: Arc<Self>, door: Arc<Door>) {
        let mut changes = self.faults.changes();
        loop {
            changes.mark_unchanged();
            let mode = door.wanted(&self.faults);
            let stands = |mode: Mode| door.mode.store(mode as u8, Ordering::Release);
            match mode {
                Mode::Closed | Mode::Starting => {
                    socket::keep_reserved(&door.reserved);
                    stands(mode);
                    _ = changes.changed().await;
                }
                Mode::Swallow => match BlackHole::open(&door.reserved) {
                    Ok(hole) => {
                        stands(mode);
                        while door.wanted(&self.faults) == mode && changes.changed().await.is_ok() {}
                        drop(hole);
                    }
                    Err(_) => sleep(Duration::from_millis(5)).await,
                },
                Mode::Open => match door.open() {
                    Ok(listener) => {
                        stands(mode);
                        self.accept(&listener, &door, &mut changes).await;
                    }
                    Err(_) => sleep(Duration::from_millis(5)).await,
                },
            }
        }
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener, door: &Arc<Door>, changes: &mut watch::Receiver<u64>) {
        loop {
            tokio::select! {
                biased;
                _ = changes.changed() => if door.wanted(&self.faults) != Mode::Open { return },
                accepted = listener.accept() => match accepted {
                    Ok((client, from)) => self.admit(client, from, door),
                    // Out of descriptors or an aborted handshake: the next one may do.
                    Err(_) => sleep(Duration::from_millis(1)).await,
                },
            }
        }
    }

    /// Decides on a connection in the very turn that accepted it, so that the counts are exact.
    fn admit(self: &Arc<Self>, client: TcpStream, from: SocketAddr, door: &Arc<Door>) {
        let address = door.at.ip().to_string();
        let resets = |fault: &Fault| matches!(fault, Fault::ResetOnAccept).then_some(());
        if self.faults.hit(Layer::Proxy, Some(&address), resets).is_some() {
            self.gate.count_reset(true);
            socket::reset_on_close(&client);
            return;
        }
        _ = client.set_nodelay(true);
        let waiting = match self.gate.admit(&client) {
            Admission::Refused => return,
            Admission::Reset => return socket::reset_on_close(&client),
            Admission::Served(pass) => Ok(pass),
            Admission::Queued(turn) => Err(turn),
        };
        let proxy = Arc::clone(self);
        let route = Route { client: from, dialled: door.at };
        let origin = door.origin;
        tokio::spawn(async move {
            let pass = match waiting {
                Ok(pass) => pass,
                Err(turn) => match turn.await {
                    Ok(pass) => pass,
                    Err(_) => return,
                },
            };
            proxy.serve(pass, client, route, origin).await;
        });
    }

    async fn serve(&self, pass: Pass, client: TcpStream, route: Route, origin: SocketAddr) {
        let Ok(origin) = TcpStream::connect(origin).await else {
            return drop(pass);
        };
        _ = origin.set_nodelay(true);
        // Told before the first byte goes through, so the origin can look it up at the first request.
        let Ok(from) = origin.local_addr() else {
            return drop(pass);
        };
        self.book.route(from, route);
        let line = Line::new(self, &client, &origin, route.dialled);
        let ending = line.run(&pass).await;
        drop(line);
        self.book.unroute(from);
        if ending == Ending::Reset {
            self.gate.count_reset(false);
        }
        if matches!(ending, Ending::Reset | Ending::Broken) {
            socket::reset_on_close(&client);
        }
        // The place is given back before the client can notice that its connection is gone, and before the
        // descriptor that the gate watches is closed.
        drop(pass);
        drop(client);
        if ending == Ending::IdleCut {
            // Told when the FIN has left: who waits for the count finds it there.
            self.gate.count_idle_cut();
        }
    }

    /// Whether the time since the start is in an odd one of the turns of this many milliseconds.
    pub(crate) fn odd(&self, ms: u64) -> bool {
        self.start.elapsed().as_millis() / u128::from(ms.max(1)) % 2 == 1
    }

    /// Waits for its share of the one line that all connections have.
    pub(crate) async fn pace(&self, bytes: usize, rate: u64) {
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let due = {
            let mut free = lock(&self.line);
            *free = (*free).max(Instant::now()) + cost;
            *free
        };
        sleep_until(due).await;
    }
}
