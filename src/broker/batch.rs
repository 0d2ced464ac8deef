//! The record: one message in the form it keeps from its publish to its last delivery.
//!
//! Version 1, little endian. The same bytes are in the mailbox, the log, memory and the cold store:
//!
//! ```text
//! 0   u32  length of the whole record
//! 4   u32  length of the content header payload
//! 8   u64  time of arrival, Unix milliseconds
//! 16  u16  flags: 1 persistent, 2 has a due time
//! 18  u8   priority
//! 19  u8   length of the exchange name
//! 20  u8   length of the routing key
//! 21  3 x u8 zero
//! 24  u64  due time, Unix milliseconds: only with flag 2
//! ..  exchange name, routing key, content header payload (verbatim), body
//! ```

use bytes::Bytes;

const HEAD_LENGTH: usize = 24;
const PERSISTENT: u16 = 1;
const HAS_DUE: u16 = 2;

/// What a record is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// The exchange it was published to.
    pub exchange: &'a [u8],
    /// The routing key it was published with.
    pub routing_key: &'a [u8],
    /// The content header frame's payload, as it came.
    pub header: &'a [u8],
    /// The body.
    pub body: &'a [u8],
    /// Arrival, Unix milliseconds.
    pub enqueued_ms: u64,
    /// When it expires, Unix milliseconds; from its `expiration`.
    pub due_ms: Option<u64>,
    /// Its `priority`, 0 when it has none.
    pub priority: u8,
    /// Delivery mode 2.
    pub persistent: bool,
}

impl Message<'_> {
    /// Appends this message's record.
    pub fn put(&self, out: &mut Vec<u8>) {
        let due_length = if self.due_ms.is_some() { 8 } else { 0 };
        let length = HEAD_LENGTH
            + due_length
            + self.exchange.len()
            + self.routing_key.len()
            + self.header.len()
            + self.body.len();
        let flags = u16::from(self.persistent) * PERSISTENT + u16::from(self.due_ms.is_some()) * HAS_DUE;
        out.reserve(length);
        out.extend_from_slice(&to_u32(length).to_le_bytes());
        out.extend_from_slice(&to_u32(self.header.len()).to_le_bytes());
        out.extend_from_slice(&self.enqueued_ms.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[
            self.priority,
            to_u8(self.exchange.len()),
            to_u8(self.routing_key.len()),
            0,
            0,
            0,
        ]);
        if let Some(due_ms) = self.due_ms {
            out.extend_from_slice(&due_ms.to_le_bytes());
        }
        out.extend_from_slice(self.exchange);
        out.extend_from_slice(self.routing_key);
        out.extend_from_slice(self.header);
        out.extend_from_slice(self.body);
    }
}

/// Reads the record at the front of `bytes`; gives its length too. `None` when the bytes are not a record.
#[inline]
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let (head, _) = bytes.split_first_chunk::<HEAD_LENGTH>()?;
    let length = usize::try_from(u32_at(head, 0)).ok()?;
    let header_length = usize::try_from(u32_at(head, 4)).ok()?;
    let flags = u16::from_le_bytes([head[16], head[17]]);
    let mut rest = bytes.get(HEAD_LENGTH..length)?;
    let due_ms = if flags & HAS_DUE == 0 {
        None
    } else {
        let (due, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(u64::from_le_bytes(*due))
    };
    let (exchange, rest) = rest.split_at_checked(usize::from(head[19]))?;
    let (routing_key, rest) = rest.split_at_checked(usize::from(head[20]))?;
    let (header, body) = rest.split_at_checked(header_length)?;
    let enqueued_ms = enqueued_at(head);
    let message = Message {
        exchange,
        routing_key,
        header,
        body,
        enqueued_ms,
        due_ms,
        priority: head[18],
        persistent: flags & PERSISTENT != 0,
    };
    Some((message, length))
}

/// What a queue must know of a record before anybody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skimmed {
    /// Of the whole record, in bytes.
    pub length: usize,
    /// Delivery mode 2.
    pub persistent: bool,
    /// It has a due time of its own.
    pub has_due: bool,
    /// Arrival, Unix milliseconds.
    pub enqueued_ms: u64,
}

/// Skims the record at the front of `bytes`. `None` when it is not there as a whole.
#[inline]
#[must_use]
pub fn skim(bytes: &[u8]) -> Option<Skimmed> {
    let (head, _) = bytes.split_first_chunk::<HEAD_LENGTH>()?;
    let length = usize::try_from(u32_at(head, 0))
        .ok()
        .filter(|length| (HEAD_LENGTH..=bytes.len()).contains(length))?;
    let flags = u16::from_le_bytes([head[16], head[17]]);
    Some(Skimmed {
        length,
        persistent: flags & PERSISTENT != 0,
        has_due: flags & HAS_DUE != 0,
        enqueued_ms: enqueued_at(head),
    })
}

/// The length of the body in the record at the front of `bytes`; 0 when that is not a record.
#[must_use]
pub fn body_length(bytes: &[u8]) -> u32 {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_LENGTH>() else { return 0 };
    let flags = u16::from_le_bytes([head[16], head[17]]);
    let due_length = if flags & HAS_DUE == 0 { 0 } else { 8 };
    let fixed = to_u32(HEAD_LENGTH) + due_length + u32::from(head[19]) + u32::from(head[20]);
    u32_at(head, 0).saturating_sub(fixed).saturating_sub(u32_at(head, 4))
}

/// Messages on their way to one queue: whole records, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records.
    pub records: Bytes,
    /// How many.
    pub count: u32,
    /// How many of them are persistent.
    pub persistent: u32,
}

impl Batch {
    /// Checks records read from disk and counts them. `None` when they are not whole records.
    #[must_use]
    pub fn check(records: Bytes) -> Option<Self> {
        let mut batch = Self::default();
        let mut at = 0;
        while at < records.len() {
            let (message, length) = read(records.get(at..)?)?;
            batch.count += 1;
            batch.persistent += u32::from(message.persistent);
            at += length;
        }
        batch.records = records;
        Some(batch)
    }
}

fn u32_at(head: &[u8; HEAD_LENGTH], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn enqueued_at(head: &[u8; HEAD_LENGTH]) -> u64 {
    u64::from_le_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]])
}

/// Bodies are limited far below 4 GiB where they enter, so the sum fits.
fn to_u32(length: usize) -> u32 {
    debug_assert!(u32::try_from(length).is_ok(), "a record's length fits 32 bits");
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Short strings of the wire have at most 255 bytes.
fn to_u8(length: usize) -> u8 {
    debug_assert!(length <= 255, "a short string has at most 255 bytes");
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn read_gives_back_what_was_put(
            exchange in prop::collection::vec(any::<u8>(), 0..255),
            routing_key in prop::collection::vec(any::<u8>(), 0..255),
            header in prop::collection::vec(any::<u8>(), 0..100),
            body in prop::collection::vec(any::<u8>(), 0..2000),
            due_ms in any::<Option<u64>>(), enqueued_ms in any::<u64>(), priority in any::<u8>(), persistent in any::<bool>(),
        ) {
            let message = Message { exchange: &exchange, routing_key: &routing_key, header: &header, body: &body,
                enqueued_ms, due_ms, priority, persistent };
            let mut bytes = Vec::new();
            message.put(&mut bytes);
            let length = bytes.len();
            bytes.extend_from_slice(b"behind");
            prop_assert_eq!(read(&bytes), Some((message, length)));
            let skimmed = Skimmed { length, persistent, has_due: due_ms.is_some(), enqueued_ms };
            prop_assert_eq!(skim(&bytes), Some(skimmed));
            prop_assert_eq!(body_length(&bytes) as usize, body.len());
            for cut in 0..length {
                prop_assert_eq!(read(&bytes[..cut]), None);
                prop_assert_eq!(skim(&bytes[..cut]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (read, skimmed) = (read(&bytes), skim(&bytes));
            if let Some((_, length)) = read {
                prop_assert_eq!(skimmed.map(|skimmed| skimmed.length), Some(length));
            }
            let _ = body_length(&bytes);
            let _ = Batch::check(Bytes::from(bytes));
        }
    }
}
