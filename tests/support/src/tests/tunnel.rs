//! The explicit proxies: whom they let through, where to, and what their scripts say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{again, dial, eventually, exchange, start};
use crate::{Fault, Network, Plan};

/// `box:secret`, as RFC 7617 has it.
const BASIC: &str = "Proxy-Authorization: Basic Ym94OnNlY3JldA==\r\n";

fn guarded() -> Network {
    start(Plan { proxy_auth: Some(("box".to_owned(), "secret".to_owned())), ..Plan::default() })
}

/// A `CONNECT`, and its answer's head.
fn connect(proxy: SocketAddr, target: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = dial(proxy);
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = answer(&mut stream);
    (stream, answer)
}

fn answer(stream: &mut TcpStream) -> String {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        answer.extend(byte);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("a reply");
    bytes
}

/// SOCKS without a password, to a name.
fn socks(proxy: SocketAddr, name: &str, port: u16) -> (TcpStream, u8) {
    let mut stream = dial(proxy);
    stream.write_all(&[5, 2, 0, 2]).expect("sent");
    assert_eq!(read(&mut stream), [5, 0]);
    let reply = name_to(&mut stream, name, port);
    (stream, reply)
}

fn name_to(stream: &mut TcpStream, name: &str, port: u16) -> u8 {
    let head = [&[5, 1, 0, 3, name.len() as u8][..], name.as_bytes(), &port.to_be_bytes()].concat();
    stream.write_all(&head).expect("sent");
    let reply: [u8; 10] = read(stream);
    assert_eq!((reply[0], reply[2..4].to_vec()), (5, vec![0, 1]));
    reply[1]
}

#[test]
fn a_tunnel_leads_to_addresses_and_names_of_the_box() {
    let network = start(Plan::default());
    let targets = [format!("127.0.0.1:{}", network.http()), format!("kms.box.test:{}", network.http())];
    for target in &targets {
        let (mut stream, head) = connect(network.connect_proxy(), target, "X-Seen: 1\r\n");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(again(&mut stream).expect("an answer").starts_with("HTTP/1.1 200"));
    }
    let (mut stream, reply) = socks(network.socks_proxy(), "oss.box.test", network.http());
    assert_eq!(reply, 0);
    again(&mut stream).expect("an answer");
    let mut second = dial(network.socks_proxy());
    second.write_all(&[5, 1, 0]).expect("sent");
    assert_eq!(read(&mut second), [5, 0]);
    second.write_all(&[&[5, 1, 0, 1, 127, 0, 0, 1][..], &network.http().to_be_bytes()].concat()).expect("sent");
    assert_eq!(read::<10>(&mut second)[1], 0);
    again(&mut second).expect("an answer");
    let asked = network.tunnels();
    let found: Vec<_> = asked.iter().map(|asked| (asked.proxy.as_str(), asked.target.as_str())).collect();
    let named = format!("oss.box.test:{}", network.http());
    let expected = [("connect", &targets[0]), ("connect", &targets[1]), ("socks", &named), ("socks", &targets[0])];
    assert_eq!(found, expected.map(|(proxy, target)| (proxy, target.as_str())));
    assert_eq!(asked[0].headers[0], ("Host".to_owned(), targets[0].clone()));
    assert_eq!(asked[0].headers[1], ("X-Seen".to_owned(), "1".to_owned()));
    let counts = network.counts().tunnels;
    assert_eq!((counts.opened, counts.live, counts.peak), (4, 2, 2));
    drop((stream, second));
    eventually("no tunnel", || network.counts().tunnels.live == 0);
}

#[test]
fn a_tunnel_leads_nowhere_else() {
    let network = start(Plan::default());
    for (target, status) in [("93.184.216.34:80", "403"), ("example.com:80", "403"), ("127.0.0.1", "400")] {
        let (_, head) = connect(network.connect_proxy(), target, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head}");
    }
    assert_eq!(socks(network.socks_proxy(), "example.com", 80).1, 2);
    let get = "GET http://kms.box.test/ HTTP/1.1\r\nHost: kms.box.test\r\nConnection: close\r\n\r\n";
    let mut stream = dial(network.connect_proxy());
    stream.write_all(get.as_bytes()).expect("sent");
    assert!(answer(&mut stream).starts_with("HTTP/1.1 405"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    assert!(connect(network.connect_proxy(), &closed.to_string(), "").1.starts_with("HTTP/1.1 502"));
    assert_eq!(network.counts().tunnels.opened, 0);
}

#[test]
fn only_who_is_known_gets_through() {
    let network = guarded();
    let target = format!("kms.box.test:{}", network.http());
    let (mut stream, head) = connect(network.connect_proxy(), &target, "");
    assert!(head.starts_with("HTTP/1.1 407") && head.contains("Proxy-Authenticate: Basic realm=\"box\"\r\n"));
    let second = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{BASIC}\r\n");
    stream.write_all(second.as_bytes()).expect("sent on the same connection");
    assert!(answer(&mut stream).starts_with("HTTP/1.1 200"));
    again(&mut stream).expect("an answer");
    for (password, accepted) in [("secret", 0), ("wrong", 1)] {
        let mut stream = dial(network.socks_proxy());
        stream.write_all(&[5, 2, 0, 2]).expect("sent");
        assert_eq!(read(&mut stream), [5, 2]);
        let said = [&[1, 3][..], b"box", &[password.len() as u8], password.as_bytes()].concat();
        stream.write_all(&said).expect("sent");
        assert_eq!(read(&mut stream), [1, accepted]);
        if accepted == 0 {
            assert_eq!(name_to(&mut stream, "kms.box.test", network.http()), 0);
        }
    }
    let mut stream = dial(network.socks_proxy());
    stream.write_all(&[5, 1, 0]).expect("sent");
    assert_eq!(read(&mut stream), [5, 0xFF]);
    let counts = network.counts().tunnels;
    assert_eq!((counts.opened, counts.unauthorized), (2, 3));
    let authorized: Vec<_> = network.tunnels().iter().map(|asked| asked.authorized).collect();
    assert_eq!(authorized, [false, true, true]);
    // What is for the proxy stays with the proxy.
    assert!(network.seen().iter().all(|seen| !seen.headers.iter().any(|(name, _)| name.starts_with("proxy-"))));
}

#[test]
fn proxies_answer_what_is_no_answer() {
    let network = start(Plan::default());
    let target = format!("kms.box.test:{}", network.http());
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    network.inject_times(Fault::ConnectStatus(503), 1);
    let (said, _) = exchange(network.connect_proxy(), &head);
    assert!(said.starts_with("HTTP/1.1 503") && said.ends_with("</html>"), "{said}");
    network.inject_times(Fault::ConnectGarbage, 1);
    assert!(exchange(network.connect_proxy(), &head).0.contains("no HTTP here"));
    network.inject_times(Fault::TunnelClose, 1);
    assert_eq!(exchange(network.connect_proxy(), &head).0, "");
    network.inject_times(Fault::ConnectEndless, 1);
    let mut stream = dial(network.connect_proxy());
    stream.write_all(head.as_bytes()).expect("sent");
    stream.read_exact(&mut vec![0; 1 << 20]).expect("a flood");
    network.inject_times(Fault::SocksRefused(4), 1);
    assert_eq!(socks(network.socks_proxy(), "kms.box.test", network.http()).1, 4);
    network.inject_times(Fault::SocksGarbage, 1);
    let mut stream = dial(network.socks_proxy());
    stream
        .write_all(&[&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &network.http().to_be_bytes()].concat())
        .expect("sent");
    assert_eq!(read(&mut stream), *b"\x05\x00HTTP");
    assert_eq!(network.counts().tunnels.opened, 0);
    assert!(network.faults().is_empty());
}

#[test]
fn proxies_fall_silent_before_and_after_their_answer() {
    let network = start(Plan::default());
    let target = format!("kms.box.test:{}", network.http());
    let silent = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(60))).expect("a timeout");
        assert!(stream.read(&mut [0]).is_err(), "silence");
    };
    network.inject_times(Fault::ConnectSilent, 1);
    let mut stream = dial(network.connect_proxy());
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).expect("sent");
    silent(&mut stream);
    network.inject(Fault::ConnectThenSilent);
    let (mut stream, head) = connect(network.connect_proxy(), &target, "");
    assert!(head.starts_with("HTTP/1.1 200"));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    silent(&mut stream);
    let (mut stream, reply) = socks(network.socks_proxy(), "kms.box.test", network.http());
    assert_eq!(reply, 0);
    silent(&mut stream);
    assert_eq!(network.counts().origins.requests, 0);
}
