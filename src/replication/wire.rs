//! Messages between members: the `raft` crate's message without its entries, behind it the entries with their data.
//!
//! version u8, flags u8, length of the message u32, message (prost), then per entry: term u64, kind u8, length u32, data.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::entries::Entries;
use super::record::Kind;
use crate::storage::StorageError;

const VERSION: u8 = 1;
const NEEDS_COPY: u8 = 1;
const DISMISSES: u8 = 2;
const HEAD: usize = 6;
const ENTRY_HEAD: usize = 13;

/// Data of entries smaller than this is copied out of a message, so that it does not keep all of the buffer it came in.
const SLICED_BYTES_MIN: usize = 64 << 10;

/// A message that came in.
#[derive(Debug)]
pub(super) struct Received {
    /// As the `raft` crate wants it: entries without data.
    pub(super) message: Message,
    /// The data of its entries.
    pub(super) data: Vec<Bytes>,
    /// The sender must get a copy of everything.
    pub(super) needs_copy: bool,
    /// Its index is that of the change of members behind which the receiver is no member.
    pub(super) dismisses: bool,
}

/// Encodes a message; the data of its entries comes from `entries`. `None`: they are not there any more.
///
/// # Errors
/// When the data cannot be read back.
pub(super) fn encode(
    mut message: Message,
    entries: &Entries,
    needs_copy: bool,
) -> Result<Option<Bytes>, StorageError> {
    let stubs = std::mem::take(&mut message.entries);
    let mut index = message.index;
    for stub in &stubs {
        index += 1;
        // The member has cut them off since: it is no leader any more.
        if stub.index != index || entries.meta(index).is_none_or(|meta| meta.term != stub.term) {
            return Ok(None);
        }
    }
    let data_bytes = stubs.last().map_or(0, |last| entries.bytes_between(stubs[0].index - 1, last.index));
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD + length + usize::try_from(data_bytes).unwrap_or(0));
    out.put_u8(VERSION);
    out.put_u8(if needs_copy { NEEDS_COPY } else { 0 });
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.reserve(length);
    // There is room: nothing else can fail.
    let _ = message.encode(&mut out);
    if let (Some(first), Some(last)) = (stubs.first(), stubs.last()) {
        entries.read(first.index, last.index, &mut |index, data| {
            out.put_u64(entries.term(index).unwrap_or(0));
            out.put_u8(entries.kind(index).code());
            out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(&data);
        })?;
    }
    Ok(Some(out.freeze()))
}

/// Encodes what a leader says to a node that is no member.
pub(super) fn encode_dismissal(message: &Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD + length);
    out.put_u8(VERSION);
    out.put_u8(DISMISSES);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // There is room: nothing else can fail.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// Takes a message apart; `None` when it is none.
pub(super) fn decode(bytes: &Bytes) -> Option<Received> {
    let mut rest = bytes.clone();
    if rest.remaining() < HEAD || rest.get_u8() != VERSION {
        return None;
    }
    let flags = rest.get_u8();
    let length = usize::try_from(rest.get_u32()).ok().filter(|length| *length <= rest.remaining())?;
    let mut message = Message::decode(rest.split_to(length)).ok()?;
    if !message.entries.is_empty() || !is_expected(&message) {
        return None;
    }
    let mut data = Vec::new();
    while rest.has_remaining() {
        data.push(decode_entry(&mut message, &mut rest)?);
    }
    let has_entries = message.get_msg_type() == MessageType::MsgAppend;
    (has_entries || data.is_empty()).then_some(Received {
        message,
        data,
        needs_copy: flags & NEEDS_COPY != 0,
        dismisses: flags & DISMISSES != 0,
    })
}

fn decode_entry(message: &mut Message, rest: &mut Bytes) -> Option<Bytes> {
    if rest.remaining() < ENTRY_HEAD {
        return None;
    }
    let index = message.index.checked_add(message.entries.len() as u64 + 1)?;
    let mut stub = Entry { index, term: rest.get_u64(), ..Entry::default() };
    let kind = Kind::from_code(rest.get_u8())?;
    let length = usize::try_from(rest.get_u32()).ok().filter(|length| *length <= rest.remaining())?;
    let data = rest.split_to(length);
    let data = if length < SLICED_BYTES_MIN { Bytes::copy_from_slice(&data) } else { data };
    if kind == Kind::Members {
        stub.set_entry_type(EntryType::EntryConfChangeV2);
        stub.data = data.to_vec();
    }
    message.entries.push(stub);
    Some(data)
}

/// Messages that members send each other; all others are for the crate's inside, or not used.
fn is_expected(message: &Message) -> bool {
    let known = MessageType::from_i32(message.msg_type);
    known.is_some_and(|kind| {
        matches!(
            kind,
            MessageType::MsgAppend
                | MessageType::MsgAppendResponse
                | MessageType::MsgHeartbeat
                | MessageType::MsgHeartbeatResponse
                | MessageType::MsgRequestVote
                | MessageType::MsgRequestVoteResponse
                | MessageType::MsgRequestPreVote
                | MessageType::MsgRequestPreVoteResponse
                | MessageType::MsgTimeoutNow
        )
    })
}
