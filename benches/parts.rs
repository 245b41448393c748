//! The parts, one by one: what a caller pays before and around the network.
//!
//! Only what the public interface reaches: building a request, reading options, finding a pin, and a whole
//! `send` over loopback against the least server there is, a thread that answers every head with the same
//! bytes. Comparisons with other clients are in `peers/`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use criterion::Criterion;
use pinlink::{Builder, Client, Origin, Pin, PinSet, Request};

const URL: &str = "https://kms.example/keys/7?version=3";
/// The hosts of the great pin set.
const HOSTS: u32 = 10_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n";

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

/// One whole call, and a batch, where the server costs next to nothing.
fn calls(criterion: &mut Criterion) {
    let address = serve().expect("a port of the loopback interface");
    let client = Client::builder()
        .hosts([format!("http://{address}")])
        .allow_addresses(["127.0.0.0/8"])
        .build()
        .expect("a client of one literal address");
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
    calls(&mut criterion);
    criterion.final_summary();
}
