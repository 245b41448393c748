//! Bad input gets a clear error at `build()` or before anything is sent; no secret ever stands in an error.
//!
//! The last paragraph of the issue and FAULTS section 8, row by row (`c01_…` is row C1): the error has `Kind::Config` (or
//! `Kind::Policy` for what is well-formed and not allowed), says `NotSent`, is one line, and the box saw no connection
//! and, for what is wrong with the configuration, no query. R16: everything an error says, its sources included, over the
//! faults of the box. Not here: the CA file (tls.rs), the program's arguments (cli.rs).

mod common;

use std::time::Duration;

use common::survival::Caller;
use common::*;
use pinlink::config::{OPTIONS, OptionSpec};
use pinlink::{Builder, Client, Delivery, Error, Kind, Phase, Pin, PinSet, Reason, Request};
use pinlink_box::{Certificate, Fault, Network, StatusLine};

/// What must never be seen in any message.
const SECRET: &str = "hunter2";

#[track_caller]
fn assert_untouched(network: &Network) {
    let counts = network.counts();
    assert_eq!((counts.proxy.total, counts.origins.connections), (0, 0), "the box saw a connection");
}

/// The request is refused as malformed, alone and as a row among others, before a connection is made.
#[track_caller]
fn refused(network: &Network, client: &Client, what: &str, request: &Request) -> Error {
    let error = match client.send(request) {
        Ok(answer) => panic!("{what:?} was answered: {answer:?}"),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.delivery()), (Kind::Config, Delivery::NotSent), "{what:?}: {error}");
    assert_eq!((error.reason(), error.phase()), (Reason::ConfigInput, Phase::Configure), "{what:?}: {error}");
    assert!(!error.to_string().contains(['\r', '\n', '\0']), "{what:?}: {:?}", error.to_string());
    let rows = client.map(std::slice::from_ref(request));
    assert_failed(rows[0].as_ref().expect_err(what), Reason::ConfigInput, Delivery::NotSent);
    assert_failed(&Caller::Async.send(client, request).expect_err(what), Reason::ConfigInput, Delivery::NotSent);
    assert_untouched(network);
    error
}

/// `build` fails for this reason before anybody was asked or dialled.
#[track_caller]
fn not_built(network: &Network, what: &str, builder: Builder, reason: Reason) -> Error {
    let error = match builder.build() {
        Ok(_) => panic!("{what:?} was accepted; expected {}", reason.as_str()),
        Err(error) => error,
    };
    assert_eq!(error.reason(), reason, "{what:?}: {error}");
    assert_failed(&error, reason, Delivery::NotSent);
    assert_eq!(network.counts().dns.queries, 0, "{what:?}: DNS was asked");
    assert_untouched(network);
    error
}

fn option_names(kind: &str) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(move |spec| spec.kind == kind)
}

#[test]
fn h17_malformed_urls_are_refused_before_anything_is_sent() {
    let network = network();
    let client = client(&network).build().unwrap();
    let at = format!("{}:{}", host(&network), network.http());
    let (long_label, long_host) = ("a".repeat(64), "abcdefgh.".repeat(30));
    let mut accepted = Vec::new();
    for url in [
        String::new(),
        " ".to_owned(),
        "/".to_owned(),
        at.clone(),
        format!("//{at}/"),
        "http:".to_owned(),
        "http://".to_owned(),
        "http:///path".to_owned(),
        "http://:80/".to_owned(),
        format!("http:/{at}/"),
        format!("ftp://{at}/"),
        format!("file://{at}/etc/passwd"),
        format!("tcp://{at}"),
        format!("javascript://{at}/"),
        format!(" http://{at}/"),
        format!("http://{at}/a b"),
        format!("http://{at}/a\tb"),
        format!("http://{at}/\r\nX: 1"),
        format!("http://{at}/\0"),
        format!("http://{at}\\@other/"),
        format!("http:\\\\{at}\\"),
        format!("http://user@{at}/"),
        format!("http://user:password@{at}/"),
        format!("http://@{at}/"),
        format!("http://user:password@{at}/\u{e9}"),
        "http://a b/".to_owned(),
        "http://a..b/".to_owned(),
        "http://-a.example/".to_owned(),
        "http://a-.example/".to_owned(),
        "http://ex%41mple/".to_owned(),
        format!("http://{long_label}.example/"),
        format!("http://{long_host}example/"),
        "http://1.2.3.4.5/".to_owned(),
        "http://256.1.1.1/".to_owned(),
        "http://[::1/".to_owned(),
        "http://::1/".to_owned(),
        "http://[::1%25eth0]/".to_owned(),
        "http://[::1]x/".to_owned(),
        "http://xn--a.example\u{0}/".to_owned(),
    ] {
        // All of them are looked at before the verdict: a lenient parser lets several through at once.
        match client.send(&Request::get(&url)) {
            Err(error) if error.reason() == Reason::ConfigInput => assert_eq!(error.delivery(), Delivery::NotSent),
            outcome => accepted.push((url, outcome.map(|answer| answer.status()))),
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_untouched(&network);
    assert_whole(&client, &network);
}

#[test]
fn one_bad_row_fails_alone() {
    let network = network();
    let client = client(&network).build().unwrap();
    let good = http(&network, "/rows/1");
    let rows =
        [Request::get(&good), Request::get("nonsense"), Request::get(&good).header("x", "a\nb"), Request::get(&good)];
    let outcomes = client.map(&rows);
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok());
    for bad in &outcomes[1..3] {
        assert_failed(bad.as_ref().unwrap_err(), Reason::ConfigInput, Delivery::NotSent);
    }
    assert_eq!(network.counts().origins.requests, 2);
}

#[test]
fn c01_malformed_hosts_are_refused_at_build() {
    let network = network();
    let (long_label, long_host) = (format!("{}.example", "a".repeat(64)), format!("{}example", "abcdefgh.".repeat(30)));
    for host in [
        "https://",
        "https://:443",
        "https://.",
        "https://..",
        "a b",
        "a\0b",
        "a\r\nb",
        "a\tb",
        "-a.example",
        "a-.example",
        "a..example",
        "a.example..",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "u@a.example",
        "u:p@a.example",
        "ftp://a.example",
        "https:a.example",
        "*",
        "*.",
        "a.*.example",
        "**.example",
        "*.10.0.0.1",
        "1.2.3.4.5",
        "256.1.1.1",
        "0x100000000",
        &long_label,
        &long_host,
    ] {
        let error = not_built(&network, host, bare(&network).hosts([host]), Reason::ConfigInput);
        assert!(error.to_string().contains("hosts"), "the option is named: {error}");
    }
    let nothing: [&str; 0] = [];
    not_built(&network, "no host", bare(&network).hosts(nothing), Reason::ConfigConflict);
    not_built(&network, "no host as text", bare(&network).option("hosts", " , "), Reason::ConfigConflict);
}

#[test]
fn c01_every_spelling_of_a_host_is_one_host_for_pin_sni_host_and_certificate() {
    let network = network();
    let (name, port) = (host(&network), network.https(Certificate::Right));
    let declared = format!("HTTPS://{}.:{port}/", name.to_uppercase());
    let client = bare(&network).hosts([declared]).build().unwrap();
    for written in [name.to_owned(), format!("{name}."), name.to_uppercase()] {
        get(&client, &format!("https://{written}:{port}/rows/1"));
        let seen = last_seen(&network);
        assert_eq!((seen.sni.as_deref(), seen.host), (Some(name), Some(format!("{name}:{port}"))), "{written}");
    }
    let counts = network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total), (1, 1), "one look-up, one connection");
    assert!(counts.dns.by_name.contains_key(name));
}

#[test]
fn c02_international_names_go_over_the_wire_in_ascii() {
    let network = network();
    let port = network.https(Certificate::Right);
    for (written, ascii) in
        [("B\u{fc}cher.box.test", "xn--bcher-kva.box.test"), ("stra\u{df}e.box.test", "xn--strae-oqa.box.test")]
    {
        let client = bare(&network).hosts([format!("https://{written}:{port}")]).build().unwrap();
        get(&client, &format!("https://{written}:{port}/rows/1"));
        let seen = last_seen(&network);
        assert_eq!((seen.sni.as_deref(), seen.host), (Some(ascii), Some(format!("{ascii}:{port}"))));
        assert!(network.counts().dns.by_name.contains_key(ascii));
    }
}

#[test]
fn c02_names_that_only_look_international_are_refused() {
    let network = network();
    // RUSTSEC-2024-0421: Punycode that decodes to ASCII would be a second name for another host.
    for host in [
        "xn--example-.com",
        "xn--.com",
        "xn--a.com",
        "xn--bcher-kva\u{fc}.com",
        "\u{200d}.com",
        "a\u{2024}\u{2024}b.com",
    ] {
        not_built(&network, host, bare(&network).hosts([host]), Reason::ConfigInput);
    }
}

#[test]
fn c03_addresses_in_disguise_are_judged_by_their_number() {
    let network = network();
    let port = network.http();
    for disguise in
        ["127.0.0.1", "0x7f.1", "2130706433", "017700000001", "127.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]
    {
        let host = format!("http://{disguise}:{port}");
        let builder = Client::builder().nameservers([network.dns().to_string()]).hosts([&host]);
        let error = not_built(&network, disguise, builder.clone(), Reason::PolicyAddress);
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
    for disguise in ["[::1]", "[::]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "0"] {
        let builder = bare(&network).hosts([format!("http://{disguise}:{port}")]);
        not_built(&network, disguise, builder, Reason::PolicyAddress);
    }
    for malformed in ["[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1", "::1", "[]", "[127.0.0.1]", "[::1]]"] {
        let builder = bare(&network).hosts([format!("http://{malformed}:{port}")]);
        not_built(&network, malformed, builder, Reason::ConfigInput);
    }
    // Allowed, every disguise is the same origin.
    let client = bare(&network).hosts([format!("http://0x7f.1:{port}")]).build().unwrap();
    get(&client, &format!("http://2130706433:{port}/rows/1"));
    assert_eq!(last_seen(&network).host, Some(format!("127.0.0.1:{port}")));
}

#[test]
fn c04_ports_are_numbers_from_1_to_65535() {
    let network = network();
    let client = client(&network).build().unwrap();
    network.reset_counts();
    for port in ["0", "65536", "-1", "80a", "+80", "0x50", "99999999999999999999", "8 0", "\u{663}"] {
        for scheme in ["http", "https", "tcp"] {
            let builder = bare(&network).hosts([format!("{scheme}://{}:{port}", host(&network))]);
            not_built(&network, port, builder, Reason::ConfigInput);
        }
        let url = format!("http://{}:{port}/", host(&network));
        refused(&network, &client, &url, &Request::get(&url));
    }
    not_built(&network, "tcp without a port", bare(&network).hosts(["tcp://a.example"]), Reason::ConfigInput);
    for server in ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:", ":53", "dns.example", "dns.example:53", "::1:53x"] {
        not_built(&network, server, common::client(&network).nameservers([server]), Reason::ConfigInput);
    }
    let name = host(&network);
    for detour in ["a:443:b:0", "a:0:b:443", "a:443:b", "a:443", "", "a:443:b:65536", "a:443:b c:1"] {
        not_built(&network, detour, common::client(&network).connect_to([detour]), Reason::ConfigInput);
    }
    assert_whole(&client, &network);
    assert_eq!(network.counts().dns.by_name.get(name), None);
}

#[test]
fn c05_no_duration_is_zero_negative_endless_or_without_a_unit() {
    let network = network();
    let mut seen = 0;
    for spec in option_names("duration") {
        for value in [
            "",
            "10",
            "-1s",
            "+1s",
            "NaN",
            "NaNs",
            "inf",
            "infs",
            "1e3s",
            "1 s",
            "s",
            "1.2.3s",
            "1d",
            "9999h",
            "99999999999999999999s",
            "1s\n",
        ] {
            let error = not_built(&network, value, client(&network).option(spec.name, value), Reason::ConfigInput);
            assert!(error.to_string().contains(spec.name), "the option is named: {error}");
        }
        if !spec.min.starts_with('0') {
            not_built(&network, spec.name, client(&network).option(spec.name, "0s"), Reason::ConfigInput);
            seen += 1;
        }
    }
    assert!(seen >= 14, "every wait has a bound: {seen}");
    // The typed setters pass the same gate.
    let builder = client(&network);
    not_built(&network, "0", builder.clone().timeout(Duration::ZERO), Reason::ConfigInput);
    not_built(&network, "max", builder.clone().stall_timeout(Duration::MAX), Reason::ConfigInput);
    not_built(&network, "0", builder.max_connections(0_usize), Reason::ConfigInput);
}

#[test]
fn c05_no_count_or_size_is_zero_by_mistake_negative_or_without_a_unit() {
    let network = network();
    for spec in option_names("count") {
        for value in ["-1", "+1", "1.5", "1e3", "NaN", "inf", "0x10", " ", "1 ", "99999999999999999999", "ten"] {
            let error = not_built(&network, value, client(&network).option(spec.name, value), Reason::ConfigInput);
            assert!(error.to_string().contains(spec.name), "{error}");
        }
        if spec.min != "0" {
            not_built(&network, spec.name, client(&network).option(spec.name, "0"), Reason::ConfigInput);
        }
    }
    for spec in option_names("size") {
        for value in
            ["", "10", "-1B", "1.5MiB", "1KB", "1kib", "MiB", "99999999999GiB", "18446744073709551615GiB", "3GiB"]
        {
            not_built(&network, value, client(&network).option(spec.name, value), Reason::ConfigInput);
        }
    }
}

#[test]
fn c05_zero_never_means_without_limit() {
    let network = network();
    let client = client(&network).max_body(0_usize).build().unwrap();
    fails(&client, &Request::get(&http(&network, "/bytes/1")), Reason::LimitBody, Delivery::Answered);
    get(&client, &http(&network, "/bytes/0"));

    let network = common::network();
    let client = common::client(&network).max_interim(0_usize).build().unwrap();
    network.inject(Fault::Interim(1));
    assert_eq!(client.send(&Request::get(&scripted(&network))).unwrap_err().reason(), Reason::LimitInterim);
    network.heal();
    get(&client, &scripted(&network));

    // Nobody may wait: of those who come at once, whoever finds no connection fails at once.
    let network = common::network();
    let client = common::client(&network).max_connections_per_origin(1_usize).max_waiting(0_usize).build().unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| get(&client, &http(&network, "/delay/300")));
        eventually("the only connection is busy", || network.counts().origins.requests == 1);
        fails(&client, &Request::get(&http(&network, "/rows/1")), Reason::Overloaded, Delivery::NotSent);
        busy.join().unwrap();
    });
    assert_whole(&client, &network);
}

#[test]
fn c06_the_environment_s_proxies_and_roots_are_not_obeyed() {
    if let Some(role) = role() {
        // Here, http_proxy and the like name a port where nobody listens, and SSL_CERT_FILE a file that is not there.
        let [url, tls, dns, ca] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
        let origin = |url: &str| url.trim_end_matches("/rows/1").to_owned();
        let client = Client::builder()
            .hosts([origin(url), origin(tls)])
            .nameservers([dns])
            .allow_addresses(["127.0.0.0/8"])
            .ca_file(ca)
            .build()
            .unwrap();
        get(&client, url);
        get(&client, tls);
        return;
    }
    let network = network();
    let (plain, tls) = (http(&network, "/rows/1"), https(&network, Certificate::Right, "/rows/1"));
    let role = format!("{plain} {tls} {} {}", network.dns(), network.ca_file().display());
    let mut command = again("c06_the_environment_s_proxies_and_roots_are_not_obeyed", &role);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command
            .env(name, "http://user:hunter2@127.0.0.1:1")
            .env(name.to_uppercase(), "http://user:hunter2@127.0.0.1:1");
    }
    command.env("no_proxy", "").env("NO_PROXY", "");
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(network.counts().origins.requests, 2);
}

#[test]
fn c07_a_fragment_stays_at_home_and_a_query_goes_out_as_it_is() {
    let network = network();
    let client = client(&network).build().unwrap();
    get(&client, &http(&network, "/rows/1?a=b%20c&d=/?e#fragment"));
    let seen = last_seen(&network);
    assert_eq!((seen.path.as_str(), seen.query.as_deref()), ("/rows/1", Some("a=b%20c&d=/?e")));
    get(&client, &http(&network, "/rows/\u{fc}"));
    assert_eq!(last_seen(&network).path, "/rows/%C3%BC");
}

#[test]
fn c08_an_unknown_option_is_answered_with_the_nearest_name() {
    let network = network();
    for spec in OPTIONS {
        let (almost, _) = spec.name.split_at(spec.name.len() - 1);
        if OPTIONS.iter().any(|other| other.name == almost) {
            continue;
        }
        for written in [almost.to_owned(), format!("pinlink.{almost}")] {
            let error = not_built(&network, &written, client(&network).option(&written, "1"), Reason::ConfigOption);
            assert!(error.to_string().contains(&format!("did you mean {}?", spec.name)), "{written}: {error}");
        }
    }
    for (written, meant) in
        [("max_conections", "max_connections"), ("nameserver", "nameservers"), ("cafile", "ca_file")]
    {
        let error = not_built(&network, written, client(&network).option(written, "1"), Reason::ConfigOption);
        assert!(error.to_string().contains(&format!("did you mean {meant}?")), "{error}");
    }
    let error = not_built(&network, "far off", client(&network).option("qqqqqqqqqqqqqqqq", "1"), Reason::ConfigOption);
    assert!(!error.to_string().contains("did you mean"), "{error}");
}

#[test]
fn c08_values_of_the_wrong_type_are_refused() {
    let network = network();
    for (name, value) in [
        ("system_roots", "yes"),
        ("web_roots", "1"),
        ("danger_accept_any_certificate", "TRUE"),
        ("address_family", "ipv5"),
        ("protocol", "http9"),
        ("summary", "syslog"),
        ("allow_addresses", "10.0.0.0/33"),
        ("allow_addresses", "10.0.0"),
        ("allow_addresses", "all"),
        ("user_agent", "a\r\nb"),
        ("user_agent", "a\0"),
        ("sni", "a.example"),
        ("sni", "a.example="),
        ("sni", "a.example=b c"),
        ("host_header", "a.example=b\r\nX: 1"),
        ("host_header", "=b"),
    ] {
        let error = not_built(&network, value, client(&network).option(name, value), Reason::ConfigInput);
        assert!(error.to_string().contains(name), "the option is named: {error}");
    }
}

#[test]
fn the_first_mistake_is_reported_whatever_comes_after_it() {
    let network = network();
    let builder = client(&network).option("timeout", "soon").option("no_such", "1").max_age(Duration::from_secs(1));
    let error = not_built(&network, "two mistakes", builder, Reason::ConfigInput);
    assert!(error.to_string().contains("timeout"), "{error}");
}

#[test]
fn c09_pins_that_make_no_sense_are_refused() {
    let network = network();
    let name = host(&network);
    for pins in [
        name.to_owned(),
        format!("{name}="),
        format!("{name}=|"),
        format!("{name}=127.0.0.1|"),
        format!("{name}=kms.example"),
        format!("{name}=127.0.0.1:80"),
        format!("{name}=127.0.0"),
        "=127.0.0.1".to_owned(),
        "a b=127.0.0.1".to_owned(),
        "other.box.test=127.0.0.1".to_owned(),
    ] {
        not_built(&network, &pins, client(&network).pins([&pins]), Reason::ConfigInput);
    }
    for refused in ["169.254.169.254", "100.100.100.200", "0.0.0.0", "::1", "::ffff:169.254.169.254"] {
        let pins = [format!("{name}=127.0.0.1|{refused}")];
        let error = not_built(&network, refused, client(&network).pins(pins), Reason::PolicyAddress);
        assert!(error.to_string().contains(name), "{error}");

        let mut set = PinSet::default();
        set.insert(name, Pin::by_hand(vec![refused.parse().unwrap()], PinSet::now())).unwrap();
        not_built(&network, refused, client(&network).import(set), Reason::PolicyAddress);

        let scratch = Scratch::new();
        let file = scratch.file("hosts", format!("{refused} {name}\n"));
        not_built(&network, refused, client(&network).hosts_file(file), Reason::PolicyAddress);
    }
    let mut set = PinSet::default();
    let empty = set.insert(name, Pin::by_hand(Vec::new(), PinSet::now())).unwrap_err();
    assert_failed(&empty, Reason::ConfigInput, Delivery::NotSent);
}

#[test]
fn c11_limits_that_contradict_each_other_are_refused() {
    let network = network();
    let seconds = Duration::from_secs;
    let builder = || client(&network);
    for (what, builder) in [
        ("connect_timeout over timeout", builder().timeout(seconds(2)).connect_timeout(seconds(3))),
        ("backoff_base over backoff_max", builder().backoff_base(seconds(2)).backoff_max(seconds(1))),
        ("prewarm over the cap", builder().prewarm(3_usize).max_connections_per_origin(2_usize)),
        ("prewarm over the job's share", builder().prewarm(3_usize).job_connections(4_usize).workers(4_usize)),
        ("nothing to trust", Client::builder().hosts(["https://a.example"]).web_roots(false)),
    ] {
        not_built(&network, what, builder, Reason::ConfigConflict);
    }
}

#[test]
fn c11_a_short_timeout_alone_contradicts_nothing() {
    let network = network();
    // Who sets one bound has not contradicted himself: defaults give way.
    for option in ["timeout", "backoff_max", "max_connections"] {
        let value = if option == "max_connections" { "1" } else { "20ms" };
        let built = client(&network).option(option, value).build();
        assert!(built.is_ok(), "{option}={value} alone: {}", built.unwrap_err());
    }
}

#[test]
fn c12_keys_that_no_server_would_recognise_are_refused() {
    let network = network();
    let client = client(&network).build().unwrap();
    let long = "k".repeat(256);
    for key in ["", " ", "a\r\nb", "a\0b", "a\u{7f}", "schl\u{fc}ssel", &long] {
        let request = Request::post(&http(&network, "/sink/1")).header("Idempotency-Key", key);
        refused(&network, &client, key, &request);
    }
    let twice = Request::post(&http(&network, "/sink/1")).header("Idempotency-Key", "a").header("idempotency-key", "b");
    refused(&network, &client, "two keys", &twice);
    let fits = Request::post(&http(&network, "/sink/1")).header("Idempotency-Key", "k".repeat(255));
    assert_eq!(client.send(&fits).unwrap().status(), 201);
}

#[test]
fn h17_h20_c13_headers_cannot_be_injected_and_framing_is_ours() {
    let network = network();
    let client = client(&network).build().unwrap();
    let request = || Request::post(&http(&network, "/sink/1")).body("once");
    for value in ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "\u{7f}", "\x01", "a\r\n\r\nGET /sink/2 HTTP/1.1"] {
        refused(&network, &client, value, &request().header("x-field", value));
    }
    for name in ["", " ", "x y", "x:y", "x\r\ny", "x\0y", "x\u{fc}", "(x)", "x\ty"] {
        refused(&network, &client, name, &request().header(name, "1"));
    }
    for owned in [
        "Host",
        "HOST",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
    ] {
        let error = refused(&network, &client, owned, &request().header(owned, "1"));
        assert!(error.to_string().contains(&owned.to_lowercase()), "the header is named: {error}");
    }
    for method in ["", " ", "GE T", "GET\r\n", "GET /x HTTP/1.1\r\nHost: y\r\n\r\n", "G\0T", "CONNECT", "\u{e9}"] {
        let url = http(&network, "/sink/1");
        refused(&network, &client, method, &Request::new(method, &url));
    }
    refused(&network, &client, "timeout 0", &request().timeout(Duration::ZERO));
    assert!(network.sink().is_empty());
    assert_whole(&client, &network);
}

#[test]
fn h17_c13_headers_that_no_server_takes_are_refused_here() {
    let network = network();
    let client = client(&network).build().unwrap();
    let request = Request::get(&http(&network, "/rows/1"));
    refused(&network, &client, "10 MB in one header", &request.clone().header("x-big", vec![b'a'; 10 << 20]));
    let many = (0..20_000).fold(request, |request, n| request.header(&format!("x-{n}"), "1"));
    refused(&network, &client, "20,000 headers", &many);
    assert_whole(&client, &network);
}

#[test]
fn a_pin_set_that_is_missing_corrupt_or_of_another_version_fails_the_build() {
    let network = network();
    let scratch = Scratch::new();
    let name = host(&network);
    let mut set = PinSet::default();
    set.insert(name, Pin::by_hand(vec!["127.0.0.1".parse().unwrap()], PinSet::now())).unwrap();
    let good = set.to_json();
    let file = |address: &str| {
        format!(
            r#"{{"version":1,"pins":{{"{name}":{{"addresses":[{address}],"resolved_at":"2026-01-01T00:00:00Z","resolver":"x"}}}}}}"#
        )
    };
    for (what, content) in [
        ("empty", Vec::new()),
        ("not json", b"pins!".to_vec()),
        ("another json", b"[]".to_vec()),
        ("no version", br#"{"pins":{}}"#.to_vec()),
        ("version 2", good.replace("\"version\": 1", "\"version\": 2").into_bytes()),
        ("cut", good.as_bytes()[..good.len() - 5].to_vec()),
        ("trailing", format!("{good}{good}").into_bytes()),
        ("not utf-8", [&[0xff, 0xfe][..], good.as_bytes()].concat()),
        ("unknown field", good.replace("\"version\"", "\"more\": 1, \"version\"").into_bytes()),
        ("no address", file("").into_bytes()),
        ("a name for an address", file("\"kms.example\"").into_bytes()),
        ("a bad host", file("\"127.0.0.1\"").replace(name, "a b").into_bytes()),
        ("deep", "[".repeat(100_000).into_bytes()),
    ] {
        let path = scratch.file("pins.json", content);
        not_built(&network, what, client(&network).pin_set(&path), Reason::ConfigPinSet);
    }
    let error =
        not_built(&network, "missing", client(&network).pin_set(scratch.path("none.json")), Reason::ConfigPinSet);
    assert!(error.to_string().contains("none.json"), "the file is named: {error}");
    not_built(&network, "a folder", client(&network).pin_set(scratch.as_ref()), Reason::ConfigPinSet);
    // 65 MiB that take no room on the disk.
    let huge = scratch.path("huge.json");
    std::fs::File::create(&huge).unwrap().set_len(65 << 20).unwrap();
    not_built(&network, "65 MiB", client(&network).pin_set(&huge), Reason::ConfigPinSet);

    let path = scratch.file("pins.json", good);
    assert_whole(&client(&network).pin_set(path).build().unwrap(), &network);
    assert_eq!(network.counts().dns.queries, 0);
}

#[test]
fn a_hosts_file_that_is_missing_or_malformed_fails_the_build_and_names_the_line() {
    let network = network();
    let scratch = Scratch::new();
    let path = scratch.file("hosts", "127.0.0.1 a.example\n\nkms.example 127.0.0.1\n");
    let error = not_built(&network, "names first", client(&network).hosts_file(path), Reason::ConfigPinSet);
    assert!(error.to_string().contains("line 3"), "{error}");
    let path = scratch.file("hosts", "127.0.0.1 a.example\n127.0.0.2 a..b\n");
    let error = not_built(&network, "a bad name", client(&network).hosts_file(path), Reason::ConfigPinSet);
    assert!(error.to_string().contains("line 2"), "{error}");
    not_built(&network, "missing", client(&network).hosts_file(scratch.path("none")), Reason::ConfigPinSet);
}

/// A set that was good until a minute ago.
fn expired(host: &str) -> PinSet {
    let resolved_at = PinSet::now() - Duration::from_secs(3600);
    let mut set = PinSet::default();
    set.insert(host, Pin::by_hand(vec!["127.0.0.1".parse().unwrap()], resolved_at)).unwrap();
    set.valid_for(Duration::from_secs(3540));
    set
}

#[test]
fn an_expired_pin_set_fails_the_build_and_says_when_it_ended() {
    let network = network();
    let name = host(&network);
    let set = expired(name);
    let until = set.find(name).unwrap().expires_at.unwrap().to_string();
    let scratch = Scratch::new();
    set.save(scratch.path("pins.json")).unwrap();
    for builder in [client(&network).import(set), client(&network).pin_set(scratch.path("pins.json"))] {
        let error = not_built(&network, "expired", builder.clone(), Reason::ConfigPinSetExpired);
        let line = error.to_string();
        assert!(line.contains(name) && line.contains(&until[..16]), "{line}");
        // What is fixed by hand needs no pin set.
        let client = builder.pins([format!("{name}=127.0.0.1")]).build().unwrap();
        get(&client, &http(&network, "/rows/1"));
        network.reset_counts();
        client.close();
        eventually("the connection is closed", || network.counts().proxy.live == 0);
        network.reset_counts();
    }
}

#[test]
fn an_expired_suffix_pin_reaches_nobody() {
    let network = network();
    let wildcard = format!("http://*.box.test:{}", network.http());
    let built = bare(&network).hosts([wildcard]).import(expired("*.box.test")).build();
    let refused = built.and_then(|client| client.send(&Request::get(&http(&network, "/rows/1"))));
    assert_failed(&refused.unwrap_err(), Reason::ConfigPinSetExpired, Delivery::NotSent);
    assert_untouched(&network);
}

#[test]
fn a_closed_client_says_so() {
    let network = network();
    let client = client(&network).build().unwrap();
    get(&client, &http(&network, "/rows/1"));
    client.close();
    client.close();
    let request = Request::get(&http(&network, "/rows/1"));
    assert_eq!(fails(&client, &request, Reason::Closed, Delivery::NotSent).kind(), Kind::Closed);
    assert_failed(client.map(&[request])[0].as_ref().unwrap_err(), Reason::Closed, Delivery::NotSent);
    assert_failed(
        &client.repin(host(&network), &["127.0.0.1".parse().unwrap()]).unwrap_err(),
        Reason::Closed,
        Delivery::NotSent,
    );
    eventually("its connections are closed", || network.counts().proxy.live == 0);
    assert_eq!(network.counts().origins.requests, 1);
}

#[track_caller]
fn assert_tells_nothing(what: &str, text: &str) {
    assert!(!text.contains(SECRET), "{what} tells a secret: {text}");
}

/// A request that is full of secrets wherever a secret can be.
fn secretive(method: &str, url: &str) -> Request {
    Request::new(method, &format!("{url}?token={SECRET}"))
        .header("authorization", format!("Bearer {SECRET}"))
        .header("cookie", format!("session={SECRET}"))
        .header("idempotency-key", SECRET)
        .header("x-api-key", SECRET)
        .body(SECRET)
}

#[test]
fn r16_no_error_of_the_network_tells_a_secret() {
    let faults = [
        Fault::RefuseAll,
        Fault::ResetOnAccept,
        Fault::ResetAfterRequest(40),
        Fault::ResetMidAnswer(10),
        Fault::CloseMidAnswer(90),
        Fault::AckLost,
        Fault::HalfOpen,
        Fault::EarlyClose,
        Fault::ShortBody,
        Fault::LengthAndChunked,
        Fault::UnaskedSwitch,
        Fault::GarbageStatus(StatusLine::Garbage),
        Fault::GarbageStatus(StatusLine::Nul),
        Fault::BigHeader(1 << 20),
        Fault::InterimFlood,
        Fault::HandshakeClose,
        Fault::NotTls,
        Fault::GarbageRecord,
    ];
    let network = network();
    let urls = [http(&network, "/sink/1"), https(&network, Certificate::Right, "/sink/1"), scripted(&network)];
    let (brief, mut failures) = (Duration::from_millis(200), 0);
    for fault in faults {
        let client =
            client(&network).stall_timeout(brief).handshake_timeout(brief).max_attempts(1_usize).build().unwrap();
        network.inject(fault.clone());
        for url in &urls {
            for method in ["GET", "POST"] {
                let request = secretive(method, url);
                if let Err(error) = client.send(&request) {
                    failures += 1;
                    assert_tells_nothing(fault.name(), &everything_said(&error));
                }
                assert_tells_nothing("a request", &format!("{request:?}"));
            }
        }
        assert_tells_nothing("a client", &format!("{client:?} {} {}", client.stats(), client.stats().to_json()));
        network.heal();
    }
    assert!(failures > 40, "the faults were felt: {failures}");
}

#[test]
fn r16_no_answer_and_no_refusal_tells_a_secret() {
    let network = network();
    let client = client(&network).build().unwrap();
    let answer = client.send(&secretive("POST", &http(&network, "/echo"))).unwrap();
    assert!(answer.text().unwrap().contains(SECRET), "the echo repeats what it was sent");
    assert_tells_nothing("an answer", &format!("{answer:?}"));

    let good = http(&network, "/sink/1");
    let at = good.trim_start_matches("http://");
    for request in [
        Request::get(&format!("http://user:{SECRET}@{at}")),
        Request::get(&format!("http://{SECRET}@{at}")),
        Request::get(&format!("{good}?token={SECRET} ")),
        Request::get(&format!("{good}?token={SECRET}\r\n")),
        Request::get(&format!("//{at}?token={SECRET}")),
        Request::get(&format!("https://undeclared.example/{SECRET}?token={SECRET}")),
        Request::get(&format!("ftp://{at}?token={SECRET}")),
        Request::get(&good).header("authorization", format!("Bearer {SECRET}\n")),
        Request::get(&good).header("host", SECRET),
        Request::get(&good).header("idempotency-key", "a").header("idempotency-key", SECRET),
        secretive("GE T", &good),
        secretive("CONNECT", &good),
    ] {
        let error = client.send(&request).unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        assert_tells_nothing("a refusal", &everything_said(&error));
        assert_tells_nothing("a refused request", &format!("{request:?}"));
    }
    for origin in [format!("https://user:{SECRET}@kms.example"), format!("https://{SECRET}@kms.example")] {
        assert_tells_nothing("a build", &everything_said(&bare(&network).hosts([&origin]).build().unwrap_err()));
        assert_tells_nothing(
            "a build",
            &everything_said(&bare(&network).option("hosts", &origin).build().unwrap_err()),
        );
    }
}
