//! The cold store: RocksDB without a log of its own, since the node's log is one.
//!
//! - `options`: how RocksDB is set up
//! - `keys`: the keys of each column family
//! - `batch`: changes made together
//! - `read`: what can be asked
//! - `large`: chunks that are files
//! - `snapshot`, `restore`: copies of queues for other nodes, in pieces
//! - `garbage`: giving deleted space back
//! - `memory`: the stand-in of the simulation
//!
//! What is written survives a crash only once [`ColdStore::flush`] has returned. Without it, a crash leaves a
//! prefix of the batches, each whole; the log replays the rest.

mod batch;
mod garbage;
mod keys;
mod large;
#[cfg(test)]
mod memory;
mod options;
mod read;
mod restore;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use rocksdb::{ColumnFamily, DB, FlushOptions, WriteBatch, WriteOptions};

pub use batch::ColdBatch;
#[cfg(test)]
pub(crate) use memory::MemoryFiles;
pub use options::ColdOptions;
pub use restore::Restore;
pub use snapshot::{ColdSnapshot, PIECE_BYTES, SnapshotOf};

use super::{error::StorageError, lock::create_dir};
use batch::{Family, Step};
use garbage::Garbage;
use large::LargeChunks;

const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"1";

/// The open cold store; may be used from several threads.
pub struct ColdStore {
    engine: Engine,
    dir: PathBuf,
    write_options: WriteOptions,
    garbage: Mutex<Garbage>,
    large: LargeChunks,
}

enum Engine {
    Rocks(DB),
    #[cfg(test)]
    Memory(memory::Memory),
}

impl std::fmt::Debug for ColdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColdStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl ColdStore {
    /// Opens the store in `dir`, creating it if missing.
    ///
    /// # Errors
    /// When it is damaged, of another format, or cannot be read or written.
    pub fn open(dir: &Path, options: &ColdOptions) -> Result<Self, StorageError> {
        create_dir(dir)?;
        let db = DB::open_cf_descriptors(&options.database(), dir, options.families())
            .map_err(refused("open its files"))?;
        let large = LargeChunks::open(dir.join("large"), |queue, first| {
            let chunks = db.cf_handle(Family::Chunks.name());
            let found = chunks.map(|chunks| db.get_pinned_cf(chunks, keys::chunk(queue, first)));
            Ok(found.transpose().map_err(refused("read"))?.flatten().is_some())
        })?;
        let store = Self::over(Engine::Rocks(db), dir, large);
        store.check_format()?;
        Ok(store)
    }

    fn over(engine: Engine, dir: &Path, large: LargeChunks) -> Self {
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        Self { engine, dir: dir.to_path_buf(), write_options, garbage: Mutex::default(), large }
    }

    /// Makes all changes of the batch, or none; readers see them when this returns.
    ///
    /// # Errors
    /// When RocksDB refuses; it keeps refusing until the store is opened anew.
    pub fn write(&self, batch: ColdBatch) -> Result<(), StorageError> {
        let _moving = self.large.moving();
        self.large.write(batch.large())?;
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            let (deleted, large) = (batch.deleted().to_vec(), batch.large().to_vec());
            memory.write(batch)?;
            return self.large.remove(&deleted, &large);
        }
        let families = self.families()?;
        let mut writes = WriteBatch::with_capacity_bytes(batch.bytes() + batch.bytes() / 8);
        for (family, step) in batch.steps() {
            let family = families[family as usize];
            match step {
                Step::Put(key, value) => writes.put_cf(family, key, value),
                Step::Delete(key) => writes.delete_cf(family, key),
                Step::DeleteRange(from, to) => writes.delete_range_cf(family, from, to),
            }
        }
        self.db()?.write_opt(writes, &self.write_options).map_err(refused("write"))?;
        self.note_garbage(batch.deleted());
        self.large.remove(batch.deleted(), batch.large())
    }

    /// Makes everything written before the call durable.
    ///
    /// # Errors
    /// When RocksDB cannot write its files.
    pub fn flush(&self) -> Result<(), StorageError> {
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            return memory.flush();
        }
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db()?.flush_cfs_opt(&self.families()?, &options).map_err(refused("flush"))
    }

    fn check_format(&self) -> Result<(), StorageError> {
        let found = self.db()?.get_cf(self.family(Family::Default)?, FORMAT_KEY).map_err(refused("read"))?;
        match found.as_deref() {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(StorageError::Format {
                path: self.dir.clone(),
                found: format!("cold store format {}", String::from_utf8_lossy(found)),
                expected: format!("cold store format {}", String::from_utf8_lossy(FORMAT)),
            }),
            None => {
                let mut batch = ColdBatch::new();
                batch.put_default(FORMAT_KEY, FORMAT);
                self.write(batch)?;
                self.flush()
            }
        }
    }

    #[cfg_attr(
        not(test),
        expect(clippy::unnecessary_wraps, reason = "the stand-in of the simulation has no database")
    )]
    fn db(&self) -> Result<&DB, StorageError> {
        match &self.engine {
            Engine::Rocks(db) => Ok(db),
            #[cfg(test)]
            Engine::Memory(_) => {
                Err(StorageError::Cold { action: "ask RocksDB", reason: "the store is in memory".to_owned() })
            }
        }
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StorageError> {
        let missing = || StorageError::Cold {
            action: "find column family",
            reason: format!("no column family '{}'", family.name()),
        };
        self.db()?.cf_handle(family.name()).ok_or_else(missing)
    }

    /// In the order of [`Family`].
    fn families(&self) -> Result<[&ColumnFamily; Family::ALL.len()], StorageError> {
        let [default, meta, queues, chunks, data, due] = Family::ALL.map(|family| self.family(family));
        Ok([default?, meta?, queues?, chunks?, data?, due?])
    }
}

fn refused(action: &'static str) -> impl FnOnce(rocksdb::Error) -> StorageError {
    move |error| StorageError::Cold { action, reason: error.into_string() }
}

fn malformed(family: Family) -> StorageError {
    StorageError::Cold { action: "read", reason: format!("malformed key or value in '{}'", family.name()) }
}
