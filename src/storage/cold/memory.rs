//! A cold store in memory, for the simulation: RocksDB takes longer to open than a simulated cluster to live. It keeps the
//! one promise that matters after a crash: of the batches since the last flush a prefix is left, each whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{ColdBatch, Family, Step};
use super::large::LargeChunks;
use super::{ColdStore, Engine};
use crate::storage::error::StorageError;

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a node's disk holds of its cold store; stays when the store is closed.
#[derive(Debug, Default)]
pub(crate) struct MemoryFiles(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    flushed: [Rows; Family::ALL.len()],
    /// What readers see.
    now: [Rows; Family::ALL.len()],
    /// What is not flushed.
    batches: Vec<ColdBatch>,
    /// Writes fail from now on.
    fails: bool,
}

/// A key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

impl MemoryFiles {
    /// The power is cut: of what is not flushed, so many batches are left.
    pub(crate) fn crash(&self, batches_left: usize) {
        let mut files = self.lock();
        let batches = std::mem::take(&mut files.batches);
        batches.iter().take(batches_left).for_each(|batch| apply(&mut files.flushed, batch));
        files.now = files.flushed.clone();
        files.fails = false;
    }

    /// How many batches are not flushed.
    pub(crate) fn unflushed(&self) -> usize {
        self.lock().batches.len()
    }

    /// Whether writing and flushing fails.
    pub(crate) fn set_failing(&self, fails: bool) {
        self.lock().fails = fails;
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open store over such files.
#[derive(Debug)]
pub(super) struct Memory(Arc<MemoryFiles>);

impl Memory {
    pub(super) fn write(&self, batch: ColdBatch) -> Result<(), StorageError> {
        let mut files = self.0.lock();
        check(files.fails)?;
        apply(&mut files.now, &batch);
        files.batches.push(batch);
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), StorageError> {
        let mut files = self.0.lock();
        check(files.fails)?;
        let batches = std::mem::take(&mut files.batches);
        batches.iter().for_each(|batch| apply(&mut files.flushed, batch));
        Ok(())
    }

    pub(super) fn copy(&self) -> [Rows; Family::ALL.len()] {
        self.0.lock().now.clone()
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().now[family as usize].get(key).cloned()
    }

    /// The rows from one key up to another, which is left out; all of them without.
    pub(super) fn rows(&self, family: Family, range: Option<(&[u8], &[u8])>) -> Vec<Row> {
        let files = self.0.lock();
        let rows = &files.now[family as usize];
        let is_within = |key: &[u8]| range.is_none_or(|(_, to)| key < to);
        let from = range.map_or_else(Vec::new, |(from, _)| from.to_vec());
        rows.range(from..)
            .take_while(|(key, _)| is_within(key))
            .map(|(key, value)| (key.as_slice().into(), value.as_slice().into()))
            .collect()
    }
}

impl ColdStore {
    /// Opens a store in memory; large chunks are files in `dir` all the same.
    pub(crate) fn in_memory(files: Arc<MemoryFiles>, dir: &Path) -> Result<Self, StorageError> {
        let memory = Memory(files);
        let large = LargeChunks::open(dir.join("large"), |queue, first| {
            Ok(memory.get(Family::Chunks, &super::keys::chunk(queue, first)).is_some())
        })?;
        Ok(Self::over(Engine::Memory(memory), dir, large))
    }
}

fn check(fails: bool) -> Result<(), StorageError> {
    let reason = || StorageError::Cold { action: "write", reason: "the simulated disk fails".to_owned() };
    if fails { Err(reason()) } else { Ok(()) }
}

fn apply(families: &mut [Rows; Family::ALL.len()], batch: &ColdBatch) {
    for (family, step) in batch.steps() {
        let rows = &mut families[family as usize];
        match step {
            Step::Put(key, value) => drop(rows.insert(key.to_vec(), value.to_vec())),
            Step::Delete(key) => drop(rows.remove(key)),
            Step::DeleteRange(from, to) => {
                let gone: Vec<_> = rows
                    .range(from.to_vec()..to.to_vec().max(from.to_vec()))
                    .map(|(key, _)| key.clone())
                    .collect();
                gone.iter().for_each(|key| drop(rows.remove(key)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_a_prefix_of_what_was_not_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(MemoryFiles::default());
        let store = ColdStore::in_memory(Arc::clone(&files), dir.path()).unwrap();
        let write = |key: &[u8]| {
            let mut batch = ColdBatch::new();
            batch.put_meta(key, b"");
            store.write(batch).unwrap();
        };
        write(b"a");
        store.flush().unwrap();
        write(b"b");
        write(b"c");
        assert_eq!(store.metas().count(), 3);
        assert_eq!(files.unflushed(), 2);
        files.crash(1);
        let left: Vec<_> = store.metas().map(|row| row.unwrap().0.into_vec()).collect();
        assert_eq!(left, [b"a", b"b"]);
    }

    #[test]
    fn memory_answers_as_rocksdb_does() {
        let dir = tempfile::tempdir().unwrap();
        let stores = [
            ColdStore::open(&dir.path().join("rocks"), &super::super::ColdOptions::default()).unwrap(),
            ColdStore::in_memory(Arc::default(), &dir.path().join("memory")).unwrap(),
        ];
        for store in &stores {
            let mut batch = ColdBatch::new();
            for queue in 1..4 {
                batch.put_queue(queue, b"row");
                for first in [1, 5, 9] {
                    batch.put_chunk(queue, first, b"descriptor", &[7; 20]);
                    batch.put_due(queue, first * 10, first);
                }
            }
            batch.delete_queue_all(2);
            batch.delete_chunks(3, 2..9);
            batch.delete_due_before(3, 50);
            batch.put_applied(7, 99);
            store.write(batch).unwrap();
        }
        let all = |store: &ColdStore| {
            let queues: Vec<_> = store.queues().map(Result::unwrap).collect();
            let chunks: Vec<_> = (1..4).flat_map(|queue| store.chunks(queue)).map(Result::unwrap).collect();
            let dues: Vec<_> = (1..4).map(|queue| store.due(queue, 0, 1000, 10).unwrap()).collect();
            let data: Vec<_> = (1..4).map(|queue| store.get_chunk(queue, 5).unwrap()).collect();
            (queues, chunks, dues, data, store.first_due(3).unwrap(), store.applied().unwrap())
        };
        assert_eq!(all(&stores[0]), all(&stores[1]));
        assert_eq!(all(&stores[1]).0.len(), 2);
    }
}
