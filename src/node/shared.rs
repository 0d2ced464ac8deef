//! What every task of a node can reach.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::auth::{Attempts, Oauth, Passwords};
use super::clock::Clock;
use super::cluster::handle::Cluster;
use super::events::declarations::Announced;
use super::events::telling::Listeners;
use super::events::tracing::Tracing;
use super::gathering::Gathering;
use super::links::{Applied, ClientInput, ClientLink, Commit, MetaInput, ShardInput, TransactionInput};
use super::mailbox::Mailbox;
use super::presence::Presence;
use super::replies::Replies;
use super::resource_alarm::ResourceAlarms;
use super::statistics::Statistics;
use super::surgery::jobs::Jobs;
use crate::broker::ids::{ConnectionId, NodeId, Placement, Run, Target, first_connection};
use crate::broker::topology::{self, Topology};
use crate::config::Config;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// The log's number for the topology; queue shards follow from 1 on.
pub(crate) const META_SHARD: u16 = 0;
/// The log's number for commits of transactions.
pub(crate) const TRANSACTIONS_SHARD: u16 = u16::MAX;

/// How long a commit may take while the node stops.
const STOPPING_COMMIT: Duration = Duration::from_secs(1);

/// A node, for its tasks.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The checked configuration, as it was at the start.
    pub(crate) config: Config,
    /// As it is by now: for what is taken over without a restart ([`crate::config::Change::is_live`]).
    pub(crate) live: ArcSwap<Config>,
    /// The time.
    pub(crate) clock: Clock,
    /// Written by the meta task only; read for short moments.
    topology: RwLock<Topology>,
    /// The topology's version, to be read without the lock.
    version: AtomicU64,
    /// The node's part in its cluster; none when it is alone.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Mailboxes for queues: those of the own shards first, then those of owners elsewhere ([`Placement`]).
    pub(crate) shards: Vec<Arc<Mailbox<ShardInput>>>,
    local_shards: usize,
    /// Mailbox of the meta task.
    pub(crate) meta: Arc<Mailbox<MetaInput>>,
    /// Mailbox of the transactions task.
    pub(crate) transactions: Arc<Mailbox<TransactionInput>>,
    /// The log is synced up to this index of [`META_SHARD`].
    pub(crate) meta_synced: AtomicU64,
    /// Clients that hold replies back until the topology's changes are synced.
    meta_waiters: Mutex<Vec<(u64, Arc<ClientLink>)>>,
    meta_synced_told: Notify,
    /// A connection needs one of these; as many as the configuration allows.
    pub(crate) places: Arc<Semaphore>,
    /// Client tasks by connection.
    pub(crate) clients: DashMap<ConnectionId, Arc<ClientLink>>,
    /// Channels that wait for replies.
    pub(crate) replies: Replies,
    /// Large messages that are gathered.
    pub(crate) gathering: Gathering,
    /// What the machine is short of.
    pub(crate) resource_alarms: ResourceAlarms,
    /// Who is connected.
    pub(crate) presence: Presence,
    /// Whether somebody listens to events.
    pub(crate) listeners: Listeners,
    /// Vhosts whose messages are copied.
    pub(crate) tracing: Tracing,
    /// What is done with messages in queues.
    pub(crate) jobs: Jobs,
    /// What was counted.
    pub(crate) statistics: Statistics,
    /// Login checks.
    pub(crate) passwords: Passwords,
    /// Logins that went wrong.
    pub(crate) attempts: Attempts,
    /// Tokens, if they are taken.
    pub(crate) oauth: Option<Oauth>,
    next_id: AtomicU64,
    /// The node has to stop.
    stopping: AtomicBool,
    stopping_told: Notify,
}

impl Shared {
    /// A node by itself, with a topology that is recovered.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn alone(config: Config, clock: Clock, topology: Topology, shards: u16) -> Self {
        Self::new(config, clock, topology, Placement::alone(shards), None)
    }

    /// A node with a topology that is recovered, and with its part in a cluster.
    #[must_use]
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        topology: Topology,
        placement: Placement,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let oauth = config.security.oauth2.clone().map(Oauth::new);
        let mailbox_bytes = config.limits.mailbox_bytes;
        let places = Arc::new(Semaphore::new(config.listener.connections_max));
        let gathering_bytes = config.memory.gathering_bytes;
        Self {
            live: ArcSwap::from_pointee(config.clone()),
            config,
            clock,
            version: AtomicU64::new(topology.version()),
            topology: RwLock::new(topology),
            local_shards: usize::from(placement.shards),
            shards: (0..placement.mailboxes()).map(|_| Arc::new(Mailbox::new(mailbox_bytes))).collect(),
            meta: Arc::new(Mailbox::new(mailbox_bytes)),
            transactions: Arc::new(Mailbox::new(mailbox_bytes)),
            meta_synced: AtomicU64::new(0),
            meta_waiters: Mutex::default(),
            meta_synced_told: Notify::new(),
            places,
            clients: DashMap::new(),
            replies: Replies::default(),
            gathering: Gathering::new(gathering_bytes),
            resource_alarms: ResourceAlarms::default(),
            presence: Presence::default(),
            listeners: Listeners::default(),
            tracing: Tracing::default(),
            jobs: Jobs::default(),
            statistics: Statistics::default(),
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            oauth,
            // Numbers of consumers travel: they are unique in the cluster.
            next_id: AtomicU64::new(if cluster.is_some() {
                first_connection(placement.node, 0) + 1
            } else {
                1
            }),
            cluster,
            stopping: AtomicBool::new(false),
            stopping_told: Notify::new(),
        }
    }

    /// Reads the topology; hold it for a moment only, never over an await.
    pub(crate) fn topology(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the meta task alone.
    pub(crate) fn topology_mut(&self) -> RwLockWriteGuard<'_, Topology> {
        self.topology.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that routes must have been found in.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Publishes a new version after a change.
    pub(crate) fn set_version(&self, version: u64) {
        self.version.store(version, Ordering::Release);
    }

    /// Numbers of connections and consumers are those of this run of a node of a cluster from now on.
    pub(crate) fn number_as(&self, node: NodeId, run: Run) {
        self.next_id.store(first_connection(node, run) + 1, Ordering::Relaxed);
    }

    /// A number for a connection or consumer; never 0.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A node's name, for people.
    pub(crate) fn node_name(&self, node: NodeId) -> String {
        let Some(cluster) = &self.cluster else { return self.config.node.name.clone() };
        cluster.members().name(node).map_or_else(|| node.to_string(), str::to_owned)
    }

    /// Mailboxes of this node's own shards.
    pub(crate) fn own_shards(&self) -> &[Arc<Mailbox<ShardInput>>] {
        &self.shards[..self.local_shards]
    }

    /// How much memory each shard may use for messages, also that of a group, in bytes.
    pub(crate) fn share_bytes(&self) -> usize {
        let groups = self.cluster.as_ref().map_or(0, |cluster| cluster.groups.len());
        let all = usize::try_from(self.config.memory.messages_bytes).unwrap_or(usize::MAX);
        all / (self.local_shards + groups).max(1)
    }

    /// The mailbox of a queue's shard.
    #[must_use]
    pub(crate) fn shard(&self, target: Target) -> &Arc<Mailbox<ShardInput>> {
        &self.shards[usize::from(target.shard)]
    }

    /// Whether a queue's owner takes dead letters. Those on this node do; on the way to others there is room for so many.
    pub(crate) fn takes_letters(&self, target: Target) -> bool {
        let Some(cluster) = self.cluster.as_ref().filter(|_| usize::from(target.shard) >= self.local_shards)
        else {
            return true;
        };
        self.shard(target).has_room() && !cluster.is_full_of_letters(target.shard)
    }

    /// Has the topology changed by the meta task.
    ///
    /// # Errors
    /// What the topology answers, or 541 when the node is stopping.
    pub(crate) async fn apply(&self, command: topology::Command) -> Result<Applied, Refusal> {
        let announced = Announced::before(self, &command);
        let (reply, answer) = oneshot::channel();
        self.meta.push(MetaInput::Apply(Box::new(command), reply));
        let applied = answer.await.unwrap_or_else(|_| Err(stopping()));
        if let (Some(announced), Ok(applied)) = (announced, &applied) {
            announced.tell(self, &applied.outcome);
        }
        applied
    }

    /// Commits a transaction: when this returns, all of it is safe and visible.
    ///
    /// # Errors
    /// Why nothing of it took place; 541 when the node is stopping, and nobody knows.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.transactions.push(TransactionInput::Commit(Box::new(commit), reply));
        let too_late = async {
            self.stopped().await;
            tokio::time::sleep(STOPPING_COMMIT).await;
        };
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(stopping())),
            () = too_late => Err(stopping()),
        }
    }

    /// Asks a shard; `None` when there is no answer, see [`Self::unanswered`].
    pub(crate) async fn ask<T>(
        &self,
        target: Target,
        ask: impl FnOnce(oneshot::Sender<T>) -> ShardInput,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.shard(target).push(ask(reply));
        answer.await.ok()
    }

    /// Has a client told when the topology's changes are synced up to `index`; it must look once more after this.
    pub(crate) fn wait_for_meta(&self, index: u64, client: Arc<ClientLink>) {
        self.meta_waiters.lock().unwrap_or_else(PoisonError::into_inner).push((index, client));
    }

    /// The topology's changes are synced up to this index.
    pub(crate) fn meta_is_synced(&self, index: u64) {
        self.meta_synced.fetch_max(index, Ordering::SeqCst);
        let mut waiters = self.meta_waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, client) in waiters.extract_if(.., |(waiting, _)| *waiting <= index) {
            client.mailbox.push(ClientInput::MetaSynced);
        }
        drop(waiters);
        self.meta_synced_told.notify_waiters();
    }

    /// Waits until the topology's changes are synced up to `index`; false when the node stops before.
    pub(crate) async fn meta_is_synced_up_to(&self, index: u64) -> bool {
        loop {
            let mut told = std::pin::pin!(self.meta_synced_told.notified());
            told.as_mut().enable();
            if self.meta_synced.load(Ordering::SeqCst) >= index {
                return true;
            }
            tokio::select! {
                () = told => {}
                () = self.stopped() => return false,
            }
        }
    }

    /// Begins the stop of the node.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stopping_told.notify_waiters();
        // A client that is not listed yet looks at the flag after it is.
        for client in &self.clients {
            client.mailbox.push(ClientInput::Stopping);
        }
    }

    /// Whether the node is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits until the node has to stop.
    pub(crate) async fn stopped(&self) {
        let mut told = std::pin::pin!(self.stopping_told.notified());
        told.as_mut().enable();
        if !self.is_stopping() {
            told.await;
        }
    }
}

/// The answer to requests that a stopping node cannot serve.
#[must_use]
pub(crate) fn stopping() -> Refusal {
    Refusal::connection(
        ReplyCode::ConnectionForced,
        "broker forced connection closure with reason 'shutdown'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ids::node_of;

    #[test]
    fn numbers_say_where_a_connection_is() {
        let config = Config::load(None).expect("the defaults are right");
        let shared = Shared::alone(config, Clock::start(), Topology::new(Placement::alone(1)), 1);
        assert_eq!(shared.next_id(), 1, "a node by itself counts from 1 on");
        shared.number_as(3, 7);
        let (first, second) = (shared.next_id(), shared.next_id());
        assert_eq!((node_of(first), second), (3, first + 1));
        shared.number_as(3, 8);
        assert!(shared.next_id() > second + 1_000_000_000_000);
    }

    #[test]
    fn a_client_that_waits_for_a_later_index_is_told_of_that_one() {
        let config = Config::load(None).expect("the defaults are right");
        let shared = Shared::alone(config, Clock::start(), Topology::new(Placement::alone(1)), 1);
        let client = Arc::new(ClientLink { id: 1, mailbox: Mailbox::new(usize::MAX) });
        shared.wait_for_meta(5, Arc::clone(&client));
        let mut told = Vec::new();
        shared.meta_is_synced(4);
        client.mailbox.take(&mut told);
        assert!(told.is_empty());
        shared.meta_is_synced(5);
        client.mailbox.take(&mut told);
        assert!(matches!(told.as_slice(), [ClientInput::MetaSynced]));
    }
}
