//! Between memory and the cold store: checkpoints, spilling, reading back.

use bytes::Bytes;

use super::chunk::ChunkData;
use super::effect::Effect;
use super::lanes::At;
use super::segment::{ADOPT_BYTES, Segment, Stored};
use super::{Queue, expiry::NEAR_MS};

/// Chunks read ahead of the cursor.
const READ_AHEAD: usize = 2;

/// How badly memory is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pressure {
    /// What is next in turn stays.
    #[default]
    Normal,
    /// Only what somebody can take now stays.
    High,
}

/// A chunk for the cold store.
#[derive(Clone, Debug)]
pub struct ChunkWrite {
    /// Number of its first message: its key.
    pub first: u64,
    /// What a restart must know without reading it.
    pub descriptor: Vec<u8>,
    /// The records; `None` when only the descriptor has changed.
    pub data: Option<ChunkData>,
    /// Due times of messages in it, with their numbers.
    pub dues: Vec<(u64, u64)>,
}

impl Queue {
    /// Bytes of messages in memory.
    #[must_use]
    pub fn hot_bytes(&self) -> usize {
        self.messages.hot_bytes()
    }

    /// Whether a checkpoint has anything to write for this queue.
    #[must_use]
    pub fn needs_checkpoint(&self) -> bool {
        let has_new_ids = self.seen.as_ref().is_some_and(|seen| seen.has_changed());
        let mut segments = self.messages.segments();
        self.options.durable && (has_new_ids || segments.any(|segment| unsaved(segment) || stale(segment)))
    }

    /// Everything that a restart needs and the cold store does not have: after these writes the log up to here can go.
    pub fn checkpoint(&mut self) -> Vec<ChunkWrite> {
        self.messages.seal_lasts();
        let mut writes = Vec::new();
        for at in self.messages.positions() {
            let Some(segment) = self.messages.get(at) else { break };
            if unsaved(segment) {
                // A replay may have opened it between chunks: what is written must not grow any more.
                self.messages.change(at, Segment::seal);
                writes.push(self.write_of(at));
            } else if stale(segment) {
                let (first, descriptor) = (segment.first, segment.descriptor());
                writes.push(ChunkWrite { first, descriptor, data: None, dues: Vec::new() });
                self.messages.change(at, |segment| segment.dirty = false);
            }
        }
        writes
    }

    /// Due times before this are not needed in the cold store any more.
    #[must_use]
    pub fn dues_done_before(&self, now_ms: u64) -> Option<u64> {
        let quiet =
            self.unacked == 0 && self.taken.is_empty() && self.returned.is_empty() && !self.due_loading;
        let first = self.due.first().map(|(due_ms, _)| due_ms);
        quiet.then(|| [Some(now_ms), first, self.due_far_ms].into_iter().flatten().min()).flatten()
    }

    /// Frees about `wanted` bytes: drops what is stored already, gives back what must be written first.
    pub fn spill(&mut self, wanted: usize, pressure: Pressure, now_ms: u64) -> Vec<ChunkWrite> {
        self.pressure = pressure;
        let goal = self.messages.hot_bytes().saturating_sub(wanted);
        self.seal_for_spill();
        let mut writes = Vec::new();
        let mut writing = 0;
        for at in self.coldest_first() {
            if self.messages.hot_bytes().saturating_sub(writing) <= goal {
                break;
            }
            let Some(segment) = self.messages.get(at) else { break };
            match segment.stored {
                Stored::Yes => self.cool(at, now_ms),
                Stored::No => {
                    writing += segment.hot_bytes();
                    writes.push(self.write_of(at));
                }
                Stored::Writing => writing += segment.hot_bytes(),
            }
        }
        writes
    }

    /// What grows cannot be written: ends the growth of what may have to go.
    fn seal_for_spill(&mut self) {
        if self.keeps_nothing() && self.messages.hot_bytes() >= ADOPT_BYTES {
            self.messages.seal_lasts();
        } else if self.messages.lanes.is_split() {
            let near: Vec<_> = self.ahead().take(READ_AHEAD + 1).map(|at| at.lane).collect();
            for lane in (0..self.messages.lanes.count()).filter(|lane| !near.contains(lane)) {
                let last = self.messages.lanes.get(lane).segments.back();
                if last.is_some_and(|last| last.hot_bytes() >= ADOPT_BYTES) {
                    self.messages.seal_last(lane);
                }
            }
        }
    }

    /// The cold store has this chunk now; `spilling` drops its bytes.
    pub fn chunk_stored(&mut self, first: u64, spilling: bool, now_ms: u64) {
        let Some(at) = self.messages.position_of_first(first) else { return };
        self.messages.change(at, |segment| segment.stored = Stored::Yes);
        if spilling && !self.is_kept(at) {
            self.cool(at, now_ms);
        }
    }

    /// Segments whose messages are needed last come first: the newest of the lowest priority, then the unacknowledged.
    fn coldest_first(&self) -> Vec<At> {
        let is_candidate =
            |at: &At| self.messages.get(*at).is_some_and(|segment| segment.is_hot() && !segment.is_open());
        let near = self.ahead().take(READ_AHEAD + 1);
        let kept: Vec<_> = near.filter(|at| self.keeps_near(*at)).collect();
        let behind = (0..self.messages.lanes.count()).rev().flat_map(|lane| {
            let it = self.messages.lanes.get(lane);
            (0..it.position_from(it.cursor)).map(move |index| At { lane, index })
        });
        self.ahead().rev().chain(behind).filter(is_candidate).filter(|at| !kept.contains(at)).collect()
    }

    /// Segments with messages that were never delivered, in the order of their turn.
    fn ahead(&self) -> impl DoubleEndedIterator<Item = At> {
        let all = (0..self.messages.lanes.count()).flat_map(|lane| {
            let it = self.messages.lanes.get(lane);
            (it.position_from(it.cursor)..it.segments.len()).map(move |index| At { lane, index })
        });
        all.filter(|at| self.messages.get(*at).is_some_and(|segment| segment.alive > 0))
    }

    /// Whether a segment stays in memory since it is next in turn.
    fn is_kept(&self, at: At) -> bool {
        self.near_cursor(at) && self.keeps_near(at)
    }

    /// Whether a segment that is next in turn stays: a large one only for somebody who can take it now.
    fn keeps_near(&self, at: At) -> bool {
        let is_needed = self.consumers.any_ready() || !self.gets.is_empty();
        let is_large = self.messages.get(at).is_some_and(Segment::is_large);
        !self.keeps_nothing() && (is_needed || !is_large)
    }

    /// Whether even the messages next in turn may leave memory: nobody can take them now, and it is needed badly.
    fn keeps_nothing(&self) -> bool {
        self.pressure == Pressure::High && !self.consumers.any_ready() && self.gets.is_empty()
    }

    /// Whether a segment is next in turn.
    fn near_cursor(&self, at: At) -> bool {
        self.ahead().take(READ_AHEAD + 1).any(|near| near == at)
    }

    /// Whether a segment tells when the time to live of its lane's oldest message is over. Read for that, it stays: what is
    /// known of it without its bytes may be too early, and it would be read again at once.
    fn holds_oldest(&mut self, at: At) -> bool {
        self.options.message_ttl_ms.is_some()
            && self.oldest_of(at.lane).is_some_and(|(oldest, _)| oldest == at)
    }

    fn cool(&mut self, at: At, now_ms: u64) {
        let far_ms = now_ms.saturating_add(NEAR_MS);
        let dues = self.messages.get(at).into_iter().flat_map(Segment::dues);
        for entry in dues.filter(|(due_ms, _)| *due_ms > far_ms) {
            if self.due.remove(entry) {
                self.due_far_ms = Some(self.due_far_ms.map_or(entry.0, |due_ms| due_ms.min(entry.0)));
            }
        }
        self.drop_bytes(at);
    }

    /// Drops the bytes of a segment that the cold store has.
    pub(super) fn drop_bytes(&mut self, at: At) {
        let counts_bytes = self.limits.counts_bytes();
        self.messages.change(at, |segment| {
            if counts_bytes && !segment.has_lengths() {
                segment.measure();
                // The cold store does not know them: the next checkpoint tells it.
                segment.dirty = true;
            }
            segment.cool();
        });
    }

    fn write_of(&mut self, at: At) -> ChunkWrite {
        let counts_bytes = self.limits.counts_bytes();
        self.messages.change(at, |segment| {
            segment.stored = Stored::Writing;
            segment.dirty = false;
            segment.note_transient();
            if counts_bytes {
                segment.measure();
            }
            ChunkWrite {
                first: segment.first,
                descriptor: segment.descriptor(),
                data: Some(segment.chunk()),
                dues: segment.dues().collect(),
            }
        })
    }

    /// Whether a segment is in memory; asks for its chunk when it is not.
    pub(super) fn is_hot(&mut self, at: At, effects: &mut Vec<Effect>) -> bool {
        let Some(segment) = self.messages.get(at) else { return false };
        if segment.is_hot() {
            return true;
        }
        if !segment.loading {
            effects.push(Effect::Load(segment.first));
            self.messages.change(at, |segment| segment.loading = true);
        }
        false
    }

    /// Asks for the next chunks before they are needed.
    pub(super) fn read_ahead(&mut self, at: At, effects: &mut Vec<Effect>) {
        if self.messages.get(at).is_some_and(Segment::is_large) {
            // The next ones are likely to be large as well: one at a time is enough.
            return;
        }
        let behind = self.messages.lanes.get(at.lane).segments.len() - at.index - 1;
        for step in 1..=behind.min(READ_AHEAD) {
            self.is_hot(At { index: at.index + step, ..at }, effects);
        }
        if behind < READ_AHEAD && at.lane + 1 < self.messages.lanes.count() {
            let next = self.ahead().filter(|next| next.lane > at.lane).take(READ_AHEAD - behind);
            for next in next.collect::<Vec<_>>() {
                self.is_hot(next, effects);
            }
        }
    }

    /// A chunk has been read.
    pub(super) fn chunk_loaded(&mut self, first: u64, chunk: &Bytes, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(at) = self.messages.warm(first, chunk) else { return };
        let Some(segment) = self.messages.get(at) else { return };
        for (seq, reason) in self.waiting.remove(&first).unwrap_or_default() {
            if let Some(record) = segment.share_record(seq) {
                self.letters_out += 1;
                effects.push(Effect::DeadLetter { seq, reason, record });
            }
        }
        let returned = self.returned.range(first..segment.end()).next().is_some();
        self.load_waiting(effects);
        let Some(segment) = self.messages.get(at) else { return };
        let stored = segment.stored == Stored::Yes;
        self.go_on_recalling(effects);
        self.watch_segment(at);
        // The messages of a chunk that waits for many due times are needed one by one: it stays while there is room.
        if stored && !returned && !self.near_cursor(at) && !self.holds_oldest(at) && !self.options.delays {
            self.cool(at, now_ms);
        }
    }
}

/// Holds persistent messages that only the log has.
fn unsaved(segment: &Segment) -> bool {
    segment.alive > 0 && segment.stored == Stored::No && segment.has_persistent()
}

/// More is settled than the cold store knows, or will know after the writes under way.
fn stale(segment: &Segment) -> bool {
    segment.dirty && segment.stored != Stored::No
}
