//! What this node's clients and shards ask of the declarations, before it is proposed.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::asks::{Answer, Asker, MayDelete};
use super::group::MetaGroup;
use super::proposals::Reply;
use super::{not_deleted, to_delete};
use crate::broker::ids::{Home, QueueId};
use crate::broker::topology::{Command, QueueEntry};
use crate::node::cluster::meta::{MetaAnswer, MetaCommand};
use crate::node::links::{Applied, DeleteIf, DeleteQueue, ShardInput};
use crate::protocol::error::Refusal;

impl MetaGroup {
    /// A client's command. What changes nothing is answered from what this node knows.
    pub(super) fn ask(&mut self, command: Command, reply: oneshot::Sender<Result<Applied, Refusal>>) {
        let is_question = matches!(
            command,
            Command::CheckQueue { .. }
                | Command::DeclareQueue { passive: true, .. }
                | Command::DeclareExchange { passive: true, .. }
        );
        if let Some(refusal) = self.is_unreachable(&command) {
            drop(reply.send(Err(refusal)));
        } else if is_question {
            let outcome = self.shared.topology_mut().apply(command);
            drop(reply.send(outcome.map(|outcome| Applied { outcome, index: 0 })));
        } else if self.is_void(&command) {
            drop(reply.send(Ok(Applied::default())));
        } else {
            // A connection that ends takes its queues along, however long that takes.
            let lasts = matches!(command, Command::DropOwner { .. });
            let command = MetaCommand::Topology(command);
            self.proposals.add(command, Reply::Applied(reply), lasts, self.now_ms);
        }
    }

    /// A queue whose only node does not answer is not declared a second time.
    fn is_unreachable(&self, command: &Command) -> Option<Refusal> {
        let (Command::DeclareQueue { vhost, name, .. } | Command::CheckQueue { vhost, name, .. }) = command
        else {
            return None;
        };
        let queue = self.shared.topology().queue(vhost, name).cloned()?;
        let Home::Node(node) = queue.home else { return None };
        let is_reachable = node == self.origin.node || self.cluster.peers.is_up(node);
        (!is_reachable).then(|| self.shared.unanswered(&queue))
    }

    /// Whether nothing would come of it: most connections have no queue of their own.
    fn is_void(&self, command: &Command) -> bool {
        match command {
            Command::DropOwner { owner } => !self.shared.topology().owns_queues(*owner),
            _ => false,
        }
    }

    pub(super) fn ask_to_delete(
        &mut self,
        request: DeleteQueue,
        reply: oneshot::Sender<Result<(u64, Applied), Refusal>>,
    ) {
        let DeleteQueue { vhost, name, owner, condition } = request;
        match to_delete(&self.shared, &vhost, name, owner) {
            Ok(Some(queue)) => {
                let condition = DeleteIf { only_checks: true, ..condition };
                self.ask_owner(&queue, condition, Asker::Client(reply));
            }
            Ok(None) => drop(reply.send(Ok((0, Applied::default())))),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    pub(super) fn ask_to_drop(&mut self, id: QueueId, idle_since_ms: Option<u64>) {
        let Some(queue) = self.shared.topology().queue_by_id(id).cloned() else { return };
        // Somebody may have begun to use it since the shard spoke.
        let condition = DeleteIf { unused: true, idle_since_ms, only_checks: true, ..DeleteIf::default() };
        self.ask_owner(&queue, condition, Asker::Shard(idle_since_ms));
    }

    fn ask_owner(&mut self, queue: &Arc<QueueEntry>, condition: DeleteIf, asker: Asker) {
        let (reply, answer) = oneshot::channel();
        self.shared.shard(queue.target()).push(ShardInput::Delete(queue.id, condition, reply));
        self.asks.ask(MayDelete { queue: Arc::clone(queue), asker, answer: Answer::new(answer) });
    }

    /// Queues that may go do so by their numbers: one that was declared anew meanwhile is another.
    pub(super) fn hear_owners(&mut self) {
        for (reply, outcome) in self.asks.recalled(self.now_ms) {
            self.answer_when_spread(reply, Ok(MetaAnswer::default()), outcome);
        }
        for (MayDelete { queue, asker, .. }, answer) in self.asks.answered() {
            let command = MetaCommand::Topology(Command::DropQueue { id: queue.id });
            match (answer, asker) {
                (Some(Ok(ready)), Asker::Client(reply)) => {
                    self.proposals.add(command, Reply::Deleted(ready, reply), false, self.now_ms);
                }
                (Some(Err(reason)), Asker::Client(reply)) => {
                    drop(reply.send(Err(not_deleted(reason, &queue))));
                }
                (None, Asker::Client(reply)) => drop(reply.send(Err(self.shared.unanswered(&queue)))),
                (Some(Ok(_)), Asker::Shard(_)) if !self.proposals.has(&command) => {
                    self.proposals.add(command, Reply::Nobody, true, self.now_ms);
                }
                (Some(_), Asker::Shard(_)) => {}
                (None, Asker::Shard(idle_since_ms)) => {
                    self.asks.drop_later(queue.id, idle_since_ms, self.now_ms);
                }
            }
        }
        while let Some((id, idle_since_ms)) = self.asks.drop_again(self.now_ms) {
            self.ask_to_drop(id, idle_since_ms);
        }
    }
}
