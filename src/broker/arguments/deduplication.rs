//! The arguments of deduplication, which queues and exchanges share.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::deduplication::{DEFAULT_HEADER, DEFAULT_SIZE, Deduplication};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

use super::validate::KNOWN;
use super::value::number_or_digits;

/// All of them.
pub(crate) const ARGUMENTS: [&str; 4] =
    ["x-message-deduplication", "x-cache-size", "x-cache-ttl", "x-deduplication-header"];

/// Checks those of an exchange; a queue's are checked with its others.
///
/// # Errors
/// 406 for the first argument that is not good.
pub(crate) fn check(arguments: &FieldTable, object: &str) -> Result<(), Refusal> {
    for known in KNOWN.iter().filter(|known| ARGUMENTS.contains(&known.name)) {
        let value = arguments.inner().get(known.name);
        if let Some(reason) = value.and_then(|value| known.check.reason(value, arguments)) {
            let text = format!("invalid arg '{}' for {object}: {reason}", known.name);
            return Err(Refusal::channel(ReplyCode::PreconditionFailed, text));
        }
    }
    Ok(())
}

/// What checked arguments ask for; nothing unless `x-message-deduplication` is true.
pub(crate) fn read(arguments: &FieldTable) -> Option<Deduplication> {
    let is_wanted = arguments.inner().get("x-message-deduplication") == Some(&AMQPValue::Boolean(true));
    is_wanted.then(|| cache(arguments))
}

/// The same where deduplication is wanted in any case.
pub(crate) fn cache(arguments: &FieldTable) -> Deduplication {
    let value = |name: &str| arguments.inner().get(name);
    let header = match value("x-deduplication-header") {
        Some(AMQPValue::LongString(name)) => name.to_string().into(),
        _ => DEFAULT_HEADER.into(),
    };
    let size = value("x-cache-size").and_then(number_or_digits).and_then(|size| usize::try_from(size).ok());
    let ttl_ms =
        value("x-cache-ttl").and_then(number_or_digits).and_then(|ttl_ms| u64::try_from(ttl_ms).ok());
    Deduplication { header, size: size.unwrap_or(DEFAULT_SIZE), ttl_ms }
}
