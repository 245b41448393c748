//! `pinlink get`: calls from the command line; one URL is copied while it comes, several are one `Client::map`.
//!
//! It owns the command line and the order of things: read everything, build the client, call, print. curl's
//! notations are read in `curl.rs`; what the client is built with is in `get/client.rs`, what an answer looks like
//! in `get/answer.rs`, how a body comes in `get/download.rs`, how one goes in `get/upload.rs`.

mod answer;
mod client;
mod download;
mod upload;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use pinlink::{Client, Origin, Request, Response};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::curl::{self, ConnectTo, Header, Resolve};
use crate::exit::{Exit, Failure, help};
use crate::network::Network;
use answer::{Answer, Row};
use download::Download;

/// Make calls; one URL's body is copied while it comes, several URLs go as one batch over the same pool
#[derive(Args)]
#[command(after_help = help())]
pub(crate) struct Get {
    /// The URLs; their origins are declared by being named here
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,

    /// The method [default: GET, POST with --data, PUT with --upload-file]
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<String>,
    /// Add a header: 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Send this body (a form, unless a Content-Type is given); @FILE reads a file, several are joined by &
    #[arg(short, long, value_name = "DATA")]
    data: Vec<String>,
    /// PUT this file, with its length, or with - standard input, in chunks; the n-th belongs to the n-th URL, and a URL
    /// that ends with / gets its name
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with = "data")]
    upload_file: Vec<PathBuf>,
    /// Ask whether the body is wanted before it is sent (Expect: 100-continue)
    #[arg(long)]
    expect: bool,

    /// Print the status line and the headers before the body
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Write the body to this file; the n-th belongs to the n-th URL
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// With -: ask for what the --output file does not have yet, append it, and go on where the connection breaks
    #[arg(short = 'C', long, value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    #[arg(requires = "output", conflicts_with_all = ["json", "include", "request", "data", "upload_file"])]
    continue_at: Option<String>,
    /// Refuse a body over this size, in bytes, or with k, m, g; 0 is no limit
    #[arg(long, value_name = "BYTES", value_parser = curl::size)]
    max_filesize: Option<u64>,
    /// Ask for a compressed answer (gzip, br, zstd, deflate) and decode it
    #[arg(long)]
    compressed: bool,
    /// Follow the redirects of GET and HEAD: to the origins of the URLs given and of --allow-origin, never from HTTPS to
    /// HTTP; Authorization, cookies and the like stay at their origin
    #[arg(short = 'L', long)]
    location: bool,
    /// At most this many redirects, 1 to 20, with --location
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=20))]
    max_redirs: u8,
    /// Let redirects lead to this origin too, for example https://files.example; may be given many times
    #[arg(long, value_name = "ORIGIN", value_parser = Origin::parse)]
    allow_origin: Vec<Origin>,
    /// Print no body and exit with 22 where the status is 400 or above
    #[arg(short, long)]
    fail: bool,
    /// Print one JSON object for each URL: status, headers, body, trailers, timing, address, error
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
    /// Show the certificate chain of this PEM file where a target asks for one
    #[arg(short = 'E', long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The PEM key of --cert, without a passphrase [default: the file of --cert holds both]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Reach every target through a tunnel of this proxy: [http://|socks5://][USER:PASSWORD@]HOST[:PORT]
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Option<String>,
    /// User and password for the proxy, as they are
    #[arg(short = 'U', long, value_name = "USER:PASSWORD", requires = "proxy")]
    proxy_user: Option<String>,
    /// Speak HTTP/1.1 (the default)
    #[arg(long = "http1.1", overrides_with_all = ["http2", "http2_prior_knowledge"])]
    http1: bool,
    /// Speak HTTP/2 where an https target agrees (ALPN), HTTP/1.1 to http
    #[arg(long, overrides_with_all = ["http1", "http2_prior_knowledge"])]
    http2: bool,
    /// As --http2, and speak HTTP/2 to http without asking
    #[arg(long, overrides_with_all = ["http1", "http2"])]
    http2_prior_knowledge: bool,
    /// How long a call may take in all, in seconds [default: 30, which a single URL's body may exceed while it comes]
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
    /// Calls and prints.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.verbose {
            narrate();
        }
        self.check()?;
        let asked = self.urls.iter().map(|url| curl::origin(url)).collect::<Result<Vec<_>, _>>()?;
        let headers = curl::headers(&self.headers)?;
        let held = match self.continue_at.is_some() {
            true => download::held(&self.output[0])?,
            false => 0,
        };
        let requests = self.requests(&headers, held)?;
        let builder = self.builder(&asked, &headers)?;

        let start = Instant::now();
        let built = builder.build();
        let init = start.elapsed();
        let client = match built {
            Ok(client) => client,
            // One error for all: still one answer for each URL, where a program reads them.
            Err(error) if self.json => return self.print(init, requests.iter().map(|_| Err(error.clone())).collect()),
            Err(error) => return Err(error.into()),
        };
        let outcome = match &requests[..] {
            [request] if !self.json => self.stream(&client, request, held, start, init),
            _ => self.print(init, client.map(&requests)),
        };
        if self.stats {
            eprintln!("{}", client.stats());
        }
        client.close();
        outcome
    }

    /// What the parser of the command line can't tell.
    fn check(&self) -> Result<(), Failure> {
        if self.output.len() > self.urls.len() {
            return Err(Failure::usage("there are more --output files than URLs"));
        }
        if self.upload_file.len() > self.urls.len() {
            return Err(Failure::usage("there are more --upload-file files than URLs"));
        }
        if self.upload_file.iter().filter(|file| *file == Path::new("-")).count() > 1 {
            return Err(Failure::usage("--upload-file: standard input can be sent once"));
        }
        if self.continue_at.is_some() && (self.urls.len() > 1 || self.output == [Path::new("-")]) {
            return Err(Failure::usage("--continue-at goes with one URL and its --output file"));
        }
        Ok(())
    }

    /// The method for the n-th URL.
    fn method(&self, index: usize) -> &str {
        match &self.request {
            Some(method) => method,
            None if !self.data.is_empty() => "POST",
            None if index < self.upload_file.len() => "PUT",
            None => "GET",
        }
    }

    fn requests(&self, headers: &[Header], held: u64) -> Result<Vec<Request>, Failure> {
        let body = curl::data(&self.data)?;
        let typed = headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-type"));
        let request = |(index, url): (usize, &String)| {
            let file = self.upload_file.get(index);
            let url = file.map_or(Cow::Borrowed(&url[..]), |file| curl::upload_url(url, file));
            let mut request = Request::new(self.method(index), &url);
            for header in headers.iter().filter(|header| !header.name.eq_ignore_ascii_case("host")) {
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
            if let Some(file) = file {
                request = upload::attach(request, file)?;
            }
            if self.expect {
                request = request.expect_continue();
            }
            if let Some(limit) = self.limit() {
                request = request.size_limit(limit);
            }
            if self.continue_at.is_some() {
                request = request.resume();
            }
            if held > 0 {
                request = request.header("range", format!("bytes={held}-"));
            }
            Ok(request)
        };
        self.urls.iter().enumerate().map(request).collect()
    }

    /// The greatest body; as in curl, 0 is no limit.
    fn limit(&self) -> Option<u64> {
        self.max_filesize.filter(|limit| *limit > 0)
    }

    /// Calls the only URL, and copies its body while it comes.
    fn stream(
        &self,
        client: &Client,
        request: &Request,
        held: u64,
        start: Instant,
        init: Duration,
    ) -> Result<Exit, Failure> {
        let url = &self.urls[0];
        let (outcome, row) = match client.open(request) {
            Ok(reader) => {
                let (status, mut trace, head_at) = (reader.status(), *reader.trace(), Instant::now());
                let download = Download {
                    url: curl::shown(url),
                    file: self.output.first().map(PathBuf::as_path),
                    held,
                    include: self.include,
                    fail: self.fail,
                    is_head: request.method() == "HEAD",
                    limit: self.limit(),
                    latest: self.max_time.map(|time| (start + time, time)),
                };
                let outcome = download.save(reader);
                trace.receive = head_at.elapsed();
                trace.total += trace.receive;
                (outcome, Ok((status, trace)))
            }
            Err(error) => (Err(error.clone().into()), Err(error)),
        };
        if self.timing {
            eprint!("{}", answer::timings(init, [Row::new(url, row.as_ref().copied())]));
        }
        outcome.map(|()| Exit::Done)
    }

    /// Prints every answer. The exit code is that of the first URL that failed.
    fn print(&self, init: Duration, results: Vec<pinlink::Result<Response>>) -> Result<Exit, Failure> {
        let answers: Vec<_> = self.urls.iter().zip(results).map(|(url, result)| Answer { url, init, result }).collect();
        let mut exit = Exit::Done;
        for (index, answer) in answers.iter().enumerate() {
            let file = self.output.get(index).map(PathBuf::as_path);
            let failed = if self.json { self.print_json(answer, file)? } else { self.print_plain(answer, file)? };
            if exit == Exit::Done {
                exit = failed;
            }
        }
        if self.timing && !self.json {
            eprint!("{}", answer::timings(init, answers.iter().map(Row::from)));
        }
        Ok(exit)
    }

    /// The body, and a failure's line for the user.
    fn print_plain(&self, answer: &Answer<'_>, file: Option<&Path>) -> Result<Exit, Failure> {
        match &answer.result {
            Err(error) => Ok(Failure::from(error.clone()).report()),
            Ok(response) if self.fail && response.status() >= 400 => {
                let status = answer::status(response.status());
                let line = format!("{}: the answer is {status}", curl::shown(answer.url));
                Ok(Failure::new(Exit::Status, line).report())
            }
            Ok(response) => {
                let mut data = match self.include {
                    true => answer::head(response.status(), response.headers(), response.trace()),
                    false => Vec::new(),
                };
                data.extend_from_slice(response.body());
                crate::output::deliver(data, file)?;
                Ok(Exit::Done)
            }
        }
    }

    /// One object on one line; the body goes to its file where there is one.
    fn print_json(&self, answer: &Answer<'_>, file: Option<&Path>) -> Result<Exit, Failure> {
        let (exit, body) = match &answer.result {
            Err(error) => (Failure::from(error.clone()).report(), None),
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
