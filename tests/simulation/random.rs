//! Numbers that look random and follow from a seed.

/// A generator (splitmix64): small, quick, the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A generator of its own for a part, so that what one part draws does not change what another one gets.
    pub(super) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// From 0 up to `end`, which is left out; 0 when that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// From `first` to `last`, both included.
    pub(super) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// Mostly near `first`, sometimes as far as `last`: how long things take.
    pub(super) fn skewed(&mut self, first: u64, last: u64) -> u64 {
        let most = match self.below(10) {
            0 => last,
            1..=2 => first + (last - first) / 4,
            _ => first + (last - first) / 20,
        };
        self.between(first, most)
    }

    pub(super) fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = self.index(from.len());
        from.get(at).cloned()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_one_others() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        (0..100).map(|_| random.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(3).iter().any(|number| *number > 800) && draw(3).iter().any(|number| *number < 200));
}
