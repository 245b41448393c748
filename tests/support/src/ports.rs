//! Places to listen at: ports that must be free on several addresses or for two protocols at once, and a directory.
//!
//! Owns: the binding at start; what listens there later is the business of others. Everything stays in 127.0.0.0/8.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, UdpSocket};

use crate::plan::Plan;
use crate::proxy::Door;
use crate::socket::{self, BlackHole};

/// How often a port number that is taken elsewhere is exchanged for another.
const ATTEMPTS: usize = 64;

/// Binds proxied ports, dead ones included.
pub(crate) struct Ports<'a> {
    plan: &'a Plan,
    pub(crate) doors: Vec<Arc<Door>>,
    pub(crate) dead: Vec<BlackHole>,
}

impl<'a> Ports<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Ports { plan, doors: Vec::new(), dead: Vec::new() }
    }

    /// One port number on every proxy address and every dead one.
    pub(crate) fn proxied(&mut self, origin: SocketAddr) -> io::Result<u16> {
        let addresses: Vec<Ipv4Addr> = self.plan.proxy_ips.iter().chain(&self.plan.dead_ips).copied().collect();
        let (port, reserved) = reserve(&addresses)?;
        for (at, (ip, reserved)) in addresses.iter().zip(reserved).enumerate() {
            let address = SocketAddr::from((*ip, port));
            if at < self.plan.proxy_ips.len() {
                self.doors.push(Arc::new(Door::new(reserved, address, origin)));
            } else {
                self.dead.push(BlackHole::open(&reserved)?);
            }
        }
        Ok(port)
    }
}

fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = socket::listener(local())?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// UDP and TCP on one port number.
pub(crate) fn bind_dns() -> io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let udp = std::net::UdpSocket::bind(local())?;
        let at = udp.local_addr()?;
        match socket::listener(at) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                return Ok((UdpSocket::from_std(udp)?, tcp, at));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A directory of our own for the CA file.
pub(crate) fn directory() -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let turn = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("pinlink-box-{}-{started}-{turn}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path)?;
    Ok(path)
}

pub(crate) fn check(plan: &Plan) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if plan.proxy_ips.is_empty() {
        return wrong("proxy-ips must not be empty".to_owned());
    }
    match plan.proxy_ips.iter().chain(&plan.dead_ips).find(|ip| !ip.is_loopback()) {
        Some(ip) => wrong(format!("{ip} is outside 127.0.0.0/8, where the box stays")),
        None => Ok(()),
    }
}

/// Binds one port number on all addresses: the first is the kernel's choice, the others must have it free too.
fn reserve(addresses: &[Ipv4Addr]) -> io::Result<(u16, Vec<socket2::Socket>)> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "proxy_ips must not be empty");
    for _ in 0..ATTEMPTS {
        let Some((first, others)) = addresses.split_first() else {
            break;
        };
        let socket = socket::reserve(SocketAddr::from((*first, 0)))?;
        let port = socket.local_addr()?.as_socket().map_or(0, |at| at.port());
        let rest: io::Result<Vec<_>> = others.iter().map(|ip| socket::reserve(SocketAddr::from((*ip, port)))).collect();
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
