//! `/api/definitions`: out by GET, in by POST, for all or for one vhost.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use serde_json::{Value, json};

use super::export::{export, export_vhost};
use super::import::{Mode, import};
use super::multipart;
use super::report::Report;
use crate::management::http::{Administrator, Api, Failure, Outcome, Parameters, bytes_of, reply};

/// So many refused objects are named in the reason of an answer; all are in its report.
const NAMED_MAX: usize = 10;

/// The paths.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/api/definitions", get(show).post(take))
        .route("/api/definitions/{vhost}", get(show_vhost).post(take_into_vhost))
        // RabbitMQ's older name for the same.
        .route("/api/all-configuration", get(show).post(take))
}

async fn show(Administrator(_): Administrator, State(api): State<Api>, asked: Parameters) -> Response {
    as_file(reply::json(&api.control.look(export)), &asked)
}

async fn show_vhost(
    Administrator(_): Administrator,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    asked: Parameters,
) -> Outcome {
    let file = api.control.look(|topology| export_vhost(topology, &vhost));
    Ok(as_file(reply::found(file)?, &asked))
}

/// A browser that is to keep it gets a name for the file.
fn as_file(mut response: Response, asked: &Parameters) -> Response {
    let name = asked.get("download").map(|name| name.replace(['"', '\r', '\n'], ""));
    let header = name.and_then(|name| HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).ok());
    if let Some(header) = header {
        response.headers_mut().insert(CONTENT_DISPOSITION, header);
    }
    response
}

async fn take(
    Administrator(caller): Administrator,
    State(api): State<Api>,
    asked: Parameters,
    request: Request,
) -> Outcome {
    take_file(&api, caller.name(), None, &asked, request).await
}

async fn take_into_vhost(
    Administrator(caller): Administrator,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    asked: Parameters,
    request: Request,
) -> Outcome {
    if api.control.vhost(&vhost).is_none() {
        return Err(Failure::no_object());
    }
    take_file(&api, caller.name(), Some(&vhost), &asked, request).await
}

/// RabbitMQ answers an import with 204; who asks with `report=true` is told what became of each object.
async fn take_file(
    api: &Api,
    caller: &str,
    vhost: Option<&str>,
    asked: &Parameters,
    request: Request,
) -> Outcome {
    let mode = if asked.is_set("dry_run") { Mode::DryRun } else { Mode::Import };
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let (file, redirect) = uploaded(kind.as_deref(), bytes_of(request).await?)?;
    let report = import(&api.control, &file, vhost, mode).await.map_err(Failure::bad_request)?;
    tracing::info!(caller, counts = ?report.counts, dry_run = report.dry_run, "definitions imported");
    if report.counts.refused > 0 {
        return Ok(refused(&report));
    }
    if let Some(location) = redirect.and_then(|place| HeaderValue::try_from(place).ok()) {
        let mut response = reply::empty(StatusCode::SEE_OTHER);
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let is_told = asked.is_set("report") || mode == Mode::DryRun;
    Ok(if is_told { reply::json(&report) } else { reply::no_content() })
}

/// The file in a body or in a form, and where the browser is to go afterwards.
fn uploaded(kind: Option<&str>, body: Bytes) -> Result<(Value, Option<String>), Failure> {
    let not_json = || Failure::bad_request("not_json");
    let Some(boundary) = kind.and_then(multipart::boundary) else {
        return Ok((serde_json::from_slice(&body).map_err(|_| not_json())?, None));
    };
    let parts = multipart::parts(&body, boundary);
    let part = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.content);
    let file = part("file").ok_or_else(|| Failure::bad_request("the form has no field 'file'"))?;
    let redirect = part("redirect").map(|place| String::from_utf8_lossy(place).into_owned());
    Ok((serde_json::from_slice(file).map_err(|_| not_json())?, redirect))
}

fn refused(report: &Report) -> Response {
    let named: Vec<_> = report.refused().take(NAMED_MAX).map(ToString::to_string).collect();
    let all = report.objects.len();
    let reason = format!("{} of {all} objects refused: {}", report.counts.refused, named.join("; "));
    let body = json!({"error": "bad_request", "reason": reason, "report": report});
    reply::with_status(StatusCode::BAD_REQUEST, &body)
}
