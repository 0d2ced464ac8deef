//! Bringing a queue back: its row (see `row`) and chunks from the cold store, then the rest of the log.
//!
//! Replaying is idempotent by message number: a chunk may be newer than the log position the replay begins at.

use super::lanes::{Lane, priority_of};
use super::segment::Segment;
use super::{Queue, RetryRun, ReturnRun, SeqRange};
use crate::broker::batch::{self, Batch};

/// More than a queue can take in.
const NUMBERS_PER_MS: u64 = 1 << 20;
/// Those of a queue with priorities leave room for the priority: a third of it still is more than a queue can take in.
const NUMBERS_PER_MS_BY_PRIORITY: u64 = 1 << 15;
/// 2025-01-01, Unix milliseconds. From here on 41 bits count milliseconds for 69 years.
const EPOCH_MS: u64 = 1_735_689_600_000;
const SINCE_EPOCH_MAX: u64 = (1 << 41) - 1;

impl Queue {
    /// Takes a chunk's descriptor, in the order of the chunks. `None` when it is not one.
    pub fn restore_chunk(&mut self, first: u64, descriptor: &[u8]) -> Option<()> {
        let segment = Segment::restore(first, descriptor).filter(|_| self.messages.end() <= first)?;
        if !self.messages.lanes.is_one(first, segment.end()) {
            return None;
        }
        // One without messages stays until the replay ends: its messages may be in the log again.
        self.ready += u64::from(segment.alive);
        self.messages.restore(segment);
        Some(())
    }

    /// Takes logged messages; those that a chunk covers are known already, transient ones ended with their run.
    pub fn replay_enqueue(&mut self, first: u64, batch: &Batch) {
        let Some(end) = first.checked_add(batch.count.into()) else { return };
        if batch.count == 0 || !self.messages.lanes.is_one(first, end) {
            return;
        }
        let at = self.messages.lanes.make(first);
        let lane = self.messages.lanes.get_mut(at);
        lane.replayed_below = lane.replayed_below.max(end);
        let is_stored = first < lane.stored_below && !self.is_reserved(first);
        if is_stored || self.messages.position(first).is_some() {
            return;
        }
        self.messages.insert(first, batch);
        self.ready += u64::from(batch.count);
        if batch.persistent < batch.count {
            self.drop_transient(first, batch);
        }
    }

    fn drop_transient(&mut self, first: u64, batch: &Batch) {
        let mut records: &[u8] = &batch.records;
        let mut seq = first;
        while let Some(record) = batch::skim(records) {
            if !record.persistent {
                self.ready -= self.messages.settle(seq, seq + 1);
            }
            records = records.get(record.length..).unwrap_or_default();
            seq += 1;
        }
    }

    /// Takes logged settlements.
    pub fn replay_settle(&mut self, ranges: &[SeqRange]) {
        for (first, length) in ranges {
            self.ready -= self.messages.settle(*first, first.saturating_add(*length));
        }
    }

    /// Takes logged counts of returns; those of a chunk may be higher, and stay.
    pub fn replay_returns(&mut self, runs: &[ReturnRun]) {
        for (first, length, count) in runs {
            self.messages.note_returns(*first, first.saturating_add(*length), *count);
        }
    }

    /// Takes logged times until which messages wait; the latest is the last.
    pub fn replay_retries(&mut self, runs: &[RetryRun]) {
        for (first, length, due_ms) in runs {
            let lanes = &self.messages.lanes;
            let end = lanes.get(lanes.of(*first)).next_seq;
            for seq in *first..first.saturating_add(*length).min(end) {
                self.messages.note_retry(seq, *due_ms);
            }
        }
    }

    /// The first number of each lane that was never delivered, written at a clean stop.
    #[must_use]
    pub fn delivered_below(&self) -> Vec<u64> {
        self.messages.lanes.iter().map(Lane::delivered_below).collect()
    }

    /// Ends the replay. After a crash nobody knows what was delivered, so everything may have been.
    pub fn recovered(&mut self, delivered_below: Option<&[u64]>, due_far_ms: Option<u64>, now_ms: u64) {
        self.messages.seal_all();
        self.reserved.clear();
        self.count_all();
        self.mark_delivered(delivered_below);
        self.restore_retries(now_ms);
        self.due.clear();
        self.messages.positions().into_iter().for_each(|at| self.watch_segment(at));
        self.due_far_ms = due_far_ms;
        self.last_used_ms = now_ms;
        if !self.options.replicated {
            self.leave_old_numbers(now_ms);
        }
        self.messages.drop_idle_lanes();
    }

    /// What comes now has higher numbers than all that came before.
    fn leave_old_numbers(&mut self, now_ms: u64) {
        // Transient messages left no trace of their numbers, but their due times in the cold store may still be there.
        // No run can give out as many numbers as this is ahead of the run before.
        let lanes = &mut self.messages.lanes;
        if lanes.is_split() {
            let since_ms = now_ms.wrapping_sub(EPOCH_MS) & SINCE_EPOCH_MAX;
            lanes.raise(since_ms * NUMBERS_PER_MS_BY_PRIORITY);
        } else {
            lanes.raise(now_ms.saturating_mul(NUMBERS_PER_MS));
        }
    }

    fn mark_delivered(&mut self, delivered_below: Option<&[u64]>) {
        let is_split = self.messages.lanes.is_split();
        for lane in self.messages.lanes.iter_mut() {
            let is_of_lane = |mark: &&u64| !is_split || priority_of(**mark) == priority_of(lane.base);
            let mark = delivered_below.and_then(|marks| marks.iter().find(is_of_lane)).copied();
            lane.redelivered_below = mark.unwrap_or(lane.next_seq);
            lane.next_seq = lane.next_seq.max(lane.redelivered_below);
        }
    }

    /// Chunks that hold nothing any more; to be deleted.
    pub fn take_forgotten(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.messages.forgotten)
    }
}
