//! The network in a box as a program: for demos, and for tests in other languages.
//!
//! Prints one line of JSON on stdout when everything answers (the same as `GET /plan`), then runs until its standard
//! input closes or somebody sends `POST /stop`, so that it never outlives whoever started it. Decides nothing.

#![expect(clippy::print_stdout, reason = "the line on stdout is how the program says that it is ready")]

use std::error::Error;
use std::fmt::Write;
use std::io::{BufRead, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};
use pinlink_box::{Fault, Injection, Network, OverCap, Plan};

/// A network in a box: a DNS server, proxies, origins, scripted peers and a sink, with faults that switch at run time.
#[derive(Parser)]
#[command(name = "pinlink-box", version)]
struct Options {
    /// The plan as JSON: a file, or `-` for the first line of standard input.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Names that the DNS server knows and the right certificate covers (besides *.box.test).
    #[arg(long, value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Time to live of every answer (s).
    #[arg(long)]
    ttl: Option<u32>,
    /// Addresses of the proxy, in 127.0.0.0/8.
    #[arg(long, value_delimiter = ',')]
    proxy_ips: Option<Vec<Ipv4Addr>>,
    /// Addresses listed first in every answer that drop SYNs, in 127.0.0.0/8.
    #[arg(long, value_delimiter = ',')]
    dead_ips: Option<Vec<Ipv4Addr>>,
    /// DNS queries per second above which queries are dropped.
    #[arg(long, value_name = "N")]
    queries_per_second: Option<u32>,
    /// Streams that the origins let one HTTP/2 connection have open at once.
    #[arg(long, value_name = "N")]
    h2_max_streams: Option<u32>,
    /// User and password that the explicit proxies ask for.
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    proxy_auth: Option<(String, String)>,
    /// Live connections that the proxy allows.
    #[arg(long, value_name = "N")]
    cap: Option<usize>,
    /// What happens above the cap: refuse, reset or queue.
    #[arg(long, value_name = "MODE", value_parser = over_cap)]
    over_cap: Option<OverCap>,
    /// Close connections that are idle for so long (ms).
    #[arg(long, value_name = "MS")]
    idle_cut_ms: Option<u64>,
    /// Bytes per second that all connections share.
    #[arg(long, value_name = "N")]
    bytes_per_second: Option<u64>,
    /// Delay in each direction (ms).
    #[arg(long, value_name = "MS")]
    latency_ms: Option<u64>,
    /// A fault to start with, as for POST /faults; may be repeated. A bare name needs no quotes.
    #[arg(long, value_name = "FAULT", value_parser = injection)]
    fault: Vec<Injection>,
}

fn over_cap(text: &str) -> Result<OverCap, String> {
    serde_json::from_value(text.into()).map_err(|_| "refuse, reset or queue".to_owned())
}

fn credentials(text: &str) -> Result<(String, String), String> {
    let (user, password) = text.split_once(':').ok_or("USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

fn injection(text: &str) -> Result<Injection, String> {
    let value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    Injection::from_json(value)
}

/// The list of faults for `--help`, from the same table as the enum.
fn faults() -> String {
    let mut list = String::from("Faults (id in FAULTS.md, name, what it does), switched with POST /faults:\n");
    for row in Fault::ALL {
        _ = writeln!(list, "  {:<20} {:<24} {}", row.ids, row.name, row.about);
    }
    list.push_str(
        "\nPOST /faults takes \"silent\", {\"serv-fail\": 50} or {\"fault\": …, \"times\": 3, \"name\": \"kms.box.test\"}.\n\
         DELETE /faults heals. GET /plan /counts /queries /sink /seen /complaints /tunnels /faults.\n\
         POST /reset, POST /stop.",
    );
    list
}

fn read_plan(options: &Options) -> Result<Plan, Box<dyn Error>> {
    Ok(match &options.plan {
        None => Plan::default(),
        Some(path) if path.as_os_str() == "-" => {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            serde_json::from_str(&line)?
        }
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
    })
}

fn plan(options: &Options) -> Result<Plan, Box<dyn Error>> {
    let mut plan = read_plan(options)?;
    let set = |value: Option<Vec<Ipv4Addr>>, place: &mut Vec<Ipv4Addr>| {
        if let Some(value) = value {
            *place = value;
        }
    };
    set(options.proxy_ips.clone(), &mut plan.proxy_ips);
    set(options.dead_ips.clone(), &mut plan.dead_ips);
    if let Some(names) = &options.names {
        plan.names.clone_from(names);
    }
    plan.ttl = options.ttl.unwrap_or(plan.ttl);
    plan.queries_per_second = options.queries_per_second.or(plan.queries_per_second);
    plan.h2_max_streams = options.h2_max_streams.or(plan.h2_max_streams);
    plan.proxy_auth = options.proxy_auth.clone().or(plan.proxy_auth);
    plan.proxy.cap = options.cap.or(plan.proxy.cap);
    plan.proxy.over_cap = options.over_cap.unwrap_or(plan.proxy.over_cap);
    plan.proxy.idle_cut_ms = options.idle_cut_ms.or(plan.proxy.idle_cut_ms);
    plan.proxy.bytes_per_second = options.bytes_per_second.or(plan.proxy.bytes_per_second);
    plan.proxy.latency_ms = options.latency_ms.or(plan.proxy.latency_ms);
    Ok(plan)
}

fn main() -> Result<(), Box<dyn Error>> {
    let matches = Options::command().after_help(faults()).get_matches();
    let options = Options::from_arg_matches(&matches)?;
    let network = Network::start(plan(&options)?)?;
    for injection in options.fault {
        network.inject_injection(injection);
    }
    println!("{}", serde_json::to_string(network.addresses())?);
    let stop = network.stopper();
    std::thread::spawn(move || {
        let mut waste = [0; 4096];
        while matches!(std::io::stdin().lock().read(&mut waste), Ok(1..)) {}
        stop();
    });
    network.wait();
    Ok(())
}
