//! `POST publish` and `POST get` (RabbitMQ: HTTP API Reference).

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::super::http::{Api, Body, Failure, Manager, Outcome, reply};
use super::enters_queue;
use super::payload::{Encoding, body_of, number, properties_of, properties_to_json};
use crate::node::{AckMode, GotMessage, Publication};

/// The default exchange's name in paths.
const DEFAULT_EXCHANGE: &str = "amq.default";

pub(super) async fn publish(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path((vhost, exchange)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    caller.enters(&api, &vhost)?;
    let exchange = if exchange == DEFAULT_EXCHANGE { String::new() } else { exchange };
    if !exchange.is_empty() && api.control.exchange(&vhost, &exchange).is_none() {
        return Err(Failure::no_object());
    }
    body.need(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let publication = Publication {
        vhost,
        exchange,
        routing_key: body.text("routing_key")?.unwrap_or_default().to_owned(),
        properties: properties_of(&body)?,
        body: body_of(&body)?,
    };
    let routed = api.control.publish(caller.name(), &publication).await?;
    Ok(reply::json(&json!({ "routed": routed })))
}

pub(super) async fn get(
    Manager(caller): Manager,
    State(api): State<Api>,
    Path((vhost, queue)): Path<(String, String)>,
    body: Body,
) -> Outcome {
    enters_queue(&caller, &api, &vhost, &queue)?;
    body.need(&["ackmode", "count", "encoding"])?;
    let mode = body.text("ackmode")?.unwrap_or_default();
    let mode =
        AckMode::of(mode).ok_or_else(|| Failure::bad_request(format!("Unsupported ackmode '{mode}'.")))?;
    let encoding = Encoding::of(body.text("encoding")?)?;
    let count = number(&body, "count")?.unwrap_or(0);
    let truncate = number(&body, "truncate")?;
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let got = api.control.get(caller.name(), (&vhost, &queue), size(count), mode, truncate.map(size)).await?;
    let shown: Vec<_> = got.iter().map(|message| show(message, encoding)).collect();
    Ok(reply::json(&shown))
}

fn show(message: &GotMessage, encoding: Encoding) -> Value {
    let (payload, payload_encoding) = encoding.write(&message.body);
    json!({
        "payload_bytes": message.body_bytes,
        "redelivered": message.redelivered,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "message_count": message.message_count,
        "properties": properties_to_json(&message.properties),
        "payload": payload,
        "payload_encoding": payload_encoding,
    })
}
