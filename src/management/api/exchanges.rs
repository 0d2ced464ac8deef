//! Exchanges.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::rights::Rights;
use super::shape::{Table, exchange_name};
use crate::management::http::{Api, Body, Caller, Failure, ListQuery, Manager, Outcome, Parameters, reply};
use crate::management::json::table_from_json;
use crate::node::{Exchange, ExchangeSpec};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/exchanges", get(list_all))
        .route("/api/exchanges/{vhost}", get(list))
        .route("/api/exchanges/{vhost}/{exchange}", get(show).put(declare).delete(delete))
}

struct Row {
    vhost: Arc<str>,
    exchange: Exchange,
    is_alone: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    arguments: Table<'a>,
    auto_delete: bool,
    durable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<[(); 0]>,
    internal: bool,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_who_performed_action: Option<&'static str>,
    vhost: &'a str,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Exchange { name, spec, predeclared, .. } = &self.exchange;
        let shown = Shown {
            arguments: Table(&spec.arguments),
            auto_delete: spec.auto_delete,
            durable: spec.durable,
            incoming: self.is_alone.then_some([]),
            internal: spec.internal,
            name,
            outgoing: self.is_alone.then_some([]),
            policy: None,
            kind: &spec.kind,
            user_who_performed_action: predeclared.then_some("rmq-internal"),
            vhost: &self.vhost,
        };
        shown.serialize(serializer)
    }
}

/// The default exchange, which is built into routing.
fn default_exchange() -> Exchange {
    let spec = ExchangeSpec { kind: "direct".to_owned(), durable: true, ..ExchangeSpec::default() };
    Exchange { name: "".into(), spec, predeclared: true }
}

fn rows(api: &Api, vhost: &Arc<str>) -> impl Iterator<Item = Row> {
    let all = std::iter::once(default_exchange()).chain(api.control.exchanges(vhost));
    let vhost = Arc::clone(vhost);
    all.map(move |exchange| Row { vhost: Arc::clone(&vhost), exchange, is_alone: false })
}

async fn list_all(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let vhosts = caller.vhosts(&api);
    query.reply(vhosts.iter().flat_map(|vhost| rows(&api, vhost)).collect())
}

async fn list(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    query.reply(rows(&api, &vhost.into()).collect())
}

fn find(api: &Api, vhost: &str, name: &str) -> Result<Exchange, Failure> {
    if name.is_empty() {
        return Ok(default_exchange());
    }
    api.control.exchange(vhost, name).ok_or_else(Failure::no_object)
}

async fn show(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let exchange = find(&api, &vhost, &exchange_name(name))?;
    Ok(query.show(&Row { vhost: vhost.into(), exchange, is_alone: true }))
}

/// Where something is declared: the vhost must be there and open to the caller.
pub(super) fn declares_in(api: &Api, caller: &Caller, vhost: &str) -> Result<(), Failure> {
    if api.control.vhost(vhost).is_none() {
        return Err(Failure::not_found("vhost_not_found"));
    }
    caller.enters(api, vhost)
}

async fn declare(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    declares_in(&api, &caller, &vhost)?;
    let name = exchange_name(name);
    let arguments = Value::Object(body.object("arguments")?);
    let spec = ExchangeSpec {
        kind: body.text("type")?.unwrap_or("direct").to_owned(),
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments: table_from_json(&arguments).map_err(Failure::bad_request)?,
    };
    Rights::new(&api, &caller, &vhost).declare_exchange(&name, &spec.arguments)?;
    Ok(reply::put(api.control.declare_exchange(&vhost, &name, spec).await?))
}

async fn delete(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    let name = exchange_name(name);
    find(&api, &vhost, &name)?;
    Rights::new(&api, &caller, &vhost).configure_exchange(&name)?;
    api.control.delete_exchange(&vhost, &name, parameters.is_set("if-unused")).await?;
    Ok(reply::no_content())
}
