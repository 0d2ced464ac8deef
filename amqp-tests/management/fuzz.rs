//! Whatever comes in, the answer is never the broker's own mistake.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::http::Http;
use crate::support::broker::Broker;

const PATHS: [(&str, &str); 16] = [
    ("PUT", "/queues/%2F/f"),
    ("PUT", "/exchanges/%2F/f"),
    ("POST", "/bindings/%2F/e/amq.topic/e/amq.fanout"),
    ("PUT", "/vhosts/f"),
    ("PUT", "/users/f"),
    ("PUT", "/permissions/%2F/guest2"),
    ("PUT", "/topic-permissions/%2F/guest2"),
    ("PUT", "/policies/%2F/f"),
    ("PUT", "/operator-policies/%2F/f"),
    ("PUT", "/global-parameters/f"),
    ("PUT", "/vhost-limits/f/max-queues"),
    ("PUT", "/user-limits/guest2/max-channels"),
    ("POST", "/users/bulk-delete"),
    ("POST", "/exchanges/%2F/amq.fanout/publish"),
    ("POST", "/queues/%2F/f/get"),
    ("POST", "/queues/%2F/f/actions"),
];

const FIELDS: [&str; 28] = [
    "durable",
    "auto_delete",
    "internal",
    "arguments",
    "type",
    "routing_key",
    "tags",
    "password",
    "password_hash",
    "hashing_algorithm",
    "configure",
    "write",
    "read",
    "exchange",
    "pattern",
    "definition",
    "priority",
    "apply-to",
    "value",
    "properties",
    "payload",
    "payload_encoding",
    "count",
    "ackmode",
    "encoding",
    "action",
    "description",
    "default_queue_type",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("topic")),
        Just(json!("x-max-length")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z-]{1,12}|x-max-length|x-message-ttl|message-ttl", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((prop::sample::select(&FIELDS[..]), value()), 0..8);
    let object = fields.prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::Object(fields.collect()).to_string()
    });
    prop_oneof![8 => object, 1 => ".{0,40}", 1 => value().prop_map(|value| value.to_string())]
}

#[test]
fn strange_bodies_are_never_the_brokers_mistake() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/users/guest2", r#"{"password": "x", "tags": ""}"#);
    http.put("/queues/%2F/f", "");
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let inputs = (prop::sample::select(&PATHS[..]), body());
    let result = TestRunner::new(config).run(&inputs, |((method, path), body)| {
        let answer = http.send(method, path, &body, &[]);
        prop_assert!(answer.status < 500, "{} {} {}: {:?}", method, path, body, answer);
        Ok(())
    });
    result.expect("no strange answer");
    assert_eq!(http.get("/overview").status, 200);
}

#[test]
fn strange_paths_are_never_the_brokers_mistake() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let segment = prop_oneof![
        Just("%2F".to_owned()),
        Just("amq.topic".to_owned()),
        Just("q".to_owned()),
        Just("e".to_owned()),
        Just(String::new()),
        Just("%zz".to_owned()),
        Just("%00".to_owned()),
        Just("%ff".to_owned()),
        "[a-zA-Z0-9~%.+-]{1,10}",
    ];
    let first = prop::sample::select(
        &[
            "queues",
            "exchanges",
            "bindings",
            "users",
            "vhosts",
            "permissions",
            "policies",
            "parameters",
            "connections",
            "channels",
            "nodes",
            "vhost-limits",
            "health",
            "definitions",
        ][..],
    );
    let method = prop::sample::select(&["GET", "PUT", "DELETE", "POST", "HEAD", "PATCH"][..]);
    let query = "[a-z_]{0,8}=[a-z0-9%&=]{0,10}|page=[0-9]{1,3}|sort=[a-z._]{1,9}|columns=[a-z.,]{0,9}";
    let inputs = (method, first, prop::collection::vec(segment, 0..6), query);
    let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&inputs, |(method, first, segments, query)| {
        // The own user and vhost stay.
        let path = format!("/{first}/{}?{query}", segments.join("/"));
        if method == "DELETE" && (path.starts_with("/vhosts/") || path.starts_with("/users/")) {
            return Ok(());
        }
        let answer = http.send(method, &path, "", &[]);
        prop_assert!(answer.status < 500, "{} {}: {:?}", method, path, answer);
        Ok(())
    });
    result.expect("no strange answer");
    assert_eq!(http.get("/overview").status, 200);
}
