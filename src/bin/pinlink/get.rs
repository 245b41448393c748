//! `pinlink get`: calls from the command line, all URLs as one `Client::map`.
//!
//! It owns the options and the order of things: read everything, build the client, call, print. curl's
//! notations are read in `curl.rs`; what an answer looks like is in `get/answer.rs`.

mod answer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use pinlink::{Builder, Client, Origin, Request};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::curl::{self, ConnectTo, Header, Resolve};
use crate::exit::{Exit, Failure, help};
use crate::network::{Network, load};
use answer::Answer;

/// Make calls; several URLs go as one batch over the same pool
#[derive(Args)]
#[command(after_help = help())]
pub(crate) struct Get {
    /// The URLs; their origins are declared by being named here
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,

    /// The method [default: GET, or POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<String>,
    /// Add a header: 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<Header>,
    /// Send this body (a form, unless a Content-Type is given); @FILE reads a file, several are joined by &
    #[arg(short, long, value_name = "DATA")]
    data: Vec<String>,

    /// Print the status line and the headers before the body
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Write the body to this file; the n-th belongs to the n-th URL
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Print no body and exit with 22 where the status is 400 or above
    #[arg(short, long)]
    fail: bool,
    /// Print one JSON object for each URL: status, headers, body, timing, address, error
    #[arg(long)]
    json: bool,
    /// Print how long each phase took, to standard error
    #[arg(long)]
    timing: bool,
    /// Print the client's counters at the end, to standard error
    #[arg(long)]
    stats: bool,
    /// Print what the library does, to standard error (RUST_LOG chooses what)
    #[arg(short, long)]
    verbose: bool,

    /// Use these addresses for a host and port instead of a look-up (loopback and the like need --allow-address)
    #[arg(long, value_name = "HOST:PORT:ADDR[,ADDR]")]
    resolve: Vec<Resolve>,
    /// Dial another host and port; SNI, Host and the certificate check keep the URL's name
    #[arg(long, value_name = "HOST1:PORT1:HOST2:PORT2")]
    connect_to: Vec<ConnectTo>,
    /// Import pins from a pin set written by `pinlink resolve`
    #[arg(long, value_name = "FILE")]
    pins: Vec<PathBuf>,
    /// Trust the CA certificates of this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Speak HTTP/1.1
    #[arg(long = "http1.1")]
    http1: bool,
    /// How long a call may take in all, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = curl::seconds)]
    max_time: Option<Duration>,
    /// How long connecting may take (resolving, TCP and TLS, each), in seconds
    #[arg(long, value_name = "SECONDS", value_parser = curl::seconds)]
    connect_timeout: Option<Duration>,
    /// At most this many connections at once
    #[arg(long, value_name = "NUMBER")]
    parallel_max: Option<usize>,
    #[command(flatten)]
    network: Network,
}

impl Get {
    /// Calls and prints. The exit code is that of the first URL that failed.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.verbose {
            narrate();
        }
        if self.output.len() > self.urls.len() {
            return Err(Failure::usage("there are more --output files than URLs"));
        }
        let origins = self.urls.iter().map(|url| curl::origin(url)).collect::<Result<Vec<_>, _>>()?;
        let requests = self.requests()?;
        let builder = self.builder(&origins)?;

        let start = Instant::now();
        let built = builder.build();
        let init = start.elapsed();
        let (client, results) = match built {
            Ok(client) => {
                let results = client.map(&requests);
                (Some(client), results)
            }
            // One error for all: still one answer for each URL, where a program reads them.
            Err(error) if self.json => (None, self.urls.iter().map(|_| Err(error.clone())).collect()),
            Err(error) => return Err(error.into()),
        };
        let answers: Vec<_> = self.urls.iter().zip(results).map(|(url, result)| Answer { url, init, result }).collect();
        let outcome = self.print(&answers);
        if let Some(client) = client {
            if self.stats {
                eprintln!("{}", client.stats());
            }
            client.close();
        }
        outcome
    }

    fn requests(&self) -> Result<Vec<Request>, Failure> {
        let method = self.request.as_deref().unwrap_or(if self.data.is_empty() { "GET" } else { "POST" });
        let body = curl::data(&self.data)?;
        let typed = self.headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-type"));
        let request = |url: &String| {
            let mut request = Request::new(method, url);
            for header in self.headers.iter().filter(|header| !header.name.eq_ignore_ascii_case("host")) {
                if let Some(value) = &header.value {
                    request = request.header(&header.name, value);
                }
            }
            if !self.data.is_empty() {
                if !typed {
                    request = request.header("content-type", "application/x-www-form-urlencoded");
                }
                request = request.body(body.clone());
            }
            request
        };
        Ok(self.urls.iter().map(request).collect())
    }

    fn builder(&self, origins: &[Origin]) -> Result<Builder, Failure> {
        let mut builder = Client::builder().hosts(origins.iter().map(Origin::to_string)).option("summary", "off");
        let pins = curl::pins(&self.resolve, origins)?;
        if !pins.is_empty() {
            builder = builder.pins(pins);
        }
        let detours = curl::detours(&self.connect_to, origins);
        if !detours.is_empty() {
            builder = builder.connect_to(detours);
        }
        let hosts = self.host_headers(origins)?;
        if !hosts.is_empty() {
            builder = builder.host_header(hosts);
        }
        if !self.pins.is_empty() {
            builder = builder.import(load(&self.pins)?);
        }
        if let Some(file) = &self.cacert {
            builder = builder.ca_file(file).web_roots(false);
        }
        if self.http1 {
            builder = builder.option("protocol", "http1");
        }
        if let Some(limit) = self.parallel_max {
            builder = builder.max_connections(limit).max_connections_per_origin(limit);
        }
        Ok(self.network.apply(self.limits(builder)))
    }

    /// curl's two limits over our finer ones: no part may take longer than the whole.
    fn limits(&self, mut builder: Builder) -> Builder {
        let least = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // Without --max-time, a patient --connect-timeout stretches the whole, as in curl.
        if let Some(time) = self.max_time.or(self.connect_timeout.filter(|time| *time > TOTAL)) {
            builder = builder.timeout(time);
        }
        let parts = least(self.connect_timeout, self.max_time.filter(|time| *time < SHORT));
        if let Some(time) = parts {
            builder = builder.connect_timeout(time).handshake_timeout(time);
        }
        if let Some(time) = least(self.connect_timeout, self.max_time.filter(|time| *time < RESOLVE)) {
            builder = builder.resolve_timeout(time.max(Duration::from_millis(10)));
        }
        builder
    }

    /// A `Host` of the user's own is an option of the client, which owns that header.
    fn host_headers(&self, origins: &[Origin]) -> Result<Vec<String>, Failure> {
        let Some(header) = self.headers.iter().rfind(|header| header.name.eq_ignore_ascii_case("host")) else {
            return Ok(Vec::new());
        };
        let Some(value) = &header.value else {
            return Err(Failure::usage("--header: a request without Host is malformed (RFC 9112 3.2)"));
        };
        Ok(origins.iter().map(|origin| format!("{}={value}", origin.host())).collect())
    }

    fn print(&self, answers: &[Answer<'_>]) -> Result<Exit, Failure> {
        let mut exit = Exit::Done;
        for (index, answer) in answers.iter().enumerate() {
            let file = self.output.get(index).map(PathBuf::as_path);
            let failed = if self.json { self.print_json(answer, file)? } else { self.print_plain(answer, file)? };
            if exit == Exit::Done {
                exit = failed;
            }
        }
        if self.timing && !self.json {
            eprint!("{}", answer::timings(answers));
        }
        Ok(exit)
    }

    /// The body, and a failure's line for the user.
    fn print_plain(&self, answer: &Answer<'_>, file: Option<&Path>) -> Result<Exit, Failure> {
        match &answer.result {
            Err(error) => Ok(Failure::new(Exit::of(error), error.to_string()).report()),
            Ok(response) if self.fail && response.status() >= 400 => {
                let line = format!("{}: the answer is {}", answer.url, answer::status(response.status()));
                Ok(Failure::new(Exit::Status, line).report())
            }
            Ok(response) => {
                let mut data = if self.include { answer::head(response) } else { Vec::new() };
                data.extend_from_slice(response.body());
                crate::output::deliver(data, file)?;
                Ok(Exit::Done)
            }
        }
    }

    /// One object on one line; the body goes to its file where there is one.
    fn print_json(&self, answer: &Answer<'_>, file: Option<&Path>) -> Result<Exit, Failure> {
        let (exit, body) = match &answer.result {
            Err(error) => (Failure::new(Exit::of(error), error.to_string()).report(), None),
            Ok(response) if self.fail && response.status() >= 400 => (Exit::Status, None),
            Ok(response) => (Exit::Done, Some(response.body())),
        };
        let embedded = match (body, file) {
            (Some(body), Some(file)) => {
                crate::output::deliver(body, Some(file))?;
                None
            }
            (body, _) => body,
        };
        crate::output::print(format!("{}\n", answer.json(exit, embedded.map(|body| &body[..]))))?;
        Ok(exit)
    }
}

/// The library's default for dialling and handshake; a shorter total must shorten them too.
const SHORT: Duration = Duration::from_secs(5);
/// The library's default for resolving.
const RESOLVE: Duration = Duration::from_secs(30);
/// The library's default for a whole call.
const TOTAL: Duration = Duration::from_secs(30);

/// Sends the library's events and the times of its spans to standard error.
fn narrate() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("pinlink=debug"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
