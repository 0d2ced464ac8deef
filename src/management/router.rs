//! All paths.
//!
//! Whoever serves more of them gives a `Router<Api>` and is merged here.

use axum::Router;
use axum::response::IntoResponse;

use super::api;
use super::definitions;
use super::http::{Api, Failure};
use super::ui;

/// Every path of the socket, ready to be served.
pub(super) fn router(state: Api) -> Router {
    Router::new()
        .merge(api::routes())
        .merge(definitions::routes())
        .merge(ui::routes())
        .fallback(nothing)
        .with_state(state)
}

async fn nothing() -> impl IntoResponse {
    Failure::no_object()
}
