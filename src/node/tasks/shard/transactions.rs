//! What the transactions task asks of a shard.

use std::sync::Arc;

use super::Shard;
use crate::broker::arguments::object_text;
use crate::broker::batch::Batch;
use crate::broker::channel::unacked::Verdict;
use crate::broker::ids::QueueId;
use crate::broker::queue::Command;
use crate::node::links::{CommitAnswer, Reserve, Reserved, TransactionInput};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

impl Shard {
    /// Sets numbers aside for the messages of a transaction, or refuses all of them.
    pub(super) fn reserve(&mut self, reserve: &Reserve, now_ms: u64) {
        if !reserve.settled.is_empty() {
            // What it settles must stand in front of it in the log, or a replay would bring it back.
            self.send_gathered_messages();
        }
        let reserved = self.reserve_all(&reserve.publishes, now_ms).map(|numbered| {
            let are_final =
                reserve.settled.iter().map(|(id, verdict)| self.is_final(*id, *verdict)).collect();
            let mut targets = reserve.publishes.iter().filter_map(|(id, ..)| self.slots.get(id));
            let notes_ids = targets.any(|slot| slot.queue.looks_for_duplicates());
            Reserved { numbered, are_final, notes_ids }
        });
        let answer = TransactionInput::Reserved(reserve.transaction, reserve.part, reserved);
        self.shared.transactions.push(answer);
    }

    /// What was applied last belongs to a commit, whose client is told when the log has it.
    pub(super) fn tell_commit_when_synced(&mut self, answer: Arc<CommitAnswer>) {
        if self.index > self.synced {
            self.is_awaited = true;
            self.commits.push_back((self.index, answer));
        }
    }

    /// A queue that was deleted meanwhile takes its messages with it, and gives no numbers.
    fn reserve_all(
        &mut self,
        publishes: &[(QueueId, Batch, u64)],
        now_ms: u64,
    ) -> Result<Vec<Vec<(u64, Batch)>>, Refusal> {
        let mut numbered = Vec::with_capacity(publishes.len());
        for (id, batch, body_bytes) in publishes {
            // What is overdue holds no places.
            self.apply(*id, Command::Tick, now_ms);
            let Some(slot) = self.slots.get_mut(id) else {
                numbered.push(Vec::new());
                continue;
            };
            let Some(batches) = slot.queue.reserve(batch, *body_bytes) else {
                let queue = object_text("queue", &slot.entry.name, &slot.entry.vhost);
                let text = format!("cannot commit: {queue} is full and rejects publishes");
                self.release(publishes, &numbered, now_ms);
                return Err(Refusal::channel(ReplyCode::PreconditionFailed, text));
            };
            numbered.push(batches);
        }
        Ok(numbered)
    }

    fn release(&mut self, publishes: &[(QueueId, Batch, u64)], numbered: &[Vec<(u64, Batch)>], now_ms: u64) {
        for ((id, ..), batches) in publishes.iter().zip(numbered) {
            for (first, _) in batches {
                self.apply(*id, Command::Release(*first), now_ms);
            }
        }
    }

    /// Whether a settlement ends messages here and now, so that the log must know.
    fn is_final(&self, id: QueueId, verdict: Verdict) -> bool {
        self.slots.get(&id).filter(|slot| slot.entry.durable).is_some_and(|slot| match verdict {
            Verdict::Ack => true,
            Verdict::Requeue | Verdict::Fail => false,
            Verdict::Reject => slot.entry.settings.dead_letter_exchange.is_none(),
        })
    }
}
