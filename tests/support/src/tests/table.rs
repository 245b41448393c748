//! The wide-column table.

use super::{at, get, post, recorded, start};
use crate::Plan;

#[test]
fn a_row_is_put_once() {
    let network = start(Plan::default());
    let http = at(network.http());
    assert!(get(http, "/ots/PutRow?get=r%201").starts_with("HTTP/1.1 404"));
    assert!(post(http, "/ots/PutRow", "x-box-row: r 1\r\n", "opaque").starts_with("HTTP/1.1 200"));
    let second = post(http, "/ots/PutRow", "x-box-row: r 1\r\n", "other");
    assert!(second.starts_with("HTTP/1.1 403"), "{second}");
    assert!(second.ends_with("\r\n\r\n\n\u{15}OTSConditionCheckFail\u{12}\u{17}Condition check failed."), "{second}");
    assert!(get(http, "/ots/PutRow?get=r%201").ends_with("\r\n\r\nopaque"));
    assert_eq!(recorded(&network, "r 1"), (2, 1, 2));
}

#[test]
fn a_row_without_a_name_is_refused() {
    let network = start(Plan::default());
    let http = at(network.http());
    assert!(post(http, "/ots/PutRow", "", "opaque").starts_with("HTTP/1.1 400"));
    assert!(get(http, "/ots/PutRow").starts_with("HTTP/1.1 405"));
    assert!(network.sink().is_empty());
}
