//! Where a shard's records go: to the node's log, or to the task of the group whose queues it owns.
//!
//! A group's records count when a majority of its members has them. Until then they may come to nothing, so nothing that
//! follows from them leaves the shard: letters wait here, and what is for the cold store; the group's task holds back what
//! sessions are told.

use super::Shard;
use crate::broker::ids::QueueId;
use crate::storage::{Append, LogHandle};

/// Where records go.
pub(crate) enum Records {
    /// To the node's log, which says what it has synced.
    Log(LogHandle),
    /// To the task of a group, which takes them after each round and says what is committed.
    Group(Vec<Append>),
}

impl Records {
    /// Takes them over, all at once.
    pub(super) fn append(&mut self, appends: &mut Vec<Append>) {
        match self {
            Self::Log(log) => log.append(std::mem::take(appends)),
            Self::Group(gathered) => gathered.append(appends),
        }
    }

    /// Whether what is not synced may come to nothing.
    pub(super) fn are_of_group(&self) -> bool {
        matches!(self, Self::Group(_))
    }
}

impl Shard {
    /// The last index of a record, of those that were given to the log and of those that still gather.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Of a group's shard: the records to be replicated now.
    pub(crate) fn take_appends(&mut self) -> Vec<Append> {
        match &mut self.records {
            Records::Log(_) => Vec::new(),
            Records::Group(gathered) => std::mem::take(gathered),
        }
    }

    /// Of a group's shard: whether there are records that were not taken.
    pub(crate) fn has_appends(&self) -> bool {
        let gathered = matches!(&self.records, Records::Group(gathered) if !gathered.is_empty());
        gathered || !self.appends.is_empty()
    }

    /// Somebody waits for all that was done so far: nothing gathers any longer.
    pub(crate) fn send_gathered(&mut self) {
        if !self.appends.is_empty() {
            self.send_appends();
        }
    }

    /// Of a group's shard: until when nobody else can own its queues.
    pub(crate) fn serve_until(&mut self, until_ms: u64) {
        self.serving_until_ms = until_ms;
    }

    /// Whether publishers should wait: for consumers, for the disk, or for the log.
    pub(crate) fn is_paused(&self) -> bool {
        !self.mailbox.has_room()
    }

    /// Whether it has this queue.
    pub(crate) fn has(&self, id: QueueId) -> bool {
        self.slots.contains_key(&id)
    }

    /// All of its queues.
    pub(crate) fn ids(&self) -> Vec<QueueId> {
        self.slots.keys().copied().collect()
    }

    /// How many queues it has.
    pub(crate) fn queues(&self) -> usize {
        self.slots.len()
    }

    /// What its queues hold, in order; `read` gives chunks that are in the cold store only.
    #[cfg(test)]
    pub(crate) fn digests(
        &self,
        read: &dyn Fn(QueueId, u64) -> Option<bytes::Bytes>,
    ) -> std::collections::BTreeMap<QueueId, Option<crate::broker::queue::Digest>> {
        let digest =
            |(id, slot): (&QueueId, &super::Slot)| (*id, slot.queue.digest(|first| read(*id, first)));
        self.slots.iter().map(digest).collect()
    }

    /// Hands over to the cold store what may go there: of a group only what is committed.
    pub(super) fn send_cold(&mut self) {
        if self.records.are_of_group() {
            self.is_awaited |= self.cold.hold(self.index) && self.index > self.synced;
            self.cold.send_up_to(self.synced);
        } else {
            self.cold.send();
        }
    }
}
