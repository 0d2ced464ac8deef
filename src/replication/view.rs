//! The log as the `raft` crate sees it: entries without data, but for changes of the members.

use std::cell::{Cell, RefCell};

use raft::eraftpb::{Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::entries::Entries;
use super::record::{ENTRY_HEAD, Kind, Membership};

/// What the `raft` crate reads from.
#[derive(Debug)]
pub(super) struct View {
    pub(super) entries: Entries,
    hard_state: HardState,
    pub(super) members: Membership,
    /// Who needs entries that are gone.
    pub(super) wanting: RefCell<Vec<u64>>,
    /// Bytes that may still go into messages before the next look at who has how much.
    pub(super) budget_bytes: Cell<u64>,
}

impl View {
    pub(super) fn new(entries: Entries, hard_state: HardState, members: Membership) -> Self {
        Self { entries, hard_state, members, wanting: RefCell::default(), budget_bytes: Cell::new(0) }
    }

    fn stub(&self, index: u64) -> Entry {
        let term = self.entries.term(index).unwrap_or(0);
        let mut entry = Entry { index, term, ..Entry::default() };
        if self.entries.kind(index) == Kind::Members {
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.data = self.entries.change(index).map(|data| data.to_vec()).unwrap_or_default();
        }
        entry
    }
}

impl Storage for View {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.entries.base().0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.entries.last_index() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        // Only what goes into messages may be refused for now; the crate asks again when the member answers.
        let is_message = context.can_async();
        if is_message && self.budget_bytes.get() == 0 {
            return Err(StorageError::LogTemporarilyUnavailable.into());
        }
        let bytes_max = max_size.into().filter(|_| is_message).unwrap_or(u64::MAX);
        let mut end = low + 1;
        while end < high && self.entries.bytes_between(low - 1, end) <= bytes_max {
            end += 1;
        }
        if is_message {
            let bytes = self.entries.bytes_between(low - 1, end - 1).max(ENTRY_HEAD as u64);
            self.budget_bytes.set(self.budget_bytes.get().saturating_sub(bytes));
        }
        Ok((low..end).map(|index| self.stub(index)).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.entries.term(index).ok_or_else(|| {
            let gone = index < self.entries.base().0;
            if gone { StorageError::Compacted.into() } else { StorageError::Unavailable.into() }
        })
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.entries.base().0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.entries.last_index())
    }

    /// Copies travel apart; here it is noted only who needs one.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let mut wanting = self.wanting.borrow_mut();
        if !wanting.contains(&to) {
            wanting.push(to);
        }
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
