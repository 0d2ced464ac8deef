//! A node that was alone becomes the first of a cluster: what it has goes where its groups look for it.

use crate::broker::ids::{GroupId, Home, META_GROUP};
use crate::broker::queue::{ChunkWrite, Queue};
use crate::node::recover::Recovered;
use crate::node::tasks::group::row::{GroupRow, STATE};
use crate::replication::Stored;
use crate::storage::{ColdBatch, ColdStore, StorageError};

/// Begins the groups that have not begun, with what this node has: it is their only member.
///
/// May be done twice: a start that was cut off leaves nothing that the next one does not do again.
pub(super) fn found_groups(
    cold: &ColdStore,
    recovered: &mut Recovered,
    (node, groups): (u16, GroupId),
    now_ms: u64,
) -> Result<(), StorageError> {
    if recovered.groups.get(&META_GROUP).is_some_and(|meta| !meta.is_empty()) {
        return Ok(());
    }
    for (entry, queue) in &mut recovered.queues {
        keep(cold, entry.id.0, queue, now_ms)?;
    }
    let mut batch = ColdBatch::new();
    // Whatever the log says of these queues up to here, is in the store: a group's queue must not see it again.
    recovered.indexes.iter().for_each(|(shard, index)| batch.put_applied(*shard, *index));
    let begun = GroupRow { applied: 1, ..GroupRow::default() }.encode();
    (1..=groups).for_each(|group| batch.put_group(group, STATE, &begun));
    cold.write(batch)?;
    cold.flush()?;
    recovered.queues.retain(|(entry, _)| matches!(entry.home, Home::Node(_)));
    recovered.groups = (META_GROUP..=groups).map(|group| (group, Stored::bootstrap(&[node]))).collect();
    Ok(())
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
