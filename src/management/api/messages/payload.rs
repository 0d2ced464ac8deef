//! Bodies and properties as JSON, as RabbitMQ writes and reads them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::super::http::{Body, Failure};
use super::super::super::json::{table_from_json, table_to_json};
use crate::node::MessageProperties;

/// How bodies are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text if they are UTF-8, otherwise as base64.
    #[default]
    Auto,
    Base64,
}

impl Encoding {
    pub(super) fn of(name: Option<&str>) -> Result<Self, Failure> {
        match name {
            None | Some("auto") => Ok(Self::Auto),
            Some("base64") => Ok(Self::Base64),
            Some(_) => Err(Failure::bad_request("Unsupported encoding. Please use auto or base64.")),
        }
    }

    /// A body, and how it is written.
    pub(super) fn write(self, body: &[u8]) -> (String, &'static str) {
        match std::str::from_utf8(body) {
            Ok(text) if self == Self::Auto => (text.to_owned(), "string"),
            _ => (STANDARD.encode(body), "base64"),
        }
    }
}

/// The body that is to be published.
pub(super) fn body_of(body: &Body) -> Result<Vec<u8>, Failure> {
    let payload = body.text("payload")?.unwrap_or_default();
    match body.text("payload_encoding")?.unwrap_or_default() {
        "string" => Ok(payload.as_bytes().to_vec()),
        "base64" => STANDARD.decode(payload).map_err(|_| Failure::bad_request("payload is not valid base64")),
        other => Err(Failure::bad_request(format!("{{unsupported_encoding,<<\"{other}\">>}}"))),
    }
}

/// Properties as JSON: those that are set; none are an empty array.
pub(super) fn properties_to_json(properties: &MessageProperties) -> Value {
    let mut out = Map::new();
    let texts = [
        ("content_type", &properties.content_type),
        ("content_encoding", &properties.content_encoding),
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
        ("cluster_id", &properties.cluster_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("delivery_mode", properties.delivery_mode.map(Value::from));
    put("priority", properties.priority.map(Value::from));
    put("timestamp", properties.timestamp.map(Value::from));
    put("headers", properties.headers.as_ref().map(table_to_json));
    if out.is_empty() { Value::Array(Vec::new()) } else { Value::Object(out) }
}

/// Properties from JSON. What no property has the name of is not looked at.
pub(super) fn properties_of(body: &Body) -> Result<MessageProperties, Failure> {
    let properties = Body(body.object("properties")?);
    let text = |name: &str| properties.text(name).map(|text| text.map(str::to_owned));
    let headers = match properties.get("headers") {
        None => None,
        Some(headers) => Some(table_from_json(headers).map_err(Failure::bad_request)?),
    };
    Ok(MessageProperties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers,
        delivery_mode: small(&properties, "delivery_mode")?,
        priority: small(&properties, "priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number(&properties, "timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

fn small(body: &Body, name: &str) -> Result<Option<u8>, Failure> {
    let small = |number| u8::try_from(number).map_err(|_| not_a_number(name));
    number(body, name)?.map(small).transpose()
}

/// A whole number that is not negative, also written as a text.
pub(super) fn number(body: &Body, name: &str) -> Result<Option<u64>, Failure> {
    let read = match body.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    read.map(Some).ok_or_else(|| not_a_number(name))
}

fn not_a_number(name: &str) -> Failure {
    Failure::bad_request(format!("{name} should be a whole number that is not negative"))
}
