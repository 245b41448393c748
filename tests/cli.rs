//! The program `pinlink`, run as a user runs it, against the network in a box.
//!
//! What went over the network is asserted from what the box saw; exit codes, standard output and standard error are
//! asserted as they are documented in `--help`.
#![cfg(feature = "demo")]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pinlink_box::{Certificate, Fault, Network, Plan};
use serde_json::Value;

/// Runs the program; options of the network under test come after the subcommand.
fn pinlink<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let arguments: Vec<String> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinlink"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended the program")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("standard output is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is UTF-8")
}

/// One JSON value for each line of standard output.
fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).expect("a line is one JSON object")).collect()
}

/// A network and a folder for one test's files.
struct Scene {
    network: Network,
    folder: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let folder = std::env::temp_dir().join(format!("pinlink-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Scene { network: Network::start(Plan::default()).expect("the network starts"), folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn https(&self, path: &str) -> String {
        format!("https://kms.box.test:{}{path}", self.network.https(Certificate::Right))
    }

    fn ca(&self) -> String {
        self.network.ca_file().display().to_string()
    }

    /// A subcommand with everything that it takes to get through to the box.
    fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        let dns = self.network.dns().to_string();
        let mut all = vec![subcommand, "--dns-servers", &dns, "--allow-address", "127.0.0.0/8"];
        all.extend_from_slice(arguments);
        pinlink(all)
    }

    fn get(&self, arguments: &[&str]) -> Output {
        let ca = self.ca();
        self.run("get", &[&["--cacert", &ca], arguments].concat())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn get_prints_the_body_and_nothing_else_on_standard_output() {
    let scene = Scene::new("body");
    let output = scene.get(&[&scene.https("/rows/7"), "--timing", "--stats"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let body: Value = serde_json::from_slice(&output.stdout).expect("the body is the service's");
    assert_eq!(body["id"], "7");
    for phase in ["init", "queue", "connect", "handshake", "wait", "receive", "total", "pinlink: 1 requests"] {
        assert!(stderr(&output).contains(phase), "{phase} is missing in {}", stderr(&output));
    }
}

#[test]
fn include_output_and_fail_do_what_they_do_in_curl() {
    let scene = Scene::new("curl");
    let shown = stdout(&scene.get(&["-i", &scene.https("/bytes/3")]));
    assert!(shown.starts_with("HTTP/1.1 200 OK\r\n"), "{shown}");
    assert!(shown.to_ascii_lowercase().contains("\r\ncontent-length: 3\r\n"), "{shown}");
    assert_eq!(shown.split_once("\r\n\r\n").map(|(_, body)| body.len()), Some(3), "{shown}");

    let file = scene.file("body");
    let output = scene.get(&["-o", &file, &scene.https("/bytes/300")]);
    assert_eq!((code(&output), stdout(&output).len(), fs::read(&file).expect("the file is there").len()), (0, 0, 300));

    let missing = scene.https("/status/404");
    assert_eq!(code(&scene.get(&[&missing])), 0);
    let failed = scene.get(&["-f", &missing]);
    assert_eq!((code(&failed), stdout(&failed).as_str()), (22, ""));
    assert!(stderr(&failed).starts_with("pinlink: ") && stderr(&failed).contains("404"), "{}", stderr(&failed));
}

#[test]
fn data_makes_a_post_of_a_form() {
    let scene = Scene::new("post");
    let output = scene.get(&["-d", "a=1", "-d", "b=2", "-H", "X-Trace: 7", &scene.https("/echo")]);
    let echo: Value = serde_json::from_slice(&output.stdout).expect("an echo");
    assert_eq!((&echo["method"], &echo["body"]), (&Value::from("POST"), &Value::from("a=1&b=2")));
    let seen = &scene.network.seen()[0];
    let header = |name: &str| seen.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(header("x-trace"), Some("7"));
}

#[test]
fn json_tells_all_about_an_answer_and_about_a_failure() {
    let scene = Scene::new("json");
    let good = &objects(&scene.get(&["--json", &scene.https("/rows/7")]))[0];
    assert_eq!(
        (&good["status"], &good["error"], &good["reused"]),
        (&Value::from(200), &Value::Null, &Value::from(false))
    );
    assert_eq!(good["headers"]["content-type"][0], "application/json");
    assert!(good["timing"]["handshake_us"].as_u64() > Some(0), "{good}");
    assert!(good["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{good}");

    let binary = &objects(&scene.get(&["--json", &scene.https("/bytes/251")]))[0];
    assert!(binary["body"].is_null() && binary["body_base64"].is_string(), "{binary}");

    let url = format!("https://kms.box.test:{}/", scene.network.https(Certificate::Expired));
    let output = scene.get(&["--json", &url]);
    let bad = &objects(&output)[0];
    assert_eq!(code(&output), 60);
    assert_eq!((&bad["error"]["kind"], &bad["error"]["reason"]), (&Value::from("Tls"), &Value::from("Tls.Expired")));
    assert_eq!(
        (&bad["error"]["phase"], &bad["error"]["delivery"]),
        (&Value::from("handshake"), &Value::from("NotSent"))
    );
}

#[test]
fn resolve_and_connect_to_change_the_address_and_not_the_name() {
    let scene = Scene::new("detour");
    let port = scene.network.https(Certificate::Right);
    let rule = format!("kms.box.test:{port}:127.0.0.1");
    let output = scene.get(&["--resolve", &rule, &scene.https("/echo")]);
    assert_eq!((code(&output), scene.network.counts().dns.queries), (0, 0), "{}", stderr(&output));

    let rule = format!("kms.box.test:443:oss.box.test:{port}");
    let output = scene.get(&["--connect-to", &rule, "https://kms.box.test/echo"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let seen = scene.network.seen();
    let last = seen.last().expect("a request arrived");
    assert_eq!((last.sni.as_deref(), last.host.as_deref()), (Some("kms.box.test"), Some("kms.box.test")));
    assert_eq!(last.dialled.port(), port);
}

#[test]
fn every_bad_certificate_ends_with_60() {
    let scene = Scene::new("certificates");
    for (certificate, reason) in [
        (Certificate::WrongName, "Tls.WrongName"),
        (Certificate::Expired, "Tls.Expired"),
        (Certificate::NotYetValid, "Tls.NotYetValid"),
        (Certificate::SelfSigned, "Tls.UnknownIssuer"),
        (Certificate::UnknownIssuer, "Tls.UnknownIssuer"),
    ] {
        let output = scene.get(&[&format!("https://kms.box.test:{}/", scene.network.https(certificate))]);
        assert_eq!(code(&output), 60, "{certificate:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{certificate:?}: {}", stderr(&output));
    }
    assert_eq!(scene.network.counts().origins.requests, 0);
}

#[test]
fn failures_end_with_curls_codes_and_one_line() {
    let scene = Scene::new("codes");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let plain = format!("http://kms.box.test:{}", scene.network.http());
    let missing = scene.file("missing.pem");
    let cases: [(i32, Vec<String>); 9] = [
        (7, vec![format!("http://{free}/")]),
        (6, vec!["http://deep.down.box.test/".to_owned()]),
        (28, vec![format!("{plain}/delay/5000"), "-m".to_owned(), "0.2".to_owned()]),
        (63, vec![format!("{plain}/bytes/5000"), "-O".to_owned(), "max_body=1KiB".to_owned()]),
        (18, vec![format!("{plain}/close-early/100")]),
        (2, vec!["kms.box.test".to_owned()]),
        (2, vec![format!("{plain}/"), "-O".to_owned(), "max_conections=1".to_owned()]),
        (2, vec![format!("{plain}/"), "--pins".to_owned(), missing.clone()]),
        (77, vec![format!("{plain}/"), "--cacert".to_owned(), missing]),
    ];
    for (expected, arguments) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = scene.run("get", &arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("pinlink: "), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn header_injection_is_refused_before_anything_is_sent() {
    let scene = Scene::new("injection");
    for header in ["X: a\r\nY: b", "X: a\nY: b", "X\r\nY: b", "X Y: b", "no colon"] {
        let output = scene.get(&["-H", header, &scene.https("/echo")]);
        assert_eq!(code(&output), 2, "{header:?}");
    }
    for url in ["/a\r\nX: y", "/a b"] {
        assert_eq!(code(&scene.get(&[&scene.https(url)])), 2, "{url:?}");
    }
    let counts = scene.network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total, counts.origins.requests), (0, 0, 0));
}

#[test]
fn loopback_is_refused_unless_allowed() {
    let scene = Scene::new("policy");
    let output = pinlink(["get", "--dns-servers", &scene.network.dns().to_string(), &scene.https("/")]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("Policy.AddressDenied"), "{}", stderr(&output));
    assert_eq!(scene.network.counts().proxy.total, 0);
}

#[test]
fn several_urls_are_one_map_with_answers_in_order() {
    let scene = Scene::new("map");
    let urls: Vec<String> = (0..20).map(|row| scene.https(&format!("/rows/{row}"))).collect();
    let mut arguments = vec!["--json", "--parallel-max", "2"];
    arguments.extend(urls.iter().map(String::as_str));
    let output = scene.get(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for (row, object) in objects(&output).iter().enumerate() {
        let body: Value = serde_json::from_str(object["body"].as_str().expect("a text")).expect("JSON");
        assert_eq!(body["id"], row.to_string());
    }
    let counts = scene.network.counts();
    assert_eq!((counts.dns.queries, counts.origins.requests), (1, 20));
    assert!(counts.proxy.peak <= 2, "{counts:?}");

    let mixed = scene.get(&["-f", &scene.https("/rows/1"), &scene.https("/status/500"), &scene.https("/rows/2")]);
    assert_eq!((code(&mixed), stdout(&mixed).matches("\"hash\"").count()), (22, 2), "{}", stderr(&mixed));
}

#[test]
fn what_resolve_writes_spares_get_every_query() {
    let scene = Scene::new("pins");
    let (pins, other) = (scene.file("pins.json"), scene.file("other.json"));
    let url = scene.https("/echo");
    let output = scene.run("resolve", &["kms.box.test", "https://oss.box.test", "--output", &pins]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(scene.network.counts().dns.queries, 2);

    let shown = pinlink(["pins", "show", &pins]);
    assert_eq!(code(&shown), 0);
    assert!(stdout(&shown).contains("kms.box.test") && stdout(&shown).contains("127.0.0.1"), "{}", stdout(&shown));

    scene.network.reset_counts();
    let output = scene.get(&["--pins", &pins, &url]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(scene.network.counts().dns.queries, 0);

    fs::write(scene.folder.join("hosts"), "127.0.0.9 nn.example nn # name node\n").expect("written");
    assert_eq!(code(&pinlink(["pins", "import-hosts", &scene.file("hosts"), "--output", &other])), 0);
    let merged = pinlink(["pins", "merge", &pins, &other]);
    for host in ["kms.box.test", "oss.box.test", "nn.example"] {
        assert!(stdout(&merged).contains(host), "{host}");
    }
}

#[test]
fn expired_pins_are_marked_and_dropped() {
    let scene = Scene::new("expired");
    let pins = scene.file("pins.json");
    let pin = r#"{"addresses":["10.0.0.1"],"resolved_at":"2020-01-01T00:00:00Z","expires_at":"2020-01-02T00:00:00Z","resolver":"x"}"#;
    fs::write(&pins, format!(r#"{{"version":1,"pins":{{"old.example":{pin}}}}}"#)).expect("written");
    let shown = pinlink(["pins", "show", &pins]);
    assert_eq!(code(&shown), 100);
    assert!(stdout(&shown).contains("EXPIRED"), "{}", stdout(&shown));
    let object: Value = serde_json::from_slice(&pinlink(["pins", "show", "--json", &pins]).stdout).expect("JSON");
    assert_eq!(object["pins"][0]["expired"], true);

    let refused = scene.get(&["--pins", &pins, "https://old.example/"]);
    assert_eq!(code(&refused), 2, "{}", stderr(&refused));

    assert_eq!(code(&pinlink(["pins", "expire", &pins])), 0);
    assert_eq!(code(&pinlink(["pins", "show", &pins])), 0);
}

#[test]
fn the_table_of_options_is_printed_in_three_ways() {
    let rows: Value = serde_json::from_slice(&pinlink(["options", "--json"]).stdout).expect("JSON");
    let count = rows.as_array().expect("a list").len();
    assert_eq!(count, pinlink::config::OPTIONS.len());
    assert_eq!(stdout(&pinlink(["options", "--markdown"])).lines().count(), count + 2);
    for option in pinlink::config::OPTIONS {
        assert!(stdout(&pinlink(["options"])).contains(option.name));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinlink"))
        .args(["options", "--markdown"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn a_dead_name_server_is_named_as_such() {
    let scene = Scene::new("silent");
    scene.network.inject(Fault::Silent);
    let output = scene.run("resolve", &["kms.box.test", "--timeout", "300ms"]);
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    assert!(stderr(&output).contains("Dns.Timeout"), "{}", stderr(&output));
}

#[test]
fn the_demo_keeps_its_promises_with_pinlink() {
    let scene = Scene::new("demo");
    let (rows, page) = (scene.file("rows.csv"), scene.file("demo.html"));
    let table: String = (0..200).map(|row| format!("r{row},row {row}\n")).collect();
    fs::write(&rows, format!("id,name\n{table}")).expect("written");
    let output = pinlink(["demo", "--json", "--rows", &rows, "--seconds", "3", "--html", &page]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(
        (&result["cap"], &result["rows"], &result["workers"]),
        (&Value::from(16), &Value::from(200), &Value::from(4))
    );
    for side in ["naive", "pinlink"] {
        for key in [
            "rows_done",
            "rows_failed",
            "dns_queries",
            "connections_opened",
            "peak_live",
            "refusals",
            "handshakes",
            "p50_us",
            "p99_us",
            "rows_per_s",
        ] {
            assert!(result[side][key].is_number(), "{side}.{key} is missing in {result}");
        }
    }
    let number = |key: &str| result["pinlink"][key].as_u64();
    assert_eq!((number("rows_done"), number("rows_failed")), (Some(200), Some(0)), "{result}");
    assert_eq!((number("dns_queries"), number("refusals")), (Some(0), Some(0)), "{result}");
    assert!(number("peak_live") <= Some(16) && number("handshakes") <= Some(16), "{result}");
    assert!(result["naive"]["dns_queries"].as_u64() > Some(0), "{result}");

    let page = fs::read_to_string(&page).expect("the page is written");
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page loads something");
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().map(|child| child.parse().expect("a process id")).collect()
}

/// Looks until it is so, for ten seconds at most.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} never was so");
        std::thread::yield_now();
    }
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_behind() {
    let scene = Scene::new("orphans");
    let rows = scene.file("rows.csv");
    fs::write(&rows, format!("id\n{}", "row\n".repeat(1000))).expect("written");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_pinlink"))
        .args(["demo", "--workers", "2", "--rows", &rows])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    eventually("the network and two workers run", || children(demo.id()).len() == 3);
    let started = children(demo.id());
    demo.kill().expect("it can be killed");
    demo.wait().expect("it ends");
    // A process that has ended has no command line any more, whether somebody has reaped it or not.
    let runs = |child: &u32| fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| !line.is_empty());
    eventually("no child runs", || !started.iter().any(runs));
}

#[test]
fn the_demo_refuses_bad_input_before_anything_starts() {
    let scene = Scene::new("input");
    let (empty, broken, other) = (scene.file("empty.csv"), scene.file("broken.jsonl"), scene.file("rows.txt"));
    fs::write(&empty, "id,name\n").expect("written");
    fs::write(&broken, "{\"id\":1}\n{oops\n").expect("written");
    fs::write(&other, "x").expect("written");
    for (arguments, message) in [
        (vec!["--rows", "/nowhere/rows.csv"], "can't be read"),
        (vec!["--rows", &empty], "has no rows"),
        (vec!["--rows", &broken], "line 2"),
        (vec!["--rows", &other], "neither .csv nor .jsonl"),
        (vec!["--workers", "0"], "workers"),
        (vec!["--html", "/nowhere/demo.html"], "--html"),
    ] {
        let output = pinlink([vec!["demo"], arguments.clone()].concat());
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
    }
}
