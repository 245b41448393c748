//! The parts, one by one: what a caller pays before and around the network.
//!
//! Building a request, its head and a key, reading options and heads, finding a pin, deciding about another try,
//! taking a connection and giving it back, and a whole `send` over loopback against the least server there is, a
//! thread that answers every head with the same bytes. Comparisons with other clients are in `peers/`, counts of
//! instructions in `instructions/`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::Criterion;
use pinlink::parts::{self, Door};
use pinlink::{Builder, Client, Origin, Part, Pin, PinSet, Profile, Record, Request, Scope, Write as KeyedWrite};

const URL: &str = "https://kms.example/keys/7?version=3";
/// The hosts of the great pin set.
const HOSTS: u32 = 10_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n";
/// The cap that threads contend for, and how many they are.
const CAP: usize = 4;
const THREADS: u64 = 8;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.bench_function("get", |bencher| bencher.iter(|| Request::get(black_box(URL))));
    group.bench_function("keyed post", |bencher| {
        bencher.iter(|| {
            Request::post(black_box(URL))
                .header("idempotency-key", "\"6f0c2f0e5c7a4b1d\"")
                .header("content-type", "application/json")
                .body(&b"{\"value\":7}"[..])
        });
    });
    group.bench_function("origin", |bencher| bencher.iter(|| Origin::parse(black_box("https://kms.example:8443"))));
    group.finish();
}

/// Every option that a careful job sets, as text, which is how bindings and properties bring them.
fn options(criterion: &mut Criterion) {
    const SET: [(&str, &str); 10] = [
        ("pinlink.hosts", "https://kms.example, https://oss.example, http://sink.example:8080"),
        ("pinlink.pins", "kms.example=10.0.0.7|10.0.0.8, sink.example=10.0.0.9"),
        ("pinlink.nameservers", "10.0.0.2, 10.0.0.3:5353"),
        ("pinlink.allow_addresses", "127.0.0.0/8, 100.100.100.200"),
        ("pinlink.max_connections", "16"),
        ("pinlink.timeout", "30s"),
        ("pinlink.connect_timeout", "500ms"),
        ("pinlink.max_headers", "64KiB"),
        ("pinlink.system_roots", "true"),
        ("pinlink.user_agent", "job/7"),
    ];
    criterion.bench_function("options/ten as text", |bencher| {
        bencher.iter(|| {
            black_box(SET).iter().fold(Builder::default(), |builder, (name, value)| builder.option(name, value))
        });
    });
}

fn pins(criterion: &mut Criterion) {
    let set = |hosts: u32| {
        let mut set = PinSet::default();
        let now = PinSet::now();
        for host in 0..hosts {
            let pin = || Pin::by_hand(vec![Ipv4Addr::from(0x0a00_0000 + host).into()], now);
            set.insert(&format!("node-{host}.data.example"), pin()).expect("a host name");
            if host == 0 {
                set.insert("*.suffix.example", pin()).expect("a suffix");
            }
        }
        set
    };
    let mut group = criterion.benchmark_group("pins");
    for hosts in [1, HOSTS] {
        let set = set(hosts);
        let last = format!("node-{}.data.example", hosts - 1);
        group.bench_function(format!("find among {hosts}"), |bencher| bencher.iter(|| set.find(black_box(&last))));
        group.bench_function(format!("find by suffix among {hosts}"), |bencher| {
            bencher.iter(|| set.find(black_box("node-7.a.suffix.example")));
        });
    }
    let text = set(HOSTS).to_json();
    group.sample_size(20);
    group.bench_function(format!("read {HOSTS} from JSON"), |bencher| {
        bencher.iter(|| PinSet::from_json(black_box(&text)));
    });
    group.finish();
}

/// What makes a write the same write: its key, and where each kind of target looks for it.
fn keys(criterion: &mut Criterion) {
    let scope = Scope::job("orders of 2026-11-22").expect("a job's key");
    let mut group = criterion.benchmark_group("keys");
    group.bench_function("of a number", |bencher| bencher.iter(|| scope.key("insert order", black_box(4711_u64))));
    group.bench_function("of three parts", |bencher| {
        bencher.iter(|| scope.key("insert order", [Part::from("berlin"), Part::from(4711_u64), Part::from("a")]));
    });
    let content = vec![b'x'; 1024];
    group.bench_function("of 1 KiB of content", |bencher| {
        bencher.iter(|| scope.key("insert order", Record::content(black_box(&content))));
    });
    let key = scope.key("insert order", 4711);
    let (post, put) = (Request::post(URL).body("id=4711"), Request::put(URL).body("rows"));
    let named = Request::put("https://kms.example/orders/_create/{key}").body("{}");
    for (name, request, profile) in [
        ("Idempotency-Key", &post, Profile::idempotency_key()),
        ("a query's parameter", &post, Profile::client_token()),
        ("a form's field", &post, Profile::client_token_in_form()),
        ("an object's condition and label", &put, Profile::oss()),
        ("a document's name", &named, Profile::elasticsearch()),
    ] {
        let write = KeyedWrite::new(request.clone(), &key, &profile);
        group.bench_function(format!("into {name}"), |bencher| {
            bencher.iter(|| parts::keyed(black_box(&write)).expect("a request that takes its key"));
        });
    }
    group.finish();
}

fn retries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("another try");
    let now = Instant::now();
    for status in [200, 503] {
        group.bench_function(format!("after {status}"), |bencher| {
            bencher.iter(|| parts::is_sent_again(black_box(status), now));
        });
    }
    group.finish();
}

/// A client of one literal address.
fn client(address: SocketAddr, connections: usize) -> Client {
    Client::builder()
        .hosts([format!("http://{address}")])
        .allow_addresses(["127.0.0.0/8"])
        .max_connections(connections)
        .build()
        .expect("a client of one literal address")
}

fn heads(criterion: &mut Criterion, address: SocketAddr) {
    let request = Request::get(&format!("http://{address}/keys/7?version=3")).header("x-trace", "7");
    let door = Door::of(&client(address, CAP), &request).expect("its own origin");
    let mut group = criterion.benchmark_group("heads");
    let mut wire = Vec::new();
    group.bench_function("of a request, written", |bencher| {
        bencher.iter(|| {
            wire.clear();
            door.write_head(black_box(&request), &mut wire);
        });
    });
    group.bench_function("of an answer, read", |bencher| {
        bencher.iter(|| parts::read_head(black_box(HEAD.as_bytes())).expect("a whole head"));
    });
    group.finish();
}

/// A connection that is idle, taken and given back: by one, and by more than there are connections.
fn leases(criterion: &mut Criterion, address: SocketAddr) {
    let request = Request::get(&format!("http://{address}/"));
    let door = Door::of(&client(address, CAP), &request).expect("its own origin");
    let mut group = criterion.benchmark_group("lease and return");
    group.bench_function("1 thread", |bencher| bencher.iter(|| door.lease_and_end().expect("a connection")));
    group.bench_function(format!("{THREADS} threads, {CAP} connections"), |bencher| {
        bencher.iter_custom(|leases| {
            let (each, start) = (leases.div_ceil(THREADS), Barrier::new(THREADS as usize));
            let lease = || {
                start.wait();
                let begun = Instant::now();
                (0..each).for_each(|_| door.lease_and_end().expect("a connection"));
                begun.elapsed()
            };
            let longest = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(lease)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).max()
            });
            longest.unwrap_or(Duration::ZERO).mul_f64(leases as f64 / (each * THREADS) as f64)
        });
    });
    group.finish();
}

/// One whole call, and a batch, where the server costs next to nothing.
fn calls(criterion: &mut Criterion, address: SocketAddr) {
    let client = client(address, 8);
    let request = Request::get(&format!("http://{address}/answer"));
    let rows = vec![request.clone(); 1000];
    let mut group = criterion.benchmark_group("calls");
    group.bench_function("send", |bencher| bencher.iter(|| client.send(&request).expect("an answer")));
    group.throughput(criterion::Throughput::Elements(rows.len() as u64));
    group.sample_size(20);
    group.bench_function("map over 8 connections", |bencher| bencher.iter(|| client.map(&rows)));
    group.finish();
}

/// Serves until the process ends.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // An end of the connection ends its thread; nobody is left to hear why.
            std::thread::spawn(move || drop(answer(socket)));
        }
    });
    Ok(address)
}

/// Answers each read: a GET over loopback comes in one piece, and nobody pipelines.
fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let response = [HEAD.as_bytes(), &[b'x'; 100]].concat();
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer)? > 0 {
        socket.write_all(&response)?;
    }
    Ok(())
}

// Not criterion's macros: what they generate is public and undocumented.
fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    options(&mut criterion);
    pins(&mut criterion);
    keys(&mut criterion);
    retries(&mut criterion);
    let address = serve().expect("a port of the loopback interface");
    heads(&mut criterion, address);
    leases(&mut criterion, address);
    calls(&mut criterion, address);
    criterion.final_summary();
}
