//! Pages, order and columns.

use std::time::Instant;

use serde_json::{Value, json};

use super::http::Http;
use crate::support::broker::Broker;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|row| row["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_list_is_shown_by_pages_sorted_filtered_and_with_columns() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for name in ["a1", "b1", "a2", "B2", "c"] {
        assert_eq!(http.put(&format!("/queues/%2F/{name}"), "").status, 201);
    }
    let page = http.get("/queues?page=1&page_size=2").body;
    assert_eq!(names(&page["items"]), ["B2", "a1"]);
    for (field, value) in [
        ("page", 1),
        ("page_size", 2),
        ("page_count", 3),
        ("item_count", 2),
        ("filtered_count", 5),
        ("total_count", 5),
    ] {
        assert_eq!(page[field], value, "{field}");
    }
    let filtered = http.get("/queues?page=1&name=b").body;
    assert_eq!(names(&filtered["items"]), ["B2", "b1"]);
    assert_eq!((&filtered["filtered_count"], &filtered["total_count"]), (&json!(2), &json!(5)));
    let matched = http.get("/queues?page=1&name=%5E%5Bac%5D&use_regex=true&sort=name&sort_reverse=true").body;
    assert_eq!(names(&matched["items"]), ["c", "a2", "a1"]);
    assert_eq!(
        http.get("/queues?columns=name,consumers&sort=name").body[0],
        json!({"name": "B2", "consumers": 0})
    );
    let far = http.get("/queues?page=99&page_size=1");
    assert_eq!((far.status, &far.body["error"]), (400, &json!("page_out_of_range")));
    assert_eq!(far.reason(), "Page out of range, page: 99 page size: 1, len: 5");
    assert_eq!(http.get("/queues?page=a").reason(), "Pagination parameters are invalid");
    for bad in ["page=0", "page=1&page_size=0", "page=1&page_size=501"] {
        let answer = http.get(&format!("/queues?{bad}"));
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!("invalid_pagination_parameters")),
            "{bad}"
        );
    }
}

#[test]
fn ten_thousand_queues_are_listed_quickly() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let connection = broker.connect();
    let channel = connection.channel(1);
    for number in 0..10_000 {
        channel.queue_declare(format!("many.{number:05}")).nowait().send();
    }
    channel.queue_declare("many.09999").passive().ok();
    let mut best_ms = u128::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let list = http.get("/queues?page=1&page_size=500&sort=messages");
        best_ms = best_ms.min(begun.elapsed().as_millis());
        assert_eq!(list.body["total_count"], 10_000);
    }
    // A machine of its own needs a tenth of it.
    assert!(best_ms < 500, "{best_ms} ms");
    assert_eq!(http.get("/queues?columns=name").body.as_array().expect("a list").len(), 10_000);
}
