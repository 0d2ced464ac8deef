//! Queues: lists of them, one of them, declaring, deleting and emptying.

mod shown;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::exchanges::declares_in;
use super::numbers::{Histories, spans};
use super::rights::Rights;
use crate::management::http::{Api, Body, Failure, ListQuery, Manager, Outcome, Parameters, reply};
use crate::management::json::table_from_json;
use crate::node::{QueueInfo, QueueSpec};
use shown::{Plain, Row};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/queues", get(list_all))
        .route("/api/queues/detailed", get(list_all))
        .route("/api/queues/{vhost}", get(list))
        .route("/api/queues/{vhost}/{queue}", get(show).put(declare).delete(remove))
        .route("/api/queues/{vhost}/{queue}/contents", delete(purge))
        .route("/api/queues/{vhost}/{queue}/actions", post(act))
}

async fn list_all(
    State(api): State<Api>,
    Manager(caller): Manager,
    parameters: Parameters,
    query: ListQuery,
) -> Outcome {
    let seen = caller.vhosts(&api);
    let mut all = api.control.queue_list(None).await.all;
    all.retain(|queue| seen.contains(&queue.entry.vhost));
    show_list(&api, all, &parameters, &query)
}

async fn list(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    parameters: Parameters,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let all = api.control.queue_list(Some(&vhost)).await.all;
    show_list(&api, all, &parameters, &query)
}

fn show_list(api: &Api, all: Vec<QueueInfo>, parameters: &Parameters, query: &ListQuery) -> Outcome {
    let now_ms = api.control.now_ms();
    if !parameters.is_set("disable_stats") {
        return query.reply(all.into_iter().map(|queue| Row::new(queue, now_ms)).collect());
    }
    let with_totals = parameters.is_set("enable_queue_totals");
    query.reply(all.into_iter().map(|queue| Plain { queue, with_totals }).collect())
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let detail = api.control.queue_detail(&vhost, &name).await.ok_or_else(Failure::no_object)?;
    let histories = match spans(&parameters) {
        Some((lengths, rates)) => api.control.queue_history(&vhost, &name, lengths, rates).await,
        None => None,
    };
    let histories = histories.map(|series| Histories(series.0)).unwrap_or_default();
    Ok(query.show(&Row::whole(detail, histories, api.control.now_ms())))
}

async fn declare(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    declares_in(&api, &caller, &vhost)?;
    let arguments = Value::Object(body.object("arguments")?);
    let spec = QueueSpec {
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        arguments: table_from_json(&arguments).map_err(Failure::bad_request)?,
    };
    body.flag("exclusive")?;
    if let Some(node) = body.text("node")?.filter(|node| *node != api.config.node.name) {
        return Err(Failure::bad_request(format!("Node {node} could not be contacted")));
    }
    Rights::new(&api, &caller, &vhost).declare_queue(&name, &spec.arguments)?;
    let (_, is_new) = api.control.declare_queue(&vhost, &name, spec).await?;
    Ok(reply::put(is_new))
}

async fn remove(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    if !api.control.has_queue(&vhost, &name) {
        return Err(Failure::no_object());
    }
    Rights::new(&api, &caller, &vhost).configure_queue(&name)?;
    let (if_unused, if_empty) = (parameters.is_set("if-unused"), parameters.is_set("if-empty"));
    api.control.delete_queue(&vhost, &name, if_unused, if_empty).await?;
    Ok(reply::no_content())
}

async fn purge(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    if !api.control.has_queue(&vhost, &name) {
        return Err(Failure::no_object());
    }
    Rights::new(&api, &caller, &vhost).read_queue(&name)?;
    api.control.purge_queue(&vhost, &name).await?;
    Ok(reply::no_content())
}

/// What RabbitMQ does with mirrors, which keep up by themselves here.
async fn act(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    if !api.control.has_queue(&vhost, &name) {
        return Err(Failure::no_object());
    }
    body.need(&["action"])?;
    match body.0["action"].as_str() {
        Some("sync" | "cancel_sync") => Ok(reply::no_content()),
        _ => Err(Failure::bad_request(json!(["unknown", body.0["action"]]))),
    }
}
