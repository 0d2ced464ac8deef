//! Nodes come and go: join, leave, forget. On the node that leads the meta group.

use std::sync::Arc;
use std::sync::PoisonError;

use super::{KnownNode, Manager, World, named};
use crate::broker::ids::NodeId;
use crate::node::cluster::membership::KnownMember;
use crate::node::cluster::questions::{Answer, Joined, Newcomer, Question};

/// Tokens of newcomers that are remembered.
const NEWCOMERS_MAX: usize = 64;

impl<W: World> Manager<W> {
    /// Takes a node in, in the place of the one of its name if that is down.
    pub(super) async fn join(&self, newcomer: Newcomer) -> Answer {
        let members = self.world.members();
        if let Some(node) = self.taken_in(newcomer.token).filter(|node| members.contains_key(node)) {
            return self.joined(node);
        }
        let same_name = members.iter().find(|(_, known)| known.name == newcomer.name);
        if let Some((node, known)) = same_name
            && self.is_up(*node)
        {
            if known.peer_address == newcomer.peer_address {
                // It is the same one, and that its process has ended is not noticed yet.
                return Answer::not_now(format!("node {node} of this name and address passes for up"));
            }
            return Answer::no(format!(
                "the name {:?} is that of node {node} at {}, which is up; choose another cluster.name",
                newcomer.name, known.peer_address
            ));
        }
        let replaced = same_name.map(|(node, _)| *node);
        let same_address = members
            .iter()
            .find(|(node, known)| known.peer_address == newcomer.peer_address && Some(**node) != replaced);
        if let Some((node, known)) = same_address {
            return Answer::no(format!(
                "its address {} is that of {}; set cluster.bind or cluster.advertise to another, or forget that node",
                newcomer.peer_address,
                named(*node, known)
            ));
        }
        match self.world.add_member(&newcomer, replaced).await {
            Ok(node) => {
                self.note(newcomer.token, node);
                tracing::info!(
                    node,
                    name = newcomer.name,
                    address = newcomer.peer_address,
                    "a node joins the cluster"
                );
                if let Some(replaced) = replaced {
                    tracing::info!(
                        node,
                        replaced,
                        "it takes the place of the node of its name, which is down"
                    );
                }
                self.joined(node)
            }
            Err(problem) => Answer::not_now(problem),
        }
    }

    fn taken_in(&self, token: u64) -> Option<NodeId> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied()
    }

    fn note(&self, token: u64, node: NodeId) {
        let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        if newcomers.len() >= NEWCOMERS_MAX {
            newcomers.clear();
        }
        newcomers.insert(token, node);
    }

    fn joined(&self, node: NodeId) -> Answer {
        Answer::Joined(Joined {
            cluster: self.own.cluster.clone(),
            node,
            groups: self.own.groups,
            members: self.known_members(),
        })
    }

    pub(super) fn known_members(&self) -> Vec<KnownMember> {
        let members = self.world.members().into_iter();
        members
            .map(|(node, known)| KnownMember { node, name: known.name, address: known.peer_address })
            .collect()
    }

    fn is_up(&self, node: NodeId) -> bool {
        node == self.own.node || self.world.is_linked(node)
    }

    /// A node is to give up all it has; it is removed when it has nothing any more.
    pub(super) async fn begin_leave(self: &Arc<Self>, asked: &str, force: bool) -> Answer {
        let (node, known) = match self.find(asked) {
            Ok(found) => found,
            Err(problem) => return Answer::no(problem),
        };
        let name = named(node, &known);
        let members = self.world.members();
        if members.iter().all(|(other, known)| *other == node || known.is_leaving) {
            return Answer::no(format!(
                "{name} is the last node of the cluster: nobody could take over what it has"
            ));
        }
        if !self.is_up(node) {
            return Answer::no(format!(
                "{name} is down and can hand nothing over; if it is gone for good: warren cluster forget {}",
                known.name
            ));
        }
        let own_queues = self.report_of(node).await.map_or(0, |report| report.own_queues);
        if own_queues > 0 && !force {
            return Answer::no(format!(
                "{name} has {own_queues} queues of which no other node has a copy; they would be gone. Delete them, \
                 mirror them by a policy with ha-mode, or leave with --force"
            ));
        }
        match self.world.set_member(node, KnownNode { is_leaving: true, ..known }).await {
            Ok(()) => {
                tracing::info!(node, "a node leaves the cluster: its copies are made elsewhere first");
                Answer::Done(format!("{name} leaves the cluster when all it has is elsewhere"))
            }
            Err(problem) => Answer::not_now(problem),
        }
    }

    /// A node that is gone for good is a member no more; its copies are made elsewhere.
    pub(super) async fn forget(&self, asked: &str) -> Answer {
        let (node, known) = match self.find(asked) {
            Ok(found) => found,
            Err(problem) => return Answer::no(problem),
        };
        let name = named(node, &known);
        if self.is_up(node) {
            return Answer::no(format!("{name} is up; to take it out: warren cluster leave {}", known.name));
        }
        match self.world.remove_member(node).await {
            Ok(()) => {
                tracing::info!(
                    node,
                    name = known.name,
                    "a node is forgotten: what it had copies of gets others"
                );
                Answer::Done(format!("{name} is forgotten; what it had copies of gets others"))
            }
            Err(problem) => Answer::not_now(problem),
        }
    }

    /// A node is reached at another address than before.
    pub(super) async fn moved(
        &self,
        node: NodeId,
        name: &str,
        peer_address: String,
        client_address: String,
    ) -> Answer {
        let members = self.world.members();
        let Some(known) = members.get(&node).filter(|known| known.name == name) else {
            return Answer::no(format!("node {node} ({name}) is no member of the cluster"));
        };
        let moved = KnownNode { peer_address, client_address, ..known.clone() };
        match self.world.set_member(node, moved).await {
            Ok(()) => Answer::Done(String::new()),
            Err(problem) => Answer::not_now(problem),
        }
    }

    /// A node that has given up everything is a member no more, and is told so.
    pub(super) async fn end_leave(&self, node: NodeId) {
        match self.world.remove_member(node).await {
            Ok(()) => {
                tracing::info!(node, "a node has left the cluster");
                if let Err(problem) = self.world.ask(node, &Question::YouLeft).await {
                    tracing::warn!(node, %problem, "it could not be told; end it by hand");
                }
            }
            Err(problem) => tracing::warn!(node, %problem, "a node that has left cannot be taken out yet"),
        }
    }
}
