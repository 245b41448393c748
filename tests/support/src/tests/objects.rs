//! The object store, as OSS and as S3.

use std::io::Write;
use std::net::SocketAddr;

use super::http2::{ask, converse, plain};
use super::{at, dial, eventually, exchange, recorded, start};
use crate::{Fault, Injection, Plan};

const FORBID: &str = "x-oss-forbid-overwrite: true\r\n";
const NONE_MATCH: &str = "If-None-Match: *\r\n";

fn send(at: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}");
    exchange(at, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).0
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn an_object_is_not_overwritten_where_that_is_forbidden() {
    let network = start(Plan::default());
    let http = at(network.http());
    let meta = "x-oss-meta-pinlink-key: k.1\r\nx-amz-meta-a: b\r\nContent-Type: text/csv\r\nX-Other: no\r\n";
    let put = send(http, "PUT", "/oss/b/dir/o.csv", &format!("{FORBID}{meta}"), "one");
    assert!(put.starts_with("HTTP/1.1 200"), "{put}");
    let tag = field(&put, "etag").expect("a tag");
    assert!(tag.len() == 34 && tag.trim_matches('"').chars().all(|digit| "0123456789ABCDEF".contains(digit)), "{tag}");
    let oss = send(http, "PUT", "/oss/b/dir/o.csv", FORBID, "two");
    assert!(oss.starts_with("HTTP/1.1 409") && oss.contains("<Code>FileAlreadyExists</Code>"), "{oss}");
    let s3 = send(http, "PUT", "/oss/b/dir/o.csv", NONE_MATCH, "two");
    assert!(s3.starts_with("HTTP/1.1 412") && s3.contains("<Code>PreconditionFailed</Code>"), "{s3}");
    for method in ["GET", "HEAD"] {
        let read = send(http, method, "/oss/b/dir/o.csv", "", "");
        assert!(read.starts_with("HTTP/1.1 200"), "{read}");
        assert_eq!(field(&read, "etag"), Some(tag));
        assert_eq!(field(&read, "x-oss-meta-pinlink-key"), Some("k.1"));
        assert_eq!(field(&read, "x-amz-meta-a"), Some("b"));
        assert_eq!(field(&read, "content-type"), Some("text/csv"));
        assert_eq!((field(&read, "content-length"), field(&read, "x-other")), (Some("3"), None));
        assert_eq!(read.split_once("\r\n\r\n").expect("a head").1, if method == "GET" { "one" } else { "" });
    }
    assert_eq!(recorded(&network, "b/dir/o.csv"), (3, 1, 2));
    let over = send(http, "PUT", "/oss/b/dir/o.csv", "x-oss-forbid-overwrite: false\r\n", "two");
    assert!(over.starts_with("HTTP/1.1 200") && field(&over, "etag") != Some(tag), "{over}");
    assert!(send(http, "GET", "/oss/b/dir/o.csv", "", "").ends_with("\r\n\r\ntwo"));
    assert_eq!(recorded(&network, "b/dir/o.csv"), (4, 2, 3));
}

#[test]
fn an_object_that_is_not_there_is_told_so() {
    let network = start(Plan::default());
    let http = at(network.http());
    let read = send(http, "GET", "/oss/b/o", "", "");
    assert!(read.starts_with("HTTP/1.1 404") && read.contains("<Code>NoSuchKey</Code>"), "{read}");
    assert!(send(http, "HEAD", "/oss/b/o", "", "").starts_with("HTTP/1.1 404"));
    for _ in 0..2 {
        assert!(send(http, "PUT", "/oss/b/o", NONE_MATCH, "x").starts_with("HTTP/1.1 200"));
        assert!(send(http, "DELETE", "/oss/b/o", "", "").starts_with("HTTP/1.1 204"));
        assert!(send(http, "DELETE", "/oss/b/o", "", "").starts_with("HTTP/1.1 204"));
    }
    assert!(send(http, "GET", "/oss/b", "", "").starts_with("HTTP/1.1 404"));
    assert!(send(http, "POST", "/oss/b/o", "", "x").starts_with("HTTP/1.1 405"));
    send(http, "PUT", "/oss/b/o", "", "x");
    network.reset_counts();
    assert!(send(http, "GET", "/oss/b/o", "", "").starts_with("HTTP/1.1 404"));
}

#[test]
fn the_age_of_an_object_is_told_by_one_clock() {
    let network = start(Plan::default());
    let http = at(network.http());
    send(http, "PUT", "/oss/b/o", "", "x");
    for method in ["GET", "HEAD"] {
        let read = send(http, method, "/oss/b/o", "", "");
        let date = |name| httpdate::parse_http_date(field(&read, name).expect("a date")).expect("a date");
        let age = date("date").duration_since(date("last-modified")).expect("not from the future");
        assert!(age.as_secs() < 60, "{age:?}");
        assert_eq!(read.matches("date: ").count(), 1);
    }
}

#[test]
fn of_writers_that_race_for_an_object_one_wins() {
    let network = start(Plan::default());
    let http = at(network.http());
    for (object, condition, lost) in [("a", FORBID, "HTTP/1.1 409"), ("b", NONE_MATCH, "HTTP/1.1 412")] {
        network.inject_injection(Injection {
            fault: Fault::SlowSink(150),
            times: Some(1),
            name: Some(format!("b/{object}")),
        });
        let path = format!("/oss/b/{object}");
        let mut slow = dial(http);
        let request =
            format!("PUT {path} HTTP/1.1\r\nHost: h\r\n{condition}Connection: close\r\nContent-Length: 4\r\n\r\nslow");
        slow.write_all(request.as_bytes()).expect("sent");
        eventually("the slow writer", || recorded(&network, &format!("b/{object}")).2 == 1);
        assert!(send(http, "PUT", &path, condition, "fast").starts_with("HTTP/1.1 200"));
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut slow, &mut answer).expect("an answer");
        assert!(answer.starts_with(lost), "{answer}");
        assert!(send(http, "GET", &path, "", "").ends_with("\r\n\r\nfast"));
        assert_eq!(recorded(&network, &format!("b/{object}")), (2, 1, 2));
    }
}

#[test]
fn a_conflict_is_told_while_another_write_is_under_way() {
    let network = start(Plan::default());
    let http = at(network.http());
    let mut slow = dial(http);
    slow.write_all(b"PUT /oss/b/o?slow=100 HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nContent-Length: 1\r\n\r\nx")
        .expect("sent");
    eventually("the slow writer", || recorded(&network, "b/o").2 == 1);
    let conflict = send(http, "PUT", "/oss/b/o?conflict=1", NONE_MATCH, "x");
    assert!(conflict.starts_with("HTTP/1.1 409"), "{conflict}");
    assert!(conflict.contains("<Code>ConditionalRequestConflict</Code>"), "{conflict}");
    eventually("its effect", || recorded(&network, "b/o").1 == 1);
    eventually("the end of the conflict", || {
        send(http, "PUT", "/oss/b/o?conflict=1", NONE_MATCH, "x").starts_with("HTTP/1.1 412")
    });
}

#[test]
fn objects_are_the_same_over_http2() {
    let network = start(Plan::default());
    converse(async {
        let sender = plain(at(network.http())).await;
        assert_eq!(ask(&sender, "PUT", "/oss/b/o", b"abc").await.expect("an answer").0.status(), 200);
        let (head, body, _) = ask(&sender, "HEAD", "/oss/b/o", b"").await.expect("an answer");
        assert_eq!((head.headers()["content-length"].to_str().ok(), body.len()), (Some("3"), 0));
        assert_eq!(ask(&sender, "GET", "/oss/b/o", b"").await.expect("an answer").1, b"abc");
        assert_eq!(ask(&sender, "DELETE", "/oss/b/o", b"").await.expect("an answer").0.status(), 204);
    });
}
