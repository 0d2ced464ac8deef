//! A group's log as this member has it: of every entry where it is in the node's log, of recent ones the data.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::record::{ENTRY_HEAD, EntryHead, Kind, RAFT_ENTRY};
use crate::storage::StorageError;
use crate::storage::log::ReadableLog;

/// The log. It begins behind the entry `base`, which is known by term only.
#[derive(Debug)]
pub(super) struct Entries {
    shard: u16,
    log: Arc<dyn ReadableLog>,
    base_index: u64,
    base_term: u64,
    base_bytes: u64,
    metas: VecDeque<Meta>,
    /// Changes of the members, which the `raft` crate looks into.
    changes: BTreeMap<u64, Bytes>,
    /// The data of the last entries.
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
}

/// What is known of an entry without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) term: u64,
    pub(super) log_index: u64,
    /// Bytes of all entries up to the end of this one, counted from anywhere.
    end_bytes: u64,
}

/// What a restart found of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) base_index: u64,
    pub(super) base_term: u64,
    base_bytes: u64,
    metas: VecDeque<Meta>,
    changes: BTreeMap<u64, Bytes>,
}

impl Found {
    /// The log begins behind an entry.
    pub(super) fn begin(index: u64, term: u64) -> Self {
        Self { base_index: index, base_term: term, ..Self::default() }
    }

    pub(super) fn last_index(&self) -> u64 {
        self.base_index + self.metas.len() as u64
    }

    pub(super) fn last_term(&self) -> u64 {
        self.metas.back().map_or(self.base_term, |meta| meta.term)
    }

    /// An entry, and its log index; the log may hold it already, or others behind it. What was released may be missing in
    /// front of the first one. `None`: others are missing in front of it.
    pub(super) fn push(&mut self, head: EntryHead, log_index: u64, data: &[u8]) -> Option<()> {
        if head.index <= self.base_index {
            *self = Self::begin(head.index - 1, 0);
        } else if head.index > self.last_index() + 1 {
            if !self.metas.is_empty() {
                return None;
            }
            *self = Self::begin(head.index - 1, 0);
        }
        let kept = usize::try_from(head.index - self.base_index - 1).ok()?;
        self.metas.truncate(kept);
        self.changes.retain(|index, _| *index < head.index);
        let start = self.metas.back().map_or(self.base_bytes, |meta| meta.end_bytes);
        let end_bytes = start + (ENTRY_HEAD + data.len()) as u64;
        self.metas.push_back(Meta { term: head.term, log_index, end_bytes });
        if head.kind == Kind::Members {
            self.changes.insert(head.index, Bytes::copy_from_slice(data));
        }
        Some(())
    }

    /// The log begins behind this entry from now on; further behind if what is found of it does.
    pub(super) fn cut(&mut self, index: u64, term: u64) {
        if index < self.base_index && !self.metas.is_empty() {
            return;
        }
        let gone = index.saturating_sub(self.base_index).min(self.metas.len() as u64);
        for _ in 0..gone {
            if let Some(meta) = self.metas.pop_front() {
                self.base_bytes = meta.end_bytes;
            }
        }
        self.changes.retain(|at, _| *at > index);
        (self.base_index, self.base_term) = (index, term);
    }
}

impl Entries {
    pub(super) fn new(shard: u16, log: Arc<dyn ReadableLog>, found: Found) -> Self {
        Self {
            shard,
            log,
            base_index: found.base_index,
            base_term: found.base_term,
            base_bytes: found.base_bytes,
            metas: found.metas,
            changes: found.changes,
            recent: VecDeque::new(),
            recent_bytes: 0,
        }
    }

    pub(super) fn base(&self) -> (u64, u64) {
        (self.base_index, self.base_term)
    }

    pub(super) fn last_index(&self) -> u64 {
        self.base_index + self.metas.len() as u64
    }

    pub(super) fn meta(&self, index: u64) -> Option<&Meta> {
        let at = index.checked_sub(self.base_index + 1)?;
        self.metas.get(usize::try_from(at).ok()?)
    }

    /// The term of an entry; also of the one in front of the first.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base_index { Some(self.base_term) } else { self.meta(index).map(|meta| meta.term) }
    }

    /// The data of a change of the members.
    pub(super) fn change(&self, index: u64) -> Option<&Bytes> {
        self.changes.get(&index)
    }

    /// The last change of the members; 0 when there is none.
    pub(super) fn last_change(&self) -> u64 {
        self.changes.last_key_value().map_or(0, |(index, _)| *index)
    }

    pub(super) fn log(&self) -> Arc<dyn ReadableLog> {
        Arc::clone(&self.log)
    }

    pub(super) fn kind(&self, index: u64) -> Kind {
        if self.changes.contains_key(&index) { Kind::Members } else { Kind::Normal }
    }

    /// Where the first entry is in the node's log.
    pub(super) fn first_log_index(&self) -> Option<u64> {
        self.metas.front().map(|meta| meta.log_index)
    }

    /// Bytes of all entries up to this one, counted from anywhere: only differences mean something.
    pub(super) fn end_bytes(&self, index: u64) -> u64 {
        if index <= self.base_index {
            return self.base_bytes;
        }
        self.meta(index).or_else(|| self.metas.back()).map_or(self.base_bytes, |meta| meta.end_bytes)
    }

    /// Bytes of the entries behind one, up to another.
    pub(super) fn bytes_between(&self, behind: u64, up_to: u64) -> u64 {
        self.end_bytes(up_to).saturating_sub(self.end_bytes(behind))
    }

    /// Removes this entry and all behind it.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.last_index() >= index.max(self.base_index + 1) {
            self.metas.pop_back();
            if let Some(data) = self.recent.pop_back() {
                self.recent_bytes -= data.len();
            }
        }
        self.changes.retain(|at, _| *at < index);
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, head: EntryHead, log_index: u64, data: Bytes) {
        debug_assert_eq!(head.index, self.last_index() + 1, "entries come in order");
        let end_bytes = self.end_bytes(self.last_index()) + (ENTRY_HEAD + data.len()) as u64;
        self.metas.push_back(Meta { term: head.term, log_index, end_bytes });
        if head.kind == Kind::Members {
            self.changes.insert(head.index, data.clone());
        }
        self.recent_bytes += data.len();
        self.recent.push_back(data);
    }

    /// Forgets entries up to this one; the log begins behind it.
    pub(super) fn compact(&mut self, index: u64) {
        let Some(term) = self.term(index) else { return };
        while self.base_index < index {
            self.evict_if_all_recent();
            if let Some(meta) = self.metas.pop_front() {
                self.base_bytes = meta.end_bytes;
            }
            self.base_index += 1;
        }
        self.base_term = term;
        self.changes.retain(|at, _| *at > index);
    }

    fn evict_if_all_recent(&mut self) {
        if self.recent.len() == self.metas.len() {
            self.evict_one();
        }
    }

    fn evict_one(&mut self) {
        if let Some(data) = self.recent.pop_front() {
            self.recent_bytes -= data.len();
        }
    }

    /// Forgets everything: the log begins behind an entry that came as a copy.
    pub(super) fn reset(&mut self, index: u64, term: u64) {
        self.metas.clear();
        self.changes.clear();
        self.recent.clear();
        self.recent_bytes = 0;
        (self.base_index, self.base_term) = (index, term);
    }

    /// Forgets the data of the oldest entries, as long as it is over `bytes_max`; of those only that are with the log for
    /// certain (`synced`) and behind which everybody here is (`handed`).
    pub(super) fn evict(&mut self, bytes_max: usize, synced: u64, handed: u64) {
        while self.recent_bytes > bytes_max {
            let oldest = self.last_index() + 1 - self.recent.len() as u64;
            let is_synced = self.meta(oldest).is_some_and(|meta| meta.log_index <= synced);
            if oldest > handed || !is_synced {
                return;
            }
            self.evict_one();
        }
    }

    /// Bytes of data in memory.
    pub(super) fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }

    /// Gives the data of some entries to `take`, in order.
    ///
    /// # Errors
    /// When the node's log does not have them.
    pub(super) fn read(
        &self,
        first: u64,
        last: u64,
        take: &mut dyn FnMut(u64, Bytes),
    ) -> Result<(), StorageError> {
        let recent_first = self.last_index() + 1 - self.recent.len() as u64;
        let on_disk = recent_first.min(last + 1);
        let mut next = first;
        while next < on_disk {
            next = self.read_back(next, on_disk - 1, take)?;
        }
        while next <= last {
            let at = usize::try_from(next - recent_first).unwrap_or(usize::MAX);
            let data = self.recent.get(at).ok_or_else(|| self.missing(next))?;
            take(next, data.clone());
            next += 1;
        }
        Ok(())
    }

    /// Reads a piece of the node's log; returns the first entry that is not in it.
    fn read_back(
        &self,
        first: u64,
        last: u64,
        take: &mut dyn FnMut(u64, Bytes),
    ) -> Result<u64, StorageError> {
        let from = self.meta(first).ok_or_else(|| self.missing(first))?.log_index;
        let to = self.meta(last).ok_or_else(|| self.missing(last))?.log_index;
        let mut next = first;
        let bytes_max = usize::try_from(self.bytes_between(first - 1, last)).unwrap_or(usize::MAX);
        for record in self.log.read(self.shard, from..=to, bytes_max)? {
            let Some(meta) = self.meta(next) else { break };
            if next > last || record.index != meta.log_index {
                continue;
            }
            let head = EntryHead::decode(&record.payload).filter(|_| record.kind == RAFT_ENTRY);
            if head.is_none_or(|head| head.index != next || head.term != meta.term) {
                return Err(self.missing(next));
            }
            take(next, record.payload.slice(ENTRY_HEAD..));
            next += 1;
        }
        if next == first { Err(self.missing(first)) } else { Ok(next) }
    }

    fn missing(&self, index: u64) -> StorageError {
        let log_index = self.meta(index).map_or(0, |meta| meta.log_index);
        StorageError::entry(self.shard, log_index, format!("entry {index} of the group cannot be read back"))
    }
}
