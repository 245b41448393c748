//! The facts, as `facts.toml` has them: every one with its sources and how sure it is.
//!
//! It owns the shape of the file and what must hold across it: ids are unique, sources exist. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::advice::Condition;
use crate::request::located;

/// How sure a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Reasoning of ours.
    Guess,
    /// A weak source.
    Low,
    /// One indirect or dated source, or a strong inference.
    Medium,
    /// Read in a vendor's page or code.
    High,
}

impl Confidence {
    /// The name in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Guess => "guess",
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// Where a fact was read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is called.
    pub title: String,
    /// When it was last changed, as far as it says so; else empty.
    pub date: String,
}

/// A way of running code or queries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// `udf`, `spark`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether code of the user's makes the calls.
    pub calls: bool,
}

/// One of the six solutions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solution {
    /// `internet`, `vpc`, `service`, `privatelink`, `peering` or `cen`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Which published table bounds it: `internet`, `vpc`, or `any` where none does.
    pub regions: String,
    /// The ways of running that it is listed for.
    pub jobs: Vec<Listed>,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A way of running that a solution is listed for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The job's id.
    pub job: String,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A region, and what the published tables have for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// `cn-hangzhou`.
    pub id: String,
    /// What people write, in three languages; the first is the console's English name.
    pub names: Vec<String>,
    /// Whether Internet access is published for it.
    pub internet: bool,
    /// The zones that VPC direct connections are published for; none where the region is not.
    pub zones: Vec<char>,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

impl Region {
    /// The console's English name.
    pub fn name(&self) -> &str {
        self.names.first().map_or(&self.id, |name| name)
    }
}

/// A scheme that a target may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// `mysql`.
    pub id: String,
    /// What speaks it.
    pub service: String,
    /// Where such a target lies unless it is told otherwise: `vpc`, `service`, or empty where the scheme doesn't tell.
    pub at: String,
    /// The scheme that pinlink reaches it by: `https`, `http` or `tcp`.
    pub client: String,
    /// Its ports; the first is the default.
    pub ports: Vec<Port>,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A port of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The number.
    pub port: u16,
    /// What listens there.
    pub what: String,
}

/// Public domains, and whether the Internet list takes them without a review.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The domains; what is below them counts too.
    pub names: Vec<String>,
    /// `none` or `unclear`.
    pub review: String,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// In which part of a plan an advice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// Why a solution applies.
    Why,
    /// Why another doesn't.
    Not,
    /// What somebody does.
    Step,
    /// A rule of a security group.
    Rule,
    /// A line to paste.
    Line,
    /// Which endpoint to use.
    Endpoint,
    /// Whatever else matters.
    Note,
    /// What the platform does not promise.
    Disclaimer,
    /// What is not known.
    Unknown,
    /// An option of pinlink.
    Option,
}

/// One thing to say, and when. Names in braces are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    /// Unique.
    pub id: String,
    /// Where it stands.
    pub section: Section,
    /// What must hold.
    pub when: Vec<Condition>,
    /// The sentence, line or action.
    pub text: String,
    /// Of a line or an option: what to know about it.
    #[serde(default)]
    pub note: String,
    /// Of a reason against: the solution that it rules out.
    #[serde(default)]
    pub solution: String,
    /// Of a step: the part of the enabling process.
    #[serde(default)]
    pub part: String,
    /// Of a step: who does it.
    #[serde(default)]
    pub who: String,
    /// Of a step: where.
    #[serde(default)]
    pub place: String,
    /// Of a line: where it is pasted, `sql`, `ddl`, `spark` or `python`.
    #[serde(default)]
    pub form: String,
    /// Of a rule: whose group.
    #[serde(default)]
    pub group: String,
    /// Of a rule: `inbound` or `outbound`.
    #[serde(default)]
    pub direction: String,
    /// Of a rule: who is at the other end.
    #[serde(default)]
    pub peer: String,
    /// Of a rule: which ports.
    #[serde(default)]
    pub ports: String,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// What a failure means, as far as the enabling process has a part in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Unique.
    pub id: String,
    /// The failures, by the stable names of pinlink's reasons.
    pub reasons: Vec<String>,
    /// Where the address lies: `private`, `public` or `any`.
    pub host: String,
    /// The part of the enabling process, or what stands beside it, by the names of pinlink's layers.
    pub part: String,
    /// The step that is missing, or what is wrong.
    pub step: String,
    /// Keys of [`Facts::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// All that is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Where facts were read, by key.
    #[serde(rename = "source")]
    pub sources: BTreeMap<String, Source>,
    /// The ways of running.
    #[serde(rename = "job")]
    pub jobs: Vec<Job>,
    /// The six solutions.
    #[serde(rename = "solution")]
    pub solutions: Vec<Solution>,
    /// The regions.
    #[serde(rename = "region")]
    pub regions: Vec<Region>,
    /// The schemes.
    #[serde(rename = "scheme")]
    pub schemes: Vec<Scheme>,
    /// The public domains.
    #[serde(rename = "domain")]
    pub domains: Vec<Domain>,
    /// Everything a plan can say.
    #[serde(rename = "advice")]
    pub advices: Vec<Advice>,
    /// From failures to steps.
    #[serde(rename = "cause")]
    pub causes: Vec<Cause>,
}

static PUBLISHED: LazyLock<Facts> = LazyLock::new(|| {
    Facts::read(include_str!("../facts.toml")).expect("the file of facts is part of this crate, and its tests read it")
});

impl Facts {
    /// The facts that this crate ships with.
    pub fn published() -> &'static Facts {
        &PUBLISHED
    }

    /// Reads a file of facts.
    ///
    /// # Errors
    /// What is malformed, twice there, or names what is not there.
    pub fn read(text: &str) -> Result<Facts, String> {
        let facts: Facts = toml::from_str(text).map_err(|error| located(text, &error))?;
        let mut ids = BTreeSet::new();
        for (id, sources) in facts.sourced() {
            if !ids.insert(id.clone()) {
                return Err(format!("{id} is there twice"));
            }
            if sources.is_empty() {
                return Err(format!("{id} names no source"));
            }
            if let Some(missing) = sources.iter().find(|source| !facts.sources.contains_key(*source)) {
                return Err(format!("{id} names the source {missing}, which is not there"));
            }
        }
        Ok(facts)
    }

    /// Everything that must have a source, with the sources it names.
    pub fn sourced(&self) -> impl Iterator<Item = (String, &[String])> {
        let listed = self.solutions.iter().flat_map(|solution| {
            solution.jobs.iter().map(|job| (format!("{} for {}", solution.id, job.job), job.source.as_slice()))
        });
        let solutions = self.solutions.iter().map(|it| (format!("solution {}", it.id), it.source.as_slice()));
        let regions = self.regions.iter().map(|it| (format!("region {}", it.id), it.source.as_slice()));
        let schemes = self.schemes.iter().map(|it| (format!("scheme {}", it.id), it.source.as_slice()));
        let domains = self.domains.iter().map(|it| (format!("domains {}", it.names.join(",")), it.source.as_slice()));
        let advices = self.advices.iter().map(|it| (it.id.clone(), it.source.as_slice()));
        let causes = self.causes.iter().map(|it| (it.id.clone(), it.source.as_slice()));
        listed.chain(solutions).chain(regions).chain(schemes).chain(domains).chain(advices).chain(causes)
    }

    /// A solution by its id.
    pub(crate) fn solution(&self, id: &str) -> Option<&Solution> {
        self.solutions.iter().find(|solution| solution.id == id)
    }
}
