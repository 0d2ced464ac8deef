//! Which messages are meant.

use std::collections::BTreeMap;

use amq_protocol::types::AMQPValue;
use serde::{Deserialize, Serialize};

use crate::broker::batch::Message;
use crate::protocol::properties::Properties;
use crate::protocol::table;

/// All of these must hold; one that says nothing means every message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageFilter {
    /// Its number is one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Vec<u64>>,
    /// It came through this exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// Its routing key is this, where `*` stands for any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// It has these headers, with these values as text where `*` stands for any text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// It has these properties, likewise: `content_type`, `correlation_id`, `message_id`, `priority` and so on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Its body holds this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It arrived before this, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<u64>,
    /// It arrived then or later, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

impl MessageFilter {
    /// Puts the numbers in order, for [`Self::takes`].
    ///
    /// # Errors
    /// When a property has a name that no property has.
    pub(crate) fn prepare(&mut self) -> Result<(), String> {
        if let Some(numbers) = &mut self.numbers {
            numbers.sort_unstable();
        }
        let unknown = self.properties.keys().find(|name| property(&Properties::default(), name).is_none());
        unknown.map_or(Ok(()), |name| Err(format!("messages have no property '{name}'")))
    }

    /// The only numbers that it takes, if it names some.
    pub(crate) fn numbers(&self) -> Option<&[u64]> {
        self.numbers.as_deref()
    }

    /// Whether a message is meant.
    pub(crate) fn takes(&self, seq: u64, message: &Message<'_>) -> bool {
        let is = |wanted: &Option<String>, text: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| matches_glob(wanted.as_bytes(), text))
        };
        self.numbers.as_ref().is_none_or(|numbers| numbers.binary_search(&seq).is_ok())
            && self.exchange.as_ref().is_none_or(|exchange| exchange.as_bytes() == message.exchange)
            && is(&self.routing_key, message.routing_key)
            && self.before_ms.is_none_or(|before_ms| message.enqueued_ms < before_ms)
            && self.since_ms.is_none_or(|since_ms| message.enqueued_ms >= since_ms)
            && self.takes_header(message.header)
            && self.text.as_ref().is_none_or(|text| holds(message.body, text.as_bytes()))
    }

    fn takes_header(&self, header: &[u8]) -> bool {
        if self.headers.is_empty() && self.properties.is_empty() {
            return true;
        }
        let Ok(properties) = Properties::parse(header) else { return false };
        let headers = properties.headers.unwrap_or_default();
        let has_headers = self.headers.iter().all(|(name, wanted)| {
            let value = table::find(headers, name.as_bytes()).and_then(|field| field.to_value());
            value.is_some_and(|value| matches_glob(wanted.as_bytes(), text_of(&value).as_bytes()))
        });
        has_headers
            && self.properties.iter().all(|(name, wanted)| {
                let value = property(&properties, name).flatten();
                value.is_some_and(|value| matches_glob(wanted.as_bytes(), &value))
            })
    }
}

/// A property as text; `None` when there is no property of this name.
fn property(properties: &Properties<'_>, name: &str) -> Option<Option<Vec<u8>>> {
    let bytes = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
    let number = |value: Option<u64>| value.map(|value| value.to_string().into_bytes());
    Some(match name {
        "content_type" => bytes(properties.content_type),
        "content_encoding" => bytes(properties.content_encoding),
        "delivery_mode" => number(properties.delivery_mode.map(u64::from)),
        "priority" => number(properties.priority.map(u64::from)),
        "correlation_id" => bytes(properties.correlation_id),
        "reply_to" => bytes(properties.reply_to),
        "expiration" => bytes(properties.expiration),
        "message_id" => bytes(properties.message_id),
        "timestamp" => number(properties.timestamp),
        "type" => bytes(properties.kind),
        "user_id" => bytes(properties.user_id),
        "app_id" => bytes(properties.app_id),
        "cluster_id" => bytes(properties.cluster_id),
        _ => return None,
    })
}

/// A header's value as people write it.
fn text_of(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Void => String::new(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// Whether `text` is `pattern`, where `*` stands for any text.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, from));
            at += 1;
        } else if pattern.get(at) == text.get(from) {
            (at, from) = (at + 1, from + 1);
        } else if let Some((star_at, tried)) = star {
            star = Some((star_at, tried + 1));
            (at, from) = (star_at + 1, tried + 1);
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Whether a body holds a text.
fn holds(body: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let mut body = body;
    while let Some(at) = body.iter().position(|byte| byte == first) {
        body = body.get(at + 1..).unwrap_or_default();
        if body.starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::properties::with_fields;
    use proptest::prelude::*;

    fn filter(json: &str) -> MessageFilter {
        let mut filter: MessageFilter = serde_json::from_str(json).unwrap();
        filter.prepare().unwrap();
        filter
    }

    #[test]
    fn a_message_must_be_all_that_is_asked_for() {
        let mut headers = Vec::new();
        table::put_field(&mut headers, b"tenant", &AMQPValue::LongString("acme".into()));
        table::put_field(&mut headers, b"tries", &AMQPValue::LongInt(3));
        let properties = Properties {
            headers: Some(&headers),
            message_id: Some(b"m-7"),
            priority: Some(4),
            ..Properties::default()
        };
        let header = with_fields(5, &properties);
        let message = Message {
            exchange: b"orders",
            routing_key: b"order.created.eu",
            header: &header,
            body: b"hello",
            enqueued_ms: 1000,
            ..Message::default()
        };
        for (json, expected) in [
            ("{}", true),
            (r#"{"numbers":[9,7]}"#, true),
            (r#"{"numbers":[8]}"#, false),
            (r#"{"exchange":"orders","routing_key":"order.*.eu"}"#, true),
            (r#"{"routing_key":"order.*.us"}"#, false),
            (r#"{"headers":{"tenant":"acme","tries":"3"}}"#, true),
            (r#"{"headers":{"tenant":"*"}}"#, true),
            (r#"{"headers":{"other":"*"}}"#, false),
            (r#"{"properties":{"message_id":"m-*","priority":"4"}}"#, true),
            (r#"{"properties":{"app_id":"*"}}"#, false),
            (r#"{"text":"ell"}"#, true),
            (r#"{"text":"elo"}"#, false),
            (r#"{"since_ms":1000,"before_ms":1001}"#, true),
            (r#"{"before_ms":1000}"#, false),
        ] {
            assert_eq!(filter(json).takes(7, &message), expected, "{json}");
        }
        assert!(serde_json::from_str::<MessageFilter>(r#"{"colour":"red"}"#).is_err());
        let mut unknown: MessageFilter = serde_json::from_str(r#"{"properties":{"colour":"red"}}"#).unwrap();
        assert_eq!(unknown.prepare(), Err("messages have no property 'colour'".to_owned()));
    }

    proptest! {
        #[test]
        fn a_text_is_found_wherever_it_is(before in "[ab]{0,9}", text in "[ab]{0,4}", behind in "[ab]{0,9}") {
            let body = format!("{before}{text}{behind}");
            prop_assert!(holds(body.as_bytes(), text.as_bytes()));
            let pattern = format!("*{text}*");
            prop_assert!(matches_glob(pattern.as_bytes(), body.as_bytes()));
        }

        #[test]
        fn what_is_not_there_is_not_found(body in "[ab]{0,12}", text in "[abc]{0,4}") {
            let expected = body.contains(&text);
            prop_assert_eq!(holds(body.as_bytes(), text.as_bytes()), expected);
            let pattern = format!("*{text}*");
            prop_assert_eq!(matches_glob(pattern.as_bytes(), body.as_bytes()), expected);
        }
    }
}
