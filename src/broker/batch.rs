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
/// What stands in front of the exchange's name, at most.
pub const FRONT_BYTES_MAX: usize = HEAD_LENGTH + 8;
const PERSISTENT: u16 = 1;
const HAS_DUE: u16 = 2;

/// Where a content header payload has the body size (AMQP 0-9-1, section 2.3.5.2).
const HEADER_SIZE_OFFSET: usize = 4;
const HEADER_SIZE_END: usize = HEADER_SIZE_OFFSET + 8;

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
    /// The length of this message's record.
    #[must_use]
    #[inline]
    pub fn length(&self) -> usize {
        let due_length = if self.due_ms.is_some() { 8 } else { 0 };
        let names = self.exchange.len() + self.routing_key.len();
        HEAD_LENGTH + due_length + names + self.header.len() + self.body.len()
    }

    /// Appends this message's record.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        out.reserve(self.length());
        self.put_front(out);
        out.extend_from_slice(self.exchange);
        out.extend_from_slice(self.routing_key);
        out.extend_from_slice(self.header);
        out.extend_from_slice(self.body);
    }

    /// Appends what stands in front of the exchange's name.
    #[inline]
    pub fn put_front(&self, out: &mut Vec<u8>) {
        let length = self.length();
        let flags = u16::from(self.persistent) * PERSISTENT + u16::from(self.due_ms.is_some()) * HAS_DUE;
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
    }
}

/// Lets the messages of whole records arrive at this time instead; those that expire live as long as they did.
pub fn restamp(records: &mut [u8], now_ms: u64) {
    let mut at = 0;
    while let Some(record) = records.get_mut(at..)
        && let Some(skimmed) = skim(record)
    {
        if let Some(field) = record.get_mut(8..16) {
            field.copy_from_slice(&now_ms.to_le_bytes());
        }
        if skimmed.has_due
            && let Some((_, rest)) = record.split_first_chunk_mut::<HEAD_LENGTH>()
            && let Some((due, _)) = rest.split_first_chunk_mut::<8>()
        {
            let lives_ms = u64::from_le_bytes(*due).saturating_sub(skimmed.enqueued_ms);
            *due = now_ms.saturating_add(lives_ms).to_le_bytes();
        }
        at += skimmed.length;
    }
}

/// Makes the messages of whole records persistent; what their senders asked for stands in their content headers.
pub fn persist(records: &mut [u8]) {
    let mut at = 0;
    while let Some(record) = records.get_mut(at..)
        && let Some(skimmed) = skim(record)
    {
        if let Some(flags) = record.get_mut(16) {
            *flags |= PERSISTENT.to_le_bytes()[0];
        }
        at += skimmed.length;
    }
}

/// The record of a message whose like follows with other bodies: only length, body size, arrival and body change.
#[derive(Clone, Debug)]
pub struct Template {
    /// The record up to the body, as last written.
    front: Vec<u8>,
    body_length: usize,
    /// Where the content header has the body size.
    size_at: usize,
}

impl Template {
    /// For messages like this one. `None` when it has a due time of its own, or no content header.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Option<Self> {
        if message.due_ms.is_some() || message.header.len() < HEADER_SIZE_END {
            return None;
        }
        let mut front = Vec::new();
        Message { body: &[], ..*message }.put(&mut front);
        let size_at = front.len() - message.header.len() + HEADER_SIZE_OFFSET;
        Some(Self { front, body_length: usize::MAX, size_at })
    }

    /// Appends the record with this body and this time of arrival.
    #[inline]
    pub fn put(&mut self, body: &[u8], enqueued_ms: u64, out: &mut Vec<u8>) {
        if self.body_length != body.len() {
            self.set_body_length(body.len());
        }
        if let Some(field) = self.front.get_mut(8..16) {
            field.copy_from_slice(&enqueued_ms.to_le_bytes());
        }
        out.reserve(self.front.len() + body.len());
        out.extend_from_slice(&self.front);
        out.extend_from_slice(body);
    }

    fn set_body_length(&mut self, body_length: usize) {
        self.body_length = body_length;
        let length = to_u32(self.front.len() + body_length);
        self.front.splice(..4, length.to_le_bytes());
        let size = (body_length as u64).to_be_bytes();
        self.front.splice(self.size_at..self.size_at + size.len(), size);
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
    /// Its `priority`, 0 when it has none.
    pub priority: u8,
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
        priority: head[18],
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
    /// The buffer behind the records is much larger than they are: not to be kept for long.
    pub is_loose: bool,
}

impl Batch {
    /// Closes a batch of so many records.
    #[must_use]
    pub fn of(records: Vec<u8>, count: u32, persistent: u32) -> Self {
        let is_loose = records.capacity() - records.len() > records.len() / 4;
        Self { records: records.into(), count, persistent, is_loose }
    }

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
            let skimmed = Skimmed { length, persistent, has_due: due_ms.is_some(), priority, enqueued_ms };
            prop_assert_eq!(skim(&bytes), Some(skimmed));
            prop_assert_eq!(body_length(&bytes) as usize, body.len());
            for cut in 0..length {
                prop_assert_eq!(read(&bytes[..cut]), None);
                prop_assert_eq!(skim(&bytes[..cut]), None);
            }
        }

        #[test]
        fn a_template_writes_what_a_message_writes(
            names in ("[a-z]{0,9}", "[a-z]{0,9}"), properties in prop::collection::vec(any::<u8>(), 2..30),
            bodies in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), any::<u64>()), 1..5),
            priority in any::<u8>(), persistent in any::<bool>(),
        ) {
            let header = |body: &[u8]| [&[0, 60, 0, 0], &(body.len() as u64).to_be_bytes()[..], &properties].concat();
            let first = header(b"first");
            let like = Message { exchange: names.0.as_bytes(), routing_key: names.1.as_bytes(), header: &first,
                body: b"first", priority, persistent, ..Message::default() };
            let mut template = Template::of(&like).unwrap();
            for (body, enqueued_ms) in &bodies {
                let (mut written, mut expected) = (Vec::new(), Vec::new());
                template.put(body, *enqueued_ms, &mut written);
                Message { header: &header(body), body, enqueued_ms: *enqueued_ms, ..like }.put(&mut expected);
                prop_assert_eq!(written, expected);
            }
            let delayed = Message { due_ms: Some(1), ..like };
            prop_assert!(Template::of(&delayed).is_none());
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

    #[test]
    fn all_messages_of_whole_records_are_made_persistent() {
        let mut records = Vec::new();
        for (body, persistent) in [(&b"one"[..], false), (b"", true), (b"three", false)] {
            let message =
                Message { header: b"header", body, due_ms: Some(7), persistent, ..Message::default() };
            message.put(&mut records);
        }
        let before = Batch::check(records.clone().into()).unwrap();
        persist(&mut records);
        let after = Batch::check(records.into()).unwrap();
        assert_eq!((before.count, before.persistent, after.count, after.persistent), (3, 1, 3, 3));
        let (first, _) = read(&after.records).unwrap();
        assert_eq!((first.body, first.due_ms, first.header), (&b"one"[..], Some(7), &b"header"[..]));
    }
}
