//! Deliveries of a channel that wait for their acknowledgement, by delivery tag.

use std::collections::VecDeque;

use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::{Command, ConsumerId, SeqRange};

/// Settled deliveries kept in the list before it is cleaned.
const SETTLED_MAX: u64 = 1024;

/// Times of deliveries are kept in steps of this many milliseconds, so that they cost no room.
const TICK_MS: u64 = 10;

const SETTLED: u32 = 1 << 31;
const TIMED_OUT: u32 = 1 << 30;

/// Open settlements looked at for one to join.
const LOOKED_AT_MAX: usize = 8;

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The queue.
    pub target: Target,
    /// The consumer, or [`crate::broker::queue::GETTER`].
    pub consumer: ConsumerId,
    /// The consumer's own `x-consumer-timeout`, milliseconds; 0 is for ever.
    pub timeout_ms: Option<u64>,
}

/// What is found out about deliveries that may be too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// One from this source is unacknowledged for longer than it may be.
    Overdue(Source),
    /// None will be within this many milliseconds.
    Fine(u64),
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

impl Settled {
    /// The queue, and the command for it.
    #[must_use]
    pub fn into_command(self) -> (QueueId, Command) {
        let Source { target, consumer, .. } = self.source;
        let command = match self.verdict {
            Verdict::Ack => Command::Ack(consumer, self.ranges),
            Verdict::Requeue => Command::Requeue(consumer, self.ranges),
            Verdict::Fail => Command::Fail(consumer, self.ranges),
            Verdict::Reject => Command::Reject(consumer, self.ranges),
        };
        (target.id, command)
    }
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    tag: u64,
    seq: u64,
    /// When it was delivered, in ticks: the lower bits of them.
    at: u32,
    /// The number of its source, and in the highest bits whether it is settled, or was taken back.
    source: u32,
}

impl Outstanding {
    fn is(self, state: u32) -> bool {
        self.source & state != 0
    }

    fn source(self) -> usize {
        usize::try_from(self.source & !(SETTLED | TIMED_OUT)).unwrap_or(usize::MAX)
    }

    /// Its age in milliseconds at this tick, not more than it is.
    fn age_ms(self, tick: u32) -> u64 {
        (u64::from(tick.wrapping_sub(self.at)) * TICK_MS).saturating_sub(TICK_MS)
    }
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
    /// Taken back by [`Self::take_back`]; their acknowledgements may still come.
    timed_out: u64,
    /// The time of the next deliveries.
    tick: u32,
    /// Settled in a transaction that is open.
    uncommitted: Vec<(Outstanding, Verdict)>,
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
        self.entries.push_back(Outstanding { tag: self.last_tag, seq, at: self.tick, source });
        self.last_tag
    }

    /// Tells the time of the deliveries that follow, Unix milliseconds.
    pub fn set_time(&mut self, now_ms: u64) {
        self.tick = tick_of(now_ms);
    }

    /// Where outstanding deliveries may have come from, by number.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Looks for deliveries that are outstanding for longer than the limit of their source, milliseconds. `None` when
    /// nothing is outstanding.
    #[must_use]
    pub fn age(&self, now_ms: u64, limits_ms: &[u64]) -> Option<Age> {
        let tick = tick_of(now_ms);
        let shortest_ms = limits_ms.iter().copied().min().unwrap_or(u64::MAX);
        let mut next_ms = None;
        for entry in self.entries.iter().filter(|entry| !entry.is(SETTLED | TIMED_OUT)) {
            let age_ms = entry.age_ms(tick);
            if age_ms < shortest_ms {
                // All behind it are younger.
                let left_ms = shortest_ms - age_ms;
                return Some(Age::Fine(next_ms.map_or(left_ms, |next_ms: u64| next_ms.min(left_ms))));
            }
            let limit_ms = limits_ms.get(entry.source()).copied().unwrap_or(u64::MAX);
            if age_ms >= limit_ms {
                return self.sources.get(entry.source()).map(|source| Age::Overdue(*source));
            }
            let left_ms = limit_ms - age_ms;
            next_ms = Some(next_ms.map_or(left_ms, |next_ms: u64| next_ms.min(left_ms)));
        }
        next_ms.map(Age::Fine)
    }

    /// Gives back everything from a source; gives how many that were. Their tags are taken in silence when they are
    /// settled later.
    pub fn take_back(&mut self, source: Source) -> u64 {
        let before = self.count;
        let Some(number) = self.sources.iter().position(|other| *other == source) else { return 0 };
        for at in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(at) else { break };
            if entry.source() == number && !entry.is(SETTLED | TIMED_OUT) {
                let taken = *entry;
                entry.source |= TIMED_OUT;
                self.note::<false>(taken, Verdict::Requeue);
            }
        }
        self.timed_out += before - self.count;
        before - self.count
    }

    /// Outstanding deliveries.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Deliveries that were settled in the open transaction.
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        self.uncommitted.len() as u64
    }

    /// Settles one tag, or all up to it (0: all there are). `None` when the tag is not outstanding; otherwise how
    /// many were settled.
    pub fn settle(&mut self, tag: u64, multiple: bool, verdict: Verdict) -> Option<u64> {
        self.settle_as::<false>(tag, multiple, verdict)
    }

    /// The same in a transaction: nothing comes of it before [`Self::commit`].
    pub fn settle_later(&mut self, tag: u64, multiple: bool, verdict: Verdict) -> Option<u64> {
        self.settle_as::<true>(tag, multiple, verdict)
    }

    /// What was settled in the transaction, for the queues, and how many deliveries that is.
    pub fn commit(&mut self) -> (Vec<Settled>, u64) {
        let uncommitted = std::mem::take(&mut self.uncommitted);
        let count = uncommitted.len() as u64;
        uncommitted.into_iter().for_each(|(entry, verdict)| self.join(entry, verdict));
        (self.take_settled(), count)
    }

    /// What was settled in the transaction is outstanding again.
    pub fn rollback(&mut self) {
        if self.uncommitted.is_empty() {
            return;
        }
        self.entries.retain(|entry| !entry.is(SETTLED));
        let back = self.uncommitted.drain(..);
        self.count += back.len() as u64;
        self.entries.extend(back.map(|(entry, _)| entry));
        self.entries.make_contiguous().sort_unstable_by_key(|entry| entry.tag);
    }

    /// Everything goes back to its queue, what was settled in an open transaction too: the channel ends.
    pub fn release_all(&mut self) {
        self.rollback();
        self.settle_all(Verdict::Fail);
    }

    fn settle_as<const LATER: bool>(&mut self, tag: u64, multiple: bool, verdict: Verdict) -> Option<u64> {
        let before = self.count;
        if multiple && tag == 0 {
            self.settle_up_to::<LATER>(u64::MAX, verdict);
            return Some(before - self.count);
        }
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        if self.entries.get(at)?.is(SETTLED) {
            return None;
        }
        if multiple {
            self.settle_up_to::<LATER>(tag, verdict);
        } else {
            self.settle_at::<LATER>(at, verdict);
        }
        Some(before - self.count)
    }

    /// Settles everything that is outstanding.
    pub fn settle_all(&mut self, verdict: Verdict) -> u64 {
        let before = self.count;
        self.settle_up_to::<false>(u64::MAX, verdict);
        before
    }

    fn settle_up_to<const LATER: bool>(&mut self, tag: u64, verdict: Verdict) {
        while let Some(entry) = self.entries.front().copied().filter(|entry| entry.tag <= tag) {
            self.entries.pop_front();
            self.settle_entry::<LATER>(entry, verdict);
        }
    }

    fn settle_at<const LATER: bool>(&mut self, at: usize, verdict: Verdict) {
        if let Some(entry) = self.entries.get_mut(at) {
            let before = *entry;
            entry.source |= SETTLED;
            self.settle_entry::<LATER>(before, verdict);
        }
        while self.entries.front().is_some_and(|entry| entry.is(SETTLED)) {
            self.entries.pop_front();
        }
        // One old delivery must not keep the places of all that were settled behind it.
        if self.entries.len() as u64 > 2 * (self.count + self.timed_out) + SETTLED_MAX {
            self.entries.retain(|entry| !entry.is(SETTLED));
        }
    }

    #[inline]
    fn settle_entry<const LATER: bool>(&mut self, entry: Outstanding, verdict: Verdict) {
        if !entry.is(SETTLED | TIMED_OUT) {
            self.note::<LATER>(entry, verdict);
        } else if !entry.is(SETTLED) {
            self.timed_out -= 1;
        }
    }

    #[inline]
    fn note<const LATER: bool>(&mut self, entry: Outstanding, verdict: Verdict) {
        self.count -= 1;
        if LATER {
            self.uncommitted.push((entry, verdict));
        } else {
            self.join(entry, verdict);
        }
    }

    fn join(&mut self, entry: Outstanding, verdict: Verdict) {
        let Some(source) = self.sources.get(entry.source()).copied() else { return };
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
        if self.entries.is_empty() && self.uncommitted.is_empty() {
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

fn tick_of(now_ms: u64) -> u32 {
    u32::try_from(now_ms / TICK_MS % (1 << 32)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(consumer: ConsumerId) -> Source {
        let target = Target { id: QueueId(1), shard: 0, durable: true };
        Source { target, consumer, timeout_ms: None }
    }

    fn unacked(count: u64) -> Unacked {
        let mut unacked = Unacked::default();
        let source = unacked.source(source_of(7));
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
    fn the_oldest_delivery_tells_when_to_look_again() {
        let mut unacked = Unacked::default();
        let (quick, slow) = (unacked.source(source_of(1)), unacked.source(source_of(2)));
        let limits_ms = [1000, 5000];
        assert_eq!(unacked.age(0, &limits_ms), None);
        // Ticks are the lower bits of the time: they may begin anew.
        let start_ms = (1 << 32) * TICK_MS - 500;
        for (source, at_ms) in [(slow, 0), (quick, 400), (slow, 600)] {
            unacked.set_time(start_ms + at_ms);
            unacked.deliver(source, at_ms);
        }
        let age = |unacked: &Unacked, at_ms| unacked.age(start_ms + at_ms, &limits_ms);
        assert_eq!(age(&unacked, 600), Some(Age::Fine(410)));
        assert_eq!(age(&unacked, 1100), Some(Age::Fine(310)));
        assert_eq!(age(&unacked, 1400), Some(Age::Fine(10)));
        assert_eq!(age(&unacked, 1410), Some(Age::Overdue(source_of(1))));
        assert_eq!(unacked.settle(2, false, Verdict::Ack), Some(1));
        assert_eq!(age(&unacked, 1610), Some(Age::Fine(3400)));
        assert_eq!(age(&unacked, 5010), Some(Age::Overdue(source_of(2))));
        assert_eq!(unacked.age(start_ms + 9000, &[u64::MAX; 2]), Some(Age::Fine(u64::MAX - 8990)));
    }

    #[test]
    fn what_was_taken_back_is_acknowledged_in_silence() {
        let mut unacked = unacked(4);
        let other = unacked.source(source_of(8));
        assert_eq!(unacked.deliver(other, 300), 5);
        assert_eq!(unacked.settle(2, false, Verdict::Ack), Some(1));
        assert_eq!(unacked.take_back(source_of(7)), 3);
        assert_eq!(unacked.take_back(source_of(7)), 0);
        assert_eq!(
            ranges(&mut unacked),
            [(Verdict::Ack, vec![(101, 1)]), (Verdict::Requeue, vec![(100, 1), (102, 2)])]
        );
        assert_eq!((unacked.count(), unacked.age(u64::MAX / 2, &[0, u64::MAX]).is_some()), (1, true));
        assert_eq!(unacked.settle(3, false, Verdict::Ack), Some(0));
        assert_eq!(unacked.settle(3, false, Verdict::Ack), None, "once");
        assert_eq!(unacked.settle(5, true, Verdict::Reject), Some(1));
        assert_eq!(ranges(&mut unacked), [(Verdict::Reject, vec![(300, 1)])]);
        assert_eq!((unacked.count(), unacked.timed_out), (0, 0));
        assert_eq!(unacked.settle_all(Verdict::Requeue), 0);
    }

    #[test]
    fn what_a_transaction_settled_counts_when_it_is_committed() {
        let mut unacked = unacked(4);
        assert_eq!(unacked.settle_later(2, false, Verdict::Reject), Some(1));
        assert_eq!(unacked.settle_later(3, true, Verdict::Ack), Some(2));
        assert_eq!((unacked.count(), unacked.has_settled()), (1, false));
        for tag in 1..=3 {
            assert_eq!(unacked.settle_later(tag, false, Verdict::Ack), None, "tag {tag}");
        }
        let (settled, count) = unacked.commit();
        let settled: Vec<_> = settled.into_iter().map(|settled| (settled.verdict, settled.ranges)).collect();
        assert_eq!(settled, [(Verdict::Reject, vec![(101, 1)]), (Verdict::Ack, vec![(100, 1), (102, 1)])]);
        assert_eq!((count, unacked.commit().0), (3, vec![]));
    }

    #[test]
    fn after_a_rollback_everything_is_outstanding_again_in_its_order() {
        let mut unacked = unacked(6);
        assert_eq!(unacked.settle(3, false, Verdict::Ack), Some(1));
        unacked.take_settled();
        assert_eq!(unacked.settle_later(5, false, Verdict::Ack), Some(1));
        assert_eq!(unacked.settle_later(2, true, Verdict::Reject), Some(2));
        unacked.rollback();
        assert_eq!((unacked.count(), unacked.commit().1), (5, 0));
        assert_eq!(unacked.settle(3, false, Verdict::Ack), None, "that was no part of the transaction");
        assert_eq!(unacked.settle(6, true, Verdict::Ack), Some(5));
        assert_eq!(ranges(&mut unacked), [(Verdict::Ack, vec![(100, 2), (103, 3)])]);
    }

    #[test]
    fn sources_are_kept_as_long_as_a_transaction_needs_them() {
        let mut unacked = unacked(1);
        assert_eq!(unacked.settle_later(1, false, Verdict::Ack), Some(1));
        assert!(unacked.take_settled().is_empty());
        assert_eq!(unacked.commit().0[0].ranges, [(100, 1)]);
    }

    #[test]
    fn the_end_of_a_channel_gives_back_what_its_transaction_settled() {
        let mut unacked = unacked(3);
        assert_eq!(unacked.settle_later(2, false, Verdict::Ack), Some(1));
        unacked.release_all();
        assert_eq!(ranges(&mut unacked), [(Verdict::Fail, vec![(100, 3)])]);
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
