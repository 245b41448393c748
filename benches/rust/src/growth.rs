//! How costs grow: the same client of ours with more hosts, threads, rows or idle connections. Each point of a curve is a
//! peer, and the first one is what the others are compared with.
//!
//! CPU time and the peak of memory are counted by whoever asked; what a host and an idle connection take is counted here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use pinlink::{Client, Request};

use crate::asked::{Ask, At, Result};
use crate::clients::{builder, map};
use crate::memory::Taken;
use crate::tasks::{Way, bounded};
use crate::turns::{Figures, Turn, at_once, one_by_one};

/// A curve: what its points count, where they are, and the turns at one of them.
pub(crate) struct Curve {
    pub(crate) workload: &'static str,
    /// What there are more and more of; one of it, without the `s`.
    pub(crate) of: &'static str,
    pub(crate) points: &'static [usize],
    pub(crate) at: fn(&At, usize) -> Result<Turn>,
}

const TENS: [usize; 5] = [1, 10, 100, 1000, 10_000];

pub(crate) const CURVES: [Curve; 6] = [
    Curve { workload: "grow-hosts", of: "hosts", points: &TENS, at: hosts },
    Curve { workload: "grow-threads", of: "threads", points: &[1, 2, 4, 8, 16, 32, 64, 128, 256], at: threads },
    Curve { workload: "grow-in-flight", of: "rows", points: &TENS, at: in_flight },
    Curve { workload: "grow-streams", of: "rows", points: &TENS, at: streams },
    Curve { workload: "grow-idle", of: "connections", points: &[1, 10, 100, 1000], at: idle },
    Curve { workload: "grow-rows", of: "rows", points: &[1000, 10_000, 100_000, 1_000_000, 10_000_000], at: in_chunks },
];

impl Curve {
    /// The name of a point: the number as people write it, and of what.
    pub(crate) fn name(&self, point: usize) -> String {
        let digits = point.to_string();
        let mut number = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                number.push(',');
            }
            number.push(digit);
        }
        let of = if point == 1 { self.of.trim_end_matches('s') } else { self.of };
        format!("{number} {of}")
    }
}

/// How many hosts are asked, however many there are: each has its connection.
const ASKED: usize = 8;
/// The connections of a batch.
const CONNECTIONS: usize = 32;
/// The cap that threads share.
const CAP: usize = 8;
/// The rows of one `map`, where there are more.
const CHUNK: usize = 10_000;

/// So many pinned hosts; turns ask [`ASKED`] of them in turn, spread over all.
fn hosts(at: &At, count: usize) -> Result<Turn> {
    let port = at.address.port();
    let host = |index: usize| format!("node-{index}.data.example");
    let client = |count: usize| {
        let hosts = (0..count).map(|index| format!("http://{}:{port}", host(index)));
        let pins = (0..count).map(|index| format!("{}=127.0.0.1", host(index)));
        Client::builder().hosts(hosts).pins(pins).allow_addresses(["127.0.0.0/8"]).build()
    };
    // What a client takes whatever it knows, and the first use of everything.
    let _one = client(1)?;
    let before = Taken::now();
    let client = client(count)?;
    let taken = before.since();
    let path = at.path.clone();
    let urls = (0..ASKED).map(move |index| format!("http://{}:{port}{path}", host(index * count / ASKED)));
    let urls: Vec<String> = urls.collect();
    let mut next = 0;
    let mut turn = one_by_one(Box::new(move || {
        next = (next + 1) % ASKED;
        Ask::Get.check(client.send(&Request::get(&urls[next]))?.body())
    }));
    Ok(Box::new(move |requests, at_least| {
        let mut figures = turn(requests, at_least)?;
        // A page more or less is nothing that a few hosts have taken.
        if count >= 1000 {
            figures.more = taken.each(count);
        }
        Ok(figures)
    }))
}

/// So many threads that stand ready, each sending one request after the other through one client.
fn threads(at: &At, count: usize) -> Result<Turn> {
    let client = bounded(builder(at), Way::Http1(CAP)).build()?;
    let left = Arc::new(AtomicUsize::new(0));
    let begin = Arc::new(Barrier::new(count + 1));
    let (ended, all): (Sender<Result<usize>>, Receiver<_>) = mpsc::channel();
    for _ in 0..count {
        let (client, url, left, begin, ended) =
            (client.clone(), at.url.clone(), Arc::clone(&left), Arc::clone(&begin), ended.clone());
        let work = move || -> Result<usize> {
            let mut done = 0;
            while left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                Ask::Get.check(client.send(&Request::get(&url))?.body())?;
                done += 1;
            }
            Ok(done)
        };
        std::thread::spawn(move || {
            loop {
                begin.wait();
                if ended.send(work()).is_err() {
                    return;
                }
            }
        });
    }
    Ok(Box::new(move |requests, _| {
        left.store(requests, Relaxed);
        let begun = Instant::now();
        begin.wait();
        let mut done = 0;
        let outcomes: Vec<Result<usize>> = all.iter().take(count).collect();
        let figures = Figures::new(requests, begun);
        for outcome in outcomes {
            done += outcome?;
        }
        if done == requests { Ok(figures) } else { Err(format!("{done} of {requests} requests were made").into()) }
    }))
}

/// As many rows as a turn says, handed to one `map`.
fn in_flight(at: &At, _rows: usize) -> Result<Turn> {
    rows(at, Way::Http1(CONNECTIONS))
}

/// The same over one HTTP/2 connection.
fn streams(at: &At, _rows: usize) -> Result<Turn> {
    rows(at, Way::Http2(100))
}

/// The same again, with a `map` for each [`CHUNK`].
fn in_chunks(at: &At, _rows: usize) -> Result<Turn> {
    rows(at, Way::Http1(CONNECTIONS))
}

fn rows(at: &At, way: Way) -> Result<Turn> {
    let mut batch = map(at, way)?;
    Ok(at_once(Box::new(move |mut rows| {
        while rows > 0 {
            let chunk = rows.min(CHUNK);
            batch(chunk)?;
            rows -= chunk;
        }
        Ok(())
    })))
}

/// So many connections that have answered and are kept: all are leased at once by answers that are left unread until
/// the last one has come. A turn is for a process that does nothing else.
fn idle(at: &At, count: usize) -> Result<Turn> {
    let client = bounded(builder(at), Way::Http1(1024)).build()?;
    let url = format!("{}/64k", at.origin());
    let keep = move |connections: usize| -> Result<()> {
        let open = |_| Ok(client.open(&Request::get(&url))?);
        let answers = (0..connections).map(open).collect::<Result<Vec<_>>>()?;
        for mut answer in answers {
            let mut taken = 0;
            while let Some(piece) = answer.chunk()? {
                taken += piece.len();
            }
            Ask::Body.check_length(taken)?;
        }
        match client.stats().connections_idle {
            idle if idle == connections as u64 => Ok(()),
            idle => Err(format!("{idle} connections are kept, not {connections}").into()),
        }
    };
    Ok(Box::new(move |_, _| {
        // The first one brings what all of them share.
        keep(1)?;
        let (before, begun) = (Taken::now(), Instant::now());
        keep(1 + count)?;
        Ok(Figures { more: before.since().each(count), ..Figures::new(count, begun) })
    }))
}

/// What was taken by each of so many, by the driver's names.
impl Taken {
    fn each(&self, count: usize) -> BTreeMap<&'static str, f64> {
        BTreeMap::from([
            ("bytes_each", self.resident as f64 / count as f64),
            ("heap_each", self.allocated as f64 / count as f64),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_named_as_people_write_numbers() {
        let [hosts, ..] = CURVES;
        assert_eq!(hosts.name(1), "1 host");
        assert_eq!(hosts.name(100), "100 hosts");
        assert_eq!(hosts.name(10_000), "10,000 hosts");
        assert_eq!(hosts.name(1_234_567), "1,234,567 hosts");
    }

    #[test]
    fn every_curve_grows() {
        for curve in &CURVES {
            assert!(curve.points.is_sorted() && curve.points.len() > 3, "{}", curve.workload);
        }
    }
}
