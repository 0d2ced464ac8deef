//! Messages on their way from one connection to queues: one open batch for each channel and queue.

use std::collections::HashMap;

use crate::broker::batch::Batch;
use crate::broker::ids::{QueueId, Target};
use crate::broker::queue::SeqRange;

/// Publishes whose confirm waits for a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirm {
    /// The channel.
    pub channel: u16,
    /// Which use of the channel's number.
    pub epoch: u32,
    /// The publish numbers.
    pub ranges: Vec<SeqRange>,
}

impl Confirm {
    /// Parts the publishes of a batch of so many messages whose places (the first, and how many; ascending) were
    /// refused: those taken in, and those refused.
    #[must_use]
    pub fn part(self, batch_count: u32, refused: &[(u32, u32)]) -> (Self, Self) {
        let numbered: u64 = self.ranges.iter().map(|(_, count)| count).sum();
        // Messages from before the channel wanted confirms come first, and have no number.
        let mut place = u64::from(batch_count).saturating_sub(numbered);
        let mut parts = [Vec::new(), Vec::new()];
        for (mut number, count) in self.ranges {
            let end = place + count;
            while place < end {
                let (is_refused, until) = run_at(place, refused);
                let length = until.min(end) - place;
                push_range(&mut parts[usize::from(is_refused)], (number, length));
                (number, place) = (number + length, place + length);
            }
        }
        let [taken, refused] = parts;
        (Self { ranges: taken, ..self }, Self { ranges: refused, ..self })
    }
}

/// Whether a place was refused, and the end of its run of places with the same fate.
fn run_at(place: u64, refused: &[(u32, u32)]) -> (bool, u64) {
    let end_of = |(first, count): &(u32, u32)| u64::from(*first) + u64::from(*count);
    match refused.get(refused.partition_point(|run| end_of(run) <= place)) {
        Some(run) if u64::from(run.0) <= place => (true, end_of(run)),
        Some(run) => (false, u64::from(run.0)),
        None => (false, u64::MAX),
    }
}

fn push_range(ranges: &mut Vec<SeqRange>, (number, length): SeqRange) {
    match ranges.last_mut() {
        Some((first, count)) if *first + *count == number => *count += length,
        Some(_) | None => ranges.push((number, length)),
    }
}

/// A batch that is complete.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it goes.
    pub target: Target,
    /// The messages.
    pub batch: Batch,
    /// Who waits for it.
    pub confirm: Option<Confirm>,
}

/// More open batches than this are not looked through one by one.
const SCANNED_MAX: usize = 12;

/// More is not set aside in advance, in bytes, over all batches of a round.
const EXPECTED_MAX: usize = 256 * 1024;

#[derive(Debug)]
struct Open {
    target: Target,
    channel: u16,
    epoch: u32,
    records: Vec<u8>,
    count: u32,
    persistent: u32,
    ranges: Vec<SeqRange>,
}

/// Queue, channel and which use of the channel's number.
type Key = (QueueId, u16, u32);

impl Open {
    fn key(&self) -> Key {
        (self.target.id, self.channel, self.epoch)
    }
}

/// The open batches of a connection.
#[derive(Debug, Default)]
pub struct Outgoing {
    open: Vec<Open>,
    /// Where each is, once they are too many to look through.
    places: HashMap<Key, usize, foldhash::fast::RandomState>,
    bytes: usize,
    /// What a batch is expected to hold: a little more than the longest ones handed over lately.
    expected_bytes: usize,
}

impl Outgoing {
    /// Appends a message, whose record `put` writes; `number` is its publish number when the channel wants confirms.
    #[inline]
    pub fn append(
        &mut self,
        (channel, epoch): (u16, u32),
        target: Target,
        persistent: bool,
        number: Option<u64>,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        let at = self.position(channel, epoch, target);
        let Some(open) = self.open.get_mut(at) else { return };
        let before = open.records.len();
        put(&mut open.records);
        self.bytes += open.records.len() - before;
        open.count += 1;
        open.persistent += u32::from(persistent);
        if let Some(number) = number {
            push_range(&mut open.ranges, (number, 1));
        }
    }

    #[inline]
    fn position(&mut self, channel: u16, epoch: u32, target: Target) -> usize {
        let key = (target.id, channel, epoch);
        let found = if self.open.len() <= SCANNED_MAX {
            self.open.iter().rposition(|open| open.key() == key)
        } else {
            self.places.get(&key).copied()
        };
        found.unwrap_or_else(|| self.begin(channel, epoch, target))
    }

    fn begin(&mut self, channel: u16, epoch: u32, target: Target) -> usize {
        let share = EXPECTED_MAX / (self.open.len() + 1);
        let records = Vec::with_capacity(self.expected_bytes.min(share));
        self.open.push(Open { target, channel, epoch, records, count: 0, persistent: 0, ranges: Vec::new() });
        if self.open.len() > SCANNED_MAX {
            let unknown = self.places.len()..self.open.len();
            self.places.extend(unknown.filter_map(|at| Some((self.open.get(at)?.key(), at))));
        }
        self.open.len() - 1
    }

    /// Bytes in open batches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives back the memory of a burst, if nothing is open.
    pub fn rest(&mut self) {
        if self.open.is_empty() {
            *self = Self::default();
        }
    }

    /// Closes all batches, in the order in which they were begun.
    pub fn take(&mut self) -> impl Iterator<Item = Ready> + '_ {
        self.bytes = 0;
        self.places.clear();
        let longest = self.open.iter().map(|open| open.records.len()).max().unwrap_or(0);
        // Shorter ones in between do not make the next long one grow step by step.
        self.expected_bytes = (longest + longest / 8).max(self.expected_bytes - self.expected_bytes / 8);
        self.open.drain(..).map(|open| {
            let confirm = (!open.ranges.is_empty()).then_some(Confirm {
                channel: open.channel,
                epoch: open.epoch,
                ranges: open.ranges,
            });
            let batch = Batch::of(open.records, open.count, open.persistent);
            Ready { target: open.target, batch, confirm }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_queue_gets_one_batch_in_its_order(
            publishes in prop::collection::vec((0u64..40, 1u16..3), 0..200), rounds in 1usize..3,
        ) {
            let mut outgoing = Outgoing::default();
            for _ in 0..rounds {
                let mut expected: Vec<((u64, u16), Vec<u8>)> = Vec::new();
                for (at, key) in (0u8..).zip(&publishes) {
                    let target = Target { shard: 0, id: QueueId(key.0), durable: false };
                    outgoing.append((key.1, 1), target, false, None, |records| records.push(at));
                    match expected.iter_mut().find(|(known, _)| known == key) {
                        Some((_, records)) => records.push(at),
                        None => expected.push((*key, vec![at])),
                    }
                }
                prop_assert_eq!(outgoing.bytes(), publishes.len());
                let taken: Vec<_> = outgoing.take().map(|ready| (ready.target.id.0, ready.batch.records.to_vec())).collect();
                let expected: Vec<_> = expected.into_iter().map(|((id, _), records)| (id, records)).collect();
                prop_assert_eq!(taken, expected);
                prop_assert!(outgoing.is_empty());
            }
        }

        #[test]
        fn publishes_are_parted_by_what_was_refused(
            unnumbered in 0u32..3,
            gaps in prop::collection::vec(0u64..2, 0..30),
            fates in prop::collection::vec(any::<bool>(), 40),
        ) {
            let numbers: Vec<u64> = gaps.iter().scan(0, |last, gap| { *last += 1 + gap; Some(*last) }).collect();
            let count = unnumbered + u32::try_from(numbers.len()).unwrap();
            let mut confirm = Confirm { channel: 3, epoch: 4, ranges: Vec::new() };
            numbers.iter().for_each(|number| push_range(&mut confirm.ranges, (*number, 1)));
            // Runs may touch each other.
            let refused: Vec<_> = (0..count).filter(|at| fates[*at as usize]).map(|at| (at, 1)).collect();
            let (taken, nacked) = confirm.part(count, &refused);
            for (part, wanted) in [(taken, false), (nacked, true)] {
                let got: Vec<_> = part.ranges.iter().flat_map(|(first, count)| *first..first + count).collect();
                let places = numbers.iter().zip(&fates[unnumbered as usize..]);
                let expected: Vec<_> = places.filter(|(_, fate)| **fate == wanted).map(|(number, _)| *number).collect();
                prop_assert_eq!(got, expected);
                prop_assert_eq!((part.channel, part.epoch), (3, 4));
            }
        }
    }

    #[test]
    fn a_large_message_does_not_set_memory_aside_for_many_queues() {
        let target = |number| Target { shard: 0, id: QueueId(number), durable: false };
        let mut outgoing = Outgoing::default();
        outgoing.append((1, 1), target(0), false, None, |records| records.resize(8 << 20, 0));
        assert_eq!(outgoing.take().count(), 1);
        for number in 0..100 {
            outgoing.append((1, 1), target(number), false, None, |records| records.resize(100, 0));
        }
        let held: usize = outgoing.open.iter().map(|open| open.records.capacity()).sum();
        assert!(held < 2 << 20, "{held} bytes are set aside");
        let loose = outgoing.take().filter(|ready| ready.batch.is_loose).count();
        assert_eq!(loose, 100, "queues are told not to keep them");
    }
}
