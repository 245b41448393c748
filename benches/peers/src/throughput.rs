//! Workload `throughput`: as many GETs as 32 connections carry.
//!
//! In this process: [`pinlink::Client::map`], and hyper-util's legacy client with 32 tasks on a
//! `current_thread` runtime; both build each request from its URL and read each body. Beside it: wrk with one
//! thread, the ceiling. A turn is a second of wrk, or batches until half a second has passed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pinlink::{Client, Request};
use tokio::runtime::Runtime;

use crate::machine::locked;
use crate::measure::{Figure, Outcome, Peer, Peers, Result, Turn, Whose, cpu};
use crate::server::{BODY, Server, program, says};

/// The connections of each peer.
pub(crate) const CONNECTIONS: usize = 32;
/// The rows of a batch.
pub(crate) const BATCH: usize = 5000;
/// How long a turn in this process lasts at least.
const TURN: Duration = Duration::from_millis(500);

/// The names of the peers, the ceiling first.
pub(crate) const NAMES: [&str; 3] = ["wrk", "pinlink map", "hyper-util legacy"];

/// All peers; a program among them may be missing.
pub(crate) fn peers(server: &Server) -> Result<Peers> {
    let url = format!("http://{}/answer", server.plain());
    let mut peers = ceiling(server);
    peers.present.push(Box::new(Map::new(server, url.clone())?));
    peers.present.push(Box::new(HyperUtil::new(url)?));
    Ok(peers)
}

/// wrk alone, which is the ceiling of every language; it may be missing.
pub(crate) fn ceiling(server: &Server) -> Peers {
    let mut peers = Peers::default();
    match program("wrk") {
        Ok(program) => {
            let url = format!("http://{}/answer", server.plain());
            peers.present.push(Box::new(Wrk { program, url }));
        }
        Err(error) => peers.missing.push(Outcome::missing(NAMES[0], "C", error.to_string())),
    }
    peers
}

/// Batches until the turn is over.
fn batches(mut batch: impl FnMut() -> Result<()>) -> Result<Turn> {
    let cpu_before = cpu(Whose::Ours);
    let begun = Instant::now();
    let mut done = 0;
    while begun.elapsed() < TURN {
        batch()?;
        done += BATCH;
    }
    let elapsed = begun.elapsed();
    let cpu_used = cpu(Whose::Ours) - cpu_before;
    Ok(Turn::from([
        (Figure::PerSecond, done as f64 / elapsed.as_secs_f64()),
        (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / done as f64),
    ]))
}

struct Map {
    client: Client,
    url: String,
}

impl Map {
    fn new(server: &Server, url: String) -> Result<Map> {
        let client = Client::builder()
            .hosts([format!("http://{}", server.plain())])
            .allow_addresses(["127.0.0.0/8"])
            .max_connections(CONNECTIONS)
            .max_connections_per_origin(CONNECTIONS)
            .build()?;
        Ok(Map { client, url })
    }
}

impl Peer for Map {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn version(&self) -> String {
        locked("pinlink")
    }

    fn turn(&mut self) -> Result<Turn> {
        batches(|| {
            let rows: Vec<Request> = (0..BATCH).map(|_| Request::get(&self.url)).collect();
            for outcome in self.client.map(&rows) {
                match outcome?.body().len() {
                    BODY => {}
                    other => return Err(format!("the body has {other} bytes").into()),
                }
            }
            Ok(())
        })
    }
}

struct HyperUtil {
    runtime: Runtime,
    client: Legacy<HttpConnector, Empty<Bytes>>,
    url: Arc<str>,
}

impl HyperUtil {
    fn new(url: String) -> Result<HyperUtil> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Legacy::builder(TokioExecutor::new()).pool_max_idle_per_host(CONNECTIONS).build(connector);
        Ok(HyperUtil { runtime, client, url: url.into() })
    }
}

impl Peer for HyperUtil {
    fn name(&self) -> &'static str {
        NAMES[2]
    }

    fn version(&self) -> String {
        locked("hyper-util")
    }

    fn turn(&mut self) -> Result<Turn> {
        let (client, url) = (&self.client, &self.url);
        batches(|| {
            self.runtime.block_on(async {
                let taken = Arc::new(AtomicUsize::new(0));
                let tasks: Vec<_> = (0..CONNECTIONS)
                    .map(|_| tokio::spawn(work(client.clone(), Arc::clone(url), Arc::clone(&taken))))
                    .collect();
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
        })
    }
}

async fn work(client: Legacy<HttpConnector, Empty<Bytes>>, url: Arc<str>, taken: Arc<AtomicUsize>) -> Result<()> {
    while taken.fetch_add(1, Relaxed) < BATCH {
        let request = http::Request::get(&*url).body(Empty::new())?;
        let answer = client.request(request).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        if body.len() != BODY {
            return Err(format!("the body has {} bytes", body.len()).into());
        }
    }
    Ok(())
}

struct Wrk {
    program: std::path::PathBuf,
    url: String,
}

impl Peer for Wrk {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn version(&self) -> String {
        says("wrk", "-v").split(" Copyright").next().unwrap_or_default().to_owned()
    }

    fn language(&self) -> &'static str {
        "C"
    }

    fn turn(&mut self) -> Result<Turn> {
        let cpu_before = cpu(Whose::Children);
        let output =
            Command::new(&self.program).args(["-t1", "-d1s", &format!("-c{CONNECTIONS}"), &self.url]).output()?;
        let cpu_used = cpu(Whose::Children) - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
        if let Some(errors) = after("Socket errors:").or(after("Non-2xx or 3xx responses:")) {
            return Err(format!("wrk met errors: {errors}").into());
        }
        let rate: f64 = after("Requests/sec:").ok_or("wrk printed no Requests/sec")?.parse()?;
        let requests: f64 = text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .ok_or("wrk printed no count of requests")?
            .0
            .parse()?;
        Ok(Turn::from([(Figure::PerSecond, rate), (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / requests)]))
    }
}
