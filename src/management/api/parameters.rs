//! Parameters: those of vhosts, by component, and global ones.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::{Value, json};

use super::policies::invalid;
use crate::management::http::{
    Administrator, Api, Body, Failure, ListQuery, Manager, Outcome, Policymaker, reply,
};

/// The global parameter that a cluster's name is.
const CLUSTER_NAME: &str = "cluster_name";
/// The component that limits of vhosts are.
const VHOST_LIMITS: &str = "vhost-limits";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/parameters", get(list_all))
        .route("/api/parameters/{component}", get(list_of_component))
        .route("/api/parameters/{component}/{vhost}", get(list_of_vhost))
        .route("/api/parameters/{component}/{vhost}/{name}", get(show).put(put).delete(delete))
        .route("/api/global-parameters", get(list_global))
        .route("/api/global-parameters/{name}", get(show_global).put(put_global).delete(delete_global))
        .route("/api/cluster-name", get(show_cluster_name).put(put_cluster_name))
}

/// What there is besides policies: limits of vhosts.
fn rows(api: &Api, component: Option<&str>, vhost: Option<&str>) -> Vec<Value> {
    if component.is_some_and(|component| component != VHOST_LIMITS) {
        return Vec::new();
    }
    let vhosts =
        api.control.vhosts().into_iter().filter(|(name, _)| vhost.is_none_or(|vhost| vhost == &**name));
    let row = |name: &str, limits| {
        let value = super::limits::shown_of_vhost(limits);
        (!value.is_empty())
            .then(|| json!({"value": value, "vhost": name, "component": VHOST_LIMITS, "name": "limits"}))
    };
    vhosts.filter_map(|(name, settings)| row(&name, settings.limits)).collect()
}

async fn list_all(State(api): State<Api>, Policymaker(caller): Policymaker, query: ListQuery) -> Outcome {
    let seen = caller.vhosts(&api);
    let mut rows = rows(&api, None, None);
    rows.retain(|row| seen.iter().any(|vhost| row["vhost"] == **vhost));
    query.reply(rows)
}

async fn list_of_component(
    State(api): State<Api>,
    Policymaker(caller): Policymaker,
    Path(component): Path<String>,
    query: ListQuery,
) -> Outcome {
    let seen = caller.vhosts(&api);
    let mut rows = rows(&api, Some(&component), None);
    rows.retain(|row| seen.iter().any(|vhost| row["vhost"] == **vhost));
    query.reply(rows)
}

async fn list_of_vhost(
    State(api): State<Api>,
    Policymaker(caller): Policymaker,
    Path((component, vhost)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    query.reply(rows(&api, Some(&component), Some(&vhost)))
}

async fn show(
    State(api): State<Api>,
    Policymaker(caller): Policymaker,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    let found = rows(&api, Some(&component), Some(&vhost)).into_iter().find(|row| row["name"] == *name);
    reply::found(found)
}

async fn put(
    State(api): State<Api>,
    Policymaker(caller): Policymaker,
    Path((component, vhost, _name)): Path<(String, String, String)>,
    body: Body,
) -> Outcome {
    if api.control.vhost(&vhost).is_none() {
        return Err(Failure::not_found("vhost_not_found"));
    }
    caller.enters(&api, &vhost)?;
    body.need(&["value"])?;
    if component == "policy" || component == "operator_policy" {
        return Err(Failure::bad_request("policies may not be set using this method"));
    }
    Err(invalid(&format!("component {component} not found")))
}

async fn delete(
    State(api): State<Api>,
    Policymaker(caller): Policymaker,
    Path((_component, vhost, _name)): Path<(String, String, String)>,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    Err(Failure::no_object())
}

/// A parameter's value as JSON; one that is no JSON is shown as a text.
fn value_of(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

async fn list_global(State(api): State<Api>, Policymaker(_): Policymaker, query: ListQuery) -> Outcome {
    let all = api.control.global_parameters().into_iter();
    query.reply(all.map(|(name, value)| json!({"name": name, "value": value_of(value)})).collect::<Vec<_>>())
}

async fn show_global(
    State(api): State<Api>,
    Policymaker(_): Policymaker,
    Path(name): Path<String>,
) -> Outcome {
    let value = api.control.global_parameter(&name);
    reply::found(value.map(|value| json!({"name": name, "value": value_of(value)})))
}

async fn put_global(
    State(api): State<Api>,
    Policymaker(_): Policymaker,
    Path(name): Path<String>,
    body: Body,
) -> Outcome {
    body.need(&["value"])?;
    let is_new = api.control.set_global_parameter(&name, &body.0["value"].to_string()).await?;
    Ok(reply::put(is_new))
}

async fn delete_global(
    State(api): State<Api>,
    Policymaker(_): Policymaker,
    Path(name): Path<String>,
) -> Outcome {
    if api.control.global_parameter(&name).is_none() {
        return Err(Failure::no_object());
    }
    api.control.clear_global_parameter(&name).await?;
    Ok(reply::no_content())
}

/// The name of the cluster: as somebody named it, or the node's.
pub(super) fn cluster_name(api: &Api) -> String {
    let named = api.control.global_parameter(CLUSTER_NAME).map(value_of);
    named.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_else(|| api.config.node.name.clone())
}

async fn show_cluster_name(State(api): State<Api>, Manager(_): Manager) -> axum::response::Response {
    reply::json(&json!({"name": cluster_name(&api)}))
}

async fn put_cluster_name(State(api): State<Api>, Administrator(_): Administrator, body: Body) -> Outcome {
    body.need(&["name"])?;
    let name = body.text("name")?.ok_or_else(|| Failure::bad_request("name should be a string"))?;
    api.control.set_global_parameter(CLUSTER_NAME, &Value::from(name).to_string()).await?;
    Ok(reply::no_content())
}
