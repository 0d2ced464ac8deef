//! Deliveries of a channel that wait for their acknowledgement, by delivery tag.

use std::collections::VecDeque;

use crate::broker::ids::Target;
use crate::broker::queue::{ConsumerId, SeqRange};

/// Settled deliveries kept in the list before it is cleaned.
const SETTLED_MAX: u64 = 1024;

/// Open settlements looked at for one to join.
const LOOKED_AT_MAX: usize = 8;

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The queue.
    pub target: Target,
    /// The consumer, or [`crate::broker::queue::GETTER`].
    pub consumer: ConsumerId,
}

/// What becomes of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledged.
    Ack,
    /// Given back to the queue.
    Requeue,
    /// Back to the queue, since its consumer failed.
    Fail,
    /// Refused: dead-lettered or dropped.
    Reject,
}

/// Deliveries settled together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose they were.
    pub source: Source,
    /// What became of them.
    pub verdict: Verdict,
    /// Their numbers in the queue.
    pub ranges: Vec<SeqRange>,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    tag: u64,
    seq: u64,
    source: u32,
    settled: bool,
}

/// The outstanding deliveries, in the order of their tags.
#[derive(Debug, Default)]
pub struct Unacked {
    last_tag: u64,
    entries: VecDeque<Outstanding>,
    sources: Vec<Source>,
    /// Settled and not handed on yet.
    settled: Vec<Settled>,
    count: u64,
}

impl Unacked {
    /// The tag of a delivery that needs no acknowledgement.
    pub fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Numbers a source, to be named in [`Self::deliver`].
    pub fn source(&mut self, source: Source) -> u32 {
        let at = self.sources.iter().rposition(|other| *other == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Notes a delivery; gives its tag.
    pub fn deliver(&mut self, source: u32, seq: u64) -> u64 {
        self.last_tag += 1;
        self.count += 1;
        self.entries.push_back(Outstanding { tag: self.last_tag, seq, source, settled: false });
        self.last_tag
    }

    /// Outstanding deliveries.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Settles one tag, or all up to it (0: all there are). `None` when the tag is not outstanding; otherwise how
    /// many were settled.
    pub fn settle(&mut self, tag: u64, multiple: bool, verdict: Verdict) -> Option<u64> {
        let before = self.count;
        if multiple && tag == 0 {
            self.settle_up_to(u64::MAX, verdict);
            return Some(before - self.count);
        }
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        if self.entries.get(at)?.settled {
            return None;
        }
        if multiple {
            self.settle_up_to(tag, verdict);
        } else {
            self.settle_at(at, verdict);
        }
        Some(before - self.count)
    }

    /// Settles everything: the channel ends.
    pub fn settle_all(&mut self, verdict: Verdict) -> u64 {
        let before = self.count;
        self.settle_up_to(u64::MAX, verdict);
        before
    }

    fn settle_up_to(&mut self, tag: u64, verdict: Verdict) {
        while let Some(entry) = self.entries.front().copied().filter(|entry| entry.tag <= tag) {
            self.entries.pop_front();
            if !entry.settled {
                self.note(entry, verdict);
            }
        }
    }

    fn settle_at(&mut self, at: usize, verdict: Verdict) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.settled = true;
            let entry = *entry;
            self.note(entry, verdict);
        }
        while self.entries.front().is_some_and(|entry| entry.settled) {
            self.entries.pop_front();
        }
        // One old delivery must not keep the places of all that were settled behind it.
        if self.entries.len() as u64 > 2 * self.count + SETTLED_MAX {
            self.entries.retain(|entry| !entry.settled);
        }
    }

    fn note(&mut self, entry: Outstanding, verdict: Verdict) {
        self.count -= 1;
        let Some(source) = usize::try_from(entry.source).ok().and_then(|at| self.sources.get(at)).copied()
        else {
            return;
        };
        // A queue must get its settlements in their order: what frees a place may let a message overtake.
        let mut open = self.settled.iter_mut().rev().take(LOOKED_AT_MAX);
        let last = open.find(|settled| settled.source.target.id == source.target.id);
        match last.filter(|settled| settled.source == source && settled.verdict == verdict) {
            Some(settled) => match settled.ranges.last_mut() {
                Some((first, count)) if *first + *count == entry.seq => *count += 1,
                Some(_) | None => settled.ranges.push((entry.seq, 1)),
            },
            None => self.settled.push(Settled { source, verdict, ranges: vec![(entry.seq, 1)] }),
        }
    }

    /// What was settled since the last call, for the queues.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        if self.entries.is_empty() {
            self.sources.clear();
        }
        std::mem::take(&mut self.settled)
    }

    /// Whether [`Self::take_settled`] has something to give.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ids::QueueId;

    fn unacked(count: u64) -> Unacked {
        let mut unacked = Unacked::default();
        let target = Target { id: QueueId(1), shard: 0, durable: true };
        let source = unacked.source(Source { target, consumer: 7 });
        for seq in 0..count {
            assert_eq!(unacked.deliver(source, 100 + seq), seq + 1);
        }
        unacked
    }

    fn ranges(unacked: &mut Unacked) -> Vec<(Verdict, Vec<SeqRange>)> {
        unacked.take_settled().into_iter().map(|settled| (settled.verdict, settled.ranges)).collect()
    }

    #[test]
    fn multiple_settles_up_to_and_with_the_tag() {
        let mut unacked = unacked(5);
        assert_eq!(unacked.settle(2, false, Verdict::Ack), Some(1));
        assert_eq!(unacked.settle(3, true, Verdict::Requeue), Some(2));
        assert_eq!(
            ranges(&mut unacked),
            [(Verdict::Ack, vec![(101, 1)]), (Verdict::Requeue, vec![(100, 1), (102, 1)])]
        );
        assert_eq!(unacked.count(), 2);
    }

    #[test]
    fn a_tag_that_is_not_outstanding_is_unknown() {
        let mut unacked = unacked(2);
        assert_eq!(unacked.settle(2, false, Verdict::Ack), Some(1));
        for (tag, multiple) in [(2, false), (2, true), (3, false), (0, false)] {
            assert_eq!(unacked.settle(tag, multiple, Verdict::Ack), None, "tag {tag}");
        }
        assert_eq!(unacked.settle(0, true, Verdict::Ack), Some(1));
        assert_eq!(unacked.settle(0, true, Verdict::Ack), Some(0));
    }

    #[test]
    fn one_old_delivery_does_not_keep_the_places_of_later_ones() {
        let mut unacked = unacked(100_000);
        for tag in 2..=100_000 {
            assert_eq!(unacked.settle(tag, false, Verdict::Ack), Some(1));
        }
        assert!(unacked.entries.len() < 2000, "{} places for one delivery", unacked.entries.len());
        assert_eq!(unacked.settle(1, false, Verdict::Ack), Some(1));
    }
}
