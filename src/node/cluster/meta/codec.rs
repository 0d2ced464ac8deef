//! Reading and writing fields.

use std::fmt;

use crate::broker::topology::RowError;
use crate::protocol::error::{Refusal, Scope};
use crate::protocol::reply_code::ReplyCode;
use crate::protocol::wire::{Reader, put_long_str, put_u8, put_u16};

/// Bytes that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is malformed, or a newer version wrote it")
    }
}

impl std::error::Error for Malformed {}

impl From<RowError> for Malformed {
    fn from(_: RowError) -> Self {
        Self
    }
}

/// Reads field by field.
pub(super) struct Fields<'a>(Reader<'a>);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.u8().ok_or(Malformed)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.u16().ok_or(Malformed)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.u64().ok_or(Malformed)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.0.long_str().ok_or(Malformed)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)?.to_owned())
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long_str(out, text.as_bytes());
}

pub(super) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_u8(out, u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(super) fn put_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    put_u8(out, u8::from(refusal.scope == Scope::Connection));
    put_u16(out, refusal.code.id());
    put_text(out, &refusal.text);
}

pub(super) fn read_refusal(from: &mut Fields<'_>) -> Result<Refusal, Malformed> {
    let scope = if from.bool()? { Scope::Connection } else { Scope::Channel };
    let code = ReplyCode::from_id(from.u16()?).ok_or(Malformed)?;
    Ok(Refusal { scope, code, text: from.text()? })
}
