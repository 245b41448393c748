//! One connection through the proxy: bytes copied in both directions, and what faults do to them.
//!
//! Owns: the copying and every fault between client and origin, from a reset after N bytes to a trickle. Never looks
//! into what it copies. A fault that lasts counts one hit per connection, at the moment the connection first feels it;
//! faults that come and go act on connections that are open already.
//! Time: tokio's clock, for latency, bandwidth and the idle cut. Randomness: none.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::counts::lock;
use crate::fault::{Fault, Layer};
use crate::gate::Pass;
use crate::proxy::Proxy;
use crate::socket;
use crate::switch::Felt;

/// How much one read takes.
const CHUNK: usize = 32 * 1024;

/// How often a connection that is held by a fault looks whether its client has gone.
const LOOK: Duration = Duration::from_millis(20);

/// How a connection ends by the proxy's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both sides have said all.
    Done,
    Fin,
    /// FIN, because it was idle for too long.
    IdleCut,
    /// RST, as a fault.
    Reset,
    /// RST, handed on from the origin.
    Broken,
}

/// What becomes of a connection that was idle for too long.
#[derive(Clone, Copy)]
enum Idle {
    /// It is closed.
    Cut,
    /// Nobody is told.
    Forgotten,
}

/// One connection.
pub(crate) struct Line<'a> {
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

impl<'a> Line<'a> {
    /// A connection that dialled `dialled`; faults for that address act on it.
    pub(crate) fn new(proxy: &'a Proxy, client: &'a TcpStream, origin: &'a TcpStream, dialled: SocketAddr) -> Self {
        Line {
            proxy,
            client,
            origin,
            address: dialled.ip().to_string(),
            felt: Mutex::default(),
            feels: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            start: Instant::now(),
            changes: proxy.faults.changes(),
        }
    }

    /// Copies until both sides have said all, or a fault ends it.
    pub(crate) async fn run(&self, pass: &Pass) -> Ending {
        let up = self.up(pass);
        let down = self.down();
        let idle = self.idle();
        tokio::pin!(up, down, idle);
        let (mut up_done, mut down_done) = (false, false);
        while !(up_done && down_done) {
            let ending = tokio::select! {
                ending = &mut up, if !up_done => { up_done = true; ending }
                ending = &mut down, if !down_done => { down_done = true; ending }
                cut = &mut idle => match cut {
                    Idle::Cut => Ending::IdleCut,
                    Idle::Forgotten => return self.forgotten().await,
                },
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
        let (mut left, mut first) = (None, true);
        loop {
            if self.held(true).await {
                return Ending::Fin;
            }
            let (read, waited) = match read(self.client, &mut chunk).await {
                Ok((read, waited)) => (read, waited || std::mem::take(&mut first)),
                // The client has gone; there is nobody left to tell.
                Err(_) => return Ending::Fin,
            };
            if read == 0 {
                pass.release();
                socket::finish(self.origin);
                return Ending::Done;
            }
            self.touch();
            let mut bytes = &chunk[..read];
            let mut last = None;
            if left.is_some() || self.shaped() {
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
                return Ending::Broken;
            }
            if let Some(ending) = last {
                return ending;
            }
        }
    }

    /// Origin to client.
    async fn down(&self) -> Ending {
        let mut chunk = vec![0; CHUNK];
        let (mut left, mut first) = (None, true);
        loop {
            if self.held(false).await {
                return Ending::Fin;
            }
            let (read, waited) = match read(self.origin, &mut chunk).await {
                Ok((read, waited)) => (read, waited || std::mem::take(&mut first)),
                Err(_) => return Ending::Broken,
            };
            if read == 0 {
                socket::finish(self.client);
                return Ending::Done;
            }
            self.touch();
            let mut bytes = &chunk[..read];
            let mut last = None;
            if left.is_some() || self.shaped() {
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
                        return Ending::Fin;
                    }
                    bytes = &[];
                }
            }
            if write(self.client, bytes).await.is_err() {
                return Ending::Fin;
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
            Fault::Flap(ms) if self.proxy.odd(*ms) => Some(()),
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
    fn cut(
        &self,
        left: &mut Option<(u64, u64, Ending)>,
        bytes: &mut &[u8],
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

    /// Holds what the proxy does not know any more until the client leaves by itself.
    async fn forgotten(&self) -> Ending {
        while !socket::peer_gone(self.client.as_fd()) {
            sleep(LOOK).await;
        }
        Ending::Fin
    }

    /// Ends when the connection has been idle for too long.
    async fn idle(&self) -> Idle {
        let mut changes = self.changes.clone();
        let cut = |fault: &Fault| match fault {
            Fault::IdleCut(ms) => Some((*ms, Idle::Cut)),
            Fault::IdleDrop(ms) => Some((*ms, Idle::Forgotten)),
            _ => None,
        };
        loop {
            changes.mark_unchanged();
            let fault = self.proxy.faults.look(Some(&self.address), cut);
            let planned = self.proxy.plan.idle_cut_ms.map(|ms| (ms, Idle::Cut));
            let Some((limit, end)) = fault.or(planned) else {
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
                return end;
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
