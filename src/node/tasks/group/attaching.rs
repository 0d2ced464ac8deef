//! The first moments of a lead: consumers come back that were there before, each through its own node.
//!
//! Others wait so long, so that nobody gets in between: an exclusive consumer keeps its queue to itself. The wait ends when all
//! nodes that can be reached have brought theirs, or some time has passed.

use std::collections::BTreeSet;

use crate::broker::ids::{NodeId, QueueId};
use crate::broker::queue::{Command, ConsumerId};
use crate::node::cluster::session::Sessions;
use crate::node::links::ShardInput;

/// How long a node may take at most.
const ATTACHING_MS: u64 = 5_000;

/// Consumers that may still come back, and who waits for them.
#[derive(Debug)]
pub(super) struct Attaching {
    until_ms: u64,
    nodes: BTreeSet<NodeId>,
    waiting: Vec<ShardInput>,
    /// New consumers among them.
    consumers: BTreeSet<ConsumerId>,
}

impl Attaching {
    /// A lead begins; these nodes may have had consumers.
    pub(super) fn new(nodes: BTreeSet<NodeId>, now_ms: u64) -> Self {
        let (waiting, consumers) = Default::default();
        Self { until_ms: now_ms + ATTACHING_MS, nodes, waiting, consumers }
    }

    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// A node went away, and its consumers with it.
    pub(super) fn node_down(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// Whether nobody comes back any more.
    pub(super) fn is_over(&mut self, sessions: &Sessions, now_ms: u64) -> bool {
        self.nodes.retain(|node| !sessions.is_back(*node));
        self.nodes.is_empty() || now_ms >= self.until_ms
    }

    /// Keeps what has to wait; gives what has not.
    pub(super) fn pass(&mut self, input: ShardInput) -> Option<ShardInput> {
        let must_wait = match &input {
            ShardInput::Consume(_, spec, ..) if !spec.is_back => {
                self.consumers.insert(spec.id);
                true
            }
            ShardInput::Suspend(_, consumer, _) | ShardInput::Cancel(_, consumer, _) => {
                self.consumers.contains(consumer)
            }
            ShardInput::Command(_, Command::Credit(consumer, _) | Command::Resume(consumer)) => {
                self.consumers.contains(consumer)
            }
            // Who comes back uses it.
            ShardInput::Delete(_, condition, _) => condition.unused,
            _ => false,
        };
        if must_wait {
            self.waiting.push(input);
            return None;
        }
        Some(input)
    }

    /// The wait is over: what the queues of the lead hear, then what has waited.
    pub(super) fn end(self, queues: Vec<QueueId>) -> impl Iterator<Item = ShardInput> {
        let are_back = queues.into_iter().map(|queue| ShardInput::Command(queue, Command::AreBack));
        are_back.chain(self.waiting)
    }
}
