//! What a dead-lettered message looks like: `x-death` and its companions (RabbitMQ: Dead Letter Exchanges, Effects).

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, LongString};

use super::batch::Message;
use super::queue::DeathReason;
use crate::protocol::properties::{self, Edit, Properties};
use crate::protocol::table;

const X_DEATH: &[u8] = b"x-death";
const FIRST: [&str; 3] = ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"];
const LAST: [&str; 3] = ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"];

/// A death: where, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// The queue that the message leaves.
    pub queue: &'a str,
    /// Why it leaves.
    pub reason: DeathReason,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The new routing key, when the queue names one.
    pub routing_key: Option<&'a str>,
}

/// The content header of a message after a death. `None` when the old header cannot be read.
#[must_use]
pub fn header_after(message: &Message<'_>, death: &Death<'_>) -> Option<Vec<u8>> {
    let properties = Properties::parse(message.header).ok()?;
    let old = properties.headers.unwrap_or_default();
    let deaths = deaths_after(old, message, &properties, death);
    let mut headers = Vec::with_capacity(old.len() + 256);
    for field in table::fields(old).flatten() {
        let replaced = field.name == X_DEATH || LAST.iter().any(|name| name.as_bytes() == field.name);
        let rerouted = death.routing_key.is_some() && field.name == b"CC";
        if !replaced && !rerouted {
            table::put_raw(&mut headers, &field);
        }
    }
    table::put_field(&mut headers, X_DEATH, &AMQPValue::FieldArray(FieldArray::from(deaths)));
    let facts =
        [text(death.queue.as_bytes()), text(death.reason.as_str().as_bytes()), text(message.exchange)];
    for (names, always) in [(FIRST, false), (LAST, true)] {
        if always || table::find(old, names[0].as_bytes()).is_none() {
            for (name, fact) in names.iter().zip(&facts) {
                table::put_field(&mut headers, name.as_bytes(), fact);
            }
        }
    }
    let edit = Edit { headers: Some(&headers), drop_expiration: true, ..Edit::default() };
    properties::rewrite(message.header, &edit).ok()
}

/// Whether the message has gone round without anybody having refused it: such cycles end (RabbitMQ: Dead Letter
/// Exchanges, Automatic Dead-lettering Cycles).
#[must_use]
pub fn is_cycle(header: &[u8], queue: &str) -> bool {
    let Ok(properties) = Properties::parse(header) else { return false };
    let deaths = events(properties.headers.unwrap_or_default());
    let Some(met) = deaths.iter().position(|death| field_is(death, "queue", queue)) else { return false };
    deaths.iter().take(met + 1).all(|death| !field_is(death, "reason", DeathReason::Rejected.as_str()))
}

/// The events of `x-death`, latest first: the same queue and reason count up, and move to the front.
fn deaths_after(
    headers: &[u8],
    message: &Message<'_>,
    properties: &Properties<'_>,
    death: &Death<'_>,
) -> Vec<AMQPValue> {
    let mut deaths = events(headers);
    let same = deaths.iter().position(|event| {
        field_is(event, "queue", death.queue) && field_is(event, "reason", death.reason.as_str())
    });
    let event = match same.map(|at| deaths.remove(at)) {
        Some(mut event) => {
            let count = match event.inner().get("count") {
                Some(AMQPValue::LongLongInt(count)) => *count,
                _ => 0,
            };
            event.insert("count".into(), AMQPValue::LongLongInt(count.saturating_add(1)));
            event
        }
        None => first_event(headers, message, properties, death),
    };
    deaths.insert(0, event);
    deaths.into_iter().map(AMQPValue::FieldTable).collect()
}

fn first_event(
    headers: &[u8],
    message: &Message<'_>,
    properties: &Properties<'_>,
    death: &Death<'_>,
) -> FieldTable {
    let mut event = FieldTable::default();
    event.insert("count".into(), AMQPValue::LongLongInt(1));
    event.insert("reason".into(), text(death.reason.as_str().as_bytes()));
    event.insert("queue".into(), text(death.queue.as_bytes()));
    event.insert("time".into(), AMQPValue::Timestamp(death.at_ms / 1000));
    event.insert("exchange".into(), text(message.exchange));
    let mut keys = vec![text(message.routing_key)];
    if let Some(cc) = table::find(headers, b"CC") {
        keys.extend(
            cc.items().filter(|(kind, _)| *kind == b'S').filter_map(|(_, key)| Some(text(key.get(4..)?))),
        );
    }
    event.insert("routing-keys".into(), AMQPValue::FieldArray(FieldArray::from(keys)));
    if let Some(expiration) = properties.expiration {
        event.insert("original-expiration".into(), text(expiration));
    }
    event
}

fn events(headers: &[u8]) -> Vec<FieldTable> {
    match table::find(headers, X_DEATH).and_then(|field| field.to_value()) {
        Some(AMQPValue::FieldArray(events)) => events
            .as_slice()
            .iter()
            .filter_map(|event| match event {
                AMQPValue::FieldTable(event) => Some(event.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn field_is(event: &FieldTable, name: &str, value: &str) -> bool {
    matches!(event.inner().get(name), Some(AMQPValue::LongString(text)) if text.as_bytes() == value.as_bytes())
}

fn text(bytes: &[u8]) -> AMQPValue {
    AMQPValue::LongString(LongString::from(bytes))
}
