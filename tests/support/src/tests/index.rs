//! The search index.

use serde_json::{Value, json};

use super::origin::body;
use super::{at, exchange, get, post, recorded, start};
use crate::{Fault, Network, Plan};

/// A bulk of documents whose id and source are these numbers.
fn bulk(ids: impl IntoIterator<Item = usize>) -> String {
    let item = |id| format!("{}\n{}\n", json!({"create": {"_index": "i", "_id": id}}), json!({"id": id}));
    ids.into_iter().map(|id| item(id.to_string())).collect()
}

fn send(network: &Network, sent: &str) -> (bool, Vec<(String, u64)>) {
    let answer = body(&post(at(network.http()), "/es/_bulk", "Content-Type: application/x-ndjson\r\n", sent));
    let items = answer["items"].as_array().expect("items").iter().map(|item| {
        let item = &item["create"];
        let id = item["_id"].as_str().expect("an id").to_owned();
        (id, item["status"].as_u64().expect("a status"))
    });
    (answer["errors"].as_bool().expect("errors"), items.collect())
}

#[test]
fn a_document_is_created_once() {
    let network = start(Plan::default());
    let http = at(network.http());
    let first = post(http, "/es/i/_create/1", "", "{\"a\": 1}");
    assert!(first.starts_with("HTTP/1.1 201"), "{first}");
    assert_eq!((&body(&first)["result"], &body(&first)["_id"]), (&json!("created"), &json!("1")));
    let put = "PUT /es/i/_create/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let second = exchange(http, put).0;
    assert!(second.starts_with("HTTP/1.1 409"), "{second}");
    let conflict = json!({"error": {"type": "version_conflict_engine_exception"}, "status": 409});
    assert_eq!(body(&second), conflict);
    assert!(get(http, "/es/i/_source/1").ends_with("\r\n\r\n{\"a\": 1}"));
    assert!(get(http, "/es/i/_source/2").starts_with("HTTP/1.1 404"));
    assert!(get(http, "/es/j/_source/1").starts_with("HTTP/1.1 404"));
    assert!(post(http, "/es/i/_create/2", "", "no document").starts_with("HTTP/1.1 400"));
    assert_eq!((recorded(&network, "i/1"), recorded(&network, "i/2")), ((2, 1, 2), (1, 0, 1)));
}

#[test]
fn a_bulk_is_answered_item_by_item() {
    let network = start(Plan::default());
    let http = at(network.http());
    assert_eq!(send(&network, &bulk(1..3)), (false, vec![("1".to_owned(), 201), ("2".to_owned(), 201)]));
    let bad = "{\"create\": {\"_index\": \"i\", \"_id\": \"4\"}}\nno document\n";
    let (errors, items) = send(&network, &format!("{}{bad}", bulk(2..4)));
    assert!(errors);
    assert_eq!(items, [("2".to_owned(), 409), ("3".to_owned(), 201), ("4".to_owned(), 400)]);
    assert_eq!((recorded(&network, "i/2"), recorded(&network, "i/4")), ((2, 1, 1), (1, 0, 1)));
    assert!(get(http, "/es/i/_source/3").ends_with("{\"id\":\"3\"}"));
    let named = post(http, "/es/j/_bulk", "", "{\"create\": {\"_id\": \"1\"}}\n{}\n");
    assert_eq!(body(&named)["items"][0]["create"]["_index"], "j");
    assert_eq!(recorded(&network, "_bulk"), (0, 0, 0), "items are what is recorded");
}

#[test]
fn a_bulk_that_is_none_is_refused_as_a_whole() {
    let network = start(Plan::default());
    for wrong in [
        "",
        "\n",
        "{\"create\": {\"_index\": \"i\", \"_id\": \"1\"}}\n",
        "{\"create\": {\"_index\": \"i\", \"_id\": \"1\"}}\n{}",
        "{\"delete\": {\"_index\": \"i\", \"_id\": \"1\"}}\n{}\n",
        "{\"create\": {\"_id\": \"1\"}}\n{}\n",
    ] {
        assert!(post(at(network.http()), "/es/_bulk", "", wrong).starts_with("HTTP/1.1 400"), "{wrong:?}");
    }
    assert!(network.sink().is_empty());
}

#[test]
fn a_share_of_a_bulk_is_turned_away_and_comes_through_later() {
    let network = start(Plan::default());
    network.inject(Fault::BulkPartial(30));
    let mut left: Vec<usize> = (0..10).collect();
    let mut sends = Vec::new();
    while !left.is_empty() {
        let (errors, items) = send(&network, &bulk(left.iter().copied()));
        sends.push(items.len());
        let failed = items.into_iter().filter(|(_, status)| *status != 201);
        left = failed
            .map(|(id, status)| {
                assert_eq!(status, 429);
                id.parse().expect("a number")
            })
            .collect();
        assert_eq!(errors, !left.is_empty());
    }
    assert_eq!(sends[..2], [10, 3]);
    let writes = network.sink();
    assert!(writes.len() == 10 && writes.iter().all(|write| write.applied == 1), "{writes:?}");
    assert_eq!(writes.iter().map(|write| write.attempts).sum::<u64>(), sends.iter().sum::<usize>() as u64);
}

#[test]
fn a_bulk_whose_answer_is_lost_has_been_applied() {
    let network = start(Plan::default());
    network.inject_times(Fault::ApplyThenReset, 1);
    let answer = post(at(network.http()), "/es/_bulk", "", &bulk(0..3));
    assert_eq!(answer, "");
    let (_, items) = send(&network, &bulk(0..3));
    assert!(items.iter().all(|(_, status)| *status == 409));
    assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (2, 1)));
}

#[test]
fn a_bulk_meets_its_faults_by_the_name_of_all_bulks() {
    let network = start(Plan::default());
    network.inject_for(Fault::Fail500, "_bulk");
    let failed: Value = body(&post(at(network.http()), "/es/_bulk", "", &bulk(0..2)));
    assert!(failed["error"].is_string());
    assert!(network.sink().iter().all(|write| (write.attempts, write.applied) == (1, 0)));
    assert!(post(at(network.http()), "/es/i/_create/7", "", "{}").starts_with("HTTP/1.1 201"));
}
