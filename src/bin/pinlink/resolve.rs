//! `pinlink resolve`: names in, pin set out.
//!
//! It runs inside the job's network (a driver, a first stage, one process of many), and ten thousand workers
//! import what it writes without one query.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use pinlink::{Client, PinSet};

use crate::exit::{Exit, Failure};
use crate::network::{Network, load};
use crate::output;

/// Resolve hosts once and write a pin set for every worker of a job
#[derive(Args)]
#[command(after_help = "Example:\n  pinlink resolve kms.example https://oss.example --output pins.json\n  \
                        pinlink get --pins pins.json https://kms.example/")]
pub(crate) struct Resolve {
    /// Hosts or origins: kms.example, https://kms.example:8443, tcp://rds.example:3306
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// Write the pin set here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long the pins may be imported, counted from now: 24h, 90m
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = validity)]
    valid_for: Duration,
    /// Start from this pin set; hosts resolved now replace its pins
    #[arg(long, value_name = "FILE")]
    merge: Vec<PathBuf>,
    /// Which addresses to look up
    #[arg(long, default_value = "ipv4")]
    family: Family,
    /// How long all look-ups together may take: 500ms, 30s, 2m
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    #[command(flatten)]
    network: Network,
}

/// The address families, by their names in the table of options.
#[derive(Clone, Copy, ValueEnum)]
enum Family {
    Ipv4,
    Ipv6,
    Both,
}

/// Reads how long pins are good; more than 0.
pub(crate) fn validity(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|_| "write a time such as 24h, 90m or 3600s".to_owned())?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("must be more than 0".to_owned()),
    }
}

impl Resolve {
    /// Resolves and writes.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut pins = load(&self.merge)?;
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
            Family::Both => "both",
        };
        let mut builder = Client::builder().hosts(&self.hosts).option("address_family", family);
        if let Some(timeout) = &self.timeout {
            builder = builder.option("resolve_timeout", timeout);
        }
        let mut resolved = PinSet::resolve(self.network.apply(builder))?;
        resolved.valid_for(self.valid_for);
        pins.merge(resolved);
        save(&pins, self.output.as_deref())?;
        Ok(Exit::Done)
    }
}

/// Writes a pin set whole or not at all, or to standard output.
pub(crate) fn save(pins: &PinSet, file: Option<&std::path::Path>) -> Result<(), Failure> {
    match file {
        Some(path) if path != std::path::Path::new("-") => {
            pins.save(path).map_err(|error| Failure::new(Exit::Output, error.to_string()))
        }
        _ => output::print(pins.to_json()),
    }
}
