//! Options that change while a queue works; and what is much work at once, done in steps, so that other queues of the
//! shard have their turn in between.

use super::expiry::LETTERS_OUT_MAX;
use super::lanes::At;
use super::limits::Limits;
use super::{Effect, Options, Queue};

/// Messages that one command expires, counts or drops beyond what it brought: a fraction of a millisecond's work.
pub(super) const STEP_MESSAGES: u64 = if cfg!(test) { 80 } else { 4096 };

impl Queue {
    /// Takes other options, as a policy asks for. What follows from new limits begins at once, in steps.
    pub(super) fn change_options(&mut self, options: Options, now_ms: u64) {
        if options.expires_ms != self.options.expires_ms {
            self.last_used_ms = now_ms;
        }
        let (was_counted, ready_bytes) = (self.limits.counts_bytes(), self.limits.ready_bytes);
        self.limits = Limits::of(&options);
        if was_counted && self.limits.counts_bytes() {
            self.limits.ready_bytes = ready_bytes;
        } else {
            let is_counted = !self.limits.counts_bytes();
            for lane in self.messages.lanes.iter_mut() {
                lane.uncounted_below = if is_counted { 0 } else { lane.next_seq };
            }
        }
        self.is_catching_up = true;
        self.keep_ids_for(&options);
        self.messages.lanes.keep_all(options.replicated);
        self.options = options;
    }

    /// One step towards the limits, and the messages that have just arrived: they must not outrun it.
    pub(super) fn catch_up(&mut self, arrived: u64, effects: &mut Vec<Effect>) {
        self.count_more(effects);
        if !self.waits_for_letters() {
            self.drop_excess(STEP_MESSAGES + arrived, effects);
        }
        let is_counted = self.next_uncounted().is_none();
        if is_counted {
            self.messages.lanes.iter_mut().for_each(|lane| lane.uncounted_below = 0);
        }
        self.is_catching_up = !is_counted || self.has_excess();
    }

    /// Whether something has to be dropped that can be: what waits for its retry is looked at when it is ready.
    fn has_excess(&self) -> bool {
        self.ready > 0 && self.limits.drops(self.limited())
    }

    /// Whether a further step would get on now: nothing must be read first, no letter must arrive.
    pub(super) fn can_catch_up(&self) -> bool {
        if self.has_excess() {
            return !self.waits_for_letters();
        }
        let segment = self.next_uncounted().and_then(|at| self.messages.get(at));
        segment.is_some_and(|segment| !segment.loading)
    }

    /// Whether so many dead letters are under way that the next ones have to wait: their targets take them at their own
    /// pace.
    pub(super) fn waits_for_letters(&self) -> bool {
        let out_of_turn = self.taken.len().saturating_sub(self.held.len());
        let letters = (out_of_turn as u64).saturating_sub(self.retries.len());
        self.options.dead_letters && letters >= LETTERS_OUT_MAX as u64 || !self.may_send_letters()
    }

    /// Counts bodies that were there before the limit for them was, the last in turn first: once these alone exceed
    /// it, all in front of them have to go, and need not be counted, nor read.
    fn count_more(&mut self, effects: &mut Vec<Effect>) {
        let mut left = STEP_MESSAGES;
        while left > 0 && !self.has_excess() {
            let Some(at) = self.next_uncounted() else { return };
            let is_measured = self.messages.get(at).is_some_and(|segment| segment.is_measured());
            if !is_measured {
                self.is_hot(at, effects);
                return;
            }
            left = self.count_in(at, left);
        }
    }

    /// Counts in one segment; gives how many may follow in this step.
    fn count_in(&mut self, at: At, left: u64) -> u64 {
        let Some(segment) = self.messages.get(at) else { return 0 };
        let end = self.messages.lanes.get(at.lane).uncounted_below.min(segment.end());
        let from = end.saturating_sub(left).max(segment.first);
        let counted = (from..end).filter(|seq| self.is_ready(*seq) || self.retries.contains(*seq));
        let bytes: u64 = counted.map(|seq| segment.body_length(seq)).sum();
        self.limits.ready_bytes += bytes;
        self.messages.lanes.get_mut(at.lane).uncounted_below = from;
        left - (end - from)
    }

    /// The segment that is last in turn of those with bodies that are still to be counted.
    fn next_uncounted(&self) -> Option<At> {
        let lanes = &self.messages.lanes;
        (0..lanes.count()).rev().find_map(|lane| {
            let it = lanes.get(lane);
            let below = it.uncounted_below;
            // The one that messages are put in next may be empty.
            let holds =
                |index: &usize| it.segments.get(*index).is_some_and(|one| one.first < below && one.span > 0);
            let index = (0..=it.position_from(below)).rev().find(holds)?;
            Some(At { lane, index })
        })
    }
}
