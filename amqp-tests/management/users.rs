//! Users and permissions.

use serde_json::json;

use super::http::Http;
use crate::support::broker::Broker;

const HASH: &str = "5RHFWm998Phhh3/5fG+cinQknovXuyrlegIkQ34l3F8DCdkI";

#[test]
fn a_user_is_put_with_tags_and_a_password_that_is_never_shown() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let refused = http.put("/users/u", r#"{"password": "secret"}"#);
    assert_eq!((refused.status, refused.reason()), (400, "tags_not_present"));
    assert_eq!(http.put("/users/u", r#"{"password": "secret", "tags": "management,x"}"#).status, 201);
    let user = http.get("/users/u").body;
    assert_eq!((&user["name"], &user["tags"]), (&json!("u"), &json!(["management", "x"])));
    assert_eq!(user["limits"], json!({}));
    assert!(!user.to_string().contains("secret"));
    assert_eq!(http.login("u", "secret").get("/whoami").body["tags"], json!(["management", "x"]));
    assert_eq!(http.put("/users/u", r#"{"password": "other", "tags": ["management"]}"#).status, 204);
    assert_eq!(http.login("u", "secret").get("/whoami").status, 401);
    let both = format!(r#"{{"password": "x", "password_hash": "{HASH}", "tags": ""}}"#);
    assert_eq!(http.put("/users/u", both).reason(), "both_password_and_password_hash_are_provided");
    let bad = http.put("/users/u", r#"{"password_hash": "zz!", "tags": ""}"#);
    assert_eq!((bad.status, &bad.body["reason"]), (400, &json!(["not_base64", "zz!"])));
    assert_eq!(http.delete("/users/u").status, 204);
    assert_eq!(http.delete("/users/u").status, 404);
}

#[test]
fn a_user_with_rabbitmqs_hash_can_log_in() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let made = http.get("/auth/hash_password/pass%20word").body;
    let hash = made["ok"].as_str().expect("a hash").to_owned();
    let body = json!({"password_hash": hash, "tags": "management"}).to_string();
    assert_eq!(http.put("/users/hashed", body).status, 201);
    let user = http.get("/users/hashed").body;
    assert_eq!(user["password_hash"], hash);
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
    assert_eq!(http.login("hashed", "pass word").get("/whoami").status, 200);
    assert_eq!(http.login("hashed", "pass").get("/whoami").status, 401);
}

#[test]
fn many_users_are_deleted_at_once_or_none() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for name in ["a", "b"] {
        assert_eq!(http.put(&format!("/users/{name}"), r#"{"password": "x", "tags": ""}"#).status, 201);
    }
    let strange = http.post("/users/bulk-delete", r#"{"users": ["a", "none"]}"#);
    assert_eq!((strange.status, &strange.body["reason"]), (400, &json!(["no_such_user", "none"])));
    let without = http.get("/users/without-permissions").body;
    assert_eq!(without.as_array().expect("a list").len(), 2);
    assert_eq!(http.post("/users/bulk-delete", r#"{"users": ["a", "b"]}"#).status, 204);
    assert_eq!(http.get("/users").body.as_array().expect("a list").len(), 1);
    assert_eq!(http.post("/users/bulk-delete", "{}").reason(), "[{key_missing,users}]");
    assert_eq!(http.post("/users/bulk-delete", r#"{"users": 5}"#).status, 400);
}

#[test]
fn permissions_are_three_expressions_for_a_user_and_a_vhost_that_are_there() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/users/u", r#"{"password": "x", "tags": ""}"#);
    let body = r#"{"configure": "a", "write": "b", "read": "c"}"#;
    assert_eq!(http.get("/permissions/%2F/u").status, 404);
    assert_eq!(http.put("/permissions/%2F/u", body).status, 201);
    assert_eq!(http.put("/permissions/%2F/u", body).status, 204);
    let shown = json!({"user": "u", "vhost": "/", "configure": "a", "write": "b", "read": "c"});
    assert_eq!(http.get("/permissions/%2F/u").body, shown);
    assert_eq!(http.get("/users/u/permissions").body, json!([shown]));
    assert_eq!(http.get("/vhosts/%2F/permissions").body.as_array().expect("a list").len(), 2);
    for path in ["/permissions/none/u", "/permissions/%2F/none"] {
        let refused = http.put(path, body);
        assert_eq!((refused.status, refused.reason()), (400, "vhost_or_user_not_found"), "{path}");
    }
    let bad = http.put("/permissions/%2F/u", r#"{"configure": "(", "write": "", "read": ""}"#);
    assert_eq!((bad.status, &bad.body["reason"][0]), (400, &json!("invalid_regexp")));
    assert_eq!(http.delete("/permissions/%2F/u").status, 204);
    assert_eq!(http.delete("/permissions/%2F/u").status, 404);
}

#[test]
fn topic_permissions_are_set_for_an_exchange_and_taken_away() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    http.put("/users/u", r#"{"password": "x", "tags": ""}"#);
    let body = r#"{"exchange": "amq.topic", "write": "b", "read": "c"}"#;
    assert_eq!(http.put("/topic-permissions/%2F/u", body).status, 201);
    assert_eq!(http.put("/topic-permissions/%2F/u", body).status, 204);
    let shown = json!({"user": "u", "vhost": "/", "exchange": "amq.topic", "write": "b", "read": "c"});
    for path in [
        "/topic-permissions",
        "/topic-permissions/%2F/u",
        "/users/u/topic-permissions",
        "/vhosts/%2F/topic-permissions",
    ] {
        assert_eq!(http.get(path).body, json!([shown]), "{path}");
    }
    let lacking = http.put("/topic-permissions/%2F/u", r#"{"exchange": "amq.topic"}"#);
    assert_eq!(lacking.reason(), "[{key_missing,write},{key_missing,read}]");
    assert_eq!(http.delete("/topic-permissions/%2F/u/amq.topic").status, 204);
    assert_eq!(http.delete("/topic-permissions/%2F/u/amq.topic").status, 404);
    assert_eq!(http.delete("/topic-permissions/%2F/u").status, 404);
}
