//! Jobs on the messages of a queue.

use axum::extract::{Path, State};
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::super::http::{Api, Body, Caller, Failure, Manager, Outcome, reply};
use super::enters_queue;
use super::looking::filter_of;
use super::payload::number;
use crate::node::{Action, Destination, JobSpec, JobStatus, QueueName};

pub(super) async fn delete(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(name): Path<(String, String)>,
    body: Body,
) -> Outcome {
    begin(&caller, &api, name, &body, |_| Ok(Action::Delete)).await
}

pub(super) async fn move_to(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(name): Path<(String, String)>,
    body: Body,
) -> Outcome {
    begin(&caller, &api, name, &body, |body| destination(body).map(Action::Move)).await
}

pub(super) async fn copy_to(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(name): Path<(String, String)>,
    body: Body,
) -> Outcome {
    begin(&caller, &api, name, &body, |body| destination(body).map(Action::Copy)).await
}

pub(super) async fn redrive(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(name): Path<(String, String)>,
    body: Body,
) -> Outcome {
    let action = |body: &Body| match body.text("to")?.unwrap_or("queue") {
        "queue" => Ok(Action::Move(Destination::FirstDeathQueue)),
        "exchange" => Ok(Action::Move(Destination::FirstDeathExchange)),
        other => Err(Failure::bad_request(format!("'to' is 'queue' or 'exchange', not '{other}'"))),
    };
    begin(&caller, &api, name, &body, action).await
}

pub(super) async fn list(Manager(caller): Manager, State(api): State<Api>) -> Outcome {
    let jobs = api.control.jobs().await;
    let seen = jobs.iter().filter(|job| sees(&caller, &api, job));
    Ok(reply::json(&seen.map(show_job).collect::<Vec<_>>()))
}

pub(super) async fn show(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Outcome {
    let job = api.control.job(&id).await?;
    if sees(&caller, &api, &job) { Ok(reply::json(&show_job(&job))) } else { Err(Failure::no_object()) }
}

pub(super) async fn cancel(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Outcome {
    let job = api.control.job(&id).await?;
    caller.enters(&api, &job.spec.name.vhost)?;
    Ok(reply::json(&show_job(&api.control.cancel_job(&id).await?)))
}

fn sees(caller: &Caller, api: &Api, job: &JobStatus) -> bool {
    caller.sees(api, &job.spec.name.vhost).is_ok()
}

async fn begin(
    caller: &Caller,
    api: &Api,
    (vhost, queue): (String, String),
    body: &Body,
    action: impl FnOnce(&Body) -> Result<Action, Failure>,
) -> Result<Response, Failure> {
    enters_queue(caller, api, &vhost, &queue)?;
    let text = "which messages are meant must be said by 'filter' or 'ids'; an empty filter means all";
    let filter = filter_of(body)?.ok_or_else(|| Failure::bad_request(text))?;
    let spec = JobSpec {
        name: QueueName { vhost, queue },
        action: action(body)?,
        filter,
        limit: number(body, "limit")?,
        rate: number(body, "rate")?.filter(|rate| *rate > 0),
        dry_run: body.flag("dry_run")?,
        user: caller.name().to_owned(),
    };
    let job = api.control.begin_job(spec).await?;
    Ok(reply::with_status(StatusCode::CREATED, &show_job(&job)))
}

fn destination(body: &Body) -> Result<Destination, Failure> {
    match (body.text("destination_queue")?, body.text("destination_exchange")?) {
        (Some(queue), None) => Ok(Destination::Queue(queue.to_owned())),
        (None, Some(exchange)) => {
            let key = body.text("routing_key")?.map(str::to_owned);
            Ok(Destination::Exchange(exchange.to_owned(), key))
        }
        _ => Err(Failure::bad_request("one of 'destination_queue' and 'destination_exchange' is needed")),
    }
}

fn show_job(job: &JobStatus) -> Value {
    let spec = &job.spec;
    let destination = spec.action.destination().map(|to| match to {
        Destination::Queue(name) => json!({ "queue": name }),
        Destination::Exchange(name, key) => json!({ "exchange": name, "routing_key": key }),
        Destination::FirstDeathQueue => json!("first-death-queue"),
        Destination::FirstDeathExchange => json!("first-death-exchange"),
    });
    json!({
        "id": job.id,
        "node": job.node,
        "vhost": spec.name.vhost,
        "queue": spec.name.queue,
        "action": spec.action.name(),
        "destination": destination,
        "filter": spec.filter,
        "limit": spec.limit,
        "rate": spec.rate,
        "dry_run": spec.dry_run,
        "user": spec.user,
        "state": job.state,
        "looked_at": job.looked_at,
        "matched": job.matched,
        "done": job.done,
        "failed": job.failed,
        "total": job.total,
        "started_ms": job.started_ms,
        "ended_ms": job.ended_ms,
        "reason": job.reason,
    })
}
