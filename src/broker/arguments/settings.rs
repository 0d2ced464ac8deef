//! A queue's settings: its arguments, checked and typed.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::deduplication::Deduplication;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::retry::{RetrySettings, RetryType};
use super::validate::{KNOWN, Known};
use super::value::{integer, type_name};
use super::{object_text, read_deduplication};

/// Deliveries after which a quorum queue gives a message up, unless its argument says otherwise.
const QUORUM_DELIVERY_LIMIT: u64 = 20;

/// What the arguments of a queue ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// `x-message-ttl`: how long a message may wait, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`: how long the queue may be unused, in milliseconds.
    pub expires_ms: Option<u64>,
    /// `x-dead-letter-exchange`; empty is the default exchange.
    pub dead_letter_exchange: Option<String>,
    /// `x-dead-letter-routing-key`; none keeps the message's own.
    pub dead_letter_routing_key: Option<String>,
    /// `x-max-length`: how many messages may be ready.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: how many bytes of bodies may be ready.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`: what gives way at the limit.
    pub overflow: Overflow,
    /// `x-max-priority`; none ignores priorities.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: how often a message may come back; the largest number when that is only counted.
    pub delivery_limit: Option<u64>,
    /// `x-delayed-retry-type` and what belongs to it.
    pub retry: RetrySettings,
    /// `x-consumer-timeout`: how long a delivery may be unacknowledged, in milliseconds; 0 is for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-message-deduplication` and what belongs to it.
    pub deduplication: Option<Deduplication>,
    /// Ids kept for the exchange that the queue belongs to; no argument.
    pub ids_kept: Option<usize>,
    /// `x-queue-type`.
    pub queue_type: QueueType,
}

/// What happens to a message that would exceed a length limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest ready messages are dropped.
    #[default]
    DropHead,
    /// The new message is refused.
    RejectPublish,
    /// The new message is refused and dead-lettered.
    RejectPublishDlx,
}

/// The type of a queue; a stream is not served and never gets this far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// One copy on one node.
    #[default]
    Classic,
    /// Durable, never exclusive, never auto-delete.
    Quorum,
}

impl QueueType {
    /// The word in `x-queue-type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    fn lacks(self, known: &Known) -> bool {
        match self {
            Self::Classic => known.not_classic,
            Self::Quorum => known.not_quorum,
        }
    }
}

impl QueueSettings {
    /// Reads the arguments of a new queue.
    ///
    /// # Errors
    /// 406 on the channel, in RabbitMQ's words, for the first argument that is not good.
    pub fn parse(arguments: &FieldTable, name: &str, vhost: &str) -> Result<Self, Refusal> {
        check(arguments, name, vhost)?;
        Ok(Self::under(arguments, &FieldTable::default()))
    }

    /// The settings of arguments that were taken, under the definition of a policy: of two numbers the lower one
    /// holds, else the argument (RabbitMQ: Policies, Parameters and Policies).
    #[must_use]
    pub fn under(arguments: &FieldTable, policy: &FieldTable) -> Self {
        let queue_type = queue_type(arguments);
        let both = Both { arguments, policy };
        Self {
            message_ttl_ms: both.least("x-message-ttl"),
            expires_ms: both.least("x-expires"),
            dead_letter_exchange: both.text("x-dead-letter-exchange"),
            dead_letter_routing_key: both.text("x-dead-letter-routing-key"),
            max_length: both.least("x-max-length"),
            max_length_bytes: both.least("x-max-length-bytes"),
            overflow: overflow(&both, queue_type),
            max_priority: number(arguments, "x-max-priority").and_then(|n| u8::try_from(n).ok()),
            single_active_consumer: flag(arguments, "x-single-active-consumer"),
            delivery_limit: delivery_limit(&both, queue_type),
            retry: both.retry(),
            consumer_timeout_ms: both.least("x-consumer-timeout"),
            deduplication: read_deduplication(arguments),
            ids_kept: None,
            queue_type,
        }
    }

    /// The settings of a queue with these arguments when another policy holds. What is not of its arguments stays.
    #[must_use]
    pub fn under_policy(&self, arguments: &FieldTable, policy: &FieldTable) -> Self {
        debug_assert_eq!(self.queue_type, queue_type(arguments), "the type is an argument alone");
        Self::under(arguments, policy)
    }

    /// Checks the properties that a type of queue must have.
    ///
    /// # Errors
    /// 406 "invalid property", when a quorum queue is not durable, is exclusive or is auto-delete.
    pub fn check_properties(
        &self,
        name: &str,
        vhost: &str,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
    ) -> Result<(), Refusal> {
        if self.queue_type == QueueType::Classic {
            return Ok(());
        }
        let wrong = [(auto_delete, "auto-delete"), (exclusive, "exclusive-owner"), (!durable, "non-durable")];
        let Some((_, property)) = wrong.into_iter().find(|(wrong, _)| *wrong) else {
            return Ok(());
        };
        let queue = object_text("queue", name, vhost);
        Err(refused(format!("invalid property '{property}' for {queue}")))
    }
}

fn check(arguments: &FieldTable, name: &str, vhost: &str) -> Result<(), Refusal> {
    let queue = object_text("queue", name, vhost);
    check_dead_letter_exchange(arguments, &queue)?;
    for known in KNOWN {
        let Some(value) = arguments.inner().get(known.name) else { continue };
        if let Some(reason) = known.check.reason(value, arguments) {
            return Err(refused(format!("invalid arg '{}' for {queue}: {reason}", known.name)));
        }
    }
    check_applicable(arguments, &queue)
}

/// RabbitMQ looks at this one before all others, and words it in another way.
fn check_dead_letter_exchange(arguments: &FieldTable, queue: &str) -> Result<(), Refusal> {
    match arguments.inner().get("x-dead-letter-exchange") {
        None | Some(AMQPValue::LongString(_)) => Ok(()),
        Some(other) => Err(refused(format!(
            "invalid type '{}' for arg 'x-dead-letter-exchange' in {queue}",
            type_name(other)
        ))),
    }
}

/// An argument of another type of queue is refused, as it would otherwise be without effect in silence.
fn check_applicable(arguments: &FieldTable, queue: &str) -> Result<(), Refusal> {
    let queue_type = queue_type(arguments);
    let present = |known: &&Known| arguments.contains_key(known.name);
    match KNOWN.iter().filter(present).find(|known| queue_type.lacks(known)) {
        None => Ok(()),
        Some(known) => Err(refused(format!(
            "invalid arg '{}' for {queue} of queue type rabbit_{}_queue",
            known.name,
            queue_type.name()
        ))),
    }
}

fn refused(text: String) -> Refusal {
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}

fn number(arguments: &FieldTable, name: &str) -> Option<u64> {
    arguments.inner().get(name).and_then(integer).and_then(|number| u64::try_from(number).ok())
}

fn text(arguments: &FieldTable, name: &str) -> Option<String> {
    match arguments.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn flag(arguments: &FieldTable, name: &str) -> bool {
    matches!(arguments.inner().get(name), Some(AMQPValue::Boolean(true)))
}

/// RabbitMQ lets a policy win on quorum queues, the argument on others.
fn overflow(both: &Both<'_>, queue_type: QueueType) -> Overflow {
    let from_policy = || text(both.policy, "overflow");
    let from_argument = || text(both.arguments, "x-overflow");
    let word = match queue_type {
        QueueType::Classic => from_argument().or_else(from_policy),
        QueueType::Quorum => from_policy().or_else(from_argument),
    };
    match word.as_deref() {
        Some("reject-publish") => Overflow::RejectPublish,
        Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
        _ => Overflow::DropHead,
    }
}

fn queue_type(arguments: &FieldTable) -> QueueType {
    match text(arguments, "x-queue-type").as_deref() {
        Some("quorum") => QueueType::Quorum,
        _ => QueueType::Classic,
    }
}

/// With a negative limit returns are counted, and none is too many.
fn delivery_limit(both: &Both<'_>, queue_type: QueueType) -> Option<u64> {
    let (argument, policy) = both.integers("x-delivery-limit");
    let limit = match (argument, policy) {
        (Some(argument), Some(policy)) => Some(least_delivery_limit(argument, policy)),
        (argument, policy) => argument.or(policy),
    };
    let limit = limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX));
    limit.or_else(|| (queue_type == QueueType::Quorum).then_some(QUORUM_DELIVERY_LIMIT))
}

/// The lower of two delivery limits; a negative one is no limit, and then the higher one holds.
pub(crate) fn least_delivery_limit(one: i64, other: i64) -> i64 {
    if one < 0 || other < 0 { one.max(other) } else { one.min(other) }
}

/// Arguments with the definition of a policy, whose keys are the arguments' names without `x-`.
struct Both<'a> {
    arguments: &'a FieldTable,
    policy: &'a FieldTable,
}

impl Both<'_> {
    fn integers(&self, name: &str) -> (Option<i64>, Option<i64>) {
        let argument = self.arguments.inner().get(name).and_then(integer);
        let policy = self.policy.inner().get(name.trim_start_matches("x-")).and_then(integer);
        (argument, policy)
    }

    fn least(&self, name: &str) -> Option<u64> {
        let (argument, policy) = self.integers(name);
        let least = argument.into_iter().chain(policy).min()?;
        u64::try_from(least).ok()
    }

    /// RabbitMQ lets a policy win where the type of retries is concerned.
    fn retry(&self) -> RetrySettings {
        let argument = RetrySettings::of(self.arguments);
        let policy = text(self.policy, "delayed-retry-type");
        RetrySettings {
            kind: policy.map_or(argument.kind, |name| RetryType::from_name(name.as_bytes())),
            min_ms: self.least("x-delayed-retry-min"),
            max_ms: self.least("x-delayed-retry-max"),
            ..argument
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        text(self.arguments, name).or_else(|| text(self.policy, name.trim_start_matches("x-")))
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::LongString;

    use super::*;
    use crate::broker::arguments::RetryType;

    fn string(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    fn parse(pairs: &[(&str, AMQPValue)]) -> Result<QueueSettings, String> {
        let mut arguments = FieldTable::default();
        for (name, value) in pairs {
            arguments.insert((*name).into(), value.clone());
        }
        QueueSettings::parse(&arguments, "q", "/").map_err(|refusal| refusal.reply_text())
    }

    #[test]
    fn refusals_are_worded_as_by_rabbitmq() {
        let int = AMQPValue::LongInt;
        let cases = [
            ("x-message-ttl", int(-1), "{value_negative,-1}"),
            ("x-message-ttl", string("1"), "\"expected integer, got longstr\""),
            ("x-dead-letter-exchange", string(&"x".repeat(256)), "{max_length_exceeded,256}"),
            ("x-message-ttl", AMQPValue::LongLongInt(i64::MAX), "{value_too_big,9223372036854775807}"),
            ("x-expires", int(0), "{value_zero,0}"),
            ("x-expires", int(-1), "{value_negative,-1}"),
            ("x-max-length", int(-1), "{value_negative,-1}"),
            ("x-max-length", string("1"), "\"expected integer, got longstr\""),
            ("x-max-length-bytes", int(-1), "{value_negative,-1}"),
            ("x-overflow", string("nope"), "invalid_overflow"),
            ("x-overflow", int(1), "{unacceptable_type,signedint}"),
            ("x-dead-letter-routing-key", string("k"), "routing_key_but_no_dlx_defined"),
            ("x-max-priority", int(-1), "{value_negative,-1}"),
            ("x-max-priority", int(256), "{max_value_exceeded,256}"),
            ("x-max-priority", string("5"), "\"expected integer, got longstr\""),
            ("x-queue-type", string("nope"), "\"unsupported queue type 'nope'\""),
            ("x-queue-type", int(1), "{unacceptable_type,signedint}"),
            ("x-single-active-consumer", string("true"), "{unacceptable_type,longstr}"),
            ("x-message-deduplication", string("true"), "{unacceptable_type,longstr}"),
            ("x-cache-size", int(0), "{value_zero,0}"),
            ("x-cache-size", int(-1), "{value_negative,-1}"),
            ("x-cache-size", int(1_000_001), "{max_value_exceeded,1000001}"),
            ("x-cache-size", string("many"), "\"expected integer, got longstr\""),
            ("x-cache-ttl", int(0), "{value_zero,0}"),
            ("x-cache-ttl", string("-5"), "{value_negative,-5}"),
            ("x-deduplication-header", int(1), "{unacceptable_type,signedint}"),
        ];
        for (name, value, reason) in cases {
            let expected =
                format!("PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {reason}");
            assert_eq!(parse(&[(name, value)]), Err(expected));
        }
    }

    #[test]
    fn a_dead_letter_exchange_is_a_string() {
        let expected = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in \
                        vhost '/'";
        assert_eq!(parse(&[("x-dead-letter-exchange", AMQPValue::LongInt(1))]), Err(expected.to_owned()));
    }

    #[test]
    fn arguments_of_other_types_are_refused() {
        let classic = parse(&[("x-max-age", string("1h"))]).unwrap_err();
        assert!(classic.ends_with(
            "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
        ));
        let quorum = parse(&[("x-queue-type", string("quorum")), ("x-max-priority", AMQPValue::LongInt(1))]);
        assert!(quorum.unwrap_err().ends_with("of queue type rabbit_quorum_queue"));
    }

    #[test]
    fn good_arguments_become_settings() {
        let settings = parse(&[
            ("x-message-ttl", AMQPValue::LongInt(0)),
            ("x-expires", AMQPValue::ShortInt(7)),
            ("x-dead-letter-exchange", string("")),
            ("x-dead-letter-routing-key", string("k")),
            ("x-max-length", AMQPValue::ShortShortUInt(255)),
            ("x-max-length-bytes", AMQPValue::LongLongInt(1 << 40)),
            ("x-overflow", string("reject-publish-dlx")),
            ("x-max-priority", AMQPValue::LongInt(255)),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-delivery-limit", AMQPValue::LongInt(3)),
            ("x-delayed-retry-type", string("failed")),
            ("x-delayed-retry-min", AMQPValue::LongInt(1000)),
            ("x-delayed-retry-max", AMQPValue::LongInt(60_000)),
            ("x-delayed-retry-multiplier", AMQPValue::Double(2.5)),
            ("x-delayed-retry-jitter", AMQPValue::LongInt(10)),
            ("x-consumer-timeout", AMQPValue::LongInt(5000)),
            ("x-message-deduplication", AMQPValue::Boolean(true)),
            ("x-cache-size", string("5")),
            ("x-cache-ttl", AMQPValue::LongInt(7)),
            ("x-deduplication-header", string("id")),
            ("x-unknown", AMQPValue::Void),
        ]);
        let expected = QueueSettings {
            message_ttl_ms: Some(0),
            expires_ms: Some(7),
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some("k".to_owned()),
            max_length: Some(255),
            max_length_bytes: Some(1 << 40),
            overflow: Overflow::RejectPublishDlx,
            max_priority: Some(255),
            single_active_consumer: true,
            delivery_limit: Some(3),
            retry: RetrySettings {
                kind: Some(RetryType::Failed),
                min_ms: Some(1000),
                max_ms: Some(60_000),
                multiplier_milli: Some(2500),
                jitter_percent: Some(10),
            },
            consumer_timeout_ms: Some(5000),
            deduplication: Some(Deduplication { header: "id".into(), size: 5, ttl_ms: Some(7) }),
            ids_kept: None,
            queue_type: QueueType::Classic,
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn quorum_queues_have_a_delivery_limit_and_needs() {
        let settings = parse(&[("x-queue-type", string("quorum"))]).unwrap();
        assert_eq!(settings.delivery_limit, Some(20));
        let text = |durable, exclusive, auto_delete| {
            let checked = settings.check_properties("q", "/", durable, exclusive, auto_delete);
            checked.err().map(|refusal| refusal.text)
        };
        assert_eq!(text(true, false, false), None);
        let wrong =
            |property: &str| Some(format!("invalid property '{property}' for queue 'q' in vhost '/'"));
        assert_eq!(text(false, false, false), wrong("non-durable"));
        assert_eq!(text(false, true, false), wrong("exclusive-owner"));
        assert_eq!(text(true, false, true), wrong("auto-delete"));
        let unlimited =
            parse(&[("x-queue-type", string("quorum")), ("x-delivery-limit", AMQPValue::LongInt(-1))]);
        assert_eq!(unlimited.unwrap().delivery_limit, Some(u64::MAX));
    }
}
