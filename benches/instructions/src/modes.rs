//! What is counted: loops over what callers do.
//!
//! Each looks at what it got, so that no count is that of an error. Nothing in them depends on time or on chance.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use pinlink::parts::{self, Door};
use pinlink::{Builder, Client, Part, Pin, PinSet, Profile, Request, Response, Scope, Write};

use crate::Result;
use crate::serve::{Doors, LARGE, NAME, SMALL, head_of};

/// One thing that callers do.
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    /// How many calls the two runs make.
    pub(crate) calls: [usize; 2],
    pub(crate) run: fn(&Doors, usize) -> Result<()>,
}

/// Calls that ask the server.
const ASKING: [usize; 2] = [1000, 3000];
/// Calls that ask, and are answered a little later.
const WAITING: [usize; 2] = [300, 900];
/// Calls that don't.
const ALONE: [usize; 2] = [10_000, 30_000];
/// The rows of one `map`, and the connections it has.
const ROWS: usize = 500;
const CONNECTIONS: usize = 8;
/// The hosts of the pin set.
const HOSTS: u32 = 10_000;
const URL: &str = "https://kms.example/keys/7?version=3";

pub(crate) const MODES: [Mode; 16] = [
    Mode { name: "send", calls: ASKING, run: |doors, calls| send(&Way::plain(doors), calls) },
    Mode { name: "send-tls", calls: ASKING, run: |doors, calls| send(&Way::tls(doors), calls) },
    Mode { name: "send-post", calls: ASKING, run: send_post },
    Mode { name: "send-64k", calls: ASKING, run: send_large },
    Mode { name: "async-send", calls: WAITING, run: |doors, calls| async_send(&Way::plain(doors), calls) },
    Mode { name: "async-http2", calls: ASKING, run: |doors, calls| async_send(&Way::http2(doors), calls) },
    Mode { name: "map", calls: ASKING, run: |doors, calls| map(&Way::plain(doors), calls) },
    Mode { name: "map-http2", calls: ASKING, run: |doors, calls| map(&Way::http2(doors), calls) },
    Mode { name: "write", calls: ASKING, run: write },
    Mode { name: "request", calls: ALONE, run: request },
    Mode { name: "pin", calls: ALONE, run: pin },
    Mode { name: "key", calls: ALONE, run: key },
    Mode { name: "keyed-request", calls: ALONE, run: keyed_request },
    Mode { name: "lease", calls: ALONE, run: lease },
    Mode { name: "write-head", calls: ALONE, run: write_head },
    Mode { name: "read-head", calls: ALONE, run: read_head },
];

/// How the server is asked.
struct Way<'a> {
    doors: &'a Doors,
    scheme: &'static str,
    door: SocketAddr,
    protocol: &'static str,
}

impl Way<'_> {
    fn plain(doors: &Doors) -> Way<'_> {
        Way { doors, scheme: "http", door: doors.plain, protocol: "auto" }
    }

    fn tls(doors: &Doors) -> Way<'_> {
        Way { doors, scheme: "https", door: doors.tls, protocol: "auto" }
    }

    fn http2(doors: &Doors) -> Way<'_> {
        Way { doors, scheme: "http", door: doors.http2, protocol: "http2" }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{NAME}:{}{path}", self.scheme, self.door.port())
    }

    fn builder(&self) -> Builder {
        Client::builder()
            .hosts([self.url("")])
            .option("pinlink.pins", &format!("{NAME}={}", self.door.ip()))
            .option("pinlink.protocol", self.protocol)
            .option("pinlink.ca_file", &self.doors.ca_file.to_string_lossy())
            .allow_addresses(["127.0.0.0/8"])
            .max_connections(CONNECTIONS)
            // A processor that others use as well, and code that runs fifty times slower.
            .option("pinlink.timeout", "300s")
    }

    fn looked_at(&self, answer: &Response, size: usize) -> Result<()> {
        let trace = answer.trace();
        if answer.status() != 200 || answer.body().len() != size || trace.attempts != 1 {
            return Err(format!("{answer:?} of {} bytes is not what was asked for", answer.body().len()).into());
        }
        if trace.is_http2 != (self.protocol == "http2") {
            return Err("the answer came by another version of HTTP".into());
        }
        Ok(())
    }
}

fn send(way: &Way<'_>, calls: usize) -> Result<()> {
    let (client, url) = (way.builder().build()?, way.url("/answer"));
    for _ in 0..calls {
        way.looked_at(&client.send(&Request::get(&url))?, SMALL)?;
    }
    Ok(())
}

fn send_post(doors: &Doors, calls: usize) -> Result<()> {
    let way = Way::plain(doors);
    let (client, url, body) = (way.builder().build()?, way.url("/post"), [b'p'; 1024]);
    for _ in 0..calls {
        let request = Request::post(&url).header("content-type", "application/octet-stream").body(body.to_vec());
        way.looked_at(&client.send(&request)?, SMALL)?;
    }
    Ok(())
}

fn send_large(doors: &Doors, calls: usize) -> Result<()> {
    let way = Way::plain(doors);
    let (client, url) = (way.builder().build()?, way.url("/64k"));
    for _ in 0..calls {
        way.looked_at(&client.send(&Request::get(&url))?, LARGE)?;
    }
    Ok(())
}

/// An answer that is there before anybody waits for it spares the wait, so it comes later.
fn async_send(way: &Way<'_>, calls: usize) -> Result<()> {
    let url = way.url("/later");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let client = way.builder().build_async().await?;
        for _ in 0..calls {
            way.looked_at(&client.send(&Request::get(&url)).await?, SMALL)?;
        }
        Ok(())
    })
}

fn map(way: &Way<'_>, calls: usize) -> Result<()> {
    let (client, url) = (way.builder().build()?, way.url("/answer"));
    for _ in 0..calls / ROWS {
        let rows: Vec<Request> = (0..ROWS).map(|_| Request::get(&url)).collect();
        for answer in client.map(&rows) {
            way.looked_at(&answer?, SMALL)?;
        }
    }
    Ok(())
}

fn write(doors: &Doors, calls: usize) -> Result<()> {
    let way = Way::plain(doors);
    let (client, url) = (way.builder().build()?, way.url("/orders"));
    let (scope, profile) = (Scope::job("orders of 2026-11-22")?, Profile::idempotency_key());
    for call in 0..calls {
        let request = Request::post(&url).body(r#"{"id":4711}"#);
        let write = Write::new(request, &scope.key("insert order", call as u64), &profile);
        way.looked_at(client.write(&write)?.response(), SMALL)?;
    }
    Ok(())
}

fn request(_: &Doors, calls: usize) -> Result<()> {
    for _ in 0..calls {
        black_box(Request::get(black_box(URL))).check()?;
    }
    Ok(())
}

/// Finds the pins of the last of many hosts.
fn pin(_: &Doors, calls: usize) -> Result<()> {
    let (mut set, now) = (PinSet::default(), PinSet::now());
    for host in 0..HOSTS {
        set.insert(
            &format!("node-{host}.data.example"),
            Pin::by_hand(vec![Ipv4Addr::from(0x0a00_0000 + host).into()], now),
        )?;
    }
    let last = format!("node-{}.data.example", HOSTS - 1);
    for _ in 0..calls {
        black_box(set.find(black_box(&last))).ok_or("no pin")?;
    }
    Ok(())
}

fn key(_: &Doors, calls: usize) -> Result<()> {
    let scope = Scope::job("orders of 2026-11-22")?;
    for call in 0..calls {
        black_box(scope.key(black_box("insert order"), [Part::from("berlin"), Part::from(call as u64)]));
    }
    Ok(())
}

/// Puts a key into a header.
fn keyed_request(_: &Doors, calls: usize) -> Result<()> {
    let key = Scope::job("orders of 2026-11-22")?.key("insert order", 4711);
    let write = Write::new(Request::post(URL).body(r#"{"id":4711}"#), &key, &Profile::idempotency_key());
    for _ in 0..calls {
        black_box(parts::keyed(black_box(&write))?);
    }
    Ok(())
}

/// Takes a connection that is idle, and gives it back.
fn lease(doors: &Doors, calls: usize) -> Result<()> {
    let way = Way::plain(doors);
    let client = way.builder().build()?;
    let door = Door::of(&client, &Request::get(&way.url("/answer")))?;
    for _ in 0..calls {
        door.lease_and_end()?;
    }
    Ok(())
}

fn write_head(doors: &Doors, calls: usize) -> Result<()> {
    let way = Way::plain(doors);
    let client = way.builder().build()?;
    let request = Request::get(&way.url("/answer")).header("x-trace", "7");
    let (door, mut wire) = (Door::of(&client, &request)?, Vec::new());
    for _ in 0..calls {
        wire.clear();
        door.write_head(black_box(&request), &mut wire);
        black_box(&wire);
    }
    if wire.starts_with(b"GET /answer HTTP/1.1\r\n") { Ok(()) } else { Err("that is no head".into()) }
}

fn read_head(_: &Doors, calls: usize) -> Result<()> {
    let head = head_of(SMALL);
    for _ in 0..calls {
        black_box(parts::read_head(black_box(head.as_bytes()))).ok_or("the head was refused")?;
    }
    Ok(())
}
