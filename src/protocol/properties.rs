//! The content header, read in place (AMQP 0-9-1, section 2.3.5.2; basic's properties: section 1.8.1 of the classes).
//!
//! Layout: class u16, weight u16, body size u64, flags u16, then each property whose flag is set.

use std::fmt;

use super::error::Refusal;
use super::reply_code::ReplyCode;
use super::table::{self, TableError};
use super::wire::{Reader, put_long_str, put_short_str, put_u16, put_u64};

/// Class, weight, body size and flags: no content header is shorter.
pub(super) const HEADER_MIN: usize = 14;

const BASIC_CLASS: u16 = 60;
const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
/// Bit 0 says that more flags follow, which basic never needs; bit 1 means nothing.
const UNKNOWN: u16 = 0b11;

/// Why a content header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertiesError {
    /// A property reaches beyond the end.
    Truncated,
    /// Bytes are left behind the last property.
    Trailing,
    /// A flag is set that no property belongs to.
    UnknownFlag,
    /// The headers table is damaged.
    Headers(TableError),
}

impl PropertiesError {
    /// The hard error that answers such a publish; its cause is `basic.publish`, 60/40.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::connection(ReplyCode::FrameError, format!("cannot decode content header: {self}"))
    }
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("properties are truncated"),
            Self::Trailing => f.write_str("properties have bytes behind their end"),
            Self::UnknownFlag => f.write_str("properties have an unknown flag"),
            Self::Headers(error) => write!(f, "headers: {error}"),
        }
    }
}

impl std::error::Error for PropertiesError {}

/// The properties of a message, borrowed from its content header; each is `None` when its flag is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// MIME type.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding.
    pub content_encoding: Option<&'a [u8]>,
    /// The headers as a raw table.
    pub headers: Option<&'a [u8]>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 9, and higher for queues that allow it.
    pub priority: Option<u8>,
    /// Which request a reply belongs to.
    pub correlation_id: Option<&'a [u8]>,
    /// The queue to reply to.
    pub reply_to: Option<&'a [u8]>,
    /// Milliseconds as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// The application's message id.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's message type (`type` on the wire).
    pub kind: Option<&'a [u8]>,
    /// Who published; must be the authenticated user.
    pub user_id: Option<&'a [u8]>,
    /// The publishing application.
    pub app_id: Option<&'a [u8]>,
    /// Deprecated.
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Reads a content header payload; the headers table is checked to its end.
    ///
    /// # Errors
    /// Says what is damaged.
    #[inline]
    pub fn parse(header_payload: &'a [u8]) -> Result<Self, PropertiesError> {
        let mut reader = Reader::new(header_payload);
        reader.take(HEADER_MIN - 2).ok_or(PropertiesError::Truncated)?;
        let flags = reader.u16().ok_or(PropertiesError::Truncated)?;
        if flags & UNKNOWN != 0 {
            return Err(PropertiesError::UnknownFlag);
        }
        let mut properties = Self::default();
        properties.read(flags, &mut reader).ok_or(PropertiesError::Truncated)?;
        if !reader.is_empty() {
            return Err(PropertiesError::Trailing);
        }
        if let Some(headers) = properties.headers {
            table::validate(headers, table::DEPTH_MAX).map_err(PropertiesError::Headers)?;
        }
        Ok(properties)
    }

    /// Reads the properties that are set, from the highest flag down, which is their order on the wire.
    #[inline]
    fn read(&mut self, mut flags: u16, reader: &mut Reader<'a>) -> Option<()> {
        while flags != 0 {
            let flag = (1 << 15) >> flags.leading_zeros();
            flags ^= flag;
            match flag {
                CONTENT_TYPE => self.content_type = Some(reader.short_str()?),
                CONTENT_ENCODING => self.content_encoding = Some(reader.short_str()?),
                HEADERS => self.headers = Some(reader.long_str()?),
                DELIVERY_MODE => self.delivery_mode = Some(reader.u8()?),
                PRIORITY => self.priority = Some(reader.u8()?),
                CORRELATION_ID => self.correlation_id = Some(reader.short_str()?),
                REPLY_TO => self.reply_to = Some(reader.short_str()?),
                EXPIRATION => self.expiration = Some(reader.short_str()?),
                MESSAGE_ID => self.message_id = Some(reader.short_str()?),
                TIMESTAMP => self.timestamp = Some(reader.u64()?),
                KIND => self.kind = Some(reader.short_str()?),
                USER_ID => self.user_id = Some(reader.short_str()?),
                APP_ID => self.app_id = Some(reader.short_str()?),
                _ => self.cluster_id = Some(reader.short_str()?),
            }
        }
        Some(())
    }

    fn flags(&self) -> u16 {
        let set = |flag: u16, is_set: bool| if is_set { flag } else { 0 };
        set(CONTENT_TYPE, self.content_type.is_some())
            | set(CONTENT_ENCODING, self.content_encoding.is_some())
            | set(HEADERS, self.headers.is_some())
            | set(DELIVERY_MODE, self.delivery_mode.is_some())
            | set(PRIORITY, self.priority.is_some())
            | set(CORRELATION_ID, self.correlation_id.is_some())
            | set(REPLY_TO, self.reply_to.is_some())
            | set(EXPIRATION, self.expiration.is_some())
            | set(MESSAGE_ID, self.message_id.is_some())
            | set(TIMESTAMP, self.timestamp.is_some())
            | set(KIND, self.kind.is_some())
            | set(USER_ID, self.user_id.is_some())
            | set(APP_ID, self.app_id.is_some())
            | set(CLUSTER_ID, self.cluster_id.is_some())
    }
}

/// What to change in a content header; the default changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// The new headers as a raw table; `None` keeps them.
    pub headers: Option<&'a [u8]>,
    /// Takes the expiration off.
    pub drop_expiration: bool,
    /// The new `reply_to`, at most 255 bytes; `None` keeps it.
    pub reply_to: Option<&'a [u8]>,
}

/// A new content header payload with the edit applied; everything else stays as it was, byte for byte.
///
/// # Errors
/// Says what is damaged in the old one.
pub fn rewrite(header_payload: &[u8], edit: &Edit<'_>) -> Result<Vec<u8>, PropertiesError> {
    let mut properties = Properties::parse(header_payload)?;
    if edit.headers.is_some() {
        properties.headers = edit.headers;
    }
    if edit.drop_expiration {
        properties.expiration = None;
    }
    if edit.reply_to.is_some() {
        properties.reply_to = edit.reply_to;
    }
    let size = body_size(header_payload).ok_or(PropertiesError::Truncated)?;
    Ok(with_fields(size, &properties))
}

/// The body size that a content header payload declares, in bytes; `None` when it is cut short.
#[must_use]
pub fn body_size(header_payload: &[u8]) -> Option<u64> {
    Reader::new(header_payload.get(4..)?).u64()
}

/// A content header payload from its parts.
#[must_use]
pub fn with_fields(body_size: u64, properties: &Properties<'_>) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(HEADER_MIN + properties.headers.map_or(64, |headers| headers.len() + 64));
    put_u16(&mut out, BASIC_CLASS);
    put_u16(&mut out, 0);
    put_u64(&mut out, body_size);
    put_u16(&mut out, properties.flags());
    put_short(&mut out, properties.content_type);
    put_short(&mut out, properties.content_encoding);
    if let Some(headers) = properties.headers {
        put_long_str(&mut out, headers);
    }
    out.extend(properties.delivery_mode);
    out.extend(properties.priority);
    put_short(&mut out, properties.correlation_id);
    put_short(&mut out, properties.reply_to);
    put_short(&mut out, properties.expiration);
    put_short(&mut out, properties.message_id);
    if let Some(timestamp) = properties.timestamp {
        put_u64(&mut out, timestamp);
    }
    put_short(&mut out, properties.kind);
    put_short(&mut out, properties.user_id);
    put_short(&mut out, properties.app_id);
    put_short(&mut out, properties.cluster_id);
    out
}

fn put_short(out: &mut Vec<u8>, value: Option<&[u8]>) {
    if let Some(value) = value {
        put_short_str(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Properties<'static> {
        Properties {
            content_type: Some(b"text/plain"),
            content_encoding: Some(b"gzip"),
            headers: Some(b"\x01at\x01"),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some(b"c"),
            reply_to: Some(b"r"),
            expiration: Some(b"1000"),
            message_id: Some(b"m"),
            timestamp: Some(u64::MAX),
            kind: Some(b"t"),
            user_id: Some(b"guest"),
            app_id: Some(b""),
            cluster_id: Some(b"x"),
        }
    }

    #[test]
    fn all_properties_come_back() {
        for properties in [everything(), Properties::default()] {
            let header = with_fields(7, &properties);
            assert_eq!(Properties::parse(&header), Ok(properties));
            assert_eq!(body_size(&header), Some(7));
            assert_eq!(rewrite(&header, &Edit::default()), Ok(header));
        }
    }

    #[test]
    fn an_edit_changes_nothing_else() {
        let header = with_fields(7, &everything());
        let edit = Edit { headers: Some(b"\x01bV"), drop_expiration: true, reply_to: Some(b"new") };
        let edited = rewrite(&header, &edit).unwrap();
        let expected =
            Properties { headers: Some(b"\x01bV"), expiration: None, reply_to: Some(b"new"), ..everything() };
        assert_eq!(Properties::parse(&edited), Ok(expected));
        assert_eq!(body_size(&edited), Some(7));
    }

    #[test]
    fn damaged_headers_are_refused() {
        let header = with_fields(7, &everything());
        for cut in 0..header.len() {
            assert!(Properties::parse(&header[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Properties::parse(&[&header[..], b"x"].concat()), Err(PropertiesError::Trailing));
        let mut unknown = with_fields(0, &Properties::default());
        unknown[13] = 1;
        assert_eq!(Properties::parse(&unknown), Err(PropertiesError::UnknownFlag));
        let bad = with_fields(0, &Properties { headers: Some(b"\x01az"), ..Properties::default() });
        assert_eq!(Properties::parse(&bad), Err(PropertiesError::Headers(TableError::UnknownKind(b'z'))));
    }
}
