//! Messages that came back and wait before they are delivered again (RabbitMQ: Quorum Queues, Delayed Retry).
//!
//! They are out of turn, so they count as taken; they are neither ready nor unacknowledged. When they were last told to
//! wait, and until when, is with their segment, so that a restart finds it.

use std::collections::{BTreeMap, BTreeSet};

use super::Queue;
use super::effect::{Effect, RetryRun};
use super::segment::Segment;

/// Messages that wait, by number and by due time.
#[derive(Debug, Default)]
pub(super) struct Retries {
    due_of: BTreeMap<u64, u64>,
    by_due: BTreeSet<(u64, u64)>,
}

impl Retries {
    pub(super) fn len(&self) -> u64 {
        self.due_of.len() as u64
    }

    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.by_due.first().copied()
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.due_of.contains_key(&seq)
    }

    /// Until when a message waits.
    #[cfg(test)]
    pub(super) fn due_ms(&self, seq: u64) -> Option<u64> {
        self.due_of.get(&seq).copied()
    }

    fn insert(&mut self, seq: u64, due_ms: u64) {
        self.due_of.insert(seq, due_ms);
        self.by_due.insert((due_ms, seq));
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<u64> {
        let (_, seq) = self.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.by_due.pop_first();
        self.due_of.remove(&seq);
        Some(seq)
    }

    /// It waits no more; false when it did not.
    pub(super) fn remove(&mut self, seq: u64) -> bool {
        let Some(due_ms) = self.due_of.remove(&seq) else { return false };
        self.by_due.remove(&(due_ms, seq))
    }

    /// All of them, by number; none is left.
    fn take_all(&mut self) -> impl Iterator<Item = u64> {
        self.by_due.clear();
        std::mem::take(&mut self.due_of).into_keys()
    }
}

impl Queue {
    /// Lets a message that came back wait; notes in `runs` what must be logged.
    pub(super) fn wait_for_retry(&mut self, seq: u64, due_ms: u64, runs: &mut Vec<RetryRun>) {
        self.messages.note_retry(seq, due_ms);
        self.taken.insert(seq);
        self.retries.insert(seq, due_ms);
        let segment = self.messages.position(seq).and_then(|at| self.messages.get(at));
        if self.options.durable && segment.is_some_and(Segment::has_persistent) {
            match runs.last_mut() {
                Some((first, length, same)) if *same == due_ms && *first + *length == seq => *length += 1,
                Some(_) | None => runs.push((seq, 1, due_ms)),
            }
        }
    }

    /// Those whose time has come are ready again, at their old place.
    pub(super) fn end_retries(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        while let Some(seq) = self.retries.pop_due(now_ms) {
            self.taken.remove(&seq);
            if seq < self.messages.cursor(seq) {
                self.returned.insert(seq);
            }
            self.ready += 1;
            self.watch_again(seq, effects);
        }
    }

    /// Drops all of them.
    pub(super) fn purge_retries(&mut self) {
        for seq in self.retries.take_all() {
            self.taken.remove(&seq);
            self.messages.settle(seq, seq + 1);
        }
    }

    /// After a replay: those whose time has not come wait on.
    pub(super) fn restore_retries(&mut self, now_ms: u64) {
        for (seq, due_ms) in self.messages.segments().flat_map(Segment::retries).collect::<Vec<_>>() {
            if due_ms > now_ms && self.is_ready(seq) {
                self.taken.insert(seq);
                self.retries.insert(seq, due_ms);
                self.ready -= 1;
            }
        }
    }
}
