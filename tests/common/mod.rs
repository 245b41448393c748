//! What the integration tests share: a network with a name of its own, a client for it, and words for assertions.
//!
//! Every test starts its own network, so tests run side by side. A look-up's answer is shared within a process, so
//! every network has a name that no other test asks for. What can be awaited is awaited ([`eventually`]); time is
//! asserted only as "far below for ever".
#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod raw;
pub(crate) mod session;
pub(crate) mod survival;
pub(crate) mod writes;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pinlink::{AsyncClient, Builder, Client, Delivery, Error, Reason, Request, Response};
use pinlink_box::{Addresses, Certificate, Network, Plan, Seen};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What proves that a wait was bounded: far below "for ever", far above a busy machine's hiccup.
pub(crate) const BOUNDED: Duration = Duration::from_secs(5);

/// Tells a process of this test binary that it is not the one that `cargo test` started, and what it is for.
const ROLE: &str = "PINLINK_TEST_ROLE";

fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name that every box knows, its right certificate covers, and nobody else in this process has asked for.
pub(crate) fn unique(label: &str) -> String {
    format!("{label}-{}.box.test", next())
}

/// A network by this plan; its first name is unique where the plan names none.
pub(crate) fn start(mut plan: Plan) -> Network {
    if plan.names == Plan::default().names {
        plan.names = vec![unique("kms")];
    }
    Network::start(plan).expect("the network starts")
}

/// A network without faults.
pub(crate) fn network() -> Network {
    start(Plan::default())
}

/// The network's own name.
pub(crate) fn host(network: &Network) -> &str {
    &network.addresses().plan.names[0]
}

/// A builder that reaches this network and nothing else, without hosts.
pub(crate) fn bare(network: &Network) -> Builder {
    Client::builder()
        .nameservers([network.dns().to_string()])
        .allow_addresses(["127.0.0.0/8"])
        .ca_file(network.ca_file())
        .web_roots(false)
}

/// A builder for the network's name on every proxied port: HTTP, scripted, and HTTPS with each certificate.
pub(crate) fn client(network: &Network) -> Builder {
    let host = host(network);
    let plain = [network.http(), network.scripted()].map(|port| format!("http://{host}:{port}"));
    let tls = Certificate::ALL.map(|certificate| format!("https://{host}:{}", network.https(certificate)));
    bare(network).hosts(plain.into_iter().chain(tls))
}

/// The URL of a path at the plain origin, through the proxy.
pub(crate) fn http(network: &Network, path: &str) -> String {
    format!("http://{}:{}{path}", host(network), network.http())
}

/// The URL of a path at the HTTPS origin with this certificate, through the proxy.
pub(crate) fn https(network: &Network, certificate: Certificate, path: &str) -> String {
    format!("https://{}:{}{path}", host(network), network.https(certificate))
}

/// The URL of the scripted peer, through the proxy.
pub(crate) fn scripted(network: &Network) -> String {
    format!("http://{}:{}/", host(network), network.scripted())
}

/// Sends a GET to each URL, all at once; the outcomes in their order.
pub(crate) fn all_at_once(
    runtime: &tokio::runtime::Runtime,
    client: &Client,
    urls: impl IntoIterator<Item = String>,
) -> Vec<pinlink::Result<Response>> {
    let client = AsyncClient::from(client.clone());
    runtime.block_on(async {
        let calls: Vec<_> = urls
            .into_iter()
            .map(|url| {
                let (client, request) = (client.clone(), Request::get(&url));
                tokio::spawn(async move { client.send(&request).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(call.await.unwrap());
        }
        outcomes
    })
}

/// Sends a GET that must be answered with 200.
#[track_caller]
pub(crate) fn get(client: &Client, url: &str) -> Response {
    let answer = client.send(&Request::get(url)).expect("an answer");
    assert_eq!(answer.status(), 200, "{url}");
    answer
}

/// The error's reason and delivery are these, and it is one line that begins with the reason.
#[track_caller]
pub(crate) fn assert_failed(error: &Error, reason: Reason, delivery: Delivery) {
    assert_eq!((error.reason(), error.delivery()), (reason, delivery), "{error}");
    let line = error.to_string();
    assert!(line.starts_with(reason.as_str()) && !line.contains('\n'), "{line}");
}

/// The request fails, for this reason and with this delivery.
#[track_caller]
pub(crate) fn fails(client: &Client, request: &Request, reason: Reason, delivery: Delivery) -> Error {
    match client.send(request) {
        Ok(answer) => panic!("answered with {answer:?}; expected {}", reason.as_str()),
        Err(error) => {
            assert_failed(&error, reason, delivery);
            error
        }
    }
}

/// After a fault: the next request succeeds and nothing has leaked: whatever is live is idle in the pool.
#[track_caller]
pub(crate) fn assert_whole(client: &Client, network: &Network) {
    assert_whole_at(client, &http(network, "/rows/healthy"));
}

/// As [`assert_whole`], with a URL of the test's choice.
#[track_caller]
pub(crate) fn assert_whole_at(client: &Client, url: &str) {
    get(client, url);
    eventually("every live connection is idle in the pool", || {
        let stats = client.stats();
        stats.connections_live == stats.connections_idle
    });
}

/// Waits for a state that another thread or process brings about.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never saw: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Builds, again and again: a failed look-up is remembered for a moment, so the first try after a repair may fail.
#[track_caller]
pub(crate) fn eventually_built(builder: &Builder) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        match builder.clone().build() {
            Ok(client) => return client,
            Err(error) if Instant::now() > until => panic!("never built: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The last request that any origin saw.
#[track_caller]
pub(crate) fn last_seen(network: &Network) -> Seen {
    network.seen().pop().expect("an origin saw a request")
}

/// Everything that an error says to anybody: for a user, for a developer, and the same of all its sources.
pub(crate) fn everything_said(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!("{inner}\n{inner:?}\n"));
        source = inner.source();
    }
    text
}

/// A folder that goes with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("pinlink-test-{}-{}", std::process::id(), next()));
        std::fs::create_dir_all(&path).expect("the folder for temporary files is writable");
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the file is writable");
        path
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one test of this very binary in a process of its own, where [`role`] is what is given here.
pub(crate) fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What this process is for, where [`again`] has started it.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The URL of a path at the HTTPS origin with the right certificate, through the proxy.
pub(crate) fn secure(network: &Network, path: &str) -> String {
    https(network, Certificate::Right, path)
}

/// The URL of a path at the scripted peer, through the proxy.
pub(crate) fn peer(network: &Network, path: &str) -> String {
    format!("http://{}:{}{path}", host(network), network.scripted())
}

/// The requests for one path that the origins saw.
pub(crate) fn seen(network: &Network, path: &str) -> Vec<Seen> {
    network.seen().into_iter().filter(|seen| seen.path == path).collect()
}

/// Runs one test of this binary in a process of its own, to its end, where [`outer`] is this network; `wrapper` is put
/// in front of the command line. Neither the other tests' threads nor the network's are in that process. It must pass.
#[track_caller]
pub(crate) fn alone(wrapper: &[&str], test: &str, network: &Network) -> Output {
    wrapped(wrapper, test, &serde_json::to_string(network.addresses()).expect("addresses are plain data"))
}

/// Whether this process is one of its own for this test, in a network namespace where nothing is but loopback: what a
/// test does there to ports, routes and packets reaches nobody else. If not, it is started, and must pass.
#[track_caller]
pub(crate) fn apart(test: &str) -> bool {
    const UP: &str = "ip link set lo up && exec \"$0\" \"$@\"";
    if role().is_none() {
        wrapped(&["unshare", "--net", "--mount", "--map-root-user", "sh", "-c", UP], test, "apart");
        return false;
    }
    true
}

/// Runs a command line, which must succeed.
#[track_caller]
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    let output = command.args(words).output().unwrap_or_else(|error| panic!("{line} does not start: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn wrapped(wrapper: &[&str], test: &str, role: &str) -> Output {
    let plain = again(test, role);
    let line: Vec<&OsStr> =
        wrapper.iter().map(OsStr::new).chain([plain.get_program()]).chain(plain.get_args()).collect();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "the test did not run in its own process:\n{stdout}");
    output
}

/// In a process that [`alone`] has started: where the network is.
pub(crate) fn outer() -> Option<Addresses> {
    Some(serde_json::from_str(&role()?).expect("the role is a network's addresses"))
}

/// A builder for the plain and the right HTTPS origin of a network in another process.
pub(crate) fn client_at(network: &Addresses) -> Builder {
    Client::builder()
        .hosts([http_at(network, ""), secure_at(network, "")])
        .nameservers([network.dns.to_string()])
        .allow_addresses(["127.0.0.0/8"])
        .ca_file(&network.ca_file)
        .web_roots(false)
}

/// As [`http`], for a network in another process.
pub(crate) fn http_at(network: &Addresses, path: &str) -> String {
    format!("http://{}:{}{path}", network.plan.names[0], network.http)
}

/// As [`secure`], for a network in another process.
pub(crate) fn secure_at(network: &Addresses, path: &str) -> String {
    format!("https://{}:{}{path}", network.plan.names[0], network.https[&Certificate::Right])
}

/// Whether a program is on the PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A builder that reaches the plain and the right HTTPS origin and the scripted HTTP/2 peers, and speaks nothing else.
pub(crate) fn http2(network: &Network) -> Builder {
    let origins = [http(network, ""), secure(network, ""), peer2(network, ""), secure_peer2(network, "")];
    bare(network).hosts(origins).option("protocol", "http2")
}

/// The URL of a path at the scripted HTTP/2 peer, through the proxy.
pub(crate) fn peer2(network: &Network, path: &str) -> String {
    format!("http://{}:{}{path}", host(network), network.scripted2())
}

/// As [`peer2`], over TLS.
pub(crate) fn secure_peer2(network: &Network, path: &str) -> String {
    format!("https://{}:{}{path}", host(network), network.scripted2_tls())
}
