//! Messages: publish and get as RabbitMQ has them; looking into queues and jobs on messages, which it has not.
//!
//! - `payload`: bodies and properties as JSON
//! - `exchanging`: publish, get
//! - `looking`: peek and search
//! - `jobs`: delete, move, copy, redrive

mod exchanging;
mod jobs;
mod looking;
mod payload;

use axum::Router;
use axum::routing::{get, post};

use super::super::http::{Api, Caller, Failure};

/// The paths.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/exchanges/{vhost}/{name}/publish", post(exchanging::publish))
        .route("/api/queues/{vhost}/{name}/get", post(exchanging::get))
        .route("/api/queues/{vhost}/{name}/messages", get(looking::peek))
        .route("/api/queues/{vhost}/{name}/messages/search", post(looking::search))
        .route("/api/queues/{vhost}/{name}/messages/delete", post(jobs::delete))
        .route("/api/queues/{vhost}/{name}/messages/move", post(jobs::move_to))
        .route("/api/queues/{vhost}/{name}/messages/copy", post(jobs::copy_to))
        .route("/api/queues/{vhost}/{name}/messages/redrive", post(jobs::redrive))
        .route("/api/jobs", get(jobs::list))
        .route("/api/jobs/{id}", get(jobs::show).delete(jobs::cancel))
}

/// Lets through who may work with a queue that is there.
fn enters_queue(caller: &Caller, api: &Api, vhost: &str, queue: &str) -> Result<(), Failure> {
    caller.enters(api, vhost)?;
    if api.control.queue(vhost, queue).is_some() { Ok(()) } else { Err(Failure::no_object()) }
}
