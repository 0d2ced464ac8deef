//! Numbers set aside for the messages of a transaction that is not decided yet.
//!
//! Until [`super::Command::Fill`] brings them, their messages are in no segment: nothing delivers, expires, drops or
//! stores them. Those that come when the cursor has passed them are ready at once, like messages that came back.

use super::effect::Effect;
use super::levels::cut_by_level;
use super::{Batch, Queue};

/// Numbers side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) first: u64,
    count: u64,
    /// Of the bodies of all that was set aside with it; not kept over a restart.
    bytes: u64,
}

impl Queue {
    /// Sets numbers aside for messages that may come, with so many bytes of bodies. Gives them in batches, each with its
    /// first number, in the order in which they should come. `None` when the queue refuses what it has no place for,
    /// and has none.
    pub fn reserve(&mut self, batch: &Batch, body_bytes: u64) -> Option<Vec<(u64, Batch)>> {
        let (ready, bytes) = self.taken_places();
        let (ready, bytes) = (ready.saturating_add(batch.count.into()), bytes.saturating_add(body_bytes));
        if self.limits.may_refuse() && self.limits.exceeded_by(ready, bytes) {
            return None;
        }
        let mut numbered = match self.options.max_priority {
            Some(max) => self.reserve_by_level(batch, max),
            None => vec![(self.reserve_in(0, batch.count), batch.clone())],
        };
        // Of what comes at once the highest priority is next in turn.
        numbered.sort_unstable_by_key(|(first, _)| *first);
        if let Some(reservation) = self.reserved.last_mut() {
            reservation.bytes = body_bytes;
        }
        // Lanes come back with higher numbers when the messages do.
        self.messages.drop_idle_lanes();
        Some(numbered)
    }

    fn reserve_by_level(&mut self, batch: &Batch, max: u8) -> Vec<(u64, Batch)> {
        let parts = cut_by_level(batch, max).into_iter().map(|(priority, part)| {
            let lane = self.messages.lanes.of_priority(priority);
            (self.reserve_in(lane, part.count), part)
        });
        parts.collect()
    }

    fn reserve_in(&mut self, lane: usize, count: u32) -> u64 {
        let lane = self.messages.lanes.get_mut(lane);
        let (first, count) = (lane.next_seq, u64::from(count));
        lane.next_seq += count;
        self.reserved.push(Reservation { first, count, bytes: 0 });
        first
    }

    /// What is ready or may come: messages and bytes of bodies, the latter where they are counted.
    pub(super) fn taken_places(&self) -> (u64, u64) {
        let count: u64 = self.reserved.iter().map(|reservation| reservation.count).sum();
        let bytes: u64 = self.reserved.iter().map(|reservation| reservation.bytes).sum();
        (self.limited() + count, self.limits.ready_bytes + bytes)
    }

    /// Whether a message with this number may still come.
    pub(super) fn is_reserved(&self, seq: u64) -> bool {
        self.reserved.iter().any(|reservation| (reservation.first..reservation.end()).contains(&seq))
    }

    pub(super) fn take_reservation(&mut self, first: u64) -> Option<Reservation> {
        let at = self.reserved.iter().position(|reservation| reservation.first == first)?;
        Some(self.reserved.swap_remove(at))
    }

    /// Takes in messages at the numbers that were set aside for them. Their owner has logged them.
    pub(super) fn fill(&mut self, first: u64, batch: &Batch, now_ms: u64, effects: &mut Vec<Effect>) {
        let reservation = self.take_reservation(first);
        debug_assert_eq!(reservation.map(|reservation| reservation.count), Some(batch.count.into()));
        if reservation.is_none() {
            return;
        }
        self.expire(now_ms, effects);
        let passing = self.ready == 0 && self.consumers.any_ready();
        self.messages.fill(first, batch, passing);
        self.ready += u64::from(batch.count);
        if self.limits.counts_bytes() && first >= self.messages.lanes.uncounted_below(first) {
            self.count_batch(batch);
        }
        let repeated = self.note_ids_of(first, batch, now_ms, effects);
        for seq in repeated {
            self.count_body(seq, false);
            self.ready -= self.messages.settle(seq, seq + 1);
        }
        if first < self.messages.cursor(first) {
            let seqs = first..first + u64::from(batch.count);
            let seqs: Vec<_> = seqs.filter(|seq| self.messages.is_alive(*seq)).collect();
            self.returned.extend(&seqs);
            self.late.extend(seqs);
        }
        // Whoever waits gets a message before its time to live is looked at: it may be 0.
        self.hand_out(effects);
        self.note_dues(first, batch);
    }
}

impl Reservation {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// Appends reservations to a row.
pub(super) fn put(reserved: &[Reservation], row: &mut Vec<u8>) {
    row.extend_from_slice(&u32::try_from(reserved.len()).unwrap_or(u32::MAX).to_le_bytes());
    for reservation in reserved {
        row.extend_from_slice(&reservation.first.to_le_bytes());
        row.extend_from_slice(&reservation.count.to_le_bytes());
    }
}

/// Reads what [`put`] wrote, and moves `bytes` behind it.
pub(super) fn take(bytes: &mut &[u8]) -> Option<Vec<Reservation>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_mul(16)?;
    let (pairs, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    let pairs = pairs.chunks_exact(16).filter_map(|pair| {
        let (first, count) = pair.split_first_chunk::<8>()?;
        let (first, count) = (u64::from_le_bytes(*first), u64::from_le_bytes(*count.first_chunk()?));
        Some(Reservation { first, count, bytes: 0 })
    });
    Some(pairs.collect())
}
