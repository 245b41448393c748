//! Pinned addresses are raced, dead ones are sidelined, and a changed pin drains the old address.
//!
//! FAULTS section 2 as far as it is about making a connection and losing it (`t1_…` is row T1), D12 (one dead address of
//! two), and the ways in which whom we dial, which name TLS checks and what `Host` says are three things: `connect_to`,
//! `sni`, `host_header`, wildcard hosts with suffix pins, `hosts_file`. Not here: caps and idle limits (the pool's
//! promise), what a write is told (the retries' promise).

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::*;
use pinlink::{Client, Delivery, Kind, Phase, Pin, PinSet, Reason, Request};
use pinlink_box::{Certificate, Fault, Network, Plan};

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Shorter than any answer of `/delay/12`: every call finds its connection too old and dials.
const ONE_CALL: Duration = Duration::from_millis(10);

fn two_addresses() -> Network {
    let proxy_ips = vec![Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    start(Plan { proxy_ips, ..Plan::default() })
}

/// One address that answers, and one that drops SYNs, as the kernel of a dead host would not even do.
fn one_dead_of_two() -> Network {
    start(Plan { dead_ips: vec![Ipv4Addr::new(127, 0, 0, 9)], ..Plan::default() })
}

fn pins(pins: &[(&str, IpAddr)]) -> PinSet {
    let mut set = PinSet::default();
    for (host, address) in pins {
        set.insert(host, Pin::by_hand(vec![*address], PinSet::now())).unwrap();
    }
    set
}

#[track_caller]
fn dialled(network: &Network) -> IpAddr {
    last_seen(network).dialled.ip()
}

#[test]
fn t1_all_addresses_refusing_is_said_at_once_and_nothing_was_sent() {
    let network = two_addresses();
    let client = client(&network).max_attempts(1_usize).race_stagger(Duration::from_secs(5)).build().unwrap();
    network.inject(Fault::RefuseAll);
    for request in [Request::get(&http(&network, "/rows/1")), Request::post(&http(&network, "/sink/1"))] {
        let (begun, dials) = (Instant::now(), client.stats().dials);
        let error = fails(&client, &request, Reason::ConnectRefused, Delivery::NotSent);
        assert!(begun.elapsed() < Duration::from_secs(4), "a refusal waits for no stagger: {:?}", begun.elapsed());
        assert_eq!((error.phase(), error.attempts()), (Phase::Connect, 1));
        assert!(error.address().is_some() && error.host().is_some_and(|at| at.starts_with(host(&network))));
        assert_eq!(client.stats().dials - dials, 2, "each address once");
    }
    assert_eq!(client.stats().connections_live, 0, "no place is lost");
    network.heal();
    assert_whole(&client, &network);
    assert!(network.sink().is_empty());
}

#[test]
fn t1_a_refusal_is_tried_again_even_for_a_post_and_within_max_attempts() {
    let network = network();
    let client = client(&network).max_attempts(4_usize).build().unwrap();
    network.inject(Fault::RefuseAll);
    let request = Request::post(&http(&network, "/sink/1"));
    assert_eq!(fails(&client, &request, Reason::ConnectRefused, Delivery::NotSent).attempts(), 4);
    assert_eq!(client.stats().dials, 4);
}

#[test]
fn t1_the_other_address_is_dialled_at_once_when_one_refuses() {
    let network = two_addresses();
    network.inject_for(Fault::RefuseAll, "127.0.0.1");
    // Which address comes first is drawn: of eight clients some begin with the one that refuses.
    let mut failed_over = 0;
    for _ in 0..8 {
        let client = client(&network).race_stagger(Duration::from_secs(5)).build().unwrap();
        let begun = Instant::now();
        let answer = get(&client, &http(&network, "/rows/1"));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert_eq!(answer.trace().address.unwrap().ip(), TWO);
        assert_eq!(answer.trace().attempts, 1, "another address is not another attempt");
        failed_over += client.stats().dials - 1;
    }
    assert!((1..=8).contains(&failed_over), "{failed_over}");
}

#[test]
fn t2_a_black_hole_ends_with_the_connect_budget_and_nothing_was_sent() {
    let network = two_addresses();
    let budget = Duration::from_millis(500);
    let client = client(&network).connect_timeout(budget).max_attempts(1_usize).build().unwrap();
    network.inject(Fault::Blackhole);
    for request in [Request::get(&http(&network, "/rows/1")), Request::post(&http(&network, "/sink/1"))] {
        let begun = Instant::now();
        let error = fails(&client, &request, Reason::ConnectTimeout, Delivery::NotSent);
        assert!((budget..BOUNDED).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert!(error.to_string().contains("connect_timeout 500ms"), "{error}");
    }
    assert_eq!(client.stats().connections_live, 0, "no place is lost");
    network.heal();
    assert_whole(&client, &network);
    assert!(network.sink().is_empty());
}

#[test]
fn t2_the_call_s_own_deadline_ends_a_dial_too() {
    let network = network();
    let client = client(&network).build().unwrap();
    network.inject(Fault::Blackhole);
    let begun = Instant::now();
    let request = Request::post(&http(&network, "/sink/1")).timeout(Duration::from_millis(300));
    let error = client.send(&request).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::NotSent), "{error}");
    network.heal();
    assert_whole(&client, &network);
}

#[test]
fn t5_an_answer_cut_in_the_middle_is_fetched_again_and_never_handed_out_in_part() {
    // In the body by RST and by FIN, and inside the head.
    for fault in [Fault::ResetMidAnswer(30_000), Fault::CloseMidAnswer(30_000), Fault::ResetMidAnswer(20)] {
        let network = network();
        let client = client(&network).build().unwrap();
        network.inject_times(fault.clone(), 1);
        let answer = get(&client, &http(&network, "/bytes/100000"));
        assert_eq!((answer.body().len(), answer.trace().attempts), (100_000, 2), "{fault:?}");
        assert_eq!(network.counts().proxy.total, 2, "on a connection of its own");
        assert_whole(&client, &network);
    }
}

#[test]
fn t5_an_answer_that_is_always_cut_is_an_error_after_max_attempts() {
    let network = network();
    let client = client(&network).max_attempts(3_usize).build().unwrap();
    network.inject(Fault::CloseMidAnswer(30_000));
    let request = Request::get(&http(&network, "/bytes/100000"));
    let error = fails(&client, &request, Reason::ProtocolIncomplete, Delivery::Answered);
    assert_eq!(error.attempts(), 3);
    assert_eq!(network.counts().origins.requests, 3);
    network.heal();
    assert_whole(&client, &network);
}

#[test]
fn t5_a_post_that_is_reset_while_it_leaves_is_sent_once_and_called_unknown() {
    let network = network();
    let client = client(&network).max_attempts(5_usize).build().unwrap();
    network.inject(Fault::ResetAfterRequest(60));
    let request = Request::post(&http(&network, "/sink/1")).body("once");
    let error = fails(&client, &request, Reason::WriteOutcomeUnknown, Delivery::Unknown);
    assert_eq!(error.attempts(), 1);
    assert_eq!(network.counts().proxy.total, 1, "on the wire once");
    network.heal();
    assert_whole(&client, &network);
    assert!(network.sink().iter().all(|write| write.attempts <= 1));
}

#[test]
fn t21_work_goes_on_as_soon_as_the_network_is_back() {
    let network = network();
    let client = client(&network).connect_timeout(Duration::from_millis(300)).build().unwrap();
    let url = http(&network, "/rows/1");
    get(&client, &url);
    network.inject(Fault::Blackhole);
    network.inject(Fault::HalfOpen);
    let cut = Request::get(&url).timeout(Duration::from_millis(600));
    client.send(&cut).unwrap_err();
    network.heal();
    let begun = Instant::now();
    get(&client, &url);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_whole(&client, &network);
}

#[test]
fn d12_one_dead_address_of_two_costs_the_first_call_a_stagger() {
    let network = one_dead_of_two();
    let mut met = Vec::new();
    for _ in 0..12 {
        let client = client(&network).build().unwrap();
        let begun = Instant::now();
        let answer = get(&client, &http(&network, "/rows/1"));
        let took = begun.elapsed();
        assert_eq!((answer.trace().address.unwrap().ip(), answer.trace().attempts), (ONE, 1));
        assert!(took < BOUNDED, "the dead address was waited for: {took:?}");
        if client.stats().dials == 2 {
            met.push(took);
        }
    }
    // Which address comes first is drawn. Of those who met the dead one the luckiest shows the cost without the noise
    // of a busy machine.
    let least = met.into_iter().min().expect("one of twelve begins with the dead address");
    assert!(least >= Duration::from_millis(250), "the stagger is 250 ms: {least:?}");
    assert!(least <= Duration::from_millis(300), "{least:?}");
}

#[test]
fn d12_a_dead_address_costs_later_calls_nothing() {
    let network = one_dead_of_two();
    let client = client(&network).max_age(ONE_CALL).build().unwrap();
    let calls = 40;
    let mut slow = 0;
    for _ in 0..calls {
        slow += u32::from(get(&client, &http(&network, "/delay/12")).trace().connect >= Duration::from_millis(250));
    }
    let stats = client.stats();
    assert_eq!(network.counts().proxy.total, calls, "every call dialled");
    // It is met once, at the first draw that puts it first, and is sidelined from then on.
    assert_eq!((stats.dials, slow), (calls + 1, 1), "one dial too many in all");
}

#[test]
fn d12_a_sidelined_address_is_tried_again_when_its_time_is_over() {
    let network = two_addresses();
    network.inject_for(Fault::RefuseAll, "127.0.0.1");
    let client = client(&network).max_age(ONE_CALL).sideline(Duration::from_millis(100)).build().unwrap();
    let url = http(&network, "/delay/12");
    for _ in 0..20 {
        assert_eq!(get(&client, &url).trace().address.unwrap().ip(), TWO);
    }
    network.heal();
    eventually("the healed address serves again", || get(&client, &url).trace().address.unwrap().ip() == ONE);
}

#[test]
fn d12_all_addresses_take_their_share() {
    let network = two_addresses();
    let client = client(&network).max_age(ONE_CALL).build().unwrap();
    for _ in 0..40 {
        get(&client, &http(&network, "/delay/12"));
    }
    let first = network.seen().iter().filter(|seen| seen.dialled.ip() == ONE).count();
    // 40 fair draws fall outside this once in ten million runs.
    assert!((4..=36).contains(&first), "{first} of 40 went to one of two addresses");
}

#[test]
fn a_changed_pin_closes_idle_connections_to_the_old_address() {
    let network = two_addresses();
    let client = client(&network).pins([format!("{}=127.0.0.1", host(&network))]).build().unwrap();
    let url = http(&network, "/rows/1");
    get(&client, &url);
    assert_eq!((dialled(&network), network.counts().proxy.live), (ONE, 1));
    client.repin(host(&network), &[TWO]).unwrap();
    eventually("the old connection is closed without another call", || network.counts().proxy.live == 0);
    get(&client, &url);
    assert_eq!(dialled(&network), TWO);
    assert_eq!(client.pins().find(host(&network)).unwrap().addresses, [TWO]);
    assert_eq!(client.stats().drained, 1);
    assert_whole(&client, &network);
}

#[test]
fn a_changed_pin_lets_busy_connections_finish_and_then_closes_them() {
    let network = two_addresses();
    let client = client(&network).pins([format!("{}=127.0.0.1", host(&network))]).build().unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| get(&client, &http(&network, "/delay/400")));
        eventually("the call is under way", || network.counts().origins.requests == 1);
        client.repin(host(&network), &[TWO]).unwrap();
        let during = get(&client, &http(&network, "/rows/1"));
        assert_eq!(during.trace().address.unwrap().ip(), TWO);
        assert!(!busy.is_finished(), "the old address is still answering");
        assert_eq!(busy.join().unwrap().trace().address.unwrap().ip(), ONE);
    });
    eventually("only the new address is connected", || network.counts().proxy.live == 1);
    network.reset_counts();
    assert_whole(&client, &network);
    assert_eq!((dialled(&network), network.counts().proxy.total), (TWO, 0));
}

#[test]
fn a_pin_is_not_changed_to_what_may_not_be_dialled() {
    let network = network();
    let name = host(&network);
    let client = client(&network).build().unwrap();
    let before = client.pins();
    for (host, addresses, reason) in [
        ("other.box.test", &[ONE][..], Reason::PolicyNotDeclared),
        (name, &[][..], Reason::ConfigInput),
        (name, &[ONE, "169.254.169.254".parse().unwrap()][..], Reason::PolicyAddress),
        (name, &["::1".parse().unwrap()][..], Reason::PolicyAddress),
        ("a b", &[ONE][..], Reason::ConfigInput),
    ] {
        assert_failed(&client.repin(host, addresses).unwrap_err(), reason, Delivery::NotSent);
    }
    assert_eq!(client.pins(), before);
    assert_whole(&client, &network);
}

#[test]
fn connect_to_dials_another_host_and_keeps_the_name() {
    let network = network();
    let (front, port) = (unique("front"), network.https(Certificate::Right));
    let detour = format!("{front}:443:{}:{port}", host(&network));
    let client = bare(&network).hosts([format!("https://{front}")]).connect_to([detour]).build().unwrap();
    get(&client, &format!("https://{front}/rows/1"));
    let seen = last_seen(&network);
    assert_eq!((seen.sni.as_deref(), seen.host.as_deref()), (Some(&*front), Some(&*front)));
    assert_eq!(seen.dialled.port(), port);
    let asked: Vec<String> = network.counts().dns.by_name.into_keys().collect();
    assert_eq!(asked, [host(&network)], "only who is dialled is looked up");
}

#[test]
fn connect_to_checks_the_certificate_for_the_first_name() {
    let network = network();
    // The box's certificate is good for the host that is dialled, which is not who was asked for.
    let detour = format!("front.example:443:{}:{}", host(&network), network.https(Certificate::Right));
    let client = bare(&network).hosts(["https://front.example"]).connect_to([detour]).build().unwrap();
    fails(&client, &Request::get("https://front.example/"), Reason::TlsWrongName, Delivery::NotSent);
    assert_eq!(network.counts().origins.requests, 0);
}

#[test]
fn sni_is_another_name_for_tls_alone() {
    let network = network();
    let url = format!("https://front.example:{}", network.https(Certificate::Right));
    let builder = bare(&network).hosts([&url]).pins(["front.example=127.0.0.1"]);
    let client = builder.clone().sni([format!("front.example={}", host(&network))]).build().unwrap();
    get(&client, &format!("{url}/rows/1"));
    let seen = last_seen(&network);
    assert_eq!(seen.sni.as_deref(), Some(host(&network)));
    assert_eq!(seen.host, Some(url.trim_start_matches("https://").to_owned()));

    // The certificate is checked for the name that was sent, and the other way round it is not enough.
    let wrong = builder.sni(["front.example=elsewhere.example"]).build().unwrap();
    fails(&wrong, &Request::get(&url), Reason::TlsWrongName, Delivery::NotSent);
}

#[test]
fn host_header_is_another_host_for_http_alone() {
    let network = network();
    let map = format!("{}=gateway.example", host(&network));
    let client = client(&network).host_header([map]).build().unwrap();
    get(&client, &https(&network, Certificate::Right, "/rows/1"));
    let seen = last_seen(&network);
    assert_eq!((seen.sni.as_deref(), seen.host.as_deref()), (Some(host(&network)), Some("gateway.example")));
    assert_eq!(seen.headers.iter().filter(|(name, _)| name == "host").count(), 1);
}

#[test]
fn a_wildcard_host_is_reached_through_suffix_pins_without_a_query() {
    let network = two_addresses();
    let port = network.http();
    let set = pins(&[("*.nodes.example", ONE), ("master.nodes.example", TWO), ("*.rack7.nodes.example", TWO)]);
    let client = bare(&network).hosts([format!("http://*.nodes.example:{port}")]).import(set).build().unwrap();
    for (name, address) in [
        ("dn1.nodes.example", ONE),
        ("dn2.nodes.example", ONE),
        ("master.nodes.example", TWO),
        ("dn3.rack7.nodes.example", TWO),
        ("DN1.Nodes.Example", ONE),
    ] {
        get(&client, &format!("http://{name}:{port}/rows/1"));
        let seen = last_seen(&network);
        assert_eq!((seen.dialled.ip(), seen.host), (address, Some(format!("{}:{port}", name.to_lowercase()))));
    }
    for other in ["nodes.example", "evil-nodes.example", "dn1.nodes.example.evil"] {
        let request = Request::get(&format!("http://{other}:{port}/"));
        fails(&client, &request, Reason::PolicyNotDeclared, Delivery::NotSent);
    }
    assert_eq!(network.counts().dns.queries, 0);
}

#[test]
fn a_wildcard_host_without_a_pin_is_not_looked_up() {
    let network = network();
    let wildcard = format!("http://*.box.test:{}", network.http());
    let client = bare(&network).hosts([wildcard]).build().unwrap();
    fails(&client, &Request::get(&http(&network, "/")), Reason::PolicyNotPinned, Delivery::NotSent);
    let counts = network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total), (0, 0));
}

#[test]
fn a_host_below_a_wildcard_keeps_its_cap_when_many_ask_for_it_first() {
    let network = network();
    let port = network.http();
    let set = pins(&[("*.nodes.example", ONE)]);
    let builder = bare(&network).hosts([format!("http://*.nodes.example:{port}")]).import(set);
    let client = builder.max_connections_per_origin(1_usize).build().unwrap();
    for round in 0..10 {
        let url = format!("http://dn{round}.nodes.example:{port}/delay/20");
        network.reset_counts();
        let before = network.counts().proxy.live;
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    get(&client, &url);
                });
            }
        });
        let proxy = network.counts().proxy;
        assert_eq!((proxy.peak - before, proxy.total), (1, 1), "round {round}: one connection for one origin");
    }
}

#[test]
fn a_map_over_more_hosts_than_the_cap_serves_keeps_its_connections() {
    let network = network();
    let names: Vec<String> = (0..20).map(|_| unique("host")).collect();
    let origins = names.iter().map(|name| format!("http://{name}:{}", network.http()));
    let client = bare(&network).hosts(origins).max_connections(24_usize).build().unwrap();
    let url = |row: usize| format!("http://{}:{}/rows/{row}", names[row % names.len()], network.http());
    let rows: Vec<Request> = (0..2000).map(|row| Request::get(&url(row))).collect();
    assert!(client.map(&rows).iter().all(Result::is_ok));
    let proxy = network.counts().proxy;
    assert!(proxy.peak <= 24, "{proxy:?}");
    // Each host needs one; a few may move from host to host. A dial for every second row is no pool.
    assert!(proxy.total <= 200, "{proxy:?}");
}

#[test]
fn a_hosts_file_pins_its_names() {
    let network = two_addresses();
    let scratch = Scratch::new();
    let text = "# cluster\n127.0.0.1 nn.cluster NN\n\n127.0.0.2\tdn1.cluster # first\n10.0.0.1 nobody.asks\n";
    let file = scratch.file("hosts", text);
    let urls = ["nn.cluster", "nn", "dn1.cluster"].map(|name| format!("http://{name}:{}", network.http()));
    let client = bare(&network).hosts(&urls).hosts_file(&file).build().unwrap();
    for (url, address) in urls.iter().zip([ONE, ONE, TWO]) {
        get(&client, &format!("{url}/rows/1"));
        assert_eq!(dialled(&network), address, "{url}");
    }
    assert_eq!(network.counts().dns.queries, 0);
    assert_eq!(client.stats().pins_imported, 3);
}

#[test]
fn pins_by_hand_come_before_a_pin_set_and_a_pin_set_before_dns() {
    let proxy_ips = (1..=3).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    let network = start(Plan { proxy_ips, ..Plan::default() });
    network.inject(Fault::Answer(vec!["127.0.0.3".parse().unwrap()]));
    let name = host(&network);
    let scratch = Scratch::new();
    pins(&[(name, TWO)]).save(scratch.path("pins.json")).unwrap();
    let live = client(&network);
    let imported = live.clone().pin_set(scratch.path("pins.json"));
    let by_hand = imported.clone().pins([format!("{name}=127.0.0.1")]);
    for (builder, last, asked) in [(by_hand, 1, 0), (imported, 2, 0), (live, 3, 1)] {
        let client: Client = builder.build().unwrap();
        get(&client, &http(&network, "/rows/1"));
        assert_eq!(dialled(&network), IpAddr::from([127, 0, 0, last]));
        assert_eq!(network.counts().dns.queries, asked);
    }
}
