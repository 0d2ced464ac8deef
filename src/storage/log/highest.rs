//! The highest index of each shard in a group, a segment, or what was released.

use super::Synced;

/// Sorted by shard; few shards, so a sorted list beats a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Highest(Vec<Synced>);

impl Highest {
    pub(super) fn raise(&mut self, shard: u16, index: u64) {
        match self.0.binary_search_by_key(&shard, |at| at.shard) {
            Ok(at) => self.0[at].index = self.0[at].index.max(index),
            Err(at) => self.0.insert(at, Synced { shard, index }),
        }
    }

    pub(super) fn raise_all(&mut self, others: &[Synced]) {
        for other in others {
            self.raise(other.shard, other.index);
        }
    }

    /// Whether each shard's index here is at most its index in `other`.
    pub(super) fn is_covered_by(&self, other: &Self) -> bool {
        self.0.iter().all(|at| other.get(at.shard).is_some_and(|covered| at.index <= covered))
    }

    pub(super) fn as_slice(&self) -> &[Synced] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&self, shard: u16) -> Option<u64> {
        let at = self.0.binary_search_by_key(&shard, |at| at.shard).ok()?;
        Some(self.0[at].index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_only_with_every_shard_named() {
        let (mut records, mut released) = (Highest::default(), Highest::default());
        records.raise_all(&[Synced { shard: 2, index: 5 }, Synced { shard: 1, index: 9 }]);
        records.raise(2, 3);
        released.raise(2, 5);
        assert!(!records.is_covered_by(&released));
        released.raise(1, 8);
        assert!(!records.is_covered_by(&released));
        released.raise(1, 9);
        assert!(records.is_covered_by(&released));
    }
}
