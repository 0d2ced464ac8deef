//! What the consumers of a session hold: deliveries that are not settled.

use std::collections::{BTreeMap, HashMap};

use crate::broker::ids::QueueId;
use crate::broker::queue::{ConsumerId, SeqRange};

/// Deliveries by queue and consumer.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<(QueueId, ConsumerId), Numbers, foldhash::fast::RandomState>);

impl Held {
    pub(super) fn add(&mut self, queue: QueueId, consumer: ConsumerId, seqs: impl Iterator<Item = u64>) {
        let numbers = self.0.entry((queue, consumer)).or_default();
        seqs.for_each(|seq| numbers.insert(seq, seq.saturating_add(1)));
    }

    /// Takes these out. Gives those that the consumer held, and all others.
    pub(super) fn remove(
        &mut self,
        queue: QueueId,
        consumer: ConsumerId,
        ranges: Vec<SeqRange>,
    ) -> (Vec<SeqRange>, Vec<SeqRange>) {
        let Some(numbers) = self.0.get_mut(&(queue, consumer)) else { return (Vec::new(), ranges) };
        let mut held = Vec::with_capacity(ranges.len());
        for (first, count) in ranges.iter().copied() {
            numbers.remove(first, first.saturating_add(count), &mut held);
        }
        if numbers.0.is_empty() {
            self.0.remove(&(queue, consumer));
        }
        let lengths = |ranges: &[SeqRange]| ranges.iter().map(|(_, count)| *count).sum::<u64>();
        if lengths(&held) == lengths(&ranges) {
            return (held, Vec::new());
        }
        let mut others = Numbers::default();
        ranges.iter().for_each(|(first, count)| others.insert(*first, first.saturating_add(*count)));
        held.iter().for_each(|(first, count)| others.remove(*first, first + count, &mut Vec::new()));
        (held, others.ranges())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything, which is held no longer; in a fixed order.
    pub(super) fn take(&mut self) -> Vec<((QueueId, ConsumerId), Vec<SeqRange>)> {
        let mut all: Vec<_> = self.0.drain().map(|(key, numbers)| (key, numbers.ranges())).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

/// A set of numbers: ends of runs by their first numbers.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Adds `from .. to`.
    fn insert(&mut self, from: u64, to: u64) {
        let (mut first, mut end) = (from, to);
        if let Some((before, before_end)) = self.0.range(..=from).next_back()
            && *before_end >= from
        {
            (first, end) = (*before, end.max(*before_end));
        }
        while let Some((behind, behind_end)) = self.0.range(from..=end).next() {
            let behind = *behind;
            end = end.max(*behind_end);
            self.0.remove(&behind);
        }
        if first < end {
            self.0.insert(first, end);
        }
    }

    /// Takes out `from .. to`; what was there of it goes to `out`.
    fn remove(&mut self, from: u64, to: u64, out: &mut Vec<SeqRange>) {
        while let Some((first, end)) = self.0.range(..to).next_back().map(|(first, end)| (*first, *end)) {
            if end <= from || from >= to {
                return;
            }
            self.0.remove(&first);
            let (low, high) = (first.max(from), end.min(to));
            out.push((low, high - low));
            if end > to {
                self.0.insert(to, end);
            }
            if first < from {
                self.0.insert(first, from);
                return;
            }
        }
    }

    fn ranges(self) -> Vec<SeqRange> {
        self.0.into_iter().map(|(first, end)| (first, end - first)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_hold_the_same_as_a_plain_set(
            steps in prop::collection::vec((any::<bool>(), 0u64..30, 0u64..8), 0..60),
        ) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
            for (adds, first, count) in steps {
                if adds {
                    numbers.insert(first, first + count);
                    model.extend(first..first + count);
                } else {
                    let (mut removed, covered) = (Vec::new(), first..first + count);
                    numbers.remove(first, first + count, &mut removed);
                    let removed: BTreeSet<u64> = all_of(removed);
                    prop_assert_eq!(removed, model.iter().copied().filter(|number| covered.contains(number)).collect());
                    model.retain(|number| !covered.contains(number));
                }
            }
            let ranges = numbers.ranges();
            let touching = ranges.windows(2).any(|pair| pair[0].0 + pair[0].1 >= pair[1].0);
            prop_assert!(!touching, "runs side by side are one: {:?}", ranges);
            prop_assert_eq!(all_of(ranges), model);
        }
    }

    fn all_of(ranges: Vec<SeqRange>) -> BTreeSet<u64> {
        ranges.into_iter().flat_map(|(first, count)| first..first + count).collect()
    }

    #[test]
    fn what_was_settled_is_held_no_longer() {
        let mut held = Held::default();
        held.add(QueueId(1), 5, 10..20);
        held.add(QueueId(1), 6, 20..21);
        assert_eq!(held.remove(QueueId(1), 5, vec![(10, 4), (18, 1)]), (vec![(10, 4), (18, 1)], vec![]));
        assert_eq!(held.remove(QueueId(1), 6, vec![(20, 1)]), (vec![(20, 1)], vec![]));
        assert_eq!(held.take(), [((QueueId(1), 5), vec![(14, 4), (19, 1)])]);
        assert_eq!(held.take(), []);
    }

    #[test]
    fn what_others_hold_is_told_apart() {
        let mut held = Held::default();
        held.add(QueueId(1), 5, 10..20);
        assert_eq!(held.remove(QueueId(1), 6, vec![(10, 2)]), (vec![], vec![(10, 2)]));
        assert_eq!(held.remove(QueueId(1), 5, vec![(8, 4)]), (vec![(10, 2)], vec![(8, 2)]));
        assert_eq!(held.remove(QueueId(1), 5, vec![(10, 20)]), (vec![(12, 8)], vec![(10, 2), (20, 10)]));
        assert!(held.is_empty());
    }
}
