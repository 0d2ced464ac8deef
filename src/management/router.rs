//! All paths.
//!
//! Whoever serves more of them gives a `Router<Api>` and is merged here.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;

use super::api;
use super::definitions;
use super::http::{Api, Failure, amqp_over_websocket};
use super::ui;

/// Every path of the socket, ready to be served.
pub(super) fn router(state: Api) -> Router {
    let websocket = from_fn_with_state(state.clone(), amqp_over_websocket);
    Router::new()
        .merge(api::routes())
        .merge(definitions::routes())
        .merge(ui::routes())
        .fallback(nothing)
        .layer(websocket)
        .with_state(state)
}

async fn nothing() -> impl IntoResponse {
    Failure::no_object()
}
