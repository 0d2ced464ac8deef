//! Exchanges.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::numbers::{Rate, shown};
use super::rights::Rights;
use super::shape::{Table, exchange_name};
use crate::management::http::{Api, Body, Caller, Failure, ListQuery, Manager, Outcome, Parameters, reply};
use crate::management::json::table_from_json;
use crate::node::statistics::ExchangeNumbers;
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
    policy: Option<String>,
    passed: Option<Passed>,
    is_alone: bool,
}

/// What passed an exchange.
#[derive(Clone, Debug, Serialize)]
struct Passed {
    publish_in: u64,
    publish_in_details: Rate,
    publish_out: u64,
    publish_out_details: Rate,
}

impl Passed {
    fn of(numbers: &ExchangeNumbers) -> Self {
        let [rate_in, rate_out] = numbers.rates.map(shown);
        Self {
            publish_in: numbers.counts.publish_in,
            publish_in_details: Rate::Now(rate_in),
            publish_out: numbers.counts.publish_out,
            publish_out_details: Rate::Now(rate_out),
        }
    }
}

/// What passed exchanges, by vhost and name.
type AllPassed = HashMap<(String, String), Passed>;

async fn all_passed(api: &Api) -> AllPassed {
    let all = api.control.exchange_numbers().await.all;
    all.into_iter()
        .map(|numbers| {
            let passed = Passed::of(&numbers);
            ((numbers.vhost, numbers.name), passed)
        })
        .collect()
}

#[derive(Serialize)]
struct Shown<'a> {
    arguments: Table<'a>,
    auto_delete: bool,
    durable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<[(); 0]>,
    internal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<&'a Passed>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_who_performed_action: Option<&'static str>,
    vhost: &'a str,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Exchange { name, spec, predeclared, .. } = &self.exchange;
        let view = Shown {
            arguments: Table(&spec.arguments),
            auto_delete: spec.auto_delete,
            durable: spec.durable,
            incoming: self.is_alone.then_some([]),
            internal: spec.internal,
            message_stats: self.passed.as_ref(),
            name,
            outgoing: self.is_alone.then_some([]),
            policy: self.policy.as_deref(),
            kind: &spec.kind,
            user_who_performed_action: predeclared.then_some("rmq-internal"),
            vhost: &self.vhost,
        };
        view.serialize(serializer)
    }
}

/// The default exchange, which is built into routing.
fn default_exchange() -> Exchange {
    let spec = ExchangeSpec { kind: "direct".to_owned(), durable: true, ..ExchangeSpec::default() };
    Exchange { name: "".into(), spec, predeclared: true }
}

fn row(api: &Api, vhost: &Arc<str>, exchange: Exchange, passed: &mut AllPassed) -> Row {
    let passed = passed.remove(&(vhost.to_string(), exchange.name.to_string()));
    let policy = api.control.exchange_policy(vhost, &exchange.name).and_then(|found| found.policy);
    Row { vhost: Arc::clone(vhost), exchange, policy, passed, is_alone: false }
}

fn rows(api: &Api, vhost: &Arc<str>, passed: &mut AllPassed) -> Vec<Row> {
    let all = std::iter::once(default_exchange()).chain(api.control.exchanges(vhost));
    all.map(|exchange| row(api, vhost, exchange, passed)).collect()
}

async fn list_all(State(api): State<Api>, Manager(caller): Manager, query: ListQuery) -> Outcome {
    let vhosts = caller.vhosts(&api);
    let mut passed = all_passed(&api).await;
    query.reply(vhosts.iter().flat_map(|vhost| rows(&api, vhost, &mut passed)).collect())
}

async fn list(
    State(api): State<Api>,
    Manager(caller): Manager,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Outcome {
    caller.sees(&api, &vhost)?;
    let mut passed = all_passed(&api).await;
    query.reply(rows(&api, &vhost.into(), &mut passed))
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
    let row = row(&api, &vhost.into(), exchange, &mut all_passed(&api).await);
    Ok(query.show(&Row { is_alone: true, ..row }))
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
