//! A growing set of small numbers, one bit each.

/// Numbers from 0 upwards; absent ones are clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn get(&self, at: u32) -> bool {
        self.words.get(word_of(at)).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets `from..to`; gives how many of them were clear.
    pub(super) fn set_range(&mut self, from: u32, to: u32) -> u32 {
        if from >= to {
            return 0;
        }
        let needed = word_of(to - 1) + 1;
        if self.words.len() < needed {
            self.words.resize(needed, 0);
        }
        let mut fresh = 0;
        let mut at = from;
        while at < to {
            let end = to.min((at / 64 + 1) * 64);
            let mask = mask_of(at % 64, end - at);
            if let Some(word) = self.words.get_mut(word_of(at)) {
                fresh += (mask & !*word).count_ones();
                *word |= mask;
            }
            at = end;
        }
        fresh
    }

    /// The first clear number of `from..to`.
    pub(super) fn next_clear(&self, from: u32, to: u32) -> Option<u32> {
        let mut at = from;
        while at < to {
            let Some(word) = self.words.get(word_of(at)) else { return Some(at) };
            let clear = !word >> (at % 64);
            if clear != 0 {
                let found = at + clear.trailing_zeros();
                return (found < to).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// Adds the numbers of another set.
    pub(super) fn add_all(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// How many numbers below `to` are set.
    pub(super) fn count(&self, to: u32) -> u32 {
        let whole = word_of(to);
        let ones: u32 = self.words.iter().take(whole).map(|word| word.count_ones()).sum();
        let last = self.words.get(whole).map_or(0, |word| (word & mask_of(0, to % 64)).count_ones());
        ones + last
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(self.words.len()).unwrap_or(u32::MAX).to_le_bytes());
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads what [`Self::put`] wrote, and moves `bytes` behind it.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?;
        let (words, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        let words =
            words.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).collect();
        Some(Self { words })
    }
}

fn word_of(at: u32) -> usize {
    usize::try_from(at / 64).unwrap_or(usize::MAX)
}

fn mask_of(shift: u32, count: u32) -> u64 {
    let ones = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    ones << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(ranges in prop::collection::vec((0u32..500, 0u32..200), 0..20), from in 0u32..600) {
            let mut bits = Bits::default();
            let mut set = BTreeSet::new();
            for (start, length) in ranges {
                let fresh = (start..start + length).filter(|at| set.insert(*at)).count();
                prop_assert_eq!(bits.set_range(start, start + length) as usize, fresh);
            }
            for at in 0..800 {
                prop_assert_eq!(bits.get(at), set.contains(&at));
            }
            prop_assert_eq!(bits.next_clear(from, 650), (from..650).find(|at| !set.contains(at)));
            prop_assert_eq!(bits.count(from) as usize, set.range(..from).count());
            let mut both = Bits::default();
            both.set_range(from, from + 70);
            both.add_all(&bits);
            for at in 0..800 {
                prop_assert_eq!(both.get(at), set.contains(&at) || (from..from + 70).contains(&at));
            }
            let mut bytes = Vec::new();
            bits.put(&mut bytes);
            prop_assert_eq!(Bits::take(&mut bytes.as_slice()), Some(bits));
        }
    }
}
