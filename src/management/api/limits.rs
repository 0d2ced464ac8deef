//! Limits of vhosts and users.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use super::policies::invalid;
use crate::broker::topology::{UserLimits, VhostLimits};
use crate::management::http::{Administrator, Api, Body, Failure, ListQuery, Manager, Outcome, reply};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/vhost-limits", get(of_vhosts))
        .route("/api/vhost-limits/{vhost}", get(of_vhost))
        .route("/api/vhost-limits/{vhost}/{name}", put(limit_vhost).delete(free_vhost))
        .route("/api/user-limits", get(of_users))
        .route("/api/user-limits/{user}", get(of_user))
        .route("/api/user-limits/{user}/{name}", put(limit_user).delete(free_user))
}

/// The limits of one vhost or user, by their names.
type Limits = [(&'static str, Option<u64>); 2];

fn vhost_limits(limits: VhostLimits) -> Limits {
    [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)]
}

fn user_limits(limits: UserLimits) -> Limits {
    [("max-connections", limits.max_connections), ("max-channels", limits.max_channels)]
}

/// Those that are set, as an object.
fn shown(limits: Limits) -> Map<String, Value> {
    let set = limits.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    set.collect()
}

/// Those of a user, as an object.
pub(super) fn shown_of_user(limits: UserLimits) -> Map<String, Value> {
    shown(user_limits(limits))
}

/// Those of a vhost, as an object.
pub(super) fn shown_of_vhost(limits: VhostLimits) -> Map<String, Value> {
    shown(vhost_limits(limits))
}

fn row(kind: &str, name: &str, limits: Limits) -> Option<Value> {
    let value = shown(limits);
    (!value.is_empty()).then(|| json!({kind: name, "value": value}))
}

async fn of_vhosts(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let vhosts = api.control.vhosts().into_iter();
    let seen = vhosts.filter(|(name, _)| caller.is_monitoring() || caller.may_enter(&api, name));
    let rows = seen.filter_map(|(name, settings)| row("vhost", &name, vhost_limits(settings.limits)));
    query.reply(rows.collect::<Vec<_>>())
}

async fn of_vhost(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let limits = api.control.vhost(&vhost).ok_or_else(Failure::no_object)?.limits;
    query.reply(row("vhost", &vhost, vhost_limits(limits)).into_iter().collect::<Vec<_>>())
}

async fn limit_vhost(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    let Some(settings) = api.control.vhost(&vhost) else {
        return Err(Failure::not_found("vhost_not_found"));
    };
    let mut limits = settings.limits;
    *vhost_limit(&mut limits, &name).ok_or_else(|| unknown(&name))? = value(&name, &body)?;
    api.control.limit_vhost(&vhost, limits).await?;
    Ok(reply::no_content())
}

async fn free_vhost(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((vhost, name)): Path<(String, String)>,
) -> Outcome {
    let mut limits = api.control.vhost(&vhost).ok_or_else(Failure::no_object)?.limits;
    if let Some(limit) = vhost_limit(&mut limits, &name) {
        *limit = None;
        api.control.limit_vhost(&vhost, limits).await?;
    }
    Ok(reply::no_content())
}

async fn of_users(State(api): State<Api>, Administrator(_): Administrator, query: ListQuery) -> Outcome {
    let users = api.control.user_names();
    let limits = |name: &str| api.control.user_limits(name).map(user_limits);
    let rows = users.iter().filter_map(|name| row("user", name, limits(name)?));
    query.reply(rows.collect::<Vec<_>>())
}

async fn of_user(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path(user): Path<String>,
    query: ListQuery,
) -> Outcome {
    let limits = api.control.user_limits(&user).ok_or_else(Failure::no_object)?;
    query.reply(row("user", &user, user_limits(limits)).into_iter().collect::<Vec<_>>())
}

async fn limit_user(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((user, name)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    let mut limits = api.control.user_limits(&user).ok_or_else(|| Failure::not_found("user_not_found"))?;
    *user_limit(&mut limits, &name).ok_or_else(|| unknown(&name))? = value(&name, &body)?;
    api.control.limit_user(&user, limits).await?;
    Ok(reply::no_content())
}

async fn free_user(
    State(api): State<Api>,
    Administrator(_): Administrator,
    Path((user, name)): Path<(String, String)>,
) -> Outcome {
    let mut limits = api.control.user_limits(&user).ok_or_else(Failure::no_object)?;
    if let Some(limit) = user_limit(&mut limits, &name) {
        *limit = None;
        api.control.limit_user(&user, limits).await?;
    }
    Ok(reply::no_content())
}

fn vhost_limit<'a>(limits: &'a mut VhostLimits, name: &str) -> Option<&'a mut Option<u64>> {
    match name {
        "max-connections" => Some(&mut limits.max_connections),
        "max-queues" => Some(&mut limits.max_queues),
        _ => None,
    }
}

fn user_limit<'a>(limits: &'a mut UserLimits, name: &str) -> Option<&'a mut Option<u64>> {
    match name {
        "max-connections" => Some(&mut limits.max_connections),
        "max-channels" => Some(&mut limits.max_channels),
        _ => None,
    }
}

fn unknown(name: &str) -> Failure {
    invalid(&format!("Unrecognised terms [{{<<\"{name}\">>}}] in limits"))
}

/// A limit in a body; a negative one is none.
fn value(name: &str, body: &Body) -> Result<Option<u64>, Failure> {
    body.need(&["value"])?;
    let value = &body.0["value"];
    if value.as_i64().is_some_and(|value| value < 0) {
        return Ok(None);
    }
    let not_whole = || invalid(&format!("{name} should be a number, actually was {value}"));
    value.as_u64().map(Some).ok_or_else(not_whole)
}
