//! The DNS server: UDP and TCP on one port, scripted answers, a query limit, a log.
//!
//! Owns: the zone (the plan's names and `*.box.test`, one label deep), the token bucket, and which fault becomes what.
//! Built on hickory's messages over plain sockets rather than on hickory-server, because half of the faults are
//! messages that a well-behaved server cannot be made to send.
//! Time: tokio's clock, for the bucket and slow answers. Randomness: none; "20 % SERVFAIL" is every fifth query.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::counts::{Book, Query, lock};
use crate::fault::{Fault, Followed, Layer, Malformation};
use crate::message::{Transport, address, alias, malformed, pack, plain, zone_name};
use crate::switch::Faults;

/// The largest set that still fits one message of 64 KiB.
const MOST_ADDRESSES: usize = 4000;

/// What the server knows.
pub(crate) struct Dns {
    names: Vec<String>,
    addresses: Vec<Ipv4Addr>,
    ttl: u32,
    plan_limit: Option<u32>,
    bucket: Mutex<Bucket>,
    turn: AtomicU64,
    book: Arc<Book>,
    faults: Arc<Faults>,
}

/// A token bucket whose burst is one second's worth.
struct Bucket {
    rate: u32,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Bucket { rate, tokens: f64::from(rate), filled: Instant::now() }
    }

    fn take(&mut self, rate: u32) -> bool {
        if rate != self.rate {
            *self = Bucket::new(rate);
        }
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * f64::from(rate);
        self.tokens = (self.tokens + gained).min(f64::from(rate));
        self.filled = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

/// What goes back: packets in order, how the log calls it, and how late it is.
struct Reply {
    after: Duration,
    packets: Vec<Vec<u8>>,
    called: &'static str,
}

/// What a fault makes of a query.
enum Twist {
    Drop,
    Code(ResponseCode),
    NoData,
    Truncate,
    Loop,
    Chain(u32),
    Answer(Vec<IpAddr>),
    Many(u32),
    Malformed(Malformation, Followed),
}

impl Dns {
    pub(crate) fn new(plan: &crate::Plan, book: Arc<Book>, faults: Arc<Faults>) -> Self {
        Dns {
            names: plan.names.iter().map(|name| plain(name)).collect(),
            addresses: plan.dead_ips.iter().chain(&plan.proxy_ips).copied().collect(),
            ttl: plan.ttl,
            plan_limit: plan.queries_per_second,
            bucket: Mutex::new(Bucket::new(0)),
            turn: AtomicU64::new(0),
            book,
            faults,
        }
    }

    pub(crate) async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut packet = vec![0; 4096];
        loop {
            // An ICMP error of an earlier answer shows up here; it is nobody's business.
            let Ok((length, client)) = socket.recv_from(&mut packet).await else {
                continue;
            };
            let Some(reply) = self.answer(&packet[..length], client, Transport::Udp) else {
                continue;
            };
            if reply.after.is_zero() {
                for packet in reply.packets {
                    _ = socket.send_to(&packet, client).await;
                }
            } else {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    tokio::time::sleep(reply.after).await;
                    for packet in reply.packets {
                        _ = socket.send_to(&packet, client).await;
                    }
                });
            }
        }
    }

    pub(crate) async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, client)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            _ = stream.set_nodelay(true);
            let dns = Arc::clone(&self);
            tokio::spawn(async move { dns.converse(stream, client).await });
        }
    }

    async fn converse(&self, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await?;
            let Some(reply) = self.answer(&packet, client, Transport::Tcp) else {
                continue;
            };
            tokio::time::sleep(reply.after).await;
            for packet in reply.packets {
                let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
                framed.extend(packet);
                stream.write_all(&framed).await?;
            }
        }
    }

    /// Decides on, builds and logs the answer. `None` for what is no query at all.
    fn answer(&self, packet: &[u8], client: SocketAddr, transport: Transport) -> Option<Reply> {
        let query = Message::from_vec(packet).ok()?;
        let question = query.queries.first()?;
        if query.metadata.message_type != MessageType::Query {
            return None;
        }
        let name = plain(&question.name.to_ascii());
        let kind = question.query_type.to_string();
        let reply = self.reply(&query, &name, transport);
        self.book.query(Query {
            at_us: self.book.elapsed_us(),
            name,
            kind,
            transport: if transport == Transport::Udp { "udp" } else { "tcp" }.to_owned(),
            answered: reply.called.to_owned(),
            client,
        });
        Some(reply)
    }

    fn reply(&self, query: &Message, name: &str, transport: Transport) -> Reply {
        let hit = |pick: fn(&Fault) -> Option<u64>| self.faults.hit(Layer::Dns, Some(name), pick);
        let limit = hit(|fault| if let Fault::RateLimit(n) = fault { Some(u64::from(*n)) } else { None });
        let limit = limit.map(|n| n as u32).or(self.plan_limit);
        let dropped = || Reply { after: Duration::ZERO, packets: Vec::new(), called: "dropped" };
        if limit.is_some_and(|rate| !lock(&self.bucket).take(rate)) {
            return dropped();
        }
        let slow = hit(|fault| if let Fault::SlowAnswer(ms) = fault { Some(*ms) } else { None });
        let ttl = hit(|fault| if let Fault::Ttl(ttl) = fault { Some(u64::from(*ttl)) } else { None });
        let ttl = ttl.map_or(self.ttl, |ttl| ttl as u32);
        let after = Duration::from_millis(slow.unwrap_or(0));
        let twist = self.twist(name, transport);
        let mut answer = self.honest(query, name, ttl);
        let called = match twist {
            Some(Twist::Drop) => return dropped(),
            Some(Twist::Malformed(how, then)) => {
                let mut packets = vec![malformed(how, query, &answer, ttl)];
                if then == Followed::RightAnswer {
                    packets.push(pack(&answer, transport).0);
                }
                return Reply { after, packets, called: "malformed" };
            }
            Some(twist) => self.apply(twist, query, &mut answer, ttl),
            None => match (answer.metadata.response_code, answer.answers.is_empty()) {
                (ResponseCode::NoError, false) => "answer",
                (ResponseCode::NoError, true) => "no-data",
                (ResponseCode::NXDomain, _) => "nx-domain",
                _ => "not-imp",
            },
        };
        let (packet, cut) = pack(&answer, transport);
        Reply { after, packets: vec![packet], called: if cut { "truncated" } else { called } }
    }

    /// The answer of a server that has nothing to hide.
    fn honest(&self, query: &Message, name: &str, ttl: u32) -> Message {
        let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        answer.metadata = Metadata::response_from_request(&query.metadata);
        answer.metadata.authoritative = true;
        answer.metadata.recursion_available = true;
        answer.queries.clone_from(&query.queries);
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(query.max_payload());
            answer.edns = Some(edns);
        }
        if query.metadata.op_code != OpCode::Query {
            answer.metadata.response_code = ResponseCode::NotImp;
        } else if !self.knows(name) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        } else if query.queries[0].query_type == RecordType::A {
            let owner = &query.queries[0].name;
            answer.answers = self.addresses.iter().map(|ip| address(owner, ttl, IpAddr::V4(*ip))).collect();
        }
        answer
    }

    /// Whether this name, plain, is one of the plan's or in the zone.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let label = name.strip_suffix(crate::ZONE).and_then(|rest| rest.strip_suffix('.'));
        self.names.iter().any(|known| known == name) || label.is_some_and(|label| !label.contains('.'))
    }

    fn twist(&self, name: &str, transport: Transport) -> Option<Twist> {
        let udp = transport == Transport::Udp;
        // Looked at before it counts: ServFail below 100 % must not spend a hit on a query it lets through.
        let percent = self.faults.on(Layer::Dns).then(|| {
            let pick = |fault: &Fault| {
                if let Fault::ServFail(percent) = fault { Some(*percent) } else { None }
            };
            self.faults.look(Some(name), pick)
        });
        let fails = percent.flatten().is_some_and(|percent| {
            let percent = u64::from(percent.min(100));
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            (turn + 1) * percent / 100 > turn * percent / 100
        });
        self.faults.hit(Layer::Dns, Some(name), |fault| match fault {
            Fault::Silent => Some(Twist::Drop),
            Fault::ServFail(_) if fails => Some(Twist::Code(ResponseCode::ServFail)),
            Fault::Refused => Some(Twist::Code(ResponseCode::Refused)),
            Fault::NotImp => Some(Twist::Code(ResponseCode::NotImp)),
            Fault::FormErr => Some(Twist::Code(ResponseCode::FormErr)),
            Fault::NxDomain => Some(Twist::Code(ResponseCode::NXDomain)),
            Fault::NoData => Some(Twist::NoData),
            Fault::Truncate | Fault::TruncateNoTcp if udp => Some(Twist::Truncate),
            Fault::TruncateNoTcp => Some(Twist::Drop),
            Fault::AliasLoop => Some(Twist::Loop),
            Fault::AliasChain(length) => Some(Twist::Chain(*length)),
            Fault::Answer(addresses) => Some(Twist::Answer(addresses.clone())),
            Fault::ManyAddresses(n) => Some(Twist::Many(*n)),
            Fault::Malformed(how, then) => Some(Twist::Malformed(*how, *then)),
            _ => None,
        })
    }

    /// Twists the honest answer; gives what the log calls it.
    fn apply(&self, twist: Twist, query: &Message, answer: &mut Message, ttl: u32) -> &'static str {
        let question = &query.queries[0];
        let owner = &question.name;
        match twist {
            Twist::Code(code) => {
                answer.metadata.response_code = code;
                answer.answers.clear();
                match code {
                    ResponseCode::ServFail => "serv-fail",
                    ResponseCode::Refused => "refused",
                    ResponseCode::NotImp => "not-imp",
                    ResponseCode::FormErr => "form-err",
                    _ => "nx-domain",
                }
            }
            Twist::NoData => {
                answer.metadata.response_code = ResponseCode::NoError;
                answer.answers.clear();
                "no-data"
            }
            Twist::Truncate => {
                answer.metadata.truncation = true;
                let half = answer.answers.len() / 2;
                answer.answers.truncate(half);
                "truncated"
            }
            Twist::Loop => {
                let (one, other) = (zone_name("loop-a"), zone_name("loop-b"));
                let next = if *owner == one { &other } else { &one };
                let back = if *owner == one { owner } else { &other };
                answer.answers = vec![alias(owner, ttl, next), alias(next, ttl, back)];
                if *owner != one {
                    answer.answers.push(alias(&other, ttl, &one));
                }
                "alias-loop"
            }
            Twist::Chain(length) => {
                let mut chain = Vec::new();
                let mut at = owner.clone();
                for step in 0..length {
                    let next = zone_name(&format!("alias-{}", step + 1));
                    chain.push(alias(&at, ttl, &next));
                    at = next;
                }
                for mut record in answer.answers.drain(..) {
                    record.name = at.clone();
                    chain.push(record);
                }
                answer.answers = chain;
                "alias-chain"
            }
            Twist::Answer(addresses) => {
                answer.metadata.response_code = ResponseCode::NoError;
                let fits = |ip: &&IpAddr| ip.is_ipv4() == (question.query_type == RecordType::A);
                let asked = matches!(question.query_type, RecordType::A | RecordType::AAAA);
                let fitting = addresses.iter().filter(|_| asked).filter(fits);
                answer.answers = fitting.map(|ip| address(owner, ttl, *ip)).collect();
                if answer.answers.is_empty() { "no-data" } else { "answer" }
            }
            Twist::Many(n) => {
                let n = (n as usize).min(MOST_ADDRESSES);
                let filler = (answer.answers.len()..n).map(|at| Ipv4Addr::new(127, 200, (at >> 8) as u8, at as u8));
                if question.query_type == RecordType::A {
                    answer.answers.extend(filler.map(|ip| address(owner, ttl, IpAddr::V4(ip))));
                }
                "many-addresses"
            }
            Twist::Drop | Twist::Malformed(..) => "dropped",
        }
    }
}
