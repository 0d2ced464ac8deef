//! The keys a policy may have, and what each may hold, in RabbitMQ's words (rabbit_policies, rabbit_quorum_queue).

use std::fmt::Write as _;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{Pattern, PolicyScope};
use crate::broker::arguments::{QueueType, erlang_term, integer};

/// The largest segment of a stream, in bytes.
const STREAM_SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// One key of a definition.
struct Key {
    name: &'static str,
    check: Check,
    /// What the refusal says behind the value.
    reason: &'static str,
    /// Whether an operator's policy may have it.
    operator: bool,
    /// The type of queue that does not have it, so that a policy with it is not for such a queue.
    strange_to: Option<Strange>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strange {
    Classic,
    Quorum,
    Both,
}

#[derive(Clone, Copy)]
enum Check {
    Any,
    Integer,
    AtLeast(i64),
    Between(i64, i64),
    Text,
    NotEmpty,
    OneOf(&'static [&'static str]),
    MaxAge,
    Pattern,
}

const EXCHANGE_NAME: &str = "is not a valid alternate exchange name";
const MEMORY: &str = "is not a valid maximum memory in bytes";
const LOCATORS: Check = Check::OneOf(&["client-local", "balanced", "random", "least-leaders", "min-masters"]);

const KEYS: &[Key] = &[
    key("alternate-exchange", Check::Text, EXCHANGE_NAME),
    key("consumer-disconnected-timeout", Check::AtLeast(0), "is not a valid consumer disconnected timeout"),
    key("consumer-timeout", Check::AtLeast(0), "is not a valid consumer timeout"),
    key("dead-letter-exchange", Check::Text, "is not a valid dead letter exchange name"),
    key("dead-letter-routing-key", Check::Text, "is not a valid dead letter routing key"),
    key(
        "dead-letter-strategy",
        Check::OneOf(&["at-most-once", "at-least-once"]),
        "is not a valid dead letter strategy",
    )
    .strange(Strange::Classic),
    both("delayed-retry-max", Check::AtLeast(1), DELAY_MAX),
    both("delayed-retry-min", Check::AtLeast(1), DELAY_MIN),
    both("delayed-retry-type", Check::OneOf(&["all", "failed", "returned", "disabled"]), DELAY_TYPE),
    both("delivery-limit", Check::Integer, "is not a valid delivery limit"),
    both("expires", Check::AtLeast(1), "is not a valid queue expiry"),
    key("federation-upstream", Check::Text, "is not a valid federation upstream name"),
    key("federation-upstream-pattern", Check::Pattern, "is not a valid federation upstream pattern name"),
    key("federation-upstream-set", Check::Text, "is not a valid federation upstream set name"),
    both("ha-mode", Check::OneOf(&["all", "exactly", "nodes"]), "is not a valid ha-mode value")
        .strange(Strange::Quorum),
    both("ha-params", Check::Any, "").strange(Strange::Quorum),
    both("ha-promote-on-failure", Check::Any, "").strange(Strange::Quorum),
    both("ha-promote-on-shutdown", Check::Any, "").strange(Strange::Quorum),
    both("ha-sync-batch-size", Check::Any, "").strange(Strange::Quorum),
    both("ha-sync-mode", Check::Any, "").strange(Strange::Quorum),
    key("initial-cluster-size", Check::AtLeast(0), "is not a valid cluster size").strange(Strange::Both),
    key("max-age", Check::MaxAge, "is not a valid max age").strange(Strange::Both),
    both("max-in-memory-bytes", Check::AtLeast(0), MEMORY).strange(Strange::Classic),
    both("max-in-memory-length", Check::AtLeast(0), MEMORY).strange(Strange::Classic),
    both("max-length", Check::AtLeast(0), "is not a valid maximum length"),
    both("max-length-bytes", Check::AtLeast(0), "is not a valid maximum length in bytes"),
    both("member-placement-tag", Check::NotEmpty, PLACEMENT_TAG),
    both("message-ttl", Check::AtLeast(0), "is not a valid message TTL"),
    both(
        "overflow",
        Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "is not a valid overflow value",
    ),
    key("queue-leader-locator", LOCATORS, "is not a valid queue leader locator value"),
    both("queue-master-locator", LOCATORS, "is not a valid master locator").strange(Strange::Quorum),
    key("queue-mode", Check::OneOf(&["default", "lazy"]), "is not a valid queue-mode value")
        .strange(Strange::Quorum),
    both("queue-version", Check::Between(1, 2), "is not a valid queue-version value"),
    key("routing-key", Check::Text, "is not a valid routing key"),
    key("shards-per-node", Check::AtLeast(0), "is not a valid number of shards"),
    key("stream-filter-size-bytes", Check::Between(16, 255), FILTER_SIZE),
    key(
        "stream-max-segment-size-bytes",
        Check::Between(0, STREAM_SEGMENT_BYTES_MAX),
        "is not a valid segment size",
    )
    .strange(Strange::Both),
    both("target-group-size", Check::AtLeast(1), "is not a valid qq target count value")
        .strange(Strange::Classic),
];

const DELAY_MAX: &str = "is not a valid delayed retry maximum delay. Must be a positive integer";
const DELAY_MIN: &str = "is not a valid delayed retry minimum delay. Must be a positive integer";
const DELAY_TYPE: &str = "is not a valid delayed retry type. Must be one of: all, failed, returned, disabled";
const PLACEMENT_TAG: &str = "is not a valid member-placement-tag value. Must be a non-empty string";
const FILTER_SIZE: &str = "is not a valid filter size. Valid range is 16-255";

const fn key(name: &'static str, check: Check, reason: &'static str) -> Key {
    Key { name, check, reason, operator: false, strange_to: None }
}

/// A key of operators' policies as well.
const fn both(name: &'static str, check: Check, reason: &'static str) -> Key {
    Key { name, check, reason, operator: true, strange_to: None }
}

impl Key {
    const fn strange(self, strange_to: Strange) -> Self {
        Self { strange_to: Some(strange_to), ..self }
    }
}

impl Check {
    fn holds(self, value: &AMQPValue) -> bool {
        match self {
            Self::Any => true,
            Self::Integer => integer(value).is_some(),
            Self::AtLeast(least) => integer(value).is_some_and(|number| number >= least),
            Self::Between(least, most) => {
                integer(value).is_some_and(|number| (least..=most).contains(&number))
            }
            Self::Text => text(value).is_some(),
            Self::NotEmpty => text(value).is_some_and(|text| !text.is_empty()),
            Self::OneOf(words) => text(value).is_some_and(|text| words.contains(&text)),
            Self::MaxAge => text(value).is_some_and(is_max_age),
            Self::Pattern => text(value).is_some_and(|text| Pattern::new(text.to_owned()).is_ok()),
        }
    }
}

fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

/// A number and a unit, such as `7D`.
fn is_max_age(text: &str) -> bool {
    let number = text.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']).unwrap_or_default();
    number.bytes().all(|digit| digit.is_ascii_digit()) && number.parse::<u64>().is_ok_and(|number| number > 0)
}

/// Whether queues of this type do not have the key.
pub(super) fn is_strange_to(name: &str, queue_type: QueueType) -> bool {
    let strange_to = find(name).and_then(|key| key.strange_to);
    match queue_type {
        QueueType::Classic => matches!(strange_to, Some(Strange::Classic | Strange::Both)),
        QueueType::Quorum => matches!(strange_to, Some(Strange::Quorum | Strange::Both)),
    }
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().and_then(|at| KEYS.get(at))
}

/// Checks a definition.
///
/// # Errors
/// The first reason against it, in RabbitMQ's words.
pub(super) fn check(definition: &FieldTable, scope: PolicyScope) -> Result<(), String> {
    let terms = definition.inner();
    if terms.is_empty() {
        return Err("no policy provided".to_owned());
    }
    let known = |name: &str| find(name).filter(|key| key.operator || scope == PolicyScope::User);
    let mut unknown = Vec::new();
    for (name, value) in terms {
        match known(name.as_str()) {
            Some(key) if key.check.holds(value) => {}
            Some(key) => return Err(format!("{} {}", json_term(value), key.reason)),
            None => unknown.push(format!("{{<<\"{name}\">>,{}}}", json_term(value))),
        }
    }
    check_retries(definition)?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!("[{}] are not recognised policy settings", unknown.join(",")))
}

fn check_retries(definition: &FieldTable) -> Result<(), String> {
    let number = |name: &str| definition.inner().get(name).and_then(integer);
    let (least, most) = (number("delayed-retry-min"), number("delayed-retry-max"));
    let kind = definition.inner().get("delayed-retry-type").and_then(text);
    if let Some(kind) = kind.filter(|kind| *kind != "disabled" && least.is_none()) {
        return Err(format!("delayed-retry-min is required when delayed-retry-type is {kind}"));
    }
    match (least, most) {
        (Some(least), Some(most)) if most < least => {
            Err(format!("delayed-retry-max ({most}) must not be smaller than delayed-retry-min ({least})"))
        }
        _ => Ok(()),
    }
}

/// A value that came as JSON, as an Erlang term: its lists carry no types.
fn json_term(value: &AMQPValue) -> String {
    let AMQPValue::FieldArray(items) = value else { return erlang_term(value) };
    let mut out = "[".to_owned();
    for (at, item) in items.as_slice().iter().enumerate() {
        let _ = write!(out, "{}{}", if at == 0 { "" } else { "," }, erlang_term(item));
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_halving() {
        assert!(KEYS.is_sorted_by(|one, other| one.name < other.name));
    }
}
