//! Queues whose home is gone, or becomes another.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::exchange::Hop;
use crate::broker::ids::{Home, NodeId, QueueId, node_of};

use super::bindings::Binding;
use super::vhost::Vhost;
use super::{Change, Outcome, QueueEntry, Topology};

impl Topology {
    /// A node has stopped: what it held in memory alone is gone.
    pub(super) fn node_gone(&mut self, node: NodeId) -> Outcome {
        let is_gone = |queue: &QueueEntry| {
            let of_owner = queue.exclusive.is_some_and(|owner| node_of(owner) == node);
            of_owner || (queue.home == Home::Node(node) && !queue.durable)
        };
        self.remove_queues(is_gone)
    }

    /// A node will never come back: what it had alone is gone. Queues that belong to exchanges begin empty somewhere else.
    pub(super) fn forget_node(&mut self, node: NodeId, heir: NodeId) -> Outcome {
        let mut outcome = self.remove_queues(|queue| queue.home == Home::Node(node));
        for id in self.queues_that(|queue| queue.home == Home::Node(node)) {
            let moved = self.move_queue(id, Home::Node(heir));
            outcome.changes.extend(moved.changes);
            outcome.changed_queues.extend(moved.changed_queues);
        }
        outcome
    }

    /// Another node or group orders from now on what happens to a queue. Nothing happens when it is gone.
    pub(super) fn move_queue(&mut self, id: QueueId, home: Home) -> Outcome {
        let Some(before) = self.queues.get(id).filter(|queue| queue.home != home).cloned() else {
            return Outcome::default();
        };
        let shard = self.queues.shard_of(home, id);
        let queue = Arc::new(QueueEntry { home, shard, ..QueueEntry::clone(&before) });
        self.queues.replace(&queue);
        let mut outcome = Outcome { queue: Some(Arc::clone(&queue)), ..Outcome::default() };
        if let Some(vhost) = self.vhosts.get_mut(&queue.vhost) {
            if vhost.queues.get(&queue.name).is_some_and(|named| named.id == id) {
                vhost.queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
                vhost.retarget(&before, &queue);
                outcome
                    .changes
                    .extend(self.queues.keeps(queue.durable).then(|| Change::Put(queue.row(&self.queues))));
            } else if let Some(exchange) = vhost
                .exchanges
                .iter_mut()
                .find_map(|exchange| exchange.take_moved(&queue).then_some(exchange))
            {
                outcome.changes.extend(exchange.rows(&vhost.name, &self.queues).map(Change::Put));
            }
        }
        outcome.changed_queues.push(queue);
        self.version += 1;
        outcome
    }

    fn remove_queues(&mut self, which: impl Fn(&QueueEntry) -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        for id in self.queues_that(which) {
            self.remove_queue(id, &mut outcome);
        }
        outcome
    }

    fn queues_that(&self, which: impl Fn(&QueueEntry) -> bool) -> BTreeSet<QueueId> {
        self.queues.iter().filter(|queue| which(queue)).map(|queue| queue.id).collect()
    }
}

impl Vhost {
    /// Leads all bindings to a queue where it is now.
    fn retarget(&mut self, before: &QueueEntry, queue: &QueueEntry) {
        for binding in self.bindings_to(Hop::Queue(before.target())) {
            self.unlink_alone(&binding);
            self.link(Binding { destination: Hop::Queue(queue.target()), ..binding }, &queue.name);
        }
    }
}
