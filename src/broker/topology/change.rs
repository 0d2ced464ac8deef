//! Changes: rows that come or go, as the log carries them.

use crate::protocol::wire::{put_long_str, put_u8};

use super::codec::{RowError, RowReader};
use super::row::{Row, RowKey};

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// One step of what has to be kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The row is there from now on, in place of one with the same key.
    Put(Row),
    /// No row has this key from now on.
    Delete(RowKey),
}

impl Change {
    pub(super) fn delete(row: &Row) -> Self {
        Self::Delete(row.key())
    }

    /// The key of the row that comes or goes.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Put(row) => row.key(),
            Self::Delete(key) => key.clone(),
        }
    }

    /// Appends the change; changes may follow each other without a separator.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(row) => {
                put_u8(out, PUT);
                put_long_str(out, &row.key().0);
                put_long_str(out, &row.value());
            }
            Self::Delete(key) => {
                put_u8(out, DELETE);
                put_long_str(out, &key.0);
            }
        }
    }

    /// Reads the first change in `bytes`, and says how many bytes it took.
    ///
    /// # Errors
    /// When the bytes are not what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), RowError> {
        let mut reader = RowReader::new(bytes);
        let change = match reader.u8()? {
            PUT => {
                let (key, value) = (reader.bytes()?, reader.bytes()?);
                Self::Put(Row::decode(key, value)?)
            }
            DELETE => Self::Delete(RowKey(reader.bytes()?.to_vec())),
            other => return Err(RowError::UnknownKind(other)),
        };
        Ok((change, bytes.len() - reader.rest()))
    }
}
