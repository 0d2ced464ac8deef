//! What the cold store can be asked.

use bytes::Bytes;
use rocksdb::{IteratorMode, ReadOptions};

#[cfg(test)]
use super::Engine;
use super::{ColdStore, batch::Family, keys, malformed, refused};
use crate::storage::error::StorageError;

type Row = (Box<[u8]>, Box<[u8]>);
/// Keys from the first up to the second, which is left out; all of them without.
type Range = Option<(Vec<u8>, Vec<u8>)>;
type Rows<'s> = Box<dyn Iterator<Item = Result<Row, StorageError>> + 's>;

impl ColdStore {
    /// The bytes of a chunk.
    ///
    /// # Errors
    /// When they cannot be read or do not match their checksum.
    pub fn get_chunk(&self, queue: u64, first_seq: u64) -> Result<Option<Bytes>, StorageError> {
        if let Some(chunk) = self.large.get(queue, first_seq)? {
            return Ok(Some(chunk));
        }
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            return Ok(memory.get(Family::Data, &keys::chunk(queue, first_seq)).map(Bytes::from));
        }
        let data = self.family(Family::Data)?;
        let found = self.db()?.get_pinned_cf(data, keys::chunk(queue, first_seq)).map_err(refused("read"))?;
        Ok(found.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    /// All rows of the topology, by key.
    pub fn metas(&self) -> impl Iterator<Item = Result<Row, StorageError>> + '_ {
        self.rows(Family::Meta, None)
    }

    /// All queues' own rows, by queue.
    pub fn queues(&self) -> impl Iterator<Item = Result<(u64, Box<[u8]>), StorageError>> + '_ {
        self.rows(Family::Queues, None).map(|row| {
            let (key, value) = row?;
            Ok((keys::number(&key, 0).ok_or_else(|| malformed(Family::Queues))?, value))
        })
    }

    /// The first queue from this number on that the store has anything of.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn queue_from(&self, number: u64) -> Result<Option<u64>, StorageError> {
        let mut first = None;
        for family in [Family::Queues, Family::Chunks, Family::Due] {
            let range = between(&keys::queue(number), &keys::queue_end(u64::MAX));
            let Some(row) = self.rows(family, range).next() else { continue };
            let found = keys::number(&row?.0, 0).ok_or_else(|| malformed(family))?;
            first = Some(first.map_or(found, |first: u64| first.min(found)));
        }
        Ok(first)
    }

    /// A queue's own row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn queue_row(&self, queue: u64) -> Result<Option<Box<[u8]>>, StorageError> {
        self.row(Family::Queues, &keys::queue(queue))
    }

    /// A group's row of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get_group(&self, group: u16, name: &str) -> Result<Option<Box<[u8]>>, StorageError> {
        self.row(Family::Default, &keys::group(group, name))
    }

    /// All groups' rows of this name, by group.
    pub fn groups<'s>(
        &'s self,
        name: &'s str,
    ) -> impl Iterator<Item = Result<(u16, Box<[u8]>), StorageError>> + 's {
        self.rows(Family::Default, between(keys::GROUPS, keys::GROUPS_END)).filter_map(move |row| match row {
            Ok((key, value)) => match keys::group_of(&key) {
                Some((group, found)) => (found == name.as_bytes()).then_some(Ok((group, value))),
                None => Some(Err(malformed(Family::Default))),
            },
            Err(error) => Some(Err(error)),
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

    fn dues(&self, range: Range) -> impl Iterator<Item = Result<(u64, u64), StorageError>> + '_ {
        self.rows(Family::Due, range).map(|row| {
            let (key, _) = row?;
            keys::number(&key, 1).zip(keys::number(&key, 2)).ok_or_else(|| malformed(Family::Due))
        })
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Box<[u8]>>, StorageError> {
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            return Ok(memory.get(family, key).map(Vec::into_boxed_slice));
        }
        let found = self.db()?.get_cf(self.family(family)?, key).map_err(refused("read"))?;
        Ok(found.map(Vec::into_boxed_slice))
    }

    fn rows(&self, family: Family, range: Range) -> impl Iterator<Item = Result<Row, StorageError>> + '_ {
        let (rows, missing) = match self.iterate(family, range) {
            Ok(rows) => (Some(rows), None),
            Err(error) => (None, Some(Err(error))),
        };
        missing.into_iter().chain(rows.into_iter().flatten())
    }

    fn iterate(&self, family: Family, range: Range) -> Result<Rows<'_>, StorageError> {
        #[cfg(test)]
        if let Engine::Memory(memory) = &self.engine {
            let range = range.as_ref().map(|(from, to)| (from.as_slice(), to.as_slice()));
            return Ok(Box::new(memory.rows(family, range).into_iter().map(Ok)));
        }
        let mut options = ReadOptions::default();
        if let Some((from, to)) = range {
            options.set_iterate_range(from..to);
        }
        let rows = self.db()?.iterator_cf_opt(self.family(family)?, options, IteratorMode::Start);
        Ok(Box::new(rows.map(|row| row.map_err(refused("read")))))
    }
}

/// From `from` up to `to`, which is left out.
fn between(from: &[u8], to: &[u8]) -> Range {
    Some((from.to_vec(), to.to_vec()))
}
