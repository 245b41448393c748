//! The DNS server, seen by a raw client.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{PATIENCE, eventually, start};
use crate::{Fault, Followed, Malformation, Network, Plan};

/// How long silence takes to be believed.
const SILENCE: Duration = Duration::from_millis(60);

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("a name"), kind));
    message
}

fn send(network: &Network, message: &Message) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.send_to(&message.to_vec().expect("a message"), network.dns()).expect("sent");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut packet = vec![0; 65_535];
    let length = socket.recv(&mut packet).expect("an answer");
    packet.truncate(length);
    packet
}

fn ask(network: &Network, name: &str, kind: RecordType) -> Message {
    Message::from_vec(&receive(&send(network, &query(name, kind)))).expect("a well-formed answer")
}

fn ask_tcp(network: &Network, message: &Message) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(network.dns())?;
    stream.set_read_timeout(Some(SILENCE))?;
    let packet = message.to_vec().expect("a message");
    stream.write_all(&(packet.len() as u16).to_be_bytes())?;
    stream.write_all(&packet)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet)?;
    Ok(Message::from_vec(&packet).expect("a well-formed answer"))
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    message.answers.iter().filter_map(|record| address(&record.data)).collect()
}

fn silent(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    socket.recv(&mut [0; 512]).is_err()
}

#[test]
fn names_of_the_plan_and_of_the_zone_resolve_dead_addresses_first() {
    let dead = Ipv4Addr::new(127, 0, 0, 9);
    let network = start(Plan { dead_ips: vec![dead], ttl: 7, ..Plan::default() });
    for name in ["kms.box.test", "OSS.Box.Test", "anything.box.test"] {
        let answer = ask(&network, name, RecordType::A);
        assert_eq!(addresses(&answer), [IpAddr::V4(dead), IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        assert_eq!(answer.answers[0].ttl, 7);
    }
    let answer = ask(&network, "kms.box.test", RecordType::AAAA);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    for name in ["kms.example.com", "two.deep.box.test", "box.test", "kms.box.test.cluster.local"] {
        assert_eq!(ask(&network, name, RecordType::A).metadata.response_code, ResponseCode::NXDomain, "{name}");
    }
    let counts = network.counts().dns;
    assert_eq!((counts.queries, counts.answered, counts.dropped), (8, 8, 0));
    assert_eq!(counts.by_name["kms.box.test"], 2);
    let log = network.queries();
    let line = |at: usize| (log[at].name.as_str(), log[at].kind.as_str(), log[at].answered.as_str());
    assert_eq!(line(1), ("oss.box.test", "A", "answer"));
    assert_eq!(line(3), ("kms.box.test", "AAAA", "no-data"));
    assert_eq!(line(4), ("kms.example.com", "A", "nx-domain"));
    network.reset_counts();
    assert_eq!((network.counts().dns.queries, network.queries().len()), (0, 0));
}

#[test]
fn answers_with_error_codes() {
    let network = start(Plan::default());
    for (fault, code) in [
        (Fault::ServFail(100), ResponseCode::ServFail),
        (Fault::Refused, ResponseCode::Refused),
        (Fault::NotImp, ResponseCode::NotImp),
        (Fault::FormErr, ResponseCode::FormErr),
        (Fault::NxDomain, ResponseCode::NXDomain),
        (Fault::NoData, ResponseCode::NoError),
    ] {
        network.inject_times(fault, 1);
        let answer = ask(&network, "kms.box.test", RecordType::A);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0));
        assert_eq!(addresses(&ask(&network, "kms.box.test", RecordType::A)).len(), 1, "healed after one hit");
    }
}

#[test]
fn a_share_of_the_queries_fails_evenly() {
    let network = start(Plan::default());
    network.inject(Fault::ServFail(20));
    let fails = |_| ask(&network, "kms.box.test", RecordType::A).metadata.response_code == ResponseCode::ServFail;
    assert_eq!((0..20).map(fails).filter(|failed| *failed).count(), 4);
}

#[test]
fn silence_can_be_for_one_name_only() {
    let network = start(Plan::default());
    network.inject_for(Fault::Silent, "kms.box.test");
    let waiting = send(&network, &query("kms.box.test", RecordType::A));
    assert_eq!(addresses(&ask(&network, "oss.box.test", RecordType::A)).len(), 1);
    assert!(silent(&waiting));
    assert!(ask_tcp(&network, &query("kms.box.test", RecordType::A)).is_err());
    eventually("both dropped", || network.counts().dns.dropped == 2);
    network.heal();
    assert_eq!(addresses(&ask(&network, "kms.box.test", RecordType::A)).len(), 1);
}

#[test]
fn truncated_over_udp_right_over_tcp_unless_tcp_is_silent() {
    let network = start(Plan::default());
    let question = query("kms.box.test", RecordType::A);
    network.inject(Fault::Truncate);
    let cut = ask(&network, "kms.box.test", RecordType::A);
    assert!(cut.metadata.truncation);
    assert_eq!(addresses(&ask_tcp(&network, &question).expect("an answer")).len(), 1);
    network.heal();
    network.inject(Fault::TruncateNoTcp);
    assert!(ask(&network, "kms.box.test", RecordType::A).metadata.truncation);
    assert!(ask_tcp(&network, &question).is_err());
    eventually("all four", || network.counts().dns.queries == 4);
    let log = network.queries();
    let log: Vec<_> = log.iter().map(|query| (query.transport.as_str(), query.answered.as_str())).collect();
    assert_eq!(log, [("udp", "truncated"), ("tcp", "answer"), ("udp", "truncated"), ("tcp", "dropped")]);
}

#[test]
fn large_sets_go_over_tcp() {
    let network = start(Plan::default());
    network.inject(Fault::ManyAddresses(1000));
    assert!(ask(&network, "kms.box.test", RecordType::A).metadata.truncation);
    let whole = ask_tcp(&network, &query("kms.box.test", RecordType::A)).expect("an answer");
    let distinct: BTreeSet<_> = addresses(&whole).into_iter().collect();
    assert_eq!(distinct.len(), 1000);
}

#[test]
fn aliases_loop_or_end_in_the_right_answer() {
    let network = start(Plan::default());
    network.inject(Fault::AliasLoop);
    for name in ["kms.box.test", "loop-a.box.test", "loop-b.box.test"] {
        let answer = ask(&network, name, RecordType::A);
        assert!(addresses(&answer).is_empty() && answer.answers.len() >= 2);
        let targets = answer.answers.iter().filter_map(|record| match &record.data {
            RData::CNAME(target) => Some(&target.0),
            _ => None,
        });
        let owners: Vec<&Name> = answer.answers.iter().map(|record| &record.name).collect();
        assert!(targets.into_iter().all(|target| owners.contains(&target)), "{name}: every alias leads back");
    }
    network.heal();
    network.inject(Fault::AliasChain(9));
    let answer = ask(&network, "kms.box.test", RecordType::A);
    assert_eq!((answer.answers.len(), addresses(&answer).len()), (10, 1));
}

#[test]
fn answers_can_be_anything() {
    let network = start(Plan::default());
    let metadata = IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200));
    let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
    network.inject(Fault::Answer(vec![metadata, six]));
    network.inject(Fault::Ttl(0));
    let answer = ask(&network, "kms.box.test", RecordType::A);
    assert_eq!((addresses(&answer), answer.answers[0].ttl), (vec![metadata], 0));
    assert_eq!(addresses(&ask(&network, "kms.box.test", RecordType::AAAA)), [six]);
}

#[test]
fn malformed_messages_and_what_follows() {
    let network = start(Plan::default());
    let question = query("kms.box.test", RecordType::A);
    for how in
        [Malformation::WrongId, Malformation::WrongQuestion, Malformation::CompressionLoop, Malformation::Garbage]
    {
        network.inject(Fault::Malformed(how, Followed::RightAnswer));
        let socket = send(&network, &question);
        let first = Message::from_vec(&receive(&socket));
        match (how, first) {
            (Malformation::WrongId, Ok(message)) => assert_ne!(message.metadata.id, 4711),
            (Malformation::WrongQuestion, Ok(message)) => assert_ne!(message.queries, question.queries),
            (_, first) => assert!(first.is_err(), "{how:?}"),
        }
        let second = Message::from_vec(&receive(&socket)).expect("the right answer");
        assert_eq!((second.metadata.id, addresses(&second).len()), (4711, 1));
    }
    network.inject(Fault::Malformed(Malformation::Garbage, Followed::Nothing));
    let socket = send(&network, &question);
    receive(&socket);
    assert!(silent(&socket));
}

#[test]
fn queries_over_the_limit_are_dropped() {
    let network = start(Plan { queries_per_second: Some(5), ..Plan::default() });
    let sockets: Vec<_> = (0..40).map(|_| send(&network, &query("kms.box.test", RecordType::A))).collect();
    eventually("all queries", || network.counts().dns.queries == 40);
    let counts = network.counts().dns;
    assert!((5..=7).contains(&counts.answered), "{counts:?}");
    assert_eq!(counts.answered + counts.dropped, 40);
    drop(sockets);
}

#[test]
fn slow_answers_do_not_hold_up_each_other() {
    let network = start(Plan::default());
    network.inject(Fault::SlowAnswer(100));
    let begun = std::time::Instant::now();
    let sockets: Vec<_> = (0..10).map(|_| send(&network, &query("kms.box.test", RecordType::A))).collect();
    for socket in &sockets {
        receive(socket);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(900), "{took:?}");
}
