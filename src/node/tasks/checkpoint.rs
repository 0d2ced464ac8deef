//! Checkpoints: when the log is over its budget, what is still alive moves to the cold store and the log is released.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::cold::CheckpointLink;
use crate::broker::ids::META_GROUP;
use crate::node::cluster::inputs::GroupInput;
use crate::node::links::{MetaInput, ShardInput, TransactionInput};
use crate::node::shared::{META_SHARD, Shared, TRANSACTIONS_SHARD};
use crate::replication::shard_of;
use crate::storage::{LogHandle, Synced};

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches the log's size for as long as the node runs. `earlier` are log positions of shards that are no more.
pub(crate) async fn run(shared: Arc<Shared>, log: LogHandle, cold: CheckpointLink, earlier: Vec<(u16, u64)>) {
    let mut goal = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let live = log.live_bytes();
        if live > shared.config.log.budget_bytes.max(goal) {
            if !checkpoint(&shared, &log, &cold, &earlier).await {
                return;
            }
            // What a checkpoint cannot release (it began before) must not start one checkpoint after the other.
            goal = log.live_bytes() + shared.config.log.segment_bytes;
            tracing::debug!(log_bytes_before = live, log_bytes = log.live_bytes(), "checkpoint done");
        }
    }
}

/// One checkpoint. False when the node is stopping or the cold store has failed.
pub(crate) async fn checkpoint(
    shared: &Shared,
    log: &LogHandle,
    cold: &CheckpointLink,
    earlier: &[(u16, u64)],
) -> bool {
    let mut applied = earlier.to_vec();
    let (reply, answer) = oneshot::channel();
    shared.meta.push(MetaInput::Checkpoint(reply));
    let Ok(index) = answer.await else { return false };
    applied.push((META_SHARD, index));
    // Before the shards are asked: what they were told until then is in the cold store afterwards.
    let (reply, answer) = oneshot::channel();
    shared.transactions.push(TransactionInput::Checkpoint(reply));
    let Ok(index) = answer.await else { return false };
    applied.push((TRANSACTIONS_SHARD, index));
    for (number, shard) in (1u16..).zip(shared.own_shards()) {
        let (reply, answer) = oneshot::channel();
        shard.push(ShardInput::Checkpoint(reply));
        let Ok(index) = answer.await else { return false };
        applied.push((number, index));
    }
    let groups = shared.cluster.as_ref().map_or(&[][..], |cluster| &cluster.groups);
    for group in groups {
        let (reply, answer) = oneshot::channel();
        group.push(GroupInput::Checkpoint(reply));
        // What is needed of its log is known when all is flushed.
        if answer.await.is_err() {
            return false;
        }
    }
    if !cold.flush(applied.clone()).await {
        return false;
    }
    for (number, group) in (1..).zip(groups) {
        let (reply, answer) = oneshot::channel();
        group.push(GroupInput::Flushed(reply));
        let Ok(index) = answer.await else { return false };
        applied.push((shard_of(number), index));
    }
    if shared.cluster.is_some() {
        let (reply, answer) = oneshot::channel();
        shared.meta.push(MetaInput::Flushed(reply));
        let Ok(index) = answer.await else { return false };
        applied.push((shard_of(META_GROUP), index));
    }
    let synced: Vec<_> = applied.into_iter().map(|(shard, index)| Synced { shard, index }).collect();
    let log = log.clone();
    tokio::task::spawn_blocking(move || log.release(&synced)).await.is_ok()
}
