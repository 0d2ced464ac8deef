//! The cluster: its members, who leads what, and orders to it. Not in RabbitMQ's API.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use crate::management::http::{Administrator, Api, Body, Failure, Monitoring, Outcome, Parameters, reply};
use crate::node::{ClusterOrder, ClusterStatus, NodeStatus};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/cluster", get(status))
        .route("/api/cluster/status", get(status))
        .route("/api/cluster/rebalance", post(rebalance))
        .route("/api/cluster/transfer", post(transfer))
        .route("/api/cluster/drain", post(drain))
        .route("/api/cluster/leave", post(leave))
        .route("/api/cluster/forget", post(forget))
}

async fn status(State(api): State<Api>, Monitoring(_): Monitoring, parameters: Parameters) -> Outcome {
    let status = api.control.cluster_status(parameters.is_set("queues")).await?;
    Ok(reply::json(&status.unwrap_or_else(|| alone(&api))))
}

/// A node that is in no cluster, as a cluster of one.
fn alone(api: &Api) -> ClusterStatus {
    let amqp = api.control.listeners().into_iter().find(|(protocol, _)| *protocol == "amqp");
    let own = NodeStatus {
        node: 1,
        name: api.config.node.name.clone(),
        client_address: amqp.map(|(_, address)| address.to_string()).unwrap_or_default(),
        is_up: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeStatus::default()
    };
    ClusterStatus { asked: 1, copies: 1, nodes: vec![own], ..ClusterStatus::default() }
}

async fn rebalance(State(api): State<Api>, Administrator(_): Administrator) -> Outcome {
    order(&api, ClusterOrder::Rebalance).await
}

async fn transfer(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    body.need(&["group", "node"])?;
    let group = body.0["group"].as_u64().and_then(|group| u16::try_from(group).ok());
    let group = group.ok_or_else(|| Failure::bad_request("group should be a number"))?;
    order(&api, ClusterOrder::Transfer { group, node: node(&body)? }).await
}

async fn drain(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    let on = body.get("on").is_none() || body.flag("on")?;
    let node = body.text("node")?.map(str::to_owned);
    order(&api, ClusterOrder::Drain { node, on }).await
}

async fn leave(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    let node = body.text("node")?.map(str::to_owned);
    order(&api, ClusterOrder::Leave { node, force: body.flag("force")? }).await
}

async fn forget(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    body.need(&["node"])?;
    order(&api, ClusterOrder::Forget { node: node(&body)? }).await
}

fn node(body: &Body) -> Result<String, Failure> {
    let name = body.text("node")?.map(str::to_owned);
    name.ok_or_else(|| Failure::bad_request("node should be a string"))
}

async fn order(api: &Api, order: ClusterOrder) -> Outcome {
    let done = api.control.cluster_order(order).await?;
    Ok(said(&done))
}

fn said(message: &str) -> Response {
    reply::json(&json!({"message": message}))
}
