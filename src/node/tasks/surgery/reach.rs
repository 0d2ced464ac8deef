//! The way to the owner of a queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::broker::ids::{Home, NodeId, QueueId};
use crate::broker::topology::QueueEntry;
use crate::node::cluster::inputs::{GroupControl, GroupInput};
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::node::shared::Shared;

/// Who owns a queue.
pub(crate) enum Owner {
    /// This node.
    Own(Reach),
    /// Another one.
    Node(NodeId),
}

/// A queue of this node, and the way to its shard.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) queue: QueueId,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Shard(Arc<Mailbox<ShardInput>>),
    Group(Arc<Mailbox<GroupInput>>),
}

impl Reach {
    /// Tells the queue's shard something. A group that this node does not lead any more drops it.
    pub(crate) fn push(&self, input: ShardInput) {
        match &self.way {
            Way::Shard(mailbox) => mailbox.push(input),
            Way::Group(mailbox) => mailbox.push(GroupInput::Inspect(Box::new(input))),
        }
    }

    /// Asks the queue's shard.
    ///
    /// # Errors
    /// When the queue is gone, or is not this node's any more.
    pub(crate) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Option<T>>) -> ShardInput,
    ) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.push(ask(reply));
        match answer.await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err("the queue is gone".to_owned()),
            Err(_) => Err("the queue is led by another node now".to_owned()),
        }
    }
}

/// Who owns a queue now.
///
/// # Errors
/// When nobody does, as far as this node knows.
pub(crate) async fn find(shared: &Shared, entry: &QueueEntry) -> Result<Owner, String> {
    let own = |way| Ok(Owner::Own(Reach { queue: entry.id, way }));
    let Some(cluster) = &shared.cluster else {
        return own(Way::Shard(Arc::clone(shared.shard(entry.target()))));
    };
    match entry.home {
        Home::Node(node) if node == cluster.placement.node => {
            own(Way::Shard(Arc::clone(shared.shard(entry.target()))))
        }
        Home::Node(node) => Ok(Owner::Node(node)),
        Home::Group(number) => {
            let none = || format!("queue '{}' has no leader at the moment", entry.name);
            let group = cluster.group(number).ok_or_else(none)?;
            let (reply, status) = oneshot::channel();
            group.push(GroupInput::Control(GroupControl::Status(reply)));
            match status.await.map_err(|_| none())?.leader {
                0 => Err(none()),
                leader if leader == cluster.placement.node => own(Way::Group(Arc::clone(group))),
                leader => Ok(Owner::Node(leader)),
            }
        }
    }
}
