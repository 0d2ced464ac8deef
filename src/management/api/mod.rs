//! What each path below `/api` does (RabbitMQ: HTTP API Reference).

mod bindings;
mod exchanges;
mod features;
mod limits;
mod messages;
mod policies;
mod queues;
mod rights;
mod shape;
mod vhosts;
mod whoami;

use axum::Router;

use super::http::Api;

/// All paths below `/api`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(bindings::routes())
        .merge(exchanges::routes())
        .merge(features::routes())
        .merge(limits::routes())
        .merge(messages::routes())
        .merge(policies::routes())
        .merge(queues::routes())
        .merge(vhosts::routes())
        .merge(whoami::routes())
}
