//! Messages that are held while an operator moves them: out of turn, until their copies are safe elsewhere or they go back.
//!
//! Nothing of this is in the log: after a crash, and on a new owner, what was held is ready as if nothing had happened.

use std::collections::BTreeMap;

use super::effect::Effect;
use super::{Queue, Standing};

/// Held messages, and whether each was delivered before.
pub(super) type Held = BTreeMap<u64, bool>;

impl Queue {
    /// Takes messages out of turn that are ready; gives which of them were. Each is then to be settled or given back
    /// ([`super::Command::SettleHeld`], [`super::Command::GiveHeldBack`]).
    pub fn hold(&mut self, seqs: &[u64]) -> Vec<u64> {
        let mut held = Vec::new();
        for seen in self.look_at(seqs).into_iter().filter(|seen| seen.standing == Standing::Ready) {
            let seq = seen.seq;
            if self.held.contains_key(&seq) {
                continue;
            }
            self.take_ready(seq);
            self.taken.insert(seq);
            self.held.insert(seq, seen.redelivered);
            held.push(seq);
        }
        held
    }

    /// What was held is done with here.
    pub(super) fn settle_held(&mut self, seqs: &[u64]) {
        for seq in seqs.iter().copied() {
            if self.held.remove(&seq).is_some() {
                self.taken.remove(&seq);
                self.messages.settle(seq, seq + 1);
            }
        }
    }

    /// What was held is ready again, at its old place, as if nothing had happened.
    pub(super) fn give_held_back(&mut self, seqs: &[u64], effects: &mut Vec<Effect>) {
        for seq in seqs.iter().copied() {
            let Some(was_delivered) = self.held.remove(&seq) else { continue };
            self.taken.remove(&seq);
            if seq < self.messages.cursor(seq) {
                self.returned.insert(seq);
                if !was_delivered {
                    self.late.insert(seq);
                }
            }
            self.ready += 1;
            self.count_body(seq, true);
            self.watch_again(seq, effects);
        }
    }
}
