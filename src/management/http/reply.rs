//! Answers.

use axum::body::Body;
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;

use super::failure::{Failure, Outcome};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with an object or an array.
pub fn json(value: &impl Serialize) -> Response {
    with_status(StatusCode::OK, value)
}

/// 200 with an object, or 404 when it is not there.
///
/// # Errors
/// When there is nothing to show.
pub fn found(value: Option<impl Serialize>) -> Outcome {
    value.map(|value| json(&value)).ok_or_else(Failure::no_object)
}

/// 201 or 204 for what was put.
#[must_use]
pub fn put(is_new: bool) -> Response {
    empty(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// 201, and where the new object is.
#[must_use]
pub fn created_at(location: &str) -> Response {
    let mut response = empty(StatusCode::CREATED);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// 204.
#[must_use]
pub fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// A status without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// JSON that is already written.
#[must_use]
pub fn written(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    response
}

/// JSON with this status.
pub fn with_status(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => written(status, text),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
