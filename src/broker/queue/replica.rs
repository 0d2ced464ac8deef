//! A queue that follows another one by its records, as long as it has no consumers, and what changes when it takes over.
//!
//! It lives by the functions of [`super::recovery`]: a follower is a recovery that goes on. Whoever keeps it takes what it
//! gathers after each round ([`Queue::replayed`]), spills and checkpoints it as if it worked. To take over is the end of the
//! recovery ([`Queue::take_over`]).
//!
//! What was delivered by the owner before is ready again then. Whoever still holds it may settle it: its message is done
//! with, wherever it stands.

use bytes::Bytes;
use crc32c::crc32c_append;

use super::segment::{Segment, Stored};
use super::{DeathReason, Effect, Queue, SeqRange};

/// What a queue holds, in short: equal for all copies that have replayed the same records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Messages that are not settled.
    pub alive: u64,
    /// Of their numbers, records, and how often they came back.
    pub checksum: u32,
}

impl Queue {
    /// Ends a round of replaying. Gives the chunks that are not needed any more.
    pub fn replayed(&mut self) -> Vec<u64> {
        // The records were there before the queue did what they say.
        self.messages.settled.clear();
        std::mem::take(&mut self.messages.forgotten)
    }

    /// Lets go of empty chunks: what they held will not be replayed again, since the cold store has everything up to here.
    pub fn drop_empty(&mut self) {
        for at in self.messages.positions() {
            if self.messages.get(at).is_some_and(|segment| segment.alive == 0) {
                self.messages.change(at, Segment::seal);
            }
        }
        self.messages.drop_empty();
    }

    /// Whether the cold store may know due times of it.
    #[must_use]
    pub fn may_have_stored_dues(&self) -> bool {
        self.messages.segments().any(|segment| segment.has_due && segment.stored != Stored::No)
    }

    /// A follower takes over. `delivered_below` as in [`Self::recovered`], if the owner before has told it at its end;
    /// `due_far_ms` is the first due time in the cold store.
    pub fn take_over(&mut self, delivered_below: Option<&[u64]>, due_far_ms: Option<u64>, now_ms: u64) {
        self.recovered(delivered_below, due_far_ms, now_ms);
        if !self.unmeasured().is_empty() {
            // What chunks do not tell is counted while it works.
            self.limits.ready_bytes = 0;
            self.messages.lanes.iter_mut().for_each(|lane| lane.uncounted_below = lane.next_seq);
            self.is_catching_up = true;
        }
    }

    /// Settles those of `from .. to` that are ready: an owner before this one has delivered them.
    pub(super) fn settle_ready(&mut self, from: u64, to: u64) {
        if !self.options.replicated {
            return;
        }
        for seq in self.ready_among(from, to) {
            self.take_ready(seq);
            self.messages.settle(seq, seq + 1);
        }
    }

    /// Settles those of `from .. to` that wait for a retry, or whose dead letter is on its way: the owner that is to follow
    /// would have them again otherwise, although their acknowledgement was answered. A letter that has left may arrive.
    pub(super) fn settle_taken(&mut self, from: u64, to: u64) {
        if !self.options.replicated {
            return;
        }
        for seq in self.taken.range(from..to).copied().collect::<Vec<_>>() {
            self.taken.remove(&seq);
            if self.retries.remove(seq) {
                self.count_body(seq, false);
            } else {
                self.forget_letter(seq);
            }
            self.messages.settle(seq, seq + 1);
        }
    }

    /// Gives those up that are ready, or wait for a retry, and were refused: an owner before this one has delivered them.
    pub(super) fn reject_ready(&mut self, ranges: &[SeqRange], effects: &mut Vec<Effect>) {
        if !self.options.replicated {
            return;
        }
        for (first, length) in ranges {
            let end = first.saturating_add(*length);
            for seq in self.ready_among(*first, end) {
                self.leave_ready(seq, DeathReason::Rejected, effects);
            }
            for seq in self.taken.range(*first..end).copied().collect::<Vec<_>>() {
                if self.retries.remove(seq) {
                    self.count_body(seq, false);
                    self.send_dead_letter(seq, DeathReason::Rejected, effects);
                }
            }
        }
    }

    fn ready_among(&self, from: u64, to: u64) -> Vec<u64> {
        let lanes = &self.messages.lanes;
        let end = to.min(lanes.get(lanes.of(from)).next_seq);
        (from..end).filter(|seq| self.is_ready(*seq)).collect()
    }

    /// What it holds. `read` gives the chunk that begins with a number, of those that are in the cold store only; `None`
    /// when one is missing or damaged.
    pub fn digest(&self, mut read: impl FnMut(u64) -> Option<Bytes>) -> Option<Digest> {
        let mut digest = Digest::default();
        for segment in self.messages.segments().filter(|segment| segment.alive > 0) {
            if segment.is_hot() {
                digest.add(segment, segment);
            } else {
                let mut warm = Segment::restore(segment.first, &segment.descriptor())?;
                warm.warm(&read(segment.first)?)?;
                digest.add(segment, &warm);
            }
        }
        Some(digest)
    }
}

impl Digest {
    fn add(&mut self, segment: &Segment, records: &Segment) {
        for seq in segment.alive() {
            self.alive += 1;
            self.note(&seq.to_le_bytes());
            self.note(&segment.returns(seq).to_le_bytes());
            self.note(records.record(seq).unwrap_or_default());
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.checksum = crc32c_append(self.checksum, bytes);
    }
}
