//! Promise: a write happens once whatever is executed twice, at every target that a profile is ready for; and its outcome
//! is said as the target's records have it.
//!
//! Each profile is held against an origin that implements its service's side; the sink's records decide.

mod common;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::raw::Peer;
use common::survival::Caller;
use common::writes::{Way, assert_written, effects, key, keys, post, prompt, refused, spoil, unknown, writer};
use common::{client, eventually, http, network, seen, unique};
use pinlink::{
    Delivery, Guarantee, Key, KeyForm, Meaning, Outcome, Part, Phase, Profile, Reason, Record, Request, Write,
};
use pinlink_box::{Fault, Network, Seen};

/// A target, as its profile has it, and what it makes of the same write once more.
struct Target {
    name: &'static str,
    profile: Profile,
    request: fn(&str, &Key) -> Request,
    /// Where a record is written.
    path: fn(&str) -> String,
    /// What the sink calls it.
    record: fn(&str, &Key) -> String,
    /// What is written, and what somebody else would write.
    bodies: [&'static str; 2],
    /// What the same write comes to.
    again: Outcome,
    /// What another body under the same key comes to.
    other: Result<Outcome, Reason>,
    /// Whether the key stood where it belongs.
    stands: fn(&Seen, &Key) -> bool,
}

fn field<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
}

fn has_parameter(seen: &Seen, name: &str, value: &str) -> bool {
    seen.query.as_deref().unwrap_or_default().split('&').any(|pair| pair == format!("{name}={value}"))
}

/// What a target of one's own says.
fn as_drafted(profile: Profile) -> Profile {
    profile
        .mark(409, None, Meaning::InProgress)
        .mark(422, None, Meaning::Mismatch)
        .replay_mark("Idempotent-Replayed", "true")
}

fn targets() -> Vec<Target> {
    let keyed = |name, profile| Target {
        name,
        profile,
        request: |url, _| Request::post(url),
        path: |record| format!("/sink/{record}"),
        record: |record, _| record.to_owned(),
        bodies: [r#"{"city":"Berlin"}"#, r#"{"city":"Bern"}"#],
        again: Outcome::AlreadyApplied,
        other: Err(Reason::WriteMismatch),
        stands: |_, _| true,
    };
    let form = ["city=Berlin", "city=Bern"];
    vec![
        Target {
            stands: |seen, key| field(seen, "idempotency-key") == Some(&format!("\"{}\"", key.hex())),
            ..keyed("the draft", Profile::idempotency_key())
        },
        Target {
            path: |record| format!("/stripe/{record}"),
            stands: |seen, key| field(seen, "idempotency-key") == Some(&key.hex()),
            ..keyed("bare", Profile::bare_idempotency_key())
        },
        Target {
            path: |record| format!("/sink/{record}?key_header=X-Request-Id"),
            stands: |seen, key| {
                field(seen, "x-request-id") == Some(&key.uuid()) && field(seen, "idempotency-key").is_none()
            },
            ..keyed("a header of its own", as_drafted(Profile::header("X-Request-Id").form(KeyForm::Uuid)))
        },
        Target {
            path: |record| format!("/sink/{record}?key_query=request"),
            stands: |seen, key| has_parameter(seen, "request", &key.short()),
            ..keyed("a parameter", as_drafted(Profile::query("request").form(KeyForm::Short)))
        },
        Target {
            path: |record| format!("/sink/{record}?key_form=request"),
            bodies: form,
            // The key itself is in the body, and the sink reads it there.
            stands: |seen, _| field(seen, "content-type") == Some("application/x-www-form-urlencoded"),
            ..keyed("a form's field", as_drafted(Profile::form_field("request")))
        },
        Target {
            path: |record| format!("/token/{record}"),
            // It answers a repetition as it answered the first.
            again: Outcome::Applied,
            stands: |seen, key| has_parameter(seen, "ClientToken", &key.hex()),
            ..keyed("ClientToken", Profile::client_token())
        },
        Target {
            path: |record| format!("/token/{record}"),
            bodies: form,
            again: Outcome::Applied,
            stands: |seen, _| seen.query.is_none() && field(seen, "idempotency-key").is_none(),
            ..keyed("ClientToken in a form", Profile::client_token_in_form())
        },
        Target {
            request: |url, _| Request::put(url),
            path: |record| format!("/oss/bucket/{record}"),
            record: |record, _| format!("bucket/{record}"),
            other: Err(Reason::WriteConflict),
            stands: |seen, key| {
                field(seen, "x-oss-forbid-overwrite") == Some("true")
                    && field(seen, "x-oss-meta-pinlink-key").is_some_and(|label| label.starts_with(&key.logged()))
            },
            ..keyed("OSS", Profile::oss())
        },
        Target {
            request: |url, _| Request::put(url),
            path: |record| format!("/oss/s3/{record}"),
            record: |record, _| format!("s3/{record}"),
            other: Err(Reason::WriteConflict),
            stands: |seen, key| {
                field(seen, "if-none-match") == Some("*")
                    && field(seen, "x-amz-meta-pinlink-key").is_some_and(|label| label.starts_with(&key.logged()))
            },
            ..keyed("S3", Profile::s3())
        },
        Target {
            request: |url, _| Request::put(url),
            path: |record| format!("/oss/any/{record}"),
            record: |record, _| format!("any/{record}"),
            other: Err(Reason::WriteConflict),
            stands: |seen, _| field(seen, "if-none-match") == Some("*"),
            ..keyed("If-None-Match", Profile::if_none_match())
        },
        Target {
            request: |url, _| Request::put(url),
            path: |record| format!("/es/{record}/_create/{{key}}"),
            record: |record, key| format!("{record}/{}", key.hex()),
            // The document's name is the key: what exists under it is this write.
            other: Ok(Outcome::AlreadyApplied),
            stands: |seen, key| seen.path.ends_with(&format!("/_create/{}", key.hex())),
            ..keyed("Elasticsearch", Profile::elasticsearch())
        },
        Target {
            request: |url, key| Request::post(url).header("x-box-row", key.hex()),
            path: |_| "/ots/PutRow".to_owned(),
            record: |_, key| key.hex(),
            other: Ok(Outcome::AlreadyApplied),
            ..keyed("Tablestore", Profile::tablestore())
        },
    ]
}

#[test]
fn every_profile_s_write_has_one_effect_and_a_second_execution_is_told_so() {
    thread::scope(|scope| {
        for way in Way::ALL {
            scope.spawn(move || {
                let network = network();
                for caller in Caller::ALL {
                    for target in targets() {
                        is_written_once(&network, way, caller, &target);
                    }
                }
            });
        }
    });
}

fn is_written_once(network: &Network, way: Way, caller: Caller, target: &Target) {
    let case = format!("{} {way:?} {caller:?}", target.name);
    let name = unique("record");
    let key = key(&*name);
    let path = (target.path)(&name);
    let record = (target.record)(&name, &key);
    let write = |body: &'static str| {
        let request = (target.request)(&way.url(network, &path), &key).body(body);
        Write::new(request, &key, &target.profile)
    };
    assert_eq!(write("").guarantee(), Guarantee::Once, "{case}");
    let [same, other] = target.bodies;
    // Each a process of its own: none knows what another has sent.
    let [first, executed_again, stranger] = [(); 3].map(|()| way.client(network));
    let begun = network.seen().len();
    let applied = caller.write(&first, &write(same)).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(applied.outcome(), Outcome::Applied, "{case}");
    for client in [&first, &executed_again] {
        let again = caller.write(client, &write(same)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(again.outcome(), target.again, "{case}");
    }
    let answered = caller.write(&stranger, &write(other));
    match (target.other, answered) {
        (Ok(outcome), answered) => assert_written(&answered, outcome),
        (Err(reason), answered) => {
            let error = refused(answered, reason);
            assert_eq!(error.delivery(), Delivery::Answered, "{case}: {error}");
        }
    }
    assert_eq!(effects(network, &record), (4, 1), "{case}");
    assert_eq!(keys(network, &record).len(), 1, "{case}: one key, always the same");
    let protocol = if matches!(way, Way::Plain | Way::Tls) { "HTTP/1.1" } else { "HTTP/2.0" };
    for seen in &network.seen()[begun..] {
        assert_eq!(seen.protocol, protocol, "{case}");
        if matches!(seen.method.as_str(), "PUT" | "POST") {
            assert!((target.stands)(seen, &key), "{case}: {seen:?}");
        }
    }
}

#[test]
fn the_sink_reads_the_key_that_the_write_has_in_the_form_that_the_profile_has() {
    let network = network();
    let client = writer(&network);
    let key = key(["berlin", "4711"]);
    for (record, profile, text) in [
        ("hex", Profile::idempotency_key(), key.hex()),
        ("uuid", Profile::idempotency_key().form(KeyForm::Uuid), key.uuid()),
        ("short", Profile::idempotency_key().form(KeyForm::Short), key.short()),
        ("form?key_form=t", as_drafted(Profile::form_field("t").form(KeyForm::Uuid)), key.uuid()),
    ] {
        let request = Request::post(&http(&network, &format!("/sink/{record}"))).body("a=b");
        // The same key with the same body, at four targets.
        client.write(&Write::new(request, &key, &profile)).unwrap();
        assert_eq!(keys(&network, record.split('?').next().unwrap()), [Some(text)], "{record}");
    }
}

#[test]
fn the_same_inputs_are_the_same_write_in_every_process_and_others_are_not() {
    let network = network();
    let rows: Vec<Record<'_>> = vec![
        ["berlin", "4711"].into(),
        ["berlin4", "711"].into(),
        ["berlin", ""].into(),
        Record::parts(vec![Part::from("berlin"), Part::Null]),
        "berlin".into(),
        "é".into(),
        "e\u{301}".into(),
        Record::content(b"berlin"),
        Record::chunk(0, 1),
        Record::chunk(1, 0),
    ];
    for _execution in 0..2 {
        let client = writer(&network);
        for (row, record) in rows.iter().enumerate() {
            let write = Write::new(post(&network, "rows"), &key(record.clone()), &Profile::idempotency_key());
            client.write(&write).unwrap_or_else(|error| panic!("row {row}: {error}"));
        }
    }
    assert_eq!(effects(&network, "rows"), (2 * rows.len() as u64, rows.len() as u64));
    assert_eq!(keys(&network, "rows").into_iter().collect::<BTreeSet<_>>().len(), rows.len());
}

#[test]
fn while_a_twin_s_write_is_processed_the_other_waits_and_gets_its_result() {
    thread::scope(|scope| {
        for way in Way::ALL {
            for caller in Caller::ALL {
                scope.spawn(move || a_twin_is_waited_for(way, caller));
            }
        }
    });
}

fn a_twin_is_waited_for(way: Way, caller: Caller) {
    let network = network();
    for (path, profile, again) in [
        ("/sink/draft", Profile::idempotency_key(), Outcome::AlreadyApplied),
        ("/stripe/bare", Profile::bare_idempotency_key(), Outcome::AlreadyApplied),
        ("/token/token", Profile::client_token(), Outcome::Applied),
    ] {
        let record = path.rsplit('/').next().unwrap();
        let [twin, other] = [(); 2].map(|()| way.client(&network));
        let write = |query: &str| {
            let request = Request::post(&way.url(&network, &format!("{path}{query}"))).body("once");
            Write::new(request, &key(record), &profile)
        };
        let (slow, waited) = thread::scope(|scope| {
            let slow = scope.spawn(|| caller.write(&twin, &write("?slow=2000")));
            eventually("the first is being processed", || !bodies(&network, record).is_empty());
            let waited = caller.write(&other, &write(""));
            (slow.join().unwrap(), waited)
        });
        let (slow, waited) = (slow.unwrap(), waited.unwrap());
        assert_eq!((slow.outcome(), waited.outcome()), (Outcome::Applied, again), "{record}");
        assert_eq!(slow.response().body(), waited.response().body(), "{record}: one result");
        assert!(
            waited.response().trace().attempts > 3,
            "{record}: it was asked again, beyond max_attempts: {waited:?}"
        );
        assert_eq!(effects(&network, record).1, 1, "{record}");
    }
}

fn bodies(network: &Network, record: &str) -> Vec<String> {
    network.sink().into_iter().filter(|write| write.record == record).flat_map(|write| write.bodies).collect()
}

#[test]
fn of_two_racing_puts_of_an_object_one_is_done_and_both_are_told() {
    let network = network();
    for (path, profile) in [
        ("/oss/b/forbid", Profile::oss()),
        ("/oss/b/none-match", Profile::s3()),
        ("/oss/b/conflict?conflict=1", Profile::s3()),
        ("/oss/b/plain", Profile::if_none_match()),
    ] {
        let record = path.trim_start_matches("/oss/").split('?').next().unwrap();
        let write = |slow: &str| {
            let joint = if path.contains('?') { '&' } else { '?' };
            let request = Request::put(&http(&network, &format!("{path}{joint}{slow}"))).body("row");
            Write::new(request, &key(record), &profile)
        };
        let outcomes = thread::scope(|scope| {
            let builder = || prompt(client(&network)).max_attempts(10).backoff_base(Duration::from_millis(20));
            let [one, other] = [(); 2].map(|()| builder().backoff_max(Duration::from_secs(1)).build().unwrap());
            let (slow, quick) = (write("slow=200"), write("slow=0"));
            let slow = scope.spawn(move || one.write(&slow));
            eventually("the first is being processed", || !bodies(&network, record).is_empty());
            let quick = other.write(&quick).unwrap().outcome();
            [slow.join().unwrap().unwrap().outcome(), quick]
        });
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 1, "{path}: {outcomes:?}");
        assert!(outcomes.contains(&Outcome::AlreadyApplied), "{path}: {outcomes:?}");
        assert_eq!(effects(&network, record).1, 1, "{path}");
    }
}

#[test]
fn what_is_refused_is_rejected_with_the_target_s_own_words() {
    let network = network();
    let profiles = [Profile::idempotency_key(), Profile::bare_idempotency_key(), Profile::client_token()];
    for (caller, profile) in Caller::ALL.into_iter().flat_map(|caller| profiles.iter().map(move |p| (caller, p))) {
        for status in [400, 401, 403, 404, 410, 413, 501] {
            network.reset_counts();
            let write = Write::new(Request::post(&http(&network, &format!("/status/{status}"))), &key(status), profile);
            let error = refused(caller.write(&writer(&network), &write), Reason::WriteRejected);
            assert_eq!((error.status(), error.delivery(), error.attempts()), (Some(status), Delivery::Answered, 1));
            assert_eq!(error.phase(), Phase::Receive);
            assert_eq!(error.body().unwrap(), &format!(r#"{{"status":{status}}}"#));
            assert_eq!(network.counts().origins.requests, 1, "{status} is final");
        }
    }
}

#[test]
fn what_is_put_off_is_sent_again_under_the_same_key() {
    let network = network();
    for caller in Caller::ALL {
        for (fault, outcome) in [
            (Fault::Refuse503, Outcome::Applied),
            (Fault::Fail500, Outcome::Applied),
            (Fault::SinkResetBeforeBody, Outcome::Applied),
            (Fault::SinkResetInBody, Outcome::Applied),
            (Fault::SinkResetAfterBody, Outcome::Applied),
            (Fault::ApplyThenDie, Outcome::AlreadyApplied),
            (Fault::ApplyThenReset, Outcome::AlreadyApplied),
            (Fault::ApplyThen500, Outcome::AlreadyApplied),
        ] {
            let record = unique("again");
            let name = fault.name();
            spoil(&network, fault, &record, 1);
            let write = Write::new(post(&network, &record), &key(&*record), &Profile::idempotency_key());
            let written = caller.write(&writer(&network), &write).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((written.outcome(), written.response().trace().attempts), (outcome, 2), "{name}");
            assert_eq!(effects(&network, &record), (2, 1), "{name}");
            assert_eq!(keys(&network, &record), [Some(key(&*record).hex())], "{name}");
        }
    }
}

#[test]
fn what_stays_put_off_is_rejected_only_where_it_surely_was_not_done() {
    let network = network();
    for (status, reason) in [
        (408, Reason::WriteRejected),
        (425, Reason::WriteRejected),
        (429, Reason::WriteRejected),
        (500, Reason::WriteOutcomeUnknown),
        (502, Reason::WriteOutcomeUnknown),
        (503, Reason::WriteOutcomeUnknown),
        (504, Reason::WriteOutcomeUnknown),
    ] {
        network.reset_counts();
        let request = Request::post(&http(&network, &format!("/status/{status}")));
        let write = Write::new(request.clone(), &key(status), &Profile::idempotency_key());
        let error = refused(writer(&network).write(&write), reason);
        assert_eq!((error.status(), error.attempts()), (Some(status), 3), "{error}");
        assert_eq!(network.counts().origins.requests, 3);
        // What is not keyed is not sent again for an answer.
        let error = refused(writer(&network).write(&Write::keyless(request).unkeyed()), reason);
        assert_eq!((error.status(), error.attempts()), (Some(status), 1), "{error}");
        assert_eq!(network.counts().origins.requests, 4);
    }
}

#[test]
fn a_refusal_after_a_lost_answer_leaves_the_outcome_unknown() {
    let network = network();
    for caller in Caller::ALL {
        let record = unique("doubt");
        // The first try is applied and its answer lost; every later one is put off.
        spoil(&network, Fault::ApplyThenDie, &record, 1);
        let write = Write::new(post(&network, &record), &key(&*record), &Profile::idempotency_key());
        let client = writer(&network);
        let error = thread::scope(|scope| {
            let written = scope.spawn(|| {
                let slow = Request::post(&http(&network, &format!("/sink/{record}?slow=500"))).body("berlin");
                caller.write(&client, &Write::new(slow, &key(&*record), &Profile::idempotency_key()))
            });
            eventually("it is being processed", || !bodies(&network, &record).is_empty());
            network.inject_for(Fault::Refuse503, &record);
            unknown(written.join().unwrap())
        });
        assert_eq!((error.status(), error.attempts()), (Some(503), 3), "{error}");
        assert_eq!(effects(&network, &record), (3, 1));
        // Sent again later, under the same key, it is settled.
        network.heal();
        assert_written(&caller.write(&client, &write), Outcome::AlreadyApplied);
        assert_eq!(effects(&network, &record), (4, 1));
    }
}

#[test]
fn a_target_that_refuses_what_it_may_have_done_is_not_believed() {
    for caller in Caller::ALL {
        for (status, attempts) in [(400, 2), (404, 2), (412, 2), (429, 3)] {
            for is_keyed in [true, false] {
                // The first request comes whole and is answered by silence.
                let peer = Peer::playing(move |wire| {
                    while wire.request()?.is_some() && wire.number > 0 {
                        wire.say(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))?;
                    }
                    Ok(())
                });
                let client = prompt(peer.client()).build().unwrap();
                let put = Request::put(&peer.url("http", "/row")).body("row");
                let write = match is_keyed {
                    true => Write::new(put, &key("row"), &Profile::idempotency_key()),
                    false => Write::keyless(put),
                };
                let error = unknown(caller.write(&client, &write));
                assert_eq!((error.status(), error.attempts()), (Some(status), attempts), "{error}");
                // Whom no answer was lost of is believed.
                let another = prompt(peer.client()).build().unwrap();
                let believed = refused(caller.write(&another, &write), Reason::WriteRejected);
                assert_eq!(believed.status(), Some(status), "{believed}");
            }
        }
    }
}

#[test]
fn a_put_without_a_key_is_repeated_and_one_effect_equals_two() {
    let network = network();
    for caller in Caller::ALL {
        let client = writer(&network);
        let object = unique("state");
        let put = Write::keyless(Request::put(&http(&network, &format!("/oss/b/{object}"))).body("state"));
        assert_eq!(put.guarantee(), Guarantee::Repeatable);
        spoil(&network, Fault::ApplyThenDie, &format!("b/{object}"), 1);
        assert_written(&caller.write(&client, &put), Outcome::Applied);
        assert_eq!(effects(&network, &format!("b/{object}")), (2, 2), "done twice, which is the same");
        let delete = Write::keyless(Request::delete(&http(&network, &format!("/oss/b/{object}"))));
        let deleted = caller.write(&client, &delete).unwrap();
        assert_eq!((deleted.outcome(), deleted.response().status()), (Outcome::Applied, 204));
    }
}

#[test]
fn a_question_of_the_caller_s_settles_what_is_unknown() {
    let network = network();
    for caller in Caller::ALL {
        for (answer, outcome) in [(Some(true), Some(Outcome::AlreadyApplied)), (Some(false), None), (None, None)] {
            let record = unique("asked");
            spoil(&network, Fault::ApplyThenDie, &record, 1);
            let asked = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&asked);
            let question = Request::get(&http(&network, &format!("/rows/{record}")));
            let write = Write::keyless(post(&network, &record)).unkeyed().verify(question, move |found| {
                counted.fetch_add(1, Ordering::Relaxed);
                assert_eq!(found.status(), 200);
                answer
            });
            assert_eq!(write.guarantee(), Guarantee::AtMostOncePerProcess);
            let written = caller.write(&writer(&network), &write);
            match outcome {
                Some(outcome) => {
                    let written = written.unwrap();
                    assert_eq!(written.outcome(), outcome);
                    assert!(written.response().text().unwrap().contains(&record), "the answer that said so");
                }
                // Nor is a "no" one: the write may still be on its way.
                None => assert_eq!(unknown(written).delivery(), Delivery::Unknown),
            }
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            assert_eq!(seen(&network, &format!("/rows/{record}")).len(), 1);
            assert_eq!(effects(&network, &record), (1, 1), "asked about, not sent again");
        }
    }
}

#[test]
fn a_question_that_fails_leaves_the_first_doubt_as_it_was() {
    let network = network();
    for (caller, path) in
        Caller::ALL.into_iter().flat_map(|caller| [(caller, "/close-early/10"), (caller, "/status/404")])
    {
        let record = unique("unanswered");
        spoil(&network, Fault::ApplyThenReset, &record, 1);
        let question = Request::get(&http(&network, path));
        let reads = |found: &pinlink::Response| found.is_success().then_some(true);
        let write = Write::keyless(post(&network, &record)).unkeyed().verify(question, reads);
        let error = unknown(caller.write(&writer(&network), &write));
        assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 1), "{error}");
        assert_eq!(effects(&network, &record), (1, 1));
    }
}

#[test]
fn a_question_has_the_last_quarter_of_the_time_and_no_more() {
    let network = network();
    thread::scope(|scope| {
        for caller in Caller::ALL {
            // The write's own answer never comes; the question's comes, or does not.
            for (question, settled) in [("/rows/7", true), ("/delay/60000", false)] {
                let network = &network;
                scope.spawn(move || {
                    let client = prompt(client(network)).timeout(Duration::from_secs(4)).build().unwrap();
                    let record = unique("silent");
                    spoil(network, Fault::ApplyThenSilence, &record, 1);
                    let write = Write::new(post(network, &record), &key(&*record), &Profile::idempotency_key())
                        .verify(Request::get(&http(network, question)), |found| Some(found.is_success()));
                    let written = caller.write(&client, &write);
                    match settled {
                        true => assert_written(&written, Outcome::AlreadyApplied),
                        false => assert_eq!(unknown(written).delivery(), Delivery::Unknown),
                    }
                    assert_eq!(effects(network, &record), (1, 1));
                });
            }
        }
    });
}

#[test]
fn nothing_is_asked_about_a_write_that_is_known() {
    let network = network();
    let client = writer(&network);
    let verified =
        |write: Write| write.verify(Request::get(&http(&network, "/rows/question")), |_| panic!("nobody has to ask"));
    let keyed = |path: &str| Write::new(Request::post(&http(&network, path)), &key(path), &Profile::idempotency_key());
    assert_written(&client.write(&verified(keyed("/sink/known"))), Outcome::Applied);
    refused(client.write(&verified(keyed("/status/404"))), Reason::WriteRejected);
    refused(client.write(&verified(Write::keyless(post(&network, "known")))), Reason::WriteUnkeyed);
    network.inject(Fault::RefuseAll);
    let other = writer_of_pins(&network);
    let error = other.write(&verified(keyed("/sink/unsent"))).unwrap_err();
    assert_eq!((error.outcome(), error.delivery()), (Outcome::Rejected, Delivery::NotSent), "{error}");
    network.heal();
    assert!(seen(&network, "/rows/question").is_empty());
}

/// A client with no connection yet.
fn writer_of_pins(network: &Network) -> pinlink::Client {
    prompt(client(network)).connect_timeout(Duration::from_secs(1)).build().unwrap()
}

#[test]
fn each_row_of_many_has_its_own_outcome_in_its_place() {
    for way in Way::ALL {
        let network = network();
        let client = way.client(&network);
        let at = |path: &str| way.url(&network, path);
        let draft = Profile::idempotency_key();
        let sink = |record: &str, body: &'static str| {
            Write::new(Request::post(&at(&format!("/sink/{record}"))).body(body), &key(record), &draft)
        };
        let object = |record: &str, body: &'static str| {
            Write::new(Request::put(&at(&format!("/oss/b/{record}"))).body(body), &key(record), &Profile::oss())
        };
        // What an earlier execution and a stranger have left.
        way.client(&network).write(&sink("done", "row")).unwrap();
        way.client(&network).write(&object("done-object", "row")).unwrap();
        way.client(&network).write(&Write::keyless(Request::put(&at("/oss/b/taken")).body("theirs"))).unwrap();
        spoil(&network, Fault::ApplyThenDie, "lost", 1);
        spoil(&network, Fault::ApplyThenDie, "lost-unkeyed", 1);
        let rows = [
            sink("new", "row"),
            sink("done", "row"),
            sink("new", "another row"),
            sink("lost", "row"),
            Write::keyless(Request::post(&at("/sink/lost-unkeyed")).body("row")).unkeyed(),
            Write::keyless(Request::post(&at("/sink/refused")).body("row")),
            Write::new(Request::get(&at("/rows/1")), &key("get"), &draft),
            Write::new(Request::post("https://elsewhere.test/"), &key("elsewhere"), &draft),
            Write::new(Request::post(&at("/status/404")), &key("rejected"), &draft),
            object("new-object", "row"),
            object("done-object", "row"),
            object("taken", "row"),
        ];
        let outcomes = client.write_all(&rows);
        let said: Vec<Result<Outcome, Reason>> = outcomes
            .iter()
            .map(|written| written.as_ref().map(pinlink::Written::outcome).map_err(pinlink::Error::reason))
            .collect();
        let expected = [
            Ok(Outcome::Applied),
            Ok(Outcome::AlreadyApplied),
            Err(Reason::WriteMismatch),
            Ok(Outcome::AlreadyApplied),
            Err(Reason::WriteOutcomeUnknown),
            Err(Reason::WriteUnkeyed),
            Err(Reason::ConfigInput),
            Err(Reason::PolicyNotDeclared),
            Err(Reason::WriteRejected),
            Ok(Outcome::Applied),
            Ok(Outcome::AlreadyApplied),
            Err(Reason::WriteConflict),
        ];
        assert_eq!(said, expected, "{way:?}");
        for (record, expected) in [
            ("new", (1, 1)),
            ("done", (2, 1)),
            ("lost", (2, 1)),
            ("lost-unkeyed", (1, 1)),
            ("refused", (0, 0)),
            ("b/new-object", (1, 1)),
            ("b/done-object", (2, 1)),
        ] {
            assert_eq!(effects(&network, record), expected, "{way:?} {record}");
        }
        assert!(client.write_all(&[]).is_empty());
    }
}

#[test]
fn every_try_is_signed_anew_under_the_same_key() {
    let network = network();
    for way in Way::ALL {
        for caller in Caller::ALL {
            let record = unique("signed");
            spoil(&network, Fault::Refuse503, &record, 2);
            let nonce = Arc::new(AtomicU32::new(0));
            let of = Arc::clone(&nonce);
            let signed_urls = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&signed_urls);
            let request =
                Request::post(&way.url(&network, &format!("/sink/{record}"))).body("row").signed(move |unsigned| {
                    noted.lock().unwrap().push((unsigned.method().to_owned(), unsigned.headers().count()));
                    unsigned.header("Authorization", format!("nonce {}", of.fetch_add(1, Ordering::Relaxed)))
                });
            let write = Write::new(request, &key(&*record), &Profile::idempotency_key());
            assert_written(&caller.write(&way.client(&network), &write), Outcome::Applied);
            let tries = seen(&network, &format!("/sink/{record}"));
            let nonces: Vec<_> = tries.iter().map(|seen| field(seen, "authorization").unwrap()).collect();
            assert_eq!(nonces, ["nonce 0", "nonce 1", "nonce 2"], "{way:?}: fresh each time, and one each");
            let keys: BTreeSet<_> = tries.iter().map(|seen| field(seen, "idempotency-key").unwrap()).collect();
            assert_eq!(keys, BTreeSet::from([&*format!("\"{}\"", key(&*record).hex())]), "{way:?}: one key");
            // What is signed has the key already, and no earlier signature.
            assert_eq!(*signed_urls.lock().unwrap(), vec![("POST".to_owned(), 1); 3]);
        }
    }
}

#[test]
fn questions_about_a_write_are_signed_as_it_is() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        let nonce = Arc::new(AtomicU32::new(0));
        let put = |profile: Profile| {
            let nonce = Arc::clone(&nonce);
            let request = Request::put(&http(&network, "/oss/b/object")).body("row").signed(move |unsigned| {
                let signature = format!("{} {}", unsigned.method(), nonce.fetch_add(1, Ordering::Relaxed));
                unsigned.header("Authorization", signature)
            });
            Write::new(request, &key("object"), &profile)
        };
        assert_written(&caller.write(&client, &put(Profile::oss())), Outcome::Applied);
        assert_written(&caller.write(&client, &put(Profile::oss())), Outcome::AlreadyApplied);
        assert_written(&caller.write(&client, &put(Profile::if_none_match())), Outcome::AlreadyApplied);
        let tries = seen(&network, "/oss/b/object");
        let signatures: Vec<_> = tries.iter().map(|seen| field(seen, "authorization").unwrap()).collect();
        assert_eq!(signatures, ["PUT 0", "PUT 1", "HEAD 2", "PUT 3", "GET 4"]);
    }
}

#[test]
fn a_signature_may_stand_in_the_query() {
    let network = network();
    for (path, profile) in [("/sink/query", Profile::idempotency_key()), ("/token/query", Profile::client_token())] {
        network.reset_counts();
        spoil(&network, Fault::Refuse503, "query", 1);
        let nonce = AtomicU32::new(0);
        let request = Request::post(&http(&network, path)).body("row").signed(move |unsigned| {
            unsigned.query("Signature", &format!("a+b/c=& {}", nonce.fetch_add(1, Ordering::Relaxed)))
        });
        let key = key(path);
        let written = writer(&network).write(&Write::new(request, &key, &profile)).unwrap();
        assert_eq!((written.outcome(), written.response().trace().attempts), (Outcome::Applied, 2));
        for (nonce, tried) in seen(&network, path).iter().enumerate() {
            let (key, signature) = (key.hex(), format!("Signature=a%2Bb%2Fc%3D%26%20{nonce}"));
            let expected = if path == "/token/query" { format!("ClientToken={key}&{signature}") } else { signature };
            assert_eq!(tried.query.as_deref(), Some(&*expected), "one signature, behind the key");
        }
    }
}

#[test]
fn questions_have_the_write_s_credentials_and_nothing_else_of_it() {
    let network = network();
    let client = writer(&network);
    let put = || {
        let request =
            Request::put(&http(&network, "/oss/b/object")).body("row").header("Authorization", "Bearer secret");
        let request = request.header("x-oss-security-token", "token").header("Content-Type", "text/plain");
        Write::new(request, &key("object"), &Profile::oss())
    };
    assert_written(&client.write(&put()), Outcome::Applied);
    assert_written(&client.write(&put()), Outcome::AlreadyApplied);
    let question = seen(&network, "/oss/b/object").pop().unwrap();
    assert_eq!(question.method, "HEAD");
    assert_eq!(field(&question, "authorization"), Some("Bearer secret"));
    assert_eq!(field(&question, "x-oss-security-token"), Some("token"));
    for name in ["content-type", "content-length", "x-oss-forbid-overwrite", "x-oss-meta-pinlink-key"] {
        assert_eq!(field(&question, name), None, "{name}");
    }
}

/// Signs a request, or does something else with it.
type Sign = Arc<dyn Fn(Request) -> Request + Send + Sync>;

#[test]
fn a_signature_changes_neither_method_nor_host_nor_path_nor_key() {
    let network = network();
    let client = writer(&network);
    let url = http(&network, "/sink/signed");
    let elsewhere = format!("http://{}/sink/signed", network.direct_http());
    let (put, bare, path) = (url.clone(), url.clone(), http(&network, "/sink/another"));
    let (replaced, emptied) = (url.clone(), url.clone());
    let signers: [Sign; 8] = [
        // A key, and the credentials; but another key in each try.
        Arc::new(move |_| Request::post(&replaced).header("Idempotency-Key", "mine").body("row")),
        Arc::new(move |unsigned| {
            Request::post(&emptied).header("Idempotency-Key", unsigned.headers().next().unwrap().1)
        }),
        Arc::new(move |_| Request::post(&path).header("Idempotency-Key", "mine")),
        Arc::new(move |_| Request::post(&elsewhere).header("Idempotency-Key", "mine")),
        Arc::new(move |_| Request::put(&put).header("Idempotency-Key", "mine")),
        Arc::new(move |_| Request::post(&bare).body("row")),
        Arc::new(|unsigned| unsigned.header("Idempotency-Key", "another")),
        Arc::new(|unsigned| unsigned.header("Authorization", "two\r\nlines")),
    ];
    for (number, sign) in signers.iter().enumerate() {
        for caller in Caller::ALL {
            let sign = Arc::clone(sign);
            let request = Request::post(&url).body("row").signed(move |unsigned| sign(unsigned));
            let written = caller.write(&client, &Write::new(request, &key("signed"), &Profile::idempotency_key()));
            let error = refused(written, Reason::ConfigInput);
            assert_eq!(error.delivery(), Delivery::NotSent, "signer {number}: {error}");
        }
    }
    assert_eq!(network.sink(), [], "nothing was sent");
}

#[test]
fn a_signer_that_fails_on_a_retry_undoes_nothing_that_was_sent() {
    for caller in Caller::ALL {
        let network = network();
        let client = writer(&network);
        spoil(&network, Fault::ApplyThenDie, "signed", 1);
        let tries = Arc::new(AtomicU32::new(0));
        let request = post(&network, "signed").signed(move |unsigned| {
            let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            unsigned.header("Authorization", if first { "one line" } else { "two\r\nlines" })
        });
        unknown(caller.write(&client, &Write::new(request, &key("signed"), &Profile::idempotency_key())));
        assert_eq!(effects(&network, "signed"), (1, 1));
        let other = Write::new(post(&network, "signed").body("other"), &key("signed"), &Profile::idempotency_key());
        refused(caller.write(&client, &other), Reason::WriteMismatch);
    }
}

#[test]
fn an_answer_that_comes_before_the_body_is_out_is_no_effect() {
    for caller in Caller::ALL {
        // It says 200 to the head, and reads no more.
        let peer = Peer::playing(move |wire| {
            wire.head()?;
            wire.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        });
        let client = prompt(peer.client()).build().unwrap();
        let request = Request::post(&peer.url("http", "/row")).body(vec![b'x'; 32 << 20]);
        let error = unknown(caller.write(&client, &Write::new(request, &key("early"), &Profile::idempotency_key())));
        assert_eq!(error.status(), Some(200), "{error}");
    }
}

#[test]
fn a_client_that_keeps_no_explanations_still_understands_them() {
    let network = network();
    let build = || prompt(client(&network)).max_error_body(0).build().unwrap();
    let object = |body: &'static str| {
        Write::new(Request::put(&http(&network, "/oss/b/object")).body(body), &key("object"), &Profile::oss())
    };
    let token = |body: &'static str| {
        Write::new(Request::post(&http(&network, "/token/row")).body(body), &key("token"), &Profile::client_token())
    };
    for caller in Caller::ALL {
        caller.write(&build(), &object("row")).unwrap();
        assert_written(&caller.write(&build(), &object("row")), Outcome::AlreadyApplied);
        refused(caller.write(&build(), &object("another")), Reason::WriteConflict);
        assert_written(&caller.write(&build(), &token("row")), Outcome::Applied);
        refused(caller.write(&build(), &token("another")), Reason::WriteMismatch);
    }
}

#[test]
fn a_client_that_follows_redirects_and_decodes_writes_as_any_other() {
    let network = network();
    let client = || prompt(client(&network)).max_redirects(5).decode(true).build().unwrap();
    for caller in Caller::ALL {
        let record = unique("decoded");
        let write = |body: &'static str| {
            let request = Request::post(&http(&network, &format!("/stripe/{record}"))).body(body);
            Write::new(request, &key(&*record), &Profile::bare_idempotency_key())
        };
        spoil(&network, Fault::ApplyThenDie, &record, 1);
        assert_written(&caller.write(&client(), &write("row")), Outcome::AlreadyApplied);
        refused(caller.write(&client(), &write("another")), Reason::WriteMismatch);
        assert_eq!(effects(&network, &record), (3, 1));
        assert!(
            seen(&network, &format!("/stripe/{record}")).iter().all(|seen| field(seen, "accept-encoding").is_none())
        );
    }
}

#[test]
fn an_object_is_compared_as_it_was_sent_and_not_as_it_would_be_decoded() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"row").unwrap();
    let packed = packed.finish().unwrap();
    let stored = packed.clone();
    let peer = Peer::answering(move |head, _| {
        let length = stored.len();
        match head.starts_with("PUT") {
            true => b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n".to_vec(),
            false => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
                [head.as_bytes(), &stored].concat()
            }
        }
    });
    for (caller, decode) in Caller::ALL.into_iter().flat_map(|caller| [(caller, false), (caller, true)]) {
        let client = prompt(peer.client()).decode(decode).build().unwrap();
        let request = Request::put(&peer.url("http", "/o")).header("Content-Encoding", "gzip").body(packed.clone());
        let write = Write::new(request, &key("o"), &Profile::if_none_match());
        assert_written(&caller.write(&client, &write), Outcome::AlreadyApplied);
    }
}
