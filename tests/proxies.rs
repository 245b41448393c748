//! The promise: through an explicit proxy everything stays as it is: the pinned address, the name, the certificate.

mod common;

use std::io::{Read, Write};

use common::{assert_failed, client, host, http, network, secure, start};
use pinlink::{AsyncClient, Builder, Delivery, Phase, Reason, Request};
use pinlink_box::{Network, Plan};

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
fn credentials_go_to_the_proxy_and_to_nobody_else() {
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
