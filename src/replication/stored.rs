//! What a restart finds of a group.

use raft::eraftpb::HardState;

use super::entries::Found;
use super::record::{ENTRY_HEAD, EntryHead, Membership, RAFT_ENTRY, RAFT_STATE, State, shard_of};
use crate::broker::ids::{GroupId, NodeId};
use crate::storage::{Entry, StorageError};

/// The entry behind which a group's log begins.
const BEGUN: u64 = 1;

/// A group as its member knew it when it stopped. The default: a node that is no member and knows nothing.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub(super) state: State,
    pub(super) found: Found,
    pub(super) next_log_index: u64,
    /// Where the state is in the node's log; 0: nowhere yet.
    pub(super) state_log_index: u64,
    pub(super) applied: u64,
    pub(super) restoring: bool,
}

impl Stored {
    /// A group that begins, with these members. What its queues or declarations are at this moment is what the members have;
    /// a node that comes to the group later gets a copy.
    #[must_use]
    pub fn bootstrap(voters: &[NodeId]) -> Self {
        // Behind an entry, so that whoever does not have it cannot take it for the empty beginning.
        let members = Membership { index: 1, ..Membership::of_voters(voters) };
        let state = State { term: 1, commit: 1, base_index: 1, base_term: 1, members, ..State::default() };
        Self { state, found: Found::begin(1, 1), applied: 1, ..Self::default() }
    }

    /// A group that this node has left, and knows nothing of but the term and its vote in it.
    pub(super) fn empty(state: State, next_log_index: u64, state_log_index: u64) -> Self {
        Self { state, next_log_index, state_log_index, ..Self::default() }
    }

    /// Whether the log had nothing of the group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state_log_index == 0 && self.found.last_index() == 0
    }

    /// The first index of the node's log that is free for the group.
    #[must_use]
    pub fn next_log_index(&self) -> u64 {
        self.next_log_index
    }

    pub(super) fn hard_state(&self) -> HardState {
        let term = self.state.term.max(self.found.last_term());
        let vote = if term == self.state.term { self.state.vote } else { 0 };
        let applied = if self.restoring { 0 } else { self.applied };
        let commit = self.state.commit.max(applied).clamp(self.found.base_index, self.found.last_index());
        HardState { term, vote, commit }
    }
}

/// Collects a group from the records of its shard, in the order of the log.
#[derive(Debug)]
pub struct StoredBuilder {
    shard: u16,
    stored: Stored,
}

impl StoredBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self { shard: shard_of(group), stored: Stored::default() }
    }

    /// One record of the shard.
    ///
    /// # Errors
    /// When it is none of a group's, or cannot follow what was there before.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), StorageError> {
        let known = match entry.kind {
            RAFT_ENTRY => self.add_entry(entry),
            RAFT_STATE => self.add_state(entry),
            _ => None,
        };
        self.stored.next_log_index = entry.index + 1;
        known.ok_or_else(|| {
            StorageError::entry(self.shard, entry.index, "the record does not continue the group's log")
        })
    }

    fn add_entry(&mut self, entry: &Entry<'_>) -> Option<()> {
        let head = EntryHead::decode(entry.payload)?;
        self.stored.found.push(head, entry.index, entry.payload.get(ENTRY_HEAD..)?)
    }

    fn add_state(&mut self, entry: &Entry<'_>) -> Option<()> {
        let state = State::decode(entry.payload)?;
        if state.resets {
            self.stored.found = Found::begin(state.base_index, state.base_term);
        } else {
            self.stored.found.cut(state.base_index, state.base_term);
        }
        self.stored.state_log_index = entry.index;
        self.stored.state = State { resets: false, ..state };
        Some(())
    }

    /// The entry that a store without a row of the group has everything of: its beginning, or none for who came later and has no
    /// copy yet.
    #[must_use]
    pub fn beginning(&self) -> u64 {
        self.stored.found.base_index.min(BEGUN)
    }

    /// All records were added. The cold store says what it holds: entries up to `applied`; with `restoring` it is a copy that is
    /// not complete.
    ///
    /// # Errors
    /// When log and cold store do not fit together: entries between them are missing.
    pub fn finish(self, applied: u64, restoring: bool) -> Result<Stored, StorageError> {
        let (shard, mut stored) = (self.shard, self.stored);
        let (first, last) = (stored.found.base_index, stored.found.last_index());
        if stored.state.base_index != first {
            let reason =
                format!("the log is to begin behind {}, but begins behind {first}", stored.state.base_index);
            return Err(StorageError::entry(shard, stored.next_log_index, reason));
        }
        // Without a log the store has what the group began with, or nothing.
        let is_lost = stored.is_empty() && applied > BEGUN;
        if !restoring && (is_lost || (!stored.is_empty() && !(first..=last).contains(&applied))) {
            let reason = format!("the store has entries up to {applied}, the log from {first} to {last}");
            return Err(StorageError::entry(shard, stored.next_log_index, reason));
        }
        (stored.applied, stored.restoring) = (applied, restoring);
        Ok(stored)
    }
}
