//! `x-delay`: how long an exchange of the type `x-delayed-message` holds a message back (RabbitMQ: Delayed Message
//! Plugin), and what the message looks like when that is over.

use amq_protocol::types::AMQPValue;

use super::batch::Message;
use crate::protocol::properties::{self, Edit, Properties};
use crate::protocol::table::{self, Field};

const X_DELAY: &[u8] = b"x-delay";
const BCC: &[u8] = b"BCC";

/// The delay that these headers ask for, in milliseconds. `None` when there is none: the header is missing, not above
/// 0, or no number.
#[must_use]
pub fn delay_ms(headers: &[u8]) -> Option<u64> {
    let delay_ms = number(&table::find(headers, X_DELAY)?)?;
    u64::try_from(delay_ms).ok().filter(|delay_ms| *delay_ms > 0)
}

/// The message as it waits: due when its delay is over, and on disk whatever its delivery mode says, as the plugin has
/// it. Its own `expiration` begins when it is routed.
#[must_use]
pub fn held<'a>(message: &Message<'a>, delay_ms: u64) -> Message<'a> {
    Message { due_ms: Some(after(message.enqueued_ms, delay_ms)), persistent: true, ..*message }
}

/// So long after a time; one millisecond more, since times are cut to whole ones.
fn after(ms: u64, delay_ms: u64) -> u64 {
    ms.saturating_add(delay_ms).saturating_add(u64::from(delay_ms > 0))
}

/// The message when its delay is over, with its new content header payload.
#[must_use]
pub fn when_due<'a>(held: &Message<'a>, header: &'a [u8], now_ms: u64) -> Message<'a> {
    let properties = Properties::parse(header).unwrap_or_default();
    let expiration = properties.expiration.and_then(|text| std::str::from_utf8(text).ok());
    let due_ms = expiration.and_then(parse).and_then(|ms| u64::try_from(ms).ok()).map(|ms| after(now_ms, ms));
    let persistent = properties.delivery_mode == Some(2);
    Message { header, enqueued_ms: now_ms, due_ms, persistent, ..*held }
}

/// The content header payload of a message whose delay is over: `x-delay` is negated, so that it is not held back a
/// second time; BCC keys, which were needed for routing, are taken off. `None` when the old one cannot be read.
#[must_use]
pub fn header_when_due(header: &[u8]) -> Option<Vec<u8>> {
    let old = Properties::parse(header).ok()?.headers.unwrap_or_default();
    let mut headers = Vec::with_capacity(old.len() + 8);
    for field in table::fields(old).flatten() {
        match field.name {
            X_DELAY => put_negated(&mut headers, &field),
            BCC => {}
            _ => table::put_raw(&mut headers, &field),
        }
    }
    properties::rewrite(header, &Edit { headers: Some(&headers), ..Edit::default() }).ok()
}

fn put_negated(out: &mut Vec<u8>, field: &Field<'_>) {
    match number(field) {
        Some(delay_ms) => {
            table::put_field(out, X_DELAY, &AMQPValue::LongLongInt(delay_ms.saturating_neg()));
        }
        None => table::put_raw(out, field),
    }
}

/// Integers of any width, digits in a string, and what is before the point of other numbers, as the plugin takes them.
fn number(field: &Field<'_>) -> Option<i64> {
    if let Some(number) = field.as_i64() {
        return Some(number);
    }
    match field.to_value()? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().and_then(parse),
        AMQPValue::ByteArray(bytes) => std::str::from_utf8(bytes.as_slice()).ok().and_then(parse),
        AMQPValue::Float(number) => Some(whole(f64::from(number))),
        AMQPValue::Double(number) => Some(whole(number)),
        _ => None,
    }
}

/// More than fits is as long as can be.
fn parse(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(text.parse().unwrap_or(limit))
}

#[expect(clippy::cast_possible_truncation, reason = "the whole part is wanted; what does not fit saturates")]
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::types::LongString;

    fn headers(value: &AMQPValue) -> Vec<u8> {
        let mut headers = Vec::new();
        table::put_field(&mut headers, b"before", &AMQPValue::LongInt(1));
        table::put_field(&mut headers, X_DELAY, value);
        table::put_field(&mut headers, b"behind", &AMQPValue::LongInt(2));
        headers
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    #[test]
    fn a_delay_is_any_number_above_0() {
        let years_ms = 20 * 365 * 24 * 3600 * 1000;
        for (value, expected) in [
            (AMQPValue::ShortShortInt(7), Some(7)),
            (AMQPValue::ShortShortUInt(255), Some(255)),
            (AMQPValue::ShortInt(700), Some(700)),
            (AMQPValue::LongInt(70_000), Some(70_000)),
            (AMQPValue::LongUInt(u32::MAX), Some(u64::from(u32::MAX))),
            (AMQPValue::LongLongInt(years_ms), u64::try_from(years_ms).ok()),
            (text("5000"), Some(5000)),
            (text("99999999999999999999"), Some(i64::MAX as u64)),
            (AMQPValue::Double(12.9), Some(12)),
            (AMQPValue::Float(f32::MAX), Some(i64::MAX as u64)),
            (AMQPValue::Double(f64::NAN), None),
            (AMQPValue::LongInt(0), None),
            (AMQPValue::LongInt(-5), None),
            (text("-5"), None),
            (text("soon"), None),
            (text(""), None),
            (AMQPValue::Boolean(true), None),
            (AMQPValue::Timestamp(5), None),
        ] {
            assert_eq!(delay_ms(&headers(&value)), expected, "{value:?}");
        }
        assert_eq!(delay_ms(&[]), None);
    }

    #[test]
    fn a_held_message_is_persistent_and_its_expiration_begins_when_it_is_due() {
        let fields = Properties { expiration: Some(b"60"), ..Properties::default() };
        let header = properties::with_fields(0, &fields);
        let message = Message { header: &header, enqueued_ms: 1000, priority: 3, ..Message::default() };
        let waiting = held(&message, 5);
        assert_eq!(waiting, Message { due_ms: Some(1006), persistent: true, ..message });
        assert_eq!(held(&message, u64::MAX).due_ms, Some(u64::MAX));
        let due = when_due(&waiting, &header, 2000);
        assert_eq!(due, Message { enqueued_ms: 2000, due_ms: Some(2061), ..message });
        let fields = Properties { delivery_mode: Some(2), ..Properties::default() };
        let header = properties::with_fields(0, &fields);
        let due = when_due(&held(&message, 5), &header, 2000);
        assert_eq!((due.due_ms, due.persistent), (None, true));
    }

    #[test]
    fn when_it_is_over_the_delay_is_negative_and_all_else_as_it_was() {
        for (value, expected) in [
            (AMQPValue::LongInt(3000), AMQPValue::LongLongInt(-3000)),
            (text("3000"), AMQPValue::LongLongInt(-3000)),
            (AMQPValue::LongLongInt(i64::MIN), AMQPValue::LongLongInt(i64::MAX)),
            (text("soon"), text("soon")),
        ] {
            let mut before = headers(&value);
            table::put_field(&mut before, BCC, &AMQPValue::Boolean(true));
            let old = Properties { headers: Some(&before), expiration: Some(b"9"), ..Properties::default() };
            let due = header_when_due(&properties::with_fields(4, &old)).unwrap();
            let properties = Properties::parse(&due).unwrap();
            assert_eq!(properties.headers, Some(&headers(&expected)[..]));
            assert_eq!((properties.expiration, properties::body_size(&due)), (Some(&b"9"[..]), Some(4)));
        }
        assert_eq!(header_when_due(b"damaged"), None);
    }
}
