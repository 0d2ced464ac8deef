//! Deduplication: messages that carry the same id in a header are one message.
//!
//! - here: what a queue or an exchange asks for, and the id of a message
//! - `seen`: the ids that came lately

mod seen;

use std::sync::Arc;

use crate::protocol::table;

pub use seen::{NEVER_MS, Seen};

/// The header of the id, unless the declaration names another one.
pub const DEFAULT_HEADER: &str = "x-deduplication-header";

/// Ids that are kept, unless the declaration says how many.
pub const DEFAULT_SIZE: usize = 10_000;

/// A message's own time for which its id is kept, in milliseconds.
const TTL_HEADER: &[u8] = b"x-cache-ttl";

/// The id of a message: its header's type and value, which are compared byte by byte.
pub type Id = Arc<[u8]>;

/// What the arguments of a queue or an exchange ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deduplication {
    /// `x-deduplication-header`: the header of the id.
    pub header: Box<str>,
    /// `x-cache-size`: how many ids are kept.
    pub size: usize,
    /// `x-cache-ttl`: how long they are kept, in milliseconds; without one until others take their place.
    pub ttl_ms: Option<u64>,
}

impl Default for Deduplication {
    fn default() -> Self {
        Self { header: DEFAULT_HEADER.into(), size: DEFAULT_SIZE, ttl_ms: None }
    }
}

impl Deduplication {
    /// The id of a message with these headers. Integers of other widths are the same id.
    #[must_use]
    pub fn id(&self, headers: Option<&[u8]>) -> Option<Id> {
        let field = table::find(headers?, self.header.as_bytes())?;
        if field.kind == b'V' {
            return None;
        }
        let (kind, number) = match field.as_i64() {
            Some(number) => (b'l', Some(number.to_be_bytes())),
            None => (field.kind, None),
        };
        let value = number.as_ref().map_or(field.value, |number| &number[..]);
        Some(std::iter::once(kind).chain(value.iter().copied()).collect())
    }

    /// Until when the id of a message with these headers is kept: its own header wins over the declaration.
    #[must_use]
    pub fn until_ms(&self, headers: Option<&[u8]>, now_ms: u64) -> u64 {
        let own = headers.and_then(|headers| table::find(headers, TTL_HEADER));
        let own_ms = own.and_then(|field| {
            let text = || field.as_str().and_then(|text| text.parse().ok());
            field.as_i64().or_else(text).and_then(|ttl_ms: i64| u64::try_from(ttl_ms).ok())
        });
        let ttl_ms = own_ms.filter(|ttl_ms| *ttl_ms > 0).or(self.ttl_ms);
        ttl_ms.map_or(NEVER_MS, |ttl_ms| now_ms.saturating_add(ttl_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::types::{AMQPValue, FieldTable, LongString};

    fn headers(pairs: &[(&str, AMQPValue)]) -> Vec<u8> {
        let mut headers = FieldTable::default();
        for (name, value) in pairs {
            headers.insert((*name).into(), value.clone());
        }
        table::from_field_table(&headers)
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    fn id(value: AMQPValue) -> Option<Id> {
        Deduplication::default().id(Some(&headers(&[(DEFAULT_HEADER, value)])))
    }

    #[test]
    fn ids_are_equal_when_type_and_value_are() {
        assert_eq!(id(AMQPValue::LongInt(5)), id(AMQPValue::ShortShortUInt(5)));
        assert_ne!(id(AMQPValue::LongInt(5)), id(AMQPValue::LongInt(6)));
        assert_ne!(id(AMQPValue::LongInt(5)), id(text("5")));
        assert_eq!(id(text("a")), id(text("a")));
        assert_ne!(id(text("a")), id(text("")));
        assert_ne!(id(AMQPValue::Boolean(true)), id(AMQPValue::Boolean(false)));
        assert!(id(text("")).is_some(), "an empty string is an id");
    }

    #[test]
    fn a_message_without_the_header_has_no_id() {
        let other = Deduplication { header: "id".into(), ..Deduplication::default() };
        let message = headers(&[(DEFAULT_HEADER, text("a"))]);
        assert_eq!((other.id(Some(&message)), other.id(None)), (None, None));
        assert_eq!(id(AMQPValue::Void), None);
        assert!(other.id(Some(&headers(&[("id", text("a"))]))).is_some());
    }

    #[test]
    fn a_messages_own_time_wins() {
        let (none, some) =
            (Deduplication::default(), Deduplication { ttl_ms: Some(7), ..Deduplication::default() });
        assert_eq!((none.until_ms(None, 10), some.until_ms(None, 10)), (NEVER_MS, 17));
        for (value, until_ms) in [
            (AMQPValue::LongInt(5), 15),
            (text("5"), 15),
            (AMQPValue::LongInt(0), 17),
            (AMQPValue::LongInt(-5), 17),
            (text("soon"), 17),
            (AMQPValue::LongLongInt(i64::MAX), i64::MAX as u64 + 10),
        ] {
            assert_eq!(
                some.until_ms(Some(&headers(&[("x-cache-ttl", value.clone())])), 10),
                until_ms,
                "{value:?}"
            );
        }
    }
}
