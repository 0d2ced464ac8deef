//! What a shard tells of its queues.

use super::inputs::answer;
use super::{Shard, Slot};
use crate::node::links::{QueueAsk, QueueAskReply};
use crate::node::statistics::{QueueNumbers, TotalsByType, place_of};

impl Shard {
    /// Tells numbers of queues; those that are not here are left out.
    pub(super) fn tell_statistics(&self, ask: QueueAsk) {
        let slots = ask.queues.iter().filter_map(|id| self.slots.get(id));
        match ask.reply {
            QueueAskReply::Each(reply) => {
                answer(reply, slots.map(|slot| self.numbers(slot, ask.with_consumers)).collect());
            }
            QueueAskReply::Sums(reply) => {
                let mut sums = TotalsByType::default();
                for slot in slots {
                    sums[place_of(slot.entry.settings.queue_type)].add(&self.numbers(slot, false));
                }
                answer(reply, sums);
            }
        }
    }

    fn numbers(&self, slot: &Slot, with_consumers: bool) -> QueueNumbers {
        let Slot { entry, queue, hot_bytes, .. } = slot;
        let (counts, sizes) = (queue.counts(), queue.sizes());
        QueueNumbers {
            id: entry.id.0,
            ready: counts.ready,
            ready_bytes: sizes.ready_bytes,
            unacked: counts.unacked,
            delayed: counts.delayed,
            bytes: sizes.bytes,
            in_memory: sizes.in_memory.0,
            in_memory_bytes: sizes.in_memory.1,
            persistent: sizes.persistent.0,
            persistent_bytes: sizes.persistent.1,
            memory_bytes: (hot_bytes + size_of::<Slot>()) as u64,
            consumers: counts.consumers,
            consumer_ids: if with_consumers { queue.consumer_ids() } else { Vec::new() },
            active_consumer: queue.active_consumer(),
            consumer_capacity: queue.consumer_capacity(self.shared.clock.now_ms()),
            oldest_ms: sizes.oldest_ms,
            head_timestamp_s: sizes.head_timestamp_s,
            active_ms: queue.last_active_ms().max(queue.last_used_ms()),
            counts: queue.message_counts(),
            rates: None,
        }
    }

    /// A queue goes from here: what it has counted is kept for the node's sums.
    pub(super) fn keep_counts(&self, slot: &Slot) {
        let queue_type = slot.entry.settings.queue_type;
        self.shared.statistics.queue_gone(queue_type, &slot.queue.message_counts());
    }

    /// All queues go from here.
    pub(crate) fn keep_all_counts(&self) {
        self.slots.values().for_each(|slot| self.keep_counts(slot));
    }
}
