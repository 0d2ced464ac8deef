//! Memory and the cold store: spilling when memory is short, checkpoints when the log is long.

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Shard;
use super::inputs::answer;
use crate::broker::ids::QueueId;
use crate::broker::queue::{ChunkData, ChunkWrite, Command, Pressure};

/// Queues with less than this in memory are not worth looking at when memory is short.
const WORTH_BYTES: usize = 16 * 1024;
/// Queues looked at in one round of spilling.
const LOOKED_AT_MAX: usize = 256;
/// What may be in memory above the share while it is being moved out, if the share is not smaller.
const OVER_BYTES_MAX: usize = 24 * 1024 * 1024;
/// A batch of so many bytes is one large message.
const LARGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that wait for the log's sync before publishers are held back.
const LOGGED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes on their way to the cold store at a time: they are in memory more than once.
const SPILLING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Consumers that take this much in a millisecond are worth waiting for, instead of writing to disk.
const FAST_BYTES_PER_MS: u64 = 20 * 1024;
/// How long the speed of consumers is measured.
const SPEED_WINDOW_MS: u64 = 10;
/// How long publishers wait before it is judged whether that helps, and how long not when it did not.
const JUDGE_AFTER_MS: u64 = 200;
const WAIT_AGAIN_MS: u64 = 1000;
/// Bytes that one round of a checkpoint hands over, so that the shard never stalls.
const CHECKPOINT_ROUND_BYTES: usize = 4 * 1024 * 1024;

/// The memory account of a shard.
pub(super) struct Memory {
    share_bytes: usize,
    hot_bytes: usize,
    /// The largest batch since memory was last within the share: another one like it must fit.
    large_bytes: usize,
    /// Queues worth spilling, by the binary logarithm of what they hold.
    classes: BTreeMap<u32, HashSet<QueueId>>,
    /// Chunks on their way out of memory.
    spilling: usize,
    /// What the log was given and has not synced: (index, bytes).
    logged: VecDeque<(u64, usize)>,
    logged_bytes: usize,
    /// Chunks to be deleted once the log is synced up to an index: until then they may be all there is.
    forgotten: VecDeque<(u64, QueueId, u64)>,
    checkpoint: Option<Checkpoint>,
    drain: Drain,
}

/// How fast consumers take messages out, and whether waiting for them helps.
#[derive(Default)]
struct Drain {
    delivered_bytes: u64,
    since_ms: u64,
    is_fast: bool,
    /// Memory in use when it was last judged whether waiting helps.
    judged_bytes: usize,
    judged_ms: u64,
    /// Waiting did not help: not again before this.
    not_before_ms: u64,
}

impl Drain {
    /// Whether publishers should wait for consumers.
    fn is_worth_waiting(&mut self, now_ms: u64, hot_bytes: usize) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.since_ms);
        if elapsed_ms >= SPEED_WINDOW_MS {
            self.is_fast = self.delivered_bytes / elapsed_ms >= FAST_BYTES_PER_MS;
            self.delivered_bytes = 0;
            self.since_ms = now_ms;
        }
        if now_ms.saturating_sub(self.judged_ms) >= JUDGE_AFTER_MS {
            // Consumers of other queues may be fast while the memory is somebody else's.
            if self.judged_bytes > 0 && hot_bytes >= self.judged_bytes {
                self.not_before_ms = now_ms + WAIT_AGAIN_MS;
            }
            self.judged_bytes = hot_bytes;
            self.judged_ms = now_ms;
        }
        self.is_fast && now_ms >= self.not_before_ms
    }

    /// Memory is within its share.
    fn reset(&mut self, now_ms: u64) {
        self.judged_bytes = 0;
        self.judged_ms = now_ms;
        self.not_before_ms = 0;
    }
}

struct Checkpoint {
    /// What was applied when it began is in the cold store when it ends.
    index: u64,
    /// The cold store may have it all when the log is synced up to here: for a group that is where the last queue was
    /// looked at.
    safe_index: u64,
    left: Vec<QueueId>,
    reply: oneshot::Sender<u64>,
}

impl Memory {
    pub(super) fn new(share_bytes: usize, spilling: usize) -> Self {
        Self {
            share_bytes,
            hot_bytes: 0,
            large_bytes: 0,
            classes: BTreeMap::new(),
            spilling,
            logged: VecDeque::new(),
            logged_bytes: 0,
            forgotten: VecDeque::new(),
            checkpoint: None,
            drain: Drain::default(),
        }
    }

    /// A batch came in.
    pub(super) fn taken(&mut self, bytes: usize) {
        if bytes >= LARGE_BYTES {
            self.large_bytes = self.large_bytes.max(bytes);
        }
    }

    pub(super) fn delivered(&mut self, bytes: usize) {
        self.drain.delivered_bytes += bytes as u64;
    }

    /// When memory must be looked at again although nothing happens.
    pub(super) fn look_again_ms(&self, now_ms: u64) -> Option<u64> {
        (self.hot_bytes > self.share_bytes).then_some(now_ms + SPEED_WINDOW_MS)
    }

    pub(super) fn changed(&mut self, id: QueueId, before: usize, after: usize) {
        self.hot_bytes = self.hot_bytes + after - before;
        let (before, after) = (class(before), class(after));
        if before == after {
            return;
        }
        if let Some(queues) = before.and_then(|class| self.classes.get_mut(&class)) {
            queues.remove(&id);
        }
        if let Some(class) = after {
            self.classes.entry(class).or_default().insert(id);
        }
    }

    /// The queues with most in memory.
    fn biggest(&self) -> Vec<QueueId> {
        self.classes.values().rev().flatten().take(LOOKED_AT_MAX).copied().collect()
    }

    /// The log was given so much in this round.
    pub(super) fn logged(&mut self, index: u64, bytes: usize) {
        self.logged.push_back((index, bytes));
        self.logged_bytes += bytes;
    }

    /// The log is synced up to this index.
    pub(super) fn synced(&mut self, synced: u64) {
        while let Some((_, bytes)) = self.logged.front().copied().filter(|(index, _)| *index <= synced) {
            self.logged.pop_front();
            self.logged_bytes -= bytes;
        }
    }

    pub(super) fn forget(&mut self, index: u64, id: QueueId, first: u64) {
        self.forgotten.push_back((index, id, first));
    }

    /// Whether a checkpoint has queues left to look at.
    pub(super) fn is_checkpointing(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(|checkpoint| !checkpoint.left.is_empty())
    }

    fn pressure(&self) -> Pressure {
        if self.hot_bytes > self.share_bytes / 2 * 3 { Pressure::High } else { Pressure::Normal }
    }

    /// Publishers wait for the disk above this.
    fn most_bytes(&self) -> usize {
        self.share_bytes.saturating_add(self.share_bytes.min(OVER_BYTES_MAX))
    }

    fn wanted(&self) -> usize {
        if self.hot_bytes > self.share_bytes { self.hot_bytes - self.share_bytes / 8 * 7 } else { 0 }
    }
}

impl Shard {
    /// Over its share of memory a shard lets fast consumers catch up while publishers wait; otherwise it moves the
    /// coldest messages out, and holds publishers back only when that, or the log, is too slow.
    pub(super) fn spill(&mut self, now_ms: u64) {
        let memory = &mut self.memory;
        let over = memory.hot_bytes > memory.share_bytes;
        if !over {
            memory.large_bytes = 0;
            memory.drain.reset(now_ms);
        }
        let wait_for_consumers = over && memory.drain.is_worth_waiting(now_ms, memory.hot_bytes);
        if over && !wait_for_consumers {
            self.spill_biggest(now_ms);
        }
        let memory = &self.memory;
        // What cannot be moved out, however much it is, must not hold publishers back for ever.
        let expected_bytes = memory.hot_bytes.saturating_add(memory.large_bytes);
        let wait_for_disk = expected_bytes > memory.most_bytes() && memory.spilling > 0;
        let wait_for_log = memory.logged_bytes > LOGGED_BYTES_MAX;
        self.mailbox.set_paused(wait_for_consumers || wait_for_disk || wait_for_log);
    }

    fn spill_biggest(&mut self, now_ms: u64) {
        let mut wanted = self.memory.wanted().min(SPILLING_BYTES_MAX);
        for id in self.memory.biggest() {
            if wanted == 0 {
                break;
            }
            let wanted_here = wanted;
            wanted = wanted.saturating_sub(self.slots.get(&id).map_or(0, |slot| slot.hot_bytes));
            self.spill_queue(id, wanted_here, now_ms);
        }
    }

    fn spill_queue(&mut self, id: QueueId, wanted: usize, now_ms: u64) {
        let pressure = self.memory.pressure();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let chunks = slot.queue.spill(wanted, pressure, now_ms);
        if !chunks.is_empty() && !slot.entry.durable {
            // By its row a restart finds what a transient queue left in the cold store.
            self.cold.batch().put_queue(id.0, &slot.queue.row());
        }
        self.memory.spilling += chunks.len();
        chunks.into_iter().for_each(|chunk| self.cold.store(id, chunk, true));
        self.note(id);
    }

    pub(super) fn chunk_stored(&mut self, id: QueueId, first: u64, spilling: bool, now_ms: u64) {
        self.memory.spilling -= usize::from(spilling);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.queue.chunk_stored(first, spilling, now_ms);
            self.note(id);
        }
    }

    pub(super) fn chunk_loaded(&mut self, id: QueueId, first: u64, chunk: Option<Bytes>, now_ms: u64) {
        match chunk {
            Some(chunk) => drop(self.apply(id, Command::ChunkLoaded(first, chunk), now_ms)),
            None if self.slots.contains_key(&id) => {
                tracing::error!(queue = id.0, first, "a chunk of a queue is missing in the cold store");
            }
            None => {}
        }
    }

    /// Deletes chunks whose settlement is safe in the log.
    pub(super) fn forget_synced(&mut self) {
        if self.memory.forgotten.front().is_none_or(|(index, ..)| *index > self.synced) {
            return;
        }
        if self.records.are_of_group() {
            // What is held back behind this knows nothing of these chunks. Waiting with it they would still be there when a
            // checkpoint says that the log is not needed which settles them.
            self.send_cold();
        }
        while let Some((index, id, first)) = self.memory.forgotten.front().copied() {
            if index > self.synced {
                break;
            }
            self.memory.forgotten.pop_front();
            self.cold.delete_chunk(id, first);
        }
        if self.records.are_of_group() {
            self.cold.send();
        }
    }

    pub(super) fn begin_checkpoint(&mut self, reply: oneshot::Sender<u64>) {
        let mut left: Vec<_> = self.slots.keys().copied().collect();
        left.sort_unstable();
        let index = self.index;
        self.memory.checkpoint = Some(Checkpoint { index, safe_index: index, left, reply });
    }

    /// Hands over one round of the checkpoint.
    pub(super) fn work_on_checkpoint(&mut self, now_ms: u64) {
        let Some(mut checkpoint) = self.memory.checkpoint.take() else { return };
        let mut bytes = 0;
        while bytes < CHECKPOINT_ROUND_BYTES {
            let Some(id) = checkpoint.left.pop() else { break };
            bytes += self.checkpoint_queue(id, now_ms);
        }
        if bytes > 0 && self.records.are_of_group() {
            checkpoint.safe_index = self.index;
        }
        self.is_awaited |= checkpoint.safe_index > self.synced;
        if checkpoint.left.is_empty() && self.synced >= checkpoint.safe_index {
            // Chunks whose settlement the log is about to forget must be gone first.
            self.forget_synced();
            self.send_cold();
            return answer(checkpoint.reply, checkpoint.index);
        }
        self.memory.checkpoint = Some(checkpoint);
    }

    fn checkpoint_queue(&mut self, id: QueueId, now_ms: u64) -> usize {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.entry.durable) else { return 64 };
        let row = slot.queue.row();
        if row == slot.row && !slot.queue.needs_checkpoint() {
            return 64;
        }
        let chunks = slot.queue.checkpoint();
        slot.row.clone_from(&row);
        let mut row = row;
        slot.queue.put_ids(&mut row);
        let bytes = row.len() + chunks.iter().map(size_of_write).sum::<usize>();
        self.cold.store_queue(id, &row, chunks, slot.queue.dues_done_before(now_ms));
        self.note(id);
        bytes + 64
    }
}

fn size_of_write(chunk: &ChunkWrite) -> usize {
    chunk.descriptor.len() + chunk.data.as_ref().map_or(0, ChunkData::length)
}

/// The class of a queue with so many bytes in memory; none when it is not worth looking at.
fn class(bytes: usize) -> Option<u32> {
    (bytes >= WORTH_BYTES).then(|| bytes.ilog2())
}
