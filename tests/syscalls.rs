//! Promise: a blocking caller drives its connection on its own thread. One call on a warm connection is one send and two
//! receives, of which the first is the liveness probe; there is no `poll`, and no other thread of the process is woken.
//!
//! Counted by strace over this test binary, run again with one test; the network stays in the process that started it.
//! Two `getppid` calls, which nothing else makes, mark where counting begins and ends.

mod common;

use std::collections::BTreeMap;

use common::{alone, client_at, http_at, is_installed, outer, secure_at, start};
use pinlink::Request;
use pinlink_box::{Addresses, Plan};

const CALLS: usize = 100;

/// One line of strace's record: the thread, and the name of the system call that it begins or comes back from.
fn parse(line: &str) -> Option<(u32, String, bool)> {
    let (thread, rest) = line.trim_start().split_once(' ')?;
    let rest = rest.trim_start();
    let (name, resumed) = match rest.strip_prefix("<... ") {
        Some(rest) => (rest.split(' ').next()?, true),
        None => (rest.split('(').next()?, false),
    };
    Some((thread.parse().ok()?, name.to_owned(), resumed))
}

/// What the marked thread did between the marks, by name, and the lines of all other threads.
fn between_the_marks(record: &str) -> (BTreeMap<String, usize>, Vec<&str>) {
    let marks: Vec<usize> =
        record.lines().enumerate().filter(|(_, line)| line.contains("getppid(")).map(|(at, _)| at).collect();
    let &[first, last] = marks.as_slice() else { panic!("there are {} marks, not 2", marks.len()) };
    let lines: Vec<&str> = record.lines().collect();
    let caller = parse(lines[first]).expect("a mark is a system call").0;
    let (mut calls, mut others) = (BTreeMap::new(), Vec::new());
    for line in &lines[first + 1..last] {
        match parse(line) {
            Some((thread, name, resumed)) if thread == caller => {
                *calls.entry(name).or_default() += usize::from(!resumed);
            }
            _ => others.push(*line),
        }
    }
    (calls, others)
}

/// Counts the system calls of `CALLS` warm calls; `url` makes theirs.
fn count(test: &str, url: fn(&Addresses, &str) -> String) {
    if let Some(addresses) = outer() {
        let client = client_at(&addresses).build().unwrap();
        let request = Request::get(&url(&addresses, "/rows/1"));
        let call = || assert_eq!(client.send(&request).unwrap().status(), 200);
        // Until the connection and the memory that a call needs are there.
        (0..CALLS).for_each(|_| call());
        _ = std::os::unix::process::parent_id();
        (0..CALLS).for_each(|_| call());
        _ = std::os::unix::process::parent_id();
        assert_eq!(client.stats().dials, 1);
        return;
    }
    assert!(is_installed("strace"), "this test needs strace: apt-get install strace");
    let network = start(Plan::default());
    let record = std::env::temp_dir().join(format!("pinlink-{test}-{}.strace", std::process::id()));
    let path = record.to_str().expect("the temporary directory is text");
    let mut runs = 0;
    let (calls, others) = loop {
        runs += 1;
        alone(&["strace", "-f", "-qq", "-o", path], test, &network);
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::remove_file(&record).unwrap();
        let (calls, others) = between_the_marks(&text);
        // The runtime looks at idle connections once in a while: that may fall between the marks, but not each time.
        if others.is_empty() || runs == 3 {
            break (calls, others.join("\n"));
        }
    };
    let expected = [("recvfrom", 2 * CALLS), ("sendto", CALLS)];
    let expected: BTreeMap<String, usize> = expected.map(|(name, times)| (name.to_owned(), times)).into();
    assert_eq!(calls, expected, "on the caller's thread");
    assert!(others.is_empty(), "other threads were woken:\n{others}");
    assert_eq!(network.counts().origins.requests as usize, 2 * CALLS * runs);
    assert_eq!(network.counts().proxy.total as usize, runs);
}

#[test]
fn a_warm_plain_call_is_one_send_and_two_receives_and_wakes_nobody() {
    count("a_warm_plain_call_is_one_send_and_two_receives_and_wakes_nobody", http_at);
}

#[test]
fn a_warm_tls_call_is_one_send_and_two_receives_and_wakes_nobody() {
    count("a_warm_tls_call_is_one_send_and_two_receives_and_wakes_nobody", secure_at);
}

#[test]
fn the_record_is_read_as_strace_writes_it() {
    let record = "7 getppid() = 1\n8 <... epoll_wait resumed>[], 1024, 5) = 0\n7 sendto(3, \"a\", 1) = 1\n\
                  7 recvfrom(3, <unfinished ...>\n9 futex(0x1, FUTEX_WAIT) = 0\n7 <... recvfrom resumed>\"b\", 1) = 1\n\
                  7 getppid() = 1\n";
    let (calls, others) = between_the_marks(record);
    assert_eq!(calls, BTreeMap::from([("recvfrom".to_owned(), 1), ("sendto".to_owned(), 1)]));
    assert_eq!(others.len(), 2);
}
