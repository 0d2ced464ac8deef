//! What the cold store knows of a group as a whole, little endian: version u8, the entry up to which the store has
//! everything u64, up to which index of the meta group declarations must be known to read it u64, then what the group
//! remembers of sessions.

use crate::node::cluster::session::SessionTable;

/// The row's name in the cold store.
pub(crate) const STATE: &str = "state";
/// Name of a row that is there as long as the group's queues are being replaced by a copy.
pub(crate) const RESTORING: &str = "restoring";

const VERSION: u8 = 1;

/// A group as its cold store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupRow {
    /// Entries up to this one are in the store.
    pub(crate) applied: u64,
    /// Declarations up to this index of the meta group were known.
    pub(crate) meta_index: u64,
    /// What is remembered of sessions.
    pub(crate) table: SessionTable,
}

impl GroupRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend_from_slice(&self.applied.to_le_bytes());
        row.extend_from_slice(&self.meta_index.to_le_bytes());
        row.extend_from_slice(&self.table.encode());
        row
    }

    /// `None` when it is no such row.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (version, row) = row.split_first()?;
        let (applied, row) = row.split_first_chunk()?;
        let (meta_index, table) = row.split_first_chunk()?;
        (*version == VERSION).then_some(())?;
        Some(Self {
            applied: u64::from_le_bytes(*applied),
            meta_index: u64::from_le_bytes(*meta_index),
            table: SessionTable::decode(table)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_written() {
        let row = GroupRow { applied: 7, meta_index: 9, table: SessionTable::default() };
        let written = row.encode();
        assert_eq!(GroupRow::decode(&written), Some(row));
        for cut in 0..written.len() {
            assert_eq!(GroupRow::decode(&written[..cut]), None);
        }
    }
}
