//! FAULTS section 1, what `resolve.rs` leaves over: every failure of an init as both callers meet it, answers that are
//! wrong byte by byte, forged ones, servers that disagree, and a machine whose own settings are missing or misleading.
//!
//! The name server of raw bytes is here; the well-behaved one with its faults is the network's. Tests that change the
//! machine have a namespace of their own ([`apart`]).

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::survival::{Caller, recovers};
use common::*;
use pinlink::config::Family;
use pinlink::{Builder, Client, Delivery, Phase, Reason, Request};
use pinlink_box::{Fault, Followed, Malformation, Network, Plan};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Short enough to run out in a test, long enough for a busy machine to answer.
fn hasty(builder: Builder) -> Builder {
    builder.resolve_timeout(Duration::from_millis(2500)).resolve_attempt_timeout(Duration::from_millis(800))
}

fn addresses(client: &Client, host: &str) -> Vec<IpAddr> {
    client.pins().find(host).expect("the host is pinned").addresses.clone()
}

#[test]
fn d1_d2_d5_d6_d7_d8_d9_d15_an_init_that_fails_says_why_in_time_and_the_next_one_succeeds() {
    let meets = |caller: Caller, fault: Fault, reasons: &[Reason], most: u64| {
        let network = network();
        network.inject(fault.clone());
        let begun = Instant::now();
        let error = caller.build(hasty(client(&network))).expect_err("nobody can resolve it");
        let case = format!("{caller:?}, {fault:?}: {error}");
        assert!(begun.elapsed() < BOUNDED, "{case}");
        assert!(reasons.contains(&error.reason()), "{case}");
        assert_eq!((error.delivery(), error.phase()), (Delivery::NotSent, Phase::Resolve), "{case}");
        assert!(error.to_string().contains(host(&network)), "{case}");
        let counts = network.counts();
        assert!((1..=most).contains(&counts.dns.queries), "{} queries: {case}", counts.dns.queries);
        assert_eq!(counts.proxy.total, 0, "{case}");
        network.heal();
        recovers(&eventually_built(&client(&network)), &network);
    };
    // Silence is asked again until the time is over; failures a few times; what is final once.
    let rows: [(Fault, &[Reason], u64); 12] = [
        (Fault::Silent, &[Reason::DnsTimeout], 16),
        (Fault::ServFail(100), &[Reason::DnsServFail], 8),
        (Fault::Refused, &[Reason::DnsRefused], 1),
        (Fault::NotImp, &[Reason::DnsRefused], 1),
        (Fault::FormErr, &[Reason::DnsRefused], 1),
        (Fault::NxDomain, &[Reason::DnsNxDomain], 1),
        (Fault::NoData, &[Reason::DnsNoData], 1),
        (Fault::TruncateNoTcp, &[Reason::DnsTimeout, Reason::DnsProtocol], 32),
        (Fault::AliasLoop, &[Reason::DnsAliasLimit], 16),
        (Fault::AliasChain(40), &[Reason::DnsAliasLimit], 16),
        (Fault::Malformed(Malformation::Garbage, Followed::Nothing), &[Reason::DnsTimeout, Reason::DnsProtocol], 16),
        (
            Fault::Malformed(Malformation::WrongQuestion, Followed::Nothing),
            &[Reason::DnsTimeout, Reason::DnsProtocol],
            16,
        ),
    ];
    thread::scope(|scope| {
        for caller in Caller::ALL {
            for (fault, reasons, most) in rows.clone() {
                scope.spawn(move || meets(caller, fault, reasons, most));
            }
        }
    });
}

#[test]
fn d3_d17_an_async_caller_asks_dns_nothing_after_init_either() {
    let network = network();
    network.inject(Fault::Ttl(0));
    let client = Caller::Async.build(client(&network).max_age(Duration::from_millis(10))).unwrap();
    network.reset_counts();
    network.inject(Fault::Silent);
    for _ in 0..10 {
        let answer = Caller::Async.send(&client, &Request::get(&http(&network, "/delay/15"))).unwrap();
        assert_eq!((answer.status(), answer.trace().attempts), (200, 1));
    }
    let counts = network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total), (0, 10), "the dials are what would have asked");
    recovers(&client, &network);
}

/// A name server of raw bytes over UDP, until the process ends: `reply` makes its datagrams of a question, first to
/// last.
struct Raw {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    fn at(place: &str, reply: impl Fn(&[u8], usize) -> Vec<Vec<u8>> + Send + 'static) -> Raw {
        let socket = UdpSocket::bind(place).expect("the port is free");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let raw = Raw { at: socket.local_addr().expect("it has an address"), asked: Arc::clone(&asked) };
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let question = &buffer[..length];
                let mut asked = asked.lock().expect("nobody panics with it");
                let turn = asked.len();
                asked.push(name(question));
                for datagram in reply(question, turn) {
                    _ = socket.send_to(&datagram, from);
                }
            }
        });
        raw
    }

    fn start(reply: impl Fn(&[u8], usize) -> Vec<Vec<u8>> + Send + 'static) -> Raw {
        Raw::at("127.0.0.1:0", reply)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

/// Where the question's name ends: behind its last, empty label.
fn end_of_name(question: &[u8]) -> usize {
    let mut at = 12;
    while question[at] != 0 {
        at += 1 + usize::from(question[at]);
    }
    at + 1
}

/// The name asked for, in lower case: the client draws the case of its letters.
fn name(question: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    labels.join(".")
}

/// The head and the question of an answer with so many records.
fn head(question: &[u8], records: u16) -> Vec<u8> {
    let mut answer = question[..end_of_name(question) + 4].to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..8].copy_from_slice(&records.to_be_bytes());
    answer[8..12].fill(0);
    answer
}

/// An address record of the name asked for.
fn record(address: Ipv4Addr) -> Vec<u8> {
    let mut record = vec![0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    record.extend(address.octets());
    record
}

fn right(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    [head(question, 1), record(address)].concat()
}

/// The wrong answer to this question with other letters.
fn respelt(question: &[u8], other: fn(u8) -> u8) -> Vec<u8> {
    let mut answer = right(question, TWO);
    let letters = answer[12..end_of_name(question)].iter_mut().filter(|byte| byte.is_ascii_alphabetic());
    letters.for_each(|letter| *letter = other(*letter));
    answer
}

/// A builder for the network's name that asks this server alone.
fn asking(network: &Network, server: &Raw) -> Builder {
    client(network).nameservers([server.at.to_string()])
}

/// A network that listens at the wrong address too, so that a client that believes a forgery gets somewhere.
fn with_a_trap() -> Network {
    start(Plan { proxy_ips: vec![ONE, TWO], ..Plan::default() })
}

#[test]
fn d15_whatever_the_bytes_are_the_right_answer_is_found_and_nothing_else() {
    type Broken = fn(&[u8]) -> Vec<u8>;
    let broken: [(&str, Broken); 12] = [
        ("nothing", |_| Vec::new()),
        ("half a head", |question| question[..7].to_vec()),
        ("a head without its question", |question| head(question, 1)[..12].to_vec()),
        ("a label of 127 bytes", |question| [head(question, 1), vec![127], vec![b'x'; 127], record(TWO)].concat()),
        ("a pointer to itself", |question| {
            let mut answer = right(question, TWO);
            let at = end_of_name(question) + 4;
            answer[at..at + 2].copy_from_slice(&[0xC0, at as u8]);
            answer
        }),
        ("a pointer forward", |question| [head(question, 1), vec![0xC0, 0xFF], record(TWO)].concat()),
        ("more records than there are", |question| {
            let mut answer = right(question, TWO);
            answer[6..8].copy_from_slice(&[0xFF, 0xFF]);
            answer
        }),
        ("an address of three bytes", |question| {
            [head(question, 1), vec![0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3, 127, 0, 0]].concat()
        }),
        ("a record longer than the message", |question| {
            [head(question, 1), vec![0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0xFF, 0xFF, 127, 0, 0, 2]].concat()
        }),
        ("an EDNS record of garbage", |question| {
            let mut answer = right(question, TWO);
            answer[10..12].copy_from_slice(&[0, 1]);
            // Root, OPT, and a length that its content does not have.
            [answer, vec![0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 200, 1, 2]].concat()
        }),
        ("a question instead of an answer", <[u8]>::to_vec),
        ("an answer for another class", |question| {
            let mut answer = right(question, TWO);
            let at = end_of_name(question) + 4;
            answer[at + 5] = 3;
            answer
        }),
    ];
    thread::scope(|scope| {
        for (what, make) in broken {
            scope.spawn(move || {
                let network = with_a_trap();
                let server = Raw::start(move |question, turn| match turn {
                    0 => vec![make(question)],
                    _ => vec![right(question, ONE)],
                });
                let builder = asking(&network, &server).resolve_attempt_timeout(Duration::from_millis(300));
                let client = builder.build().unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(addresses(&client, host(&network)), [IpAddr::V4(ONE)], "{what}");
                assert!(server.asked().len() <= 4, "{what}: {:?}", server.asked());
                recovers(&client, &network);
            });
        }
    });
}

#[test]
fn d15_bytes_behind_the_answer_are_not_read_as_part_of_it() {
    let network = with_a_trap();
    // Where a server leaves old bytes in its buffer, the answer in front of them is right all the same, or not
    // believed.
    let server = Raw::start(|question, turn| match turn {
        0 => vec![[right(question, ONE), record(TWO)].concat()],
        _ => vec![right(question, ONE)],
    });
    let client = asking(&network, &server).resolve_attempt_timeout(Duration::from_millis(300)).build().unwrap();
    assert_eq!(addresses(&client, host(&network)), [IpAddr::V4(ONE)]);
    recovers(&client, &network);
}

#[test]
fn d16_answers_that_somebody_else_could_have_made_up_are_not_believed() {
    for caller in Caller::ALL {
        let network = with_a_trap();
        let server = Raw::start(|question, _| {
            let mut forged = Vec::new();
            // Who does not see the question has to guess its number: some hundred guesses before the right answer
            // comes.
            let id = u16::from_be_bytes([question[0], question[1]]);
            for guess in 1..=200 {
                let mut answer = right(question, TWO);
                answer[..2].copy_from_slice(&id.wrapping_add(guess).to_be_bytes());
                forged.push(answer);
            }
            // The number is right, and the name is another.
            forged.push(respelt(question, |_| b'x'));
            forged.push(right(question, ONE));
            forged
        });
        let client = caller.build(asking(&network, &server)).unwrap();
        assert_eq!(addresses(&client, host(&network)), [IpAddr::V4(ONE)], "{caller:?}");
        assert_eq!(server.asked().len(), 1, "the right answer was waited for, not asked for again");
        recovers(&client, &network);
    }
}

#[test]
fn d16_an_answer_in_other_letters_than_were_asked_in_is_not_believed() {
    for caller in Caller::ALL {
        let network = with_a_trap();
        let server = Raw::start(|question, turn| match turn {
            0 => vec![respelt(question, |letter| letter ^ b' ')],
            _ => vec![right(question, ONE)],
        });
        let client = caller.build(asking(&network, &server)).unwrap();
        assert_eq!(addresses(&client, host(&network)), [IpAddr::V4(ONE)], "{caller:?}");
        assert_eq!(server.asked().len(), 2, "{caller:?}");
        recovers(&client, &network);
    }
}

#[test]
fn d16_an_answer_from_another_port_than_was_asked_is_not_heard() {
    let network = with_a_trap();
    let name = unique("spoofed");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = victim.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let mut buffer = [0; 1500];
        let (length, from) = victim.recv_from(&mut buffer).unwrap();
        // Everything is right but where it comes from.
        stranger.send_to(&right(&buffer[..length], TWO), from).unwrap();
        victim.send_to(&right(&buffer[..length], ONE), from).unwrap();
    });
    let url = format!("http://{name}:{}", network.http());
    let client = bare(&network).nameservers([server.to_string()]).hosts([&url]).build().unwrap();
    answering.join().unwrap();
    assert_eq!(addresses(&client, &name), [IpAddr::V4(ONE)]);
    assert_whole_at(&client, &format!("{url}/rows/1"));
}

#[test]
fn d21_clients_of_servers_that_disagree_never_mix_their_answers() {
    for caller in Caller::ALL {
        let network = with_a_trap();
        let (inside, outside) = (Raw::start(|q, _| vec![right(q, ONE)]), Raw::start(|q, _| vec![right(q, TWO)]));
        let views: Vec<(Client, Ipv4Addr)> = thread::scope(|scope| {
            let build = |server, address| {
                let builder = asking(&network, server);
                scope.spawn(move || (caller.build(builder).unwrap(), address))
            };
            // At once, and several of each: what is shared within the process is shared by those with the same servers.
            let builds = [(&inside, ONE), (&outside, TWO), (&inside, ONE), (&outside, TWO)].map(|(s, a)| build(s, a));
            builds.into_iter().map(|built| built.join().unwrap()).collect()
        });
        for (client, address) in &views {
            assert_eq!(addresses(client, host(&network)), [IpAddr::V4(*address)], "{caller:?}");
            get(client, &http(&network, "/rows/1"));
            assert_eq!(last_seen(&network).dialled.ip(), *address, "{caller:?}");
        }
        assert_eq!((inside.asked().len(), outside.asked().len()), (1, 1), "{caller:?}");
        // Nor do they where all addresses fail and the servers are asked again.
        network.inject_for(Fault::RefuseAll, "127.0.0.1");
        let (client, _) = &views[0];
        let asked = outside.asked().len();
        // The connection from before may be taken first, and is found dead.
        _ = caller.send(client, &Request::get(&http(&network, "/rows/2")).timeout(Duration::from_millis(500)));
        assert_eq!(addresses(client, host(&network)), [IpAddr::V4(ONE)], "{caller:?}");
        assert_eq!(outside.asked().len(), asked, "{caller:?}");
        network.heal();
        for (client, _) in &views {
            assert_whole(client, &network);
        }
    }
}

#[test]
fn d18_an_address_without_a_route_is_passed_over_at_once() {
    if !apart("d18_an_address_without_a_route_is_passed_over_at_once") {
        return;
    }
    let network = network();
    // In this namespace nothing leads anywhere but to loopback.
    network.inject(Fault::Answer(vec!["2001:db8::1".parse().unwrap(), IpAddr::V4(ONE)]));
    for caller in Caller::ALL {
        let builder = client(&network)
            .address_family(Family::Both)
            .race_stagger(Duration::from_secs(5))
            .max_age(Duration::from_millis(10));
        let client = caller.build(builder).unwrap();
        assert_eq!(addresses(&client, host(&network)).len(), 2, "{caller:?}");
        let begun = Instant::now();
        for _ in 0..5 {
            let answer = caller.send(&client, &Request::get(&http(&network, "/delay/12"))).unwrap();
            assert_eq!((answer.status(), answer.trace().attempts), (200, 1), "{caller:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "the stagger was waited for: {:?}", begun.elapsed());
        assert!(client.stats().dials <= 6, "it is dialled once and then put last: {:?}", client.stats());
        assert_whole(&client, &network);
    }
}

/// Puts this text in the place of the machine's resolv.conf, as far as this process can see.
fn resolv_conf(scratch: &Scratch, text: &str) {
    let file = scratch.file("resolv.conf", text);
    run(&format!("mount --bind {} /etc/resolv.conf", file.display()));
}

#[test]
fn d19_a_machine_without_name_servers_says_so_unless_some_are_given() {
    if !apart("d19_a_machine_without_name_servers_says_so_unless_some_are_given") {
        return;
    }
    let (network, scratch) = (network(), Scratch::new());
    let name = host(&network);
    let url = format!("http://{name}:{}", network.http());
    let here = || Client::builder().hosts([&url]).allow_addresses(["127.0.0.0/8"]);
    let fails = |what: &str| {
        for caller in Caller::ALL {
            let error = caller.build(here()).expect_err(what);
            assert_failed(&error, Reason::ConfigNoResolver, Delivery::NotSent);
            assert!(error.to_string().contains(name), "{what}: {error}");
            // A name server that was given, or an address, needs no file.
            let given = caller.build(client(&network)).unwrap();
            assert_whole(&given, &network);
            let pinned = caller.build(here().pins([format!("{name}=127.0.0.1")])).unwrap();
            assert_whole(&pinned, &network);
        }
    };
    resolv_conf(&scratch, "");
    fails("an empty file");
    resolv_conf(&scratch, "search box.test\noptions ndots:5\n# nameserver 127.0.0.1\n");
    fails("a file without a server");
    run("mount -t tmpfs none /etc");
    fails("no file");
}

#[test]
fn d19_the_machine_s_search_list_is_not_used() {
    if !apart("d19_the_machine_s_search_list_is_not_used") {
        return;
    }
    let (network, scratch) = (network(), Scratch::new());
    let server = Raw::at("127.0.0.1:53", |question, _| vec![right(question, ONE)]);
    resolv_conf(&scratch, "nameserver 127.0.0.1\nsearch leak.test other.test\noptions ndots:5\n");
    for (turn, caller) in Caller::ALL.into_iter().enumerate() {
        for name in ["kms", "a.b.c.d.example"] {
            let name = format!("{name}{turn}");
            let url = format!("http://{name}:{}", network.http());
            let builder = Client::builder().hosts([&url]).allow_addresses(["127.0.0.0/8"]);
            let client = caller.build(builder).unwrap();
            assert_whole_at(&client, &format!("{url}/rows/1"));
            assert_eq!(server.asked().last(), Some(&name), "as it is, and nothing behind it");
        }
    }
    assert_eq!(server.asked().len(), 4, "{:?}", server.asked());
}
