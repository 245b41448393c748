//! `pinlink`: the library from the command line.
//!
//! It owns the list of subcommands and nothing else; each has a file of its own, as have the exit codes
//! (`exit.rs`), what goes to standard output (`output.rs`) and the options every network command shares
//! (`network.rs`). Where curl has an option for the same thing, its name and meaning are curl's.

#![expect(clippy::print_stderr, reason = "a program tells its user what went wrong on standard error")]

mod curl;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod encode;
mod exit;
mod get;
mod network;
mod options;
mod output;
mod pins;
mod plan;
mod resolve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Resolved, pinned, pooled and bounded connections for code that runs inside MaxCompute jobs.
#[derive(Parser)]
#[command(name = "pinlink", version, propagate_version = true, arg_required_else_help = true, after_help = exit::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make calls; one URL's body is copied while it comes, several URLs go as one batch over the same pool
    Get(Box<get::Get>),
    /// Resolve hosts once and write a pin set for every worker of a job
    Resolve(resolve::Resolve),
    /// Show, merge, thin out and import pin sets
    #[command(subcommand)]
    Pins(pins::Pins),
    /// Say what jobs need to reach their targets: the way, the steps and who does them, the rules, the lines to paste
    Plan(Box<plan::Plan>),
    /// Look at the way to each target, step by step, and say what is probably missing
    Doctor(doctor::Doctor),
    /// Print the table of options: name, type, default, range and reason
    Options(options::Options),
    /// Run a job twice against a hostile network: as people write it today, and with pinlink
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// The demo's network, in a process of its own
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Box(demo::network::Serve),
    /// One worker of the demo's job
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Worker,
    /// One execution of a node of the demo's job
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Node,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Get(get) => get.run(),
        Command::Resolve(resolve) => resolve.run(),
        Command::Pins(pins) => pins.run(),
        Command::Plan(plan) => plan.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Options(options) => options.run(),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(),
        #[cfg(feature = "demo")]
        Command::Box(network) => network.run(),
        #[cfg(feature = "demo")]
        Command::Worker => demo::worker::run(),
        #[cfg(feature = "demo")]
        Command::Node => demo::reexecute::node::run(),
    };
    outcome.unwrap_or_else(|failure| failure.report()).into()
}
