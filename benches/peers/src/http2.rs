//! Workload `http2`: 10,000 GETs over one HTTP/2 connection, 100 at once.
//!
//! In this process: [`AsyncClient`] with a task for each of the 100, on a `current_thread` runtime and on two workers;
//! [`Client::map`]; and reqwest on a `current_thread` runtime. Over TLS also [`Client::map`] in HTTP/1.1 over as many
//! connections as an origin may have by default: what `protocol = auto` chooses for it. All build each request from its
//! URL and read each body. Beside it: h2load, which sends one prepared request again and again and looks at no header:
//! the ceiling. A turn is one run of h2load, its connection's making included, or all rows once over the connection that
//! is there.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use pinlink::{AsyncClient, Builder, Client, Request};
use tokio::runtime::{self, Runtime};

use crate::machine::locked;
use crate::measure::{Figure, Outcome, Peer, Peers, Result, Turn, Whose, cpu};
use crate::server::{BODY, NAME, Server, program, says};

/// The GETs of a turn.
pub(crate) const ROWS: usize = 10_000;
/// How many are under way at once.
pub(crate) const AT_ONCE: usize = 100;

/// The names of the peers, the ceiling first.
pub(crate) const NAMES: [&str; 6] = [
    "h2load",
    "pinlink async",
    "pinlink async, 2 workers",
    "pinlink map, http2",
    "reqwest async",
    "pinlink map, 8 x http1",
];

/// All peers, each with its connection still to be made; the program among them may be missing.
pub(crate) fn peers(server: &Server, tls: bool) -> Result<Peers> {
    let at = server.http2(tls);
    let url: Arc<str> = match tls {
        true => format!("https://{NAME}:{}/answer", at.port()).into(),
        false => format!("http://{at}/answer").into(),
    };
    let mut peers = Peers::default();
    match program("h2load") {
        Ok(program) => peers.present.push(Box::new(H2load { program, url: url.clone() })),
        Err(error) => peers.missing.push(Outcome::missing(NAMES[0], "C", error.to_string())),
    }
    let one = || runtime::Builder::new_current_thread().enable_all().build();
    let two = || runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    for (name, runtime) in [(NAMES[1], one()?), (NAMES[2], two()?)] {
        let client = AsyncClient::from(client(server, &url, tls)?);
        peers.present.push(Box::new(Tasks { name, package: "pinlink", runtime, client, url: url.clone() }));
    }
    let http2 = client(server, &url, tls)?;
    peers.present.push(Box::new(Map { name: NAMES[3], client: http2, url: url.clone(), is_http2: true }));
    if tls {
        let http1 = builder(server, &url, tls).option("protocol", "http1").build()?;
        peers.present.push(Box::new(Map { name: NAMES[5], client: http1, url: url.clone(), is_http2: false }));
    }
    let client = reqwest(server, tls)?;
    peers.present.push(Box::new(Tasks { name: NAMES[4], package: "reqwest", runtime: one()?, client, url }));
    Ok(peers)
}

fn client(server: &Server, url: &str, tls: bool) -> Result<Client> {
    let builder = builder(server, url, tls).option("protocol", "http2");
    Ok(builder.max_connections(1usize).max_streams(AT_ONCE).build()?)
}

fn builder(server: &Server, url: &str, tls: bool) -> Builder {
    let builder = Client::builder().hosts([url.trim_end_matches("/answer")]).allow_addresses(["127.0.0.0/8"]);
    match tls {
        true => builder.pins([format!("{NAME}=127.0.0.1")]).ca_file(server.ca_file()),
        false => builder,
    }
}

/// All rows once.
fn rows(run: impl FnOnce() -> Result<()>) -> Result<Turn> {
    let cpu_before = cpu(Whose::Ours);
    let begun = Instant::now();
    run()?;
    let elapsed = begun.elapsed();
    let cpu_used = cpu(Whose::Ours) - cpu_before;
    Ok(Turn::from([
        (Figure::PerSecond, ROWS as f64 / elapsed.as_secs_f64()),
        (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / ROWS as f64),
    ]))
}

fn judge(is_http2: bool, body: usize) -> Result<()> {
    match (is_http2, body) {
        (true, BODY) => Ok(()),
        (false, _) => Err("the answer came over the other version of HTTP".into()),
        (true, other) => Err(format!("the body has {other} bytes").into()),
    }
}

/// One GET of a URL, judged.
trait Get: Clone + Send + 'static {
    fn get(&self, url: &str) -> impl Future<Output = Result<()>> + Send;
}

impl Get for AsyncClient {
    async fn get(&self, url: &str) -> Result<()> {
        let answer = self.send(&Request::get(url)).await?;
        judge(answer.trace().is_http2, answer.body().len())
    }
}

impl Get for reqwest::Client {
    async fn get(&self, url: &str) -> Result<()> {
        let answer = reqwest::Client::get(self, url).send().await?;
        let is_http2 = answer.version() == http::Version::HTTP_2;
        judge(is_http2, answer.bytes().await?.len())
    }
}

/// A client, a task for each request that is under way, and the runtime they are on.
struct Tasks<C> {
    name: &'static str,
    package: &'static str,
    runtime: Runtime,
    client: C,
    url: Arc<str>,
}

impl<C: Get> Peer for Tasks<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        locked(self.package)
    }

    fn turn(&mut self) -> Result<Turn> {
        rows(|| {
            self.runtime.block_on(async {
                let taken = Arc::new(AtomicUsize::new(0));
                let tasks: Vec<_> = (0..AT_ONCE)
                    .map(|_| tokio::spawn(work(self.client.clone(), Arc::clone(&self.url), Arc::clone(&taken))))
                    .collect();
                for task in tasks {
                    task.await??;
                }
                Ok(())
            })
        })
    }
}

async fn work(client: impl Get, url: Arc<str>, taken: Arc<AtomicUsize>) -> Result<()> {
    while taken.fetch_add(1, Relaxed) < ROWS {
        client.get(&url).await?;
    }
    Ok(())
}

struct Map {
    name: &'static str,
    client: Client,
    url: Arc<str>,
    is_http2: bool,
}

impl Peer for Map {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        locked("pinlink")
    }

    fn turn(&mut self) -> Result<Turn> {
        rows(|| {
            let rows: Vec<Request> = (0..ROWS).map(|_| Request::get(&self.url)).collect();
            self.client.map(&rows).into_iter().try_for_each(|outcome| {
                let answer = outcome?;
                judge(answer.trace().is_http2 == self.is_http2, answer.body().len())
            })
        })
    }
}

fn reqwest(server: &Server, tls: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().no_proxy();
    builder = match tls {
        true => builder.tls_certs_only([reqwest::Certificate::from_pem(server.ca().as_bytes())?]),
        false => builder.http2_prior_knowledge(),
    };
    Ok(builder.build()?)
}

struct H2load {
    program: PathBuf,
    url: Arc<str>,
}

impl Peer for H2load {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn version(&self) -> String {
        says("h2load", "--version")
    }

    fn language(&self) -> &'static str {
        "C"
    }

    fn turn(&mut self) -> Result<Turn> {
        let cpu_before = cpu(Whose::Children);
        let (rows, at_once) = (format!("-n{ROWS}"), format!("-m{AT_ONCE}"));
        let output = Command::new(&self.program).args([&rows, "-c1", &at_once, &self.url]).output()?;
        let cpu_used = cpu(Whose::Children) - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        let all = format!("status codes: {ROWS} 2xx");
        if !text.contains(&all) {
            return Err("h2load did not get a 2xx for every row".into());
        }
        let finished =
            text.lines().find_map(|line| line.strip_prefix("finished in ")).ok_or("h2load printed no rate")?;
        let rate = finished.split(", ").find_map(|part| part.strip_suffix(" req/s")).ok_or("h2load printed no rate")?;
        Ok(Turn::from([
            (Figure::PerSecond, rate.parse()?),
            (Figure::CpuUs, cpu_used.as_secs_f64() * 1e6 / ROWS as f64),
        ]))
    }
}
