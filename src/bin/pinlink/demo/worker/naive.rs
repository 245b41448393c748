//! A row as people write it today, in good faith: what `requests.get(url)` in a UDF does, and the retry loop that
//! the platform's documentation shows around it.
//!
//! Every row gets a client of its own, so every row resolves, connects and shakes hands again. The name is asked
//! for as glibc does by default (5 s, 2 tries), only A, where glibc would ask for AAAA too. Timeouts are
//! sensible, three blind retries follow a short sleep, and the answer is checked like the other side's.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::Fetch;
use crate::demo::words::{Job, Place};

/// `options timeout:5 attempts:2`, the defaults of resolv.conf(5).
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const QUERY_TRIES: usize = 2;
/// Retries after the first try, and the sleep before each.
pub(crate) const RETRIES: usize = 3;
pub(crate) const SLEEP: Duration = Duration::from_millis(200);
/// Time limits as careful authors set them.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// What every row starts from.
pub(super) struct Naive {
    config: Config,
    dns: SocketAddr,
}

impl Naive {
    /// Reads the CA; nothing else is kept from row to row.
    pub(super) fn new(job: &Job) -> Result<Naive, String> {
        Ok(Naive { config: config(&job.place, CONNECT, ANSWER)?, dns: job.place.dns })
    }

    fn once(&self, url: &str) -> Result<Vec<u8>, Error> {
        agent(self.config.clone(), self.dns).get(url).call()?.body_mut().read_to_vec()
    }
}

/// What a careful author sets, and nothing else.
pub(crate) fn config(place: &Place, connect: Duration, answer: Duration) -> Result<Config, String> {
    let pem = fs::read(&place.ca_file).map_err(|error| error.to_string())?;
    let ca = Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
    Ok(Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::from([ca])).build())
        .proxy(None)
        .timeout_connect(Some(connect))
        .timeout_recv_response(Some(answer))
        .timeout_recv_body(Some(answer))
        .build())
}

/// A client that asks the job's name server.
pub(crate) fn agent(config: Config, dns: SocketAddr) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Dns(dns))
}

impl Fetch for Naive {
    fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut outcome = self.once(url);
        for _ in 0..RETRIES {
            if outcome.is_ok() {
                break;
            }
            thread::sleep(SLEEP);
            outcome = self.once(url);
        }
        outcome.map_err(|error| error.to_string())
    }
}

/// The job's name server, asked for every connection.
#[derive(Debug)]
struct Dns(SocketAddr);

impl Resolver for Dns {
    fn resolve(&self, uri: &Uri, _config: &Config, _timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(443);
        let mut found = self.empty();
        for address in self.look_up(host)? {
            // The list holds 16; more are never needed to connect to one.
            if found.try_push(SocketAddr::new(address, port)).is_err() {
                break;
            }
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

impl Dns {
    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let name = Name::from_ascii(format!("{host}.")).map_err(io::Error::other)?;
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name, RecordType::A));
        let packet = question.to_vec().map_err(io::Error::other)?;
        for _ in 0..QUERY_TRIES {
            if let Some(answer) = self.ask(&packet, question.metadata.id)? {
                let found = answer.metadata.response_code == ResponseCode::NoError;
                let addresses = answer.answers.iter().filter_map(|record| record.data.ip_addr());
                return if found { Ok(addresses.collect()) } else { Err(Error::HostNotFound) };
            }
        }
        Err(Error::HostNotFound)
    }

    /// One query; none where no answer came in time.
    fn ask(&self, packet: &[u8], id: u16) -> io::Result<Option<Message>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.0)?;
        socket.send(packet)?;
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            let left = QUERY_TIMEOUT.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(length) => match Message::from_vec(&buffer[..length]) {
                    Ok(answer) if answer.metadata.id == id => return Ok(Some(answer)),
                    _ => {}
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
