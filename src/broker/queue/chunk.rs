//! The form of a segment in the cold store, little endian.
//!
//! - chunk: count u32, the place of each record u32 (ascending), then the records
//! - descriptor: version u8, has due times u8, span u32, persistent u32, first arrival u64, settled set, transient set,
//!   body lengths; in version 3 then: how many counts u32, then the place u32 and the count u32 of each message that
//!   came back; in version 4 until when it waits u64 behind each count
//!
//! Version 1 of the descriptor ended before the body lengths: it is read as one that does not know them. Version 4 is
//! written where messages wait since they came back, version 3 where they only came back, version 2 elsewhere. A program
//! refuses versions newer than it knows.

use bytes::Bytes;

use super::bits::Bits;
use super::lengths::Lengths;
use super::returns::Returns;
use super::segment::{Data, Segment, Stored, to_u32, to_usize};
use crate::broker::batch;

/// With counts of returns, and until when messages wait for them.
const VERSION_4: u8 = 4;
/// With counts of returns.
const VERSION_3: u8 = 3;
const VERSION_2: u8 = 2;
/// Without body lengths.
const VERSION_1: u8 = 1;

/// A chunk to be written. The records are shared with the segment in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkData {
    /// What stands in front of the records.
    pub front: Vec<u8>,
    /// The records.
    pub records: Bytes,
}

impl ChunkData {
    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.front.len() + self.records.len()
    }

    /// As it is read back.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        [&self.front[..], &self.records].concat().into()
    }
}

impl Segment {
    /// The chunk for the cold store: the places of the records in it, then the records.
    pub(super) fn chunk(&self) -> ChunkData {
        let count = self.offsets.len();
        let mut out = Vec::with_capacity(4 + count * 4);
        out.extend_from_slice(&to_u32(count).to_le_bytes());
        if self.places.is_empty() {
            (0..to_u32(count)).for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
        } else {
            self.places.iter().for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
        }
        ChunkData { front: out, records: self.share(0, to_u32(self.bytes().len())) }
    }

    /// Takes a chunk back into memory. `None` when it is not what [`Self::chunk`] wrote for this segment.
    pub(super) fn warm(&mut self, chunk: &Bytes) -> Option<()> {
        let (count, rest) = chunk.split_first_chunk::<4>()?;
        let count = to_usize(u32::from_le_bytes(*count));
        let (places, records) = rest.split_at_checked(count.checked_mul(4)?)?;
        let places = read_places(places, self.span)?;
        let offsets = read_offsets(records, count)?;
        let missing = self.alive().any(|seq| places.binary_search(&self.place(seq)).is_err());
        if missing {
            return None;
        }
        self.data = Data::Sealed(chunk.slice(chunk.len() - records.len()..));
        self.places = if count == to_usize(self.span) { Vec::new() } else { places };
        self.offsets = offsets;
        self.loading = false;
        Some(())
    }

    /// Finds out which messages are transient, for [`Self::descriptor`].
    pub(super) fn note_transient(&mut self) {
        if self.persistent == self.span {
            return;
        }
        let mut transient = Bits::default();
        for seq in self.alive() {
            if self.message(seq).is_some_and(|message| !message.persistent) {
                transient.set_range(self.place(seq), self.place(seq) + 1);
            }
        }
        self.transient = transient;
    }

    /// What a restart must know without reading the chunk.
    pub(super) fn descriptor(&self) -> Vec<u8> {
        let version = match (self.returns.is_empty(), self.returns.retries().next()) {
            (true, _) => VERSION_2,
            (false, None) => VERSION_3,
            (false, Some(_)) => VERSION_4,
        };
        let mut out = vec![version, u8::from(self.has_due)];
        out.extend_from_slice(&self.span.to_le_bytes());
        out.extend_from_slice(&self.persistent.to_le_bytes());
        out.extend_from_slice(&self.first_enqueued_ms.to_le_bytes());
        self.settled.put(&mut out);
        self.transient.put(&mut out);
        self.lengths.put(&mut out);
        if version >= VERSION_3 {
            self.returns.put(version == VERSION_4, &mut out);
        }
        out
    }

    /// A segment as the cold store describes it; transient messages in it ended with the last run.
    pub(super) fn restore(first: u64, descriptor: &[u8]) -> Option<Self> {
        let (head, mut rest) = descriptor.split_first_chunk::<2>()?;
        let [version @ VERSION_1..=VERSION_4, has_due] = *head else { return None };
        let span = u32::from_le_bytes(take(&mut rest)?);
        first.checked_add(u64::from(span))?;
        let persistent = u32::from_le_bytes(take(&mut rest)?);
        let first_enqueued_ms = u64::from_le_bytes(take(&mut rest)?);
        let mut settled = Bits::take(&mut rest)?;
        let transient = Bits::take(&mut rest)?;
        let lengths = if version == VERSION_1 { Lengths::Unknown } else { Lengths::take(&mut rest, span)? };
        let mut returns = if version < VERSION_3 {
            Returns::default()
        } else {
            Returns::take(&mut rest, span, version == VERSION_4)?
        };
        settled.add_all(&transient);
        returns.retain(|place| !settled.get(place));
        Some(Self {
            span,
            alive: span - settled.count(span),
            stored: Stored::Yes,
            has_due: has_due != 0,
            first_enqueued_ms,
            persistent,
            settled,
            transient,
            lengths,
            returns,
            data: Data::Cold,
            ..Self::open(first)
        })
    }
}

/// The records of a chunk, by their place (number less that of the chunk). `None` when it is damaged.
#[must_use]
pub fn records_in_chunk(chunk: &Bytes) -> Option<Vec<(u32, Bytes)>> {
    let (count, rest) = chunk.split_first_chunk::<4>()?;
    let count = to_usize(u32::from_le_bytes(*count));
    let (places, records) = rest.split_at_checked(count.checked_mul(4)?)?;
    let places = read_places(places, u32::MAX)?;
    let mut ends = read_offsets(records, count)?;
    ends.push(to_u32(records.len()));
    let base = chunk.len() - records.len();
    let runs = ends.windows(2).filter_map(|run| match run {
        [from, to] => Some(chunk.slice(base + to_usize(*from)..base + to_usize(*to))),
        _ => None,
    });
    Some(places.into_iter().zip(runs).collect())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*value)
}

fn read_places(bytes: &[u8], span: u32) -> Option<Vec<u32>> {
    let places: Vec<u32> =
        bytes.chunks_exact(4).filter_map(|place| place.try_into().ok().map(u32::from_le_bytes)).collect();
    let ascending = places.is_sorted_by(|one, other| one < other);
    (ascending && places.last().is_none_or(|last| *last < span)).then_some(places)
}

fn read_offsets(records: &[u8], count: usize) -> Option<Vec<u32>> {
    let mut offsets = Vec::with_capacity(count);
    let mut at = 0;
    for _ in 0..count {
        let (_, length) = batch::read(records.get(at..)?)?;
        offsets.push(u32::try_from(at).ok()?);
        at += length;
    }
    (at == records.len()).then_some(offsets)
}
