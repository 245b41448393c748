//! A request that has been checked: regions, jobs and targets as values that can't be wrong.
//!
//! It owns all checks but those of a single target's URL, and collects every fault before it gives up.

use ipnet::IpNet;

use crate::facts::{Facts, Job, Region};
use crate::fault::{Faults, Findings};
use crate::region;
use crate::request::{Request, TargetRequest};
use crate::target::{Address, Place, Target};

/// A plan for more than this is no longer read.
const MAX_TARGETS: usize = 1_000;
/// The range of `odps.function.timeout`.
const FUNCTION_TIMEOUT: std::ops::RangeInclusive<u32> = 1..=3_600;
/// The range of pinlink's options `workers` and `job_connections`.
const COUNT: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Of names that are pasted into lines.
const MAX_NAME: usize = 128;

/// A region of the request, with what the job has there.
#[derive(Debug)]
pub(crate) struct Site<'f> {
    pub(crate) region: &'f Region,
    pub(crate) zones: Vec<char>,
    pub(crate) vpc: Option<String>,
    pub(crate) link: Option<String>,
}

/// A request without faults.
#[derive(Debug)]
pub(crate) struct Terms<'f> {
    pub(crate) sites: Vec<Site<'f>>,
    pub(crate) jobs: Vec<&'f Job>,
    pub(crate) targets: Vec<Target<'f>>,
    pub(crate) vswitch: Option<IpNet>,
    pub(crate) workers: Option<u32>,
    pub(crate) connections: Option<u32>,
    pub(crate) function_timeout: Option<u32>,
    pub(crate) python: Option<String>,
    /// Major and minor version.
    pub(crate) spark: Option<(u32, u32)>,
}

/// Checks a request.
pub(crate) fn check<'f>(facts: &'f Facts, request: &Request) -> Result<Terms<'f>, Faults> {
    let mut findings = Findings::default();
    let mut sites = sites(facts, request, &mut findings);
    let jobs = jobs(facts, request, &mut findings);
    let targets = targets(facts, request, &mut findings);
    connected(&mut sites, &targets, &mut findings);
    zones(&sites, &targets, &mut findings);
    let terms = Terms {
        sites,
        jobs,
        targets,
        vswitch: optional(&request.vswitch).and_then(|text| findings.take("vswitch", cidr(text))),
        workers: count("workers", request.workers, COUNT, &mut findings),
        connections: count("connections", request.connections, COUNT, &mut findings),
        function_timeout: count("function_timeout", request.function_timeout, FUNCTION_TIMEOUT, &mut findings),
        python: optional(&request.python).and_then(|text| findings.take("python", python(text))),
        spark: optional(&request.spark).and_then(|text| findings.take("spark", version(text))),
    };
    findings.end(terms)
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn cidr(text: &str) -> Result<IpNet, String> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V6(_)) => Err("IPv6 is not supported by MaxCompute".to_owned()),
        Ok(net) => Ok(net.trunc()),
        Err(_) => Err(format!("{text:?} is no CIDR block such as 192.168.1.0/24")),
    }
}

fn count(name: &str, value: Option<u32>, range: std::ops::RangeInclusive<u32>, findings: &mut Findings) -> Option<u32> {
    let value = value?;
    let inside = range.contains(&value);
    if !inside {
        findings.add(name, format!("{value} is not from {} to {}", range.start(), range.end()));
    }
    inside.then_some(value)
}

fn python(text: &str) -> Result<String, String> {
    match text {
        "cp37" | "cp311" => Ok(text.to_owned()),
        "cp27" => Err("pinlink needs Python 3: cp37 or cp311".to_owned()),
        _ => Err(format!("{text:?} is none of cp37, cp311")),
    }
}

fn version(text: &str) -> Result<(u32, u32), String> {
    let mut parts = text.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("{text:?} is no version such as 3.5.2")),
    }
}

/// A name that can stand in a line to paste.
fn name(text: &str) -> Result<String, String> {
    let sound = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match sound && (1..=MAX_NAME).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no name: at most {MAX_NAME} letters, digits, dots, hyphens and underscores")),
    }
}

fn sites<'f>(facts: &'f Facts, request: &Request, findings: &mut Findings) -> Vec<Site<'f>> {
    let mut sites: Vec<Site<'f>> = Vec::new();
    if request.regions.is_empty() {
        findings.add("region", "name at least one, by its id or name");
    }
    for text in &request.regions {
        let Some(region) = findings.take("region", region::find(facts, text)) else { continue };
        if !sites.iter().any(|site| site.region.id == region.id) {
            sites.push(Site { region, zones: Vec::new(), vpc: None, link: None });
        }
    }
    for text in &request.zones {
        let Some((letter, of)) = findings.take("zone", region::zone(facts, text)) else { continue };
        let mut found = false;
        for site in sites.iter_mut().filter(|site| of.is_none_or(|of| of.id == site.region.id)) {
            found = true;
            if !site.zones.contains(&letter) {
                site.zones.push(letter);
            }
        }
        if !found && !sites.is_empty() {
            findings.add("zone", format!("{text:?} is in none of the regions asked for"));
        }
    }
    for text in &request.vpcs {
        given(facts, "vpc", text, &mut sites, |site| &mut site.vpc, MIXED, findings);
    }
    for text in &request.networklinks {
        given(facts, "networklink", text, &mut sites, |site| &mut site.link, ONE_LINK, findings);
    }
    sites
}

const ONE_LINK: &str = "one session names one connection";
const MIXED: &str = "one job is let into one VPC; plan the others in jobs of their own, or give each such target its `vpc`, to be \
                     joined to the connected one";

/// Gives `NAME` to every region asked for, or `REGION:NAME` to one.
fn given<'f>(
    facts: &'f Facts,
    what: &str,
    text: &str,
    sites: &mut [Site<'f>],
    slot: impl for<'a> Fn(&'a mut Site<'f>) -> &'a mut Option<String>,
    several: &str,
    findings: &mut Findings,
) {
    let (of, value) = text.split_once(':').map_or((None, text), |(of, value)| (Some(of), value));
    let of = match of.map(|of| region::find(facts, of)).transpose() {
        Ok(region) => region,
        Err(fault) => return findings.add(what, fault),
    };
    let Some(value) = findings.take(what, name(value)) else { return };
    if of.is_some_and(|of| !sites.iter().any(|site| site.region.id == of.id)) {
        return findings.add(what, format!("{text:?} is in none of the regions asked for"));
    }
    for site in sites.iter_mut().filter(|site| of.is_none_or(|of| of.id == site.region.id)) {
        let region = site.region;
        match slot(site) {
            Some(first) if *first != value => {
                findings.add(what, format!("{first} and {value} in {}: {several}", region.id));
            }
            slot => *slot = Some(value.clone()),
        }
    }
}

fn jobs<'f>(facts: &'f Facts, request: &Request, findings: &mut Findings) -> Vec<&'f Job> {
    let mut jobs: Vec<&Job> = Vec::new();
    let known = || facts.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().join(", ");
    if request.jobs.is_empty() {
        findings.add("job", format!("name at least one of {}", known()));
    }
    for text in &request.jobs {
        match facts.jobs.iter().find(|job| job.id == *text) {
            Some(job) if jobs.iter().any(|there| there.id == job.id) => {}
            Some(job) => jobs.push(job),
            None => findings.add("job", format!("{text:?} is none of {}", known())),
        }
    }
    jobs
}

fn targets<'f>(facts: &'f Facts, request: &Request, findings: &mut Findings) -> Vec<Target<'f>> {
    let mut targets: Vec<Target<'f>> = Vec::new();
    match request.targets.len() {
        0 => findings.add("target", "name at least one, as SCHEME://HOST[:PORT]"),
        1..=MAX_TARGETS => {}
        many => {
            findings.add("target", format!("{many} targets; at most {MAX_TARGETS} are planned at once"));
            return targets;
        }
    }
    let default_place = optional(&request.at).and_then(|text| findings.take("at", Place::parse(text)));
    let has_vpc = !request.vpcs.is_empty() || !request.networklinks.is_empty();
    for (index, asked) in request.targets.iter().enumerate() {
        let at = format!("target {}", index + 1);
        let Some(address) = findings.take(&at, Address::parse(facts, &asked.url)) else { continue };
        let at = format!("{at} ({})", address.url());
        let Some(target) = findings.take(&at, target(facts, asked, address, default_place, has_vpc)) else { continue };
        let url = target.address.url();
        if !targets.iter().any(|there| there.address.url() == url) {
            targets.push(target);
        }
    }
    targets
}

fn target<'f>(
    facts: &'f Facts,
    asked: &TargetRequest,
    address: Address<'f>,
    default_place: Option<Place>,
    has_vpc: bool,
) -> Result<Target<'f>, String> {
    let vpc = optional(&asked.vpc).map(name).transpose().map_err(|fault| format!("vpc: {fault}"))?;
    let own_region = optional(&asked.region).map(|text| region::find(facts, text)).transpose()?;
    let is_private = address.literal().is_some_and(|literal| literal.is_private());
    let own = optional(&asked.at).map(Place::parse).transpose().map_err(|fault| format!("at: {fault}"))?;
    let by_nature = match address.literal() {
        Some(literal) => Some(if literal.is_private() { Place::Vpc } else { Place::Internet }),
        None => Place::parse(&address.scheme.at).ok(),
    };
    let (at, assumption) = match own.or(vpc.as_ref().map(|_| Place::Vpc)).or(by_nature).or(default_place) {
        Some(place) => (place, None),
        None if has_vpc => (Place::Vpc, Some("a VPC or a network connection is named")),
        None => (Place::Internet, Some("no VPC and no network connection is named")),
    };
    match at {
        _ if address.is_special() => Err("loopback, link-local, multicast and the like: no job reaches it".to_owned()),
        Place::Internet if is_private => Err("a private address is not on the Internet".to_owned()),
        Place::Service if address.scheme.at != "service" => {
            let services = facts.schemes.iter().filter(|scheme| scheme.at == "service");
            let services: Vec<_> = services.map(|scheme| format!("{}://", scheme.id)).collect();
            Err(format!("service endpoints are named for {} only", services.join(", ")))
        }
        _ => Ok(Target { address, at, assumption, vpc, region: own_region }),
    }
}

/// The VPC that a job is let into: the one named, or the only one that targets have.
fn connected(sites: &mut [Site<'_>], targets: &[Target<'_>], findings: &mut Findings) {
    let mut vpcs: Vec<&str> = targets.iter().filter_map(|target| target.vpc.as_deref()).collect();
    vpcs.sort_unstable();
    vpcs.dedup();
    for site in sites.iter_mut().filter(|site| site.vpc.is_none()) {
        match vpcs.as_slice() {
            [] => {}
            [only] => site.vpc = Some((*only).to_owned()),
            several => {
                findings.add("vpc", format!("targets in {}: {MIXED}, named by `vpc`", several.join(" and ")));
                return;
            }
        }
    }
}

/// Zones matter where something lies in a VPC.
fn zones(sites: &[Site<'_>], targets: &[Target<'_>], findings: &mut Findings) {
    if !targets.iter().any(|target| target.at == Place::Vpc) {
        return;
    }
    for site in sites.iter().filter(|site| !site.region.zones.is_empty()) {
        for zone in site.zones.iter().filter(|zone| !site.region.zones.contains(zone)) {
            let published: Vec<_> = site.region.zones.iter().map(char::to_string).collect();
            let region = site.region.name();
            let what = format!(
                "zone {zone} of {region} is not published for VPC direct connections; {} are: use a vSwitch in one of them",
                published.join(", ")
            );
            findings.add("zone", what);
        }
    }
}
