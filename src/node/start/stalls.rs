//! A disk that does not answer fails nothing by itself: those who lead others are told, and let others lead.

use std::sync::Arc;
use std::time::Duration;

use crate::node::cluster::inputs::{GroupControl, GroupInput};
use crate::node::links::MetaInput;
use crate::node::shared::Shared;
use crate::storage::{LogHandle, StorageError};

/// Watches the log for as long as it runs.
pub(super) fn watch(log: &LogHandle, shared: &Arc<Shared>) -> Result<(), StorageError> {
    let limit_ms = shared.config.log.stall_ms;
    let told = Arc::clone(shared);
    log.watch_stalls(Duration::from_millis(limit_ms), move |stalls| {
        if stalls {
            tracing::error!(limit_ms, "the disk does not answer: nothing is confirmed until it does");
        } else {
            tracing::warn!("the disk answers again");
        }
        for group in told.cluster.iter().flat_map(|cluster| &cluster.groups) {
            group.push(GroupInput::Control(GroupControl::DiskStalls(stalls)));
        }
        told.meta.push(MetaInput::Control(GroupControl::DiskStalls(stalls)));
    })
}
