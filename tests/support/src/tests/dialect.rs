//! Writes under keys, in the dialects that servers speak.

use std::io::Write;

use super::http2::{ask, converse, plain};
use super::origin::body;
use super::{at, dial, eventually, exchange, post, recorded, start};
use crate::{Fault, Plan};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const REPLAYED: &str = "idempotent-replayed: true\r\n";

#[test]
fn stripe_takes_a_key_bare_or_quoted_and_marks_replays() {
    let network = start(Plan::default());
    let http = at(network.http());
    let first = post(http, "/stripe/r", "Idempotency-Key: k\r\n", "one");
    assert!(first.starts_with("HTTP/1.1 200") && !first.contains(REPLAYED), "{first}");
    let second = post(http, "/stripe/r", "Idempotency-Key: \"k\"\r\n", "one");
    assert!(second.starts_with("HTTP/1.1 200") && second.contains(REPLAYED), "{second}");
    assert_eq!(body(&first), body(&second));
    let other = post(http, "/stripe/r", "Idempotency-Key: k\r\n", "two");
    assert!(other.starts_with("HTTP/1.1 400"), "{other}");
    assert_eq!(body(&other)["error"]["type"], "idempotency_error");
    // Its key is that field and nothing else.
    assert!(post(http, "/stripe/r?ClientToken=k", "", "one").starts_with("HTTP/1.1 200"));
    assert_eq!(recorded(&network, "r"), (4, 2, 3));
}

#[test]
fn a_stored_500_is_replayed_and_never_applied() {
    let network = start(Plan::default());
    let http = at(network.http());
    for (path, fields, mark) in [
        ("/stripe/a", "Idempotency-Key: k\r\n", true),
        ("/sink/b", "Idempotency-Key: \"k\"\r\n", true),
        ("/token/c?ClientToken=k", "", false),
    ] {
        network.inject_times(Fault::Stored500, 1);
        let first = post(http, path, fields, "one");
        assert!(first.starts_with("HTTP/1.1 500") && !first.contains(REPLAYED), "{first}");
        assert!(network.faults().is_empty());
        let second = post(http, path, fields, "one");
        assert!(second.starts_with("HTTP/1.1 500"), "{second}");
        assert_eq!((second.contains(REPLAYED), body(&first)), (mark, body(&second)));
    }
    assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (2, 0)));
    // A condition is no key: nothing keeps the answer.
    let put = "PUT /sink/d HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    network.inject_times(Fault::Stored500, 1);
    assert!(exchange(http, put).0.starts_with("HTTP/1.1 500"));
    assert!(exchange(http, put).0.starts_with("HTTP/1.1 201"));
}

#[test]
fn a_client_token_is_no_part_of_what_is_written() {
    let network = start(Plan::default());
    let http = at(network.http());
    let first = post(http, "/token/r", FORM, "a=1&ClientToken=k%31&b=2");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert_eq!(body(&first)["key"], "k1");
    for (path, form) in [("/token/r", "ClientToken=k1&a=1&b=2"), ("/token/r?ClientToken=k1", "a=1&b=2")] {
        let again = post(http, path, FORM, form);
        assert!(again.starts_with("HTTP/1.1 200") && !again.contains("idempotent-replayed"), "{again}");
        assert_eq!(body(&again), body(&first));
    }
    let other = post(http, "/token/r", FORM, "a=1&b=3&ClientToken=k1");
    assert!(other.starts_with("HTTP/1.1 400"), "{other}");
    assert_eq!(body(&other)["Code"], "IdempotentParameterMismatch");
    let write = network.sink().remove(0);
    assert_eq!((network.sink().len(), write.key.as_deref()), (1, Some("k1")));
    assert_eq!((write.attempts, write.applied, write.bodies.len()), (4, 1, 2));
}

#[test]
fn a_client_token_has_at_most_64_ascii_characters() {
    let network = start(Plan::default());
    let http = at(network.http());
    let (longest, longer) = ("k".repeat(64), "k".repeat(65));
    assert!(post(http, &format!("/token/r?ClientToken={longest}"), "", "x").starts_with("HTTP/1.1 200"));
    for (path, form) in [
        (format!("/token/r?ClientToken={longer}"), String::new()),
        ("/token/r?ClientToken=%C3%A9".to_owned(), String::new()),
        ("/token/r".to_owned(), format!("ClientToken={longer}")),
    ] {
        let refused = post(http, &path, FORM, &form);
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        assert_eq!(body(&refused)["Code"], "InvalidClientToken");
    }
    assert_eq!(recorded(&network, "r").1, 1);
}

#[test]
fn each_dialect_says_in_its_own_way_that_a_write_is_in_progress() {
    let network = start(Plan::default());
    let http = at(network.http());
    for (record, path, said) in [
        ("a", "/sink/a", "in progress"),
        ("b", "/stripe/b", "idempotency_key_in_use"),
        ("c", "/token/c?ClientToken=k", "IdempotentProcessing"),
    ] {
        network.inject_injection(crate::Injection {
            fault: Fault::SlowSink(60_000),
            times: Some(1),
            name: Some(record.to_owned()),
        });
        let mut slow = dial(http);
        let request = format!("POST {path} HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\nx");
        slow.write_all(request.as_bytes()).expect("sent");
        eventually("the first twin", || recorded(&network, record).2 == 1);
        let twin = post(http, path, "Idempotency-Key: k\r\n", "x");
        assert!(twin.starts_with("HTTP/1.1 409") && twin.contains(said), "{twin}");
    }
}

#[test]
fn a_key_is_forgotten_when_its_time_is_over() {
    let network = start(Plan::default());
    let http = at(network.http());
    let send = |ttl: u64| post(http, &format!("/sink/r?ttl={ttl}"), "Idempotency-Key: k\r\n", "x");
    assert!(send(60_000).starts_with("HTTP/1.1 201"));
    assert!(send(0).contains(REPLAYED), "the first write set the time");
    network.reset_counts();
    assert!(send(0).starts_with("HTTP/1.1 201"));
    assert!(!send(0).contains(REPLAYED), "forgotten at once");
    assert_eq!(recorded(&network, "r"), (2, 2, 1));
}

#[test]
fn a_key_may_be_in_any_field_or_parameter() {
    let network = start(Plan::default());
    let http = at(network.http());
    for (record, path, fields, sent) in [
        ("a", "/sink/a?key_header=X-Request-Id", "x-request-id: k\r\n", "x"),
        ("b", "/sink/b?key_query=request&request=k", "", "x"),
        ("c", "/sink/c?key_form=request", "", "request=k&row=1"),
    ] {
        assert!(!post(http, path, fields, sent).contains(REPLAYED), "{path}");
        // Where another place was named, the usual one counts for nothing.
        let again = post(http, path, &format!("Idempotency-Key: {record}\r\n{fields}"), sent);
        assert!(again.starts_with("HTTP/1.1 201") && again.contains(REPLAYED), "{path}");
        assert!(post(http, path, fields, &format!("{sent}1")).starts_with("HTTP/1.1 422"), "{path}");
        assert_eq!(recorded(&network, record), (3, 1, 2), "{path}");
    }
    assert!(network.sink().iter().all(|write| write.key.as_deref() == Some("k")));
}

#[test]
fn only_post_and_put_write() {
    let network = start(Plan::default());
    for path in ["/sink/r", "/stripe/r", "/token/r", "/es/_bulk", "/es/i/_create/1"] {
        let answer = super::get(at(network.http()), path);
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: POST, PUT\r\n"), "{answer}");
    }
    assert!(network.sink().is_empty());
}

#[test]
fn dialects_are_the_same_over_http2() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.http())).await;
        for (path, first) in [("/stripe/r?x=1", 200), ("/token/t?ClientToken=k", 200), ("/sink/s?ClientToken=k", 201)] {
            for _ in 0..2 {
                assert_eq!(ask(&sender, "POST", path, b"x").await.expect("an answer").0.status(), first);
            }
        }
    });
    assert_eq!((recorded(&network, "r"), recorded(&network, "t")), ((2, 2, 1), (2, 1, 1)));
}
