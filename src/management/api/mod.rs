//! What each path below `/api` does (RabbitMQ: HTTP API Reference).

mod bindings;
mod channels;
mod cluster;
mod connections;
mod consumers;
mod exchanges;
mod features;
mod health;
mod limits;
mod messages;
mod nodes;
mod numbers;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod rights;
mod shape;
mod users;
mod vhosts;
mod whoami;

use axum::Router;

use super::http::Api;

/// All paths below `/api`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(bindings::routes())
        .merge(channels::routes())
        .merge(cluster::routes())
        .merge(connections::routes())
        .merge(consumers::routes())
        .merge(nodes::routes())
        .merge(overview::routes())
        .merge(parameters::routes())
        .merge(exchanges::routes())
        .merge(features::routes())
        .merge(health::routes())
        .merge(limits::routes())
        .merge(messages::routes())
        .merge(permissions::routes())
        .merge(users::routes())
        .merge(policies::routes())
        .merge(queues::routes())
        .merge(vhosts::routes())
        .merge(whoami::routes())
}
