//! Workload `one-cap`: 200 callers of every kind, one client, one proxy with room for eight connections.
//!
//! Blocking callers (HTTP/1.1), async callers in the plain (HTTP/1.1) and over TLS (HTTP/2 by ALPN), and callers of raw
//! sockets, who say two GETs by hand over each and close it.
//!
//! What is compared: exchanges per second, where the server takes the same fixed time for each, so that connections are
//! the limit and not this machine. An HTTP/2 connection would carry a hundred such waits at once and make the cap
//! meaningless, so the client gives each connection one stream: whatever its protocol, an exchange then takes one
//! connection for the server's time, and 8 connections that are never without one are the most that can be. That most
//! is measured in the same run, in turn: 8 threads on 8 bare sockets that are never closed. Raw callers dial for every
//! second exchange by their nature, which nobody can save them: so the mix is also held against bare sockets of which
//! as large a part is closed after every second exchange. What is lost against those is lost by the client: its own
//! dials and handshakes, and places that stand empty between two hands.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pinlink::{AsyncClient, Client, Request, Stats};
use pinlink_box::{OverCap, Plan, ProxyCounts, ProxyPlan};
use serde::Serialize;
use serde_json::json;

use crate::Result;
use crate::boxed::Boxed;
use crate::report::{Bound, Finding, Workload};
use crate::timeline::{SLICE, Timeline};

const CAP: usize = 8;
/// The server's time for each request: far above what a request costs this machine.
const PATH: &str = "/delay/5";
/// How many callers there are of each kind; 200 in all.
const CALLERS: [(Kind, usize); 4] =
    [(Kind::Blocking, 80), (Kind::AsyncPlain, 40), (Kind::AsyncTls, 40), (Kind::Raw, 40)];
/// The exchanges over one raw socket.
const SAID: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blocking,
    AsyncPlain,
    AsyncTls,
    Raw,
}

/// One turn of the mix.
struct Turn {
    rate: f64,
    /// Second by second.
    rates: Vec<f64>,
    by_kind: Vec<(Kind, u64)>,
    failed: u64,
    first_failure: Option<String>,
    stats: Stats,
    proxy: ProxyCounts,
}

pub(crate) fn run(quick: bool) -> Result<Workload> {
    let (turns, mixed, alone) = (2, Duration::from_secs(if quick { 5 } else { 30 }), Duration::from_secs(5));
    let alone = if quick { alone / 2 } else { alone };
    let proxy = ProxyPlan { cap: Some(CAP), over_cap: OverCap::Reset, ..ProxyPlan::default() };
    let network = Boxed::start(&Plan { proxy, ..Plan::default() })?;
    let mut references = vec![Reference::measure(&network, alone)?];
    let mut took = Vec::new();
    for _ in 0..turns {
        network.reset()?;
        took.push(turn(&network, mixed)?);
        references.push(Reference::measure(&network, alone)?);
    }
    let pairs = || took.iter().zip(references.windows(2));
    let ratios: Vec<f64> = pairs().map(|(turn, around)| turn.rate / Reference::mean(around).kept).collect();
    let fair: Vec<f64> = pairs().map(|(turn, around)| turn.rate / Reference::mean(around).closing(turn)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let sum = |of: fn(&Turn) -> u64| took.iter().map(of).sum::<u64>();
    let peak = took.iter().map(|turn| turn.proxy.peak).max().unwrap_or(0);
    let raw = sum(|turn| turn.answered(Kind::Raw)) / SAID as u64;
    let mut findings = vec![
        Finding::new("live connections at the proxy, peak", peak as f64, "").bound(Bound::AtMost(CAP as f64)),
        Finding::never("refused by the proxy", sum(|turn| turn.proxy.refused)),
        Finding::never("rows that failed", sum(|turn| turn.failed)),
        Finding::new("exchanges per second x 8 saturated connections", mean(&ratios), "")
            .spread(ratios.iter().copied())
            .bound(Bound::AtLeast(0.95)),
        Finding::new("the same x those, as many of them closed", mean(&fair), "")
            .spread(fair.iter().copied())
            .bound(Bound::AtLeast(0.95)),
        Finding::new("exchanges per second", mean(&took.iter().map(|turn| turn.rate).collect::<Vec<_>>()), "/s")
            .spread(took.iter().flat_map(|turn| turn.rates.iter().copied())),
        Finding::new("8 saturated connections", Reference::mean(&references).kept, "/s")
            .spread(references.iter().map(|reference| reference.kept)),
        Finding::new("8 that are closed after every second exchange", Reference::mean(&references).closed, "/s")
            .spread(references.iter().map(|reference| reference.closed)),
        Finding::new("dials the raw callers asked for", raw as f64, ""),
        Finding::new("other dials", sum(|turn| turn.stats.dials).saturating_sub(raw) as f64, ""),
        Finding::new("of those with a TLS handshake", sum(|turn| turn.stats.handshakes) as f64, ""),
    ];
    for (kind, callers) in CALLERS {
        let answered = sum_of(&took, kind) as f64 / (mixed.as_secs_f64() * f64::from(turns) * callers as f64);
        findings.push(Finding::new(format!("exchanges per second and caller, {kind:?}"), answered, "/s"));
    }
    if let Some(failure) = took.iter().find_map(|turn| turn.first_failure.as_ref()) {
        findings.push(Finding::new(format!("the first failure: {failure}"), 1.0, ""));
    }
    let details = json!({
        "references": references,
        "turns": took.iter().map(Turn::to_json).collect::<Vec<_>>(),
    });
    let what =
        format!("200 callers of every kind, cap {CAP}, RST above it, {} s in {turns} turns", mixed.as_secs() * 2);
    Ok(Workload { name: "one-cap", what, findings, details, others: 0.0 })
}

impl Turn {
    fn answered(&self, kind: Kind) -> u64 {
        self.by_kind.iter().filter(|(of, _)| *of == kind).map(|(_, answered)| answered).sum()
    }

    fn to_json(&self) -> serde_json::Value {
        let by_kind: Vec<_> =
            self.by_kind.iter().map(|(kind, n)| json!({"kind": format!("{kind:?}"), "n": n})).collect();
        json!({
            "rate": self.rate,
            "rates": self.rates,
            "by_kind": by_kind,
            "failed": self.failed,
            "stats": self.stats,
            "proxy": self.proxy,
        })
    }
}

fn sum_of(turns: &[Turn], kind: Kind) -> u64 {
    turns.iter().map(|turn| turn.answered(kind)).sum()
}

/// What 8 bare connections carry that are never without a request.
#[derive(Serialize)]
struct Reference {
    /// None is ever closed.
    kept: f64,
    /// Each is closed after every second exchange.
    closed: f64,
}

impl Reference {
    fn measure(network: &Boxed, lasting: Duration) -> Result<Reference> {
        Ok(Reference { kept: saturated(network, lasting, usize::MAX)?, closed: saturated(network, lasting / 2, SAID)? })
    }

    fn mean(of: &[Reference]) -> Reference {
        let mean = |value: fn(&Reference) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
        Reference { kept: mean(|reference| reference.kept), closed: mean(|reference| reference.closed) }
    }

    /// The rate where as large a part of the exchanges is on closing connections as the raw callers' in this turn.
    fn closing(&self, turn: &Turn) -> f64 {
        let all: u64 = turn.by_kind.iter().map(|(_, answered)| answered).sum();
        let part = turn.answered(Kind::Raw) as f64 / all.max(1) as f64;
        1.0 / ((1.0 - part) / self.kept + part / self.closed)
    }
}

/// Exchanges per second on 8 bare sockets, each closed after so many.
fn saturated(network: &Boxed, lasting: Duration, said: usize) -> Result<f64> {
    none_live(network)?;
    let (at, timeline, request) = (network.http_at(), Timeline::new(lasting), question(network.host()));
    let speak = || {
        while timeline.begun.elapsed() < lasting {
            let mut socket = BufReader::new(TcpStream::connect(at)?);
            socket.get_ref().set_nodelay(true)?;
            let mut left = said;
            while left > 0 && timeline.begun.elapsed() < lasting {
                match exchange(&mut socket, &request) {
                    Ok(()) => timeline.count(true),
                    // On a busy machine the proxy may hear of a new connection before it hears of the old one's end.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                    Err(error) => return Err(error),
                }
                left -= 1;
            }
        }
        io::Result::Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CAP).map(|_| scope.spawn(speak)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    none_live(network)?;
    Ok(timeline.rate(0..slices(lasting)))
}

fn none_live(network: &Boxed) -> Result<()> {
    network.eventually("all connections are closed", |counts| counts.proxy.live == 0)
}

fn slices(lasting: Duration) -> usize {
    Timeline::at(lasting + SLICE - Duration::from_nanos(1))
}

fn question(host: &str) -> Vec<u8> {
    format!("GET {PATH} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// One exchange by hand: the answer must be a 200 with a length.
fn exchange(socket: &mut BufReader<impl Read + Write>, request: &[u8]) -> io::Result<()> {
    socket.get_mut().write_all(request)?;
    socket.get_mut().flush()?;
    let (mut line, mut length) = (String::new(), 0);
    socket.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no 200"));
    }
    loop {
        line.clear();
        if socket.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)
}

/// What all callers of a turn share.
struct Mix {
    client: Client,
    timeline: Timeline,
    lasting: Duration,
    answered: [AtomicU64; 4],
    failure: Mutex<Option<String>>,
}

impl Mix {
    fn goes_on(&self) -> bool {
        self.timeline.begun.elapsed() < self.lasting
    }

    fn ended(&self, kind: Kind, outcome: std::result::Result<(), String>) {
        self.timeline.count(outcome.is_ok());
        match outcome {
            Ok(()) => _ = self.answered[kind as usize].fetch_add(1, Relaxed),
            Err(failure) => {
                let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(failure);
            }
        }
    }
}

fn judge(answer: pinlink::Result<pinlink::Response>, is_http2: bool) -> std::result::Result<(), String> {
    match answer {
        Ok(answer) if answer.status() != 200 => Err(format!("status {}", answer.status())),
        Ok(answer) if answer.trace().is_http2 != is_http2 => Err("another protocol".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn raw(mix: &Mix, host: &str, port: u16, request: &[u8]) {
    let mut socket = match mix.client.connect(host, port) {
        Ok(socket) => BufReader::new(socket),
        Err(error) => return mix.ended(Kind::Raw, Err(error.to_string())),
    };
    for _ in 0..SAID {
        mix.ended(Kind::Raw, exchange(&mut socket, request).map_err(|error| error.to_string()));
    }
}

fn turn(network: &Boxed, lasting: Duration) -> Result<Turn> {
    let (host, port) = (network.host(), network.http_port());
    let client = network
        .builder()
        .hosts([network.http(""), network.https(""), format!("tcp://{host}:{port}")])
        .max_connections(CAP)
        .max_connections_per_origin(CAP)
        .max_streams(1usize)
        .build()?;
    // One thread: async callers need no more, and the machine has few.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (answered, failure) = Default::default();
    let mix = Arc::new(Mix { client, timeline: Timeline::new(lasting), lasting, answered, failure });
    let (plain, tls, question) = (network.http(PATH), network.https(PATH), question(host));
    thread::scope(|scope| {
        for (kind, callers) in CALLERS {
            for _ in 0..callers {
                let (mix, plain, question) = (Arc::clone(&mix), plain.clone(), &question);
                match kind {
                    Kind::Blocking => {
                        scope.spawn(move || {
                            while mix.goes_on() {
                                mix.ended(kind, judge(mix.client.send(&Request::get(&plain)), false));
                            }
                        });
                    }
                    Kind::Raw => {
                        scope.spawn(move || {
                            while mix.goes_on() {
                                raw(&mix, host, port, question);
                            }
                        });
                    }
                    Kind::AsyncPlain | Kind::AsyncTls => {
                        let url = if kind == Kind::AsyncTls { tls.clone() } else { plain };
                        runtime.spawn(async move {
                            let client = AsyncClient::from(mix.client.clone());
                            while mix.goes_on() {
                                let answer = client.send(&Request::get(&url)).await;
                                mix.ended(kind, judge(answer, kind == Kind::AsyncTls));
                            }
                        });
                    }
                }
            }
        }
    });
    // The last calls of async callers end with the others', or are cancelled here; both come after the last slice.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let (stats, proxy) = (mix.client.stats(), network.counts()?.proxy);
    let all = 0..slices(lasting);
    let failed = mix.timeline.failed(all.clone()).iter().sum();
    let first_failure = mix.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    let by_kind = CALLERS.map(|(kind, _)| (kind, mix.answered[kind as usize].load(Relaxed))).to_vec();
    let (rate, rates) = (mix.timeline.rate(all.clone()), mix.timeline.rates(all));
    mix.client.close();
    Ok(Turn { rate, rates, by_kind, failed, first_failure, stats, proxy })
}
