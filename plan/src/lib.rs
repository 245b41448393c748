//! What a MaxCompute job needs before it reaches its targets: which way leads there, whether the region has it, who does which
//! step, the rules, and the lines to paste.
//!
//! It owns the facts (`facts.toml`), how a request is read, and how a plan is drawn from both and shown. It does no I/O, asks no
//! clock and knows nothing beside the file of facts: the same request gives the same plan.

mod advice;
mod draft;
mod facts;
mod fault;
mod fill;
mod page;
mod region;
mod request;
mod shown;
mod target;
mod terms;
mod text;
mod value;

pub use advice::{Condition, TAGS};
pub use facts::{Advice, Cause, Confidence, Domain, Facts, Job, Port, Region, Scheme, Section, Solution, Source};
pub use fault::{Fault, Faults};
pub use request::{Request, TargetRequest};
pub use shown::Format;
pub use value::{JobPlan, Line, Note, Other, Plan, RegionPlan, Route, Rule, Step, Support, Verdict};

/// Draws the plan of a request.
///
/// # Errors
/// Everything that is wrong with the request, at once; nothing is planned then.
pub fn plan(facts: &Facts, request: &Request) -> Result<Plan, Faults> {
    terms::check(facts, request).map(|terms| draft::draft(facts, &terms))
}
