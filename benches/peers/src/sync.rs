//! Workload `sync`: one keep-alive GET after the other, from one blocking caller.
//!
//! Every peer takes a URL as text, as its documentation shows, keeps one connection and reads the body to its
//! end. The limit is a bare blocking socket that sends the same request and reads the answer by its
//! `Content-Length`; over TLS, rustls on that socket. TLS is ring's everywhere, with the same CA.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem;
use pinlink::{Client, Request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::machine::locked;
use crate::measure::{Figure, Peer, Result, Turn, Whose, cpu, quantile};
use crate::server::{BODY, NAME, Server};

/// The requests of a turn.
pub(crate) const TURN: usize = 200;
/// Requests before a turn's first measured one: caches are the previous peer's.
const LEAD_IN: usize = 20;
/// Requests before the first turn.
const WARM_UP: usize = 1000;

/// One GET: sends it, reads the answer, returns the length of its body.
type Get = Box<dyn FnMut() -> Result<usize>>;

struct Caller {
    name: &'static str,
    package: &'static str,
    get: Get,
    warm: bool,
}

impl Caller {
    fn get(&mut self) -> Result<()> {
        match (self.get)()? {
            BODY => Ok(()),
            other => Err(format!("the body has {other} bytes").into()),
        }
    }
}

impl Peer for Caller {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        locked(self.package)
    }

    fn turn(&mut self) -> Result<Turn> {
        let lead_in = if std::mem::replace(&mut self.warm, true) { LEAD_IN } else { WARM_UP };
        for _ in 0..lead_in {
            self.get()?;
        }
        let mut latencies = Vec::with_capacity(TURN);
        let cpu_before = cpu(Whose::Ours);
        let begun = Instant::now();
        for _ in 0..TURN {
            let sent = Instant::now();
            self.get()?;
            latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        let elapsed = begun.elapsed();
        let cpu_used = cpu(Whose::Ours) - cpu_before;
        latencies.sort_unstable_by(f64::total_cmp);
        Ok(Turn::from([
            (Figure::P50Us, quantile(&latencies, 0.5)),
            (Figure::P99Us, quantile(&latencies, 0.99)),
            (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / TURN as f64),
            (Figure::PerSecond, TURN as f64 / elapsed.as_secs_f64()),
        ]))
    }
}

/// The names of the peers, the limit first.
pub(crate) const NAMES: [&str; 4] = ["raw socket", "pinlink send", "ureq", "reqwest blocking"];

/// All peers, each with its connection still to be made.
pub(crate) fn peers(server: &Server, tls: bool) -> Result<Vec<Box<dyn Peer>>> {
    let url = if tls {
        format!("https://{NAME}:{}/answer", server.tls().port())
    } else {
        format!("http://{}/answer", server.plain())
    };
    let gets: [(&str, Get); 4] = [
        (if tls { "rustls" } else { "std" }, if tls { raw_tls(server)? } else { raw(server.plain())? }),
        ("pinlink", pinlink_send(server, url.clone(), tls)?),
        ("ureq", ureq_agent(server, url.clone(), tls)?),
        ("reqwest", reqwest_blocking(server, url, tls)?),
    ];
    let callers = NAMES.into_iter().zip(gets);
    Ok(callers
        .map(|(name, (package, get))| -> Box<dyn Peer> { Box::new(Caller { name, package, get, warm: false }) })
        .collect())
}

fn raw(address: SocketAddr) -> Result<Get> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let (request, mut buffer) = (bare_request(&address.to_string()), [0; 4096]);
    Ok(Box::new(move || Ok(exchange(&mut socket, &request, &mut buffer)?)))
}

fn raw_tls(server: &Server) -> Result<Get> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca().as_bytes())?)?;
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let session = ClientConnection::new(config, ServerName::try_from(NAME)?)?;
    let socket = TcpStream::connect(server.tls())?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(session, socket);
    let (request, mut buffer) = (bare_request(&format!("{NAME}:{}", server.tls().port())), [0; 4096]);
    Ok(Box::new(move || Ok(exchange(&mut stream, &request, &mut buffer)?)))
}

/// The same headers as the others send, so that nginx has the same work.
fn bare_request(host: &str) -> Vec<u8> {
    format!("GET /answer HTTP/1.1\r\nhost: {host}\r\nuser-agent: raw/1.0\r\naccept: */*\r\n\r\n").into_bytes()
}

/// The least that is an exchange: one write, and reads until the announced body is there.
fn exchange(stream: &mut (impl Read + Write), request: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    stream.write_all(request)?;
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => filled += got,
        }
        let answer = &buffer[..filled];
        let Some(head) = memmem::find(answer, b"\r\n\r\n") else { continue };
        let length = content_length(&answer[..head]).ok_or(io::ErrorKind::InvalidData)?;
        if filled >= head + 4 + length {
            return Ok(length);
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\nContent-Length: ";
    let at = memmem::find(head, NAME)? + NAME.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}

fn pinlink_send(server: &Server, url: String, tls: bool) -> Result<Get> {
    let origin = url.trim_end_matches("/answer").to_owned();
    let mut builder = Client::builder().hosts([&origin]).allow_addresses(["127.0.0.0/8"]);
    if tls {
        builder = builder.pins([format!("{NAME}=127.0.0.1")]).ca_file(server.ca_file());
    }
    let client = builder.build()?;
    Ok(Box::new(move || Ok(client.send(&Request::get(&url))?.body().len())))
}

fn ureq_agent(server: &Server, url: String, tls: bool) -> Result<Get> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};

    let mut config = ureq::Agent::config_builder().proxy(None);
    if tls {
        let roots = RootCerts::new_with_certs(&[Certificate::from_pem(server.ca().as_bytes())?]);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    let agent = ureq::Agent::new_with_config(config.build());
    Ok(Box::new(move || Ok(agent.get(&url).call()?.body_mut().read_to_vec()?.len())))
}

fn reqwest_blocking(server: &Server, url: String, tls: bool) -> Result<Get> {
    let mut builder = reqwest::blocking::Client::builder().no_proxy();
    if tls {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(server.ca().as_bytes())?]);
    }
    let client = builder.build()?;
    Ok(Box::new(move || Ok(client.get(&url).send()?.bytes()?.len())))
}
