//! Looking at messages: a read of the queue that changes nothing, neither order nor flags nor counts.

use bytes::Bytes;

use super::Queue;
use super::segment::Segment;

/// Where one look begins, and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The first number to look at.
    pub from: u64,
    /// So many messages that are alive, from there on, are passed over.
    pub skip: u64,
    /// At most so many messages.
    pub messages_max: usize,
    /// No more once their records hold this.
    pub bytes_max: usize,
}

/// What a message does in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It could be delivered now.
    Ready,
    /// It was delivered and is not settled.
    Unacked,
    /// It came back, and waits before it is delivered again.
    Delayed,
    /// It is on its way to the dead-letter exchange, or is being moved.
    Leaving,
}

/// One message as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its number in the queue.
    pub seq: u64,
    /// What it does.
    pub standing: Standing,
    /// Whether its next delivery says that it was delivered before.
    pub redelivered: bool,
    /// How often it came back, where that is counted.
    pub returns: u32,
    /// Where its record is.
    pub record: RecordAt,
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordAt {
    /// Here.
    Here(Bytes),
    /// In the chunk of the cold store that begins with this number, at this place ([`super::records_in_chunk`]).
    InChunk(u64, u32),
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    /// Messages in the order in which they would be delivered, but for those that came back.
    pub messages: Vec<Sighting>,
    /// Where to look next; none at the end.
    pub next: Option<u64>,
    /// For each priority in use the first number that no message has yet.
    pub ends: Vec<u64>,
}

impl Queue {
    /// Looks at messages. The queue is as it was before.
    #[must_use]
    pub fn look(&self, look: Look) -> Sightings {
        let lanes = &self.messages.lanes;
        let mut seeing =
            Sightings { ends: lanes.iter().map(|lane| lane.next_seq).collect(), ..Sightings::default() };
        let (mut skip, mut bytes) = (look.skip, 0);
        for lane in (lanes.of(look.from)..lanes.count()).map(|lane| lanes.get(lane)) {
            for segment in lane.segments.range(lane.position_from(look.from)..) {
                let begins = segment.first >= look.from;
                if begins && u64::from(segment.alive) <= skip {
                    skip -= u64::from(segment.alive);
                    continue;
                }
                let mut next = segment.next_alive(look.from.max(segment.first));
                while let Some(seq) = next {
                    next = segment.next_alive(seq + 1);
                    if skip > 0 {
                        skip -= 1;
                        continue;
                    }
                    if seeing.messages.len() >= look.messages_max || bytes >= look.bytes_max {
                        seeing.next = Some(seq);
                        return seeing;
                    }
                    let seen = self.see(segment, seq, lane.redelivered_below);
                    if let RecordAt::Here(record) = &seen.record {
                        bytes += record.len();
                    }
                    seeing.messages.push(seen);
                }
            }
        }
        seeing
    }

    /// Those of these numbers that are alive, as [`Self::look`] sees them.
    #[must_use]
    pub fn look_at(&self, seqs: &[u64]) -> Vec<Sighting> {
        let found = seqs.iter().filter_map(|seq| {
            let at = self.messages.position(*seq)?;
            let segment = self.messages.get(at).filter(|segment| !segment.is_settled(*seq))?;
            Some(self.see(segment, *seq, self.messages.lanes.get(at.lane).redelivered_below))
        });
        found.collect()
    }

    fn see(&self, segment: &Segment, seq: u64, redelivered_below: u64) -> Sighting {
        let was_returned = self.returned.contains(&seq) && !self.late.contains(&seq);
        let standing = self.standing(seq);
        let record = match segment.share_record(seq) {
            Some(record) => RecordAt::Here(record),
            None => RecordAt::InChunk(segment.first, segment.place(seq)),
        };
        let was_delivered = was_returned || matches!(standing, Standing::Unacked | Standing::Delayed);
        let redelivered = was_delivered || seq < redelivered_below;
        Sighting { seq, standing, redelivered, returns: segment.returns(seq), record }
    }

    fn standing(&self, seq: u64) -> Standing {
        if self.retries.contains(seq) {
            Standing::Delayed
        } else if self.taken.contains(&seq) {
            Standing::Leaving
        } else if seq >= self.messages.cursor(seq) || self.returned.contains(&seq) {
            Standing::Ready
        } else {
            Standing::Unacked
        }
    }
}

/// Whether a message was there when these were the ends of its queue ([`Sightings::ends`]).
#[must_use]
pub fn is_before_ends(seq: u64, ends: &[u64]) -> bool {
    ends.iter().find(|end| super::lanes::is_same_lane(**end, seq)).is_some_and(|end| seq < *end)
}
