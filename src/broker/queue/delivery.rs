//! Handing ready messages to consumers and gets.

use std::collections::BTreeSet;

use super::consumers::Source;
use super::dues::Dues;
use super::effect::{Delivery, Effect, Entry, GetReply};
use super::lanes::At;
use super::order::in_queue_order;
use super::segment::Segment;
use super::{Queue, Stored};
use crate::broker::batch;

/// What left a segment in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    count: u64,
    /// The bytes of the segment that are needed: from the first record to the end of the last.
    from: u32,
    to: u32,
}

impl Moved {
    fn note(&mut self, offset: u32, length: u32) {
        self.from = if self.count == 0 { offset } else { self.from.min(offset) };
        self.to = self.to.max(offset + length);
        self.count += 1;
    }
}

/// Messages of one segment that were never delivered.
struct Ahead<'q> {
    segment: &'q Segment,
    next: Option<u64>,
    /// Where the segment ends, or a message that left out of turn.
    end: u64,
    cursor: u64,
    redelivered_below: u64,
    due: &'q mut Dues,
    moved: Moved,
}

impl Source for Ahead<'_> {
    #[inline]
    fn is_empty(&self) -> bool {
        self.next.is_none_or(|seq| seq >= self.end)
    }

    #[inline]
    fn take(&mut self) -> Option<(Entry, u32)> {
        let seq = self.next?;
        let (offset, length) = self.segment.locate(seq)?;
        unwatch(self.segment, seq, self.due);
        self.cursor = seq + 1;
        self.next = self.segment.next_alive(seq + 1);
        self.moved.note(offset, length);
        let returns = told_returns(self.segment, seq);
        Some((Entry { seq, offset, redelivered: seq < self.redelivered_below, returns }, length))
    }
}

/// Messages of one segment that came back.
struct Returned<'q> {
    segment: &'q Segment,
    returned: &'q mut BTreeSet<u64>,
    late: &'q mut BTreeSet<u64>,
    due: &'q mut Dues,
    moved: Moved,
}

impl Source for Returned<'_> {
    fn is_empty(&self) -> bool {
        self.returned.first().is_none_or(|seq| *seq >= self.segment.end())
    }

    fn take(&mut self) -> Option<(Entry, u32)> {
        let seq = *self.returned.first()?;
        let (offset, length) = self.segment.locate(seq)?;
        unwatch(self.segment, seq, self.due);
        self.returned.pop_first();
        self.moved.note(offset, length);
        let returns = told_returns(self.segment, seq);
        let redelivered = !self.late.remove(&seq);
        Some((Entry { seq, offset, redelivered, returns }, length))
    }
}

/// An entry has 16 bits for it.
#[inline]
fn told_returns(segment: &Segment, seq: u64) -> u16 {
    u16::try_from(segment.returns(seq)).unwrap_or(u16::MAX)
}

/// Only ready messages expire.
pub(super) fn unwatch(segment: &Segment, seq: u64, due: &mut Dues) {
    if segment.has_due
        && let Some(due_ms) = segment.message(seq).and_then(|message| message.due_ms)
    {
        due.remove((due_ms, seq));
    }
}

impl Queue {
    /// Assigns ready messages to consumers until either runs out, or a chunk must be read first.
    pub(super) fn pump(&mut self, effects: &mut Vec<Effect>) {
        while self.ready > 0 && self.consumers.next_ready().is_some() {
            let Some((at, seq)) = self.next_ready() else { return };
            if !self.is_hot(at, effects) {
                return;
            }
            self.read_ahead(at, effects);
            if !self.deliver_from(at, seq, effects) {
                return;
            }
        }
    }

    /// The next message to be delivered, with its segment.
    pub(super) fn next_ready(&mut self) -> Option<(At, u64)> {
        let returned = self.returned.first().copied();
        // What came back is older than all others in its lane; those of the lanes in front go first.
        let lanes = &self.messages.lanes;
        let lanes = returned.map_or_else(|| lanes.count(), |seq| lanes.of(seq));
        if let Some(ahead) = (0..lanes).find_map(|lane| self.next_ahead(lane)) {
            return Some(ahead);
        }
        let seq = returned?;
        self.messages.position(seq).map(|at| (at, seq))
    }

    /// The oldest ready message of a lane, with its segment.
    pub(super) fn oldest_of(&mut self, lane: usize) -> Option<(At, u64)> {
        let it = self.messages.lanes.get(lane);
        match self.returned.range(it.base..).next().copied().filter(|seq| *seq < it.cursor) {
            Some(seq) => self.messages.position(seq).map(|at| (at, seq)),
            None => self.next_ahead(lane),
        }
    }

    /// The next message of a lane that was never delivered; moves the cursor over those that left out of turn.
    fn next_ahead(&mut self, lane: usize) -> Option<(At, u64)> {
        loop {
            let (at, seq) = self.messages.next_ahead(lane)?;
            if self.taken.is_empty() || !self.taken.contains(&seq) {
                return Some((at, seq));
            }
            self.messages.lanes.get_mut(lane).cursor = seq + 1;
        }
    }

    /// One round: everything of this segment, from this message on, that consumers can take. False when nothing moved.
    fn deliver_from(&mut self, at: At, seq: u64, effects: &mut Vec<Effect>) -> bool {
        let mut served = std::mem::take(&mut self.served);
        let start = self.messages.lanes.get(at.lane).cursor;
        let Some((first, moved)) = self.assign_from(at, seq, &mut served) else { return false };
        self.ready -= moved.count;
        self.unacked += moved.count;
        if moved.count > 0 {
            self.send(at, moved, (start, &served), effects);
        }
        served.clear();
        self.served = served;
        self.cool_behind_cursor(first);
        moved.count > 0
    }

    /// Assigns what came back, or what was never delivered; gives the segment's first number too.
    fn assign_from(&mut self, at: At, seq: u64, served: &mut Vec<usize>) -> Option<(u64, Moved)> {
        let (segment, lane) = (self.messages.get(at)?, self.messages.lanes.get(at.lane));
        let (first, hint) = (segment.first, u64::from(segment.alive));
        let moved = if seq >= lane.cursor {
            let taken = self.taken.range(seq..).next().copied();
            let mut run = Ahead {
                segment,
                next: Some(seq),
                end: taken.unwrap_or(u64::MAX).min(segment.end()),
                cursor: lane.cursor,
                redelivered_below: lane.redelivered_below,
                due: &mut self.due,
                moved: Moved::default(),
            };
            self.consumers.serve(&mut run, hint, served);
            let (cursor, moved) = (run.cursor, run.moved);
            self.messages.lanes.get_mut(at.lane).cursor = cursor;
            moved
        } else {
            let (returned, late, due) = (&mut self.returned, &mut self.late, &mut self.due);
            let mut run = Returned { segment, returned, late, due, moved: Moved::default() };
            self.consumers.serve(&mut run, hint, served);
            run.moved
        };
        Some((first, moved))
    }

    /// Sends what was assigned; what needs no acknowledgement is done with. `start` was the cursor before.
    fn send(&mut self, at: At, moved: Moved, (start, served): (u64, &[usize]), effects: &mut Vec<Effect>) {
        let Some(segment) = self.messages.get(at) else { return };
        let data = segment.share(moved.from, moved.to);
        // A round moves the cursor, or hands out what came back; never both.
        let cursor = self.messages.lanes.get(at.lane).cursor;
        let all_no_ack = cursor > start && served.iter().all(|slot| self.consumers.is_no_ack(*slot));
        let (before, several) = (effects.len(), served.len() > 1);
        let mut no_ack = Vec::new();
        for slot in served {
            let Some((spec, mut entries)) = self.consumers.take_pending(*slot) else { continue };
            let (id, is_no_ack) = (spec.id, spec.no_ack);
            entries.iter_mut().for_each(|entry| entry.offset -= moved.from);
            if is_no_ack && !all_no_ack {
                no_ack.extend(entries.iter().map(|entry| entry.seq));
            }
            if self.limits.counts_bytes() {
                let lanes = &self.messages.lanes;
                let counted = entries.iter().filter(|entry| entry.seq >= lanes.uncounted_below(entry.seq));
                let records = counted.filter_map(|entry| data.get(usize::try_from(entry.offset).ok()?..));
                self.limits.leave(records.map(|record| u64::from(batch::body_length(record))).sum());
            }
            if !entries.is_empty() {
                self.count_delivered(at, start, &entries, is_no_ack);
                effects.push(Effect::Deliver(Delivery { consumer: id, data: data.clone(), entries }));
            }
        }
        if several && self.consumers.is_crowded() {
            in_queue_order(effects, before);
        }
        if all_no_ack {
            self.unacked -= self.messages.settle(start, cursor);
        }
        self.settle_each(no_ack);
    }

    fn settle_each(&mut self, mut seqs: Vec<u64>) {
        seqs.sort_unstable();
        for run in seqs.chunk_by(|one, other| one + 1 == *other) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.unacked -= self.messages.settle(*first, last + 1);
            }
        }
    }

    /// What is delivered and stored need not stay in memory.
    fn cool_behind_cursor(&mut self, first: u64) {
        let Some(at) = self.messages.position_of_first(first) else { return };
        let cursor = self.messages.lanes.get(at.lane).cursor;
        let done = self.messages.get(at).is_some_and(|segment| {
            segment.stored == Stored::Yes
                && segment.is_hot()
                && segment.end() <= cursor
                && self.returned.range(segment.first..segment.end()).next().is_none()
        });
        if done {
            self.drop_bytes(at);
        }
    }

    /// Answers waiting gets as far as messages are at hand.
    pub(super) fn answer_gets(&mut self, effects: &mut Vec<Effect>) {
        while let Some(no_ack) = self.gets.front().copied() {
            match self.next_ready() {
                None => {
                    self.counters.messages.get_empty += 1;
                    effects.push(Effect::Got(GetReply::Empty));
                }
                Some((at, _)) if !self.is_hot(at, effects) => return,
                Some((at, seq)) => self.answer_get(at, seq, no_ack, effects),
            }
            self.gets.pop_front();
        }
    }

    fn answer_get(&mut self, at: At, seq: u64, no_ack: bool, effects: &mut Vec<Effect>) {
        let segment = self.messages.get(at);
        let Some((segment, record)) = segment.and_then(|segment| Some((segment, segment.share_record(seq)?)))
        else {
            return effects.push(Effect::Got(GetReply::Empty));
        };
        unwatch(segment, seq, &mut self.due);
        let (first, returns) = (segment.first, segment.returns(seq));
        self.count_body(seq, false);
        let was_returned = self.returned.remove(&seq);
        let lane = self.messages.lanes.get_mut(at.lane);
        if !was_returned {
            lane.cursor = seq + 1;
        }
        let redelivered = was_returned && !self.late.remove(&seq) || seq < lane.redelivered_below;
        self.count_got(no_ack, redelivered);
        self.ready -= 1;
        self.unacked += 1;
        if no_ack {
            self.unacked -= self.messages.settle(seq, seq + 1);
        }
        let ready = self.ready;
        effects.push(Effect::Got(GetReply::Message { seq, record, redelivered, returns, ready }));
        self.cool_behind_cursor(first);
    }
}
