//! One record of the log, little endian, on an 8-byte boundary:
//!
//! ```text
//!  0 payload length u32 | 4 shard u16 | 6 kind u8 | 7 flags u8
//!  8 index u64          | 16 CRC32C of the payload | 20 CRC32C of bytes 0..20
//! 24 payload, zeros up to the next multiple of 8
//! ```
//! Both checksums start from the segment's seed. The head has one of its own so that a scan through damage
//! finds the next record without believing a length it cannot check.

use crc32c::crc32c_append;

use super::{Append, Entry};

/// Bytes in front of a payload.
pub(super) const HEAD_LEN: usize = 24;
/// Records start at multiples of this.
pub(super) const ALIGN: u64 = 8;
/// The longest payload of one record, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 30;

/// Set in every record, so that zeros are never one.
const WRITTEN: u8 = 0x80;
/// A mark: no payload, `index` is the offset up to which this segment was synced before, `kind` 1 in the last.
const MARK: u8 = 0x01;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) shard: u16,
    pub(super) kind: u8,
    pub(super) is_mark: bool,
    pub(super) index: u64,
    pub(super) payload_crc: u32,
}

impl Head {
    /// The head of `append`, whose payload is at most [`PAYLOAD_MAX`].
    pub(super) fn of(append: &Append, len: u32, seed: u32) -> Self {
        let payload_crc = crc32c_append(crc32c_append(seed, &append.head), &append.body);
        Self { len, shard: append.shard, kind: append.kind, is_mark: false, index: append.index, payload_crc }
    }

    /// A mark: everything in front of `synced` was synced before it was written. Nothing follows a last one.
    pub(super) fn mark(synced: u64, is_last: bool, seed: u32) -> Self {
        let kind = u8::from(is_last);
        Self { len: 0, shard: 0, kind, is_mark: true, index: synced, payload_crc: seed }
    }

    pub(super) fn is_last_mark(&self) -> bool {
        self.is_mark && self.kind == 1
    }

    /// A cheap test that passes every mark.
    pub(super) fn may_be_mark(bytes: &[u8]) -> bool {
        bytes.get(7) == Some(&(WRITTEN | MARK))
    }

    pub(super) fn encode(&self, seed: u32) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.shard.to_le_bytes());
        bytes[6] = self.kind;
        bytes[7] = WRITTEN | if self.is_mark { MARK } else { 0 };
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c_append(seed, &bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head at the start of `bytes`, if it is one of this segment.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let bytes: &[u8; HEAD_LEN] = bytes.first_chunk()?;
        let flags = bytes[7];
        if flags & WRITTEN == 0 || crc32c_append(seed, &bytes[..20]) != u32_at(bytes, 20) {
            return None;
        }
        Some(Self {
            len: u32_at(bytes, 0),
            shard: u16::from_le_bytes([bytes[4], bytes[5]]),
            kind: bytes[6],
            is_mark: flags & MARK != 0,
            index: u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32,
            payload_crc: u32_at(bytes, 16),
        })
    }

    /// Bytes the whole record takes in the segment.
    pub(super) fn size(&self) -> u64 {
        record_size(u64::from(self.len))
    }

    pub(super) fn matches(&self, payload: &[u8], seed: u32) -> bool {
        crc32c_append(seed, payload) == self.payload_crc
    }

    pub(super) fn entry<'a>(&self, payload: &'a [u8]) -> Entry<'a> {
        Entry { shard: self.shard, index: self.index, kind: self.kind, payload }
    }
}

/// Bytes a record with a payload of `len` bytes takes in the segment.
pub(super) fn record_size(len: u64) -> u64 {
    (HEAD_LEN as u64 + len).next_multiple_of(ALIGN)
}

fn u32_at(bytes: &[u8; HEAD_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(shard: u16, index: u64, kind: u8, head: Vec<u8>, body: Vec<u8>, seed: u32) {
            let payload = [head.clone(), body.clone()].concat();
            let append = Append { shard, index, kind, head, body: body.into() };
            let written = Head::of(&append, u32::try_from(payload.len()).unwrap(), seed);
            let read = Head::decode(&written.encode(seed), seed).unwrap();
            prop_assert_eq!(written, read);
            prop_assert!(read.matches(&payload, seed));
        }

        #[test]
        fn another_seed_never_validates(index: u64, seed: u32, other: u32) {
            prop_assume!(seed != other);
            let bytes = Head::mark(index, false, seed).encode(seed);
            prop_assert_eq!(Head::decode(&bytes, other), None);
        }

        #[test]
        fn any_flipped_bit_is_seen(index: u64, seed: u32, bit in 0..HEAD_LEN * 8) {
            let mut bytes = Head::mark(index, false, seed).encode(seed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Head::decode(&bytes, seed), None);
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert!((0..100_000).all(|seed| Head::decode(&[0; HEAD_LEN], seed).is_none()));
    }
}
