//! The messages of one queue: segments in the order of their numbers, in lanes.

use bytes::Bytes;

use super::SeqRange;
use super::lanes::{At, Lane, Lanes};
use super::segment::{ADOPT_BYTES, Segment, Stored};
use crate::broker::batch::Batch;

/// Batches of this size that leave at once are not copied; smaller ones are cheaper to copy than to keep apart.
const PASS_BYTES: usize = 2 * 1024;

/// All messages of a queue that are not settled, by number.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) lanes: Lanes,
    /// Not settled.
    pub(super) alive: u64,
    hot_bytes: usize,
    /// Chunks of the cold store whose messages are all settled.
    pub(super) forgotten: Vec<u64>,
    /// Settled since the last call, where persistent messages are among them.
    pub(super) settled: Vec<SeqRange>,
}

impl Messages {
    /// Takes a batch into a lane; `passing` when its messages are likely to leave at once, so that a copy is wasted.
    pub(super) fn push(&mut self, lane: usize, batch: &Batch, passing: bool) -> u64 {
        let it = self.lanes.get_mut(lane);
        let first = it.next_seq;
        it.next_seq += u64::from(batch.count);
        self.put_last(lane, first, batch, passing);
        first
    }

    /// Takes a batch in at numbers that were set aside for it before.
    pub(super) fn fill(&mut self, first: u64, batch: &Batch, passing: bool) {
        let lane = self.lanes.make(first);
        if self.lane(lane).segments.back().is_some_and(|last| last.end() > first) {
            self.drop_empty_last(lane);
        }
        let index = self.lane(lane).position_from(first);
        if index == self.lane(lane).segments.len() {
            return self.put_last(lane, first, batch, passing);
        }
        // Others came in behind it meanwhile: it gets a segment of its own in front of theirs.
        let records =
            if batch.is_loose { Bytes::copy_from_slice(&batch.records) } else { batch.records.clone() };
        let segment = Segment::adopt(first, records, batch.count);
        self.alive += u64::from(batch.count);
        self.hot_bytes += segment.hot_bytes();
        self.lanes.get_mut(lane).segments.insert(index, segment);
    }

    #[inline]
    fn put_last(&mut self, lane: usize, first: u64, batch: &Batch, passing: bool) {
        let length = batch.records.len();
        self.alive += u64::from(batch.count);
        if length >= ADOPT_BYTES && !batch.is_loose || passing && length >= PASS_BYTES {
            self.seal_last(lane);
            self.add(lane, Segment::adopt(first, batch.records.clone(), batch.count));
        } else {
            let last = self.lane(lane).segments.back();
            if !last.is_some_and(|last| last.takes(length) && last.end() == first) {
                self.seal_last(lane);
                self.lanes.get_mut(lane).segments.push_back(Segment::open(first));
            }
            let index = self.lane(lane).segments.len() - 1;
            self.change(At { lane, index }, |segment| segment.append(&batch.records));
        }
        let end = self.lane(lane).segments.back().map(Segment::end);
        let expected = first + u64::from(batch.count);
        debug_assert_eq!(end, Some(expected), "a batch has as many records as it says");
    }

    /// Takes logged messages in at their numbers, which no segment has and need not be the highest so far. Segments
    /// in the middle stay open until [`Self::seal_all`].
    pub(super) fn insert(&mut self, first: u64, batch: &Batch) {
        let lane = self.lanes.make(first);
        self.drop_empty_last(lane);
        let segments = &self.lane(lane).segments;
        let behind = self.lane(lane).position_from(first);
        let length = batch.records.len();
        let before = behind.checked_sub(1).filter(|at| segments[*at].is_open());
        let index = match before {
            Some(at) if segments[at].end() == first && segments[at].takes(length) => at,
            Some(_) | None => {
                if let Some(index) = before {
                    self.change(At { lane, index }, Segment::seal);
                }
                self.lanes.get_mut(lane).segments.insert(behind, Segment::open(first));
                behind
            }
        };
        // The log's buffer is large: a copy keeps only the messages.
        self.change(At { lane, index }, |segment| segment.append(&batch.records));
        self.alive += u64::from(batch.count);
        let lane = self.lanes.get_mut(lane);
        lane.next_seq = lane.next_seq.max(first + u64::from(batch.count));
    }

    /// Puts a segment of an earlier run back; segments must come in order.
    pub(super) fn restore(&mut self, segment: Segment) {
        self.alive += u64::from(segment.alive);
        let at = self.lanes.make(segment.first);
        let lane = self.lanes.get_mut(at);
        lane.next_seq = lane.next_seq.max(segment.end());
        self.add(at, segment);
    }

    /// Ends what [`Self::restore`] and [`Self::insert`] began: segments without messages go, none grows.
    pub(super) fn seal_all(&mut self) {
        for at in self.positions() {
            self.change(at, Segment::seal);
        }
        self.drop_empty();
        self.settled.clear();
    }

    /// Lets go of segments without messages.
    pub(super) fn drop_empty(&mut self) {
        for lane in self.lanes.iter_mut() {
            let dead = lane.segments.iter().filter(|segment| segment.alive == 0);
            self.forgotten
                .extend(dead.filter(|segment| segment.stored != Stored::No).map(|segment| segment.first));
            lane.segments.retain(|segment| segment.alive > 0);
        }
        self.hot_bytes = self.segments().map(Segment::hot_bytes).sum();
    }

    fn add(&mut self, lane: usize, segment: Segment) {
        self.hot_bytes += segment.hot_bytes();
        self.lanes.get_mut(lane).segments.push_back(segment);
    }

    #[inline]
    fn lane(&self, lane: usize) -> &Lane {
        self.lanes.get(lane)
    }

    pub(super) fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }

    /// Behind the last segment.
    pub(super) fn end(&self) -> u64 {
        self.segments().last().map_or(0, Segment::end)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.lanes.iter().flat_map(|lane| &lane.segments)
    }

    /// All segments, in order.
    pub(super) fn positions(&self) -> Vec<At> {
        let lanes = self.lanes.iter().enumerate();
        lanes.flat_map(|(lane, it)| (0..it.segments.len()).map(move |index| At { lane, index })).collect()
    }

    #[inline]
    pub(super) fn get(&self, at: At) -> Option<&Segment> {
        self.lane(at.lane).segments.get(at.index)
    }

    /// Changes one segment and keeps the memory account.
    pub(super) fn change<T>(&mut self, at: At, change: impl FnOnce(&mut Segment) -> T) -> T {
        let segment = &mut self.lanes.get_mut(at.lane).segments[at.index];
        let before = segment.hot_bytes();
        let result = change(segment);
        self.hot_bytes = self.hot_bytes + segment.hot_bytes() - before;
        result
    }

    /// The segment that holds a number, if one does.
    #[inline]
    pub(super) fn position(&self, seq: u64) -> Option<At> {
        let at = self.position_from(seq);
        self.get(at).filter(|segment| segment.first <= seq).map(|_| at)
    }

    /// The first segment of a number's lane that ends behind it; it need not exist.
    #[inline]
    fn position_from(&self, seq: u64) -> At {
        let lane = self.lanes.of(seq);
        At { lane, index: self.lane(lane).position_from(seq) }
    }

    /// The segment with this first number.
    pub(super) fn position_of_first(&self, first: u64) -> Option<At> {
        let at = self.position_from(first);
        self.get(at).filter(|segment| segment.first == first).map(|_| at)
    }

    pub(super) fn is_alive(&self, seq: u64) -> bool {
        let segment = self.position(seq).and_then(|at| self.get(at));
        segment.is_some_and(|segment| !segment.is_settled(seq))
    }

    /// The first number in a number's lane that was never delivered.
    #[inline]
    pub(super) fn cursor(&self, seq: u64) -> u64 {
        self.lane(self.lanes.of(seq)).cursor
    }

    /// The first message of a lane that was never delivered, with its segment.
    pub(super) fn next_ahead(&self, lane: usize) -> Option<(At, u64)> {
        let it = self.lane(lane);
        if it.cursor >= it.next_seq {
            return None;
        }
        it.next_alive(it.cursor).map(|(index, seq)| (At { lane, index }, seq))
    }

    /// Settles `from .. to`, in one lane; gives how many were not settled before.
    pub(super) fn settle(&mut self, from: u64, to: u64) -> u64 {
        let lane = self.lanes.of(from);
        let it = self.lanes.get_mut(lane);
        let start = it.position_from(from);
        let (mut index, mut count) = (start, 0);
        // Only the first and the last of these can keep messages: the empty ones are side by side.
        let (mut dead, mut dead_end) = (start, start);
        while let Some(segment) = it.segments.get_mut(index).filter(|segment| segment.first < to) {
            let before = segment.hot_bytes();
            count += settle_in(segment, &mut self.settled, from, to);
            let is_dead = segment.alive == 0;
            if is_dead && !it.reuse(index) {
                dead = if dead == dead_end { index } else { dead };
                dead_end = index + 1;
            }
            self.hot_bytes = self.hot_bytes + it.segments[index].hot_bytes() - before;
            index += 1;
        }
        if dead < dead_end {
            self.remove(lane, dead..dead_end);
        }
        self.alive -= count;
        count
    }

    /// How often a message came back.
    pub(super) fn returns(&self, seq: u64) -> u32 {
        self.position(seq).and_then(|at| self.get(at)).map_or(0, |segment| segment.returns(seq))
    }

    /// Those of `from .. to`, in one lane, that are not settled have come back so often, or more.
    pub(super) fn note_returns(&mut self, from: u64, to: u64, count: u32) {
        let mut at = self.position_from(from);
        while self.get(at).is_some_and(|segment| segment.first < to) {
            self.change(at, |segment| segment.note_returns(from, to, count));
            at.index += 1;
        }
    }

    /// A message that is not settled waits until then, or longer.
    pub(super) fn note_retry(&mut self, seq: u64, due_ms: u64) {
        if let Some(at) = self.position(seq) {
            self.change(at, |segment| segment.note_retry(seq, due_ms));
        }
    }

    fn remove(&mut self, lane: usize, dead: std::ops::Range<usize>) {
        for segment in self.lanes.get_mut(lane).segments.drain(dead) {
            self.hot_bytes -= segment.hot_bytes();
            if segment.stored != Stored::No {
                self.forgotten.push(segment.first);
            }
        }
    }

    /// Ends the growth of the last segment of each lane.
    pub(super) fn seal_lasts(&mut self) {
        (0..self.lanes.count()).for_each(|lane| self.seal_last(lane));
    }

    /// Ends the growth of a lane's last segment.
    pub(super) fn seal_last(&mut self, lane: usize) {
        self.drop_empty_last(lane);
        if let Some(index) = self.lane(lane).segments.len().checked_sub(1) {
            self.change(At { lane, index }, Segment::seal);
        }
    }

    fn drop_empty_last(&mut self, lane: usize) {
        let segments = &self.lane(lane).segments;
        if segments.back().is_some_and(|last| last.is_open() && last.span == 0) {
            self.remove(lane, segments.len() - 1..segments.len());
        }
    }

    /// Lets go of lanes that are not needed, after the last message has left.
    #[inline]
    pub(super) fn drop_idle_lanes(&mut self) {
        if self.alive == 0 {
            self.hot_bytes -= self.lanes.drop_idle().iter().map(Segment::hot_bytes).sum::<usize>();
        }
    }

    /// A chunk came from the cold store. `None` when it does not fit its segment.
    pub(super) fn warm(&mut self, first: u64, chunk: &Bytes) -> Option<At> {
        let at = self.position_of_first(first)?;
        self.change(at, |segment| if segment.is_hot() { Some(()) } else { segment.warm(chunk) })?;
        Some(at)
    }
}

/// Settles `from .. to` in one segment, and notes what the log must know.
fn settle_in(segment: &mut Segment, settled: &mut Vec<SeqRange>, from: u64, to: u64) -> u64 {
    let fresh = segment.settle(from, to);
    if fresh > 0 && segment.has_persistent() {
        let (from, to) = (from.max(segment.first), to.min(segment.end()));
        match settled.last_mut() {
            Some((first, length)) if *first + *length == from => *length += to - from,
            Some(_) | None => settled.push((from, to - from)),
        }
    }
    if segment.is_sparse() {
        segment.compact();
    }
    u64::from(fresh)
}
