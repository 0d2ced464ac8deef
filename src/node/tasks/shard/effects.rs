//! What queues ask of their shard.

use super::inputs::answer;
use super::refusals::Refused;
use super::{Shard, record};
use crate::broker::ids::QueueId;
use crate::broker::queue::{Effect, GetReply};
use crate::node::links::{ClientInput, MetaInput};

impl Shard {
    /// Carries effects out, in order. Gives the log index of messages made durable, or 0.
    pub(super) fn carry_out(&mut self, id: QueueId, effects: &mut Vec<Effect>, now_ms: u64) -> u64 {
        let mut index = 0;
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver(delivery) => {
                    self.memory.delivered(delivery.data.len());
                    if let Some(client) = self.consumers.get(&delivery.consumer) {
                        client.mailbox.push(ClientInput::Deliver(delivery));
                    }
                }
                Effect::Got(reply) => self.got(id, reply),
                Effect::LogEnqueue { first, records, ids, .. } if ids.is_empty() => {
                    index = self.append(record::ENQUEUE, record::enqueue(id, first), records);
                }
                Effect::LogEnqueue { first, records, ids, .. } => {
                    let head = record::enqueue_with_ids(id, first, &ids);
                    index = self.append(record::ENQUEUE_WITH_IDS, head, records);
                }
                Effect::LogIds(ids) => {
                    index = self.append(record::IDS, record::ids(id, &ids), bytes::Bytes::new());
                }
                // The first one's record is among those logged so far.
                Effect::Duplicates => index = self.index,
                Effect::LogSettle(ranges) => {
                    self.append(record::SETTLE, record::settle(id, &ranges), bytes::Bytes::new());
                }
                Effect::LogReturns(runs) => {
                    self.append(record::RETURNED, record::returned(id, &runs), bytes::Bytes::new());
                }
                Effect::LogRetries(runs) => {
                    self.append(record::RETRY, record::retry(id, &runs), bytes::Bytes::new());
                }
                Effect::DeadLetter { seq, reason, record } => {
                    self.shared.statistics.died(reason, 1);
                    self.dead_letter(id, seq, reason, &record, now_ms);
                }
                Effect::Refused { place, count, records } => {
                    self.refused.push(Refused { place, count, records });
                }
                Effect::Recalled(number, record) => self.recalled(number, &record, now_ms),
                Effect::RecallDone(number) => self.recall_done(number),
                Effect::Load(first) => self.cold.load(id, first),
                Effect::Forget(first) => self.memory.forget(self.index, id, first),
                Effect::LoadDue(from_ms, to_ms) => self.cold.load_due(id, from_ms, to_ms),
                Effect::Unused => self.shared.meta.push(MetaInput::Drop(id, None)),
                Effect::Expired => self.shared.meta.push(MetaInput::Drop(id, Some(now_ms))),
            }
        }
        index
    }

    fn got(&mut self, id: QueueId, reply: GetReply) {
        if let Some(waiting) = self.slots.get_mut(&id).and_then(|slot| slot.gets.pop_front()) {
            answer(waiting, Some(reply));
        }
    }
}
