//! What holds for every request, whichever its path.

use std::str;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, VARY};
use hyper::service::Service;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::service::TowerToHyperService;

use super::failure::Failure;
use super::reply;

/// How long an answer may take: the largest import of definitions needs a fraction of this.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// What a page from here may load, so that an injected text cannot load more.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      style-src 'self' 'unsafe-inline'; object-src 'none'; frame-ancestors 'none'";

/// Answers one request.
pub(crate) async fn front(router: TowerToHyperService<Router>, request: Request<Body>) -> Response {
    let method = request.method().clone();
    if !is_known(&method) {
        return reply::empty(StatusCode::NOT_IMPLEMENTED);
    }
    let request = match normal(request) {
        Ok(request) => request,
        Err(status) if status == StatusCode::NOT_FOUND => return Failure::no_object().into_response(),
        Err(status) => return reply::empty(status),
    };
    let is_api = request.uri().path().starts_with("/api/");
    let Ok(answer) = tokio::time::timeout(ANSWER_MAX, router.call(request)).await else {
        return Failure::unavailable("the answer takes too long").into_response();
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && method == Method::OPTIONS {
        *response.status_mut() = StatusCode::OK;
    }
    head(&mut response, is_api);
    response
}

fn is_known(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH]
        .contains(method)
}

/// The request with a path that routes match: without a slash at the end, and with escapes that are text.
fn normal(mut request: Request<Body>) -> Result<Request<Body>, StatusCode> {
    let path = request.uri().path();
    if !is_text(path)? {
        return Err(StatusCode::NOT_FOUND);
    }
    if path.len() > 1 && path.ends_with('/') {
        let short = path.trim_end_matches('/');
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("{}{query}", if short.is_empty() { "/" } else { short });
        *request.uri_mut() = Uri::try_from(uri).map_err(|_| StatusCode::BAD_REQUEST)?;
    }
    Ok(request)
}

/// Whether a path is UTF-8 once its escapes are taken out; 400 when they are broken.
fn is_text(path: &str) -> Result<bool, StatusCode> {
    let mut octets = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or(StatusCode::BAD_REQUEST)?;
        let digits =
            str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        octets.push(octet.ok_or(StatusCode::BAD_REQUEST)?);
        rest = behind;
    }
    Ok(str::from_utf8(&octets).is_ok())
}

fn head(response: &mut Response, is_api: bool) {
    let headers = response.headers_mut();
    if is_api {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding, origin"));
    }
    // The user interface has a stricter one.
    headers
        .entry(HeaderName::from_static("content-security-policy"))
        .or_insert(HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(path: &str) -> Result<String, StatusCode> {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        normal(request).map(|request| request.uri().to_string())
    }

    #[test]
    fn slashes_at_the_end_do_not_matter() {
        assert_eq!(path_of("/api/queues/?a=b/"), Ok("/api/queues?a=b/".to_owned()));
        assert_eq!(path_of("/api/queues/%2F//"), Ok("/api/queues/%2F".to_owned()));
        assert_eq!(path_of("/"), Ok("/".to_owned()));
    }

    #[test]
    fn escapes_must_be_whole_and_text() {
        assert_eq!(path_of("/api/queues/%zz"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(path_of("/api/queues/%2"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(path_of("/api/queues/%+1"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(path_of("/api/queues/%ff"), Err(StatusCode::NOT_FOUND));
        assert!(path_of("/api/queues/%C3%A4").is_ok());
    }
}
