//! What the box promises to those who test with it. Real time over loopback; whatever can be awaited is awaited, and
//! silence is the one thing that costs a (short) wait.

mod dialect;
mod dns;
mod exchange;
mod http2;
mod identity;
mod index;
mod objects;
mod origin;
mod proxy;
mod scripted;
mod scripted2;
mod table;
mod trouble;
mod tunnel;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Network, Plan};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

fn start(plan: Plan) -> Network {
    Network::start(plan).expect("a network")
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&at, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// One request, everything that comes back until the connection ends, and how it ended.
fn exchange(at: SocketAddr, request: &str) -> (String, std::io::Result<()>) {
    let mut stream = dial(at);
    let mut answer = Vec::new();
    let ended = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)).map(|_| ());
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

fn get(at: SocketAddr, path: &str) -> String {
    exchange(at, &format!("GET {path} HTTP/1.1\r\nHost: kms.box.test\r\nConnection: close\r\n\r\n")).0
}

fn post(at: SocketAddr, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: kms.box.test\r\nConnection: close\r\n{fields}");
    exchange(at, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).0
}

/// What the sink recorded of a record: attempts, effects and distinct bodies, all its keys together.
fn recorded(network: &Network, record: &str) -> (u64, u64, usize) {
    let writes = network.sink().into_iter().filter(|write| write.record == record);
    writes.fold((0, 0, 0), |sum, write| (sum.0 + write.attempts, sum.1 + write.applied, sum.2 + write.bodies.len()))
}

/// A keep-alive request on an open connection, and its answer's head and five or more bytes of body.
fn again(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET /bytes/5 HTTP/1.1\r\nHost: kms.box.test\r\n\r\n")?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend(&chunk[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Waits for a state that another thread brings about.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never saw: {what}");
        std::thread::yield_now();
    }
}
