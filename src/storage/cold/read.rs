//! What the cold store can be asked.

use bytes::Bytes;
use rocksdb::{DBIterator, IteratorMode, ReadOptions};

use super::{ColdStore, batch::Family, keys, malformed, refused};
use crate::storage::error::StorageError;

type Row = (Box<[u8]>, Box<[u8]>);

impl ColdStore {
    /// The bytes of a chunk.
    ///
    /// # Errors
    /// When they cannot be read or do not match their checksum.
    pub fn get_chunk(&self, queue: u64, first_seq: u64) -> Result<Option<Bytes>, StorageError> {
        if let Some(chunk) = self.large.get(queue, first_seq)? {
            return Ok(Some(chunk));
        }
        let data = self.family(Family::Data)?;
        let found = self.db.get_pinned_cf(data, keys::chunk(queue, first_seq)).map_err(refused("read"))?;
        Ok(found.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    /// All rows of the topology, by key.
    pub fn metas(&self) -> impl Iterator<Item = Result<Row, StorageError>> + '_ {
        self.rows(Family::Meta, ReadOptions::default())
    }

    /// All queues' own rows, by queue.
    pub fn queues(&self) -> impl Iterator<Item = Result<(u64, Box<[u8]>), StorageError>> + '_ {
        self.rows(Family::Queues, ReadOptions::default()).map(|row| {
            let (key, value) = row?;
            Ok((keys::number(&key, 0).ok_or_else(|| malformed(Family::Queues))?, value))
        })
    }

    /// The first sequence numbers and descriptors of a queue's chunks, in their order.
    pub fn chunks(&self, queue: u64) -> impl Iterator<Item = Result<(u64, Box<[u8]>), StorageError>> + '_ {
        self.chunks_from(queue, 0)
    }

    /// As [`Self::chunks`], from `first_seq` on: with the head known, what was deleted before it costs nothing.
    pub fn chunks_from(
        &self,
        queue: u64,
        first_seq: u64,
    ) -> impl Iterator<Item = Result<(u64, Box<[u8]>), StorageError>> + '_ {
        let range = between(&keys::chunk(queue, first_seq), &keys::queue_end(queue));
        self.rows(Family::Chunks, range).map(|row| {
            let (key, value) = row?;
            Ok((keys::number(&key, 1).ok_or_else(|| malformed(Family::Chunks))?, value))
        })
    }

    /// At most `limit` messages of a queue due from `from_ms` on and before `to_ms`, earliest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn due(
        &self,
        queue: u64,
        from_ms: u64,
        to_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StorageError> {
        if from_ms >= to_ms {
            return Ok(Vec::new());
        }
        self.dues(between(&keys::due(queue, from_ms, 0), &keys::due(queue, to_ms, 0))).take(limit).collect()
    }

    /// The earliest due time of a queue.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn first_due(&self, queue: u64) -> Result<Option<u64>, StorageError> {
        let first = self.dues(between(&keys::queue(queue), &keys::queue_end(queue))).next().transpose()?;
        Ok(first.map(|(due_ms, _)| due_ms))
    }

    /// For each shard the log index up to which everything is in the store.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn applied(&self) -> Result<Vec<(u16, u64)>, StorageError> {
        let parse = |row: Result<Row, StorageError>| {
            let (key, value) = row?;
            let shard = key.last_chunk().map(|shard| u16::from_be_bytes(*shard));
            shard.zip(keys::number(&value, 0)).ok_or_else(|| malformed(Family::Default))
        };
        self.rows(Family::Default, between(keys::APPLIED, keys::APPLIED_END)).map(parse).collect()
    }

    fn dues(&self, range: ReadOptions) -> impl Iterator<Item = Result<(u64, u64), StorageError>> + '_ {
        self.rows(Family::Due, range).map(|row| {
            let (key, _) = row?;
            keys::number(&key, 1).zip(keys::number(&key, 2)).ok_or_else(|| malformed(Family::Due))
        })
    }

    fn rows(
        &self,
        family: Family,
        range: ReadOptions,
    ) -> impl Iterator<Item = Result<Row, StorageError>> + '_ {
        let (rows, missing) = match self.family(family) {
            Ok(family) => (Some(self.db.iterator_cf_opt(family, range, IteratorMode::Start)), None),
            Err(error) => (None, Some(Err(error))),
        };
        let rows = rows.into_iter().flat_map(|rows: DBIterator<'_>| rows);
        missing.into_iter().chain(rows.map(|row| row.map_err(refused("read"))))
    }
}

/// From `from` up to `to`, which is left out.
fn between(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_range(from.to_vec()..to.to_vec());
    options
}
