//! The name stays the name: SNI, `Host` and the certificate are the domain's, whatever address is dialled.
//!
//! FAULTS section 3, row by row (`l1_…` is row L1): every bad certificate of the box is refused with `Kind::Tls` and the
//! right reason, at the first try, at one address, before a byte of the request left. A CA file that can't be used never
//! means "trust everything". Sessions are resumed on every re-dial, and never across clients of other trust.
//! What the box has no script for is in faults_tls.rs.

mod common;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use common::survival::{Ask, Caller, TIMEOUT, every_call, fails_as, recovers_alone, unsent};
use common::*;
use pinlink::{Client, Delivery, Kind, Phase, Reason, Request};
use pinlink_box::{Certificate, Fault, Network, Plan};

/// What each certificate of the box must be refused for.
const BAD: [(Certificate, Reason); 7] = [
    (Certificate::Expired, Reason::TlsExpired),
    (Certificate::NotYetValid, Reason::TlsNotYetValid),
    (Certificate::WrongName, Reason::TlsWrongName),
    (Certificate::SelfSigned, Reason::TlsUnknownIssuer),
    (Certificate::UnknownIssuer, Reason::TlsUnknownIssuer),
    // A common name is no name (RFC 9525 section 2).
    (Certificate::CnOnly, Reason::TlsWrongName),
    (Certificate::ManyNames, Reason::TlsWrongName),
];

fn two_addresses() -> Network {
    let proxy_ips = vec![Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    start(Plan { proxy_ips, ..Plan::default() })
}

fn right(network: &Network, path: &str) -> String {
    https(network, Certificate::Right, path)
}

/// After a fault: the next requests succeed, over TLS as in the clear, and nothing has leaked, here or at the proxy.
#[track_caller]
fn assert_whole_tls(client: &Client, network: &Network) {
    recovers_alone(client, network);
    assert_whole_at(client, &right(network, "/rows/healthy"));
}

#[test]
fn l2_l13_sni_and_host_are_the_domain_s_and_the_connection_goes_to_the_pinned_address() {
    let network = start(Plan { proxy_ips: vec![Ipv4Addr::new(127, 0, 0, 5)], ..Plan::default() });
    let name = host(&network);
    let pinned = client(&network).pins([format!("{name}=127.0.0.5")]);
    for builder in [client(&network), pinned] {
        let client = builder.build().unwrap();
        network.reset_counts();
        get(&client, &right(&network, "/rows/1"));
        let seen = last_seen(&network);
        let port = network.https(Certificate::Right);
        assert_eq!(seen.sni.as_deref(), Some(name));
        assert_eq!(seen.host, Some(format!("{name}:{port}")));
        assert_eq!(seen.dialled, (Ipv4Addr::new(127, 0, 0, 5), port).into());
        assert_eq!(seen.headers.iter().filter(|(field, _)| field == "host").count(), 1);
    }
}

#[test]
fn l1_l2_l3_l4_l10_every_bad_certificate_is_refused_with_its_reason_and_never_tried_again() {
    let network = two_addresses();
    let client = client(&network).max_attempts(5_usize).build().unwrap();
    for caller in Caller::ALL {
        for ((certificate, reason), ask) in BAD.into_iter().flat_map(|bad| Ask::ALL.map(|ask| (bad, ask))) {
            network.reset_counts();
            let request = ask.request(&https(&network, certificate, "/sink/1"));
            let error = fails_as(caller, &client, &request, TIMEOUT, unsent(reason, 1));
            assert_eq!((error.kind(), error.phase()), (Kind::Tls, Phase::Handshake), "{error}");
            assert!(error.address().is_some() && error.host().is_some_and(|at| at.starts_with(host(&network))));
            eventually("the origin knows that the handshake failed", || {
                network.counts().origins.failed_handshakes == 1
            });
            let counts = network.counts();
            assert_eq!(counts.origins.requests, 0, "{certificate:?}: nothing was sent");
            assert_eq!(counts.proxy.total, 1, "{certificate:?}: neither again nor at the other address");
            assert!(network.sink().is_empty());
        }
    }
    assert_whole_tls(&client, &network);
}

#[test]
fn l2_the_certificate_is_checked_for_the_name_and_never_for_the_address() {
    // This certificate is good for the address, and for another name.
    let network = start(Plan { names: vec!["127.0.0.1".to_owned()], ..Plan::default() });
    let port = network.https(Certificate::Right);
    let url = format!("https://elsewhere.example:{port}");
    let client = bare(&network).hosts([&url]).pins(["elsewhere.example=127.0.0.1"]).build().unwrap();
    for caller in Caller::ALL {
        let request = Request::get(&format!("{url}/rows/1"));
        fails_as(caller, &client, &request, TIMEOUT, unsent(Reason::TlsWrongName, 1));
    }
    assert_eq!(network.counts().origins.requests, 0);
    assert_eq!(client.stats().connections_live, 0);
}

#[test]
fn l3_without_the_ca_file_the_test_ca_is_unknown() {
    let network = network();
    let url = right(&network, "");
    let trusting_the_web = Client::builder()
        .hosts([&url])
        .nameservers([network.dns().to_string()])
        .allow_addresses(["127.0.0.0/8"])
        .build()
        .unwrap();
    let request = Request::get(&right(&network, "/rows/1"));
    for caller in Caller::ALL {
        fails_as(caller, &trusting_the_web, &request, TIMEOUT, unsent(Reason::TlsUnknownIssuer, 1));
    }
    assert_eq!(network.counts().origins.requests, 0);
    assert_eq!(trusting_the_web.stats().connections_live, 0);
}

#[test]
fn l5_a_literal_needs_an_address_in_the_certificate_and_sends_no_sni() {
    let with = start(Plan { names: vec![unique("kms"), "127.0.0.1".to_owned()], ..Plan::default() });
    let port = with.https(Certificate::Right);
    let client = bare(&with).hosts([format!("https://127.0.0.1:{port}")]).build().unwrap();
    // The second is the first in IPv6 clothes; the third is an old way to write it.
    for written in ["127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1"] {
        get(&client, &format!("https://{written}:{port}/rows/1"));
        let seen = last_seen(&with);
        assert_eq!((seen.sni, seen.host), (None, Some(format!("127.0.0.1:{port}"))), "{written}");
    }
    assert_eq!(with.counts().dns.queries, 0);

    let without = network();
    let url = format!("https://127.0.0.1:{}", without.https(Certificate::Right));
    let client = bare(&without).hosts([&url]).build().unwrap();
    fails(&client, &Request::get(&format!("{url}/rows/1")), Reason::TlsWrongName, Delivery::NotSent);
}

#[test]
fn l6_both_versions_of_tls_are_spoken() {
    for fault in [Fault::Tls12Only, Fault::Tls13Only] {
        let network = network();
        network.inject(fault);
        assert_whole_tls(&client(&network).build().unwrap(), &network);
    }
}

#[test]
fn l7_a_body_cut_off_without_close_notify_is_never_complete() {
    for (caller, ask) in every_call() {
        let network = network();
        let client = client(&network).build().unwrap();
        network.inject(Fault::TruncatedClose);
        let failure = ask.broken(Reason::ProtocolIncomplete, 3);
        let error = fails_as(caller, &client, &ask.request(&right(&network, "/echo")), TIMEOUT, failure);
        assert_eq!(error.phase(), Phase::Receive);
        assert_eq!(network.counts().origins.requests, u64::from(failure.attempts));

        network.heal();
        network.inject_times(Fault::TruncatedClose, 1);
        let answer = caller.send(&client, &Request::get(&right(&network, "/bytes/5000"))).unwrap();
        assert_eq!((answer.body().len(), answer.trace().attempts), (5000, 2));
        assert_whole_tls(&client, &network);
    }
}

#[test]
fn l8_a_handshake_that_stalls_ends_in_its_time_and_nothing_was_sent() {
    let network = two_addresses();
    let stall = Duration::from_millis(200);
    let client = client(&network).handshake_timeout(stall).max_attempts(1_usize).build().unwrap();
    network.inject(Fault::HandshakeStall);
    for (caller, ask) in every_call() {
        network.reset_counts();
        let begun = Instant::now();
        let request = ask.request(&right(&network, "/sink/1"));
        let error = fails_as(caller, &client, &request, 2 * stall, unsent(Reason::TlsTimeout, 1));
        assert!(begun.elapsed() >= stall, "{:?}", begun.elapsed());
        assert_eq!(error.phase(), Phase::Handshake);
        assert!(error.to_string().contains("handshake_timeout 200ms"), "{error}");
        assert!(network.counts().proxy.total <= 2, "each address once, no spin");
    }
    assert!(network.sink().is_empty());
    assert_whole_tls(&client, &network);
}

#[test]
fn l8_one_address_that_stalls_in_the_handshake_leaves_the_others() {
    for caller in Caller::ALL {
        let network = two_addresses();
        let builder = client(&network).handshake_timeout(Duration::from_millis(300)).max_attempts(1_usize);
        let client = builder.build().unwrap();
        network.inject_times(Fault::HandshakeStall, 1);
        let answer = caller.send(&client, &Request::get(&right(&network, "/rows/1"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 1));
        assert_eq!(network.counts().proxy.total, 2);
        assert_whole_tls(&client, &network);
    }
}

#[test]
fn l8_a_handshake_that_is_cut_off_is_tried_again_even_for_a_post() {
    for caller in Caller::ALL {
        let network = network();
        let client = client(&network).max_attempts(3_usize).build().unwrap();
        network.inject_times(Fault::HandshakeClose, 1);
        let answer = caller.send(&client, &Ask::Post.request(&right(&network, "/sink/1"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (201, 2));
        assert_eq!(network.sink().iter().map(|write| write.attempts).collect::<Vec<_>>(), [1]);
        assert_whole_tls(&client, &network);
    }
    for (caller, ask) in every_call() {
        let network = network();
        let client = client(&network).max_attempts(3_usize).build().unwrap();
        network.inject(Fault::HandshakeClose);
        let request = ask.request(&right(&network, "/sink/1"));
        fails_as(caller, &client, &request, TIMEOUT, unsent(Reason::TlsClosed, 3));
        let counts = network.counts();
        assert_eq!((counts.proxy.total, counts.origins.requests), (3, 0), "as many as the attempts");
        assert_whole_tls(&client, &network);
    }
}

#[test]
fn l11_what_was_good_before_is_verified_again_on_the_next_connection() {
    let network = network();
    let client = client(&network).build().unwrap();
    for ((certificate, reason), caller) in BAD.into_iter().flat_map(|bad| Caller::ALL.map(|caller| (bad, caller))) {
        // The session of this very name is at hand, and another certificate answers.
        assert_eq!(caller.send(&client, &Request::get(&right(&network, "/rows/1"))).unwrap().status(), 200);
        let request = Request::get(&https(&network, certificate, "/rows/1"));
        fails_as(caller, &client, &request, TIMEOUT, unsent(reason, 1));
    }
    assert_whole_tls(&client, &network);
}

#[test]
fn l11_sessions_belong_to_a_name_and_not_to_its_address() {
    let network = start(Plan { names: ["a", "b", "c"].map(unique).to_vec(), ..Plan::default() });
    let port = network.https(Certificate::Right);
    let names = &network.addresses().plan.names;
    let client = bare(&network).hosts(names.iter().map(|name| format!("https://{name}:{port}"))).build().unwrap();
    for name in names {
        get(&client, &format!("https://{name}:{port}/rows/1"));
    }
    let origins = network.counts().origins;
    assert_eq!((origins.handshakes, origins.resumed), (3, 0));
}

#[test]
fn l12_clients_of_other_trust_share_no_session() {
    let network = network();
    let url = https(&network, Certificate::Expired, "/rows/1");
    let strict = client(&network).build().unwrap();
    let lax = client(&network).danger_accept_any_certificate(true).max_age(Duration::from_millis(10)).build().unwrap();
    // The lax one collects sessions, and proves that they can be resumed.
    for _ in 0..3 {
        get(&lax, &https(&network, Certificate::Expired, "/delay/12"));
    }
    assert_eq!(network.counts().origins.resumed, 2);
    network.reset_counts();
    fails(&strict, &Request::get(&url), Reason::TlsExpired, Delivery::NotSent);
    let after = client(&network).build().unwrap();
    fails(&after, &Request::get(&url), Reason::TlsExpired, Delivery::NotSent);
    assert_eq!(network.counts().origins.resumed, 0);
    assert_eq!(network.counts().origins.requests, 0);

    // The same trust in another client is another client all the same.
    get(&strict, &right(&network, "/rows/1"));
    get(&after, &right(&network, "/rows/1"));
    assert_eq!(network.counts().origins.resumed, 0);
}

#[test]
fn l12_verification_is_off_only_where_the_dangerous_option_says_so() {
    let network = network();
    let lax = client(&network).danger_accept_any_certificate(true).build().unwrap();
    let strict = client(&network).danger_accept_any_certificate(false).build().unwrap();
    for (certificate, reason) in BAD {
        get(&lax, &https(&network, certificate, "/rows/1"));
        fails(&strict, &Request::get(&https(&network, certificate, "/rows/1")), reason, Delivery::NotSent);
    }
}

#[test]
fn l13_sni_is_sent_on_every_connection_of_a_pinned_host() {
    let network = network();
    let name = host(&network);
    let builder = client(&network).pins([format!("{name}=127.0.0.1")]).max_age(Duration::from_millis(10));
    let client = builder.build().unwrap();
    for _ in 0..5 {
        get(&client, &right(&network, "/delay/12"));
    }
    assert_eq!(network.counts().origins.handshakes, 5);
    assert!(network.seen().iter().all(|seen| seen.sni.as_deref() == Some(name)));
}

#[test]
fn l15_a_session_that_breaks_inside_the_answer_gives_an_error_and_no_body() {
    for (fault, caller) in [Fault::AlertMidStream, Fault::GarbageRecord]
        .into_iter()
        .flat_map(|fault| Caller::ALL.map(|caller| (fault.clone(), caller)))
    {
        for ask in Ask::ALL {
            let network = network();
            let client = client(&network).build().unwrap();
            network.inject(fault.clone());
            let error = caller.send(&client, &ask.request(&right(&network, "/rows/1"))).unwrap_err();
            // Of a write nobody knows whether it happened, where the head did not come through.
            let kinds = if ask == Ask::Post { &[Kind::Tls, Kind::Write][..] } else { &[Kind::Tls] };
            assert!(
                kinds.contains(&error.kind()) && everything_said(&error).contains("Tls."),
                "{fault:?} {caller:?} {ask:?}: {error}"
            );
            assert_ne!(error.delivery(), Delivery::NotSent, "{error}");
            assert_eq!(error.attempts(), 1, "{fault:?} {caller:?} {ask:?}: a broken session is not tried again");
            assert_eq!(network.counts().origins.requests, 1, "{fault:?} {caller:?} {ask:?}");
            assert_whole_tls(&client, &network);
        }
    }
}

#[test]
fn l16_a_port_that_does_not_speak_tls_is_told_apart_and_its_answer_not_believed() {
    for (caller, ask) in every_call() {
        let network = network();
        let client = client(&network).build().unwrap();
        network.inject(Fault::NotTls);
        let request = ask.request(&right(&network, "/sink/1"));
        fails_as(caller, &client, &request, TIMEOUT, unsent(Reason::TlsNotTls, 1));
        assert_eq!(network.counts().proxy.total, 1);

        // The plain origin itself, asked for TLS.
        let plain = format!("https://{}:{}", host(&network), network.http());
        let other = bare(&network).hosts([&plain]).build().unwrap();
        let request = ask.request(&format!("{plain}/sink/1"));
        fails_as(caller, &other, &request, TIMEOUT, unsent(Reason::TlsNotTls, 1));
        assert_eq!(other.stats().connections_live, 0);
        other.close();
        assert!(network.sink().is_empty());
        assert_whole_tls(&client, &network);
    }
}

#[test]
fn l19_a_ca_file_that_cannot_be_used_fails_the_build_and_never_means_trust_everything() {
    let network = network();
    let scratch = Scratch::new();
    let good = std::fs::read_to_string(network.ca_file()).unwrap();
    let begin = "-----BEGIN CERTIFICATE-----";
    let base64 = good.find(begin).unwrap() + begin.len() + 10;
    let mut not_base64 = good.clone();
    not_base64.replace_range(base64..base64 + 4, "!!!!");
    let not_der = format!("{begin}\nAAAAAAAA\n-----END CERTIFICATE-----\n");
    let cut = &good[..good.len() / 2];
    let key = good.replace("CERTIFICATE", "PRIVATE KEY");
    for (name, content) in [
        ("empty", Vec::new()),
        ("blank", b"\n\n".to_vec()),
        ("text", b"no certificate here\n".to_vec()),
        ("binary", vec![0, 159, 146, 150]),
        ("key", key.into_bytes()),
        ("cut", cut.into()),
        ("not-base64", not_base64.clone().into_bytes()),
        ("not-der", not_der.clone().into_bytes()),
        ("one-bad-after-good", format!("{good}{not_base64}").into_bytes()),
        ("one-bad-before-good", format!("{not_der}{good}").into_bytes()),
        ("one-bad-among-200", format!("{}{not_base64}{}", good.repeat(100), good.repeat(99)).into_bytes()),
    ] {
        let path = scratch.file(name, content);
        for builder in [client(&network), client(&network).web_roots(true)] {
            let error = builder.ca_file(&path).build().unwrap_err();
            assert_failed(&error, Reason::ConfigTrust, Delivery::NotSent);
            assert!(error.to_string().contains(name), "the file is named: {error}");
        }
    }
    for path in [scratch.path("missing"), scratch.as_ref().to_owned()] {
        let error = client(&network).ca_file(path).build().unwrap_err();
        assert_failed(&error, Reason::ConfigTrust, Delivery::NotSent);
    }
    let counts = network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total), (0, 0), "nothing was asked and nothing was dialled");
}

#[test]
fn l11_every_re_dial_resumes_the_session() {
    for fault in [Fault::Tls13Only, Fault::Tls12Only] {
        let network = network();
        network.inject(fault.clone());
        // The answer takes longer than a connection lives, so that every call dials.
        let client = client(&network).max_age(Duration::from_millis(10)).build().unwrap();
        for _ in 0..10 {
            get(&client, &right(&network, "/delay/12"));
        }
        let (counts, stats) = (network.counts(), client.stats());
        assert_eq!((counts.origins.handshakes, counts.origins.resumed), (10, 9), "{fault:?}");
        assert_eq!((stats.handshakes, stats.resumptions, stats.reuses), (10, 9, 0), "{fault:?}");
        assert_eq!(counts.proxy.peak, 1, "the old connection goes before the new one comes");
    }
}

#[test]
fn l11_sessions_that_the_target_has_forgotten_cost_a_full_handshake_and_nothing_else() {
    for (fault, caller) in [Fault::Tls13Only, Fault::Tls12Only]
        .into_iter()
        .flat_map(|fault| Caller::ALL.map(|caller| (fault.clone(), caller)))
    {
        let network = network();
        network.inject(fault.clone());
        network.inject(Fault::RotateTickets);
        let builder = client(&network).option("protocol", "http1").max_age(Duration::from_millis(10));
        let client = builder.build().unwrap();
        for _ in 0..5 {
            let answer = caller.send(&client, &Request::get(&right(&network, "/delay/12"))).unwrap();
            assert_eq!((answer.status(), answer.trace().attempts), (200, 1), "{fault:?}");
        }
        let counts = network.counts();
        assert_eq!((counts.origins.handshakes, counts.origins.resumed), (5, 0), "{fault:?}");
        assert_eq!(counts.origins.failed_handshakes, 0, "{fault:?}: a forgotten session is no failure");
        network.heal();
        network.reset_counts();
        for _ in 0..2 {
            get(&client, &right(&network, "/delay/12"));
        }
        assert_ne!(network.counts().origins.resumed, 0, "{fault:?}: what the target remembers is resumed");
    }
}
