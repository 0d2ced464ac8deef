//! Memory and the cold store: spilling when memory is short, checkpoints when the log is long.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Shard;
use super::inputs::answer;
use crate::broker::ids::QueueId;
use crate::broker::queue::{ChunkWrite, Command};

/// Queues with less than this in memory are not looked at when memory is short.
const BIG_BYTES: usize = 512 * 1024;
/// Bytes that one round of a checkpoint hands over, so that the shard never stalls.
const CHECKPOINT_ROUND_BYTES: usize = 4 * 1024 * 1024;

/// The memory account of a shard.
pub(super) struct Memory {
    share_bytes: usize,
    hot_bytes: usize,
    /// Queues worth spilling.
    big: HashMap<QueueId, usize>,
    /// Chunks to be deleted once the log is synced up to an index: until then they may be all there is.
    forgotten: VecDeque<(u64, QueueId, u64)>,
    checkpoint: Option<Checkpoint>,
}

struct Checkpoint {
    /// What was applied when it began is in the cold store when it ends.
    index: u64,
    left: Vec<QueueId>,
    reply: oneshot::Sender<u64>,
}

impl Memory {
    pub(super) fn new(share_bytes: usize) -> Self {
        Self { share_bytes, hot_bytes: 0, big: HashMap::new(), forgotten: VecDeque::new(), checkpoint: None }
    }

    pub(super) fn changed(&mut self, id: QueueId, before: usize, after: usize) {
        self.hot_bytes = self.hot_bytes + after - before;
        if after >= BIG_BYTES {
            self.big.insert(id, after);
        } else if before >= BIG_BYTES {
            self.big.remove(&id);
        }
    }

    pub(super) fn forget(&mut self, index: u64, id: QueueId, first: u64) {
        self.forgotten.push_back((index, id, first));
    }

    pub(super) fn is_checkpointing(&self) -> bool {
        self.checkpoint.is_some()
    }

    fn wanted(&self) -> usize {
        if self.hot_bytes > self.share_bytes { self.hot_bytes - self.share_bytes / 8 * 7 } else { 0 }
    }
}

impl Shard {
    /// Moves the coldest messages out when memory is over its share; holds publishers back when that is too slow.
    pub(super) fn spill(&mut self, now_ms: u64) {
        let mut wanted = self.memory.wanted();
        if wanted > 0 {
            let mut big: Vec<_> = self.memory.big.iter().map(|(id, bytes)| (*bytes, *id)).collect();
            big.sort_unstable();
            for (bytes, id) in big.into_iter().rev() {
                if wanted == 0 {
                    break;
                }
                self.spill_queue(id, wanted, now_ms);
                wanted = wanted.saturating_sub(bytes);
            }
        }
        self.mailbox.set_paused(self.memory.hot_bytes > self.memory.share_bytes.saturating_mul(2));
    }

    fn spill_queue(&mut self, id: QueueId, wanted: usize, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let chunks = slot.queue.spill(wanted, now_ms);
        if !chunks.is_empty() && !slot.entry.durable {
            // By its row a restart finds what a transient queue left in the cold store.
            self.cold.batch().put_queue(id.0, &slot.queue.row());
        }
        chunks.into_iter().for_each(|chunk| self.cold.store(id, chunk, true));
        self.note(id);
    }

    pub(super) fn chunk_stored(&mut self, id: QueueId, first: u64, spilling: bool, now_ms: u64) {
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
        while let Some((index, id, first)) = self.memory.forgotten.front().copied() {
            if index > self.synced {
                break;
            }
            self.memory.forgotten.pop_front();
            self.cold.delete_chunk(id, first);
        }
    }

    pub(super) fn begin_checkpoint(&mut self, reply: oneshot::Sender<u64>) {
        let left = self.slots.keys().copied().collect();
        self.memory.checkpoint = Some(Checkpoint { index: self.index, left, reply });
    }

    /// Hands over one round of the checkpoint.
    pub(super) fn work_on_checkpoint(&mut self, now_ms: u64) {
        let Some(mut checkpoint) = self.memory.checkpoint.take() else { return };
        let mut bytes = 0;
        while bytes < CHECKPOINT_ROUND_BYTES {
            let Some(id) = checkpoint.left.pop() else {
                self.cold.send();
                return answer(checkpoint.reply, checkpoint.index);
            };
            bytes += self.checkpoint_queue(id, now_ms);
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
        let bytes: usize = chunks.iter().map(size_of_write).sum();
        self.cold.store_queue(id, &row, chunks, slot.queue.dues_done_before(now_ms));
        slot.row = row;
        self.note(id);
        bytes + 64
    }
}

fn size_of_write(chunk: &ChunkWrite) -> usize {
    chunk.descriptor.len() + chunk.data.as_ref().map_or(0, Bytes::len)
}
