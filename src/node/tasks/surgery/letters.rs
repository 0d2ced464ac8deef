//! What a message looks like where it goes, and where that is.

use amq_protocol::types::AMQPValue;

use crate::broker::batch::Message;
use crate::broker::ids::Target;
use crate::broker::topology::RouteQuery;
use crate::node::shared::Shared;
use crate::node::surgery::order::{Destination, JobSpec};
use crate::protocol::properties::Properties;
use crate::protocol::table;

/// A copy of a message, and where it goes.
pub(super) struct Letter {
    pub(super) record: Vec<u8>,
    pub(super) persistent: bool,
    pub(super) targets: Vec<Target>,
}

/// Whether a job's destination is there.
pub(super) fn check(shared: &Shared, spec: &JobSpec) -> Result<(), String> {
    let (vhost, topology) = (&spec.name.vhost, shared.topology());
    match spec.action.destination() {
        Some(Destination::Queue(name)) if topology.queue(vhost, name).is_none() => {
            Err(format!("no queue '{name}' in vhost '{vhost}'"))
        }
        Some(Destination::Exchange(name, _)) if topology.exchange(vhost, name).is_none() => {
            Err(format!("no exchange '{name}' in vhost '{vhost}'"))
        }
        _ => Ok(()),
    }
}

/// A message as it goes on.
///
/// # Errors
/// Why it has to stay.
pub(super) fn letter(
    shared: &Shared,
    vhost: &str,
    to: &Destination,
    old: &Message<'_>,
    now_ms: u64,
) -> Result<Letter, String> {
    let properties = Properties::parse(old.header).unwrap_or_default();
    let (mut exchange, mut key) = (text(old.exchange), text(old.routing_key));
    let targets = match to {
        Destination::Queue(name) => queue(shared, vhost, name)?,
        Destination::Exchange(name, other_key) => {
            exchange.clone_from(name);
            other_key.iter().for_each(|other| key.clone_from(other));
            route(shared, vhost, (&exchange, &key), &properties)?
        }
        Destination::FirstDeathQueue => {
            let death = first_death(&properties).ok_or_else(never_died)?;
            (exchange, key) = (death.exchange, death.key);
            queue(shared, vhost, &death.queue)?
        }
        Destination::FirstDeathExchange => {
            let death = first_death(&properties).ok_or_else(never_died)?;
            (exchange, key) = (death.exchange, death.key);
            route(shared, vhost, (&exchange, &key), &properties)?
        }
    };
    let lives_ms = old.due_ms.map(|due_ms| due_ms.saturating_sub(old.enqueued_ms));
    let message = Message {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        enqueued_ms: now_ms,
        due_ms: lives_ms.map(|lives_ms| now_ms.saturating_add(lives_ms)),
        ..*old
    };
    let mut record = Vec::with_capacity(message.length());
    message.put(&mut record);
    Ok(Letter { record, persistent: old.persistent, targets })
}

fn never_died() -> String {
    "a message says nothing of where it died first (x-first-death-queue, x-death)".to_owned()
}

fn queue(shared: &Shared, vhost: &str, name: &str) -> Result<Vec<Target>, String> {
    let topology = shared.topology();
    let entry = topology.queue(vhost, name);
    entry.map(|entry| vec![entry.target()]).ok_or_else(|| format!("no queue '{name}' in vhost '{vhost}'"))
}

/// The queues that an exchange gives a message to. What its sender asked for beside the routing key is over: it had its effect.
fn route(
    shared: &Shared,
    vhost: &str,
    (exchange, key): (&str, &str),
    properties: &Properties<'_>,
) -> Result<Vec<Target>, String> {
    let query = RouteQuery {
        vhost,
        exchange,
        keys: &[key],
        properties: Some(properties),
        allow_internal: true,
        // It was delayed already, if it was to be.
        is_due: true,
    };
    let mut targets = Vec::new();
    let routed = shared.topology().route(&query, &mut targets);
    routed.map_err(|_| format!("no exchange '{exchange}' in vhost '{vhost}'"))?;
    if targets.is_empty() {
        return Err(format!("exchange '{exchange}' has no queue for routing key '{key}'"));
    }
    Ok(targets)
}

/// Where a message was before it died first.
struct FirstDeath {
    queue: String,
    exchange: String,
    key: String,
}

fn first_death(properties: &Properties<'_>) -> Option<FirstDeath> {
    let headers = properties.headers?;
    let named = |name: &[u8]| table::find(headers, name).and_then(|field| field.as_str().map(str::to_owned));
    let AMQPValue::FieldArray(deaths) = table::find(headers, b"x-death")?.to_value()? else { return None };
    let deaths: Vec<_> = deaths.as_slice().iter().filter_map(death).collect();
    let (queue, exchange) = (named(b"x-first-death-queue"), named(b"x-first-death-exchange"));
    let is_first = |death: &&FirstDeath| {
        queue.as_ref().is_some_and(|queue| *queue == death.queue)
            && exchange.as_ref().is_none_or(|exchange| *exchange == death.exchange)
    };
    // The latest death stands first.
    let first = deaths.iter().rev().find(is_first).or_else(|| deaths.last())?;
    Some(FirstDeath {
        queue: queue.unwrap_or_else(|| first.queue.clone()),
        exchange: first.exchange.clone(),
        key: first.key.clone(),
    })
}

fn death(value: &AMQPValue) -> Option<FirstDeath> {
    let AMQPValue::FieldTable(table) = value else { return None };
    let field = |name: &str| match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    };
    let key = match table.inner().get("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => match keys.as_slice().first() {
            Some(AMQPValue::LongString(key)) => String::from_utf8_lossy(key.as_bytes()).into_owned(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    Some(FirstDeath { queue: field("queue")?, exchange: field("exchange").unwrap_or_default(), key })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
