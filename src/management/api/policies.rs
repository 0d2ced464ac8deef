//! Policies, and those of operators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::shape::Table;
use crate::broker::policy::{Policy, PolicyScope, PolicySpec};
use crate::management::http::{
    Administrator, Api, Body, Caller, Failure, ListQuery, Manager, Outcome, Policymaker, reply,
};
use crate::management::json::table_from_json;
use crate::node::ControlError;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/policies", list_all(PolicyScope::User))
        .route("/api/policies/{vhost}", list(PolicyScope::User))
        .route("/api/policies/{vhost}/{name}", get(show_policy).put(put_policy).delete(delete_policy))
        .route("/api/operator-policies", list_all(PolicyScope::Operator))
        .route("/api/operator-policies/{vhost}", list(PolicyScope::Operator))
        .route(
            "/api/operator-policies/{vhost}/{name}",
            get(show_operators).put(put_operators).delete(delete_operators),
        )
}

struct Row {
    vhost: Arc<str>,
    policy: Arc<Policy>,
}

#[derive(Serialize)]
struct Shown<'a> {
    vhost: &'a str,
    name: &'a str,
    pattern: &'a str,
    #[serde(rename = "apply-to")]
    apply_to: &'a str,
    definition: Table<'a>,
    priority: i64,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let policy = &self.policy;
        let shown = Shown {
            vhost: &self.vhost,
            name: &policy.name,
            pattern: policy.pattern.as_str(),
            apply_to: policy.apply_to.name(),
            definition: Table(&policy.definition),
            priority: policy.priority,
        };
        shown.serialize(serializer)
    }
}

/// The policies of a vhost, by name.
fn rows(api: &Api, vhost: &Arc<str>, scope: PolicyScope) -> Vec<Row> {
    let mut policies = api.control.policies(vhost, scope);
    policies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    policies.into_iter().map(|policy| Row { vhost: Arc::clone(vhost), policy }).collect()
}

fn list_all(scope: PolicyScope) -> MethodRouter<Api> {
    get(async move |State(api): State<Api>, Manager(caller): Manager, query: ListQuery| -> Outcome {
        let vhosts = if caller.is_policymaker() { caller.vhosts(&api) } else { Vec::new() };
        query.reply(vhosts.iter().flat_map(|vhost| rows(&api, vhost, scope)).collect())
    })
}

fn list(scope: PolicyScope) -> MethodRouter<Api> {
    get(
        async move |State(api): State<Api>,
                    Policymaker(caller): Policymaker,
                    Path(vhost): Path<String>,
                    query: ListQuery|
                    -> Outcome {
            makes_policies(&api, &caller, &vhost)?;
            query.reply(rows(&api, &vhost.into(), scope))
        },
    )
}

fn makes_policies(api: &Api, caller: &Caller, vhost: &str) -> Result<(), Failure> {
    if api.control.vhost(vhost).is_none() {
        return Err(Failure::no_object());
    }
    if caller.is_administrator() || caller.may_enter(api, vhost) {
        return Ok(());
    }
    Err(Failure::not_yours())
}

async fn show_policy(
    state: State<Api>,
    Policymaker(caller): Policymaker,
    path: Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    show(&state, &caller, path, PolicyScope::User, &query)
}

async fn show_operators(
    state: State<Api>,
    Policymaker(caller): Policymaker,
    path: Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    show(&state, &caller, path, PolicyScope::Operator, &query)
}

fn show(
    api: &Api,
    caller: &Caller,
    Path((vhost, name)): Path<(String, String)>,
    scope: PolicyScope,
    query: &ListQuery,
) -> Outcome {
    makes_policies(api, caller, &vhost)?;
    let policy = api.control.policy(&vhost, scope, &name).ok_or_else(Failure::no_object)?;
    Ok(query.show(&Row { vhost: vhost.into(), policy }))
}

async fn put_policy(
    state: State<Api>,
    Policymaker(caller): Policymaker,
    path: Path<(String, String)>,
    body: Body,
) -> Outcome {
    put(&state, &caller, path, PolicyScope::User, &body).await
}

async fn put_operators(
    state: State<Api>,
    Administrator(caller): Administrator,
    path: Path<(String, String)>,
    body: Body,
) -> Outcome {
    put(&state, &caller, path, PolicyScope::Operator, &body).await
}

async fn put(
    api: &Api,
    caller: &Caller,
    Path((vhost, name)): Path<(String, String)>,
    scope: PolicyScope,
    body: &Body,
) -> Outcome {
    if api.control.vhost(&vhost).is_none() {
        return Err(Failure::not_found("vhost_not_found"));
    }
    makes_policies(api, caller, &vhost)?;
    let spec = spec(body)?;
    let is_new = api.control.set_policy(&vhost, scope, &name, spec).await.map_err(refused)?;
    Ok(reply::put(is_new))
}

/// A policy in a body.
pub(in crate::management) fn spec(body: &Body) -> Result<PolicySpec, Failure> {
    body.need(&["pattern", "definition"])?;
    let pattern = match &body.0["pattern"] {
        Value::String(pattern) => pattern.clone(),
        other => return Err(invalid(&format!("pattern should be a binary but was {other}"))),
    };
    let priority = match body.get("priority") {
        None => 0,
        Some(value) => value
            .as_i64()
            .ok_or_else(|| invalid(&format!("priority should be a number, actually was {value}")))?,
    };
    let definition = body.object("definition")?;
    if definition.is_empty() {
        return Err(invalid("no policy provided"));
    }
    let definition = table_from_json(&Value::Object(definition)).map_err(Failure::bad_request)?;
    let apply_to = body.text("apply-to")?.unwrap_or_default().to_owned();
    Ok(PolicySpec { pattern, apply_to, priority, definition })
}

/// RabbitMQ's form of what a parameter's checks found.
pub(super) fn invalid(reason: &str) -> Failure {
    Failure::bad_request(format!("Validation failed\n\n{reason}\n"))
}

fn refused(error: ControlError) -> Failure {
    match error {
        ControlError::Invalid(reason) => invalid(&reason),
        other => other.into(),
    }
}

async fn delete_policy(
    state: State<Api>,
    Policymaker(caller): Policymaker,
    path: Path<(String, String)>,
) -> Outcome {
    delete(&state, &caller, path, PolicyScope::User).await
}

async fn delete_operators(
    state: State<Api>,
    Administrator(caller): Administrator,
    path: Path<(String, String)>,
) -> Outcome {
    delete(&state, &caller, path, PolicyScope::Operator).await
}

async fn delete(
    api: &Api,
    caller: &Caller,
    Path((vhost, name)): Path<(String, String)>,
    scope: PolicyScope,
) -> Outcome {
    makes_policies(api, caller, &vhost)?;
    api.control.clear_policy(&vhost, scope, &name).await.map_err(|error| match error {
        ControlError::NotFound(_) => Failure::no_object(),
        other => other.into(),
    })?;
    Ok(reply::no_content())
}
