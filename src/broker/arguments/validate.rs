//! The arguments a queue knows, and what each may hold.
//! See <https://www.rabbitmq.com/docs/queues#optional-arguments>.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::retry::{jitter_percent, multiplier_milli};
use super::value::{integer, number_or_digits, type_name};

/// Ten years, in milliseconds: the longest time-to-live or expiry RabbitMQ takes.
const EXPIRY_MAX_MS: i64 = 315_360_000_000;

/// Ids that deduplication keeps at most.
const CACHE_SIZE_MAX: i64 = 1_000_000;

/// Bytes of an AMQP short string (AMQP 0-9-1, section 4.2.5.3).
const NAME_BYTES_MAX: usize = 255;

/// One argument of `queue.declare`.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) check: Check,
    /// Whether only queues of other types than classic have it.
    pub(crate) not_classic: bool,
    /// Whether quorum queues do not have it.
    pub(crate) not_quorum: bool,
}

/// What the value of an argument must be.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    Any,
    Integer,
    NotNegative,
    Positive,
    TimeToLive,
    Expiry,
    Priority,
    /// A factor above 1, which may be a fraction.
    Multiplier,
    Percent,
    Text,
    /// A string that becomes a name on the wire.
    Name,
    Bool,
    /// A string that needs `x-dead-letter-exchange` beside it.
    DeadLetterKey,
    /// One of these strings, else the reason.
    OneOf(&'static [&'static str], &'static str),
    QueueType,
    QueueVersion,
    /// A string that is not empty.
    Tag,
    /// How many ids are kept: a number, or its digits.
    CacheSize,
    /// How long they are kept: a number, or its digits.
    CacheTtl,
}

/// In the order in which RabbitMQ checks and compares them.
pub(crate) const KNOWN: &[Known] = &[
    both("x-expires", Check::Expiry),
    both("x-message-ttl", Check::TimeToLive),
    both("x-dead-letter-exchange", Check::Name),
    both("x-dead-letter-routing-key", Check::DeadLetterKey),
    quorum_only(
        "x-dead-letter-strategy",
        Check::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy"),
    ),
    both("x-max-length", Check::NotNegative),
    both("x-max-length-bytes", Check::NotNegative),
    quorum_only("x-max-in-memory-length", Check::NotNegative),
    quorum_only("x-max-in-memory-bytes", Check::NotNegative),
    classic_only("x-max-priority", Check::Priority),
    both(
        "x-overflow",
        Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow"),
    ),
    classic_only("x-queue-mode", Check::Any),
    classic_only("x-queue-version", Check::QueueVersion),
    both("x-single-active-consumer", Check::Bool),
    both("x-queue-type", Check::QueueType),
    quorum_only("x-quorum-initial-group-size", Check::Positive),
    stream_only("x-max-age"),
    stream_only("x-stream-max-segment-size-bytes"),
    stream_only("x-stream-filter-size-bytes"),
    stream_only("x-initial-cluster-size"),
    // RabbitMQ has it on quorum queues alone; here every queue counts deliveries.
    both("x-delivery-limit", Check::Integer),
    // RabbitMQ has these on quorum queues alone, and takes any value: what it cannot use means no delay.
    both("x-delayed-retry-type", Check::Any),
    both("x-delayed-retry-min", Check::Any),
    both("x-delayed-retry-max", Check::Any),
    both("x-delayed-retry-multiplier", Check::Multiplier),
    both("x-delayed-retry-jitter", Check::Percent),
    // RabbitMQ has it on quorum queues alone.
    both("x-consumer-timeout", Check::NotNegative),
    both("x-queue-leader-locator", Check::Text),
    classic_only("x-queue-master-locator", Check::Text),
    quorum_only("x-consumer-disconnected-timeout", Check::NotNegative),
    quorum_only("x-member-placement-tag", Check::Tag),
    both("x-message-deduplication", Check::Bool),
    both("x-cache-size", Check::CacheSize),
    both("x-cache-ttl", Check::CacheTtl),
    both("x-deduplication-header", Check::Name),
];

const fn both(name: &'static str, check: Check) -> Known {
    Known { name, check, not_classic: false, not_quorum: false }
}

const fn classic_only(name: &'static str, check: Check) -> Known {
    Known { name, check, not_classic: false, not_quorum: true }
}

const fn quorum_only(name: &'static str, check: Check) -> Known {
    Known { name, check, not_classic: true, not_quorum: false }
}

const fn stream_only(name: &'static str) -> Known {
    Known { name, check: Check::Any, not_classic: true, not_quorum: true }
}

impl Check {
    /// The reason why the value is not taken, as the Erlang term RabbitMQ prints.
    pub(crate) fn reason(self, value: &AMQPValue, arguments: &FieldTable) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Integer => number(value).err(),
            Self::NotNegative => number(value).and_then(not_negative).err(),
            Self::Positive | Self::Expiry => number(value).and_then(not_zero).and_then(expiry).err(),
            Self::TimeToLive => number(value).and_then(expiry).err(),
            Self::Priority => number(value).and_then(not_negative).and_then(at_most_255).err(),
            Self::Multiplier => multiplier_milli(value).is_none().then(|| "invalid_multiplier".to_owned()),
            Self::Percent => jitter_percent(value).is_none().then(|| "invalid_percentage".to_owned()),
            Self::Text => text(value).err(),
            Self::Name => name(value).err(),
            Self::Bool => {
                matches!(value, AMQPValue::Boolean(_)).then_some(()).ok_or_else(|| unacceptable(value)).err()
            }
            Self::DeadLetterKey => name(value).and_then(|_| beside_exchange(arguments)).err(),
            Self::OneOf(words, reason) => match text(value) {
                Ok(word) => (!words.iter().any(|known| known.as_bytes() == word)).then(|| reason.to_owned()),
                Err(reason) => Some(reason),
            },
            Self::QueueType => text(value).and_then(queue_type).err(),
            Self::QueueVersion => number(value).and_then(queue_version).err(),
            Self::Tag => text(value).and_then(not_empty).err(),
            Self::CacheSize => digits(value).and_then(not_zero).and_then(cache_size).err(),
            Self::CacheTtl => digits(value).and_then(not_zero).and_then(expiry).err(),
        }
    }
}

fn number(value: &AMQPValue) -> Result<i64, String> {
    integer(value).ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

/// A number, also one that is written as a string.
fn digits(value: &AMQPValue) -> Result<i64, String> {
    number_or_digits(value).map_or_else(|| number(value), Ok)
}

fn cache_size(number: i64) -> Result<i64, String> {
    if number > CACHE_SIZE_MAX {
        Err(format!("{{max_value_exceeded,{number}}}"))
    } else {
        not_negative(number)
    }
}

fn not_negative(number: i64) -> Result<i64, String> {
    if number < 0 { Err(format!("{{value_negative,{number}}}")) } else { Ok(number) }
}

fn not_zero(number: i64) -> Result<i64, String> {
    if number == 0 { Err("{value_zero,0}".to_owned()) } else { Ok(number) }
}

fn expiry(number: i64) -> Result<i64, String> {
    if number > EXPIRY_MAX_MS { Err(format!("{{value_too_big,{number}}}")) } else { not_negative(number) }
}

fn at_most_255(number: i64) -> Result<i64, String> {
    if number > 255 { Err(format!("{{max_value_exceeded,{number}}}")) } else { Ok(number) }
}

fn text(value: &AMQPValue) -> Result<&[u8], String> {
    match value {
        AMQPValue::LongString(text) => Ok(text.as_bytes()),
        other => Err(unacceptable(other)),
    }
}

/// A string that goes out as a short string, which holds 255 bytes.
fn name(value: &AMQPValue) -> Result<&[u8], String> {
    let name = text(value)?;
    if name.len() > NAME_BYTES_MAX {
        Err(format!("{{max_length_exceeded,{}}}", name.len()))
    } else {
        Ok(name)
    }
}

fn unacceptable(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn beside_exchange(arguments: &FieldTable) -> Result<(), String> {
    if arguments.contains_key("x-dead-letter-exchange") {
        Ok(())
    } else {
        Err("routing_key_but_no_dlx_defined".to_owned())
    }
}

fn not_empty(text: &[u8]) -> Result<(), String> {
    if text.is_empty() { Err("empty_string".to_owned()) } else { Ok(()) }
}

fn queue_type(name: &[u8]) -> Result<(), String> {
    match name {
        b"classic" | b"quorum" => Ok(()),
        other => Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other))),
    }
}

fn queue_version(number: i64) -> Result<(), String> {
    match number {
        1 | 2 => Ok(()),
        other => Err(format!("\"unsupported queue version '{other}'\"")),
    }
}
