//! `pinlink-bench-isahc`: the worker that holds isahc and nothing else. It has the same arguments, turns and checks as
//! `pinlink-bench-rust`, whose files it compiles, and which becomes it where isahc is asked for.
//!
//! isahc is used as its documentation says: one `HttpClient`, its blocking calls one by one, its async ones at once.

#[path = "../../src/asked.rs"]
#[allow(dead_code, reason = "it is shared with a worker that has more peers")]
mod asked;
#[path = "../../src/turns.rs"]
mod turns;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use asked::{Ask, At, PAYLOAD, PAYLOAD_TYPE, Result};
use futures::executor::block_on;
use futures::future::try_join_all;
use isahc::config::VersionNegotiation;
use isahc::http::Version;
use isahc::prelude::*;
use isahc::tls::{TlsConfig, TrustStore};
use isahc::{HttpClient, Request};
use turns::{Batch, Call, at_once, one_by_one};

/// The versions that were built.
const LOCK: &str = include_str!("../Cargo.lock");
/// The workloads, and how many exchanges are under way at once.
const WORKLOADS: [(&str, usize); 9] = [
    ("sync", 1),
    ("post", 1),
    ("body", 1),
    ("stream", 1),
    ("many-8", 8),
    ("many-32", 32),
    ("many-128", 128),
    ("http2", 100),
    ("start", 1),
];
/// What one read takes of a body that is not held.
const PIECE: usize = 64 * 1024;

fn client(at: &At, workload: &str, connections: usize) -> Result<HttpClient> {
    let is_http2 = workload == "http2";
    let connections = if is_http2 { 1 } else { connections };
    let mut builder = HttpClient::builder().proxy(None).tcp_nodelay().max_connections(connections);
    builder = builder.connection_cache_size(connections);
    if at.tls {
        let trust = TrustStore::from_file(&at.ca);
        builder = builder.tls_config(TlsConfig::builder().trust_store(trust).build());
    }
    if is_http2 {
        builder = builder.version_negotiation(VersionNegotiation::http2());
    }
    Ok(builder.build()?)
}

fn call(client: HttpClient, at: &At, ask: Ask) -> Call {
    let url = at.url.clone();
    match ask {
        Ask::Get | Ask::Body => Box::new(move || ask.check(&client.get(&url)?.bytes()?)),
        Ask::Post => Box::new(move || {
            let request = Request::post(&url).header("content-type", PAYLOAD_TYPE).body(&PAYLOAD[..])?;
            ask.check(&client.send(request)?.bytes()?)
        }),
        Ask::Stream => {
            let mut buffer = vec![0; PIECE];
            Box::new(move || {
                let (mut answer, mut taken) = (client.get(&url)?, 0);
                loop {
                    match answer.body_mut().read(&mut buffer)? {
                        0 => return ask.check_length(taken),
                        got => taken += got,
                    }
                }
            })
        }
    }
}

fn batch(client: HttpClient, at: &At, lanes: usize, version: Version) -> Batch {
    let url = at.url.clone();
    Box::new(move |count| {
        let taken = AtomicUsize::new(0);
        let lane = async || -> Result<()> {
            while taken.fetch_add(1, Relaxed) < count {
                let mut answer = client.get_async(&url).await?;
                if answer.version() != version {
                    return Err("the answer came over the other version of HTTP".into());
                }
                Ask::Get.check(&answer.bytes().await?)?;
            }
            Ok(())
        };
        block_on(try_join_all((0..lanes).map(|_| lane())))?;
        Ok(())
    })
}

fn run(workload: &str, at: &At) -> Result<()> {
    let lanes = WORKLOADS.iter().find(|(known, _)| *known == workload).ok_or("there is no such workload")?.1;
    let (ask, client) = (Ask::of(workload), || client(at, workload, lanes));
    match lanes {
        1 if workload == "start" => call(client()?, at, ask)(),
        1 => turns::serve(|| Ok(one_by_one(call(client()?, at, ask)))),
        _ => {
            let version = if workload == "http2" { Version::HTTP_2 } else { Version::HTTP_11 };
            turns::serve(|| Ok(at_once(batch(client()?, at, lanes, version))))
        }
    }
}

fn tell() -> Result<()> {
    let locked = |package: &str| {
        let (_, entry) = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        Some(format!("{package} {}", entry.split('"').next()?))
    };
    let version = locked("isahc").zip(locked("curl-sys")).map(|(isahc, curl)| format!("{isahc}, {curl}"));
    for (workload, _) in WORKLOADS {
        let line = serde_json::json!({ "workload": workload, "name": "isahc", "version": version });
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments[..] {
        ["peers"] => tell(),
        ["run", workload, "isahc", url, ca] => At::new(url, ca).and_then(|at| run(workload, &at)),
        _ => Err("peers, or run WORKLOAD isahc URL CA".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
