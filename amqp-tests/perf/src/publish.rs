//! Publishes as octets: one at a time, or a block of them that is encoded once and stamped again and again.

use crate::method::BASIC_PUBLISH;
use crate::wire::{BODY, Encoder, FLAG_DELIVERY_MODE, FLAG_EXPIRATION, FRAME_AROUND, HEADER};

/// Octets of a body that are stamped: stream and sequence number (32 bits each), time (64 bits).
pub(crate) const STAMP: usize = 16;

const BLOCK: usize = 64 * 1024;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) exchange: String,
    pub(crate) key: String,
}

/// What all messages of a producer have in common.
#[derive(Clone)]
pub(crate) struct Form {
    /// Octets of a body, at least those of the stamp.
    pub(crate) size: usize,
    pub(crate) persistent: bool,
    pub(crate) frame_max: usize,
}

/// The stamp of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) stream: u32,
    pub(crate) sequence: u32,
    /// When the message was due, on this program's clock.
    pub(crate) time_ns: u64,
}

impl Stamp {
    /// Reads the stamp at the beginning of a body.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let stamp: &[u8; STAMP] = body.first_chunk()?;
        let both = u128::from_be_bytes(*stamp);
        let [stream, sequence, ..] =
            [both >> 96, both >> 64 & 0xffff_ffff].map(|n| u32::try_from(n).unwrap_or(0));
        Some(Self { stream, sequence, time_ns: u64::try_from(both & u128::from(u64::MAX)).unwrap_or(0) })
    }

    pub(crate) fn octets(self) -> [u8; STAMP] {
        let both = u128::from(self.stream) << 96 | u128::from(self.sequence) << 64 | u128::from(self.time_ns);
        both.to_be_bytes()
    }
}

/// Writes a publish in channel 1 and says where its stamp lies.
pub(crate) fn encode(to: &mut Encoder, route: &Route, form: &Form, expiration: Option<&str>) -> usize {
    to.method(1, BASIC_PUBLISH, |to| {
        to.u16(0);
        to.short(&route.exchange);
        to.short(&route.key);
        to.u8(0);
    });
    to.frame(HEADER, 1, |to| {
        to.u32(60 << 16);
        to.u64(form.size as u64);
        let mode = if form.persistent { FLAG_DELIVERY_MODE } else { 0 };
        to.u16(mode | if expiration.is_some() { FLAG_EXPIRATION } else { 0 });
        if form.persistent {
            to.u8(2);
        }
        if let Some(expiration) = expiration {
            to.short(expiration);
        }
    });
    let stamp = to.bytes.len() + FRAME_AROUND - 1;
    let mut rest = form.size;
    while rest > 0 {
        let part = rest.min(form.frame_max - FRAME_AROUND);
        to.frame(BODY, 1, |to| to.bytes.resize(to.bytes.len() + part, b'w'));
        rest -= part;
    }
    stamp
}

/// Publishes that go round a producer's routes. Each route is a stream with numbers of its own.
pub(crate) struct Block {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    cursor: usize,
    /// The stream of the first route; the others follow.
    first_stream: u32,
    /// How many messages of each route were given out.
    next: Vec<u32>,
}

struct Slot {
    stamp: usize,
    end: usize,
}

impl Block {
    /// `routes` must not be empty.
    pub(crate) fn new(routes: &[Route], form: &Form, first_stream: u32) -> Self {
        let mut to = Encoder::default();
        let mut slots = Vec::new();
        while slots.is_empty() || to.bytes.len() < BLOCK {
            for route in routes {
                let stamp = encode(&mut to, route, form, None);
                slots.push(Slot { stamp, end: to.bytes.len() });
            }
        }
        Self { bytes: to.bytes, slots, cursor: 0, first_stream, next: vec![0; routes.len()] }
    }

    /// The next messages, at most `limit` and about 64 KiB, and how many they are. `time_ns` is asked for each one's
    /// time, by its place among them.
    pub(crate) fn take(&mut self, limit: u64, time_ns: impl Fn(u64) -> u64) -> (&[u8], u64) {
        let start = self.cursor;
        let from = if start == 0 { 0 } else { self.slots[start - 1].end };
        let mut count = 0;
        for (slot, at) in self.slots[start..].iter().zip(start..) {
            if count > 0 && (count == limit || slot.end - from > BLOCK + 1024) {
                break;
            }
            let route = at % self.next.len();
            let stream = self.first_stream + u32::try_from(route).unwrap_or(0);
            let stamp = Stamp { stream, sequence: self.next[route], time_ns: time_ns(count) };
            self.bytes[slot.stamp..slot.stamp + STAMP].copy_from_slice(&stamp.octets());
            self.next[route] += 1;
            count += 1;
        }
        let end = start + usize::try_from(count).unwrap_or(0);
        self.cursor = end % self.slots.len();
        (&self.bytes[from..self.slots[end - 1].end], count)
    }

    /// How many messages of each route were given out.
    pub(crate) fn sent(self) -> Vec<u32> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::cut;

    fn routes(count: usize) -> Vec<Route> {
        (0..count).map(|n| Route { exchange: "x".to_owned(), key: format!("key{n}") }).collect()
    }

    /// The stamps of all messages in a piece.
    fn stamps(mut bytes: &[u8]) -> Vec<Stamp> {
        let mut found = Vec::new();
        while let Some((frame, length)) = cut(bytes).unwrap() {
            if frame.kind == BODY {
                found.push(Stamp::read(frame.payload).unwrap());
            }
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn streams_take_turns_and_are_numbered_without_gaps() {
        let form = Form { size: 20, persistent: true, frame_max: 4096 };
        let mut block = Block::new(&routes(3), &form, 10);
        let (mut all, mut turn) = (Vec::new(), 1);
        while all.len() < 5000 {
            let (bytes, count) = block.take(turn, |place| place);
            let piece = stamps(bytes);
            assert_eq!(piece.len() as u64, count);
            all.extend(piece);
            turn = turn % 400 + 7;
        }
        for (at, stamp) in (0_u32..).zip(&all) {
            assert_eq!((stamp.stream, stamp.sequence), (10 + at % 3, at / 3));
        }
        assert_eq!(block.sent().iter().sum::<u32>() as usize, all.len());
    }

    #[test]
    fn long_bodies_are_cut_into_frames() {
        let form = Form { size: 10_000, persistent: false, frame_max: 4096 };
        let mut block = Block::new(&routes(1), &form, 0);
        let (bytes, count) = block.take(1, |_| 9);
        let (mut rest, mut bodies) = (bytes, Vec::new());
        while let Some((frame, length)) = cut(rest).unwrap() {
            bodies.extend((frame.kind == BODY).then_some(frame.payload.len()));
            rest = &rest[length..];
        }
        assert_eq!((count, bodies), (1, vec![4088, 4088, 1824]));
    }

    #[test]
    fn a_stamp_comes_back() {
        let stamp = Stamp { stream: 7, sequence: u32::MAX, time_ns: 1 << 60 };
        assert_eq!(Stamp::read(&stamp.octets()), Some(stamp));
        assert_eq!(Stamp::read(&[0; 15]), None);
    }
}
