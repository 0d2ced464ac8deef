//! A set of hops: small ones are searched, large ones are indexed, so that adding and removing never slow down.

use super::{Hop, Map};

/// From here on a position index is kept.
const INDEXED_FROM: usize = 16;

/// Hops, each with the number of bindings that lead to it.
#[derive(Debug, Default)]
pub(crate) enum Bucket {
    #[default]
    Empty,
    One(Counted),
    Many(Box<Many>),
}

/// A hop and how many bindings, alike but for their arguments or keys, lead to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    hop: Hop,
    bindings: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Many {
    entries: Vec<Counted>,
    /// Where each hop stands in `entries`; kept once there are many.
    positions: Option<Map<Hop, usize>>,
}

impl Bucket {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        let entries = match self {
            Self::Empty => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(many) => many.entries.as_slice(),
        };
        entries.iter().map(|entry| entry.hop)
    }

    /// Counts one more binding to this hop.
    pub(crate) fn add(&mut self, hop: Hop) {
        match self {
            Self::Empty => *self = Self::One(Counted { hop, bindings: 1 }),
            Self::One(entry) if entry.hop == hop => entry.bindings += 1,
            Self::One(entry) => {
                let entries = vec![*entry, Counted { hop, bindings: 1 }];
                *self = Self::Many(Box::new(Many { entries, positions: None }));
            }
            Self::Many(many) => many.add(hop),
        }
    }

    /// Counts one binding less; the hop goes with its last one.
    pub(crate) fn remove(&mut self, hop: Hop) {
        match self {
            Self::Empty => {}
            Self::One(entry) if entry.hop != hop => {}
            Self::One(entry) if entry.bindings > 1 => entry.bindings -= 1,
            Self::One(_) => *self = Self::Empty,
            Self::Many(many) => {
                many.remove(hop);
                if let [last] = many.entries[..] {
                    *self = Self::One(last);
                }
            }
        }
    }
}

impl Many {
    fn add(&mut self, hop: Hop) {
        if let Some(position) = self.position(hop) {
            self.entries[position].bindings += 1;
            return;
        }
        let position = self.entries.len();
        self.entries.push(Counted { hop, bindings: 1 });
        match &mut self.positions {
            Some(positions) => {
                positions.insert(hop, position);
            }
            None if self.entries.len() >= INDEXED_FROM => {
                let hops = self.entries.iter().enumerate();
                self.positions = Some(hops.map(|(position, entry)| (entry.hop, position)).collect());
            }
            None => {}
        }
    }

    fn remove(&mut self, hop: Hop) {
        let Some(position) = self.position(hop) else { return };
        let entry = &mut self.entries[position];
        entry.bindings -= 1;
        if entry.bindings > 0 {
            return;
        }
        self.entries.swap_remove(position);
        if let Some(positions) = &mut self.positions {
            positions.remove(&hop);
            if let Some(moved) = self.entries.get(position) {
                positions.insert(moved.hop, position);
            }
        }
        self.shrink();
    }

    fn position(&self, hop: Hop) -> Option<usize> {
        match &self.positions {
            Some(positions) => positions.get(&hop).copied(),
            None => self.entries.iter().position(|entry| entry.hop == hop),
        }
    }

    /// Gives memory back after a mass departure; the distance to the next growth keeps it rare.
    fn shrink(&mut self) {
        if self.entries.len() < INDEXED_FROM / 2 {
            self.positions = None;
        }
        if self.entries.capacity() > 4 * self.entries.len() + INDEXED_FROM {
            self.entries.shrink_to(2 * self.entries.len());
            if let Some(positions) = &mut self.positions {
                positions.shrink_to(2 * self.entries.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::ids::{QueueId, Target};

    use super::*;

    fn hop(id: u64) -> Hop {
        Hop::Queue(Target { id: QueueId(id), shard: 0, durable: false })
    }

    fn content(bucket: &Bucket) -> Vec<Hop> {
        let mut hops: Vec<Hop> = bucket.hops().collect();
        hops.sort_unstable();
        hops
    }

    #[test]
    fn a_hop_goes_with_its_last_binding() {
        let mut bucket = Bucket::default();
        bucket.add(hop(1));
        bucket.add(hop(1));
        bucket.remove(hop(1));
        assert_eq!(content(&bucket), [hop(1)]);
        bucket.remove(hop(2));
        bucket.remove(hop(1));
        assert!(bucket.is_empty());
    }

    #[test]
    fn growing_and_shrinking_keeps_the_content() {
        let mut bucket = Bucket::default();
        (0..500).for_each(|id| bucket.add(hop(id)));
        (0..500).filter(|id| id % 7 != 0).for_each(|id| bucket.remove(hop(id)));
        assert_eq!(content(&bucket), (0..500).step_by(7).map(hop).collect::<Vec<_>>());
        (0..500).step_by(7).for_each(|id| bucket.remove(hop(id)));
        assert!(bucket.is_empty());
    }

    #[test]
    fn a_bucket_of_one_is_small() {
        assert!(size_of::<Bucket>() <= 24, "{}", size_of::<Bucket>());
    }
}
