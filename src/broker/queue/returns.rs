//! How often messages of a segment came back, for queues with `x-delivery-limit`.

use std::collections::BTreeMap;

/// What one count costs in memory, bytes: the pair, and as much again for the tree around it.
const COUNT_BYTES: usize = 16;

/// Counts by place in a segment; absent ones are 0, and cost nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Returns {
    /// Never empty: most segments have none.
    #[expect(clippy::box_collection, reason = "segments without counts pay a third of the place")]
    counts: Option<Box<BTreeMap<u32, u32>>>,
}

impl Returns {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_none()
    }

    /// How often the message at this place came back.
    #[inline]
    pub(super) fn get(&self, place: u32) -> u32 {
        self.counts.as_ref().and_then(|counts| counts.get(&place)).copied().unwrap_or(0)
    }

    /// Raises a count to this; false when it was as high before.
    pub(super) fn raise(&mut self, place: u32, count: u32) -> bool {
        if self.get(place) >= count {
            return false;
        }
        self.counts.get_or_insert_default().insert(place, count);
        true
    }

    /// Forgets the counts at `from .. to`.
    #[inline]
    pub(super) fn forget(&mut self, from: u32, to: u32) {
        if !self.is_empty() {
            self.forget_some(from, to);
        }
    }

    #[cold]
    fn forget_some(&mut self, from: u32, to: u32) {
        let Some(counts) = &mut self.counts else { return };
        while from < to
            && let Some(place) = counts.range(from..to).next().map(|(place, _)| *place)
        {
            counts.remove(&place);
        }
        self.counts.take_if(|counts| counts.is_empty());
    }

    /// Keeps the counts at those places that `keep` wants.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        if let Some(counts) = &mut self.counts {
            counts.retain(|place, _| keep(*place));
            self.counts.take_if(|counts| counts.is_empty());
        }
    }

    /// What it costs in memory.
    pub(super) fn bytes(&self) -> usize {
        self.counts.as_ref().map_or(0, |counts| counts.len() * COUNT_BYTES)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let counts = self.counts.iter().flat_map(|counts| counts.iter());
        let length = self.counts.as_ref().map_or(0, |counts| counts.len());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        for (place, count) in counts {
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Reads what [`Self::put`] wrote for a segment of this span, and moves `bytes` behind it.
    pub(super) fn take(bytes: &mut &[u8], span: u32) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_mul(8)?;
        let (counts, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        let mut returns = Self::default();
        for pair in counts.chunks_exact(8) {
            let (place, count) = pair.split_first_chunk::<4>()?;
            let place = u32::from_le_bytes(*place);
            if place >= span {
                return None;
            }
            returns.raise(place, u32::from_le_bytes(*count.first_chunk()?));
        }
        Some(returns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_map_that_only_grows(
            steps in prop::collection::vec((any::<bool>(), 0u32..60, 0u32..20), 0..60),
        ) {
            let (mut returns, mut model) = (Returns::default(), BTreeMap::new());
            for (is_raise, place, number) in steps {
                if is_raise {
                    let known = model.get(&place).copied().unwrap_or(0);
                    prop_assert_eq!(returns.raise(place, number), number > known);
                    if number > known {
                        model.insert(place, number);
                    }
                } else {
                    returns.forget(place, place + number);
                    model.retain(|at, _| !(place..place + number).contains(at));
                }
                for at in 0..80 {
                    prop_assert_eq!(returns.get(at), model.get(&at).copied().unwrap_or(0));
                }
                prop_assert_eq!(returns.is_empty(), model.is_empty());
                prop_assert_eq!(returns.bytes() == 0, model.is_empty());
            }
            let mut bytes = Vec::new();
            returns.put(&mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Returns::take(&mut &bytes[..cut], 80), None);
            }
            bytes.push(9);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Returns::take(&mut rest, 80), Some(returns));
            prop_assert_eq!(rest, [9]);
            if let Some((last, _)) = model.last_key_value() {
                prop_assert_eq!(Returns::take(&mut bytes.as_slice(), *last), None, "there is no such place");
            }
        }
    }
}
