//! What a group remembers of the sessions that ask it: part of its replicated state.
//!
//! A mark, and the table as a whole, are rows one behind the other, little endian: node u16, session u64, highest number u64,
//! what the session knows the fate of (below) u64, how many refusals u32; for each of them its number u64, how many runs
//! u32, then (first place u32, count u32) for each run.

use std::collections::BTreeMap;

use crate::broker::ids::NodeId;
use crate::node::cluster::forward::SessionId;

/// Places of messages in a batch, side by side: the first, and how many.
pub(crate) type Places = Vec<(u32, u32)>;

/// The sessions of all nodes with one group. A node has one at a time: a new one takes the place of the one before, whose
/// process is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionTable(BTreeMap<NodeId, Remembered>);

/// One session, as far as its group has it for certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) session: SessionId,
    /// Everything up to this number has taken place.
    pub(crate) number: u64,
    /// The session knows what became of all items below this number.
    pub(crate) answered: u64,
    /// Messages of items that were not taken in, from `answered` on: whoever asks again must hear the same.
    pub(crate) refused: BTreeMap<u64, Places>,
}

impl SessionTable {
    /// Takes a mark, or a whole table. `None`, and nothing certain about the rest, when it is not one.
    pub(crate) fn apply(&mut self, mut rows: &[u8]) -> Option<()> {
        while !rows.is_empty() {
            let node = u16::from_le_bytes(take(&mut rows)?);
            let row = Remembered::decode(&mut rows)?;
            self.take_in(node, row);
        }
        Some(())
    }

    fn take_in(&mut self, node: NodeId, row: Remembered) {
        let known = self.0.entry(node).or_default();
        if known.session != row.session {
            *known = row;
            return;
        }
        known.number = known.number.max(row.number);
        known.answered = known.answered.max(row.answered);
        known.refused.extend(row.refused);
        known.refused = known.refused.split_off(&known.answered);
    }

    /// All of it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for (node, row) in &self.0 {
            row.encode(*node, &mut rows);
        }
        rows
    }

    /// What [`Self::encode`] gave. `None` when it is something else.
    pub(crate) fn decode(rows: &[u8]) -> Option<Self> {
        let mut table = Self::default();
        table.apply(rows)?;
        Some(table)
    }

    /// What is remembered of this session.
    pub(super) fn row(&self, node: NodeId, session: SessionId) -> Option<&Remembered> {
        self.0.get(&node).filter(|row| row.session == session)
    }
}

impl Remembered {
    pub(super) fn encode(&self, node: NodeId, rows: &mut Vec<u8>) {
        rows.extend_from_slice(&node.to_le_bytes());
        for number in [self.session, self.number, self.answered] {
            rows.extend_from_slice(&number.to_le_bytes());
        }
        rows.extend_from_slice(&length(self.refused.len()));
        for (number, places) in &self.refused {
            rows.extend_from_slice(&number.to_le_bytes());
            rows.extend_from_slice(&length(places.len()));
            for (place, count) in places {
                rows.extend_from_slice(&place.to_le_bytes());
                rows.extend_from_slice(&count.to_le_bytes());
            }
        }
    }

    fn decode(rows: &mut &[u8]) -> Option<Self> {
        let [session, number, answered] = [u64_of(rows)?, u64_of(rows)?, u64_of(rows)?];
        let mut refused = BTreeMap::new();
        for _ in 0..u32_of(rows)? {
            let (number, mut places) = (u64_of(rows)?, Vec::new());
            for _ in 0..u32_of(rows)? {
                places.push((u32_of(rows)?, u32_of(rows)?));
            }
            refused.insert(number, places);
        }
        Some(Self { session, number, answered, refused })
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn u32_of(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn u64_of(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(session: u64, number: u64, answered: u64, refused: &[u64]) -> Remembered {
        let refused = refused.iter().map(|number| (*number, vec![(0, 1), (5, 2)])).collect();
        Remembered { session, number, answered, refused }
    }

    fn mark(node: NodeId, row: &Remembered) -> Vec<u8> {
        let mut bytes = Vec::new();
        row.encode(node, &mut bytes);
        bytes
    }

    #[test]
    fn a_table_is_the_same_after_its_encoding() {
        let mut table = SessionTable::default();
        let marks = [mark(3, &row(7, 9, 4, &[5, 8])), mark(1, &row(2, 1, 1, &[]))].concat();
        table.apply(&marks).unwrap();
        assert_eq!(SessionTable::decode(&table.encode()), Some(table.clone()));
        for cut in 1..marks.len() {
            let whole = mark(3, &row(7, 9, 4, &[5, 8])).len();
            assert_eq!(SessionTable::default().apply(&marks[..cut]).is_some(), cut == whole, "{cut}");
        }
    }

    #[test]
    fn refusals_are_forgotten_once_the_session_knows_of_them() {
        let mut table = SessionTable::default();
        table.apply(&mark(3, &row(7, 9, 4, &[5, 8]))).unwrap();
        table.apply(&mark(3, &row(7, 8, 6, &[]))).unwrap();
        let known = table.row(3, 7).unwrap();
        assert_eq!((known.number, known.answered), (9, 6));
        assert_eq!(known.refused.keys().copied().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn a_new_run_of_a_node_takes_the_place_of_the_one_before() {
        let mut table = SessionTable::default();
        table.apply(&mark(3, &row(7, 9, 4, &[5]))).unwrap();
        table.apply(&mark(3, &row(8, 1, 1, &[]))).unwrap();
        assert_eq!(table.row(3, 7), None);
        assert_eq!(table.row(3, 8), Some(&row(8, 1, 1, &[])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SessionTable::decode(&bytes);
        }
    }
}
