//! What operators do with messages in queues (behaviours 253, and what no other broker has).

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::wire::*;

// behaviour 253
#[test]
fn a_message_published_over_http_is_routed_or_not() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("posted").durable().ok();
    let message = json!({
        "properties": {"delivery_mode": 2, "headers": {"a": 1}, "message_id": "m", "type": "t"},
        "routing_key": "posted", "payload": "aGk=", "payload_encoding": "base64",
    });
    let (status, answer) = operator.post("/exchanges/%2F/amq.default/publish", &message);
    assert_eq!((status, answer), (200, json!({"routed": true})));
    let got = ch.get("posted").expect("a message");
    assert_eq!((got.text(), got.props.header("a").int()), ("hi".to_owned(), 1));
    let mut nowhere = message.clone();
    nowhere["routing_key"] = json!("nowhere");
    let (status, answer) = operator.post("/exchanges/%2F/amq.default/publish", &nowhere);
    assert_eq!((status, answer), (200, json!({"routed": false})));
    let (status, _) = operator.post("/exchanges/%2F/absent/publish", &message);
    assert_eq!(status, 404);
    let (status, answer) =
        operator.post("/exchanges/%2F/amq.default/publish", &json!({"routing_key": "posted"}));
    assert_eq!((status, answer["error"].as_str()), (400, Some("bad_request")));
    for key in ["properties", "payload", "payload_encoding"] {
        assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains(key)), "{answer}");
    }
    let wrong = json!({"properties": {"user_id": "mallory"}, "routing_key": "posted", "payload": "",
        "payload_encoding": "string"});
    let (status, answer) = operator.post("/exchanges/%2F/amq.default/publish", &wrong);
    assert_eq!(status, 400);
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(reason.contains("user_id property set to 'mallory'"), "{reason}");
}

// behaviour 253
#[test]
fn messages_got_over_http_are_kept_given_back_or_refused() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("got").durable().ok();
    for n in 0..3 {
        ch.put("got", format!("body {n}"));
    }
    ch.await_ready("got", 3);
    let get = |mode: &str, count: u64| {
        let body = json!({"ackmode": mode, "count": count, "encoding": "auto", "truncate": 4});
        let (status, answer) = operator.post("/queues/%2F/got/get", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let got = get("ack_requeue_true", 2);
    let expected = json!({"payload": "body", "payload_bytes": 6, "payload_encoding": "string",
        "redelivered": false, "exchange": "", "routing_key": "got", "message_count": 2, "properties": []});
    assert_eq!(got[0], expected);
    assert_eq!((got[1]["message_count"].as_u64(), got.as_array().map(Vec::len)), (Some(1), Some(2)));
    ch.await_ready("got", 3);
    assert_eq!(get("reject_requeue_true", 1)[0]["redelivered"], true);
    ch.await_ready("got", 3);
    assert_eq!(get("ack_requeue_false", 1)[0]["message_count"], 2);
    assert_eq!(get("reject_requeue_false", 9).as_array().map(Vec::len), Some(2));
    ch.await_ready("got", 0);
    let (status, _) = operator.post("/queues/%2F/absent/get", &json!({}));
    assert_eq!(status, 404);
    let (status, answer) =
        operator.post("/queues/%2F/got/get", &json!({"ackmode": "x", "count": 1, "encoding": "auto"}));
    assert_eq!(status, 400, "{answer}");
}

#[test]
fn peeking_changes_nothing() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("seen").durable().ok();
    for n in 0..6 {
        ch.publish("", "seen", n.to_string()).header("n", i32::from(n == 4)).send();
    }
    ch.await_ready("seen", 6);
    let held = ch.get("seen").expect("a message");
    let back = ch.basic_get("seen").got().expect("a message");
    ch.reject(back.tag).requeue().send();
    ch.await_ready("seen", 5);
    for _ in 0..3 {
        let (status, page) = operator.get("/queues/%2F/seen/messages");
        assert_eq!((status, page["looked_at"].as_u64(), &page["next"]), (200, Some(6), &Json::Null));
        let shown = |field: &str| -> Vec<Json> {
            page["messages"].as_array().expect("messages").iter().map(|m| m[field].clone()).collect()
        };
        assert_eq!(shown("payload"), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(shown("state"), ["unacknowledged", "ready", "ready", "ready", "ready", "ready"]);
        assert_eq!(shown("redelivered"), [true, true, false, false, false, false]);
    }
    let (_, page) = operator.get("/queues/%2F/seen/messages?offset=2&count=2");
    assert_eq!(page["messages"][0]["payload"], "2");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    let next = page["next"].as_u64().expect("more");
    let (_, page) = operator.get(&format!("/queues/%2F/seen/messages?from={next}&count=1"));
    assert_eq!(page["messages"][0]["payload"], "4");
    let filter = json!({"filter": {"headers": {"n": "1"}}});
    let (_, found) = operator.post("/queues/%2F/seen/messages/search", &filter);
    assert_eq!(found["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["messages"][0]["payload"], "4");
    assert_eq!(ch.counts("seen").0, 5);
    let rest: Vec<_> = (0..5).map(|_| ch.pull("seen").map(|d| (d.text(), d.redelivered))).collect();
    let expected = [("1", true), ("2", false), ("3", false), ("4", false), ("5", false)];
    assert_eq!(rest, expected.map(|(text, flag)| Some((text.to_owned(), flag))));
    ch.ack(held.tag).send();
}

#[test]
fn messages_are_deleted_moved_and_copied_by_filter_and_by_id() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    for queue in ["from", "to", "copies"] {
        ch.queue_declare(queue).durable().ok();
    }
    ch.exchange_declare("via", "direct").durable().ok();
    ch.queue_bind("copies", "via", "k").ok();
    for n in 0..10 {
        ch.publish("", "from", n.to_string()).header("odd", n % 2).send();
    }
    ch.await_ready("from", 10);
    let odd = json!({"headers": {"odd": "1"}});
    let dry = operator.job(
        "/queues/%2F/from/messages/move",
        &json!({"filter": odd, "destination_queue": "to", "dry_run": true}),
    );
    assert_eq!(
        (dry["state"].as_str(), dry["matched"].as_u64(), dry["done"].as_u64()),
        (Some("finished"), Some(5), Some(0))
    );
    assert_eq!((ch.counts("from").0, ch.counts("to").0), (10, 0));
    let moved =
        operator.job("/queues/%2F/from/messages/move", &json!({"filter": odd, "destination_queue": "to"}));
    assert_eq!((moved["done"].as_u64(), moved["failed"].as_u64()), (Some(5), Some(0)), "{moved}");
    assert_eq!((ch.counts("from").0, ch.counts("to").0), (5, 5));
    let copied = operator.job(
        "/queues/%2F/from/messages/copy",
        &json!({"filter": {}, "destination_exchange": "via", "routing_key": "k", "limit": 2}),
    );
    assert_eq!(copied["done"], 2, "{copied}");
    let copy = ch.pull("copies").expect("a copy");
    assert_eq!((copy.text(), copy.exchange.as_str(), copy.routing_key.as_str()), ("0".into(), "via", "k"));
    assert_eq!(ch.counts("from").0, 5);
    let (_, page) = operator.get("/queues/%2F/from/messages");
    let id = page["messages"][1]["id"].clone();
    let deleted = operator.job("/queues/%2F/from/messages/delete", &json!({"ids": [id, 999_999]}));
    assert_eq!((deleted["matched"].as_u64(), deleted["done"].as_u64()), (Some(1), Some(1)));
    assert_eq!(ch.pull_all("from"), ["0", "4", "6", "8"]);
    assert_eq!(ch.pull_all("to"), ["1", "3", "5", "7", "9"], "in the old order");
    let (status, _) = operator.post("/queues/%2F/from/messages/delete", &json!({}));
    assert_eq!(status, 400, "which messages are meant must be said");
    let (status, _) = operator
        .post("/queues/%2F/from/messages/move", &json!({"filter": {}, "destination_queue": "absent"}));
    assert_eq!(status, 404);
}

#[test]
fn what_a_full_queue_refuses_stays_where_it_is() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("many").durable().ok();
    ch.queue_declare("full").durable().arg("x-max-length", 2).arg("x-overflow", "reject-publish").ok();
    for n in 0..5 {
        ch.put("many", n.to_string());
    }
    ch.await_ready("many", 5);
    let job =
        operator.job("/queues/%2F/many/messages/move", &json!({"filter": {}, "destination_queue": "full"}));
    assert_eq!((job["done"].as_u64(), job["failed"].as_u64()), (Some(2), Some(3)), "{job}");
    ch.await_ready("many", 3);
    let left: Vec<_> = (0..3).map(|_| ch.pull("many").map(|d| (d.text(), d.redelivered))).collect();
    assert_eq!(left, ["2", "3", "4"].map(|text| Some((text.to_owned(), false))));
    assert_eq!(ch.pull_all("full"), ["0", "1"]);
}

#[test]
fn dead_letters_go_back_to_where_they_died_first() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.exchange_declare("work", "topic").durable().ok();
    ch.queue_declare("dead").durable().ok();
    for queue in ["work.a", "work.b"] {
        let call = ch.queue_declare(queue).durable().arg("x-dead-letter-exchange", "");
        call.arg("x-dead-letter-routing-key", "dead").ok();
        ch.queue_bind(queue, "work", &format!("{queue}.#")).ok();
    }
    for n in 0..6 {
        ch.publish("work", if n % 2 == 0 { "work.a.x" } else { "work.b.y" }, n.to_string()).send();
    }
    for queue in ["work.a", "work.b"] {
        ch.await_ready(queue, 3);
        for _ in 0..3 {
            let got = ch.basic_get(queue).got().expect("a message");
            ch.reject(got.tag).send();
        }
    }
    ch.await_ready("dead", 6);
    ch.put("dead", "never died");
    ch.await_ready("dead", 7);
    let job = operator.job("/queues/%2F/dead/messages/redrive", &json!({"filter": {}, "limit": 4}));
    assert_eq!((job["done"].as_u64(), job["action"].as_str()), (Some(4), Some("redrive")), "{job}");
    let job = operator.job("/queues/%2F/dead/messages/redrive", &json!({"filter": {}, "to": "exchange"}));
    assert_eq!((job["done"].as_u64(), job["failed"].as_u64()), (Some(2), Some(1)), "{job}");
    assert!(job["reason"].as_str().is_some_and(|reason| reason.contains("x-death")), "{job}");
    ch.await_ready("work.a", 3);
    ch.await_ready("work.b", 3);
    let first = ch.pull("work.a").expect("a message");
    assert_eq!(
        (first.text(), first.exchange.as_str(), first.routing_key.as_str()),
        ("0".into(), "work", "work.a.x")
    );
    assert_eq!(ch.pull_all("work.a"), ["2", "4"]);
    assert_eq!(ch.pull_all("work.b"), ["1", "3", "5"]);
    assert_eq!(ch.pull_all("dead"), ["never died"]);
}

#[test]
fn a_job_keeps_to_its_rate_and_ends_when_it_is_cancelled() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("slow").durable().ok();
    for n in 0..100 {
        ch.put("slow", n.to_string());
    }
    ch.await_ready("slow", 100);
    let (status, job) = operator.post("/queues/%2F/slow/messages/delete", &json!({"filter": {}, "rate": 20}));
    assert_eq!(status, 201, "{job}");
    std::thread::sleep(Duration::from_millis(1000));
    let path = format!("/jobs/{}", job["id"].as_str().expect("an id"));
    let (_, job) = operator.delete(&path);
    let done = job["done"].as_u64().expect("a count");
    assert!((5..=40).contains(&done), "{job}");
    let job = eventually("the end of the job", || {
        let (_, job) = operator.get(&path);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(job["state"], "cancelled");
    assert_eq!(u64::from(ch.counts("slow").0), 100 - job["done"].as_u64().expect("a count"));
    let (_, jobs) = operator.get("/jobs");
    assert_eq!(jobs[0]["id"], job["id"]);
    assert_eq!(operator.get("/jobs/1-1-1").0, 404);
}

#[test]
fn priorities_keep_their_order_when_messages_are_moved() {
    let Some(broker) = Broker::own() else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    for queue in ["by.level", "to.level"] {
        ch.queue_declare(queue).durable().arg("x-max-priority", 5).ok();
    }
    for (n, priority) in [(0, 1), (1, 5), (2, 1), (3, 5), (4, 0)] {
        let props = Props { priority: Some(priority), ..Props::default() };
        ch.publish("", "by.level", n.to_string()).props(props).send();
    }
    ch.await_ready("by.level", 5);
    let (_, page) = operator.get("/queues/%2F/by.level/messages");
    let seen: Vec<_> = page["messages"].as_array().expect("messages").iter().map(|m| &m["payload"]).collect();
    assert_eq!(seen, ["1", "3", "0", "2", "4"]);
    operator
        .job("/queues/%2F/by.level/messages/move", &json!({"filter": {}, "destination_queue": "to.level"}));
    ch.put("to.level", "late");
    ch.await_ready("to.level", 6);
    assert_eq!(ch.pull_all("to.level"), ["1", "3", "0", "2", "4", "late"]);
}

const BACKLOG: u64 = 200_000;
const CONFIG: &str = "[memory]\nmessages_bytes = 8388608\n\
                      [log]\nsegment_bytes = 8388608\nbudget_bytes = 33554432\n";

#[test]
fn a_long_queue_on_disk_is_searched_within_bounds() {
    let _alone = alone();
    let Some(broker) = Broker::own_with(CONFIG) else { return };
    let (conn, operator) = (broker.connect(), Operator::of(&broker));
    let ch = conn.channel(1);
    ch.queue_declare("long").durable().ok();
    ch.queue_declare("rest").durable().ok();
    ch.confirm_select().ok();
    for n in 0..BACKLOG {
        let mut body = format!("message {n};").into_bytes();
        body.resize(256, b'.');
        ch.publish("", "long", body).persistent().send();
    }
    assert!(ch.confirms(1, BACKLOG).iter().all(|acked| *acked));
    let before = broker.resident_bytes();
    let begun = Instant::now();
    let text = format!("message {};", BACKLOG - 7);
    let body = json!({"filter": {"text": text}, "budget_ms": 60_000});
    let (status, found) = operator.post("/queues/%2F/long/messages/search", &body);
    assert_eq!((status, found["messages"].as_array().map(Vec::len)), (200, Some(1)), "{found}");
    assert_eq!(found["looked_at"].as_u64(), Some(BACKLOG));
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more resident after {:?}", grown >> 20, begun.elapsed());
    let body = json!({"filter": {"text": "never"}, "budget_ms": 1});
    let (_, found) = operator.post("/queues/%2F/long/messages/search", &body);
    assert_eq!((found["out_of_time"].as_bool(), found["next"].is_u64()), (Some(true), true), "{found}");
    let (_, page) = operator.get("/queues/%2F/long/messages?offset=150000&count=1");
    assert!(page["messages"][0]["payload"].as_str().is_some_and(|text| text.starts_with("message 150000;")));
    let job = operator.job(
        "/queues/%2F/long/messages/move",
        &json!({"filter": {"text": "77;"}, "destination_queue": "rest"}),
    );
    assert_eq!(job["done"].as_u64(), Some(BACKLOG / 100), "{job}");
    assert_eq!(u64::from(ch.counts("long").0), BACKLOG - BACKLOG / 100);
    assert!(ch.pull("rest").is_some_and(|d| d.text().starts_with("message 77;")));
}
