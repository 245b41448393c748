//! What a plan is asked for, as a file or a command line has it: words, not yet checked.

use serde::Deserialize;

/// One word or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Several(Vec<String>),
}

fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Words::deserialize(deserializer)? {
        Words::One(word) => vec![word],
        Words::Several(words) => words,
    })
}

/// A fault of a file in one line, with the number of its line.
pub(crate) fn located(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1)).unwrap_or_default();
    format!("{line}{}", error.message().replace('\n', ", "))
}

/// A target.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetRequest {
    /// `mysql://host:3306`.
    pub url: String,
    /// Where it lies: `internet`, `vpc` or `service`; empty where its scheme or address tells.
    pub at: String,
    /// Its own VPC, where that is not the one connected.
    pub vpc: String,
    /// Its own region, where that is not the job's.
    pub region: String,
}

impl From<&str> for TargetRequest {
    fn from(url: &str) -> TargetRequest {
        TargetRequest { url: url.to_owned(), ..TargetRequest::default() }
    }
}

/// A request: what `targets.toml` holds, and what options add to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Regions by id or name.
    #[serde(deserialize_with = "words", rename = "region")]
    pub regions: Vec<String>,
    /// Zones of the vSwitch, by letter or id.
    #[serde(deserialize_with = "words", rename = "zone")]
    pub zones: Vec<String>,
    /// Network connections, `name` or `region:name`.
    #[serde(deserialize_with = "words", rename = "networklink")]
    pub networklinks: Vec<String>,
    /// Connected VPCs, `vpc-id` or `region:vpc-id`; one for each region.
    #[serde(deserialize_with = "words", rename = "vpc")]
    pub vpcs: Vec<String>,
    /// Ways of running.
    #[serde(deserialize_with = "words", rename = "job")]
    pub jobs: Vec<String>,
    /// The targets.
    #[serde(rename = "target")]
    pub targets: Vec<TargetRequest>,
    /// Where targets lie that say nothing of it themselves.
    pub at: String,
    /// The CIDR block of the connection's vSwitch.
    pub vswitch: String,
    /// How many processes the job has.
    pub workers: Option<u32>,
    /// The job's share of the proxy's connections.
    pub connections: Option<u32>,
    /// `odps.function.timeout`, in seconds.
    pub function_timeout: Option<u32>,
    /// The Python version of functions: `cp37` or `cp311`.
    pub python: String,
    /// The version of Spark: `3.5.2`.
    pub spark: String,
}

impl Request {
    /// Reads a file.
    ///
    /// # Errors
    /// What is malformed, with its line.
    pub fn read(text: &str) -> Result<Request, String> {
        toml::from_str(text).map_err(|error| located(text, &error))
    }

    /// The same with what `other` has: its targets come after, its other values replace.
    #[must_use]
    pub fn with(mut self, other: Request) -> Request {
        let several = |ours: &mut Vec<String>, theirs: Vec<String>| {
            if !theirs.is_empty() {
                *ours = theirs;
            }
        };
        let one = |ours: &mut String, theirs: String| {
            if !theirs.is_empty() {
                *ours = theirs;
            }
        };
        several(&mut self.regions, other.regions);
        several(&mut self.zones, other.zones);
        several(&mut self.networklinks, other.networklinks);
        several(&mut self.vpcs, other.vpcs);
        several(&mut self.jobs, other.jobs);
        self.targets.extend(other.targets);
        one(&mut self.at, other.at);
        one(&mut self.vswitch, other.vswitch);
        self.workers = other.workers.or(self.workers);
        self.connections = other.connections.or(self.connections);
        self.function_timeout = other.function_timeout.or(self.function_timeout);
        one(&mut self.python, other.python);
        one(&mut self.spark, other.spark);
        self
    }
}
