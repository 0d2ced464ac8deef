//! What was on disk: the rows and chunks of the cold store, and what the log has beyond them.

mod groups;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::replay::{Queues, Replayed, replay};
use super::tasks::shard::record;
use crate::broker::ids::{GroupId, Home, Placement, QueueId};
use crate::broker::queue::{ChunkWrite, Pressure, Queue};
use crate::broker::topology::{Change, QueueEntry, Row, Topology};
use crate::config::Config;
use crate::storage::{ColdBatch, ColdStore, DirectoryLock, Entry, Log, LogOptions, LogWriter, StorageError};

use super::shared::{META_SHARD, TRANSACTIONS_SHARD};
use groups::Groups;
pub(super) use groups::RecoveredGroup;
#[cfg(test)]
pub(super) use groups::of_queues;

/// A node's state as it was.
pub(super) struct Recovered {
    pub(super) topology: Topology,
    /// What is kept of a cluster beside the topology.
    pub(super) cluster_rows: Vec<Row>,
    pub(super) queues: Vec<(Arc<QueueEntry>, Queue)>,
    pub(super) log: LogWriter,
    /// The last index of each shard of the log, but for those of groups.
    pub(super) indexes: BTreeMap<u16, u64>,
    /// Groups that this node has, or had, a part in. Their queues are not among those above.
    pub(super) groups: BTreeMap<GroupId, RecoveredGroup>,
}

/// Brings everything back.
pub(super) fn recover(
    config: &Config,
    dir: &DirectoryLock,
    cold: &ColdStore,
    placement: Placement,
    now_ms: u64,
    salvage: bool,
) -> Result<Recovered, StorageError> {
    let options = LogOptions {
        segment_bytes: config.log.segment_bytes,
        sync: config.log.sync,
        ..LogOptions::default()
    };
    let mut replay = Replay::new(config, cold, now_ms)?;
    let log = Log::recover(&dir.log_dir(), &options, &mut |entry| replay.entry(entry), salvage)?;
    replay.finish(log, placement)
}

/// A queue whose declaration is not known yet.
#[derive(Default)]
struct Found {
    queue: Queue,
    delivered_below: Option<Vec<u64>>,
    hot_bytes: usize,
}

struct Replay<'a> {
    cold: &'a ColdStore,
    now_ms: u64,
    memory_bytes: usize,
    hot_bytes: usize,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Rows that the log has beyond the cold store.
    batch: ColdBatch,
    /// Up to where the cold store has each shard.
    applied: HashMap<u16, u64>,
    indexes: BTreeMap<u16, u64>,
    /// Shards whose last record says that they stopped cleanly.
    clean: BTreeMap<u16, bool>,
    found: HashMap<u64, Found>,
    queue_rows: HashMap<u64, Box<[u8]>>,
    groups: Groups,
}

impl<'a> Replay<'a> {
    fn new(config: &Config, cold: &'a ColdStore, now_ms: u64) -> Result<Self, StorageError> {
        let applied: HashMap<_, _> = cold.applied()?.into_iter().collect();
        let mut rows = BTreeMap::new();
        for row in cold.metas() {
            let (key, value) = row?;
            rows.insert(key.into(), value.into());
        }
        Ok(Self {
            cold,
            now_ms,
            memory_bytes: usize::try_from(config.memory.messages_bytes).unwrap_or(usize::MAX),
            hot_bytes: 0,
            rows,
            batch: ColdBatch::new(),
            indexes: applied.iter().map(|(shard, index)| (*shard, *index)).collect(),
            applied,
            clean: BTreeMap::new(),
            found: HashMap::new(),
            queue_rows: cold.queues().collect::<Result<_, _>>()?,
            groups: Groups::default(),
        })
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<(), StorageError> {
        if Groups::has(entry.shard) {
            return self.groups.add(&entry);
        }
        let index = self.indexes.entry(entry.shard).or_default();
        *index = (*index).max(entry.index);
        if ![META_SHARD, TRANSACTIONS_SHARD].contains(&entry.shard) {
            self.clean.insert(entry.shard, entry.kind == record::CLEAN_STOP);
        }
        if self.applied.get(&entry.shard).is_some_and(|applied| entry.index <= *applied) {
            return Ok(());
        }
        let malformed = || StorageError::entry(entry.shard, entry.index, "its payload is malformed");
        match entry.kind {
            record::ROWS if entry.shard == META_SHARD => self.replay_rows(&entry),
            record::DELIVERED => {
                let (queue, below) = record::read_delivered(entry.payload).ok_or_else(malformed)?;
                self.change_found(queue, |found| found.delivered_below = Some(below))
            }
            record::STARTED | record::CLEAN_STOP => Ok(()),
            kind => match replay(kind, entry.payload, &Bytes::copy_from_slice, self)? {
                Replayed::Done => Ok(()),
                Replayed::Malformed => Err(malformed()),
                Replayed::Other => {
                    let reason = format!("its kind {kind} is not known; was it written by a newer version?");
                    Err(StorageError::entry(entry.shard, entry.index, reason))
                }
            },
        }
    }

    fn replay_rows(&mut self, entry: &Entry<'_>) -> Result<(), StorageError> {
        let mut payload = entry.payload;
        while !payload.is_empty() {
            let (change, length) = Change::decode(payload)
                .map_err(|error| StorageError::entry(entry.shard, entry.index, error.to_string()))?;
            match change {
                Change::Put(row) => {
                    let (key, value) = (row.key().0, row.value());
                    self.batch.put_meta(&key, &value);
                    self.rows.insert(key, value);
                }
                Change::Delete(key) => {
                    self.batch.delete_meta(&key.0);
                    self.rows.remove(&key.0);
                }
            }
            payload = payload.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// Changes a queue, which is first brought back from the cold store when it is not at hand.
    fn change_found(&mut self, id: u64, change: impl FnOnce(&mut Found)) -> Result<(), StorageError> {
        if !self.found.contains_key(&id) {
            let found = self.restore(id)?;
            self.found.insert(id, found);
        }
        if let Some(found) = self.found.get_mut(&id) {
            change(found);
            let hot_bytes = found.queue.hot_bytes();
            self.hot_bytes = self.hot_bytes + hot_bytes - found.hot_bytes;
            found.hot_bytes = hot_bytes;
        }
        Ok(())
    }

    fn restore(&self, id: u64) -> Result<Found, StorageError> {
        let row = self.queue_rows.get(&id).map(|row| &row[..]);
        Ok(Found { queue: restore_queue(self.cold, id, row)?, ..Found::default() })
    }

    /// Keeps the replay within the memory that the running node would use.
    fn spill(&mut self) -> Result<(), StorageError> {
        let mut ids: Vec<_> = self.found.iter().map(|(id, found)| (found.hot_bytes, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids.into_iter().rev() {
            if self.hot_bytes <= self.memory_bytes / 2 {
                break;
            }
            let (cold, now_ms) = (self.cold, self.now_ms);
            let mut result = Ok(());
            self.change_found(id, |found| result = spill_all(cold, id, &mut found.queue, now_ms))?;
            result?;
        }
        Ok(())
    }

    fn finish(mut self, log: LogWriter, placement: Placement) -> Result<Recovered, StorageError> {
        let rows = std::mem::take(&mut self.rows);
        let rows: Result<Vec<_>, _> = rows.iter().map(|(key, value)| Row::decode(key, value)).collect();
        let rows = rows.map_err(|error| damaged_topology(&error.to_string()))?;
        let (cluster_rows, rows) = rows.into_iter().partition(|row| matches!(row, Row::Cluster { .. }));
        let rows: Vec<_> = rows;
        let topology = Topology::restore(placement, rows.into_iter())
            .map_err(|error| damaged_topology(&error.to_string()))?;
        let groups = std::mem::take(&mut self.groups).finish(self.cold, &cluster_rows)?;
        let has_begun = |home| match home {
            Home::Group(group) => groups.get(&group).is_some_and(|group| !group.stored.is_empty()),
            Home::Node(_) => false,
        };
        let queues = self.finish_queues(&topology, &has_begun)?;
        self.delete_orphans(&topology);
        self.cold.write(std::mem::take(&mut self.batch))?;
        Ok(Recovered { topology, cluster_rows, queues, log, indexes: self.indexes, groups })
    }

    /// Queues of groups that have begun (`is_elsewhere`) are those groups' business.
    fn finish_queues(
        &mut self,
        topology: &Topology,
        is_elsewhere: &dyn Fn(Home) -> bool,
    ) -> Result<Vec<(Arc<QueueEntry>, Queue)>, StorageError> {
        let clean = !self.clean.is_empty() && self.clean.values().all(|clean| *clean);
        let mut queues = Vec::new();
        for entry in topology.all_queues() {
            if is_elsewhere(entry.home) {
                continue;
            }
            let id = entry.id.0;
            let mut found = match self.found.remove(&id) {
                Some(found) => found,
                None => self.restore(id)?,
            };
            let delivered_below = found.delivered_below.filter(|_| clean);
            found.queue.set_options(super::tasks::shard::options_of(&entry));
            found.queue.recovered(delivered_below.as_deref(), self.cold.first_due(id)?, self.now_ms);
            for first in found.queue.take_forgotten() {
                self.batch.delete_chunk(id, first);
            }
            self.measure(id, &mut found.queue)?;
            queues.push((entry, found.queue));
        }
        Ok(queues)
    }

    /// Lets a queue that counts bytes look at chunks that do not tell them.
    fn measure(&self, id: u64, queue: &mut Queue) -> Result<(), StorageError> {
        for first in queue.unmeasured() {
            let chunk = self.cold.get_chunk(id, first)?;
            chunk.and_then(|chunk| queue.measure(first, &chunk)).ok_or_else(|| damaged("a chunk", id))?;
        }
        Ok(())
    }

    /// Queues that are no more: deleted ones, and transient ones of the last run. In a cluster some may not be declared
    /// here yet: other nodes know more.
    fn delete_orphans(&mut self, topology: &Topology) {
        let is_orphan =
            |id: u64| QueueId(id) < topology.next_queue() && topology.queue_by_id(QueueId(id)).is_none();
        let orphans = self.queue_rows.keys().chain(self.found.keys()).filter(|id| is_orphan(**id));
        for id in orphans {
            self.batch.delete_queue_all(*id);
        }
    }
}

impl Queues for Replay<'_> {
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Queue)) -> Result<(), StorageError> {
        self.change_found(id, |found| change(&mut found.queue))?;
        if self.hot_bytes > self.memory_bytes {
            self.spill()?;
        }
        Ok(())
    }
}

/// A queue as the cold store has it: its row, if it has one, and its chunks.
pub(super) fn restore_queue(cold: &ColdStore, id: u64, row: Option<&[u8]>) -> Result<Queue, StorageError> {
    let mut queue = Queue::default();
    if let Some(row) = row {
        queue.restore_row(row).ok_or_else(|| damaged("the row", id))?;
    }
    for chunk in cold.chunks(id) {
        let (first, descriptor) = chunk?;
        queue.restore_chunk(first, &descriptor).ok_or_else(|| damaged("a chunk", id))?;
    }
    Ok(queue)
}

fn spill_all(cold: &ColdStore, id: u64, queue: &mut Queue, now_ms: u64) -> Result<(), StorageError> {
    let chunks = queue.spill(usize::MAX, Pressure::High, now_ms);
    let firsts: Vec<_> = chunks.iter().map(|chunk| chunk.first).collect();
    let mut batch = ColdBatch::new();
    for ChunkWrite { first, descriptor, data, dues } in chunks {
        let data = data.unwrap_or_default();
        batch.put_records(id, first, &descriptor, data.front, data.records);
        dues.into_iter().for_each(|(due_ms, seq)| batch.put_due(id, due_ms, seq));
    }
    cold.write(batch)?;
    firsts.into_iter().for_each(|first| queue.chunk_stored(first, true, now_ms));
    Ok(())
}

fn damaged(what: &str, queue: u64) -> StorageError {
    let reason = format!("{what} of queue number {queue} is missing or malformed");
    StorageError::Cold { action: "read", reason }
}

fn damaged_topology(reason: &str) -> StorageError {
    StorageError::Cold { action: "read the declarations in", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
