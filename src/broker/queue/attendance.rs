//! Whether anybody consumes: queues that go with their last consumer, and what is known of consumers after a change of the
//! owner.
//!
//! A new owner knows no consumers. Those who were there come back, each through its own node, one after the other: until all had
//! their time, nobody takes the place of the active one, and nobody says that there is none left.

use super::{ConsumerId, Effect, Queue};

impl Queue {
    /// Consumers come back that were there before; until [`super::Command::AreBack`].
    pub fn await_consumers(&mut self) {
        self.consumers.set_awaited(true);
    }

    pub(super) fn cancel(&mut self, consumer: ConsumerId, now_ms: u64, effects: &mut Vec<Effect>) {
        // One that ended while there was no owner is not known to the next one.
        let was_there = self.consumers.remove(consumer) || self.options.replicated;
        if self.consumers.are_awaited() {
            self.has_ended_early |= was_there;
        } else if was_there {
            self.look_for_consumers(now_ms, effects);
        }
    }

    pub(super) fn are_back(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.consumers.set_awaited(false);
        if std::mem::take(&mut self.has_ended_early) {
            self.look_for_consumers(now_ms, effects);
        }
    }

    fn look_for_consumers(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.consumers.len() == 0 {
            self.last_used_ms = now_ms;
            if self.options.auto_delete {
                effects.push(Effect::Unused);
            }
        }
    }
}
