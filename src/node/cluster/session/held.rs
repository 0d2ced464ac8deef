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
        seqs.for_each(|seq| numbers.insert(seq));
    }

    pub(super) fn remove(&mut self, queue: QueueId, consumer: ConsumerId, ranges: &[SeqRange]) {
        let Some(numbers) = self.0.get_mut(&(queue, consumer)) else { return };
        ranges.iter().for_each(|(first, count)| numbers.remove(*first, first.saturating_add(*count)));
        if numbers.0.is_empty() {
            self.0.remove(&(queue, consumer));
        }
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
    fn insert(&mut self, number: u64) {
        let mut first = number;
        let mut end = number.saturating_add(1);
        if let Some((before, before_end)) = self.0.range_mut(..=number).next_back() {
            if *before_end > number {
                return;
            }
            if *before_end == number {
                *before_end = end;
                first = *before;
            }
        }
        if let Some(behind_end) = self.0.remove(&end) {
            end = behind_end;
        }
        self.0.insert(first, end);
    }

    fn remove(&mut self, from: u64, to: u64) {
        while let Some((first, end)) = self.0.range(..to).next_back().map(|(first, end)| (*first, *end)) {
            if end <= from || from >= to {
                return;
            }
            self.0.remove(&first);
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
                    (first..first + count).for_each(|number| numbers.insert(number));
                    model.extend(first..first + count);
                } else {
                    numbers.remove(first, first + count);
                    model.retain(|number| !(first..first + count).contains(number));
                }
            }
            let ranges = numbers.ranges();
            let touching = ranges.windows(2).any(|pair| pair[0].0 + pair[0].1 >= pair[1].0);
            prop_assert!(!touching, "runs side by side are one: {:?}", ranges);
            let all: BTreeSet<u64> = ranges.into_iter().flat_map(|(first, count)| first..first + count).collect();
            prop_assert_eq!(all, model);
        }
    }

    #[test]
    fn what_was_settled_is_held_no_longer() {
        let mut held = Held::default();
        held.add(QueueId(1), 5, 10..20);
        held.add(QueueId(1), 6, 20..21);
        held.remove(QueueId(1), 5, &[(10, 4), (18, 1)]);
        held.remove(QueueId(1), 6, &[(20, 1)]);
        assert_eq!(held.take(), [((QueueId(1), 5), vec![(14, 4), (19, 1)])]);
        assert_eq!(held.take(), []);
    }
}
