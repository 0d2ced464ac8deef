//! JSON that comes in: an object with the fields that a request needs.

use axum::body::HttpBody;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Bytes of a body at most: definitions of many thousand objects fit.
pub const BODY_BYTES_MAX: usize = 20_000_000;

/// Bytes of a longer body that are still read before the answer.
const DRAINED_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// RabbitMQ's printer breaks lines before this column.
const LINE_MAX: usize = 79;

/// The object in a request's body; an empty body is an empty object.
#[derive(Debug, Default)]
pub struct Body(pub Map<String, Value>);

impl Body {
    /// Reads an object.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            _ => Err(Failure::bad_request("not_json")),
        }
    }

    /// All of these fields must be there.
    ///
    /// # Errors
    /// 400 that names those that are not, as RabbitMQ writes them.
    pub fn need(&self, fields: &[&str]) -> Result<(), Failure> {
        let missing = fields.iter().filter(|field| !self.0.contains_key(**field));
        let missing: Vec<_> = missing.map(|field| format!("{{key_missing,{field}}}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let one_line = format!("[{}]", missing.join(","));
        let text = if one_line.len() < LINE_MAX { one_line } else { format!("[{}]", missing.join(",\n ")) };
        Err(Failure::bad_request(text))
    }

    /// A field that is there and not null.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A truth; false when it is not there.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn flag(&self, field: &str) -> Result<bool, Failure> {
        match self.get(field) {
            None => Ok(false),
            Some(value) => as_flag(value),
        }
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn text(&self, field: &str) -> Result<Option<&str>, Failure> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(not_a_string(other)),
        }
    }

    /// An object; empty when it is not there.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn object(&self, field: &str) -> Result<Map<String, Value>, Failure> {
        match self.get(field) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            // RabbitMQ writes an empty table as an empty array, and so reads it.
            Some(Value::Array(array)) if array.is_empty() => Ok(Map::new()),
            Some(_) => Err(Failure::bad_request(format!("{field} should be an object"))),
        }
    }
}

fn as_flag(value: &Value) -> Result<bool, Failure> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(Failure::bad_request(Value::Array(vec!["not_boolean".into(), other.clone()]))),
    }
}

fn not_a_string(value: &Value) -> Failure {
    Failure::bad_request(Value::Array(vec!["not_a_string".into(), value.clone()]))
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        Self::parse(&bytes_of(request).await?)
    }
}

/// The whole body.
///
/// # Errors
/// 400 when it is too long or ends early.
pub async fn bytes_of(request: Request) -> Result<Bytes, Failure> {
    let mut body = request.into_body();
    match Limited::new(&mut body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            // Who is still sending would see a broken connection in place of the answer.
            let _ = drained(Limited::new(body, DRAINED_BYTES_MAX)).await;
            let reason = "Exceeded HTTP request body size limit";
            Err(Failure::new(StatusCode::BAD_REQUEST, "bad_request", reason))
        }
        Err(_) => Err(Failure::bad_request("the body ends early")),
    }
}

/// Reads to the end and keeps nothing.
async fn drained<B: HttpBody + Unpin>(mut body: B) -> Result<(), B::Error> {
    while body.frame().await.transpose()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_object_is_refused_and_none_is_an_empty_one() {
        assert!(Body::parse(b"").unwrap().0.is_empty());
        for bad in ["[]", "{", "1", "null", "\u{1}", "{\"a\":1,}"] {
            assert_eq!(Body::parse(bad.as_bytes()).unwrap_err(), Failure::bad_request("not_json"), "{bad}");
        }
    }

    #[test]
    fn missing_fields_are_named_together() {
        let body = Body::parse(br#"{"configure": ""}"#).unwrap();
        body.need(&["configure"]).unwrap();
        let failure = body.need(&["configure", "write", "read"]).unwrap_err();
        assert_eq!(failure.reason, "[{key_missing,write},{key_missing,read}]");
        let failure = body.need(&["properties", "payload", "payload_encoding"]).unwrap_err();
        assert_eq!(
            failure.reason,
            "[{key_missing,properties},\n {key_missing,payload},\n {key_missing,payload_encoding}]"
        );
    }

    #[test]
    fn flags_are_truths_or_their_words() {
        let body = Body::parse(br#"{"a": true, "b": "true", "c": "no", "d": null, "e": 1}"#).unwrap();
        assert_eq!(body.flag("a"), Ok(true));
        assert_eq!(body.flag("b"), Ok(true));
        assert_eq!(body.flag("d"), Ok(false));
        assert_eq!(body.flag("z"), Ok(false));
        assert_eq!(body.flag("c").unwrap_err().reason, serde_json::json!(["not_boolean", "no"]));
        assert!(body.flag("e").is_err());
    }
}
