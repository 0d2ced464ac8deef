//! Everything that nodes tell each other.

use bytes::Bytes;

use super::forward::{Answers, Forward};
use crate::broker::ids::{GroupId, NodeId};

/// A message from node to node. Raft's may be lost; all others come in order and once, or the link is reported as down.
#[derive(Clone, Debug)]
pub(crate) enum PeerMessage {
    /// Raft messages of a group, each encoded (prost).
    Raft(GroupId, Vec<Bytes>),
    /// This node leads these groups: (group, term).
    Leads(Vec<(GroupId, u64)>),
    Forward(Forward),
    Answers(Answers),
    /// A piece of a snapshot.
    Snapshot(SnapshotPiece),
    /// A change of the declarations, for the meta group's leader: a number of the asking node, the encoded command.
    Propose(u64, Bytes),
    /// The meta group's leader did not take what was proposed under this number: ask the one named, or again later (0).
    NotProposed(u64, NodeId),
    /// A question or order of those who run the cluster, encoded; and its answer. The number pairs them.
    Ask(u64, Bytes),
    Answer(u64, Bytes),
    Declared(Declared),
}

/// How far nodes are with what is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Declarations are carried out here up to this index of the meta group.
    Applied(u64),
    /// Asks the meta group's leader how far they are; with the time of asking, for the asker alone.
    Asks(u64),
    /// When was asked, and up to which index they were agreed on.
    UpTo(u64, u64),
}

/// A snapshot of a group on its way to a member, in order.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotPiece {
    /// Begins: group, number of the snapshot, log index and term it stands for, members (encoded `ConfState`).
    Begin { group: GroupId, number: u64, index: u64, term: u64, members: Bytes },
    /// Rows of the cold store as (key, value), to be written as they are.
    Rows { group: GroupId, number: u64, rows: Bytes },
    /// It is complete.
    End { group: GroupId, number: u64 },
    /// The receiver has so many pieces on disk: the sender stays a few ahead of that.
    Taken { group: GroupId, number: u64, pieces: u64 },
    /// The receiver has all of it, durably.
    Done { group: GroupId, number: u64 },
    /// One of the two gives up.
    Failed { group: GroupId, number: u64 },
}

/// What becomes of a link to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Up,
    Down,
    /// Down, and the node's process is gone for certain: its machine refuses connections.
    Dead,
}
