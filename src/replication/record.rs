//! A group's records in the node's log.
//!
//! Shard `0x4000 + group`; the index is the group's own count of records, not Raft's index.

use bytes::{BufMut, Bytes};
use prost::Message as _;
use raft::eraftpb::ConfState;

use crate::broker::ids::{GroupId, NodeId};
use crate::storage::Append;

/// An entry: index u64, term u64, kind u8, then its data. A lower or equal index cuts off what was behind.
pub const RAFT_ENTRY: u8 = 32;
/// What the member knows beside its entries; the last one counts.
pub const RAFT_STATE: u8 = 33;

/// Bytes in front of an entry's data.
pub(super) const ENTRY_HEAD: usize = 17;

/// Flags of a state.
const RESETS: u8 = 1;
const FLOOR: u8 = 2;

const SHARD_BASE: u16 = 0x4000;

/// The node's log knows a group's records by this shard.
#[must_use]
pub fn shard_of(group: GroupId) -> u16 {
    SHARD_BASE + group
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data of those who replicate; without data it is a leader's first.
    Normal,
    /// A change of the members.
    Members,
}

impl Kind {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Members => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Normal),
            2 => Some(Self::Members),
            _ => None,
        }
    }
}

/// An entry as its record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) kind: Kind,
}

impl EntryHead {
    /// The record; the data is not copied.
    pub(super) fn append(self, shard: u16, log_index: u64, data: Bytes) -> Append {
        let mut head = Vec::with_capacity(ENTRY_HEAD);
        head.put_u64(self.index);
        head.put_u64(self.term);
        head.put_u8(self.kind.code());
        Append { shard, index: log_index, kind: RAFT_ENTRY, head, body: data }
    }

    /// The head, and where the data begins is [`ENTRY_HEAD`].
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        Some(Self {
            index: reader.u64().filter(|index| *index > 0)?,
            term: reader.u64()?,
            kind: Kind::from_code(reader.u8()?)?,
        })
    }
}

/// Who belongs to the group, and the entry that made it so.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Membership {
    pub(super) index: u64,
    pub(super) state: ConfState,
}

impl Membership {
    pub(super) fn of_voters(voters: &[NodeId]) -> Self {
        let voters = voters.iter().map(|node| u64::from(*node)).collect();
        Self { index: 0, state: ConfState { voters, ..ConfState::default() } }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.index);
        out.extend_from_slice(&self.state.encode_to_vec());
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let index = reader.u64()?;
        let state = ConfState::decode(reader.0).ok()?;
        let mut nodes = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
        let known = nodes.iter_mut().all(|list| list.iter().all(|node| is_node(*node)));
        known.then_some(Self { index, state })
    }
}

/// Whether a number of the `raft` crate can be a node's.
pub(super) fn is_node(number: u64) -> bool {
    number != 0 && NodeId::try_from(number).is_ok()
}

/// What a member must remember beside its entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) term: u64,
    pub(super) vote: u64,
    pub(super) commit: u64,
    /// The log begins behind this entry.
    pub(super) base_index: u64,
    pub(super) base_term: u64,
    /// All entries recorded in front of this record are void.
    pub(super) resets: bool,
    /// Term and index of the last entry of a log that was forgotten: nobody with less gets a vote.
    pub(super) floor: (u64, u64),
    pub(super) members: Membership,
}

impl State {
    pub(super) fn append(&self, shard: u16, log_index: u64) -> Append {
        let mut head = Vec::with_capacity(64);
        for number in [self.term, self.vote, self.commit, self.base_index, self.base_term] {
            head.put_u64(number);
        }
        let has_floor = self.floor != (0, 0);
        head.put_u8(if self.resets { RESETS } else { 0 } | if has_floor { FLOOR } else { 0 });
        if has_floor {
            head.put_u64(self.floor.0);
            head.put_u64(self.floor.1);
        }
        self.members.encode(&mut head);
        Append { shard, index: log_index, kind: RAFT_STATE, head, body: Bytes::new() }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = reader.u64()?;
        }
        let [term, vote, commit, base_index, base_term] = numbers;
        let flags = reader.u8().filter(|flags| flags & !(RESETS | FLOOR) == 0)?;
        let floor = if flags & FLOOR != 0 { (reader.u64()?, reader.u64()?) } else { (0, 0) };
        let (resets, members) = (flags & RESETS != 0, Membership::decode(reader.0)?);
        Some(Self { term, vote, commit, base_index, base_term, resets, floor, members })
    }
}

/// Takes numbers from the front of a payload.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (number, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*number)
    }
}
