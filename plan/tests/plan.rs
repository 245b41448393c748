//! Plans against golden files, which people read: `tests/golden/NAME.toml` is a request, `NAME.txt` its plan.
//!
//! `PINLINK_GOLDEN=write` writes them anew; what changed is then reviewed as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use pinlink_plan::{Confidence, Facts, Format, Plan, Request, TargetRequest, Verdict, plan};
use serde_json::Value;

/// The formats beside text, and how their golden files end.
const FORMATS: [(Format, &str); 5] = [
    (Format::Markdown, "md"),
    (Format::Json, "json"),
    (Format::Sql, "sql"),
    (Format::Spark, "conf"),
    (Format::Html, "html"),
];
const SHOWN_IN_EVERY_FORMAT: [&str; 2] = ["functions", "spark"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Holds a text against a golden file, or writes it.
fn golden(name: &str, text: &str) {
    let file = folder().join(name);
    if env::var_os("PINLINK_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&file, text).expect("golden files are writable");
        return;
    }
    let known =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}; PINLINK_GOLDEN=write writes it"));
    let differing = known.lines().zip(text.lines()).position(|(known, now)| known != now);
    let differing = differing.or_else(|| (known != text).then(|| known.lines().count().min(text.lines().count())));
    if let Some(line) = differing {
        let of = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
        panic!("{name}, line {}:\n  known {}\n  now   {}", line + 1, of(&known), of(text));
    }
}

/// Every request of the folder, by name.
fn requests() -> BTreeMap<String, Request> {
    let files = fs::read_dir(folder()).expect("golden files are there").map(|entry| entry.expect("readable").path());
    let requests: BTreeMap<_, _> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
        .map(|file| {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&file).expect("a request is readable");
            let request = Request::read(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            (name, request)
        })
        .collect();
    assert!(requests.len() >= 10, "{} requests", requests.len());
    requests
}

fn drawn(name: &str, request: &Request) -> Plan {
    plan(Facts::published(), request).unwrap_or_else(|faults| panic!("{name}: {faults}"))
}

fn shown(plan: &Plan, format: Format) -> String {
    format.show(plan).expect("a plan can be shown")
}

fn of(region: &str, job: &str, target: &str) -> Request {
    Request {
        regions: vec![region.to_owned()],
        jobs: vec![job.to_owned()],
        targets: vec![TargetRequest::from(target)],
        ..Request::default()
    }
}

#[test]
fn plans_are_as_their_golden_files_say() {
    for (name, request) in requests() {
        golden(&format!("{name}.txt"), &shown(&drawn(&name, &request), Format::Text));
    }
}

#[test]
fn every_format_is_as_its_golden_file_says() {
    for name in SHOWN_IN_EVERY_FORMAT {
        let plan = drawn(name, &requests()[name]);
        for (format, ending) in FORMATS {
            golden(&format!("{name}.{ending}"), &shown(&plan, format));
        }
    }
}

#[test]
fn no_golden_file_is_left_that_nothing_is_held_against() {
    let mut known: BTreeSet<String> = ["regions.list", "faults.list"].map(str::to_owned).into();
    for name in requests().keys() {
        known.extend([format!("{name}.toml"), format!("{name}.txt")]);
    }
    for name in SHOWN_IN_EVERY_FORMAT {
        known.extend(FORMATS.map(|(_, ending)| format!("{name}.{ending}")));
    }
    let files =
        fs::read_dir(folder()).expect("golden files are there").map(|entry| entry.expect("readable").file_name());
    let left: Vec<_> = files.filter(|file| !known.contains(&*file.to_string_lossy())).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_region_and_zone_has_a_verdict_for_every_job() {
    let facts = Facts::published();
    let targets = ["https://api.partner.example", "mysql://10.0.0.7", "oss://rows"];
    let mut text = String::from("# region, zone: what the published tables say of the zone\n");
    for region in &facts.regions {
        for zone in 'A'..='Z' {
            let request = Request { zones: vec![zone.to_string()], ..of(&region.id, "udf", targets[1]) };
            match plan(facts, &request) {
                Ok(plan) if plan.is_supported() => _ = writeln!(text, "{} {zone}: published", region.id),
                Ok(_) => assert!(region.zones.is_empty(), "{} {zone}", region.id),
                Err(faults) => {
                    assert!(!region.zones.contains(&zone), "{} {zone}: {faults}", region.id);
                    assert!(faults.to_string().contains("not published for VPC direct connections"), "{faults}");
                }
            }
        }
    }
    text.push_str("\n# region, job: internet, vpc, service\n");
    for region in &facts.regions {
        for job in &facts.jobs {
            let verdicts = targets.map(|target| {
                let plan = drawn(target, &of(&region.id, &job.id, target));
                plan.regions[0].routes[0].verdict.as_str().to_owned()
            });
            _ = writeln!(text, "{} {}: {}", region.id, job.id, verdicts.join(", "));
        }
    }
    golden("regions.list", &text);
}

/// The ids of everything that a plan says.
fn said(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            ids.extend(fields.get("id").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| said(value, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| said(value, ids)),
        _ => {}
    }
}

#[test]
fn every_advice_and_every_cause_is_said_in_some_plan() {
    let mut ids = BTreeSet::new();
    for (name, request) in requests() {
        let json = shown(&drawn(&name, &request), Format::Json);
        said(&serde_json::from_str(&json).expect("JSON"), &mut ids);
    }
    let facts = Facts::published();
    let all = facts.advices.iter().map(|advice| &advice.id).chain(facts.causes.iter().map(|cause| &cause.id));
    let silent: Vec<_> = all.filter(|id| !ids.contains(*id)).collect();
    assert!(silent.is_empty(), "never said: {silent:?}");
}

#[test]
fn every_fact_names_a_source_that_is_cited_with_its_date() {
    let facts = Facts::published();
    let mut cited = BTreeSet::new();
    for (id, sources) in facts.sourced() {
        assert!(!sources.is_empty(), "{id}");
        cited.extend(sources.iter().cloned());
    }
    for (key, source) in &facts.sources {
        assert!(cited.contains(key), "nothing cites {key}");
        assert!(!source.title.is_empty(), "{key}");
        let is_date = source.date.split('-').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        assert!(source.date.is_empty() || (source.date.len() >= 7 && is_date), "{key}: {}", source.date);
    }
    for advice in facts.advices.iter().filter(|advice| advice.source == ["reasoning"]) {
        let is_ours =
            advice.confidence == Confidence::Guess || advice.id.starts_with("unknown.") || advice.id == "note.no-code";
        assert!(is_ours, "{} is reasoning of ours and claims more", advice.id);
    }
}

#[test]
fn a_file_of_facts_without_a_source_is_refused() {
    let text = include_str!("../facts.toml");
    for (from, to, why) in [
        ("source = [\"process\"]", "source = []", "names no source"),
        ("source = [\"process\"]", "source = [\"hearsay\"]", "hearsay"),
        ("when = [\"at:internet\"", "when = [\"colour:red\"", "no condition"),
        ("id = \"why.vpc\"", "id = \"why.internet\"", "twice"),
    ] {
        let fault = Facts::read(&text.replacen(from, to, 1)).expect_err(to);
        assert!(fault.contains(why), "{fault}");
    }
}

#[test]
fn no_name_in_braces_is_left_and_nothing_unknown_is_invented() {
    for (name, request) in requests() {
        let text = shown(&drawn(&name, &request), Format::Text);
        assert!(!text.contains('{') && !text.contains('}'), "{name}: a name in braces is left");
        assert_eq!(text.contains("<vpc>"), request.vpcs.is_empty() && text.contains("ENIs"), "{name}");
    }
}

#[test]
fn a_page_loads_nothing_and_escapes_what_it_is_given() {
    let page = shown(&drawn("functions", &requests()["functions"]), Format::Html);
    for loading in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(loading), "{loading}");
    }
    assert!(page.contains("<svg") && page.contains("&lt;public endpoint of rows&gt;"));
}

#[test]
fn failures_are_explained_where_code_makes_the_calls() {
    let hosts = |job: &str, target: &str| -> BTreeSet<String> {
        drawn(target, &of("cn-hangzhou", job, target)).regions[0].failures.iter().map(|it| it.host.clone()).collect()
    };
    assert_eq!(hosts("udf", "mysql://10.0.0.7"), BTreeSet::from(["any".to_owned(), "private".to_owned()]));
    assert_eq!(hosts("udf", "https://api.example"), BTreeSet::from(["any".to_owned(), "public".to_owned()]));
    assert!(hosts("external-table", "mysql://10.0.0.7").is_empty());
}

#[test]
fn all_faults_of_a_request_are_told_at_once() {
    let request = Request::read(
        r#"
        region = "cn-hangzou"
        zone = "77"
        job = ["udf", "cron"]
        at = "moon"
        vswitch = "fd00::/64"
        workers = 0
        function_timeout = 4000
        python = "cp27"
        spark = "new"
        networklink = "it's"

        [[target]]
        url = "https://[::1]"

        [[target]]
        url = "tcp://es.example:99999"

        [[target]]
        url = "gopher://old.example"

        [[target]]
        url = "mysql://root:hunter2@db.example"

        [[target]]
        url = "https://127.0.0.1"

        [[target]]
        url = "https://10.0.0.1"
        at = "internet"

        [[target]]
        url = "mysql://db.example"
        at = "service"
        "#,
    )
    .expect("well-formed TOML");
    let faults = plan(Facts::published(), &request).expect_err("faults").to_string();
    golden("faults.list", &format!("{faults}\n"));
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn one_job_is_let_into_one_vpc() {
    let facts = Facts::published();
    let target = |url: &str, vpc: &str| TargetRequest { vpc: vpc.to_owned(), ..TargetRequest::from(url) };
    let mixed = Request {
        targets: vec![target("mysql://a.example", "vpc-a"), target("mysql://b.example", "vpc-b")],
        ..of("cn-hangzhou", "udf", "")
    };
    let faults = plan(facts, &mixed).expect_err("mixed").to_string();
    assert!(faults.contains("vpc-a and vpc-b") && faults.contains("one job is let into one VPC"), "{faults}");

    let named = Request { vpcs: vec!["vpc-a".to_owned()], ..mixed.clone() };
    assert!(plan(facts, &named).expect("joined").is_supported());

    let two = Request { vpcs: vec!["vpc-a".to_owned(), "vpc-b".to_owned()], ..mixed };
    assert!(plan(facts, &two).expect_err("two").to_string().contains("vpc-a and vpc-b in cn-hangzhou"));
}

#[test]
fn a_request_without_anything_says_what_is_missing() {
    let faults = plan(Facts::published(), &Request::default()).expect_err("nothing").to_string();
    for part in ["region: ", "job: ", "target: "] {
        assert!(faults.contains(part), "{faults}");
    }
    let many =
        Request { targets: vec![TargetRequest::from("mysql://10.0.0.1"); 1_001], ..of("cn-hangzhou", "udf", "") };
    assert!(plan(Facts::published(), &many).expect_err("too many").to_string().contains("at most 1000"));
    assert!(Request::read("regions = 7").expect_err("unknown").contains("regions"));
}

#[test]
fn the_same_request_gives_the_same_plan_in_any_spelling() {
    let text = |region: &str| shown(&drawn(region, &of(region, "spark", "mysql://10.0.0.7")), Format::Text);
    let id = text("ap-northeast-1");
    for name in ["Japan (Tokyo)", "日本 (東京)", "日本（东京）", "tokyo", "東京"] {
        assert_eq!(text(name), id, "{name}");
    }
}

#[test]
fn a_caller_can_tell_what_is_not_supported() {
    for (region, job, target, verdict) in [
        ("cn-hangzhou", "udf", "https://api.example", Verdict::Supported),
        ("cn-hangzhou", "external-table", "https://api.example", Verdict::Unlisted),
        ("cn-shanghai-finance-1", "udf", "https://api.example", Verdict::Unsupported),
        ("cn-shanghai-finance-1", "udf", "mysql://10.0.0.1", Verdict::Supported),
        ("cn-chengdu", "udf", "mysql://10.0.0.1", Verdict::Unsupported),
        ("cn-chengdu", "external-table", "oss://rows", Verdict::Supported),
    ] {
        let plan = drawn(target, &of(region, job, target));
        assert_eq!(plan.regions[0].routes[0].verdict, verdict, "{region} {job} {target}");
        assert_eq!(plan.is_supported(), verdict == Verdict::Supported);
    }
}
