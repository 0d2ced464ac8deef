//! The cluster at a glance.

use super::http::Http;
use crate::support::broker::Broker;

#[test]
fn overview_nodes_and_whoami_have_what_tools_read() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let overview = http.get("/overview?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5").body;
    for field in [
        "rabbitmq_version",
        "management_version",
        "cluster_name",
        "node",
        "object_totals",
        "queue_totals",
        "message_stats",
        "listeners",
        "exchange_types",
        "churn_rates",
        "contexts",
    ] {
        assert!(!overview[field].is_null(), "{field}");
    }
    assert_eq!(overview["object_totals"]["exchanges"], 8);
    assert!(overview["queue_totals"]["messages_details"]["rate"].is_number());
    let node = &http.get("/nodes").body[0];
    assert_eq!((&node["name"], &node["running"]), (&"warren".into(), &true.into()));
    for field in ["mem_used", "mem_limit", "disk_free", "disk_free_limit", "fd_used", "fd_total", "uptime"] {
        assert!(node[field].is_number(), "{field}");
    }
    assert_eq!(http.get("/nodes/warren").body["name"], "warren");
    assert!(http.get("/nodes/warren/memory").body["memory"]["total"]["rss"].is_number());
    assert_eq!(http.get("/nodes/warren/memory/relative").body["memory"]["total"], 100);
    assert_eq!(http.get("/whoami").body, serde_json::json!({"name": "guest", "tags": ["administrator"]}));
    assert_eq!(http.get("/cluster").body["nodes"][0]["name"], "warren");
}

#[test]
fn what_is_not_there_has_empty_lists_and_what_always_is_has_its_flags() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for path in ["/federation-links", "/shovels", "/stream/connections", "/traces", "/deprecated-features"] {
        assert_eq!(http.get(path).body, serde_json::json!([]), "{path}");
    }
    let flags = http.get("/feature-flags").body;
    assert!(flags.as_array().expect("a list").iter().all(|flag| flag["state"] == "enabled"));
    assert_eq!(http.post("/rebalance/queues", "").status, 204);
}
