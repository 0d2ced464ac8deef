//! Frames on their way out.

use std::io::IoSlice;

use bytes::Bytes;

use super::FRAME_HEAD;

/// Shorter pieces are copied: that costs less than a place in the list of a vectored write.
const COPY_BELOW: usize = 2048;

/// Frames to be written: small parts in one buffer, large ones where they are.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    small: Vec<u8>,
    /// Pieces that belong in front of a place of `small`, in order.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
    /// Where the next write goes on: bytes of `small`, pieces, bytes of the next piece.
    written: (usize, usize, usize),
}

/// A frame that is not complete.
#[derive(Debug)]
#[must_use]
pub(crate) struct Open {
    at: usize,
    large_bytes: usize,
}

impl Frames {
    pub(crate) fn begin(&mut self) -> Open {
        let open = Open { at: self.small.len(), large_bytes: self.large_bytes };
        self.small.extend_from_slice(&[0; FRAME_HEAD]);
        open
    }

    pub(crate) fn end(&mut self, open: &Open) {
        let length = self.small.len() - open.at - FRAME_HEAD + self.large_bytes - open.large_bytes;
        if let Some(head) = self.small.get_mut(open.at..open.at + FRAME_HEAD) {
            head.copy_from_slice(&to_u32(length).to_le_bytes());
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.small.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.small.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.small.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.small.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.small.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.u32(to_u32(count));
    }

    /// Bytes that others share.
    pub(crate) fn bytes(&mut self, bytes: &Bytes) {
        self.count(bytes.len());
        self.part(bytes, 0, bytes.len());
    }

    /// A part of bytes that others share, without its length.
    pub(crate) fn part(&mut self, bytes: &Bytes, at: usize, length: usize) {
        if length < COPY_BELOW {
            self.small.extend_from_slice(bytes.get(at..at + length).unwrap_or_default());
        } else {
            self.large.push((self.small.len(), bytes.slice(at..at + length)));
            self.large_bytes += length;
        }
    }

    /// All bytes, written or not.
    pub(crate) fn len(&self) -> usize {
        self.small.len() + self.large_bytes
    }

    pub(crate) fn is_written(&self) -> bool {
        let (small, pieces, _) = self.written;
        small == self.small.len() && pieces == self.large.len()
    }

    /// What is to be written next, as far as there are places for it; gives how many were filled.
    pub(crate) fn slices<'a>(&'a self, places: &mut [IoSlice<'a>]) -> usize {
        let (mut small, first, mut skip) = self.written;
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| {
            let place = if bytes.is_empty() { None } else { places.get_mut(filled) };
            if let Some(place) = place {
                *place = IoSlice::new(bytes);
                filled += 1;
            }
        };
        for (at, piece) in self.large.get(first..).unwrap_or_default().iter().take(PIECES_LOOKED_AT) {
            put(self.small.get(small..*at).unwrap_or_default());
            put(piece.get(skip..).unwrap_or_default());
            (small, skip) = (*at, 0);
        }
        if self.large.len() - first <= PIECES_LOOKED_AT {
            put(self.small.get(small..).unwrap_or_default());
        }
        filled
    }

    /// So many bytes of what [`Self::slices`] gave are written.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        let (mut small, mut first, mut skip) = self.written;
        while bytes > 0 {
            let piece = self.large.get(first);
            let front = piece.map_or(self.small.len(), |(at, _)| *at) - small;
            let step = front.min(bytes);
            small += step;
            bytes -= step;
            let Some((_, piece)) = piece.filter(|_| bytes > 0) else { break };
            let step = (piece.len() - skip).min(bytes);
            skip += step;
            bytes -= step;
            if skip == piece.len() {
                (first, skip) = (first + 1, 0);
            }
        }
        self.written = (small, first, skip);
    }

    /// Ready for the next frames; keeps its memory up to `keep` bytes.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.small.clear();
        self.small.shrink_to(keep);
        self.large.clear();
        self.large_bytes = 0;
        self.written = (0, 0, 0);
    }
}

/// Twice as many places are filled at most.
const PIECES_LOOKED_AT: usize = 64;

/// How many places [`Frames::slices`] can fill.
pub(crate) const PLACES: usize = 2 * PIECES_LOOKED_AT + 1;

/// What is larger never gets here: frames have a limit far below.
fn to_u32(length: usize) -> u32 {
    debug_assert!(u32::try_from(length).is_ok(), "a frame's length fits 32 bits");
    u32::try_from(length).unwrap_or(u32::MAX)
}
