//! `pinlink doctor`: what stands between this machine and some targets.
//!
//! It owns the reading of targets and the choice of the report's form; the library looks and judges.

use std::path::PathBuf;

use clap::Args;
use pinlink::{Client, Target};

use crate::exit::{Exit, Failure};
use crate::network::{Network, load};
use crate::output;

/// Look at the way to each target, step by step, and say what is probably missing
#[derive(Args)]
#[command(after_help = "Exit code 0 only where every target is reachable. Example:\n  \
                        pinlink doctor https://kms.example mysql://rds.example:3306 --pins pins.json")]
pub(crate) struct Doctor {
    /// https://HOST[:PORT], http, mysql, postgresql, hologres, hdfs, hbase, thrift, oss, ots, kms, dlf, tcp://HOST:PORT
    #[arg(value_name = "TARGET", required = true, value_parser = target)]
    targets: Vec<Target>,
    /// Import this pin set instead of asking DNS for what it names
    #[arg(long, value_name = "FILE")]
    pins: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|error| error.to_string())
}

impl Doctor {
    /// Looks and reports.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let builder = self.network.apply(Client::builder().import(load(&self.pins)?));
        let diagnosis = builder.doctor(&self.targets)?;
        let report = if self.json { format!("{}\n", diagnosis.to_json()) } else { diagnosis.to_string() };
        output::print(report)?;
        Ok(if diagnosis.is_well() { Exit::Done } else { Exit::Unreachable })
    }
}
