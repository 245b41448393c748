//! From facts and a checked request to a plan: for every way from a job to a target its solution and its tags, and for the tags
//! every advice that holds.
//!
//! It owns which solution leads to a place and which tags a way has; what is said is the facts'. No I/O, no clock.

use std::collections::BTreeSet;

use crate::facts::{Advice, Cause, Facts, Job, Section, Solution, Source};
use crate::fill::{self, Values, fill};
use crate::target::{Place, Target};
use crate::terms::{Site, Terms};
use crate::value::{JobPlan, Line, Note, Other, Plan, RegionPlan, Route, Rule, Step, Support, Verdict};

/// From this version on Spark knows no SmartNAT.
const SPARK_WITHOUT_SMARTNAT: (u32, u32) = (3, 4);
/// How many executors and two more fit into a Spark job's virtual network, unless it is told otherwise.
const SPARK_CAPACITY: u32 = 802;

/// One way from a job to a target.
pub(crate) struct Way<'t, 'f> {
    pub(crate) site: &'t Site<'f>,
    pub(crate) job: &'f Job,
    pub(crate) target: &'t Target<'f>,
    pub(crate) solution: &'f Solution,
    verdict: Verdict,
    tags: BTreeSet<String>,
}

impl Way<'_, '_> {
    pub(crate) fn is_supported(&self) -> bool {
        self.verdict == Verdict::Supported
    }

    /// Whether all conditions of an advice hold.
    fn is_meant(&self, advice: &Advice) -> bool {
        advice.when.iter().all(|condition| condition.holds(&self.tags))
    }

    pub(crate) fn has(&self, tag: &str) -> bool {
        self.tags.contains(tag)
    }
}

/// Draws a plan.
pub(crate) fn draft(facts: &Facts, terms: &Terms<'_>) -> Plan {
    let regions: Vec<_> = terms.sites.iter().map(|site| region(facts, terms, site)).collect();
    let sources = facts.sources.iter().filter(|(key, _)| regions.iter().any(|region| cites(region, key)));
    Plan { sources: sources.map(|(key, source)| (key.clone(), Source::clone(source))).collect(), regions }
}

/// Whether anything in a region's plan names a source.
fn cites(region: &RegionPlan, key: &str) -> bool {
    let routes = region.routes.iter().flat_map(|it| it.why.iter().chain(it.others.iter().map(|other| &other.why)));
    let lines = region.jobs.iter().flat_map(|job| job.lines.iter().chain(&job.options)).map(|line| &line.note);
    let notes = [&region.endpoints, &region.notes, &region.disclaimers, &region.unknown].into_iter().flatten();
    let steps = region.steps.iter().map(|step| &step.note);
    let rules = region.rules.iter().map(|rule| &rule.note);
    let noted = routes.chain(lines).chain(notes).chain(steps).chain(rules).flat_map(|note| &note.source);
    let failures = region.failures.iter().flat_map(|cause| &cause.source);
    let support = region.support.iter().flat_map(|support| &support.source);
    noted.chain(support).chain(failures).any(|source| source == key)
}

fn region(facts: &Facts, terms: &Terms<'_>, site: &Site<'_>) -> RegionPlan {
    let ways: Vec<_> = terms
        .targets
        .iter()
        .flat_map(|target| terms.jobs.iter().filter_map(move |job| way(facts, terms, site, job, target)))
        .collect();
    let shared = fill::of_site(site, terms);
    let valued = ways.iter().map(|way| {
        let own = [fill::of_way(way), fill::of_job(way.job, &ways)].concat();
        (way, [shared.as_slice(), &own].concat())
    });
    let said = Said { facts, ways: valued.collect() };
    let notes = |section| said.collect(section, |_, _, note| note);
    RegionPlan {
        id: site.region.id.clone(),
        name: site.region.name().to_owned(),
        zones: site.zones.clone(),
        vpc: site.vpc.clone(),
        networklink: site.link.clone(),
        support: support(facts, site),
        routes: said.ways.iter().map(|(way, values)| said.route(way, values)).collect(),
        steps: said.collect(Section::Step, |advice, values, note| Step {
            part: advice.part.clone(),
            who: advice.who.clone(),
            place: fill(&advice.place, values),
            note,
        }),
        rules: said.collect(Section::Rule, |advice, values, note| Rule {
            group: fill(&advice.group, values),
            direction: advice.direction.clone(),
            peer: fill(&advice.peer, values),
            ports: fill(&advice.ports, values),
            note,
        }),
        endpoints: notes(Section::Endpoint),
        notes: notes(Section::Note),
        disclaimers: notes(Section::Disclaimer),
        unknown: notes(Section::Unknown),
        jobs: terms.jobs.iter().map(|job| said.job(job)).collect(),
        failures: failures(facts, &ways),
    }
}

/// What failures mean where code of the user's makes the calls.
fn failures(facts: &Facts, ways: &[Way<'_, '_>]) -> Vec<Cause> {
    let called: Vec<_> = ways.iter().filter(|way| way.job.calls && way.is_supported()).collect();
    let lies = |host: &str| match host {
        "private" => called.iter().any(|way| way.target.at == Place::Vpc),
        "public" => called.iter().any(|way| way.target.at == Place::Internet || way.has("uses:internet-list")),
        _ => !called.is_empty(),
    };
    facts.causes.iter().filter(|cause| lies(&cause.host)).cloned().collect()
}

/// What the published tables have for a region.
fn support(facts: &Facts, site: &Site<'_>) -> Vec<Support> {
    let bounded = facts.solutions.iter().filter(|solution| solution.regions != "any");
    bounded
        .map(|solution| Support {
            solution: solution.name.clone(),
            published: is_published(solution, site),
            zones: if solution.regions == "vpc" { site.region.zones.clone() } else { Vec::new() },
            source: site.region.source.clone(),
            confidence: site.region.confidence,
        })
        .collect()
}

fn is_published(solution: &Solution, site: &Site<'_>) -> bool {
    match solution.regions.as_str() {
        "internet" => site.region.internet,
        "vpc" => !site.region.zones.is_empty(),
        _ => true,
    }
}

fn way<'t, 'f>(
    facts: &'f Facts,
    terms: &Terms<'f>,
    site: &'t Site<'f>,
    job: &'f Job,
    target: &'t Target<'f>,
) -> Option<Way<'t, 'f>> {
    let solution = facts.solution(target.at.solution())?;
    let verdict = match solution.jobs.iter().any(|listed| listed.job == job.id) {
        false => Verdict::Unlisted,
        true if is_published(solution, site) => Verdict::Supported,
        true => Verdict::Unsupported,
    };
    let mut way = Way { site, job, target, solution, verdict, tags: BTreeSet::new() };
    way.tags = tags(facts, terms, &way);
    Some(way)
}

/// Everything that conditions can ask of a way.
fn tags(facts: &Facts, terms: &Terms<'_>, way: &Way<'_, '_>) -> BTreeSet<String> {
    let (target, address) = (way.target, &way.target.address);
    let is_known = |known: bool| if known { "given" } else { "unset" };
    let mut tags = BTreeSet::new();
    let mut tag = |kind: &str, value: &str| _ = tags.insert(format!("{kind}:{value}"));
    tag("job", &way.job.id);
    tag("scheme", &address.scheme.id);
    tag("client", &address.scheme.client);
    tag("at", target.at.as_str());
    tag("solution", &way.solution.id);
    tag("verdict", way.verdict.as_str());
    tag("internet", if way.site.region.internet { "published" } else { "unsupported" });
    tag("place", if target.assumption.is_some() { "assumed" } else { "told" });
    tag("port", if address.port.is_some() { "known" } else { "unknown" });
    tag("zone", is_known(!way.site.zones.is_empty()));
    tag("workers", is_known(terms.workers.is_some()));
    tag("cap", is_known(terms.connections.is_some()));
    tag("timeout", is_known(terms.function_timeout.is_some()));
    tag("python", is_known(terms.python.is_some()));
    tag("spark-version", if terms.spark.is_some() { "known" } else { "unknown" });
    tag(
        "host",
        match () {
            () if address.literal().is_some() => "address",
            () if fill::is_internal(&address.host) => "internal",
            () if address.is_bare() => "bare",
            () => "public",
        },
    );
    tag("domain", review(facts, way));
    let is_joined = target.vpc.is_some() && target.vpc != way.site.vpc;
    let is_abroad = target.region.is_some_and(|region| region.id != way.site.region.id);
    if target.at == Place::Vpc && (is_joined || is_abroad) {
        tag("vpc", "other");
    }
    if target.at == Place::Vpc && is_abroad {
        tag("region", "other");
    }
    if terms.connections.zip(terms.workers).is_some_and(|(connections, workers)| connections < workers) {
        tag("cap", "short");
    }
    if terms.workers.is_some_and(|workers| workers.saturating_add(2) > SPARK_CAPACITY) {
        tag("capacity", "over");
    }
    let is_smartnat = terms.spark.is_some_and(|version| version < SPARK_WITHOUT_SMARTNAT) && way.site.vpc.is_none();
    if way.job.id == "spark" {
        tag("spark", if is_smartnat { "smartnat" } else { "eni" });
    }
    if target.at == Place::Vpc || (target.at == Place::Internet && way.job.id == "spark" && !is_smartnat) {
        tag("uses", "eni");
    }
    let is_public_service = way.job.id == "udf" && ["oss", "ots"].contains(&address.scheme.id.as_str());
    if target.at == Place::Internet || (target.at == Place::Service && is_public_service) {
        tag("uses", "internet-list");
    }
    tags
}

/// Whether the Internet list takes a host without a review.
fn review(facts: &Facts, way: &Way<'_, '_>) -> &'static str {
    let host = &way.target.address.host;
    let is_below =
        |domain: &String| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let domain = facts.domains.iter().find(|domain| domain.names.iter().any(is_below));
    match domain.map(|domain| domain.review.as_str()) {
        Some("none") => "verified",
        Some(_) => "unclear",
        None if way.target.address.literal().is_some() => "address",
        None => "other",
    }
}

/// What the facts say of the ways of one region, each with the values that advice may name.
struct Said<'s, 'f> {
    facts: &'f Facts,
    ways: Vec<(&'s Way<'s, 's>, Values)>,
}

impl Said<'_, '_> {
    fn advices(&self, section: Section) -> impl Iterator<Item = &Advice> {
        self.facts.advices.iter().filter(move |advice| advice.section == section)
    }

    fn note(advice: &Advice, way: &Way<'_, '_>, values: &Values) -> Note {
        Note {
            id: advice.id.clone(),
            text: fill(&advice.text, values),
            targets: vec![way.target.address.url()],
            jobs: vec![way.job.id.clone()],
            source: advice.source.clone(),
            confidence: advice.confidence,
        }
    }

    /// A section over all ways: what is said alike of several is said once, with all their names.
    fn collect<T: Noted>(&self, section: Section, form: impl Fn(&Advice, &Values, Note) -> T) -> Vec<T> {
        self.gather(section, |_| true, form)
    }

    fn gather<T: Noted>(
        &self,
        section: Section,
        concerns: impl Fn(&Way<'_, '_>) -> bool,
        form: impl Fn(&Advice, &Values, Note) -> T,
    ) -> Vec<T> {
        let mut all: Vec<T> = Vec::new();
        for advice in self.advices(section) {
            for (way, values) in self.ways.iter().filter(|(way, _)| concerns(way) && way.is_meant(advice)) {
                let item = form(advice, values, Said::note(advice, way, values));
                match all.iter_mut().find(|there| there.is_like(&item)) {
                    Some(there) => there.noted().join(item.note()),
                    None => all.push(item),
                }
            }
        }
        all
    }

    fn route(&self, way: &Way<'_, '_>, values: &Values) -> Route {
        let holds = |advice: &&Advice| way.is_meant(advice);
        let why = self.advices(Section::Why).filter(holds).map(|advice| Said::note(advice, way, values)).collect();
        let others = self.facts.solutions.iter().filter(|solution| solution.id != way.solution.id);
        let others = others.filter_map(|solution| {
            let mut against = self.advices(Section::Not).filter(|advice| advice.solution == solution.id);
            let advice = against.find(holds)?;
            Some(Other { solution: solution.name.clone(), why: Said::note(advice, way, values) })
        });
        Route {
            job: way.job.id.clone(),
            target: way.target.address.url(),
            solution: way.solution.name.clone(),
            verdict: way.verdict,
            path: path(way),
            why,
            others: others.collect(),
        }
    }

    fn job(&self, job: &Job) -> JobPlan {
        let lines = |section| {
            self.gather(
                section,
                |way| way.job.id == job.id,
                |advice, values, note| Line {
                    form: if advice.form.is_empty() { "properties".to_owned() } else { advice.form.clone() },
                    comment: fill(&advice.note, values),
                    note,
                },
            )
        };
        JobPlan {
            id: job.id.clone(),
            name: job.name.clone(),
            lines: lines(Section::Line),
            options: lines(Section::Option),
        }
    }
}

/// What is passed on a way.
fn path(way: &Way<'_, '_>) -> Vec<String> {
    let mut path = vec![way.job.name.clone()];
    let vpc = way.site.vpc.as_deref().unwrap_or("your VPC");
    match (way.target.at, way.verdict) {
        (_, Verdict::Unlisted | Verdict::Unsupported) => path.push("no known way".to_owned()),
        (Place::Vpc, _) => {
            path.push(format!("ENI in {vpc}"));
            path.push("MaxCompute's security group".to_owned());
            if way.has("vpc:other") {
                path.push(if way.has("region:other") { "CEN" } else { "peering or CEN" }.to_owned());
            }
            path.push("target's security group, white list".to_owned());
        }
        (Place::Internet, _) if way.has("spark:eni") => {
            path.extend([format!("ENI in {vpc}"), "MaxCompute's security group".to_owned(), "SNAT".to_owned()]);
        }
        (Place::Internet, _) => path.extend(["proxy".to_owned(), "Internet list".to_owned()]),
        (Place::Service, _) if way.has("uses:internet-list") => {
            path.extend(["proxy".to_owned(), "Internet list".to_owned(), "public endpoint".to_owned()]);
        }
        (Place::Service, _) => path.push("internal network".to_owned()),
    }
    path.push(way.target.address.url());
    path
}

/// What carries a note, and can be joined with its like.
trait Noted: Sized {
    fn note(self) -> Note;
    fn noted(&mut self) -> &mut Note;
    fn seen(&self) -> &Note;

    fn is_like(&self, other: &Self) -> bool {
        self.seen().text == other.seen().text && self.seen().id == other.seen().id
    }
}

impl Note {
    /// The same, said of others too.
    fn join(&mut self, other: Note) {
        for (ours, theirs) in [(&mut self.targets, other.targets), (&mut self.jobs, other.jobs)] {
            for name in theirs {
                if !ours.contains(&name) {
                    ours.push(name);
                }
            }
        }
    }
}

impl Noted for Note {
    fn note(self) -> Note {
        self
    }
    fn noted(&mut self) -> &mut Note {
        self
    }
    fn seen(&self) -> &Note {
        self
    }
}

macro_rules! noted {
    ($($form:ident { $($field:ident),* })+) => {
        $(impl Noted for $form {
            fn note(self) -> Note {
                self.note
            }
            fn noted(&mut self) -> &mut Note {
                &mut self.note
            }
            fn seen(&self) -> &Note {
                &self.note
            }
            fn is_like(&self, other: &Self) -> bool {
                self.note.text == other.note.text && self.note.id == other.note.id $(&& self.$field == other.$field)*
            }
        })+
    };
}

noted! {
    Step { place }
    Rule { group, peer, ports }
    Line { comment }
}
