//! FAULTS section 6: what happens to writes when answers are lost, nodes are killed and executed again, twins run beside
//! them, and targets forget. Every test is named after its row.
//!
//! The sink's own records decide: how often each record was attempted and how often it was applied. The nodes that are
//! killed are this test binary, run again with one test.

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Output};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::raw::Peer;
use common::survival::Caller;
use common::writes::{Way, assert_written, effects, key, keys, post, prompt, refused, spoil, unknown, writer};
use common::{
    PATIENCE, Scratch, again, alone, client, client_at, eventually, everything_said, http, http_at, network, outer,
    secure, seen,
};
use pinlink::{
    Batch, Client, Delivery, Error, Fate, Key, KeyForm, Kind, Meaning, Outcome, Profile, Reason, Record, Request,
    Response, Scope, Write, Written,
};
use pinlink_box::{Addresses, Fault, Network};

/// What is written here: a row with its key in `Idempotency-Key`.
fn row(network: &Network, record: &str) -> Write {
    Write::new(post(network, record), &key(record), &Profile::idempotency_key())
}

/// What came of many, by outcome or reason.
fn tally(outcomes: &[pinlink::Result<Written>]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for outcome in outcomes {
        let name = outcome.as_ref().map_or_else(|error| error.reason().as_str(), |written| written.outcome().as_str());
        *tally.entry(name).or_default() += 1;
    }
    tally
}

/// How many records were attempted and applied so often.
fn spread(network: &Network) -> BTreeMap<(u64, u64), usize> {
    let mut spread = BTreeMap::new();
    for write in network.sink() {
        *spread.entry((write.attempts, write.applied)).or_default() += 1;
    }
    spread
}

/// A client with room for a retry of every write: what is tested is that none of them happens twice.
fn generous(network: &Network) -> Client {
    prompt(client(network)).retry_budget(10_000).timeout(Duration::from_secs(120)).build().unwrap()
}

#[test]
fn w1_an_answer_that_is_lost_is_replayed_without_an_error() {
    for way in Way::ALL {
        for fault in
            [Fault::AckLost, Fault::AckLostReset, Fault::ApplyThenDie, Fault::ApplyThenReset, Fault::ApplyThen500]
        {
            for caller in Caller::ALL {
                let network = network();
                let client = way.client(&network);
                // Over TLS and HTTP/2 the proxy's faults would otherwise hit a handshake.
                client.send(&Request::get(&way.url(&network, "/rows/warm"))).unwrap();
                network.inject_times(fault.clone(), 1);
                let request = Request::post(&way.url(&network, "/sink/row")).body("once");
                let written = caller.write(&client, &Write::new(request, &key("row"), &Profile::idempotency_key()));
                let written = written.unwrap_or_else(|error| panic!("{way:?} {caller:?} {fault:?}: {error}"));
                assert_eq!(written.outcome(), Outcome::AlreadyApplied, "{way:?} {fault:?}");
                assert_eq!(written.response().header("idempotent-replayed"), Some("true"), "{way:?} {fault:?}");
                assert_eq!(written.response().trace().attempts, 2, "{way:?} {fault:?}");
                assert_eq!(effects(&network, "row"), (2, 1), "{way:?} {fault:?}");
                assert_eq!(keys(&network, "row"), [Some(key("row").hex())]);
            }
        }
    }
}

#[test]
fn w1_ten_thousand_keyed_writes_whose_answers_are_lost_happen_once_without_an_error() {
    const ROWS: usize = 10_000;
    let network = network();
    network.inject(Fault::ApplyThenDie);
    // Past the proxy: twenty thousand connections are work enough.
    let origin = format!("http://{}", network.direct_http());
    let builder = Client::builder().hosts([&origin]).allow_addresses(["127.0.0.0/8"]).option("summary", "off");
    // Every write is sent twice here, which no budget is for: what is tested is that none happens twice.
    let client = prompt(builder).retry_budget(10_000).timeout(Duration::from_secs(120)).build().unwrap();
    let write = |row: usize| {
        let request = Request::post(&format!("{origin}/sink/{row}")).body("berlin");
        Write::new(request, &key(row), &Profile::idempotency_key())
    };
    let outcomes = client.write_all(&(0..ROWS).map(write).collect::<Vec<Write>>());
    assert_eq!(tally(&outcomes), BTreeMap::from([("AlreadyApplied", ROWS)]), "every first answer was lost");
    assert_eq!(spread(&network), BTreeMap::from([((2, 1), ROWS)]), "0 twice, 0 not at all");
}

#[test]
fn w1_a_thousand_unkeyed_writes_whose_answers_are_lost_are_sent_once_and_say_so() {
    const ROWS: usize = 1_000;
    let network = network();
    let client = generous(&network);
    network.inject(Fault::ApplyThenDie);
    let rows: Vec<Write> = (0..ROWS).map(|row| Write::keyless(post(&network, &format!("{row}"))).unkeyed()).collect();
    let outcomes = client.write_all(&rows);
    assert_eq!(tally(&outcomes), BTreeMap::from([("Write.OutcomeUnknown", ROWS)]));
    for outcome in outcomes {
        assert_eq!(unknown(outcome).delivery(), Delivery::Unknown);
    }
    assert_eq!(spread(&network), BTreeMap::from([((1, 1), ROWS)]));
}

#[test]
fn w1_w4_chaos_at_the_target_loses_nothing_and_doubles_nothing() {
    const ROWS: usize = 30;
    thread::scope(|scope| {
        for way in Way::ALL {
            scope.spawn(move || {
                let network = network();
                network.inject(Fault::WriteChaos(22, 40));
                let write = |row: usize| {
                    let request = Request::post(&way.url(&network, &format!("/sink/{row}"))).body("berlin");
                    Write::new(request, &key(row), &Profile::idempotency_key())
                };
                // What a row's tries do not settle its next execution does, in another process.
                let mut open: Vec<usize> = (0..ROWS).collect();
                let mut executions = 0;
                while !open.is_empty() {
                    executions += 1;
                    assert!(executions <= 10, "{way:?}: {open:?} never end");
                    let outcomes =
                        impatient(&network, way).write_all(&open.iter().copied().map(write).collect::<Vec<_>>());
                    let mut left = Vec::new();
                    for (row, outcome) in open.into_iter().zip(outcomes) {
                        if outcome.is_err() {
                            unknown(outcome);
                            left.push(row);
                        }
                    }
                    open = left;
                }
                let writes = network.sink();
                assert_eq!(writes.len(), ROWS, "{way:?}: 0 lost");
                assert!(writes.iter().all(|write| write.applied == 1), "{way:?}: 0 double: {writes:?}");
                let attempts: u64 = writes.iter().map(|write| write.attempts).sum();
                assert!(attempts > ROWS as u64 * 4 / 3, "{way:?}: it was chaos: {attempts}");
            });
        }
    });
}

/// A client that gives up on a silent target soon, and has room for a retry of every write.
fn impatient(network: &Network, way: Way) -> Client {
    let builder = match way {
        Way::Plain | Way::Tls => client(network).option("protocol", "http1"),
        Way::Http2 | Way::Http2Tls => common::http2(network),
    };
    let builder = builder.retry_budget(10_000).max_attempts(10).timeout(Duration::from_secs(60));
    builder.stall_timeout(Duration::from_secs(1)).backoff_max(Duration::from_millis(500)).build().unwrap()
}

/// A node of a job, in a process of its own.
struct Node(Child);

impl Node {
    fn start(test: &str, network: &Network) -> Node {
        let role = serde_json::to_string(network.addresses()).expect("addresses are plain data");
        Node(again(test, &role).spawn().expect("this program starts"))
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    fn kill(mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it has gone");
    }

    /// Lets those go who wait in [`barrier`].
    fn go(&mut self) {
        self.0.stdin.as_mut().expect("it is piped").write_all(b"go").expect("it waits");
    }

    fn end(self) -> Output {
        self.0.wait_with_output().expect("it has gone")
    }
}

/// In a node: waits until all nodes are there.
fn barrier() {
    std::io::stdin().read_exact(&mut [0; 2]).expect("the test says when");
}

fn node_client(addresses: &Addresses) -> Client {
    prompt(client_at(addresses)).retry_budget(10_000).option("summary", "off").build().unwrap()
}

/// As [`row`], in a node; the target takes so long for it (ms).
fn slow_row(addresses: &Addresses, record: &str, slow: u64) -> Write {
    let request = Request::post(&http_at(addresses, &format!("/sink/{record}?slow={slow}"))).body("berlin");
    Write::new(request, &key(record), &Profile::idempotency_key())
}

/// In a node: has the test see that it has come so far.
fn tell(client: &Client, addresses: &Addresses, what: &str) {
    client.send(&Request::get(&http_at(addresses, &format!("/rows/{what}")))).expect("the network is there");
}

#[test]
fn w2_a_node_killed_between_send_and_answer_writes_once_when_it_is_executed_again() {
    const TEST: &str = "w2_a_node_killed_between_send_and_answer_writes_once_when_it_is_executed_again";
    let Some(addresses) = outer() else {
        let network = network();
        let node = Node::start(TEST, &network);
        eventually("the row is being written", || !bodies(&network, "row").is_empty());
        node.kill();
        assert_eq!(effects(&network, "row"), (1, 0), "it came, and was not done yet");
        alone(&[], TEST, &network);
        let (attempts, applied) = effects(&network, "row");
        assert_eq!((attempts > 1, applied), (true, 1));
        assert_eq!(keys(&network, "row"), [Some(key("row").hex())], "two processes, one key");
        return;
    };
    // The first execution does not live to see it.
    let written = node_client(&addresses).write(&slow_row(&addresses, "row", 1500));
    assert_written(&written, Outcome::AlreadyApplied);
}

fn bodies(network: &Network, record: &str) -> Vec<String> {
    network.sink().into_iter().filter(|write| write.record == record).flat_map(|write| write.bodies).collect()
}

#[test]
fn w3_a_node_killed_after_the_answer_writes_once_when_it_is_executed_again() {
    const TEST: &str = "w3_a_node_killed_after_the_answer_writes_once_when_it_is_executed_again";
    let Some(addresses) = outer() else {
        let network = network();
        let node = Node::start(TEST, &network);
        eventually("the answer has come", || !seen(&network, "/rows/answered").is_empty());
        node.kill();
        alone(&[], TEST, &network);
        assert_eq!(effects(&network, "row"), (2, 1));
        assert_eq!(seen(&network, "/rows/committed").len(), 1);
        return;
    };
    let client = node_client(&addresses);
    let written = client.write(&slow_row(&addresses, "row", 0)).unwrap();
    if written.outcome() == Outcome::Applied {
        tell(&client, &addresses, "answered");
        // What follows an answer is never reached.
        thread::sleep(PATIENCE);
    }
    assert_eq!(written.outcome(), Outcome::AlreadyApplied);
    tell(&client, &addresses, "committed");
}

#[test]
fn w2_w3_w4_a_job_killed_at_random_points_beside_its_backup_loses_nothing_and_doubles_nothing() {
    const TEST: &str = "w2_w3_w4_a_job_killed_at_random_points_beside_its_backup_loses_nothing_and_doubles_nothing";
    const ROWS: usize = 40;
    const CYCLES: usize = 50;
    let Some(addresses) = outer() else {
        let network = network();
        // Some answers are lost on top of it.
        network.inject_times(Fault::ApplyThenReset, 10);
        network.inject_times(Fault::Refuse503, 10);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..CYCLES {
            let requests = network.counts().origins.requests;
            let pair = [Node::start(TEST, &network), Node::start(TEST, &network)];
            eventually("one of them writes", || network.counts().origins.requests > requests);
            for node in pair {
                thread::sleep(Duration::from_micros(random.u64(..20_000)));
                node.kill();
            }
        }
        alone(&[], TEST, &network);
        for row in 0..ROWS {
            let (attempts, applied) = effects(&network, &format!("{row}"));
            assert_eq!((attempts > 0, applied), (true, 1), "row {row}: {attempts} attempts");
        }
        let first = effects(&network, "0");
        assert!(first.0 > 2, "the job was executed again: {first:?}");
        return;
    };
    let client = node_client(&addresses);
    for row in 0..ROWS {
        client.write(&slow_row(&addresses, &format!("{row}"), 2)).unwrap();
    }
}

#[test]
fn w4_a_thousand_pairs_of_twins_have_one_effect_each_and_one_result() {
    const PAIRS: usize = 1_000;
    let network = network();
    thread::scope(|scope| {
        for (lane, way) in Way::ALL.into_iter().enumerate() {
            let network = &network;
            scope.spawn(move || {
                let pairs = || (0..PAIRS / Way::ALL.len()).map(move |pair| format!("{lane}-{pair}"));
                let at_once = Barrier::new(2);
                let twin = || {
                    let client = way.client(network);
                    let write = |record: String| {
                        let request = Request::post(&way.url(network, &format!("/sink/{record}?slow=1"))).body("row");
                        at_once.wait();
                        client.write(&Write::new(request, &key(&*record), &Profile::idempotency_key())).unwrap()
                    };
                    pairs().map(write).collect::<Vec<Written>>()
                };
                let (ones, others) = thread::scope(|scope| {
                    let ones = scope.spawn(twin);
                    let others = twin();
                    (ones.join().unwrap(), others)
                });
                for ((one, other), record) in ones.iter().zip(&others).zip(pairs()) {
                    let mut outcomes = [one.outcome().as_str(), other.outcome().as_str()];
                    outcomes.sort_unstable();
                    assert_eq!(outcomes, ["AlreadyApplied", "Applied"], "{record}");
                    assert_eq!(one.response().body(), other.response().body(), "{record}: both see one result");
                }
            });
        }
    });
    let writes = network.sink();
    assert_eq!(writes.len(), PAIRS);
    assert!(writes.iter().all(|write| write.applied == 1 && write.attempts >= 2), "one effect each");
}

#[test]
fn w4_twins_in_two_processes_behind_one_barrier_see_the_same_results() {
    const TEST: &str = "w4_twins_in_two_processes_behind_one_barrier_see_the_same_results";
    const ROWS: usize = 50;
    let Some(addresses) = outer() else {
        let network = network();
        let mut twins = [Node::start(TEST, &network), Node::start(TEST, &network)];
        eventually("both are ready", || seen(&network, "/rows/ready").len() == 2);
        twins.iter_mut().for_each(Node::go);
        for twin in twins {
            let output = twin.end();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
        for row in 0..ROWS {
            let (attempts, applied) = effects(&network, &format!("{row}"));
            assert_eq!((attempts >= 2, applied), (true, 1), "row {row}");
        }
        // Each tells the hash of all that it was answered.
        let told: Vec<_> = network.seen().into_iter().filter(|seen| seen.path.starts_with("/rows/saw-")).collect();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].path, told[1].path);
        return;
    };
    let client = node_client(&addresses);
    tell(&client, &addresses, "ready");
    barrier();
    let mut results = String::new();
    for row in 0..ROWS {
        let written = client.write(&slow_row(&addresses, &format!("{row}"), 2)).unwrap();
        results.push_str(written.response().text().unwrap());
    }
    tell(&client, &addresses, &format!("saw-{}", key(&*results)));
}

/// Another process sends the row, so that it is being processed, and is gone.
fn somebody_began(network: &Network, path: &str, record: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, network.http())).unwrap();
    let key = key(record).hex();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: \"{key}\"\r\nContent-Length: 3\r\n\r\nrow")
        .unwrap();
    eventually("it is being processed", || !bodies(network, record).is_empty());
}

#[test]
fn w5_a_write_that_stays_in_progress_is_asked_for_until_the_deadline_and_then_unknown() {
    let network = network();
    thread::scope(|scope| {
        for (way, caller) in Way::ALL.into_iter().flat_map(|way| Caller::ALL.map(|caller| (way, caller))) {
            let network = &network;
            scope.spawn(move || {
                let record = common::unique("never");
                let path = format!("/sink/{record}?slow=600000");
                somebody_began(network, &path, &record);
                let request = Request::post(&way.url(network, &path)).body("row").timeout(Duration::from_secs(2));
                let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
                let error = unknown(caller.write(&way.client(network), &write));
                // Whether or not the deadline has cut the last question off.
                assert_eq!((error.status(), error.delivery()), (Some(409), Delivery::Answered), "{error}");
                assert!(error.attempts() > 3, "it was asked again and again: {error}");
                assert_eq!(effects(network, &record).1, 0);
                assert_eq!(keys(network, &record), [Some(key(&*record).hex())], "never under another key");
            });
        }
    });
}

#[test]
fn w5_a_write_in_progress_that_ends_before_the_deadline_is_a_success() {
    for caller in Caller::ALL {
        let network = network();
        somebody_began(&network, "/sink/row?slow=800", "row");
        let request = Request::post(&http(&network, "/sink/row")).body("row");
        let write = Write::new(request, &key("row"), &Profile::idempotency_key());
        let written = caller.write(&writer(&network), &write).unwrap();
        assert_eq!(written.outcome(), Outcome::AlreadyApplied);
        assert!(written.response().trace().attempts > 3, "beyond max_attempts: a question is no try");
        assert_eq!(effects(&network, "row").1, 1);
    }
}

#[test]
fn w5_a_question_that_fails_is_asked_again_however_many_came_before_it() {
    for caller in Caller::ALL {
        let network = network();
        somebody_began(&network, "/sink/row?slow=1000", "row");
        let write = Write::new(
            Request::post(&http(&network, "/sink/row")).body("row"),
            &key("row"),
            &Profile::idempotency_key(),
        );
        let client = writer(&network);
        let written = thread::scope(|scope| {
            let written = scope.spawn(|| caller.write(&client, &write));
            eventually("it has asked often", || effects(&network, "row").0 > 6);
            for fault in [Fault::Refuse503, Fault::SinkResetAfterBody] {
                spoil(&network, fault, "row", 1);
            }
            eventually("both were met", || network.faults().is_empty());
            written.join().unwrap()
        });
        assert_written(&written, Outcome::AlreadyApplied);
        assert_eq!(effects(&network, "row").1, 1);
    }
}

#[test]
fn w5_a_target_too_busy_to_say_what_became_of_a_twin_leaves_the_outcome_unknown() {
    for caller in Caller::ALL {
        let peer = Peer::answering(|_, before| {
            let status = if before == 0 { "409 Conflict" } else { "429 Later" };
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into()
        });
        let request = Request::post(&peer.url("http", "/row")).body("row");
        let write = Write::new(request, &key("row"), &Profile::idempotency_key());
        let error = unknown(caller.write(&prompt(peer.client()).build().unwrap(), &write));
        assert_eq!((error.attempts(), peer.requests("/row")), (4, 4), "{error}");
    }
}

#[test]
fn w5_a_target_that_says_when_to_ask_again_is_asked_then() {
    let running = b"HTTP/1.1 409 Conflict\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let done = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    for caller in Caller::ALL {
        let peer = Peer::answering(move |_, before| if before == 0 { running.to_vec() } else { done.to_vec() });
        let client = prompt(peer.client()).build().unwrap();
        let write = |timeout| {
            let request = Request::post(&peer.url("http", "/row")).body("row").timeout(timeout);
            Write::new(request, &key("row"), &Profile::idempotency_key())
        };
        let begun = Instant::now();
        let written = caller.write(&client, &write(Duration::from_secs(20))).unwrap();
        assert_eq!((written.outcome(), written.response().trace().attempts), (Outcome::Applied, 2));
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
    // Where that is after the deadline nothing is waited for.
    let peer = Peer::saying(running);
    let client = prompt(peer.client()).build().unwrap();
    let request = Request::post(&peer.url("http", "/row")).body("row").timeout(Duration::from_millis(900));
    let error = unknown(client.write(&Write::new(request, &key("row"), &Profile::idempotency_key())));
    assert_eq!((error.attempts(), peer.requests("/row")), (1, 1), "{error}");
}

#[test]
fn w6_another_body_under_the_same_key_is_final_and_never_gets_a_key_of_its_own() {
    for (path, profile, status) in [
        ("/sink/row", Profile::idempotency_key(), 422),
        ("/stripe/row", Profile::bare_idempotency_key(), 400),
        ("/token/row", Profile::client_token(), 400),
    ] {
        for caller in Caller::ALL {
            let network = network();
            let write = |body: &str| {
                let request = Request::post(&http(&network, path)).body(body.to_owned());
                Write::new(request, &key("row"), &profile)
            };
            let executed = writer(&network);
            assert_written(&caller.write(&executed, &write("rows 1 2, at 10:00")), Outcome::Applied);
            // The rows come in another order, with a time stamp of now; the next process knows nothing of the first one.
            let error = refused(caller.write(&writer(&network), &write("rows 2 1, at 10:05")), Reason::WriteMismatch);
            let said = (error.delivery(), error.status(), error.attempts());
            assert_eq!(said, (Delivery::Answered, Some(status), 1), "{error}");
            assert!(error.to_string().contains(&key("row").logged()), "{error}");
            assert_eq!((effects(&network, "row"), keys(&network, "row").len()), ((2, 1), 1));
            // The first process knows by itself.
            let error = refused(caller.write(&executed, &write("rows 2 1, at 10:06")), Reason::WriteMismatch);
            assert_eq!((error.delivery(), error.attempts()), (Delivery::NotSent, 0), "{error}");
            assert_eq!(effects(&network, "row"), (2, 1));
        }
    }
}

/// A target that forgets a key this long after the write; and a profile that knows.
fn forgetful(network: &Network, record: &str, memory: Duration) -> Write {
    let path = format!("/sink/{record}?ttl={}", memory.as_millis());
    let request = Request::post(&http(network, &path)).body("row");
    Write::new(request, &key(record), &Profile::idempotency_key().memory(memory))
}

#[test]
fn w7_nothing_is_sent_again_when_the_target_may_have_forgotten_the_key() {
    const MEMORY: Duration = Duration::from_secs(2);
    let network = network();
    let callers = Caller::ALL.map(|caller| {
        let record = common::unique("forgotten");
        let (client, write) = (writer(&network), forgetful(&network, &record, MEMORY));
        assert_written(&caller.write(&client, &write), Outcome::Applied);
        assert_written(&caller.write(&client, &write), Outcome::AlreadyApplied);
        (caller, record, client, write)
    });
    thread::sleep(MEMORY);
    for (caller, record, client, write) in callers {
        for _ in 0..2 {
            let error = unknown(caller.write(&client, &write));
            assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 0), "{error}");
        }
        assert_eq!(unknown(client.write_all(std::slice::from_ref(&write)).remove(0)).attempts(), 0);
        assert_eq!(effects(&network, &record), (2, 1));
    }
}

#[test]
fn w7_a_retry_that_would_come_after_the_target_has_forgotten_is_not_made() {
    let network = network();
    thread::scope(|scope| {
        for caller in Caller::ALL {
            // The answer's silence ends when the key's time is over; with a long memory it is asked for again.
            for (memory, attempts) in [(Duration::from_secs(2), 1), (Duration::from_secs(3600), 2)] {
                let network = &network;
                scope.spawn(move || {
                    let record = common::unique("silent");
                    let client = prompt(client(network)).stall_timeout(Duration::from_millis(2100)).build().unwrap();
                    spoil(network, Fault::ApplyThenSilence, &record, 1);
                    let written = caller.write(&client, &forgetful(network, &record, memory));
                    assert_eq!(effects(network, &record), (attempts, 1), "{memory:?}: {written:?}");
                    match attempts {
                        1 => assert_eq!(unknown(written).attempts(), 1),
                        _ => assert_written(&written, Outcome::AlreadyApplied),
                    }
                });
            }
        }
    });
}

#[test]
fn w7_a_retry_that_waited_for_a_connection_until_the_target_has_forgotten_is_not_sent() {
    let memory = Duration::from_secs(2);
    thread::scope(|scope| {
        for caller in Caller::ALL {
            scope.spawn(move || {
                let network = network();
                let client = prompt(client(&network)).max_connections_per_origin(1).build().unwrap();
                spoil(&network, Fault::ApplyThenDie, "queued", 1);
                let request = Request::post(&http(&network, "/sink/queued?ttl=2000&slow=600")).body("row");
                let write = Write::new(request, &key("queued"), &Profile::idempotency_key().memory(memory));
                let written = thread::scope(|scope| {
                    let written = scope.spawn(|| caller.write(&client, &write));
                    eventually("it is being written", || !bodies(&network, "queued").is_empty());
                    // The next in the queue has the only connection until the key's time is over.
                    client.send(&Request::get(&http(&network, "/delay/2500"))).unwrap();
                    written.join().unwrap()
                });
                assert_eq!(effects(&network, "queued"), (1, 1), "{caller:?}: {written:?}");
                assert_eq!(unknown(written).delivery(), Delivery::Unknown);
            });
        }
    });
}

#[test]
fn w7_what_was_streamed_under_a_key_is_not_streamed_again_after_its_time() {
    const MEMORY: Duration = Duration::from_secs(1);
    let network = network();
    let client = prompt(client(&network)).max_spool(10).build().unwrap();
    let write = || {
        let url = http(&network, &format!("/sink/streamed?ttl={}", MEMORY.as_millis()));
        let request = Request::post(&url).body_reader(&[b'x'; 100][..], None);
        Write::new(request, &key("streamed"), &Profile::idempotency_key().memory(MEMORY))
    };
    assert_written(&client.write(&write()), Outcome::Applied);
    thread::sleep(MEMORY);
    assert_eq!(unknown(client.write(&write())).attempts(), 0);
    assert_eq!(effects(&network, "streamed"), (1, 1));
}

#[test]
fn w8_the_records_and_chunks_of_many_tasks_have_as_many_keys() {
    const KEYS: usize = 20_000;
    // 128 bits of each: what the shortest form has.
    let mut keys: Vec<u128> = Vec::with_capacity(KEYS);
    let scope = Scope::job("orders of 2026-11-22").unwrap();
    let number = |key: Key| u128::from_str_radix(&key.hex()[..32], 16).unwrap();
    for chunk in 0..KEYS as u64 / 4 {
        let (partition, ordinal) = ((chunk % 1000) as u32, chunk / 1000);
        keys.push(number(scope.key("insert", Record::chunk(partition, ordinal))));
        keys.push(number(scope.key("insert", [u64::from(partition), ordinal])));
        keys.push(number(scope.key("insert", chunk)));
        keys.push(number(scope.key("delete", chunk)));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), KEYS);
}

#[test]
fn w8_chunks_with_the_same_rows_are_different_writes_and_a_retry_is_of_its_own_chunk() {
    let network = network();
    let chunk = |partition, ordinal| {
        Write::new(post(&network, "chunks"), &key(Record::chunk(partition, ordinal)), &Profile::idempotency_key())
    };
    let chunks: Vec<Write> = (0..4)
        .flat_map(|partition| (0..25).map(move |ordinal| (partition, ordinal)))
        .map(|(partition, ordinal)| chunk(partition, ordinal))
        .collect();
    let client = writer(&network);
    spoil(&network, Fault::ApplyThenDie, "chunks", 5);
    let outcomes = client.write_all(&chunks);
    assert_eq!(tally(&outcomes), BTreeMap::from([("AlreadyApplied", 5), ("Applied", 95)]));
    assert_eq!(spread(&network), BTreeMap::from([((1, 1), 95), ((2, 1), 5)]));
    // An execution that reads its chunks in another order meets the same keys.
    let reversed: Vec<Write> = chunks.into_iter().rev().collect();
    assert_eq!(tally(&writer(&network).write_all(&reversed)), BTreeMap::from([("AlreadyApplied", 100)]));
    assert!(network.sink().iter().all(|write| write.applied == 1));
}

#[test]
fn w9_a_body_that_can_be_read_once_is_kept_up_to_a_limit_and_sent_again() {
    let network = network();
    for way in Way::ALL {
        for caller in Caller::ALL {
            for (length, is_known) in [(0, true), (1000, true), (1000, false), (999, false)] {
                let record = common::unique("kept");
                let client = prompt(match way {
                    Way::Plain | Way::Tls => client(&network),
                    Way::Http2 | Way::Http2Tls => common::http2(&network),
                });
                let client = client.max_spool(1000).build().unwrap();
                let body = vec![b'x'; length];
                let url = way.url(&network, &format!("/sink/{record}"));
                let request =
                    Request::post(&url).body_reader(std::io::Cursor::new(body), is_known.then_some(length as u64));
                spoil(&network, Fault::ApplyThenDie, &record, 1);
                let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
                assert_written(&caller.write(&client, &write), Outcome::AlreadyApplied);
                assert_eq!(effects(&network, &record), (2, 1));
                assert_eq!(bodies(&network, &record).len(), 1, "the same body both times");
            }
        }
    }
}

#[test]
fn w9_a_longer_body_is_sent_once_and_its_loss_is_said() {
    let network = network();
    for caller in Caller::ALL {
        for is_known in [true, false] {
            let client = prompt(client(&network)).max_spool(1000).build().unwrap();
            let streamed = |record: &str| {
                let pieces = (0..11).map(|_| Ok(bytes::Bytes::from(vec![b'x'; 100])));
                let request = Request::post(&http(&network, &format!("/sink/{record}")));
                let request = request.body_stream(futures_util::stream::iter(pieces), is_known.then_some(1100));
                Write::new(request, &key(record), &Profile::idempotency_key())
            };
            let record = common::unique("lost");
            spoil(&network, Fault::ApplyThenDie, &record, 1);
            let error = unknown(caller.write(&client, &streamed(&record)));
            assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 1), "{error}");
            assert_eq!(effects(&network, &record), (1, 1));
            // Where nothing is lost it comes whole, what was read to see its length included.
            let record = common::unique("whole");
            assert_written(&caller.write(&client, &streamed(&record)), Outcome::Applied);
            let whole = common::unique("whole");
            let request = Request::post(&http(&network, &format!("/sink/{whole}"))).body(vec![b'x'; 1100]);
            client.write(&Write::new(request, &key(&*whole), &Profile::idempotency_key())).unwrap();
            assert_eq!(bodies(&network, &record), bodies(&network, &whole));
        }
    }
}

#[test]
fn w9_a_file_is_read_again_for_every_try() {
    let network = network();
    let scratch = Scratch::new();
    let file = scratch.file("rows", vec![b'x'; 3 << 20]);
    for caller in Caller::ALL {
        let record = common::unique("file");
        spoil(&network, Fault::ApplyThenReset, &record, 1);
        let request = Request::post(&http(&network, &format!("/sink/{record}"))).body_file(&file);
        let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
        let client = writer(&network);
        assert_written(&caller.write(&client, &write), Outcome::AlreadyApplied);
        assert_eq!((effects(&network, &record), bodies(&network, &record).len()), ((2, 1), 1));
        // It counts as a body like any other: changed, it is another one.
        let other = scratch.file("others", [vec![b'x'; (3 << 20) - 1], vec![b'y']].concat());
        let request = Request::post(&http(&network, &format!("/sink/{record}"))).body_file(other);
        let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
        assert_eq!(refused(caller.write(&client, &write), Reason::WriteMismatch).delivery(), Delivery::NotSent);
    }
}

#[test]
fn w9_a_source_that_fails_or_is_shorter_than_it_said_writes_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let network = network();
    let client = writer(&network);
    let bodies: [fn(Request) -> Request; 3] = [
        |request| request.body_reader(Broken, None),
        |request| request.body_reader(&b"12345"[..], Some(6)),
        |request| request.body_reader(&b"12345"[..], Some(4)),
    ];
    for (caller, body) in Caller::ALL.into_iter().flat_map(|caller| bodies.map(|body| (caller, body))) {
        let write = Write::new(body(post(&network, "broken")), &key("broken"), &Profile::idempotency_key());
        let error = refused(caller.write(&client, &write), Reason::CanceledBody);
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    }
    assert_eq!(effects(&network, "broken"), (0, 0));
}

#[test]
fn w10_a_stored_failure_is_final_and_sent_for_once() {
    for caller in Caller::ALL {
        let network = network();
        spoil(&network, Fault::Stored500, "row", 1);
        let write = Write::new(
            Request::post(&http(&network, "/stripe/row")).body("row"),
            &key("row"),
            &Profile::bare_idempotency_key(),
        );
        let error = unknown(caller.write(&writer(&network), &write));
        assert_eq!((error.status(), error.attempts()), (Some(500), 1), "{error}");
        assert_eq!(effects(&network, "row"), (1, 0), "exactly one POST");
        // Executed again it is told the same, and asks no further.
        let error = unknown(caller.write(&writer(&network), &write));
        assert_eq!((error.status(), error.attempts()), (Some(500), 1), "{error}");
        assert_eq!(
            (effects(&network, "row"), keys(&network, "row").len()),
            ((2, 0), 1),
            "never under a key of its own"
        );
        // A new operation is the caller's to decide: another key.
        let request = Request::post(&http(&network, "/stripe/row")).body("row");
        let written = caller.write(
            &writer(&network),
            &Write::new(request, &key_of("insert order once more"), &Profile::bare_idempotency_key()),
        );
        assert_written(&written, Outcome::Applied);
    }
}

/// The key of another operation of the same job.
fn key_of(operation: &str) -> Key {
    Scope::job("orders of 2026-11-22").unwrap().key(operation, "row")
}

#[test]
fn w10_a_failure_that_is_not_stored_is_sent_again_under_the_same_key() {
    for (caller, path) in Caller::ALL.into_iter().flat_map(|caller| [(caller, "/sink/row"), (caller, "/stripe/row")]) {
        let network = network();
        let profile = match path {
            "/sink/row" => Profile::idempotency_key(),
            _ => Profile::bare_idempotency_key().stores_failures(false),
        };
        spoil(&network, Fault::Fail500, "row", 2);
        let write = Write::new(Request::post(&http(&network, path)).body("row"), &key("row"), &profile);
        let written = caller.write(&writer(&network), &write).unwrap();
        assert_eq!((written.outcome(), written.response().trace().attempts), (Outcome::Applied, 3));
        assert_eq!((effects(&network, "row"), keys(&network, "row").len()), ((3, 1), 1));
    }
}

/// A bulk of so many documents.
fn bulk(network: &Network, name: &str, documents: usize) -> Batch {
    let empty = Batch::elasticsearch(&http(network, "/es/_bulk"), name);
    (0..documents)
        .fold(empty, |batch, number| batch.item(&key([name, &number.to_string()]), format!("{{\"n\":{number}}}")))
}

/// What the sink has of each document of a bulk.
fn documents(network: &Network, name: &str, documents: usize) -> BTreeMap<(u64, u64), usize> {
    let mut spread = BTreeMap::new();
    for number in 0..documents {
        let record = format!("{name}/{}", key([name, &number.to_string()]).hex());
        *spread.entry(effects(network, &record)).or_default() += 1;
    }
    spread
}

fn bulks(network: &Network) -> usize {
    seen(network, "/es/_bulk").len()
}

#[test]
fn w11_only_the_failed_items_of_a_batch_are_sent_again_each_under_its_own_key() {
    for caller in Caller::ALL {
        let network = network();
        network.inject_times(Fault::BulkPartial(30), 1);
        let outcomes = caller.write_batch(&writer(&network), &bulk(&network, "orders", 20));
        assert_eq!(tally(&outcomes), BTreeMap::from([("Applied", 20)]));
        assert_eq!(documents(&network, "orders", 20), BTreeMap::from([((1, 1), 14), ((2, 1), 6)]));
        assert_eq!(bulks(&network), 2);
        // Executed again, all of them are there.
        let outcomes = caller.write_batch(&writer(&network), &bulk(&network, "orders", 20));
        assert_eq!(tally(&outcomes), BTreeMap::from([("AlreadyApplied", 20)]));
        assert_eq!(documents(&network, "orders", 20), BTreeMap::from([((2, 1), 14), ((3, 1), 6)]));
    }
}

#[test]
fn w11_items_that_fail_again_and_again_are_rejected_and_the_others_are_done() {
    for caller in Caller::ALL {
        let network = network();
        network.inject(Fault::BulkPartial(50));
        let outcomes = caller.write_batch(&writer(&network), &bulk(&network, "orders", 16));
        assert_eq!(bulks(&network), 3, "as often as `max_attempts` has it");
        assert_eq!(tally(&outcomes), BTreeMap::from([("Applied", 14), ("Write.Rejected", 2)]));
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(
                (error.status(), error.delivery(), error.outcome()),
                (Some(429), Delivery::Answered, Outcome::Rejected)
            );
        }
        assert_eq!(
            documents(&network, "orders", 16),
            BTreeMap::from([((1, 1), 8), ((2, 1), 4), ((3, 1), 2), ((3, 0), 2)])
        );
    }
}

#[test]
fn w11_an_item_that_is_refused_fails_no_other_and_is_not_sent_again() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        let batch = bulk(&network, "orders", 3)
            .item(&key("no document"), "[1]")
            .item(&key(["orders", "0"]), r#"{"n":"another"}"#)
            .item(&key("last"), "{}");
        let outcomes = caller.write_batch(&client, &batch);
        assert_eq!(outcomes.len(), 6);
        (0..3).chain([5]).for_each(|item| assert_written(&outcomes[item], Outcome::Applied));
        let [refused_by_target, refused_here] = [3, 4].map(|item| outcomes[item].as_ref().unwrap_err());
        assert_eq!((refused_by_target.reason(), refused_by_target.status()), (Reason::WriteRejected, Some(400)));
        assert_eq!((refused_here.reason(), refused_here.delivery()), (Reason::WriteMismatch, Delivery::NotSent));
        assert_eq!(bulks(&network), 1);
        assert!(client.write_batch(&Batch::elasticsearch(&http(&network, "/es/_bulk"), "orders")).is_empty());
        assert_eq!(bulks(&network), 1, "nothing is sent for nothing");
    }
}

#[test]
fn w11_a_batch_whose_answer_is_lost_is_sent_again_and_done_once() {
    for (caller, fault) in Caller::ALL.into_iter().flat_map(|caller| {
        [Fault::ApplyThenDie, Fault::ApplyThenReset, Fault::ApplyThen500, Fault::AckLost].map(|fault| (caller, fault))
    }) {
        let network = network();
        network.inject_times(fault.clone(), 1);
        let outcomes = caller.write_batch(&writer(&network), &bulk(&network, "orders", 20));
        assert_eq!(tally(&outcomes), BTreeMap::from([("AlreadyApplied", 20)]), "{fault:?}");
        assert_eq!(documents(&network, "orders", 20), BTreeMap::from([((2, 1), 20)]), "{fault:?}");
    }
}

#[test]
fn w11_an_item_that_a_lost_answer_was_about_is_never_said_to_be_rejected() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        // The first answer, that all are done, is lost; after that the target is too busy to say so.
        network.inject_times(Fault::ApplyThenDie, 1);
        let batch = bulk(&network, "orders", 4);
        let outcomes = thread::scope(|scope| {
            network.inject_for(Fault::SlowSink(600), "_bulk");
            let outcomes = scope.spawn(|| caller.write_batch(&client, &batch));
            eventually("all have come", || documents(&network, "orders", 4).keys().all(|(attempts, _)| *attempts == 1));
            eventually("all are done", || documents(&network, "orders", 4).keys().all(|(_, applied)| *applied == 1));
            network.inject(Fault::BulkPartial(100));
            outcomes.join().unwrap()
        });
        assert_eq!(tally(&outcomes), BTreeMap::from([("Write.OutcomeUnknown", 4)]), "they are all done");
        network.heal();
        assert_eq!(tally(&caller.write_batch(&client, &batch)), BTreeMap::from([("AlreadyApplied", 4)]));
        assert!(documents(&network, "orders", 4).keys().all(|(_, applied)| *applied == 1));
    }
}

#[test]
fn w11_an_answer_that_tells_nothing_of_the_items_leaves_them_unknown() {
    let network = network();
    let fate = Fate { meaning: Meaning::Applied, status: 200 };
    for (path, told, reason, requests) in [
        ("/status/200", None, Reason::WriteOutcomeUnknown, 1),
        ("/status/200", Some(vec![fate]), Reason::WriteOutcomeUnknown, 1),
        ("/status/200", Some(vec![fate; 3]), Reason::WriteOutcomeUnknown, 1),
        ("/status/302", Some(vec![fate; 2]), Reason::WriteOutcomeUnknown, 1),
        ("/status/404", None, Reason::WriteRejected, 1),
        ("/status/404", Some(vec![fate; 2]), Reason::WriteRejected, 1),
        ("/status/503", None, Reason::WriteOutcomeUnknown, 3),
    ] {
        for caller in Caller::ALL {
            network.reset_counts();
            let (url, told) = (http(&network, path), told.clone());
            let batch = Batch::new(move |_| Request::post(&url).body("all"), move |_: &Response| told.clone());
            let batch = batch.item(&key(1), "one").item(&key(2), "other");
            let outcomes = caller.write_batch(&writer(&network), &batch);
            assert_eq!(outcomes.len(), 2);
            for outcome in outcomes {
                refused(outcome, reason);
            }
            assert_eq!(network.counts().origins.requests, requests, "{path}");
        }
    }
}

#[test]
fn w11_a_batch_of_one_s_own_making_is_composed_of_what_is_left() {
    for caller in Caller::ALL {
        let network = network();
        let url = http(&network, "/es/orders/_bulk");
        let compose = move |items: &[(Key, bytes::Bytes)]| {
            let line = |(key, body): &(Key, bytes::Bytes)| {
                format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n{}\n", key.short(), String::from_utf8_lossy(body))
            };
            Request::post(&url).body(items.iter().map(line).collect::<String>())
        };
        let read = |answer: &Response| {
            let told: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
            let fate = |item: &serde_json::Value| {
                let status = u16::try_from(item["create"]["status"].as_u64()?).ok()?;
                let meaning = match status {
                    201 => Meaning::Applied,
                    409 => Meaning::Exists,
                    429 => Meaning::InProgress,
                    _ => Meaning::Mismatch,
                };
                Some(Fate { meaning, status })
            };
            told["items"].as_array()?.iter().map(fate).collect()
        };
        network.inject_times(Fault::BulkPartial(50), 1);
        let items = ["{}", "{}", "{}", "no document"];
        let batch = items.into_iter().enumerate();
        let batch = batch.fold(Batch::new(compose, read), |batch, (number, item)| batch.item(&key(number), item));
        let outcomes = caller.write_batch(&writer(&network), &batch);
        // Another body, after a twin was seen at work: whose it was can't be told.
        assert_eq!(tally(&outcomes), BTreeMap::from([("Applied", 3), ("Write.OutcomeUnknown", 1)]));
        for number in 0..3_usize {
            assert_eq!(effects(&network, &format!("orders/{}", key(number).short())).1, 1);
        }
        assert_eq!(
            tally(&caller.write_batch(&writer(&network), &batch)),
            BTreeMap::from([("AlreadyApplied", 3), ("Write.Mismatch", 1)])
        );
    }
}

#[test]
fn w11_an_item_that_a_twin_is_writing_is_waited_for_while_the_others_are_done() {
    for caller in Caller::ALL {
        for (busy, requests) in [(5, 6), (u32::MAX, 0)] {
            let network = network();
            let (url, answers) = (http(&network, "/status/200"), AtomicU32::new(0));
            let compose = move |items: &[(Key, bytes::Bytes)]| Request::post(&url).body(vec![b'x'; items.len()]);
            let read = move |_: &Response| {
                // The first is done at once; the second is what is left from then on.
                let done = Fate { meaning: Meaning::Applied, status: 201 };
                let second = match answers.fetch_add(1, Ordering::Relaxed) {
                    answer if answer < busy => Fate { meaning: Meaning::InProgress, status: 409 },
                    _ => Fate { meaning: Meaning::AlreadyApplied, status: 200 },
                };
                Some(if answers.load(Ordering::Relaxed) == 1 { vec![done, second] } else { vec![second] })
            };
            let batch = Batch::new(compose, read).item(&key(1), "one").item(&key(2), "other");
            let client = prompt(client(&network)).timeout(Duration::from_secs(2)).build().unwrap();
            let mut outcomes = caller.write_batch(&client, &batch);
            assert_written(&outcomes[0], Outcome::Applied);
            let sent = seen(&network, "/status/200").len();
            match requests {
                0 => {
                    unknown(outcomes.remove(1));
                    assert!(sent > 3, "it was asked until the deadline: {sent}");
                }
                _ => {
                    assert_written(&outcomes[1], Outcome::AlreadyApplied);
                    assert_eq!(sent, requests, "beyond max_attempts: a question is no try");
                }
            }
        }
    }
}

/// The requests for an object, method by method.
fn asked(network: &Network, path: &str) -> Vec<String> {
    seen(network, path).into_iter().map(|seen| seen.method).collect()
}

#[test]
fn w13_our_own_object_is_recognised_when_the_answer_was_lost() {
    for way in Way::ALL {
        for caller in Caller::ALL {
            for (profile, question) in
                [(Profile::oss(), "HEAD"), (Profile::s3(), "HEAD"), (Profile::if_none_match(), "GET")]
            {
                let network = network();
                spoil(&network, Fault::ApplyThenDie, "b/row", 1);
                let write = |body: &'static str| {
                    Write::new(Request::put(&way.url(&network, "/oss/b/row")).body(body), &key("row"), &profile)
                };
                assert_written(&caller.write(&way.client(&network), &write("row")), Outcome::AlreadyApplied);
                assert_eq!(asked(&network, "/oss/b/row"), ["PUT", "PUT", question], "{way:?} {profile:?}");
                assert_eq!(effects(&network, "b/row"), (2, 1));
                // What another execution would write in its place is a conflict.
                let error = refused(caller.write(&way.client(&network), &write("other")), Reason::WriteConflict);
                assert_eq!(error.delivery(), Delivery::Answered, "{error}");
                assert_eq!(effects(&network, "b/row"), (3, 1));
            }
        }
    }
}

#[test]
fn w13_an_object_without_a_mark_is_known_by_its_bytes() {
    for caller in Caller::ALL {
        let network = network();
        let url = http(&network, "/oss/b/row");
        // Somebody has put it there without saying who.
        writer(&network).write(&Write::keyless(Request::put(&url).body("row"))).unwrap();
        let write = |body: &'static str| Write::new(Request::put(&url).body(body), &key("row"), &Profile::oss());
        assert_written(&caller.write(&writer(&network), &write("row")), Outcome::AlreadyApplied);
        refused(caller.write(&writer(&network), &write("another")), Reason::WriteConflict);
        let questions = ["PUT", "PUT", "HEAD", "GET", "PUT", "HEAD", "GET"];
        assert_eq!(asked(&network, "/oss/b/row"), questions);
        assert_eq!(effects(&network, "b/row").1, 1);
    }
}

#[test]
fn w13_somebody_else_s_object_is_a_conflict_whatever_its_bytes_are() {
    let network = network();
    for caller in Caller::ALL {
        for profile in [Profile::oss(), Profile::s3()] {
            let object = common::unique("theirs");
            let put = |operation: &'static str| {
                let request = Request::put(&http(&network, &format!("/oss/b/{object}"))).body("the same bytes");
                Write::new(request, &key_of(operation), &profile)
            };
            assert_written(&caller.write(&writer(&network), &put("theirs")), Outcome::Applied);
            let error = refused(caller.write(&writer(&network), &put("ours")), Reason::WriteConflict);
            assert_eq!(error.kind(), Kind::Write);
            assert_eq!(effects(&network, &format!("b/{object}")), (2, 1));
        }
    }
}

#[test]
fn w13_an_object_named_after_its_key_needs_no_question() {
    for caller in Caller::ALL {
        for profile in [Profile::oss(), Profile::s3(), Profile::if_none_match()] {
            let network = network();
            let record = format!("b/rows/{}", key("row").hex());
            spoil(&network, Fault::ApplyThenReset, &record, 1);
            let write =
                Write::new(Request::put(&http(&network, "/oss/b/rows/{key}")).body("row"), &key("row"), &profile);
            assert_written(&caller.write(&writer(&network), &write), Outcome::AlreadyApplied);
            assert_eq!(asked(&network, &format!("/oss/{record}")), ["PUT", "PUT"]);
            assert_eq!(effects(&network, &record), (2, 1));
        }
    }
}

#[test]
fn w13_a_key_in_the_query_is_no_object_s_name() {
    let network = network();
    let put = |body: &'static str| {
        Write::new(Request::put(&http(&network, "/oss/b/row?trace={key}")).body(body), &key("row"), &Profile::oss())
    };
    writer(&network).write(&Write::keyless(Request::put(&http(&network, "/oss/b/row")).body("theirs"))).unwrap();
    refused(writer(&network).write(&put("ours")), Reason::WriteConflict);
}

#[test]
fn w13_where_nobody_tells_whose_it_is_the_outcome_is_unknown() {
    let exists = "HTTP/1.1 409 Conflict\r\nContent-Length: 30\r\n\r\n<Code>FileAlreadyExists</Code>";
    for (answer, attempts) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 3),
        ("no HTTP at all\r\n\r\n", 1),
    ] {
        for caller in Caller::ALL {
            let peer =
                Peer::answering(move |head, _| if head.starts_with("PUT") { exists.into() } else { answer.into() });
            let client = prompt(peer.client()).build().unwrap();
            let put = Write::new(Request::put(&peer.url("http", "/o")).body("row"), &key("o"), &Profile::oss());
            let error = unknown(caller.write(&client, &put));
            assert_eq!(error.delivery(), Delivery::Answered, "{answer:?}: {error}");
            assert_eq!(peer.requests("/o"), 1 + attempts, "{answer:?}: {error}");
            // The caller's own question comes last.
            let settled = put.verify(peer.get("/whose"), |_| Some(true));
            let written = caller.write(&client, &settled);
            assert_eq!(written.is_ok(), !answer.starts_with("no"), "{answer:?}: {written:?}");
        }
    }
}

/// Every text in which a key may stand on the wire.
fn texts(key: &Key) -> [String; 3] {
    [key.hex(), key.uuid(), key.short()]
}

/// A write under one key for every place where a key goes.
fn everywhere(url: &str) -> Vec<Write> {
    let key = key("secret");
    let post = || Request::post(url).body("a=b");
    // The same body everywhere: it is the same key.
    let put = || Request::put(url).body("a=b");
    vec![
        Write::new(post(), &key, &Profile::idempotency_key()),
        Write::new(post(), &key, &Profile::bare_idempotency_key().form(KeyForm::Uuid)),
        Write::new(post(), &key, &Profile::header("X-Request-Id").form(KeyForm::Short)),
        Write::new(post(), &key, &Profile::client_token()),
        Write::new(post(), &key, &Profile::client_token_in_form()),
        Write::new(put(), &key, &Profile::oss()),
        Write::new(put(), &key, &Profile::s3()),
        Write::new(put(), &key, &Profile::if_none_match()),
    ]
}

#[test]
fn w14_no_write_and_no_key_follows_a_redirect() {
    let network = network();
    let elsewhere = secure(&network, "/rows/elsewhere");
    let client = prompt(client(&network)).max_redirects(5).build().unwrap();
    for (caller, status) in Caller::ALL.into_iter().flat_map(|caller| [301, 302, 303, 307, 308].map(|s| (caller, s))) {
        for write in everywhere(&http(&network, &format!("/redirect/{status}?to={elsewhere}"))) {
            let client = prompt(common::client(&network)).max_redirects(5).build().unwrap();
            // Some targets say with it that they have done it (303), some that they have not.
            let error = match status {
                307 | 308 => refused(caller.write(&client, &write), Reason::WriteRejected),
                _ => unknown(caller.write(&client, &write)),
            };
            assert_eq!((error.status(), error.attempts()), (Some(status), 1), "{error}");
        }
    }
    // Nor does the key of a question that may be redirected.
    let question = Request::get(&http(&network, &format!("/redirect/302?to={elsewhere}")))
        .header("Idempotency-Key", format!("\"{}\"", key("secret").hex()));
    assert_eq!(client.send(&question).unwrap().status(), 200);
    let there: Vec<_> = seen(&network, "/rows/elsewhere");
    assert_eq!(there.len(), 1, "only the question went on");
    assert!(texts(&key("secret")).iter().all(|text| !format!("{there:?}").contains(text)), "{there:?}");
}

#[test]
fn w14_a_signature_is_not_made_for_another_origin() {
    let network = network();
    let client = prompt(client(&network)).max_redirects(5).build().unwrap();
    let signed =
        |path: &str| Request::get(&http(&network, path)).signed(|unsigned| unsigned.header("Authorization", "signed"));
    let fields = |path: &str| seen(&network, path).pop().expect("it was followed").headers;
    let has_signature = |fields: &[(String, String)]| fields.iter().any(|(name, _)| name == "authorization");
    let elsewhere = secure(&network, "/rows/elsewhere");
    client.send(&signed(&format!("/redirect/302?to={elsewhere}"))).unwrap();
    assert!(!has_signature(&fields("/rows/elsewhere")));
    client.send(&signed("/redirect/302?to=/rows/here")).unwrap();
    assert!(has_signature(&fields("/rows/here")), "the same origin asked for it");
}

/// Everything that can go wrong with a write, and what is said of it.
fn everything_that_is_said(client: &Client, base: &str) -> String {
    let mut said = String::new();
    let mut note = |text: String| said.push_str(&text);
    for path in
        ["/sink/secret?a", "/stripe/secret?a", "/status/404?a", "/status/503?a", "/close-early/9?a", "/redirect/307?a"]
    {
        for write in everywhere(&format!("{base}{path}")) {
            note(format!("{write:?}{write:#?}"));
            match client.write(&write) {
                Ok(written) => note(format!("{written:?}{written:#?}")),
                Err(error) => note(everything_said(&error)),
            }
        }
    }
    let document = Request::put(&format!("{base}/es/secret/_create/{{key}}")).body("a=b");
    let document = Write::new(document, &key("secret"), &Profile::elasticsearch());
    note(everything_said(&client.write(&document).unwrap_err()));
    let other = Write::new(
        Request::post(&format!("{base}/sink/secret")).body("other"),
        &key("secret"),
        &Profile::idempotency_key(),
    );
    note(everything_said(&client.write(&other).unwrap_err()));
    let batch = Batch::elasticsearch(&format!("{base}/es/_bulk"), "secret").item(&key("secret"), "a=b");
    note(format!("{batch:?}"));
    for outcome in client.write_batch(&batch) {
        note(outcome.map_or_else(|error| everything_said(&error), |written| format!("{written:?}")));
    }
    note(format!("{:?} {} {client:?} {:?}", key("secret"), key("secret"), client.stats()));
    said
}

#[test]
fn w14_a_key_is_shown_and_logged_as_a_short_hash_only() {
    const TEST: &str = "w14_a_key_is_shown_and_logged_as_a_short_hash_only";
    let Some(addresses) = outer() else {
        let network = network();
        alone(&[], TEST, &network);
        let there = format!("{:?}", network.seen());
        assert!(texts(&key("secret")).iter().all(|text| there.contains(text)), "every form was on the wire");
        return;
    };
    tracing::subscriber::set_global_default(heard::Forward).unwrap();
    let client = prompt(client_at(&addresses)).option("summary", "log").build().unwrap();
    let mut said = everything_that_is_said(&client, &http_at(&addresses, ""));
    said.push_str(&everything_that_is_said(&client, &common::secure_at(&addresses, "")));
    client.close();
    let heard = heard::all();
    assert!(heard.contains("sending again"), "the log was heard:\n{heard}");
    assert!(said.contains(&key("secret").logged()), "{said}");
    for text in texts(&key("secret")) {
        for half in [&text[..16], &text[text.len() - 16..]] {
            assert!(!said.contains(half), "{half} is in what is said");
            assert!(!heard.contains(half), "{half} is in the log");
        }
    }
}

/// What the library says to whoever listens.
mod heard {
    use std::fmt::{Debug, Write};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    static HEARD: Mutex<String> = Mutex::new(String::new());

    /// Keeps the text of every field of every span and event of this library.
    pub(super) struct Forward;

    struct Text<'a>(&'a mut String);

    pub(super) fn all() -> String {
        HEARD.lock().unwrap().clone()
    }

    impl Visit for Text<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            writeln!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Subscriber for Forward {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("pinlink")
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            span.record(&mut Text(&mut HEARD.lock().unwrap()));
            Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
        }

        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut Text(&mut HEARD.lock().unwrap()));
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            event.record(&mut Text(&mut HEARD.lock().unwrap()));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }
}

#[test]
fn w15_nothing_is_hedged_a_slow_answer_is_waited_for_and_asked_for_once() {
    // There is nothing to ask for a second copy with; and none goes out by itself.
    thread::scope(|scope| {
        for (way, caller) in Way::ALL.into_iter().flat_map(|way| Caller::ALL.map(|caller| (way, caller))) {
            scope.spawn(move || {
                let network = network();
                let client = way.client(&network);
                let read = caller.send(&client, &Request::get(&way.url(&network, "/delay/800"))).unwrap();
                assert_eq!((read.status(), read.trace().attempts), (200, 1));
                assert_eq!(seen(&network, "/delay/800").len(), 1, "one read, however slow");
                let request = || Request::post(&way.url(&network, "/sink/row?slow=800")).body("row");
                assert_written(&caller.write(&client, &Write::keyless(request()).unkeyed()), Outcome::Applied);
                let keyed = Write::new(request(), &key("row"), &Profile::idempotency_key());
                assert_written(&caller.write(&client, &keyed), Outcome::Applied);
                assert_eq!(spread(&network), BTreeMap::from([((1, 1), 2)]), "one write each, however slow");
            });
        }
    });
}

/// The error of a write that never left.
#[track_caller]
fn unsent(written: pinlink::Result<Written>) -> Error {
    let error = written.unwrap_err();
    assert_eq!((error.delivery(), error.outcome()), (Delivery::NotSent, Outcome::Rejected), "{error}");
    error
}

#[test]
fn w1_what_never_left_is_rejected_and_not_unknown() {
    for caller in Caller::ALL {
        let network = network();
        network.inject(Fault::RefuseAll);
        let client = writer(&network);
        unsent(caller.write(&client, &row(&network, "row")));
        unsent(caller.write(&client, &Write::keyless(post(&network, "row")).unkeyed()));
        client.write_all(&[row(&network, "row")]).into_iter().for_each(|written| _ = unsent(written));
        caller.write_batch(&client, &bulk(&network, "orders", 2)).into_iter().for_each(|written| _ = unsent(written));
        network.heal();
        assert_eq!(network.sink(), []);
    }
}
