//! A node that was alone becomes the first of a cluster: what it has goes where its groups look for it.

use std::collections::BTreeMap;

use crate::broker::ids::{GroupId, META_GROUP};
use crate::broker::queue::{ChunkWrite, Queue};
use crate::node::cluster::formation::Addresses;
use crate::node::cluster::members::Member;
use crate::node::cluster::membership::Membership;
use crate::node::cluster::meta::MetaState;
use crate::node::recover::{Recovered, RecoveredGroup};
use crate::node::tasks::group::row::{GroupRow, STATE};
use crate::replication::Stored;
use crate::storage::{ColdBatch, ColdStore, StorageError};

/// Whether the node founds its cluster with this start: it is to, and its groups have not begun.
pub(super) fn is_to_found(membership: &Membership, recovered: &Recovered) -> bool {
    let has_begun = recovered.groups.get(&META_GROUP).is_some_and(|meta| !meta.stored.is_empty());
    membership.is_founder && !has_begun
}

/// Begins the groups with what this node has: it is their only member.
///
/// May be done twice: a start that was cut off leaves nothing that the next one does not do again.
///
/// # Errors
/// When the cold store fails.
pub(super) fn found_groups(
    cold: &ColdStore,
    recovered: &mut Recovered,
    membership: &Membership,
    now_ms: u64,
) -> Result<(), StorageError> {
    for (entry, queue) in &mut recovered.queues {
        keep(cold, entry.id.0, queue, now_ms)?;
    }
    let mut batch = ColdBatch::new();
    // Whatever the log says of these queues up to here, is in the store: a group's queue must not see it again.
    recovered.indexes.iter().for_each(|(shard, index)| batch.put_applied(*shard, *index));
    let begun = GroupRow { applied: 1, ..GroupRow::default() }.encode();
    (1..=membership.groups).for_each(|group| batch.put_group(group, STATE, &begun));
    cold.write(batch)?;
    cold.flush()?;
    let begin = |group| {
        let stored = Stored::bootstrap(&[membership.node]);
        (group, RecoveredGroup { stored, meta_index: 0 })
    };
    recovered.groups = (META_GROUP..=membership.groups).map(begin).collect();
    Ok(())
}

/// Groups that the founder's first start left without a beginning: it was cut off behind that of the meta group, which the
/// log has first. Nobody else can be a member of them.
pub(super) fn begin_the_rest(groups: &mut BTreeMap<GroupId, RecoveredGroup>, membership: &Membership) {
    if !membership.is_founder {
        return;
    }
    for group in groups.values_mut().filter(|group| group.stored.is_empty() && group.meta_index == 0) {
        group.stored = Stored::bootstrap(&[membership.node]);
    }
}

/// What all nodes of the cluster know alike, at its beginning.
pub(super) fn first_state(membership: &Membership, addresses: &Addresses) -> MetaState {
    let first = Member {
        name: membership.name.clone(),
        peer_address: addresses.peers.clone(),
        client_address: addresses.clients.clone(),
        ..Member::default()
    };
    MetaState::found(membership.cluster_number().unwrap_or(0), membership.groups, first)
}

fn keep(cold: &ColdStore, id: u64, queue: &mut Queue, now_ms: u64) -> Result<(), StorageError> {
    let chunks = queue.checkpoint();
    let mut row = queue.row();
    queue.put_ids(&mut row);
    let mut batch = ColdBatch::new();
    batch.put_queue(id, &row);
    let mut stored = Vec::new();
    for ChunkWrite { first, descriptor, data, dues } in chunks {
        match data {
            Some(data) => {
                batch.put_records(id, first, &descriptor, data.front, data.records);
                stored.push(first);
            }
            None => batch.put_descriptor(id, first, &descriptor),
        }
        dues.into_iter().for_each(|(due_ms, seq)| batch.put_due(id, due_ms, seq));
    }
    cold.write(batch)?;
    stored.into_iter().for_each(|first| queue.chunk_stored(first, false, now_ms));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(is_founder: bool) -> Membership {
        Membership {
            cluster: Membership::cluster_text(7),
            node: 1,
            name: "one".to_owned(),
            run: 2,
            groups: 2,
            is_founder,
            has_left: false,
            has_log: false,
            members: Vec::new(),
        }
    }

    fn found(meta_index: u64) -> BTreeMap<GroupId, RecoveredGroup> {
        let group = |stored| RecoveredGroup { stored, meta_index };
        [(1, group(Stored::bootstrap(&[1]))), (2, group(Stored::default()))].into()
    }

    #[test]
    fn a_group_that_a_cut_off_founding_left_out_begins_with_the_next_start() {
        let mut groups = found(0);
        begin_the_rest(&mut groups, &membership(true));
        assert!(groups.values().all(|group| !group.stored.is_empty()));
        // What others may be members of is begun by nobody.
        for (meta_index, is_founder) in [(0, false), (5, true)] {
            let mut groups = found(meta_index);
            begin_the_rest(&mut groups, &membership(is_founder));
            assert!(groups[&2].stored.is_empty());
        }
    }
}
