//! `pinlink plan`: a file or options in, what jobs need to reach their targets out.
//!
//! It owns the command line only; the facts and everything drawn from them are in the crate `pinlink-plan`. Nothing is sent and
//! nothing is resolved.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pinlink_plan::{Facts, Format, Request, TargetRequest};

use crate::exit::{Exit, Failure};
use crate::output;

/// Say what jobs need to reach their targets: the way, the steps and who does them, the rules, the lines to paste
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pinlink plan targets.toml\n  pinlink plan --region cn-hangzhou --zone H --networklink myLink --vpc vpc-1 \\\n    \
                  --job udf --job spark --target mysql://rds.example --target https://api.example\n  \
                  pinlink plan targets.toml --format html -o plan.html   # for the people who do the console's steps\n\n\
                  A file has the same names: region, zone, networklink, vpc, job (a word or a list), at, vswitch, workers,\n\
                  connections, function_timeout, python, spark; and [[target]] with url, and at, vpc, region of its own.\n\n\
                  Exit code 1 means that a plan was printed, and that not all of it is supported."
)]
pub(crate) struct Plan {
    /// A file of targets (TOML); - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A target: https, http, tcp, mysql, postgresql, hdfs, hbase, thrift, oss, ots, hologres, dlf, kms ://host[:port]
    #[arg(long = "target", value_name = "URL")]
    targets: Vec<String>,
    /// A way of running: sql, udf, external-table, lakehouse, spark, mapreduce, pyodps, maxframe
    #[arg(long = "job", value_name = "JOB", value_delimiter = ',')]
    jobs: Vec<String>,
    /// The project's region, by its id or its English, Chinese or Japanese name
    #[arg(long = "region", value_name = "REGION", value_delimiter = ',')]
    regions: Vec<String>,
    /// The zone of the connection's vSwitch
    #[arg(long = "zone", value_name = "ZONE", value_delimiter = ',')]
    zones: Vec<String>,
    /// The network connection's name
    #[arg(long = "networklink", value_name = "[REGION:]NAME")]
    networklinks: Vec<String>,
    /// The connected VPC
    #[arg(long = "vpc", value_name = "[REGION:]VPC")]
    vpcs: Vec<String>,
    /// Where targets lie that don't tell it themselves: internet, vpc or service
    #[arg(long, value_name = "PLACE")]
    at: Option<String>,
    /// The CIDR block of the connection's vSwitch
    #[arg(long, value_name = "CIDR")]
    vswitch: Option<String>,
    /// How many processes the job has
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// How many connections the whole job may have
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// odps.function.timeout, in seconds
    #[arg(long, value_name = "SECONDS")]
    function_timeout: Option<u32>,
    /// The Python version of functions: cp37 or cp311
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// The version of Spark
    #[arg(long, value_name = "VERSION")]
    spark: Option<String>,
    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Form,
    /// Write here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The formats, by their names on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Markdown,
    Json,
    /// SET lines and table properties, ready to paste
    Sql,
    /// Lines for spark-defaults.conf
    Spark,
    /// One page with the ways drawn, that loads nothing
    Html,
}

impl From<Form> for Format {
    fn from(form: Form) -> Format {
        match form {
            Form::Text => Format::Text,
            Form::Markdown => Format::Markdown,
            Form::Json => Format::Json,
            Form::Sql => Format::Sql,
            Form::Spark => Format::Spark,
            Form::Html => Format::Html,
        }
    }
}

impl Plan {
    /// Prints.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let file = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let asked = Request {
            regions: self.regions,
            zones: self.zones,
            networklinks: self.networklinks,
            vpcs: self.vpcs,
            jobs: self.jobs,
            targets: self.targets.iter().map(|url| TargetRequest::from(url.as_str())).collect(),
            at: self.at.unwrap_or_default(),
            vswitch: self.vswitch.unwrap_or_default(),
            workers: self.workers,
            connections: self.connections,
            function_timeout: self.function_timeout,
            python: self.python.unwrap_or_default(),
            spark: self.spark.unwrap_or_default(),
        };
        let plan = pinlink_plan::plan(Facts::published(), &file.with(asked))
            .map_err(|faults| Failure::usage(faults.to_string().replace('\n', "\npinlink: ")))?;
        let shown = Format::from(self.format).show(&plan).map_err(|fault| Failure::new(Exit::Other, fault))?;
        output::deliver(shown, self.output.as_deref())?;
        match plan.is_supported() {
            true => Ok(Exit::Done),
            false => Err(Failure::new(
                Exit::Other,
                "not every target is known to be in reach of every job: see the verdicts",
            )),
        }
    }
}

fn read(file: &Path) -> Result<Request, Failure> {
    let name = file.display();
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => fs::read_to_string(file).map(|read| text = read),
    };
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Request::read(&text).map_err(|fault| Failure::usage(format!("{name}: {fault}")))
}
