//! Everything ready, handed out once more without being delivered: what an exchange keeps for queues to come. Such a
//! queue has no priorities, and its messages are all in its first lane.

use super::lanes::At;
use super::{Effect, Queue};

/// One asking.
#[derive(Debug)]
pub(super) struct Recall {
    number: u64,
    /// The next message to be handed out.
    next: u64,
    /// Messages from here on came after the asking.
    end: u64,
}

impl Queue {
    pub(super) fn recall(&mut self, number: u64, effects: &mut Vec<Effect>) {
        self.recalls.push_back(Recall { number, next: 0, end: self.messages.lanes.get(0).next_seq });
        self.go_on_recalling(effects);
    }

    /// Hands out what is in memory, in order, and asks for the next chunk.
    pub(super) fn go_on_recalling(&mut self, effects: &mut Vec<Effect>) {
        let mut recalls = std::mem::take(&mut self.recalls);
        recalls.retain_mut(|recall| {
            let is_done = self.hand_out_recalled(recall, effects);
            if is_done {
                effects.push(Effect::RecallDone(recall.number));
            }
            !is_done
        });
        self.recalls = recalls;
    }

    fn hand_out_recalled(&mut self, recall: &mut Recall, effects: &mut Vec<Effect>) -> bool {
        let next = |queue: &Self, from| queue.messages.lanes.get(0).next_alive(from);
        while let Some((index, seq)) = next(self, recall.next).filter(|(_, seq)| *seq < recall.end) {
            let at = At { lane: 0, index };
            if !self.is_hot(at, effects) {
                return false;
            }
            let record = self.messages.get(at).and_then(|segment| segment.share_record(seq));
            effects.extend(record.map(|record| Effect::Recalled(recall.number, record)));
            recall.next = seq + 1;
        }
        true
    }
}
