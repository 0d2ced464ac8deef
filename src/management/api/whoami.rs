//! Who asks, and what this API is.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

use crate::management::http::{Api, Manager, reply};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/whoami", get(whoami))
        .route("/api/extensions", get(extensions))
        .route("/api/auth", get(auth))
}

#[derive(Serialize)]
struct WhoAmI<'a> {
    name: &'a str,
    tags: &'a [String],
}

async fn whoami(Manager(caller): Manager) -> Response {
    reply::json(&WhoAmI { name: caller.name(), tags: &caller.identity.tags })
}

/// What a web page loads besides itself.
async fn extensions(Manager(_): Manager) -> Response {
    reply::json(&json!([{"javascript": "dispatcher.js"}]))
}

/// Whether people log in at another place; everybody may ask.
async fn auth() -> Response {
    reply::json(
        &json!({"oauth_enabled": false, "enable_uaa": false, "uaa_client_id": "", "uaa_location": ""}),
    )
}
