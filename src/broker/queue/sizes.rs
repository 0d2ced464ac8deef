//! How much a queue holds, for people: told from what its segments know, without looking at each message.

use super::Queue;
use super::lanes::Lane;
use super::segment::Segment;
use crate::protocol::properties::Properties;

/// Messages out of turn that are looked past in search of the oldest one.
const LOOKED_PAST_MAX: usize = 256;

/// What a queue holds. Where the messages of a segment are of different sizes, or only the cold store has them, bytes are
/// reckoned from their neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Messages in memory, and bytes of their bodies.
    pub in_memory: (u64, u64),
    /// Persistent messages, and bytes of their bodies.
    pub persistent: (u64, u64),
    /// Bytes of bodies that are ready; the others are unacknowledged, or on their way out.
    pub ready_bytes: u64,
    /// When the message that is ready for the longest time came, Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// What the next message's property `timestamp` says, seconds, if it is in memory.
    pub head_timestamp_s: Option<u64>,
}

impl Queue {
    /// How much it holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        if self.messages.alive == 0 {
            return Sizes::default();
        }
        let mut sizes = Sizes::default();
        let (mut measured, mut unmeasured) = (0, Vec::new());
        for segment in self.messages.segments().filter(|segment| segment.alive > 0) {
            let alive = u64::from(segment.alive);
            let persistent = part(alive, u64::from(segment.persistent), u64::from(segment.span));
            sizes.persistent.0 += persistent;
            let Some(bytes) = segment.reckoned_bytes() else {
                unmeasured.push((alive, persistent));
                continue;
            };
            measured += alive;
            sizes.bytes += bytes;
            sizes.persistent.1 += part(bytes, persistent, alive);
            if segment.is_hot() {
                sizes.in_memory = (sizes.in_memory.0 + alive, sizes.in_memory.1 + bytes);
            }
        }
        let known = sizes.bytes;
        for (alive, persistent) in unmeasured {
            sizes.bytes += part(known, alive, measured);
            sizes.persistent.1 += part(known, persistent, measured);
        }
        sizes.ready_bytes = part(sizes.bytes, self.ready, self.messages.alive);
        self.look_at_heads(&mut sizes);
        sizes
    }

    /// The next message of each lane: the first one is the next of all.
    fn look_at_heads(&self, sizes: &mut Sizes) {
        let mut is_first = true;
        for lane in self.messages.lanes.iter() {
            let Some((segment, seq)) = self.head_of(lane) else { continue };
            let message = segment.message(seq);
            let came_ms = message.as_ref().map_or(segment.first_enqueued_ms, |message| message.enqueued_ms);
            sizes.oldest_ms = Some(sizes.oldest_ms.map_or(came_ms, |oldest_ms| oldest_ms.min(came_ms)));
            if std::mem::take(&mut is_first) {
                let properties = message.and_then(|message| Properties::parse(message.header).ok());
                sizes.head_timestamp_s = properties.and_then(|properties| properties.timestamp);
            }
        }
    }

    /// The next ready message of a lane.
    fn head_of<'q>(&self, lane: &'q Lane) -> Option<(&'q Segment, u64)> {
        let returned = self.returned.range(lane.base..).next().copied().filter(|seq| *seq < lane.cursor);
        let mut from = returned.unwrap_or(lane.cursor);
        for _ in 0..LOOKED_PAST_MAX {
            let (index, seq) = lane.next_alive(from)?;
            if !self.taken.contains(&seq) {
                return lane.segments.get(index).map(|segment| (segment, seq));
            }
            from = seq + 1;
        }
        None
    }
}

impl Segment {
    /// Bytes of the bodies that are not settled, reckoned from the first of them; `None` when that is not known.
    fn reckoned_bytes(&self) -> Option<u64> {
        let first = self.next_alive(self.first)?;
        let Some(record) = self.record(first) else {
            return self.has_lengths().then(|| self.body_length(first) * u64::from(self.alive));
        };
        let (record, body) = (record.len() as u64, self.body_length(first));
        let (records, count) = (self.bytes().len() as u64, self.offsets.len() as u64);
        let bodies = records.saturating_sub(count * (record - body));
        Some(part(bodies, u64::from(self.alive), count))
    }
}

/// So many out of `whole` are what part of something; nothing when there are none.
fn part(of: u64, count: u64, whole: u64) -> u64 {
    let part = u128::from(of) * u128::from(count) / u128::from(whole.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}
