//! Names are resolved once, at init, and execution asks DNS nothing.
//!
//! FAULTS section 1, row by row (`d1_…` is row D1), against the DNS server of the network in a box, whose log says what
//! was asked. The figures of the issue come last: 20,000 rows without a query, and 200 clients in several processes
//! that start at once under a query limit. Not here: D12 (connect.rs), and what needs a name server of raw bytes or a
//! changed machine (faults_dns.rs).

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Child;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::*;
use pinlink::config::Family;
use pinlink::{Builder, Client, Delivery, Kind, Phase, Pin, PinSet, Reason, Request};
use pinlink_box::{Certificate, Fault, Followed, Malformation, Network, Plan};

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Short enough to run out in a test, long enough for a busy machine to answer.
fn hasty(builder: Builder) -> Builder {
    builder.resolve_timeout(Duration::from_millis(900)).resolve_attempt_timeout(Duration::from_millis(250))
}

fn origin(network: &Network, name: &str) -> String {
    format!("http://{name}:{}", network.http())
}

fn servers(networks: &[&Network]) -> Vec<String> {
    networks.iter().map(|network| network.dns().to_string()).collect()
}

fn queries(network: &Network) -> u64 {
    network.counts().dns.queries
}

fn addresses(client: &Client, host: &str) -> Vec<IpAddr> {
    client.pins().find(host).expect("the host is pinned").addresses.clone()
}

/// A network with two addresses that knows nothing but the first, so that the second can be published later.
fn two_addresses() -> Network {
    let proxy_ips = vec![Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    let network = start(Plan { proxy_ips, ..Plan::default() });
    network.inject(Fault::Answer(vec![ONE]));
    network
}

#[test]
fn d1_silent_servers_fail_the_init_in_its_time_and_every_name_is_listed() {
    let (first, second) = (network(), network());
    first.inject(Fault::Silent);
    second.inject(Fault::Silent);
    let names = ["a", "b", "c"].map(unique);
    let builder =
        hasty(bare(&first)).nameservers(servers(&[&first, &second])).hosts(names.each_ref().map(|n| origin(&first, n)));
    let begun = Instant::now();
    let error = builder.clone().build().unwrap_err();
    assert!(begun.elapsed() < BOUNDED, "{:?}", begun.elapsed());
    assert_failed(&error, Reason::DnsTimeout, Delivery::NotSent);
    assert_eq!(error.phase(), Phase::Resolve);
    for name in &names {
        assert!(error.to_string().contains(name), "{name} is missing in {error}");
        for server in [&first, &second] {
            assert!(server.counts().dns.by_name.contains_key(name), "not every server was asked for {name}");
        }
    }
    assert_eq!(first.counts().proxy.total, 0);

    first.heal();
    second.heal();
    get(&eventually_built(&builder), &format!("{}/rows/1", origin(&first, &names[0])));
}

#[test]
fn d1_the_next_server_is_asked_when_the_first_is_silent() {
    let (silent, answering) = (network(), network());
    silent.inject(Fault::Silent);
    let name = unique("a");
    let client = hasty(bare(&answering))
        .nameservers(servers(&[&silent, &answering]))
        .hosts([origin(&answering, &name)])
        .build()
        .unwrap();
    assert_eq!((queries(&silent), queries(&answering)), (1, 1));
    get(&client, &format!("{}/rows/1", origin(&answering, &name)));
}

#[test]
fn d2_failures_that_pass_are_waited_out() {
    let network = network();
    network.inject_times(Fault::ServFail(100), 3);
    let client = client(&network).build().unwrap();
    assert_eq!(queries(&network), 4);
    assert_whole(&client, &network);
}

#[test]
fn d2_half_of_all_queries_failing_stops_no_init() {
    let network = network();
    network.inject(Fault::ServFail(50));
    let names: Vec<String> = (0..6).map(|_| unique("half")).collect();
    let client = bare(&network).hosts(names.iter().map(|name| origin(&network, name))).build().unwrap();
    for name in &names {
        get(&client, &format!("{}/rows/1", origin(&network, name)));
    }
}

#[test]
fn d2_callers_of_one_process_share_one_failure() {
    let network = network();
    network.inject(Fault::ServFail(100));
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let error = hasty(client(&network)).build().unwrap_err();
                assert_failed(&error, Reason::DnsServFail, Delivery::NotSent);
            });
        }
    });
    // Eight callers that each asked would have made at least sixteen.
    assert!((1..=8).contains(&queries(&network)), "{}", queries(&network));
}

#[test]
fn d3_a_dns_that_fails_after_init_fails_no_request_and_is_not_even_asked() {
    for fault in [Fault::ServFail(100), Fault::Silent] {
        let network = network();
        // Older than this is every connection after an answer that takes 15 ms: each call dials anew.
        let client = client(&network).max_age(Duration::from_millis(10)).build().unwrap();
        network.reset_counts();
        network.inject(fault);
        for _ in 0..20 {
            get(&client, &http(&network, "/delay/15"));
        }
        let rows: Vec<Request> = (0..50).map(|row| Request::get(&http(&network, &format!("/rows/{row}")))).collect();
        assert!(client.map(&rows).iter().all(|row| row.as_ref().is_ok_and(pinlink::Response::is_success)));
        let counts = network.counts();
        assert_eq!(counts.dns.queries, 0);
        assert!(counts.proxy.total >= 20, "the dials are what would have asked: {}", counts.proxy.total);
        assert_eq!(client.stats().failures, 0);
    }
}

#[test]
fn d4_one_query_for_each_name_however_many_clients_of_a_process_start_at_once() {
    let network = network();
    network.inject(Fault::SlowAnswer(50));
    let names: Vec<String> = (0..4).map(|_| unique("shared")).collect();
    let barrier = Barrier::new(40);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                barrier.wait();
                bare(&network).hosts(names.iter().map(|name| origin(&network, name))).build().unwrap();
            });
        }
    });
    let counts = network.counts().dns;
    assert_eq!(counts.by_name.len(), 4, "{counts:?}");
    assert!(counts.by_name.values().all(|&asked| asked == 1), "{counts:?}");
}

#[test]
fn d5_a_server_that_refuses_is_passed_over() {
    for fault in [Fault::Refused, Fault::NotImp, Fault::FormErr] {
        let (refusing, answering) = (network(), network());
        refusing.inject(fault.clone());
        let name = unique("a");
        let client = bare(&answering)
            .nameservers(servers(&[&refusing, &answering]))
            .hosts([origin(&answering, &name)])
            .build()
            .unwrap();
        assert_eq!((queries(&refusing), queries(&answering)), (1, 1), "{fault:?}");
        get(&client, &format!("{}/rows/1", origin(&answering, &name)));
    }
}

#[test]
fn d5_when_every_server_refuses_init_says_so_and_asks_no_more() {
    for fault in [Fault::Refused, Fault::NotImp, Fault::FormErr] {
        let (first, second) = (network(), network());
        first.inject(fault.clone());
        second.inject(fault);
        let error = client(&first).nameservers(servers(&[&first, &second])).build().unwrap_err();
        assert_failed(&error, Reason::DnsRefused, Delivery::NotSent);
        assert_eq!((queries(&first), queries(&second)), (1, 1));
    }
}

#[test]
fn d6_a_name_that_vanishes_keeps_its_pin_for_running_work() {
    let network = network();
    let client = client(&network).build().unwrap();
    let pinned = addresses(&client, host(&network));
    network.inject(Fault::NxDomain);
    // Every address fails, so DNS is asked again, and denies that the name exists.
    network.inject(Fault::RefuseAll);
    fails(&client, &Request::get(&http(&network, "/rows/1")), Reason::ConnectRefused, Delivery::NotSent);
    assert_eq!(addresses(&client, host(&network)), pinned);
    network.heal();
    network.inject(Fault::NxDomain);
    network.reset_counts();
    assert_whole(&client, &network);
    assert_eq!(queries(&network), 0);
}

#[test]
fn d6_a_new_init_for_a_name_that_does_not_exist_fails_at_once() {
    let network = network();
    network.inject(Fault::NxDomain);
    let error = client(&network).build().unwrap_err();
    assert_failed(&error, Reason::DnsNxDomain, Delivery::NotSent);
    assert!(error.to_string().contains(host(&network)), "{error}");
    assert_eq!(queries(&network), 1, "the answer is final");
}

#[test]
fn d7_a_name_without_an_address_is_told_from_one_that_does_not_exist() {
    let network = network();
    network.inject(Fault::NoData);
    assert_failed(&client(&network).build().unwrap_err(), Reason::DnsNoData, Delivery::NotSent);
    assert_eq!(queries(&network), 1);
}

#[test]
fn d7_only_a_is_asked_for_and_both_families_only_on_request() {
    let network = network();
    client(&network).build().unwrap();
    assert!(network.queries().iter().all(|query| query.kind == "A"), "{:?}", network.queries());

    for (family, found) in [(Family::Both, "127.0.0.1"), (Family::Both, "::1"), (Family::Ipv6, "::1")] {
        network.reset_counts();
        let name = unique("family");
        network.inject(Fault::Answer(vec![found.parse().unwrap()]));
        let builder = bare(&network).allow_addresses(["127.0.0.0/8", "::1/128"]).address_family(family);
        let set = PinSet::resolve(builder.hosts([origin(&network, &name)])).unwrap();
        assert_eq!(set.find(&name).unwrap().addresses, [found.parse::<IpAddr>().unwrap()], "one family is enough");
        let kinds: Vec<String> = network.queries().into_iter().map(|query| query.kind).collect();
        assert_eq!(kinds, if family == Family::Both { vec!["A", "AAAA"] } else { vec!["AAAA"] });
    }
}

#[test]
fn d8_a_truncated_answer_is_asked_for_again_over_tcp() {
    let proxy_ips = (1..=4).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    let network = start(Plan { proxy_ips, ..Plan::default() });
    network.inject(Fault::Truncate);
    let client = client(&network).build().unwrap();
    let transports: Vec<String> = network.queries().into_iter().map(|query| query.transport).collect();
    assert_eq!(transports, ["udp", "tcp"]);
    assert_eq!(addresses(&client, host(&network)).len(), 4, "half the set was in the truncated answer");
    assert_whole(&client, &network);
}

#[test]
fn d8_the_truncated_half_is_never_used_in_silence() {
    let proxy_ips = (1..=4).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    let network = start(Plan { proxy_ips, ..Plan::default() });
    network.inject(Fault::TruncateNoTcp);
    let begun = Instant::now();
    let error = hasty(client(&network)).build().unwrap_err();
    assert!(begun.elapsed() < BOUNDED);
    assert_eq!((error.kind(), error.delivery()), (Kind::Dns, Delivery::NotSent), "{error}");
    assert_eq!(network.counts().proxy.total, 0);
    network.heal();
    assert_whole(&eventually_built(&client(&network)), &network);
}

#[test]
fn d9_a_loop_of_aliases_ends_in_an_error_after_a_few_queries() {
    let network = network();
    network.inject(Fault::AliasLoop);
    let begun = Instant::now();
    assert_failed(&client(&network).build().unwrap_err(), Reason::DnsAliasLimit, Delivery::NotSent);
    assert!(begun.elapsed() < BOUNDED);
    assert!(queries(&network) <= 16, "{}", queries(&network));
}

#[test]
fn d9_a_chain_of_aliases_is_followed_as_far_as_real_ones_go() {
    let network = network();
    network.inject(Fault::AliasChain(4));
    let client = client(&network).build().unwrap();
    assert_eq!(addresses(&client, host(&network)), [ONE]);
    assert_whole(&client, &network);
}

#[test]
fn d9_a_chain_without_end_in_sight_is_given_up() {
    let network = network();
    network.inject(Fault::AliasChain(40));
    assert_failed(&client(&network).build().unwrap_err(), Reason::DnsAliasLimit, Delivery::NotSent);
    assert!(queries(&network) <= 16, "{}", queries(&network));
}

#[test]
fn d10_an_answer_in_a_refused_range_fails_the_init_and_is_never_dialled() {
    let network = network();
    for refused in
        ["127.0.0.1", "169.254.169.254", "100.100.100.200", "169.254.7.7", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
    {
        let name = unique("denied");
        network.inject(Fault::Answer(vec![refused.parse().unwrap()]));
        let builder = Client::builder().nameservers(servers(&[&network])).hosts([origin(&network, &name)]);
        let error = builder.build().unwrap_err();
        assert_failed(&error, Reason::PolicyAddress, Delivery::NotSent);
        assert!(error.to_string().contains(refused) && error.to_string().contains(&name), "{error}");
    }
    assert_eq!(network.counts().proxy.total, 0);
}

#[test]
fn d10_a_refused_address_among_others_is_left_out() {
    let network = network();
    network.inject(Fault::Answer(vec!["169.254.169.254".parse().unwrap(), ONE, "100.100.100.200".parse().unwrap()]));
    let client = client(&network).build().unwrap();
    assert_eq!(addresses(&client, host(&network)), [ONE]);
    assert_whole(&client, &network);
}

#[test]
fn d10_the_literal_is_checked_again_before_it_is_dialled() {
    let network = network();
    // A suffix rule is not looked at before a host below it is asked for: only the last check stands in its way.
    let mut set = PinSet::default();
    set.insert("*.box.test", Pin::by_hand(vec![ONE], PinSet::now())).unwrap();
    let client =
        Client::builder().hosts([origin(&network, "*.box.test")]).import(set).max_attempts(3_usize).build().unwrap();
    let request = Request::get(&http(&network, "/rows/1"));
    let error = fails(&client, &request, Reason::PolicyAddress, Delivery::NotSent);
    assert_eq!(error.attempts(), 1, "what policy refuses is not tried again");
    assert_eq!(network.counts().proxy.total, 0);
}

#[test]
fn d11_a_name_that_is_rebound_later_gets_nobody_to_the_new_address() {
    let network = two_addresses();
    let client = client(&network).allow_addresses(["127.0.0.1/32"]).build().unwrap();
    // The pinned address fails, and the look-up that follows brings one that policy refuses.
    network.inject_for(Fault::RefuseAll, "127.0.0.1");
    network.inject(Fault::Answer(vec![TWO]));
    let asked = queries(&network);
    fails(&client, &Request::get(&http(&network, "/rows/1")), Reason::ConnectRefused, Delivery::NotSent);
    assert_eq!(queries(&network), asked + 1);
    assert_eq!(network.counts().proxy.total, 0, "127.0.0.2 listens and was not dialled");
    assert_eq!(addresses(&client, host(&network)), [ONE]);
    network.heal();
    assert_whole(&client, &network);
}

#[test]
fn d13_when_all_addresses_fail_the_new_ones_are_found_with_one_query() {
    let network = two_addresses();
    let client = client(&network).build().unwrap();
    network.inject_for(Fault::RefuseAll, "127.0.0.1");
    network.inject(Fault::Answer(vec![TWO]));
    network.reset_counts();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                get(&client, &http(&network, "/rows/1"));
            });
        }
    });
    assert_eq!(queries(&network), 1, "one look-up serves all who failed");
    assert!(network.seen().iter().all(|seen| seen.dialled.ip() == TWO));
    assert_eq!(addresses(&client, host(&network)), [TWO], "the set was swapped");
    assert_eq!(client.stats().refreshes, 1);
    assert_whole(&client, &network);
}

#[test]
fn d13_a_host_that_stays_down_is_looked_up_once_and_not_for_every_call() {
    let network = network();
    let client = client(&network).max_attempts(1_usize).build().unwrap();
    network.inject(Fault::RefuseAll);
    network.reset_counts();
    for _ in 0..10 {
        fails(&client, &Request::get(&http(&network, "/rows/1")), Reason::ConnectRefused, Delivery::NotSent);
    }
    assert_eq!(queries(&network), 1);
    network.heal();
    assert_whole(&client, &network);
}

#[test]
fn d13_what_is_pinned_by_hand_is_never_looked_up() {
    let network = network();
    let client = client(&network).pins([format!("{}=127.0.0.1", host(&network))]).build().unwrap();
    network.inject(Fault::RefuseAll);
    fails(&client, &Request::get(&http(&network, "/rows/1")), Reason::ConnectRefused, Delivery::NotSent);
    network.heal();
    assert_whole(&client, &network);
    assert_eq!(queries(&network), 0);
}

#[test]
fn d14_of_thousands_of_addresses_a_few_are_kept() {
    // 2,000 are as many as an answer of 64 KiB holds.
    for many in [1000, 2000] {
        let network = network();
        network.inject(Fault::ManyAddresses(many));
        let client = client(&network).build().unwrap();
        assert_eq!(addresses(&client, host(&network)).len(), 16);
        assert_eq!(network.queries().last().unwrap().transport, "tcp", "they don't fit a datagram");
        // Those that nobody listens at are raced and sidelined; the first one answers.
        assert_whole(&client, &network);
    }
}

#[test]
fn d15_what_answers_another_question_is_ignored_and_the_right_answer_awaited() {
    for malformation in [Malformation::WrongId, Malformation::WrongQuestion] {
        let network = network();
        network.inject(Fault::Malformed(malformation, Followed::RightAnswer));
        let client = client(&network).build().unwrap();
        assert_eq!(queries(&network), 1, "{malformation:?}");
        assert_eq!(addresses(&client, host(&network)), [ONE]);
        assert_whole(&client, &network);
    }
}

#[test]
fn d15_malformed_answers_alone_end_in_an_error_of_dns() {
    for malformation in
        [Malformation::WrongId, Malformation::WrongQuestion, Malformation::CompressionLoop, Malformation::Garbage]
    {
        let network = network();
        network.inject(Fault::Malformed(malformation, Followed::Nothing));
        let begun = Instant::now();
        let error = hasty(client(&network)).build().unwrap_err();
        assert!(begun.elapsed() < BOUNDED);
        assert!(matches!(error.reason(), Reason::DnsTimeout | Reason::DnsProtocol), "{malformation:?}: {error}");
        assert_eq!(network.counts().proxy.total, 0);
        network.heal();
        assert_whole(&eventually_built(&client(&network)), &network);
    }
}

#[test]
fn d15_one_malformed_answer_does_not_stop_an_init() {
    for malformation in [Malformation::CompressionLoop, Malformation::Garbage] {
        let network = network();
        network.inject_times(Fault::Malformed(malformation, Followed::Nothing), 1);
        let client = client(&network).resolve_attempt_timeout(Duration::from_millis(300)).build().unwrap();
        assert_eq!(addresses(&client, host(&network)), [ONE], "{malformation:?}");
    }
}

#[test]
fn d16_every_query_leaves_from_a_port_of_its_own() {
    let network = network();
    bare(&network).hosts((0..16).map(|_| origin(&network, &unique("port")))).build().unwrap();
    let mut ports: Vec<u16> = network.queries().iter().map(|query| query.client.port()).collect();
    assert_eq!(ports.len(), 16);
    ports.sort_unstable();
    ports.dedup();
    // A port may be drawn twice, one after the other; a resolver that keeps its socket would show one.
    assert!(ports.len() >= 13, "{ports:?}");
}

#[test]
fn d17_no_ttl_makes_execution_ask_again() {
    for ttl in [0, 1, 1 << 31, u32::MAX] {
        let network = network();
        network.inject(Fault::Ttl(ttl));
        let barrier = Barrier::new(4);
        let clients: Vec<Client> = std::thread::scope(|scope| {
            let build = || {
                barrier.wait();
                client(&network).max_age(Duration::from_millis(10)).build().unwrap()
            };
            let builds: Vec<_> = (0..4).map(|_| scope.spawn(build)).collect();
            builds.into_iter().map(|built| built.join().unwrap()).collect()
        });
        for client in &clients {
            for _ in 0..3 {
                get(client, &http(&network, "/delay/11"));
            }
        }
        assert_eq!(queries(&network), 1, "ttl {ttl}");
    }
}

#[test]
fn d18_an_address_of_a_family_that_does_not_work_costs_one_dial() {
    let network = network();
    // Nothing of the box listens at ::1, and where the machine has no IPv6 there is no route to it.
    network.inject(Fault::Answer(vec!["::1".parse().unwrap(), ONE]));
    let client = client(&network)
        .allow_addresses(["127.0.0.0/8", "::1/128"])
        .address_family(Family::Both)
        .race_stagger(Duration::from_secs(5))
        .build()
        .unwrap();
    assert_eq!(addresses(&client, host(&network)).len(), 2);
    let begun = Instant::now();
    assert_whole(&client, &network);
    assert!(begun.elapsed() < Duration::from_secs(4), "the stagger was waited for: {:?}", begun.elapsed());
    assert!(client.stats().dials <= 2);
}

#[test]
fn d19_names_are_absolute() {
    let network = network();
    for name in ["kms", "kms.elsewhere.test"] {
        network.reset_counts();
        let error = bare(&network).hosts([origin(&network, name)]).build().unwrap_err();
        assert_failed(&error, Reason::DnsNxDomain, Delivery::NotSent);
        let asked: Vec<String> = network.queries().into_iter().map(|query| query.name).collect();
        assert_eq!(asked, [name], "no search list, no second spelling");
    }
}

#[test]
fn d19_localhost_and_literals_are_nobody_s_business() {
    let network = network();
    let urls = ["localhost", "127.0.0.1", "sub.localhost"].map(|name| format!("{}/rows/1", origin(&network, name)));
    let client = bare(&network).hosts(urls.each_ref().map(|url| url.trim_end_matches("/rows/1"))).build().unwrap();
    for url in &urls {
        get(&client, url);
    }
    assert_eq!(queries(&network), 0);
}

#[test]
fn d20_fifty_names_of_a_slow_resolver_take_two_answers_time() {
    let network = network();
    network.inject(Fault::SlowAnswer(2000));
    let names: Vec<String> = (0..50).map(|_| unique("slow")).collect();
    let begun = Instant::now();
    let builder = bare(&network).hosts(names.iter().map(|name| origin(&network, name)));
    let client = builder.resolve_timeout(Duration::from_secs(12)).build().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "two answers take 4 s: {:?}", begun.elapsed());
    assert_eq!(client.pins().len(), 50);
    assert_eq!(queries(&network), 50, "a slow answer is waited for, not asked for again");
}

#[test]
fn d20_names_are_looked_up_side_by_side_but_not_all_at_once() {
    let network = network();
    network.inject(Fault::SlowAnswer(100));
    let hosts: Vec<String> = (0..24).map(|_| origin(&network, &unique("slow"))).collect();
    let begun = Instant::now();
    bare(&network).hosts(&hosts).resolve_concurrency(4_usize).build().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2200), "one after the other is 2.4 s: {:?}", begun.elapsed());
    let times: Vec<u64> = network.queries().iter().map(|query| query.at_us).collect();
    assert_eq!(times.len(), 24);
    // The fifth query can only follow the first answer, which takes a tenth of a second.
    let too_soon = times.windows(5).find(|five| five[4] - five[0] < 99_000);
    assert_eq!(too_soon, None);
}

#[test]
fn d22_an_undeclared_origin_is_refused_before_anything_happens() {
    let network = network();
    let (host, port) = (host(&network), network.http());
    let client = bare(&network).hosts([origin(&network, host)]).build().unwrap();
    network.reset_counts();
    for url in [
        format!("http://{}:{port}/", unique("other")),
        format!("http://{host}:{}/", network.scripted()),
        format!("https://{host}:{port}/"),
        format!("http://{host}/"),
        format!("http://sub.{host}:{port}/"),
        format!("http://127.0.0.1:{port}/"),
    ] {
        let error = fails(&client, &Request::get(&url), Reason::PolicyNotDeclared, Delivery::NotSent);
        assert_eq!(error.kind(), Kind::Policy);
        let rows = client.map(&[Request::get(&url), Request::get(&http(&network, "/rows/1"))]);
        assert_failed(rows[0].as_ref().unwrap_err(), Reason::PolicyNotDeclared, Delivery::NotSent);
        assert!(rows[1].is_ok(), "a row that may not be sent fails no other");
    }
    assert_eq!(queries(&network), 0);
    assert!(network.seen().iter().all(|seen| seen.path == "/rows/1"));
}

const HOSTS: usize = 20;
const WORKERS: usize = 8;
const ROWS: usize = 20_000;

/// Eight workers send these rows to 20 hosts: one half each with `send`, the other with `map`.
fn run_rows(client: &Client, network: &Network, names: &[String], rows: usize) {
    let url = |row: usize| format!("{}/rows/{row}", origin(network, &names[row % HOSTS]));
    let check = |row: usize, answer: pinlink::Result<pinlink::Response>| {
        let answer = answer.unwrap_or_else(|error| panic!("row {row}: {error}"));
        assert!(answer.text().unwrap().contains(&format!("\"{row}\"")), "row {row} got another's answer");
    };
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let rows: Vec<usize> = (0..rows).skip(worker * rows / WORKERS).take(rows / WORKERS).collect();
                let (single, mapped) = rows.split_at(rows.len() / 2);
                for &row in single {
                    check(row, client.send(&Request::get(&url(row))));
                }
                for batch in mapped.chunks(250) {
                    let requests: Vec<Request> = batch.iter().map(|&row| Request::get(&url(row))).collect();
                    batch.iter().zip(client.map(&requests)).for_each(|(&row, answer)| check(row, answer));
                }
            });
        }
    });
}

#[test]
fn execution_asks_dns_nothing_and_a_pin_set_spares_even_the_init() {
    let network = network();
    let names: Vec<String> = (0..HOSTS).map(|_| unique("host")).collect();
    let builder =
        bare(&network).hosts(names.iter().map(|name| origin(&network, name))).max_connections(HOSTS * WORKERS);
    let resolved = builder.clone().build().unwrap();
    assert_eq!(queries(&network), HOSTS as u64, "init asks once for each host");
    network.reset_counts();
    run_rows(&resolved, &network, &names, ROWS);
    let counts = network.counts();
    assert_eq!(counts.dns.queries, 0);
    assert_eq!(counts.origins.requests, ROWS as u64);
    assert_eq!(resolved.stats().failures, 0);

    let scratch = Scratch::new();
    resolved.pins().save(scratch.path("pins.json")).unwrap();
    drop(resolved);
    // The name server may as well not be there.
    network.inject(Fault::Silent);
    network.reset_counts();
    let pinned = builder.pin_set(scratch.path("pins.json")).build().unwrap();
    run_rows(&pinned, &network, &names, ROWS);
    let counts = network.counts();
    assert_eq!(counts.dns.queries, 0);
    assert_eq!(counts.origins.requests, ROWS as u64);
    assert_eq!(pinned.stats().pins_imported, HOSTS as u64);
}

const PROCESSES: usize = 10;
const CLIENTS: usize = 20;

/// Many declared hosts, in a process whose memory is nobody else's.
fn resolve_many(role: &str) {
    let (dns, count) = role.split_once(' ').unwrap();
    let most = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let hosts: Vec<String> = (0..count.parse().unwrap()).map(|n: u32| format!("http://d{n}.box.test")).collect();
    let before = most();
    let builder = Client::builder().nameservers([dns]).allow_addresses(["127.0.0.0/8"]).hosts(&hosts);
    let client = builder.build().unwrap();
    assert_eq!(client.pins().len(), hosts.len());
    let grown = most() - before;
    // 10,000 hosts may take 50 MiB: 10 for whatever their number is, and 4 KiB each.
    assert!(grown < (10 << 10) + 4 * hosts.len() as u64, "{} hosts took {grown} KiB", hosts.len());
}

#[test]
fn c10_thousands_of_hosts_come_up_in_little_memory() {
    if let Some(role) = role() {
        return resolve_many(&role);
    }
    let network = network();
    // The row says 10,000; this is as many as a debug build looks up in some seconds.
    let role = format!("{} 3000", network.dns());
    let output = again("c10_thousands_of_hosts_come_up_in_little_memory", &role).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dns = network.counts().dns;
    assert_eq!(dns.by_name.len(), 3000);
    assert!(dns.queries < 3100, "a datagram may be lost, but not many: {}", dns.queries);
}

/// What a process of the fleet does: waits for the start, then makes its clients all at once; each sends one request.
fn fleet_member(role: &str) {
    let [name, port, dns, ca, pins] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let mut builder = Client::builder()
        .hosts([format!("https://{name}:{port}")])
        .nameservers([dns])
        .ca_file(ca)
        .web_roots(false)
        .allow_addresses(["127.0.0.0/8"])
        // Ten processes on two cores handshake in a debug build, all at once.
        .connect_timeout(Duration::from_secs(20))
        .handshake_timeout(Duration::from_secs(20))
        .acquire_timeout(Duration::from_secs(25))
        .resolve_attempt_timeout(Duration::from_millis(500));
    if pins != "-" {
        builder = builder.pin_set(pins);
    }
    #[expect(clippy::print_stdout, reason = "the parent waits for it")]
    {
        println!("ready");
    }
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).unwrap();
    let barrier = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                barrier.wait();
                let client = builder.clone().build().unwrap_or_else(|error| panic!("init: {error}"));
                get(&client, &format!("https://{name}:{port}/rows/1"));
            });
        }
    });
}

/// Starts the fleet at once and waits until all of it has ended well.
fn run_fleet(test: &str, network: &Network, pins: &str) {
    let (name, port) = (host(network), network.https(Certificate::Right));
    let role = format!("{name} {port} {} {} {pins}", network.dns(), network.ca_file().display());
    let mut members: Vec<Child> = (0..PROCESSES).map(|_| again(test, &role).spawn().expect("a process")).collect();
    for member in &mut members {
        let mut lines = BufReader::new(member.stdout.as_mut().expect("its output")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready"))), "a process died at its start");
    }
    for member in &mut members {
        writeln!(member.stdin.as_mut().expect("its input"), "go").unwrap();
    }
    for member in members {
        let output = member.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(network.counts().origins.requests, (PROCESSES * CLIENTS) as u64, "every client made its call");
}

#[test]
fn d4_two_hundred_clients_in_ten_processes_come_up_under_a_query_limit() {
    if let Some(role) = role() {
        return fleet_member(&role);
    }
    let network = start(Plan { queries_per_second: Some(20), ..Plan::default() });
    run_fleet("d4_two_hundred_clients_in_ten_processes_come_up_under_a_query_limit", &network, "-");
    let dns = network.counts().dns;
    assert!((1..=PROCESSES as u64).contains(&dns.answered), "one answer serves a process: {dns:?}");
}

#[test]
fn d4_a_limit_that_drops_most_queries_delays_the_fleet_and_stops_nobody() {
    if let Some(role) = role() {
        return fleet_member(&role);
    }
    let network = start(Plan { queries_per_second: Some(2), ..Plan::default() });
    run_fleet("d4_a_limit_that_drops_most_queries_delays_the_fleet_and_stops_nobody", &network, "-");
    let dns = network.counts().dns;
    assert!((1..=PROCESSES as u64).contains(&dns.answered), "what was answered is not asked again: {dns:?}");
    assert!(dns.dropped > 0, "the limit was felt: {dns:?}");
}

#[test]
fn d4_a_fleet_with_a_pin_set_asks_nothing() {
    if let Some(role) = role() {
        return fleet_member(&role);
    }
    let network = start(Plan { queries_per_second: Some(20), ..Plan::default() });
    let scratch = Scratch::new();
    let pins = scratch.path("pins.json");
    // As the first stage of a job does it, or `pinlink resolve`.
    PinSet::resolve(client(&network)).unwrap().save(&pins).unwrap();
    assert_eq!(queries(&network), 1);
    network.reset_counts();
    run_fleet("d4_a_fleet_with_a_pin_set_asks_nothing", &network, &pins.display().to_string());
    assert_eq!(queries(&network), 0);
}
