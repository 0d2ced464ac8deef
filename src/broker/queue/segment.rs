//! A segment: messages of consecutive numbers, in memory, in the cold store, or in both.

use bytes::Bytes;

use super::bits::Bits;
use super::lengths::Lengths;
use super::returns::Returns;
use crate::broker::batch;

/// A segment under construction is closed at this size.
pub(super) const SEGMENT_BYTES: usize = 256 * 1024;
/// Batches of this size become a segment as they are, without a copy.
pub(super) const ADOPT_BYTES: usize = 16 * 1024;
/// A segment of so many bytes is one large message, or few: it is kept in memory only for somebody who can take it.
const LARGE_BYTES: usize = 4 * 1024 * 1024;
const SEGMENT_MESSAGES: u32 = 16 * 1024;
/// An emptied segment keeps no more memory than this: there may be 100,000 idle queues.
const KEPT_BYTES: usize = 4 * 1024;
/// Less than this is not worth a copy.
const SPARSE_BYTES: usize = 4 * 1024;

/// Where the records are.
#[derive(Debug)]
pub(super) enum Data {
    /// Still growing.
    Open(Vec<u8>),
    Sealed(Bytes),
    /// In the cold store only.
    Cold,
}

/// What the cold store has of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    No,
    /// Handed to the writer; the bytes stay until it is done.
    Writing,
    Yes,
}

/// Messages `first .. first + span`.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) span: u32,
    /// Messages not settled.
    pub(super) alive: u32,
    pub(super) stored: Stored,
    /// More was settled, or came back, than the stored descriptor says.
    pub(super) dirty: bool,
    /// The chunk was asked for.
    pub(super) loading: bool,
    /// A record with a due time of its own was put in.
    pub(super) has_due: bool,
    pub(super) first_enqueued_ms: u64,
    pub(super) persistent: u32,
    pub(super) settled: Bits,
    /// Known only of what went to the cold store.
    pub(super) transient: Bits,
    /// Known only of what went to the cold store, where the queue counts bytes.
    pub(super) lengths: Lengths,
    /// Of messages that are not settled.
    pub(super) returns: Returns,
    pub(super) data: Data,
    /// Byte offset of each record in the data, one behind the other without gaps; empty when cold.
    pub(super) offsets: Vec<u32>,
    /// The place (number less `first`) of each record; empty when no place is missing.
    pub(super) places: Vec<u32>,
}

impl Segment {
    pub(super) fn open(first: u64) -> Self {
        Self {
            first,
            span: 0,
            alive: 0,
            stored: Stored::No,
            dirty: false,
            loading: false,
            has_due: false,
            first_enqueued_ms: 0,
            persistent: 0,
            settled: Bits::default(),
            transient: Bits::default(),
            lengths: Lengths::default(),
            returns: Returns::default(),
            data: Data::Open(Vec::new()),
            offsets: Vec::new(),
            places: Vec::new(),
        }
    }

    /// A segment of one batch, taking its bytes over.
    pub(super) fn adopt(first: u64, records: Bytes, count: u32) -> Self {
        let mut segment = Self::open(first);
        segment.offsets.reserve_exact(usize::try_from(count).unwrap_or(0));
        segment.index(&records, 0);
        segment.data = Data::Sealed(records);
        segment
    }

    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.span)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.data, Data::Open(_))
    }

    pub(super) fn is_hot(&self) -> bool {
        !matches!(self.data, Data::Cold)
    }

    pub(super) fn is_large(&self) -> bool {
        self.bytes().len() >= LARGE_BYTES
    }

    pub(super) fn takes(&self, length: usize) -> bool {
        match &self.data {
            Data::Open(bytes) => {
                bytes.is_empty() || bytes.len() + length <= SEGMENT_BYTES && self.span < SEGMENT_MESSAGES
            }
            Data::Sealed(_) | Data::Cold => false,
        }
    }

    /// Copies a batch to the end. Only for an open segment.
    pub(super) fn append(&mut self, records: &[u8]) {
        let Data::Open(bytes) = &mut self.data else { return };
        let base = bytes.len();
        bytes.extend_from_slice(records);
        self.index(records, base);
    }

    fn index(&mut self, records: &[u8], base: usize) {
        let mut at = 0;
        while let Some(record) = records.get(at..).and_then(batch::skim) {
            if self.span == 0 {
                self.first_enqueued_ms = record.enqueued_ms;
            }
            self.persistent += u32::from(record.persistent);
            self.has_due |= record.has_due;
            self.offsets.push(to_u32(base + at));
            self.span += 1;
            self.alive += 1;
            at += record.length;
        }
    }

    /// Ends its growth.
    pub(super) fn seal(&mut self) {
        if let Data::Open(bytes) = &mut self.data {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            self.data = Data::Sealed(bytes.into());
            if self.is_sparse() {
                self.compact();
            }
        }
    }

    /// Empties an open segment whose messages are all settled, keeping a little memory for the next ones.
    pub(super) fn reuse(&mut self, first: u64) {
        let Data::Open(bytes) = &mut self.data else { return };
        let mut bytes = std::mem::take(bytes);
        let mut offsets = std::mem::take(&mut self.offsets);
        bytes.clear();
        offsets.clear();
        bytes.shrink_to(KEPT_BYTES);
        offsets.shrink_to(KEPT_BYTES / 16);
        *self = Self { data: Data::Open(bytes), offsets, ..Self::open(first) };
    }

    /// Settles `from .. to` (message numbers, cut to this segment); gives how many were not settled before.
    pub(super) fn settle(&mut self, from: u64, to: u64) -> u32 {
        let (from, to) = (self.place(from), self.place(to));
        let fresh = self.settled.set_range(from, to);
        self.returns.forget(from, to);
        self.alive -= fresh;
        self.dirty |= fresh > 0;
        fresh
    }

    pub(super) fn is_settled(&self, seq: u64) -> bool {
        self.settled.get(self.place(seq))
    }

    /// How often a message came back.
    #[inline]
    pub(super) fn returns(&self, seq: u64) -> u32 {
        if self.returns.is_empty() { 0 } else { self.returns.get(self.place(seq)) }
    }

    /// Those of `from .. to` that are not settled have come back so often, or more.
    pub(super) fn note_returns(&mut self, from: u64, to: u64, count: u32) {
        let end = self.place(to);
        let mut at = self.place(from);
        while let Some(place) = self.settled.next_clear(at, end) {
            self.dirty |= self.returns.raise(place, count);
            at = place + 1;
        }
    }

    /// A message that is not settled waits until then, or longer.
    pub(super) fn note_retry(&mut self, seq: u64, due_ms: u64) {
        if !self.is_settled(seq) {
            self.dirty |= self.returns.wait(self.place(seq), due_ms);
        }
    }

    /// Until when messages that are not settled were last told to wait; that may be over.
    pub(super) fn retries(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.returns.retries().map(|(place, due_ms)| (self.first + u64::from(place), due_ms))
    }

    /// The first message from `from` on that is not settled.
    pub(super) fn next_alive(&self, from: u64) -> Option<u64> {
        self.settled.next_clear(self.place(from), self.span).map(|at| self.first + u64::from(at))
    }

    /// All messages that are not settled.
    pub(super) fn alive(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(self.next_alive(self.first), |seq| self.next_alive(seq + 1))
    }

    /// Where a record is in [`Self::bytes`], and its length.
    pub(super) fn locate(&self, seq: u64) -> Option<(u32, u32)> {
        let place = u32::try_from(seq.checked_sub(self.first)?).ok()?;
        let at = if self.places.is_empty() {
            usize::try_from(place).ok()?
        } else {
            self.places.binary_search(&place).ok()?
        };
        let offset = *self.offsets.get(at)?;
        let end = self.offsets.get(at + 1).copied().unwrap_or_else(|| to_u32(self.bytes().len()));
        Some((offset, end - offset))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Open(bytes) => bytes,
            Data::Sealed(bytes) => bytes,
            Data::Cold => &[],
        }
    }

    /// The bytes `from .. to` to be kept by someone else: shared when sealed, copied when still growing.
    pub(super) fn share(&self, from: u32, to: u32) -> Bytes {
        let (from, to) = (to_usize(from), to_usize(to));
        match &self.data {
            Data::Open(bytes) => bytes.get(from..to).map(Bytes::copy_from_slice).unwrap_or_default(),
            Data::Sealed(bytes) => bytes.slice(from.min(bytes.len())..to.min(bytes.len())),
            Data::Cold => Bytes::new(),
        }
    }

    /// A record in memory, to be kept by someone else.
    pub(super) fn share_record(&self, seq: u64) -> Option<Bytes> {
        let (offset, length) = self.locate(seq)?;
        Some(self.share(offset, offset + length))
    }

    /// A message in memory.
    pub(super) fn message(&self, seq: u64) -> Option<batch::Message<'_>> {
        self.record(seq).and_then(batch::read).map(|(message, _)| message)
    }

    pub(super) fn record(&self, seq: u64) -> Option<&[u8]> {
        let (offset, length) = self.locate(seq)?;
        self.bytes().get(to_usize(offset)..to_usize(offset + length))
    }

    /// The length of a message's body: from its record, or as noted by [`Self::measure`]; else 0.
    pub(super) fn body_length(&self, seq: u64) -> u64 {
        let length = self.record(seq).map_or_else(|| self.lengths.get(self.place(seq)), batch::body_length);
        u64::from(length)
    }

    /// The bytes of the bodies that are not settled.
    pub(super) fn body_bytes(&self) -> u64 {
        self.alive().map(|seq| self.body_length(seq)).sum()
    }

    /// Whether body lengths can be told without reading the chunk.
    pub(super) fn is_measured(&self) -> bool {
        self.is_hot() || self.has_lengths()
    }

    /// Whether body lengths are noted.
    pub(super) fn has_lengths(&self) -> bool {
        self.lengths != Lengths::Unknown
    }

    /// Notes the body lengths, for the time when the bytes are in the cold store only. For a segment in memory that
    /// grows no more.
    pub(super) fn measure(&mut self) {
        if self.is_hot() && !self.has_lengths() {
            let lengths =
                self.alive().map(|seq| (self.place(seq), self.record(seq).map_or(0, batch::body_length)));
            self.lengths = Lengths::of(lengths.collect(), self.span);
        }
    }

    /// What it costs in memory.
    pub(super) fn hot_bytes(&self) -> usize {
        let data = match &self.data {
            Data::Open(bytes) => bytes.capacity(),
            Data::Sealed(bytes) => bytes.len(),
            Data::Cold => 0,
        };
        let index = (self.offsets.capacity() + self.places.capacity()) * 4;
        let sets = self.settled.bytes() + self.transient.bytes() + self.lengths.bytes();
        data + index + sets + self.returns.bytes()
    }

    /// Whether a restart must bring something of it back.
    pub(super) fn has_persistent(&self) -> bool {
        self.persistent > 0
    }

    /// Drops the bytes; the cold store has them.
    pub(super) fn cool(&mut self) {
        debug_assert_eq!(self.stored, Stored::Yes, "only stored bytes may be dropped");
        let oldest = self.next_alive(self.first).and_then(|seq| self.message(seq));
        self.first_enqueued_ms = oldest.map_or(self.first_enqueued_ms, |message| message.enqueued_ms);
        self.data = Data::Cold;
        self.offsets = Vec::new();
        self.places = Vec::new();
    }

    /// Whether settled messages hold most of the memory, so that [`Self::compact`] is worth its copy.
    pub(super) fn is_sparse(&self) -> bool {
        self.alive > 0
            && to_usize(self.alive) <= self.offsets.len() / 4
            && matches!(&self.data, Data::Sealed(bytes) if bytes.len() > SPARSE_BYTES)
    }

    /// Keeps only the bytes of what is not settled: one old message must not pin a whole segment.
    pub(super) fn compact(&mut self) {
        let count = to_usize(self.alive);
        let mut kept = Vec::new();
        let mut offsets = Vec::with_capacity(count);
        let mut places = Vec::with_capacity(count);
        for seq in self.alive() {
            offsets.push(to_u32(kept.len()));
            places.push(self.place(seq));
            kept.extend_from_slice(self.record(seq).unwrap_or_default());
        }
        kept.shrink_to_fit();
        self.data = Data::Sealed(kept.into());
        self.offsets = offsets;
        self.places = places;
    }

    /// The due times and numbers of what is not settled and has a due time of its own.
    pub(super) fn dues(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let alive = self.has_due.then(|| self.alive()).into_iter().flatten();
        alive.filter_map(|seq| Some((self.message(seq)?.due_ms?, seq)))
    }

    pub(super) fn place(&self, seq: u64) -> u32 {
        u32::try_from(seq.saturating_sub(self.first)).unwrap_or(u32::MAX).min(self.span)
    }
}

/// Segments are far smaller than 4 GiB: so are batches.
pub(super) fn to_u32(offset: usize) -> u32 {
    debug_assert!(u32::try_from(offset).is_ok(), "an offset in a segment fits 32 bits");
    u32::try_from(offset).unwrap_or(u32::MAX)
}

pub(super) fn to_usize(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
