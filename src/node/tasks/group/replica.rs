//! A group's queues on a member that does not lead: they do what the entries say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::entry;
use super::row::GroupRow;
use crate::broker::ids::QueueId;
use crate::broker::queue::{Pressure, Queue};
use crate::broker::topology::QueueEntry;
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::node::replay::{Queues, Replayed, replay, share_of};
use crate::node::tasks::cold::ColdLink;
use crate::node::tasks::shard::{options_of, record};
use crate::replication::Committed;
use crate::storage::StorageError;

/// Queues with less than this in memory are not worth looking at when memory is short.
const WORTH_BYTES: usize = 16 * 1024;
/// Bytes on their way to the cold store at a time.
const SPILLING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that one round of a checkpoint hands over.
const CHECKPOINT_ROUND_BYTES: usize = 4 * 1024 * 1024;
/// How long it lasts until memory that could not be spilled is looked at again.
const LOOK_AGAIN_MS: u64 = 10;

/// The queues of a group, by number.
pub(super) type Entries = BTreeMap<QueueId, Arc<QueueEntry>>;

/// The queues, as far as entries were replayed.
pub(super) struct Replica {
    /// What the store would know if it had everything up to here.
    pub(super) row: GroupRow,
    pub(super) mailbox: Arc<Mailbox<ShardInput>>,
    pub(super) cold: ColdLink,
    slots: BTreeMap<QueueId, Slot>,
    hot_bytes: usize,
    share_bytes: usize,
    spilling: usize,
    look_again_ms: u64,
    /// Committed entries that are not replayed yet.
    waiting: VecDeque<Committed>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Default)]
struct Slot {
    queue: Queue,
    hot_bytes: usize,
    /// The queue's row as last written.
    row: Vec<u8>,
}

struct Checkpoint {
    row: GroupRow,
    left: Vec<QueueId>,
}

/// What is needed of a replica that takes over.
pub(super) struct TakenOver {
    pub(super) row: GroupRow,
    pub(super) mailbox: Arc<Mailbox<ShardInput>>,
    pub(super) cold: ColdLink,
    pub(super) queues: Vec<(Arc<QueueEntry>, Queue)>,
    pub(super) spilling: usize,
}

impl Replica {
    /// Queues as the cold store has them. `cold` tells `mailbox`.
    pub(super) fn new(
        row: GroupRow,
        queues: Vec<(QueueId, Queue)>,
        (mailbox, cold): (Arc<Mailbox<ShardInput>>, ColdLink),
        share_bytes: usize,
    ) -> Self {
        let mut replica = Self {
            row,
            mailbox,
            cold,
            slots: BTreeMap::new(),
            hot_bytes: 0,
            share_bytes,
            spilling: 0,
            look_again_ms: 0,
            waiting: VecDeque::new(),
            checkpoint: None,
        };
        for (id, queue) in queues {
            replica.slots.insert(id, Slot { queue, ..Slot::default() });
            replica.note(id);
        }
        replica
    }

    /// Takes entries that are committed.
    pub(super) fn take(&mut self, committed: impl Iterator<Item = Committed>) {
        self.waiting.extend(committed);
    }

    /// Whether it has no room for more entries.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// One round: what the cold store says, entries whose declarations are known, memory.
    ///
    /// # Errors
    /// When an entry is none.
    pub(super) fn round(
        &mut self,
        entries: &Entries,
        meta_index: u64,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let mut inputs = Vec::new();
        self.mailbox.take(&mut inputs);
        for input in inputs {
            if let ShardInput::ChunkStored(id, first, spilling) = input {
                self.chunk_stored(id, first, spilling, now_ms);
            }
        }
        while !self.is_full() && self.replay_next(entries, meta_index)? {
            self.spill(now_ms);
        }
        self.spill(now_ms);
        self.cold.send();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.spilling > 0 && self.hot_bytes > self.share_bytes.saturating_mul(2)
    }

    /// Replays the next entry; false when there is none, or its declarations are not known here yet.
    fn replay_next(&mut self, entries: &Entries, meta_index: u64) -> Result<bool, StorageError> {
        let Some(next) = self.waiting.front() else { return Ok(false) };
        let (index, data) = (next.index, next.data.clone());
        if !data.is_empty() {
            let (needed, records) = entry::decode(&data).ok_or_else(|| malformed(index))?;
            if needed > meta_index {
                return Ok(false);
            }
            self.row.meta_index = self.row.meta_index.max(needed);
            for record in records {
                let (kind, payload) = record.ok_or_else(|| malformed(index))?;
                self.replay_record(entries, kind, &payload).ok_or_else(|| malformed(index))??;
            }
        }
        self.row.applied = index;
        self.waiting.pop_front();
        Ok(true)
    }

    fn replay_record(
        &mut self,
        entries: &Entries,
        kind: u8,
        payload: &bytes::Bytes,
    ) -> Option<Result<(), StorageError>> {
        if kind == record::SESSION {
            return self.row.table.apply(payload).map(Ok);
        }
        let mut queues = Known { replica: self, entries };
        match replay(kind, payload, &share_of(payload), &mut queues) {
            Ok(Replayed::Done) => Some(Ok(())),
            Ok(Replayed::Malformed | Replayed::Other) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn note(&mut self, id: QueueId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let hot_bytes = slot.queue.hot_bytes();
            self.hot_bytes = self.hot_bytes + hot_bytes - slot.hot_bytes;
            slot.hot_bytes = hot_bytes;
        }
    }

    fn chunk_stored(&mut self, id: QueueId, first: u64, spilling: bool, now_ms: u64) {
        self.spilling = self.spilling.saturating_sub(usize::from(spilling));
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.queue.chunk_stored(first, spilling, now_ms);
            self.note(id);
        }
    }

    /// Moves messages out of memory, of the queues first that have most in it.
    fn spill(&mut self, now_ms: u64) {
        if self.hot_bytes <= self.share_bytes || self.spilling > 0 || now_ms < self.look_again_ms {
            return;
        }
        self.look_again_ms = now_ms + LOOK_AGAIN_MS;
        let slots = self.slots.iter().filter(|(_, slot)| slot.hot_bytes >= WORTH_BYTES);
        let mut biggest: Vec<_> = slots.map(|(id, slot)| (slot.hot_bytes, *id)).collect();
        biggest.sort_unstable();
        let mut wanted = (self.hot_bytes - self.share_bytes / 8 * 7).min(SPILLING_BYTES_MAX);
        for (hot_bytes, id) in biggest.into_iter().rev() {
            if wanted == 0 {
                break;
            }
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let chunks = slot.queue.spill(wanted, Pressure::High, now_ms);
            wanted = wanted.saturating_sub(hot_bytes);
            self.spilling += chunks.len();
            chunks.into_iter().for_each(|chunk| self.cold.store(id, chunk, true));
            self.note(id);
        }
    }

    /// When memory must be looked at again although nothing happens.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let is_over = self.hot_bytes > self.share_bytes && self.spilling == 0;
        if self.checkpoint.is_some() { Some(0) } else { is_over.then_some(self.look_again_ms) }
    }

    /// Everything up to here is to be in the cold store.
    pub(super) fn begin_checkpoint(&mut self) {
        let left = self.slots.keys().copied().collect();
        self.checkpoint = Some(Checkpoint { row: self.row.clone(), left });
    }

    /// Hands over one round of the checkpoint. Gives what the store has when it is done: its row must follow.
    pub(super) fn work_on_checkpoint(&mut self) -> Option<GroupRow> {
        let mut checkpoint = self.checkpoint.take()?;
        let mut bytes = 0;
        while bytes < CHECKPOINT_ROUND_BYTES {
            let Some(id) = checkpoint.left.pop() else { return Some(checkpoint.row) };
            bytes += self.checkpoint_queue(id);
        }
        self.checkpoint = Some(checkpoint);
        None
    }

    fn checkpoint_queue(&mut self, id: QueueId) -> usize {
        let Some(slot) = self.slots.get_mut(&id) else { return 0 };
        let mut row = slot.queue.row_of_follower();
        if row == slot.row && !slot.queue.needs_checkpoint() {
            return 64;
        }
        let chunks = slot.queue.checkpoint();
        slot.row.clone_from(&row);
        slot.queue.put_ids(&mut row);
        slot.queue.drop_empty();
        let data = |chunk: &crate::broker::queue::ChunkWrite| {
            chunk.descriptor.len() + chunk.data.as_ref().map_or(0, crate::broker::queue::ChunkData::length)
        };
        let bytes = row.len() + chunks.iter().map(data).sum::<usize>();
        // What is due may still be there: a leader decides when it leaves.
        let dues_done = (!slot.queue.may_have_stored_dues()).then_some(u64::MAX);
        self.cold.store_queue(id, &row, chunks, dues_done);
        for first in slot.queue.replayed() {
            self.cold.delete_chunk(id, first);
        }
        self.note(id);
        bytes + 64
    }

    /// A queue works by other settings.
    pub(super) fn reconfigure(&mut self, entry: &QueueEntry) {
        if let Some(slot) = self.slots.get_mut(&entry.id) {
            slot.queue.set_options(options_of(entry));
        }
    }

    /// A queue is gone.
    pub(super) fn delete(&mut self, id: QueueId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.hot_bytes -= slot.hot_bytes;
        }
        self.cold.delete_queue(id);
    }

    /// Its queues work from now on.
    pub(super) fn take_over(mut self, entries: &Entries, now_ms: u64) -> TakenOver {
        let queue_of = |(id, entry): (&QueueId, &Arc<QueueEntry>)| {
            let queue = self.slots.remove(id).map(|slot| slot.queue);
            let mut queue = queue.unwrap_or_else(|| Queue::new(options_of(entry), now_ms));
            // From when on the store has due times, it is asked when the queue works.
            let due_far_ms = queue.may_have_stored_dues().then_some(0);
            queue.take_over(None, due_far_ms, now_ms);
            queue.await_consumers();
            for first in queue.take_forgotten() {
                self.cold.delete_chunk(*id, first);
            }
            (Arc::clone(entry), queue)
        };
        let queues = entries.iter().map(queue_of).collect();
        let Self { row, mailbox, mut cold, spilling, .. } = self;
        cold.send();
        TakenOver { row, mailbox, cold, queues, spilling }
    }

    /// What its queues hold, in order; `read` gives chunks that are in the cold store only.
    #[cfg(test)]
    pub(super) fn digests(
        &self,
        read: &dyn Fn(QueueId, u64) -> Option<bytes::Bytes>,
    ) -> BTreeMap<QueueId, Option<crate::broker::queue::Digest>> {
        let digest = |(id, slot): (&QueueId, &Slot)| (*id, slot.queue.digest(|first| read(*id, first)));
        self.slots.iter().map(digest).collect()
    }
}

/// The queues that are declared: records of others are those of deleted ones.
struct Known<'a> {
    replica: &'a mut Replica,
    entries: &'a Entries,
}

impl Queues for Known<'_> {
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Queue)) -> Result<(), StorageError> {
        let id = QueueId(id);
        let Some(entry) = self.entries.get(&id) else { return Ok(()) };
        let replica = &mut *self.replica;
        let new = || Slot { queue: Queue::new(options_of(entry), 0), ..Slot::default() };
        let slot = replica.slots.entry(id).or_insert_with(new);
        change(&mut slot.queue);
        for first in slot.queue.replayed() {
            replica.cold.delete_chunk(id, first);
        }
        replica.note(id);
        Ok(())
    }
}

fn malformed(index: u64) -> StorageError {
    StorageError::Cold { action: "replay", reason: format!("entry {index} of a group is malformed") }
}
