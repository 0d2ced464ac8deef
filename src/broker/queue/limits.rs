//! Length limits: dropping the oldest, or refusing the newest (RabbitMQ: Queue Length Limit).
//!
//! Only ready messages count, and of them only the bodies. Bytes are counted where a limit asks for them, nowhere else.

use bytes::Bytes;

use super::delivery::unwatch;
use super::effect::{DeathReason, Effect};
use super::lanes::At;
use super::segment::Segment;
use super::{Options, Queue};
use crate::broker::arguments::Overflow;
use crate::broker::batch::{self, Batch};

/// The limits of a queue, and what is counted for them.
#[derive(Debug)]
pub(super) struct Limits {
    /// Ready messages; the largest number when there is no limit.
    length: u64,
    /// Bytes of ready bodies; the largest number when there is no limit.
    bytes: u64,
    overflow: Overflow,
    /// Bytes of ready bodies, counted only with a limit for them.
    pub(super) ready_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { length: u64::MAX, bytes: u64::MAX, overflow: Overflow::DropHead, ready_bytes: 0 }
    }
}

impl Limits {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            length: options.max_length.unwrap_or(u64::MAX),
            bytes: options.max_length_bytes.unwrap_or(u64::MAX),
            overflow: options.overflow,
            ready_bytes: 0,
        }
    }

    /// Whether anybody wants to know the bytes.
    #[inline]
    pub(super) fn counts_bytes(&self) -> bool {
        self.bytes != u64::MAX
    }

    /// Whether new messages may be refused.
    #[inline]
    pub(super) fn may_refuse(&self) -> bool {
        self.overflow != Overflow::DropHead
    }

    pub(super) fn drops(&self, ready: u64) -> bool {
        self.exceeded_by(ready, self.ready_bytes) && self.overflow == Overflow::DropHead
    }

    #[inline]
    pub(super) fn exceeded_by(&self, ready: u64, bytes: u64) -> bool {
        ready > self.length || bytes > self.bytes
    }

    /// A body is not ready any more.
    pub(super) fn leave(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.ready_bytes, "what leaves has been counted");
        self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
    }
}

impl Queue {
    /// Takes in those messages of a batch that fit, one after the other, and refuses the others; `place` is that of
    /// the first one in the batch that came.
    pub(super) fn take_in_what_fits(
        &mut self,
        batch: &Batch,
        place: u32,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let mut rest = batch.clone();
        while rest.count > 0 {
            let place = place + batch.count - rest.count;
            let (run, fits) = self.split_run(&mut rest);
            if fits {
                self.take_in(&run, now_ms, effects);
            } else {
                effects.push(Effect::Refused { place, count: run.count, records: run.records });
            }
        }
    }

    /// Takes from a batch the first messages that all fit, or all do not.
    fn split_run(&self, rest: &mut Batch) -> (Batch, bool) {
        let (mut run, mut at, mut first) = (Batch::default(), 0, None);
        let (mut ready, mut bytes) = self.taken_places();
        while let Some(record) = rest.records.get(at..)
            && let Some(skimmed) = batch::skim(record)
        {
            let body = u64::from(batch::body_length(record));
            let fits = !self.limits.exceeded_by(ready.saturating_add(1), bytes.saturating_add(body));
            if *first.get_or_insert(fits) != fits {
                break;
            }
            if fits {
                (ready, bytes) = (ready + 1, bytes + body);
            }
            run.count += 1;
            run.persistent += u32::from(skimmed.persistent);
            at += skimmed.length;
        }
        debug_assert!(run.count > 0, "a batch has as many records as it says");
        run.records = rest.records.split_to(at);
        rest.count = if run.count == 0 { 0 } else { rest.count - run.count };
        rest.persistent -= run.persistent;
        (run, first.unwrap_or(true))
    }

    /// What the limit of messages counts: what is ready, or will be when it has waited for its retry.
    pub(super) fn limited(&self) -> u64 {
        self.ready + self.retries.len()
    }

    /// Drops the messages that are next in turn until the limits hold, or so many are dropped.
    pub(super) fn drop_excess(&mut self, mut most: u64, effects: &mut Vec<Effect>) {
        while most > 0 && self.limits.drops(self.limited()) {
            let Some((at, seq)) = self.next_ready() else { return };
            if self.options.dead_letters || !self.returned.is_empty() {
                self.leave_ready(seq, DeathReason::MaxLength, effects);
                most -= 1;
            } else {
                most = self.drop_run(at, seq, most);
            }
        }
    }

    /// Drops messages of one segment that were never delivered, from `first` on, `most` of them: in memory or not,
    /// their records are not needed. A due time that only the record knows stays behind; it finds nobody. Gives how
    /// many more may be dropped.
    fn drop_run(&mut self, at: At, first: u64, mut most: u64) -> u64 {
        let Some(segment) = self.messages.get(at) else { return 0 };
        let uncounted_below = self.messages.lanes.get(at.lane).uncounted_below;
        let taken = self.taken.range(first..).next().copied();
        let end = taken.unwrap_or(u64::MAX).min(segment.end());
        let (mut next, mut past, waiting) = (Some(first), first, self.retries.len());
        while let Some(seq) =
            next.filter(|seq| *seq < end && most > 0 && self.limits.drops(self.ready + waiting))
        {
            unwatch(segment, seq, &mut self.due);
            self.ready -= 1;
            most -= 1;
            if self.limits.counts_bytes() && seq >= uncounted_below {
                self.limits.leave(segment.body_length(seq));
            }
            past = seq + 1;
            next = segment.next_alive(past);
        }
        self.messages.settle(first, past);
        self.messages.lanes.get_mut(at.lane).cursor = past;
        most
    }

    /// A message is ready, or is not any more: counts its body.
    pub(super) fn count_body(&mut self, seq: u64, is_ready: bool) {
        if !self.limits.counts_bytes() || seq < self.messages.lanes.uncounted_below(seq) {
            return;
        }
        let segment = self.messages.position(seq).and_then(|at| self.messages.get(at));
        let bytes = segment.map_or(0, |segment| segment.body_length(seq));
        if is_ready {
            self.limits.ready_bytes += bytes;
        } else {
            self.limits.leave(bytes);
        }
    }

    /// Counts the bodies of a batch that came in.
    pub(super) fn count_batch(&mut self, batch: &Batch) {
        let mut records: &[u8] = &batch.records;
        while let Some(skimmed) = batch::skim(records) {
            self.limits.ready_bytes += u64::from(batch::body_length(records));
            records = records.get(skimmed.length..).unwrap_or_default();
        }
    }

    /// Counts all bodies anew, for a queue of which nothing is delivered.
    pub(super) fn count_all(&mut self) {
        if self.limits.counts_bytes() {
            self.limits.ready_bytes = self.messages.segments().map(Segment::body_bytes).sum();
        }
    }

    /// Chunks that must be read before this queue can tell its bytes: written by a version that did not note body
    /// lengths, or before the declaration was known. After recovery only; see [`Self::measure`].
    #[must_use]
    pub fn unmeasured(&self) -> Vec<u64> {
        let segments = self.messages.segments().filter(|segment| !segment.is_measured());
        segments.filter(|_| self.limits.counts_bytes()).map(|segment| segment.first).collect()
    }

    /// Takes the body lengths from a chunk. `None` when it is not that chunk.
    pub fn measure(&mut self, first: u64, chunk: &Bytes) -> Option<()> {
        let at = self.messages.warm(first, chunk)?;
        self.messages.change(at, |segment| {
            segment.measure();
            segment.cool();
            // The next checkpoint notes them.
            segment.dirty = true;
        });
        self.limits.ready_bytes += self.messages.get(at).map_or(0, Segment::body_bytes);
        Some(())
    }
}
