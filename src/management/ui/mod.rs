//! The web UI: files that are part of the binary, served at `/`. It is a client of the HTTP API like any other.
//!
//! The page at `/` names its files under `/ui/<version>/`, where the version is a digest of all of them: a browser keeps them for
//! good and asks anew only for the page.

mod assets;

use std::fmt::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use assets::{ASSETS, Asset};

/// Scripts and styles come from this server alone and never stand in a page; strings never become markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer of the UI says besides its content.
const SAFETY: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

const FOR_GOOD: &str = "public, max-age=31536000, immutable";
const ASK_FIRST: &str = "no-cache";

/// Stands for the version in the page.
const VERSION_MARK: &str = "{version}";

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for asset in ASSETS {
        digest.update(asset.path.as_bytes());
        digest.update(asset.content);
    }
    digest.finish().as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
});

static PAGE: LazyLock<String> =
    LazyLock::new(|| include_str!("assets/index.html").replace(VERSION_MARK, &VERSION));

/// The page at `/` and its files; for the server of the management API.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page)).route("/ui/{version}/{*path}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    answer(&headers, "text/html; charset=utf-8", PAGE.as_bytes(), ASK_FIRST)
}

async fn file(Path((version, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        // The page may be of another node with another version, behind one address.
        Some(asset) if version != *VERSION => answer(&headers, content_type(asset), asset.content, ASK_FIRST),
        Some(asset) => answer(&headers, content_type(asset), asset.content, FOR_GOOD),
        None => (StatusCode::NOT_FOUND, SAFETY, "there is no such file").into_response(),
    }
}

/// The content, or that it is still the same one.
fn answer(
    asked: &HeaderMap,
    content_type: &'static str,
    content: &'static [u8],
    keep: &'static str,
) -> Response {
    let tag = format!("\"{}\"", *VERSION);
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let common = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, keep.to_owned())];
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        return (StatusCode::NOT_MODIFIED, SAFETY, common).into_response();
    }
    (SAFETY, common, [(header::CONTENT_TYPE, content_type)], content).into_response()
}

fn content_type(asset: &Asset) -> &'static str {
    match asset.path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
