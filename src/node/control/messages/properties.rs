//! The properties of a message as typed values.

use amq_protocol::types::FieldTable;

use super::ControlError;
use crate::protocol::properties::{Properties, with_fields};
use crate::protocol::table;

/// The properties of a message; what is not set is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageProperties {
    /// MIME type.
    pub content_type: Option<String>,
    /// MIME encoding.
    pub content_encoding: Option<String>,
    /// The headers.
    pub headers: Option<FieldTable>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// The priority.
    pub priority: Option<u8>,
    /// Which request a reply belongs to.
    pub correlation_id: Option<String>,
    /// Where replies go.
    pub reply_to: Option<String>,
    /// Milliseconds as decimal digits.
    pub expiration: Option<String>,
    /// The application's message id.
    pub message_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's message type.
    pub kind: Option<String>,
    /// Who published.
    pub user_id: Option<String>,
    /// The publishing application.
    pub app_id: Option<String>,
    /// Deprecated.
    pub cluster_id: Option<String>,
}

impl MessageProperties {
    /// Reads a content header; text that is not UTF-8 is shown as well as it can be.
    #[must_use]
    pub fn of_header(header: &[u8]) -> Self {
        let properties = Properties::parse(header).unwrap_or_default();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self {
            content_type: text(properties.content_type),
            content_encoding: text(properties.content_encoding),
            headers: properties.headers.and_then(|raw| table::to_field_table(raw).ok()),
            delivery_mode: properties.delivery_mode,
            priority: properties.priority,
            correlation_id: text(properties.correlation_id),
            reply_to: text(properties.reply_to),
            expiration: text(properties.expiration),
            message_id: text(properties.message_id),
            timestamp: properties.timestamp,
            kind: text(properties.kind),
            user_id: text(properties.user_id),
            app_id: text(properties.app_id),
            cluster_id: text(properties.cluster_id),
        }
    }

    /// A content header for a body of this size.
    pub(super) fn to_header(&self, body_size: u64) -> Result<Vec<u8>, ControlError> {
        if self.short_strings().into_iter().flatten().any(|text| text.len() > 255) {
            let text = "a property is longer than the 255 bytes of a short string";
            return Err(ControlError::Invalid(text.to_owned()));
        }
        let headers = self.headers.as_ref().map(table::from_field_table);
        let properties = Properties {
            content_type: bytes(&self.content_type),
            content_encoding: bytes(&self.content_encoding),
            headers: headers.as_deref(),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            correlation_id: bytes(&self.correlation_id),
            reply_to: bytes(&self.reply_to),
            expiration: bytes(&self.expiration),
            message_id: bytes(&self.message_id),
            timestamp: self.timestamp,
            kind: bytes(&self.kind),
            user_id: bytes(&self.user_id),
            app_id: bytes(&self.app_id),
            cluster_id: bytes(&self.cluster_id),
        };
        let header = with_fields(body_size, &properties);
        Properties::parse(&header).map_err(|error| ControlError::Invalid(error.refusal().to_string()))?;
        Ok(header)
    }

    fn short_strings(&self) -> [&Option<String>; 10] {
        [
            &self.content_type,
            &self.content_encoding,
            &self.correlation_id,
            &self.reply_to,
            &self.expiration,
            &self.message_id,
            &self.kind,
            &self.user_id,
            &self.app_id,
            &self.cluster_id,
        ]
    }
}

fn bytes(text: &Option<String>) -> Option<&[u8]> {
    text.as_deref().map(str::as_bytes)
}
