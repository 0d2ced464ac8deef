//! Other settings for queues: a policy may bring them for all queues at once.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Shard;
use super::inputs::{answer, options_of};
use crate::broker::queue::Command;
use crate::broker::topology::QueueEntry;

/// Queues that are given other settings in one round.
const ROUND: usize = 512;

/// What waits for its turn.
pub(super) enum Pending {
    Queue(Arc<QueueEntry>),
    /// Somebody wants to know when everything in front of it is done.
    Asked(oneshot::Sender<()>),
}

impl Shard {
    /// Does one round of what waits.
    pub(super) fn reconfigure(&mut self, now_ms: u64) {
        for _ in 0..ROUND {
            match self.pending.pop_front() {
                Some(Pending::Queue(entry)) => self.reconfigure_queue(entry, now_ms),
                Some(Pending::Asked(reply)) => answer(reply, ()),
                None => return,
            }
        }
    }

    fn reconfigure_queue(&mut self, entry: Arc<QueueEntry>, now_ms: u64) {
        let id = entry.id;
        // It may have been deleted meanwhile.
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let options = options_of(&entry);
        slot.entry = entry;
        self.apply(id, Command::SetOptions(Box::new(options)), now_ms);
    }
}
