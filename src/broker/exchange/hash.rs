//! Hashes that decide where messages go: the same in every process and every version, so that a restart moves nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// The hash of some bytes (FNV-1a, with its bits mixed at the end).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    mix(bytes.iter().fold(OFFSET, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(PRIME)))
}

/// Spreads every bit over all others, one to one (the finalizer of SplitMix64).
pub(super) fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// One of so many places, each as likely as the others; none of none.
pub(super) fn place(hash: u64, places: usize) -> Option<usize> {
    let place = (u128::from(hash) * u128::try_from(places).ok()?) >> 64;
    usize::try_from(place).ok().filter(|_| places > 0)
}

/// Numbers that look random and follow from the seed. Everybody may draw at the same time.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next one (SplitMix64).
    pub(super) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash(b"key"), 0x487e_b6f7_e0ea_7e7c);
    }

    #[test]
    fn places_are_used_alike() {
        assert_eq!(place(u64::MAX, 0), None);
        assert_eq!((place(0, 7), place(u64::MAX, 7)), (Some(0), Some(6)));
        let numbers = Numbers::new(1);
        let mut counts = [0_u32; 7];
        (0..70_000).filter_map(|_| place(numbers.next(), 7)).for_each(|place| counts[place] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }
}
