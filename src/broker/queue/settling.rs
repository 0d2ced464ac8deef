//! What becomes of deliveries: acknowledged, returned, given up, refused; and purges.

use super::segment::Segment;
use super::{ConsumerId, DeathReason, Effect, Queue, ReturnRun, SeqRange};
use crate::broker::arguments::Cause;

impl Queue {
    /// Gives how many were unacknowledged.
    pub(super) fn ack(&mut self, consumer: ConsumerId, ranges: &[SeqRange]) -> u64 {
        let mut count = 0;
        for (first, length) in ranges.iter().copied() {
            let end = first.saturating_add(length);
            if self.is_all_unacked(first, end) {
                count += self.messages.settle(first, end);
            } else {
                self.settle_ready(first, end);
                self.settle_taken(first, end);
                let end = end.min(self.messages.cursor(first));
                let seqs = (first..end).filter(|seq| self.is_unacked(*seq)).collect::<Vec<_>>();
                count += seqs.into_iter().map(|seq| self.messages.settle(seq, seq + 1)).sum::<u64>();
            }
        }
        self.unacked -= count;
        self.release(consumer, ranges, count);
        count
    }

    pub(super) fn requeue(
        &mut self,
        consumer: ConsumerId,
        ranges: &[SeqRange],
        (cause, now_ms): (Cause, u64),
        effects: &mut Vec<Effect>,
    ) {
        let (mut count, mut not_ready) = (0, 0);
        let (mut runs, mut retries) = (Vec::new(), Vec::new());
        for seq in self.delivered(ranges) {
            if self.is_unacked(seq) {
                count += 1;
                if let Some(limit) = self.return_limit()
                    && !self.count_return(seq, limit, &mut runs)
                {
                    self.give_up(seq, effects);
                    not_ready += 1;
                    continue;
                }
                self.count_body(seq, true);
                let count = self.messages.returns(seq);
                let delay_ms = self.options.retry.and_then(|retry| retry.delay_ms(cause, seq, count));
                if let Some(delay_ms) = delay_ms {
                    self.wait_for_retry(seq, now_ms.saturating_add(delay_ms), &mut retries);
                    not_ready += 1;
                } else {
                    self.returned.insert(seq);
                    self.watch_again(seq, effects);
                }
            }
        }
        self.unacked -= count;
        self.ready += count - not_ready;
        self.release(consumer, ranges, count);
        if !runs.is_empty() {
            effects.push(Effect::LogReturns(runs));
        }
        if !retries.is_empty() {
            effects.push(Effect::LogRetries(retries));
        }
    }

    /// How often a message may come back, if that is counted: delays grow by it.
    fn return_limit(&self) -> Option<u64> {
        self.options.delivery_limit.or_else(|| self.options.retry.map(|_| u64::MAX))
    }

    /// Counts that a message came back, and notes in `runs` what must be logged; false when that is more often than
    /// the limit (RabbitMQ: Quorum Queues, Poison Message Handling).
    fn count_return(&mut self, seq: u64, limit: u64, runs: &mut Vec<ReturnRun>) -> bool {
        let count = self.messages.returns(seq).saturating_add(1);
        if u64::from(count) > limit {
            return false;
        }
        self.messages.note_returns(seq, seq + 1, count);
        let segment = self.messages.position(seq).and_then(|at| self.messages.get(at));
        if self.options.durable && segment.is_some_and(Segment::has_persistent) {
            match runs.last_mut() {
                Some((first, length, same)) if *same == count && *first + *length == seq => *length += 1,
                Some(_) | None => runs.push((seq, 1, count)),
            }
        }
        true
    }

    /// A delivery came back once too often.
    fn give_up(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        if self.options.dead_letters {
            self.taken.insert(seq);
            self.send_dead_letter(seq, DeathReason::DeliveryLimit, effects);
        } else {
            self.messages.settle(seq, seq + 1);
        }
    }

    pub(super) fn reject(&mut self, consumer: ConsumerId, ranges: &[SeqRange], effects: &mut Vec<Effect>) {
        if !self.options.dead_letters {
            self.ack(consumer, ranges);
            return;
        }
        let mut count = 0;
        for seq in self.delivered(ranges) {
            if self.is_unacked(seq) {
                self.taken.insert(seq);
                self.send_dead_letter(seq, DeathReason::Rejected, effects);
                count += 1;
            }
        }
        self.unacked -= count;
        self.reject_ready(ranges, effects);
        self.release(consumer, ranges, count);
    }

    /// So many of these deliveries were a consumer's. Of a queue that changes its owner all of them are: an owner before
    /// may have delivered them, or somebody else may have settled them since.
    fn release(&mut self, consumer: ConsumerId, ranges: &[SeqRange], count: u64) {
        let count =
            if self.options.replicated { ranges.iter().map(|(_, length)| length).sum() } else { count };
        self.consumers.release(consumer, count);
    }

    /// Everything ready goes, and what waits for a retry; deliveries and dead letters on their way stay.
    pub(super) fn purge(&mut self) {
        self.purge_retries();
        for seq in std::mem::take(&mut self.returned) {
            self.ready -= self.messages.settle(seq, seq + 1);
        }
        self.late.clear();
        (0..self.messages.lanes.count()).for_each(|lane| self.purge_lane(lane));
        self.limits.ready_bytes = 0;
        self.due.clear();
    }

    fn purge_lane(&mut self, lane: usize) {
        let lane = self.messages.lanes.get_mut(lane);
        let end = lane.next_seq;
        let mut from = std::mem::replace(&mut lane.cursor, end);
        for taken in self.taken.range(from..end) {
            self.ready -= self.messages.settle(from, *taken);
            from = taken + 1;
        }
        self.ready -= self.messages.settle(from, end);
    }

    /// The targets have it: it is done with here.
    pub(super) fn dead_lettered(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        if self.taken.remove(&seq) {
            self.letters_out = self.letters_out.saturating_sub(1);
            self.messages.settle(seq, seq + 1);
            if self.options.delays && !self.waiting.is_empty() {
                self.load_waiting(effects);
            }
        }
    }

    /// Whether a message could be delivered now.
    pub(super) fn is_ready(&self, seq: u64) -> bool {
        let in_turn = seq >= self.messages.cursor(seq) && !self.taken.contains(&seq);
        (in_turn || self.returned.contains(&seq)) && self.messages.is_alive(seq)
    }

    fn is_unacked(&self, seq: u64) -> bool {
        let is_ahead = seq >= self.messages.cursor(seq);
        let elsewhere = is_ahead || self.returned.contains(&seq) || self.taken.contains(&seq);
        !elsewhere && self.messages.is_alive(seq)
    }

    /// Whether what is not settled of `from .. to` is unacknowledged: a wrong range must not take a ready message.
    fn is_all_unacked(&self, from: u64, to: u64) -> bool {
        to <= self.messages.cursor(from)
            && (from >= to
                || self.returned.range(from..to).next().is_none()
                    && self.taken.range(from..to).next().is_none())
    }

    /// The numbers in these ranges that were delivered once.
    fn delivered(&self, ranges: &[SeqRange]) -> impl Iterator<Item = u64> + use<> {
        let below = |first: u64| self.messages.cursor(first);
        let ranges =
            ranges.iter().map(|(first, length)| *first..first.saturating_add(*length).min(below(*first)));
        ranges.collect::<Vec<_>>().into_iter().flatten()
    }
}
