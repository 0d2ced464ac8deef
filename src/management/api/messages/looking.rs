//! Looking into a queue: a page of it, or what a filter finds. Nothing changes by it.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::http::{Api, Body, Failure, Manager, Outcome, reply};
use super::enters_queue;
use super::payload::{Encoding, number, properties_to_json};
use crate::node::{Findings, FoundMessage, MessageFilter, QueueName, Search};

/// Messages that are shown if nobody says how many, and at most.
const COUNT: u64 = 50;
const COUNT_MAX: u64 = 10_000;
/// How long a search may take if nobody says so.
const BUDGET_MS: u64 = 5000;
/// What is shown of a body if nobody says how much.
const TRUNCATE_BYTES: u64 = 50_000;

/// The query of a peek.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Peek {
    count: Option<u64>,
    offset: Option<u64>,
    from: Option<u64>,
    truncate: Option<u64>,
    encoding: Option<String>,
}

pub(super) async fn peek(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path((vhost, queue)): Path<(String, String)>,
    query: Result<Query<Peek>, axum::extract::rejection::QueryRejection>,
) -> Outcome {
    enters_queue(&caller, &api, &vhost, &queue)?;
    let Query(query) = query.map_err(|problem| Failure::bad_request(problem.body_text()))?;
    let encoding = Encoding::of(query.encoding.as_deref())?;
    let asked = Asked {
        count: query.count,
        offset: query.offset,
        from: query.from,
        truncate: query.truncate,
        budget_ms: None,
    };
    let search = asked.search(MessageFilter::default());
    let findings = api.control.search(caller.name(), &QueueName { vhost, queue }, search).await?;
    Ok(reply::json(&show(&findings, encoding)))
}

pub(super) async fn search(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path((vhost, queue)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    enters_queue(&caller, &api, &vhost, &queue)?;
    let encoding = Encoding::of(body.text("encoding")?)?;
    let asked = Asked {
        count: number(&body, "count")?,
        offset: number(&body, "offset")?,
        from: number(&body, "from")?,
        truncate: number(&body, "truncate")?,
        budget_ms: number(&body, "budget_ms")?,
    };
    let search = asked.search(filter_of(&body)?.unwrap_or_default());
    let findings = api.control.search(caller.name(), &QueueName { vhost, queue }, search).await?;
    Ok(reply::json(&show(&findings, encoding)))
}

struct Asked {
    count: Option<u64>,
    offset: Option<u64>,
    from: Option<u64>,
    truncate: Option<u64>,
    budget_ms: Option<u64>,
}

impl Asked {
    fn search(self, filter: MessageFilter) -> Search {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Search {
            filter,
            from: self.from.unwrap_or(0),
            offset: self.offset.unwrap_or(0),
            limit: size(self.count.unwrap_or(COUNT).min(COUNT_MAX)),
            budget_ms: self.budget_ms.unwrap_or(BUDGET_MS),
            body_bytes_max: size(self.truncate.unwrap_or(TRUNCATE_BYTES)),
        }
    }
}

/// What a request means by `filter`, or by `ids`; `None` when it has neither.
pub(super) fn filter_of(body: &Body) -> Result<Option<MessageFilter>, Failure> {
    let filter = match body.get("filter") {
        None => None,
        Some(filter) => {
            let read = serde_json::from_value::<MessageFilter>(filter.clone());
            Some(read.map_err(|problem| Failure::bad_request(format!("filter: {problem}")))?)
        }
    };
    let Some(ids) = body.get("ids") else { return Ok(filter) };
    let ids = serde_json::from_value(ids.clone())
        .map_err(|problem| Failure::bad_request(format!("ids: {problem}")))?;
    Ok(Some(MessageFilter { numbers: Some(ids), ..filter.unwrap_or_default() }))
}

fn show(findings: &Findings, encoding: Encoding) -> Value {
    let messages: Vec<_> = findings.messages.iter().map(|message| show_one(message, encoding)).collect();
    json!({
        "messages": messages,
        "looked_at": findings.looked_at,
        "next": findings.next,
        "out_of_time": findings.is_out_of_time,
    })
}

fn show_one(message: &FoundMessage, encoding: Encoding) -> Value {
    let (payload, payload_encoding) = encoding.write(&message.body);
    json!({
        "id": message.number,
        "state": message.state,
        "redelivered": message.redelivered,
        "delivery_count": message.returns,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "arrived_ms": message.arrived_ms,
        "expires_ms": message.due_ms,
        "properties": properties_to_json(&message.properties()),
        "payload_bytes": message.body_bytes,
        "payload": payload,
        "payload_encoding": payload_encoding,
    })
}
