//! A node's log in memory: what is not synced is lost with the node.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::broker::ids::GroupId;
use crate::replication::{Stored, StoredBuilder, shard_of};
use crate::storage::log::{ReadBack, ReadableLog};
use crate::storage::{Append, Entry, StorageError};

/// The log of one group.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    records: BTreeMap<u64, (u8, Bytes)>,
    synced: u64,
    released: u64,
}

impl Disk {
    fn records(&self) -> std::sync::MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last record written.
    pub(super) fn last(&self) -> u64 {
        self.records().records.last_key_value().map_or(0, |(index, _)| *index)
    }

    pub(super) fn sync_to(&self, index: u64) {
        let mut records = self.records();
        records.synced = records.synced.max(index);
    }

    /// Power goes: of what is not synced, so many records remain.
    pub(super) fn crash(&self, remain: u64) {
        let mut records = self.records();
        let kept = records.synced + remain;
        records.records.retain(|index, _| *index <= kept);
    }

    pub(super) fn release(&self, below: u64) {
        let mut records = self.records();
        // Whole segments only.
        let below = below - below % 7;
        records.released = records.released.max(below);
        records.records.retain(|index, _| *index >= below);
    }

    pub(super) fn recover(
        &self,
        group: GroupId,
        applied: u64,
        restoring: bool,
    ) -> Result<Stored, StorageError> {
        let mut records = self.records();
        let mut builder = StoredBuilder::new(group);
        for (index, (kind, payload)) in &records.records {
            builder.add(&Entry { shard: shard_of(group), index: *index, kind: *kind, payload })?;
        }
        records.synced = records.records.last_key_value().map_or(records.synced, |(index, _)| *index);
        builder.finish(applied, restoring)
    }
}

impl ReadableLog for Disk {
    fn append(&self, appended: Vec<Append>) {
        let mut records = self.records();
        for record in appended {
            let payload = Bytes::from([&record.head[..], &record.body[..]].concat());
            let last = records.records.last_key_value().map_or(0, |(index, _)| *index);
            assert!(record.index > last, "log indexes rise");
            records.records.insert(record.index, (record.kind, payload));
        }
    }

    fn read(
        &self,
        shard: u16,
        indexes: RangeInclusive<u64>,
        bytes_max: usize,
    ) -> Result<Vec<ReadBack>, StorageError> {
        let records = self.records();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for index in indexes {
            let readable = index <= records.synced && index >= records.released;
            let record = records.records.get(&index).filter(|_| readable);
            let (kind, payload) = record.ok_or_else(|| StorageError::entry(shard, index, "not there"))?;
            bytes += payload.len();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(ReadBack { index, kind: *kind, payload: payload.clone() });
        }
        Ok(found)
    }
}
