//! How often messages of a segment came back, and until when they wait for it, for queues with `x-delivery-limit` or
//! `x-delayed-retry-type`.

use std::collections::BTreeMap;

/// What one message costs in memory, bytes: its entry, and some for the tree around it.
const ENTRY_BYTES: usize = 32;

/// What is known of a message that came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Return {
    count: u32,
    /// Until when it was last told to wait, Unix milliseconds; 0 when it never was.
    due_ms: u64,
}

/// Counts by place in a segment; absent ones are 0, and cost nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Returns {
    /// Never empty: most segments have none.
    #[expect(clippy::box_collection, reason = "segments without counts pay a third of the place")]
    counts: Option<Box<BTreeMap<u32, Return>>>,
}

impl Returns {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_none()
    }

    /// How often the message at this place came back.
    #[inline]
    pub(super) fn get(&self, place: u32) -> u32 {
        self.at(place).count
    }

    fn at(&self, place: u32) -> Return {
        self.counts.as_ref().and_then(|counts| counts.get(&place)).copied().unwrap_or_default()
    }

    /// Raises a count to this; false when it was as high before.
    pub(super) fn raise(&mut self, place: u32, count: u32) -> bool {
        if self.get(place) >= count {
            return false;
        }
        self.counts.get_or_insert_default().entry(place).or_default().count = count;
        true
    }

    /// The message at this place waits until then; false when it was told so before, or to wait longer.
    pub(super) fn wait(&mut self, place: u32, due_ms: u64) -> bool {
        if self.at(place).due_ms >= due_ms {
            return false;
        }
        self.counts.get_or_insert_default().entry(place).or_default().due_ms = due_ms;
        true
    }

    /// Those that were told to wait, and until when.
    pub(super) fn retries(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let all = self.counts.iter().flat_map(|counts| counts.iter());
        all.filter(|(_, known)| known.due_ms > 0).map(|(place, known)| (*place, known.due_ms))
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
        self.counts.as_ref().map_or(0, |counts| counts.len() * ENTRY_BYTES)
    }

    /// Appends the counts, and when `with_due` the times.
    pub(super) fn put(&self, with_due: bool, out: &mut Vec<u8>) {
        let counts = self.counts.iter().flat_map(|counts| counts.iter());
        let length = self.counts.as_ref().map_or(0, |counts| counts.len());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        for (place, known) in counts {
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&known.count.to_le_bytes());
            if with_due {
                out.extend_from_slice(&known.due_ms.to_le_bytes());
            }
        }
    }

    /// Reads what [`Self::put`] wrote for a segment of this span, and moves `bytes` behind it.
    pub(super) fn take(bytes: &mut &[u8], span: u32, with_due: bool) -> Option<Self> {
        let entry_length = if with_due { 16 } else { 8 };
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_mul(entry_length)?;
        let (counts, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        let mut returns = Self::default();
        for entry in counts.chunks_exact(entry_length) {
            let (place, entry) = entry.split_first_chunk::<4>()?;
            let (count, due) = entry.split_first_chunk::<4>()?;
            let place = u32::from_le_bytes(*place);
            if place >= span {
                return None;
            }
            returns.raise(place, u32::from_le_bytes(*count));
            if with_due {
                returns.wait(place, u64::from_le_bytes(*due.first_chunk()?));
            }
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
            steps in prop::collection::vec((0u8..3, 0u32..60, 0u32..20), 0..60), with_due in any::<bool>(),
        ) {
            let (mut returns, mut model) = (Returns::default(), BTreeMap::<u32, (u32, u64)>::new());
            for (step, place, number) in steps {
                let known = model.get(&place).copied().unwrap_or_default();
                match step {
                    0 => {
                        prop_assert_eq!(returns.raise(place, number), number > known.0);
                        if number > known.0 {
                            model.insert(place, (number, known.1));
                        }
                    }
                    1 if with_due => {
                        let due_ms = u64::from(number) << 40;
                        prop_assert_eq!(returns.wait(place, due_ms), due_ms > known.1);
                        if due_ms > known.1 {
                            model.insert(place, (known.0, due_ms));
                        }
                    }
                    _ => {
                        returns.forget(place, place + number);
                        model.retain(|at, _| !(place..place + number).contains(at));
                    }
                }
                for at in 0..80 {
                    prop_assert_eq!(returns.get(at), model.get(&at).map_or(0, |known| known.0));
                }
                let waiting = model.iter().filter(|(_, known)| known.1 > 0).map(|(at, known)| (*at, known.1));
                prop_assert_eq!(returns.retries().collect::<Vec<_>>(), waiting.collect::<Vec<_>>());
                prop_assert_eq!(returns.is_empty(), model.is_empty());
                prop_assert_eq!(returns.bytes() == 0, model.is_empty());
            }
            let mut bytes = Vec::new();
            returns.put(with_due, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Returns::take(&mut &bytes[..cut], 80, with_due), None);
            }
            bytes.push(9);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Returns::take(&mut rest, 80, with_due), Some(returns));
            prop_assert_eq!(rest, [9]);
            if let Some((last, _)) = model.last_key_value() {
                let none = Returns::take(&mut bytes.as_slice(), *last, with_due);
                prop_assert_eq!(none, None, "there is no such place");
            }
        }
    }
}
