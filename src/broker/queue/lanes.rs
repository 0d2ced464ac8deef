//! Lanes: the messages of one priority each. A queue without priorities has one lane, and looks for no other.
//!
//! Where a queue has priorities, the highest eight bits of a message's number are the priority, inverted: numbers ascend
//! in the order of delivery, and whatever is kept by number (chunks, due times, what came back) is in that order too.
//! Lanes exist for priorities that were used, so that the others cost nothing.

use std::collections::VecDeque;

use super::segment::{Segment, Stored};

/// What is left of a number for counting.
const COUNT_BITS: u32 = 56;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// Empty lanes that a queue without messages keeps, so that it need not make them anew.
const KEPT: usize = if cfg!(test) { 2 } else { 16 };

/// Whether two numbers of a queue with several lanes are in the same one.
pub(super) fn is_same_lane(one: u64, other: u64) -> bool {
    one >> COUNT_BITS == other >> COUNT_BITS
}

/// A segment: its lane, and its place in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) lane: usize,
    pub(super) index: usize,
}

/// Messages of one priority, in segments in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) segments: VecDeque<Segment>,
    /// No number is lower.
    pub(super) base: u64,
    /// The number of the next message.
    pub(super) next_seq: u64,
    /// The first number that was never delivered.
    pub(super) cursor: u64,
    /// Numbers below this may have been delivered by an earlier run.
    pub(super) redelivered_below: u64,
    /// At the last checkpoint every number below this was in a chunk or settled.
    pub(super) stored_below: u64,
    /// Of a queue that follows: every number below this is in a chunk, settled or was replayed. Chunks may be ahead of that.
    pub(super) replayed_below: u64,
    /// Bodies below this number are not counted yet, for a limit of bytes: they were there before the limit.
    pub(super) uncounted_below: u64,
}

impl Lane {
    /// The first segment that ends behind a number.
    pub(super) fn position_from(&self, seq: u64) -> usize {
        if self.segments.front().is_none_or(|first| seq < first.end()) {
            return 0;
        }
        self.segments.partition_point(|segment| segment.end() <= seq)
    }

    /// The first message from `from` on that is not settled, with its segment.
    pub(super) fn next_alive(&self, from: u64) -> Option<(usize, u64)> {
        let start = self.position_from(from);
        self.segments.range(start..).enumerate().find_map(|(at, segment)| {
            segment.next_alive(from.max(segment.first)).map(|seq| (start + at, seq))
        })
    }

    /// Keeps an open last segment without messages for the next batch. False when it is none.
    pub(super) fn reuse(&mut self, index: usize) -> bool {
        let is_last = index + 1 == self.segments.len();
        let segment = &mut self.segments[index];
        let keep = is_last && segment.is_open() && segment.stored == Stored::No;
        if keep {
            segment.reuse(self.next_seq);
        }
        keep
    }

    /// Nothing is kept but memory for the next messages.
    pub(super) fn is_idle(&self) -> bool {
        self.segments.iter().all(|segment| segment.alive == 0)
    }

    /// The first number that neither this run nor an earlier one has delivered.
    pub(super) fn delivered_below(&self) -> u64 {
        self.cursor.max(self.redelivered_below)
    }
}

/// The lanes of a queue, the highest priority first.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The only one, or that of the priority 255.
    first: Lane,
    more: Vec<Lane>,
    /// Numbers carry the priority.
    is_split: bool,
    /// Where a new lane begins to count: a lane that was here before may have got so far.
    floor: u64,
    /// No lane goes: where another owner counts on must not depend on which lanes this one has.
    keeps_all: bool,
}

impl Lanes {
    pub(super) fn count(&self) -> usize {
        1 + self.more.len()
    }

    /// Whether all lanes stay.
    pub(super) fn keep_all(&mut self, keeps_all: bool) {
        self.keeps_all = keeps_all;
    }

    pub(super) fn is_split(&self) -> bool {
        self.is_split
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    #[inline]
    pub(super) fn get(&self, lane: usize) -> &Lane {
        match lane.checked_sub(1) {
            None => &self.first,
            Some(at) => &self.more[at],
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, lane: usize) -> &mut Lane {
        match lane.checked_sub(1) {
            None => &mut self.first,
            Some(at) => &mut self.more[at],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.first).chain(&self.more)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        std::iter::once(&mut self.first).chain(&mut self.more)
    }

    /// The lane that has a number, if one does.
    #[inline]
    pub(super) fn of(&self, seq: u64) -> usize {
        if self.more.is_empty() {
            return 0;
        }
        self.more.partition_point(|lane| lane.base <= seq)
    }

    /// Bodies of messages with numbers below this, in the lane of `seq`, are not counted yet.
    #[inline]
    pub(super) fn uncounted_below(&self, seq: u64) -> u64 {
        self.get(self.of(seq)).uncounted_below
    }

    /// The lane for messages of a priority.
    pub(super) fn of_priority(&mut self, priority: u8) -> usize {
        self.make(base_of(priority))
    }

    /// The lane for this number. A new one begins behind what an earlier one of its priority may have given out.
    pub(super) fn make(&mut self, seq: u64) -> usize {
        let base = seq >> COUNT_BITS << COUNT_BITS;
        let lane = self.of(seq);
        if !self.is_split || self.get(lane).base == base {
            return lane;
        }
        let from = base + self.floor;
        let made = Lane {
            base,
            next_seq: from,
            cursor: base,
            stored_below: from,
            replayed_below: from,
            ..Lane::default()
        };
        self.more.insert(lane, made);
        lane + 1
    }

    /// Makes lanes of what is there: from now on numbers carry the priority.
    pub(super) fn split(&mut self) {
        if self.is_split {
            return;
        }
        self.is_split = true;
        let all = std::mem::take(&mut self.first);
        let last = self.make(all.next_seq);
        self.get_mut(last).next_seq = all.next_seq;
        for segment in all.segments {
            let at = self.make(segment.first);
            let lane = self.get_mut(at);
            lane.next_seq = lane.next_seq.max(segment.end());
            lane.segments.push_back(segment);
        }
        for lane in self.iter_mut() {
            lane.cursor = all.cursor.clamp(lane.base, lane.next_seq);
            lane.redelivered_below = all.redelivered_below.min(lane.next_seq);
            lane.stored_below = all.stored_below.min(lane.next_seq);
            lane.replayed_below = all.replayed_below.clamp(lane.base, lane.next_seq);
        }
    }

    /// Whether numbers are in one lane.
    pub(super) fn is_one(&self, first: u64, end: u64) -> bool {
        !self.is_split || first >= end || priority_of(first) == priority_of(end - 1)
    }

    /// No number is given out from now on that counts less than this.
    pub(super) fn raise(&mut self, floor: u64) {
        if !self.is_split {
            self.first.next_seq = self.first.next_seq.max(floor);
            return;
        }
        let floor = floor.min(COUNT_MAX);
        self.floor = self.floor.max(floor);
        for lane in self.iter_mut() {
            lane.next_seq = lane.next_seq.max(lane.base + floor);
        }
    }

    /// The number that the next message of a priority gets.
    #[cfg(test)]
    pub(super) fn next_seq(&self, priority: u8) -> u64 {
        let base = if self.is_split { base_of(priority) } else { 0 };
        let lane = self.get(self.of(base));
        if lane.base == base { lane.next_seq } else { base + self.floor }
    }

    /// Drops lanes of a queue without messages when they are many; gives their segments.
    #[inline]
    pub(super) fn drop_idle(&mut self) -> Vec<Segment> {
        if self.more.len() <= KEPT { Vec::new() } else { self.drop_all_idle() }
    }

    #[cold]
    fn drop_all_idle(&mut self) -> Vec<Segment> {
        let mut dropped = Vec::new();
        if self.keeps_all {
            return dropped;
        }
        for lane in self.more.extract_if(.., |lane| lane.is_idle()) {
            self.floor = self.floor.max((lane.next_seq - lane.base).min(COUNT_MAX));
            dropped.extend(lane.segments);
        }
        self.more.shrink_to_fit();
        dropped
    }
}

/// The lowest number of a priority.
fn base_of(priority: u8) -> u64 {
    u64::from(u8::MAX - priority) << COUNT_BITS
}

/// The priority in a number.
pub(super) fn priority_of(seq: u64) -> u8 {
    !seq.to_be_bytes()[0]
}
