//! What the names in braces stand for: of a region, of one way, and of one job with all its targets.
//!
//! It owns the placeholders for what the request doesn't say; they are in angle brackets, so that no one pastes them unseen.

use crate::draft::Way;
use crate::facts::Job;
use crate::target::Place;
use crate::terms::{Site, Terms};

/// The longest time that one call gets, as pinlink's own default.
const TIMEOUT_S: u32 = 30;
/// What `odps.function.timeout` is taken to be: the lower of the two published defaults.
const FUNCTION_TIMEOUT_S: u32 = 600;
/// How many rows one batch has at most, by default.
const BATCH_ROWS: u64 = 1_024;
/// How many more than its executors a Spark job's virtual network must hold.
const SPARK_SPARE: u32 = 2;

/// Values by name.
pub(crate) type Values = Vec<(&'static str, String)>;

/// Fills names in braces in.
pub(crate) fn fill(text: &str, values: &Values) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| match text.contains('{') {
        true => text.replace(&format!("{{{name}}}"), value),
        false => text,
    })
}

fn or(value: Option<&String>, placeholder: &str) -> String {
    value.cloned().unwrap_or_else(|| placeholder.to_owned())
}

/// Values of a region and of the whole request.
pub(crate) fn of_site(site: &Site<'_>, terms: &Terms<'_>) -> Values {
    let zones = if site.zones.is_empty() { &site.region.zones } else { &site.zones };
    let zones: Vec<_> = zones.iter().map(char::to_string).collect();
    let function_timeout = terms.function_timeout.unwrap_or(FUNCTION_TIMEOUT_S);
    let timeout = match function_timeout {
        short if short < 2 * TIMEOUT_S => format!("{}ms", u64::from(short) * 500),
        _ => format!("{TIMEOUT_S}s"),
    };
    let workers = terms.workers.unwrap_or(1);
    let connections = terms.connections.unwrap_or_default();
    vec![
        ("region", site.region.id.clone()),
        ("region_name", site.region.name().to_owned()),
        ("zones", zones.join(" or ")),
        ("vpc", or(site.vpc.as_ref(), "<vpc>")),
        ("link", or(site.link.as_ref(), "<connection>")),
        ("cidr", terms.vswitch.map_or_else(|| "<vswitch-cidr>".to_owned(), |net| net.to_string())),
        ("python", terms.python.clone().unwrap_or_default()),
        ("workers", workers.to_string()),
        ("connections", connections.to_string()),
        ("share", (connections / workers).max(1).to_string()),
        ("capacity", workers.saturating_add(SPARK_SPARE).to_string()),
        ("function_timeout", function_timeout.to_string()),
        ("timeout", timeout),
        ("row", format!("{} ms", u64::from(function_timeout) * 1_000 / BATCH_ROWS)),
    ]
}

/// Values of one way.
pub(crate) fn of_way(way: &Way<'_, '_>) -> Values {
    let target = way.target;
    let address = &target.address;
    vec![
        ("job", way.job.name.clone()),
        ("solution", way.solution.name.clone()),
        ("host", address.host.clone()),
        ("hostport", address.host_port()),
        ("service", address.scheme.service.clone()),
        ("ports", address.ports()),
        ("place", place(target.at).to_owned()),
        ("assumption", target.assumption.unwrap_or_default().to_owned()),
        ("target_vpc", or(target.vpc.as_ref(), "the target's VPC")),
        ("target_region", target.region.map_or_else(|| way.site.region.id.clone(), |region| region.id.clone())),
        ("endpoint", public_endpoint(way)),
        ("internal", internal_endpoint(way)),
    ]
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Internet => "on the Internet",
        Place::Vpc => "in a VPC",
        Place::Service => "at a service endpoint",
    }
}

/// Whether a host is an internal endpoint, by its name.
pub(crate) fn is_internal(host: &str) -> bool {
    host.split('.').any(|label| label.ends_with("-internal"))
}

/// The host where it is public; its name is not known otherwise.
fn public_endpoint(way: &Way<'_, '_>) -> String {
    let address = &way.target.address;
    match address.is_bare() || is_internal(&address.host) {
        true => format!("<public endpoint of {}>", address.host),
        false => address.host_port(),
    }
}

/// The host where it is internal; for a bucket the name that OSS gives it.
fn internal_endpoint(way: &Way<'_, '_>) -> String {
    let address = &way.target.address;
    let region = way.target.region.unwrap_or(way.site.region);
    match address.scheme.id.as_str() {
        _ if is_internal(&address.host) => address.host.clone(),
        "oss" if address.is_bare() => format!("{}.oss-{}-internal.aliyuncs.com", address.host, region.id),
        _ => format!("<internal endpoint of {}>", address.host),
    }
}

/// Values of a job: lists over all its targets.
pub(crate) fn of_job(job: &Job, ways: &[Way<'_, '_>]) -> Values {
    let ways: Vec<_> = ways.iter().filter(|way| way.job.id == job.id && way.is_supported()).collect();
    let list = |select: &dyn Fn(&Way<'_, '_>) -> Option<String>| {
        let mut values: Vec<String> = Vec::new();
        for value in ways.iter().filter_map(|way| select(way)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    };
    let access = list(&|way| match way.target.at {
        Place::Internet => Some(way.target.address.host_port()),
        _ if way.has("uses:internet-list") => Some(public_endpoint(way)),
        _ => None,
    });
    let internal = list(&|way| (way.target.at == Place::Service).then(|| internal_endpoint(way)));
    let oss = list(&|way| (way.target.address.scheme.id == "oss").then(|| internal_endpoint(way)));
    let links = list(&|way| (way.target.at == Place::Vpc).then(|| or(way.site.link.as_ref(), "<connection>")));
    let hosts = list(&|way| {
        let address = &way.target.address;
        let host = match (way.target.at, way.has("uses:internet-list")) {
            (Place::Service, true) => public_endpoint(way),
            (Place::Service, false) => internal_endpoint(way),
            _ => address.host.clone(),
        };
        let host = host.split(':').next().unwrap_or_default();
        Some(format!("{}://{host}:{}", address.scheme.client, address.port_text()))
    });
    let quoted = |values: &[String]| values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
    let mut maxframe: Vec<_> = links.iter().map(|link| format!("vpc_network_link=\"{link}\"")).collect();
    if !access.is_empty() {
        maxframe.push(format!("public_whitelist=[{}]", quoted(&access)));
    }
    if !internal.is_empty() {
        maxframe.push(format!("internal_whitelist=[{}]", quoted(&internal)));
    }
    vec![
        ("access_list", access.join(",")),
        ("internal_list", oss.join(",")),
        ("maxframe_options", maxframe.join(", ")),
        ("hosts", hosts.join(",")),
    ]
}
