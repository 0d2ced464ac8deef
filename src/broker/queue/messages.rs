//! The messages of one queue: segments in the order of their numbers.

use std::collections::VecDeque;

use bytes::Bytes;

use super::SeqRange;
use super::segment::{ADOPT_BYTES, Segment, Stored};
use crate::broker::batch::Batch;

/// Batches of this size that leave at once are not copied; smaller ones are cheaper to copy than to keep apart.
const PASS_BYTES: usize = 2 * 1024;

/// All messages of a queue that are not settled, by number.
#[derive(Debug, Default)]
pub(super) struct Messages {
    segments: VecDeque<Segment>,
    /// The number of the next message.
    pub(super) next_seq: u64,
    /// Not settled.
    pub(super) alive: u64,
    hot_bytes: usize,
    /// Chunks of the cold store whose messages are all settled.
    pub(super) forgotten: Vec<u64>,
    /// Settled since the last call, where persistent messages are among them.
    pub(super) settled: Vec<SeqRange>,
}

impl Messages {
    /// Takes a batch in; `passing` when its messages are likely to leave at once, so that a copy is wasted.
    pub(super) fn push(&mut self, batch: &Batch, passing: bool) -> u64 {
        let first = self.next_seq;
        let length = batch.records.len();
        self.next_seq += u64::from(batch.count);
        self.alive += u64::from(batch.count);
        if length >= ADOPT_BYTES && !batch.is_loose || passing && length >= PASS_BYTES {
            self.seal_last();
            self.add(Segment::adopt(first, batch.records.clone(), batch.count));
        } else {
            if !self.segments.back().is_some_and(|last| last.takes(length) && last.end() == first) {
                self.seal_last();
                self.segments.push_back(Segment::open(first));
            }
            self.change(self.segments.len() - 1, |segment| segment.append(&batch.records));
        }
        let end = self.segments.back().map(Segment::end);
        debug_assert_eq!(end, Some(self.next_seq), "a batch has as many records as it says");
        first
    }

    /// Takes logged messages in at their numbers, which no segment has and need not be the highest so far. Segments
    /// in the middle stay open until [`Self::seal_all`].
    pub(super) fn insert(&mut self, first: u64, batch: &Batch) {
        self.drop_empty_last();
        let behind = self.position_from(first);
        let length = batch.records.len();
        let before = behind.checked_sub(1).filter(|at| self.segments[*at].is_open());
        let at = match before {
            Some(at) if self.segments[at].end() == first && self.segments[at].takes(length) => at,
            Some(_) | None => {
                if let Some(at) = before {
                    self.change(at, Segment::seal);
                }
                self.segments.insert(behind, Segment::open(first));
                behind
            }
        };
        // The log's buffer is large: a copy keeps only the messages.
        self.change(at, |segment| segment.append(&batch.records));
        self.alive += u64::from(batch.count);
        self.next_seq = self.next_seq.max(first + u64::from(batch.count));
    }

    /// Puts a segment of an earlier run back; segments must come in order.
    pub(super) fn restore(&mut self, segment: Segment) {
        self.alive += u64::from(segment.alive);
        self.next_seq = self.next_seq.max(segment.end());
        self.add(segment);
    }

    /// Ends what [`Self::restore`] and [`Self::insert`] began: segments without messages go, none grows.
    pub(super) fn seal_all(&mut self) {
        self.drop_empty_last();
        for at in 0..self.segments.len() {
            self.change(at, Segment::seal);
        }
        let dead = self.segments.iter().filter(|segment| segment.alive == 0);
        self.forgotten
            .extend(dead.filter(|segment| segment.stored != Stored::No).map(|segment| segment.first));
        self.segments.retain(|segment| segment.alive > 0);
        self.hot_bytes = self.segments.iter().map(Segment::hot_bytes).sum();
        self.settled.clear();
    }

    fn add(&mut self, segment: Segment) {
        self.hot_bytes += segment.hot_bytes();
        self.segments.push_back(segment);
    }

    pub(super) fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }

    /// Behind the last segment.
    pub(super) fn end(&self) -> u64 {
        self.segments.back().map_or(0, Segment::end)
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Segment> {
        self.segments.get(at)
    }

    /// Changes one segment and keeps the memory account.
    pub(super) fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Segment) -> T) -> T {
        let segment = &mut self.segments[at];
        let before = segment.hot_bytes();
        let result = change(segment);
        self.hot_bytes = self.hot_bytes + segment.hot_bytes() - before;
        result
    }

    /// The segment that holds a number, if one does.
    pub(super) fn position(&self, seq: u64) -> Option<usize> {
        let at = self.position_from(seq);
        self.segments.get(at).filter(|segment| segment.first <= seq).map(|_| at)
    }

    /// The first segment that ends behind a number.
    pub(super) fn position_from(&self, seq: u64) -> usize {
        if self.segments.front().is_none_or(|first| seq < first.end()) {
            return 0;
        }
        self.segments.partition_point(|segment| segment.end() <= seq)
    }

    /// The segment with this first number.
    pub(super) fn position_of_first(&self, first: u64) -> Option<usize> {
        self.position(first).filter(|at| self.segments[*at].first == first)
    }

    pub(super) fn is_alive(&self, seq: u64) -> bool {
        self.position(seq).is_some_and(|at| !self.segments[at].is_settled(seq))
    }

    /// The first message from `from` on that is not settled, with its segment.
    pub(super) fn next_alive(&self, from: u64) -> Option<(usize, u64)> {
        let start = self.position_from(from);
        self.segments.range(start..).enumerate().find_map(|(at, segment)| {
            segment.next_alive(from.max(segment.first)).map(|seq| (start + at, seq))
        })
    }

    /// Settles `from .. to`; gives how many were not settled before.
    pub(super) fn settle(&mut self, from: u64, to: u64) -> u64 {
        let start = self.position_from(from);
        let (mut at, mut count) = (start, 0);
        // Only the first and the last of these can keep messages: the empty ones are side by side.
        let (mut dead, mut dead_end) = (start, start);
        while self.segments.get(at).is_some_and(|segment| segment.first < to) {
            count += self.settle_in(at, from, to);
            if self.segments[at].alive == 0 && !self.reuse(at) {
                dead = if dead == dead_end { at } else { dead };
                dead_end = at + 1;
            }
            at += 1;
        }
        if dead < dead_end {
            self.remove(dead..dead_end);
        }
        self.alive -= count;
        count
    }

    /// How often a message came back.
    pub(super) fn returns(&self, seq: u64) -> u32 {
        self.position(seq).map_or(0, |at| self.segments[at].returns(seq))
    }

    /// Those of `from .. to` that are not settled have come back so often, or more.
    pub(super) fn note_returns(&mut self, from: u64, to: u64, count: u32) {
        let mut at = self.position_from(from);
        while self.segments.get(at).is_some_and(|segment| segment.first < to) {
            self.change(at, |segment| segment.note_returns(from, to, count));
            at += 1;
        }
    }

    /// A message that is not settled waits until then, or longer.
    pub(super) fn note_retry(&mut self, seq: u64, due_ms: u64) {
        if let Some(at) = self.position(seq) {
            self.change(at, |segment| segment.note_retry(seq, due_ms));
        }
    }

    fn settle_in(&mut self, at: usize, from: u64, to: u64) -> u64 {
        let fresh = self.change(at, |segment| segment.settle(from, to));
        let segment = &self.segments[at];
        if fresh > 0 && segment.has_persistent() {
            let (from, to) = (from.max(segment.first), to.min(segment.end()));
            match self.settled.last_mut() {
                Some((first, length)) if *first + *length == from => *length += to - from,
                Some(_) | None => self.settled.push((from, to - from)),
            }
        }
        if self.segments[at].is_sparse() {
            self.change(at, Segment::compact);
        }
        u64::from(fresh)
    }

    /// An open last segment without messages is kept for the next batch.
    fn reuse(&mut self, at: usize) -> bool {
        let segment = &self.segments[at];
        let keep = at + 1 == self.segments.len() && segment.is_open() && segment.stored == Stored::No;
        if keep {
            let next_seq = self.next_seq;
            self.change(at, |segment| segment.reuse(next_seq));
        }
        keep
    }

    fn remove(&mut self, dead: std::ops::Range<usize>) {
        for segment in self.segments.drain(dead) {
            self.hot_bytes -= segment.hot_bytes();
            if segment.stored != Stored::No {
                self.forgotten.push(segment.first);
            }
        }
    }

    /// Ends the growth of the last segment.
    pub(super) fn seal_last(&mut self) {
        self.drop_empty_last();
        if let Some(at) = self.segments.len().checked_sub(1) {
            self.change(at, Segment::seal);
        }
    }

    fn drop_empty_last(&mut self) {
        if self.segments.back().is_some_and(|last| last.is_open() && last.span == 0) {
            self.remove(self.segments.len() - 1..self.segments.len());
        }
    }

    /// A chunk came from the cold store. `None` when it does not fit its segment.
    pub(super) fn warm(&mut self, first: u64, chunk: &Bytes) -> Option<usize> {
        let at = self.position_of_first(first)?;
        self.change(at, |segment| if segment.is_hot() { Some(()) } else { segment.warm(chunk) })?;
        Some(at)
    }
}
