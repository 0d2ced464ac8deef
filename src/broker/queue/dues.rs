//! Due times of ready messages, in order, in half the memory that plain pairs take.

use std::collections::BTreeSet;

/// When a message is due, Unix milliseconds, and its number.
pub(super) type Due = (u64, u64);

/// Half of what 32 bits reach: so far around the first entry others may be to count as close.
const REACH: u64 = 1 << 31;

/// A set of due times.
///
/// Most are within weeks, and a few thousand million numbers, of each other: those are kept as distances from an origin.
#[derive(Debug, Default)]
pub(super) struct Dues {
    close: BTreeSet<(u32, u32)>,
    /// Whatever is too far from the origin.
    far: BTreeSet<Due>,
    origin: Due,
}

impl Dues {
    pub(super) fn len(&self) -> usize {
        self.close.len() + self.far.len()
    }

    pub(super) fn insert(&mut self, due: Due) {
        if self.close.is_empty() {
            self.origin = (due.0.saturating_sub(REACH), due.1.saturating_sub(REACH));
        }
        match self.distance(due) {
            // It may have been far from an earlier origin.
            Some(distance) if !self.far.contains(&due) => self.close.insert(distance),
            Some(_) | None => self.far.insert(due),
        };
    }

    /// Whether it was in.
    pub(super) fn remove(&mut self, due: Due) -> bool {
        self.distance(due).is_some_and(|distance| self.close.remove(&distance)) || self.far.remove(&due)
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Due> {
        let close = self.close.first().map(|distance| self.at(*distance));
        close.into_iter().chain(self.far.first().copied()).min()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether this is so of all messages.
    #[cfg(test)]
    pub(super) fn all(&self, is_so: impl Fn(u64) -> bool) -> bool {
        let first_seq = self.origin.1;
        self.close.iter().all(|(_, seq)| is_so(first_seq + u64::from(*seq)))
            && self.far.iter().all(|(_, seq)| is_so(*seq))
    }

    /// From the origin, if it is close.
    fn distance(&self, due: Due) -> Option<(u32, u32)> {
        let ms = u32::try_from(due.0.checked_sub(self.origin.0)?).ok()?;
        let numbers = u32::try_from(due.1.checked_sub(self.origin.1)?).ok()?;
        Some((ms, numbers))
    }

    fn at(&self, distance: (u32, u32)) -> Due {
        (self.origin.0 + u64::from(distance.0), self.origin.1 + u64::from(distance.1))
    }
}

impl Extend<Due> for Dues {
    fn extend<I: IntoIterator<Item = Due>>(&mut self, dues: I) {
        dues.into_iter().for_each(|due| self.insert(due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = u64> {
        let around = 1_800_000_000_000_u64;
        prop_oneof![6 => around..around + 20, 1 => 0..3_u64, 2 => any::<u64>(), 2 => around - REACH - 2..around - REACH + 2,
            2 => around + REACH - 2..around + REACH + 22]
    }

    proptest! {
        #[test]
        fn it_is_a_set_in_order(steps in prop::collection::vec((0..10_u8, part(), part()), 1..200)) {
            let (mut dues, mut model) = (Dues::default(), BTreeSet::new());
            for (step, ms, seq) in steps {
                match step {
                    0..6 => {
                        dues.insert((ms, seq));
                        model.insert((ms, seq));
                    }
                    6 => prop_assert_eq!(dues.remove((ms, seq)), model.remove(&(ms, seq))),
                    7 | 8 => if let Some(first) = model.pop_first() {
                        prop_assert!(dues.remove(first));
                    }
                    _ => {
                        dues.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!((dues.first(), dues.len()), (model.first().copied(), model.len()));
            }
            dues.clear();
            prop_assert_eq!((dues.first(), dues.len()), (None, 0));
        }
    }
}
