//! What other brokers have and this one has not, or always has: so that tools that ask for it go on.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::management::http::{Administrator, Api, Failure, Manager, Monitoring, Outcome, reply};

/// Lists that are empty as they are in a broker without federation, shovels, streams and traces.
const EMPTY: [&str; 15] = [
    "/api/federation-links",
    "/api/federation-links/{vhost}",
    "/api/federation-links/state/down",
    "/api/shovels",
    "/api/shovels/{vhost}",
    "/api/stream/connections",
    "/api/stream/connections/{vhost}",
    "/api/stream/consumers",
    "/api/stream/consumers/{vhost}",
    "/api/stream/publishers",
    "/api/stream/publishers/{vhost}",
    "/api/traces",
    "/api/trace-files",
    "/api/deprecated-features",
    "/api/deprecated-features/used",
];

/// What clients look for before they use it; all of it is always there.
const FLAGS: [(&str, &str); 9] = [
    ("classic_mirrored_queue_version", "Support setting version for classic mirrored queues"),
    ("drop_unroutable_metric", "Count unroutable publishes to be dropped in stats"),
    ("empty_basic_get_metric", "Count AMQP `basic.get` on empty queues in stats"),
    (
        "implicit_default_bindings",
        "Default bindings are now implicit, instead of being stored in the database",
    ),
    ("maintenance_mode_status", "Maintenance mode status"),
    ("quorum_queue", "Support queues of type `quorum`"),
    ("user_limits", "Configure connection and channel limits for a user"),
    ("virtual_host_metadata", "Virtual host metadata (description, tags, etc)"),
    ("direct_exchange_routing_v2", "v2 direct exchange routing implementation"),
];

pub(super) fn routes() -> Router<Api> {
    let lists = EMPTY.iter().fold(Router::new(), |router, path| router.route(path, get(nothing)));
    lists
        .route("/api/feature-flags", get(flags))
        .route("/api/feature-flags/{name}/enable", put(enable))
        .route("/api/rebalance/queues", post(rebalance))
        .route("/api/reset", delete(reset))
        .route("/api/reset/{node}", delete(reset_node))
}

async fn nothing(Manager(_): Manager) -> Response {
    reply::json(&json!([]))
}

#[derive(Serialize)]
struct Flag {
    name: &'static str,
    desc: &'static str,
    doc_url: &'static str,
    state: &'static str,
    stability: &'static str,
    provided_by: &'static str,
}

async fn flags(Manager(_): Manager) -> Response {
    let flag = |(name, desc)| Flag {
        name,
        desc,
        doc_url: "",
        state: "enabled",
        stability: "stable",
        provided_by: "rabbit",
    };
    reply::json(&FLAGS.map(flag))
}

async fn enable(Administrator(_): Administrator, Path(name): Path<String>) -> Outcome {
    if name == "all" || FLAGS.iter().any(|(known, _)| *known == name) {
        return Ok(reply::no_content());
    }
    Err(Failure::new(StatusCode::BAD_REQUEST, "bad_request", "unsupported"))
}

/// Leads are spread evenly all the time.
async fn rebalance(Administrator(_): Administrator) -> Response {
    reply::no_content()
}

/// RabbitMQ's statistics can be forgotten; these are counters that clients take differences of, and stay.
async fn reset(Administrator(_): Administrator) -> Response {
    reply::no_content()
}

async fn reset_node(State(api): State<Api>, Monitoring(_): Monitoring, Path(node): Path<String>) -> Outcome {
    if node == api.config.node.name { Ok(reply::no_content()) } else { Err(Failure::no_object()) }
}
