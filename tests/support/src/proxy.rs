//! The transparent proxy: a door per proxied port and address, and one task per connection that copies bytes.
//!
//! Owns: the listeners (real ones, closed ones, ones that swallow SYNs), the copying, and every fault between client
//! and origin. Who is let in is the gate's business. Never looks into what it copies: it knows no protocol.
//! Time: tokio's clock, for latency, bandwidth and the idle cut. Randomness: none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ProxyPlan;
use crate::counts::{Book, Route, lock};
use crate::fault::{Fault, Faults, Felt, Layer};
use crate::gate::{Admission, Gate, Pass};
use crate::socket::{self, BlackHole};

/// How much one read takes.
const CHUNK: usize = 32 * 1024;

/// How often a connection that is held by a fault looks whether its client has gone.
const LOOK: Duration = Duration::from_millis(20);

/// What all connections share.
pub(crate) struct Proxy {
    plan: ProxyPlan,
    pub(crate) gate: Arc<Gate>,
    faults: Arc<Faults>,
    book: Arc<Book>,
    /// When the shared line is free again, for the bandwidth limit.
    line: Mutex<Instant>,
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
    _reserved: socket2::Socket,
}

impl Door {
    pub(crate) fn new(reserved: socket2::Socket, at: SocketAddr, origin: SocketAddr) -> Self {
        Door { at, origin, mode: AtomicU8::new(Mode::Starting as u8), _reserved: reserved }
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

/// How a connection ends by the proxy's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Both sides have said all.
    Done,
    Fin,
    Reset,
}

/// One connection.
struct Line<'a> {
    proxy: &'a Proxy,
    client: &'a TcpStream,
    origin: &'a TcpStream,
    address: String,
    felt: Mutex<Felt>,
    feels: AtomicBool,
    /// Milliseconds after `start` at which the last byte went through.
    moved: AtomicU64,
    start: Instant,
    changes: watch::Receiver<u64>,
}

impl Proxy {
    pub(crate) fn new(plan: ProxyPlan, gate: Arc<Gate>, faults: Arc<Faults>, book: Arc<Book>) -> Self {
        Proxy { plan, gate, faults, book, line: Mutex::new(Instant::now()) }
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
                    stands(mode);
                    _ = changes.changed().await;
                }
                Mode::Swallow => match BlackHole::open(door.at) {
                    Ok(hole) => {
                        stands(mode);
                        while door.wanted(&self.faults) == mode && changes.changed().await.is_ok() {}
                        drop(hole);
                    }
                    Err(_) => sleep(Duration::from_millis(5)).await,
                },
                Mode::Open => match socket::listener(door.at) {
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
            proxy.serve(pass, client, route, origin, address).await;
        });
    }

    async fn serve(&self, pass: Pass, client: TcpStream, route: Route, origin: SocketAddr, address: String) {
        let Ok(origin) = TcpStream::connect(origin).await else { return drop(pass) };
        _ = origin.set_nodelay(true);
        // Told before the first byte goes through, so the origin can look it up at the first request.
        let Ok(from) = origin.local_addr() else { return drop(pass) };
        self.book.route(from, route);
        let line = Line {
            proxy: self,
            client: &client,
            origin: &origin,
            address,
            felt: Mutex::default(),
            feels: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            start: Instant::now(),
            changes: self.faults.changes(),
        };
        let ending = line.run(&pass).await;
        drop(line);
        self.book.unroute(from);
        if ending == Ending::Reset {
            self.gate.count_reset(false);
            socket::reset_on_close(&client);
        }
        // The place is given back before the client can notice that its connection is gone, and before the
        // descriptor that the gate watches is closed.
        drop(pass);
        drop(client);
    }

    /// Waits for its share of the one line that all connections have.
    async fn pace(&self, bytes: usize, rate: u64) {
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let due = {
            let mut free = lock(&self.line);
            *free = (*free).max(Instant::now()) + cost;
            *free
        };
        sleep_until(due).await;
    }
}

impl Line<'_> {
    async fn run(&self, pass: &Pass) -> Ending {
        let up = self.up(pass);
        let down = self.down();
        let idle = self.idle();
        tokio::pin!(up, down, idle);
        let (mut up_done, mut down_done) = (false, false);
        while !(up_done && down_done) {
            let ending = tokio::select! {
                ending = &mut up, if !up_done => { up_done = true; ending }
                ending = &mut down, if !down_done => { down_done = true; ending }
                () = &mut idle => { self.proxy.gate.count_idle_cut(); Ending::Fin }
            };
            if ending != Ending::Done {
                return ending;
            }
        }
        Ending::Done
    }

    /// Client to origin.
    async fn up(&self, pass: &Pass) -> Ending {
        let mut chunk = vec![0; CHUNK];
        let mut left = None;
        loop {
            if self.held(true).await {
                return Ending::Fin;
            }
            let (read, waited) = match read(self.client, &mut chunk).await {
                Ok(read) => read,
                Err(_) => return Ending::Reset,
            };
            if read == 0 {
                pass.release();
                socket::finish(self.origin);
                return Ending::Done;
            }
            self.touch();
            let mut bytes = &chunk[..read];
            let mut last = None;
            if self.shaped() {
                if self.held(true).await {
                    return Ending::Fin;
                }
                let cut = |fault: &Fault| match fault {
                    Fault::ResetAfterRequest(n) => Some((*n, Ending::Reset)),
                    _ => None,
                };
                last = self.cut(&mut left, &mut bytes, cut);
                self.shape(bytes.len(), waited).await;
            }
            if write(self.origin, bytes).await.is_err() {
                return Ending::Reset;
            }
            if let Some(ending) = last {
                return ending;
            }
        }
    }

    /// Origin to client.
    async fn down(&self) -> Ending {
        let mut chunk = vec![0; CHUNK];
        let mut left = None;
        loop {
            if self.held(false).await {
                return Ending::Fin;
            }
            let (read, waited) = match read(self.origin, &mut chunk).await {
                Ok(read) => read,
                Err(_) => return Ending::Reset,
            };
            if read == 0 {
                socket::finish(self.client);
                return Ending::Done;
            }
            self.touch();
            let mut bytes = &chunk[..read];
            let mut last = None;
            if self.shaped() {
                if self.held(false).await {
                    return Ending::Fin;
                }
                let lost = |fault: &Fault| match fault {
                    Fault::AckLost => Some(Ending::Fin),
                    Fault::AckLostReset => Some(Ending::Reset),
                    _ => None,
                };
                if let Some(ending) = self.proxy.faults.hit(Layer::Proxy, Some(&self.address), lost) {
                    return ending;
                }
                let cut = |fault: &Fault| match fault {
                    Fault::ResetMidAnswer(n) => Some((*n, Ending::Reset)),
                    Fault::CloseMidAnswer(n) => Some((*n, Ending::Fin)),
                    _ => None,
                };
                last = self.cut(&mut left, &mut bytes, cut);
                self.shape(bytes.len(), waited).await;
                if let Some(rate) = self.feel(|fault| if let Fault::Drip(n) = fault { Some(*n) } else { None }) {
                    if self.drip(bytes, rate).await.is_err() {
                        return Ending::Reset;
                    }
                    bytes = &[];
                }
            }
            if write(self.client, bytes).await.is_err() {
                return Ending::Reset;
            }
            if let Some(ending) = last {
                return ending;
            }
        }
    }

    fn touch(&self) {
        self.moved.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether any chunk needs a closer look; false costs one load.
    fn shaped(&self) -> bool {
        let plan = &self.proxy.plan;
        self.proxy.faults.on(Layer::Proxy)
            || self.feels.load(Ordering::Relaxed)
            || plan.latency_ms.is_some()
            || plan.bytes_per_second.is_some()
    }

    fn feel<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut felt = lock(&self.felt);
        let found = self.proxy.faults.feel(&mut felt, Some(&self.address), pick);
        self.feels.store(felt.any(), Ordering::Relaxed);
        found
    }

    /// Waits as long as a fault holds this direction; true when the client went away meanwhile.
    async fn held(&self, upwards: bool) -> bool {
        let holds = |fault: &Fault| match fault {
            Fault::HalfOpen => Some(()),
            Fault::StallUpload if upwards => Some(()),
            _ => None,
        };
        let mut changes = self.changes.clone();
        while (self.proxy.faults.on(Layer::Proxy) || self.feels.load(Ordering::Relaxed)) && self.feel(holds).is_some() {
            if socket::peer_gone(self.client.as_fd()) {
                return true;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
        false
    }

    /// Cuts the connection after a number of bytes: shortens `bytes`, and gives the ending when this chunk reaches it.
    fn cut<'b>(
        &self,
        left: &mut Option<(u64, u64, Ending)>,
        bytes: &mut &'b [u8],
        pick: impl Fn(&Fault) -> Option<(u64, Ending)>,
    ) -> Option<Ending> {
        let heals = self.proxy.faults.heals();
        if left.is_none_or(|(then, ..)| then != heals) {
            let found = self.proxy.faults.hit(Layer::Proxy, Some(&self.address), pick);
            *left = found.map(|(n, ending)| (heals, n, ending));
        }
        let (_, left, ending) = left.as_mut()?;
        if *left > bytes.len() as u64 {
            *left -= bytes.len() as u64;
            return None;
        }
        *bytes = &bytes[..*left as usize];
        Some(*ending)
    }

    /// Latency and bandwidth. A chunk that was already waiting has had its delay with the one before it.
    async fn shape(&self, bytes: usize, waited: bool) {
        let plan = &self.proxy.plan;
        let latency = self.feel(|fault| if let Fault::Latency(ms) = fault { Some(*ms) } else { None });
        if let Some(ms) = latency.or(plan.latency_ms).filter(|_| waited) {
            sleep(Duration::from_millis(ms)).await;
        }
        let rate = self.feel(|fault| if let Fault::Bandwidth(n) = fault { Some(*n) } else { None });
        if let Some(rate) = rate.or(plan.bytes_per_second) {
            self.proxy.pace(bytes, rate).await;
        }
    }

    /// Writes at so many bytes per second, in twentieths of a second or single bytes.
    async fn drip(&self, bytes: &[u8], rate: u64) -> io::Result<()> {
        let drop = (rate / 20).max(1) as usize;
        for bytes in bytes.chunks(drop) {
            sleep(Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64)).await;
            write(self.client, bytes).await?;
            self.touch();
        }
        Ok(())
    }

    /// Ends when the connection has been idle for too long.
    async fn idle(&self) {
        let mut changes = self.changes.clone();
        let cut = |fault: &Fault| if let Fault::IdleCut(ms) = fault { Some(*ms) } else { None };
        loop {
            changes.mark_unchanged();
            let fault = self.proxy.faults.look(Some(&self.address), cut);
            let Some(limit) = fault.or(self.proxy.plan.idle_cut_ms) else {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let due = self.start + moved + Duration::from_millis(limit);
            if due <= Instant::now() {
                if fault.is_some() {
                    self.proxy.faults.hit(Layer::Proxy, Some(&self.address), cut);
                }
                return;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

/// Reads what is there, or waits; tells which.
async fn read(from: &TcpStream, chunk: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut waited = false;
    loop {
        match from.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited = true;
                from.readable().await?;
            }
            read => return Ok((read?, waited)),
        }
    }
}

async fn write(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}

/// Binds one port number on all addresses: the first is the kernel's choice, the others must have it free too.
pub(crate) fn reserve(addresses: &[Ipv4Addr]) -> io::Result<(u16, Vec<socket2::Socket>)> {
    const ATTEMPTS: usize = 64;
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "proxy_ips must not be empty");
    for _ in 0..ATTEMPTS {
        let Some((first, others)) = addresses.split_first() else { break };
        let socket = socket::reserve(SocketAddr::from((*first, 0)))?;
        let port = socket.local_addr()?.as_socket().map_or(0, |at| at.port());
        let rest: io::Result<Vec<_>> =
            others.iter().map(|ip| socket::reserve(SocketAddr::from((*ip, port)))).collect();
        match rest {
            Ok(mut rest) => {
                rest.insert(0, socket);
                return Ok((port, rest));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
