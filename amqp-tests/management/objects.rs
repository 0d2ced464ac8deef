//! Queues, exchanges and bindings.

use serde_json::{Value, json};

use super::http::Http;
use crate::support::broker::Broker;
use crate::support::wait::eventually;

#[test]
fn put_creates_once_and_refuses_what_is_not_the_same_and_delete_deletes_once() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    assert_eq!(http.put("/queues/%2F/q", "{}").status, 201);
    assert_eq!(http.put("/queues/%2F/q", r#"{"durable": false}"#).status, 204);
    let unequal = http.put("/queues/%2F/q", r#"{"durable": true}"#);
    assert_eq!((unequal.status, &unequal.body["error"]), (400, &json!("bad_request")));
    let reason =
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'";
    assert_eq!(unequal.reason(), reason);
    let bad = http.put("/queues/%2F/q2", r#"{"arguments": {"x-max-length": "a"}}"#);
    assert_eq!(bad.status, 400);
    assert!(bad.reason().starts_with("invalid arg 'x-max-length' for queue 'q2' in vhost '/'"), "{bad:?}");
    assert_eq!(http.delete("/queues/%2F/q").status, 204);
    assert_eq!(http.delete("/queues/%2F/q").status, 404);
    assert_eq!(http.put("/exchanges/%2F/x", r#"{"type": "topic"}"#).status, 201);
    assert_eq!(http.put("/exchanges/%2F/x", r#"{"type": "topic"}"#).status, 204);
    assert_eq!(http.put("/exchanges/%2F/x", r#"{"type": "direct"}"#).status, 400);
    let strange = http.put("/exchanges/%2F/y", r#"{"type": "nope"}"#);
    assert_eq!(strange.status, 400);
    assert_eq!(http.delete("/exchanges/%2F/x").status, 204);
    assert_eq!(http.delete("/exchanges/%2F/x").status, 404);
    let nowhere = http.put("/queues/none/q", "{}");
    assert_eq!((nowhere.status, nowhere.reason()), (404, "vhost_not_found"));
}

#[test]
fn conditions_of_a_delete_are_heeded() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/exchanges/%2F/x", r#"{"type": "topic"}"#);
    http.put("/queues/%2F/q", "{}");
    http.post("/bindings/%2F/e/x/q/q", r#"{"routing_key": "k"}"#);
    let used = http.delete("/exchanges/%2F/x?if-unused=true");
    assert_eq!((used.status, used.reason()), (400, "exchange 'x' in vhost '/' in use"));
    let connection = broker.connect();
    connection.channel(1).put("q", "x");
    eventually("the message", || {
        let queue = http.get("/queues/%2F/q").body;
        (queue["messages"] == 1).then_some(())
    });
    assert_eq!(http.delete("/queues/%2F/q?if-empty=true").status, 400);
    assert_eq!(http.delete("/queues/%2F/q").status, 204);
    assert_eq!(http.delete("/exchanges/%2F/x?if-unused=true").status, 204);
}

#[test]
fn a_body_that_is_no_json_or_lacks_keys_is_refused() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for bad in ["{", "[]", "5", "null", "\"x\""] {
        let answer = http.put("/queues/%2F/q", bad);
        assert_eq!((answer.status, answer.reason()), (400, "not_json"), "{bad}");
    }
    let answer = http.put("/permissions/%2F/guest", r#"{"configure": ""}"#);
    assert_eq!((answer.status, answer.reason()), (400, "[{key_missing,write},{key_missing,read}]"));
    assert_eq!(http.put("/global-parameters/x", "{}").reason(), "[{key_missing,value}]");
    assert_eq!(http.put("/cluster-name", "{}").reason(), "[{key_missing,name}]");
    let answer = http.put("/queues/%2F/q", r#"{"durable": "no"}"#);
    assert_eq!((answer.status, &answer.body["reason"]), (400, &json!(["not_boolean", "no"])));
    let long = format!("{{\"x\": \"{}\"}}", "y".repeat(21_000_000));
    let answer = http.put("/queues/%2F/q", long);
    assert_eq!((answer.status, answer.reason()), (400, "Exceeded HTTP request body size limit"));
    assert_eq!(http.get("/queues/%2F/q").status, 404, "nothing of this made a queue");
}

#[test]
fn a_queue_is_shown_with_what_clients_read() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/queues/%2F/q", r#"{"durable": true, "arguments": {"x-max-length": 10}}"#);
    let policy = r#"{"pattern": "^q$", "definition": {"message-ttl": 60000}, "apply-to": "queues"}"#;
    assert_eq!(http.put("/policies/%2F/p", policy).status, 201);
    let connection = broker.connect();
    connection.channel(1).put("q", "x");
    let queue = eventually("the message", || {
        let queue = http.get("/queues/%2F/q").body;
        (queue["message_stats"]["publish"] == 1).then_some(queue)
    });
    let expected = json!({
        "name": "q", "vhost": "/", "durable": true, "auto_delete": false, "exclusive": false,
        "arguments": {"x-max-length": 10}, "type": "classic", "state": "running", "node": "warren",
        "consumers": 0, "messages": 1, "messages_ready": 1, "messages_unacknowledged": 0,
        "policy": "p", "operator_policy": null, "effective_policy_definition": {"message-ttl": 60000},
        "consumer_details": [],
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&queue[field], value, "{field}");
    }
    assert!(queue["message_stats"]["publish_details"]["rate"].is_number());
    assert!(queue["message_stats"]["deliver_get"].is_number());
    assert!(queue["message_bytes"].as_u64().expect("a number") > 0);
    let listed = http.get("/queues/%2F").body;
    assert_eq!(listed[0]["name"], "q");
    assert_eq!(http.get("/queues?disable_stats=true").body[0].get("messages"), None);
    let totals = http.get("/queues?disable_stats=true&enable_queue_totals=true").body;
    assert_eq!(totals[0]["messages"], 1);
}

#[test]
fn a_binding_is_made_found_by_its_properties_key_and_deleted() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/exchanges/%2F/x", r#"{"type": "headers"}"#);
    http.put("/queues/%2F/q", "{}");
    let path = "/bindings/%2F/e/x/q/q";
    let bodies = [
        (r#"{"routing_key": "a b/c~", "arguments": {}}"#, "a+b%2Fc%7E"),
        ("{}", "~"),
        (r#"{"routing_key": "k", "arguments": {"x-match": "any", "n": 1}}"#, "k~"),
    ];
    for (body, key) in bodies {
        let made = http.post(path, body);
        assert_eq!(made.status, 201, "{body}");
        let location = made.headers.get("location").expect("a place").to_str().expect("a text").to_owned();
        let found = location.strip_prefix("q/").expect("below the destination");
        assert!(found.starts_with(key), "{found}");
        let shown = http.get(&format!("{path}/{}", found.replace('%', "%25")));
        assert_eq!(shown.status, 200, "{found}");
        assert_eq!(shown.body["properties_key"], found);
        for (field, value) in
            [("source", "x"), ("vhost", "/"), ("destination", "q"), ("destination_type", "queue")]
        {
            assert_eq!(shown.body[field], value);
        }
    }
    assert_eq!(http.get(path).body.as_array().expect("a list").len(), 3);
    assert_eq!(http.get("/exchanges/%2F/x/bindings/source").body.as_array().expect("a list").len(), 3);
    let of_queue = http.get("/queues/%2F/q/bindings").body;
    assert_eq!(of_queue.as_array().expect("a list").len(), 4);
    assert_eq!(of_queue[0]["source"], "", "the default exchange's is among them");
    assert_eq!(http.delete(&format!("{path}/~")).status, 204);
    assert_eq!(http.delete(&format!("{path}/~")).status, 404);
    assert_eq!(http.get(path).body.as_array().expect("a list").len(), 2);
}

#[test]
fn a_binding_with_a_missing_end_is_404_and_none_is_made_on_the_default_exchange() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let missing = http.post("/bindings/%2F/e/amq.topic/q/none", "{}");
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("not_found")));
    assert_eq!(missing.reason(), "no queue 'none' in vhost '/'");
    let missing = http.post("/bindings/%2F/e/none/e/amq.topic", "{}");
    assert_eq!((missing.status, missing.reason()), (404, "no exchange 'none' in vhost '/'"));
    let refused = http.post("/bindings/%2F/e/amq.default/e/amq.topic", "{}");
    assert_eq!((refused.status, refused.reason()), (401, "Access refused."));
}

#[test]
fn contents_are_purged_and_standard_exchanges_stay() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/queues/%2F/q", "{}");
    let connection = broker.connect();
    connection.channel(1).put("q", "x");
    let depth = || http.get("/queues/%2F/q").body["messages"].clone();
    eventually("the message", || (depth() == 1).then_some(()));
    assert_eq!(http.delete("/queues/%2F/q/contents").status, 204);
    assert_eq!(depth(), 0);
    assert_eq!(http.delete("/queues/%2F/none/contents").status, 404);
    for path in ["/exchanges/%2F/amq.direct", "/exchanges/%2F/amq.default"] {
        let refused = http.delete(path);
        assert_eq!((refused.status, refused.reason()), (401, "Access refused."), "{path}");
    }
    let reserved = http.put("/exchanges/%2F/amq.mine", r#"{"type": "topic"}"#);
    assert_eq!((reserved.status, reserved.reason()), (401, "Access refused."));
}

#[test]
fn names_are_percent_encoded_slashes_and_blanks_included() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    assert_eq!(http.put("/vhosts/a%2Fb%20c", "").status, 201);
    assert_eq!(http.put("/queues/a%2Fb%20c/q%2F%C3%A4%20%25", "").status, 201);
    let queue = http.get("/queues/a%2Fb%20c/q%2F%C3%A4%20%25");
    assert_eq!((&queue.body["name"], &queue.body["vhost"]), (&json!("q/ä %"), &json!("a/b c")));
    assert_eq!(http.get("/queues/%zz").status, 400);
    assert_eq!(http.get("/queues/%ff").status, 404);
    assert_eq!(http.delete("/vhosts/a%2Fb%20c").status, 204);
}

#[test]
fn an_exclusive_queue_is_shown_with_its_owner_and_locked() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let connection = broker.connect();
    connection.channel(1).queue_declare("mine").exclusive().ok();
    let queue: Value = http.get("/queues/%2F/mine").body;
    assert_eq!(queue["exclusive"], true);
    assert!(
        eventually("the owner to be known", || {
            let queue = http.get("/queues/%2F/mine").body;
            queue["owner_pid_details"]["name"].as_str().map(str::to_owned)
        })
        .contains(" -> ")
    );
    let locked = http.delete("/queues/%2F/mine");
    assert_eq!(locked.status, 400);
    assert!(locked.reason().contains("locked"), "{locked:?}");
}
