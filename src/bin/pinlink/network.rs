//! The options that every command shares which goes to the network.
//!
//! It owns how command line options become options of the library's table; the library checks the values.

use std::path::PathBuf;

use clap::Args;
use pinlink::{Builder, PinSet};

use crate::exit::Failure;

/// Where names are resolved and what may be dialled.
#[derive(Args)]
pub(crate) struct Network {
    /// Ask these name servers instead of those of /etc/resolv.conf
    #[arg(long, value_name = "ADDR[:PORT]", value_delimiter = ',')]
    dns_servers: Vec<String>,
    /// Allow a network that is refused otherwise: loopback, link-local, metadata, multicast
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    allow_address: Vec<String>,
    /// Set any option of `pinlink options`; may be given many times, and wins over all others
    #[arg(short = 'O', long = "option", value_name = "NAME=VALUE", value_parser = named)]
    options: Vec<(String, String)>,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for example max_connections=4")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

impl Network {
    /// Adds these options; the explicit ones come last, so that they win.
    pub(crate) fn apply(&self, mut builder: Builder) -> Builder {
        if !self.dns_servers.is_empty() {
            builder = builder.nameservers(&self.dns_servers);
        }
        if !self.allow_address.is_empty() {
            builder = builder.allow_addresses(&self.allow_address);
        }
        self.options.iter().fold(builder, |builder, (name, value)| builder.option(name, value))
    }
}

/// All pin sets of the files given, later resolutions winning.
pub(crate) fn load(files: &[PathBuf]) -> Result<PinSet, Failure> {
    let mut all = PinSet::default();
    for file in files {
        all.merge(PinSet::load(file)?);
    }
    Ok(all)
}
