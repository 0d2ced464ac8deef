//! The lengths of message bodies that are not in memory, for queues that count bytes.

use super::segment::to_usize;

const UNKNOWN: u8 = 0;
const SAME: u8 = 1;
const EACH: u8 = 2;

/// Body lengths by place in a segment. Those of messages that were settled when they were noted are not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lengths {
    /// Nobody asked, or an earlier version wrote the chunk.
    #[default]
    Unknown,
    /// All are the same.
    Same(u32),
    Each(Box<[u32]>),
}

impl Lengths {
    /// Notes lengths with their places, all below `span`.
    pub(super) fn of(lengths: Vec<(u32, u32)>, span: u32) -> Self {
        let first = lengths.first().map_or(0, |(_, length)| *length);
        if lengths.iter().all(|(_, length)| *length == first) {
            return Self::Same(first);
        }
        let mut each = vec![0; to_usize(span)];
        for (place, length) in lengths {
            if let Some(slot) = each.get_mut(to_usize(place)) {
                *slot = length;
            }
        }
        Self::Each(each.into())
    }

    /// The length at a place; 0 when it is not known.
    pub(super) fn get(&self, place: u32) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Same(length) => *length,
            Self::Each(each) => each.get(to_usize(place)).copied().unwrap_or(0),
        }
    }

    /// What it costs in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unknown | Self::Same(_) => 0,
            Self::Each(each) => each.len() * 4,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unknown => out.push(UNKNOWN),
            Self::Same(length) => {
                out.push(SAME);
                out.extend_from_slice(&length.to_le_bytes());
            }
            Self::Each(each) => {
                out.push(EACH);
                each.iter().for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
            }
        }
    }

    /// Reads what [`Self::put`] wrote for a segment of this span, and moves `bytes` behind it.
    pub(super) fn take(bytes: &mut &[u8], span: u32) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let count = match *kind {
            UNKNOWN => 0,
            SAME => 1,
            EACH => to_usize(span),
            _ => return None,
        };
        let (lengths, rest) = rest.split_at_checked(count.checked_mul(4)?)?;
        *bytes = rest;
        let mut lengths =
            lengths.chunks_exact(4).filter_map(|length| length.try_into().ok().map(u32::from_le_bytes));
        Some(match *kind {
            UNKNOWN => Self::Unknown,
            SAME => Self::Same(lengths.next()?),
            _ => Self::Each(lengths.collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tells_what_was_noted_also_when_read_back(
            lengths in prop::collection::btree_map(0u32..50, prop_oneof![Just(7u32), any::<u32>()], 0..20),
        ) {
            let noted = Lengths::of(lengths.clone().into_iter().collect(), 50);
            let mut bytes = Vec::new();
            noted.put(&mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Lengths::take(&mut &bytes[..cut], 50), None);
            }
            bytes.push(9);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Lengths::take(&mut rest, 50), Some(noted.clone()));
            prop_assert_eq!(rest, [9]);
            for (place, length) in lengths {
                prop_assert_eq!(noted.get(place), length);
            }
        }
    }
}
