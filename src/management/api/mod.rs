//! What each path below `/api` does (RabbitMQ: HTTP API Reference).

mod messages;
mod whoami;

use axum::Router;

use super::http::Api;

/// All paths below `/api`.
pub(super) fn routes() -> Router<Api> {
    Router::new().merge(messages::routes()).merge(whoami::routes())
}
