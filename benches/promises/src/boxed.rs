//! A network in a box in a process of its own, and the clients that reach it.
//!
//! It owns the process from its start to its end (the box ends when its standard input closes, so it never outlives
//! this program) and the words of the box's control API. It measures nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pinlink::{Builder, Client};
use pinlink_box::{Addresses, Certificate, Counts, Fault, Injection, Network, Plan, Seen};
use serde::de::DeserializeOwned;

use crate::Result;

/// How long a box may take to reach a state that must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one answer of the control API may have.
const MOST: u64 = 1 << 30;

/// A running box.
pub(crate) struct Boxed {
    child: Child,
    addresses: Addresses,
    control: ureq::Agent,
}

impl Boxed {
    /// Starts this program again, as the box.
    pub(crate) fn start(plan: &Plan) -> Result<Boxed> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("network").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = serde_json::to_string(plan)?;
        line.push('\n');
        child.stdin.as_mut().ok_or("the box has no standard input")?.write_all(line.as_bytes())?;
        let mut ready = String::new();
        BufReader::new(child.stdout.take().ok_or("the box has no standard output")?).read_line(&mut ready)?;
        let addresses = serde_json::from_str(&ready).map_err(|error| format!("the box did not start: {error}"))?;
        let control = ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).build());
        Ok(Boxed { child, addresses, control })
    }

    /// What the other process does: it is the box until its standard input closes.
    #[expect(clippy::print_stdout, reason = "the line on stdout is how the box says that it is ready")]
    pub(crate) fn play() -> Result<()> {
        let mut plan = String::new();
        let mut input = std::io::stdin().lock();
        input.read_line(&mut plan)?;
        let network = Network::start(serde_json::from_str(&plan)?)?;
        println!("{}", serde_json::to_string(network.addresses())?);
        let mut waste = [0; 64];
        while matches!(input.read(&mut waste), Ok(1..)) {}
        Ok(())
    }

    /// A builder that reaches this box and nothing else, without hosts.
    pub(crate) fn builder(&self) -> Builder {
        Client::builder()
            .pins([format!("{}=127.0.0.1", self.host())])
            .allow_addresses(["127.0.0.0/8"])
            .ca_file(&self.addresses.ca_file)
            .web_roots(false)
            .option("summary", "off")
    }

    pub(crate) fn host(&self) -> &str {
        &self.addresses.plan.names[0]
    }

    /// The proxied port in front of the HTTP origin.
    pub(crate) fn http_port(&self) -> u16 {
        self.addresses.http
    }

    /// The same with its address.
    pub(crate) fn http_at(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.addresses.http))
    }

    /// The URL of a path at the HTTP origin.
    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host(), self.addresses.http)
    }

    /// The URL of a path at the HTTPS origin.
    pub(crate) fn https(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host(), self.addresses.https[&Certificate::Right])
    }

    /// The URL of a path at the scripted HTTP/2 peer.
    pub(crate) fn peer(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host(), self.addresses.scripted2)
    }

    /// The same over TLS.
    pub(crate) fn secure_peer(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host(), self.addresses.scripted2_tls)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.control)
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut answer = self.control.get(self.url(path)).call()?;
        Ok(serde_json::from_str(&answer.body_mut().with_config().limit(MOST).read_to_string()?)?)
    }

    pub(crate) fn counts(&self) -> Result<Counts> {
        self.ask("/counts")
    }

    pub(crate) fn seen(&self) -> Result<Vec<Seen>> {
        self.ask("/seen")
    }

    /// All counts start again.
    pub(crate) fn reset(&self) -> Result<()> {
        self.control.post(self.url("/reset")).send_empty()?;
        Ok(())
    }

    /// Switches a fault on, for so many hits where a number is given.
    pub(crate) fn inject(&self, fault: Fault, times: Option<u32>) -> Result<()> {
        let injection = serde_json::to_string(&Injection { fault, times, name: None })?;
        self.control.post(self.url("/faults")).send(injection)?;
        Ok(())
    }

    /// Waits for a state of the box.
    pub(crate) fn eventually(&self, what: &str, mut holds: impl FnMut(&Counts) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !holds(&self.counts()?) {
            if Instant::now() > until {
                return Err(format!("never saw: {what}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Its time then counts as its parent's.
        let _ = self.child.wait();
    }
}
