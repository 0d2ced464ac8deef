//! Reading records back while the log runs: where those of [`super::READABLE_SHARDS`] lie, segment by segment.
//!
//! Positions become known when their records are reported as synced, and are forgotten before their segment's file is
//! anything else. A reader that is overtaken by that finds bytes of another seed, which never validate.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    ReadBack,
    highest::Highest,
    record::{ALIGN, Head},
    scan::Scan,
    segment::{Header, segment_path},
};
use crate::storage::error::StorageError;

/// Positions taken at once, so that a long range costs no long list.
const PLACES_MAX: usize = 512;
/// Bytes read at once, at most; a longer record is read whole.
const WINDOW_MAX: usize = 256 << 10;
const WINDOW_MIN: usize = 16 << 10;

/// Where one readable record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) shard: u16,
    pub(super) index: u64,
    pub(super) offset: u64,
}

/// The positions of all readable records of a log.
#[derive(Debug)]
pub(super) struct Readable {
    dir: PathBuf,
    /// Oldest first.
    segments: Mutex<VecDeque<Segment>>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    seed: u32,
    /// Sorted by shard.
    shards: Vec<(u16, Places)>,
}

/// Positions of one shard in one segment, four bytes for each.
#[derive(Debug, Default)]
struct Places {
    /// Indexes that follow each other: the first one, and where in `offsets` its position is.
    runs: Vec<(u64, usize)>,
    /// In units of [`ALIGN`].
    offsets: Vec<u32>,
}

/// Records that follow each other in one segment.
struct Run {
    segment: u64,
    seed: u32,
    offsets: Vec<u64>,
}

impl Readable {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, segments: Mutex::default() }
    }

    /// A segment begins, behind all others.
    pub(super) fn begin(&self, header: &Header) {
        let mut segments = self.segments();
        let closed = segments.back_mut().into_iter().flat_map(|segment| &mut segment.shards);
        closed.for_each(|(_, places)| places.offsets.shrink_to_fit());
        segments.push_back(Segment { number: header.number, seed: header.seed(), shards: Vec::new() });
    }

    /// These records can be read from now on, but for those of segments that are forgotten.
    pub(super) fn add(&self, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        let mut segments = self.segments();
        for place in places {
            if let Some(at) = position(&segments, place.segment) {
                segments[at].add(place);
            }
        }
    }

    /// Nothing of this segment is read any more.
    pub(super) fn forget(&self, segment: u64) {
        let mut segments = self.segments();
        if let Some(at) = position(&segments, segment) {
            segments.remove(at);
        }
    }

    /// The highest index of each shard that has records here.
    pub(super) fn highest(&self) -> Highest {
        let mut highest = Highest::default();
        for (shard, places) in self.segments().iter().flat_map(|segment| &segment.shards) {
            if let Some(last) = places.last() {
                highest.raise(*shard, last);
            }
        }
        highest
    }

    /// See [`super::ReadableLog::read`].
    pub(super) fn read(
        &self,
        shard: u16,
        indexes: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<ReadBack>, StorageError> {
        let (from, to) = indexes.into_inner();
        let mut reading = Reading { shard, next: from, bytes_left: bytes_max, found: Vec::new() };
        while reading.next <= to {
            let lost = || StorageError::NotInLog { shard, index: reading.next };
            let run = self.run(shard, reading.next, to).ok_or_else(lost)?;
            let path = segment_path(&self.dir, run.segment);
            let is_full = run.read(&path, &mut reading).map_err(|error| {
                // Released meanwhile, the file is gone or another segment.
                let is_here = position(&self.segments(), run.segment).is_some();
                if is_here { error } else { StorageError::NotInLog { shard, index: reading.next } }
            })?;
            if is_full || reading.next == 0 {
                break;
            }
        }
        Ok(reading.found)
    }

    /// The record `from` and those that follow it in its segment.
    fn run(&self, shard: u16, from: u64, to: u64) -> Option<Run> {
        let segments = self.segments();
        // Who reads wants what is recent, mostly.
        segments.iter().rev().find_map(|segment| {
            let offsets = segment.places(shard)?.from(from, to)?;
            Some(Run { segment: segment.number, seed: segment.seed, offsets })
        })
    }

    fn segments(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position(segments: &VecDeque<Segment>, number: u64) -> Option<usize> {
    segments.binary_search_by_key(&number, |segment| segment.number).ok()
}

impl Segment {
    fn add(&mut self, place: &Place) {
        let at = match self.shards.binary_search_by_key(&place.shard, |(shard, _)| *shard) {
            Ok(at) => at,
            Err(at) => {
                self.shards.insert(at, (place.shard, Places::default()));
                at
            }
        };
        self.shards[at].1.push(place.index, place.offset);
    }

    fn places(&self, shard: u16) -> Option<&Places> {
        let at = self.shards.binary_search_by_key(&shard, |(shard, _)| *shard).ok()?;
        Some(&self.shards[at].1)
    }
}

impl Places {
    /// `index` is above all that are here.
    fn push(&mut self, index: u64, offset: u64) {
        if self.last().is_none_or(|last| last.checked_add(1) != Some(index)) {
            self.runs.push((index, self.offsets.len()));
        }
        // A segment has at most 4 GiB; what does not fit would be found to be no record.
        self.offsets.push(u32::try_from(offset / ALIGN).unwrap_or(u32::MAX));
    }

    fn last(&self) -> Option<u64> {
        let (first, start) = self.runs.last()?;
        Some(first + (self.offsets.len() - start) as u64 - 1)
    }

    /// The offsets of index `from` and of those that follow it without a gap, up to `to`.
    fn from(&self, from: u64, to: u64) -> Option<Vec<u64>> {
        let next = self.runs.partition_point(|(first, _)| *first <= from);
        let (first, start) = self.runs.get(next.checked_sub(1)?)?;
        let end = self.runs.get(next).map_or(self.offsets.len(), |(_, start)| *start);
        let skipped = usize::try_from(from - first).ok()?;
        let here = self.offsets.get(*start..end)?.get(skipped..).filter(|here| !here.is_empty())?;
        let wanted = usize::try_from(to - from).unwrap_or(usize::MAX).saturating_add(1);
        let here = &here[..here.len().min(wanted).min(PLACES_MAX)];
        Some(here.iter().map(|offset| u64::from(*offset) * ALIGN).collect())
    }
}

impl Run {
    /// Reads these records; true when the next one does not fit.
    fn read(&self, path: &Path, reading: &mut Reading) -> Result<bool, StorageError> {
        let file = File::open(path).map_err(StorageError::io("open", path))?;
        let size = file.metadata().map_err(StorageError::io("look at", path))?.len();
        let window = reading.bytes_left.clamp(WINDOW_MIN, WINDOW_MAX);
        let mut scan = Scan::new(&file, self.seed, size).with_window(window as u64);
        for offset in &self.offsets {
            match reading.read(&mut scan, *offset).map_err(StorageError::io("read", path))? {
                Next::Read => {}
                Next::Full => return Ok(true),
                Next::Damaged => {
                    let reason =
                        format!("record {} of shard {} cannot be read back", reading.next, reading.shard);
                    return Err(StorageError::Corrupt { path: path.to_path_buf(), offset: *offset, reason });
                }
            }
        }
        Ok(false)
    }
}

/// What was read so far.
struct Reading {
    shard: u16,
    next: u64,
    bytes_left: usize,
    found: Vec<ReadBack>,
}

enum Next {
    Read,
    Full,
    Damaged,
}

impl Reading {
    fn read(&mut self, scan: &mut Scan<'_>, offset: u64) -> io::Result<Next> {
        let is_it = |head: &Head| !head.is_mark && head.shard == self.shard && head.index == self.next;
        let Some(head) = scan.head(offset)?.filter(is_it) else { return Ok(Next::Damaged) };
        let bytes = head.len as usize;
        if bytes > self.bytes_left && !self.found.is_empty() {
            return Ok(Next::Full);
        }
        let Some((head, payload)) = scan.record(offset)? else { return Ok(Next::Damaged) };
        let payload = Bytes::copy_from_slice(payload);
        self.found.push(ReadBack { index: head.index, kind: head.kind, payload });
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.next = self.next.wrapping_add(1);
        Ok(Next::Read)
    }
}
