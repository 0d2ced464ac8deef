//! Gives the space of deleted chunks back.
//!
//! A blob file goes when no key points into it any more, and a deleted key stops pointing only when a compaction
//! drops it. The keys are few and small, so compacting where chunks were deleted costs little. Queues empty from
//! their oldest chunk on, so most files go whole. Only when half of what the files hold is dead, what is alive in
//! the oldest of them is moved together, a bounded amount at a time.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{MutexGuard, PoisonError},
};

use rocksdb::{BottommostLevelCompaction, ColumnFamily, CompactOptions};

use super::{ColdStore, batch::Family, keys, refused};
use crate::storage::error::StorageError;

/// Compactions of one call at most; the rest waits for the next.
const COMPACTIONS_MAX: usize = 32;
/// Less garbage than this, in bytes, is not worth moving anything.
const GARBAGE_BYTES_MIN: u64 = 128 << 20;
/// Blob files of this many bytes in all are emptied in one call at most.
const MOVED_BYTES_MAX: u64 = 512 << 20;

/// Per queue the extent of first sequence numbers deleted and not compacted yet.
#[derive(Debug, Default)]
pub(super) struct Garbage(BTreeMap<u64, Range<u64>>);

impl Garbage {
    fn note(&mut self, queue: u64, seqs: &Range<u64>) {
        let extent = self.0.entry(queue).or_insert_with(|| seqs.clone());
        extent.start = extent.start.min(seqs.start);
        extent.end = extent.end.max(seqs.end);
    }

    /// Takes out queues with numbers in a row as one extent: from the first one's start to the last one's end.
    fn take(&mut self) -> Option<((u64, u64), (u64, u64))> {
        let (first, extent) = self.0.pop_first()?;
        let mut end = (first, extent.end);
        while let Some(next) = end.0.checked_add(1).and_then(|next| self.0.remove(&next)) {
            end = (end.0 + 1, next.end);
        }
        Some(((first, extent.start), end))
    }
}

impl ColdStore {
    /// Compacts where chunks were deleted since the last call, so that their files are given back.
    ///
    /// For checkpoints, after [`Self::flush`]. Blocks while RocksDB works: usually some milliseconds, seconds when
    /// live chunks must be moved.
    ///
    /// # Errors
    /// When the store is not usable.
    pub fn compact_deleted(&self) -> Result<(), StorageError> {
        #[cfg(test)]
        if matches!(self.engine, super::Engine::Memory(_)) {
            return Ok(());
        }
        let data = self.family(Family::Data)?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        for _ in 0..COMPACTIONS_MAX {
            let Some((from, to)) = self.garbage().take() else { break };
            let (from, to) = (keys::chunk(from.0, from.1), keys::chunk(to.0, to.1));
            self.db()?.compact_range_cf_opt(data, Some(from), Some(to), &options);
        }
        self.move_live(data)
    }

    /// Moves what is alive out of the oldest blob files once half of all is garbage.
    fn move_live(&self, data: &ColumnFamily) -> Result<(), StorageError> {
        let size = self.blob_bytes(data, "rocksdb.live-blob-file-size")?;
        let garbage = self.blob_bytes(data, "rocksdb.live-blob-file-garbage-size")?;
        if garbage < GARBAGE_BYTES_MIN || garbage < size / 2 {
            return Ok(());
        }
        let percent = (MOVED_BYTES_MAX.saturating_mul(100) / size).clamp(1, 50);
        let share = format!("0.{percent:02}");
        self.set_moving(
            data,
            &[("enable_blob_garbage_collection", "true"), ("blob_garbage_collection_age_cutoff", &share)],
        )?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db()?.compact_range_cf_opt(data, None::<&[u8]>, None::<&[u8]>, &options);
        self.set_moving(data, &[("enable_blob_garbage_collection", "false")])
    }

    fn set_moving(&self, data: &ColumnFamily, options: &[(&str, &str)]) -> Result<(), StorageError> {
        self.db()?.set_options_cf(data, options).map_err(refused("set options"))
    }

    fn blob_bytes(&self, data: &ColumnFamily, name: &str) -> Result<u64, StorageError> {
        Ok(self.db()?.property_int_value_cf(data, name).map_err(refused("read properties"))?.unwrap_or(0))
    }

    pub(super) fn note_garbage(&self, deleted: &[(u64, Range<u64>)]) {
        if deleted.is_empty() {
            return;
        }
        let mut garbage = self.garbage();
        deleted.iter().for_each(|(queue, seqs)| garbage.note(*queue, seqs));
    }

    fn garbage(&self) -> MutexGuard<'_, Garbage> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_compacted_together() {
        let mut garbage = Garbage::default();
        for (queue, seqs) in [(5, 10..20), (6, 0..3), (5, 2..4), (9, 1..2), (u64::MAX, 7..8)] {
            garbage.note(queue, &seqs);
        }
        assert_eq!(garbage.take(), Some(((5, 2), (6, 3))));
        assert_eq!(garbage.take(), Some(((9, 1), (9, 2))));
        assert_eq!(garbage.take(), Some(((u64::MAX, 7), (u64::MAX, 8))));
        assert_eq!(garbage.take(), None);
    }
}
