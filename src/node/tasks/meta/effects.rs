//! What a change of the declarations means for the queues of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::recall_for;
use crate::broker::ids::{GroupId, Home, QueueId};
use crate::broker::topology::{Command, Outcome, QueueEntry, Topology};
use crate::node::cluster::handle::{Cluster, ServingInput};
use crate::node::cluster::inputs::GroupInput;
use crate::node::cluster::meta::MetaCommand;
use crate::node::links::{DeleteIf, ShardInput};
use crate::node::shared::Shared;

/// What groups have to hear of.
#[derive(Debug, Default)]
pub(super) struct ForGroups(BTreeMap<GroupId, (Vec<Arc<QueueEntry>>, Vec<QueueId>)>);

/// Tells the shards of this node, and gathers what the groups are to be told.
pub(super) struct Effects<'a> {
    pub(super) shared: &'a Shared,
    pub(super) cluster: &'a Cluster,
    pub(super) for_groups: &'a mut ForGroups,
}

impl Effects<'_> {
    /// Queues that are new. Nobody may route to one before its shard and the log know it: the topology is locked.
    pub(super) fn create(&mut self, command: &MetaCommand, outcome: &Outcome) {
        let declares = matches!(
            command,
            MetaCommand::Topology(Command::DeclareQueue { .. } | Command::DeclareExchange { .. })
        );
        if declares && outcome.created {
            outcome.queue.iter().chain(&outcome.companion).for_each(|queue| self.create_queue(queue));
        }
    }

    pub(super) fn create_queue(&mut self, queue: &Arc<QueueEntry>) {
        if self.is_here(queue.home) {
            self.shared.shard(queue.target()).push(ShardInput::Create(Arc::clone(queue)));
        } else {
            self.group_has(queue);
        }
    }

    /// What a new binding is to be given: by the node that has it.
    pub(super) fn recall(&self, outcome: &Outcome) -> Option<oneshot::Receiver<()>> {
        let recall = outcome.recall.as_ref()?;
        let is_here = usize::from(recall.companion.shard) < self.shared.own_shards().len();
        is_here.then(|| recall_for(self.shared, recall))
    }

    /// Everything else that came of it.
    pub(super) fn change(&mut self, command: &MetaCommand, outcome: &Outcome) {
        let moves = !matches!(
            command,
            MetaCommand::Topology(Command::SetPolicy { .. } | Command::ClearPolicy { .. })
        );
        for queue in &outcome.changed_queues {
            if moves {
                self.move_queue(queue);
            } else {
                self.reconfigure(queue);
            }
        }
        outcome.deleted_queues.iter().for_each(|queue| self.delete(queue.home, queue.id));
    }

    fn reconfigure(&mut self, queue: &Arc<QueueEntry>) {
        if self.is_here(queue.home) {
            self.shared.shard(queue.target()).push(ShardInput::Reconfigure(vec![Arc::clone(queue)]));
        } else {
            self.group_has(queue);
        }
    }

    /// A queue has another home: where it was it goes, where it is now it begins.
    fn move_queue(&mut self, queue: &Arc<QueueEntry>) {
        let (here, groups) = (Home::Node(self.cluster.placement.node), 1..=self.cluster.placement.groups);
        for before in std::iter::once(here).chain(groups.map(Home::Group)) {
            if before != queue.home {
                self.delete(before, queue.id);
            }
        }
        self.create_queue(queue);
    }

    fn delete(&mut self, home: Home, id: QueueId) {
        if self.is_here(home) {
            let shard = usize::from(self.cluster.placement.mailbox(home, id));
            if let Some(shard) = self.shared.own_shards().get(shard) {
                // Nobody waits: the queue has no name any more.
                let (reply, _) = oneshot::channel();
                shard.push(ShardInput::Delete(id, DeleteIf::default(), reply));
            }
        } else if let Home::Group(group) = home {
            self.for_groups.0.entry(group).or_default().1.push(id);
        }
    }

    fn group_has(&mut self, queue: &Arc<QueueEntry>) {
        if let Home::Group(group) = queue.home {
            self.for_groups.0.entry(group).or_default().0.push(Arc::clone(queue));
        }
    }

    fn is_here(&self, home: Home) -> bool {
        home == Home::Node(self.cluster.placement.node)
    }

    /// Another topology takes the place of the one before.
    pub(super) fn replace(&mut self, before: &Topology, after: &Topology) {
        for queue in before.all_queues() {
            match after.queue_by_id(queue.id) {
                None => self.delete(queue.home, queue.id),
                Some(now) if now.home != queue.home => self.move_queue(now),
                Some(now) if now.settings != queue.settings => self.reconfigure(now),
                Some(_) => {}
            }
        }
        for queue in after.all_queues() {
            if before.queue_by_id(queue.id).is_none() {
                self.create_queue(&queue);
            }
        }
        let vhosts: BTreeSet<_> = after.vhosts().into_iter().collect();
        for vhost in before.vhosts().iter().filter(|vhost| !vhosts.contains(*vhost)) {
            self.shared.presence.vhost_is_deleted(vhost);
        }
        for user in before.users().iter().filter(|user| after.user(&user.name).is_none()) {
            self.shared.presence.user_is_deleted(&user.name);
        }
    }
}

impl ForGroups {
    /// Declarations are known up to this index. First the groups hear what changed, then whoever waits for the index.
    pub(super) fn tell(&mut self, cluster: &Cluster, index: u64) {
        let mut of_groups = std::mem::take(&mut self.0);
        for (number, group) in (1..).zip(&cluster.groups) {
            // One that needs nothing of it may wait for it all the same.
            let (changed, deleted) = of_groups.remove(&number).unwrap_or_default();
            group.push(GroupInput::Topology { changed, deleted });
        }
        cluster.set_meta_index(index);
        cluster.serving.push(ServingInput::MetaApplied);
    }
}
