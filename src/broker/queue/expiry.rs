//! Time: messages whose due time has come, wherever they stand; the queue's own expiry.
//!
//! A message's own `expiration` is a due time in an ordered set, as long as it is ready. The queue's `x-message-ttl`
//! is the same for all messages, so the oldest ready one is enough to watch.

use super::Queue;
use super::delivery::unwatch;
use super::effect::{DeathReason, Effect};
use super::lanes::At;
use super::live::STEP_MESSAGES;
use crate::broker::batch::{self, Batch};

/// Due times nearer than this are in memory; those of spilled messages further away are in the cold store only.
pub(super) const NEAR_MS: u64 = 10 * 60 * 1000;
const JUST_IN_TIME_MS: u64 = 1000;
/// Chunks read for dead letters at a time.
const LETTER_CHUNKS: usize = 4;
const DUES_MAX: usize = 128 * 1024;
/// Delayed messages on their way to their targets at a time.
pub(super) const LETTERS_OUT_MAX: usize = if cfg!(test) { 64 } else { 16 * 1024 };

impl Queue {
    /// When this queue must be looked at again, Unix milliseconds.
    #[must_use]
    pub fn next_due(&mut self) -> Option<u64> {
        if self.is_catching_up && self.can_catch_up() {
            return Some(0);
        }
        let far = self.due_far_ms.filter(|_| !self.due_loading);
        let far = far.map(|due_ms| due_ms.saturating_sub(self.look_ahead_ms()));
        let retry = self.retries.first().map(|(due_ms, _)| due_ms);
        // Letters that arrive let the next ones go, not time.
        let waits = self.waits_for_letters();
        let own = self.due.first().filter(|_| !waits).map(|(due_ms, _)| due_ms);
        let head = if waits { None } else { self.head_due().map(|(due_ms, _)| due_ms) };
        [own, far, retry, head, self.unused_due()].into_iter().flatten().min()
    }

    /// Takes out what is due, one step of it when it is much.
    pub(super) fn expire(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.end_retries(now_ms, effects);
        let mut left = STEP_MESSAGES;
        self.is_behind = false;
        while let Some(due) = self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms) {
            if self.ends_step(&mut left) {
                break;
            }
            self.due.remove(due);
            self.expire_ready(due.1, effects);
        }
        while let Some((_, seq)) = self.head_due().filter(|(due_ms, _)| *due_ms <= now_ms) {
            if self.ends_step(&mut left) {
                break;
            }
            // A cold head may be younger than its segment: its chunk tells.
            if self.messages.position(seq).is_some_and(|at| self.is_hot(at, effects)) {
                self.expire_ready(seq, effects);
            }
        }
        if let Some(far_ms) = self.due_far_ms.filter(|_| !self.due_loading)
            && far_ms <= now_ms.saturating_add(self.look_ahead_ms())
        {
            self.due_loading = true;
            self.due_far_ms = None;
            effects.push(Effect::LoadDue(far_ms, now_ms.saturating_add(NEAR_MS)));
        }
        if self.unused_due().is_some_and(|due_ms| due_ms <= now_ms) {
            self.last_used_ms = now_ms;
            effects.push(Effect::Expired);
        }
    }

    /// Whether the targets keep up: those of delayed messages may be slow.
    pub(super) fn may_send_letters(&self) -> bool {
        !self.options.delays || self.letters_out < LETTERS_OUT_MAX
    }

    /// Whether one more is too much for this step; then somebody who is due stays behind.
    fn ends_step(&mut self, left: &mut u64) -> bool {
        self.is_behind = *left == 0 || self.waits_for_letters();
        *left = left.saturating_sub(1);
        self.is_behind
    }

    /// Many due times in memory already: load the next ones only just in time.
    fn look_ahead_ms(&self) -> u64 {
        if self.due.len() < DUES_MAX { NEAR_MS } else { JUST_IN_TIME_MS }
    }

    fn unused_due(&self) -> Option<u64> {
        let expires_ms = self.options.expires_ms.filter(|_| self.consumers.len() == 0)?;
        Some(self.last_used_ms.saturating_add(expires_ms))
    }

    /// When the next message passes the queue's time to live, as far as memory tells: in each lane the oldest is next.
    fn head_due(&mut self) -> Option<(u64, u64)> {
        let ttl_ms = self.options.message_ttl_ms.filter(|_| self.ready > 0)?;
        (0..self.messages.lanes.count()).filter_map(|lane| self.head_due_of(lane, ttl_ms)).min()
    }

    /// `None` while the chunk is on the way: there is nothing to do until it is here.
    fn head_due_of(&mut self, lane: usize, ttl_ms: u64) -> Option<(u64, u64)> {
        let (at, seq) = self.oldest_of(lane)?;
        let segment = self.messages.get(at).filter(|segment| !segment.loading)?;
        let enqueued_ms =
            if segment.is_hot() { segment.message(seq)?.enqueued_ms } else { segment.first_enqueued_ms };
        Some((due_ms(enqueued_ms, ttl_ms), seq))
    }

    /// Expires a message if it is ready; unacknowledged ones do not expire (RabbitMQ: Time-To-Live).
    fn expire_ready(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        if self.is_ready(seq) {
            self.leave_ready(seq, DeathReason::Expired, effects);
        }
    }

    /// Takes a ready message out of turn, for this reason.
    pub(super) fn leave_ready(&mut self, seq: u64, reason: DeathReason, effects: &mut Vec<Effect>) {
        self.take_ready(seq);
        if self.options.dead_letters {
            self.taken.insert(seq);
            self.send_dead_letter(seq, reason, effects);
        } else {
            self.messages.settle(seq, seq + 1);
        }
    }

    /// A ready message is not ready any more.
    pub(super) fn take_ready(&mut self, seq: u64) {
        if let Some(segment) = self.messages.position(seq).and_then(|at| self.messages.get(at)) {
            unwatch(segment, seq, &mut self.due);
        }
        self.count_body(seq, false);
        self.returned.remove(&seq);
        self.late.remove(&seq);
        self.ready -= 1;
    }

    /// Hands a taken message over for dead-lettering, or first asks for its chunk.
    pub(super) fn send_dead_letter(&mut self, seq: u64, reason: DeathReason, effects: &mut Vec<Effect>) {
        let Some(at) = self.messages.position(seq) else { return };
        let Some(segment) = self.messages.get(at) else { return };
        if let Some(record) = segment.share_record(seq) {
            self.letters_out += 1;
            effects.push(Effect::DeadLetter { seq, reason, record });
        } else {
            self.waiting.entry(segment.first).or_default().push((seq, reason));
            self.load_waiting(effects);
        }
    }

    /// A dead letter was handed over when nobody could take it.
    pub(super) fn send_letter_again(&mut self, seq: u64, reason: DeathReason, effects: &mut Vec<Effect>) {
        if self.taken.contains(&seq) {
            self.letters_out = self.letters_out.saturating_sub(1);
            self.send_dead_letter(seq, reason, effects);
        }
    }

    /// A message was settled before its dead letter arrived.
    pub(super) fn forget_letter(&mut self, seq: u64) {
        let chunk =
            self.messages.position(seq).and_then(|at| self.messages.get(at)).map(|segment| segment.first);
        if let Some(letters) = chunk.and_then(|first| self.waiting.get_mut(&first))
            && let Some(at) = letters.iter().position(|(waiting, _)| *waiting == seq)
        {
            letters.swap_remove(at);
        } else {
            self.letters_out = self.letters_out.saturating_sub(1);
        }
    }

    /// Asks for chunks of waiting dead letters, few at a time: a large queue that falls due must not pass through
    /// memory at once.
    pub(super) fn load_waiting(&mut self, effects: &mut Vec<Effect>) {
        if !self.may_send_letters() {
            return;
        }
        let firsts: Vec<_> = self.waiting.keys().take(LETTER_CHUNKS).copied().collect();
        for at in
            firsts.into_iter().filter_map(|first| self.messages.position_of_first(first)).collect::<Vec<_>>()
        {
            self.is_hot(at, effects);
        }
    }

    /// Enters the due times of those messages of a batch that are ready.
    pub(super) fn note_dues(&mut self, first: u64, batch: &Batch) {
        let segment = self.messages.position(first).and_then(|at| self.messages.get(at));
        if !segment.is_some_and(|segment| segment.has_due) {
            return;
        }
        let mut records: &[u8] = &batch.records;
        let mut seq = first;
        while let Some(record) = batch::skim(records) {
            if record.has_due
                && self.is_ready(seq)
                && let Some((message, _)) = batch::read(records)
            {
                self.due.extend(message.due_ms.map(|due_ms| (due_ms, seq)));
            }
            records = records.get(record.length..).unwrap_or_default();
            seq += 1;
        }
    }

    /// Due times come back from the cold store.
    pub(super) fn due_loaded(&mut self, entries: &[(u64, u64)], next_ms: Option<u64>) {
        self.due_loading = false;
        // Messages may have been spilled since the store was asked.
        self.due_far_ms = [self.due_far_ms, next_ms].into_iter().flatten().min();
        for (due_ms, seq) in entries {
            if self.is_ready(*seq) {
                self.due.insert((*due_ms, *seq));
            }
        }
    }

    /// Watches the due time of a message that came back; asks for its chunk when that is where it is.
    pub(super) fn watch_again(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        let Some(at) = self.messages.position(seq) else { return };
        if self.messages.get(at).is_some_and(|segment| segment.has_due) && self.is_hot(at, effects) {
            let message = self.messages.get(at).and_then(|segment| segment.message(seq));
            self.due.extend(message.and_then(|message| message.due_ms).map(|due_ms| (due_ms, seq)));
        }
    }

    /// Watches the due times of all ready messages of a segment in memory.
    pub(super) fn watch_segment(&mut self, at: At) {
        let Some(segment) = self.messages.get(at) else { return };
        let dues = segment.dues().filter(|(_, seq)| self.is_ready(*seq)).collect::<Vec<_>>();
        self.due.extend(dues);
    }
}

/// Arrival times are cut to whole milliseconds; one more keeps a message from leaving early. A time to live of 0 is
/// for those only who wait already.
fn due_ms(enqueued_ms: u64, ttl_ms: u64) -> u64 {
    enqueued_ms.saturating_add(ttl_ms).saturating_add(u64::from(ttl_ms > 0))
}
