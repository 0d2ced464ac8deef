//! Lays out a group's records for one vectored write.

use std::io::{self, IoSlice};

use super::{
    Append,
    medium::{self, Medium},
    record::{HEAD_LEN, Head, record_size},
};

/// Payload parts up to this many bytes are copied beside the heads: a slice of its own costs more.
const COPIED_MAX: usize = 128;

/// Records, end to end: heads, short parts and padding in `scratch`, long parts where the caller has them.
pub(super) struct Frame<'g> {
    seed: u32,
    scratch: Vec<u8>,
    parts: Vec<Part<'g>>,
    len: u64,
}

/// What is in the scratch up to `scratch_end`, then `own`.
struct Part<'g> {
    scratch_end: usize,
    own: &'g [u8],
}

impl<'g> Frame<'g> {
    /// An empty frame; `scratch` is any buffer to reuse.
    pub(super) fn new(seed: u32, mut scratch: Vec<u8>) -> Self {
        scratch.clear();
        Self { seed, scratch, parts: Vec::new(), len: 0 }
    }

    /// Bytes the frame takes in the segment.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a mark.
    pub(super) fn push_mark(&mut self, synced: u64, is_last: bool) {
        let mark = Head::mark(synced, is_last, self.seed);
        self.scratch.extend_from_slice(&mark.encode(self.seed));
        self.len += mark.size();
    }

    /// Adds a record whose payload has `len` bytes.
    pub(super) fn push(&mut self, append: &'g Append, len: u32) {
        let head = Head::of(append, len, self.seed);
        self.scratch.extend_from_slice(&head.encode(self.seed));
        self.push_part(&append.head);
        self.push_part(&append.body);
        let unpadded = HEAD_LEN + append.head.len() + append.body.len();
        self.scratch.resize(self.scratch.len() + unpadded.next_multiple_of(8) - unpadded, 0);
        self.len += record_size(u64::from(len));
    }

    /// Writes the frame and gives the scratch back.
    pub(super) fn write(mut self, medium: &mut dyn Medium) -> io::Result<Vec<u8>> {
        self.parts.push(Part { scratch_end: self.scratch.len(), own: &[] });
        let mut slices = Vec::with_capacity(self.parts.len() * 2);
        let mut scratch_start = 0;
        for part in &self.parts {
            slices.push(IoSlice::new(&self.scratch[scratch_start..part.scratch_end]));
            slices.push(IoSlice::new(part.own));
            scratch_start = part.scratch_end;
        }
        medium::write_all(medium, &mut slices)?;
        Ok(self.scratch)
    }

    fn push_part(&mut self, part: &'g [u8]) {
        if part.len() <= COPIED_MAX {
            self.scratch.extend_from_slice(part);
        } else {
            self.parts.push(Part { scratch_end: self.scratch.len(), own: part });
        }
    }
}
