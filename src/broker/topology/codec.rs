//! The bytes of rows: big-endian numbers, strings and tables behind a 4-byte length.

use std::fmt;

use amq_protocol::types::FieldTable;

use crate::protocol::table::{self, TableError};
use crate::protocol::wire::{Reader, put_long_str};

/// Why a row cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowError {
    /// It ends too early.
    Truncated,
    /// Bytes are left over.
    TooLong,
    /// A later version wrote it.
    Version {
        /// What the row says.
        found: u8,
        /// What this program reads.
        expected: u8,
    },
    /// It says of itself to be something that is not known.
    UnknownKind(u8),
    /// A name is not UTF-8.
    NotUtf8,
    /// Its arguments cannot be read.
    Arguments(TableError),
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("row is truncated"),
            Self::TooLong => f.write_str("row has bytes left over"),
            Self::Version { found, expected } => write!(f, "row has version {found}, expected {expected}"),
            Self::UnknownKind(kind) => write!(f, "row is of unknown kind {kind}"),
            Self::NotUtf8 => f.write_str("row holds a name that is not UTF-8"),
            Self::Arguments(error) => write!(f, "row holds arguments that cannot be read: {error}"),
        }
    }
}

impl std::error::Error for RowError {}

/// Reads a row, field by field.
pub(super) struct RowReader<'a>(Reader<'a>);

impl<'a> RowReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    pub(super) fn u8(&mut self) -> Result<u8, RowError> {
        self.0.u8().ok_or(RowError::Truncated)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RowError> {
        self.0.u16().ok_or(RowError::Truncated)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RowError> {
        self.0.u32().ok_or(RowError::Truncated)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RowError> {
        self.0.u64().ok_or(RowError::Truncated)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RowError> {
        self.0.long_str().ok_or(RowError::Truncated)
    }

    pub(super) fn text(&mut self) -> Result<String, RowError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| RowError::NotUtf8)?;
        Ok(text.to_owned())
    }

    pub(super) fn table(&mut self) -> Result<FieldTable, RowError> {
        table::to_field_table(self.bytes()?).map_err(RowError::Arguments)
    }

    /// Reads a version; true when it is the second of the two.
    pub(super) fn version(&mut self, expected: u8, other: u8) -> Result<bool, RowError> {
        match self.u8()? {
            found if found == expected => Ok(false),
            found if found == other => Ok(true),
            found => Err(RowError::Version { found, expected }),
        }
    }

    /// Everything that is left.
    pub(super) fn all(&mut self) -> &'a [u8] {
        let rest = self.0.rest();
        self.0 = Reader::new(&[]);
        rest
    }

    pub(super) fn rest(&self) -> usize {
        self.0.rest().len()
    }

    pub(super) fn end(&self) -> Result<(), RowError> {
        if self.0.is_empty() { Ok(()) } else { Err(RowError::TooLong) }
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long_str(out, text.as_bytes());
}

pub(super) fn put_table(out: &mut Vec<u8>, table: &FieldTable) {
    put_long_str(out, &table::from_field_table(table));
}
