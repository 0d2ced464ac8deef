//! The nodes of a cluster, as all of them know them.

use std::collections::BTreeMap;

use crate::broker::ids::{FIRST_NODE, NODES_MAX, NodeId, Run};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// Who belongs to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Made up when the cluster was founded.
    pub(crate) cluster_id: u64,
    /// How many groups own queues: never changes.
    pub(crate) groups: u16,
    /// The number of the node that joins next: none is given twice.
    pub(crate) next_node: NodeId,
    pub(crate) nodes: BTreeMap<NodeId, Member>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Unique in its cluster.
    pub(crate) name: String,
    /// Where other nodes reach it, as host and port.
    pub(crate) peer_address: String,
    /// Where clients reach it.
    pub(crate) client_address: String,
    /// The last run of it that was up; 0 before the first.
    pub(crate) run: Run,
    pub(crate) is_up: bool,
    /// It gives up its copies, and goes when it has none.
    pub(crate) is_leaving: bool,
}

impl Members {
    /// A cluster of one node.
    pub(crate) fn found(cluster_id: u64, groups: u16, first: Member) -> Self {
        Self { cluster_id, groups, next_node: FIRST_NODE + 1, nodes: BTreeMap::from([(FIRST_NODE, first)]) }
    }

    pub(crate) fn name(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(|member| member.name.as_str())
    }

    /// Whether the cluster takes the node for one that works.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|member| member.is_up)
    }

    /// Gives a new node its number.
    pub(super) fn add(&mut self, member: Member, replaces: Option<NodeId>) -> Result<NodeId, Refusal> {
        let same = self.nodes.iter().find(|(_, known)| known.name == member.name).map(|(number, _)| *number);
        if let Some(number) = same.filter(|number| Some(*number) != replaces) {
            let text = format!("node '{}' is a member already, with number {number}", member.name);
            return Err(Refusal::channel(ReplyCode::PreconditionFailed, text));
        }
        if self.next_node >= NODES_MAX {
            let text = format!("all numbers of nodes up to {NODES_MAX} are used up");
            return Err(Refusal::channel(ReplyCode::ResourceError, text));
        }
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, member);
        Ok(number)
    }

    /// Takes a node out. Gives the one that inherits its duties.
    pub(super) fn remove(&mut self, node: NodeId) -> Result<NodeId, Refusal> {
        self.get(node)?;
        let others = self.nodes.keys().copied().filter(|number| *number != node);
        // One that works, if there is one.
        let heir = others.min_by_key(|number| (!self.is_up(*number), *number));
        let heir = heir.ok_or_else(|| {
            Refusal::channel(ReplyCode::PreconditionFailed, "the last node of a cluster cannot be taken out")
        })?;
        self.nodes.remove(&node);
        Ok(heir)
    }

    pub(super) fn get(&mut self, node: NodeId) -> Result<&mut Member, Refusal> {
        self.nodes.get_mut(&node).ok_or_else(|| {
            Refusal::channel(ReplyCode::NotFound, format!("no node with number {node} in this cluster"))
        })
    }
}
