//! Reading a segment that may be torn or damaged, through a window instead of all at once.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::record::{ALIGN, HEAD_LEN, Head};

/// Bytes read ahead where all records are read.
const WINDOW: u64 = 1 << 20;

/// Records of one segment up to `limit`.
pub(super) struct Scan<'f> {
    file: &'f File,
    seed: u32,
    limit: u64,
    /// Bytes read ahead.
    ahead: u64,
    /// Bytes of the file from `start` on.
    window: Vec<u8>,
    start: u64,
}

impl<'f> Scan<'f> {
    pub(super) fn new(file: &'f File, seed: u32, limit: u64) -> Self {
        Self { file, seed, limit, ahead: WINDOW, window: Vec::new(), start: 0 }
    }

    /// Reads so many bytes ahead.
    pub(super) fn with_window(self, ahead: u64) -> Self {
        Self { ahead, ..self }
    }

    /// The record at `at`, if there is a whole and undamaged one.
    pub(super) fn record(&mut self, at: u64) -> io::Result<Option<(Head, &[u8])>> {
        let Some(head) = self.head(at)? else { return Ok(None) };
        if head.size() > self.limit - at {
            return Ok(None);
        }
        let seed = self.seed;
        let payload = self.bytes(at + HEAD_LEN as u64, u64::from(head.len))?.unwrap_or_default();
        Ok(head.matches(payload, seed).then_some((head, payload)))
    }

    /// Where the next whole record begins behind the damage at `at`; the limit if there is none.
    pub(super) fn next_record(&mut self, at: u64) -> io::Result<u64> {
        let mut next = at + self.head(at)?.map_or(ALIGN, |head| head.size());
        while next < self.limit {
            if self.record(next)?.is_some() {
                return Ok(next);
            }
            next += ALIGN;
        }
        Ok(self.limit)
    }

    /// The highest offset that a mark behind `at` says was synced; 0 if there is none.
    pub(super) fn highest_claim(&mut self, at: u64) -> io::Result<u64> {
        let (mut highest, mut at, seed) = (0, at, self.seed);
        while let Some(bytes) = self.bytes(at, HEAD_LEN as u64)? {
            if Head::may_be_mark(bytes)
                && let Some(mark) = Head::decode(bytes, seed)
                && mark.index <= at
            {
                highest = highest.max(mark.index);
            }
            at += ALIGN;
        }
        Ok(highest)
    }

    /// The head of the record at `at`, if there is one.
    pub(super) fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        let seed = self.seed;
        Ok(self.bytes(at, HEAD_LEN as u64)?.and_then(|bytes| Head::decode(bytes, seed)))
    }

    /// `len` bytes at `at`, unless they pass the limit.
    fn bytes(&mut self, at: u64, len: u64) -> io::Result<Option<&[u8]>> {
        let Some(end) = at.checked_add(len).filter(|end| *end <= self.limit) else { return Ok(None) };
        if at < self.start || end > self.start + self.window.len() as u64 {
            self.fill(at, len.max(self.ahead).min(self.limit - at))?;
        }
        let (from, to) = (at - self.start, end - self.start);
        Ok(Some(&self.window[usize_of(from)?..usize_of(to)?]))
    }

    fn fill(&mut self, start: u64, len: u64) -> io::Result<()> {
        self.window.resize(usize_of(len)?, 0);
        self.start = start;
        self.file.read_exact_at(&mut self.window, start)
    }
}

fn usize_of(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
