//! The promise: what stands between a job and its targets is told apart, step by step, and the missing step is named
//! with the layer that it belongs to.
//!
//! The faults are the box's, and the kernel's in a network namespace of a test's own. What real database servers say
//! first is looked at in `tests/engines`.

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use common::survival::every_fault;
use common::*;
use pinlink::{Builder, Diagnosis, Examination, Layer, Reason, Stage, Step, Target, Verdict};
use pinlink_box::Layer as Stratum;
use pinlink_box::{Certificate, Fault, Network};

/// Enough for a busy machine, little enough for a test that waits for it to pass.
const SHORT: Duration = Duration::from_millis(1500);

fn hasty(network: &Network) -> Builder {
    bare(network)
        .timeout(SHORT)
        .connect_timeout(SHORT)
        .handshake_timeout(SHORT)
        .resolve_timeout(SHORT)
        .resolve_attempt_timeout(Duration::from_millis(300))
}

fn targets(texts: &[String]) -> Vec<Target> {
    texts.iter().map(|text| Target::parse(text).unwrap()).collect()
}

/// Looks at one target.
#[track_caller]
fn look(builder: Builder, target: &str) -> Examination {
    let diagnosis = builder.doctor(&targets(&[target.to_owned()])).unwrap();
    assert_eq!(diagnosis.is_well(), diagnosis.targets[0].is_well());
    assert!(!diagnosis.environment.is_empty());
    diagnosis.targets.into_iter().next().expect("one target was given")
}

fn at(scheme: &str, network: &Network, port: u16) -> String {
    format!("{scheme}://{}:{port}", host(network))
}

/// The step that failed: the last, and the only one.
#[track_caller]
fn failed(examination: &Examination) -> &Step {
    let (last, before) = examination.steps.split_last().expect("a target has steps");
    assert!(before.iter().all(|step| step.verdict != Verdict::Failed), "{examination:?}");
    assert_eq!(last.verdict, Verdict::Failed, "{examination:?}");
    assert!(!examination.is_well());
    last
}

#[track_caller]
fn fails_at(examination: &Examination, stage: Stage, reason: Reason) -> Vec<Layer> {
    let step = failed(examination);
    assert_eq!((step.stage, step.reason), (stage, Some(reason)), "{step:?}");
    step.causes.iter().map(|cause| cause.layer).collect()
}

#[track_caller]
fn detail(examination: &Examination, stage: Stage) -> &str {
    let step = examination.steps.iter().find(|step| step.stage == stage);
    &step.unwrap_or_else(|| panic!("no step {stage:?} in {examination:?}")).detail
}

/// What a server does with each connection.
enum Saying {
    Words(&'static [u8]),
    /// It closes it.
    Nothing,
}

/// The port of a server that says one thing to each connection.
fn saying(what: Saying) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Saying::Words(words) = what {
                _ = stream.write_all(words);
                open.push(stream);
            }
        }
    });
    port
}

#[test]
fn a_target_that_is_reachable_is_well_at_every_step() {
    let network = network();
    let texts = [
        at("https", &network, network.https(Certificate::Right)),
        at("http", &network, network.http()),
        at("tcp", &network, network.http()),
        at("thrift", &network, network.http()),
    ];
    let diagnosis = hasty(&network).doctor(&targets(&texts)).unwrap();
    assert!(diagnosis.is_well(), "{diagnosis}");
    let stages =
        |examination: &Examination| examination.steps.iter().map(|step| step.stage.as_str()).collect::<Vec<_>>();
    assert_eq!(stages(&diagnosis.targets[0]), ["name", "address", "tcp", "tls", "answer"]);
    assert_eq!(stages(&diagnosis.targets[1]), ["name", "address", "tcp", "answer"]);
    assert!(detail(&diagnosis.targets[0], Stage::Tls).starts_with("TLSv1_3, certificate for "), "{diagnosis}");
    assert!(detail(&diagnosis.targets[0], Stage::Answer).starts_with("status "), "{diagnosis}");
    assert!(detail(&diagnosis.targets[3], Stage::Answer).contains("clients speak first"), "{diagnosis}");
    eventually("nothing stays open", || network.counts().proxy.live == 0);
}

#[test]
fn a_report_is_a_table_of_plain_text_and_json_of_the_same() {
    let network = network();
    network.inject(Fault::NxDomain);
    let text = at("https", &network, network.https(Certificate::Right));
    let diagnosis: Diagnosis = hasty(&network).doctor(&targets(std::slice::from_ref(&text))).unwrap();
    let table = diagnosis.to_string();
    for part in
        [&format!("{text}: NOT REACHABLE"), "name    FAILED", "Dns.NxDomain", "networklink", "resolv.conf", "glibc"]
    {
        assert!(table.contains(part), "{part} is missing in\n{table}");
    }
    let json: serde_json::Value = serde_json::from_str(&diagnosis.to_json()).unwrap();
    let step = &json["targets"][0]["steps"][0];
    assert_eq!(
        (&step["stage"], &step["verdict"], &step["reason"]),
        (&"name".into(), &"failed".into(), &"Dns.NxDomain".into())
    );
    assert_eq!(step["causes"][0]["layer"], "name");
    assert_eq!(json["environment"][0]["name"], "pinlink");
}

#[test]
fn names_that_do_not_resolve_are_told_apart() {
    for (fault, reason) in [
        (Fault::NxDomain, Reason::DnsNxDomain),
        (Fault::NoData, Reason::DnsNoData),
        (Fault::Refused, Reason::DnsRefused),
        (Fault::ServFail(100), Reason::DnsServFail),
        (Fault::Silent, Reason::DnsTimeout),
    ] {
        let network = network();
        network.inject(fault);
        let examination = look(hasty(&network), &at("http", &network, network.http()));
        let layers = fails_at(&examination, Stage::Name, reason);
        assert_eq!(layers[0], Layer::Name, "{examination:?}");
        assert!(layers.len() > 1, "{examination:?}");
    }
}

#[test]
fn an_address_that_may_not_be_dialled_is_a_step_of_its_own() {
    let network = network();
    network.inject(Fault::Answer(vec!["100.100.100.200".parse().unwrap()]));
    let examination = look(hasty(&network), &at("http", &network, network.http()));
    assert_eq!(examination.steps[0].verdict, Verdict::Well, "the name has an address");
    assert_eq!(fails_at(&examination, Stage::Address, Reason::PolicyAddress), [Layer::Configuration]);
}

#[test]
fn refused_dropped_and_closed_connections_are_told_apart() {
    for (fault, reason, first) in [
        (Fault::RefuseAll, Reason::ConnectRefused, Layer::Target),
        (Fault::Blackhole, Reason::ConnectTimeout, Layer::JobFlag),
    ] {
        let network = network();
        network.inject(fault);
        let examination = look(hasty(&network), &at("http", &network, network.http()));
        let layers = fails_at(&examination, Stage::Tcp, reason);
        assert_eq!(layers[0], first, "{examination:?}");
    }
    let network = network();
    let examination = look(hasty(&network), &format!("tcp://127.0.0.1:{}", saying(Saying::Nothing)));
    assert_eq!(fails_at(&examination, Stage::Answer, Reason::ConnectClosed), [Layer::Proxy]);
}

#[test]
fn certificates_are_judged_as_calls_judge_them() {
    for (certificate, reason) in [
        (Certificate::Expired, Reason::TlsExpired),
        (Certificate::WrongName, Reason::TlsWrongName),
        (Certificate::SelfSigned, Reason::TlsUnknownIssuer),
    ] {
        let network = network();
        let examination = look(hasty(&network), &at("https", &network, network.https(certificate)));
        assert_eq!(fails_at(&examination, Stage::Tls, reason)[0], Layer::Certificate, "{examination:?}");
    }
}

#[test]
fn a_port_that_is_open_and_silent_says_so_at_the_step_where_it_is() {
    let network = network();
    network.inject(Fault::HandshakeStall);
    let examination = look(hasty(&network), &at("https", &network, network.https(Certificate::Right)));
    fails_at(&examination, Stage::Tls, Reason::TlsTimeout);
    assert!(failed(&examination).detail.contains("open and silent"), "{examination:?}");

    let network = common::network();
    network.inject(Fault::HalfOpen);
    let examination = look(hasty(&network), &at("http", &network, network.http()));
    assert_eq!(failed(&examination).stage, Stage::Answer);
    assert!(failed(&examination).detail.contains("open and silent"), "{examination:?}");

    let network = common::network();
    network.inject(Fault::NotTls);
    let examination = look(hasty(&network), &at("https", &network, network.https(Certificate::Right)));
    fails_at(&examination, Stage::Tls, Reason::TlsNotTls);
}

#[test]
fn a_database_that_refuses_this_host_is_told_from_one_that_greets() {
    let network = network();
    let look = |scheme: &str, words: &'static [u8]| {
        look(hasty(&network), &format!("{scheme}://127.0.0.1:{}", saying(Saying::Words(words))))
    };
    let greets = look("mysql", b"\x4a\0\0\0\x0a8.0.36\0rest");
    assert!(greets.is_well(), "{greets:?}");
    assert_eq!(detail(&greets, Stage::Answer), "MySQL's greeting, version 8.0.36");
    let refuses = look("mysql", b"\x40\0\0\0\xff\x6a\x04Host is not allowed");
    assert!(failed(&refuses).detail.contains("error 1130: this host is not allowed"), "{refuses:?}");
    let other = look("mysql", b"220 mail.example ESMTP");
    fails_at(&other, Stage::Answer, Reason::ProtocolHead);
    let refuses = look("postgresql", b"E\0\0\0\x09Ssorry\0");
    assert!(failed(&refuses).detail.contains("too many connections"), "{refuses:?}");
}

#[test]
fn one_dead_address_of_two_is_a_warning() {
    let network = network();
    let port = network.http();
    let name = host(&network);
    let builder = hasty(&network).pins([format!("{name}=127.0.0.1|127.0.0.99")]);
    let examination = look(builder, &at("http", &network, port));
    let tcp = examination.steps.iter().find(|step| step.stage == Stage::Tcp).expect("a connection was tried");
    assert_eq!(tcp.verdict, Verdict::Warning, "{examination:?}");
    assert!(tcp.detail.contains("127.0.0.99") && tcp.detail.contains("Connect.Refused"), "{examination:?}");
    assert!(examination.is_well());
}

#[test]
fn a_client_looks_at_its_own_origins_with_its_own_pins() {
    let network = network();
    let client = client(&network).timeout(SHORT).build().unwrap();
    network.inject(Fault::NxDomain);
    let asked = network.queries().len();
    let diagnosis = client.doctor().unwrap();
    assert_eq!(network.queries().len(), asked, "what is pinned is not asked again");
    let well = diagnosis.targets.iter().filter(|target| target.is_well()).count();
    assert!(well >= 2 && well < diagnosis.targets.len(), "the wrong certificates are among them: {diagnosis}");
    client.close();
    assert_eq!(client.doctor().unwrap_err().reason(), Reason::Closed);
}

#[test]
fn a_machine_without_a_resolver_says_so() {
    if !apart("a_machine_without_a_resolver_says_so") {
        return;
    }
    let scratch = Scratch::new();
    let empty = scratch.file("resolv.conf", "# nothing\n");
    run(&format!("mount --bind {} /etc/resolv.conf", empty.display()));
    let diagnosis = Builder::default().doctor(&targets(&["https://kms.example".to_owned()])).unwrap();
    let layers = fails_at(&diagnosis.targets[0], Stage::Name, Reason::ConfigNoResolver);
    assert_eq!(layers, [Layer::Name]);
    let resolver = diagnosis.environment.iter().find(|fact| fact.name == "resolv.conf").expect("it is looked at");
    assert_eq!(resolver.verdict, Verdict::Warning);
}

#[test]
fn what_firewalls_and_routes_do_is_told_apart() {
    if !apart("what_firewalls_and_routes_do_is_told_apart") {
        return;
    }
    run("ip address add 10.8.0.1/32 dev lo");
    run("ip address add 47.1.2.3/32 dev lo");
    run("ip route add unreachable 10.9.0.0/16");
    run("ip route add unreachable 47.2.0.0/16");
    run("nft add table ip fire");
    run("nft add chain ip fire in { type filter hook input priority 0 ; }");
    run("nft add rule ip fire in tcp dport 81 drop");
    run("nft add rule ip fire in tcp dport 82 reject with tcp reset");
    run("nft add rule ip fire in tcp dport 83 reject with icmp type admin-prohibited");
    let within = |timeout, target: &str, reason| {
        fails_at(&look(Builder::default().connect_timeout(timeout).timeout(timeout), target), Stage::Tcp, reason)
    };
    // What is dropped takes all of its time; what is refused is told at the second SYN, a second after the first.
    let silent = |target: &str| within(SHORT, target, Reason::ConnectTimeout);
    let step = |target: &str, reason| within(Duration::from_secs(30), target, reason);

    let layers = silent("tcp://10.8.0.1:81");
    assert_eq!(layers[..3], [Layer::JobFlag, Layer::SecurityGroup, Layer::WhiteList]);
    assert_eq!(silent("tcp://47.1.2.3:81")[0], Layer::InternetAccess);
    assert_eq!(step("tcp://10.8.0.1:82", Reason::ConnectRefused), [Layer::Target, Layer::JobFlag]);
    assert_eq!(step("tcp://10.8.0.1:83", Reason::ConnectUnreachable)[0], Layer::JobFlag);
    assert_eq!(step("tcp://10.9.0.1:80", Reason::ConnectUnreachable)[0], Layer::JobFlag);
    assert_eq!(step("tcp://47.2.0.1:80", Reason::ConnectUnreachable)[0], Layer::InternetAccess);
}

/// The target that meets a fault, and how it is reached; nothing where only what is sent after the first answer meets it.
fn meeting(fault: &Fault, network: &Network) -> Option<(Builder, String)> {
    let plain = at("http", network, network.http());
    Some(match fault.row().layer {
        Stratum::Dns | Stratum::Proxy => (hasty(network), plain),
        Stratum::Tls => (hasty(network), at("https", network, network.https(Certificate::Right))),
        Stratum::Scripted => (hasty(network), at("http", network, network.scripted())),
        Stratum::Tunnel => {
            let proxy = match fault.name().starts_with("socks") {
                true => format!("socks5://{}", network.socks_proxy()),
                false => format!("http://{}", network.connect_proxy()),
            };
            (hasty(network).option("proxy", &proxy), plain)
        }
        Stratum::Sink | Stratum::Http2 => return None,
    })
}

#[test]
fn every_fault_of_the_box_is_reported_with_its_name_and_what_to_do_and_nothing_stays_behind() {
    let look_at = |fault: &Fault| {
        let network = network();
        let Some((builder, target)) = meeting(fault, &network) else { return };
        network.inject(fault.clone());
        let examination = look(builder, &target);
        assert!(!examination.steps.is_empty());
        for step in &examination.steps {
            assert!(!step.detail.is_empty() && !step.detail.contains('\n'), "{fault:?}: {step:?}");
            assert_eq!(step.reason.is_some(), step.verdict == Verdict::Failed, "{fault:?}: {step:?}");
        }
        network.heal();
        eventually("nothing stays open", || network.counts().proxy.live == 0);
    };
    let faults = every_fault();
    std::thread::scope(|scope| {
        // Most of the time is spent waiting for what never comes: side by side.
        for some in faults.chunks(faults.len().div_ceil(8)) {
            scope.spawn(move || some.iter().for_each(look_at));
        }
    });
}
