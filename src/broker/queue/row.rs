//! A queue's own row in the cold store, little endian.
//!
//! - version 1: next number u64, the first number never delivered u64
//! - version 2: as version 1, then ids that came lately (`broker::deduplication`)
//! - version 3, for lanes: where new lanes begin to count u64, how many lanes u16, then for each the same as in version 1
//! - version 4: as version 3, then ids that came lately
//! - with 128 added to the version: in front of the ids how many runs of numbers were set aside u32, and first u64 and
//!   count u64 of each

use super::Queue;
use super::lanes::Lane;
use super::reservation;

const VERSION_1: u8 = 1;
const VERSION_2: u8 = 2;
const VERSION_3: u8 = 3;
const VERSION_4: u8 = 4;
/// In the version: numbers of messages that may still come follow.
const WITH_RESERVED: u8 = 0x80;

impl Queue {
    /// What is true of the queue beside its messages and ids.
    #[must_use]
    pub fn row(&self) -> Vec<u8> {
        self.row_up_to(|lane| lane.next_seq)
    }

    /// The same as long as it follows another one. The cold store may have chunks of an earlier run that are ahead of what was
    /// replayed; what is in front of them is not settled but still to come.
    #[must_use]
    pub fn row_of_follower(&self) -> Vec<u8> {
        self.row_up_to(|lane| lane.replayed_below)
    }

    fn row_up_to(&self, end: impl Fn(&Lane) -> u64) -> Vec<u8> {
        let lanes = &self.messages.lanes;
        let with_ids = u8::from(self.seen.is_some());
        let with_reserved = if self.reserved.is_empty() { 0 } else { WITH_RESERVED };
        let mut row = Vec::new();
        if lanes.is_split() {
            row.push((VERSION_3 + with_ids) | with_reserved);
            row.extend_from_slice(&lanes.floor().to_le_bytes());
            row.extend_from_slice(&u16::try_from(lanes.count()).unwrap_or(u16::MAX).to_le_bytes());
        } else {
            row.push((VERSION_1 + with_ids) | with_reserved);
        }
        for lane in lanes.iter() {
            row.extend_from_slice(&end(lane).to_le_bytes());
            row.extend_from_slice(&lane.delivered_below().to_le_bytes());
        }
        if !self.reserved.is_empty() {
            reservation::put(&self.reserved, &mut row);
        }
        row
    }

    /// Appends to the row the ids that came lately, as they are to be written now.
    pub fn put_ids(&mut self, row: &mut Vec<u8>) {
        if let Some(seen) = &mut self.seen {
            seen.put(row);
            seen.saved();
        }
    }

    /// Takes the queue's row. `None` when it is not one.
    pub fn restore_row(&mut self, row: &[u8]) -> Option<()> {
        let (version, mut row) = row.split_first()?;
        let (version, has_reserved) = (*version & !WITH_RESERVED, *version & WITH_RESERVED != 0);
        match version {
            VERSION_1 | VERSION_2 => {
                let (next_seq, delivered) = (take(&mut row)?, take(&mut row)?);
                restore_lane(self.messages.lanes.get_mut(0), next_seq, delivered);
            }
            VERSION_3 | VERSION_4 => self.restore_lanes(&mut row)?,
            _ => return None,
        }
        if has_reserved {
            self.reserved = reservation::take(&mut row)?;
        }
        if matches!(version, VERSION_2 | VERSION_4) { self.replay_ids(row) } else { Some(()) }
    }

    fn restore_lanes(&mut self, row: &mut &[u8]) -> Option<()> {
        let floor = take(row)?;
        let (count, rest) = row.split_first_chunk::<2>()?;
        *row = rest;
        let lanes = &mut self.messages.lanes;
        lanes.split();
        lanes.raise(floor);
        // What was in front of a new lane is settled.
        lanes.iter_mut().for_each(|lane| lane.stored_below = lane.next_seq);
        for _ in 0..u16::from_le_bytes(*count) {
            let (next_seq, delivered) = (take(row)?, take(row)?);
            let lane = lanes.make(next_seq);
            restore_lane(lanes.get_mut(lane), next_seq, delivered);
        }
        Some(())
    }
}

fn restore_lane(lane: &mut Lane, next_seq: u64, delivered: u64) {
    (lane.stored_below, lane.replayed_below) = (next_seq, next_seq);
    lane.next_seq = lane.next_seq.max(next_seq);
    lane.redelivered_below = delivered;
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*value))
}
