//! Refusals: a status, and an object with an error's name and its reason.

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::Value;

use super::reply;
use crate::node::ControlError;

/// What a browser shows when it asks for name and password.
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");

/// What a handler comes to.
pub type Outcome = Result<Response, Failure>;

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The status of the answer.
    pub status: StatusCode,
    /// The name of the error; empty for an answer without a body.
    pub error: &'static str,
    /// The reason: mostly a text.
    pub reason: Value,
}

#[derive(Serialize)]
struct Written<'a> {
    error: &'a str,
    reason: &'a Value,
}

impl Failure {
    /// A status and why.
    pub fn new(status: StatusCode, error: &'static str, reason: impl Into<Value>) -> Self {
        Self { status, error, reason: reason.into() }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 404 for the object that the path names.
    #[must_use]
    pub fn no_object() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404 for something else that the request needs.
    pub fn not_found(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 401: the caller is known, but may not do this.
    pub fn not_authorised(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 401: the object is none of the caller's business.
    #[must_use]
    pub fn not_yours() -> Self {
        Self::not_authorised("User not authorised to access object")
    }

    /// 401: name or password is wrong.
    #[must_use]
    pub fn login_failed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed")
    }

    /// 401 without a body: nobody said who asks.
    #[must_use]
    pub fn login_wanted() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "", Value::Null)
    }

    /// 503: the node or its cluster cannot answer now.
    pub fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    }

    fn asks_to_log_in(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.error != "not_authorised"
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(reason) => Self::not_found(reason),
            ControlError::Invalid(reason) => Self::bad_request(reason),
            ControlError::Refused(_) => Self::not_authorised("Access refused."),
            ControlError::Stopping => Self::unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = if self.error.is_empty() {
            reply::empty(self.status)
        } else {
            reply::with_status(self.status, &Written { error: self.error, reason: &self.reason })
        };
        if self.asks_to_log_in() {
            response.headers_mut().insert(WWW_AUTHENTICATE, REALM);
        }
        response
    }
}
