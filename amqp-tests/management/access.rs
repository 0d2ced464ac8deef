//! Who may do what.

use super::http::Http;
use crate::support::broker::Broker;

#[test]
fn a_wrong_password_is_refused_with_401() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    for stranger in [http.login("guest", "wrong"), http.login("nobody", "guest")] {
        let refused = stranger.get("/overview");
        assert_eq!(refused.status, 401);
        assert_eq!(refused.body["error"], "not_authorized");
        assert_eq!(refused.reason(), "Login failed");
        let asks = refused.headers.get("www-authenticate").expect("a browser asks for name and password");
        assert_eq!(asks, "Basic realm=\"RabbitMQ Management\"");
    }
    assert_eq!(http.get("/overview").status, 200);
}

#[test]
fn unknown_objects_are_404_and_unknown_verbs_405() {
    let Some(broker) = Broker::own() else { return };
    let http = Http::of(&broker);
    let missing = [
        "/queues/%2F/none",
        "/queues/none",
        "/exchanges/%2F/none",
        "/exchanges/none",
        "/bindings/none",
        "/vhosts/none",
        "/users/none",
        "/permissions/%2F/none",
        "/policies/%2F/none",
        "/policies/none",
        "/operator-policies/%2F/none",
        "/parameters/x/%2F/none",
        "/global-parameters/none",
        "/nodes/none",
        "/connections/none",
        "/channels/none",
        "/user-limits/none",
        "/vhost-limits/none",
        "/nosuch",
        "/bindings/%2F/e/amq.topic/q/none/~",
        "/queues/%2F/none/bindings",
        "/topic-permissions/%2F/none",
    ];
    for path in missing {
        let answer = http.get(path);
        assert_eq!((answer.status, &answer.body["error"]), (404, &"Object Not Found".into()), "{path}");
        assert_eq!(answer.reason(), "Not Found", "{path}");
    }
    for (method, path) in
        [("POST", "/overview"), ("DELETE", "/queues"), ("PUT", "/whoami"), ("POST", "/users/x")]
    {
        let answer = http.send(method, path, "", &[]);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.headers.contains_key("allow"), "{method} {path}");
    }
    assert_eq!(http.send("NONSENSE", "/overview", "", &[]).status, 501);
    assert_eq!(http.send("OPTIONS", "/overview", "", &[]).status, 200);
    assert_eq!(http.get("/queues/%2F/").status, 200, "a slash at the end does not matter");
}

/// Paths, with what tag they want: `m`anagement, m`o`nitoring, `p`olicymaker, `a`dministrator.
const PATHS: [(&str, &str, char); 30] = [
    ("GET", "/overview", 'm'),
    ("GET", "/whoami", 'm'),
    ("GET", "/queues", 'm'),
    ("GET", "/queues/%2F", 'm'),
    ("GET", "/exchanges", 'm'),
    ("GET", "/bindings", 'm'),
    ("GET", "/connections", 'm'),
    ("GET", "/channels", 'm'),
    ("GET", "/consumers", 'm'),
    ("GET", "/vhosts", 'm'),
    ("GET", "/extensions", 'm'),
    ("GET", "/cluster-name", 'm'),
    ("GET", "/vhost-limits", 'm'),
    ("GET", "/nodes", 'o'),
    ("GET", "/cluster", 'o'),
    ("GET", "/policies/%2F", 'p'),
    ("GET", "/operator-policies/%2F", 'p'),
    ("GET", "/parameters", 'p'),
    ("GET", "/global-parameters", 'p'),
    ("PUT", "/policies/%2F/p", 'p'),
    ("GET", "/users", 'a'),
    ("GET", "/users/guest", 'a'),
    ("PUT", "/users/x", 'a'),
    ("GET", "/permissions", 'a'),
    ("PUT", "/permissions/%2F/guest", 'a'),
    ("GET", "/topic-permissions", 'a'),
    ("GET", "/user-limits", 'a'),
    ("PUT", "/operator-policies/%2F/p", 'a'),
    ("PUT", "/cluster-name", 'a'),
    ("POST", "/rebalance/queues", 'a'),
];

#[test]
fn each_path_wants_its_tag() {
    let Some(broker) = Broker::own() else { return };
    let guest = Http::of(&broker);
    for (tag, may) in [
        ("", ""),
        ("management", "m"),
        ("monitoring", "mo"),
        ("policymaker", "mp"),
        ("administrator", "mopa"),
    ] {
        let user = guest.user(&format!("u-{tag}"), tag);
        for (method, path, wanted) in PATHS {
            let answer = user.send(method, path, "", &[]);
            assert_eq!(answer.status == 401, !may.contains(wanted), "{tag}: {method} {path}: {answer:?}");
            if answer.status == 401 {
                assert_eq!(answer.body["error"], "not_authorised", "{tag}: {method} {path}");
            }
        }
    }
}

#[test]
fn what_is_declared_over_http_needs_the_users_own_rights() {
    let Some(broker) = Broker::own() else { return };
    let guest = Http::of(&broker);
    let user = guest.user("limited", "management");
    let rights = r#"{"configure": "^own", "write": "^own", "read": "^own"}"#;
    assert_eq!(guest.put("/permissions/%2F/limited", rights).status, 204);
    assert_eq!(guest.put("/queues/%2F/strange", "").status, 201);
    let refused = [
        ("PUT", "/queues/%2F/strange2", ""),
        ("DELETE", "/queues/%2F/strange", ""),
        ("DELETE", "/queues/%2F/strange/contents", ""),
        ("PUT", "/exchanges/%2F/strange", r#"{"type": "topic"}"#),
        ("PUT", "/queues/%2F/own.q2", r#"{"arguments": {"x-dead-letter-exchange": "strange"}}"#),
        (
            "PUT",
            "/exchanges/%2F/own.x2",
            r#"{"type": "topic", "arguments": {"alternate-exchange": "strange"}}"#,
        ),
        ("POST", "/bindings/%2F/e/amq.topic/q/strange", "{}"),
    ];
    for (method, path, body) in refused {
        let answer = user.send(method, path, body, &[]);
        assert_eq!((answer.status, answer.reason()), (401, "Access refused."), "{method} {path}");
    }
    assert_eq!(user.put("/queues/%2F/own.q", "").status, 201);
    assert_eq!(user.put("/exchanges/%2F/own.x", r#"{"type": "topic"}"#).status, 201);
    assert_eq!(user.post("/bindings/%2F/e/own.x/q/own.q", "{}").status, 201);
    assert_eq!(user.delete("/queues/%2F/own.q").status, 204);
}

#[test]
fn a_vhost_is_closed_to_those_who_have_no_permissions_in_it() {
    let Some(broker) = Broker::own() else { return };
    let guest = Http::of(&broker);
    assert_eq!(guest.put("/vhosts/closed", "").status, 201);
    assert_eq!(guest.put("/queues/closed/q", "").status, 201, "whoever makes a vhost may work in it");
    let user = guest.user("outside", "management");
    for path in
        ["/queues/closed", "/exchanges/closed", "/bindings/closed", "/vhosts/closed", "/queues/closed/q"]
    {
        let answer = user.get(path);
        assert_eq!(
            (answer.status, answer.reason()),
            (401, "User not authorised to access virtual host"),
            "{path}"
        );
    }
    assert!(user.get("/queues").body.as_array().expect("a list").is_empty());
    assert_eq!(user.get("/vhosts").body.as_array().expect("a list").len(), 1);
}
