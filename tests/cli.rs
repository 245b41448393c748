//! The program `pinlink`, run as a user runs it, against the network in a box.
//!
//! What went over the network is asserted from what the box saw; exit codes, standard output and standard error are
//! asserted as they are documented in `--help`.
#![cfg(feature = "demo")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pinlink_box::{Certificate, Fault, Network, Plan};
use serde_json::Value;

/// Runs the program; options of the network under test come after the subcommand.
fn pinlink<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Output {
    command(arguments).output().expect("the program starts")
}

fn command<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinlink"));
    command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What `/bytes/n` and `/range/n` send.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
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
        Scene::with(name, Plan::default())
    }

    fn with(name: &str, plan: Plan) -> Scene {
        let folder = std::env::temp_dir().join(format!("pinlink-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Scene { network: Network::start(plan).expect("the network starts"), folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn https(&self, path: &str) -> String {
        format!("https://kms.box.test:{}{path}", self.network.https(Certificate::Right))
    }

    fn http(&self, path: &str) -> String {
        format!("http://kms.box.test:{}{path}", self.network.http())
    }

    /// A redirect to a URL.
    fn redirect(&self, to: &str) -> String {
        self.https(&format!("/redirect/302?to={}", to.replace(':', "%3A").replace('/', "%2F")))
    }

    fn ca(&self) -> String {
        self.network.ca_file().display().to_string()
    }

    /// A subcommand with everything that it takes to get through to the box.
    fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        self.command(subcommand, arguments).output().expect("the program starts")
    }

    fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let dns = self.network.dns().to_string();
        let mut all = vec![subcommand, "--dns-servers", &dns, "--allow-address", "127.0.0.0/8"];
        all.extend_from_slice(arguments);
        command(all)
    }

    fn get(&self, arguments: &[&str]) -> Output {
        let ca = self.ca();
        self.run("get", &[&["--cacert", &ca], arguments].concat())
    }

    /// A `get` that is still running, with pipes to and from it.
    fn begin(&self, arguments: &[&str]) -> Child {
        let mut get = self.command("get", &[&["--cacert", &self.ca()], arguments].concat());
        get.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// What the last request at any origin had in a field.
    fn last_header(&self, name: &str) -> Option<String> {
        let last = self.network.seen().pop().expect("a request arrived");
        last.headers.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
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
        (63, vec![format!("{plain}/bytes/5000"), "--max-filesize".to_owned(), "1k".to_owned()]),
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
    for header in ["X: a\r\nY: hunter2", "X: hunter2\nY: b", "X\r\nY: hunter2", "X Y: hunter2", "hunter2"] {
        let output = scene.get(&["-H", header, &scene.https("/echo")]);
        assert!(code(&output) == 2 && !stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
    for url in ["/a\r\nX: y", "/a b"] {
        assert_eq!(code(&scene.get(&[&scene.https(url)])), 2, "{url:?}");
    }
    let counts = scene.network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total, counts.origins.requests), (0, 0, 0));
}

#[test]
fn a_body_is_copied_while_it_comes_and_in_constant_memory() {
    let scene = Scene::new("stream");
    let size = 200_000_000;
    let mut get = scene.begin(&[&scene.http(&format!("/bytes/{size}"))]);
    let mut stdout = get.stdout.take().expect("a pipe");
    let mut half = vec![0; size / 2];
    stdout.read_exact(&mut half).expect("half of it comes");
    assert!(half.iter().zip((0..=250).cycle()).all(|(byte, expected)| *byte == expected));
    let status = fs::read_to_string(format!("/proc/{}/status", get.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 * 1024, "{peak} KiB");
    assert_eq!(std::io::copy(&mut stdout, &mut std::io::sink()).expect("the rest comes"), size as u64 / 2);
    assert_eq!(code(&get.wait_with_output().expect("it ends")), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_download() {
    let scene = Scene::new("head");
    let mut get = scene.begin(&[&scene.http("/bytes/1000000000")]);
    get.stdout.take().expect("a pipe").read_exact(&mut [0; 100]).expect("its beginning comes");
    let output = get.wait_with_output().expect("it ends");
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn a_body_that_is_not_whole_never_looks_whole() {
    let scene = Scene::new("partial");
    let file = scene.file("body");
    let broken = scene.get(&["-o", &file, &scene.https("/close-early/5000")]);
    assert_eq!(code(&broken), 18, "{}", stderr(&broken));
    assert_eq!(fs::read(&file).expect("what came is there"), pattern(5000));

    // One byte in ten seconds: it does not stall, and does not end.
    for slow in ["/stream/100/1/10000", "/stream/1000000/1/1"] {
        let late = scene.get(&["-m", "0.5", &scene.http(slow)]);
        assert_eq!(code(&late), 28, "{}", stderr(&late));
        assert!(!late.stdout.is_empty() && stderr(&late).contains("--max-time"), "{}", stderr(&late));
    }
    let stalled = scene.get(&["-O", "stall_timeout=300ms", &scene.http("/stream/100/1/10000")]);
    assert_eq!(code(&stalled), 28, "{}", stderr(&stalled));
    assert!(stderr(&stalled).contains("Timeout.Stalled"), "{}", stderr(&stalled));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let scene = Scene::new("size");
    let file = scene.file("body");
    let announced = scene.get(&["--max-filesize", "4999", "-o", &file, &scene.https("/bytes/5000")]);
    assert_eq!((code(&announced), fs::exists(&file).ok()), (63, Some(false)), "{}", stderr(&announced));
    let unannounced = scene.get(&["--max-filesize", "4999", &scene.https("/chunked/5000")]);
    assert!(code(&unannounced) == 63 && unannounced.stdout.len() < 5000, "{}", stderr(&unannounced));
    let buffered = scene.get(&["--max-filesize", "4999", "--json", &scene.https("/bytes/5000")]);
    assert_eq!(objects(&buffered)[0]["error"]["reason"], "Limit.Body");
    let buffered = scene.get(&["-O", "max_body=1KiB", "--json", &scene.https("/bytes/5000")]);
    assert_eq!(code(&buffered), 63);
    for limit in ["5000", "5k", "0"] {
        let whole = scene.get(&["--max-filesize", limit, &scene.https("/bytes/5000")]);
        assert_eq!((code(&whole), whole.stdout.len()), (0, 5000), "{}", stderr(&whole));
    }
    let head = scene.get(&["-X", "HEAD", "-i", "--max-filesize", "10", &scene.https("/bytes/5000")]);
    assert!(code(&head) == 0 && stdout(&head).contains("content-length: 5000"), "{}", stderr(&head));
}

#[test]
fn a_download_goes_on_where_the_file_ends() {
    let scene = Scene::new("continue");
    let (file, url) = (scene.file("body"), scene.https("/range/10000"));
    let go_on = |url: &str| code(&scene.get(&["-C", "-", "-o", &file, url]));
    let content = || fs::read(&file).expect("the file is there");
    assert_eq!(go_on(&url), 0);
    assert_eq!((content(), scene.last_header("range")), (pattern(10_000), None));

    fs::write(&file, pattern(4000)).expect("written");
    assert_eq!(go_on(&url), 0);
    assert_eq!((content(), scene.last_header("range").as_deref()), (pattern(10_000), Some("bytes=4000-")));
    // It is whole already.
    assert_eq!(go_on(&url), 0);
    assert_eq!(content(), pattern(10_000));

    // What breaks off meanwhile is gone on with too.
    let long = scene.http("/range/3000000");
    scene.network.inject_times(Fault::CloseMidAnswer(1_000_000), 1);
    fs::write(&file, "").expect("written");
    assert_eq!(go_on(&long), 0);
    assert_eq!(content(), pattern(3_000_000));
    fs::write(&file, pattern(10_000)).expect("written");

    // A target that knows no ranges, and a file that is longer than what there is.
    for other in ["/bytes/20000", "/range/5000"] {
        assert_eq!(go_on(&scene.https(other)), 33);
        assert_eq!(content(), pattern(10_000));
    }
    assert_eq!(code(&scene.get(&["-C", "-", &url])), 2);
    assert_eq!(code(&scene.get(&["-C", "5", "-o", &file, &url])), 2);
}

#[test]
fn redirects_are_followed_when_asked_and_only_to_origins_that_were_named() {
    let scene = Scene::new("redirect");
    let hops = scene.https("/redirects/3");
    let shown = stdout(&scene.get(&["-i", &hops]));
    assert!(shown.starts_with("HTTP/1.1 302 Found\r\n"), "{shown}");
    let followed = scene.get(&["-L", "--json", &hops]);
    assert!(objects(&followed)[0]["body"].as_str().is_some_and(|body| body.contains("end")), "{}", stdout(&followed));
    assert_eq!(code(&scene.get(&["-L", "--max-redirs", "3", &hops])), 0);
    assert_eq!(code(&scene.get(&["-L", "--max-redirs", "2", &hops])), 47);
    for bad in ["0", "21", "-1", "x"] {
        assert_eq!(code(&scene.get(&["-L", "--max-redirs", bad, &hops])), 2, "{bad}");
    }

    let other = format!("https://oss.box.test:{}", scene.network.https(Certificate::Right));
    let leads = scene.redirect(&format!("{other}/rows/7"));
    scene.network.reset_counts();
    let refused = scene.get(&["-L", &leads]);
    assert_eq!((code(&refused), scene.network.seen().len()), (1, 1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--allow-origin"), "{}", stderr(&refused));
    let secret = "Authorization: Bearer hunter2";
    let followed = scene.get(&["-L", "--allow-origin", &other, "-H", secret, &leads]);
    assert!(code(&followed) == 0 && stdout(&followed).contains("\"7\""), "{}", stderr(&followed));
    assert_eq!(scene.last_header("authorization"), None);
    assert!(scene.network.seen()[1].headers.iter().any(|(name, _)| name == "authorization"));

    let plain = scene.http("/rows/7");
    let downgraded = scene.get(&["-L", "--allow-origin", &scene.http(""), &scene.redirect(&plain)]);
    assert_eq!(code(&downgraded), 1);
    assert!(stderr(&downgraded).contains("Policy.Downgrade"), "{}", stderr(&downgraded));
}

#[test]
fn compressed_answers_are_asked_for_and_decoded() {
    let scene = Scene::new("compressed");
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let url = scene.https(&format!("/encoded/{coding}/5000"));
        let decoded = scene.get(&["--compressed", &url]);
        assert_eq!((code(&decoded), decoded.stdout), (0, pattern(5000)), "{coding}");
        assert!(scene.last_header("accept-encoding").is_some_and(|codings| codings.contains(coding)), "{coding}");
        assert_ne!(scene.get(&[&url]).stdout, pattern(5000), "{coding}");
        assert_eq!(scene.last_header("accept-encoding"), None);
    }
    let cut = scene.https("/encoded/gzip/5000?cut=10");
    for way in [&["--compressed", &cut][..], &["--compressed", "--json", &cut]] {
        let output = scene.get(way);
        assert_eq!(code(&output), 61, "{}", stderr(&output));
    }
    let bomb = scene.get(&["--compressed", "-o", "/dev/null", &scene.https("/bomb/gzip/1000")]);
    assert_eq!(code(&bomb), 63, "{}", stderr(&bomb));
}

#[test]
fn http2_is_spoken_where_it_is_asked_for() {
    let scene = Scene::new("http2");
    let (tls, plain) = (scene.https("/echo"), scene.http("/echo"));
    for (flags, url, version) in [
        (&[][..], &tls, "HTTP/1.1"),
        (&["--http2"], &tls, "HTTP/2.0"),
        (&["--http2"], &plain, "HTTP/1.1"),
        (&["--http2-prior-knowledge"], &plain, "HTTP/2.0"),
        (&["--http2-prior-knowledge"], &tls, "HTTP/2.0"),
        // As in curl, the last one counts.
        (&["--http2", "--http1.1"], &tls, "HTTP/1.1"),
        (&["--http1.1", "--http2"], &tls, "HTTP/2.0"),
    ] {
        let output = scene.get(&[flags, &[url]].concat());
        let echo: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        assert_eq!(echo["protocol"], version, "{flags:?} {url}");
    }
    assert_eq!(code(&scene.get(&["--http2", &tls, &plain])), 2);
    let shown = stdout(&scene.get(&["--http2", "-i", &scene.https("/bytes/3")]));
    assert!(shown.starts_with("HTTP/2 200 OK\r\n"), "{shown}");

    let answer = &objects(&scene.get(&["--http2", "--json", &scene.https("/trailers/10")]))[0];
    assert_eq!((&answer["http_version"], &answer["trailers"]["x-rows"][0]), (&Value::from("2"), &Value::from("10")));
    scene.network.reset_counts();
    let rows: Vec<String> = (0..20).map(|row| scene.https(&format!("/rows/{row}"))).collect();
    let mut arguments = vec!["--http2"];
    arguments.extend(rows.iter().map(String::as_str));
    assert_eq!(code(&scene.get(&arguments)), 0);
    let counts = scene.network.counts();
    assert_eq!((counts.proxy.peak, counts.origins.requests), (1, 20));

    let scripted = format!("https://kms.box.test:{}/", scene.network.scripted2_tls());
    for (expected, fault) in
        [(92, Fault::RefusedStream), (16, Fault::WindowZeroIncrement), (18, Fault::ResetMidBody(2))]
    {
        scene.network.heal();
        scene.network.inject(fault);
        let output = scene.get(&["--http2", &scripted]);
        assert_eq!(code(&output), expected, "{}", stderr(&output));
    }
}

#[test]
fn files_and_standard_input_are_put() {
    let scene = Scene::new("upload");
    let file = scene.file("the rows.csv");
    fs::write(&file, pattern(300_000)).expect("written");
    let told = |output: &Output| -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)))
    };
    let by_length = told(&scene.get(&["-T", &file, &scene.https("/upload")]));
    assert_eq!((&by_length["bytes"], &by_length["framing"]), (&Value::from(300_000), &Value::from("length")));
    let asked = told(&scene.get(&["--expect", "-T", &file, &scene.https("/upload")]));
    assert_eq!(
        (&asked["sha256"], scene.last_header("expect")),
        (&by_length["sha256"], Some("100-continue".to_owned()))
    );
    let shared = told(&scene.get(&["--http2", "-T", &file, &scene.https("/upload")]));
    assert_eq!((&shared["sha256"], &shared["framing"]), (&by_length["sha256"], &Value::from("h2")));

    let mut put = scene.begin(&["-T", "-", &scene.https("/upload")]);
    let mut stdin = put.stdin.take().expect("a pipe");
    for piece in pattern(300_000).chunks(70_001) {
        stdin.write_all(piece).expect("it reads");
    }
    drop(stdin);
    let chunked = told(&put.wait_with_output().expect("it ends"));
    assert_eq!((&chunked["sha256"], &chunked["framing"]), (&by_length["sha256"], &Value::from("chunked")));

    // The method, and the name of a file for a URL that has none; a URL beyond the files is asked as ever.
    scene.network.reset_counts();
    scene.get(&["-T", &file, &scene.https("/sink/"), &scene.https("/echo")]);
    scene.get(&["-X", "POST", "-T", &file, &scene.https("/echo")]);
    let seen = scene.network.seen();
    let mut seen: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.path.as_str())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("GET", "/echo"), ("POST", "/echo"), ("PUT", "/sink/the%20rows.csv")]);

    let missing = scene.file("missing");
    assert_eq!(code(&scene.get(&["-T", &missing, &scene.https("/upload")])), 26);
    assert_eq!(code(&scene.get(&["-T", &scene.folder.display().to_string(), &scene.https("/upload")])), 26);
    assert_eq!(code(&scene.get(&["-T", "-", "-T", "-", &scene.https("/upload"), &scene.https("/upload")])), 2);
    assert_eq!(code(&scene.get(&["-T", &file, "-d", "a", &scene.https("/upload")])), 2);
}

#[test]
fn standard_input_that_never_ends_keeps_nobody_waiting() {
    let scene = Scene::new("waiting");
    let mut put = scene.begin(&["-m", "0.5", "-T", "-", &scene.https("/upload")]);
    let stdin = put.stdin.take();
    let output = put.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 28, "{}", stderr(&output));
    drop(stdin);
}

#[test]
fn a_certificate_of_the_clients_own_is_shown() {
    let scene = Scene::new("identity");
    let url = format!("https://kms.box.test:{}/echo", scene.network.https_client_auth());
    let file = |name: &str| scene.network.file(name).display().to_string();
    let (cert, key, both) = (file("client.pem"), file("client.key"), scene.file("both.pem"));
    let text = [&cert, &key].map(|file| fs::read_to_string(file).expect("readable")).concat();
    fs::write(&both, text).expect("written");
    for way in [&["-E", &cert, "--key", &key, &url][..], &["--cert", &both, &url]] {
        let output = scene.get(way);
        let echo: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        assert!(echo["client_certificate"].is_string(), "{echo}");
    }
    assert_eq!(code(&scene.get(&[&url])), 35);
    assert_eq!(code(&scene.get(&["-E", &file("stranger.pem"), "--key", &file("stranger.key"), &url])), 35);
    for (cert, key) in
        [(&scene.file("none"), &key), (&cert, &file("stranger.key")), (&cert, &file("client-encrypted.key"))]
    {
        let output = scene.get(&["-E", cert, "--key", key, &url]);
        assert_eq!(code(&output), 58, "{}", stderr(&output));
    }
    assert_eq!(code(&scene.get(&["--key", &key, &url])), 2);
}

#[test]
fn a_proxy_is_gone_through_and_its_password_is_never_shown() {
    let plan = Plan { proxy_auth: Some(("jane".to_owned(), "hunter2:/@%".to_owned())), ..Plan::default() };
    let scene = Scene::with("proxy", plan);
    let (http, socks) =
        (scene.network.connect_proxy().to_string(), format!("socks5://{}", scene.network.socks_proxy()));
    let url = scene.https("/echo");
    let inside = format!("http://jane:hunter2%3A%2F%40%25@{http}");
    let right = "jane:hunter2:/@%";
    let run = |way: &[&str]| {
        let mut get = scene.command("get", way);
        get.args(["--cacert", &scene.ca(), "--verbose"]).env("RUST_LOG", "trace");
        let output = get.output().expect("the program starts");
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
        code(&output)
    };
    assert_eq!(run(&["-x", &http, "-U", right, &url]), 0);
    assert_eq!(run(&["-x", &socks, "-U", right, &url]), 0);
    assert_eq!(run(&["-x", &inside, &url]), 0);
    assert_eq!(scene.network.counts().tunnels.opened, 3);
    // The proxy's name may be pinned as a target's.
    let (named, rule) = http
        .split_once(':')
        .map(|(address, port)| (format!("proxy.test:{port}"), format!("{port}:{address}")))
        .expect("a port");
    assert_eq!(run(&["-x", &named, "-U", right, "--resolve", &format!("proxy.test:{rule}"), &url]), 0);

    for (expected, way) in [
        (97, vec!["-x", &http]),
        (97, vec!["-x", &socks]),
        (97, vec!["-x", &http, "-U", "jane:hunter2"]),
        (97, vec!["-x", &socks, "-U", "jane:hunter2"]),
        (2, vec!["-x", &http, "-U", "hunter2"]),
        (2, vec!["-x", &inside, "-U", right]),
        (2, vec!["-U", right]),
        (2, vec!["-x", "http://jane:hunter2/@proxy.test"]),
        (2, vec!["-x", "ftp://jane:hunter2@proxy.test"]),
        (7, vec!["-x", "http://jane:hunter2@127.0.0.1:1"]),
    ] {
        assert_eq!(run(&[&way[..], &[&url]].concat()), expected, "{way:?}");
    }
    assert_eq!(scene.network.counts().tunnels.opened, 4);
    scene.network.inject(Fault::ConnectStatus(403));
    assert_eq!(run(&["-x", &http, "-U", right, &url]), 97);
    scene.network.heal();
    scene.network.inject(Fault::ConnectSilent);
    assert_eq!(run(&["-x", &http, "-U", right, "--connect-timeout", "0.3", &url]), 28);
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
