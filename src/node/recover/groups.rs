//! Groups of nodes: what the log and the cold store have of each.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::ids::{GroupId, META_GROUP};
use crate::broker::topology::Row;
use crate::node::cluster::meta::MetaState;
use crate::node::tasks::group::row::{GroupRow, RESTORING, STATE};
use crate::replication::{Stored, StoredBuilder, shard_of};
use crate::storage::log::READABLE_SHARDS;
use crate::storage::{ColdStore, Entry, StorageError};

/// A group as a restart finds it.
#[derive(Debug)]
pub(in crate::node) struct RecoveredGroup {
    /// For its consensus; empty when this node has never been a member.
    pub(in crate::node) stored: Stored,
    /// Declarations up to this index of the meta group must be known to read its queues.
    pub(in crate::node) meta_index: u64,
}

/// Groups that the log tells of.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<GroupId, StoredBuilder>);

impl Groups {
    /// Whether a record is a group's.
    pub(super) fn has(shard: u16) -> bool {
        READABLE_SHARDS.contains(&shard)
    }

    pub(super) fn add(&mut self, entry: &Entry<'_>) -> Result<(), StorageError> {
        let group = entry.shard - shard_of(META_GROUP);
        self.0.entry(group).or_insert_with(|| StoredBuilder::new(group)).add(entry)
    }

    /// Puts log and cold store together; `rows` are what is kept of the cluster beside the topology.
    pub(super) fn finish(
        mut self,
        cold: &ColdStore,
        rows: &[Row],
    ) -> Result<BTreeMap<GroupId, RecoveredGroup>, StorageError> {
        let mut numbers: BTreeSet<_> = self.0.keys().copied().collect();
        for name in [STATE, RESTORING] {
            for row in cold.groups(name) {
                numbers.insert(row?.0);
            }
        }
        let mut groups = BTreeMap::new();
        for group in numbers {
            let builder = self.0.remove(&group).unwrap_or_else(|| StoredBuilder::new(group));
            let recovered = if group == META_GROUP {
                let state = MetaState::restore(rows.iter()).map_err(|error| damaged(group, &error))?;
                let stored = builder.finish(state.applied(), state.is_restoring())?;
                RecoveredGroup { stored, meta_index: 0 }
            } else {
                of_queues(cold, group, builder)?
            };
            groups.insert(group, recovered);
        }
        Ok(groups)
    }
}

/// A group that owns queues: its log and what the cold store says of it.
pub(in crate::node) fn of_queues(
    cold: &ColdStore,
    group: GroupId,
    builder: StoredBuilder,
) -> Result<RecoveredGroup, StorageError> {
    let row = match cold.get_group(group, STATE)? {
        Some(row) => GroupRow::decode(&row).ok_or_else(|| damaged(group, &"its row is malformed"))?,
        None => GroupRow { applied: builder.beginning(), ..GroupRow::default() },
    };
    let restoring = cold.get_group(group, RESTORING)?.is_some();
    Ok(RecoveredGroup { stored: builder.finish(row.applied, restoring)?, meta_index: row.meta_index })
}

fn damaged(group: GroupId, reason: &dyn std::fmt::Display) -> StorageError {
    StorageError::Cold { action: "read", reason: format!("group {group}: {reason}") }
}
