//! The meta task: applies every change of the topology in one order, logs what is durable, tells the shards.
//!
//! Here it is for a node by itself. In a cluster:
//! - `group`: the task, a member of the group that orders declarations
//! - `asking`: what clients and shards ask; `asks`: what queues are asked first
//! - `proposals`, `proposing`: what this node asks of the group, and how it gets there
//! - `apply`: what the group has committed; `effects`: what that means for queues of this node
//! - `copies`: everything at once, for members that lack too much
//! - `spread`: that every node knows what is declared; `nodes`: which nodes work

mod apply;
mod asking;
mod asks;
mod copies;
mod effects;
pub(crate) mod group;
mod nodes;
mod proposals;
mod proposing;
mod spread;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::broker::ids::{ConnectionId, QueueId};
use crate::broker::topology::{Change, Command, Outcome, QueueEntry, Recall};
use crate::node::events::declarations::tell_deleted;
use crate::node::links::{Applied, DeleteIf, DeleteQueue, MetaInput, NotDeleted, ShardInput};
use crate::node::shared::{META_SHARD, Shared};
use crate::node::tasks::cold::ColdLink;
use crate::node::tasks::shard::record;
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;
use crate::storage::{Append, LogHandle};

/// A store that cannot be read must not keep all declarations waiting.
const RECALL_MAX: Duration = Duration::from_secs(5);

/// The meta task's state.
pub(crate) struct Meta {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: LogHandle,
    pub(crate) cold: ColdLink,
    /// The last log index given out.
    pub(crate) index: u64,
    /// A checkpoint that waits for the log.
    pub(crate) checkpoint: Option<oneshot::Sender<u64>>,
}

impl Meta {
    /// Runs until the node's runtime ends.
    pub(crate) async fn run(mut self) {
        let mut inputs = Vec::new();
        loop {
            self.shared.meta.filled().await;
            self.shared.meta.take(&mut inputs);
            for input in inputs.drain(..) {
                self.handle(input).await;
            }
            self.send_synced();
            tokio::task::consume_budget().await;
        }
    }

    async fn handle(&mut self, input: MetaInput) {
        match input {
            MetaInput::Apply(command, reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.apply(*command).await);
            }
            MetaInput::DeleteQueue(request, reply) => {
                let _ = reply.send(self.delete_queue(request).await);
            }
            MetaInput::Drop(id, idle_since_ms) => self.drop_queue(id, idle_since_ms).await,
            MetaInput::Propose(_, reply) => drop(reply.send(Err(not_in_a_cluster()))),
            MetaInput::Flushed(reply) => drop(reply.send(0)),
            // A node by itself has neither links nor groups.
            MetaInput::Peer(..)
            | MetaInput::Link(..)
            | MetaInput::Control(_)
            | MetaInput::GroupSynced(_)
            | MetaInput::Installed(_) => {}
            MetaInput::Synced(index) => self.shared.meta_is_synced(index),
            MetaInput::Checkpoint(reply) => self.checkpoint = Some(reply),
        }
    }

    async fn apply(&mut self, command: Command) -> Result<Applied, Refusal> {
        // An exchange that delays messages comes with a queue.
        let declares = matches!(command, Command::DeclareQueue { .. } | Command::DeclareExchange { .. });
        let gone = Gone::by(&command);
        let shared = Arc::clone(&self.shared);
        let (outcome, index, recalled) = {
            // Nobody may route to a queue before its shard and the log know it: what is published there would be lost.
            let mut topology = shared.topology_mut();
            let outcome = topology.apply(command)?;
            let index = self.keep(&outcome);
            let declared = outcome.queue.as_ref().filter(|_| declares && outcome.created);
            for queue in declared.into_iter().chain(&outcome.companion) {
                shared.shard(queue.target()).push(ShardInput::Create(Arc::clone(queue)));
            }
            // What is published from here on is not among what a new binding is given.
            let recalled = outcome.recall.as_ref().map(|recall| recall_for(&shared, recall));
            shared.set_version(topology.version());
            (outcome, index, recalled)
        };
        gone.close_connections(&shared);
        reconfigure(&shared, &outcome);
        if let Some(recalled) = recalled {
            // When the exchange is deleted meanwhile, nobody answers.
            let _ = tokio::time::timeout(RECALL_MAX, recalled).await;
        }
        for queue in &outcome.deleted_queues {
            self.delete_in_shard(queue, DeleteIf::default()).await;
        }
        Ok(Applied { outcome, index })
    }

    /// Hands rows to the cold store once the log has them: the store must never be ahead of the log.
    fn send_synced(&mut self) {
        if self.shared.meta_synced.load(Ordering::SeqCst) < self.index {
            return;
        }
        self.cold.send();
        if let Some(reply) = self.checkpoint.take() {
            let _ = reply.send(self.index);
        }
    }

    /// Logs what has to survive. Gives the index to wait for, 0 when there is none.
    fn keep(&mut self, outcome: &Outcome) -> u64 {
        if outcome.changes.is_empty() {
            // What was there already may not be safe yet: whoever declared it first still waits.
            return if outcome.created { 0 } else { self.index };
        }
        let mut payload = Vec::new();
        for change in &outcome.changes {
            change.encode(&mut payload);
            match change {
                Change::Put(row) => self.cold.batch().put_meta(&row.key().0, &row.value()),
                Change::Delete(key) => self.cold.batch().delete_meta(&key.0),
            }
        }
        self.index += 1;
        self.log.append(vec![Append {
            shard: META_SHARD,
            index: self.index,
            kind: record::ROWS,
            head: payload,
            body: Bytes::new(),
        }]);
        self.index
    }

    async fn delete_queue(&mut self, request: DeleteQueue) -> Result<(u64, Applied), Refusal> {
        let DeleteQueue { vhost, name, owner, condition } = request;
        let Some(queue) = to_delete(&self.shared, &vhost, name, owner)? else {
            return Ok((0, Applied::default()));
        };
        let ready =
            self.delete_in_shard(&queue, condition).await.ok_or_else(|| self.shared.unanswered(&queue))?;
        let ready = ready.map_err(|reason| not_deleted(reason, &queue))?;
        let applied = self.apply(Command::DropQueue { id: queue.id }).await?;
        Ok((ready, applied))
    }

    async fn drop_queue(&mut self, id: QueueId, idle_since_ms: Option<u64>) {
        let entry = self.shared.topology().queue_by_id(id).cloned();
        let Some(queue) = entry else { return };
        // Somebody may have begun to use it since the shard spoke.
        let unused = DeleteIf { unused: true, idle_since_ms, ..DeleteIf::default() };
        if matches!(self.delete_in_shard(&queue, unused).await, Some(Ok(_))) {
            // Dropping a queue is never refused.
            if let Ok(applied) = self.apply(Command::DropQueue { id }).await {
                tell_deleted(&self.shared, &applied.outcome);
            }
        }
    }

    async fn delete_in_shard(
        &self,
        queue: &QueueEntry,
        condition: DeleteIf,
    ) -> Option<Result<u64, NotDeleted>> {
        self.shared.ask(queue.target(), |reply| ShardInput::Delete(queue.id, condition, reply)).await
    }
}

/// The queue that is to be deleted; none is fine as well (RabbitMQ: Queues, queue.delete is idempotent).
fn to_delete(
    shared: &Shared,
    vhost: &str,
    name: String,
    owner: ConnectionId,
) -> Result<Option<Arc<QueueEntry>>, Refusal> {
    match shared.topology().check_queue(vhost, name, owner) {
        Ok(found) => Ok(found.queue),
        Err(refusal) if refusal.code == ReplyCode::NotFound => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Has a new binding given what its exchange keeps.
fn recall_for(shared: &Shared, recall: &Recall) -> oneshot::Receiver<()> {
    let (reply, done) = oneshot::channel();
    let Recall { companion, to } = recall;
    shared.shard(*companion).push(ShardInput::Recall(companion.id, to.clone(), reply));
    done
}

/// Whose connections end with a command.
enum Gone {
    Vhost(String),
    User(String),
    Nobody,
}

impl Gone {
    fn by(command: &Command) -> Self {
        match command {
            Command::DeleteVhost { name } => Self::Vhost(name.clone()),
            Command::DeleteUser { name } => Self::User(name.clone()),
            _ => Self::Nobody,
        }
    }

    fn close_connections(&self, shared: &Shared) {
        match self {
            Self::Vhost(name) => shared.presence.vhost_is_deleted(name),
            Self::User(name) => shared.presence.user_is_deleted(name),
            Self::Nobody => {}
        }
    }
}

/// Tells the shards by which settings queues are to work from now on.
fn reconfigure(shared: &Shared, outcome: &Outcome) {
    if outcome.changed_queues.is_empty() {
        return;
    }
    for (number, shard) in (0..).zip(shared.own_shards()) {
        let changed = outcome.changed_queues.iter().filter(|queue| queue.shard == number);
        shard.push(ShardInput::Reconfigure(changed.cloned().collect()));
    }
}

fn not_in_a_cluster() -> Refusal {
    Refusal::channel(ReplyCode::PreconditionFailed, "this node is not in a cluster")
}

fn not_deleted(reason: NotDeleted, queue: &QueueEntry) -> Refusal {
    let reason = match reason {
        NotDeleted::InUse => "in use",
        NotDeleted::NotEmpty => "not empty",
    };
    let text = format!("queue '{}' in vhost '{}' {reason}", queue.name, queue.vhost);
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}
