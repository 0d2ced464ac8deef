//! Vhosts, limits, policies and parameters.

use serde_json::json;

use super::http::Http;
use crate::support::broker::Broker;

#[test]
fn a_vhost_keeps_what_is_said_of_it() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let body = r#"{"description": "d", "tags": "a,b", "default_queue_type": "quorum"}"#;
    assert_eq!(http.put("/vhosts/v", body).status, 201);
    assert_eq!(http.put("/vhosts/v", "").status, 204);
    let vhost = http.get("/vhosts/v").body;
    assert_eq!((&vhost["description"], &vhost["tags"]), (&json!("d"), &json!(["a", "b"])));
    assert_eq!(vhost["default_queue_type"], "quorum");
    assert_eq!(vhost["cluster_state"], json!({"warren": "running"}));
    assert_eq!(http.put("/vhosts/w", r#"{"tags": ["x", "y"]}"#).status, 201);
    assert_eq!(http.get("/vhosts/w").body["tags"], json!(["x", "y"]));
    for bad in
        [r#"{"tags": 5}"#, r#"{"description": 5}"#, r#"{"default_queue_type": "zz"}"#, r#"{"tracing": 5}"#]
    {
        assert_eq!(http.put("/vhosts/bad", bad).status, 400, "{bad}");
    }
    assert_eq!(http.get("/vhosts/bad").status, 404, "nothing of this made a vhost");
    assert_eq!(http.delete("/vhosts/v").status, 204);
    assert_eq!(http.delete("/vhosts/v").status, 404);
}

#[test]
fn limits_are_set_shown_and_taken_away() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    assert_eq!(http.put("/vhost-limits/%2F/max-queues", r#"{"value": 1}"#).status, 204);
    assert_eq!(http.get("/vhost-limits").body, json!([{"vhost": "/", "value": {"max-queues": 1}}]));
    assert_eq!(http.put("/queues/%2F/one", "").status, 201);
    assert_eq!(http.put("/queues/%2F/two", "").status, 400);
    assert_eq!(http.get("/parameters/vhost-limits/%2F/limits").body["value"], json!({"max-queues": 1}));
    assert_eq!(http.delete("/vhost-limits/%2F/max-queues").status, 204);
    assert_eq!(http.get("/vhost-limits/%2F").body, json!([]));
    assert_eq!(http.put("/queues/%2F/two", "").status, 201);
    for bad in [r#"{"value": "5"}"#, "{}", r#"{"value": 1.5}"#] {
        assert_eq!(http.put("/vhost-limits/%2F/max-queues", bad).status, 400, "{bad}");
        assert_eq!(http.put("/user-limits/guest/max-channels", bad).status, 400, "{bad}");
    }
    assert_eq!(http.put("/vhost-limits/%2F/max-strange", r#"{"value": 5}"#).status, 400);
    assert_eq!(http.put("/vhost-limits/none/max-queues", r#"{"value": 5}"#).status, 404);
    assert_eq!(http.put("/user-limits/guest/max-channels", r#"{"value": 5}"#).status, 204);
    assert_eq!(http.get("/user-limits/guest").body, json!([{"user": "guest", "value": {"max-channels": 5}}]));
    assert_eq!(http.get("/users/guest").body["limits"], json!({"max-channels": 5}));
    assert_eq!(http.put("/user-limits/none/max-channels", r#"{"value": 5}"#).status, 404);
    assert_eq!(http.delete("/user-limits/guest/max-channels").status, 204);
    assert_eq!(http.get("/user-limits").body, json!([]));
}

#[test]
fn policies_of_both_kinds_are_set_shown_and_taken_away() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let body = r#"{"pattern": "^a", "definition": {"max-length": 5}, "apply-to": "queues", "priority": 3}"#;
    for kind in ["policies", "operator-policies"] {
        let path = format!("/{kind}/%2F/p");
        assert_eq!(http.put(&path, body).status, 201);
        assert_eq!(http.put(&path, body).status, 204);
        let shown = json!({
            "vhost": "/", "name": "p", "pattern": "^a", "apply-to": "queues", "definition": {"max-length": 5},
            "priority": 3,
        });
        assert_eq!(http.get(&path).body, shown);
        assert_eq!(http.get(&format!("/{kind}")).body, json!([shown]));
        for bad in [
            "{}",
            r#"{"pattern": 5, "definition": {"max-length": 5}}"#,
            r#"{"pattern": "a", "definition": {"max-length": 5}, "priority": "x"}"#,
            r#"{"pattern": "a", "definition": {}}"#,
            r#"{"pattern": "a", "definition": 5}"#,
            r#"{"pattern": "(", "definition": {"max-length": 5}}"#,
        ] {
            assert_eq!(http.put(&path, bad).status, 400, "{kind} {bad}");
        }
        assert_eq!(http.put(&format!("/{kind}/none/p"), body).status, 404);
        assert_eq!(http.delete(&path).status, 204);
        assert_eq!(http.delete(&path).status, 404);
    }
    let unknown = http.put("/policies/%2F/p", r#"{"pattern": "a", "definition": {"nope": 1}}"#);
    assert!(unknown.reason().starts_with("Validation failed\n\n"), "{unknown:?}");
}

#[test]
fn parameters_are_kept_for_the_whole_cluster() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    assert_eq!(http.put("/global-parameters/g", r#"{"value": {"a": [1]}}"#).status, 201);
    assert_eq!(http.put("/global-parameters/g", r#"{"value": {"a": [1]}}"#).status, 204);
    assert_eq!(http.get("/global-parameters/g").body, json!({"name": "g", "value": {"a": [1]}}));
    assert_eq!(http.delete("/global-parameters/g").status, 204);
    assert_eq!(http.delete("/global-parameters/g").status, 404);
    assert_eq!(http.put("/cluster-name", r#"{"name": "den"}"#).status, 204);
    assert_eq!(http.get("/cluster-name").body, json!({"name": "den"}));
    assert_eq!(http.get("/overview").body["cluster_name"], "den");
    let refused = http.put("/parameters/shovel/%2F/s", r#"{"value": {}}"#);
    assert_eq!(
        (refused.status, refused.reason()),
        (400, "Validation failed\n\ncomponent shovel not found\n")
    );
}
