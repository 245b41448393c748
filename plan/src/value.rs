//! The plan itself: what every renderer shows, and what JSON has.
//!
//! Nothing in it is worded by code where a fact can word it; each [`Note`] names the advice it came from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::facts::{Cause, Confidence, Source};

/// A plan for every region asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// One for each region.
    pub regions: Vec<RegionPlan>,
    /// The sources of everything said, by key.
    pub sources: BTreeMap<String, Source>,
}

impl Plan {
    /// Whether every target can be reached in every way asked for, as far as is known.
    pub fn is_supported(&self) -> bool {
        self.regions.iter().flat_map(|region| &region.routes).all(|route| route.verdict == Verdict::Supported)
    }
}

/// What holds in one region.
#[derive(Clone, Debug, Serialize)]
pub struct RegionPlan {
    /// `cn-hangzhou`.
    pub id: String,
    /// `China (Hangzhou)`.
    pub name: String,
    /// The zones asked for.
    pub zones: Vec<char>,
    /// The connected VPC, if one was named.
    pub vpc: Option<String>,
    /// The network connection, if one was named.
    pub networklink: Option<String>,
    /// What the published tables have.
    pub support: Vec<Support>,
    /// From each job to each target.
    pub routes: Vec<Route>,
    /// Who does what, in order.
    pub steps: Vec<Step>,
    /// The rules of security groups.
    pub rules: Vec<Rule>,
    /// Which endpoints to use.
    pub endpoints: Vec<Note>,
    /// Whatever else matters.
    pub notes: Vec<Note>,
    /// What the platform does not promise.
    pub disclaimers: Vec<Note>,
    /// What is not known.
    pub unknown: Vec<Note>,
    /// What each job takes.
    pub jobs: Vec<JobPlan>,
    /// What failures mean, for targets of these kinds.
    pub failures: Vec<Cause>,
}

/// Whether a published table has a region.
#[derive(Clone, Debug, Serialize)]
pub struct Support {
    /// The solution.
    pub solution: String,
    /// Whether it is published for this region.
    pub published: bool,
    /// The zones it is published for, where it goes by zones.
    pub zones: Vec<char>,
    /// Keys of [`Plan::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// Whether a way is known to lead from a job to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The solution is listed for this way of running and published for this region.
    Supported,
    /// The region is not published for the solution.
    Unsupported,
    /// The solution is not listed for this way of running.
    Unlisted,
}

impl Verdict {
    /// The name in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Supported => "supported",
            Verdict::Unsupported => "unsupported",
            Verdict::Unlisted => "unlisted",
        }
    }
}

/// The way from one job to one target.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// The job's id.
    pub job: String,
    /// The target's URL.
    pub target: String,
    /// Which of the six solutions.
    pub solution: String,
    /// Whether it leads there.
    pub verdict: Verdict,
    /// What is passed on the way, from the job to the target.
    pub path: Vec<String>,
    /// Why this solution.
    pub why: Vec<Note>,
    /// Why not the others.
    pub others: Vec<Other>,
}

/// A solution that doesn't apply.
#[derive(Clone, Debug, Serialize)]
pub struct Other {
    /// The solution.
    pub solution: String,
    /// Why not.
    pub why: Note,
}

/// Something said, with where it comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// The advice.
    pub id: String,
    /// What.
    pub text: String,
    /// For which targets.
    pub targets: Vec<String>,
    /// For which jobs.
    pub jobs: Vec<String>,
    /// Keys of [`Plan::sources`].
    pub source: Vec<String>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// Something that somebody does.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The part of the enabling process.
    pub part: String,
    /// Who.
    pub who: String,
    /// Where.
    pub place: String,
    /// What.
    #[serde(flatten)]
    pub note: Note,
}

/// A rule of a security group; the note's text is the action.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Whose.
    pub group: String,
    /// Which way.
    pub direction: String,
    /// Who is at the other end.
    pub peer: String,
    /// Which ports.
    pub ports: String,
    /// What.
    #[serde(flatten)]
    pub note: Note,
}

/// A line to paste; the note's text is the line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Where: `sql`, `ddl`, `spark`, `python` or `properties`.
    pub form: String,
    /// What to know about it.
    pub comment: String,
    /// The line.
    #[serde(flatten)]
    pub note: Note,
}

/// What one job takes.
#[derive(Clone, Debug, Serialize)]
pub struct JobPlan {
    /// `udf`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Lines to paste.
    pub lines: Vec<Line>,
    /// pinlink's options, as properties.
    pub options: Vec<Line>,
}
