//! What a queue counts: whole batches at a time.

use super::Queue;
use super::effect::Entry;
use super::lanes::At;
use crate::broker::counts::MessageCounts;

/// A consumer capacity is measured over so many milliseconds.
const WINDOW_MS: u64 = 5_000;

/// What a queue has done since its owner began, and how much of the time its consumers could take more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) messages: MessageCounts,
    /// When something last happened here, Unix milliseconds.
    pub(super) active_ms: u64,
    /// When the window began, and how long in it some consumer could take messages.
    window_ms: u64,
    able_ms: u64,
    /// Since when some consumer can.
    able_since_ms: Option<u64>,
    /// The share in the window before.
    share: f32,
}

impl Counters {
    /// A command was carried out, after which consumers can take more or not.
    #[inline]
    pub(super) fn note(&mut self, is_able: bool, now_ms: u64) {
        self.active_ms = now_ms;
        if is_able != self.able_since_ms.is_some() {
            self.turn(is_able, now_ms);
        }
        if now_ms >= self.window_ms + WINDOW_MS {
            self.share = self.share_at(now_ms);
            (self.window_ms, self.able_ms) = (now_ms, 0);
            self.able_since_ms = self.able_since_ms.map(|_| now_ms);
        }
    }

    fn turn(&mut self, is_able: bool, now_ms: u64) {
        match self.able_since_ms.take() {
            Some(since_ms) => self.able_ms += now_ms.saturating_sub(since_ms.max(self.window_ms)),
            None => self.able_since_ms = is_able.then_some(now_ms),
        }
    }

    /// The share of the time in which a consumer could take messages.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window")]
    pub(super) fn share_at(&self, now_ms: u64) -> f32 {
        let window_ms = now_ms.saturating_sub(self.window_ms);
        if window_ms < WINDOW_MS / 5 && self.window_ms > 0 {
            return self.share;
        }
        let now_able = self.able_since_ms.map_or(0, |since| now_ms.saturating_sub(since.max(self.window_ms)));
        if window_ms == 0 { 0.0 } else { ((self.able_ms + now_able) as f32 / window_ms as f32).min(1.0) }
    }
}

impl Queue {
    /// What it has counted since its owner began.
    #[must_use]
    pub fn message_counts(&self) -> MessageCounts {
        self.counters.messages
    }

    /// The share of the time in which consumers could take messages at once (RabbitMQ: Consumer Capacity).
    #[must_use]
    pub fn consumer_capacity(&self, now_ms: u64) -> f32 {
        if self.consumers.len() == 0 { 0.0 } else { self.counters.share_at(now_ms) }
    }

    /// The consumer that is served alone, of a queue with a single active consumer.
    #[must_use]
    pub fn active_consumer(&self) -> Option<super::ConsumerId> {
        self.consumers.active()
    }

    /// When something last happened here, Unix milliseconds.
    #[must_use]
    pub fn last_active_ms(&self) -> u64 {
        self.counters.active_ms
    }

    /// Messages were handed to a consumer: of one segment, with the cursor of its lane before that.
    pub(super) fn count_delivered(&mut self, at: At, start: u64, entries: &[Entry], no_ack: bool) {
        let lane = self.messages.lanes.get(at.lane);
        let are_new = lane.cursor > start && start >= lane.redelivered_below;
        let count = entries.len() as u64;
        let messages = &mut self.counters.messages;
        *(if no_ack { &mut messages.deliver_no_ack } else { &mut messages.deliver }) += count;
        if !are_new {
            messages.redeliver += entries.iter().filter(|entry| entry.redelivered).count() as u64;
        }
    }

    /// A message was fetched.
    pub(super) fn count_got(&mut self, no_ack: bool, redelivered: bool) {
        let messages = &mut self.counters.messages;
        *(if no_ack { &mut messages.get_no_ack } else { &mut messages.get }) += 1;
        messages.redeliver += u64::from(redelivered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_the_share_of_the_time_in_which_consumers_could_take_more() {
        let mut counters = Counters::default();
        counters.note(true, 10_000);
        counters.note(false, 12_000);
        assert!((counters.share_at(14_000) - 0.5).abs() < 0.01, "{}", counters.share_at(14_000));
        counters.note(true, 15_000);
        assert!((counters.share - 0.4).abs() < 0.01, "{}", counters.share);
        counters.note(true, 20_000);
        assert!((counters.share - 1.0).abs() < 0.01, "{}", counters.share);
        assert_eq!(counters.active_ms, 20_000);
    }
}
