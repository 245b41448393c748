//! The program as a whole: from the files of the benches to a page that a browser, a screen reader and a sceptic can use.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use roxmltree::{Document, ParsingOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two folders: what the benches have written, and what is kept.
struct Folders {
    from: TempDir,
    into: TempDir,
}

impl Folders {
    fn new() -> Folders {
        Folders { from: TempDir::new().unwrap(), into: TempDir::new().unwrap() }
    }

    /// With results of every kind.
    fn full() -> Folders {
        let folders = Folders::new();
        folders.write("bench-rust.json", &run("2026-11-22T10:00:00Z", vec![sync(), played_never()]));
        folders.write("bench-java.json", &run("2026-11-22T10:10:00Z", vec![sync()]));
        let mut unexplained = sync();
        unexplained["name"] = json!("of no note");
        folders.write("bench-python.json", &run("2026-11-22T10:20:00Z", vec![unexplained]));
        folders.write("bench-growth.json", &run("2026-11-22T10:30:00Z", vec![growth()]));
        let side = json!({
            "rows_done": 10, "rows_failed": 1, "rows_not_reached": 0, "rows_per_s": 5.1, "seconds": 2.0, "dns_queries": 7,
            "dns_queries_init": 4, "dns_dropped": 0, "connections_opened": 16, "peak_live": 16, "refusals": 0,
            "handshakes": 16, "p50_us": 6853, "p99_us": 17534, "sample_error": null,
        });
        folders.write(
            "demo.json",
            &json!({
                "source": "rows & <records>", "rows": 11, "workers": 4, "threads": 8, "limit_s": 20, "cap": 16,
                "queries_per_second": 20, "naive": side, "pinlink": side,
            }),
        );
        let made_with = json!({"rustc": "1.95.0", "valgrind": "valgrind-3.19.0", "libc": "2.36"});
        folders.write(
            "instructions.json",
            &json!({
                "made_with": made_with, "baseline_made_with": made_with, "tolerance_percent": 1.5,
                "modes": [{"name": "send", "instructions": 13460, "baseline": 13400, "percent": 0.45}],
            }),
        );
        folders.write(
            "promises.json",
            &json!({
                "date": "2026-11-22T11:00:00Z", "commit": "0123456789abcdef",
                "workloads": [{"name": "goaway", "what": "a farewell", "others": 0.0, "details": [1, 2], "findings": [
                    {"what": "lost", "value": 0.0, "unit": "", "spread": null, "bound": "<= 0", "met": true},
                ]}],
            }),
        );
        let new = folders.from.path().join("criterion/pins/find/new");
        fs::create_dir_all(&new).unwrap();
        let interval = json!({"confidence_level": 0.95, "lower_bound": 778.0, "upper_bound": 840.0});
        let median = json!({"point_estimate": 828.0, "standard_error": 1.0, "confidence_interval": interval});
        fs::write(new.join("estimates.json"), json!({"median": median}).to_string()).unwrap();
        fs::write(new.join("benchmark.json"), json!({"full_id": "pins/find among 10000"}).to_string()).unwrap();
        folders.record("pinlink send", "rust-sync-tls-pinlink-send");
        folders.record("ureq", "rust-sync-tls-ureq");
        folders
    }

    /// With the stacks of a row.
    fn record(&self, row: &str, name: &str) {
        let told = json!({
            "language": "rust", "workload": "sync-tls", "row": row, "version": "1.0", "commit": "0123456789abcdef",
            "hertz": 997, "samples": 4, "cpu_us": 12.0, "per": "request",
        });
        let folder = self.from.path().join("flames");
        fs::create_dir_all(&folder).unwrap();
        let stacks = "thread a;pinlink::send;send_[k] 3\nthread a;ring 1\n";
        fs::write(folder.join(name.to_owned() + ".folded"), format!("# {told}\n{stacks}")).unwrap();
    }

    fn write(&self, file: &str, value: &Value) {
        fs::write(self.from.path().join(file), value.to_string()).unwrap();
    }

    fn run(&self) -> Output {
        let folders = [Path::new("--from"), self.from.path(), Path::new("--into"), self.into.path()];
        Command::new(env!("CARGO_BIN_EXE_pinlink-bench-page")).args(folders).output().unwrap()
    }

    fn made(&self, file: &str) -> String {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(self.into.path().join(file)).unwrap()
    }
}

fn run(date: &str, workloads: Vec<Value>) -> Value {
    json!({
        "language": "told by the file's name", "commit": "0123456789abcdef", "modified": true, "date": date,
        "command": ["pinlink-peers", "--json", "<&>"], "versions": {"nginx": "nginx version: nginx/1.22.1"},
        "machine": {"cpu": "a <cpu>", "cores": 2, "kernel": "6.18", "load_before": "0.10"}, "workloads": workloads,
    })
}

fn figures(values: &[(&str, f64)]) -> Value {
    let spread = |value: f64| json!({"median": value, "q1": value * 0.9, "q3": value * 1.1});
    values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!({"spread": spread(*value), "ratio": spread(*value)})))
        .collect()
}

/// A workload in which a peer is ahead at p99, one is missing, one is named to do harm, and others took the machine.
fn sync() -> Value {
    let peer = |name: &str, p50: f64, p99: f64| {
        json!({
            "name": name, "version": format!("{name} 1.0"), "language": "rust",
            "uncounted": {"connections": "no stub_status"},
            "figures": figures(&[("p50_us", p50), ("p99_us", p99), ("cpu_us", p50), ("syscalls_per_req", 3.0), ("a_new_one", 1.5)]),
            "rounds": {"p50_us": [p50, p50], "p99_us": [p99, p99]},
        })
    };
    let target = |figure: &str, met: Value| {
        json!({
            "peer": "pinlink send", "figure": figure, "against": "x raw socket", "bound": "<= 1.25",
            "ratio": {"median": 1.5, "q1": 1.4, "q3": 1.6}, "met": met,
        })
    };
    json!({
        "name": "sync-tls", "what": "one GET & <another>", "kind": "peers", "limit": "raw socket", "rounds": 2, "others": 0.31,
        "peers": [
            peer("raw socket", 10.0, 20.0), peer("pinlink send", 12.0, 40.0), peer("ureq", 20.0, 30.0),
            peer("<script>alert(1)</script>", 900.0, 900.0),
            {"name": "isahc", "version": "", "language": "rust", "missing": "does not build: <curl>"},
        ],
        "targets": [target("p50_us", json!(true)), target("p99_us", json!(false)), target("cpu_us", Value::Null)],
    })
}

fn played_never() -> Value {
    json!({
        "name": "many-8", "what": "nothing", "limit": "wrk", "rounds": 0, "others": 0.0, "targets": [],
        "peers": [
            {"name": "wrk", "version": "", "language": "C", "missing": "wrk is not installed"},
            {"name": "pinlink map", "version": "", "language": "rust", "figures": {}},
        ],
    })
}

fn growth() -> Value {
    let point = |name: &str, x: f64, cpu: f64| json!({"name": name, "x": x, "figures": figures(&[("cpu_us", cpu)])});
    let target = |bound: &str| json!({"peer": "1,000 rows", "figure": "cpu_us", "against": "x the first point", "bound": bound, "ratio": null, "met": null});
    json!({
        "name": "rows", "what": "so many rows", "kind": "growth", "limit": "1 row", "rounds": 6, "others": 0.0,
        "peers": [point("1 row", 1.0, 14.0), point("1,000 rows", 1000.0, 14.2), point("1,000,000 rows", 1e6, 15.0)],
        "targets": [target("0.9 to 1.1")],
    })
}

fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_page_is_well_formed_its_ids_are_unique_and_its_links_lead_somewhere() {
    let folders = Folders::full();
    let page = folders.made("index.html");
    let document = parse(&page);
    let mut ids = HashSet::new();
    for id in document.descendants().filter_map(|node| node.attribute("id")) {
        assert!(ids.insert(id), "{id} is there twice");
    }
    let mut links = 0;
    for link in document.descendants().filter_map(|node| node.attribute("href")) {
        let is_drawing = link.starts_with("flames/") && folders.into.path().join(link).is_file();
        let id = link.strip_prefix('#').unwrap_or(link);
        assert!(is_drawing || ids.contains(id), "{link} leads nowhere");
        links += 1;
    }
    for named in document.descendants().filter_map(|node| node.attribute("aria-labelledby")) {
        assert!(ids.contains(named), "{named} is no name");
    }
    assert!(links > 10, "{links} links");
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let page = Folders::full().made("index.html");
    for outside in
        ["http:", "https:", "//cdn", "src=", "url(", "@import", "<script", "<link", "<iframe", "onload", "javascript:"]
    {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;")
            || page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;")
    );
}

#[test]
fn every_chart_can_be_heard_and_has_its_table() {
    let page = Folders::full().made("index.html");
    let document = parse(&page);
    let has_text = |class: &str| document.descendants().any(|node| node.attribute("class") == Some(class));
    assert!(has_text("ours") && has_text("limit") && has_text("peer") && has_text("band"));
    let charts: Vec<_> = document.descendants().filter(|node| node.attribute("role") == Some("img")).collect();
    // One drawing, three figures of each of three languages, one of growth, six of the job.
    assert_eq!(charts.len(), 1 + 3 * 3 + 1 + 6);
    for chart in charts {
        assert!(chart.attribute("aria-label").is_some_and(|label| label.len() > 20), "{chart:?}");
    }
    for label in ["a new one", "system calls/request", "p99 µs"] {
        assert!(document.descendants().any(|node| node.has_tag_name("th") && node.text() == Some(label)), "{label}");
    }
}

#[test]
fn what_is_missed_missing_doubtful_and_behind_is_said() {
    let page = Folders::full().made("index.html");
    for said in [
        "MISSED",
        "not measured",
        "wrk is not installed",
        "does not build: &lt;curl&gt;",
        "no round was played",
        "other processes took 31 % of the machine",
        "Where a peer is ahead",
        "not explained yet",
        "1.33 [1.33, 1.33]",
        "connections of ureq (no stub_status)",
        "and changes that are in no commit",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn the_drawings_stand_alone() {
    let folders = Folders::full();
    for file in ["overview.svg", "growth.svg"] {
        let text = folders.made(file);
        let document = Document::parse(&text).unwrap();
        let has = |name: &str| document.root_element().children().any(|node| node.tag_name().name() == name);
        assert!(has("title") && has("desc") && has("style"), "{file}");
        assert_eq!(text.matches("http").count(), 1, "{file}: only the name of the language");
        assert!(text.contains("prefers-color-scheme: dark") && text.len() < 60_000, "{file}");
    }
}

#[test]
fn a_figure_in_which_a_peer_is_ahead_leads_to_both_flame_graphs() {
    let folders = Folders::full();
    let page = folders.made("index.html");
    let document = parse(&page);
    let section = |id: &str| document.descendants().find(|node| node.attribute("id") == Some(id)).unwrap();
    let links = |node: roxmltree::Node<'_, '_>| -> Vec<String> {
        let all = node.descendants().filter_map(|node| node.attribute("href"));
        all.filter(|link| link.starts_with("flames/")).map(str::to_owned).collect()
    };
    let both = ["flames/rust-sync-tls-pinlink-send.svg", "flames/rust-sync-tls-ureq.svg"];
    let table = section("behind").next_siblings().find(|node| node.has_tag_name("div")).unwrap();
    assert_eq!(links(table), both);
    assert_eq!(links(section("rust-sync-tls")), both);
    assert!(links(section("java-sync-tls")).is_empty());
    let drawing = fs::read_to_string(folders.into.path().join(both[1])).unwrap();
    assert!(Document::parse(&drawing).is_ok() && drawing.contains("Rust, sync-tls: ureq"), "{drawing}");
}

#[test]
fn without_any_result_the_page_says_what_is_missing() {
    let page = Folders::new().made("index.html");
    parse(&page);
    for command in
        ["make bench-rust", "make bench-java", "make bench-python", "make bench-growth", "make promises", "make check"]
    {
        assert!(page.contains(command), "{command}");
    }
}

#[test]
fn the_page_can_be_made_again_from_what_is_kept() {
    let folders = Folders::full();
    let page = folders.made("index.html");
    let kept = fs::read_to_string(folders.into.path().join("rust.json")).unwrap();
    assert!(!kept.contains("\"rounds\":{") && kept.contains("\"p50_us\":{\"spread\":[10.8,12.0,13.2]"), "{kept}");
    let again = Folders { from: TempDir::new().unwrap(), into: folders.into };
    assert_eq!(again.made("index.html"), page);
    assert!(page.contains("rust-sync-tls-ureq.svg"));
    assert_eq!(fs::read_to_string(again.into.path().join("rust.json")).unwrap(), kept);
}

#[test]
fn an_older_result_does_not_replace_a_newer_one() {
    let folders = Folders::full();
    let page = folders.made("index.html");
    folders.write("bench-java.json", &run("2026-11-21T10:10:00Z", vec![]));
    assert_eq!(folders.made("index.html"), page);
    folders.write("bench-java.json", &run("2026-11-23T10:10:00Z", vec![]));
    assert!(folders.made("index.html").contains("2026-11-23T10:10:00Z"));
}

#[test]
fn a_result_that_cannot_be_read_ends_the_program_with_its_name() {
    let folders = Folders::full();
    fs::write(folders.from.path().join("bench-python.json"), "{\"workloads\": 7}").unwrap();
    let output = folders.run();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("bench-python.json"));
}
