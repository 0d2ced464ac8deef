//! Bringing a queue back: its row and chunks from the cold store, then the rest of the log.
//!
//! Replaying is idempotent by message number: a chunk may be newer than the log position the replay begins at.

use super::segment::Segment;
use super::{Queue, RetryRun, ReturnRun, SeqRange};
use crate::broker::batch::{self, Batch};

/// More than a queue can take in.
const NUMBERS_PER_MS: u64 = 1 << 20;

impl Queue {
    /// Takes the queue's row. `None` when it is not one.
    pub fn restore_row(&mut self, row: &[u8]) -> Option<()> {
        let (version, rest) = row.split_first()?;
        let (next_seq, rest) = rest.split_first_chunk::<8>()?;
        let (delivered, _) = rest.split_first_chunk::<8>()?;
        if *version != 1 {
            return None;
        }
        self.stored_below = u64::from_le_bytes(*next_seq);
        self.messages.next_seq = self.messages.next_seq.max(self.stored_below);
        self.redelivered_below = u64::from_le_bytes(*delivered);
        Some(())
    }

    /// Takes a chunk's descriptor, in the order of the chunks. `None` when it is not one.
    pub fn restore_chunk(&mut self, first: u64, descriptor: &[u8]) -> Option<()> {
        let segment = Segment::restore(first, descriptor).filter(|_| self.messages.end() <= first)?;
        // One without messages stays until the replay ends: its messages may be in the log again.
        self.ready += u64::from(segment.alive);
        self.messages.restore(segment);
        Some(())
    }

    /// Takes logged messages; those that a chunk covers are known already, transient ones ended with their run.
    pub fn replay_enqueue(&mut self, first: u64, batch: &Batch) {
        let known = first < self.stored_below || self.messages.position(first).is_some();
        if known || batch.count == 0 || first.checked_add(batch.count.into()).is_none() {
            return;
        }
        self.messages.insert(first, batch);
        self.ready += u64::from(batch.count);
        if batch.persistent < batch.count {
            self.drop_transient(first, batch);
        }
        self.note_dues(first, batch);
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
            for seq in *first..first.saturating_add(*length).min(self.messages.next_seq) {
                self.messages.note_retry(seq, *due_ms);
            }
        }
    }

    /// The first number that was never delivered, written at a clean stop.
    #[must_use]
    pub fn delivered_below(&self) -> u64 {
        self.cursor.max(self.redelivered_below)
    }

    /// Ends the replay. After a crash nobody knows what was delivered, so everything may have been.
    pub fn recovered(&mut self, delivered_below: Option<u64>, due_far_ms: Option<u64>, now_ms: u64) {
        self.messages.seal_all();
        self.count_all();
        self.redelivered_below = delivered_below.unwrap_or(self.messages.next_seq);
        self.restore_retries(now_ms);
        let mut due = std::mem::take(&mut self.due);
        due.retain(|seq| self.is_ready(seq));
        self.due = due;
        self.due_far_ms = due_far_ms;
        self.last_used_ms = now_ms;
        // Transient messages left no trace of their numbers, but their due times in the cold store may still be there.
        // No run can give out as many numbers as this is ahead of the run before.
        let fresh = now_ms.saturating_mul(NUMBERS_PER_MS);
        self.messages.next_seq = self.messages.next_seq.max(self.redelivered_below).max(fresh);
    }

    /// Chunks that hold nothing any more; to be deleted.
    pub fn take_forgotten(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.messages.forgotten)
    }
}
