//! The promise: through an explicit proxy everything stays as it is: the pinned address, the name, the certificate.

mod common;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::survival::{Ask, Caller, Failure, fails_as, recovers, unsent};
use common::{BOUNDED, assert_failed, client, host, http, network, secure, start};
use pinlink::{AsyncClient, Builder, Delivery, Phase, Reason, Request};
use pinlink_box::{Fault, Network, Plan};

fn through(network: &Network, scheme: &str, credentials: &str) -> Builder {
    let at = if scheme == "http" { network.connect_proxy() } else { network.socks_proxy() };
    client(network).option("proxy", &format!("{scheme}://{credentials}{at}"))
}

#[test]
fn both_kinds_are_asked_for_the_pinned_address_and_the_name_is_kept_for_tls() {
    for scheme in ["http", "socks5"] {
        let network = network();
        let client = through(&network, scheme, "").build().unwrap();
        common::get(&client, &http(&network, "/rows/1"));
        common::get(&client, &secure(&network, "/rows/2"));
        common::get(&client, &secure(&network, "/rows/3"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime
            .block_on(AsyncClient::from(client.clone()).send(&Request::get(&secure(&network, "/rows/4"))))
            .unwrap();
        assert!(answer.trace().is_http2);
        let asked: Vec<String> = network.tunnels().into_iter().map(|tunnel| tunnel.target).collect();
        let right = network.https(pinlink_box::Certificate::Right);
        let expected = [network.http(), right, right].map(|port| format!("127.0.0.1:{port}"));
        assert_eq!(asked, expected, "{scheme}");
        let seen = network.seen();
        assert_eq!(seen[1].sni.as_deref(), Some(host(&network)), "{scheme}");
        assert!(seen[0].host.as_deref().is_some_and(|name| name.starts_with(host(&network))), "{scheme}");
        assert!(network.counts().tunnels.peak <= 3);
    }
}

#[test]
fn t16_credentials_go_to_the_proxy_and_to_nobody_else() {
    let plan = Plan { proxy_auth: Some(("us er".to_owned(), "p@ss:word".to_owned())), ..Plan::default() };
    let network = start(plan);
    for scheme in ["http", "socks5"] {
        let client = through(&network, scheme, "us%20er:p%40ss%3Aword@").build().unwrap();
        common::get(&client, &http(&network, "/rows/1"));
        for wrong in ["", "us%20er:hunter2@"] {
            let client = through(&network, scheme, wrong).build().unwrap();
            let error = client.send(&Request::get(&http(&network, "/rows/1"))).expect_err("it is refused");
            assert_failed(&error, Reason::ProxyAuth, Delivery::NotSent);
            assert_eq!((error.phase(), error.attempts()), (Phase::Connect, 1));
            assert!(!common::everything_said(&error).contains("hunter2"), "{error}");
        }
    }
    let leaked = |name: &str| name.contains("proxy");
    assert!(network.seen().iter().all(|seen| seen.headers.iter().all(|(name, _)| !leaked(name))));
}

#[test]
fn sockets_for_other_protocols_go_through_it_too() {
    let network = network();
    let client =
        through(&network, "http", "").hosts([format!("tcp://{}:{}", host(&network), network.http())]).build().unwrap();
    let mut socket = client.connect(host(&network), network.http()).unwrap();
    socket.write_all(b"GET /rows/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(network.tunnels().len(), 1);
}

#[test]
fn a_mistake_in_the_option_is_told_without_what_may_be_a_password() {
    let network = network();
    for bad in
        ["hunter2", "https://user:hunter2@proxy:1", "http://user:hunter2@", "ftp://hunter2", "http://a:hunter2@b:99999"]
    {
        let error = client(&network).option("proxy", bad).build().expect_err(bad);
        assert_failed(&error, Reason::ConfigInput, Delivery::NotSent);
        assert!(!common::everything_said(&error).contains("hunter2"), "{error}");
    }
}

/// Two tries, and budgets that end every wait soon.
fn hasty(network: &Network, scheme: &str) -> Builder {
    through(network, scheme, "")
        .connect_timeout(Duration::from_millis(300))
        .stall_timeout(Duration::from_millis(300))
        .max_attempts(2_usize)
        .backoff_max(Duration::from_millis(5))
}

/// Every caller sends everything through a proxy with this fault. Nothing that the proxy says is the target's word.
fn a_sick_proxy(scheme: &str, fault: &Fault, outcome: impl Fn(Ask) -> Failure + Sync) {
    let deadline = Duration::from_millis(2000);
    thread::scope(|scope| {
        for caller in Caller::ALL {
            for ask in Ask::ALL {
                let outcome = outcome(ask);
                scope.spawn(move || {
                    let network = network();
                    let client = caller.build(hasty(&network, scheme).timeout(deadline)).unwrap();
                    network.inject(fault.clone());
                    let request = ask.request(&http(&network, "/sink/record"));
                    let error = fails_as(caller, &client, &request, deadline, outcome);
                    let case = format!("{scheme}, {fault:?}, {caller:?}, {ask:?}: {error}");
                    assert!(!common::everything_said(&error).contains("html"), "{case}");
                    assert_eq!(network.tunnels().len() as u32, outcome.attempts, "{case}");
                    assert_eq!(network.counts().origins.requests, 0, "{case}");
                    assert!(network.sink().is_empty(), "{case}");
                    recovers(&client, &network);
                    assert_eq!(network.counts().tunnels.live, client.stats().connections_live, "{case}");
                });
            }
        }
    });
}

#[test]
fn t16_a_proxy_that_lets_nobody_through_is_asked_once() {
    a_sick_proxy("http", &Fault::ConnectStatus(407), |_| unsent(Reason::ProxyAuth, 1));
    a_sick_proxy("http", &Fault::ConnectStatus(403), |_| unsent(Reason::ProxyStatus, 1));
    a_sick_proxy("http", &Fault::ConnectStatus(302), |_| unsent(Reason::ProxyStatus, 1));
    a_sick_proxy("socks5", &Fault::SocksRefused(2), |_| unsent(Reason::ProxyStatus, 1));
}

#[test]
fn t15_t16_a_proxy_that_cannot_now_is_asked_again_because_nothing_was_sent() {
    for status in [502, 503, 504] {
        a_sick_proxy("http", &Fault::ConnectStatus(status), |_| unsent(Reason::ProxyUnavailable, 2));
    }
    a_sick_proxy("socks5", &Fault::SocksRefused(5), |_| unsent(Reason::ProxyUnavailable, 2));
    for scheme in ["http", "socks5"] {
        a_sick_proxy(scheme, &Fault::ConnectSilent, |_| unsent(Reason::ProxyTimeout, 2));
        a_sick_proxy(scheme, &Fault::TunnelClose, |_| unsent(Reason::ProxyProtocol, 2));
        // The second try comes through, and a write happens once.
        for caller in Caller::ALL {
            let network = network();
            let client = caller.build(hasty(&network, scheme)).unwrap();
            network.inject_times(Fault::TunnelClose, 1);
            let answer = caller.send(&client, &Ask::Post.request(&http(&network, "/sink/once"))).unwrap();
            assert_eq!((answer.status(), answer.trace().attempts), (201, 2), "{scheme}, {caller:?}");
            assert_eq!((network.sink()[0].attempts, network.sink()[0].applied), (1, 1));
            recovers(&client, &network);
        }
    }
}

#[test]
fn t16_a_proxy_that_talks_nonsense_or_without_end_is_left_in_time_and_memory() {
    for (scheme, fault) in
        [("http", Fault::ConnectGarbage), ("http", Fault::ConnectEndless), ("socks5", Fault::SocksGarbage)]
    {
        for caller in Caller::ALL {
            for ask in Ask::ALL {
                let network = network();
                let client = caller.build(hasty(&network, scheme)).unwrap();
                network.inject(fault.clone());
                let begun = Instant::now();
                let sent = caller.send(&client, &ask.request(&http(&network, "/sink/record")));
                let error = sent.expect_err("that was no tunnel");
                assert_failed(&error, Reason::ProxyProtocol, Delivery::NotSent);
                assert!((1..=2).contains(&error.attempts()), "{error}");
                assert!(begun.elapsed() < BOUNDED, "{error}");
                assert_eq!(network.counts().origins.requests, 0);
                recovers(&client, &network);
            }
        }
    }
}

#[test]
fn t16_a_tunnel_in_which_nothing_moves_is_a_target_that_is_silent() {
    for scheme in ["http", "socks5"] {
        a_sick_proxy(scheme, &Fault::ConnectThenSilent, |ask| ask.lost(Reason::TimeoutStalled, 2));
    }
}

#[test]
fn t17_a_proxy_with_a_dead_address_is_reached_by_its_other_one() {
    for (scheme, caller) in [("http", Caller::Blocking), ("socks5", Caller::Async)] {
        let network = network();
        let name = common::unique("proxy");
        // Nothing listens at the first: the proxies are at 127.0.0.1 alone.
        let addresses = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap()).to_vec();
        network.inject_for(Fault::Answer(addresses), &name);
        let port = if scheme == "http" { network.connect_proxy() } else { network.socks_proxy() }.port();
        let builder = client(&network)
            .option("proxy", &format!("{scheme}://{name}:{port}"))
            .max_age(Duration::from_millis(10))
            .race_stagger(Duration::from_secs(5));
        let client = caller.build(builder).unwrap();
        network.inject(Fault::Answer(vec!["127.0.0.1".parse().unwrap()]));
        for row in 0..12 {
            let record = format!("/sink/{row}");
            let answer = caller.send(&client, &Ask::Post.request(&http(&network, &record))).unwrap();
            assert_eq!((answer.status(), answer.trace().attempts), (201, 1), "{scheme}");
            thread::sleep(Duration::from_millis(12));
        }
        let stats = client.stats();
        // It is met once at most, and is sidelined from then on.
        assert!((12..=13).contains(&stats.dials), "{stats:?}");
        assert_eq!((stats.failures, stats.retries, network.tunnels().len()), (0, 0, 12), "{scheme}");
        assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (1, 1)));
        recovers(&client, &network);
    }
}
