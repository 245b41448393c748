//! `pinlink pins`: what one does with a pin set once it is written.
//!
//! Everything here is files in, files out; nothing is resolved and nothing is dialled.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use pinlink::{Pin, PinSet};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::network::load;
use crate::output;
use crate::resolve::{save, validity};

/// Show, merge, thin out and import pin sets
#[derive(Subcommand)]
pub(crate) enum Pins {
    /// Print a pin set; exits with 100 when a pin has expired
    Show(Show),
    /// Merge pin sets; where several have a host, the pin resolved last stays
    Merge(Merge),
    /// Drop what has expired
    Expire(Expire),
    /// Make a pin set of a file in the form of /etc/hosts
    ImportHosts(ImportHosts),
}

/// What `pins show` takes.
#[derive(Args)]
pub(crate) struct Show {
    /// The pin set
    file: PathBuf,
    /// Print JSON, one object for each pin, with `expired`
    #[arg(long)]
    json: bool,
}

/// What `pins merge` takes.
#[derive(Args)]
pub(crate) struct Merge {
    /// The pin sets
    #[arg(required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// Write here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `pins expire` takes.
#[derive(Args)]
pub(crate) struct Expire {
    /// The pin set
    file: PathBuf,
    /// Write here instead of back to the file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `pins import-hosts` takes.
#[derive(Args)]
pub(crate) struct ImportHosts {
    /// The hosts file
    file: PathBuf,
    /// Write here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long the pins may be imported; without it they never expire
    #[arg(long, value_name = "TIME", value_parser = validity)]
    valid_for: Option<Duration>,
}

impl Pins {
    /// Does it.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Pins::Show(show) => show.run(),
            Pins::Merge(merge) => {
                save(&load(&merge.files)?, merge.output.as_deref())?;
                Ok(Exit::Done)
            }
            Pins::Expire(expire) => expire.run(),
            Pins::ImportHosts(import) => import.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<Exit, Failure> {
        let set = PinSet::load(&self.file)?;
        let now = PinSet::now();
        let expired = set.iter().filter(|(_, pin)| pin.is_expired(now)).count();
        let text = if self.json {
            let pins: Vec<_> = set
                .iter()
                .map(|(host, pin)| {
                    json!({
                        "host": host,
                        "addresses": pin.addresses,
                        "ttl": pin.ttl,
                        "resolved_at": pin.resolved_at.to_string(),
                        "expires_at": pin.expires_at.map(|end| end.to_string()),
                        "resolver": pin.resolver,
                        "expired": pin.is_expired(now),
                    })
                })
                .collect();
            format!("{:#}\n", json!({ "file": self.file.display().to_string(), "expired": expired, "pins": pins }))
        } else {
            let mut table = output::table(["host", "addresses", "ttl", "resolved", "by", "good until"]);
            for (host, pin) in set.iter() {
                table.add_row(row(host, pin, pin.is_expired(now)));
            }
            output::text(&table)
        };
        output::print(text)?;
        if expired == 0 {
            return Ok(Exit::Done);
        }
        let message = format!("{}: {expired} of {} pins have expired", self.file.display(), set.len());
        Err(Failure::new(Exit::Expired, message))
    }
}

fn row(host: &str, pin: &Pin, expired: bool) -> [String; 6] {
    let addresses = pin.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
    let until = match pin.expires_at {
        None => "for ever".to_owned(),
        Some(end) if expired => format!("EXPIRED {end:.0}"),
        Some(end) => format!("{end:.0}"),
    };
    let ttl = pin.ttl.map(|ttl| format!("{ttl} s")).unwrap_or_default();
    [host.to_owned(), addresses, ttl, format!("{:.0}", pin.resolved_at), pin.resolver.clone(), until]
}

impl Expire {
    fn run(&self) -> Result<Exit, Failure> {
        let mut set = PinSet::load(&self.file)?;
        let dropped = set.expire(PinSet::now());
        save(&set, Some(self.output.as_deref().unwrap_or(&self.file)))?;
        eprintln!("{dropped} expired pins dropped, {} left", set.len());
        Ok(Exit::Done)
    }
}

impl ImportHosts {
    fn run(&self) -> Result<Exit, Failure> {
        let mut set = PinSet::from_hosts_file(&read(&self.file)?, PinSet::now())?;
        if let Some(validity) = self.valid_for {
            set.valid_for(validity);
        }
        save(&set, self.output.as_deref())?;
        Ok(Exit::Done)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("{} can't be read: {error}", path.display())))
}
