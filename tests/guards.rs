//! Promise: what would make a write happen twice, or another in its place, is refused before anything is sent: another
//! body under the same key, a plain POST to a target that knows no keys, a condition that is none. What the process
//! remembers for that is bounded, and what never left is not held against anybody.
//!
//! "Before anything is sent" is what the origins saw: nothing.

mod common;

use std::thread;
use std::time::Duration;

use common::survival::Caller;
use common::writes::{Way, assert_written, effects, key, post, prompt, refused, spoil, unknown, writer};
use common::{client, eventually, http, network, secure, unique};
use pinlink::{
    AsyncClient, Batch, Client, Delivery, Guarantee, Key, Outcome, Profile, Reason, Request, Result, Scope, Write,
    Written,
};
use pinlink_box::{Fault, Layer, Network};

fn row(network: &Network, record: &str, body: impl Into<bytes::Bytes>) -> Write {
    Write::new(post(network, record).body(body), &key(record), &Profile::idempotency_key())
}

/// The requests that any origin saw so far.
fn requests(network: &Network) -> u64 {
    network.counts().origins.requests
}

/// The write is refused for this reason, and nothing of it has left.
#[track_caller]
fn refused_here(network: &Network, write: impl FnOnce() -> Result<Written>, reason: Reason) {
    let before = requests(network);
    let error = refused(write(), reason);
    assert_eq!((error.delivery(), error.attempts()), (Delivery::NotSent, 0), "{error}");
    assert_eq!(requests(network), before, "{error}");
}

#[test]
fn another_body_under_the_same_key_is_refused_before_anything_is_sent_however_it_comes() {
    let network = network();
    let client = writer(&network);
    assert_written(&client.write(&row(&network, "row", "one")), Outcome::Applied);
    // All who share the client share what it remembers.
    let twin = Client::from(AsyncClient::from(client.clone()));
    for caller in Caller::ALL {
        let other = row(&network, "row", "two");
        refused_here(&network, || caller.write(&twin, &other), Reason::WriteMismatch);
        let streamed =
            Write::new(post(&network, "row").body_reader(&b"two"[..], None), &key("row"), &Profile::idempotency_key());
        refused_here(&network, || caller.write(&twin, &streamed), Reason::WriteMismatch);
        // Nor at another target: a key is one write.
        let elsewhere = Request::put(&secure(&network, "/oss/b/row")).body("two");
        let elsewhere = Write::new(elsewhere, &key("row"), &Profile::oss());
        refused_here(&network, || caller.write(&twin, &elsewhere), Reason::WriteMismatch);
        let batch = Batch::elasticsearch(&http(&network, "/es/_bulk"), "rows").item(&key("row"), "two");
        refused_here(&network, || caller.write_batch(&twin, &batch).remove(0), Reason::WriteMismatch);
    }
    refused_here(&network, || client.write_all(&[row(&network, "row", "two")]).remove(0), Reason::WriteMismatch);
    assert_written(&client.write(&row(&network, "row", "one")), Outcome::AlreadyApplied);
    assert_eq!(effects(&network, "row"), (2, 1));
}

#[test]
fn every_changed_byte_makes_another_body() {
    let network = network();
    let client = writer(&network);
    let body: Vec<u8> = (0..=255).collect();
    client.write(&row(&network, "row", body.clone())).unwrap();
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] ^= 1;
        refused_here(&network, || client.write(&row(&network, "row", changed)), Reason::WriteMismatch);
    }
    let (shorter, longer) = (body[..255].to_vec(), [&body[..], b"\0"].concat());
    for changed in [shorter, longer, Vec::new()] {
        refused_here(&network, || client.write(&row(&network, "row", changed)), Reason::WriteMismatch);
    }
    assert_eq!(requests(&network), 1);
}

#[test]
fn of_two_bodies_at_once_one_is_sent() {
    let network = network();
    let client = writer(&network);
    for caller in Caller::ALL {
        let record = unique("race");
        let [one, two] = ["one", "two"].map(|body| row(&network, &record, body));
        let outcomes = thread::scope(|scope| {
            let both = [&one, &two].map(|write| scope.spawn(|| caller.write(&client, write)));
            both.map(|write| write.join().unwrap().map(|written| written.outcome()).map_err(|error| error.reason()))
        });
        assert!(outcomes.contains(&Ok(Outcome::Applied)), "{outcomes:?}");
        assert!(outcomes.contains(&Err(Reason::WriteMismatch)), "{outcomes:?}");
        assert_eq!(effects(&network, &record), (1, 1));
    }
    // And of two in one call.
    let rows = ["one", "two", "one"].map(|body| row(&network, "rows", body));
    let outcomes = client.write_all(&rows);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().unwrap_err().reason(), Reason::WriteMismatch);
    assert_eq!(effects(&network, "rows").1, 1);
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let network = network();
    for (remembered, kept) in [(2, [false, true, true]), (1, [false, false, true]), (0, [false; 3])] {
        let client = prompt(client(&network)).remembered_keys(remembered).build().unwrap();
        let names = [(); 3].map(|()| unique("row"));
        for name in &names {
            assert_written(&client.write(&row(&network, name, "one")), Outcome::Applied);
        }
        // The newest first: to ask about one that was dropped is to remember it, and to drop another.
        for (name, is_kept) in names.iter().zip(kept).rev() {
            let error = refused(client.write(&row(&network, name, "two")), Reason::WriteMismatch);
            let here = error.delivery() == Delivery::NotSent;
            assert_eq!(here, is_kept, "remembered {remembered}: {error}");
            // The target knows in any case.
            assert_eq!(effects(&network, name), (if is_kept { 1 } else { 2 }, 1));
        }
    }
}

#[test]
fn what_never_left_may_change() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        network.inject(Fault::RefuseAll);
        let batch =
            |body: &'static str| Batch::elasticsearch(&http(&network, "/es/_bulk"), "rows").item(&key("item"), body);
        let unsent = [
            caller.write(&client, &row(&network, "row", "one")),
            client.write_all(&[row(&network, "of-many", "one")]).remove(0),
            caller.write_batch(&client, &batch("{}")).remove(0),
            // Not declared, and so never sent.
            client.write(&Write::new(
                Request::post("https://elsewhere.test/").body("one"),
                &key("elsewhere"),
                &Profile::idempotency_key(),
            )),
        ];
        for written in unsent {
            let error = written.unwrap_err();
            assert_eq!((error.delivery(), error.outcome()), (Delivery::NotSent, Outcome::Rejected), "{error}");
        }
        network.heal();
        let sent = [
            caller.write(&client, &row(&network, "row", "two")),
            client.write_all(&[row(&network, "of-many", "two")]).remove(0),
            caller.write_batch(&client, &batch(r#"{"n":2}"#)).remove(0),
            caller.write(&client, &row(&network, "elsewhere", "two")),
        ];
        sent.iter().for_each(|written| assert_written(written, Outcome::Applied));
    }
}

#[test]
fn what_never_left_takes_back_nothing_that_was_sent_before() {
    for caller in Caller::ALL {
        let network = network();
        // Each call dials anew.
        let client = prompt(client(&network)).max_idle(Duration::from_millis(10)).build().unwrap();
        let batch =
            |body: &'static str| Batch::elasticsearch(&http(&network, "/es/_bulk"), "rows").item(&key("item"), body);
        assert_written(&caller.write(&client, &row(&network, "row", "one")), Outcome::Applied);
        assert_written(&caller.write_batch(&client, &batch("{}"))[0], Outcome::Applied);
        eventually("the connection is closed", || network.counts().proxy.live == 0);
        network.inject(Fault::RefuseAll);
        // The last call was not sent, and says what is known of the one before.
        unknown(caller.write(&client, &row(&network, "row", "one")));
        unknown(caller.write_batch(&client, &batch("{}")).remove(0));
        network.heal();
        refused_here(&network, || caller.write(&client, &row(&network, "row", "two")), Reason::WriteMismatch);
        let other = batch(r#"{"n":2}"#);
        refused_here(&network, || caller.write_batch(&client, &other).remove(0), Reason::WriteMismatch);
    }
}

#[test]
fn a_body_that_can_t_be_compared_is_held_against_nobody_and_the_next_one_counts() {
    let network = network();
    let client = prompt(client(&network)).max_spool(10).build().unwrap();
    let streamed = Write::new(
        post(&network, "row").body_reader(&b"longer than is kept"[..], None),
        &key("row"),
        &Profile::idempotency_key(),
    );
    assert_written(&client.write(&streamed), Outcome::Applied);
    // It is the same, which the target knows; from then on so does the client.
    assert_written(&client.write(&row(&network, "row", "longer than is kept")), Outcome::AlreadyApplied);
    refused_here(&network, || client.write(&row(&network, "row", "another")), Reason::WriteMismatch);
}

#[test]
fn a_doubt_is_remembered_as_what_was_sent() {
    let network = network();
    for caller in Caller::ALL {
        let client = prompt(client(&network)).max_attempts(1).build().unwrap();
        for fault in [Fault::SinkResetInBody, Fault::ApplyThenReset, Fault::Fail500, Fault::Refuse503] {
            let record = unique("doubt");
            spoil(&network, fault.clone(), &record, 1);
            unknown(caller.write(&client, &row(&network, &record, "one")));
            refused_here(&network, || caller.write(&client, &row(&network, &record, "two")), Reason::WriteMismatch);
            assert!(caller.write(&client, &row(&network, &record, "one")).is_ok(), "{fault:?}");
            assert_eq!(effects(&network, &record), (2, 1), "{fault:?}");
        }
    }
}

#[test]
fn a_plain_post_is_refused_unless_its_caller_accepts_what_may_come_of_it() {
    let network = network();
    let client = writer(&network);
    for caller in Caller::ALL {
        for method in ["POST", "PATCH"] {
            let write = Write::keyless(Request::new(method, &http(&network, "/sink/plain")).body("row"));
            assert_eq!(write.guarantee(), Guarantee::AtMostOncePerProcess);
            refused_here(&network, || caller.write(&client, &write), Reason::WriteUnkeyed);
        }
    }
    let write = Write::keyless(post(&network, "plain"));
    refused_here(&network, || client.write_all(std::slice::from_ref(&write)).remove(0), Reason::WriteUnkeyed);
    assert_written(&client.write(&write.unkeyed()), Outcome::Applied);
    assert_eq!(effects(&network, "plain"), (1, 1));
}

#[test]
fn no_read_is_a_write() {
    let network = network();
    let client = writer(&network);
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        let read = || Request::new(method, &http(&network, "/rows/1"));
        let keyed = Write::new(read(), &key("row"), &Profile::idempotency_key());
        refused_here(&network, || client.write(&keyed), Reason::ConfigInput);
        refused_here(&network, || client.write(&Write::keyless(read()).unkeyed()), Reason::ConfigInput);
    }
}

#[test]
fn a_condition_that_the_caller_sets_otherwise_is_refused() {
    let network = network();
    let client = writer(&network);
    let put = |body: &'static str| Request::put(&http(&network, "/oss/b/object")).body(body);
    client.write(&Write::keyless(put("theirs"))).unwrap();
    for (profile, name, value) in [
        (Profile::oss(), "x-oss-forbid-overwrite", "false"),
        (Profile::s3(), "If-None-Match", "\"tag\""),
        (Profile::if_none_match(), "if-none-match", "\"tag\""),
    ] {
        let write = Write::new(put("ours").header(name, value), &key("object"), &profile);
        refused_here(&network, || client.write(&write), Reason::ConfigInput);
    }
    assert_eq!(effects(&network, "b/object").1, 1, "nothing was overwritten");
    // The condition itself may stand there.
    let object = Request::put(&http(&network, "/oss/b/other")).body("ours").header("x-oss-forbid-overwrite", "true");
    assert_written(&client.write(&Write::new(object, &key("other"), &Profile::oss())), Outcome::Applied);
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let network = network();
    let client = writer(&network);
    let key = key("row");
    let write = |request: Request, profile: Profile| Write::new(request, &key, &profile);
    let url = |path: &str| http(&network, path);
    for write in [
        write(post(&network, "row").header("Idempotency-Key", "mine"), Profile::idempotency_key()),
        write(Request::post(&url("/token/row?ClientToken=mine")), Profile::client_token()),
        write(Request::post(&url("/token/row")).body("ClientToken=mine"), Profile::client_token_in_form()),
        write(Request::put(&url("/es/rows/_create/7")).body("{}"), Profile::elasticsearch()),
        write(Request::post(&url("/oss/b/row")).body("row"), Profile::oss()),
    ] {
        refused_here(&network, || client.write(&write), Reason::ConfigInput);
    }
    assert_eq!(network.sink(), []);
}

/// The writes of a POST without a key into every fault of the sink.
fn unkeyed_into(network: &Network, way: Way, caller: Caller, fault: &Fault) {
    let case = format!("{way:?} {caller:?} {fault:?}");
    let client = way.client(network);
    let record = unique("unkeyed");
    spoil(network, fault.clone(), &record, 1);
    let request = Request::post(&way.url(network, &format!("/sink/{record}"))).body(vec![b'x'; 32 << 10]);
    let request = request.timeout(Duration::from_secs(3));
    match caller.write(&client, &Write::keyless(request).unkeyed()) {
        Ok(written) => assert_eq!(written.outcome(), Outcome::Applied, "{case}"),
        Err(error) => assert_eq!(error.outcome(), Outcome::Unknown, "{case}: {error}"),
    }
    let (attempts, applied) = effects(network, &record);
    assert_eq!((attempts, applied <= 1), (1, true), "{case}");
}

#[test]
fn a_write_without_a_key_is_sent_at_most_once_whatever_the_sink_does() {
    let faults = [
        Fault::SinkResetBeforeBody,
        Fault::SinkResetInBody,
        Fault::SinkResetAfterBody,
        Fault::ApplyThenDie,
        Fault::ApplyThenReset,
        Fault::ApplyThenSilence,
        Fault::ApplyThen500,
        Fault::Fail500,
        Fault::Stored500,
        Fault::Refuse503,
        Fault::SlowSink(100),
    ];
    assert!(faults.iter().all(|fault| fault.row().layer == Layer::Sink));
    thread::scope(|scope| {
        for (way, caller) in Way::ALL.into_iter().flat_map(|way| Caller::ALL.map(|caller| (way, caller))) {
            let faults = &faults;
            scope.spawn(move || {
                let network = network();
                faults.iter().for_each(|fault| unkeyed_into(&network, way, caller, fault));
            });
        }
    });
}

#[test]
fn two_jobs_and_two_operations_share_no_write() {
    let network = network();
    let client = writer(&network);
    let key = |job: &str, operation: &str| -> Key { Scope::job(job).unwrap().key(operation, 7) };
    let keys = [key("one", "insert"), key("two", "insert"), key("one", "delete"), key("onei", "nsert")];
    for key in keys {
        let write = Write::new(post(&network, "row"), &key, &Profile::idempotency_key());
        assert_written(&client.write(&write), Outcome::Applied);
    }
    let instance = Scope::instance("20261122060110436gskmgc").unwrap().key("insert", 7);
    let write = Write::new(post(&network, "row"), &instance, &Profile::idempotency_key());
    assert_written(&client.write(&write), Outcome::Applied);
    assert_eq!(effects(&network, "row"), (5, 5));
}

#[test]
fn a_batch_is_not_sent_again_when_its_target_may_have_forgotten_its_keys() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        let batch = Batch::elasticsearch(&http(&network, "/es/_bulk"), "rows").memory(Duration::from_millis(50));
        let batch = batch.item(&key("item"), "{}");
        assert_written(&caller.write_batch(&client, &batch)[0], Outcome::Applied);
        // Time is what a target forgets by.
        thread::sleep(Duration::from_millis(60));
        unknown(caller.write_batch(&client, &batch).remove(0));
        assert_eq!(network.counts().origins.requests, 1);
    }
}

#[test]
fn a_body_is_read_once_and_a_second_write_of_it_says_so() {
    let network = network();
    let client = writer(&network);
    for caller in Caller::ALL {
        let record = unique("once");
        let request = post(&network, &record).body_reader(&b"row"[..], None);
        let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
        assert_written(&caller.write(&client, &write), Outcome::Applied);
        let error = unknown(caller.write(&client, &write));
        assert!(error.to_string().contains("Config.InvalidInput"), "{error}");
        assert_eq!(effects(&network, &record), (1, 1), "nothing was sent");
    }
}

#[test]
fn a_write_whose_future_is_dropped_counts_as_sent() {
    let network = network();
    let client = writer(&network);
    let slow = Request::post(&http(&network, "/sink/dropped?slow=1000")).body("one");
    let write = Write::new(slow, &key("dropped"), &Profile::idempotency_key());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let client = AsyncClient::from(client.clone());
        let mut writing = std::pin::pin!(client.write(&write));
        while network.sink().iter().all(|write| write.bodies.is_empty()) {
            let moment = tokio::time::timeout(Duration::from_millis(5), &mut writing).await;
            assert!(moment.is_err(), "nothing is answered yet: {moment:?}");
        }
    });
    refused_here(&network, || client.write(&row(&network, "dropped", "two")), Reason::WriteMismatch);
    // It was done all the same, and once.
    assert_written(&client.write(&row(&network, "dropped", "one")), Outcome::AlreadyApplied);
    assert_eq!(effects(&network, "dropped").1, 1);
}
