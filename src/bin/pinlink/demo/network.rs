//! The demo's network: the network in a box, in a process of its own, so that its work and its limits are not
//! those of the job.
//!
//! It owns both ends: [`Serve`] is the hidden subcommand `pinlink box`, [`Network`] the parent's hold on it. The
//! child says on one line where everything is, then answers each line of its standard input (an [`Ask`]) with a line,
//! and ends when that input does.

use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{ChildStdin, ChildStdout};

use clap::Args;
use pinlink_box::{Certificate, Counts, Fault, Injection, OverCap, Plan, ProxyPlan, Write as Recorded};
use serde::{Deserialize, Serialize};

use super::crew::Child;
use super::words::Place;
use super::{CAP, QUERIES_PER_SECOND};
use crate::exit::{Exit, Failure};
use crate::output;

/// The service's name; the box's DNS knows it, and the box's certificate is for it.
const SERVICE: &str = "kms.box.test";

/// The demo's network, in a process of its own
#[derive(Args)]
pub(crate) struct Serve {
    /// DNS queries a second; what exceeds them is dropped
    #[arg(long, default_value_t = QUERIES_PER_SECOND)]
    queries_per_second: u32,
    /// Live connections at the proxy; what exceeds them is reset
    #[arg(long, default_value_t = CAP)]
    cap: usize,
    /// Spoils this percentage of the attempts at writing …
    #[arg(long, default_value_t = 0)]
    chaos: u8,
    /// … as this seed decides
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What the parent asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ask {
    /// For [`Counts`].
    Counts,
    /// For the [`Sink`].
    Sink,
}

/// What the service knows of the writes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sink {
    /// What it recorded, by record and key.
    pub(crate) writes: Vec<Recorded>,
    /// How many faults of writes it has played.
    pub(crate) faults: u64,
}

impl Serve {
    /// Serves until standard input ends.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let plan = Plan {
            queries_per_second: Some(self.queries_per_second),
            proxy: ProxyPlan { cap: Some(self.cap), over_cap: OverCap::Reset, ..ProxyPlan::default() },
            ..Plan::default()
        };
        let network = pinlink_box::Network::start(plan)
            .map_err(|error| Failure::new(Exit::Other, format!("the network in a box does not start: {error}")))?;
        let place = Place {
            dns: network.dns(),
            origin: format!("https://{SERVICE}:{}", network.https(Certificate::Right)),
            ca_file: network.ca_file().to_owned(),
        };
        if self.chaos > 0 {
            // It never runs out; what is left of it tells how often it struck.
            let fault = Fault::WriteChaos(self.seed, self.chaos);
            network.inject_injection(Injection { fault, times: Some(u32::MAX), name: None });
        }
        output::print(line(&place))?;
        for asked in stdin().lock().lines() {
            let Ok(asked) = asked else { break };
            let asked = serde_json::from_str(&asked).map_err(|error| Failure::usage(error.to_string()))?;
            output::print(match asked {
                Ask::Counts => line(&network.counts()),
                Ask::Sink => line(&Sink { writes: network.sink(), faults: played(&network) }),
            })?;
        }
        Ok(Exit::Done)
    }
}

fn played(network: &pinlink_box::Network) -> u64 {
    network.faults().iter().filter_map(|injection| injection.times).map(|left| u64::from(u32::MAX - left)).sum()
}

fn line(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).expect("plain data"))
}

/// A running network, from the parent's side. Dropping it ends it.
pub(crate) struct Network {
    place: Place,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    // The last field: its input is closed, and it is told to end, before it is waited for.
    _child: Child,
}

impl Network {
    /// Starts a new one, with further arguments of [`Serve`], and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Result<Network, Failure> {
        let (child, input, output) = Child::start(&[&["box"], arguments].concat())?;
        let mut output = BufReader::new(output);
        let place = heard(&mut output)?;
        Ok(Network { place, input, output, _child: child })
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// What it has counted so far.
    pub(crate) fn counts(&mut self) -> Result<Counts, Failure> {
        self.ask(&Ask::Counts)
    }

    /// What was written so far.
    pub(crate) fn sink(&mut self) -> Result<Sink, Failure> {
        self.ask(&Ask::Sink)
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, what: &Ask) -> Result<T, Failure> {
        self.input.write_all(line(what).as_bytes()).map_err(|error| gone(&error))?;
        heard(&mut self.output)
    }
}

fn heard<T: serde::de::DeserializeOwned>(output: &mut impl BufRead) -> Result<T, Failure> {
    let mut line = String::new();
    match output.read_line(&mut line) {
        Ok(0) => Err(gone(&"its output is closed")),
        Ok(_) => serde_json::from_str(&line).map_err(|error| gone(&error)),
        Err(error) => Err(gone(&error)),
    }
}

fn gone(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("the network in a box has ended: {error}"))
}
