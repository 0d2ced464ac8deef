//! From the files to what the tasks begin with.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::{Failure, StartError};
use crate::broker::ids::{GroupId, META_GROUP, Placement};
use crate::config::Config;
use crate::node::cluster::inputs::GroupInput;
use crate::node::links::{MetaInput, ShardInput, TransactionInput};
use crate::node::recover::{Recovered, recover};
use crate::node::shared::{Shared, TRANSACTIONS_SHARD};
use crate::node::tasks::cold::ColdThreads;
use crate::replication::shard_of;
use crate::storage::log::READABLE_SHARDS;
use crate::storage::{ColdOptions, ColdStore, DirectoryLock, LogHandle, LogWriter, Synced, open_directory};

pub(super) fn shards(config: &Config) -> u16 {
    match config.node.shards {
        0 => std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u16::try_from(cores.get()).ok())
            .unwrap_or(1),
        shards => shards,
    }
}

/// Locks the data directory.
pub(super) async fn open(dir: PathBuf) -> Result<DirectoryLock, StartError> {
    let opened = tokio::task::spawn_blocking(move || open_directory(&dir)).await;
    Ok(opened
        .map_err(|error| StartError::System(format!("opening the data directory failed: {error}")))??)
}

pub(super) fn load(
    config: &Config,
    directory: &DirectoryLock,
    placement: Placement,
    now_ms: u64,
    salvage: bool,
) -> Result<(ColdStore, Recovered), StartError> {
    let cold = ColdStore::open(&directory.cold_dir(), &ColdOptions::default())?;
    let recovered = recover(config, directory, &cold, placement, now_ms, salvage)?;
    Ok((cold, recovered))
}

pub(super) fn start_log(writer: LogWriter, shared: &Arc<Shared>, failure: &Failure) -> LogHandle {
    let told = Arc::clone(shared);
    let on_synced = move |synced: &[Synced]| {
        for Synced { shard, index } in synced {
            if *shard == TRANSACTIONS_SHARD {
                told.transactions.push(TransactionInput::Synced(*index));
                continue;
            }
            if READABLE_SHARDS.contains(shard) {
                group_synced(&told, *shard - shard_of(META_GROUP), *index);
                continue;
            }
            match shard.checked_sub(1).and_then(|number| told.own_shards().get(usize::from(number))) {
                Some(shard) => shard.push(ShardInput::Synced(*index)),
                None => told.meta.push(MetaInput::Synced(*index)),
            }
        }
    };
    let (shared, failure) = (Arc::clone(shared), failure.clone());
    writer.start(Box::new(on_synced), Box::new(move |error| failure.set(&shared, &error)))
}

fn group_synced(shared: &Shared, group: GroupId, index: u64) {
    if group == META_GROUP {
        shared.meta.push(MetaInput::GroupSynced(index));
    } else if let Some(mailbox) = shared.cluster.as_ref().and_then(|cluster| cluster.group(group)) {
        mailbox.push(GroupInput::LogSynced(index));
    }
}

pub(super) fn start_cold(
    cold: ColdStore,
    shared: &Arc<Shared>,
    failure: &Failure,
) -> Result<ColdThreads, StartError> {
    let (shared, failure) = (Arc::clone(shared), failure.clone());
    ColdThreads::start(Arc::new(cold), move |error| failure.set(&shared, &error))
        .map_err(|error| StartError::System(format!("cannot start the cold store's threads: {error}")))
}
