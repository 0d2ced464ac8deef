//! Which nodes work: this one says so of itself, and the leader says of others that they do not.

use std::collections::BTreeMap;

use super::group::MetaGroup;
use super::proposals::Reply;
use crate::broker::ids::{META_GROUP, NodeId};
use crate::node::cluster::inputs::{GroupControl, GroupStatus};
use crate::node::cluster::meta::MetaCommand;
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::standing::{leader_if_known, members_of, members_version};
use crate::replication::{Link, Role};

/// A node that cannot be reached for so long counts as down.
const DOWN_MS: u64 = 10_000;
/// A node whose process is gone for certain: longer than it takes to see a mistake.
const DEAD_MS: u64 = 1_000;

/// Nodes that cannot be reached: when each counts as down.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    down_at_ms: BTreeMap<NodeId, u64>,
    leads: bool,
}

impl Nodes {
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.down_at_ms.values().min().copied().filter(|_| self.leads)
    }
}

impl MetaGroup {
    pub(super) fn link(&mut self, node: NodeId, state: LinkState) {
        let link = match state {
            LinkState::Up => Link::Up,
            LinkState::Down => Link::Down,
            LinkState::Dead => Link::Dead,
        };
        self.group.link(node, link, self.now_ms);
        self.link_of_spread(node, state);
        match state {
            LinkState::Up => {
                self.nodes.down_at_ms.remove(&node);
                if let Role::Leader { term } = self.group.role() {
                    self.cluster.peers.send(node, PeerMessage::Leads(vec![(META_GROUP, term)]));
                }
                if node == self.leader() {
                    self.proposals.ask_again();
                }
            }
            LinkState::Down => {
                self.nodes.down_at_ms.entry(node).or_insert(self.now_ms + DOWN_MS);
                self.copies_with_are_over(node);
            }
            LinkState::Dead => {
                let known_ms = self.nodes.down_at_ms.get(&node).copied().unwrap_or(u64::MAX);
                self.nodes.down_at_ms.insert(node, known_ms.min(self.now_ms + DEAD_MS));
                self.copies_with_are_over(node);
            }
        }
    }

    /// As the leader: nodes that do not answer count as down, and what they held in memory is gone.
    pub(super) fn look_after_nodes(&mut self) {
        let leads = self.group.is_leader();
        let begins = leads && !self.nodes.leads;
        self.nodes.leads = leads;
        if !leads {
            return;
        }
        let others = self.state.members.nodes.iter().filter(|(node, _)| **node != self.origin.node);
        for (node, member) in others {
            let is_missing = begins && member.is_up && !self.cluster.peers.is_up(*node);
            if is_missing {
                self.nodes.down_at_ms.entry(*node).or_insert(self.now_ms + DOWN_MS);
            }
        }
        let is_due = |at_ms: &u64| *at_ms <= self.now_ms;
        let of_nodes = self.nodes.down_at_ms.iter();
        let due: Vec<_> = of_nodes.filter(|(_, at_ms)| is_due(at_ms)).map(|(node, _)| *node).collect();
        for node in due {
            self.nodes.down_at_ms.remove(&node);
            let Some(member) = self.state.members.nodes.get(&node).filter(|member| member.is_up) else {
                continue;
            };
            tracing::warn!(node, name = member.name, "a node does not answer: it counts as down");
            let command = MetaCommand::NodeDown { node, run: member.run };
            self.proposals.add(command, Reply::Nobody, false, self.now_ms);
        }
    }

    /// This run of this node works.
    pub(super) fn say_up(&mut self) {
        let command = MetaCommand::NodeUp { node: self.origin.node, run: self.origin.run };
        if !self.proposals.has(&command) {
            self.proposals.add(command, Reply::Nobody, true, self.now_ms);
        }
    }

    pub(super) fn members_changed(&mut self) {
        let own = self.state.members.nodes.get(&self.origin.node);
        let is_taken_for_down = own.is_some_and(|own| own.run == self.origin.run && !own.is_up);
        self.cluster.set_members(self.state.members.clone());
        if is_taken_for_down {
            tracing::warn!(
                "the cluster took this node for down: its transient and exclusive queues are gone"
            );
            self.say_up();
        }
    }

    pub(super) fn control(&mut self, control: GroupControl) {
        match control {
            GroupControl::Transfer(to) => {
                if let Err(reason) = self.group.transfer(to) {
                    tracing::info!(to, ?reason, "the lead of the meta group stays where it is");
                }
            }
            GroupControl::SetMembers(change, reply) => {
                let has_begun = self.group.set_members(&change).is_ok();
                // Whoever asked may have gone.
                let _ = reply.send(has_begun);
            }
            GroupControl::Status(reply) => drop(reply.send(self.status())),
            // It has no queues; whoever asks is told nothing.
            GroupControl::Statistics(_) => {}
            GroupControl::DiskStalls(stalls) => self.group.disk_stalls(stalls),
        }
    }

    fn status(&self) -> GroupStatus {
        GroupStatus {
            group: META_GROUP,
            leader: leader_if_known(&self.group, self.leader(), self.origin.node),
            term: self.group.term(),
            commit: self.group.commit(),
            applied: self.state.applied(),
            queues: 0,
            members: members_of(&self.group, self.origin.node),
            members_version: members_version(&self.group),
        }
    }
}
